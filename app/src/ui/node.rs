//! The libp2p node as the pages see it: a module of its own, loaded late, spoken to over a port.
//!
//! One tab of a browser runs it: whoever holds the Web Lock. The others hear of its state on a channel, and the
//! next in the queue takes over when that tab goes.
//!
//! # Invariants
//!
//! - Nothing is fetched for it before [`Node::start`], which the watch page calls after the first frame.
//! - In private mode ([`NodeMode::GatewayOnly`]) it is not fetched at all.

use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use leptos::prelude::*;
use send_wrapper::SendWrapper;
use sluice_core::bridge::{FromNode, NODE_LOCK, NodeState, NodeStatus, ToNode, ToWorker};
use sluice_web::envelope;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{BroadcastChannel, MessageChannel, MessageEvent, MessagePort};

use super::{
    dom,
    gate::Gate,
    lock::{self, Mode},
    prefs::Prefs,
    view::{after, effect},
    worker::{State, Worker},
};
use crate::settings::NodeMode;

/// How long a page without a player waits before it starts the node: its own pictures come first.
const IDLE: Duration = Duration::from_secs(3);

/// Where that tab says how the node is.
const CHANNEL: &str = "sluice-node-status";

/// What a tab says on the channel to be told.
const ASK: &str = "status?";

/// The node's signals. One per page.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    /// What the node last said of itself, here or in the tab that runs it.
    pub status: RwSignal<NodeStatus>,
    /// Whether this page asked for a node.
    pub started: RwSignal<bool>,
    /// Whether this very page runs it.
    pub here: RwSignal<bool>,
    online: Gate,
    port: StoredValue<Option<SendWrapper<MessagePort>>>,
    channel: StoredValue<Option<SendWrapper<BroadcastChannel>>>,
    said: StoredValue<Option<SendWrapper<JsValue>>>,
    prefs: Prefs,
    worker: Worker,
}

impl Node {
    /// A node that is not loaded. Call once, at the root, after [`Prefs`] and [`Worker`].
    pub(crate) fn new(prefs: Prefs, worker: Worker) -> Self {
        let node = Self {
            status: RwSignal::new(NodeStatus::default()),
            started: RwSignal::new(false),
            here: RwSignal::new(false),
            online: Gate::new(),
            port: StoredValue::new(None),
            channel: StoredValue::new(None),
            said: StoredValue::new(None),
            worker,
            prefs,
        };
        effect(move || {
            worker.wants_node.track();
            if worker.state.with(|state| *state == State::Controlling) {
                node.hand_to(worker);
            }
        });
        node
    }

    /// Sees to it that a node runs in this browser, unless the reader chose against it.
    pub(crate) fn start(self) {
        if self.started.get_untracked() || self.prefs.node.get_untracked() == NodeMode::GatewayOnly
        {
            return;
        }
        self.started.set(true);
        self.tune_in();
        let run = move || {
            spawn_local(async move {
                if let Err(error) = self.load().await {
                    self.status
                        .update(|status| status.trouble = Some(dom::message(&error)));
                }
            });
        };
        // Never let go: it is free again when the tab goes, and the next tab in the queue runs the node.
        if lock::request(NODE_LOCK, Mode::Exclusive, run).is_none() {
            run();
        }
    }

    /// Starts the node, and has the pages stored, once nothing else is going on.
    pub(crate) fn start_when_idle(self, worker: Worker) {
        after(IDLE, move || {
            self.start();
            worker.keep_shell();
        });
    }

    /// Starts the node and waits until it has a relay; `false` if it has none in so many milliseconds, or is
    /// switched off.
    pub(crate) async fn online_within(self, patience_ms: u64) -> bool {
        self.start();
        self.prefs.node.get_untracked() == NodeMode::On
            && self.online.opens_within(patience_ms).await
    }

