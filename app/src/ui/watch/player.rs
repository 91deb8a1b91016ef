//! The media element: when it gets its address, what its events mean, and what to do when it gives up.

use std::time::Duration;

use leptos::{ev, prelude::*};
use sluice_web::clock;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlVideoElement, MediaError};

use super::{Screen, load::NODE_PATIENCE_MS};
use crate::{
    failure::{Failure, sentence, stream},
    format,
    ui::{
        api, dom,
        node::Node,
        worker::{State, Worker},
    },
    work::{self, File},
};

/// `HTMLMediaElement.readyState` up to which the next frame is missing.
const HAVE_CURRENT_DATA: u16 = 2;

/// Milliseconds by which the service worker's report may come after the element's error.
const REPORT_PATIENCE_MS: u64 = 250;

/// Where playback was when it had to be started anew.
#[derive(Debug, Clone, Copy, Default)]
struct Resume {
    seconds: f64,
    playing: bool,
}

/// The player. Native controls: they are what people and screen readers know.
#[component]
pub(super) fn Player(screen: Screen) -> impl IntoView {
    let (worker, node) = (Worker::here(), Node::here());
    let resume = StoredValue::new(Resume::default());
    let attempts = StoredValue::new(0u32);
    let file = Memo::new(move |_| {
        screen.work.with(|work| {
            work.as_ref()
                .and_then(|work| work.playable.get(screen.chosen.get()).cloned())
        })
    });
    let controlled = Memo::new(move |_| worker.state.with(|state| *state == State::Controlling));

    // An address given before the service worker controls the page would go to the relay, which has no plaintext.
    Effect::new(move |before: Option<Option<String>>| {
        screen.attempt.track();
        let before = before.flatten();
        let (Some(video), Some(file), true) = (screen.video.get(), file.get(), controlled.get())
        else {
            return before;
        };
        if before.as_ref() != Some(&file.address) {
            resume.set_value(Resume {
                seconds: 0.0,
                playing: wants_to_play(&video),
            });
            attempts.set_value(0);
        }
        let seconds = resume.get_value().seconds;
        screen.first_frame.set(false);
        screen
            .rebuffering
            .set((seconds > 0.0).then(|| format::whole(seconds)));
        // Loads, also when the address is the same. A second `load()` would make the element forget a `play()`.
        video.set_src(&file.address);
        Some(file.address)
    });

    let on_metadata = move |_: ev::Event| {
        let Some(video) = screen.video.get_untracked() else {
            return;
        };
        let Resume { seconds, playing } = resume.get_value();
        if seconds > 0.0 {
            video.set_current_time(seconds);
        }
        if playing {
            play(&video);
        }
    };
    let on_ready = move |_: ev::Event| {
        attempts.set_value(0);
        screen.first_frame.set(true);
        screen.rebuffering.set(None);
    };
    let on_waiting = move |_: ev::Event| {
        if let Some(video) = screen.video.get_untracked()
            && screen.first_frame.get_untracked()
            && video.ready_state() <= HAVE_CURRENT_DATA
        {
            screen
                .rebuffering
                .set(Some(format::whole(video.current_time())));
        }
    };
    let on_going = move |_: ev::Event| screen.rebuffering.set(None);
    let on_error = move |_: ev::ErrorEvent| {
        let (Some(video), Some(file)) = (screen.video.get_untracked(), file.get_untracked()) else {
            return;
        };
        let Some(error) = video.error() else { return };
        if screen.first_frame.get_untracked() {
            resume.set_value(Resume {
                seconds: video.current_time(),
                playing: wants_to_play(&video),
            });
        }
        worker.playing.set(false);
        spawn_local(async move {
            let Some(trouble) = diagnose(error.code(), &file, worker).await else {
                return;
            };
            let attempt = attempts.try_get_value().unwrap_or(stream::ATTEMPTS);
            attempts.try_set_value(attempt + 1);
            if attempt >= stream::ATTEMPTS {
                screen.failure.try_set(Some(trouble.failure));
                return;
            }
            if trouble.spares_node {
                screen.asking_node.try_set(true);
                let online = node.online_within(NODE_PATIENCE_MS).await;
                screen.asking_node.try_set(false);
                if online {
                    load_again(screen, &file);
                    return;
                }
            }
            if trouble.may_pass {
                let at = resume.try_get_value().map_or(0.0, |resume| resume.seconds);
                screen.rebuffering.try_set(Some(format::whole(at)));
                let pause = Duration::from_secs(stream::pause_before(attempt).into());
                set_timeout(move || load_again(screen, &file), pause);
            } else {
                screen.failure.try_set(Some(trouble.failure));
            }
        });
    };
    on_cleanup(move || worker.playing.set(false));
    view! {
        <video node_ref=screen.video controls playsinline preload="auto"
            poster=move || screen.work.with(|work| work.as_ref().and_then(|work| work.poster.clone()))
            hidden=move || screen.failure.with(Option::is_some)
            aria-label=move || screen.work.with(|work| work.as_ref().map(|work| work.title.clone()))
            on:loadedmetadata=on_metadata on:loadeddata=on_ready on:waiting=on_waiting on:canplay=on_going
            on:seeked=on_going on:error=on_error
            on:playing=move |event| {
                worker.playing.set(true);
                on_going(event);
            }
            on:pause=move |_| worker.playing.set(false)
            on:ended=move |_| worker.playing.set(false)>
            {move || {
                controlled.get().then(|| screen.work.get()).flatten().map(|work| {
                    work.subtitles
                        .iter()
                        .map(|file| {
                            view! { <track kind="subtitles" src=file.address.clone() label=work::label(&file.path)/> }
                        })
                        .collect_view()
                })
            }}
        </video>
    }
    .into_any()
}

