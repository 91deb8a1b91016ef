//! The whole node against native clients over every transport, on loopback.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{StreamProtocol, yamux};
use sluice_core::wire::{CHUNK_PROTOCOL, Frame, LENGTH_LEN, Parting, Priority, frame_len};
use sluice_core::{ChunkIndex, ContentId, Digest, FileIndex};
use tokio::sync::mpsc;

use super::*;

const WORK: ContentId = ContentId(Digest::new([7; 32]));
const CHUNKS: u64 = 24;

/// Chunks of the full length, each of its own bytes.
struct Shelf(HashMap<u64, Bytes>);

impl Shelf {
    fn new() -> Arc<Self> {
        let chunk = |index: u64| {
            let mut bytes = vec![index.to_le_bytes()[0]; 262_160];
            bytes[..8].copy_from_slice(&index.to_be_bytes());
            Bytes::from(bytes)
        };
        Arc::new(Self(
            (0..CHUNKS).map(|index| (index, chunk(index))).collect(),
        ))
    }
}

impl BlockSource for Shelf {
    fn block(&self, _: Digest) -> Answer<'_, Bytes> {
        async { Ok(None) }.boxed()
    }

    fn chunk(&self, _: ContentId, _: FileIndex, index: ChunkIndex) -> Answer<'_, Bytes> {
        async move { Ok(self.0.get(&index.0).cloned()) }.boxed()
    }

    fn newest_card(&self, _: ContentId) -> Answer<'_, Digest> {
        async { Ok(None) }.boxed()
    }
}

/// Main does this in the binary.
fn install_provider() {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn everywhere(folder: &Path) -> Config {
    let local = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Config {
        tcp: local,
        quic: local,
        websocket: local,
        webtransport: local,
        ..Config::new(folder.join("webtransport"))
    }
}

async fn start(config: Config) -> P2p {
    install_provider();
    P2p::start(config, Keypair::generate_ed25519(), Shelf::new())
        .await
        .unwrap()
}

fn address(node: &P2p, transport: Transport) -> Multiaddr {
    let addresses = node.addresses();
    let mut found = addresses
        .into_iter()
        .filter(|addr| Transport::of(addr) == Some(transport));
    found.next().expect("an address of each transport")
}

#[derive(NetworkBehaviour)]
struct ClientBehaviour {
    identify: identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// What a client's swarm tells its test.
#[derive(Debug)]
enum Seen {
    Connected,
    Failed,
    Closed,
    Identified(Box<identify::Info>),
}

/// A peer with a key of its own, its swarm driven by a task.
struct Client {
    control: libp2p_stream::Control,
    dial: mpsc::UnboundedSender<Multiaddr>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Client {
    fn new() -> Self {
        install_provider();
        let keypair = Keypair::generate_ed25519();
        let noise = || noise::Config::new(&keypair).unwrap();
        let tcp = || tcp::tokio::Transport::new(tcp::Config::default());
        let transport = webtransport::client::Client::new(&keypair)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .or_transport(
                quic::tokio::Transport::new(quic::Config::new(&keypair))
                    .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))),
            )
            .map(either)
            .or_transport(
                websocket::Config::new(tcp())
                    .upgrade(Version::V1)
                    .authenticate(noise())
                    .multiplex(yamux::Config::default())
                    .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))),
            )
            .map(either)
            .or_transport(
                tcp()
                    .upgrade(Version::V1)
                    .authenticate(noise())
                    .multiplex(yamux::Config::default())
                    .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))),
            )
            .map(either)
            .boxed();
        let behaviour = ClientBehaviour {
            identify: identify::Behaviour::new(identify::Config::new(
                "/test/1".to_owned(),
                keypair.public(),
            )),
            streams: libp2p_stream::Behaviour::new(),
        };
        let control = behaviour.streams.new_control();
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(60));
        let mut swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config);
        let (dial, mut dials) = mpsc::unbounded_channel::<Multiaddr>();
        let (tell, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    Some(addr) = dials.recv() => {
                        let opts = DialOpts::unknown_peer_id().address(addr).build();
                        swarm.dial(opts).unwrap();
                        continue;
                    }
                    event = swarm.select_next_some() => event,
                };
                let seen = match event {
                    SwarmEvent::ConnectionEstablished { .. } => Seen::Connected,
                    SwarmEvent::OutgoingConnectionError { .. } => Seen::Failed,
                    SwarmEvent::ConnectionClosed { .. } => Seen::Closed,
                    SwarmEvent::Behaviour(ClientBehaviourEvent::Identify(
                        identify::Event::Received { info, .. },
                    )) => Seen::Identified(Box::new(info)),
                    _ => continue,
                };
                if tell.send(seen).is_err() {
                    return;
                }
            }
        });
        Self {
            control,
            dial,
            seen,
        }
    }

    /// Connected to `node` over `transport`.
    async fn to(node: &P2p, transport: Transport) -> Self {
        let mut client = Self::new();
        client.dial(address(node, transport)).await;
        client
    }

    async fn dial(&mut self, addr: Multiaddr) {
        self.dial.send(addr).unwrap();
        self.until(|seen| matches!(seen, Seen::Connected)).await;
    }

    async fn until(&mut self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        loop {
            let seen = self.seen.recv().await.expect("the swarm runs on");
            if wanted(&seen) {
                return seen;
            }
        }
    }

    async fn open(&mut self, node: &P2p) -> libp2p::Stream {
        let protocol = StreamProtocol::new(CHUNK_PROTOCOL);
        self.control
            .open_stream(node.peer_id(), protocol)
            .await
            .unwrap()
    }
}

