//! Choices of [`crate::settings`] in `localStorage`, and the theme on the document.
//!
//! A browser that refuses storage (some private windows) gets the defaults, and choices last as long as the page.

use leptos::prelude::*;

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
        Effect::new(move |_| show_theme(prefs.theme.get()));
        prefs
    }

    /// The choices of this page.
    pub(crate) fn here() -> Self {
        expect_context()
    }
}

fn remembered<C: Choice + Send + Sync + 'static>() -> RwSignal<C> {
    let kept = storage().and_then(|storage| storage.get_item(C::KEY).ok().flatten());
    let signal = RwSignal::new(kept.map_or_else(C::default, |spelling| C::read(&spelling)));
    Effect::new(move |before: Option<C>| {
        let now = signal.get();
        if before.is_some_and(|before| before != now)
            && let Some(storage) = storage()
        {
            // A refusal (quota, private window) leaves the choice valid for this page only.
            let _ = storage.set_item(C::KEY, &now.spelled());
        }
        now
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
