//! Starts the benchmarks of `e2e/bench`, which measure, print and write their own reports.

use anyhow::Result;

use crate::build;
use crate::context::Context;
use crate::run;
use crate::setup::{self, Need};

/// Builds the release binary and measures it; `rest` goes to the benchmark.
pub(crate) fn run(context: &Context, rest: &[&str]) -> Result<()> {
    setup::ensure(context, &Need::BENCH)?;
    let sluice = build::all(context)?;
    let mut bench = context.command("npm");
    bench
        .args(["run", "--silent", "bench", "--"])
        .args(rest)
        .current_dir(context.root.join("e2e"))
        .env("SLUICE_BIN", sluice);
    setup::name_browsers(context, &mut bench);
    run::status(&mut bench)
}
