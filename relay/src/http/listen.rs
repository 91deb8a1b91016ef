//! Sockets: accept, bound, hand to hyper, drain.
//!
//! `axum::serve` has neither a header timeout nor a connection limit, so this drives hyper-util's
//! builder itself. One task per connection; a connection over a limit is closed at once.
//!
//! HTTP/1.1 only. With HTTP/2 a client holds many answers on one connection by granting no window,
//! which no guard on the socket sees: nothing waits to be written. One answer per connection is
//! what makes the connection limit bound memory. A reverse proxy in front gives HTTP/2.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{guard::Guard, tls::Tls};
use crate::metrics::Metrics;

/// Longest request header, in bytes.
const MAX_HEADER_LEN: usize = 32 * 1024;

/// Pause after the system had no file descriptor for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What bounds the connections of all listeners together.
#[derive(Debug)]
pub struct Limits {
    /// Most connections.
    pub connections: usize,
    /// Most connections of one customer: an IPv4 address or an IPv6 /64.
    pub per_address: usize,
    /// Time for a request's header, and for a TLS handshake.
    pub header: Duration,
    /// Time without progress.
    pub stall: Duration,
    open: Mutex<HashMap<IpAddr, usize>>,
    metrics: Arc<Metrics>,
}

impl Limits {
    /// Limits as set by the operator.
    pub fn new(settings: &crate::config::Serve, metrics: Arc<Metrics>) -> Self {
        Self {
            connections: settings.max_connections.max(1),
            per_address: settings.max_connections_per_address.max(1),
            header: Duration::from_secs(settings.header_timeout.max(1)),
            stall: Duration::from_secs(settings.stall_timeout.max(1)),
            open: Mutex::default(),
            metrics,
        }
    }

    /// Counts a connection in; `None` if it is one too many. The map is as bounded as they are.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let is_loopback = address.to_canonical().is_loopback();
        let address = customer(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let own = open.get(&address).copied().unwrap_or(0);
        // Behind a reverse proxy everybody comes from loopback.
        let crowded = own >= self.per_address && !is_loopback;
        if total >= self.connections || crowded {
            self.metrics.refused();
            return None;
        }
        open.insert(address, own + 1);
        self.metrics.opened();
        Some(Seat {
            limits: self.clone(),
            address,
        })
    }
}

/// What counts as one address: an IPv4 address, on a dual-stack socket too, or the IPv6 /64 that one
/// customer gets.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

/// A connection that was counted in; counts itself out.
struct Seat {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self
            .limits
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
        self.limits.metrics.closed();
    }
}

/// Binds an address.
///
/// # Errors
///
/// What the system says, the address in use among it.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `router` on `listener` until `stop`; connections live on in `tasks`, draining.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Arc<Limits>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a client gone before we looked: neither ends the relay.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(seat) = limits.admit(peer.ip()) else {
            continue;
        };
        let (tls, router, limits, stop) =
            (tls.clone(), router.clone(), limits.clone(), stop.clone());
        tasks.spawn(async move {
            if let Err(error) = connection(stream, tls, router, &limits, stop).await {
                tracing::debug!(%error, %peer, "connection ended");
            }
            drop(seat);
        });
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Tls>,
    router: Router,
    limits: &Limits,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    // Below TLS, so that a handshake cannot stall either.
    let stream = Guard::new(stream, limits.stall);
    match tls {
        None => http(stream, router, limits, stop).await,
        Some(tls) => match timeout(limits.header, tls.accept(stream)).await?? {
            Some(stream) => http(stream, router, limits, stop).await,
            // An ACME challenge, answered by its handshake.
            None => Ok(()),
        },
    }
}

async fn http<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: IO,
    router: Router,
    limits: &Limits,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEADER_LEN)
        .half_close(false);
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> IpAddr {
        customer(address.parse().unwrap())
    }

    #[test]
    fn one_customer_is_one_ipv4_address_or_ipv6_network() {
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
