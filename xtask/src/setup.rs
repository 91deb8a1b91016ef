//! Installs what is missing, and names what it cannot install.
//!
//! Rust tools and npm tools go into `target/tools`, in the versions the repository pins; browsers, ffmpeg and b3sum
//! come from the distribution, when we are root on a Debian. Nothing is replaced that already has the right version,
//! and nothing outside those places is touched.

mod npm;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::run;

/// The last Trunk that builds with our toolchain; 0.22 wants a newer Rust.
const TRUNK_VERSION: &str = "0.21.14";

/// Reads `deny.toml`; without its default features it needs no git and builds in a minute.
const DENY_VERSION: &str = "0.20.2";

/// The only compilation target of the browser half.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Oldest Node we run: `node --test` with a TAP reporter, and the engines our packages ask for.
const NODE_MAJOR: u32 = 20;

/// A group of tools one command cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The wasm32 target, Trunk, wasm-bindgen, binaryen.
    Web,
    /// ffmpeg, for sample videos.
    Media,
    /// Chromium with its driver, and Firefox.
    Browsers,
    /// The npm packages of `e2e/`.
    Packages,
    /// cargo-deny.
    Licences,
    /// b3sum, which publishing is measured against.
    Baselines,
}

impl Need {
    /// What tests take.
    pub(crate) const TEST: [Self; 4] = [Self::Web, Self::Media, Self::Browsers, Self::Packages];

    /// What benchmarks take.
    pub(crate) const BENCH: [Self; 5] = [
        Self::Web,
        Self::Media,
        Self::Browsers,
        Self::Packages,
        Self::Baselines,
    ];

    /// What building, testing and checking take: all but what only benchmarks do.
    pub(crate) const SETUP: [Self; 5] = [
        Self::Web,
        Self::Media,
        Self::Browsers,
        Self::Packages,
        Self::Licences,
    ];
}

/// A program, and the Debian package that brings it.
struct Program {
    need: Need,
    /// Any one of these will do.
    names: &'static [&'static str],
    package: &'static str,
}

const PROGRAMS: [Program; 5] = [
    Program {
        need: Need::Media,
        names: &["ffmpeg"],
        package: "ffmpeg",
    },
    Program {
        need: Need::Browsers,
        names: &["chromium", "chromium-browser", "google-chrome"],
        package: "chromium",
    },
    Program {
        need: Need::Browsers,
        names: &["chromedriver"],
        package: "chromium-driver",
    },
    Program {
        need: Need::Browsers,
        names: &["firefox-esr", "firefox"],
        package: "firefox-esr",
    },
    Program {
        need: Need::Baselines,
        names: &["b3sum"],
        package: "b3sum",
    },
];

/// Makes sure that all of `needs` is there.
pub(crate) fn ensure(context: &Context, needs: &[Need]) -> Result<()> {
    if needs.contains(&Need::Web) || needs.contains(&Need::Packages) {
        node(context)?;
    }
    programs(context, needs)?;
    if needs.contains(&Need::Web) {
        wasm_target(context)?;
        let bindgen = locked_version(context, "wasm-bindgen")?;
        cargo_tool(
            context,
            "trunk",
            "trunk",
            TRUNK_VERSION,
            &["--no-default-features"],
        )?;
        cargo_tool(context, "wasm-bindgen", "wasm-bindgen-cli", &bindgen, &[])?;
        npm::tools(context)?;
    }
    if needs.contains(&Need::Licences) {
        cargo_tool(
            context,
            "cargo-deny",
            "cargo-deny",
            DENY_VERSION,
            &["--no-default-features"],
        )?;
    }
    if needs.contains(&Need::Packages) {
        npm::packages(context)?;
    }
    Ok(())
}

/// Tells a child where the browsers are, in the words of `e2e/`.
pub(crate) fn name_browsers(context: &Context, command: &mut Command) {
    for (package, variable) in [
        ("chromium", "SLUICE_CHROMIUM"),
        ("firefox-esr", "SLUICE_FIREFOX"),
    ] {
        let names = PROGRAMS
            .iter()
            .find(|program| program.package == package)
            .map_or(&[][..], |program| program.names);
        // A person who names one means it.
        if std::env::var_os(variable).is_none()
            && let Some(path) = names.iter().find_map(|name| context.which(name))
        {
            command.env(variable, path);
        }
    }
}

