//! The browser's [`Store`]: IndexedDB, one database per origin.
//!
//! Keys are binary and sort like the values they name: a chunk is
//! `content (32) ‖ file (u32 be) ‖ index (u64 be)`, a block `content (32) ‖ digest (32)`, so a
//! work is one key range. Chunk writes are batched: one transaction takes what has gathered while
//! the one before it was committing, which doubles the rate of a transaction each.
//!
//! # Invariants
//!
//! - A write is acknowledged when its transaction has committed.
//! - At most [`MAX_PENDING`] chunks wait for a transaction; [`IndexedDbStore::room`] is how a
//!   producer waits for its turn.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use futures::channel::oneshot;
use idb::{Database, DatabaseEvent, Factory, KeyRange, Query, TransactionMode};
use js_sys::Uint8Array;
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex, UnixMillis};
use wasm_bindgen::{JsCast, JsValue};

use crate::store::{ChunkKey, Store, StoreError, WorkRecord};

/// Name of the database.
pub const DATABASE: &str = "sluice";
const VERSION: u32 = 1;
const CHUNKS: &str = "chunks";
const BLOCKS: &str = "blocks";
const WORKS: &str = "works";
const SETTINGS: &str = "settings";
const BUDGET: &str = "budget";

/// Most chunks written in one transaction.
const BATCH: usize = 32;

/// Most chunks waiting to be written: 16 MiB. Past it, [`IndexedDbStore::room`] waits.
pub const MAX_PENDING: usize = 64;

/// An open database. Clones share it.
#[derive(Clone)]
pub struct IndexedDbStore {
    database: Rc<Database>,
    queue: Rc<RefCell<Queue>>,
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Write>,
    writing: bool,
    waiting: VecDeque<oneshot::Sender<()>>,
}

struct Write {
    key: JsValue,
    value: JsValue,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl std::fmt::Debug for IndexedDbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexedDbStore")
    }
}

impl IndexedDbStore {
    /// Opens the origin's database and creates it on the first visit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] where the browser has no IndexedDB (some private modes).
    pub async fn open() -> Result<Self, StoreError> {
        Self::open_named(DATABASE).await
    }

    async fn open_named(name: &str) -> Result<Self, StoreError> {
        let mut request = Factory::new().and_then(|factory| factory.open(name, Some(VERSION)))?;
        request.on_upgrade_needed(|event| {
            if let Ok(database) = event.database() {
                for store in [CHUNKS, BLOCKS, WORKS, SETTINGS] {
                    // Fails only if it exists already, which is what we want.
                    let _ = database.create_object_store(store, idb::ObjectStoreParams::new());
                }
            }
        });
        let mut database = request.await?;
        // A tab of a newer version must not wait for this one to be closed.
        database.on_version_change(|event| {
            if let Some(target) = event.target()
                && let Ok(database) = target.dyn_into::<web_sys::IdbDatabase>()
            {
                database.close();
            }
        });
        Ok(Self {
            database: Rc::new(database),
            queue: Rc::default(),
        })
    }

    /// Waits until fewer than [`MAX_PENDING`] chunks wait to be written.
    pub async fn room(&self) {
        loop {
            let turn = {
                let mut queue = self.queue.borrow_mut();
                if queue.pending.len() < MAX_PENDING {
                    return;
                }
                let (sender, receiver) = oneshot::channel();
                queue.waiting.push_back(sender);
                receiver
            };
            // Either way the queue has changed: look again.
            let _ = turn.await;
        }
    }

    /// The most bytes of chunks the owner lets this site keep; `None` when they set no limit.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn budget(&self) -> Result<Option<u64>, StoreError> {
        let value = self.read(SETTINGS, BUDGET.into()).await?;
        let bytes = value.as_ref().and_then(bytes_of);
        Ok(bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes))
    }

    /// Sets [`IndexedDbStore::budget`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn set_budget(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        let value = bytes.map_or_else(|| binary(&[]), |bytes| binary(&[&bytes.to_be_bytes()]));
        self.write(SETTINGS, std::iter::once((&BUDGET.into(), &value)))
            .await
    }

    /// Writes batches until none is pending. Only one runs at a time.
    async fn write_pending(self) {
        loop {
            let batch: Vec<Write> = {
                let mut queue = self.queue.borrow_mut();
                let count = queue.pending.len().min(BATCH);
                let batch = queue.pending.drain(..count).collect();
                // Dropping a sender wakes its receiver, which looks again.
                queue.waiting.clear();
                batch
            };
            if batch.is_empty() {
                self.queue.borrow_mut().writing = false;
                return;
            }
            let result = self
                .write(CHUNKS, batch.iter().map(|w| (&w.key, &w.value)))
                .await;
            for write in batch {
                // Whoever no longer waits does not need the answer.
                let _ = write.done.send(result.clone());
            }
        }
    }

    async fn write<'a>(
        &self,
        store: &str,
        entries: impl Iterator<Item = (&'a JsValue, &'a JsValue)>,
    ) -> Result<(), StoreError> {
        let transaction = self
            .database
            .transaction(&[store], TransactionMode::ReadWrite)?;
        let objects = transaction.object_store(store)?;
        for (key, value) in entries {
            objects.put(value, Some(key))?;
        }
        finish(transaction).await
    }

    async fn read(&self, store: &str, key: JsValue) -> Result<Option<JsValue>, StoreError> {
        let transaction = self
            .database
            .transaction(&[store], TransactionMode::ReadOnly)?;
        let value = transaction
            .object_store(store)?
            .get(Query::Key(key))?
            .await?;
        Ok(value.filter(|value| !value.is_undefined()))
    }
}

