//! `/node`: what this browser's node does and what is stored, with a way to be rid of it.

use std::time::Duration;

use leptos::{html, prelude::*};
use sluice_core::bridge::{NodeState, Transport};
use wasm_bindgen_futures::spawn_local;

use super::{
    dom,
    node::Node,
    panel::FailurePanel,
    prefs::Prefs,
    storage::{self, Usage},
    worker::Worker,
};
use crate::{failure::Failure, format, settings::NodeMode, traffic};

/// The page at `/node`.
#[component]
pub(crate) fn NodePage() -> impl IntoView {
    dom::set_title(Some("Node"));
    Node::here().start_when_idle();
    view! {
        <div class="column">
            <h1>"Node"</h1>
            <p class="lead">
                "A libp2p node runs in this page while it is open. It fetches sealed chunks from the relay and checks every one."
            </p>
            <Connection/>
            <Storage/>
        </div>
    }
    .into_any()
}

#[component]
fn Connection() -> impl IntoView {
    let (node, mode) = (Node::here(), Prefs::here().node);
    let status = node.status;
    let state = move || match (
        mode.get(),
        status.with(|status| status.state),
        node.started.get(),
    ) {
        (NodeMode::GatewayOnly, NodeState::Off, _) => "off: gateway only",
        (NodeMode::On, NodeState::Off, true) => "loading",
        (_, state, _) => state.name(),
    };
    let meaning = move || match status.with(|status| (status.state, status.trouble.clone())) {
        (_, Some(trouble)) => trouble,
        (NodeState::Online, None) => "Connected. Chunks may come over libp2p.".to_owned(),
        (NodeState::Connecting, None) => {
            "Dialling the relay. Until then chunks come over HTTP.".to_owned()
        }
        (NodeState::Waiting, None) => {
            "No relay answers; it keeps trying. Chunks come over HTTP if they can.".to_owned()
        }
        (NodeState::Off, None) if mode.get() == NodeMode::GatewayOnly => {
            "Switched off in the settings. Chunks come over HTTP.".to_owned()
        }
        (NodeState::Off, None) => "It starts by itself once this page is idle.".to_owned(),
    };
    let known = |text: String| {
        if text.is_empty() {
            "none yet".to_owned()
        } else {
            text
        }
    };
    view! {
        <section class="facts wide" data-testid="node-state" data-state=move || status.with(|status| status.state.name())>
            <h2>"Connection"</h2>
            <dl>
                <dt>"State"</dt>
                <dd><span role="status">{state}</span></dd>
                <dt>"Transport"</dt>
                <dd>
                    {move || {
                        let name = status.with(|status| status.transport.map(Transport::name));
                        name.map_or("none: HTTP only", traffic::proper_name)
                    }}
                </dd>
                <dt>"Relay"</dt>
                <dd class="mono">
                    {move || status.with(|status| status.relay.clone()).unwrap_or_else(dom::relay_host)}
                </dd>
                <dt>"Peer id"</dt>
                <dd class="mono">{move || known(status.with(|status| status.peer_id.clone()))}</dd>
                <dt>"Connected tabs"</dt>
                <dd>{move || status.with(|status| status.peers)}</dd>
                <dt>"Received"</dt>
                <dd>{move || format::bytes(status.with(|status| status.received))}</dd>
                <dt>"Sent"</dt>
                <dd>{move || format::bytes(status.with(|status| status.sent))}</dd>
            </dl>
            <p class="note">{meaning}</p>
        </section>
    }
    .into_any()
}

/// How long a reading of the storage stays on the page before it is taken again.
const REFRESH: Duration = Duration::from_secs(5);

#[component]
fn Storage() -> impl IntoView {
    let (worker, budget) = (Worker::here(), Prefs::here().budget);
    let usage = RwSignal::new(None::<Usage>);
    let failure = RwSignal::new(None::<Failure>);
    let (asked, busy) = (RwSignal::new(false), RwSignal::new(false));
    let said = RwSignal::new("");
    let keep = NodeRef::<html::Button>::new();
    let read = move || {
        spawn_local(async move {
            match storage::usage().await {
                Ok(now) => drop(usage.try_set(Some(now))),
                Err(error) => drop(failure.try_set(Some(error))),
            }
        });
    };
    read();
    dom::every(REFRESH, move || {
        if failure.with_untracked(Option::is_none) {
            read();
        }
    });
    // The careful answer has the focus, so that pressing Enter twice deletes nothing.
    Effect::new(move |_| {
        if let Some(button) = keep.get() {
            let _ = button.focus();
        }
    });
    let clear = move |_| {
        busy.set(true);
        spawn_local(async move {
            let cleared = storage::clear(worker).await;
            busy.try_set(false);
            asked.try_set(false);
            match cleared {
                Ok(()) => drop(said.try_set("Cleared.")),
                Err(error) => drop(failure.try_set(Some(error))),
            }
            read();
        });
    };
    let retry = Callback::new(move |()| {
        failure.set(None);
        read();
    });
    let number =
        move |pick: fn(Usage) -> u64| move || usage.get().map(|usage| format::bytes(pick(usage)));
    view! {
        {move || failure.get().map(|failure| view! { <FailurePanel failure retry/> })}
        <section class="facts wide">
            <h2>"Stored on this device"</h2>
            <progress aria-label="Share of the storage this browser allows" max="100"
                prop:value=move || usage.get().map_or(0.0, |usage| percent(&usage))>
            </progress>
            <dl>
                <dt>"Sealed chunks"</dt>
                <dd>{move || usage.get().map(|usage| usage.chunks)}</dd>
                <dt>"Used by this site"</dt>
                <dd>{number(|usage| usage.used)}</dd>
                <dt>"Browser allows"</dt>
                <dd>{number(|usage| usage.quota)}</dd>
                <dt>"Your limit"</dt>
                <dd>
                    {move || budget.get().name()} " " <a href="/settings">"Change"</a>
                </dd>
            </dl>
            {move || {
                if asked.get() {
                    view! {
                        <div role="group" aria-label="Clear everything stored?">
                            <p>"Works stored here will no longer play offline. They can be fetched again."</p>
                            <div class="buttons">
                                <button type="button" class="button" node_ref=keep on:click=move |_| asked.set(false)>
                                    "Keep"
                                </button>
                                <button type="button" class="button danger" disabled=busy on:click=clear>
                                    "Clear everything"
                                </button>
                            </div>
                        </div>
                    }
                        .into_any()
                } else {
                    view! {
                        <button type="button" class="button danger" on:click=move |_| {
                            said.set("");
                            asked.set(true);
                        }>
                            "Clear…"
                        </button>
                    }
                        .into_any()
                }
            }}
            <p role="status" class="note">{said}</p>
        </section>
    }
    .into_any()
}

fn percent(usage: &Usage) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "0 to 100")]
    let percent = format::percent(usage.used, usage.quota) as f64;
    percent
}
