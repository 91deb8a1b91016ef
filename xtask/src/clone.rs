//! Two clones, one target directory.
//!
//! Cargo gives a workspace member the same name in every clone and asks only file times whether it is fresh. So when
//! clones take turns in a shared directory, one gets what the other compiled. The clone that builds notes itself;
//! when another one did last, all sources here become new again, and only members are compiled once more.
//!
//! Not solved: two clones that build at the same moment.

use std::fs;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::fingerprint::files;

/// Directories of the workspace's members.
const MEMBERS: [&str; 7] = ["core", "web", "node-wasm", "sw", "app", "relay", "xtask"];

/// Makes the shared directory ours.
pub(crate) fn claim(context: &Context) -> Result<()> {
    if context.target == context.local() {
        return Ok(());
    }
    let note = context.target.join("last-clone");
    let ours = context.root.to_string_lossy();
    if fs::read_to_string(&note).is_ok_and(|last| last == ours) {
        return Ok(());
    }
    let now = SystemTime::now();
    for member in MEMBERS {
        for file in files(&context.root.join(member), &["target", "node_modules"])? {
            if file.extension().is_some_and(|ext| ext == "rs") {
                fs::File::options()
                    .append(true)
                    .open(&file)
                    .and_then(|source| source.set_modified(now))
                    .with_context(|| format!("cannot touch {}", file.display()))?;
            }
        }
    }
    fs::create_dir_all(&context.target)
        .with_context(|| format!("cannot create {}", context.target.display()))?;
    fs::write(&note, ours.as_bytes()).with_context(|| format!("cannot write {}", note.display()))
}
