//! A work being written: invisible until committed, gone if dropped.
//!
//! Per batch: the blocks are written under temporary names, made durable, claimed in the database
//! and only then renamed. The renames become durable with the next batch, at the latest in
//! [`Draft::commit`], which makes the work visible in one transaction. A process that dies leaves a
//! lease nobody holds; `gc` clears what it names.
//!
//! Everything here blocks.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sluice_core::Digest;

pub use super::db::{Kind, Slot};
use super::{Store, StoreError, Work, blocks, db, gc, lock};

/// Folder of the publishes in flight.
pub(super) const FOLDER: &str = "incoming";

/// The lock file within a lease's folder.
pub(super) const LOCK: &str = "lock";

/// Most blocks per batch: 64 MiB of chunks, so that a sync is worth its price and a crash throws
/// away little.
pub const BATCH: usize = 256;

/// A work being written.
#[derive(Debug)]
pub struct Draft {
    store: Store,
    lease: String,
    folder: PathBuf,
    /// Opened before the first write, so that `syncfs` reports every write-back error since.
    root: File,
    work: i64,
    next: Arc<AtomicU64>,
    /// Final names not yet known to be durable.
    renamed: Vec<PathBuf>,
    finished: bool,
    _lock: lock::Held,
}

/// Writes blocks for a [`Draft`]; clones may write from several threads.
#[derive(Debug, Clone)]
pub struct Writer {
    root: PathBuf,
    folder: PathBuf,
    next: Arc<AtomicU64>,
}

/// A block written under a temporary name, not yet durable.
#[derive(Debug)]
pub struct Written {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub len: u64,
    path: PathBuf,
}

impl Writer {
    /// Writes a block under a temporary name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] and whatever else the disk says.
    pub fn write(&self, bytes: &[u8]) -> Result<Written, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        blocks::write_new(&path, bytes).map_err(|error| match error {
            // The person knows the data folder, not our names in it.
            StoreError::Full(_) => StoreError::Full(self.root.clone()),
            other => other,
        })?;
        Ok(Written {
            digest: Digest::of(bytes),
            len: bytes.len() as u64,
            path,
        })
    }
}

impl Draft {
    /// Takes a lease and starts a work.
    ///
    /// # Errors
    ///
    /// When the folder or the database cannot be written.
    pub fn start(store: &Store) -> Result<Self, StoreError> {
        let root = File::open(store.root()).map_err(|e| StoreError::at(store.root(), e))?;
        let _no_gc = lock::keep_gc_out(store)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| StoreError::at(store.root(), std::io::Error::other(error)))?;
        let lease = hex(&random);
        let folder = store.root().join(FOLDER).join(&lease);
        fs::create_dir_all(&folder).map_err(|error| StoreError::at(&folder, error))?;
        let path = folder.join(LOCK);
        let held = lock::try_exclusive(&path)?.ok_or_else(|| StoreError::Busy(path.clone()))?;
        let work = store.with(|db| db::stage_work(db, &lease))?;
        Ok(Self {
            store: store.clone(),
            lease,
            folder,
            root,
            work,
            next: Arc::default(),
            renamed: Vec::new(),
            finished: false,
            _lock: held,
        })
    }

    /// A handle that writes blocks of this draft.
    pub fn writer(&self) -> Writer {
        Writer {
            root: self.store.root().into(),
            folder: self.folder.clone(),
            next: self.next.clone(),
        }
    }

    /// Makes at most [`BATCH`] written blocks durable and gives them their final names.
    ///
    /// # Errors
    ///
    /// When the disk or the database fails; drop the draft then.
    pub fn stage(&mut self, batch: &[(Slot, Written)]) -> Result<(), StoreError> {
        debug_assert!(batch.len() <= BATCH, "callers flush at BATCH");
        let written = batch.iter().map(|(_, block)| block.path.clone());
        self.sync(written.collect())?;
        let work = self.work;
        self.store.with(|db| {
            let transaction = db::write(db)?;
            for (slot, block) in batch {
                db::stage_block(&transaction, work, *slot, &block.digest, block.len)?;
            }
            transaction.commit()
        })?;
        for (_, block) in batch {
            blocks::publish(self.store.root(), &block.path, &block.digest)?;
            self.renamed
                .push(blocks::path(self.store.root(), &block.digest));
        }
        Ok(())
    }

    /// Makes the work visible, in one step.
    ///
    /// # Errors
    ///
    /// When the disk or the database fails; nothing is visible then.
    pub fn commit(mut self, work: &Work) -> Result<(), StoreError> {
        self.sync(Vec::new())?;
        self.store.with(|db| {
            let transaction = db::write(db)?;
            db::reveal(&transaction, self.work, work)?;
            transaction.commit()
        })?;
        self.finish();
        Ok(())
    }

    /// Adds the staged blocks (a card, perhaps a poster) to the visible work `work.id`.
    ///
    /// False, with nothing changed, if that work is gone or has a newer card by now.
    ///
    /// # Errors
    ///
    /// When the disk or the database fails; nothing has changed then.
    pub fn attach(mut self, work: &Work) -> Result<bool, StoreError> {
        self.sync(Vec::new())?;
        let attached = self.store.with(|db| {
            let transaction = db::write(db)?;
            let attached = db::attach(&transaction, self.work, work)?;
            transaction.commit()?;
            Ok(attached)
        })?;
        if attached {
            self.finish();
        }
        Ok(attached)
    }

    /// Makes `written` and all renames so far durable.
    fn sync(&mut self, written: Vec<PathBuf>) -> Result<(), StoreError> {
        let mut batch = std::mem::take(&mut self.renamed);
        batch.extend(written);
        blocks::sync(&self.root, &batch).map_err(|error| StoreError::at(self.store.root(), error))
    }

    fn finish(&mut self) {
        self.finished = true;
        // Left-overs here are harmless: nobody holds the lease any more, so `gc` takes them.
        fs::remove_dir_all(&self.folder).ok();
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The files first: on a full disk the database needs their space to forget the rest.
        fs::remove_dir_all(&self.folder).ok();
        if let Err(error) = gc::abandon(&self.store, &self.lease) {
            tracing::warn!(%error, "left-overs of an ended publish stay until `sluice gc`");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
