//! Packages from npm: binaryen for the build, and what `e2e/` tests with.
//!
//! "Installed" is read from the tree itself: npm leaves the lockfile it installed from inside `node_modules`. No
//! install scripts are run and no browser is downloaded.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::context::Context;
use crate::run;

/// What npm needs to reproduce a tree.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Build tools, installed beside the other tools so that the repository stays clean.
pub(super) fn tools(context: &Context) -> Result<()> {
    let source = context.root.join("xtask/tools");
    let tree = context.tools().join("npm");
    fs::create_dir_all(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
    for name in MANIFESTS {
        fs::copy(source.join(name), tree.join(name))
            .with_context(|| format!("cannot copy {name} to {}", tree.display()))?;
    }
    install(context, &tree)
}

/// The packages of `e2e/`.
pub(super) fn packages(context: &Context) -> Result<()> {
    install(context, &context.root.join("e2e"))
}

fn install(context: &Context, tree: &Path) -> Result<()> {
    let wanted = read(&tree.join("package-lock.json"))?;
    // A missing or torn record means that an install never ended.
    let found = read(&tree.join("node_modules/.package-lock.json")).unwrap_or_default();
    if is_installed(&wanted, &found) {
        return Ok(());
    }
    run::tell(&format!("setup: npm ci in {}", tree.display()));
    let mut npm = context.command("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(tree)
        // stdout is for results.
        .stdout(std::io::stderr());
    run::status(&mut npm)
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))
}

/// Every package of the lockfile is in the tree, but for optional ones (other systems), and nothing has another version.
fn is_installed(wanted: &Value, found: &Value) -> bool {
    let (Some(wanted), Some(found)) = (
        wanted["packages"].as_object(),
        found["packages"].as_object(),
    ) else {
        return false;
    };
    let all_there = wanted
        .iter()
        // The empty name is the root itself.
        .filter(|(name, _)| !name.is_empty())
        .all(|(name, package)| match found.get(name) {
            Some(there) => there["version"] == package["version"],
            None => package["optional"] == Value::Bool(true),
        });
    all_there && found.keys().all(|name| wanted.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(found: Value, want: bool) {
        let wanted = json!({"packages": {
            "": {"version": "0.1.0"},
            "node_modules/a": {"version": "1.0.0"},
            "node_modules/b": {"version": "2.0.0", "optional": true},
        }});
        assert_eq!(is_installed(&wanted, &found), want, "{found}");
    }

    #[test]
    fn same_versions_are_installed() {
        check(
            json!({"packages": {"node_modules/a": {"version": "1.0.0"}, "node_modules/b": {"version": "2.0.0"}}}),
            true,
        );
    }

    #[test]
    fn optional_package_may_be_missing() {
        check(
            json!({"packages": {"node_modules/a": {"version": "1.0.0"}}}),
            true,
        );
    }

    #[test]
    fn missing_package_is_not_installed() {
        check(json!({"packages": {}}), false);
    }

    #[test]
    fn other_version_is_not_installed() {
        check(
            json!({"packages": {"node_modules/a": {"version": "1.0.1"}}}),
            false,
        );
    }

    #[test]
    fn package_that_left_the_lockfile_is_not_installed() {
        check(
            json!({"packages": {"node_modules/a": {"version": "1.0.0"}, "node_modules/c": {"version": "1.0.0"}}}),
            false,
        );
    }

    #[test]
    fn torn_record_is_not_installed() {
        check(Value::Null, false);
    }
}
