//! `cargo xtask`: the only build script of the repository.
//!
//! It decides in which order other programs run and what their results mean; it holds no logic of the product.
//! A person reads one line per step on stderr; stdout carries only results: a URL, counts, a path.

mod bench;
mod build;
mod check;
mod clone;
mod context;
mod counts;
mod crates;
mod demo;
mod fingerprint;
mod run;
mod setup;
mod test;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::setup::Need;

const USAGE: &str = "usage: cargo xtask COMMAND

  setup   install the pinned tools that are missing; name the ones it cannot install
  build   the web app, and target/release/sluice with the app embedded  (--web: only the web app)
  demo    set up, build, publish a small sample library, serve it and print its URL
  test    set up and run every test there is; the last line is the count  (or some of: native wasm vectors chromium firefox)
  check   formatting, clippy on native and wasm32, documentation, dependency arrows, licences
  bench   the benchmarks; writes target/bench.json and docs/BENCHMARKS.md";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            run::tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[&str]) -> Result<ExitCode> {
    let context = Context::find()?;
    match args {
        ["setup"] => setup::ensure(&context, &Need::SETUP)?,
        ["build"] => drop(build::all(&context)?),
        ["build", "--web"] => build::web(&context)?,
        ["demo"] => demo::run(&context)?,
        ["test", only @ ..] => return test::run(&context, only),
        ["check"] => check::run(&context)?,
        ["bench", rest @ ..] => bench::run(&context, rest)?,
        ["help" | "--help" | "-h"] | [] => run::say(USAGE),
        _ => bail!("unknown command `{}`\n\n{USAGE}", args.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}
