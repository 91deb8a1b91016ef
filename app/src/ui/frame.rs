//! What stands around every page: header, footer, and the notice of a newer version.

use leptos::prelude::*;
use leptos_router::hooks::use_location;

use super::{
    dom,
    worker::{Newer, Worker},
};

/// Name and navigation.
#[component]
pub(crate) fn Header() -> impl IntoView {
    let path = use_location().pathname;
    let link = move |to: &'static str, name: &'static str| {
        let current = move || (path.get() == to).then_some("page");
        view! { <li><a href=to aria-current=current>{name}</a></li> }
    };
    view! {
        <header class="bar">
            <div class="bar-inner">
                <a class="brand" href="/">
                    <img src="/icons/icon.svg" alt="" width="28" height="28"/>
                    "Sluice"
                </a>
                <nav aria-label="Pages">
                    <ul>
                        {link("/", "Library")}
                        {link("/node", "Node")}
                        {link("/settings", "Settings")}
                    </ul>
                </nav>
            </div>
        </header>
    }
    .into_any()
}

/// Where this page came from.
#[component]
pub(crate) fn Footer() -> impl IntoView {
    view! {
        <footer class="foot">
            <p class="foot-inner">
                "Served by " <span class="mono">{dom::relay_host()}</span>
                ". Every chunk is checked and opened in this browser before it plays."
            </p>
        </footer>
    }
    .into_any()
}

/// Says that a newer version is there. Never interrupts: it waits for the video, then for the reader.
#[component]
pub(crate) fn UpdateNotice() -> impl IntoView {
    let worker = Worker::here();
    let hidden = RwSignal::new(false);
    view! {
        <div role="status">
            {move || match worker.update.get() {
                _ if hidden.get() => ().into_any(),
                Newer::None => ().into_any(),
                Newer::Waiting => {
                    view! {
                        <div class="notice toast">
                            <p>"A newer version is ready. It takes over when the video stops."</p>
                            <button type="button" class="button" on:click=move |_| hidden.set(true)>"Hide"</button>
                        </div>
                    }
                        .into_any()
                }
                Newer::Done => {
                    view! {
                        <div class="notice toast">
                            <p>"A newer version took over. Reload when it suits you."</p>
                            <div class="buttons">
                                <button type="button" class="button primary"
                                    on:click=|_| dom::reload()>
                                    "Reload"
                                </button>
                                <button type="button" class="button" on:click=move |_| hidden.set(true)>"Later"</button>
                            </div>
                        </div>
                    }
                        .into_any()
                }
            }}
        </div>
    }
    .into_any()
}
