//! Keeps verified blocks in the store, within the owner's budget and the browser's quota.

use std::{cell::Cell, rc::Rc};

use sluice_core::{
    ContentId, Digest,
    chunk::{CHUNK_LEN, SEAL_OVERHEAD},
};

use crate::{
    clock,
    idb_store::IndexedDbStore,
    store::{ChunkKey, Store, StoreError, WorkRecord, to_forget},
};

/// Where a block belongs in the store.
#[derive(Debug, Clone, Copy)]
pub enum Shelf {
    /// A manifest, card, page or poster of a work.
    Block(ContentId, Digest),
    /// A sealed chunk.
    Chunk(ChunkKey),
}

impl Shelf {
    /// The work it is of.
    pub const fn content(&self) -> ContentId {
        match self {
            Self::Block(content, _) => *content,
            Self::Chunk(key) => key.content,
        }
    }
}

/// Blocks written between two looks at the budget: 16 MiB of chunks.
const BUDGET_EVERY: u32 = 64;

/// Blocks not stored after there was no room, before it is tried again: 64 MiB of chunks.
const SKIP_WHEN_FULL: u32 = 256;

thread_local! {
    /// Writes until the next look at the budget.
    static UNTIL_LOOK: Cell<u32> = const { Cell::new(0) };
    /// The work noted as in use since the last look.
    static NOTED: Cell<Option<ContentId>> = const { Cell::new(None) };
    /// Writes still to be skipped.
    static SKIP: Cell<u32> = const { Cell::new(0) };
}

/// Stores a verified block. Playback never depends on it, so trouble ends here.
pub async fn keep(store: IndexedDbStore, shelf: Shelf, bytes: Rc<Vec<u8>>) {
    if let Some(left) = SKIP.get().checked_sub(1) {
        SKIP.set(left);
        return;
    }
    let has_room = look_at_budget(&store, shelf.content()).await;
    if !has_room {
        SKIP.set(SKIP_WHEN_FULL);
        return;
    }
    if write(&store, shelf, &bytes).await == Err(StoreError::QuotaExceeded) {
        let evicted = evict(&store, shelf.content()).await;
        if !evicted || write(&store, shelf, &bytes).await.is_err() {
            SKIP.set(SKIP_WHEN_FULL);
        }
    }
}

/// Reads a block. A store that fails has nothing: it is fetched instead.
pub async fn read(store: &IndexedDbStore, shelf: Shelf) -> Option<Vec<u8>> {
    let found = match shelf {
        Shelf::Chunk(key) => store.chunk(key).await,
        Shelf::Block(content, digest) => store.block(content, digest).await,
    };
    found.ok().flatten()
}

async fn write(store: &IndexedDbStore, shelf: Shelf, bytes: &[u8]) -> Result<(), StoreError> {
    match shelf {
        Shelf::Chunk(key) => store.put_chunk(key, bytes).await,
        Shelf::Block(content, digest) => store.put_block(content, digest, bytes).await,
    }
}

/// Removes a stored block whose bytes changed.
pub async fn drop_rotten(store: &IndexedDbStore, shelf: Shelf) {
    if let Shelf::Chunk(key) = shelf {
        // If that fails too, the next read notices again. A block is simply overwritten.
        let _ = store.remove_chunk(key).await;
    }
}

/// Every so often notes that the work is in use and makes room within the owner's budget. Whether
/// there is room.
async fn look_at_budget(store: &IndexedDbStore, playing: ContentId) -> bool {
    if NOTED.replace(Some(playing)) == Some(playing)
        && let Some(left) = UNTIL_LOOK.get().checked_sub(1)
    {
        UNTIL_LOOK.set(left);
        return true;
    }
    UNTIL_LOOK.set(BUDGET_EVERY);
    note_use(store, playing).await;
    let Ok(Some(budget)) = store.budget().await else {
        return true;
    };
    loop {
        let Ok(chunks) = store.chunk_count().await else {
            return true;
        };
        if chunks * (CHUNK_LEN + SEAL_OVERHEAD) <= budget {
            return true;
        }
        if !evict(store, playing).await {
            return false;
        }
    }
}

/// What has no record can never be evicted, so a work gets one with its first block.
async fn note_use(store: &IndexedDbStore, content: ContentId) {
    let works = store.works().await.unwrap_or_default();
    let known = works.iter().find(|work| work.content == content);
    let record = WorkRecord {
        content,
        touched: clock::now(),
        card: known.and_then(|work| work.card),
    };
    // If it fails, the next look tries again.
    let _ = store.touch(record).await;
}

/// Forgets the work opened longest ago that is not in use. Whether there was one.
async fn evict(store: &IndexedDbStore, playing: ContentId) -> bool {
    let works = store.works().await.unwrap_or_default();
    match to_forget(&works, playing, clock::now()) {
        Some(content) => store.forget(content).await.is_ok(),
        None => false,
    }
}
