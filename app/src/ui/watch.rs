//! `/w/{id}`: one work. Fetches and verifies the manifest while the service worker starts, then plays.
//!
//! The two waits overlap on purpose: the first frame of a first visit is what this page is measured by.

mod facts;
mod keys;
mod load;
mod player;

use std::{sync::Arc, time::Duration};

use leptos::prelude::*;
use sluice_core::{card::Card, link::ContentId};
use wasm_bindgen_futures::spawn_local;

use self::{
    facts::{Chip, Facts, Sample},
    keys::{KeysHelp, listen},
    player::Player,
};
use super::{
    dom,
    node::Node,
    panel::{CopyButton, FailurePanel},
    worker::{State, Worker},
};
use crate::{failure::Failure, format, stage::Stage, work::Work};

/// After which the node starts even if no frame came: it is one more source.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// What the parts of the page share.
#[derive(Clone, Copy)]
struct Screen {
    /// The verified work, once there.
    work: RwSignal<Option<Arc<Work>>>,
    /// Whether its card was looked for, so that the title does not change under the reader.
    described: RwSignal<bool>,
    /// Index of the playable file that plays.
    chosen: RwSignal<usize>,
    /// The media element.
    video: NodeRef<leptos::html::Video>,
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
}

impl Screen {
    fn new() -> Self {
        Self {
            work: RwSignal::new(None),
            described: RwSignal::new(false),
            chosen: RwSignal::new(0),
            video: NodeRef::new(),
            first_frame: RwSignal::new(false),
            rebuffering: RwSignal::new(None),
            asking_node: RwSignal::new(false),
            failure: RwSignal::new(None),
            attempt: RwSignal::new(0),
            sample: RwSignal::new(Sample::default()),
            help: RwSignal::new(false),
        }
    }

    /// What someone waits for right now; `None` when nothing is awaited.
    fn stage(self, worker: &State) -> Option<Stage> {
        if self.failure.with(Option::is_some) {
            return None;
        }
        if self.asking_node.get() {
            return Some(Stage::Node);
        }
        if self.work.with(Option::is_none) {
            return Some(Stage::Manifest);
        }
        match (worker, self.first_frame.get(), self.rebuffering.get()) {
            (State::Starting, false, _) => Some(Stage::Worker),
            (_, false, None) => Some(Stage::FirstChunk),
            (_, _, Some(at)) => Some(Stage::Rebuffering { at }),
            (_, true, None) => None,
        }
    }
}

/// The page at `/w/{id}`.
#[component]
pub(crate) fn Watch(
    /// As it stands in the link.
    id: String,
) -> impl IntoView {
    dom::set_title(None);
    let content: ContentId = match id.parse() {
        Ok(content) => content,
        Err(_) => {
            dom::set_title(Some("Not a content id"));
            return view! { <FailurePanel failure=Failure::MalformedId { given: id }/> }.into_any();
        }
    };
    let (screen, worker, node) = (Screen::new(), Worker::here(), Node::here());
    let card = StoredValue::new(None::<Card>);
    worker.follow(content);
    let open = move || {
        spawn_local(async move {
            let asks_node = move || {
                screen.asking_node.try_set(true);
            };
            let manifest = load::manifest(content, worker, node, asks_node).await;
            screen.asking_node.try_set(false);
            let manifest = match manifest {
                Ok(manifest) => manifest,
                Err(failure) => {
                    screen.failure.try_set(Some(failure));
                    return;
                }
            };
            // Playback starts from the manifest alone; the words come when they come.
            let work = Work::new(&manifest, None);
            screen.chosen.try_set(work.main);
            if work.playable.is_empty() {
                screen
                    .failure
                    .try_set(Some(Failure::NothingToPlay { files: work.files }));
            }
            screen.work.try_set(Some(Arc::new(work)));
            let found = load::card(&manifest).await;
            let work = Work::new(&manifest, found.as_ref());
            // `None` once another page is shown: then the title is that page's.
            if screen.described.try_set(true).is_none() {
                dom::set_title(Some(&work.title));
                screen.work.try_set(Some(Arc::new(work)));
                card.try_set_value(found);
            }
        });
    };
    open();
    Effect::new(move |_| {
        if let State::Failed(why) = worker.state.get() {
            screen.failure.set(Some(Failure::WorkerFailed { why }));
        }
    });
    Effect::new(move |remembered: Option<bool>| {
        let (shown, described) = (screen.first_frame.get(), screen.described.get());
        if shown {
            worker.keep_shell();
            node.start();
        }
        let remember = shown && described && remembered != Some(true);
        if remember {
            let card = card.get_value();
            spawn_local(async move { load::remember(content, card.as_ref()).await });
        }
        remember || remembered == Some(true)
    });
    if let Ok(timer) = set_timeout_with_handle(move || node.start(), NODE_PATIENCE) {
        on_cleanup(move || timer.clear());
    }
    let retry = Callback::new(move |()| {
        let worker_failed = worker
            .state
            .with_untracked(|state| matches!(state, State::Failed(_)));
        screen.failure.set(None);
        worker.failure.set(None);
        if worker_failed {
            worker.retry();
        }
        if screen.work.with_untracked(Option::is_none) {
            open();
        } else {
            screen.attempt.update(|attempt| *attempt += 1);
        }
    });
    // A network that comes back is the remedy most panels wait for.
    let online = window_event_listener(leptos::ev::online, move |_| {
        let waits = screen.failure.with_untracked(|failure| {
            matches!(
                failure,
                Some(Failure::Unreachable { .. } | Failure::Stream { .. })
            )
        });
        if waits {
            retry.run(());
        }
    });
    on_cleanup(move || online.remove());
    listen(screen);
    let nothing = move || screen.work.with(Option::is_none) && screen.failure.with(Option::is_some);
    view! {
        <div class="watch">
            <article>
                <div class="stage">
                    <Player screen/>
                    {move || {
                        screen.failure.get().map(|failure| view! { <FailurePanel failure retry/> })
                    }}
                </div>
                <Waiting screen/>
                {move || {
                    screen.work.get().filter(|_| screen.described.get()).map(|work| view! { <About work screen/> })
                }}
            </article>
            <aside aria-label="Where the video comes from" hidden=nothing>
                <Facts screen/>
                <KeysHelp screen/>
            </aside>
        </div>
    }
    .into_any()
}

