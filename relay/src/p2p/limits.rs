//! How many connections the node lets in: under way, in all, per peer and per address.
//!
//! Why not `libp2p-connection-limits`: it keeps an entry for every peer id it ever saw, and tabs have
//! a new one per session; and it knows no addresses.
//!
//! # Invariants
//!
//! - Every map here holds live connections only, so the limits bound the maps too.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure,
    NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Bounds on connections. At a bound new ones are refused; those that exist go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes under way.
    pub pending: usize,
    /// Connections with a peer id.
    pub established: usize,
    /// Connections with one peer id.
    pub per_peer: usize,
    /// Connections from one IPv4 address or IPv6 /64, under way or not. Loopback is exempt: behind a
    /// reverse proxy everybody comes from there.
    pub per_address: usize,
}

impl Default for Limits {
    /// 1,024 connections: 2 GiB if each holds a full WebTransport send window, far less in practice.
    /// 64 from one address leaves room for a school behind one NAT; 4 per peer for a reconnect that
    /// overtakes its own end.
    fn default() -> Self {
        Self {
            pending: 256,
            established: 1024,
            per_peer: 4,
            per_address: 64,
        }
    }
}

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("too many handshakes are under way")]
    Pending,
    #[error("too many connections")]
    Established,
    #[error("too many connections with this peer")]
    Peer,
    #[error("too many connections from this address")]
    Address,
    #[error("the node is shutting down")]
    Leaving,
}

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Host {
    V4(Ipv4Addr),
    /// The /64 that one customer gets.
    V6([u16; 4]),
}

impl Host {
    /// `None` where no bound per address makes sense.
    fn of(addr: &Multiaddr) -> Option<Self> {
        let ip = match addr.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        match ip {
            ip if ip.is_loopback() => None,
            IpAddr::V4(ip) => Some(Self::V4(ip)),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Some(Self::V6([a, b, c, d]))
            }
        }
    }
}

struct Entered {
    host: Option<Host>,
    peer: Option<PeerId>,
}

/// The live connections.
struct Book {
    limits: Limits,
    entered: HashMap<ConnectionId, Entered>,
    per_host: HashMap<Host, usize>,
    per_peer: HashMap<PeerId, usize>,
    established: usize,
    leaving: bool,
}

impl Book {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            entered: HashMap::new(),
            per_host: HashMap::new(),
            per_peer: HashMap::new(),
            established: 0,
            leaving: false,
        }
    }

    fn enter(&mut self, id: ConnectionId, host: Option<Host>) -> Result<(), Refusal> {
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        if self.entered.len() - self.established >= self.limits.pending {
            return Err(Refusal::Pending);
        }
        // Told before the handshake: a full node should not spend one on it.
        if self.established >= self.limits.established {
            return Err(Refusal::Established);
        }
        if let Some(host) = host {
            admit(&mut self.per_host, host, self.limits.per_address).ok_or(Refusal::Address)?;
        }
        self.entered.insert(id, Entered { host, peer: None });
        Ok(())
    }

    fn establish(&mut self, id: ConnectionId, peer: PeerId) -> Result<(), Refusal> {
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        if self.established >= self.limits.established {
            return Err(Refusal::Established);
        }
        admit(&mut self.per_peer, peer, self.limits.per_peer).ok_or(Refusal::Peer)?;
        // One that we dialled was not entered before.
        let entered = self.entered.entry(id).or_insert(Entered {
            host: None,
            peer: None,
        });
        entered.peer = Some(peer);
        self.established += 1;
        Ok(())
    }

    /// Forgets a connection; one that never got in is no error.
    fn leave(&mut self, id: ConnectionId) {
        let Some(Entered { host, peer }) = self.entered.remove(&id) else {
            return;
        };
        if let Some(host) = host {
            release(&mut self.per_host, host);
        }
        if let Some(peer) = peer {
            release(&mut self.per_peer, peer);
            self.established -= 1;
        }
    }
}

