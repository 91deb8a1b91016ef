//! Taking works and left-overs off the disk, and looking for damage.
//!
//! A block file goes only inside a write transaction that saw no work, visible or staged, claim it.
//! Everything here blocks.

use std::{collections::BTreeMap, fs, io};

use sluice_core::{ContentId, Digest};

use super::{Store, StoreError, blocks, db, draft, lock};

/// Blocks deleted per write transaction: a publish beside us waits at most that long.
const DELETE_AT_ONCE: usize = 256;

/// What [`collect`] cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Publishes that ended without committing.
    pub drafts: u64,
    /// Block files nobody claimed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A block that is not what its work needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The work that is incomplete, as its CID.
    pub work: String,
    /// The block's digest in hex.
    pub digest: String,
    /// What is wrong.
    pub reason: String,
}

/// Clears what ended publishes and removed works left behind. Safe beside `serve` and `publish`.
///
/// # Errors
///
/// [`StoreError::Collecting`] if another `gc` runs, and whatever the disk says.
pub fn collect(store: &Store) -> Result<Swept, StoreError> {
    let _alone = lock::collect(store)?;
    let mut swept = Swept::default();
    for lease in store.with(|db| db::leases(db))? {
        if let Some(_dead) = dead(store, &lease)? {
            store.with(|db| db::drop_stage(db, &lease))?;
        }
    }
    let incoming = store.root().join(draft::FOLDER);
    let entries = fs::read_dir(&incoming)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| StoreError::at(&incoming, error))?;
    for entry in entries {
        let lease = entry.file_name().to_string_lossy().into_owned();
        if let Some(_dead) = dead(store, &lease)? {
            // Counted here, because a publish may die before it has rows.
            swept.drafts += 1;
            let folder = entry.path();
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::at(&folder, error));
                }
                _ => {}
            }
        }
    }
    let mut some = Vec::with_capacity(DELETE_AT_ONCE);
    blocks::for_each(store.root(), |found| {
        match found {
            blocks::Found::Block(digest) => some.push(digest),
            // A probe lives for microseconds; removing a live one only makes `serve` probe again.
            blocks::Found::Probe(path) => {
                fs::remove_file(path).ok();
            }
        }
        if some.len() == DELETE_AT_ONCE {
            sweep(store, &some, &mut swept)?;
            some.clear();
        }
        Ok(())
    })?;
    sweep(store, &some, &mut swept)?;
    Ok(swept)
}

/// Removes a work: at once for everybody, then its blocks from the disk. Returns what was freed.
///
/// # Errors
///
/// [`StoreError::UnknownWork`] if it is not here.
pub fn remove(store: &Store, id: &ContentId) -> Result<Swept, StoreError> {
    let digests = store
        .with(|db| {
            let transaction = db::write(db)?;
            let digests = db::remove(&transaction, id)?;
            transaction.commit()?;
            Ok(digests)
        })?
        .ok_or(StoreError::UnknownWork(*id))?;
    let mut swept = Swept::default();
    for some in digests.chunks(DELETE_AT_ONCE) {
        sweep(store, some, &mut swept)?;
    }
    Ok(swept)
}

/// Drops a staged work and its blocks.
pub(super) fn abandon(store: &Store, lease: &str) -> Result<(), StoreError> {
    let digests = store.with(|db| {
        let transaction = db::write(db)?;
        let digests = db::staged_blocks(&transaction, lease)?;
        db::drop_stage(&transaction, lease)?;
        transaction.commit()?;
        Ok(digests)
    })?;
    let mut swept = Swept::default();
    for some in digests.chunks(DELETE_AT_ONCE) {
        sweep(store, some, &mut swept)?;
    }
    Ok(())
}

/// Reads every block of every work; `progress` gets the bytes read since it was last called.
///
/// # Errors
///
/// When the database is damaged or cannot be read. Damaged blocks are the answer, not an error.
pub fn verify(store: &Store, mut progress: impl FnMut(u64)) -> Result<Vec<Damage>, StoreError> {
    store.check_database()?;
    // A shared poster is read once and reported for each of its works.
    let mut wanted: BTreeMap<Digest, (u64, Vec<ContentId>)> = BTreeMap::new();
    store.with(|db| {
        db::for_each_block(db, |work, digest, len| {
            wanted
                .entry(digest)
                .or_insert_with(|| (len, Vec::new()))
                .1
                .push(work);
        })
    })?;
    let mut damage = Vec::new();
    for (digest, (len, works)) in wanted {
        match blocks::read(store.root(), &digest, len) {
            Ok(_) => {}
            Err(StoreError::Damaged { reason, .. }) if store.has(&digest)? => {
                damage.extend(works.iter().map(|work| Damage {
                    work: work.to_string(),
                    digest: digest.to_string(),
                    reason: reason.into(),
                }));
            }
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        progress(len);
    }
    Ok(damage)
}

/// Bytes that [`verify`] will read.
///
/// # Errors
///
/// When the database cannot be read.
pub fn stored_bytes(store: &Store) -> Result<u64, StoreError> {
    let mut bytes = 0;
    store.with(|db| db::for_each_block(db, |_, _, len| bytes += len))?;
    Ok(bytes)
}

/// The lease's lock if its holder is gone, `None` if it lives.
fn dead(store: &Store, lease: &str) -> Result<Option<lock::Held>, StoreError> {
    let folder = store.root().join(draft::FOLDER).join(lease);
    if !folder.is_dir() {
        // Committed works have no lease, so this one died between its folder and its rows.
        fs::create_dir_all(&folder).map_err(|error| StoreError::at(&folder, error))?;
    }
    match lock::try_exclusive(&folder.join(draft::LOCK)) {
        // Its publish committed this moment and took the folder away.
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// Deletes those of `digests` that nobody claims.
fn sweep(store: &Store, digests: &[Digest], swept: &mut Swept) -> Result<(), StoreError> {
    if digests.is_empty() {
        return Ok(());
    }
    let mut failed = None;
    store.with(|db| {
        let transaction = db::write(db)?;
        for digest in digests {
            if db::is_claimed(&transaction, digest)? {
                continue;
            }
            match blocks::delete(store.root(), digest) {
                Ok(0) => {}
                Ok(len) => {
                    swept.blocks += 1;
                    swept.bytes += len;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // Nothing was written; the transaction only kept publishers from claiming meanwhile.
        transaction.rollback()
    })?;
    failed.map_or(Ok(()), Err)
}