fn either<T>(output: Either<T, T>, _: ConnectedPoint) -> T {
    match output {
        Either::Left(output) | Either::Right(output) => output,
    }
}

async fn receive(stream: &mut libp2p::Stream) -> Frame {
    let mut length = [0; LENGTH_LEN];
    stream.read_exact(&mut length).await.unwrap();
    let mut frame = vec![0; frame_len(length).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    Frame::decode(frame).unwrap().expect("a known type")
}

/// Asks for every chunk, eight at a time, and checks each byte.
async fn fetch_all(stream: &mut libp2p::Stream) {
    let shelf = Shelf::new();
    stream.write_all(&Frame::Head(WORK).encode()).await.unwrap();
    assert!(matches!(receive(stream).await, Frame::Heads { .. }));
    let request = |index| Frame::Request {
        file: FileIndex(0),
        index: ChunkIndex(index),
        priority: Priority::SOON,
    };
    for index in 0..8 {
        stream.write_all(&request(index).encode()).await.unwrap();
    }
    for want in 0..CHUNKS {
        match receive(stream).await {
            Frame::Chunk { index, sealed, .. } => {
                assert_eq!(index.0, want);
                assert!(Digest::of(&sealed) == Digest::of(&shelf.0[&want]));
            }
            other => panic!("expected a chunk, got {other:?}"),
        }
        if want + 8 < CHUNKS {
            stream.write_all(&request(want + 8).encode()).await.unwrap();
        }
    }
    stream.close().await.unwrap();
}

async fn check(transport: Transport) {
    let folder = tempfile::tempdir().unwrap();
    let node = start(everywhere(folder.path())).await;
    let mut client = Client::to(&node, transport).await;
    fetch_all(&mut client.open(&node).await).await;

    let Seen::Identified(info) = client
        .until(|seen| matches!(seen, Seen::Identified(_)))
        .await
    else {
        unreachable!("waited for it")
    };
    assert_eq!(info.protocol_version, IDENTIFY_PROTOCOL);
    assert!(info.agent_version.starts_with("sluice/"));
    assert_eq!(info.public_key.to_peer_id(), node.peer_id());

    let stats = node.stats();
    assert_eq!(stats.chunks_sent, CHUNKS);
    assert_eq!(stats.connections[transport as usize], 1);
    assert_eq!(stats.connections.iter().sum::<u64>(), 1);
    node.shutdown().await;
    client.until(|seen| matches!(seen, Seen::Closed)).await;
}

#[tokio::test]
async fn chunks_are_fetched_and_verified_over_webtransport() {
    check(Transport::WebTransport).await;
}

#[tokio::test]
async fn chunks_are_fetched_and_verified_over_websocket() {
    check(Transport::WebSocket).await;
}

#[tokio::test]
async fn chunks_are_fetched_and_verified_over_quic() {
    check(Transport::Quic).await;
}

#[tokio::test]
async fn chunks_are_fetched_and_verified_over_tcp() {
    check(Transport::Tcp).await;
}

#[tokio::test]
async fn an_oversize_frame_ends_the_stream_and_not_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(everywhere(folder.path())).await;
    for transport in Transport::ALL {
        let mut client = Client::to(&node, transport).await;
        let mut stream = client.open(&node).await;
        stream.write_all(&[0xff; 4]).await.unwrap();
        assert_eq!(receive(&mut stream).await, Frame::Bye(Parting::Breach));
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{transport:?}");
        fetch_all(&mut client.open(&node).await).await;
    }
    assert_eq!(node.stats().frames_refused, 4);
}

