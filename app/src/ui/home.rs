//! The library: a grid of works, newest first, that grows as one scrolls; and what this device has stored when
//! the relay does not answer.

use leptos::{html, prelude::*};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;

use super::{
    api::{self, Work},
    dom,
    node::Node,
    panel::FailurePanel,
    storage,
};
use crate::{failure::Failure, format, route};

/// Works shown on one page. Past it a reader scrolls for minutes and a phone runs out of memory.
const MAX_SHOWN: usize = 2_000;

/// Distance below the window, in pixels, at which the next page is asked for.
const AHEAD: &str = "800px";

/// Where the listing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listing {
    /// A page is on its way.
    Loading,
    /// There is more after this cursor.
    More(String),
    /// That was everything.
    End,
    /// [`MAX_SHOWN`] is reached.
    Full,
    /// The latest page did not come.
    Failed(Failure),
    /// The relay is away; what is shown is what this device has.
    Stored(Failure),
}

/// The page at `/`.
#[component]
pub(crate) fn Home() -> impl IntoView {
    dom::set_title(None);
    let works = RwSignal::new(Vec::<Work>::new());
    let listing = RwSignal::new(Listing::Loading);
    let load = Callback::new(move |cursor: Option<String>| {
        listing.set(Listing::Loading);
        spawn_local(async move { next_page(works, listing, cursor).await });
    });
    let again = Callback::new(move |()| {
        works.set(Vec::new());
        load.run(None);
    });
    load.run(None);
    Node::here().start_when_idle();
    let count = move || works.with(Vec::len);
    view! {
        <div class="heading">
            <h1>"Library"</h1>
            <p role="status">{move || summary(&listing.get(), count())}</p>
        </div>
        {move || match listing.get() {
            Listing::Stored(failure) => view! { <Offline failure retry=again/> }.into_any(),
            _ => ().into_any(),
        }}
        <ul class="grid">
            <For each=move || works.get() key=|work| work.id.clone() children=|work| view! { <Card work/> }/>
            {move || {
                (listing.get() == Listing::Loading && count() == 0)
                    .then(|| (0..8).map(|_| view! { <Ghost/> }).collect_view())
            }}
        </ul>
        {move || match listing.get() {
            Listing::Failed(failure) => view! { <FailurePanel failure retry=again/> }.into_any(),
            Listing::More(cursor) => view! { <More cursor load/> }.into_any(),
            Listing::End if count() == 0 => view! { <Empty/> }.into_any(),
            Listing::Full => {
                view! { <p class="more">"These are the newest 2,000 works. Older ones open by their link."</p> }.into_any()
            }
            Listing::Loading | Listing::End | Listing::Stored(_) => ().into_any(),
        }}
    }
}

fn summary(listing: &Listing, count: usize) -> String {
    match (listing, count) {
        (Listing::Loading, 0) => format!("Asking {} for its works.", dom::relay_host()),
        (_, 0) => String::new(),
        (Listing::Loading, _) => "Asking for more.".to_owned(),
        (Listing::More(_) | Listing::Full, _) => "Newest first".to_owned(),
        (_, count) => format::counted(count as u64, "work", "works"),
    }
}

/// Appends a page. A work already shown (published while someone scrolled) is not shown twice.
async fn next_page(works: RwSignal<Vec<Work>>, listing: RwSignal<Listing>, cursor: Option<String>) {
    let state = match api::works(cursor.as_deref()).await {
        Ok(page) => {
            let grew = page.works.len();
            works.update(|shown| {
                for work in page.works {
                    if shown.len() < MAX_SHOWN && shown.iter().all(|other| other.id != work.id) {
                        shown.push(work);
                    }
                }
            });
            match page.next {
                _ if works.with_untracked(Vec::len) >= MAX_SHOWN => Listing::Full,
                // A cursor that leads to itself, or to nothing, would ask for ever.
                Some(next) if grew > 0 && cursor.as_ref() != Some(&next) => Listing::More(next),
                _ => Listing::End,
            }
        }
        Err(failure) if works.with_untracked(Vec::is_empty) => match storage::works().await {
            stored if stored.is_empty() => Listing::Failed(failure),
            stored => {
                works.try_set(stored);
                Listing::Stored(failure)
            }
        },
        Err(failure) => Listing::Failed(failure),
    };
    // The page may be gone by now.
    listing.try_set(state);
}

