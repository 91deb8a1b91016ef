//! The service worker as the pages see it: whether it controls this page yet, what it reports, and when a newer
//! one may take over.
//!
//! `index.html` registered it before this module was even fetched; registering again is a no-op that tells us
//! what came of it.

use leptos::prelude::*;
use send_wrapper::SendWrapper;
use sluice_core::{
    bridge::{FromWorker, ToWorker},
    link::ContentId,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use sluice_web::envelope;

use super::{
    dom,
    gate::Gate,
    lock::{self, Mode},
    view::effect,
};
use crate::{failure::NoWorker, retry::Report, traffic::Traffic};

/// Whether streams work on this page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It installs, or has not claimed this page yet.
    Starting,
    /// It answers for this page.
    Controlling,
    /// This browser has none here.
    Absent(NoWorker),
    /// It was refused; what the browser said.
    Failed(String),
}

/// A newer service worker and this page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newer {
    /// There is none.
    None,
    /// It waits for the video to stop.
    Waiting,
    /// It took over; this page is the old one until it is loaded again.
    Done,
}

/// The service worker's signals. One per page.
#[derive(Clone, Copy)]
pub(crate) struct Worker {
    /// Whether streams work.
    pub state: RwSignal<State>,
    /// Whether a newer one is there.
    pub update: RwSignal<Newer>,
    /// Set by the player; an update waits for it, in every tab.
    pub playing: RwSignal<bool>,
    /// The work whose deliveries are counted, and the counts.
    pub traffic: RwSignal<(Option<ContentId>, Traffic)>,
    /// The latest block of that work that could not be had.
    pub failure: RwSignal<Option<Report>>,
    /// Counts up whenever the service worker wants a port to the node.
    pub wants_node: RwSignal<u32>,
    /// Whether the shell may be stored for offline use: nothing more urgent is going on.
    keeps_shell: RwSignal<bool>,
    /// Open while the service worker controls this page.
    pub controls: Gate,
    container: StoredValue<Option<SendWrapper<web_sys::ServiceWorkerContainer>>>,
    registration: StoredValue<Option<SendWrapper<web_sys::ServiceWorkerRegistration>>>,
}

impl Worker {
    /// Starts listening and, if need be, registering. Call once, at the root.
    pub(crate) fn start() -> Self {
        let navigator = window().navigator();
        let container = dom::has(&navigator, "serviceWorker")
            .then(|| navigator.service_worker())
            // Some in-app browsers have the name and nothing behind it.
            .filter(|container| container.is_object());
        let state = match &container {
            None => State::Absent(NoWorker::tell(
                window().is_secure_context(),
                &navigator.user_agent().unwrap_or_default(),
            )),
            Some(container) if container.controller().is_some() => State::Controlling,
            Some(_) => State::Starting,
        };
        let worker = Self {
            state: RwSignal::new(state),
            update: RwSignal::new(Newer::None),
            playing: RwSignal::new(false),
            traffic: RwSignal::new((None, Traffic::default())),
            failure: RwSignal::new(None),
            wants_node: RwSignal::new(0),
            keeps_shell: RwSignal::new(false),
            controls: Gate::new(),
            container: StoredValue::new(container.clone().map(SendWrapper::new)),
            registration: StoredValue::new(None),
        };
        worker.controls.set(
            worker
                .state
                .with_untracked(|state| *state == State::Controlling),
        );
        if let Some(container) = container {
            worker.listen(&container);
            spawn_local(async move { worker.register().await });
        }
        let mut told = false;
        effect(move || {
            let controlled = worker.state.with(|state| *state == State::Controlling);
            if worker.keeps_shell.get() && controlled && !told {
                told = worker.tell(&ToWorker::KeepShell, None);
            }
        });
        effect(move || {
            if worker.update.get() == Newer::Waiting {
                worker.activate_when_quiet();
            }
        });
        let mut held = None::<lock::Held>;
        effect(move || {
            if !worker.playing.get() {
                if let Some(lock) = held.take() {
                    lock.let_go();
                }
            } else if held.is_none() {
                held = lock::request(lock::PLAYING, Mode::Shared, || {});
            }
        });
        worker
    }

    /// Registers again after a refusal.
    pub(crate) fn retry(self) {
        self.state.set(State::Starting);
        spawn_local(async move { self.register().await });
    }

    /// Counts deliveries of this work from now on.
    pub(crate) fn follow(self, content: ContentId) {
        if self
            .traffic
            .with_untracked(|(followed, _)| *followed != Some(content))
        {
            self.traffic.set((Some(content), Traffic::default()));
        }
        self.failure.set(None);
    }

    /// Lets the service worker store the pages for offline use. Said once the first frame is there: they would
    /// compete with it.
    pub(crate) fn keep_shell(self) {
        self.keeps_shell.set(true);
    }

