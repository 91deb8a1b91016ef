//! The listener against a client that checks what a browser checks, over loopback.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::AsyncReadExt;
use libp2p::core::Endpoint;
use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::PortUse;
use tokio::sync::mpsc;

use super::client::{self, Client};
use super::schedule::{LIFETIME_SECONDS, SKEW_SECONDS};
use super::*;

/// A listener on loopback whose clock the test sets, polled by a task.
struct Server {
    peer: PeerId,
    clock: Arc<AtomicI64>,
    events: mpsc::UnboundedReceiver<ServerEvent>,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
enum ServerEvent {
    New(Multiaddr),
    Expired(Multiaddr),
    Connected(Result<(PeerId, Connection), Error>),
}

fn real_now() -> i64 {
    system_clock()()
}

impl Server {
    fn start(now: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keypair = Keypair::generate_ed25519();
        let clock = Arc::new(AtomicI64::new(now));
        let read = clock.clone();
        let mut transport = Transport::new(Config {
            clock: Arc::new(move || read.load(Ordering::SeqCst)),
            check_every: Duration::from_millis(5),
            ..Config::new(keypair.clone(), folder.path().join("certificates"), 16)
        })
        .unwrap();
        transport
            .listen_on(ListenerId::next(), listen_addr())
            .unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let event = match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
                    TransportEvent::NewAddress { listen_addr, .. } => ServerEvent::New(listen_addr),
                    TransportEvent::AddressExpired { listen_addr, .. } => {
                        ServerEvent::Expired(listen_addr)
                    }
                    TransportEvent::Incoming { upgrade, .. } => {
                        let sender = sender.clone();
                        tokio::spawn(async move {
                            let _ = sender.send(ServerEvent::Connected(upgrade.await));
                        });
                        continue;
                    }
                    _ => panic!("the listener must go on"),
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Self {
            peer: keypair.public().to_peer_id(),
            clock,
            events,
            _folder: folder,
        }
    }

    async fn address(&mut self) -> Multiaddr {
        match self.events.recv().await {
            Some(ServerEvent::New(address)) => address,
            other => panic!("expected an address, got {other:?}"),
        }
    }

    async fn connected(&mut self) -> Result<(PeerId, Connection), Error> {
        match self.events.recv().await {
            Some(ServerEvent::Connected(result)) => result,
            other => panic!("expected a connection, got {other:?}"),
        }
    }
}

fn listen_addr() -> Multiaddr {
    "/ip4/127.0.0.1/udp/0/quic-v1/webtransport".parse().unwrap()
}

fn dial_opts() -> DialOpts {
    DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    }
}

async fn dial(keypair: &Keypair, address: Multiaddr) -> Result<(PeerId, Connection), Error> {
    let dial = Client::new(keypair).dial(address, dial_opts());
    let Ok(dial) = dial else {
        panic!("not an address for this client")
    };
    dial.await
}

/// A stream opened by one side and the same stream as the other sees it.
async fn stream(from: &mut Connection, to: &mut Connection) -> (Substream, Substream) {
    let mut near = poll_fn(|cx| from.poll_outbound_unpin(cx)).await.unwrap();
    near.write_all(b"!").await.unwrap();
    let mut far = poll_fn(|cx| to.poll_inbound_unpin(cx)).await.unwrap();
    let mut byte = [0];
    far.read_exact(&mut byte).await.unwrap();
    (near, far)
}

async fn check_echo(client: &mut Connection, server: &mut Connection) {
    let sent = vec![7; 300_000];
    let (mut near, mut far) = stream(client, server).await;
    let mut received = Vec::new();
    let (_, echoed) = futures::join!(
        async {
            near.write_all(&sent).await.unwrap();
            near.close().await.unwrap();
            near.read_to_end(&mut received).await.unwrap();
        },
        async {
            let mut echoed = Vec::new();
            far.read_to_end(&mut echoed).await.unwrap();
            far.write_all(&echoed).await.unwrap();
            far.close().await.unwrap();
            echoed
        }
    );
    assert!(echoed == sent && received == sent);
}

#[tokio::test]
async fn a_client_with_the_hashes_proves_both_peer_ids_and_streams_echo_both_ways() {
    let mut server = Server::start(real_now());
    let address = server.address().await;
    let keypair = Keypair::generate_ed25519();
    let (dialled, accepted) = futures::join!(dial(&keypair, address), server.connected());
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!(dialled.0, server.peer);
    assert_eq!(accepted.0, keypair.public().to_peer_id());
    check_echo(&mut dialled.1, &mut accepted.1).await;
    check_echo(&mut accepted.1, &mut dialled.1).await;
}