/// Counts one more; `None` at the limit.
pub(crate) fn admit<K: Eq + Hash>(
    counts: &mut HashMap<K, usize>,
    key: K,
    limit: usize,
) -> Option<()> {
    match counts.entry(key) {
        Entry::Occupied(count) if *count.get() >= limit => None,
        Entry::Vacant(_) if limit == 0 => None,
        entry => {
            *entry.or_insert(0) += 1;
            Some(())
        }
    }
}

/// Counts one less, and forgets the key at none.
pub(crate) fn release<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// The swarm's doorkeeper.
pub(crate) struct Behaviour(Book);

impl Behaviour {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Book::new(limits))
    }

    /// Lets nobody in any more.
    pub(crate) fn leave(&mut self) {
        self.0.leaving = true;
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0
            .enter(id, Host::of(remote))
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.establish(id, peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.establish(id, peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                self.0.leave(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        Book::new(Limits {
            pending: 3,
            established: 4,
            per_peer: 2,
            per_address: 2,
        })
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn host(addr: &str) -> Option<Host> {
        Host::of(&addr.parse().unwrap())
    }

    #[test]
    fn handshakes_under_way_are_bounded_and_free_their_place() {
        let mut book = book();
        for number in 0..3 {
            assert_eq!(book.enter(id(number), None), Ok(()));
        }
        assert_eq!(book.enter(id(3), None), Err(Refusal::Pending));
        book.establish(id(0), PeerId::random()).unwrap();
        assert_eq!(book.enter(id(3), None), Ok(()));
        book.leave(id(1));
        assert_eq!(book.enter(id(4), None), Ok(()));
    }

    #[test]
    fn connections_of_one_peer_and_in_all_are_bounded() {
        let mut book = book();
        let peer = PeerId::random();
        for number in 0..2 {
            book.enter(id(number), None).unwrap();
            assert_eq!(book.establish(id(number), peer), Ok(()));
        }
        book.enter(id(2), None).unwrap();
        assert_eq!(book.establish(id(2), peer), Err(Refusal::Peer));
        book.leave(id(2));
        for number in 3..5 {
            book.enter(id(number), None).unwrap();
            book.establish(id(number), PeerId::random()).unwrap();
        }
        assert_eq!(book.enter(id(5), None), Err(Refusal::Established));
    }

    #[test]
    fn connections_of_one_address_are_bounded() {
        let mut book = book();
        let host = host("/ip4/192.0.2.1/tcp/1");
        assert_eq!(book.enter(id(0), host), Ok(()));
        assert_eq!(book.enter(id(1), host), Ok(()));
        assert_eq!(book.enter(id(2), host), Err(Refusal::Address));
        book.leave(id(2));
        book.leave(id(0));
        assert_eq!(book.enter(id(3), host), Ok(()));
    }

    #[test]
    fn a_leaving_node_lets_nobody_in() {
        let mut book = book();
        book.enter(id(0), None).unwrap();
        book.leaving = true;
        assert_eq!(book.enter(id(1), None), Err(Refusal::Leaving));
        let refused = book.establish(id(0), PeerId::random());
        assert_eq!(refused, Err(Refusal::Leaving));
    }

    #[test]
    fn when_all_have_left_nothing_is_remembered() {
        let mut book = book();
        for number in 0..2 {
            book.enter(id(number), host("/ip4/192.0.2.1/udp/9/quic-v1"))
                .unwrap();
            book.establish(id(number), PeerId::random()).unwrap();
        }
        for number in 0..2 {
            book.leave(id(number));
        }
        assert!(book.entered.is_empty() && book.per_host.is_empty() && book.per_peer.is_empty());
        assert_eq!(book.established, 0);
    }

    #[test]
    fn one_customer_is_one_ipv6_network() {
        let a = host("/ip6/2001:db8:0:1::1/tcp/1");
        assert_eq!(a, host("/ip6/2001:db8:0:1:ffff::2/tcp/2"));
        assert_ne!(a, host("/ip6/2001:db8:0:2::1/tcp/1"));
        assert_eq!(
            host("/ip6/::ffff:192.0.2.1/tcp/1"),
            host("/ip4/192.0.2.1/tcp/1")
        );
    }

    #[test]
    fn loopback_is_exempt() {
        for addr in ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/memory/1"] {
            assert_eq!(host(addr), None, "{addr}");
        }
    }
}
