//! One stream against a peer that behaves, errs or dawdles, over a pipe in memory and, where time
//! matters, on a clock that only moves when everybody waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use sluice_core::wire::{
    Frame, LENGTH_LEN, MAX_FRAME_LEN, MAX_OUTSTANDING, Parting, Priority, frame_len,
};
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::stream::{HEAD_TIMEOUT, STREAM_IDLE, WRITE_TIMEOUT, serve};
use super::*;
use crate::p2p::source::{Answer, SourceError};
use crate::p2p::stats::Counter;

const WORK: ContentId = ContentId(Digest::new([7; 32]));
const FILE: FileIndex = FileIndex(0);

/// A source with chunks of its own making, which waits for permission to read when it is told to.
struct Shelf {
    blocks: HashMap<Digest, Bytes>,
    card: Option<Digest>,
    chunks: u64,
    chunk_len: usize,
    reads: Semaphore,
    /// Reads begun, permitted or not.
    begun: Counter,
    broken: AtomicBool,
}

impl Shelf {
    fn open() -> Arc<Self> {
        Self::with_reads(Semaphore::MAX_PERMITS)
    }

    fn with_reads(reads: usize) -> Arc<Self> {
        let page = Bytes::from_static(b"a hash page");
        Arc::new(Self {
            card: Some(Digest::of(b"card")),
            blocks: HashMap::from([(Digest::of(&page), page)]),
            chunks: 1000,
            chunk_len: 1000,
            reads: Semaphore::new(reads),
            begun: Counter::default(),
            broken: AtomicBool::new(false),
        })
    }

    fn bytes_of(&self, index: u64) -> Vec<u8> {
        vec![index.to_le_bytes()[0]; self.chunk_len]
    }

    async fn read(&self) -> Result<(), SourceError> {
        self.begun.one_more();
        self.reads.acquire().await.unwrap().forget();
        if self.broken.load(Ordering::SeqCst) {
            return Err(SourceError("disk on fire".into()));
        }
        Ok(())
    }
}

