//! The commands of the binary: settings in, results to stdout, progress to stderr.
//!
//! Nothing here decides; it words results and calls the modules that do.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use sluice_core::{ContentId, UnixMillis, card::Text, creator::CreatorKey, link::LinkError};

use crate::{
    config::{Cli, Command, Common, EditCard, Fetch, Gc, Publish, Remove},
    fetch::{self, FetchError},
    publish::{self, PublishError, Request},
    serve::{self, ServeError},
    store::{
        MAX_PAGE, Open, Store, StoreError, Work,
        gc::{self, Swept},
        keys::{self, Key},
    },
};

/// A command that did not do what was asked: one line that names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Publishing, or changing a card.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Fetching.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Serving.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Not a work's id.
    #[error("{text:?} is {source}")]
    Id {
        /// What was written.
        text: String,
        /// Why it is none.
        source: LinkError,
    },
    /// Not told what or where.
    #[error("{0}")]
    Incomplete(&'static str),
    /// `gc --verify` found damage; it was named on stdout.
    #[error(
        "{0} blocks are damaged; restore their files from a backup, or remove and publish those works again"
    )]
    Damaged(usize),
    /// Ctrl-C, where nothing else says so.
    #[error("stopped")]
    Stopped,
    /// The system gave us no threads, signals or standard output.
    #[error("the system failed: {0}")]
    System(#[from] io::Error),
}

/// Runs one command to its end.
///
/// # Errors
///
/// [`CommandError`], for one line on stderr.
pub fn run(cli: Cli) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let common = cli.common;
    let result = match cli.command {
        Command::Serve(settings) => runtime
            .block_on(serve::run(&common.data, *settings))
            .map_err(CommandError::from),
        Command::Publish(settings) => runtime.block_on(publish_files(&common, *settings)),
        Command::Fetch(settings) => runtime.block_on(fetch_work(&common, settings)),
        Command::Keygen(_) => keygen(&common),
        Command::List(_) => list(&common),
        Command::Card(settings) => edit_card(&common, *settings),
        Command::Remove(settings) => remove(&common, &settings),
        Command::Gc(settings) => collect(&common, &settings),
    };
    // A blocking read that hangs on a dead disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn publish_files(common: &Common, settings: Publish) -> Result<(), CommandError> {
    if settings.title.trim().is_empty() {
        return Err(CommandError::Incomplete(
            "a work needs a title; add --title \"…\"",
        ));
    }
    let request = Request {
        files: settings.files,
        text: Text {
            title: settings.title,
            description: settings.description,
            language: settings.language,
            tags: settings.tags,
            licence: settings.licence,
            poster: None,
            unlisted: settings.unlisted,
        },
        poster: settings.poster,
    };
    let store = Store::open(&common.data, Open::OrCreate)?;
    let key = creator_key(&store)?;
    let total = request
        .files
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|m| m.len())
        .sum();
    let bar = bar(common, total, "publishing");
    let stop = Arc::new(AtomicBool::new(false));
    let job = tokio::task::spawn_blocking({
        let (stop, bar) = (stop.clone(), bar.clone());
        move || {
            publish::publish(&store, &request, &key, now(), &stop, &|bytes| {
                bar.inc(bytes)
            })
        }
    });
    tokio::pin!(job);
    let work = tokio::select! {
        done = &mut job => done,
        () = interrupted() => {
            stop.store(true, Ordering::Relaxed);
            job.await
        }
    };
    bar.finish_and_clear();
    let work = work.map_err(|_| CommandError::Stopped)??;
    if !common.quiet && !common.json {
        note(&format!(
            "published {:?}, {}, at {}",
            work.title,
            size(work.bytes),
            bar_rate(&bar)
        ));
    }
    show(common, || work.id.to_string(), || json!(work))
}

