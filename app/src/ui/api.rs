//! The relay's public index, `GET /api/v1/works`. What it says is a listing and not verified; a watch page
//! verifies. Read with the browser's own JSON parser: one in WASM would cost more than the whole page.

use js_sys::{Array, JsString, Reflect};
use sluice_core::link::{Digest, Link};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::dom;
use crate::{failure::Failure, format, route};

/// Works asked for at once: three rows on a wide screen and then some.
const PAGE: u32 = 24;

/// Milliseconds a listing may take. A relay that needs longer is as good as absent, and there may be stored works.
const PATIENCE_MS: u32 = 10_000;

/// Longest text taken from a listing, in UTF-16 units. A relay that lists a novel as a title gets it cut.
const MAX_TEXT: u32 = 300;

/// One work as the relay lists it, reduced to what a card shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// The content id.
    pub id: String,
    /// Its title; may be empty.
    pub title: String,
    /// Address of the poster.
    pub poster: Option<String>,
    /// Plaintext bytes of all files.
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Number of files.
    pub files: u64,
}

/// A page of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Newest first.
    pub works: Vec<Work>,
    /// Where the next page starts.
    pub next: Option<String>,
}

/// Asks for the page after `cursor`.
pub(crate) async fn works(cursor: Option<&str>) -> Result<Page, Failure> {
    let mut url = format!("/api/v1/works?limit={PAGE}");
    if let Some(cursor) = cursor {
        url.push_str("&cursor=");
        url.push_str(&String::from(js_sys::encode_uri_component(cursor)));
    }
    let body = get(&url).await?;
    let listed = member(&body, "works")
        .dyn_into::<Array>()
        .map_err(|_| Failure::RelayError {
            relay: dom::relay_host(),
            detail: "The answer is not a list of works.".to_owned(),
        })?;
    let works = listed
        .iter()
        .take(PAGE as usize)
        .filter_map(|entry| work(&entry))
        .collect();
    Ok(Page {
        works,
        next: text(&body, "next").filter(|next| !next.is_empty()),
    })
}

/// Asks for the digest of a work's newest card. `None` if the relay is away or does not know.
pub(crate) async fn card_of(id: &str) -> Option<Digest> {
    let body = get(&format!("/api/v1/works/{id}")).await.ok()?;
    let link: Link = text(&body, "card")?.parse().ok()?;
    Some(link.digest)
}

/// Reads one entry. An entry without an id is nothing anyone could open.
fn work(entry: &JsValue) -> Option<Work> {
    Some(Work {
        id: text(entry, "id").filter(|id| !id.is_empty())?,
        title: text(entry, "title").unwrap_or_default(),
        poster: text(entry, "poster").map(|cid| route::poster(&cid)),
        bytes: number(entry, "bytes"),
        created_ms: number(entry, "created_ms"),
        files: member(entry, "files")
            .dyn_into::<Array>()
            .map_or(1, |files| u64::from(files.length())),
    })
}

async fn get(url: &str) -> Result<JsValue, Failure> {
    let relay = dom::relay_host();
    let options = web_sys::RequestInit::new();
    options.set_signal(Some(&web_sys::AbortSignal::timeout_with_u32(PATIENCE_MS)));
    let unreachable = || Failure::Unreachable {
        relay: dom::relay_host(),
        offline: !dom::online(),
    };
    let response: web_sys::Response =
        JsFuture::from(leptos::prelude::window().fetch_with_str_and_init(url, &options))
            .await
            .map_err(|_| unreachable())?
            .unchecked_into();
    let status = response.status();
    let body = match response.json() {
        Ok(reading) => JsFuture::from(reading).await.ok(),
        Err(_) => None,
    };
    match body {
        Some(body) if response.ok() => Ok(body),
        Some(body) if text(&body, "detail").is_some() => Err(Failure::RelayError {
            relay,
            detail: text(&body, "detail").unwrap_or_default(),
        }),
        // A proxy in front of a stopped relay answers these with a page of its own.
        _ if matches!(status, 502..=504) => Err(unreachable()),
        _ => Err(Failure::RelayError {
            relay,
            detail: format!("It answered with status {status}."),
        }),
    }
}

/// Asks for one byte why a stream fails: the status and, if it is a problem of ours, its detail. `None` if it works.
pub(crate) async fn stream_problem(url: &str, byte: u64) -> Option<(u16, String)> {
    let options = web_sys::RequestInit::new();
    options.set_signal(Some(&web_sys::AbortSignal::timeout_with_u32(PATIENCE_MS)));
    let headers = web_sys::Headers::new().ok()?;
    headers.set("range", &format!("bytes={byte}-{byte}")).ok()?;
    options.set_headers(&headers);
    let request = leptos::prelude::window().fetch_with_str_and_init(url, &options);
    let response: web_sys::Response = match JsFuture::from(request).await {
        Ok(response) => response.unchecked_into(),
        Err(error) => return Some((0, dom::message(&error))),
    };
    if response.ok() {
        return None;
    }
    let status = response.status();
    let reading = match response.json() {
        Ok(reading) => reading,
        Err(error) => return Some((status, dom::message(&error))),
    };
    let detail = JsFuture::from(reading)
        .await
        .ok()
        .and_then(|body| text(&body, "detail"));
    Some((
        status,
        detail.unwrap_or_else(|| format!("the stream answered with status {status}")),
    ))
}

fn member(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

fn text(object: &JsValue, name: &str) -> Option<String> {
    let text = member(object, name).dyn_into::<JsString>().ok()?;
    Some(text.substring(0, MAX_TEXT).into())
}

fn number(object: &JsValue, name: &str) -> u64 {
    format::whole(member(object, name).as_f64().unwrap_or(0.0))
}
