//! Our libp2p WebTransport listener, over `wtransport`. It only listens: nothing native needs to dial.
//!
//! Browsers reach it as `/ip4/…/udp/…/quic-v1/webtransport/certhash/<current>/certhash/<next>`. A
//! connection is QUIC, then an HTTP/3 session on [`PATH`], then Noise on the first bidirectional
//! stream, whose extension confirms the certificate hashes; from then on each bidirectional stream
//! is a libp2p substream. Spec: <https://github.com/libp2p/specs/tree/master/webtransport>.
//!
//! Not here: which certificate is served when (`schedule.rs`), how it is kept (`certificates.rs`).
//!
//! # Invariants
//!
//! - A rotation changes what new connections see; those that exist go on.
//! - Before a peer has proved who it is, it costs at most one of [`MAX_HANDSHAKES`] places for at
//!   most [`HANDSHAKE_TIMEOUT`].

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use futures::{AsyncWriteExt, FutureExt, StreamExt};
use if_watch::IfEvent;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::InboundConnectionUpgrade;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, noise};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};
use wtransport::endpoint::IncomingSessionFuture;
use wtransport::error::ConnectionError;
use wtransport::quinn;

pub use self::certificates::CertificateError;
use self::certificates::{CertHash, Certificates};
use self::connection::{Connection, Substream};

mod certificates;
#[cfg(test)]
pub(crate) mod client;
mod connection;
mod schedule;
#[cfg(test)]
mod tests;

/// The only path that is served; every other is answered 404.
pub(crate) const PATH: &str = "/.well-known/libp2p-webtransport?type=noise";

/// Time from the first packet to the end of the Noise handshake. Generous for a phone on a bad
/// network, where it takes four round trips.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes under way at once; further ones are refused. From half of it on, clients must first
/// prove their address by a QUIC retry, so spoofed addresses cannot take the places.
pub(crate) const MAX_HANDSHAKES: usize = 256;

/// A connection from which nothing comes for this long is dead. Below the time after which NATs and
/// people forget.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// QUIC keep-alive. A third of [`MAX_IDLE`], so that two may be lost.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Bidirectional streams a peer may have open: the session's own, the one of Noise, identify, ping,
/// and one for each work it watches or seeds.
const MAX_STREAMS: u32 = 128;

/// Unidirectional streams a peer may have open: HTTP/3's control and two QPACK streams, and room for
/// reserved ones, which are ignored.
const MAX_UNI_STREAMS: u32 = 8;

/// Bytes a peer may send on one stream before we read: a few hundred requests.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Bytes a peer may send on all its streams before we read.
const RECEIVE_WINDOW: u32 = 1024 * 1024;

/// Bytes we hold for a peer until it acknowledges them. 2 MiB carry 40 MB/s at 50 ms of round trip.
const SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// Bytes of datagrams held. We read none, but HTTP/3 must offer them to WebTransport clients.
const DATAGRAM_BUFFER: usize = 16 * 1024;

/// Bytes held for one connection attempt until it is looked at, and for all of them.
const INCOMING_BUFFER: u64 = 16 * 1024;
const INCOMING_BUFFER_TOTAL: u64 = 4 * 1024 * 1024;

/// UDP socket buffers asked for; the system may give less (`net.core.rmem_max`, `wmem_max`).
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// How often the clock is looked at for a rotation. The wall clock may be set or the machine
/// suspended, so a long timer would not do.
const CHECK_EVERY: Duration = Duration::from_secs(60);

const _: () = assert!(KEEP_ALIVE.as_secs() * 3 <= MAX_IDLE.as_secs());
const _: () = assert!(STREAM_WINDOW <= RECEIVE_WINDOW);

/// Seconds since the epoch. An argument, so that tests decide what time it is.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's clock. Before 1970 it is 1970.
pub(crate) fn system_clock() -> Clock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            })
    })
}

