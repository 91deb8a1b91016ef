//! The data folder of a relay: which works it holds, and their blocks.
//!
//! ```text
//! DIR/sluice.db        works and where their blocks belong (SQLite, WAL, synchronous=FULL)
//! DIR/blocks/ab/…      one file per block, named by its digest in hex
//! DIR/incoming/LEASE/  blocks of a publish in flight, under temporary names
//! DIR/keys/            the node's and the creator's key, mode 0600
//! ```
//!
//! Several processes share one folder: one `serve` and any number of short commands. This module
//! knows no HTTP, no libp2p and no content key.
//!
//! # Invariants
//!
//! - A work is visible only once every block of it is durable under its final name.
//! - A block leaves this module only after its bytes hashed to its name.
//! - A block is deleted only inside a write transaction that saw nobody claim it; a publish claims
//!   blocks in the database *before* it gives them their final names.
//! - File names come from digests and random numbers only, never from what a stranger wrote.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rusqlite::Connection;
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex};
use tokio::{sync::Semaphore, time::Instant};

pub mod blocks;
mod db;
pub mod draft;
mod error;
pub mod gc;
pub mod keys;
pub mod lock;
mod work;

pub use error::StoreError;
pub use work::{FileEntry, Work, WorksPage};

/// Reads of the data folder that run at once; later ones wait their turn.
///
/// Each holds one block (at most 257 KiB) and one SQLite connection, so this bounds both.
pub const READS_AT_ONCE: usize = 16;

/// How long an answer of [`Store::check`] holds. Strangers can ask for it, and each check writes to
/// the disk.
const CHECK_HOLDS: Duration = Duration::from_secs(2);

/// Damaged blocks that are logged by name; further ones are counted only.
const MAX_TOLD: usize = 1024;

/// Most works on one page of [`Store::works`].
pub const MAX_PAGE: usize = 100;

/// The data folder, opened. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    idle: Mutex<Vec<Connection>>,
    reads: Semaphore,
    damaged: AtomicU64,
    told: Mutex<HashSet<Digest>>,
    checked: Arc<tokio::sync::Mutex<Option<Checked>>>,
}

/// The last answer of [`Store::check`] and when it was found.
#[derive(Debug)]
struct Checked {
    at: Instant,
    verdict: Result<(), Arc<StoreError>>,
}

/// Whether a missing data folder is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Make it, as `serve`, `publish` and `keygen` do.
    OrCreate,
    /// Refuse: there would be nothing to list, edit or remove.
    Existing,
}

impl Store {
    /// Opens the data folder at `root` and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the folder is missing, not ours to write, damaged, or of a newer version.
    pub fn open(root: &Path, mode: Open) -> Result<Self, StoreError> {
        let database = root.join(db::FILE);
        if mode == Open::Existing && !database.exists() {
            return Err(StoreError::Missing(root.into()));
        }
        for folder in [
            root.into(),
            root.join(blocks::FOLDER),
            root.join(draft::FOLDER),
        ] {
            fs::create_dir_all(&folder).map_err(|source| StoreError::at(&folder, source))?;
        }
        let connection = db::open(&database)?;
        Ok(Self(Arc::new(Inner {
            root: root.into(),
            idle: Mutex::new(vec![connection]),
            reads: Semaphore::new(READS_AT_ONCE),
            damaged: AtomicU64::new(0),
            told: Mutex::default(),
            checked: Arc::default(),
        })))
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Blocks found damaged or missing since the folder was opened.
    pub fn damaged(&self) -> u64 {
        self.0.damaged.load(Ordering::Relaxed)
    }

    /// Reads a block of a visible work; `None` if no work here has it.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the file is not what its name says; its bytes are not returned.
    pub async fn block(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let digest = *digest;
        self.read(move |store| store.block_now(&digest)).await
    }

    /// Reads a sealed chunk; `None` if the work is not here or has no such chunk.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`Store::block`].
    pub async fn chunk(
        &self,
        id: &ContentId,
        file: FileIndex,
        index: ChunkIndex,
    ) -> Result<Option<Bytes>, StoreError> {
        let id = *id;
        self.read(
            move |store| match store.with(|db| db::chunk_digest(db, &id, file, index))? {
                Some(digest) => store.block_now(&digest),
                None => Ok(None),
            },
        )
        .await
    }

    /// The digest of a work's newest card; `None` if the work is not here.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn newest_card(&self, id: &ContentId) -> Result<Option<Digest>, StoreError> {
        let id = *id;
        self.read(move |store| store.with(|db| db::newest_card(db, &id)))
            .await
    }