async fn fetch_work(common: &Common, settings: Fetch) -> Result<(), CommandError> {
    let id = parse_id(&settings.id)?;
    let out = settings
        .out
        .ok_or(CommandError::Incomplete("where to? add --out PATH"))?;
    let from = settings
        .from
        .unwrap_or_else(|| common.data.display().to_string());
    let source = fetch::Source::open(&from)?;
    let bar = bar(common, 0, "fetching");
    let progress = |step| match step {
        fetch::Progress::Total(bytes) => bar.set_length(bytes),
        fetch::Progress::Wrote(bytes) => bar.inc(bytes),
    };
    let fetched = tokio::select! {
        done = fetch::fetch(&source, &id, &out, settings.force, &progress) => done,
        () = interrupted() => return Err(CommandError::Stopped),
    };
    bar.finish_and_clear();
    let fetched = fetched?;
    let title = match fetched.title {
        Ok(title) => title,
        Err(error) => {
            if !common.quiet {
                note(&format!("fetched, but without its title: {error}"));
            }
            None
        }
    };
    if let Some(title) = title.as_deref().filter(|_| !common.quiet && !common.json) {
        note(&format!(
            "fetched {title:?}, {}, at {}",
            size(fetched.bytes),
            bar_rate(&bar)
        ));
    }
    let lines = || {
        let names = fetched.files.iter().map(|path| path.display().to_string());
        names.collect::<Vec<_>>().join("\n")
    };
    show(
        common,
        lines,
        || json!({"id": id.to_string(), "title": title, "bytes": fetched.bytes, "files": fetched.files}),
    )
}

fn keygen(common: &Common) -> Result<(), CommandError> {
    let store = Store::open(&common.data, Open::OrCreate)?;
    let (node, node_new) = keys::load_or_create(&store, Key::Node)?;
    let peer = serve::peer_id(&node);
    let (seed, creator_new) = keys::load_or_create(&store, Key::Creator)?;
    let creator = CreatorKey::from_seed(&seed).id();
    let word = |new| if new { "made" } else { "kept" };
    show(
        common,
        || {
            format!(
                "creator  {creator}  {} {}\nnode     {peer}  {} {}",
                word(creator_new),
                Key::Creator.path(&store).display(),
                word(node_new),
                Key::Node.path(&store).display(),
            )
        },
        || json!({"creator": creator.to_string(), "peer_id": peer, "made": node_new || creator_new}),
    )
}

