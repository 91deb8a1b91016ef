//! Every decision Sluice takes, without I/O.
//!
//! Formats, sealing, byte ranges, wire frames, bridge messages and source selection live here as
//! pure, synchronous code. Time, randomness and peers' bytes come in as arguments, so the relay,
//! the tab's node, the service worker and `cargo test` run the very same functions.
//!
//! # Invariants
//!
//! - Nothing here opens a file, a socket or a clock, or can fail for a reason outside its arguments.
//! - Every decoder bounds its input before it allocates and refuses what is not canonical.
//! - Keys never appear in `Debug` output.
//!
//! The normative text of every format is `docs/PROTOCOL.md`.

pub mod bridge;
pub mod card;
pub mod chunk;
pub mod creator;
pub mod dial;
pub mod fetch;
pub mod link;
pub mod manifest;
pub mod media;
pub mod page;
pub mod path;
pub mod range;
pub mod seal;
pub mod stream;
pub mod wire;

mod canonical;

pub use chunk::{ChunkIndex, FileIndex};
pub use link::{ContentId, Digest, Link};

/// Milliseconds since 1970-01-01T00:00:00Z, as the caller's clock has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This instant moved `ms` milliseconds later; it stays at the far end rather than wrap.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
