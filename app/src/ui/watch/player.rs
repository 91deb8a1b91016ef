//! The media element: when it gets its address, what its events mean, and what to do when it gives up.

use std::{cell::Cell, rc::Rc};

use leptos::prelude::*;
use sluice_core::bridge;
use sluice_web::clock;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlVideoElement, MediaError};

use super::{Screen, load::NODE_PATIENCE_MS};
use crate::{
    failure::{Failure, sentence, stream},
    format,
    retry::Retry,
    ui::{
        api, dom,
        view::{El, effect, el},
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

/// How far playback got, and how often it was started anew since it last got further.
#[derive(Debug, Default)]
struct Progress {
    resume: Cell<Resume>,
    retry: Cell<Retry>,
}

impl Progress {
    /// Counts a failure; see [`Retry::broke`].
    fn broke(&self, worker: Worker) -> Option<u32> {
        let downloaded = worker
            .traffic
            .with_untracked(|(_, traffic)| traffic.downloaded());
        let mut retry = self.retry.get();
        let due = retry.broke(self.resume.get().seconds, downloaded);
        self.retry.set(retry);
        due
    }
}

/// The player, not wired yet. Native controls: they are what people and screen readers know.
pub(super) fn element() -> (El, HtmlVideoElement) {
    let player = el("video")
        .attr("controls", "")
        .attr("playsinline", "")
        .attr("preload", "auto");
    let video = player.element().clone().unchecked_into();
    (player, video)
}

/// Gives the player its address when it is time, and its events their meaning.
pub(super) fn wire(player: El, screen: Screen) -> El {
    let worker = screen.app.worker;
    let progress = Rc::new(Progress::default());
    let controlled = Memo::new(move |_| worker.state.with(|state| *state == State::Controlling));
    feed(screen, controlled, progress.clone());

    let metadata = progress.clone();
    let on_metadata = move |_| {
        let (video, Resume { seconds, playing }) = (screen.video(), metadata.resume.get());
        if seconds > 0.0 {
            video.set_current_time(seconds);
        }
        if playing {
            play(&video);
        }
    };
    let on_ready = move |_| {
        screen.first_frame.set(true);
        screen.rebuffering.set(None);
    };
    let on_waiting = move |_| {
        let video = screen.video();
        if screen.first_frame.get_untracked() && video.ready_state() <= HAVE_CURRENT_DATA {
            screen
                .rebuffering
                .set(Some(format::whole(video.current_time())));
        }
    };
    let on_going = move |_| screen.rebuffering.set(None);
    let on_playing = move |_| {
        worker.playing.set(true);
        screen.rebuffering.set(None);
    };
    let on_quiet = move |_| worker.playing.set(false);
    let on_error = move |_| {
        worker.playing.set(false);
        let video = screen.video();
        if let (Some(error), Some(file)) = (video.error(), chosen_file(screen)) {
            if screen.first_frame.get_untracked() {
                progress.resume.set(Resume {
                    seconds: video.current_time(),
                    playing: wants_to_play(&video),
                });
            }
            spawn_local(recover(screen, progress.clone(), error.code(), file));
        }
    };
    on_cleanup(move || worker.playing.set(false));
    let subtitled = Cell::new(false);
    effect(move || {
        let work = screen.work.get().filter(|_| controlled.get());
        if let Some(work) = work.filter(|_| !subtitled.replace(true)) {
            for file in &work.subtitles {
                let track = el("track")
                    .attr("kind", "subtitles")
                    .attr("src", &file.address)
                    .attr("label", &work::label(&file.path));
                let _ = screen.video().append_child(track.element());
            }
        }
    });
    player
        .live_attr("poster", move || {
            screen
                .work
                .with(|work| work.as_ref().and_then(|work| work.poster.clone()))
                .unwrap_or_default()
        })
        .live_attr("aria-label", move || {
            screen.work.with(|work| {
                work.as_ref()
                    .map_or_else(|| "Video".to_owned(), |work| work.title.clone())
            })
        })
        .live_flag("hidden", move || screen.failure.with(Option::is_some))
        .on("loadedmetadata", on_metadata)
        .on("loadeddata", on_ready)
        .on("waiting", on_waiting)
        .on("seeking", on_waiting)
        .on("canplay", on_going)
        .on("seeked", on_going)
        .on("playing", on_playing)
        .on("pause", on_quiet)
        .on("ended", on_quiet)
        .on("error", on_error)
}

/// Sets the address as soon as there is a file and a service worker to answer for it. Before, it would go to the
/// relay, which has no plaintext.
fn feed(screen: Screen, controlled: Memo<bool>, progress: Rc<Progress>) {
    let file = Memo::new(move |_| {
        let chosen = screen.chosen.get();
        screen.work.with(|work| {
            work.as_ref()
                .and_then(|work| work.playable.get(chosen).cloned())
        })
    });
    let mut before = None;
    effect(move || {
        screen.attempt.track();
        let (Some(file), true) = (file.get(), controlled.get()) else {
            return;
        };
        let video = screen.video();
        if before.as_ref() != Some(&file.address) {
            progress.resume.set(Resume {
                seconds: 0.0,
                playing: wants_to_play(&video),
            });
            progress.retry.set(Retry::default());
        }
        let seconds = progress.resume.get().seconds;
        screen.first_frame.set(false);
        screen
            .rebuffering
            .set((seconds > 0.0).then(|| format::whole(seconds)));
        // Loads, also when the address is the same. A second `load()` would make the element forget a `play()`.
        video.set_src(&file.address);
        before = Some(file.address);
    });
}

/// After an error: asks the node if it was not asked, waits if that may help, says what is wrong if nothing does.
async fn recover(screen: Screen, progress: Rc<Progress>, code: u16, file: File) {
    let Some(trouble) = diagnose(code, &file, screen.app.worker).await else {
        return;
    };
    if let Some(attempt) = progress.broke(screen.app.worker) {
        if trouble.spares_node {
            screen.asking_node.try_set(true);
            let online = screen.app.node.online_within(NODE_PATIENCE_MS).await;
            screen.asking_node.try_set(false);
            if online {
                return load_again(screen, &file);
            }
        }
        if trouble.may_pass {
            let at = progress.resume.get().seconds;
            screen.rebuffering.try_set(Some(format::whole(at)));
            let pause_ms = u64::from(stream::pause_before(attempt)) * 1000;
            clock::until(clock::now().plus(pause_ms)).await;
            return load_again(screen, &file);
        }
    }
    if is_current(screen, &file) {
        screen.failure.set(Some(trouble.failure));
    }
}

fn chosen_file(screen: Screen) -> Option<File> {
    let chosen = screen.chosen.try_get_untracked()?;
    screen
        .work
        .try_with_untracked(|work| work.as_ref()?.playable.get(chosen).cloned())?
}

/// Whether the page is still there and nobody chose another file meanwhile.
fn is_current(screen: Screen, file: &File) -> bool {
    chosen_file(screen).as_ref() == Some(file)
}

fn load_again(screen: Screen, file: &File) {
    if is_current(screen, file) {
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
    if let Some(reported) = reported(code, file, worker).await {
        return Some(Trouble {
            may_pass: stream::may_pass(&reported),
            spares_node: stream::spares_node(&reported),
            failure: Failure::Stream {
                tried: stream::tried(&reported),
            },
        });
    }
    // Codes 3 and 4 mean "cannot decode" as well as "the address answered with an error": ask it.
    let (may_pass, failure) = match api::stream_problem(&file.address, 0).await {
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

/// Takes the service worker's report, unless what it tells of is over and cannot be what ended playback.
async fn reported(code: u16, file: &File, worker: Worker) -> Option<bridge::Failure> {
    let report = worker.failure.get_untracked()?;
    worker.failure.set(None);
    if code != MediaError::MEDIA_ERR_NETWORK
        && let Some(byte) = report.doubtful_at()
    {
        api::stream_problem(&file.address, byte).await?;
        // Asking made a newer report of the same.
        worker.failure.set(None);
    }
    Some(report.into_failure())
}