    /// Posts to the service worker that controls this page; `false` if none does.
    pub(crate) fn tell(self, message: &ToWorker, port: Option<web_sys::MessagePort>) -> bool {
        let controller = self.container.with_value(|container| {
            container
                .as_ref()
                .and_then(|container| container.controller())
        });
        controller.is_some_and(|controller| post(&controller, message, port.as_ref()))
    }

    fn listen(self, container: &web_sys::ServiceWorkerContainer) {
        let had_controller = container.controller().is_some();
        let first = StoredValue::new(!had_controller);
        on_event(container, "controllerchange", move |_| {
            self.control();
            // A new one knows of no node yet.
            self.wants_node.update(|count| *count += 1);
            // The first one to take control is no update.
            if first.get_value() {
                first.set_value(false);
            } else {
                self.update.set(Newer::Done);
            }
        });
        let heard =
            Closure::<dyn FnMut(web_sys::MessageEvent)>::new(move |event| self.hear(&event));
        // The handler, and not a listener: setting it also starts the queue.
        container.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        heard.forget();
    }

    fn hear(self, event: &web_sys::MessageEvent) {
        match envelope::unwrap(&event.data()).map(|(message, _)| message) {
            Some(FromWorker::Served(served)) => self.traffic.update(|(followed, traffic)| {
                if *followed == Some(served.content) {
                    traffic.add(served.origin, served.bytes);
                    self.failure.update_untracked(|report| {
                        if let Some(report) = report {
                            report.delivered(served.origin);
                        }
                    });
                }
            }),
            Some(FromWorker::Failed(failure)) => {
                let followed = self.traffic.with_untracked(|(followed, _)| *followed);
                let report = Some(failure).filter(|failure| followed == Some(failure.content));
                self.failure.set(report.map(Report::new));
            }
            Some(FromWorker::NeedNode) => self.wants_node.update(|count| *count += 1),
            None => {}
        }
    }

    async fn register(self) {
        let Some(container) = self.container.with_value(|container| container.clone()) else {
            return;
        };
        let registration: web_sys::ServiceWorkerRegistration =
            match JsFuture::from(container.register("/sw.js")).await {
                Ok(registration) => registration.unchecked_into(),
                Err(error) => {
                    // With the relay away an older one may still be in control, and that is all a page needs.
                    if container.controller().is_none() {
                        self.state.set(State::Failed(dom::message(&error)));
                    }
                    return;
                }
            };
        self.registration
            .set_value(Some(SendWrapper::new(registration.clone())));
        self.watch_updates(&registration);
        // Resolves once there is an active one; never rejects.
        let Ok(ready) = container.ready() else { return };
        let _ = JsFuture::from(ready).await;
        if container.controller().is_some() {
            self.control();
        } else if let Some(active) = registration.active() {
            // A hard reload leaves the page without a controller although there is an active worker.
            post(&active, &ToWorker::Claim, None);
        }
    }

    fn control(self) {
        self.state.set(State::Controlling);
        self.controls.set(true);
    }

    fn watch_updates(self, registration: &web_sys::ServiceWorkerRegistration) {
        let look = {
            let registration = registration.clone();
            move || {
                let controlled = self
                    .state
                    .with_untracked(|state| *state == State::Controlling);
                if controlled && registration.waiting().is_some() {
                    self.update.set(Newer::Waiting);
                }
            }
        };
        look();
        let found = registration.clone();
        on_event(registration, "updatefound", move |_| {
            if let Some(installing) = found.installing() {
                let look = look.clone();
                on_event(&installing, "statechange", move |_| look());
            }
        });
    }

    /// Lets the new one take over once no tab plays.
    fn activate_when_quiet(self) {
        let activate = move || {
            self.registration.with_value(|registration| {
                if let Some(waiting) = registration
                    .as_ref()
                    .and_then(|registration| registration.waiting())
                {
                    post(&waiting, &ToWorker::Activate, None);
                }
            });
        };
        // Without locks nobody knows of other tabs; the next start of the browser brings the update.
        if let Some(lock) = lock::request(lock::PLAYING, Mode::Exclusive, activate) {
            lock.let_go();
        }
    }
}

/// Posts to a service worker; `false` if the browser refused because it is being replaced.
fn post(
    worker: &web_sys::ServiceWorker,
    message: &ToWorker,
    port: Option<&web_sys::MessagePort>,
) -> bool {
    let sealed = envelope::wrap(message, None);
    if let Some(port) = port {
        sealed.transfer.push(port);
    }
    worker
        .post_message_with_transferable(&sealed.value, &sealed.transfer)
        .is_ok()
}

/// Listens for as long as the page lives: the service worker's objects do.
fn on_event(target: &web_sys::EventTarget, name: &str, heard: impl FnMut(JsValue) + 'static) {
    let listener = Closure::<dyn FnMut(JsValue)>::new(heard);
    // Fails only for a listener that is no function.
    let _ = target.add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
    listener.forget();
}
