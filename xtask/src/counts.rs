//! Reads how many tests passed and failed from what test runners print.
//!
//! # Invariants
//!
//! - A runner that failed counts at least one failure, whatever it printed: a suite that did not compile, crashed or
//!   found nothing to run never looks like success.

use std::iter::Sum;
use std::ops::Add;

use serde_json::Value;

/// Tests of one or more suites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran and held.
    pub(crate) passed: u64,
    /// Ran and did not hold, or could not run.
    pub(crate) failed: u64,
    /// Were there and did not run.
    pub(crate) skipped: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl Counts {
    /// A suite that could not run at all.
    pub(crate) const BROKEN: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// What the runner's exit says about its own counts.
    pub(crate) fn settle(self, succeeded: bool) -> Self {
        let silent = self == Self::default();
        if self.failed == 0 && (!succeeded || silent) {
            return self + Self::BROKEN;
        }
        self
    }

    /// Sums the `test result:` lines of cargo and of wasm-bindgen's runner.
    pub(crate) fn from_cargo(output: &str) -> Self {
        output.lines().filter_map(cargo_line).sum()
    }

    /// Reads the summary of Node's TAP reporter.
    pub(crate) fn from_tap(output: &str) -> Self {
        let last = |name: &str| {
            let lines = output.lines().rev();
            lines
                .filter_map(|line| {
                    line.strip_prefix("# ")?
                        .strip_prefix(name)?
                        .strip_prefix(' ')?
                        .parse()
                        .ok()
                })
                .next()
                .unwrap_or(0)
        };
        Self {
            passed: last("pass"),
            failed: last("fail") + last("cancelled"),
            skipped: last("skipped") + last("todo"),
        }
    }

    /// Reads `stats` of Playwright's JSON reporter. A flaky test passed, at a second try.
    pub(crate) fn from_playwright(report: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(report).ok()?;
        let stats = report.get("stats")?;
        let count = |name: &str| stats.get(name).and_then(Value::as_u64);
        let errors = report
            .get("errors")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        Some(Self {
            passed: count("expected")? + count("flaky")?,
            failed: count("unexpected")? + u64::try_from(errors).ok()?,
            skipped: count("skipped")?,
        })
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
fn cargo_line(line: &str) -> Option<Counts> {
    let (_, summary) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let count = |name: &str| {
        let part = summary
            .split(';')
            .find_map(|part| part.trim().strip_suffix(name))?;
        part.trim().parse().ok()
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn cargo_results_of_all_binaries_add_up() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
                      finished in 0.00s\n\n\
                      test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(Counts::from_cargo(output), counts(5, 4, 1));
    }

    #[test]
    fn wasm_bindgen_prints_like_cargo() {
        let output =
            "test result: ok. 7 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.02s\n";
        assert_eq!(Counts::from_cargo(output), counts(7, 0, 0));
    }

    #[test]
    fn tap_summary_is_read_with_cancelled_as_failed() {
        let output = "ok 1 - a\n# tests 9\n# suites 1\n# pass 5\n# fail 1\n# cancelled 1\n# skipped 2\n# todo 0\n";
        assert_eq!(Counts::from_tap(output), counts(5, 2, 2));
    }

    #[test]
    fn playwright_counts_flaky_as_passed_and_load_errors_as_failed() {
        let report = r#"{"stats":{"expected":8,"skipped":1,"unexpected":2,"flaky":1},"errors":[{"message":"x"}]}"#;
        assert_eq!(Counts::from_playwright(report), Some(counts(9, 3, 1)));
    }

    #[test]
    fn torn_playwright_report_is_none() {
        assert_eq!(Counts::from_playwright("{\"stats\":"), None);
    }

    #[test]
    fn failed_runner_without_a_failed_test_counts_one_failure() {
        assert_eq!(counts(3, 0, 0).settle(false), counts(3, 1, 0));
    }

    #[test]
    fn runner_that_ran_nothing_counts_one_failure() {
        assert_eq!(Counts::default().settle(true), Counts::BROKEN);
    }

    #[test]
    fn counted_failures_are_not_counted_twice() {
        assert_eq!(counts(3, 2, 0).settle(false), counts(3, 2, 0));
    }
}