impl Store for IndexedDbStore {
    async fn put_chunk(&self, key: ChunkKey, sealed: &[u8]) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        let start = {
            let mut queue = self.queue.borrow_mut();
            queue.pending.push_back(Write {
                key: chunk_key(&key),
                value: Uint8Array::from(sealed).into(),
                done,
            });
            !std::mem::replace(&mut queue.writing, true)
        };
        if start {
            wasm_bindgen_futures::spawn_local(self.clone().write_pending());
        }
        written
            .await
            .unwrap_or_else(|_| Err(StoreError::Backend("the writer stopped".into())))
    }

    async fn chunk(&self, key: ChunkKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .read(CHUNKS, chunk_key(&key))
            .await?
            .as_ref()
            .and_then(bytes_of))
    }

    async fn remove_chunk(&self, key: ChunkKey) -> Result<(), StoreError> {
        let transaction = self
            .database
            .transaction(&[CHUNKS], TransactionMode::ReadWrite)?;
        transaction
            .object_store(CHUNKS)?
            .delete(Query::Key(chunk_key(&key)))?;
        finish(transaction).await
    }

    async fn put_block(
        &self,
        content: ContentId,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let (key, value) = (block_key(&content, &digest), Uint8Array::from(bytes).into());
        self.write(BLOCKS, std::iter::once((&key, &value))).await
    }

    async fn block(
        &self,
        content: ContentId,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.read(BLOCKS, block_key(&content, &digest)).await?;
        Ok(value.as_ref().and_then(bytes_of))
    }

    async fn touch(&self, record: WorkRecord) -> Result<(), StoreError> {
        let key = binary(&[record.content.0.as_bytes()]);
        let card = record
            .card
            .as_ref()
            .map_or([].as_slice(), |digest| digest.as_bytes());
        let value = binary(&[&record.touched.0.to_be_bytes(), card]);
        self.write(WORKS, std::iter::once((&key, &value))).await
    }

    async fn works(&self) -> Result<Vec<WorkRecord>, StoreError> {
        let transaction = self
            .database
            .transaction(&[WORKS], TransactionMode::ReadOnly)?;
        let objects = transaction.object_store(WORKS)?;
        let (keys, values) = (
            objects.get_all_keys(None, None)?,
            objects.get_all(None, None)?,
        );
        let (keys, values) = (keys.await?, values.await?);
        let mut works: Vec<_> = keys
            .iter()
            .zip(&values)
            .filter_map(|(key, value)| record_of(&bytes_of(key)?, &bytes_of(value)?))
            .collect();
        works.sort_unstable_by_key(|work| std::cmp::Reverse(work.touched));
        Ok(works)
    }

    async fn chunks_of(
        &self,
        content: ContentId,
        file: FileIndex,
    ) -> Result<Vec<ChunkIndex>, StoreError> {
        let prefix = [content.0.as_bytes().as_slice(), &file.0.to_be_bytes()].concat();
        let range = prefix_range(&prefix, 8)?;
        let transaction = self
            .database
            .transaction(&[CHUNKS], TransactionMode::ReadOnly)?;
        let keys = transaction
            .object_store(CHUNKS)?
            .get_all_keys(Some(range.into()), None)?
            .await?;
        let index = |key: &JsValue| {
            let bytes = bytes_of(key)?;
            let tail: [u8; 8] = bytes.get(prefix.len()..)?.try_into().ok()?;
            Some(ChunkIndex(u64::from_be_bytes(tail)))
        };
        Ok(keys.iter().filter_map(index).collect())
    }

    async fn chunk_count(&self) -> Result<u64, StoreError> {
        let transaction = self
            .database
            .transaction(&[CHUNKS], TransactionMode::ReadOnly)?;
        let count = transaction.object_store(CHUNKS)?.count(None)?.await?;
        Ok(count.into())
    }

    async fn forget(&self, content: ContentId) -> Result<(), StoreError> {
        let all = [CHUNKS, BLOCKS, WORKS];
        let transaction = self
            .database
            .transaction(&all, TransactionMode::ReadWrite)?;
        let prefix = content.0.as_bytes();
        transaction
            .object_store(CHUNKS)?
            .delete(Query::from(prefix_range(prefix, 12)?))?;
        transaction
            .object_store(BLOCKS)?
            .delete(Query::from(prefix_range(prefix, 32)?))?;
        transaction
            .object_store(WORKS)?
            .delete(Query::Key(binary(&[prefix])))?;
        finish(transaction).await
    }
}

