//! Getting a free work's files back, from a data folder or from a relay over HTTP.
//!
//! Nothing is believed: manifest, card, pages and chunks are checked against the id that was asked
//! for, and each chunk opens only in its place. Files are written beside their final names and
//! renamed when all of them are complete and durable, never outside the path that was named.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sluice_core::{
    ChunkIndex, ContentId, FileIndex, Link,
    card::{Card, CardError},
    chunk::PAGE_LINKS,
    manifest::{FileEntry, MAX_MANIFEST_LEN, Manifest, ManifestError},
    page::{HashPage, PageError},
    path::FilePath,
    seal::{Cipher, OpenError, Place},
};

use crate::store::{Open, Store, StoreError, Work};

/// Chunks asked for at once; bounds memory to a few of 256 KiB.
const AT_ONCE: usize = 8;

/// Longest block that is read from a relay: the longest the format has, a manifest, with room.
const MAX_BLOCK_LEN: usize = MAX_MANIFEST_LEN + 64 * 1024;

/// Longest answer of the works interface that is read.
const MAX_ANSWER_LEN: usize = 256 * 1024;

/// Tries per block before a relay counts as failed.
const TRIES: u32 = 4;

/// Pause before the second try; doubled for each later one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A relay that sends nothing for so long has failed the try.
const PATIENCE: Duration = Duration::from_secs(20);

/// A work that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody has it.
    #[error("{from} has no block {link}; check the id, or fetch from another relay with --from")]
    NotThere {
        /// Who was asked.
        from: String,
        /// The block.
        link: Link,
    },
    /// A block that is not what its link says.
    #[error("{from} sent something else for block {link}; fetch from another relay with --from")]
    Forged {
        /// Who was asked.
        from: String,
        /// The block.
        link: Link,
    },
    /// The relay did not answer as it should.
    #[error("{from} failed: {reason}; try again later or fetch from another relay with --from")]
    Relay {
        /// Who was asked.
        from: String,
        /// What went wrong.
        reason: String,
    },
    /// Not the address of a relay.
    #[error("{0:?} is no address of a relay; it looks like https://relay.example")]
    Address(String),
    /// The manifest is no good, or too new.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The card is no good, or too new.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A hash page is no good.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A chunk does not open.
    #[error(transparent)]
    Chunk(#[from] OpenError),
    /// A chunk that is not as long as the manifest's lengths ask for.
    #[error("chunk {chunk} of file {file} has the wrong length; its creator made the work wrongly")]
    ChunkLength {
        /// The file.
        file: FileIndex,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A work that needs a right.
    #[error("work {0} is not free; watch it in a browser with a wallet")]
    NotFree(ContentId),
    /// The data folder failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something stands where a file should go.
    #[error("{} exists already; remove it, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// A symbolic link within the target folder.
    #[error("{} is a symbolic link and might lead outside; remove it or choose another --out", .0.display())]
    Symlink(PathBuf),
    /// Another fetch writes there.
    #[error("another fetch is writing {}; wait until it ends", .0.display())]
    Busy(PathBuf),
}

/// Where blocks come from.
#[derive(Debug)]
pub enum Source {
    /// A data folder on this machine.
    Folder(Store),
    /// A relay's HTTP address.
    Relay(Relay),
}

/// A relay reached over HTTP.
#[derive(Debug)]
pub struct Relay {
    base: String,
    client: reqwest::Client,
}

/// What a relay sent.
enum Answer {
    Found(Bytes),
    NotThere,
}

impl Source {
    /// `http://…` and `https://…` name a relay, anything else a data folder.
    ///
    /// # Errors
    ///
    /// [`FetchError::Address`], or what is wrong with the folder.
    pub fn open(from: &str) -> Result<Self, FetchError> {
        if !from.starts_with("http://") && !from.starts_with("https://") {
            return Ok(Self::Folder(Store::open(Path::new(from), Open::Existing)?));
        }
        let bad = || FetchError::Address(from.into());
        let url = reqwest::Url::parse(from).map_err(|_| bad())?;
        if url.host_str().is_none() || url.query().is_some() {
            return Err(bad());
        }
        let client = reqwest::Client::builder()
            .read_timeout(PATIENCE)
            .connect_timeout(PATIENCE)
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| bad())?;
        Ok(Self::Relay(Relay {
            base: url.as_str().trim_end_matches('/').to_owned(),
            client,
        }))
    }

    fn name(&self) -> String {
        match self {
            Self::Folder(store) => store.root().display().to_string(),
            Self::Relay(relay) => relay.base.clone(),
        }
    }

    /// A block, checked against its link.
    async fn block(&self, link: Link) -> Result<Bytes, FetchError> {
        let found = match self {
            Self::Folder(store) => store.block(&link.digest).await?,
            Self::Relay(relay) => {
                match relay
                    .get(&format!("/ipfs/{link}?format=raw"), MAX_BLOCK_LEN)
                    .await?
                {
                    Answer::Found(bytes) => Some(bytes),
                    Answer::NotThere => None,
                }
            }
        };
        let bytes = found.ok_or_else(|| FetchError::NotThere {
            from: self.name(),
            link,
        })?;
        if !link.digest.matches(&bytes) {
            return Err(FetchError::Forged {
                from: self.name(),
                link,
            });
        }
        Ok(bytes)
    }

    /// The newest card the source knows of; a plain gateway knows none.
    async fn card(&self, id: &ContentId) -> Result<Option<Link>, FetchError> {
        match self {
            Self::Folder(store) => Ok(store.newest_card(id).await?.map(|digest| digest.dag_cbor())),
            Self::Relay(relay) => {
                match relay
                    .get(&format!("/api/v1/works/{id}"), MAX_ANSWER_LEN)
                    .await?
                {
                    Answer::NotThere => Ok(None),
                    Answer::Found(bytes) => serde_json::from_slice::<Work>(&bytes)
                        .map(|work| Some(work.card))
                        .map_err(|error| relay.failed(error)),
                }
            }
        }
    }
}

