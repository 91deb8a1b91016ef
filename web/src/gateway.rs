//! Blocks over HTTP: `GET /ipfs/{cid}` of the page's own origin.
//!
//! The answer is bounded while it arrives and is checked against its digest before it is
//! returned. Dropping the future aborts the request.

use js_sys::Uint8Array;
use sluice_core::{ContentId, Link, bridge::Trouble};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Request, RequestCache, RequestInit, Response};

/// Most addresses taken from a relay's answer.
const MAX_ADDRESSES: usize = 32;

/// Fetches and verifies a block of at most `max_len` bytes.
///
/// # Errors
///
/// [`Trouble`]: `Absent` for a 404 or 410, `Busy` for 429 and 503, `Wrong` for bytes of another
/// hash or too many, `Unreachable` for anything else.
pub async fn get(link: Link, max_len: u64) -> Result<Vec<u8>, Trouble> {
    get_url(&format!("/ipfs/{link}"), link, max_len).await
}

/// The same, told which work the block is of: a service worker between page and relay then knows
/// where to look besides the relay. The relay ignores it.
///
/// # Errors
///
/// As [`get`].
pub async fn get_for(work: ContentId, link: Link, max_len: u64) -> Result<Vec<u8>, Trouble> {
    get_url(&format!("/ipfs/{link}?work={work}"), link, max_len).await
}

/// What the relay says of itself at `/api/v1/node`: its multiaddrs, as text.
///
/// # Errors
///
/// [`Trouble::Unreachable`] if it does not answer, [`Trouble::Wrong`] if the answer has no addresses.
pub async fn relay_addresses() -> Result<Vec<String>, Trouble> {
    let init = RequestInit::new();
    init.set_cache(RequestCache::NoStore);
    let request =
        Request::new_with_str_and_init("/api/v1/node", &init).map_err(|_| Trouble::Unreachable)?;
    let response: Response = JsFuture::from(fetch(&request)?)
        .await
        .and_then(JsCast::dyn_into)
        .map_err(|_| Trouble::Unreachable)?;
    let body = response.json().map_err(|_| Trouble::Unreachable)?;
    let body = JsFuture::from(body).await.map_err(|_| Trouble::Wrong)?;
    let addresses = js_sys::Reflect::get(&body, &"addrs".into())
        .and_then(JsCast::dyn_into::<js_sys::Array>)
        .map_err(|_| Trouble::Wrong)?;
    let addresses = addresses.iter().take(MAX_ADDRESSES);
    Ok(addresses
        .filter_map(|address| address.as_string())
        .collect())
}

async fn get_url(url: &str, link: Link, max_len: u64) -> Result<Vec<u8>, Trouble> {
    let abort = AbortOnDrop(AbortController::new().map_err(|_| Trouble::Unreachable)?);
    let init = RequestInit::new();
    init.set_signal(Some(&abort.0.signal()));
    // What we keep is kept in IndexedDB; the HTTP cache would hold every byte a second time.
    init.set_cache(RequestCache::NoStore);
    let request = Request::new_with_str_and_init(url, &init).map_err(|_| Trouble::Unreachable)?;
    let response: Response = JsFuture::from(fetch(&request)?)
        .await
        .and_then(JsCast::dyn_into)
        .map_err(|_| Trouble::Unreachable)?;
    match response.status() {
        200 => {}
        404 | 410 => return Err(Trouble::Absent),
        429 | 503 => return Err(Trouble::Busy),
        _ => return Err(Trouble::Unreachable),
    }
    // The announced length is the compressed one; our relays send blocks as they are.
    if response.headers().has("content-encoding").unwrap_or(true) {
        return Err(Trouble::Wrong);
    }
    let announced = response.headers().get("content-length").ok().flatten();
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    // Our relays always announce; an answer without end is none of theirs.
    if announced.is_none_or(|len| len > max_len) {
        return Err(Trouble::Wrong);
    }
    let body = response.array_buffer().map_err(|_| Trouble::Unreachable)?;
    let body = JsFuture::from(body)
        .await
        .map_err(|_| Trouble::Unreachable)?;
    let bytes = Uint8Array::new(&body).to_vec();
    if link.digest.matches(&bytes) {
        Ok(bytes)
    } else {
        Err(Trouble::Wrong)
    }
}

/// `fetch` of whatever global this runs in: a window or a worker.
fn fetch(request: &Request) -> Result<js_sys::Promise, Trouble> {
    let global = js_sys::global();
    js_sys::Reflect::get(&global, &JsValue::from_str("fetch"))
        .and_then(|function| function.dyn_into::<js_sys::Function>())
        .and_then(|function| function.call1(&global, request))
        .and_then(JsCast::dyn_into)
        .map_err(|_| Trouble::Unreachable)
}

struct AbortOnDrop(AbortController);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // A no-op once the answer is complete.
        self.0.abort();
    }
}
