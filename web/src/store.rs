//! The seam between what is stored and where: sealed chunks, blocks and which works they are of.
//!
//! Every implementation must pass `contract`: [`MemoryStore`] does so natively, `IndexedDbStore`
//! in a headless browser.

use std::{cell::RefCell, collections::BTreeMap};

use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex, UnixMillis};

/// The place of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkKey {
    /// The work.
    pub content: ContentId,
    /// The file within it.
    pub file: FileIndex,
    /// The chunk within that.
    pub index: ChunkIndex,
}

/// What is known of a work besides its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkRecord {
    /// The work.
    pub content: ContentId,
    /// When it was last opened; the longest untouched is evicted first.
    pub touched: UnixMillis,
    /// The newest card seen.
    pub card: Option<Digest>,
}

/// A work touched this recently is in use, maybe in another tab, and is not evicted.
pub const IN_USE_MS: u64 = 10 * 60 * 1000;

/// Which work to forget when there is no room for `playing`: the one touched longest ago, none
/// that is in use.
pub fn to_forget(works: &[WorkRecord], playing: ContentId, now: UnixMillis) -> Option<ContentId> {
    works
        .iter()
        .filter(|work| work.content != playing && work.touched.plus(IN_USE_MS) <= now)
        .min_by_key(|work| work.touched)
        .map(|work| work.content)
}

/// A store that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The browser gives this origin no more space.
    #[error("the browser has no more space for this site; clear some on the node page")]
    QuotaExceeded,
    /// Anything else; the browser's own words.
    #[error("the browser's storage failed: {0}")]
    Backend(String),
}

/// A place for sealed chunks and public blocks. It is handed neither plaintext nor a paid work's key.
/// (A free work's manifest tells its key to everybody, and is stored like any manifest.)
///
/// The futures are not `Send`: each worker owns its store on its only thread. Code that wants
/// `Send` belongs in the relay, which does not use this trait.
#[expect(
    async_fn_in_trait,
    reason = "all callers are generic and single-threaded"
)]
pub trait Store {
    /// Writes one verified chunk. Writing the same chunk twice is a no-op.
    ///
    /// Cancel safe: a dropped future leaves the whole chunk or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::QuotaExceeded`] if the origin has no space left. Nothing is evicted here;
    /// eviction is the caller's decision.
    async fn put_chunk(&self, key: ChunkKey, sealed: &[u8]) -> Result<(), StoreError>;

    /// Reads one chunk. A miss is `Ok(None)`, not an error.
    async fn chunk(&self, key: ChunkKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes one chunk, if there: its bytes turned out to be rotten.
    async fn remove_chunk(&self, key: ChunkKey) -> Result<(), StoreError>;

    /// Writes one verified manifest, card, hash page or poster of a work.
    async fn put_block(
        &self,
        content: ContentId,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), StoreError>;

    /// Reads one block of a work. A miss is `Ok(None)`.
    async fn block(
        &self,
        content: ContentId,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Notes that a work was opened, and its newest card. Replaces what was noted before.
    async fn touch(&self, record: WorkRecord) -> Result<(), StoreError>;

    /// Every noted work, most recently touched first.
    async fn works(&self) -> Result<Vec<WorkRecord>, StoreError>;

    /// Which chunks of a file are here, in order.
    async fn chunks_of(
        &self,
        content: ContentId,
        file: FileIndex,
    ) -> Result<Vec<ChunkIndex>, StoreError>;

    /// Number of chunks of all works together.
    async fn chunk_count(&self) -> Result<u64, StoreError>;

    /// Removes a work: its chunks, blocks and record.
    async fn forget(&self, content: ContentId) -> Result<(), StoreError>;
}

/// A [`Store`] that lives as long as its owner.
#[derive(Debug, Default)]
pub struct MemoryStore(RefCell<Maps>);

#[derive(Debug, Default)]
struct Maps {
    chunks: BTreeMap<ChunkKey, Vec<u8>>,
    blocks: BTreeMap<(ContentId, Digest), Vec<u8>>,
    works: BTreeMap<ContentId, WorkRecord>,
}

impl Store for MemoryStore {
    async fn put_chunk(&self, key: ChunkKey, sealed: &[u8]) -> Result<(), StoreError> {
        self.0.borrow_mut().chunks.insert(key, sealed.to_vec());
        Ok(())
    }

    async fn chunk(&self, key: ChunkKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.borrow().chunks.get(&key).cloned())
    }

    async fn remove_chunk(&self, key: ChunkKey) -> Result<(), StoreError> {
        self.0.borrow_mut().chunks.remove(&key);
        Ok(())
    }

    async fn put_block(
        &self,
        content: ContentId,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mut maps = self.0.borrow_mut();
        maps.blocks.insert((content, digest), bytes.to_vec());
        Ok(())
    }

    async fn block(
        &self,
        content: ContentId,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.borrow().blocks.get(&(content, digest)).cloned())
    }

    async fn touch(&self, record: WorkRecord) -> Result<(), StoreError> {
        self.0.borrow_mut().works.insert(record.content, record);
        Ok(())
    }

    async fn works(&self) -> Result<Vec<WorkRecord>, StoreError> {
        let mut works: Vec<_> = self.0.borrow().works.values().copied().collect();
        works.sort_by_key(|work| std::cmp::Reverse(work.touched));
        Ok(works)
    }

