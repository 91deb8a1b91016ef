//! What browsers do, once: IndexedDB, message ports, timers, WebCrypto, fetch.
//!
//! The page, the node and the service worker share this crate, so each browser API is met in one
//! place. It decides nothing: decisions are in `sluice-core`.
//!
//! # Invariants
//!
//! - No plaintext and no paid work's key goes through [`store`]: it holds sealed chunks and public blocks.
//! - Everything here runs on the thread that made it; nothing is `Send`.

pub mod store;

#[cfg(target_arch = "wasm32")]
pub mod clock;
#[cfg(target_arch = "wasm32")]
pub mod envelope;
#[cfg(target_arch = "wasm32")]
pub mod gateway;
#[cfg(target_arch = "wasm32")]
pub mod idb_store;
#[cfg(target_arch = "wasm32")]
pub mod keep;
#[cfg(target_arch = "wasm32")]
pub mod library;
#[cfg(target_arch = "wasm32")]
pub mod opener;
