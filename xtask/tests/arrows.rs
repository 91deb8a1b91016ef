//! The dependency arrows of ARCHITECTURE.md, as facts about cargo's graph.
//!
//! `core <- web <- {app, node-wasm, sw}` and `core <- relay`. Cargo resolves each crate alone, for the target it is
//! shipped on, so an edge that only a feature of another crate switches on is not reported here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WASM: &str = "wasm32-unknown-unknown";
/// Stands for the machine the test runs on.
const NATIVE: &str = "";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_path_buf()
}

/// Names of all crates that `package` is built from on `target`, itself left out.
#[track_caller]
fn graph(package: &str, target: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--package", package]);
    if target != NATIVE {
        cargo.args(["--target", target]);
    }
    let output = cargo.output().expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree -p {package}: {stderr}");
    String::from_utf8(output.stdout)
        .expect("crate names are ASCII")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect()
}

/// A trailing `*` stands for any ending.
fn matches(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// The one place that asks cargo; every test below is data.
#[track_caller]
fn check(package: &str, target: &str, forbidden: &[&str]) {
    let reached: Vec<String> = graph(package, target)
        .into_iter()
        .filter(|name| forbidden.iter().any(|pattern| matches(name, pattern)))
        .collect();
    assert!(
        reached.is_empty(),
        "{package} must not depend on {reached:?}; `cargo tree -p {package} -i {}` shows the way",
        reached[0],
    );
}

/// What reads a clock, a file, a socket, a random number, or talks to a browser.
const IO: [&str; 24] = [
    "async-std",
    "axum",
    "futures*",
    "getrandom",
    "gloo*",
    "hyper*",
    "idb",
    "js-sys",
    "leptos*",
    "libp2p*",
    "mio",
    "quinn*",
    "rand",
    "reqwest",
    "rusqlite",
    "rustls",
    "sluice-*",
    "socket2",
    "tokio*",
    "tracing*",
    "wasm-bindgen*",
    "wasm-streams",
    "web-sys",
    "web-time",
];

#[test]
fn core_does_no_io_natively() {
    check("sluice-core", NATIVE, &IO);
}

#[test]
fn core_does_no_io_in_browsers() {
    check("sluice-core", WASM, &IO);
}

#[test]
fn core_asks_the_standard_library_for_no_io_either() {
    const FORBIDDEN: [&str; 7] = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "SystemTime",
        "Instant::now",
        "std::process",
    ];
    let mut found = Vec::new();
    for file in rust_files(&root().join("core/src")) {
        let text = fs::read_to_string(&file).expect("source is readable");
        // Tests may read their golden vectors.
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in shipped.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if FORBIDDEN.iter().any(|path| code.contains(path)) {
                found.push(format!(
                    "{}:{}: {}",
                    file.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(
        found.is_empty(),
        "core takes time, randomness and bytes as arguments:\n{}",
        found.join("\n")
    );
}

#[test]
fn web_knows_only_core() {
    let others = [
        "sluice-app",
        "sluice-node",
        "sluice-sw",
        "sluice-relay",
        "leptos*",
        "libp2p*",
    ];
    check("sluice-web", WASM, &others);
}

#[test]
fn service_worker_compiles_neither_libp2p_nor_leptos() {
    let others = [
        "sluice-app",
        "sluice-node",
        "sluice-relay",
        "leptos*",
        "libp2p*",
    ];
    check("sluice-sw", WASM, &others);
}

#[test]
fn pages_do_not_compile_libp2p() {
    check(
        "sluice-app",
        WASM,
        &["sluice-node", "sluice-sw", "sluice-relay", "libp2p*"],
    );
}

#[test]
fn node_does_not_compile_pages() {
    check(
        "sluice-node",
        WASM,
        &["sluice-app", "sluice-sw", "sluice-relay", "leptos*"],
    );
}

#[test]
fn relay_knows_no_browser() {
    check(
        "sluice-relay",
        NATIVE,
        &[
            "sluice-app",
            "sluice-node",
            "sluice-sw",
            "sluice-web",
            "leptos*",
            "gloo*",
            "web-sys",
        ],
    );
}

#[test]
fn browser_halves_share_core_through_web() {
    for package in ["sluice-app", "sluice-node", "sluice-sw"] {
        let graph = graph(package, WASM);
        assert!(
            graph.contains("sluice-core") && graph.contains("sluice-web"),
            "{package} stands alone"
        );
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("core/src is a directory") {
        let path = entry.expect("core/src is readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}
