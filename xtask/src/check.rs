//! Everything that can be said about the code without running it.
//!
//! All steps run, whatever fails; the last line lists the ones that did.

use anyhow::{Result, bail};

use crate::clone;
use crate::context::Context;
use crate::crates::{BROWSER, NATIVE};
use crate::run;
use crate::setup::{self, Need};

/// Runs all checks.
pub(crate) fn run(context: &Context) -> Result<()> {
    setup::ensure(context, &[Need::Web, Need::Licences])?;
    clone::claim(context)?;
    let strict = ["--", "--deny", "warnings"];
    let steps = [
        ("formatting", vec!["fmt", "--all", "--check"]),
        (
            "clippy, native",
            [&["clippy", "--all-targets"], &NATIVE[..], &strict].concat(),
        ),
        (
            "clippy, wasm32",
            [&["clippy"], &BROWSER[..], &strict].concat(),
        ),
        (
            "documentation, native",
            [&["doc", "--no-deps"], &NATIVE[..]].concat(),
        ),
        (
            "documentation, wasm32",
            [&["doc", "--no-deps"], &BROWSER[..]].concat(),
        ),
        (
            "dependency arrows",
            vec!["test", "--quiet", "--package", "xtask", "--test", "arrows"],
        ),
        // Advisories need the internet's newest list; the others do not.
        (
            "licences, bans, sources",
            vec![
                "deny",
                "--all-features",
                "check",
                "licenses",
                "bans",
                "sources",
            ],
        ),
    ];

    let mut failed = Vec::new();
    for (name, arguments) in steps {
        run::tell(&format!("check: {name}"));
        let mut cargo = context.command("cargo");
        // stdout is for results, and a check that holds has none.
        cargo
            .args(arguments)
            .env("RUSTDOCFLAGS", "--deny warnings")
            .stdout(std::io::stderr());
        if let Err(error) = run::status(&mut cargo) {
            run::tell(&format!("check: {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("not as it should be: {}", failed.join("; "));
    }
    run::tell("check: all as it should be");
    Ok(())
}
