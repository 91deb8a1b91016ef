//! What people read of a work: title, chip, files, description; and how to pass it on.

use leptos::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::{Screen, facts};
use crate::{
    format,
    ui::{
        dom, panel,
        view::{El, button, el, text},
    },
    work::Work,
};

/// Everything below the player.
pub(super) fn element(work: &Work, screen: Screen) -> El {
    let mut line = Vec::new();
    if work.created_ms > 0 {
        line.push(dom::day(work.created_ms));
    }
    line.push(format::bytes(work.bytes));
    if !work.language.is_empty() {
        line.push(work.language.clone());
    }
    if !work.licence.is_empty() {
        line.push(format!("licence {}", work.licence));
    }
    let description =
        (!work.description.is_empty()).then(|| text("p", "description", &work.description));
    let tags = (!work.tags.is_empty()).then(|| {
        let tags = work.tags.iter().map(|tag| text("li", "", tag));
        el("ul")
            .class("tags")
            .attr("aria-label", "Tags")
            .children(tags)
    });
    let keys = button("button", "Keyboard", move |_| {
        screen.help.update(|open| *open = !*open)
    })
    .live_attr("aria-expanded", move || screen.help.get().to_string());
    let creator =
        text("span", "mono", &format::shortened(&work.creator)).attr("title", &work.creator);
    el("div")
        .child(
            el("div")
                .class("under")
                .child(text("h1", "", &work.title))
                .child(facts::chip(screen)),
        )
        .maybe((work.playable.len() > 1).then(|| files(work, screen)))
        .child(
            el("div")
                .class("about")
                .child(text("p", "meta", &line.join(" · ")))
                .maybe(description)
                .maybe(tags)
                .child(
                    el("div")
                        .class("buttons")
                        .child(panel::copy_button(dom::page_address()))
                        .maybe(dom::can_share().then(|| share(work.title.clone())))
                        .child(keys),
                )
                .child(text("p", "meta", "Published by ").child(creator)),
        )
}

/// Chooses among the files of a work that play.
fn files(work: &Work, screen: Screen) -> El {
    let options = work.playable.iter().enumerate().map(|(index, file)| {
        let name = format!("{} ({})", file.path, format::bytes(file.len));
        text("option", "", &name).attr("value", &index.to_string())
    });
    let select = el("select")
        .attr("id", "file")
        .children(options)
        .live_prop("value", move || screen.chosen.get().to_string().into())
        .on("change", move |event| {
            if let Ok(index) = event_target_value(&event).parse() {
                screen.failure.set(None);
                screen.chosen.set(index);
            }
        });
    el("div")
        .class("files")
        .child(text("label", "", "File").attr("for", "file"))
        .child(select)
}

/// Opens the share sheet.
fn share(title: String) -> El {
    button("button", "Share", move |_| {
        let data = web_sys::ShareData::new();
        data.set_title(&title);
        data.set_url(&dom::page_address());
        let shared = window().navigator().share_with_data(&data);
        spawn_local(async move {
            // Closing the sheet rejects; that is an answer, not an error.
            let _ = JsFuture::from(shared).await;
        });
    })
}
