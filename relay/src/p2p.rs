//! The libp2p node of the relay: TCP, QUIC, WebSocket and WebTransport listeners, and the chunk
//! protocol over all of them.
//!
//! [`P2p::start`] binds what the configuration names and returns when every address is known. One task
//! drives the swarm; handles only read what it publishes and ask it to stop. Which blocks there are is
//! the business of the [`BlockSource`]. The caller installs a `rustls` crypto provider first.
//!
//! # Invariants
//!
//! - Connections, handshakes, streams, requests and buffers of strangers are bounded: see [`Limits`],
//!   `webtransport.rs`, `muxer.rs` and `chunks.rs`.
//! - The node dials nobody.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, ListenerId, TransportError};
use libp2p::core::upgrade::Version;
use libp2p::core::{ConnectedPoint, Transport as _};
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, noise, ping, quic, swarm, tcp, websocket};
use sluice_core::wire::{IDENTIFY_PROTOCOL, MAX_FRAME_LEN};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::chunks::Chunks;
pub use self::limits::Limits;
pub use self::source::{Answer, BlockSource, SourceError};
use self::stats::Counters;
pub use self::stats::{Stats, Transport};
pub use self::webtransport::{CertificateError, Error as WebTransportError};

mod addresses;
mod chunks;
mod limits;
mod muxer;
mod source;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod webtransport;

/// Time for TCP and WebSocket handshakes together; WebTransport and QUIC have their own.
const HANDSHAKE_TIMEOUT: Duration = webtransport::HANDSHAKE_TIMEOUT;

/// A connection without a stream is closed after this. A tab that looks around between two works keeps
/// its connection; one that was left open gives its place back.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Streams one QUIC peer may have open.
const MAX_QUIC_STREAMS: u32 = 128;

/// Bytes a QUIC peer may send before we read: on one stream, on all.
const QUIC_STREAM_WINDOW: u32 = 256 * 1024;
const QUIC_WINDOW: u32 = 1024 * 1024;

/// Longest WebSocket message taken. Noise frames are at most 64 KiB, and one message holds a write of
/// the peer's multiplexer; libp2p's own limit is 256 MiB.
const MAX_WEBSOCKET_MESSAGE: usize = 2 * 1024 * 1024;

/// Inbound streams of one connection that may negotiate their protocol at once.
const MAX_NEGOTIATING: usize = 16;

/// Time for every listener to name an address.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for streams to answer what was asked, at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to tell peers that their connection is over.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(MAX_WEBSOCKET_MESSAGE as u64 > MAX_FRAME_LEN);

/// What to listen on, and within which bounds. `None` leaves a transport out; port 0 takes a free one.
#[derive(Debug, Clone)]
pub struct Config {
    /// TCP with Noise and Yamux.
    pub tcp: Option<SocketAddr>,
    /// QUIC, over UDP.
    pub quic: Option<SocketAddr>,
    /// WebSocket without TLS; browsers on other machines need a TLS proxy before it.
    pub websocket: Option<SocketAddr>,
    /// WebTransport, over UDP.
    pub webtransport: Option<SocketAddr>,
    /// Addresses under which others reach this node, announced before its own. A WebTransport one
    /// needs no `/certhash/`: those of the certificates in use are appended.
    pub external: Vec<Multiaddr>,
    /// A folder of its own for WebTransport certificates.
    pub certificates: PathBuf,
    /// Bounds on connections.
    pub limits: Limits,
}

impl Config {
    /// Listens nowhere yet; certificates go into `certificates`.
    pub fn new(certificates: PathBuf) -> Self {
        Self {
            tcp: None,
            quic: None,
            websocket: None,
            webtransport: None,
            external: Vec::new(),
            certificates,
            limits: Limits::default(),
        }
    }

    fn listeners(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        [
            (Transport::WebTransport, self.webtransport),
            (Transport::WebSocket, self.websocket),
            (Transport::Quic, self.quic),
            (Transport::Tcp, self.tcp),
        ]
        .into_iter()
        .filter_map(|(transport, addr)| Some((transport, addr?)))
    }
}

