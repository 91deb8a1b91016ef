//! The library: a grid of works, newest first, that grows as one scrolls; and what this device has stored when
//! the relay does not answer.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use leptos::prelude::*;
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;

use super::{
    App,
    api::{self, Work},
    dom, panel, storage,
    view::{El, button, el, text},
};
use crate::{failure::Failure, format, route};

/// Works shown on one page. Past it a reader scrolls for minutes and a phone runs out of memory.
const MAX_SHOWN: usize = 2_000;

/// Distance below the window, in pixels, at which the next page is asked for.
const AHEAD: &str = "800px";

/// Cards held for works that are on their way.
const GHOSTS: usize = 8;

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

/// The grid and what fills it.
#[derive(Clone)]
struct Grid {
    list: El,
    shown: Rc<RefCell<BTreeSet<String>>>,
    listing: RwSignal<Listing>,
    /// Cards listen as long as the page is shown, also those made when an answer comes.
    owner: Owner,
}

/// The page at `/`.
pub(super) fn page(app: App) -> El {
    dom::set_title(None);
    app.node.start_when_idle(app.worker);
    let listing = RwSignal::new(Listing::Loading);
    let grid = Grid {
        list: el("ul").class("grid"),
        shown: Rc::default(),
        listing,
        owner: Owner::current().unwrap_or_default(),
    };
    grid.load(None);
    let (counted, above, below) = (grid.clone(), grid.clone(), grid.clone());
    let ghosts = move || {
        let waits = listing.with(|listing| *listing == Listing::Loading) && below.count() == 0;
        waits.then(|| {
            el("ul")
                .class("grid")
                .attr("aria-hidden", "true")
                .children((0..GHOSTS).map(|_| ghost()))
        })
    };
    let list = grid.list.clone();
    el("div")
        .child(
            el("div")
                .class("heading")
                .child(text("h1", "", "Library"))
                .child(
                    el("p")
                        .attr("role", "status")
                        .live_text(move || summary(&listing.get(), counted.count())),
                ),
        )
        .dynamic(move || match listing.get() {
            Listing::Stored(failure) => Some(offline(&failure, above.clone())),
            _ => None,
        })
        .child(list)
        .dynamic(ghosts)
        .dynamic(move || match listing.get() {
            Listing::Failed(failure) => {
                let grid = grid.clone();
                Some(panel::failure(
                    &failure,
                    Some(Box::new(move || grid.start_over())),
                ))
            }
            Listing::More(cursor) => Some(more(cursor, grid.clone())),
            Listing::End if grid.count() == 0 => Some(empty()),
            Listing::Full => Some(text(
                "p",
                "more",
                "These are the newest 2,000 works. Older ones open by their link.",
            )),
            Listing::Loading | Listing::End | Listing::Stored(_) => None,
        })
}

impl Grid {
    fn count(&self) -> usize {
        self.shown.borrow().len()
    }

    fn start_over(&self) {
        self.list.element().set_text_content(None);
        self.shown.borrow_mut().clear();
        self.load(None);
    }

    fn load(&self, cursor: Option<String>) {
        self.listing.set(Listing::Loading);
        let grid = self.clone();
        spawn_local(async move {
            let state = grid.next_page(cursor).await;
            // The page may be gone by now.
            grid.listing.try_set(state);
        });
    }

    async fn next_page(&self, cursor: Option<String>) -> Listing {
        match api::works(cursor.as_deref()).await {
            Ok(page) => {
                let came = !page.works.is_empty();
                self.show(page.works);
                match page.next {
                    _ if self.count() >= MAX_SHOWN => Listing::Full,
                    // A cursor that leads to itself, or to nothing, would ask for ever.
                    Some(next) if came && cursor.as_ref() != Some(&next) => Listing::More(next),
                    _ => Listing::End,
                }
            }
            Err(failure) if self.count() == 0 => match storage::works().await {
                stored if stored.is_empty() => Listing::Failed(failure),
                stored => {
                    self.show(stored);
                    Listing::Stored(failure)
                }
            },
            Err(failure) => Listing::Failed(failure),
        }
    }

