//! The web app: Trunk compiles and binds, this module finishes what Trunk leaves.
//!
//! Trunk names only the main module by content, knows nothing of the service worker's loader, and would download
//! its own wasm-opt. So it writes to a stage, and from there `dist/` is made: modules optimised and named by their
//! final bytes ([`module`]), the loader, `shell.json` and the CSP hashes ([`shell`]), brotli beside every file.
//!
//! # Invariants
//!
//! - Same inputs, same `dist/`, byte for byte, on every machine: no time, no path of this machine, no random number.
//! - A file of `dist/` whose bytes did not change is not written again, so nothing that embeds it is rebuilt.
//! - A build that is killed leaves an old or an unfinished `dist/`, and the next one sees that and finishes it.

mod module;
mod shell;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::fingerprint::{Fingerprint, files};
use crate::run;

/// All that the web app is made of. Their `tests` directories are not.
const INPUTS: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "Trunk.toml",
    "index.html",
    "core",
    "web",
    "node-wasm",
    "sw",
    "app",
    "xtask/src/web",
    "xtask/src/web.rs",
    "xtask/tools/package-lock.json",
];

/// Directories inside [`INPUTS`] that no build reads.
const NOT_INPUTS: [&str; 4] = ["tests", "benches", "fuzz", "node_modules"];

/// What a browser may get compressed. Everything else is compressed by itself already.
const COMPRESSIBLE: [&str; 8] = [
    "html",
    "css",
    "js",
    "wasm",
    "json",
    "webmanifest",
    "svg",
    "txt",
];

/// Brings `dist/` up to date.
pub(crate) fn build(context: &Context) -> Result<()> {
    let work = context.target.join("web");
    let stamp = work.join("stamp");
    let _alone = alone(&work)?;
    let mut inputs = Fingerprint::default();
    for path in INPUTS {
        inputs.path(&context.root, path, &NOT_INPUTS)?;
    }
    let inputs = inputs.hex();
    let dist = context.dist();
    if fs::read_to_string(&stamp).is_ok_and(|last| is_fresh(&last, &inputs, &dist)) {
        run::tell("web: dist/ is up to date");
        return Ok(());
    }

    let stage = work.join("stage");
    run::tell("web: trunk build");
    run::status(&mut trunk(context, &stage)?)?;

    let out = work.join("out");
    // Absent on the first build.
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let modules = module::finish(context, &stage, &out)?;
    shell::finish(context, &stage, &out, &modules)?;
    compress(context, &out)?;
    sync(&out, &dist)?;

    fs::write(&stamp, format!("{inputs} {}", digest(&dist)?))
        .with_context(|| format!("cannot write {}", stamp.display()))?;
    report(&dist)
}

/// Waits until no other build works in the same directory; ends when the file is dropped, or its process is gone.
fn alone(work: &Path) -> Result<fs::File> {
    fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
    let file = fs::File::create(work.join("lock")).context("cannot create a lock file")?;
    if file.try_lock().is_err() {
        run::tell("web: waiting for another build");
        file.lock().context("cannot lock the web build")?;
    }
    Ok(file)
}

fn is_fresh(last: &str, inputs: &str, dist: &Path) -> bool {
    digest(dist).is_ok_and(|dist| last == format!("{inputs} {dist}"))
}

fn digest(dir: &Path) -> Result<String> {
    Ok(Fingerprint::default().path(dir, "", &[])?.hex())
}

fn trunk(context: &Context, stage: &Path) -> Result<std::process::Command> {
    let mut trunk = context.command("trunk");
    trunk
        .args(["build", "--dist"])
        .arg(stage)
        // stdout is for results.
        .stdout(std::io::stderr())
        .env("CARGO_ENCODED_RUSTFLAGS", remap(context)?.join("\u{1f}"))
        // Its reader wants the compiler's error, which stands above, not a trace of Trunk.
        .env("RUST_BACKTRACE", "0")
        // Trunk 0.21 takes the value of NO_COLOR for its own flag and dies of anything but true or false.
        .env_remove("NO_COLOR");
    Ok(trunk)
}

/// Panics name source files: without this, modules would carry this machine's paths, and differ by machine.
fn remap(context: &Context) -> Result<Vec<String>> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    // Sources of the workspace itself are compiled by relative paths; naming the root here would only make every clone
    // build its own copy of all dependencies.
    let mut flags = vec![format!(
        "--remap-path-prefix={}=target",
        context.target.display()
    )];
    let sources = home.join("registry/src");
    let registries =
        fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))?;
    for registry in registries {
        flags.push(format!(
            "--remap-path-prefix={}=crates",
            registry?.path().display()
        ));
    }
    flags.sort();
    Ok(flags)
}

/// Writes a `.br` sibling beside every file that shrinks.
fn compress(context: &Context, out: &Path) -> Result<()> {
    let compressible: Vec<String> = files(out, &[])?
        .into_iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|ext| COMPRESSIBLE.iter().any(|known| ext == *known))
        })
        .map(|file| file.to_string_lossy().into_owned())
        .collect();
    let input = serde_json::to_vec(&compressible)?;
    let script = include_str!("web/brotli.mjs");
    run::pipe(
        context
            .command("node")
            .args(["--input-type=module", "--eval", script]),
        &input,
    )
    .map(drop)
}

/// Makes `dist` equal to `out`, touching only what differs.
fn sync(out: &Path, dist: &Path) -> Result<()> {
    fs::create_dir_all(dist).with_context(|| format!("cannot create {}", dist.display()))?;
    for old in files(dist, &[])? {
        let name = old.strip_prefix(dist)?;
        if !out.join(name).is_file() {
            fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    for new in files(out, &[])? {
        let target = dist.join(new.strip_prefix(out)?);
        let bytes = fs::read(&new)?;
        if fs::read(&target).is_ok_and(|old| old == bytes) {
            continue;
        }
        let dir = target.parent().context("a file has a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(&target, bytes).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

/// What a visitor downloads, so that growth is seen on the day it happens.
fn report(dist: &Path) -> Result<()> {
    let mut shell = 0;
    let mut node = 0;
    for file in files(dist, &[])? {
        let name = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.ends_with(".js.br") || name.ends_with(".wasm.br") {
            let len = file.metadata()?.len();
            if name.starts_with("node-") {
                node += len
            } else {
                shell += len
            }
        }
    }
    let kib = |len: u64| len.div_ceil(1024);
    run::tell(&format!(
        "web: scripts and wasm, brotli: shell {} KiB, node {} KiB",
        kib(shell),
        kib(node)
    ));
    Ok(())
}
