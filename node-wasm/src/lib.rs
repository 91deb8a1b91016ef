//! The libp2p node of a tab.
//!
//! Loaded late, as a module of its own, by whichever page gets to it first; the page hands it one
//! port and hears its status there. Other askers (the service worker) get ports through that one.
//! It connects to the page's relay, WebTransport first, and fetches blocks over the chunk protocol.
//!
//! # Invariants
//!
//! - One node per browser: it runs only while this page holds the Web Lock.
//! - A block is handed out and stored only after its hash was checked.
//! - The loop that reads a stream waits for nothing but the stream.

#![cfg(target_arch = "wasm32")]

mod desk;
mod link;
mod lock;
mod session;
mod status;

use std::rc::Rc;

use wasm_bindgen::prelude::*;
use web_sys::MessagePort;

use crate::{desk::Desk, link::Link, status::StatusBoard};

/// Starts the node of this page; it answers on `port` and lives as long as the page.
#[wasm_bindgen]
pub fn start(port: MessagePort) {
    let status = Rc::new(StatusBoard::default());
    let desk = Desk::open(Rc::clone(&status));
    desk.attach(port);
    wasm_bindgen_futures::spawn_local(async move {
        status.change(|status| {
            status.trouble = Some(
                "another tab of this browser runs the node; this one takes over when it closes"
                    .into(),
            );
        });
        lock::hold().await;
        status.change(|status| status.trouble = None);
        match Link::new(desk, Rc::clone(&status)) {
            Ok(link) => link.run().await,
            Err(error) => status.change(|status| {
                status.trouble = Some(format!("the node could not start: {error}"));
            }),
        }
    });
}
