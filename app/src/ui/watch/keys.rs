//! Keyboard shortcuts of the watch page. What a key means is decided in [`crate::shortcut`].

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;

use super::{Screen, player};
use crate::{
    shortcut::{self, Action, Focus},
    ui::view::{self, El, el, text},
};

/// Listens for as long as the page is shown.
pub(super) fn listen(screen: Screen) {
    view::listen(&window(), "keydown", move |event| {
        // Browsers fill fields in with events of the same name that are no key presses.
        let Some(event) = event.dyn_ref::<KeyboardEvent>() else {
            return;
        };
        // Firefox's own controls say that they took a key.
        if event.default_prevented() || event.is_composing() {
            return;
        }
        let modified = event.ctrl_key() || event.alt_key() || event.meta_key();
        let Some(action) = shortcut::action(&event.key(), modified, focus(event)) else {
            return;
        };
        if action == Action::Help {
            screen.help.update(|open| *open = !*open);
        } else if screen.first_frame.get_untracked() {
            act(&screen.video(), action);
        } else {
            return;
        }
        event.prevent_default();
    });
}

fn focus(event: &KeyboardEvent) -> Focus {
    let Some(element) = event
        .target()
        .and_then(|target| target.dyn_into::<web_sys::HtmlElement>().ok())
    else {
        return Focus::Page;
    };
    match element.tag_name().as_str() {
        "VIDEO" => Focus::Player,
        "A" | "BUTTON" | "SUMMARY" => Focus::Control,
        "INPUT" | "SELECT" | "TEXTAREA" => Focus::Field,
        _ if element.is_content_editable() => Focus::Field,
        _ => Focus::Page,
    }
}

fn act(video: &web_sys::HtmlVideoElement, action: Action) {
    let to = |seconds: f64| {
        // `fastSeek` would be imprecise; assigning past either end is clamped by the browser.
        video.set_current_time(seconds.max(0.0));
    };
    match action {
        Action::Toggle if video.paused() => player::play(video),
        Action::Toggle => {
            // Pausing throws in no browser; the signature only allows for it.
            let _ = video.pause();
        }
        Action::Skip(seconds) => to(video.current_time() + f64::from(seconds)),
        Action::Tenth(tenth) if video.duration().is_finite() => {
            to(video.duration() * f64::from(tenth) / 10.0)
        }
        Action::Mute => video.set_muted(!video.muted()),
        Action::Fullscreen if document().fullscreen_element().is_some() => {
            document().exit_fullscreen()
        }
        Action::Fullscreen => {
            // iPhones have no full screen for elements; their own controls have.
            let _ = video.request_fullscreen();
        }
        Action::Tenth(_) | Action::Help => {}
    }
}

/// The list of keys.
pub(super) fn help() -> El {
    let rows = shortcut::HELP
        .iter()
        .flat_map(|(key, meaning)| [text("kbd", "", key), text("span", "", meaning)]);
    el("section")
        .class("facts")
        .attr("aria-label", "Keyboard")
        .child(text("h2", "", "Keyboard"))
        .child(el("div").class("keys").children(rows))
}
