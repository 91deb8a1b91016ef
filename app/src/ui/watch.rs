//! `/w/{id}`: one work. Fetches and verifies the manifest while the service worker starts, then plays.
//!
//! The two waits overlap on purpose: the first frame of a first visit is what this page is measured by.

mod about;
mod facts;
mod keys;
mod load;
mod player;

use std::{rc::Rc, sync::Arc, time::Duration};

use leptos::prelude::*;
use send_wrapper::SendWrapper;
use sluice_core::{card::Card, link::ContentId};
use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlVideoElement;

use self::facts::Sample;
use super::{
    App, dom, panel,
    view::{El, after, effect, el, every, listen},
    worker::State,
};
use crate::{failure::Failure, stage::Stage, work::Work};

/// After which the node starts even if no frame came: it is one more source.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// What the parts of the page share.
#[derive(Clone, Copy)]
struct Screen {
    app: App,
    /// The work.
    content: ContentId,
    /// Its manifest and card in the page's words, once verified.
    work: RwSignal<Option<Arc<Work>>>,
    /// Whether its card was looked for, so that the title does not change under the reader.
    described: RwSignal<bool>,
    /// Index of the playable file that plays.
    chosen: RwSignal<usize>,
    /// Whether a frame (or sound) of the chosen file is there.
    first_frame: RwSignal<bool>,
    /// The second at which playback ran dry.
    rebuffering: RwSignal<Option<u64>>,
    /// Whether the node is being brought in because the gateway did not deliver.
    asking_node: RwSignal<bool>,
    /// What went wrong, if anything.
    failure: RwSignal<Option<Failure>>,
    /// Counts up to make the player load again.
    attempt: RwSignal<u32>,
    /// What the facts show, once a second.
    sample: RwSignal<Sample>,
    /// Whether the list of keys is open.
    help: RwSignal<bool>,
    video: StoredValue<SendWrapper<HtmlVideoElement>>,
    card: StoredValue<Option<Card>>,
}

/// The page at `/w/{id}`; `id` as it stands in the link.
pub(super) fn page(app: App, id: String) -> El {
    dom::set_title(None);
    let content: ContentId = match id.parse() {
        Ok(content) => content,
        Err(_) => {
            dom::set_title(Some("Not a content id"));
            return panel::failure(&Failure::MalformedId { given: id }, None);
        }
    };
    app.worker.follow(content);
    let (player, video) = player::element();
    let screen = Screen {
        app,
        content,
        work: RwSignal::new(None),
        described: RwSignal::new(false),
        chosen: RwSignal::new(0),
        first_frame: RwSignal::new(false),
        rebuffering: RwSignal::new(None),
        asking_node: RwSignal::new(false),
        failure: RwSignal::new(None),
        attempt: RwSignal::new(0),
        sample: RwSignal::new(Sample::default()),
        help: RwSignal::new(false),
        video: StoredValue::new(SendWrapper::new(video)),
        card: StoredValue::new(None),
    };
    screen.open();
    screen.watch_over();
    keys::listen(screen);
    let nothing = move || screen.work.with(Option::is_none) && screen.failure.with(Option::is_some);
    let stage = el("div")
        .class("stage")
        .child(player::wire(player, screen))
        .dynamic(move || {
            let retry = Box::new(move || screen.retry());
            screen
                .failure
                .get()
                .map(|failure| panel::failure(&failure, Some(retry)))
        });
    el("div")
        .class("watch")
        .child(
            el("article")
                .child(stage)
                .child(waiting(screen))
                .dynamic(move || {
                    let work = screen.work.get().filter(|_| screen.described.get())?;
                    Some(about::element(&work, screen))
                }),
        )
        .child(
            el("aside")
                .attr("aria-label", "Where the video comes from")
                .live_flag("hidden", nothing)
                .child(facts::card(screen))
                .dynamic(move || screen.help.get().then(keys::help)),
        )
}

impl Screen {
    fn video(self) -> HtmlVideoElement {
        self.video.with_value(|video| (**video).clone())
    }