impl Relay {
    fn failed(&self, reason: impl std::fmt::Display) -> FetchError {
        FetchError::Relay {
            from: self.base.clone(),
            reason: reason.to_string(),
        }
    }

    async fn get(&self, path: &str, max: usize) -> Result<Answer, FetchError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match self.try_get(path, max).await {
                Ok(answer) => return Ok(answer),
                Err((error, true)) if tries < TRIES => {
                    tracing::debug!(%error, path, tries, "trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// One try; the flag tells whether another may help.
    async fn try_get(&self, path: &str, max: usize) -> Result<Answer, (FetchError, bool)> {
        let url = format!("{}{path}", self.base);
        let mut response = self
            .client
            .get(&url)
            .send()
            .await
            .map_err(|error| (self.failed(root_cause(&error)), true))?;
        let status = response.status();
        if status == reqwest::StatusCode::NOT_FOUND || status == reqwest::StatusCode::GONE {
            return Ok(Answer::NotThere);
        }
        if status != reqwest::StatusCode::OK {
            let again = status.is_server_error() || status.as_u16() == 429;
            return Err((self.failed(format!("it answered {status}")), again));
        }
        let mut body = Vec::new();
        while let Some(part) = response
            .chunk()
            .await
            .map_err(|error| (self.failed(root_cause(&error)), true))?
        {
            if body.len() + part.len() > max {
                return Err((self.failed("it sent more than a block can have"), false));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer::Found(body.into()))
    }
}

/// The innermost cause: reqwest's own words name only the address we gave it.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The work's title, if the source has a card; why not, if that card is no good. No reason to go without the
    /// files: nothing in them depends on it.
    pub title: Result<Option<String>, FetchError>,
    /// The files written, in the work's order.
    pub files: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
}

/// Fetches work `id` to `out`: a file if the work has one and `out` is no folder, else a folder.
///
/// `progress` gets the total once, then the bytes written since it was last called. Dropping the
/// future leaves no file under a final name.
///
/// # Errors
///
/// [`FetchError`]; nothing stands under a final name then, unless the very last renames failed.
pub async fn fetch(
    source: &Source,
    id: &ContentId,
    out: &Path,
    force: bool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Fetched, FetchError> {
    let manifest = Manifest::decode(&source.block(id.link()).await?)?;
    let title = title(source, id, &manifest).await;
    progress(Progress::Total(manifest.total_len()));
    let single = manifest.files().len() == 1 && !names_a_folder(out);
    let mut parts = Vec::new();
    for (index, file) in manifest.indexed_files() {
        let key = manifest.free_key(file).ok_or(FetchError::NotFree(*id))?;
        let target = if single {
            out.to_path_buf()
        } else {
            inside(out, &file.path)?
        };
        let part = Part::create(&target, force)?;
        write_file(source, index, file, &key.cipher(), &part, progress).await?;
        part.file
            .sync_all()
            .map_err(|error| StoreError::at(&target, error))?;
        parts.push(part);
    }
    let files = parts
        .into_iter()
        .map(Part::finish)
        .collect::<Result<_, _>>()?;
    Ok(Fetched {
        title,
        files,
        bytes: manifest.total_len(),
    })
}

async fn title(
    source: &Source,
    id: &ContentId,
    manifest: &Manifest,
) -> Result<Option<String>, FetchError> {
    let Some(link) = source.card(id).await? else {
        return Ok(None);
    };
    let card = Card::decode(&source.block(link).await?, id, manifest.creator())?;
    Ok(Some(card.text().title.clone()))
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// Bytes of the whole work.
    Total(u64),
    /// Bytes written since the last report.
    Wrote(u64),
}

async fn write_file(
    source: &Source,
    file: FileIndex,
    entry: &FileEntry,
    cipher: &Cipher,
    part: &Part,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), FetchError> {
    let layout = entry.layout();
    for (page, link) in (0..).zip(&entry.pages) {
        let want = usize::try_from(layout.links_on(page)).unwrap_or(0);
        let digests = HashPage::decode(&source.block(*link).await?, want)?;
        let chunks = (page * PAGE_LINKS..)
            .map(ChunkIndex)
            .zip(digests.digests().to_vec());
        let mut plain = stream::iter(chunks)
            .map(|(chunk, digest)| async move {
                let sealed = source.block(digest.raw()).await?;
                // The key opens it at this place, but only the layout says how long it must be.
                if sealed.len() as u64 != layout.sealed_len(chunk) {
                    return Err(FetchError::ChunkLength { file, chunk });
                }
                open(
                    sealed,
                    Place {
                        file,
                        chunk,
                        last: layout.is_last(chunk),
                    },
                    cipher,
                )
                .await
            })
            .buffered(AT_ONCE);
        while let Some(bytes) = plain.try_next().await? {
            (&part.file)
                .write_all(&bytes)
                .map_err(|error| StoreError::at(&part.target, error))?;
            progress(Progress::Wrote(bytes.len() as u64));
        }
    }
    Ok(())
}

/// Opens a chunk on a thread where that may take a while.
async fn open(sealed: Bytes, place: Place, cipher: &Cipher) -> Result<Vec<u8>, FetchError> {
    let cipher = cipher.clone();
    tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::from(sealed);
        cipher.open(place, &mut chunk).map(|()| chunk)
    })
    .await
    .unwrap_or(Err(OpenError(place)))
    .map_err(FetchError::from)
}

/// Whether a person who wrote `out` meant a folder.
fn names_a_folder(out: &Path) -> bool {
    out.is_dir()
        || out.as_os_str().to_string_lossy().ends_with('/')
        || matches!(
            out.components().next_back(),
            Some(Component::CurDir | Component::ParentDir)
        )
}

/// The target of a work's file within `out`; makes its folders, and follows no link in them.
fn inside(out: &Path, path: &FilePath) -> Result<PathBuf, FetchError> {
    fs::create_dir_all(out).map_err(|error| StoreError::at(out, error))?;
    let mut target = out.to_path_buf();
    let mut names = path.as_str().split('/').peekable();
    while let Some(name) = names.next() {
        target.push(name);
        if names.peek().is_none() {
            break;
        }
        match fs::symlink_metadata(&target) {
            Ok(found) if found.is_symlink() => return Err(FetchError::Symlink(target)),
            Ok(_) => {}
            Err(_) => {
                fs::create_dir(&target).map_err(|error| StoreError::at(&target, error))?;
            }
        }
    }
    Ok(target)
}

/// A file being written beside its final name; removed again unless finished.
struct Part {
    path: PathBuf,
    target: PathBuf,
    file: File,
    force: bool,
    finished: bool,
}

impl Part {
    fn create(target: &Path, force: bool) -> Result<Self, FetchError> {
        if !force && fs::symlink_metadata(target).is_ok() {
            return Err(FetchError::Exists(target.into()));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.sluice-part"));
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Err(FetchError::Symlink(path));
        }
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .custom_flags(i32::try_from(nofollow).unwrap_or(0))
            .open(&path)
            .map_err(|error| StoreError::at(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::Busy(target.into())),
            Err(TryLockError::Error(error)) => return Err(StoreError::at(&path, error).into()),
        }
        // A left-over of a killed fetch starts again from nothing.
        file.set_len(0)
            .map_err(|error| StoreError::at(&path, error))?;
        Ok(Self {
            path,
            target: target.into(),
            file,
            force,
            finished: false,
        })
    }

    fn finish(mut self) -> Result<PathBuf, FetchError> {
        if !self.force && fs::symlink_metadata(&self.target).is_ok() {
            return Err(FetchError::Exists(self.target.clone()));
        }
        fs::rename(&self.path, &self.target)
            .and_then(|()| match self.target.parent() {
                Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
                _ => File::open(".")?.sync_all(),
            })
            .map_err(|error: io::Error| StoreError::at(&self.target, error))?;
        self.finished = true;
        Ok(self.target.clone())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            fs::remove_file(&self.path).ok();
        }
    }
}