    /// Appends works. One already shown (published while someone scrolled) is not shown twice.
    fn show(&self, works: Vec<Work>) {
        if self.listing.is_disposed() {
            return;
        }
        self.owner.with(|| {
            for work in works {
                if self.count() < MAX_SHOWN && self.shown.borrow_mut().insert(work.id.clone()) {
                    let _ = self.list.clone().child(card(work));
                }
            }
        });
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

/// One work of the grid.
fn card(work: Work) -> El {
    let title = if work.title.is_empty() {
        "A work without a title"
    } else {
        &work.title
    };
    let initial = title.chars().next().unwrap_or(' ').to_string();
    let made = if work.created_ms > 0 {
        dom::day(work.created_ms)
    } else {
        String::new()
    };
    let several = if work.files > 1 {
        format!(" · {}", format::counted(work.files, "file", "files"))
    } else {
        String::new()
    };
    let poster = el("div")
        .class("poster")
        .child(text("span", "blank", &initial).attr("aria-hidden", "true"));
    let poster = poster.maybe(work.poster.map(picture));
    el("li").child(
        el("a")
            .class("card")
            .attr("data-testid", "work-card")
            .attr("href", &route::watch(&work.id))
            .child(poster.child(text("span", "tag", &format::bytes(work.bytes))))
            .child(text("span", "title", title))
            .child(text("span", "meta", &format!("{made}{several}"))),
    )
}

/// A poster above the initial, which shows again if there is no picture after all.
fn picture(address: String) -> El {
    let picture = el("img")
        .attr("alt", "")
        .attr("loading", "lazy")
        .attr("decoding", "async")
        .attr("width", "320")
        .attr("height", "180")
        .attr("src", &address);
    let broken = picture.element().clone();
    picture.on("error", move |_| broken.remove())
}

/// A place held for a card.
fn ghost() -> El {
    el("li")
        .class("ghost")
        .child(el("div").class("poster"))
        .child(el("div").class("line"))
        .child(el("div").class("line short"))
}

/// Asks for the next page when it comes near the window; a button for those who do not scroll.
fn more(cursor: String, grid: Grid) -> El {
    let (next, seen_grid) = (cursor.clone(), grid.clone());
    let button = button("button", "Show more", move |_| {
        grid.load(Some(cursor.clone()))
    });
    let seen = Closure::<dyn FnMut(js_sys::Array)>::new(move |entries: js_sys::Array| {
        let near = entries.iter().any(|entry| {
            entry
                .unchecked_into::<web_sys::IntersectionObserverEntry>()
                .is_intersecting()
        });
        if near {
            seen_grid.load(Some(next.clone()));
        }
    });
    let options = web_sys::IntersectionObserverInit::new();
    options.set_root_margin(AHEAD);
    // Without an observer there is still the button.
    if let Ok(observer) =
        web_sys::IntersectionObserver::new_with_options(seen.as_ref().unchecked_ref(), &options)
    {
        observer.observe(button.element());
        let kept = SendWrapper::new((observer, seen));
        on_cleanup(move || kept.0.disconnect());
    }
    el("div").class("more").child(button)
}

/// Nothing was published yet.
fn empty() -> El {
    let how = "This relay has no public works. Whoever runs it publishes one on its command line:";
    el("section")
        .class("panel")
        .child(text("h2", "", "Nothing here yet"))
        .child(text("p", "", how))
        .child(el("p").child(text(
            "code",
            "",
            "sluice publish film.mp4 --title \"My film\"",
        )))
}

/// The relay is away and this device has works.
fn offline(failure: &Failure, grid: Grid) -> El {
    let says = format!(
        "{}. These works are stored on this device and play without it.",
        failure.title()
    );
    el("div")
        .class("notice")
        .child(text("p", "", &says))
        .child(button("button", "Try again", move |_| grid.start_over()))
}
