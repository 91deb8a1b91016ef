//! One stream of the chunk protocol: a reader fills a bounded queue, a writer empties it.
//!
//! Both run in one task and meet only in the queue, so a slow disk or a slow peer never stops
//! requests from being taken back. The writer reads one answer ahead while another is on the wire.
//!
//! # Invariants
//!
//! - At most [`sluice_core::wire::MAX_OUTSTANDING`] requests for chunks and as many questions, two
//!   answers and one request frame are held for a stream, whatever the peer sends.
//! - A frame over the limit ends the stream before anything is allocated for it; a frame longer than
//!   any request is read past without being held.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::io::BufReader;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use sluice_core::ContentId;
use sluice_core::chunk::{CHUNK_LEN, SEAL_OVERHEAD};
use sluice_core::wire::{
    Frame, LENGTH_LEN, MAX_BITMAP_LEN, Parting, Priority, WireError, frame_len,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::queue::{End, Place, Queue, Wanted};
use crate::p2p::source::BlockSource;
use crate::p2p::stats::Counters;

/// A stream on which nothing was asked for so long is closed. Longer than a pause for a phone call;
/// its peer opens another when it goes on.
pub(super) const STREAM_IDLE: Duration = Duration::from_secs(10 * 60);

/// Time for the first frame, which names the work. A peer has it ready when it opens a stream.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one frame to leave. A peer that takes a chunk slower than 9 KB/s cannot watch anything, and
/// its place is wanted.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a refused peer is told to wait, in milliseconds: about the time in which a full queue empties
/// at 20 MB/s.
const BUSY_RETRY_MS: u32 = 200;

/// Longest frame that asks or tells us something: a `Have`. Longer ones carry what we never ask for,
/// or belong to a later version.
const MAX_REQUEST_LEN: usize = MAX_BITMAP_LEN + 64;

/// Bytes read at once; requests are 14 to 37 bytes.
const READ_BUFFER: usize = 2 * 1024;

const _: () = assert!(MAX_REQUEST_LEN as u64 <= sluice_core::wire::MAX_FRAME_LEN);

/// Why the reader stopped before the peer did.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("the first frame must name the work, and no other may name another")]
    Order,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The queue between the two halves.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to do for the writer.
    work: Notify,
    /// Room for the reader.
    room: Notify,
}

impl Shared {
    /// Runs `job` on the queue. Never held across an await.
    fn with<T>(&self, job: impl FnOnce(&mut Queue) -> T) -> T {
        job(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Repeats `push` until there is room: the peer is not read from meanwhile.
    async fn push(&self, mut push: impl FnMut(&mut Queue) -> Result<(), super::queue::Full>) {
        while self.with(&mut push).is_err() {
            self.room.notified().await;
        }
        self.work.notify_one();
    }

    fn finish(&self, end: End) {
        self.with(|queue| queue.finish(end));
        self.work.notify_one();
    }
}

/// Serves a stream until either side ends it. `leaving` asks it to end after what is asked already.
pub(super) async fn serve<S>(
    stream: S,
    source: &dyn BlockSource,
    counters: &Counters,
    leaving: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, write) = stream.split();
    let shared = Shared::default();
    let mut writer = pin!(Writer::new(write, source, counters, &shared).run());
    {
        let mut reader = Reader::new(read, counters, &shared);
        let reading = pin!(async {
            let end = tokio::select! {
                end = reader.run() => end,
                () = leaving.cancelled() => End {
                    drain: true,
                    parting: Some(Parting::Leaving),
                },
            };
            shared.finish(end);
        });
        tokio::select! {
            () = reading => {}
            () = &mut writer => return,
        }
    }
    writer.await;
}

struct Reader<'a, R> {
    read: BufReader<R>,
    counters: &'a Counters,
    shared: &'a Shared,
    /// Named by the first frame.
    work: Option<ContentId>,
}

