//! Multiaddrs to listen on, and those to tell others.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::stats::Transport;

/// What a listener is asked to bind.
pub(super) fn to_listen(transport: Transport, addr: SocketAddr) -> Multiaddr {
    let (ip, port) = (Multiaddr::from(addr.ip()), addr.port());
    match transport {
        Transport::Tcp => ip.with(Protocol::Tcp(port)),
        Transport::WebSocket => ip.with(Protocol::Tcp(port)).with(Protocol::Ws("/".into())),
        Transport::Quic => ip.with(Protocol::Udp(port)).with(Protocol::QuicV1),
        Transport::WebTransport => ip
            .with(Protocol::Udp(port))
            .with(Protocol::QuicV1)
            .with(Protocol::WebTransport),
    }
}

/// What others are told: external addresses in the operator's order, then the listeners' own, for
/// browsers first and loopback last; each once, with `/p2p/`.
pub(super) fn announced(
    external: &[Multiaddr],
    listening: &BTreeSet<Multiaddr>,
    peer: PeerId,
) -> Vec<Multiaddr> {
    let hashes: Vec<_> = listening
        .iter()
        .find(|addr| Transport::of(addr) == Some(Transport::WebTransport))
        .into_iter()
        .flat_map(certhashes)
        .collect();
    let mut own: Vec<_> = listening.iter().cloned().collect();
    // Stable: equals stay in the order of the set.
    own.sort_by_key(|addr| (Transport::of(addr), is_loopback(addr)));

    let mut all = Vec::with_capacity(external.len() + own.len());
    for addr in external.iter().cloned().chain(own) {
        let addr = complete(addr, &hashes, peer);
        if !all.contains(&addr) {
            all.push(addr);
        }
    }
    all
}

/// Adds the certificate hashes in use to a WebTransport address without any, and the peer id.
fn complete(addr: Multiaddr, hashes: &[Protocol<'static>], peer: PeerId) -> Multiaddr {
    let mut addr: Multiaddr = addr
        .into_iter()
        .filter(|part| !matches!(part, Protocol::P2p(_)))
        .collect();
    let is_webtransport = Transport::of(&addr) == Some(Transport::WebTransport);
    if is_webtransport && certhashes(&addr).next().is_none() {
        for hash in hashes {
            addr.push(hash.clone());
        }
    }
    addr.with(Protocol::P2p(peer))
}

fn certhashes(addr: &Multiaddr) -> impl Iterator<Item = Protocol<'static>> + '_ {
    addr.iter()
        .filter(|part| matches!(part, Protocol::Certhash(_)))
        .map(Protocol::acquire)
}

fn is_loopback(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "/certhash/uEiCaDd1Ca1A8IVJ3hsIxIyi11cwxaDKqzVrBkGJbKZU5ng";
    const PEER: &str = "12D3KooWR7EfNv5SLtgjMRjUwR8AvNu3hP4fLrtSa9fmHHXKYWNG";

    #[track_caller]
    fn check(external: &[&str], listening: &[&str], want: &[&str]) {
        let parse = |addr: &&str| addr.parse().unwrap();
        let external: Vec<_> = external.iter().map(parse).collect();
        let listening = listening.iter().map(parse).collect();
        let announced: Vec<_> = announced(&external, &listening, PEER.parse().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        let want: Vec<_> = want
            .iter()
            .map(|addr| format!("{addr}/p2p/{PEER}"))
            .collect();
        assert_eq!(announced, want);
    }

    #[test]
    fn browsers_come_first_and_loopback_last() {
        let webtransport = format!("/ip4/192.0.2.1/udp/1/quic-v1/webtransport{HASH}");
        let local = format!("/ip4/127.0.0.1/udp/1/quic-v1/webtransport{HASH}");
        check(
            &[],
            &[
                "/ip4/192.0.2.1/tcp/1",
                "/ip4/192.0.2.1/udp/2/quic-v1",
                &local,
                "/ip4/192.0.2.1/tcp/2/ws",
                &webtransport,
            ],
            &[
                &webtransport,
                &local,
                "/ip4/192.0.2.1/tcp/2/ws",
                "/ip4/192.0.2.1/udp/2/quic-v1",
                "/ip4/192.0.2.1/tcp/1",
            ],
        );
    }

    #[test]
    fn an_external_address_comes_first_and_gets_the_hashes_and_the_peer() {
        let own = format!("/ip4/10.0.0.1/udp/1/quic-v1/webtransport{HASH}");
        let outside = format!("/dns4/example.org/udp/1/quic-v1/webtransport{HASH}");
        check(
            &[
                "/dns4/example.org/udp/1/quic-v1/webtransport",
                "/dns4/example.org/tcp/443/tls/ws",
            ],
            &[&own],
            &[&outside, "/dns4/example.org/tcp/443/tls/ws", &own],
        );
    }

    #[test]
    fn each_is_named_once() {
        let with_peer = format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}");
        check(
            &[&with_peer],
            &["/ip4/192.0.2.1/tcp/1"],
            &["/ip4/192.0.2.1/tcp/1"],
        );
    }

    #[test]
    fn listeners_are_asked_for_by_transport() {
        let addr = "127.0.0.1:9".parse().unwrap();
        for (transport, want) in [
            (
                Transport::WebTransport,
                "/ip4/127.0.0.1/udp/9/quic-v1/webtransport",
            ),
            (Transport::WebSocket, "/ip4/127.0.0.1/tcp/9/ws"),
            (Transport::Quic, "/ip4/127.0.0.1/udp/9/quic-v1"),
            (Transport::Tcp, "/ip4/127.0.0.1/tcp/9"),
        ] {
            assert_eq!(to_listen(transport, addr).to_string(), want);
            assert_eq!(Transport::of(&to_listen(transport, addr)), Some(transport));
        }
    }
}
