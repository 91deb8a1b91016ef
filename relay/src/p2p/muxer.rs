//! Yamux for TCP and WebSocket, with fixed receive windows.
//!
//! Why not `libp2p-yamux`: it has no setting for the receive window of a connection, and `yamux` lets
//! streams grow into what the default of 1 GiB leaves over. A peer that answers pings late gets it all.
//!
//! # Invariants
//!
//! - A connection has at most [`MAX_STREAMS`] streams, whoever holds them; one more ends it.
//! - Each buffers at most [`STREAM_WINDOW`] bytes that we have not read. No window ever grows.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// Streams of one connection. Ours are three or so; the rest is the peer's: its chunk streams, of which
/// it has 16 at most, and those that end or are still told their protocol.
pub(super) const MAX_STREAMS: usize = 32;

/// Receive window of a stream: what Yamux grants each at its start.
pub(super) const STREAM_WINDOW: usize = yamux::DEFAULT_CREDIT as usize;

/// Bytes that one connection may make us hold, 8 MiB: exactly what its streams have at their start,
/// which leaves nothing to grow into.
pub(super) const CONNECTION_WINDOW: usize = MAX_STREAMS * STREAM_WINDOW;

/// Makes [`Muxer`]s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upgrade;

impl Upgrade {
    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(socket: C, mode: Mode) -> Muxer<C> {
        let mut config = Config::default();
        // In this order: each setting must suit the one before.
        config
            .set_max_num_streams(MAX_STREAMS)
            .set_max_connection_receive_window(Some(CONNECTION_WINDOW));
        Muxer {
            connection: Connection::new(socket, config, mode),
            opened: VecDeque::new(),
            wanted: None,
        }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::muxer(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::muxer(socket, Mode::Client)))
    }
}

/// A connection with Yamux.
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    /// Streams that came while nobody asked for one: Yamux moves only when asked for the next. They
    /// count as streams of the connection, so there are never more than [`MAX_STREAMS`].
    opened: VecDeque<Stream>,
    /// Who waits for one.
    wanted: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection
            .poll_next_inbound(cx)
            .map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.next(cx);
        if next.is_pending() {
            self.wanted = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        match self.next(cx) {
            Poll::Ready(Ok(stream)) => {
                self.opened.push_back(stream);
                if let Some(waker) = self.wanted.take() {
                    waker.wake();
                }
                // One at a time, so that others have their turn.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

const _: () = assert!(MAX_STREAMS >= 2 * super::chunks::MAX_STREAMS_PER_PEER);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::poll_fn;
    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    const DATA: u8 = 0;
    const WINDOW_UPDATE: u8 = 1;
    const PING: u8 = 2;
    const SYN: u16 = 1;
    const ACK: u16 = 2;

    /// The delay of every pong; any round trip longer than reading half a window lets windows grow.
    const DELAY: Duration = Duration::from_millis(10);

    fn header(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
        let mut header = [0; 12];
        header[1] = kind;
        header[2..4].copy_from_slice(&flags.to_be_bytes());
        header[4..8].copy_from_slice(&stream.to_be_bytes());
        header[8..].copy_from_slice(&length.to_be_bytes());
        header
    }

    /// Sends what the window allows, answers pings late, and tells the largest credit it was given.
    async fn greedy_peer(mut pipe: DuplexStream, total: usize) -> usize {
        let opening = header(WINDOW_UPDATE, SYN, 1, 0);
        pipe.write_all(&opening).await.unwrap();
        let (mut credit, mut largest, mut sent, mut pongs) = (STREAM_WINDOW, 0, 0, 0);
        while sent < total {
            while credit > 0 && (pongs > 0 || sent == 0) {
                let length = credit.min(16 * 1024);
                let head = header(DATA, 0, 1, u32::try_from(length).unwrap());
                pipe.write_all(&head).await.unwrap();
                pipe.write_all(&vec![0; length]).await.unwrap();
                credit -= length;
                sent += length;
                if pongs == 0 {
                    break;
                }
            }
            let mut got = [0; 12];
            pipe.read_exact(&mut got).await.unwrap();
            let flags = u16::from_be_bytes([got[2], got[3]]);
            let length = u32::from_be_bytes([got[8], got[9], got[10], got[11]]);
            match got[1] {
                WINDOW_UPDATE => {
                    credit += length as usize;
                    largest = largest.max(credit);
                }
                PING if flags & SYN != 0 => {
                    // yamux measures the round trip by the real clock, so this one has to pass.
                    let asked = std::time::Instant::now();
                    while asked.elapsed() < DELAY {
                        tokio::task::yield_now().await;
                    }
                    let pong = header(PING, ACK, 0, length);
                    pipe.write_all(&pong).await.unwrap();
                    pongs += 1;
                }
                _ => {}
            }
        }
        largest
    }

    #[tokio::test]
    async fn a_peer_that_answers_pings_late_gets_no_larger_window() {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = tokio::spawn(greedy_peer(theirs, 8 * STREAM_WINDOW));
        let mut muxer = Upgrade::muxer(ours.compat(), Mode::Server);
        let mut stream = poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))
            .await
            .unwrap();
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        });
        // Ends when the peer has hung up.
        let driven = poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await;
        assert!(driven.is_err());
        reader.await.unwrap();
        let largest = peer.await.unwrap();
        assert!(largest <= STREAM_WINDOW, "{largest}");
    }

    #[tokio::test]
    async fn streams_carry_bytes_both_ways() {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let mut server = Upgrade::muxer(ours.compat(), Mode::Server);
        let mut client = Upgrade::muxer(theirs.compat(), Mode::Client);
        let mut asking = poll_fn(|cx| Pin::new(&mut client).poll_outbound(cx))
            .await
            .unwrap();
        let client = tokio::spawn(poll_fn(move |cx| Pin::new(&mut client).poll(cx)));
        asking.write_all(b"ask").await.unwrap();
        asking.flush().await.unwrap();
        let mut asked = poll_fn(|cx| Pin::new(&mut server).poll_inbound(cx))
            .await
            .unwrap();
        let server = tokio::spawn(poll_fn(move |cx| Pin::new(&mut server).poll(cx)));
        let mut bytes = [0; 3];
        asked.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ask");
        asked.write_all(b"yes").await.unwrap();
        asked.flush().await.unwrap();
        asking.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"yes");
        client.abort();
        server.abort();
    }
}
