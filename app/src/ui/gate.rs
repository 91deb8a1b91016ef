//! A condition that opens once or again, and tasks that wait for it with a limit.

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use leptos::prelude::*;
use sluice_web::clock;

/// Most tasks that wait at one gate; a further one is told that it stayed shut. A page has two or three.
const MAX_WAITERS: usize = 16;

#[derive(Default)]
struct Inner {
    open: bool,
    waiters: Vec<oneshot::Sender<()>>,
}

/// A condition that tasks wait for.
#[derive(Clone, Copy)]
pub(crate) struct Gate(StoredValue<Inner>);

impl Gate {
    /// A shut gate. Belongs to the root, so it outlives every page.
    pub(crate) fn new() -> Self {
        Self(StoredValue::new(Inner::default()))
    }

    /// Opens or shuts it. Opening lets everybody who waits go on.
    pub(crate) fn set(self, open: bool) {
        self.0.update_value(|inner| {
            inner.open = open;
            if open {
                for waiter in inner.waiters.drain(..) {
                    // Whoever gave up waiting does not listen any more.
                    let _ = waiter.send(());
                }
            }
        });
    }

    /// Waits until it is open, at most so many milliseconds. `false` if it stayed shut.
    pub(crate) async fn opens_within(self, patience_ms: u64) -> bool {
        let (sender, opened) = oneshot::channel();
        let now_open = self.0.try_update_value(|inner| {
            inner.waiters.retain(|waiter| !waiter.is_canceled());
            if !inner.open && inner.waiters.len() < MAX_WAITERS {
                inner.waiters.push(sender);
            }
            inner.open
        });
        if now_open == Some(true) {
            return true;
        }
        let deadline = clock::now().plus(patience_ms);
        match select(opened, Box::pin(clock::until(deadline))).await {
            Either::Left((opened, _)) => opened.is_ok(),
            Either::Right(_) => false,
        }
    }
}
