//! The serving side of `/sluice/chunk/1`: how many streams, and when they end.
//!
//! `stream.rs` serves one of them. Streams take turns at the disk, which hands out one read after
//! another in the order asked for, and each has at most two answers in memory: nobody is served twice
//! while another waits.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::limits::{Host, admit, release};
use super::source::BlockSource;
use super::stats::Counters;

mod queue;
mod stream;
#[cfg(test)]
mod tests;

/// Chunk streams in all: two answers each make 256 MiB at the worst. Further ones are reset.
pub(crate) const MAX_STREAMS: usize = 512;

/// Chunk streams of one peer, that is works it fetches at once.
pub(crate) const MAX_STREAMS_PER_PEER: usize = 16;

/// Chunk streams of one IPv4 address or IPv6 /64, as peer ids cost nothing: as many as it may have
/// connections. Loopback is exempt as it is there.
pub(crate) const MAX_STREAMS_PER_HOST: usize = 64;

/// Serves streams, each in a task of its own.
pub(crate) struct Chunks {
    source: Arc<dyn BlockSource>,
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
    /// Whose stream a task serves; as many as there are tasks.
    peers: HashMap<Id, (PeerId, Option<Host>)>,
    per_peer: HashMap<PeerId, usize>,
    per_host: HashMap<Host, usize>,
    leaving: CancellationToken,
}

impl Chunks {
    pub(crate) fn new(source: Arc<dyn BlockSource>, counters: Arc<Counters>) -> Self {
        Self {
            source,
            counters,
            tasks: JoinSet::new(),
            peers: HashMap::new(),
            per_peer: HashMap::new(),
            per_host: HashMap::new(),
            leaving: CancellationToken::new(),
        }
    }

    /// Serves a stream, or resets it if there are too many.
    pub(crate) fn accept<S>(&mut self, peer: PeerId, host: Option<Host>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_welcome = self.tasks.len() < MAX_STREAMS
            && !self.leaving.is_cancelled()
            && self.admit(peer, host);
        if !is_welcome {
            tracing::debug!(%peer, "chunk stream refused: too many");
            self.counters.streams_refused.one_more();
            return;
        }
        self.counters.streams.one_more();
        let source = self.source.clone();
        let counters = self.counters.clone();
        let leaving = self.leaving.clone();
        let task = self.tasks.spawn(async move {
            stream::serve(stream, &*source, &counters, &leaving).await;
        });
        self.peers.insert(task.id(), (peer, host));
    }

    /// Counts a stream for its peer and its address, or for neither.
    fn admit(&mut self, peer: PeerId, host: Option<Host>) -> bool {
        if admit(&mut self.per_peer, peer, MAX_STREAMS_PER_PEER).is_none() {
            return false;
        }
        if let Some(host) = host
            && admit(&mut self.per_host, host, MAX_STREAMS_PER_HOST).is_none()
        {
            release(&mut self.per_peer, peer);
            return false;
        }
        true
    }

    /// Waits until a stream has ended, and frees its place; `None` if there is none. Cancel safe.
    pub(crate) async fn ended(&mut self) -> Option<()> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "chunk stream task failed");
                error.id()
            }
        };
        self.counters.streams.one_less();
        if let Some((peer, host)) = self.peers.remove(&id) {
            release(&mut self.per_peer, peer);
            if let Some(host) = host {
                release(&mut self.per_host, host);
            }
        }
        Some(())
    }

    /// Takes no more streams and no more requests; each stream ends after what was asked already.
    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }
}
