//! The one failure panel: what was tried, what to do, and a button that tries again.

use leptos::prelude::*;

use super::dom;
use crate::failure::Failure;

/// Shows a failure. `retry` is only offered where trying again can help.
#[component]
pub(crate) fn FailurePanel(
    /// What happened.
    failure: Failure,
    /// Tries again. Without it there is no button.
    #[prop(optional, into)]
    retry: Option<Callback<()>>,
) -> impl IntoView {
    let retry = retry.filter(|_| failure.retries());
    let elsewhere = matches!(failure, Failure::NoWorker(_));
    view! {
        <section class="panel failure" data-testid="error" role="alert">
            <h1>{failure.title()}</h1>
            <h2>"What was tried"</h2>
            <ol class="tried">
                {failure.tried().into_iter().map(|line| view! { <li>{line}</li> }).collect_view()}
            </ol>
            <p>{failure.advice()}</p>
            {elsewhere.then(|| view! { <AddressField/> })}
            <div class="buttons">
                {retry
                    .map(|retry| {
                        view! {
                            <button type="button" class="button primary" on:click=move |_| retry.run(())>
                                "Try again"
                            </button>
                        }
                    })}
                {(!elsewhere).then(|| view! { <a class="button" href="/">"Go to the library"</a> })}
            </div>
        </section>
    }
    .into_any()
}

/// The address of this page, to be taken to another browser. A field, because an insecure page has no clipboard.
#[component]
fn AddressField() -> impl IntoView {
    let address = dom::page_address();
    let select =
        |event: leptos::ev::FocusEvent| event_target::<web_sys::HtmlInputElement>(&event).select();
    view! {
        <label class="field">
            "The link"
            <input class="link mono" type="text" readonly prop:value=address.clone()
                on:focus=select/>
        </label>
        <CopyButton text=address/>
    }
    .into_any()
}

/// Copies `text` and says so; says how to do it by hand where the browser refuses.
#[component]
pub(crate) fn CopyButton(
    /// What to copy.
    #[prop(into)]
    text: String,
) -> impl IntoView {
    let said = RwSignal::new("");
    let copy = move |_| {
        let text = text.clone();
        wasm_bindgen_futures::spawn_local(async move {
            said.set(if dom::copy(&text).await {
                "Copied."
            } else {
                "Not allowed here: copy it from the address bar."
            });
        });
    };
    view! {
        <button type="button" class="button" on:click=copy>"Copy link"</button>
        <span role="status">{said}</span>
    }
    .into_any()
}
