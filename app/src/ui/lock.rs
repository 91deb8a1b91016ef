//! Web Locks: what the tabs of one browser agree on. Reached by name, because web-sys still calls them unstable.

use js_sys::{Function, Object, Promise, Reflect};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Held by every tab whose video plays; an update of the service worker waits for all of them.
pub(crate) const PLAYING: &str = "sluice-playing";

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By one tab.
    Exclusive,
    /// By any number of tabs, while nobody holds it exclusively.
    Shared,
}

/// A lock in use, or waited for. Kept until it is let go or the tab closes.
pub(crate) struct Held(Function);

impl Held {
    /// Lets the lock go; one that was still waited for goes as soon as it is granted.
    pub(crate) fn let_go(self) {
        // A resolver of a promise throws nothing.
        let _ = self.0.call0(&JsValue::UNDEFINED);
    }
}

/// Asks for a lock, and calls `granted` once it is there. `None` where the browser has no locks.
pub(crate) fn request(name: &str, mode: Mode, granted: impl FnOnce() + 'static) -> Option<Held> {
    let locks = Reflect::get(&window().navigator(), &"locks".into()).ok()?;
    let ask: Function = Reflect::get(&locks, &"request".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let options = Object::new();
    let mode = match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
    };
    Reflect::set(&options, &"mode".into(), &mode.into()).ok()?;
    let mut resolve = None;
    let held = Promise::new(&mut |resolver, _| resolve = Some(resolver));
    let granted = Closure::once_into_js(move || {
        granted();
        held
    });
    let asked: Promise = ask
        .call3(&locks, &name.into(), &options, &granted)
        .ok()?
        .unchecked_into();
    spawn_local(async move {
        // Rejects if the browser refuses; `granted` is then never called.
        let _ = JsFuture::from(asked).await;
    });
    resolve.map(Held)
}
