//! `/node`: what this browser's node does and what is stored, with a way to be rid of it.

use std::time::Duration;

use leptos::prelude::*;
use sluice_core::bridge::{NodeState, NodeStatus, Transport};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;

use super::{
    App, dom, panel,
    storage::{self, Usage},
    view::{El, button, effect, el, every, link, text},
};
use crate::{failure::Failure, format, settings::NodeMode, traffic};

/// How long a reading of the storage stays on the page before it is taken again.
const REFRESH: Duration = Duration::from_secs(5);

/// The page at `/node`.
pub(super) fn page(app: App) -> El {
    dom::set_title(Some("Node"));
    app.node.start_when_idle(app.worker);
    let lead = "A libp2p node runs in one tab of this browser while it is open. It fetches sealed chunks from the \
                relay and checks every one.";
    el("div")
        .class("column")
        .child(text("h1", "", "Node"))
        .child(text("p", "lead", lead))
        .child(connection(app))
        .child(stored(app))
}

fn connection(app: App) -> El {
    let (node, mode) = (app.node, app.prefs.node);
    let status = node.status;
    let row = move |name: &str, class: &str, read: fn(&NodeStatus) -> String| {
        [
            text("dt", "", name),
            el("dd").class(class).live_text(move || status.with(read)),
        ]
    };
    let state = move || {
        let state = status.with(|status| status.state);
        match (mode.get(), state, node.started.get()) {
            (NodeMode::GatewayOnly, NodeState::Off, _) => "off: gateway only",
            (NodeMode::On, NodeState::Off, true) => "loading",
            (_, state, _) => state.name(),
        }
        .to_owned()
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
    let rows = [
        row("Transport", "", |status| {
            status
                .transport
                .map_or("none: HTTP only", |way| way_name(way))
                .to_owned()
        }),
        row("Relay", "mono", |status| {
            status.relay.clone().unwrap_or_else(dom::relay_host)
        }),
        row("Peer id", "mono", |status| {
            if status.peer_id.is_empty() {
                "none yet".to_owned()
            } else {
                status.peer_id.clone()
            }
        }),
        row("Connected tabs", "", |status| status.peers.to_string()),
        row("Received", "", |status| format::bytes(status.received)),
        row("Sent", "", |status| format::bytes(status.sent)),
    ];
    el("section")
        .class("facts wide")
        .attr("data-testid", "node-state")
        .live_attr("data-state", move || {
            status.with(|status| status.state.name().to_owned())
        })
        .child(text("h2", "", "Connection"))
        .child(
            el("dl")
                .child(text("dt", "", "State"))
                .child(el("dd").child(el("span").attr("role", "status").live_text(state)))
                .children(rows.into_iter().flatten()),
        )
        .child(el("p").class("note").live_text(meaning))
}

fn way_name(way: Transport) -> &'static str {
    traffic::proper_name(way.name())
}

fn stored(app: App) -> El {
    let usage = RwSignal::new(None::<Usage>);
    let failure = RwSignal::new(None::<Failure>);
    let (asked, busy) = (RwSignal::new(false), RwSignal::new(false));
    let said = RwSignal::new(String::new());
    let read = move || {
        spawn_local(async move {
            match storage::usage().await {
                Ok(now) => {
                    usage.try_set(Some(now));
                }
                Err(error) => {
                    failure.try_set(Some(error));
                }
            }
        });
    };
    read();
    every(REFRESH, move || {
        if failure.with_untracked(Option::is_none) {
            read();
        }
    });
    let clear = move || {
        busy.set(true);
        spawn_local(async move {
            let cleared = storage::clear(app.worker).await;
            busy.try_set(false);
            asked.try_set(false);
            match cleared {
                Ok(()) => {
                    said.try_set("Cleared.".to_owned());
                }
                Err(error) => {
                    failure.try_set(Some(error));
                }
            }
            read();
        });
    };
    let ask = move || {
        said.set(String::new());
        asked.set(true);
    };
    let row = move |name: &str, pick: fn(Usage) -> String| {
        let value = move || usage.get().map(pick).unwrap_or_default();
        [text("dt", "", name), el("dd").live_text(value)]
    };
    let rows = [
        row("Sealed chunks", |usage| usage.chunks.to_string()),
        row("Used by this site", |usage| format::bytes(usage.used)),
        row("Browser allows", |usage| format::bytes(usage.quota)),
    ];
    let share = move || {
        let percent = usage
            .get()
            .map_or(0, |usage| format::percent(usage.used, usage.quota));
        u32::try_from(percent).unwrap_or(100).into()
    };
    el("section")
        .class("facts wide")
        .child(text("h2", "", "Stored on this device"))
        .dynamic(move || {
            let retry = move || {
                failure.set(None);
                read();
            };
            failure
                .get()
                .map(|failure| panel::failure(&failure, Some(Box::new(retry))))
        })
        .child(
            el("progress")
                .attr("aria-label", "Share of the storage this browser allows")
                .attr("max", "100")
                .live_prop("value", share),
        )
        .child(
            el("dl")
                .children(rows.into_iter().flatten())
                .child(text("dt", "", "Your limit"))
                .child(
                    el("dd")
                        .live_text(move || app.prefs.budget.get().name())
                        .text(" ")
                        .child(link("", "/settings", "Change")),
                ),
        )
        .dynamic(move || {
            Some(if asked.get() {
                question(asked, busy, clear)
            } else {
                button("button danger", "Clear…", move |_| ask())
            })
        })
        .child(
            el("p")
                .class("note")
                .attr("role", "status")
                .live_text(move || said.get()),
        )
}

fn question(asked: RwSignal<bool>, busy: RwSignal<bool>, clear: impl Fn() + 'static) -> El {
    let keep = button("button", "Keep", move |_| asked.set(false));
    let keeps = keep.element().clone();
    // The careful answer has the focus, so that pressing Enter twice deletes nothing.
    effect(move || {
        if let Some(button) = keeps.dyn_ref::<web_sys::HtmlElement>() {
            let _ = button.focus();
        }
    });
    let clear = button("button danger", "Clear everything", move |_| clear())
        .live_flag("disabled", move || busy.get());
    el("div")
        .attr("role", "group")
        .attr("aria-label", "Clear everything stored?")
        .child(text(
            "p",
            "",
            "Works stored here will no longer play offline. They can be fetched again.",
        ))
        .child(el("div").class("buttons").child(keep).child(clear))
}
