//! Runs every test there is, and counts.
//!
//! A suite that fails does not stop the next one: the person who waited half an hour wants the whole list. stdout
//! ends with one line, `N passed, N failed`.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::clone;
use crate::context::Context;
use crate::counts::Counts;
use crate::crates::{MAY_TEST_IN_BROWSER, NATIVE};
use crate::fingerprint::files;
use crate::run;
use crate::setup::{self, Need, WASM_TARGET};

/// One runner and the tests it knows.
struct Suite {
    name: &'static str,
    run: fn(&Context) -> Result<Counts>,
}

const SUITES: [Suite; 5] = [
    Suite {
        name: "native",
        run: native,
    },
    Suite {
        name: "wasm",
        run: wasm,
    },
    Suite {
        name: "vectors",
        run: vectors,
    },
    Suite {
        name: "chromium",
        run: chromium,
    },
    Suite {
        name: "firefox",
        run: firefox,
    },
];

/// Runs the suites named in `only`, or all of them; the exit code says whether all tests held.
pub(crate) fn run(context: &Context, only: &[&str]) -> Result<ExitCode> {
    if let Some(unknown) = only
        .iter()
        .find(|name| SUITES.iter().all(|suite| suite.name != **name))
    {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        bail!(
            "no test suite is called `{unknown}`; there are {}",
            known.join(", ")
        );
    }
    let mut results = Vec::new();
    let mut record = |name: &'static str, suite: &dyn Fn() -> Result<Counts>| {
        run::tell(&format!("test: {name}"));
        let started = Instant::now();
        let counts = suite().unwrap_or_else(|error| {
            run::tell(&format!("error: {name}: {error:#}"));
            Counts::BROKEN
        });
        results.push((name, counts, started.elapsed().as_secs()));
        counts
    };
    // Nothing to count when it holds; a failure is one, so that a machine that lacks something never looks green.
    let set_up = record("set-up", &|| {
        setup::ensure(context, &Need::TEST).map(|()| Counts::default())
    });
    if set_up.failed == 0 {
        for suite in SUITES
            .iter()
            .filter(|suite| only.is_empty() || only.contains(&suite.name))
        {
            record(suite.name, &|| (suite.run)(context));
        }
    }
    run::say("");
    for (name, counts, seconds) in &results {
        let Counts {
            passed,
            failed,
            skipped,
        } = counts;
        run::say(&format!(
            "{name:<9} {passed:>5} passed {failed:>3} failed {skipped:>3} skipped {seconds:>5} s"
        ));
    }
    let Counts { passed, failed, .. } = results.iter().map(|(_, counts, _)| *counts).sum();
    run::say(&format!("{passed} passed, {failed} failed"));
    // No word about a failure after the counts: they are the last line, for people and machines alike.
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn native(context: &Context) -> Result<Counts> {
    let mut cargo = context.command("cargo");
    cargo.args(["test", "--no-fail-fast"]).args(NATIVE);
    clone::claim(context)?;
    let (output, succeeded) = run::tee(&mut cargo)?;
    Ok(Counts::from_cargo(&output).settle(succeeded))
}

/// Browser tests of the Rust crates, one headless Chromium per test binary.
fn wasm(context: &Context) -> Result<Counts> {
    let mut cargo = context.command("cargo");
    cargo.args([
        "test",
        "--no-fail-fast",
        "--target",
        WASM_TARGET,
        "--lib",
        "--tests",
    ]);
    for (package, dir) in MAY_TEST_IN_BROWSER {
        if has_browser_tests(&context.root.join(dir))? {
            cargo.args(["--package", package]);
        }
    }
    let runner = context
        .which("wasm-bindgen-test-runner")
        .context("wasm-bindgen-test-runner is not installed")?;
    let driver = context
        .which("chromedriver")
        .context("chromedriver is not installed")?;
    cargo
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("CHROMEDRIVER", driver)
        .env(
            "WASM_BINDGEN_TEST_WEBDRIVER_JSON",
            context.root.join("xtask/webdriver.json"),
        )
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120");
    clone::claim(context)?;
    let (output, succeeded) = run::tee(&mut cargo)?;
    Ok(Counts::from_cargo(&output).settle(succeeded))
}

fn has_browser_tests(dir: &Path) -> Result<bool> {
    for file in files(dir, &["target", "node_modules"])? {
        if file.extension().is_some_and(|ext| ext == "rs")
            && fs::read_to_string(&file)?.contains("wasm_bindgen_test")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn vectors(context: &Context) -> Result<Counts> {
    tap(&mut e2e(context, "node"), "vectors.test.mjs")
}

fn firefox(context: &Context) -> Result<Counts> {
    let sluice = build::all(context)?;
    tap(
        e2e(context, "node").env("SLUICE_BIN", sluice),
        "firefox.test.mjs",
    )
}

fn chromium(context: &Context) -> Result<Counts> {
    let sluice = build::all(context)?;
    let report = context.target.join("playwright.json");
    // An old report must not speak for a run that wrote none.
    let _ = fs::remove_file(&report);
    let mut playwright = e2e(context, "npx");
    playwright
        .args(["--no-install", "playwright", "test", "--reporter=list,json"])
        .env("PLAYWRIGHT_JSON_OUTPUT_FILE", &report)
        .env("SLUICE_BIN", sluice);
    let (_, succeeded) = run::tee(&mut playwright)?;
    let report = fs::read_to_string(&report).context("playwright wrote no report")?;
    let counts = Counts::from_playwright(&report).context("playwright's report has no counts")?;
    Ok(counts.settle(succeeded))
}

fn e2e(context: &Context, program: &str) -> Command {
    let mut command = context.command(program);
    command.current_dir(context.root.join("e2e"));
    setup::name_browsers(context, &mut command);
    command
}

fn tap(node: &mut Command, file: &str) -> Result<Counts> {
    let (output, succeeded) = run::tee(node.args(["--test", "--test-reporter=tap", file]))?;
    Ok(Counts::from_tap(&output).settle(succeeded))
}
