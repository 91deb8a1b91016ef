//! The native relay: data folder, publisher, HTTP gateway and libp2p node of Sluice.
//!
//! The binary `sluice` is a thin shell around this library. Every format and decision lives in
//! `sluice-core`; here are the disk, the sockets and the clock.

pub mod fetch;
pub mod p2p;
pub mod publish;
pub mod store;
