//! The pages: a frame with header, notices and one page, chosen by the path.
//!
//! Of the router only history and links are used. Its route tables would cost the shell more than all pages
//! together, and five paths fit one `match` (see [`crate::route`]).

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
mod watch;
mod worker;

use leptos::prelude::*;
use leptos_router::{
    components::Router,
    hooks::use_location,
    location::{BrowserUrl, LocationProvider},
};
use wasm_bindgen::JsCast;

use self::{
    frame::{Footer, Header, UpdateNotice},
    home::Home,
    node::Node,
    node_page::NodePage,
    panel::FailurePanel,
    prefs::Prefs,
    settings_page::SettingsPage,
    watch::Watch,
    worker::{State, Worker},
};
use crate::{failure::Failure, route::Route};

/// The id of the element that the skip link and every change of page put the focus on.
const MAIN: &str = "main";

/// Puts the pages into the document.
pub fn mount() {
    std::panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&panic.to_string().into());
        say_so();
    }));
    mount_to_body(App);
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

#[component]
fn App() -> impl IntoView {
    provide_context(Prefs::load());
    provide_context(Worker::start());
    provide_context(Node::new());
    view! {
        <Router>
            // Left to the browser, which moves the focus too; the router would only scroll.
            <a class="skip" rel="external" href="#main">"Skip to the content"</a>
            <Header/>
            <main id=MAIN tabindex="-1">
                <Page/>
            </main>
            <Footer/>
            <UpdateNotice/>
        </Router>
    }
}

#[component]
fn Page() -> impl IntoView {
    let location = use_location();
    let history = expect_context::<BrowserUrl>();
    let worker = Worker::here();
    let route = Memo::new(move |_| location.pathname.with(|path| Route::parse(path)));
    Effect::new(move |before: Option<()>| {
        location.pathname.track();
        // Tells the router that the page is there, so that it pushes the address and scrolls up.
        history.ready_to_complete();
        if before.is_some() {
            dom::focus(MAIN);
        }
    });
    let absent = Memo::new(move |_| match worker.state.get() {
        State::Absent(reason) => Some(reason),
        State::Starting | State::Controlling | State::Failed(_) => None,
    });
    move || match (route.get(), absent.get()) {
        (Route::Home | Route::Watch(_), Some(reason)) => {
            dom::set_title(None);
            view! { <FailurePanel failure=Failure::NoWorker(reason)/> }.into_any()
        }
        (Route::Home, None) => view! { <Home/> }.into_any(),
        (Route::Watch(id), None) => view! { <Watch id/> }.into_any(),
        (Route::Node, _) => view! { <NodePage/> }.into_any(),
        (Route::Settings, _) => view! { <SettingsPage/> }.into_any(),
        (Route::Missing(path), _) => {
            dom::set_title(Some("No such page"));
            view! { <FailurePanel failure=Failure::NoPage { path }/> }.into_any()
        }
    }
}