    async fn chunks_of(
        &self,
        content: ContentId,
        file: FileIndex,
    ) -> Result<Vec<ChunkIndex>, StoreError> {
        let maps = self.0.borrow();
        let of_file = maps
            .chunks
            .keys()
            .filter(|key| key.content == content && key.file == file);
        Ok(of_file.map(|key| key.index).collect())
    }

    async fn chunk_count(&self) -> Result<u64, StoreError> {
        Ok(self.0.borrow().chunks.len() as u64)
    }

    async fn forget(&self, content: ContentId) -> Result<(), StoreError> {
        let mut maps = self.0.borrow_mut();
        maps.chunks.retain(|key, _| key.content != content);
        maps.blocks.retain(|(of, _), _| *of != content);
        maps.works.remove(&content);
        Ok(())
    }
}

/// What every [`Store`] must do; `store` is empty.
#[cfg(test)]
pub(crate) async fn contract(store: &impl Store) {
    let content = |name: &str| ContentId(Digest::of(name.as_bytes()));
    let (one, other) = (content("one"), content("other"));
    let key = |content, file, index| ChunkKey {
        content,
        file: FileIndex(file),
        index: ChunkIndex(index),
    };

    // A miss is not an error.
    assert_eq!(store.chunk(key(one, 0, 0)).await, Ok(None));
    assert_eq!(store.block(one, Digest::of(b"x")).await, Ok(None));
    assert_eq!(store.works().await, Ok(vec![]));

    // What was written is read, twice written or not, and only there.
    store.put_chunk(key(one, 0, 5), b"five").await.expect("put");
    store
        .put_chunk(key(one, 0, 5), b"five")
        .await
        .expect("put again");
    store
        .put_chunk(key(one, 0, 1 << 40), b"far")
        .await
        .expect("put");
    store
        .put_chunk(key(one, 1, 5), b"other file")
        .await
        .expect("put");
    store
        .put_chunk(key(other, 0, 5), b"other work")
        .await
        .expect("put");
    assert_eq!(
        store.chunk(key(one, 0, 5)).await,
        Ok(Some(b"five".to_vec()))
    );
    assert_eq!(store.chunk(key(one, 0, 6)).await, Ok(None));
    assert_eq!(store.chunk_count().await, Ok(4));

    // Chunks are listed per file, in order.
    let listed = store.chunks_of(one, FileIndex(0)).await;
    assert_eq!(listed, Ok(vec![ChunkIndex(5), ChunkIndex(1 << 40)]));

    // Many writes at once all arrive.
    let many = futures::future::join_all((100..164).map(|index| {
        let bytes = vec![u8::try_from(index).unwrap_or_default(); 1000];
        async move { store.put_chunk(key(other, 7, index), &bytes).await }
    }))
    .await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(
        store
            .chunks_of(other, FileIndex(7))
            .await
            .map(|all| all.len()),
        Ok(64)
    );

    // A rotten chunk goes alone.
    store.remove_chunk(key(one, 0, 5)).await.expect("remove");
    store
        .remove_chunk(key(one, 0, 5))
        .await
        .expect("remove again");
    assert_eq!(store.chunk(key(one, 0, 5)).await, Ok(None));

    // Blocks belong to their work.
    let digest = Digest::of(b"block");
    store.put_block(one, digest, b"block").await.expect("put");
    assert_eq!(store.block(one, digest).await, Ok(Some(b"block".to_vec())));
    assert_eq!(store.block(other, digest).await, Ok(None));

    // Records are replaced, and listed by when they were touched.
    let record = |content, at, card| WorkRecord {
        content,
        touched: UnixMillis(at),
        card,
    };
    store.touch(record(one, 1, None)).await.expect("touch");
    store.touch(record(other, 2, None)).await.expect("touch");
    store
        .touch(record(one, 3, Some(digest)))
        .await
        .expect("touch");
    let works = vec![record(one, 3, Some(digest)), record(other, 2, None)];
    assert_eq!(store.works().await, Ok(works));

    // Forgetting a work leaves the others alone.
    store.forget(one).await.expect("forget");
    assert_eq!(store.chunks_of(one, FileIndex(0)).await, Ok(vec![]));
    assert_eq!(store.chunk(key(one, 1, 5)).await, Ok(None));
    assert_eq!(store.block(one, digest).await, Ok(None));
    assert_eq!(store.works().await, Ok(vec![record(other, 2, None)]));
    assert_eq!(
        store.chunk(key(other, 0, 5)).await,
        Ok(Some(b"other work".to_vec()))
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_opened_longest_ago_goes_first_and_none_in_use() {
        let work = |name: &str, touched| WorkRecord {
            content: ContentId(Digest::of(name.as_bytes())),
            touched: UnixMillis(touched),
            card: None,
        };
        let works = [work("recent", 500), work("older", 2), work("oldest", 1)];
        let check = |playing: &str, now, want: Option<&str>| {
            let id = |name: &str| ContentId(Digest::of(name.as_bytes()));
            assert_eq!(
                to_forget(&works, id(playing), UnixMillis(now)),
                want.map(id)
            );
        };
        check("recent", IN_USE_MS + 2, Some("oldest"));
        check("oldest", IN_USE_MS + 2, Some("older"));
        check("oldest", IN_USE_MS + 1, None);
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn memory_store_keeps_the_contract() {
        futures::executor::block_on(contract(&MemoryStore::default()));
    }
}