impl<'a, R: AsyncRead + Unpin> Reader<'a, R> {
    fn new(read: R, counters: &'a Counters, shared: &'a Shared) -> Self {
        Self {
            read: BufReader::with_capacity(READ_BUFFER, read),
            counters,
            shared,
            work: None,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            let patience = match self.work {
                Some(_) => STREAM_IDLE,
                None => HEAD_TIMEOUT,
            };
            let frame = match timeout(patience, self.next()).await {
                Ok(frame) => frame,
                Err(_) => {
                    return End {
                        drain: true,
                        parting: Some(Parting::Done),
                    };
                }
            };
            let handled = match frame {
                Ok(Some(Frame::Bye(_))) => {
                    return End {
                        drain: false,
                        parting: None,
                    };
                }
                Ok(Some(frame)) => self.handle(frame).await,
                // The peer asks no more, but may still read.
                Ok(None) => {
                    return End {
                        drain: true,
                        parting: None,
                    };
                }
                Err(error) => Err(error),
            };
            match handled {
                Ok(()) => {}
                Err(ReadError::Io(error)) => {
                    tracing::debug!(%error, "chunk stream broke");
                    return End {
                        drain: false,
                        parting: None,
                    };
                }
                Err(error) => {
                    tracing::debug!(%error, "chunk stream refused");
                    self.counters.frames_refused.one_more();
                    return End {
                        drain: false,
                        parting: Some(Parting::Breach),
                    };
                }
            }
        }
    }

    /// The next frame of a type we know; `None` at the end.
    async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            let mut length = [0; LENGTH_LEN];
            if self.read.read(&mut length[..1]).await? == 0 {
                return Ok(None);
            }
            self.read.read_exact(&mut length[1..]).await?;
            let len = frame_len(length)?;
            if len > MAX_REQUEST_LEN {
                let skipped = (&mut self.read).take(len as u64);
                if futures::io::copy(skipped, &mut futures::io::sink()).await? < len as u64 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                continue;
            }
            let mut frame = vec![0; len];
            self.read.read_exact(&mut frame).await?;
            if let Some(frame) = Frame::decode(frame)? {
                return Ok(Some(frame));
            }
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), ReadError> {
        let work = match (self.work, &frame) {
            (None, Frame::Head(work)) => *self.work.insert(*work),
            (Some(work), Frame::Head(other)) if work != *other => return Err(ReadError::Order),
            (Some(work), _) => work,
            (None, _) => return Err(ReadError::Order),
        };
        match frame {
            Frame::Head(_) => {
                let wanted = Wanted::Heads(work);
                self.shared
                    .push(|queue| queue.push(wanted, Priority::URGENT))
                    .await;
            }
            Frame::Get(digest) => {
                let wanted = Wanted::Block(digest);
                self.shared
                    .push(|queue| queue.push(wanted, Priority::URGENT))
                    .await;
            }
            Frame::Request {
                file,
                index,
                priority,
            } => {
                self.counters.chunk_requests.one_more();
                let place = (file, index);
                let wanted = Wanted::Chunk(work, place);
                if self
                    .shared
                    .with(|queue| queue.push(wanted, priority))
                    .is_ok()
                {
                    self.shared.work.notify_one();
                } else {
                    self.counters.busy.one_more();
                    self.shared.push(|queue| queue.push_busy(place)).await;
                }
            }
            Frame::Cancel { file, index } => {
                if self.shared.with(|queue| queue.cancel((file, index))) {
                    self.counters.cancelled.one_more();
                    self.shared.room.notify_one();
                }
            }
            // A relay asks peers for nothing, so what they have and send is of no use to it.
            Frame::Heads { .. }
            | Frame::Block(..)
            | Frame::NoBlock(_)
            | Frame::Have { .. }
            | Frame::Chunk { .. }
            | Frame::NoChunk { .. }
            | Frame::Busy { .. }
            | Frame::Bye(_) => {}
        }
        Ok(())
    }
}

/// An answer, ready to write.
struct Answer {
    head: Vec<u8>,
    payload: Bytes,
    /// Set for a chunk: it may have been taken back since.
    chunk: Option<Place>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Chunk,
    Block,
    Miss,
    Other,
}

impl Answer {
    fn frame(frame: &Frame, kind: Kind) -> Self {
        Self {
            head: frame.encode(),
            payload: Bytes::new(),
            chunk: None,
            kind,
        }
    }
}

struct Writer<'a, W> {
    write: W,
    source: &'a dyn BlockSource,
    counters: &'a Counters,
    shared: &'a Shared,
}

impl<'a, W: AsyncWrite + Unpin> Writer<'a, W> {
    fn new(
        write: W,
        source: &'a dyn BlockSource,
        counters: &'a Counters,
        shared: &'a Shared,
    ) -> Self {
        Self {
            write,
            source,
            counters,
            shared,
        }
    }