/// The node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum P2pError {
    /// An address could not be listened on: taken, not ours, or not allowed.
    #[error("cannot listen on {addr} ({}): {reason}; choose another with --p2p-{}", .transport.name(), .transport.name())]
    Listen {
        /// Which listener.
        transport: Transport,
        /// What was asked for.
        addr: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A listener named no address in time.
    #[error("no network address found to listen on; name one instead of a wildcard")]
    NoAddress,
    /// The Noise keys could not be made from the identity.
    #[error("the node's key cannot be used: {0}")]
    Key(#[from] noise::Error),
    /// The WebTransport transport could not be set up.
    #[error("{0}")]
    WebTransport(#[from] webtransport::Error),
}

/// A running node. Dropped without [`P2p::shutdown`], it stops at once.
#[derive(Debug)]
pub struct P2p {
    published: Arc<Published>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What the node's task tells its handles.
#[derive(Debug)]
struct Published {
    peer: PeerId,
    addresses: RwLock<Vec<Multiaddr>>,
    counters: Arc<Counters>,
}

impl P2p {
    /// Listens, and serves what `source` has.
    ///
    /// # Errors
    ///
    /// [`P2pError`] when an address cannot be listened on or a certificate cannot be made; nothing
    /// runs then.
    pub async fn start(
        config: Config,
        keypair: Keypair,
        source: Arc<dyn BlockSource>,
    ) -> Result<Self, P2pError> {
        let counters = Arc::new(Counters::default());
        let mut node = Node {
            external: config.external.clone(),
            listening: BTreeSet::new(),
            chunks: Chunks::new(source, counters.clone()),
            published: Arc::new(Published {
                peer: keypair.public().to_peer_id(),
                addresses: RwLock::default(),
                counters,
            }),
            swarm: build_swarm(&config, &keypair)?,
        };
        node.listen(&config).await?;
        let published = node.published.clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(node.run(stop.clone()));
        Ok(Self {
            published,
            stop,
            task,
        })
    }

    /// Who the node is.
    pub fn peer_id(&self) -> PeerId {
        self.published.peer
    }

    /// Where it is reached now, with certificate hashes and `/p2p/`: external addresses first, then by
    /// what suits a browser. Changes when certificates rotate or interfaces come and go.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let addresses = self.published.addresses.read();
        addresses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its task still runs; false only after a fault.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.published.counters.snapshot()
    }

    /// Stops taking connections and requests, answers what was asked already and says goodbye. Takes
    /// six seconds at most.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "libp2p node failed");
        }
    }
}

impl Drop for P2p {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: streams::Behaviour,
}

/// The node's task.
struct Node {
    swarm: Swarm<Behaviour>,
    chunks: Chunks,
    external: Vec<Multiaddr>,
    listening: BTreeSet<Multiaddr>,
    published: Arc<Published>,
}

impl Node {
    /// Binds every listener and waits until each has an address.
    async fn listen(&mut self, config: &Config) -> Result<(), P2pError> {
        let mut waiting = HashMap::new();
        for (transport, addr) in config.listeners() {
            let fault = |reason| P2pError::Listen {
                transport,
                addr,
                reason,
            };
            let id = self
                .swarm
                .listen_on(addresses::to_listen(transport, addr))
                .map_err(|error| fault(listen_reason(&error)))?;
            waiting.insert(id, (transport, addr));
        }
        for addr in &self.external {
            self.swarm.add_external_address(addr.clone());
        }
        let deadline = Instant::now() + LISTEN_TIMEOUT;
        while !waiting.is_empty() {
            let event = timeout_at(deadline, self.swarm.select_next_some())
                .await
                .map_err(|_| P2pError::NoAddress)?;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason: Err(error),
                    ..
                }
                | SwarmEvent::ListenerError { listener_id, error } => {
                    return Err(listen_fault(&waiting, listener_id, error));
                }
                _ => {}
            }
            self.handle(event);
        }
        self.publish();
        Ok(())
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                Some(()) = self.chunks.ended() => {}
                () = stop.cancelled() => break,
            }
        }
        self.drain().await;
    }

    /// Ends streams after what was asked of them, then connections.
    async fn drain(&mut self) {
        self.swarm.behaviour_mut().limits.leave();
        self.chunks.leave();
        let streams = async {
            loop {
                tokio::select! {
                    event = self.swarm.select_next_some() => self.handle(event),
                    ended = self.chunks.ended() => {
                        if ended.is_none() {
                            break;
                        }
                    }
                }
            }
        };
        if timeout(DRAIN_TIMEOUT, streams).await.is_err() {
            tracing::warn!("some chunk streams did not end in time and are cut");
        }
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let goodbye = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        // Whoever does not hear it notices by itself.
        let _ = timeout(GOODBYE_TIMEOUT, goodbye).await;
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let counters = &self.published.counters;
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(streams::Opened {
                peer,
                host,
                stream,
            })) => {
                self.chunks.accept(peer, host, stream);
            }
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } => {
                counters.connections_opened.one_more();
                if let Some(transport) = transport_of(&endpoint) {
                    counters.connections_over(transport).one_more();
                    tracing::debug!(peer = %peer_id, transport = transport.name(), "peer connected");
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                endpoint,
                cause,
                ..
            } => {
                if let Some(transport) = transport_of(&endpoint) {
                    counters.connections_over(transport).one_less();
                }
                let cause = cause.as_ref().map(tracing::field::display);
                tracing::debug!(peer = %peer_id, cause, "peer disconnected");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                counters.connections_failed.one_more();
                tracing::debug!(%error, "connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.listening.insert(address);
                self.publish();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.publish();
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                for address in &addresses {
                    self.listening.remove(address);
                }
                tracing::error!(
                    ?addresses,
                    ?reason,
                    "listener closed; restart to listen again"
                );
                self.publish();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "listener failed");
            }
            _ => {}
        }
    }

    fn publish(&self) {
        let addresses = addresses::announced(&self.external, &self.listening, self.published.peer);
        *self
            .published
            .addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

fn transport_of(endpoint: &ConnectedPoint) -> Option<Transport> {
    // The local address of a listener names its transport; a peer's own may be without it.
    let addr = match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
        ConnectedPoint::Dialer { address, .. } => address,
    };
    Transport::of(addr)
}