    async fn load(self) -> Result<(), JsValue> {
        let module = import(&address()?).await?;
        let initialise: Function = Reflect::get(&module, &"default".into())?.dyn_into()?;
        JsFuture::from(
            initialise
                .call0(&JsValue::UNDEFINED)?
                .dyn_into::<Promise>()?,
        )
        .await?;
        let start: Function = Reflect::get(&module, &"start".into())?.dyn_into()?;
        let channel = MessageChannel::new()?;
        start.call1(&JsValue::UNDEFINED, &channel.port2())?;
        self.here.set(true);
        self.listen(channel.port1());
        Ok(())
    }

    fn listen(self, port: MessagePort) {
        let heard = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(status) = status_in(&event.data()) {
                self.learn(status);
                self.said.set_value(Some(SendWrapper::new(event.data())));
                self.tell_others();
            }
        });
        port.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        // As long as the page: there is one node and no way to stop it but to leave.
        heard.forget();
        envelope::post(&port, &ToNode::Watch, None);
        self.port.set_value(Some(SendWrapper::new(port)));
        self.hand_to(self.worker);
    }

    fn learn(self, status: NodeStatus) {
        self.online.set(status.state == NodeState::Online);
        self.status.set(status);
    }

    /// Listens to the tab that runs the node; asks it to say again how it is, while it is another one.
    fn tune_in(self) {
        // Without the channel this page shows no state of a node elsewhere; nothing else depends on it.
        let Ok(channel) = BroadcastChannel::new(CHANNEL) else {
            return;
        };
        let heard = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let data = event.data();
            if !self.here.get_untracked() {
                if let Some(status) = status_in(&data) {
                    self.learn(status);
                }
            } else if data.as_string().as_deref() == Some(ASK) {
                self.tell_others();
            }
        });
        channel.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        heard.forget();
        // Fails only for values that cannot be cloned.
        let _ = channel.post_message(&ASK.into());
        self.channel.set_value(Some(SendWrapper::new(channel)));
    }

    /// Passes on to the other tabs what the node said last.
    fn tell_others(self) {
        let channel = self.channel.get_value();
        if let (Some(channel), Some(said)) = (channel, self.said.get_value()) {
            // Fails only for values that cannot be cloned; this one came here as a clone.
            let _ = channel.post_message(&said);
        }
    }

    /// Gives the service worker a port of its own to the node, if it runs here.
    fn hand_to(self, worker: Worker) {
        self.port.with_value(|port| {
            let (Some(port), Ok(channel)) = (port, MessageChannel::new()) else {
                return;
            };
            let attach = envelope::wrap(&ToNode::Attach, None);
            attach.transfer.push(&channel.port1());
            let posted = port
                .post_message_with_transferable(&attach.value, &attach.transfer)
                .is_ok();
            if posted {
                worker.tell(&ToWorker::NodePort, Some(channel.port2()));
            }
        });
    }
}

/// The status in a message of the node; its answers to questions are none of the page's, which asks none.
#[inline(never)]
fn status_in(data: &JsValue) -> Option<NodeStatus> {
    match envelope::unwrap(data)?.0 {
        FromNode::Status(status) => Some(status),
        FromNode::Found { .. } | FromNode::Failed { .. } => None,
    }
}

/// Imports a module by address. Only script text can say `import()`, so `index.html` lends its own; making a
/// function from a string here would need a policy that allows it for everybody.
async fn import(address: &str) -> Result<JsValue, JsValue> {
    let import: Function = Reflect::get(&window(), &"sluiceImport".into())?.dyn_into()?;
    JsFuture::from(
        import
            .call1(&JsValue::UNDEFINED, &address.into())?
            .dyn_into::<Promise>()?,
    )
    .await
}

/// Where this build's node module is; the build wrote it into the page.
fn address() -> Result<String, JsValue> {
    document()
        .query_selector("meta[name=sluice-node]")?
        .and_then(|meta| meta.get_attribute("content"))
        .filter(|address| address.starts_with('/'))
        .ok_or_else(|| JsValue::from_str("this build of the page names no node module"))
}