#[tokio::test]
async fn rotation_keeps_connections_and_old_addresses_alive() {
    // Old enough that the next certificate is valid already by the client's, the real, clock.
    let mut server = Server::start(real_now() - LIFETIME_SECONDS + 2 * SKEW_SECONDS);
    let old = server.address().await;
    let keypair = Keypair::generate_ed25519();
    let (dialled, accepted) = futures::join!(dial(&keypair, old.clone()), server.connected());
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());

    server.clock.store(real_now() + 1, Ordering::SeqCst);
    match server.events.recv().await {
        Some(ServerEvent::Expired(address)) => assert_eq!(address, old),
        other => panic!("expected the old address to expire, got {other:?}"),
    }
    let new = server.address().await;
    let hashes = |address: &Multiaddr| {
        address
            .iter()
            .filter_map(|part| match part {
                Protocol::Certhash(hash) => Some(hash),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(hashes(&old)[1], hashes(&new)[0]);

    check_echo(&mut dialled.1, &mut accepted.1).await;
    for address in [old, new] {
        let (dialled, accepted) = futures::join!(dial(&keypair, address), server.connected());
        check_echo(&mut dialled.unwrap().1, &mut accepted.unwrap().1).await;
    }
}

#[tokio::test]
async fn a_hash_we_never_had_fails_the_noise_handshake() {
    let mut server = Server::start(real_now());
    let bogus = CertHash::wrap(0x12, &[9; 32]).unwrap();
    let address = server.address().await.with(Protocol::Certhash(bogus));
    let keypair = Keypair::generate_ed25519();
    assert!(matches!(
        dial(&keypair, address).await,
        Err(Error::Noise(noise::Error::UnknownWebTransportCerthashes(
            ..
        )))
    ));
}

#[tokio::test]
async fn any_other_path_is_refused() {
    let mut server = Server::start(real_now());
    let (addr, hashes) = client::parse(&server.address().await).unwrap();
    for path in ["/", "/.well-known/libp2p-webtransport", "/x?type=noise"] {
        let (client, accepted) =
            futures::join!(client::open(addr, &hashes, path), server.connected());
        assert!(matches!(accepted, Err(Error::Path)), "{path}");
        assert!(client.is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_client_without_the_hash_does_not_get_through() {
    let mut server = Server::start(real_now());
    let (addr, _) = client::parse(&server.address().await).unwrap();
    let bogus = HashSet::from([CertHash::wrap(0x12, &[9; 32]).unwrap()]);
    assert!(client::open(addr, &bogus, PATH).await.is_err());
    assert!(server.connected().await.is_err());
}

#[tokio::test]
async fn a_stream_dropped_half_way_is_an_error_to_the_reader_and_a_closed_one_is_an_end() {
    let mut server = Server::start(real_now());
    let address = server.address().await;
    let keypair = Keypair::generate_ed25519();
    let (dialled, accepted) = futures::join!(dial(&keypair, address), server.connected());
    let (mut client, mut server) = (dialled.unwrap().1, accepted.unwrap().1);

    let (near, mut far) = stream(&mut client, &mut server).await;
    drop(near);
    let error = far.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let (mut near, mut far) = stream(&mut client, &mut server).await;
    near.close().await.unwrap();
    near.close().await.unwrap();
    drop(near);
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_closed_session_ends_the_other_side() {
    let mut server = Server::start(real_now());
    let address = server.address().await;
    let keypair = Keypair::generate_ed25519();
    let (dialled, accepted) = futures::join!(dial(&keypair, address), server.connected());
    let (mut client, mut server) = (dialled.unwrap().1, accepted.unwrap().1);
    poll_fn(|cx| client.poll_close_unpin(cx)).await.unwrap();
    assert!(poll_fn(|cx| server.poll_inbound_unpin(cx)).await.is_err());
}

#[tokio::test]
async fn only_webtransport_addresses_are_listened_on_and_none_is_dialled() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(Keypair::generate_ed25519(), folder.path().into(), 16);
    let mut transport = Transport::new(config).unwrap();
    for address in [
        "/ip4/127.0.0.1/udp/0/quic-v1",
        "/ip4/127.0.0.1/tcp/0/ws",
        "/dns4/localhost/udp/0/quic-v1/webtransport",
        "/ip4/127.0.0.1/udp/0/quic-v1/webtransport/certhash/uEiCaDd1Ca1A8IVJ3hsIxIyi11cwxaDKqzVrBkGJbKZU5ng",
    ] {
        let listened = transport.listen_on(ListenerId::next(), address.parse().unwrap());
        assert!(
            matches!(listened, Err(TransportError::MultiaddrNotSupported(_))),
            "{address}"
        );
    }
    let dialled = transport.dial(listen_addr(), dial_opts());
    assert!(matches!(
        dialled,
        Err(TransportError::MultiaddrNotSupported(_))
    ));
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(Keypair::generate_ed25519(), folder.path().into(), 16);
    let mut transport = Transport::new(config).unwrap();
    let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1/webtransport");
    let listened = transport.listen_on(ListenerId::next(), address.parse().unwrap());
    assert!(matches!(
        listened,
        Err(TransportError::Other(Error::Socket(_)))
    ));
}

#[tokio::test]
async fn a_wildcard_is_announced_as_the_addresses_it_stands_for_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(Keypair::generate_ed25519(), folder.path().into(), 16);
    let mut transport = Transport::new(config).unwrap();
    let id = ListenerId::next();
    let wildcard = "/ip4/0.0.0.0/udp/0/quic-v1/webtransport".parse().unwrap();
    transport.listen_on(id, wildcard).unwrap();
    let event = poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await;
    let TransportEvent::NewAddress { listen_addr, .. } = event else {
        panic!("expected an address")
    };
    let (addr, hashes) = client::parse(&listen_addr).unwrap();
    assert!(!addr.ip().is_unspecified() && addr.port() != 0 && hashes.len() == 2);

    assert!(transport.remove_listener(id));
    loop {
        match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
            TransportEvent::ListenerClosed { reason, .. } => break assert!(reason.is_ok()),
            TransportEvent::NewAddress { .. } => {}
            _ => panic!("expected the end"),
        }
    }
    assert!(!transport.remove_listener(id));
}