/// A listener could not start, or a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be bound or asked.
    #[error("udp socket failed: {0}")]
    Socket(#[from] io::Error),
    /// Certificates could not be made, kept or used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS library lacks the cipher every QUIC connection begins with.
    #[error("the tls library cannot be used for quic: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// QUIC or HTTP/3 failed.
    #[error("webtransport session was not established: {0}")]
    Session(#[from] ConnectionError),
    /// The client asked for something else.
    #[error("webtransport is not served on the path asked for")]
    Path,
    /// The client did not prove its peer id.
    #[error("noise handshake failed: {0}")]
    Noise(#[from] noise::Error),
    /// It was not over after ten seconds.
    #[error("webtransport handshake took too long")]
    Timeout,
}

/// What the transport needs to know.
pub(crate) struct Config {
    /// Proves our peer id.
    pub(crate) keypair: Keypair,
    /// A folder of its own for certificates and their keys.
    pub(crate) certificates: PathBuf,
    /// Connections, established or not, at which further ones are refused.
    pub(crate) max_connections: usize,
    /// What time it is.
    pub(crate) clock: Clock,
    /// How often to ask it.
    pub(crate) check_every: Duration,
}

impl Config {
    pub(crate) fn new(keypair: Keypair, certificates: PathBuf, max_connections: usize) -> Self {
        Self {
            keypair,
            certificates,
            max_connections,
            clock: system_clock(),
            check_every: CHECK_EVERY,
        }
    }
}

type Upgrade = BoxFuture<'static, Result<(PeerId, Connection), Error>>;
type Event = TransportEvent<Upgrade, Error>;

/// The transport. Made and polled within a tokio runtime.
pub(crate) struct Transport {
    noise: noise::Config,
    max_connections: usize,
    clock: Clock,
    check: Interval,
    certificates: Certificates,
    handshakes: Arc<Semaphore>,
    listeners: Vec<Listener>,
    waker: Option<Waker>,
}

impl Transport {
    /// Opens the certificates, making what is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] and [`Error::Noise`].
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let mut check = tokio::time::interval(config.check_every);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            noise: noise::Config::new(&config.keypair)?,
            max_connections: config.max_connections,
            certificates: Certificates::open(&config.certificates, (config.clock)())?,
            clock: config.clock,
            check,
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            listeners: Vec::new(),
            waker: None,
        })
    }

    /// Serves and announces the certificates that the time asks for. Writes a small file or two every
    /// two weeks, so it may do so here.
    fn rotate(&mut self) {
        let result = self
            .certificates
            .rotate((self.clock)())
            .map_err(Error::from)
            .and_then(|changed| Ok(changed.then_some(server_config(&self.certificates)?)));
        match result {
            Ok(None) => {}
            Ok(Some(config)) => {
                let hashes = self.certificates.announced();
                tracing::info!(current = ?hashes[0], "webtransport certificates rotated");
                for listener in &mut self.listeners {
                    listener.endpoint.set_server_config(Some(config.clone()));
                    listener.announce(hashes);
                }
            }
            Err(error) => {
                tracing::error!(%error, "webtransport certificates could not be rotated; browsers will refuse the old ones");
            }
        }
    }

    /// The handshake of an attempt, or `None` if it was turned away.
    fn admit(&self, incoming: quinn::Incoming, open: usize) -> Option<Upgrade> {
        let Ok(place) = self.handshakes.clone().try_acquire_owned() else {
            tracing::debug!("webtransport connection refused: too many handshakes");
            incoming.refuse();
            return None;
        };
        if open >= self.max_connections {
            tracing::debug!("webtransport connection refused: too many connections");
            incoming.refuse();
            return None;
        }
        let is_crowded = self.handshakes.available_permits() < MAX_HANDSHAKES / 2;
        if is_crowded && incoming.may_retry() && !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            return None;
        }
        let noise = self
            .noise
            .clone()
            .with_webtransport_certhashes(self.certificates.reported());
        let handshake = async move {
            tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(incoming, noise, place))
                .await
                .unwrap_or(Err(Error::Timeout))
        };
        Some(handshake.boxed())
    }
}