/// What is awaited, how long already, and what may be behind it.
#[component]
fn Waiting(screen: Screen) -> impl IntoView {
    let worker = Worker::here();
    let stage = Memo::new(move |_| worker.state.with(|state| screen.stage(state)));
    let since = StoredValue::new(dom::now_ms());
    let seconds = RwSignal::new(0);
    Effect::new(move |_| {
        stage.track();
        since.set_value(dom::now_ms());
        seconds.set(0);
    });
    dom::every(Duration::from_secs(1), move || {
        if stage.with_untracked(Option::is_some) {
            seconds.set(dom::now_ms().saturating_sub(since.get_value()) / 1000);
        }
    });
    let relay = dom::relay_host();
    view! {
        <div class="waiting">
            // Read aloud when the stage changes; the seconds beside it are for the eye.
            <span role="status">{move || stage.get().map(|stage| stage.sentence(&relay))}</span>
            <span class="elapsed" aria-hidden="true">
                {move || stage.get().and_then(|_| Stage::elapsed(seconds.get()))}
            </span>
            <span class="hint" role="status">
                {Memo::new(move |_| stage.get().and_then(|stage| stage.hint(seconds.get())))}
            </span>
        </div>
    }
    .into_any()
}

/// Title, chip, files, description.
#[component]
fn About(work: Arc<Work>, screen: Screen) -> impl IntoView {
    let made = (work.created_ms > 0).then(|| format!("{} · ", dom::day(work.created_ms)));
    let several = work.playable.len() > 1;
    let licence = (!work.licence.is_empty()).then(|| format!(" · licence {}", work.licence));
    let language = (!work.language.is_empty()).then(|| format!(" · {}", work.language));
    view! {
        <div class="under">
            <h1>{work.title.clone()}</h1>
            <Chip screen/>
        </div>
        {several.then(|| view! { <Files work=work.clone() screen/> })}
        <div class="about">
            <p class="meta">{made}{format::bytes(work.bytes)}{language}{licence}</p>
            {(!work.description.is_empty()).then(|| view! { <p class="description">{work.description.clone()}</p> })}
            {(!work.tags.is_empty())
                .then(|| {
                    view! {
                        <ul class="tags" aria-label="Tags">
                            {work.tags.iter().map(|tag| view! { <li>{tag.clone()}</li> }).collect_view()}
                        </ul>
                    }
                })}
            <div class="buttons">
                <Share title=work.title.clone()/>
                <button type="button" class="button" aria-expanded=move || screen.help.get().to_string()
                    on:click=move |_| screen.help.update(|open| *open = !*open)>
                    "Keyboard"
                </button>
            </div>
            <p class="meta">"Published by " <span class="mono" title=work.creator.clone()>{format::shortened(&work.creator)}</span></p>
        </div>
    }
    .into_any()
}

/// Chooses among the files of a work that play.
#[component]
fn Files(work: Arc<Work>, screen: Screen) -> impl IntoView {
    view! {
        <div class="files">
            <label for="file">"File"</label>
            <select id="file"
                on:change=move |event| {
                    if let Ok(index) = event_target_value(&event).parse() {
                        screen.chosen.set(index);
                    }
                }>
                {work
                    .playable
                    .iter()
                    .enumerate()
                    .map(|(index, file)| {
                        view! {
                            <option value=index.to_string() selected=move || screen.chosen.get() == index>
                                {format!("{} ({})", file.path, format::bytes(file.len))}
                            </option>
                        }
                    })
                    .collect_view()}
            </select>
        </div>
    }
    .into_any()
}

/// Copies the link, and opens the share sheet where there is one.
#[component]
fn Share(title: String) -> impl IntoView {
    let sheet = dom::can_share().then(|| {
        let share = move |_| {
            let data = web_sys::ShareData::new();
            data.set_title(&title);
            data.set_url(&dom::page_address());
            let shared = window().navigator().share_with_data(&data);
            spawn_local(async move {
                // Closing the sheet rejects; that is an answer, not an error.
                let _ = wasm_bindgen_futures::JsFuture::from(shared).await;
            });
        };
        view! { <button type="button" class="button" on:click=share>"Share"</button> }
    });
    view! {
        <CopyButton text=dom::page_address()/>
        {sheet}
    }
    .into_any()
}
