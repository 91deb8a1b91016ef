//! The native relay: data folder, publisher, HTTP gateway and libp2p node of Sluice.
//!
//! The binary `sluice` is a thin shell around this library. Every format and decision lives in
//! `sluice-core`; here are the disk, the sockets and the clock.

pub mod commands;
pub mod config;
pub mod fetch;
pub mod http;
pub mod metrics;
pub mod p2p;
pub mod publish;
pub mod serve;
pub mod store;
