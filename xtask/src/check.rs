//! Everything that can be said about the code without running it.
//!
//! All steps run, whatever fails; the last line lists the ones that did.

use anyhow::{Result, bail};

use crate::context::Context;
use crate::run;
use crate::setup::{self, Need, WASM_TARGET};

/// The half that only browsers run, for cargo's command line.
const BROWSER: [&str; 10] = [
    "--target",
    WASM_TARGET,
    "--package",
    "sluice-web",
    "--package",
    "sluice-node",
    "--package",
    "sluice-sw",
    "--package",
    "sluice-app",
];

/// Runs all checks.
pub(crate) fn run(context: &Context) -> Result<()> {
    setup::ensure(context, &[Need::Web, Need::Licences])?;
    let strict = ["--", "--deny", "warnings"];
    let clippy: [&[&str]; 2] = [&["clippy", "--workspace", "--all-targets"], &["clippy"]];
    let docs: [&[&str]; 2] = [&["doc", "--workspace", "--no-deps"], &["doc", "--no-deps"]];
    let steps = [
        ("formatting", vec!["fmt", "--all", "--check"]),
        ("clippy, native", [clippy[0], &strict].concat()),
        ("clippy, wasm32", [clippy[1], &BROWSER, &strict].concat()),
        ("documentation, native", docs[0].to_vec()),
        ("documentation, wasm32", [docs[1], &BROWSER].concat()),
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
