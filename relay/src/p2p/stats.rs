//! What the node counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// How a peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A browser's first choice.
    WebTransport,
    /// A browser's second choice.
    WebSocket,
    /// Native peers.
    Quic,
    /// Native peers where UDP does not pass.
    Tcp,
}

impl Transport {
    /// All of them, best first from a browser's point of view.
    pub const ALL: [Self; 4] = [Self::WebTransport, Self::WebSocket, Self::Quic, Self::Tcp];

    /// As in flags and metrics: `webtransport`, `ws`, `quic`, `tcp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebTransport => "webtransport",
            Self::WebSocket => "ws",
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }

    /// The transport of an address; `None` if it is none of ours.
    pub fn of(addr: &Multiaddr) -> Option<Self> {
        addr.iter()
            .filter_map(|part| match part {
                Protocol::WebTransport => Some(Self::WebTransport),
                Protocol::Ws(_) | Protocol::Wss(_) => Some(Self::WebSocket),
                Protocol::QuicV1 => Some(Self::Quic),
                Protocol::Tcp(_) => Some(Self::Tcp),
                _ => None,
            })
            // The outermost layer names it: WebTransport runs over QUIC, WebSocket over TCP.
            .min()
    }
}

/// Figures of a node at one moment. All but the gauges count from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Gauge: connections that exist, in the order of [`Transport::ALL`].
    pub connections: [u64; 4],
    /// Connections that came about.
    pub connections_opened: u64,
    /// Connections that failed in the handshake or were refused.
    pub connections_failed: u64,
    /// Gauge: chunk streams that exist.
    pub streams: u64,
    /// Chunk streams refused because there were too many.
    pub streams_refused: u64,
    /// Chunk requests received.
    pub chunk_requests: u64,
    /// Sealed chunks sent.
    pub chunks_sent: u64,
    /// Manifests, cards, hash pages and posters sent.
    pub blocks_sent: u64,
    /// Bytes of all frames sent.
    pub bytes_sent: u64,
    /// Requests answered that we do not have it.
    pub misses: u64,
    /// Chunk requests answered busy.
    pub busy: u64,
    /// Chunk requests taken back before they were served.
    pub cancelled: u64,
    /// Frames that broke the protocol, and with it their stream: too long, malformed, out of order.
    pub frames_refused: u64,
    /// Streams closed because the peer did not read.
    pub slow_readers: u64,
}

/// The live counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: [Counter; 4],
    pub(crate) connections_opened: Counter,
    pub(crate) connections_failed: Counter,
    pub(crate) streams: Counter,
    pub(crate) streams_refused: Counter,
    pub(crate) chunk_requests: Counter,
    pub(crate) chunks_sent: Counter,
    pub(crate) blocks_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) misses: Counter,
    pub(crate) busy: Counter,
    pub(crate) cancelled: Counter,
    pub(crate) frames_refused: Counter,
    pub(crate) slow_readers: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            connections: self.connections.each_ref().map(Counter::get),
            connections_opened: self.connections_opened.get(),
            connections_failed: self.connections_failed.get(),
            streams: self.streams.get(),
            streams_refused: self.streams_refused.get(),
            chunk_requests: self.chunk_requests.get(),
            chunks_sent: self.chunks_sent.get(),
            blocks_sent: self.blocks_sent.get(),
            bytes_sent: self.bytes_sent.get(),
            misses: self.misses.get(),
            busy: self.busy.get(),
            cancelled: self.cancelled.get(),
            frames_refused: self.frames_refused.get(),
            slow_readers: self.slow_readers.get(),
        }
    }

    /// The gauge of a transport's connections.
    pub(crate) fn connections_over(&self, transport: Transport) -> &Counter {
        &self.connections[transport as usize]
    }
}

/// A number that tasks share. Reads may be a moment old.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn one_more(&self) {
        self.add(1);
    }

    pub(crate) fn one_less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_by_its_outermost_layer() {
        for (addr, want) in [
            (
                "/ip4/192.0.2.1/udp/1/quic-v1/webtransport",
                Some(Transport::WebTransport),
            ),
            ("/ip4/192.0.2.1/udp/1/quic-v1", Some(Transport::Quic)),
            (
                "/dns4/example.org/tcp/443/tls/ws",
                Some(Transport::WebSocket),
            ),
            ("/dns4/example.org/tcp/443/wss", Some(Transport::WebSocket)),
            ("/ip6/::1/tcp/1", Some(Transport::Tcp)),
            ("/memory/1", None),
        ] {
            assert_eq!(Transport::of(&addr.parse().unwrap()), want, "{addr}");
        }
    }

    #[test]
    fn gauges_are_in_the_order_of_all() {
        for (index, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, index);
        }
    }
}
