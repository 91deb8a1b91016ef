//! Turning files into a work: read, seal, hash, store; all of it or nothing.
//!
//! Several threads each take the next chunk, read it at its offset, seal it and write it under a
//! temporary name; the calling thread gathers them, builds hash pages and makes batches durable
//! while the others go on. Memory is one chunk per thread, whatever the length of the film.
//!
//! Every publish takes a fresh random content key, so no place is ever sealed twice under one key
//! and publishing the same file twice makes two works. Nothing resumes: an interrupted publish
//! leaves nothing, because the next one could not know that the source is still the same.
//!
//! Everything here blocks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use sluice_core::{
    ChunkIndex, ContentId, Digest, FileIndex, Link, UnixMillis,
    card::{self, Card, CardError},
    chunk::{Layout, LengthError, PAGE_LINKS},
    creator::CreatorKey,
    manifest::{Contents, FileEntry, MAX_FILES, Manifest, ManifestError, Policy},
    media::{MAX_POSTER_LEN, MediaError, MediaType, SNIFF_LEN},
    page::HashPage,
    path::FilePath,
    seal::{Cipher, ContentKey, Place},
};

use crate::store::{
    Store, StoreError, Work,
    draft::{BATCH, Draft, Kind, Slot, Writer, Written},
};

/// Threads that read, seal and write. More than this and the disk is the limit.
const MAX_THREADS: usize = 8;

/// Chunks written but not yet gathered: one batch fills while another is being synced.
const QUEUE: usize = BATCH;

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
    batch.put(Slot { kind: Kind::Manifest, file: 0, index: 0 }, manifest.bytes())?;
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

/// A source file, open and known to be publishable.
struct Source {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    name: FilePath,
    media: MediaType,
    layout: Layout,
}

/// What changes when somebody writes to a file.
#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Source {
    fn still_the_same(&self) -> Result<(), PublishError> {
        let metadata = self.file.metadata().map_err(|source| unreadable(&self.path, source))?;
        if Stamp::of(&metadata) == self.stamp {
            Ok(())
        } else {
            Err(PublishError::Changed(self.path.clone()))
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> PublishError {
    PublishError::Unreadable {
        path: path.into(),
        source,
    }
}

/// Opens a regular file; looks before it opens, because opening a pipe would wait for a writer.
fn open_regular(path: &Path) -> Result<(File, fs::Metadata), PublishError> {
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            PublishError::Missing(path.into())
        }
        _ => unreadable(path, source),
    })?;
    if metadata.is_dir() {
        return Err(PublishError::Directory(path.into()));
    }
    if !metadata.is_file() {
        return Err(PublishError::NotAFile(path.into()));
    }
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    Ok((file, metadata))
}

fn open_sources(paths: &[PathBuf]) -> Result<Vec<Source>, PublishError> {
    if paths.len() > MAX_FILES {
        return Err(PublishError::TooManyFiles(paths.len()));
    }
    let mut sources: Vec<Source> = Vec::with_capacity(paths.len());
    for path in paths {
        let source = open_source(path)?;
        if sources.iter().any(|other| other.name.nests_with(&source.name)) {
            return Err(PublishError::SameName(source.name));
        }
        sources.push(source);
    }
    Ok(sources)
}

fn open_source(path: &Path) -> Result<Source, PublishError> {
    let (file, metadata) = open_regular(path)?;
    let layout = Layout::new(metadata.len()).map_err(|source| PublishError::Length {
        path: path.into(),
        source,
    })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = FilePath::suggest(&name);
    let mut start = Vec::with_capacity(SNIFF_LEN);
    (&file)
        .take(SNIFF_LEN as u64)
        .read_to_end(&mut start)
        .map_err(|source| unreadable(path, source))?;
    let media = MediaType::of(&name, &start)?;
    Ok(Source {
        path: path.into(),
        file,
        stamp: Stamp::of(&metadata),
        name,
        media,
        layout,
    })
}

