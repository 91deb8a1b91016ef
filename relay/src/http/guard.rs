//! A connection that cannot be held open for nothing.
//!
//! hyper bounds how long a request's header may take; this bounds the rest. A client that neither
//! sends nor takes anything is closed, and so is one that takes an answer too slowly. Not a rate
//! limit: whoever makes progress stays. It sees the socket only, so it holds for HTTP/1.1 and not for
//! protocols with flow control of their own.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// Bytes that count as progress of an answer. A client that takes one byte per minute to keep a
/// connection makes none.
const PROGRESS: usize = 16 * 1024;

/// `io`, closed with [`io::ErrorKind::TimedOut`] when its client stalls.
#[derive(Debug)]
pub(super) struct Guard<IO> {
    io: IO,
    stall: Duration,
    /// Runs while the client neither sends nor takes anything.
    idle: Pin<Box<Sleep>>,
    /// Runs while an answer waits for the client to take more of it.
    slow: Pin<Box<Sleep>>,
    is_slow: bool,
    taken: usize,
}

impl<IO> Guard<IO> {
    /// Guards `io`; `stall` is the time a client may make no progress.
    pub(super) fn new(io: IO, stall: Duration) -> Self {
        Self {
            io,
            stall,
            idle: Box::pin(tokio::time::sleep(stall)),
            slow: Box::pin(tokio::time::sleep(stall)),
            is_slow: false,
            taken: 0,
        }
    }

    fn alive(&mut self) {
        self.idle.as_mut().reset(Instant::now() + self.stall);
    }

    /// After a write of `result`: moves the clocks and says whether the client has stalled.
    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(count)) => {
                self.alive();
                self.taken += count;
                if self.taken >= PROGRESS {
                    self.caught_up();
                }
                result
            }
            Poll::Pending => {
                if !self.is_slow {
                    self.is_slow = true;
                    self.slow.as_mut().reset(Instant::now() + self.stall);
                }
                match self.slow.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(stalled())),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Ready(Err(_)) => result,
        }
    }

    fn caught_up(&mut self) {
        self.is_slow = false;
        self.taken = 0;
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client stalled")
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_read(context, buffer) {
            Poll::Pending => match this.idle.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(stalled())),
                Poll::Pending => Poll::Pending,
            },
            ready => {
                this.alive();
                ready
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(context, bytes);
        this.wrote(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.wrote(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(context);
        match &result {
            // The whole answer is with the system: nobody waits for the client any more.
            Poll::Ready(Ok(())) => this.caught_up(),
            Poll::Pending => {
                if let Poll::Ready(Err(error)) = this.wrote(context, Poll::Pending) {
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    // Time stands still unless every task waits for it, so these tests take no time.

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_closed() {
        let (_client, server) = tokio::io::duplex(1024);
        let mut server = Guard::new(server, STALL);
        let error = server.read_u8().await.expect_err("nothing ever comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_closed() {
        let (_client, server) = tokio::io::duplex(1024);
        let mut server = Guard::new(server, STALL);
        let error = server
            .write_all(&[0; 4096])
            .await
            .expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_trickles_is_closed() {
        let (mut client, server) = tokio::io::duplex(16);
        let mut server = Guard::new(server, STALL);
        let trickle = tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let error = server
            .write_all(&[0; 64 * 1024])
            .await
            .expect_err("a byte a second");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(server);
        trickle.await.expect("the trickler ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_steady_client_stays() {
        let (mut client, server) = tokio::io::duplex(16 * 1024);
        let mut server = Guard::new(server, STALL);
        let reader = tokio::spawn(async move {
            let mut part = vec![0; 16 * 1024];
            while client.read_exact(&mut part).await.is_ok() {
                tokio::time::sleep(STALL / 2).await;
            }
        });
        server
            .write_all(&vec![0; 512 * 1024])
            .await
            .expect("it makes progress");
        drop(server);
        reader.await.expect("the reader ends");
    }
}
