//! A WebTransport session as a libp2p stream muxer, and its bidirectional streams as substreams.
//!
//! Nothing is added on the wire: every libp2p substream is one WebTransport stream. Unidirectional
//! streams and datagrams of a peer are never read; QUIC's limits keep them from growing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use wtransport::error::{ConnectionError, StreamOpeningError};
use wtransport::{VarInt, quinn};

/// HTTP/3 code of WebTransport's application error 0, for streams that are reset or no longer read
/// ([draft-ietf-webtrans-http3, section 4.3]). Codes outside WebTransport's range mean nothing to it.
///
/// [draft-ietf-webtrans-http3, section 4.3]: https://datatracker.ietf.org/doc/html/draft-ietf-webtrans-http3#section-4.3
const STREAM_GONE: u64 = 0x52e4_a40f_a8db;

/// A stream or the whole session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The session is over.
    #[error("webtransport session ended: {0}")]
    Ended(#[from] ConnectionError),
    /// The peer refused a stream that we opened.
    #[error("webtransport stream was not opened: {0}")]
    NotOpened(#[from] StreamOpeningError),
}

type Opening = BoxFuture<'static, Result<Substream, SessionError>>;

/// An authenticated WebTransport session.
pub(crate) struct Connection {
    session: wtransport::Connection,
    inbound: Option<Opening>,
    outbound: Option<Opening>,
    closing: Option<BoxFuture<'static, ()>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connection").field(&self.session).finish()
    }
}

impl Connection {
    pub(crate) fn new(session: wtransport::Connection) -> Self {
        Self {
            session,
            inbound: None,
            outbound: None,
            closing: None,
        }
    }
}

impl StreamMuxer for Connection {
    type Substream = Substream;
    type Error = SessionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Substream, SessionError>> {
        let session = self.session.clone();
        let inbound = self.inbound.get_or_insert_with(|| {
            async move { Ok(Substream::new(session.accept_bi().await?)) }.boxed()
        });
        let result = ready!(inbound.poll_unpin(cx));
        self.inbound = None;
        Poll::Ready(result)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Substream, SessionError>> {
        let session = self.session.clone();
        let outbound = self.outbound.get_or_insert_with(|| {
            async move { Ok(Substream::new(session.open_bi().await?.await?)) }.boxed()
        });
        let result = ready!(outbound.poll_unpin(cx));
        self.outbound = None;
        Poll::Ready(result)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SessionError>> {
        let session = self.session.clone();
        let closing = self.closing.get_or_insert_with(|| {
            session.close(VarInt::from_u32(0), b"");
            async move {
                session.closed().await;
            }
            .boxed()
        });
        closing.poll_unpin(cx).map(Ok)
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, SessionError>> {
        // A peer that moves to another address keeps its session; QUIC handles it below us.
        Poll::Pending
    }
}

/// One bidirectional WebTransport stream. Dropped before it was closed, it is
/// reset; what it still had to read is refused.
#[derive(Debug)]
pub(crate) struct Substream {
    send: wtransport::SendStream,
    recv: wtransport::RecvStream,
    finished: bool,
}

impl Substream {
    pub(crate) fn new((send, recv): (wtransport::SendStream, wtransport::RecvStream)) -> Self {
        Self {
            send,
            recv,
            finished: false,
        }
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        if !self.finished {
            // Half a message must not look like a whole one. An error means it is closed already.
            let _ = self.send.quic_stream_mut().reset(stream_gone());
        }
        let _ = self.recv.quic_stream_mut().stop(stream_gone());
    }
}

fn stream_gone() -> quinn::VarInt {
    quinn::VarInt::from_u64(STREAM_GONE).expect("the code has 47 bits of 62")
}

impl AsyncRead for Substream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.recv).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(Pin::new(&mut self.send).poll_shutdown(cx));
        self.finished = true;
        Poll::Ready(result)
    }
}