fn list(common: &Common) -> Result<(), CommandError> {
    let store = Store::open(&common.data, Open::Existing)?;
    let mut works = Vec::new();
    let mut before = None;
    loop {
        let page = store.works_now(MAX_PAGE, before, true)?;
        works.extend(page.works);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    if works.is_empty() && !common.json {
        note("no works yet; add one with: sluice publish FILE --title \"…\"");
        return Ok(());
    }
    let line = |work: &Work| {
        let mark = if work.unlisted { "  (unlisted)" } else { "" };
        format!(
            "{}  {}  {:>10}  {}{mark}",
            work.id,
            date(work.created_ms),
            size(work.bytes),
            work.title
        )
    };
    show(
        common,
        || works.iter().map(line).collect::<Vec<_>>().join("\n"),
        || json!(works),
    )
}

fn edit_card(common: &Common, settings: EditCard) -> Result<(), CommandError> {
    let id = parse_id(&settings.id)?;
    let store = Store::open(&common.data, Open::Existing)?;
    let changes = settings.title.is_some()
        || settings.description.is_some()
        || settings.tags.is_some()
        || settings.poster.is_some()
        || settings.no_poster
        || settings.language.is_some()
        || settings.licence.is_some()
        || settings.unlisted.is_some();
    let work = if changes {
        let key = creator_key(&store)?;
        let poster = settings.poster.clone();
        publish::edit_card(
            &store,
            &id,
            &key,
            |text| apply(settings, text),
            poster.as_deref(),
        )?
    } else {
        store.work_now(&id)?.ok_or(StoreError::UnknownWork(id))?
    };
    let text = || {
        format!(
            "title        {}\ndescription  {}\nlanguage     {}\ntags         {}\nlicence      {}\nposter       {}\nunlisted     {}\ncard         {} (number {})",
            work.title,
            work.description.replace('\n', "\n             "),
            work.language,
            work.tags.join(", "),
            work.licence,
            work.poster.map(|link| link.to_string()).unwrap_or_default(),
            work.unlisted,
            work.card,
            work.card_seq,
        )
    };
    show(common, text, || json!(work))
}

fn apply(settings: EditCard, text: &mut Text) {
    if let Some(title) = settings.title {
        text.title = title;
    }
    if let Some(description) = settings.description {
        text.description = description;
    }
    if let Some(tags) = settings.tags {
        text.tags = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
    }
    if settings.no_poster {
        text.poster = None;
    }
    if let Some(language) = settings.language {
        text.language = language;
    }
    if let Some(licence) = settings.licence {
        text.licence = licence;
    }
    if let Some(unlisted) = settings.unlisted {
        text.unlisted = unlisted;
    }
}

fn remove(common: &Common, settings: &Remove) -> Result<(), CommandError> {
    let ids: Vec<ContentId> = settings
        .ids
        .iter()
        .map(|text| parse_id(text))
        .collect::<Result<_, _>>()?;
    let store = Store::open(&common.data, Open::Existing)?;
    let mut total = Swept::default();
    for id in &ids {
        let swept = gc::remove(&store, id)?;
        total.blocks += swept.blocks;
        total.bytes += swept.bytes;
    }
    show(
        common,
        || {
            format!(
                "removed {} works, freed {} in {} blocks",
                ids.len(),
                size(total.bytes),
                total.blocks
            )
        },
        || json!({"removed": ids.len(), "blocks": total.blocks, "bytes": total.bytes}),
    )
}

fn collect(common: &Common, settings: &Gc) -> Result<(), CommandError> {
    let store = Store::open(&common.data, Open::Existing)?;
    let swept = gc::collect(&store)?;
    let mut damage = Vec::new();
    if settings.verify {
        let bar = bar(common, gc::stored_bytes(&store)?, "reading");
        damage = gc::verify(&store, |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
    }
    let text = || {
        let mut lines = vec![format!(
            "cleared {} interrupted publishes, freed {} in {} blocks",
            swept.drafts,
            size(swept.bytes),
            swept.blocks
        )];
        lines.extend(damage.iter().map(|found| {
            format!(
                "damaged: block {} of work {}: {}",
                found.digest, found.work, found.reason
            )
        }));
        if settings.verify && damage.is_empty() {
            lines.push("every block is what it should be".into());
        }
        lines.join("\n")
    };
    show(
        common,
        text,
        || json!({"drafts": swept.drafts, "blocks": swept.blocks, "bytes": swept.bytes, "damaged": damage}),
    )?;
    if damage.is_empty() {
        Ok(())
    } else {
        Err(CommandError::Damaged(damage.len()))
    }
}

fn creator_key(store: &Store) -> Result<CreatorKey, StoreError> {
    keys::load_or_create(store, Key::Creator).map(|(seed, _)| CreatorKey::from_seed(&seed))
}

fn parse_id(text: &str) -> Result<ContentId, CommandError> {
    if text.is_empty() {
        return Err(CommandError::Incomplete(
            "which work? give its id; `sluice list` shows them",
        ));
    }
    text.parse().map_err(|source| CommandError::Id {
        text: text.chars().take(120).collect(),
        source,
    })
}

/// The clock. Before 1970 it reads 0, which `publish` refuses.
fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Waits for Ctrl-C or a polite kill.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() {
            std::future::pending::<()>().await;
        },
        _ = term.recv() => {}
    }
}

fn bar(common: &Common, total: u64, what: &'static str) -> ProgressBar {
    let target = if common.quiet {
        ProgressDrawTarget::hidden()
    } else {
        // Draws nothing when stderr is no terminal.
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template(
        "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
    )
    .expect("the template is a constant that the tests draw");
    ProgressBar::with_draw_target(Some(total), target)
        .with_style(style)
        .with_message(what)
}

fn bar_rate(bar: &ProgressBar) -> String {
    let seconds = bar.elapsed().as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let megabytes = bar.position() as f64 / seconds / 1e6;
    format!("{megabytes:.0} MB/s")
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn date(ms: u64) -> String {
    i64::try_from(ms / 1000)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| "?".into(), |at| at.date().to_string())
}

/// A result, on stdout.
fn show(
    common: &Common,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> serde_json::Value,
) -> Result<(), CommandError> {
    let line = if common.json {
        json().to_string()
    } else {
        text()
    };
    print(&line)
}

/// Writes a line to stdout at once; a closed pipe is the reader's choice, not an error.
pub(crate) fn print(line: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A remark, on stderr.
fn note(line: &str) {
    // Nobody is left to tell if stderr is gone.
    writeln!(io::stderr().lock(), "{line}").ok();
}