impl BlockSource for Shelf {
    fn block(&self, digest: Digest) -> Answer<'_, Bytes> {
        async move {
            self.read().await?;
            Ok(self.blocks.get(&digest).cloned())
        }
        .boxed()
    }

    fn chunk(&self, work: ContentId, _: FileIndex, index: ChunkIndex) -> Answer<'_, Bytes> {
        async move {
            self.read().await?;
            let known = work == WORK && index.0 < self.chunks;
            Ok(known.then(|| self.bytes_of(index.0).into()))
        }
        .boxed()
    }

    fn newest_card(&self, work: ContentId) -> Answer<'_, Digest> {
        async move { Ok(self.card.filter(|_| work == WORK)) }.boxed()
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// The other end of a served stream.
struct Peer {
    pipe: DuplexStream,
    counters: Arc<Counters>,
    leaving: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Peer {
    fn of(shelf: &Arc<Shelf>) -> Self {
        Self::with_pipe(shelf, 1 << 20)
    }

    fn with_pipe(shelf: &Arc<Shelf>, pipe: usize) -> Self {
        let (pipe, theirs) = tokio::io::duplex(pipe);
        let counters = Arc::new(Counters::default());
        let leaving = CancellationToken::new();
        let (shelf, count, leave) = (shelf.clone(), counters.clone(), leaving.clone());
        let served = tokio::spawn(async move {
            serve(theirs.compat(), &*shelf, &count, &leave).await;
        });
        Self {
            pipe,
            counters,
            leaving,
            served,
        }
    }

    /// With the work named, and the answer to that read.
    async fn greeted(shelf: &Arc<Shelf>) -> Self {
        let mut peer = Self::of(shelf);
        peer.send(Frame::Head(WORK)).await;
        assert!(matches!(peer.receive().await, Some(Frame::Heads { .. })));
        peer
    }

    async fn send(&mut self, frame: Frame) {
        self.pipe.write_all(&frame.encode()).await.unwrap();
    }

    async fn request(&mut self, index: u64, priority: Priority) {
        let index = ChunkIndex(index);
        self.send(Frame::Request {
            file: FILE,
            index,
            priority,
        })
        .await;
    }

    /// Asks for a chunk and waits until its read has begun.
    async fn request_and_wait(&mut self, shelf: &Shelf, index: u64) {
        let before = shelf.begun.get();
        self.request(index, Priority::LATER).await;
        until(|| shelf.begun.get() > before).await;
    }

    /// Waits until the server has taken so many chunk requests.
    async fn taken(&self, requests: u64) {
        until(|| self.counters.snapshot().chunk_requests >= requests).await;
    }

    /// The next frame; `None` at the end of the stream.
    async fn receive(&mut self) -> Option<Frame> {
        let mut length = [0; LENGTH_LEN];
        if self.pipe.read(&mut length[..1]).await.ok()? == 0 {
            return None;
        }
        self.pipe.read_exact(&mut length[1..]).await.ok()?;
        let mut frame = vec![0; frame_len(length).unwrap()];
        self.pipe.read_exact(&mut frame).await.ok()?;
        Some(Frame::decode(frame).unwrap().expect("a known type"))
    }

    /// Which chunk comes next, its bytes checked.
    async fn chunk(&mut self, shelf: &Shelf) -> u64 {
        match self.receive().await {
            Some(Frame::Chunk { index, sealed, .. }) => {
                assert!(sealed == shelf.bytes_of(index.0));
                index.0
            }
            other => panic!("expected a chunk, got {other:?}"),
        }
    }

    async fn ends_with(&mut self, parting: Parting) {
        assert_eq!(self.receive().await, Some(Frame::Bye(parting)));
        assert_eq!(self.receive().await, None);
    }
}

#[tokio::test]
async fn heads_blocks_and_chunks_are_answered_and_misses_said() {
    let shelf = Shelf::open();
    let mut peer = Peer::of(&shelf);
    let page = Digest::of(b"a hash page");
    let (nothing, index) = (Digest::of(b"nothing"), ChunkIndex(5000));
    for (ask, want) in [
        (
            Frame::Head(WORK),
            Frame::Heads {
                card: shelf.card,
                keybox: None,
            },
        ),
        (Frame::Get(page), Frame::Block(page, b"a hash page".into())),
        (Frame::Get(nothing), Frame::NoBlock(nothing)),
        (
            Frame::Request {
                file: FILE,
                index,
                priority: Priority::SOON,
            },
            Frame::NoChunk { file: FILE, index },
        ),
    ] {
        peer.send(ask).await;
        assert_eq!(peer.receive().await, Some(want));
    }
    peer.request(3, Priority::URGENT).await;
    assert_eq!(peer.chunk(&shelf).await, 3);
    let stats = peer.counters.snapshot();
    assert_eq!((stats.chunk_requests, stats.misses), (2, 2));
    assert_eq!((stats.chunks_sent, stats.blocks_sent), (1, 1));
    assert!(stats.bytes_sent > 1000);
}

#[tokio::test]
async fn an_unknown_work_has_no_heads() {
    let shelf = Shelf::open();
    let mut peer = Peer::of(&shelf);
    peer.send(Frame::Head(ContentId(Digest::of(b"other"))))
        .await;
    let (card, keybox) = (None, None);
    assert_eq!(peer.receive().await, Some(Frame::Heads { card, keybox }));
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_its_work_is_refused() {
    let mut peer = Peer::of(&Shelf::open());
    peer.request(0, Priority::SOON).await;
    peer.ends_with(Parting::Breach).await;
    assert_eq!(peer.counters.snapshot().frames_refused, 1);
}

#[tokio::test]
async fn a_second_work_on_one_stream_is_refused() {
    let mut peer = Peer::greeted(&Shelf::open()).await;
    peer.send(Frame::Head(ContentId(Digest::of(b"other"))))
        .await;
    peer.ends_with(Parting::Breach).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_stream_at_its_length() {
    for length in [0, u32::try_from(MAX_FRAME_LEN).unwrap() + 1, u32::MAX] {
        let mut peer = Peer::greeted(&Shelf::open()).await;
        peer.pipe.write_all(&length.to_be_bytes()).await.unwrap();
        peer.ends_with(Parting::Breach).await;
        assert_eq!(peer.counters.snapshot().frames_refused, 1);
    }
}

#[tokio::test]
async fn a_malformed_frame_ends_the_stream() {
    let mut peer = Peer::greeted(&Shelf::open()).await;
    // A Get of one byte.
    peer.pipe.write_all(&[0, 0, 0, 2, 3, 9]).await.unwrap();
    peer.ends_with(Parting::Breach).await;
}

#[tokio::test]
async fn unknown_types_and_what_we_never_ask_for_are_skipped() {
    let shelf = Shelf::open();
    let mut peer = Peer::greeted(&shelf).await;
    peer.pipe
        .write_all(&[0, 0, 0, 3, 0x7f, 1, 2])
        .await
        .unwrap();
    let longest = usize::try_from(MAX_FRAME_LEN).unwrap();
    let length = u32::try_from(longest).unwrap().to_be_bytes();
    let mut unknown = vec![0x7f; LENGTH_LEN + longest];
    unknown[..LENGTH_LEN].copy_from_slice(&length);
    peer.pipe.write_all(&unknown).await.unwrap();
    let index = ChunkIndex(0);
    peer.send(Frame::Chunk {
        file: FILE,
        index,
        sealed: vec![0; 262_160],
    })
    .await;
    peer.send(Frame::Have {
        file: FILE,
        first: index,
        bitmap: vec![0xff; 8 * 1024],
    })
    .await;
    peer.request(1, Priority::SOON).await;
    assert_eq!(peer.chunk(&shelf).await, 1);
    assert_eq!(peer.counters.snapshot().frames_refused, 0);
}

#[tokio::test]
async fn past_the_limit_of_outstanding_requests_the_answer_is_busy() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::greeted(&shelf).await;
    // One is being read and does not count; the rest fill the queue.
    let most = MAX_OUTSTANDING as u64 + 1;
    peer.request_and_wait(&shelf, 0).await;
    for index in 1..most + 3 {
        peer.request(index, Priority::SOON).await;
    }
    peer.taken(most + 3).await;
    shelf.reads.add_permits(1);
    assert_eq!(peer.chunk(&shelf).await, 0);
    shelf.reads.add_permits(1000);
    let (mut chunks, mut busy) = (Vec::new(), Vec::new());
    for _ in 1..most + 3 {
        match peer.receive().await {
            Some(Frame::Chunk { index, .. }) => chunks.push(index.0),
            Some(Frame::Busy {
                index, retry_ms, ..
            }) => {
                assert!(retry_ms > 0);
                busy.push(index.0);
            }
            other => panic!("expected chunks and refusals, got {other:?}"),
        }
    }
    assert_eq!(chunks, (1..most).collect::<Vec<_>>());
    assert_eq!(busy, (most..most + 3).collect::<Vec<_>>());
    assert_eq!(peer.counters.snapshot().busy, 3);

    peer.request(most, Priority::SOON).await;
    assert_eq!(peer.chunk(&shelf).await, most);
}

#[tokio::test]
async fn a_peer_that_keeps_to_the_limit_is_never_refused() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::of(&shelf);
    peer.send(Frame::Head(WORK)).await;
    peer.send(Frame::Get(Digest::of(b"a hash page"))).await;
    for index in 0..MAX_OUTSTANDING as u64 {
        peer.request(index, Priority::SOON).await;
    }
    shelf.reads.add_permits(1000);
    assert!(matches!(peer.receive().await, Some(Frame::Heads { .. })));
    assert!(matches!(peer.receive().await, Some(Frame::Block(..))));
    for index in 0..200 {
        assert_eq!(peer.chunk(&shelf).await, index);
        peer.request(index + MAX_OUTSTANDING as u64, Priority::SOON)
            .await;
    }
    assert_eq!(peer.counters.snapshot().busy, 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_is_not_read_while_its_refusals_are_not() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::with_pipe(&shelf, 64);
    peer.send(Frame::Head(WORK)).await;
    let flood = async {
        for index in 0.. {
            peer.request(index, Priority::SOON).await;
        }
    };
    // The clock moves only when both sides wait for each other. If the server went on reading, it
    // never would.
    let flooding = tokio::time::timeout(std::time::Duration::from_secs(1), flood).await;
    assert!(flooding.is_err());
    let asked = peer.counters.snapshot().chunk_requests;
    assert!(
        asked <= 2 * MAX_OUTSTANDING as u64 + 3,
        "{asked} were taken"
    );
}

#[tokio::test]
async fn the_urgent_overtake_those_that_wait() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::greeted(&shelf).await;
    peer.request_and_wait(&shelf, 0).await;
    peer.request(1, Priority::LATER).await;
    peer.request(2, Priority::SOON).await;
    peer.request(3, Priority::URGENT).await;
    peer.taken(4).await;
    shelf.reads.add_permits(4);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(peer.chunk(&shelf).await);
    }
    // The first was being read already.
    assert_eq!(order, [0, 3, 2, 1]);
}

