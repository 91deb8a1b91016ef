//! How many connections the node lets in: under way, in all, per peer and per address.
//!
//! Each transport has handshakes of its own: one datagram from a made-up address begins one over QUIC,
//! and must not take a place from TCP, WebSocket or WebTransport.
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

use super::stats::Transport;

/// Bounds on connections. At a bound new ones are refused; those that exist go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes under way, over each transport.
    pub pending: usize,
    /// Connections with a peer id.
    pub established: usize,
    /// Those of them over plain QUIC, where nothing bounds what waits to be sent below 10 MB each.
    pub quic: usize,
    /// Connections with one peer id.
    pub per_peer: usize,
    /// Connections from one IPv4 address or IPv6 /64, under way or not; over QUIC counted apart, as
    /// nobody has proved such an address before the handshake. Loopback is exempt: behind a reverse
    /// proxy everybody comes from there.
    pub per_address: usize,
}

impl Default for Limits {
    /// 1,024 connections: 2 GiB if each holds a full WebTransport send window, far less in practice.
    /// 64 over QUIC are 640 MB, and no browser comes that way. 64 from one address leaves room for a school behind one NAT; 4 per peer for a reconnect that
    /// overtakes its own end.
    fn default() -> Self {
        Self {
            pending: 256,
            established: 1024,
            quic: 64,
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
    #[error("too many connections over QUIC")]
    Quic,
    #[error("too many connections with this peer")]
    Peer,
    #[error("too many connections from this address")]
    Address,
    #[error("the node is shutting down")]
    Leaving,
}

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    V4(Ipv4Addr),
    /// The /64 that one customer gets.
    V6([u16; 4]),
}

impl Host {
    /// `None` where no bound per address makes sense.
    pub(crate) fn of(addr: &Multiaddr) -> Option<Self> {
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

/// Which transport a connection came over; `None` for one that is none of ours.
type Way = Option<Transport>;

struct Entered {
    way: Way,
    host: Option<Host>,
    peer: Option<PeerId>,
}

impl Entered {
    fn over_quic(&self) -> bool {
        self.way == Some(Transport::Quic)
    }

    /// Under what its address is counted.
    fn address(&self) -> Option<(Host, bool)> {
        self.host.map(|host| (host, self.over_quic()))
    }
}

/// The live connections.
struct Book {
    limits: Limits,
    entered: HashMap<ConnectionId, Entered>,
    /// Handshakes under way.
    pending: HashMap<Way, usize>,
    /// The second half says whether over QUIC.
    per_address: HashMap<(Host, bool), usize>,
    per_peer: HashMap<PeerId, usize>,
    established: usize,
    /// Those of them over QUIC.
    quic: usize,
    leaving: bool,
}

impl Book {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            entered: HashMap::new(),
            pending: HashMap::new(),
            per_address: HashMap::new(),
            per_peer: HashMap::new(),
            established: 0,
            quic: 0,
            leaving: false,
        }
    }

    fn enter(&mut self, id: ConnectionId, way: Way, host: Option<Host>) -> Result<(), Refusal> {
        let entered = Entered {
            way,
            host,
            peer: None,
        };
        // Told before the handshake: a full node should not spend one on it.
        self.has_room(&entered)?;
        admit(&mut self.pending, way, self.limits.pending).ok_or(Refusal::Pending)?;
        if let Some(address) = entered.address()
            && admit(&mut self.per_address, address, self.limits.per_address).is_none()
        {
            release(&mut self.pending, way);
            return Err(Refusal::Address);
        }
        self.entered.insert(id, entered);
        Ok(())
    }

    fn has_room(&self, entered: &Entered) -> Result<(), Refusal> {
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        if self.established >= self.limits.established {
            return Err(Refusal::Established);
        }
        if entered.over_quic() && self.quic >= self.limits.quic {
            return Err(Refusal::Quic);
        }
        Ok(())
    }

    fn establish(&mut self, id: ConnectionId, peer: PeerId) -> Result<(), Refusal> {
        let dialled = Entered {
            way: None,
            host: None,
            peer: None,
        };
        let known = self.entered.get(&id);
        self.has_room(known.unwrap_or(&dialled))?;
        admit(&mut self.per_peer, peer, self.limits.per_peer).ok_or(Refusal::Peer)?;
        // One that we dialled was not entered before, nor counted as under way.
        if let Some(known) = known {
            release(&mut self.pending, known.way);
        }
        let entered = self.entered.entry(id).or_insert(dialled);
        entered.peer = Some(peer);
        self.established += 1;
        self.quic += usize::from(entered.over_quic());
        Ok(())
    }

