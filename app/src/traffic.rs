//! Where the bytes of one work came from, as the service worker reports them, and how that is shown.

use sluice_core::bridge::{Origin, Transport};

use crate::format;

/// Sealed bytes delivered to the player since this page was opened, by source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// This browser's own store.
    pub store: u64,
    /// Other tabs.
    pub peers: u64,
    /// Relays over libp2p.
    pub relays: u64,
    /// Relays over HTTP.
    pub gateways: u64,
}

impl Traffic {
    /// Takes in one delivery.
    pub fn add(&mut self, origin: Origin, bytes: u64) {
        let counter = match origin {
            Origin::Store => &mut self.store,
            Origin::Peer => &mut self.peers,
            Origin::Relay => &mut self.relays,
            Origin::Gateway => &mut self.gateways,
        };
        *counter = counter.saturating_add(bytes);
    }

    /// Relays, whichever way.
    #[must_use]
    pub fn servers(&self) -> u64 {
        self.relays.saturating_add(self.gateways)
    }

    /// Everything that came over the network.
    #[must_use]
    pub fn downloaded(&self) -> u64 {
        self.peers.saturating_add(self.servers())
    }

    /// Everything the player got.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.store.saturating_add(self.downloaded())
    }

    /// The three shares store, peers, servers in whole percent of the total. They end at exactly 100 together
    /// unless there is nothing: the last one that has bytes takes what rounding lost.
    #[must_use]
    pub fn shares(&self) -> [u64; 3] {
        let parts = [self.store, self.peers, self.servers()];
        let mut shares = parts.map(|part| format::percent(part, self.total()));
        if let Some(last) = parts.iter().rposition(|&part| part > 0) {
            let shown = shares.iter().sum::<u64>();
            shares[last] += 100u64.saturating_sub(shown);
        }
        shares
    }

    /// By which way the relay's bytes came, for the chip: a node that is connected but carried nothing did not.
    #[must_use]
    pub fn carrier(&self, node: Option<Transport>) -> &'static str {
        node.filter(|_| self.relays > 0)
            .map_or(HTTP, Transport::name)
    }
}

/// The way to the relay where no node is connected.
pub const HTTP: &str = "http";

/// A transport's name as it is written in a sentence.
#[must_use]
pub fn proper_name(transport: &str) -> &'static str {
    match transport {
        "webtransport" => "WebTransport",
        "websocket" => "WebSocket",
        _ => "HTTP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_is_counted_once() {
        let mut traffic = Traffic::default();
        for (origin, bytes) in [
            (Origin::Store, 1),
            (Origin::Peer, 20),
            (Origin::Relay, 300),
            (Origin::Gateway, 4000),
            (Origin::Store, 1),
        ] {
            traffic.add(origin, bytes);
        }
        assert_eq!(
            traffic,
            Traffic {
                store: 2,
                peers: 20,
                relays: 300,
                gateways: 4000
            }
        );
        assert_eq!(
            (traffic.servers(), traffic.downloaded(), traffic.total()),
            (4300, 4320, 4322)
        );
    }

    #[test]
    fn a_hostile_count_does_not_overflow() {
        let mut traffic = Traffic::default();
        for origin in [
            Origin::Store,
            Origin::Peer,
            Origin::Relay,
            Origin::Gateway,
            Origin::Peer,
        ] {
            traffic.add(origin, u64::MAX);
        }
        assert_eq!(traffic.total(), u64::MAX);
        assert_eq!(traffic.shares().len(), 3);
    }

    #[test]
    fn shares_fill_the_bar() {
        let thirds = Traffic {
            store: 1,
            peers: 1,
            relays: 0,
            gateways: 1,
        };
        assert_eq!(thirds.shares(), [33, 33, 34]);
        assert_eq!(
            Traffic {
                store: 7,
                ..Traffic::default()
            }
            .shares(),
            [100, 0, 0]
        );
        assert_eq!(Traffic::default().shares(), [0, 0, 0]);
    }

    #[test]
    fn a_connected_node_that_carried_nothing_is_not_the_carrier() {
        let online = Some(Transport::WebTransport);
        assert_eq!(
            Traffic {
                gateways: 9,
                ..Traffic::default()
            }
            .carrier(online),
            "http"
        );
        assert_eq!(
            Traffic {
                relays: 9,
                ..Traffic::default()
            }
            .carrier(online),
            "webtransport"
        );
        assert_eq!(
            Traffic {
                relays: 9,
                ..Traffic::default()
            }
            .carrier(None),
            "http"
        );
    }

    #[test]
    fn transports_have_proper_names() {
        assert_eq!(proper_name(Transport::WebTransport.name()), "WebTransport");
        assert_eq!(proper_name(Transport::WebSocket.name()), "WebSocket");
        assert_eq!(proper_name("http"), "HTTP");
    }
}