    /// Gets manifest and card.
    fn open(self) {
        spawn_local(async move {
            let App { worker, node, .. } = self.app;
            let asks_node = move || {
                self.asking_node.try_set(true);
            };
            let manifest = load::manifest(self.content, worker, node, asks_node).await;
            self.asking_node.try_set(false);
            let manifest = match manifest {
                Ok(manifest) => manifest,
                Err(failure) => {
                    self.failure.try_set(Some(failure));
                    return;
                }
            };
            // Playback starts from the manifest alone; the words come when they come.
            let work = Work::new(&manifest, None);
            self.chosen.try_set(work.main);
            if work.playable.is_empty() {
                self.failure
                    .try_set(Some(Failure::NothingToPlay { files: work.files }));
            }
            self.work.try_set(Some(Arc::new(work)));
            let found = load::card(&manifest).await;
            let work = Work::new(&manifest, found.as_ref());
            // `Some` once another page is shown: then the title is that page's.
            if self.described.try_set(true).is_none() {
                dom::set_title(Some(&work.title));
                self.card.set_value(found);
                self.work.set(Some(Arc::new(work)));
            }
        });
    }

    /// Everything that happens by itself.
    fn watch_over(self) {
        let App { worker, node, .. } = self.app;
        effect(move || {
            if let State::Failed(why) = worker.state.get() {
                self.failure.set(Some(Failure::WorkerFailed { why }));
            }
        });
        effect(move || {
            if self.first_frame.get() {
                worker.keep_shell();
                node.start();
            }
        });
        let mut remembered = false;
        effect(move || {
            if self.first_frame.get() && self.described.get() && !remembered {
                remembered = true;
                let card = self.card.get_value();
                spawn_local(async move { load::remember(self.content, card.as_ref()).await });
            }
        });
        after(NODE_PATIENCE, move || node.start());
        // A network that comes back is the remedy most panels wait for.
        listen(&window(), "online", move |_| {
            let waits = self.failure.with_untracked(|failure| {
                matches!(
                    failure,
                    Some(Failure::Unreachable { .. } | Failure::Stream { .. })
                )
            });
            if waits {
                self.retry();
            }
        });
    }

    fn retry(self) {
        let worker = self.app.worker;
        let worker_failed = worker
            .state
            .with_untracked(|state| matches!(state, State::Failed(_)));
        self.failure.set(None);
        worker.failure.set(None);
        if worker_failed {
            worker.retry();
        }
        if self.work.with_untracked(Option::is_none) {
            self.open();
        } else {
            self.attempt.update(|attempt| *attempt += 1);
        }
    }

    /// What someone waits for right now; `None` when nothing is awaited.
    fn stage(self) -> Option<Stage> {
        if self.failure.with(Option::is_some) {
            return None;
        }
        if self.asking_node.get() {
            return Some(Stage::Node);
        }
        if self.work.with(Option::is_none) {
            return Some(Stage::Manifest);
        }
        let starting = self
            .app
            .worker
            .state
            .with(|state| *state == State::Starting);
        match (starting, self.first_frame.get(), self.rebuffering.get()) {
            (true, false, _) => Some(Stage::Worker),
            (_, false, None) => Some(Stage::FirstChunk),
            (_, _, Some(at)) => Some(Stage::Rebuffering { at }),
            (_, true, None) => None,
        }
    }
}

/// What is awaited, how long already, and what may be behind it.
fn waiting(screen: Screen) -> El {
    let stage = Memo::new(move |_| screen.stage());
    let since = Rc::new(std::cell::Cell::new(dom::now_ms()));
    let seconds = RwSignal::new(0);
    let start = since.clone();
    effect(move || {
        stage.track();
        start.set(dom::now_ms());
        seconds.set(0);
    });
    every(Duration::from_secs(1), move || {
        if stage.with_untracked(Option::is_some) {
            seconds.set(dom::now_ms().saturating_sub(since.get()) / 1000);
        }
    });
    let relay = dom::relay_host();
    let sentence = move || {
        stage
            .get()
            .map(|stage| stage.sentence(&relay))
            .unwrap_or_default()
    };
    let elapsed = move || {
        stage
            .get()
            .and_then(|_| Stage::elapsed(seconds.get()))
            .unwrap_or_default()
    };
    let hint = move || {
        stage
            .get()
            .and_then(|stage| stage.hint(seconds.get()))
            .unwrap_or_default()
    };
    el("div")
        .class("waiting")
        // Read aloud when the stage changes; the seconds beside it are for the eye.
        .child(el("span").attr("role", "status").live_text(sentence))
        .child(
            el("span")
                .class("elapsed")
                .attr("aria-hidden", "true")
                .live_text(elapsed),
        )
        .child(
            el("span")
                .class("hint")
                .attr("role", "status")
                .live_text(move || hint().to_owned()),
        )
}
