//! The two halves of a build: the web app into `dist/`, then the native binary that embeds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::clone;
use crate::context::Context;
use crate::run;
use crate::setup::{self, Need};
use crate::web;

/// Builds everything; returns `target/release/sluice` of the repository, whichever directory cargo builds in.
pub(crate) fn all(context: &Context) -> Result<PathBuf> {
    web(context)?;
    run::tell("build: cargo build --release -p sluice-relay --features embed-app");
    let mut cargo = context.command("cargo");
    cargo.args([
        "build",
        "--release",
        "--package",
        "sluice-relay",
        "--features",
        "embed-app",
    ]);
    run::status(&mut cargo)?;
    let built = context.target.join("release/sluice");
    let wanted = context.local().join("release/sluice");
    link(&built, &wanted)?;
    run::tell(&format!("build: {}", wanted.display()));
    Ok(wanted)
}

/// Builds only the web app.
pub(crate) fn web(context: &Context) -> Result<()> {
    setup::ensure(context, &[Need::Web])?;
    clone::claim(context)?;
    web::build(context)
}

/// Makes `wanted` the same file as `built`, by hard link where the file system can, in one step for whoever runs it.
fn link(built: &Path, wanted: &Path) -> Result<()> {
    if built == wanted {
        return Ok(());
    }
    let dir = wanted.parent().context("a file has a directory")?;
    let fresh = dir.join(".sluice.new");
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Left behind by a run that was killed; absent otherwise.
    let _ = fs::remove_file(&fresh);
    fs::hard_link(built, &fresh)
        .or_else(|_| fs::copy(built, &fresh).map(drop))
        .with_context(|| format!("cannot copy {} to {}", built.display(), fresh.display()))?;
    fs::rename(&fresh, wanted).with_context(|| format!("cannot replace {}", wanted.display()))?;
    // Two names of one file: the rename above does nothing and leaves the temporary one.
    let _ = fs::remove_file(&fresh);
    Ok(())
}