fn read_poster(path: &Path) -> Result<Vec<u8>, PublishError> {
    let (file, metadata) = open_regular(path)?;
    let refuse = |source| PublishError::Poster {
        path: path.into(),
        source,
    };
    if metadata.len() > MAX_POSTER_LEN {
        return Err(refuse(MediaError::PosterTooLong(metadata.len())));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed: a file that grows under us is still refused.
    file.take(MAX_POSTER_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    MediaType::of_poster(&bytes).map_err(refuse)?;
    Ok(bytes)
}

/// A sealed chunk, written.
struct Sealed {
    file: FileIndex,
    chunk: ChunkIndex,
    plain_len: u64,
    block: Written,
}

/// Seals every chunk of every source into `batch` and returns each source's page links.
fn seal_all(
    sources: &[Source],
    cipher: &Cipher,
    batch: &mut Batch,
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<Vec<Vec<Link>>, PublishError> {
    let queue = Queue::new(sources);
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(2, MAX_THREADS);
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, writer, queue) = (sender.clone(), batch.writer.clone(), &queue);
            scope.spawn(move || {
                let mut buffer = Vec::new();
                while let Some((file, chunk)) = queue.next() {
                    let sealed = if stop.load(Ordering::Relaxed) {
                        Err(PublishError::Stopped)
                    } else {
                        seal(&sources[file], index_of(file), chunk, cipher, &writer, &mut buffer)
                    };
                    // The gatherer gone, or an error told: nothing more to do.
                    let failed = sealed.is_err();
                    if sender.send(sealed).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut pages = Pages::new(sources);
        for sealed in receiver {
            let Sealed { file, chunk, plain_len, block } = sealed?;
            let page = pages.add(file, chunk, block.digest);
            batch.add(Slot { kind: Kind::Chunk, file: file.0, index: chunk.0 }, block)?;
            if let Some((index, page)) = page {
                let slot = Slot { kind: Kind::Page, file: file.0, index };
                let digest = batch.put(slot, &page.encode())?;
                pages.link(file, index, digest);
            }
            progress(plain_len);
        }
        Ok(pages.into_links())
    })
}

fn index_of(file: usize) -> FileIndex {
    FileIndex(u32::try_from(file).expect("a work has at most 256 files"))
}

fn seal(
    source: &Source,
    file: FileIndex,
    chunk: ChunkIndex,
    cipher: &Cipher,
    writer: &Writer,
    buffer: &mut Vec<u8>,
) -> Result<Sealed, PublishError> {
    let layout = source.layout;
    let plain_len = layout.plain_len(chunk);
    buffer.resize(usize::try_from(plain_len).expect("a chunk has at most 256 KiB"), 0);
    let offset = chunk.0 * sluice_core::chunk::CHUNK_LEN;
    source.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => PublishError::Changed(source.path.clone()),
        _ => unreadable(&source.path, error),
    })?;
    let last = layout.is_last(chunk);
    cipher.seal(Place { file, chunk, last }, buffer);
    let block = writer.write(buffer)?;
    Ok(Sealed { file, chunk, plain_len, block })
}

/// All chunks of all sources, each handed out once.
struct Queue {
    /// For each source the number of chunks before its first, then the total.
    starts: Vec<u64>,
    next: AtomicU64,
}

impl Queue {
    fn new(sources: &[Source]) -> Self {
        let mut starts = vec![0];
        for source in sources {
            starts.push(starts.last().copied().unwrap_or(0) + source.layout.chunks());
        }
        Self {
            starts,
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Option<(usize, ChunkIndex)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = self.starts.partition_point(|start| *start <= number).checked_sub(1)?;
        // Past the last start there is no file.
        (file + 1 < self.starts.len()).then(|| (file, ChunkIndex(number - self.starts[file])))
    }
}

/// Hash pages being filled. Chunks come nearly in order, so few are open at a time.
struct Pages {
    layouts: Vec<Layout>,
    open: BTreeMap<(FileIndex, u64), Vec<Option<Digest>>>,
    links: Vec<Vec<Option<Link>>>,
}

impl Pages {
    fn new(sources: &[Source]) -> Self {
        let layouts: Vec<Layout> = sources.iter().map(|source| source.layout).collect();
        let links = layouts
            .iter()
            .map(|layout| vec![None; usize::try_from(layout.pages()).unwrap_or(usize::MAX)])
            .collect();
        Self {
            layouts,
            open: BTreeMap::new(),
            links,
        }
    }

    /// Takes a chunk's digest in; returns its page if that is now full.
    fn add(
        &mut self,
        file: FileIndex,
        chunk: ChunkIndex,
        digest: Digest,
    ) -> Option<(u64, HashPage)> {
        let index = chunk.0 / PAGE_LINKS;
        let want = self.layouts.get(file.0 as usize)?.links_on(index);
        let slots = self.open.entry((file, index)).or_default();
        slots.resize(usize::try_from(want).ok()?, None);
        *slots.get_mut(usize::try_from(chunk.0 % PAGE_LINKS).ok()?)? = Some(digest);
        let full: Vec<Digest> = slots.iter().copied().collect::<Option<_>>()?;
        self.open.remove(&(file, index));
        Some((index, HashPage::new(full)))
    }

    fn link(&mut self, file: FileIndex, index: u64, digest: Digest) {
        let page = usize::try_from(index).ok();
        let links = self.links.get_mut(file.0 as usize);
        if let Some(link) = links.zip(page).and_then(|(links, page)| links.get_mut(page)) {
            *link = Some(digest.dag_cbor());
        }
    }

    fn into_links(self) -> Vec<Vec<Link>> {
        // Every chunk was taken in, so every page was filled; the manifest's own check holds us
        // to that.
        self.links.into_iter().map(|links| links.into_iter().flatten().collect()).collect()
    }
}

/// Blocks on their way into a draft, staged [`BATCH`] at a time.
struct Batch {
    draft: Draft,
    writer: Writer,
    waiting: Vec<(Slot, Written)>,
}

impl Batch {
    fn new(draft: Draft) -> Self {
        Self {
            writer: draft.writer(),
            draft,
            waiting: Vec::with_capacity(BATCH),
        }
    }

    fn put(&mut self, slot: Slot, bytes: &[u8]) -> Result<Digest, StoreError> {
        let block = self.writer.write(bytes)?;
        let digest = block.digest;
        self.add(slot, block)?;
        Ok(digest)
    }

    fn put_card(&mut self, card: &Card, poster: Option<&[u8]>) -> Result<(), StoreError> {
        let index = card.seq();
        self.put(Slot { kind: Kind::Card, file: 0, index }, card.bytes())?;
        if let Some(poster) = poster {
            self.put(Slot { kind: Kind::Poster, file: 0, index }, poster)?;
        }
        Ok(())
    }

    fn add(&mut self, slot: Slot, block: Written) -> Result<(), StoreError> {
        self.waiting.push((slot, block));
        if self.waiting.len() == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.draft.stage(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Draft, StoreError> {
        self.flush()?;
        Ok(self.draft)
    }
}