#[tokio::test]
async fn a_node_that_stops_says_so_on_every_stream() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(everywhere(folder.path())).await;
    let mut streams = Vec::new();
    let mut clients = Vec::new();
    for transport in Transport::ALL {
        let mut client = Client::to(&node, transport).await;
        let mut stream = client.open(&node).await;
        stream.write_all(&Frame::Head(WORK).encode()).await.unwrap();
        assert!(matches!(receive(&mut stream).await, Frame::Heads { .. }));
        streams.push(stream);
        clients.push(client);
    }
    let stopping = tokio::spawn(node.shutdown());
    for mut stream in streams {
        assert_eq!(receive(&mut stream).await, Frame::Bye(Parting::Leaving));
    }
    stopping.await.unwrap();
    for mut client in clients {
        client.until(|seen| matches!(seen, Seen::Closed)).await;
    }
}

#[tokio::test]
async fn connections_of_one_peer_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = everywhere(folder.path());
    config.limits.per_peer = 2;
    let node = start(config).await;
    let mut client = Client::new();
    for transport in [Transport::Tcp, Transport::WebTransport] {
        client.dial(address(&node, transport)).await;
    }
    client
        .dial
        .send(address(&node, Transport::WebSocket))
        .unwrap();
    // The node ends it after the handshake, or in the middle of it.
    client
        .until(|seen| matches!(seen, Seen::Closed | Seen::Failed))
        .await;
    assert_eq!(node.stats().connections, [1, 0, 0, 1]);
}

#[tokio::test]
async fn a_restart_keeps_the_peer_id_and_the_certificate_hashes() {
    install_provider();
    let folder = tempfile::tempdir().unwrap();
    let keypair = Keypair::generate_ed25519();
    let mut config = everywhere(folder.path());
    let first = P2p::start(config.clone(), keypair.clone(), Shelf::new())
        .await
        .unwrap();
    let before = address(&first, Transport::WebTransport);
    let port = before.iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Udp(port) => Some(port),
        _ => None,
    });
    first.shutdown().await;

    config.webtransport = Some(SocketAddr::from(([127, 0, 0, 1], port.unwrap())));
    let second = P2p::start(config, keypair, Shelf::new()).await.unwrap();
    assert_eq!(address(&second, Transport::WebTransport), before);
    let mut client = Client::to(&second, Transport::WebTransport).await;
    fetch_all(&mut client.open(&second).await).await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_remedy() {
    install_provider();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        websocket: Some(addr),
        ..Config::new(folder.path().into())
    };
    let error = P2p::start(config, Keypair::generate_ed25519(), Shelf::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&addr.to_string()), "{error}");
    assert!(error.contains("in use"), "{error}");
    assert!(error.ends_with("--p2p-ws"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn without_a_webtransport_listener_no_certificate_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = everywhere(folder.path());
    config.webtransport = None;
    let node = start(config).await;
    assert_eq!(node.addresses().len(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
