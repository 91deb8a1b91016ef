//! Keeps verified blocks in the store, within the owner's budget and the browser's quota.

use std::{cell::Cell, rc::Rc};

use sluice_core::{
    ContentId,
    chunk::{CHUNK_LEN, SEAL_OVERHEAD},
};
use sluice_web::{
    idb_store::IndexedDbStore,
    store::{Store, StoreError},
};

use crate::blocks::Want;

/// Chunks written between two looks at the budget: 16 MiB.
const BUDGET_EVERY: u32 = 64;

thread_local! {
    /// Writes since the last look at the budget.
    static SINCE_LOOK: Cell<u32> = const { Cell::new(0) };
    /// Set when there is no room and nothing to evict: this life of the worker stores no more.
    static FULL: Cell<bool> = const { Cell::new(false) };
}

/// Stores a verified block. Playback never depends on it, so trouble ends here.
pub(crate) async fn keep(store: IndexedDbStore, want: Want, bytes: Rc<Vec<u8>>) {
    if FULL.get() {
        return;
    }
    make_room_for_budget(&store, want.content).await;
    if write(&store, &want, &bytes).await == Err(StoreError::QuotaExceeded) {
        let retried = if evict(&store, want.content).await {
            write(&store, &want, &bytes).await
        } else {
            Err(StoreError::QuotaExceeded)
        };
        FULL.set(retried.is_err());
    }
}

async fn write(store: &IndexedDbStore, want: &Want, bytes: &[u8]) -> Result<(), StoreError> {
    match want.chunk_key() {
        Some(key) => store.put_chunk(key, bytes).await,
        None => store.put_block(want.content, want.digest, bytes).await,
    }
}

/// Removes a stored block whose bytes changed.
pub(crate) async fn drop_rotten(store: &IndexedDbStore, want: &Want) {
    if let Some(key) = want.chunk_key() {
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
