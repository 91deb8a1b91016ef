//! Which crates are built for what, in the words of cargo's command line.

use crate::setup::WASM_TARGET;

/// What compiles for the machine at hand. Pages and node do, for their tests; the service worker is browser
/// through and through, and its decisions are core's.
pub(crate) const NATIVE: [&str; 3] = ["--workspace", "--exclude", "sluice-sw"];

/// The half that only browsers run.
pub(crate) const BROWSER: [&str; 10] = [
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

/// Crates whose tests may want a browser, and their directories.
pub(crate) const MAY_TEST_IN_BROWSER: [(&str, &str); 4] = [
    ("sluice-web", "web"),
    ("sluice-sw", "sw"),
    ("sluice-node", "node-wasm"),
    ("sluice-app", "app"),
];