async fn finish(transaction: idb::Transaction) -> Result<(), StoreError> {
    // Without `commit` the browser waits a turn for more requests before it starts writing.
    if transaction.commit()?.await?.is_committed() {
        Ok(())
    } else {
        Err(StoreError::QuotaExceeded)
    }
}

/// A `Uint8Array` of its own buffer: a key must not be a view into WASM memory.
fn binary(parts: &[&[u8]]) -> JsValue {
    Uint8Array::from(parts.concat().as_slice()).into()
}

fn chunk_key(key: &ChunkKey) -> JsValue {
    binary(&[
        key.content.0.as_bytes(),
        &key.file.0.to_be_bytes(),
        &key.index.0.to_be_bytes(),
    ])
}

fn block_key(content: &ContentId, digest: &Digest) -> JsValue {
    binary(&[content.0.as_bytes(), digest.as_bytes()])
}

/// Every key that is `prefix` and `rest` more bytes.
fn prefix_range(prefix: &[u8], rest: usize) -> Result<KeyRange, StoreError> {
    let lower = binary(&[prefix, &vec![0x00; rest]]);
    let upper = binary(&[prefix, &vec![0xff; rest]]);
    Ok(KeyRange::bound(&lower, &upper, None, None)?)
}

/// Values come back as `Uint8Array`, keys as `ArrayBuffer`.
fn bytes_of(value: &JsValue) -> Option<Vec<u8>> {
    if value.is_instance_of::<Uint8Array>() || value.is_instance_of::<js_sys::ArrayBuffer>() {
        return Some(Uint8Array::new(value).to_vec());
    }
    None
}

fn record_of(key: &[u8], value: &[u8]) -> Option<WorkRecord> {
    let (touched, card) = value.split_first_chunk::<8>()?;
    Some(WorkRecord {
        content: ContentId(Digest::new(key.try_into().ok()?)),
        touched: UnixMillis(u64::from_be_bytes(*touched)),
        card: <[u8; 32]>::try_from(card).ok().map(Digest::new),
    })
}

impl From<idb::Error> for StoreError {
    /// The crate's own words name the call that failed, for forty calls; the browser's say why.
    fn from(error: idb::Error) -> Self {
        match &error {
            idb::Error::DomException(exception) if exception.name() == "QuotaExceededError" => {
                Self::QuotaExceeded
            }
            idb::Error::DomException(exception) => Self::Backend(exception.message()),
            _ => Self::Backend("the request was refused".into()),
        }
    }
}

/// Drops everything this origin stored in the database, as "clear" on the node page does.
///
/// # Errors
///
/// [`StoreError`] if the browser refuses.
pub async fn clear(store: &IndexedDbStore) -> Result<(), StoreError> {
    let all = [CHUNKS, BLOCKS, WORKS];
    let transaction = store
        .database
        .transaction(&all, TransactionMode::ReadWrite)?;
    for name in all {
        transaction.object_store(name)?.clear()?;
    }
    finish(transaction).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

    wasm_bindgen_test_configure!(run_in_browser);

    #[wasm_bindgen_test]
    async fn indexed_db_keeps_the_contract() {
        let store = IndexedDbStore::open_named("contract").await.expect("open");
        clear(&store).await.expect("clear");
        crate::store::contract(&store).await;
    }

    #[wasm_bindgen_test]
    async fn what_was_written_outlives_the_connection() {
        let key = ChunkKey {
            content: ContentId(Digest::of(b"w")),
            file: FileIndex(0),
            index: ChunkIndex(0),
        };
        let store = IndexedDbStore::open_named("reopen").await.expect("open");
        store.put_chunk(key, b"kept").await.expect("put");
        store.database.close();
        let again = IndexedDbStore::open_named("reopen")
            .await
            .expect("open again");
        assert_eq!(again.chunk(key).await, Ok(Some(b"kept".to_vec())));
    }
}
