//! Tells pages what happened: bytes served, failures, and that a node is needed.

use js_sys::{Array, Function, Promise, Reflect};
use sluice_core::bridge::{Failure, FromWorker, NODE_LOCK, Served};
use sluice_web::envelope;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Client, ServiceWorkerGlobalScope};

/// Tells a page that bytes were read for it.
pub(crate) fn served(client: &str, served: Served) {
    post(client.to_owned(), FromWorker::Served(served));
}

/// Tells a page that a block could not be had.
pub(crate) fn failed(client: &str, failure: Failure) {
    post(client.to_owned(), FromWorker::Failed(failure));
}

/// Tells the page that runs the node, if there is one.
pub(crate) fn to_node_owner(message: FromWorker) {
    spawn_local(async move {
        if let Some(client) = node_owner().await {
            post(client, message);
        }
    });
}

fn post(client: String, message: FromWorker) {
    if client.is_empty() {
        return;
    }
    spawn_local(async move {
        // A page that was closed hears nothing; that is no failure.
        let found = JsFuture::from(scope().clients().get(&client)).await;
        if let Ok(found) = found
            && let Ok(page) = found.dyn_into::<Client>()
        {
            let _ = page.post_message(&envelope::wrap(&message, None).value);
        }
    });
}

fn scope() -> ServiceWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// The client id of whoever holds the node's lock.
async fn node_owner() -> Option<String> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    let query: Function = Reflect::get(&locks, &"query".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let promise: Promise = query.call0(&locks).ok()?.dyn_into().ok()?;
    let snapshot = JsFuture::from(promise).await.ok()?;
    let held: Array = Reflect::get(&snapshot, &"held".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let property = |lock: &JsValue, name: &str| Reflect::get(lock, &name.into()).ok()?.as_string();
    held.iter()
        .find(|lock| property(lock, "name").as_deref() == Some(NODE_LOCK))
        .and_then(|lock| property(&lock, "clientId"))
}
