//! The binary `sluice`: reads settings, runs one command, words its failure in one line.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;
use sluice_relay::{
    commands,
    config::{Cli, ConfigError},
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // First of all: with two providers linked in, rustls picks none by itself, and every dial
    // would fail.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing ran before main that could have installed one");
    let cli = match Cli::settle(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(ConfigError::Usage(error)) => return usage(&error),
        Err(error) => return fail(&error),
    };
    let filter = match EnvFilter::try_new(&cli.common.log) {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log: {error}; try --log info")),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// One line on stderr, whatever the error's text holds.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    let text = error.to_string();
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    writeln!(io::stderr().lock(), "sluice: {line}").ok();
    ExitCode::FAILURE
}

/// Help and version as clap prints them; a wrong command line in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        error.print().ok();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    // The first paragraph says what is wrong; tips and the usage follow.
    let cause = text.split("\n\n").next().unwrap_or_default();
    let cause = cause.strip_prefix("error: ").unwrap_or(cause);
    fail(&format!("{cause}; see sluice --help"));
    ExitCode::from(2)
}
