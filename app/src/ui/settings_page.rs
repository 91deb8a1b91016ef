//! `/settings`: choices kept on this device.

use std::rc::Rc;

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{
    App, dom, panel, storage,
    view::{El, effect, el, link, text},
};
use crate::{
    failure::Failure,
    settings::{Budget, Choice, NodeMode, Theme},
};

/// The page at `/settings`.
pub(super) fn page(app: App) -> El {
    dom::set_title(Some("Settings"));
    let App { prefs, node, .. } = app;
    // A running node has no switch but the end of its page.
    let mut before = prefs.node.get_untracked();
    effect(move || {
        let now = prefs.node.get();
        let before = std::mem::replace(&mut before, now);
        if before == NodeMode::On && now == NodeMode::GatewayOnly && node.here.get_untracked() {
            dom::reload();
        }
    });
    let theme = [
        (Theme::Auto, "As the system is set", ""),
        (Theme::Light, "Light", ""),
        (Theme::Dark, "Dark", ""),
    ];
    let mode = [
        (
            NodeMode::On,
            "On",
            "A libp2p node starts after the first frame and fetches over WebTransport or WebSocket.",
        ),
        (
            NodeMode::GatewayOnly,
            "Off: gateway only (private)",
            "No node is loaded. Every chunk comes over HTTP from the relay this page came from, and from nobody else. \
             If a node runs in another tab, reload that tab to stop it.",
        ),
    ];
    el("div")
        .class("column")
        .child(text("h1", "", "Settings"))
        .child(text("p", "lead", "Kept in this browser only."))
        .child(choices("Colours", prefs.theme, &theme))
        .child(choices("Node", prefs.node, &mode))
        .child(room(prefs.budget))
}

fn choices<C: Choice + Send + Sync + 'static>(
    legend: &str,
    chosen: RwSignal<C>,
    offers: &[(C, &str, &str)],
) -> El {
    let radios = offers.iter().map(|&(value, name, more)| {
        let pick = move || chosen.set(value);
        let picked = move || chosen.get() == value;
        radio(
            C::KEY,
            &value.spelled(),
            [name, more],
            Box::new(pick),
            Box::new(picked),
        )
    });
    el("section").class("facts").child(
        el("fieldset")
            .child(text("legend", "", legend))
            .child(el("div").class("choices").children(radios)),
    )
}

fn radio(
    group: &str,
    value: &str,
    [name, more]: [&str; 2],
    pick: Box<dyn Fn()>,
    picked: Box<dyn Fn() -> bool>,
) -> El {
    let button = el("input")
        .attr("type", "radio")
        .attr("name", group)
        .attr("value", value)
        .live_prop("checked", move || picked().into())
        .on("change", move |_| pick());
    let words = text("span", "", name).maybe((!more.is_empty()).then(|| text("small", "", more)));
    el("label").child(button).child(words)
}

fn room(budget: RwSignal<Budget>) -> El {
    let failure = RwSignal::new(None::<Failure>);
    let keep = Rc::new(move || {
        failure.set(None);
        let budget = budget.get_untracked();
        spawn_local(async move {
            // Whoever writes chunks reads it from the store; a service worker has no `localStorage`.
            if let Err(error) = storage::set_budget(budget).await {
                failure.try_set(Some(error));
            }
        });
    });
    let options = Budget::CHOICES
        .map(|choice| text("option", "", &choice.name()).attr("value", &choice.spelled()));
    let chosen = keep.clone();
    let select = el("select")
        .attr("id", "budget")
        .children(options)
        .live_prop("value", move || budget.get().spelled().into())
        .on("change", move |event| {
            budget.set(Budget::read(&event_target_value(&event)));
            chosen();
        });
    let note = "Chunks stay sealed on the disk, so that a work plays again at once and offline. ";
    el("section")
        .class("facts")
        .child(
            el("div")
                .class("field")
                .child(text("label", "", "Storage for chunks").attr("for", "budget"))
                .child(select),
        )
        .child(text("p", "note", note).child(link("", "/node", "See what is stored")))
        .dynamic(move || {
            let keep = keep.clone();
            failure
                .get()
                .map(|failure| panel::failure(&failure, Some(Box::new(move || keep()))))
        })
}
