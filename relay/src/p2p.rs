//! The libp2p node of the relay.

pub mod webtransport;