    /// What people may know of one work; `None` if it is not here.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn work(&self, id: &ContentId) -> Result<Option<Work>, StoreError> {
        let id = *id;
        self.read(move |store| store.work_now(&id)).await
    }

    /// A page of listed works, newest first, starting below `before` (`None`: at the newest).
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn works(&self, limit: usize, before: Option<u64>) -> Result<WorksPage, StoreError> {
        self.read(move |store| store.works_now(limit, before, false))
            .await
    }

    /// As [`Store::works`], blocking; `unlisted` ones too if asked for.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn works_now(
        &self,
        limit: usize,
        before: Option<u64>,
        unlisted: bool,
    ) -> Result<WorksPage, StoreError> {
        self.with(|db| db::works(db, limit.clamp(1, MAX_PAGE), before, unlisted))
    }

    /// As [`Store::work`], blocking.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn work_now(&self, id: &ContentId) -> Result<Option<Work>, StoreError> {
        self.with(|db| db::work(db, id))
    }

    /// As [`Store::block`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Store::block`].
    pub fn block_now(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let Some(len) = self.with(|db| db::block_len(db, digest))? else {
            return Ok(None);
        };
        match blocks::read(&self.0.root, digest, len) {
            Ok(bytes) => Ok(Some(bytes)),
            // A remove beside us may have taken the work away between the look-up and the read.
            Err(StoreError::Damaged { .. }) if !self.has(digest)? => Ok(None),
            Err(error @ StoreError::Damaged { .. }) => {
                // Counted here, logged by whoever answers for it: a command says it once.
                self.0.damaged.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a visible work has this block.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.with(|db| Ok(db::block_len(db, digest)?.is_some()))
    }

    /// Logs damage that a reader met: each block once, whoever asks for it how often. The count goes on.
    pub(crate) fn tell(&self, error: &StoreError) {
        let StoreError::Damaged { digest, reason } = error else {
            return;
        };
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert(*digest) {
            tracing::error!(%digest, reason, "a stored block is damaged; see sluice gc --verify");
        }
    }

    /// Whether the database answers and the blocks folder can be written: what `/readyz` asks.
    ///
    /// One check at a time, whose answer holds for two seconds; failures are logged here. Cancel
    /// safe: a check that was begun ends, and answers whoever asks next.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub async fn check(&self) -> Result<(), Arc<StoreError>> {
        let mut last = self.0.checked.clone().lock_owned().await;
        if let Some(Checked { at, verdict }) = &*last
            && at.elapsed() < CHECK_HOLDS
        {
            return verdict.clone();
        }
        let store = self.clone();
        // A task of its own: were it dropped with its request, the next would start a second probe
        // beside it.
        let check = tokio::spawn(async move {
            let verdict = store.check_now().await.map_err(Arc::new);
            if let Err(error) = &verdict {
                tracing::warn!(%error, "not ready: data folder");
            }
            *last = Some(Checked {
                at: Instant::now(),
                verdict: verdict.clone(),
            });
            verdict
        });
        match check.await {
            Ok(verdict) => verdict,
            Err(_) => Err(Arc::new(self.stopping())),
        }
    }

    async fn check_now(&self) -> Result<(), StoreError> {
        self.read(|store| {
            store.with(|db| db::ping(db))?;
            blocks::probe(&store.0.root)
        })
        .await
    }

    /// Reads the whole database for damage; slow on a large one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if there is any.
    pub fn check_database(&self) -> Result<(), StoreError> {
        self.with(|db| db::quick_check(db))
    }

    /// Number of visible works and their bytes.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn totals(&self) -> Result<(u64, u64), StoreError> {
        self.read(|store| store.with(|db| db::totals(db))).await
    }

    /// Runs `job` where blocking is allowed, at most [`READS_AT_ONCE`] at a time.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self
            .0
            .reads
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let store = self.clone();
        match tokio::task::spawn_blocking(move || job(&store)).await {
            Ok(result) => result,
            Err(_) => Err(self.stopping()),
        }
    }

    fn stopping(&self) -> StoreError {
        let source = io::Error::other("the process is shutting down");
        StoreError::at(&self.0.root, source)
    }

    /// Lends a connection to `job`; one is opened when all are lent.
    fn with<T>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let path = self.0.root.join(db::FILE);
        let idle = self
            .0
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => db::open(&path)?,
        };
        let result = job(&mut connection).map_err(|error| StoreError::sqlite(&path, error));
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READS_AT_ONCE {
            idle.push(connection);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_get_one_answer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Open::OrCreate).unwrap();
        for _ in 0..10 {
            let asked = futures::future::join_all((0..64).map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.check().await.is_ok() })
            }));
            for answer in asked.await {
                assert!(answer.unwrap());
            }
            // Nor does one who gave up leave a probe behind that races with the next.
            tokio::select! {
                biased;
                _ = store.check() => {}
                () = std::future::ready(()) => {}
            }
            *store.0.checked.lock().await = None;
        }
    }

    #[tokio::test]
    async fn an_answer_holds_for_a_while_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Open::OrCreate).unwrap();
        store.check().await.unwrap();
        let blocks = folder.path().join(blocks::FOLDER);
        fs::remove_dir(&blocks).unwrap();
        store.check().await.unwrap();
        tokio::time::pause();
        tokio::time::advance(CHECK_HOLDS).await;
        tokio::time::resume();
        store.check().await.unwrap_err();
        fs::create_dir(&blocks).unwrap();
        store.check().await.unwrap_err();
    }
}