fn listen_reason(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(addr) => format!("{addr} is not supported"),
        TransportError::Other(error) => error.to_string(),
    }
}

fn listen_fault(
    waiting: &HashMap<ListenerId, (Transport, SocketAddr)>,
    id: &ListenerId,
    error: &io::Error,
) -> P2pError {
    match waiting.get(id) {
        Some(&(transport, addr)) => P2pError::Listen {
            transport,
            addr,
            reason: error.to_string(),
        },
        None => P2pError::NoAddress,
    }
}

fn build_swarm(config: &Config, keypair: &Keypair) -> Result<Swarm<Behaviour>, P2pError> {
    let public = keypair.public();
    let agent = concat!("sluice/", env!("CARGO_PKG_VERSION"));
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), public.clone())
        .with_agent_version(agent.to_owned())
        // We dial nobody, so nobody's addresses are kept.
        .with_cache_size(0)
        .with_push_listen_addr_updates(true);
    let behaviour = Behaviour {
        limits: limits::Behaviour::new(config.limits.clone()),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
        streams: streams::Behaviour::default(),
    };
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING);
    let transport = build_transport(config, keypair)?;
    Ok(Swarm::new(
        transport,
        behaviour,
        public.to_peer_id(),
        swarm_config,
    ))
}

fn build_transport(
    config: &Config,
    keypair: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, P2pError> {
    let noise = noise::Config::new(keypair)?;
    let tcp_socket = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));

    let tcp = tcp_socket()
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(muxer::Upgrade)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let tcp = TransportTimeout::new(tcp, HANDSHAKE_TIMEOUT);

    let mut websocket = websocket::Config::new(tcp_socket());
    websocket.set_max_data_size(MAX_WEBSOCKET_MESSAGE);
    let websocket = websocket
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer::Upgrade)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let websocket = TransportTimeout::new(websocket, HANDSHAKE_TIMEOUT);

    let mut quic = quic::Config::new(keypair);
    quic.handshake_timeout = HANDSHAKE_TIMEOUT;
    quic.max_concurrent_stream_limit = MAX_QUIC_STREAMS;
    quic.max_stream_data = QUIC_STREAM_WINDOW;
    quic.max_connection_data = QUIC_WINDOW;
    let quic = quic::tokio::Transport::new(quic)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let native =
        quic.or_transport(websocket)
            .or_transport(tcp)
            .map(|output, _| match output {
                Either::Left(Either::Left(output) | Either::Right(output))
                | Either::Right(output) => output,
            });
    if config.webtransport.is_none() {
        // Nothing is made or written for a listener that nobody asked for.
        return Ok(native.boxed());
    }
    let webtransport = webtransport::Transport::new(webtransport::Config::new(
        keypair.clone(),
        config.certificates.clone(),
        config.limits.established + config.limits.pending,
    ))?
    .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(webtransport
        .or_transport(native)
        .map(|output, _| match output {
            Either::Left(output) | Either::Right(output) => output,
        })
        .boxed())
}
