//! What this browser keeps: one shared handle to the library, how full it is, and how to be rid of it.

use sluice_core::bridge::ToWorker;
use sluice_web::library::{Library, StoredWork};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;

use super::{api, worker::Worker};
use crate::{failure::Failure, format, route, settings::Budget};

thread_local! {
    // The page has one thread; the handle is opened by whoever needs it first.
    static LIBRARY: Library = Library::open();
}

/// How full the storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Sealed chunks of all works.
    pub chunks: u64,
    /// Bytes this site uses, the pages themselves among them.
    pub used: u64,
    /// Bytes the browser allows this site.
    pub quota: u64,
}

/// The library of this page.
pub(crate) fn library() -> Library {
    LIBRARY.with(Library::clone)
}

/// Reads how full the storage is.
pub(crate) async fn usage() -> Result<Usage, Failure> {
    let chunks = library().stored_chunks().await.map_err(failed)?;
    let mut usage = Usage {
        chunks,
        used: 0,
        quota: 0,
    };
    // Plain http and old browsers have no estimate; the count of chunks is there all the same.
    let storage = leptos::prelude::window().navigator().storage();
    if let Ok(reading) = storage.estimate()
        && let Ok(estimate) = JsFuture::from(reading).await
    {
        let estimate: web_sys::StorageEstimate = estimate.unchecked_into();
        usage.used = estimate.get_usage().map_or(0, format::whole);
        usage.quota = estimate.get_quota().map_or(0, format::whole);
    }
    Ok(usage)
}

/// Tells whoever writes chunks how much room they may take.
pub(crate) async fn set_budget(budget: Budget) -> Result<(), Failure> {
    library().set_budget(budget.bytes()).await.map_err(failed)
}

/// Removes every work, and lets the service worker drop what it read of them.
pub(crate) async fn clear(worker: Worker) -> Result<(), Failure> {
    library().clear().await.map_err(failed)?;
    worker.tell(&ToWorker::ForgetAll, None);
    Ok(())
}

/// The works this browser keeps, as cards of the grid.
pub(crate) async fn works() -> Vec<api::Work> {
    library().stored().await.iter().map(card).collect()
}

fn card(stored: &StoredWork) -> api::Work {
    let text = stored
        .card
        .as_ref()
        .map(|card| card.text().clone())
        .unwrap_or_default();
    let id = stored.manifest.id().to_string();
    api::Work {
        title: text.title,
        poster: text
            .poster
            .map(|digest| route::kept_poster(&digest.raw().to_string(), &id)),
        id,
        bytes: stored.manifest.total_len(),
        created_ms: stored.manifest.created().0,
        files: stored.manifest.files().len() as u64,
    }
}

fn failed(error: sluice_web::store::StoreError) -> Failure {
    Failure::Storage {
        why: error.to_string(),
    }
}
