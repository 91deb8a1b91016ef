//! The way to the node, which lives in one of the pages: a `MessagePort` and the questions on it.
//!
//! The port dies with its page or with this worker; neither says so. A worker without a port looks
//! for the page that owns the node by its Web Lock and asks it for one.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    rc::Rc,
};

use futures::channel::oneshot;
use sluice_core::{
    UnixMillis,
    bridge::{FromNode, FromWorker, NodeState, Ticket, ToNode, Trouble},
    fetch::{Silence, Urgency},
    wire::Priority,
};
use sluice_web::{clock, envelope};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, MessagePort};

use crate::{
    blocks::{Answer, Kind, Want},
    report,
};

/// Most questions open at once; further ones go elsewhere.
const MAX_QUESTIONS: usize = 64;

/// The port to the node, if any. Shared by every reader.
#[derive(Default)]
pub(crate) struct NodeLink {
    line: RefCell<Option<Line>>,
    online: Cell<bool>,
    questions: RefCell<HashMap<Ticket, oneshot::Sender<Answer>>>,
    next_ticket: Cell<Ticket>,
    silence: Cell<Silence>,
    looked: Cell<bool>,
}

struct Line {
    port: MessagePort,
    /// Held so that the port can call it.
    _listener: Closure<dyn FnMut(MessageEvent)>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.port.set_onmessage(None);
        self.port.close();
    }
}

impl NodeLink {
    /// Whether the node said it is connected. Looks for a node once when there is no port.
    pub(crate) fn is_online(&self) -> bool {
        if self.line.borrow().is_none() && !self.looked.replace(true) {
            report::to_node_owner(FromWorker::NeedNode);
        }
        self.online.get()
    }

    /// Takes the port that page `_client` posted; the one before is closed.
    pub(crate) fn attach(self: &Rc<Self>, port: MessagePort, _client: String) {
        self.hang_up();
        let this = Rc::downgrade(self);
        let listener = Closure::new(move |event: MessageEvent| {
            if let Some(this) = this.upgrade()
                && let Some((message, payload)) = envelope::unwrap::<FromNode>(&event.data())
            {
                this.hear(message, payload);
            }
        });
        port.set_onmessage(Some(listener.as_ref().unchecked_ref()));
        envelope::post(&port, &ToNode::Watch, None);
        *self.line.borrow_mut() = Some(Line {
            port,
            _listener: listener,
        });
    }

    /// Asks the node for a block. Dropping the future takes the question back.
    pub(crate) fn ask(
        self: Rc<Self>,
        want: Want,
        urgency: Urgency,
    ) -> impl Future<Output = Answer> + 'static {
        let question = self.pose(want, urgency);
        async move {
            let Some((question, answer)) = question else {
                return Err(Trouble::Busy);
            };
            let answer = answer.await.unwrap_or(Err(Trouble::Unreachable));
            question.answered.set(true);
            answer
        }
    }

    fn pose(
        self: &Rc<Self>,
        want: Want,
        urgency: Urgency,
    ) -> Option<(Question, oneshot::Receiver<Answer>)> {
        let line = self.line.borrow();
        let port = &line.as_ref()?.port;
        if self.questions.borrow().len() >= MAX_QUESTIONS {
            return None;
        }
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket.wrapping_add(1));
        let (sender, receiver) = oneshot::channel();
        self.questions.borrow_mut().insert(ticket, sender);
        let message = match want.kind {
            Kind::Block { .. } => ToNode::Block {
                ticket,
                content: want.content,
                digest: want.digest,
            },
            Kind::Chunk { file, index } => ToNode::Chunk {
                ticket,
                content: want.content,
                file,
                index,
                digest: want.digest,
                priority: priority(urgency).0,
            },
        };
        envelope::post(port, &message, None);
        let question = Question {
            link: Rc::clone(self),
            ticket,
            asked: clock::now(),
            answered: Cell::new(false),
        };
        Some((question, receiver))
    }

    fn hear(&self, message: FromNode, payload: Option<Vec<u8>>) {
        let mut silence = self.silence.get();
        silence.heard(clock::now());
        self.silence.set(silence);
        match (message, payload) {
            (FromNode::Found { ticket, origin }, Some(bytes)) => {
                self.settle(ticket, Ok((bytes, origin)));
            }
            (FromNode::Found { ticket, .. }, None) => self.settle(ticket, Err(Trouble::Wrong)),
            (FromNode::Failed { ticket, attempt }, _) => {
                self.settle(ticket, Err(attempt.trouble));
            }
            (FromNode::Status(status), _) => {
                self.online.set(status.state == NodeState::Online);
            }
        }
    }

    fn settle(&self, ticket: Ticket, answer: Answer) {
        if let Some(sender) = self.questions.borrow_mut().remove(&ticket) {
            // Whoever stopped waiting has no use for it.
            let _ = sender.send(answer);
        }
    }

    /// A question was given up without an answer.
    fn give_up(&self, ticket: Ticket, asked: UnixMillis) {
        if self.questions.borrow_mut().remove(&ticket).is_none() {
            return;
        }
        if let Some(line) = self.line.borrow().as_ref() {
            envelope::post(&line.port, &ToNode::Cancel(ticket), None);
        }
        let mut silence = self.silence.get();
        let dead = silence.abandoned(asked, clock::now());
        self.silence.set(silence);
        if dead {
            // The page that owned the node is gone or stuck: do without until a new port comes.
            self.hang_up();
            self.looked.set(false);
        }
    }

    fn hang_up(&self) {
        self.online.set(false);
        self.silence.set(Silence::default());
        self.questions.borrow_mut().clear();
        *self.line.borrow_mut() = None;
    }
}

struct Question {
    link: Rc<NodeLink>,
    ticket: Ticket,
    asked: UnixMillis,
    answered: Cell<bool>,
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.answered.get() {
            self.link.give_up(self.ticket, self.asked);
        }
    }
}

const fn priority(urgency: Urgency) -> Priority {
    match urgency {
        Urgency::First | Urgency::Now => Priority::URGENT,
        Urgency::Ahead => Priority::SOON,
    }
}
