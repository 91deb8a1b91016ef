//! Turning files into a work: read, seal, hash, store; all of it or nothing.
//!
//! Every publish takes a fresh random content key, so no place is ever sealed twice under one key
//! and publishing the same file twice makes two works. Nothing resumes: an interrupted publish
//! leaves nothing, because the next one could not know that the source is still the same.
//!
//! Everything here blocks.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use sluice_core::{
    ContentId, Digest, UnixMillis,
    card::{self, Card, CardError},
    chunk::LengthError,
    creator::CreatorKey,
    manifest::{Contents, FileEntry, Manifest, ManifestError, Policy},
    media::MediaError,
    path::FilePath,
    seal::ContentKey,
};

use self::{
    pipeline::{Batch, seal_all},
    source::{open_sources, read_poster},
};
use crate::store::{
    Store, StoreError, Work,
    draft::{Draft, Kind, Slot},
};

mod pipeline;
mod source;

/// 2026-01-01T00:00:00Z. A clock before the format existed is wrong.
const FORMAT_BORN: UnixMillis = UnixMillis(1_767_225_600_000);

/// What to publish.
#[derive(Debug, Clone)]
pub struct Request {
    /// The source files, in the work's order.
    pub files: Vec<PathBuf>,
    /// What the card says; `poster` is filled in from the file below.
    pub text: card::Text,
    /// The poster's file.
    pub poster: Option<PathBuf>,
}

/// A publish, or a change of a card, that did not happen. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No such file.
    #[error("no file at {}; check the path", .0.display())]
    Missing(PathBuf),
    /// A directory.
    #[error("{} is a directory; name the files in it", .0.display())]
    Directory(PathBuf),
    /// A pipe, a socket or a device: nothing with a length.
    #[error("{} is not a regular file; copy it to one first", .0.display())]
    NotAFile(PathBuf),
    /// The system refused, or failed, to read it.
    #[error("cannot read {}: {source}; check its permissions and its disk", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Empty, or longer than the format allows.
    #[error("{}: {source}; choose another file", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LengthError,
    },
    /// Its name or content is not on the list of media types.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The poster cannot be used.
    #[error("{}: {source}", path.display())]
    Poster {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MediaError,
    },
    /// Two files would have the same path.
    #[error("two files would be called {0} in the work; rename one")]
    SameName(FilePath),
    /// More than the format allows.
    #[error("a work has at most 256 files, not {0}; publish several works")]
    TooManyFiles(usize),
    /// Somebody wrote to the source meanwhile.
    #[error("{} changed while it was read; publish it again when nothing writes to it", .0.display())]
    Changed(PathBuf),
    /// The clock is plainly wrong.
    #[error("the system clock is before 2026; set it, then publish again")]
    Clock,
    /// A text of the card is out of bounds.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The work does not fit the format.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The data folder failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness for the content key.
    #[error("the system gave no random bytes: {0}; restart it")]
    Random(getrandom::Error),
    /// The person asked to stop.
    #[error("stopped; nothing was published")]
    Stopped,
    /// The card belongs to somebody else's work.
    #[error("work {0} was made by another creator; only their key can change its card")]
    NotYours(ContentId),
    /// Two edits at once.
    #[error("the card of {0} was changed by somebody else just now; look at it and try again")]
    CardRace(ContentId),
}

/// Publishes files as one free work.
///
/// `progress` gets the plaintext bytes sealed since it was last called; `stop` ends the publish
/// within about a chunk's time.
///
/// # Errors
///
/// [`PublishError`]; nothing is visible then.
pub fn publish(
    store: &Store,
    request: &Request,
    key: &CreatorKey,
    now: UnixMillis,
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<Work, PublishError> {
    if now < FORMAT_BORN {
        return Err(PublishError::Clock);
    }
    let mut text = request.text.clone();
    let poster = request.poster.as_deref().map(read_poster).transpose()?;
    text.poster = poster.as_deref().map(Digest::of);
    // Learn of a text that is too long before sealing a film, not after.
    Card::sign(ContentId(Digest::new([0; 32])), 0, text.clone(), key)?;
    let sources = open_sources(&request.files)?;
    let mut random = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random).map_err(PublishError::Random)?;
    let content_key = ContentKey::from_random(*random);

    let mut batch = Batch::new(Draft::start(store)?);
    let pages = seal_all(&sources, &content_key.cipher(), &mut batch, stop, progress)?;
    for source in &sources {
        source.still_the_same()?;
    }
    let manifest = Manifest::sign(
        Contents {
            created: now,
            files: sources
                .into_iter()
                .zip(pages)
                .map(|(source, pages)| FileEntry {
                    path: source.name,
                    media: source.media,
                    len: source.layout.len(),
                    key: 0,
                    pages,
                })
                .collect(),
            keys: vec![content_key.commitment()],
            policy: Policy::Free(vec![content_key]),
            account: None,
        },
        key,
    )?;
    let card = Card::sign(manifest.id(), 0, text, key)?;
    batch.put(
        Slot {
            kind: Kind::Manifest,
            file: 0,
            index: 0,
        },
        manifest.bytes(),
    )?;
    batch.put_card(&card, poster.as_deref())?;
    let work = Work::new(&manifest, &card);
    batch.finish()?.commit(&work)?;
    Ok(work)
}

/// Replaces a work's card: `change` edits the current text, `poster` (if any) its picture.
///
/// # Errors
///
/// [`PublishError`]; the old card stays then.
pub fn edit_card(
    store: &Store,
    id: &ContentId,
    key: &CreatorKey,
    change: impl FnOnce(&mut card::Text),
    poster: Option<&Path>,
) -> Result<Work, PublishError> {
    let unknown = || StoreError::UnknownWork(*id);
    let work = store.work_now(id)?.ok_or_else(unknown)?;
    let bytes = store.block_now(&id.0)?.ok_or_else(unknown)?;
    let manifest = Manifest::decode(&bytes)?;
    if *manifest.creator() != key.id() {
        return Err(PublishError::NotYours(*id));
    }
    let bytes = store.block_now(&work.card.digest)?.ok_or_else(unknown)?;
    let old = Card::decode(&bytes, id, manifest.creator())?;
    let mut text = old.text().clone();
    change(&mut text);
    let poster = poster.map(read_poster).transpose()?;
    if let Some(poster) = &poster {
        text.poster = Some(Digest::of(poster));
    }
    if text == *old.text() {
        return Ok(work);
    }
    let card = Card::sign(*id, old.seq() + 1, text, key)?;
    let mut batch = Batch::new(Draft::start(store)?);
    batch.put_card(&card, poster.as_deref())?;
    let work = Work::new(&manifest, &card);
    if batch.finish()?.attach(&work)? {
        Ok(work)
    } else {
        Err(PublishError::CardRace(*id))
    }
}