/// One work of the grid.
#[component]
fn Card(work: Work) -> impl IntoView {
    let title = if work.title.is_empty() {
        "A work without a title".to_owned()
    } else {
        work.title
    };
    let initial: String = title
        .chars()
        .next()
        .map(|first| first.to_uppercase().collect())
        .unwrap_or_default();
    let broken = RwSignal::new(work.poster.is_none());
    let address = work.poster;
    let made = (work.created_ms > 0).then(|| dom::day(work.created_ms));
    view! {
        <li>
            <a class="card" data-testid="work-card" href=route::watch(&work.id)>
                <div class="poster">
                    {move || {
                        if broken.get() {
                            view! { <span class="blank" aria-hidden="true">{initial.clone()}</span> }.into_any()
                        } else {
                            view! {
                                <img src=address.clone() alt="" loading="lazy" decoding="async" width="320" height="180"
                                    on:error=move |_| broken.set(true)/>
                            }
                                .into_any()
                        }
                    }}
                    <span class="tag">{format::bytes(work.bytes)}</span>
                </div>
                <span class="title">{title}</span>
                <span class="meta">
                    {made}
                    {(work.files > 1).then(|| format!(" · {}", format::counted(work.files, "file", "files")))}
                </span>
            </a>
        </li>
    }
    .into_any()
}

/// A place held for a card.
#[component]
fn Ghost() -> impl IntoView {
    view! {
        <li class="ghost" aria-hidden="true">
            <div class="poster"></div>
            <div class="line"></div>
            <div class="line short"></div>
        </li>
    }
    .into_any()
}

/// Asks for the next page when it comes near the window; a button for those who do not scroll.
#[component]
fn More(cursor: String, load: Callback<Option<String>>) -> impl IntoView {
    let button = NodeRef::<html::Button>::new();
    let next = cursor.clone();
    Effect::new(move |_| {
        let Some(button) = button.get() else { return };
        let next = next.clone();
        let seen = Closure::<dyn FnMut(js_sys::Array)>::new(move |entries: js_sys::Array| {
            let near = entries.iter().any(|entry| {
                entry
                    .unchecked_into::<web_sys::IntersectionObserverEntry>()
                    .is_intersecting()
            });
            if near {
                load.run(Some(next.clone()));
            }
        });
        let options = web_sys::IntersectionObserverInit::new();
        options.set_root_margin(AHEAD);
        // Without an observer there is still the button.
        if let Ok(observer) =
            web_sys::IntersectionObserver::new_with_options(seen.as_ref().unchecked_ref(), &options)
        {
            observer.observe(&button);
            let kept = SendWrapper::new((observer, seen));
            on_cleanup(move || kept.0.disconnect());
        }
    });
    view! {
        <div class="more">
            <button type="button" class="button" node_ref=button on:click=move |_| load.run(Some(cursor.clone()))>
                "Show more"
            </button>
        </div>
    }
    .into_any()
}

/// Nothing was published yet.
#[component]
fn Empty() -> impl IntoView {
    view! {
        <section class="panel">
            <h1>"Nothing here yet"</h1>
            <p>"This relay has no public works. Whoever runs it publishes one on its command line:"</p>
            <p><code>"sluice publish film.mp4 --title \"My film\""</code></p>
        </section>
    }
    .into_any()
}

/// The relay is away and this device has works.
#[component]
fn Offline(failure: Failure, retry: Callback<()>) -> impl IntoView {
    view! {
        <div class="notice" role="status">
            <p>{failure.title()} ". These works are stored on this device and play without it."</p>
            <button type="button" class="button" on:click=move |_| retry.run(())>"Try again"</button>
        </div>
    }
    .into_any()
}