    /// Ends when the queue has, or the peer takes nothing any more. Dropped before, it resets the stream.
    async fn run(mut self) {
        if let Err(error) = self.answer_all().await {
            if error.kind() == io::ErrorKind::TimedOut {
                self.counters.slow_readers.one_more();
            }
            tracing::debug!(%error, "chunk stream ended");
            return;
        }
        let parting = self
            .shared
            .with(|queue| queue.end())
            .and_then(|end| end.parting);
        let last = async {
            if let Some(parting) = parting {
                self.write.write_all(&Frame::Bye(parting).encode()).await?;
            }
            self.write.close().await
        };
        if let Err(error) = within(WRITE_TIMEOUT, last).await {
            tracing::debug!(%error, "chunk stream was not closed in order");
        }
    }

    async fn answer_all(&mut self) -> io::Result<()> {
        let Self {
            write,
            source,
            counters,
            shared,
        } = self;
        let mut ahead = None;
        loop {
            let answer = match ahead.take() {
                Some(answer) => answer,
                None => match next(shared).await {
                    Some(wanted) => fetch(*source, wanted).await,
                    None => return Ok(()),
                },
            };
            let sending = async {
                if answer
                    .chunk
                    .is_none_or(|place| shared.with(|queue| queue.commit(place)))
                {
                    within(WRITE_TIMEOUT, send(write, &answer)).await?;
                    count(counters, &answer);
                }
                Ok(())
            };
            let reading = async {
                Ok::<_, io::Error>(match take(shared) {
                    Some(wanted) => Some(fetch(*source, wanted).await),
                    None => None,
                })
            };
            ((), ahead) = futures::try_join!(sending, reading)?;
        }
    }
}

/// Takes the next request, if there is one.
fn take(shared: &Shared) -> Option<Wanted> {
    let wanted = shared.with(Queue::take);
    if wanted.is_some() {
        shared.room.notify_one();
    }
    wanted
}

/// Waits for the next request; `None` at the end.
async fn next(shared: &Shared) -> Option<Wanted> {
    loop {
        if let Some(wanted) = take(shared) {
            return Some(wanted);
        }
        if shared.with(|queue| queue.end()).is_some() {
            return None;
        }
        shared.work.notified().await;
    }
}

/// Finds the answer. A source that fails is one that does not have it; the cause is logged.
async fn fetch(source: &dyn BlockSource, wanted: Wanted) -> Answer {
    fn known<T>(result: Result<Option<T>, crate::p2p::source::SourceError>) -> Option<T> {
        result.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error);
            tracing::warn!(
                cause = cause.map(tracing::field::display),
                "block source failed"
            );
            None
        })
    }
    // Longer ones do not fit a frame; none is stored.
    let fits = |bytes: &Bytes| bytes.len() as u64 <= CHUNK_LEN + SEAL_OVERHEAD;
    match wanted {
        Wanted::Heads(work) => {
            let card = known(source.newest_card(work).await);
            let frame = Frame::Heads { card, keybox: None };
            Answer::frame(&frame, Kind::Other)
        }
        Wanted::Block(digest) => match known(source.block(digest).await).filter(fits) {
            Some(bytes) => Answer::frame(&Frame::Block(digest, bytes.into()), Kind::Block),
            None => Answer::frame(&Frame::NoBlock(digest), Kind::Miss),
        },
        Wanted::Chunk(work, place) => {
            let (file, index) = place;
            let found = known(source.chunk(work, file, index).await).filter(fits);
            let mut answer = match found {
                Some(payload) => Answer {
                    head: Frame::chunk_header(file, index, payload.len()),
                    payload,
                    chunk: None,
                    kind: Kind::Chunk,
                },
                None => Answer::frame(&Frame::NoChunk { file, index }, Kind::Miss),
            };
            answer.chunk = Some(place);
            answer
        }
        Wanted::Busy((file, index)) => {
            let retry_ms = BUSY_RETRY_MS;
            let frame = Frame::Busy {
                file,
                index,
                retry_ms,
            };
            Answer::frame(&frame, Kind::Other)
        }
    }
}

async fn send<W: AsyncWrite + Unpin>(write: &mut W, answer: &Answer) -> io::Result<()> {
    write.write_all(&answer.head).await?;
    write.write_all(&answer.payload).await?;
    write.flush().await
}

fn count(counters: &Counters, answer: &Answer) {
    counters
        .bytes_sent
        .add((answer.head.len() + answer.payload.len()) as u64);
    match answer.kind {
        Kind::Chunk => counters.chunks_sent.one_more(),
        Kind::Block => counters.blocks_sent.one_more(),
        Kind::Miss => counters.misses.one_more(),
        Kind::Other => {}
    }
}

async fn within(limit: Duration, job: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(limit, job)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
