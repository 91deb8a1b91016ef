//! What the node says of itself, to every port that asked to be told.

use std::{cell::RefCell, time::Duration};

use gloo::timers::future::sleep;
use sluice_core::bridge::{FromNode, NodeStatus};
use sluice_web::envelope;
use web_sys::MessagePort;

/// Most ports told; the longest there but the page's own is dropped. One page and one service worker use two.
const MAX_WATCHERS: usize = 8;

/// How often byte counts are told while they change.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The current status and who watches it.
#[derive(Default)]
pub(crate) struct StatusBoard {
    status: RefCell<NodeStatus>,
    watchers: RefCell<Vec<MessagePort>>,
    told: RefCell<Option<NodeStatus>>,
}

impl StatusBoard {
    /// Tells `port` the status now and on every change.
    pub(crate) fn watch(&self, port: MessagePort) {
        envelope::post(&port, &FromNode::Status(self.status.borrow().clone()), None);
        let mut watchers = self.watchers.borrow_mut();
        if watchers.len() == MAX_WATCHERS {
            // The first is the page's own and lives as long as we do.
            watchers.remove(1);
        }
        watchers.push(port);
    }

    /// Changes the status and tells everybody at once.
    pub(crate) fn change(&self, change: impl FnOnce(&mut NodeStatus)) {
        change(&mut self.status.borrow_mut());
        self.tell();
    }

    /// Counts bytes; told by [`StatusBoard::keep_telling`].
    pub(crate) fn count(&self, received: u64, sent: u64) {
        let mut status = self.status.borrow_mut();
        status.received += received;
        status.sent += sent;
    }

    /// Tells counts as they change, forever.
    pub(crate) async fn keep_telling(&self) {
        loop {
            sleep(COUNT_EVERY).await;
            self.tell();
        }
    }

    fn tell(&self) {
        let status = self.status.borrow().clone();
        if self.told.borrow().as_ref() == Some(&status) {
            return;
        }
        for port in self.watchers.borrow().iter() {
            envelope::post(port, &FromNode::Status(status.clone()), None);
        }
        *self.told.borrow_mut() = Some(status);
    }
}
