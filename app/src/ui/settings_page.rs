//! `/settings`: choices kept on this device.

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{dom, node::Node, panel::FailurePanel, prefs::Prefs, storage};
use crate::{
    failure::Failure,
    settings::{Budget, Choice, NodeMode, Theme},
};

/// The page at `/settings`.
#[component]
pub(crate) fn SettingsPage() -> impl IntoView {
    dom::set_title(Some("Settings"));
    let (prefs, node) = (Prefs::here(), Node::here());
    let failure = RwSignal::new(None::<Failure>);
    let keep = move || {
        failure.set(None);
        let budget = prefs.budget.get_untracked();
        spawn_local(async move {
            // Whoever writes chunks reads it from the store; a service worker has no `localStorage`.
            if let Err(error) = storage::set_budget(budget).await {
                failure.try_set(Some(error));
            }
        });
    };
    let choose = move |event| {
        prefs.budget.set(Budget::read(&event_target_value(&event)));
        keep();
    };
    // A running node has no switch but the end of its page.
    Effect::new(move |before: Option<NodeMode>| {
        let mode = prefs.node.get();
        if before == Some(NodeMode::On)
            && mode == NodeMode::GatewayOnly
            && node.here.get_untracked()
        {
            dom::reload();
        }
        mode
    });
    view! {
        <div class="column">
            <h1>"Settings"</h1>
            <p class="lead">"Kept in this browser only."</p>
            <section class="facts">
                <fieldset>
                    <legend>"Colours"</legend>
                    <div class="choices">
                        <Radio chosen=prefs.theme value=Theme::Auto name="As the system is set" more=""/>
                        <Radio chosen=prefs.theme value=Theme::Light name="Light" more=""/>
                        <Radio chosen=prefs.theme value=Theme::Dark name="Dark" more=""/>
                    </div>
                </fieldset>
            </section>
            <section class="facts">
                <fieldset>
                    <legend>"Node"</legend>
                    <div class="choices">
                        <Radio chosen=prefs.node value=NodeMode::On name="On"
                            more="A libp2p node starts after the first frame and fetches over WebTransport or WebSocket."/>
                        <Radio chosen=prefs.node value=NodeMode::GatewayOnly name="Off: gateway only (private)"
                            more="No node is loaded. Every chunk comes over HTTP from the relay this page came from, and from nobody else. If a node runs in another tab, reload that tab to stop it."/>
                    </div>
                </fieldset>
            </section>
            <section class="facts">
                <div class="field">
                    <label for="budget">"Storage for chunks"</label>
                    <select id="budget" on:change=choose prop:value=move || prefs.budget.get().spelled()>
                        {Budget::CHOICES
                            .into_iter()
                            .map(|choice| {
                                let chosen = move || prefs.budget.get() == choice;
                                view! { <option value=choice.spelled() selected=chosen>{choice.name()}</option> }
                            })
                            .collect_view()}
                    </select>
                </div>
                <p class="note">
                    "Chunks stay sealed on the disk, so that a work plays again at once and offline. The browser may allow less. "
                    <a href="/node">"See what is stored"</a>
                </p>
                {move || {
                    let retry = Callback::new(move |()| keep());
                    failure.get().map(|failure| view! { <FailurePanel failure retry/> })
                }}
            </section>
        </div>
    }
    .into_any()
}

#[component]
fn Radio<C: Choice + Send + Sync + 'static>(
    chosen: RwSignal<C>,
    value: C,
    name: &'static str,
    more: &'static str,
) -> impl IntoView {
    view! {
        <label>
            <input type="radio" name=C::KEY value=value.spelled() prop:checked=move || chosen.get() == value
                on:change=move |_| chosen.set(value)/>
            <span>
                {name}
                {(!more.is_empty()).then(|| view! { <small>{more}</small> })}
            </span>
        </label>
    }
    .into_any()
}
