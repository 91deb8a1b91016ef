//! The media element: when it gets its address, what its events mean, and what to do when it gives up.

use leptos::{ev, prelude::*};
use wasm_bindgen_futures::spawn_local;

use super::Screen;
use crate::{
    failure::{Failure, sentence, stream},
    format,
    ui::{
        api, dom,
        worker::{State, Worker},
    },
    work::{self, File},
};

/// `HTMLMediaElement.readyState` from which a frame is there.
const HAVE_CURRENT_DATA: u16 = 2;

/// Where playback was when it had to be started anew.
#[derive(Debug, Clone, Copy, Default)]
struct Resume {
    seconds: f64,
    playing: bool,
}

/// The player. Native controls: they are what people and screen readers know.
#[component]
pub(super) fn Player(screen: Screen) -> impl IntoView {
    let worker = Worker::here();
    let resume = StoredValue::new(Resume::default());
    let again = StoredValue::new(0u32);
    let file = Memo::new(move |_| {
        screen.work.with(|work| {
            work.as_ref()
                .and_then(|work| work.playable.get(screen.chosen.get()).cloned())
        })
    });
    let poster = move || {
        screen
            .work
            .with(|work| work.as_ref().and_then(|work| work.poster.clone()))
    };

    // An address given before the service worker controls the page would go to the relay, which has no plaintext.
    Effect::new(move |before: Option<Option<String>>| {
        screen.attempt.track();
        let controlled = worker.state.with(|state| *state == State::Controlling);
        let (Some(video), Some(file), true) = (screen.video.get(), file.get(), controlled) else {
            return None;
        };
        if before.flatten().as_ref() != Some(&file.address) {
            resume.set_value(Resume {
                seconds: 0.0,
                playing: before_was_playing(&video),
            });
            again.set_value(0);
        }
        screen.first_frame.set(false);
        screen.rebuffering.set(None);
        video.set_src(&file.address);
        video.load();
        Some(file.address)
    });

    let on_ready = move |_: ev::Event| {
        again.set_value(0);
        screen.first_frame.set(true);
        screen.rebuffering.set(None);
    };
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
    let remember = move || {
        if let Some(video) = screen.video.get_untracked()
            && video.current_time() > 0.0
        {
            resume.set_value(Resume {
                seconds: video.current_time(),
                playing: !video.paused(),
            });
        }
    };
    let on_error = move |_: ev::ErrorEvent| {
        let (Some(video), Some(file)) = (screen.video.get_untracked(), file.get_untracked()) else {
            return;
        };
        let Some(error) = video.error() else { return };
        remember();
        worker.playing.set(false);
        spawn_local(async move {
            let Some(trouble) = diagnose(error.code(), &file, worker).await else {
                return;
            };
            let attempt = again.try_get_value().unwrap_or(stream::ATTEMPTS);
            if trouble.may_pass && attempt < stream::ATTEMPTS {
                again.set_value(attempt + 1);
                screen
                    .rebuffering
                    .set(Some(format::whole(resume.get_value().seconds)));
                let pause = std::time::Duration::from_secs(stream::pause_before(attempt).into());
                set_timeout(
                    move || {
                        // The page may be gone, or someone chose another file meanwhile.
                        if screen.rebuffering.try_get_untracked().flatten().is_some() {
                            screen.attempt.update(|attempt| *attempt += 1);
                        }
                    },
                    pause,
                );
            } else {
                screen.failure.try_set(Some(trouble.failure));
            }
        });
    };
    on_cleanup(move || worker.playing.set(false));
    view! {
        <video node_ref=screen.video controls playsinline preload="auto" poster=poster
            hidden=move || screen.failure.with(Option::is_some)
            aria-label=move || screen.work.with(|work| work.as_ref().map(|work| work.title.clone()))
            on:loadeddata=on_ready on:canplay=on_going on:playing=move |event| {
                worker.playing.set(true);
                on_going(event);
            }
            on:seeked=on_going on:waiting=on_waiting on:loadedmetadata=on_metadata
            on:pause=move |_| worker.playing.set(false)
            on:ended=move |_| worker.playing.set(false)
            on:error=on_error>
            {move || {
                screen.work.get().map(|work| {
                    work.subtitles.iter().map(|file| {
                        view! {
                            <track kind="subtitles" src=file.address.clone() label=work::label(&file.path)/>
                        }
                    }).collect_view()
                })
            }}
        </video>
    }
    .into_any()
}

/// Plays, or leaves it: a browser may want a click first, and then the native controls show it.
pub(super) fn play(video: &web_sys::HtmlVideoElement) {
    if let Ok(playing) = video.play() {
        spawn_local(async move {
            let _ = wasm_bindgen_futures::JsFuture::from(playing).await;
        });
    }
}

fn before_was_playing(video: &web_sys::HtmlVideoElement) -> bool {
    !video.paused() && !video.ended()
}

/// A failure, and whether asking again may help by itself.
struct Trouble {
    failure: Failure,
    may_pass: bool,
}

/// Finds out what `MediaError` leaves open. `None` when nothing is wrong (the load was replaced).
async fn diagnose(code: u16, file: &File, worker: Worker) -> Option<Trouble> {
    let not_playable = || Failure::NotPlayable {
        path: file.path.clone(),
        media_type: file.media.to_owned(),
    };
    if code == web_sys::MediaError::MEDIA_ERR_ABORTED {
        return None;
    }
    let reported = worker.failure.try_get_untracked().flatten();
    if let Some(reported) = reported {
        return Some(Trouble {
            may_pass: stream::may_pass(&reported),
            failure: Failure::Stream {
                tried: stream::tried(&reported),
            },
        });
    }
    // Codes 3 and 4 mean "cannot decode" as well as "the address answered with an error": ask it.
    match api::stream_problem(&file.address).await {
        Some((status, detail)) => Some(Trouble {
            may_pass: matches!(status, 0 | 502..=504),
            failure: Failure::Stream {
                tried: vec![sentence(&detail)],
            },
        }),
        None if code == web_sys::MediaError::MEDIA_ERR_NETWORK => Some(Trouble {
            may_pass: true,
            failure: Failure::Stream {
                tried: vec![
                    if dom::online() {
                        "The stream broke off."
                    } else {
                        "The browser has no network."
                    }
                    .to_owned(),
                ],
            },
        }),
        None => Some(Trouble {
            may_pass: false,
            failure: not_playable(),
        }),
    }
}