/// Loads again, unless the page is gone or someone chose another file meanwhile.
fn load_again(screen: Screen, file: &File) {
    let current = screen.work.try_with_untracked(|work| {
        let chosen = screen.chosen.get_untracked();
        work.as_ref()
            .is_some_and(|work| work.playable.get(chosen) == Some(file))
    });
    if current == Some(true) {
        screen.attempt.update(|attempt| *attempt += 1);
    }
}

/// Plays, or leaves it: a browser may want a click first, and then the native controls show it.
pub(super) fn play(video: &HtmlVideoElement) {
    if let Ok(playing) = video.play() {
        spawn_local(async move {
            let _ = JsFuture::from(playing).await;
        });
    }
}

fn wants_to_play(video: &HtmlVideoElement) -> bool {
    !video.paused() && !video.ended()
}

/// A failure, and what may help by itself.
struct Trouble {
    failure: Failure,
    /// Asking again after a while.
    may_pass: bool,
    /// Asking the node, which was not asked.
    spares_node: bool,
}

/// Finds out what [`MediaError`] leaves open. `None` when nothing is wrong (the load was replaced).
async fn diagnose(code: u16, file: &File, worker: Worker) -> Option<Trouble> {
    if code == MediaError::MEDIA_ERR_ABORTED {
        return None;
    }
    if worker.failure.with_untracked(Option::is_none) {
        clock::until(clock::now().plus(REPORT_PATIENCE_MS)).await;
    }
    if let Some(reported) = worker.failure.get_untracked() {
        worker.failure.set(None);
        return Some(Trouble {
            may_pass: stream::may_pass(&reported),
            spares_node: stream::spares_node(&reported),
            failure: Failure::Stream {
                tried: stream::tried(&reported),
            },
        });
    }
    // Codes 3 and 4 mean "cannot decode" as well as "the address answered with an error": ask it.
    let (may_pass, failure) = match api::stream_problem(&file.address).await {
        Some((status, detail)) => (
            matches!(status, 0 | 502..=504),
            Failure::Stream {
                tried: vec![sentence(&detail)],
            },
        ),
        None if code == MediaError::MEDIA_ERR_NETWORK => {
            let what = if dom::online() {
                "The stream broke off."
            } else {
                "The browser has no network."
            };
            (
                true,
                Failure::Stream {
                    tried: vec![what.to_owned()],
                },
            )
        }
        None => (
            false,
            Failure::NotPlayable {
                path: file.path.clone(),
                media_type: file.media.to_owned(),
            },
        ),
    };
    Some(Trouble {
        failure,
        may_pass,
        spares_node: false,
    })
}
