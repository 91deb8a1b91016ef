//! Where the chunk protocol's answers come from.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex};

use crate::store::Store;

/// The source could not answer. The peer is told that we do not have it; the cause is logged.
#[derive(Debug, thiserror::Error)]
#[error("block source failed")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// An answer on its way; `None` is a miss. Cancel safe: dropping it asks for nothing more.
pub type Answer<'a, T> = BoxFuture<'a, Result<Option<T>, SourceError>>;

/// Blocks, chunks and cards by name. It never sees a key.
///
/// What it hands out was checked against its digest; the chunk server does not hash again.
pub trait BlockSource: Send + Sync {
    /// The bytes of a manifest, card, hash page or poster.
    fn block(&self, digest: Digest) -> Answer<'_, Bytes>;

    /// A sealed chunk of a work.
    fn chunk(&self, work: ContentId, file: FileIndex, index: ChunkIndex) -> Answer<'_, Bytes>;

    /// The digest of a work's newest card.
    fn newest_card(&self, work: ContentId) -> Answer<'_, Digest>;
}

impl BlockSource for Store {
    fn block(&self, digest: Digest) -> Answer<'_, Bytes> {
        async move { self.block(&digest).await.map_err(fault) }.boxed()
    }

    fn chunk(&self, work: ContentId, file: FileIndex, index: ChunkIndex) -> Answer<'_, Bytes> {
        async move { self.chunk(&work, file, index).await.map_err(fault) }.boxed()
    }

    fn newest_card(&self, work: ContentId) -> Answer<'_, Digest> {
        async move { self.newest_card(&work).await.map_err(fault) }.boxed()
    }
}

fn fault(error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    SourceError(Box::new(error))
}