    /// Forgets a connection; one that never got in is no error.
    fn leave(&mut self, id: ConnectionId) {
        let Some(entered) = self.entered.remove(&id) else {
            return;
        };
        if let Some(address) = entered.address() {
            release(&mut self.per_address, address);
        }
        match entered.peer {
            Some(peer) => {
                release(&mut self.per_peer, peer);
                self.established -= 1;
                self.quic -= usize::from(entered.over_quic());
            }
            None => release(&mut self.pending, entered.way),
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
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        // Ours names the transport; a peer's may be without it.
        self.0
            .enter(id, Transport::of(local), Host::of(remote))
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

    const TCP: Way = Some(Transport::Tcp);
    const QUIC: Way = Some(Transport::Quic);

    fn book() -> Book {
        Book::new(Limits {
            pending: 3,
            established: 4,
            quic: 1,
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
            assert_eq!(book.enter(id(number), TCP, None), Ok(()));
        }
        assert_eq!(book.enter(id(3), TCP, None), Err(Refusal::Pending));
        book.establish(id(0), PeerId::random()).unwrap();
        assert_eq!(book.enter(id(3), TCP, None), Ok(()));
        book.leave(id(1));
        assert_eq!(book.enter(id(4), TCP, None), Ok(()));
    }

    #[test]
    fn a_flood_over_one_transport_costs_no_other_its_handshakes() {
        let mut book = book();
        let host = host("/ip4/192.0.2.1/udp/1/quic-v1");
        for number in 0..2 {
            assert_eq!(book.enter(id(number), QUIC, host), Ok(()));
        }
        assert_eq!(book.enter(id(2), QUIC, host), Err(Refusal::Address));
        assert_eq!(book.enter(id(2), QUIC, None), Ok(()));
        assert_eq!(book.enter(id(3), QUIC, None), Err(Refusal::Pending));
        for (number, way) in [
            Transport::WebTransport,
            Transport::WebSocket,
            Transport::Tcp,
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(book.enter(id(4 + number), Some(way), None), Ok(()));
        }
        assert_eq!(book.enter(id(7), TCP, host), Ok(()));
    }

    #[test]
    fn connections_over_quic_are_bounded_apart() {
        let mut book = book();
        for number in 0..2 {
            book.enter(id(number), QUIC, None).unwrap();
        }
        assert_eq!(book.establish(id(0), PeerId::random()), Ok(()));
        let refused = book.establish(id(1), PeerId::random());
        assert_eq!(refused, Err(Refusal::Quic));
        assert_eq!(book.enter(id(2), QUIC, None), Err(Refusal::Quic));
        book.enter(id(3), TCP, None).unwrap();
        assert_eq!(book.establish(id(3), PeerId::random()), Ok(()));
        book.leave(id(0));
        assert_eq!(book.establish(id(1), PeerId::random()), Ok(()));
    }

    #[test]
    fn connections_of_one_peer_and_in_all_are_bounded() {
        let mut book = book();
        let peer = PeerId::random();
        for number in 0..2 {
            book.enter(id(number), TCP, None).unwrap();
            assert_eq!(book.establish(id(number), peer), Ok(()));
        }
        book.enter(id(2), TCP, None).unwrap();
        assert_eq!(book.establish(id(2), peer), Err(Refusal::Peer));
        book.leave(id(2));
        for number in 3..5 {
            book.enter(id(number), TCP, None).unwrap();
            book.establish(id(number), PeerId::random()).unwrap();
        }
        assert_eq!(book.enter(id(5), TCP, None), Err(Refusal::Established));
    }

    #[test]
    fn connections_of_one_address_are_bounded() {
        let mut book = book();
        let host = host("/ip4/192.0.2.1/tcp/1");
        assert_eq!(book.enter(id(0), TCP, host), Ok(()));
        assert_eq!(book.enter(id(1), TCP, host), Ok(()));
        assert_eq!(book.enter(id(2), TCP, host), Err(Refusal::Address));
        book.leave(id(2));
        book.leave(id(0));
        assert_eq!(book.enter(id(3), TCP, host), Ok(()));
    }

    #[test]
    fn a_leaving_node_lets_nobody_in() {
        let mut book = book();
        book.enter(id(0), TCP, None).unwrap();
        book.leaving = true;
        assert_eq!(book.enter(id(1), TCP, None), Err(Refusal::Leaving));
        let refused = book.establish(id(0), PeerId::random());
        assert_eq!(refused, Err(Refusal::Leaving));
    }

    #[test]
    fn when_all_have_left_nothing_is_remembered() {
        let mut book = book();
        for number in 0..2 {
            book.enter(id(number), TCP, host("/ip4/192.0.2.1/tcp/9"))
                .unwrap();
            book.establish(id(number), PeerId::random()).unwrap();
        }
        // One established, one refused at each bound, one whose handshake fails.
        let over_quic = host("/ip4/192.0.2.1/udp/9/quic-v1");
        book.enter(id(2), QUIC, over_quic).unwrap();
        book.enter(id(3), QUIC, over_quic).unwrap();
        assert_eq!(book.enter(id(4), QUIC, over_quic), Err(Refusal::Address));
        book.establish(id(2), PeerId::random()).unwrap();
        assert_eq!(book.establish(id(3), PeerId::random()), Err(Refusal::Quic));
        for number in 0..5 {
            book.leave(id(number));
        }
        assert!(book.pending.is_empty() && book.quic == 0);
        assert!(book.entered.is_empty() && book.per_address.is_empty() && book.per_peer.is_empty());
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
