//! The pages: a frame with header, notices and one page, chosen by the path.
//!
//! Of Leptos, signals, effects and the history of its router are used; why elements are made in [`view`] stands
//! there. Five paths fit one `match` (see [`crate::route`]), so no route table is needed.

mod api;
mod dom;
mod frame;
mod gate;
mod home;
mod lock;
mod node;
mod node_page;
mod panel;
mod prefs;
mod settings_page;
mod storage;
mod view;
mod watch;
mod worker;

use leptos::prelude::*;
use leptos_router::location::{BrowserUrl, LocationProvider};
use wasm_bindgen::JsCast;

use self::{
    node::Node,
    prefs::Prefs,
    view::{El, effect, el, link},
    worker::{State, Worker},
};
use crate::{failure::Failure, route::Route};

/// The id of the element that the skip link and every change of page put the focus on.
const MAIN: &str = "main";

/// What every page may need; there is one of each.
#[derive(Clone, Copy)]
struct App {
    prefs: Prefs,
    worker: Worker,
    node: Node,
}

/// Puts the pages into the document.
pub fn mount() {
    std::panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&panic.to_string().into());
        say_so();
    }));
    // Leptos sets up its tasks and the owner of everything here; the elements come from `view`.
    leptos::mount::mount_to_body(|| {
        let body = document().body().expect("index.html has a body");
        for part in pages() {
            let _ = body.append_child(part.element());
        }
    });
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
}

/// Puts the text for a page that stopped above everything: nothing else of the page can speak any more.
fn say_so() {
    let template = document()
        .get_element_by_id("crash")
        .and_then(|found| found.dyn_into::<web_sys::HtmlTemplateElement>().ok());
    if let (Some(template), Some(body)) = (template, document().body()) {
        let _ = body.prepend_with_node_1(&template.content());
    }
}

fn pages() -> [El; 5] {
    let prefs = Prefs::load();
    let worker = Worker::start();
    let app = App {
        prefs,
        worker,
        node: Node::new(prefs, worker),
    };
    let history = BrowserUrl::new().expect("a page has an address");
    history.init(None);
    let url = history.as_url().clone();
    let path = Memo::new(move |_| url.with(|url| url.path().to_owned()));
    let mut first = true;
    effect(move || {
        path.track();
        // Tells the history that the page is there, so that it pushes the address and scrolls up.
        history.ready_to_complete();
        if !std::mem::take(&mut first) {
            dom::focus(MAIN);
        }
    });
    let absent = Memo::new(move |_| matches!(worker.state.get(), State::Absent(_)));
    [
        // Left to the browser, which moves the focus too; the history would only scroll.
        link("skip", "#main", "Skip to the content").attr("rel", "external"),
        frame::header(path),
        el("main")
            .attr("id", MAIN)
            .attr("tabindex", "-1")
            .dynamic(move || Some(page(app, Route::parse(&path.get()), absent.get()))),
        frame::footer(),
        frame::update_notice(worker),
    ]
}

fn page(app: App, route: Route, absent: bool) -> El {
    match (route, app.worker.state.get_untracked()) {
        (Route::Home | Route::Watch(_), State::Absent(reason)) if absent => {
            dom::set_title(None);
            panel::failure(&Failure::NoWorker(reason), None)
        }
        (Route::Home, _) => home::page(app),
        (Route::Watch(id), _) => watch::page(app, id),
        (Route::Node, _) => node_page::page(app),
        (Route::Settings, _) => settings_page::page(app),
        (Route::Missing(path), _) => {
            dom::set_title(Some("No such page"));
            panel::failure(&Failure::NoPage { path }, None)
        }
    }
}
