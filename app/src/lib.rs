//! The pages people see. No protocol logic: what is true comes from `sluice-core` through `sluice-web`.
//!
//! The modules at this level decide words, numbers and keys, touch no browser and are tested by
//! `cargo test -p sluice-app`. Everything that needs a document lives in `ui`, which exists on wasm32 only.
//!
//! # Invariants
//!
//! - No style attribute and no markup from strings: the page's policy allows neither.
//! - Nothing here waits for the libp2p node before the first frame is on the screen.

pub mod failure;
pub mod format;
pub mod meter;
pub mod retry;
pub mod route;
pub mod settings;
pub mod shortcut;
pub mod stage;
pub mod traffic;
#[cfg(target_arch = "wasm32")]
pub mod ui;
pub mod work;
