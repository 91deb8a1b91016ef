//! What stands around every page: header, footer, and the notice of a newer version.

use leptos::prelude::*;

use super::{
    dom,
    view::{El, button, el, link, text},
    worker::{Newer, Worker},
};

/// Name and navigation.
pub(super) fn header(path: Memo<String>) -> El {
    let pages = [
        ("/", "Library"),
        ("/node", "Node"),
        ("/settings", "Settings"),
    ];
    let links = pages.map(|(to, name)| {
        let current = move || if path.get() == to { "page" } else { "false" }.to_owned();
        el("li").child(link("", to, name).live_attr("aria-current", current))
    });
    let mark = el("img")
        .attr("src", "/icons/icon.svg")
        .attr("alt", "")
        .attr("width", "28")
        .attr("height", "28");
    el("header").class("bar").child(
        el("div")
            .class("bar-inner")
            .child(
                el("a")
                    .class("brand")
                    .attr("href", "/")
                    .child(mark)
                    .text("Sluice"),
            )
            .child(
                el("nav")
                    .attr("aria-label", "Pages")
                    .child(el("ul").children(links)),
            ),
    )
}

/// Where this page came from.
pub(super) fn footer() -> El {
    el("footer").class("foot").child(
        text("p", "foot-inner", "Served by ")
            .child(text("span", "mono", &dom::relay_host()))
            .text(". Every chunk is checked and opened in this browser before it plays."),
    )
}

/// Says that a newer version is there. Never interrupts: it waits for the video, then for the reader.
pub(super) fn update_notice(worker: Worker) -> El {
    let hidden = RwSignal::new(false);
    el("div").attr("role", "status").dynamic(move || {
        let (says, hide) = match worker.update.get() {
            _ if hidden.get() => return None,
            Newer::None => return None,
            Newer::Waiting => (
                "A newer version is ready. It takes over when no video plays.",
                "Hide",
            ),
            Newer::Done => (
                "A newer version took over. Reload when it suits you.",
                "Later",
            ),
        };
        let reload = worker.update.get() == Newer::Done;
        Some(
            el("div")
                .class("notice toast")
                .child(text("p", "", says))
                .child(
                    el("div")
                        .class("buttons")
                        .maybe(
                            reload.then(|| button("button primary", "Reload", |_| dom::reload())),
                        )
                        .child(button("button", hide, move |_| hidden.set(true))),
                ),
        )
    })
}
