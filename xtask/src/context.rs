//! Where things are: the repository, cargo's target directory, our own tools.
//!
//! # Invariants
//!
//! - Every child started through [`Context::command`] sees the same target directory and our tools first on its PATH,
//!   so that a pinned version wins over whatever the machine has.
//! - [`Context::local`] is always `target/` of the repository: results a person looks for are there, whichever
//!   directory cargo builds in.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The directories of one run.
pub(crate) struct Context {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, often outside the repository.
    pub(crate) target: PathBuf,
    path: OsString,
}

impl Context {
    /// Reads the environment.
    ///
    /// The target directory is `CARGO_TARGET_DIR`, else `~/.cache/sluice/target` where `~/.cache/sluice` exists (a
    /// cache that outlives a clone), else `target/` of the repository.
    pub(crate) fn find() -> Result<Self> {
        // Set by `cargo run`, which is how we are started; the constant serves a binary that is started by hand.
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest)
            .parent()
            .context("xtask has no parent directory")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => root.join(dir),
            None => shared_cache().unwrap_or_else(|| root.join("target")),
        };
        let inherited = env::var_os("PATH").unwrap_or_default();
        let ours = [
            target.join("tools/bin"),
            target.join("tools/npm/node_modules/.bin"),
        ];
        let path = env::join_paths(ours.into_iter().chain(env::split_paths(&inherited)))
            .context("a directory of PATH contains a colon")?;
        Ok(Self { root, target, path })
    }

    /// Where our own copies of pinned tools are installed.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// `target/` of the repository, for results that people and scripts look for there.
    pub(crate) fn local(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The finished web app.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("dist")
    }

    /// A child that runs in the repository with our tools and target directory.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("PATH", &self.path)
            .env("CARGO_TARGET_DIR", &self.target);
        // What `cargo run` told *us* about this package must not reach another cargo's build scripts.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*name);
            }
        }
        command
    }

    /// The first executable of that name on our PATH.
    pub(crate) fn which(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.path)
            .map(|dir| dir.join(program))
            .find(|file| is_executable(file))
    }
}

fn shared_cache() -> Option<PathBuf> {
    let cache = Path::new(&env::var_os("HOME")?).join(".cache/sluice");
    cache.is_dir().then(|| cache.join("target"))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}
