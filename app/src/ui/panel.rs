//! The one failure panel: what was tried, what to do, and a button that tries again.

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;

use super::{
    dom,
    view::{El, button, el, link, text},
};
use crate::failure::Failure;

/// What a retry button calls.
pub(super) type Retry = Box<dyn FnMut()>;

/// Shows a failure. `retry` is only offered where trying again can help.
pub(super) fn failure(failure: &Failure, retry: Option<Retry>) -> El {
    let retry = retry.filter(|_| failure.retries());
    let elsewhere = matches!(failure, Failure::NoWorker(_));
    let tried = failure.tried();
    el("section")
        .class("panel failure")
        .attr("data-testid", "error")
        .attr("role", "alert")
        .child(text("h1", "", failure.title()))
        .child(text("h2", "", "What was tried"))
        .child(
            el("ol")
                .class("tried")
                .children(tried.iter().map(|line| text("li", "", line))),
        )
        .child(text("p", "", failure.advice()))
        .maybe(elsewhere.then(address_field))
        .child(
            el("div")
                .class("buttons")
                .maybe(elsewhere.then(|| copy_button(dom::page_address())))
                .maybe(
                    retry.map(|mut retry| button("button primary", "Try again", move |_| retry())),
                )
                .maybe((!elsewhere).then(|| link("button", "/", "Go to the library"))),
        )
}

/// The address of this page, to be taken to another browser. A field, because an insecure page has no clipboard.
fn address_field() -> El {
    let field = el("input")
        .class("link mono")
        .attr("type", "text")
        .attr("readonly", "")
        .attr("value", &dom::page_address())
        .on("focus", |event| {
            if let Some(Ok(field)) = event
                .target()
                .map(JsCast::dyn_into::<web_sys::HtmlInputElement>)
            {
                field.select();
            }
        });
    text("label", "field", "The link").child(field)
}

/// Copies `text` and says so; says how to do it by hand where the browser refuses.
pub(super) fn copy_button(text: String) -> El {
    let said = RwSignal::new(String::new());
    let copy = move |_| {
        let text = text.clone();
        spawn_local(async move {
            let done = dom::copy(&text).await;
            let says = if done {
                "Copied."
            } else {
                "Not allowed here: copy it by hand."
            };
            said.try_set(says.to_owned());
        });
    };
    el("span")
        .class("buttons")
        .child(button("button", "Copy link", copy))
        .child(
            el("span")
                .attr("role", "status")
                .live_text(move || said.get()),
        )
}