/// The version of a crate that `Cargo.lock` pins.
fn locked_version(context: &Context, name: &str) -> Result<String> {
    let lock =
        fs::read_to_string(context.root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    parse_locked_version(&lock, name)
        .map(str::to_owned)
        .with_context(|| format!("Cargo.lock does not mention {name}"))
}

fn parse_locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0)
}

fn node(context: &Context) -> Result<()> {
    const REMEDY: &str = "install Node 20 or newer with npm: https://nodejs.org/en/download";
    if context.which("node").is_none() || context.which("npm").is_none() {
        bail!("node and npm are not on the PATH; {REMEDY}");
    }
    let version = run::output(context.command("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next();
    if major
        .and_then(|major| major.parse().ok())
        .is_none_or(|major: u32| major < NODE_MAJOR)
    {
        bail!("node {} is too old; {REMEDY}", version.trim());
    }
    Ok(())
}

/// Browsers, ffmpeg and b3sum, through the distribution.
fn programs(context: &Context, needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|program| needs.contains(&program.need))
        .filter(|program| {
            !program
                .names
                .iter()
                .any(|name| context.which(name).is_some())
        })
        .map(|program| program.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!(
        "apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    );
    if context.which("apt-get").is_none() {
        bail!(
            "not on the PATH: {}; install them with this system's package manager",
            missing.join(", ")
        );
    }
    if !is_root(context)? {
        bail!(
            "not on the PATH: {}; run `sudo {install}`",
            missing.join(", ")
        );
    }
    run::tell(&format!("setup: {install}"));
    let quiet = |command: &mut Command| {
        run::status(
            command
                .env("DEBIAN_FRONTEND", "noninteractive")
                .arg("--quiet"),
        )
    };
    quiet(context.command("apt-get").arg("update"))?;
    quiet(
        context
            .command("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing),
    )
}

fn is_root(context: &Context) -> Result<bool> {
    Ok(run::output(context.command("id").arg("-u"))?.trim() == "0")
}

fn wasm_target(context: &Context) -> Result<()> {
    let libdir = ["--print", "target-libdir", "--target", WASM_TARGET];
    let libdir = run::output(context.command("rustc").args(libdir))?;
    if fs::exists(libdir.trim())? {
        return Ok(());
    }
    run::tell(&format!("setup: rustup target add {WASM_TARGET}"));
    if context.which("rustup").is_none() {
        bail!(
            "rustc has no {WASM_TARGET} and rustup is not on the PATH; install it: https://rustup.rs"
        );
    }
    run::status(
        context
            .command("rustup")
            .args(["target", "add", WASM_TARGET]),
    )
}

/// A binary crate of exactly that version, from the PATH or built into `target/tools`.
fn cargo_tool(
    context: &Context,
    program: &str,
    package: &str,
    version: &str,
    flags: &[&str],
) -> Result<()> {
    if context.which(program).is_some() {
        let found = run::output(context.command(program).arg("--version"))?;
        if found.split_whitespace().nth(1) == Some(version) {
            return Ok(());
        }
    }
    run::tell(&format!(
        "setup: building {package} {version} (a few minutes, once)"
    ));
    let scratch = context.tools().join("build");
    let mut install = context.command("cargo");
    install
        .args([
            "install",
            package,
            "--version",
            version,
            "--locked",
            "--force",
            "--root",
        ])
        .arg(context.tools())
        .args(flags)
        .env("CARGO_TARGET_DIR", &scratch)
        // The minutes go into building the tool; only wasm-bindgen has work to do that an optimiser would notice.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env(
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            if program == "wasm-bindgen" { "2" } else { "0" },
        );
    run::status(&mut install)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"1.0.0\"\n\n\
                        [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.108\"\n";

    #[test]
    fn locked_version_is_that_of_the_exact_name() {
        assert_eq!(parse_locked_version(LOCK, "wasm-bindgen"), Some("0.2.108"));
    }

    #[test]
    fn only_benchmarks_take_b3sum() {
        let need = PROGRAMS
            .iter()
            .find(|program| program.package == "b3sum")
            .map(|program| program.need)
            .expect("b3sum is one of our programs");
        assert!(Need::BENCH.contains(&need));
        assert!(!Need::SETUP.contains(&need) && !Need::TEST.contains(&need));
    }

    #[test]
    fn unknown_crate_has_no_locked_version() {
        assert_eq!(parse_locked_version(LOCK, "wasm"), None);
    }
}
