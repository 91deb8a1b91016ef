//! Keeps verified blocks in the store, within the owner's budget and the browser's quota.

use std::{cell::Cell, rc::Rc};

use sluice_core::{
    ContentId, Digest,
    chunk::{CHUNK_LEN, SEAL_OVERHEAD},
};

use crate::{
    idb_store::IndexedDbStore,
    store::{ChunkKey, Store, StoreError},
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

/// Chunks written between two looks at the budget: 16 MiB.
const BUDGET_EVERY: u32 = 64;

thread_local! {
    /// Writes since the last look at the budget.
    static SINCE_LOOK: Cell<u32> = const { Cell::new(0) };
    /// Set when there is no room and nothing to evict: this life of the worker stores no more.
    static FULL: Cell<bool> = const { Cell::new(false) };
}

/// Stores a verified block. Playback never depends on it, so trouble ends here.
pub async fn keep(store: IndexedDbStore, shelf: Shelf, bytes: Rc<Vec<u8>>) {
    if FULL.get() {
        return;
    }
    make_room_for_budget(&store, shelf.content()).await;
    if write(&store, shelf, &bytes).await == Err(StoreError::QuotaExceeded) {
        let retried = if evict(&store, shelf.content()).await {
            write(&store, shelf, &bytes).await
        } else {
            Err(StoreError::QuotaExceeded)
        };
        FULL.set(retried.is_err());
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

async fn make_room_for_budget(store: &IndexedDbStore, playing: ContentId) {
    SINCE_LOOK.set(SINCE_LOOK.get() + 1);
    if SINCE_LOOK.get() < BUDGET_EVERY {
        return;
    }
    SINCE_LOOK.set(0);
    let Ok(Some(budget)) = store.budget().await else {
        return;
    };
    loop {
        let Ok(chunks) = store.chunk_count().await else {
            return;
        };
        if chunks * (CHUNK_LEN + SEAL_OVERHEAD) <= budget || !evict(store, playing).await {
            return;
        }
    }
}

/// Forgets the work opened longest ago that is not playing. Whether there was one.
async fn evict(store: &IndexedDbStore, playing: ContentId) -> bool {
    let works = store.works().await.unwrap_or_default();
    match works.iter().rev().find(|work| work.content != playing) {
        Some(oldest) => store.forget(oldest.content).await.is_ok(),
        None => false,
    }
}
