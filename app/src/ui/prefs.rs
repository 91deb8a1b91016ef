//! Choices of [`crate::settings`] in `localStorage`, and the theme on the document.
//!
//! A browser that refuses storage (some private windows) gets the defaults, and choices last as long as the page.

use leptos::prelude::*;

use super::view::effect;
use crate::settings::{Budget, Choice, NodeMode, Theme};

/// Every choice, as signals that remember.
#[derive(Clone, Copy)]
pub(crate) struct Prefs {
    /// Colours.
    pub theme: RwSignal<Theme>,
    /// Whether a node runs.
    pub node: RwSignal<NodeMode>,
    /// Disk for sealed chunks.
    pub budget: RwSignal<Budget>,
}

impl Prefs {
    /// Reads what was kept, and keeps what changes. Call once, at the root.
    pub(crate) fn load() -> Self {
        let prefs = Self {
            theme: remembered(),
            node: remembered(),
            budget: remembered(),
        };
        effect(move || show_theme(prefs.theme.get()));
        prefs
    }
}

fn remembered<C: Choice + Send + Sync + 'static>() -> RwSignal<C> {
    let kept = storage().and_then(|storage| storage.get_item(C::KEY).ok().flatten());
    let signal = RwSignal::new(kept.map_or_else(C::default, |spelling| C::read(&spelling)));
    let mut before = signal.get_untracked();
    effect(move || {
        let now = signal.get();
        if std::mem::replace(&mut before, now) != now
            && let Some(storage) = storage()
        {
            // A refusal (quota, private window) leaves the choice valid for this page only.
            let _ = storage.set_item(C::KEY, &now.spelled());
        }
    });
    signal
}

fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}

fn show_theme(theme: Theme) {
    if let Some(root) = document().document_element() {
        // Both calls fail only for names that are no attribute names.
        let _ = match theme {
            Theme::Auto => root.remove_attribute("data-theme"),
            Theme::Light | Theme::Dark => root.set_attribute("data-theme", &theme.spelled()),
        };
    }
}
