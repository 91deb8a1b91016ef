//! `/settings`: choices kept on this device.

use leptos::prelude::*;

use super::{dom, prefs::Prefs};
use crate::settings::{Budget, Choice, NodeMode, Theme};

/// The page at `/settings`.
#[component]
pub(crate) fn SettingsPage() -> impl IntoView {
    dom::set_title(Some("Settings"));
    let prefs = Prefs::here();
    view! {
        <div class="column">
            <h1>"Settings"</h1>
            <p class="lead">"Kept in this browser only. Every change counts at once."</p>
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
                            more="No node is loaded. Every chunk comes over HTTP from the relay this page came from, and from nobody else."/>
                    </div>
                </fieldset>
            </section>
            <section class="facts">
                <div class="field">
                    <label for="budget">"Storage for chunks"</label>
                    <select id="budget"
                        on:change=move |event| prefs.budget.set(Budget::read(&event_target_value(&event)))
                        prop:value=move || prefs.budget.get().spelled()>
                        {Budget::CHOICES
                            .into_iter()
                            .map(|gigabytes| {
                                let value = gigabytes.to_string();
                                let chosen = move || prefs.budget.get().gigabytes() == gigabytes;
                                view! { <option value=value selected=chosen>{format!("{gigabytes} GB")}</option> }
                            })
                            .collect_view()}
                    </select>
                </div>
                <p class="note">
                    "Chunks stay sealed on the disk, so that a work plays again at once and offline. The browser may allow less. "
                    <a href="/node">"See what is stored"</a>
                </p>
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
