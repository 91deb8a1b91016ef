//! Where questions come in: the ports of the page and the service worker.
//!
//! Each question becomes a task; its answer goes back over the port it came by. A question that is
//! cancelled, or whose port was replaced, stops its task and with it the request on the wire.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use futures::{
    FutureExt,
    future::{AbortHandle, Abortable, LocalBoxFuture, Shared},
};
use sluice_core::{
    ContentId, Digest,
    bridge::{Attempt, FromNode, Origin, Ticket, ToNode, Trouble},
    wire::Priority,
};
use sluice_web::{
    envelope,
    idb_store::IndexedDbStore,
    keep::{self, Shelf},
    store::ChunkKey,
};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, MessagePort};

use crate::{
    session::{Item, Sessions},
    status::StatusBoard,
};

/// Most questions open on one port; further ones are answered [`Trouble::Busy`].
const MAX_QUESTIONS: usize = 128;

/// Most ports served; the oldest is dropped. One page and one service worker use two.
const MAX_PORTS: usize = 8;

/// The node's front desk.
pub(crate) struct Desk {
    status: Rc<StatusBoard>,
    ports: RefCell<Vec<Rc<Counter>>>,
    sessions: RefCell<Option<Sessions>>,
    /// Opened by the first block to be kept; whoever comes meanwhile waits for the same opening.
    store: Shared<LocalBoxFuture<'static, Option<IndexedDbStore>>>,
}

/// One port and the questions open on it.
struct Counter {
    port: MessagePort,
    open: RefCell<HashMap<Ticket, AbortHandle>>,
    _listener: Closure<dyn FnMut(MessageEvent)>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.port.set_onmessage(None);
        self.port.close();
        for question in self.open.borrow().values() {
            question.abort();
        }
    }
}

impl Desk {
    pub(crate) fn open(status: Rc<StatusBoard>) -> Rc<Self> {
        Rc::new(Self {
            status,
            ports: RefCell::default(),
            sessions: RefCell::default(),
            store: async { IndexedDbStore::open().await.ok() }
                .boxed_local()
                .shared(),
        })
    }

    /// The way to the relay; `None` while there is none.
    pub(crate) fn route(&self, sessions: Option<Sessions>) {
        *self.sessions.borrow_mut() = sessions;
    }

    /// Serves one more port.
    pub(crate) fn attach(self: &Rc<Self>, port: MessagePort) {
        let counter = Rc::new_cyclic(|counter: &std::rc::Weak<Counter>| {
            let (desk, counter) = (Rc::downgrade(self), counter.clone());
            let listener = Closure::new(move |event: MessageEvent| {
                if let (Some(desk), Some(counter)) = (desk.upgrade(), counter.upgrade())
                    && let Some((message, _)) = envelope::unwrap::<ToNode>(&event.data())
                {
                    desk.hear(&counter, message, envelope::transferred_port(&event));
                }
            });
            port.set_onmessage(Some(listener.as_ref().unchecked_ref()));
            Counter {
                port,
                open: RefCell::default(),
                _listener: listener,
            }
        });
        let mut ports = self.ports.borrow_mut();
        if ports.len() == MAX_PORTS {
            // The first is the page's own and lives as long as we do.
            ports.remove(1);
        }
        ports.push(counter);
    }

    fn hear(self: &Rc<Self>, counter: &Rc<Counter>, message: ToNode, port: Option<MessagePort>) {
        match message {
            ToNode::Attach => {
                if let Some(port) = port {
                    self.attach(port);
                }
            }
            ToNode::Watch => self.status.watch(counter.port.clone()),
            ToNode::Cancel(ticket) => {
                if let Some(question) = counter.open.borrow_mut().remove(&ticket) {
                    question.abort();
                }
            }
            ToNode::Block {
                ticket,
                content,
                digest,
            } => {
                let shelf = Shelf::Block(content, digest);
                self.answer(counter, ticket, content, shelf, Item::Block(digest), digest);
            }
            ToNode::Chunk {
                ticket,
                content,
                file,
                index,
                digest,
                priority,
            } => {
                let shelf = Shelf::Chunk(ChunkKey {
                    content,
                    file,
                    index,
                });
                let item = Item::Chunk(file, index, Priority(priority));
                self.answer(counter, ticket, content, shelf, item, digest);
            }
        }
    }

    fn answer(
        self: &Rc<Self>,
        counter: &Rc<Counter>,
        ticket: Ticket,
        content: ContentId,
        shelf: Shelf,
        item: Item,
        digest: Digest,
    ) {
        let refuse = |trouble| {
            let attempt = Attempt {
                origin: Origin::Relay,
                trouble,
            };
            envelope::post(&counter.port, &FromNode::Failed { ticket, attempt }, None);
        };
        let Some(sessions) = self.sessions.borrow().clone() else {
            return refuse(Trouble::Unreachable);
        };
        if counter.open.borrow().len() >= MAX_QUESTIONS {
            return refuse(Trouble::Busy);
        }
        let (abort, registration) = AbortHandle::new_pair();
        counter.open.borrow_mut().insert(ticket, abort);
        let (desk, counter) = (Rc::clone(self), Rc::downgrade(counter));
        let task = async move {
            // A store slower than the network must slow the network, not fill the memory.
            if let Some(store) = desk.store.clone().await {
                store.room().await;
            }
            let found = sessions.request(content, item).await;
            let found = found.and_then(|bytes| {
                if digest.matches(&bytes) {
                    Ok(bytes)
                } else {
                    Err(Trouble::Wrong)
                }
            });
            let Some(counter) = counter.upgrade() else {
                return;
            };
            counter.open.borrow_mut().remove(&ticket);
            match found {
                Ok(bytes) => {
                    let origin = Origin::Relay;
                    let found = FromNode::Found { ticket, origin };
                    envelope::post(&counter.port, &found, Some(&bytes));
                    // Playback has its copy; storing goes on beside it.
                    wasm_bindgen_futures::spawn_local(desk.keep(shelf, bytes));
                }
                Err(trouble) => {
                    let attempt = Attempt {
                        origin: Origin::Relay,
                        trouble,
                    };
                    envelope::post(&counter.port, &FromNode::Failed { ticket, attempt }, None);
                }
            }
        };
        wasm_bindgen_futures::spawn_local(async move {
            // Aborted: whoever asked does not want the answer.
            let _ = Abortable::new(task, registration).await;
        });
    }

    async fn keep(self: Rc<Self>, shelf: Shelf, bytes: Vec<u8>) {
        if let Some(store) = self.store.clone().await {
            keep::keep(store, shelf, Rc::new(bytes)).await;
        }
    }
}