#[tokio::test]
async fn what_is_taken_back_is_not_sent() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::greeted(&shelf).await;
    peer.request_and_wait(&shelf, 0).await;
    for index in 1..4 {
        peer.request(index, Priority::SOON).await;
    }
    // 0 is being read, 2 waits; 9 was never asked for.
    for index in [0, 2, 9] {
        let index = ChunkIndex(index);
        peer.send(Frame::Cancel { file: FILE, index }).await;
    }
    until(|| peer.counters.snapshot().cancelled == 2).await;
    shelf.reads.add_permits(4);
    assert_eq!(peer.chunk(&shelf).await, 1);
    assert_eq!(peer.chunk(&shelf).await, 3);
}

#[tokio::test]
async fn a_source_that_fails_has_nothing_and_the_stream_goes_on() {
    let shelf = Shelf::open();
    let mut peer = Peer::greeted(&shelf).await;
    shelf.broken.store(true, Ordering::SeqCst);
    peer.request(1, Priority::SOON).await;
    let index = ChunkIndex(1);
    assert_eq!(
        peer.receive().await,
        Some(Frame::NoChunk { file: FILE, index })
    );
    shelf.broken.store(false, Ordering::SeqCst);
    peer.request(1, Priority::SOON).await;
    assert_eq!(peer.chunk(&shelf).await, 1);
}

