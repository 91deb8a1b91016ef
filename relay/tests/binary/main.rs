//! The binary `sluice` as a person runs it: real processes, real folders, real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod crash;
mod gateway;
mod harness;
mod manual;
mod pages;
mod publish;
mod serve;
mod tls;
