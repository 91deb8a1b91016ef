//! The Web Lock that makes this page the one that runs the node.

use futures::channel::oneshot;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;

/// Name of the lock; the service worker looks its holder up.
const NAME: &str = "sluice-node";

/// Returns once this page holds the lock; it keeps it until it is closed. Without Web Locks
/// (insecure contexts) every page is its own owner.
pub(crate) async fn hold() {
    let (held, granted) = oneshot::channel::<()>();
    if request(held).is_some() {
        // Only a page going away drops the sender unheard.
        let _ = granted.await;
    }
}

fn request(held: oneshot::Sender<()>) -> Option<()> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    let request: Function = Reflect::get(&locks, &"request".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let callback = Closure::once_into_js(move |_lock: JsValue| -> Promise {
        let _ = held.send(());
        // Held for as long as this promise is open: for good.
        Promise::new(&mut |_, _| {})
    });
    request.call2(&locks, &NAME.into(), &callback).ok()?;
    Some(())
}
