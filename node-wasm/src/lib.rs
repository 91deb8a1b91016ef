//! The libp2p node of a tab.
//!
//! Loaded late, as a module of its own, by whichever page gets to it first; the page hands it one
//! port and hears its status there. Other askers (the service worker) get ports through that one.
//! It connects to the page's relay, WebTransport first, and fetches blocks over the chunk protocol.
//!
//! # Invariants
//!
//! - A block is handed out and stored only after its hash was checked.
//! - The loop that reads a stream waits for nothing but the stream.

#![cfg(target_arch = "wasm32")]

mod desk;
mod link;
mod session;
mod status;

use std::rc::Rc;

use wasm_bindgen::prelude::*;
use web_sys::MessagePort;

use crate::{desk::Desk, link::Link, status::StatusBoard};

/// Starts the node of this page; it answers on `port` and lives as long as the page.
///
/// The page calls it once, while it holds the Web Lock `sluice-node`: one node per browser.
#[wasm_bindgen]
pub fn start(port: MessagePort) {
    let status = Rc::new(StatusBoard::default());
    let desk = Desk::open(Rc::clone(&status));
    desk.attach(port);
    wasm_bindgen_futures::spawn_local(async move {
        match Link::new(desk, Rc::clone(&status)) {
            Ok(link) => link.run().await,
            Err(error) => status.change(|status| {
                status.trouble = Some(format!("the node could not start: {error}"));
            }),
        }
    });
}