#[tokio::test]
async fn a_peer_that_asks_no_more_still_gets_what_it_asked_for() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::greeted(&shelf).await;
    peer.request(1, Priority::SOON).await;
    peer.request(2, Priority::SOON).await;
    peer.pipe.shutdown().await.unwrap();
    shelf.reads.add_permits(2);
    assert_eq!(peer.chunk(&shelf).await, 1);
    assert_eq!(peer.chunk(&shelf).await, 2);
    assert_eq!(peer.receive().await, None);
}

#[tokio::test]
async fn a_peer_that_says_goodbye_is_left_alone() {
    let shelf = Shelf::open();
    let mut peer = Peer::greeted(&shelf).await;
    peer.send(Frame::Bye(Parting::Done)).await;
    assert_eq!(peer.receive().await, None);
    peer.served.await.unwrap();
}

#[tokio::test]
async fn a_leaving_server_answers_what_was_asked_and_says_so() {
    let shelf = Shelf::with_reads(0);
    let mut peer = Peer::greeted(&shelf).await;
    peer.request(1, Priority::SOON).await;
    peer.request(2, Priority::SOON).await;
    peer.taken(2).await;
    peer.leaving.cancel();
    shelf.reads.add_permits(2);
    assert_eq!(peer.chunk(&shelf).await, 1);
    assert_eq!(peer.chunk(&shelf).await, 2);
    peer.ends_with(Parting::Leaving).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_cut_after_the_write_timeout() {
    let shelf = Shelf::open();
    let mut peer = Peer::with_pipe(&shelf, 512);
    peer.send(Frame::Head(WORK)).await;
    peer.request(1, Priority::SOON).await;
    let before = tokio::time::Instant::now();
    (&mut peer.served).await.unwrap();
    assert!(before.elapsed() >= WRITE_TIMEOUT);
    assert_eq!(peer.counters.snapshot().slow_readers, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_is_asked_is_closed_in_the_end() {
    let before = tokio::time::Instant::now();
    let mut peer = Peer::greeted(&Shelf::open()).await;
    peer.ends_with(Parting::Done).await;
    assert!(before.elapsed() >= STREAM_IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_names_a_work_is_closed_soon() {
    let before = tokio::time::Instant::now();
    let mut peer = Peer::of(&Shelf::open());
    // Half a frame is none.
    peer.pipe.write_all(&[0, 0]).await.unwrap();
    peer.ends_with(Parting::Done).await;
    assert!((HEAD_TIMEOUT..2 * HEAD_TIMEOUT).contains(&before.elapsed()));
}

#[tokio::test]
async fn streams_of_one_address_are_bounded_whatever_their_peer_ids() {
    let counters = Arc::new(Counters::default());
    let mut chunks = Chunks::new(Shelf::open(), counters.clone());
    let mut pipes = Vec::new();
    let mut open = |chunks: &mut Chunks, addr: &str| {
        let (ours, theirs) = tokio::io::duplex(1024);
        let host = Host::of(&addr.parse().unwrap());
        chunks.accept(PeerId::random(), host, theirs.compat());
        pipes.push(ours);
    };
    for port in 0..MAX_STREAMS_PER_HOST {
        open(&mut chunks, &format!("/ip6/2001:db8::{port:x}/tcp/{port}"));
    }
    assert_eq!(counters.snapshot().streams_refused, 0);
    open(&mut chunks, "/ip6/2001:db8::ffff/tcp/1");
    assert_eq!(counters.snapshot().streams_refused, 1);
    assert_eq!(chunks.per_peer.len(), MAX_STREAMS_PER_HOST);
    open(&mut chunks, "/ip4/192.0.2.1/tcp/1");
    for _ in 0..=MAX_STREAMS_PER_HOST {
        open(&mut chunks, "/ip4/127.0.0.1/tcp/1");
    }
    assert_eq!(counters.snapshot().streams_refused, 1);

    drop(pipes);
    while chunks.ended().await.is_some() {}
    assert!(chunks.per_peer.is_empty() && chunks.per_host.is_empty());
}

#[tokio::test]
async fn streams_of_one_peer_are_bounded_and_free_their_place() {
    let counters = Arc::new(Counters::default());
    let mut chunks = Chunks::new(Shelf::open(), counters.clone());
    let peer = PeerId::random();
    let mut pipes = Vec::new();
    let mut open = |chunks: &mut Chunks, peer| {
        let (ours, theirs) = tokio::io::duplex(1024);
        chunks.accept(peer, None, theirs.compat());
        pipes.push(ours);
    };
    for _ in 0..=MAX_STREAMS_PER_PEER {
        open(&mut chunks, peer);
    }
    open(&mut chunks, PeerId::random());
    let stats = counters.snapshot();
    assert_eq!(stats.streams_refused, 1);
    assert_eq!(stats.streams, MAX_STREAMS_PER_PEER as u64 + 1);

    drop(pipes);
    while chunks.ended().await.is_some() {}
    assert_eq!(counters.snapshot().streams, 0);
    assert!(chunks.peers.is_empty() && chunks.per_peer.is_empty());
}

#[tokio::test]
async fn after_leaving_no_stream_is_taken() {
    let counters = Arc::new(Counters::default());
    let mut chunks = Chunks::new(Shelf::open(), counters.clone());
    chunks.leave();
    chunks.accept(PeerId::random(), None, tokio::io::duplex(64).0.compat());
    assert_eq!(counters.snapshot().streams_refused, 1);
    assert_eq!(chunks.ended().await, None);
}
