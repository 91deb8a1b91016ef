//! Starting programs and talking to the person who waits for them.
//!
//! Progress goes to stderr by [`tell`], results to stdout by [`say`]. A failed child is an error that names the
//! command, so that the last line on the screen can be pasted into a shell.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A line for the person: what happens now, or what went wrong.
pub(crate) fn tell(line: &str) {
    // A closed stderr has no reader left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A result on stdout.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .map(|word| {
            if word.contains(' ') {
                format!("'{word}'")
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs to the end; the child's output is the person's.
pub(crate) fn status(command: &mut Command) -> Result<()> {
    let line = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs to the end and returns stdout; stderr is the person's.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

/// Runs to the end, feeding `input`, and returns stdout.
pub(crate) fn pipe(command: &mut Command, input: &[u8]) -> Result<String> {
    let line = show(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    child
        .stdin
        .take()
        .context("the child's stdin was not piped")?
        .write_all(input)
        .with_context(|| format!("`{line}` did not read its input"))?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

/// Runs to the end, showing stdout as it comes and returning it, with whether the child succeeded.
///
/// Not an error when the child fails: a failed test is a result.
pub(crate) fn tee(command: &mut Command) -> Result<(String, bool)> {
    let line = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let mut stdout = BufReader::new(
        child
            .stdout
            .take()
            .context("the child's stdout was not piped")?,
    );
    let mut seen = Vec::new();
    let mut bytes = Vec::new();
    while stdout.read_until(b'\n', &mut bytes)? > 0 {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&bytes).and_then(|()| out.flush());
        seen.append(&mut bytes);
    }
    let status = child.wait()?;
    Ok((
        String::from_utf8_lossy(&seen).into_owned(),
        status.success(),
    ))
}
