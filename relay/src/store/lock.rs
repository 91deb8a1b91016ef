//! Locks between the processes that share a data folder.
//!
//! All are advisory locks of the system on small files, so a killed process leaves none behind.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use super::{Store, StoreError};

/// The lock that makes one `serve` per data folder.
const SERVE: &str = "serve.lock";

/// Held alone by `gc`, shared by a publish while it takes its lease.
const COLLECT: &str = "gc.lock";

/// A lock; dropping it, or dying, lets go.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held for its lock")] File);

/// Makes this process the folder's only `serve`.
///
/// # Errors
///
/// [`StoreError::Served`] if there is one already.
pub fn serve(store: &Store) -> Result<Held, StoreError> {
    let path = store.root().join(SERVE);
    try_exclusive(&path)?.ok_or_else(|| StoreError::Served(store.root().into()))
}

/// Keeps `gc` out while a lease is taken. Waits for a running one.
pub(super) fn keep_gc_out(store: &Store) -> Result<Held, StoreError> {
    let path = store.root().join(COLLECT);
    let file = open(&path)?;
    file.lock_shared()
        .map_err(|error| StoreError::at(&path, error))?;
    Ok(Held(file))
}

/// Makes this process the folder's only `gc`.
pub(super) fn collect(store: &Store) -> Result<Held, StoreError> {
    let path = store.root().join(COLLECT);
    try_exclusive(&path)?.ok_or_else(|| StoreError::Collecting(store.root().into()))
}

/// Locks the file at `path`; `None` if somebody else holds it.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<Held>, StoreError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Held(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::at(path, error)),
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| StoreError::at(path, error))
}