/// QUIC, HTTP/3, Noise. Dropping the future refuses or closes the connection.
async fn handshake(
    incoming: quinn::Incoming,
    noise: noise::Config,
    _place: OwnedSemaphorePermit,
) -> Result<(PeerId, Connection), Error> {
    let request = IncomingSessionFuture::with_quic_incoming(incoming).await?;
    if request.path() != PATH {
        request.not_found().await;
        return Err(Error::Path);
    }
    let session = request.accept().await?;
    let stream = Substream::new(session.accept_bi().await?);
    // No multistream-select: the path named the protocol.
    let (peer, mut stream) = noise.upgrade_inbound(stream, "/noise").await?;
    // The client has what it needs from this stream; how it ends is of no interest.
    let _ = stream.close().await;
    Ok((peer, Connection::new(session)))
}

impl libp2p::core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        let Some(socket_addr) = socket_addr(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let listener = server_config(&self.certificates)
            .and_then(|config| {
                Listener::bind(id, socket_addr, config, self.certificates.announced())
            })
            .map_err(TransportError::Other)?;
        self.listeners.push(listener);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self
            .listeners
            .iter_mut()
            .find(|listener| listener.id == id && !listener.closed)
        else {
            return false;
        };
        listener.close(Ok(()));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        true
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Upgrade, TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(addr))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let this = &mut *self;
        while this.check.poll_tick(cx).is_ready() {
            this.rotate();
        }
        let mut index = 0;
        while let Some(listener) = this.listeners.get_mut(index) {
            match listener.poll(cx) {
                Poll::Ready(ListenerEvent::Event(event)) => return Poll::Ready(event),
                Poll::Ready(ListenerEvent::Incoming(incoming)) => {
                    let (listener_id, local_addr) = (listener.id, address(listener.local, None));
                    let send_back_addr = address(incoming.remote_address(), None);
                    let open = listener.endpoint.open_connections();
                    if let Some(upgrade) = this.admit(*incoming, open) {
                        return Poll::Ready(TransportEvent::Incoming {
                            listener_id,
                            upgrade,
                            local_addr,
                            send_back_addr,
                        });
                    }
                }
                Poll::Ready(ListenerEvent::Gone) => {
                    this.listeners.remove(index);
                }
                Poll::Pending => index += 1,
            }
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

enum ListenerEvent {
    Event(Event),
    Incoming(Box<quinn::Incoming>),
    /// Its last event was taken.
    Gone,
}

/// One bound socket.
struct Listener {
    id: ListenerId,
    endpoint: quinn::Endpoint,
    local: SocketAddr,
    accept: BoxFuture<'static, Option<quinn::Incoming>>,
    /// Which addresses a wildcard stands for. `None` if a single one was asked for.
    interfaces: Option<if_watch::tokio::IfWatcher>,
    /// The IP addresses announced.
    ips: BTreeSet<IpAddr>,
    hashes: [CertHash; 2],
    events: VecDeque<Event>,
    closed: bool,
}

impl Listener {
    fn bind(
        id: ListenerId,
        addr: SocketAddr,
        config: quinn::ServerConfig,
        hashes: [CertHash; 2],
    ) -> Result<Self, Error> {
        let socket = bind_socket(addr)?;
        let endpoint = quinn::Endpoint::new(
            quinn::EndpointConfig::default(),
            Some(config),
            socket,
            Arc::new(quinn::TokioRuntime),
        )?;
        let local = endpoint.local_addr()?;
        let interfaces = local
            .ip()
            .is_unspecified()
            .then(if_watch::tokio::IfWatcher::new)
            .transpose()?;
        let mut listener = Self {
            id,
            accept: accept(endpoint.clone()),
            endpoint,
            local,
            ips: BTreeSet::new(),
            hashes,
            events: VecDeque::new(),
            closed: false,
            interfaces,
        };
        if listener.interfaces.is_none() {
            listener.add(local.ip());
        }
        Ok(listener)
    }

    fn address_of(&self, ip: IpAddr) -> Multiaddr {
        address(SocketAddr::new(ip, self.local.port()), Some(self.hashes))
    }

    fn add(&mut self, ip: IpAddr) {
        if ip.is_ipv4() == self.local.is_ipv4() && self.ips.insert(ip) {
            self.events.push_back(TransportEvent::NewAddress {
                listener_id: self.id,
                listen_addr: self.address_of(ip),
            });
        }
    }

    fn remove(&mut self, ip: IpAddr) {
        if self.ips.remove(&ip) {
            self.events.push_back(TransportEvent::AddressExpired {
                listener_id: self.id,
                listen_addr: self.address_of(ip),
            });
        }
    }

    /// Replaces every announced address by one with other hashes.
    fn announce(&mut self, hashes: [CertHash; 2]) {
        let ips = self.ips.clone();
        for ip in &ips {
            self.remove(*ip);
        }
        self.hashes = hashes;
        for ip in ips {
            self.add(ip);
        }
    }

    /// Accepts nobody any more. Connections go on, and the socket with them.
    fn close(&mut self, reason: Result<(), Error>) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.endpoint.set_server_config(None);
        self.events.push_back(TransportEvent::ListenerClosed {
            listener_id: self.id,
            reason,
        });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ListenerEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ListenerEvent::Event(event));
            }
            if self.closed {
                return Poll::Ready(ListenerEvent::Gone);
            }
            if let Some(Poll::Ready(Some(event))) = self
                .interfaces
                .as_mut()
                .map(|watch| watch.poll_next_unpin(cx))
            {
                match event {
                    Ok(IfEvent::Up(net)) => self.add(net.addr()),
                    Ok(IfEvent::Down(net)) => self.remove(net.addr()),
                    Err(error) => self.events.push_back(TransportEvent::ListenerError {
                        listener_id: self.id,
                        error: error.into(),
                    }),
                }
                continue;
            }
            match self.accept.poll_unpin(cx) {
                Poll::Ready(Some(incoming)) => {
                    self.accept = accept(self.endpoint.clone());
                    return Poll::Ready(ListenerEvent::Incoming(Box::new(incoming)));
                }
                Poll::Ready(None) => self.close(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn accept(endpoint: quinn::Endpoint) -> BoxFuture<'static, Option<quinn::Incoming>> {
    async move { endpoint.accept().await }.boxed()
}

fn bind_socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    if addr.is_ipv6() {
        // A listener announces addresses of its own family, so it must not take the other's port.
        socket.set_only_v6(true)?;
    }
    // A smaller buffer is slower, not wrong.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn server_config(certificates: &Certificates) -> Result<quinn::ServerConfig, Error> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(
            MAX_IDLE
                .try_into()
                .expect("half a minute is a valid idle timeout"),
        ))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(MAX_UNI_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(RECEIVE_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER);
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(certificates.tls_config()?)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(MAX_HANDSHAKES)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    Ok(config)
}

/// The address to bind, if `addr` is `/ip…/udp/…/quic-v1/webtransport` and no more.
fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else {
        return None;
    };
    let rest = (parts.next()?, parts.next()?, parts.next());
    (rest == (Protocol::QuicV1, Protocol::WebTransport, None)).then(|| SocketAddr::new(ip, port))
}

/// The multiaddr of a socket address, with certificate hashes if they are to be announced.
fn address(addr: SocketAddr, hashes: Option<[CertHash; 2]>) -> Multiaddr {
    let mut address = Multiaddr::from(addr.ip())
        .with(Protocol::Udp(addr.port()))
        .with(Protocol::QuicV1)
        .with(Protocol::WebTransport);
    for hash in hashes.into_iter().flatten() {
        address.push(Protocol::Certhash(hash));
    }
    address
}
