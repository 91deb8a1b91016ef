//! A WebTransport dialer for tests, built on `wtransport` as a browser is on its own stack. It
//! checks what libp2p's browser transport checks: certificate hashes twice, and the peer id.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncWriteExt, FutureExt};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::OutboundConnectionUpgrade;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, noise};
use wtransport::tls::Sha256Digest;

use super::certificates::CertHash;
use super::{Connection, Error, PATH, Substream, Upgrade};

/// Dials only; see [`super::Transport`] for the other half.
pub(crate) struct Client {
    keypair: Keypair,
}

impl Client {
    pub(crate) fn new(keypair: &Keypair) -> Self {
        Self {
            keypair: keypair.clone(),
        }
    }
}

impl libp2p::core::Transport for Client {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, _: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(addr))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Upgrade, TransportError<Error>> {
        let Some((socket_addr, hashes)) = parse(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let keypair = self.keypair.clone();
        Ok(async move {
            let session = open(socket_addr, &hashes, PATH).await.expect("a session");
            let peer = authenticate(&session, &keypair, hashes).await?;
            Ok((peer, Connection::new(session)))
        }
        .boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, Error>> {
        Poll::Pending
    }
}

/// Socket address and certificate hashes of a multiaddr, whatever its `/p2p/`.
pub(crate) fn parse(addr: &Multiaddr) -> Option<(SocketAddr, HashSet<CertHash>)> {
    let (mut ip, mut port, mut is_webtransport) = (None, None, false);
    let mut hashes = HashSet::new();
    for part in addr {
        match part {
            Protocol::Ip4(value) => ip = Some(value),
            Protocol::Udp(value) => port = Some(value),
            Protocol::WebTransport => is_webtransport = true,
            Protocol::Certhash(hash) => {
                hashes.insert(hash);
            }
            _ => {}
        }
    }
    is_webtransport.then_some((SocketAddr::from((ip?, port?)), hashes))
}

/// QUIC and HTTP/3, with any of the certificates of these hashes.
pub(crate) async fn open(
    addr: SocketAddr,
    hashes: &HashSet<CertHash>,
    path: &str,
) -> Result<wtransport::Connection, wtransport::error::ConnectingError> {
    let digests = hashes
        .iter()
        .map(|hash| Sha256Digest::new(hash.digest().try_into().unwrap()));
    let config = wtransport::ClientConfig::builder()
        .with_bind_address((Ipv4Addr::LOCALHOST, 0).into())
        .with_server_certificate_hashes(digests)
        .build();
    wtransport::Endpoint::client(config)
        .unwrap()
        .connect(format!("https://{addr}{path}"))
        .await
}

/// Noise on the first stream, as the initiator.
pub(crate) async fn authenticate(
    session: &wtransport::Connection,
    keypair: &Keypair,
    hashes: HashSet<CertHash>,
) -> Result<PeerId, noise::Error> {
    let stream = Substream::new(session.open_bi().await.unwrap().await.unwrap());
    let noise = noise::Config::new(keypair)?.with_webtransport_certhashes(hashes);
    let (peer, mut stream) = noise.upgrade_outbound(stream, "/noise").await?;
    // A dropped stream is reset, and with it the last message may be lost.
    stream.close().await.map_err(noise::Error::Io)?;
    Ok(peer)
}
