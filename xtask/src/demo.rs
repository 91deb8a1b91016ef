//! One command from a fresh clone to a page that plays: a small library of real videos, and a relay that serves it.
//!
//! The videos are computed by ffmpeg, so they can be given away, and described as what they are. Everything is kept
//! in `target/demo` and made once; a demo that was killed goes on where it stopped.

mod library;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::library::{CLIPS, Clip};
use crate::build;
use crate::context::Context;
use crate::fingerprint::files;
use crate::run;
use crate::setup::{self, Need};

/// Where the demo listens, or the first free one of the next few.
const FIRST_PORT: u16 = 8080;

/// How many ports are tried before giving up: a person can remember ten, and more means something else is wrong.
const PORTS: u16 = 10;

/// Prepares and serves; ends when the relay ends.
pub(crate) fn run(context: &Context) -> Result<()> {
    setup::ensure(context, &[Need::Web, Need::Media])?;
    let sluice = build::all(context)?;
    let dir = context.local().join("demo");
    let data = dir.join("data");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    publish_missing(context, &sluice, &dir, &data)?;

    let port = free_port()?;
    run::tell("demo: open the address below in Chromium or Firefox; Ctrl-C stops the relay");
    let mut serve = context.command(sluice);
    serve
        .arg("serve")
        .arg("--data")
        .arg(&data)
        .arg("--http")
        .arg(format!("{}:{port}", Ipv4Addr::LOCALHOST));
    become_child(serve)
}

/// Makes and publishes each clip the data folder does not list yet, so a run that was killed repeats nothing.
fn publish_missing(context: &Context, sluice: &Path, dir: &Path, data: &Path) -> Result<()> {
    // Publishing makes the data folder; before that there is nothing to list.
    let listed = if !files(data, &[])?.is_empty() {
        run::output(context.command(sluice).arg("list").arg("--data").arg(data))?
    } else {
        String::new()
    };
    let missing: Vec<&Clip> = CLIPS
        .iter()
        .filter(|clip| !listed.contains(clip.title))
        .collect();
    for (number, clip) in missing.iter().enumerate() {
        run::tell(&format!(
            "demo: {} of {}: {}",
            number + 1,
            missing.len(),
            clip.title
        ));
        let video = make(context, &dir.join(clip.file), &clip.video_arguments())?;
        let poster = make(
            context,
            &dir.join(clip.poster_file()),
            &clip.poster_arguments(&video),
        )?;
        let mut publish = context.command(sluice);
        publish
            .arg("publish")
            .arg(&video)
            .arg("--data")
            .arg(data)
            .args(["--title", clip.title, "--description", clip.description])
            .args([
                "--tags",
                clip.tags,
                "--language",
                "en",
                "--licence",
                "CC0-1.0",
            ])
            .arg("--poster")
            .arg(&poster)
            // The id it prints is a result of `publish`, not of `demo`.
            .stdout(std::io::stderr());
        run::status(&mut publish)?;
    }
    Ok(())
}

/// Lets ffmpeg write a file, unless it is there; a file is there whole or not at all.
fn make(context: &Context, file: &Path, arguments: &[String]) -> Result<PathBuf> {
    if !file.is_file() {
        // ffmpeg chooses the container by the ending, so the mark goes in front.
        let name = file
            .file_name()
            .context("a clip has a name")?
            .to_string_lossy();
        let unfinished = file.with_file_name(format!("unfinished-{name}"));
        let mut ffmpeg = context.command("ffmpeg");
        ffmpeg
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
            .args(arguments)
            .arg(&unfinished);
        run::status(&mut ffmpeg)?;
        fs::rename(&unfinished, file)
            .with_context(|| format!("cannot rename {}", unfinished.display()))?;
    }
    Ok(file.to_path_buf())
}

fn free_port() -> Result<u16> {
    (FIRST_PORT..FIRST_PORT + PORTS)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .with_context(|| {
            let last = FIRST_PORT + PORTS - 1;
            format!("ports {FIRST_PORT} to {last} are all taken; stop one of the programs that listen there")
        })
}

/// Replaces this process, so that a signal sent to the demo reaches the relay and nothing outlives it.
#[cfg(unix)]
fn become_child(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    bail!("cannot start `{}`: {error}", run::show(&command))
}

#[cfg(not(unix))]
fn become_child(mut command: Command) -> Result<()> {
    run::status(&mut command)
}
