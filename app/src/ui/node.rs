//! The libp2p node as the pages see it: a module of its own, loaded late, spoken to over a port.
//!
//! # Invariants
//!
//! - Nothing is fetched for it before [`Node::start`], which the watch page calls after the first frame.
//! - In private mode ([`NodeMode::GatewayOnly`]) it is not fetched at all.

use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use leptos::prelude::*;
use send_wrapper::SendWrapper;
use sluice_core::bridge::{FromNode, NodeState, NodeStatus, ToNode, ToWorker};
use sluice_web::envelope;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{MessageChannel, MessageEvent, MessagePort};

use super::{dom, prefs::Prefs, worker::Worker};
use crate::settings::NodeMode;

/// How long a page without a player waits before it starts the node: its own pictures come first.
const IDLE: Duration = Duration::from_secs(3);

/// The node's signals. One per page.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    /// What the node last said of itself.
    pub status: RwSignal<NodeStatus>,
    /// Whether the module was asked for.
    pub started: RwSignal<bool>,
    port: StoredValue<Option<SendWrapper<MessagePort>>>,
    prefs: Prefs,
}

impl Node {
    /// A node that is not loaded. Call once, at the root, after [`Prefs`] and [`Worker`].
    pub(crate) fn new() -> Self {
        let node = Self {
            status: RwSignal::new(NodeStatus::default()),
            started: RwSignal::new(false),
            port: StoredValue::new(None),
            prefs: Prefs::here(),
        };
        let worker = Worker::here();
        Effect::new(move |_| {
            if worker.wants_node.get() > 0 {
                node.hand_to(worker);
            }
        });
        node
    }

    /// The node of this page.
    pub(crate) fn here() -> Self {
        expect_context()
    }

    /// Loads and starts the module, once, unless the reader chose against it.
    pub(crate) fn start(self) {
        if self.started.get_untracked() || self.prefs.node.get_untracked() == NodeMode::GatewayOnly
        {
            return;
        }
        self.started.set(true);
        spawn_local(async move {
            if let Err(error) = self.load().await {
                self.started.set(false);
                self.status.update(|status| {
                    status.state = NodeState::Off;
                    status.trouble = Some(dom::message(&error));
                });
            }
        });
    }

    /// Starts the module once nothing else is going on.
    pub(crate) fn start_when_idle(self) {
        if let Ok(timer) = set_timeout_with_handle(move || self.start(), IDLE) {
            on_cleanup(move || timer.clear());
        }
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
        start.call2(&JsValue::UNDEFINED, &JsValue::UNDEFINED, &channel.port2())?;
        self.listen(channel.port1());
        Ok(())
    }

    fn listen(self, port: MessagePort) {
        let heard = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            // Answers to questions are none of the page's: it asks none.
            if let Some((FromNode::Status(status), _)) = envelope::unwrap(&event.data()) {
                self.status.set(status);
            }
        });
        port.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        // As long as the page: there is one node and no way to stop it but to leave.
        heard.forget();
        envelope::post(&port, &ToNode::Watch, None);
        self.port.set_value(Some(SendWrapper::new(port)));
        self.hand_to(Worker::here());
    }

    /// Gives the service worker a port of its own to the node.
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
