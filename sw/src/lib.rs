//! The service worker: route, range, open, stream.
//!
//! `loader.js` registers the listeners and calls the three functions exported here. The worker is
//! stateless: whatever a restart loses (read manifests, the port to the node) is found again.
//!
//! # Invariants
//!
//! - A byte reaches the player only from a chunk whose hash the manifest's pages promise.
//! - Neither plaintext nor a paid work's key is stored, logged or sent anywhere but to the player.
//! - libp2p and Leptos are never compiled into this crate.

mod blocks;
mod body;
mod node;
mod report;
mod work;
mod worker;

use js_sys::Array;
use sluice_core::{
    ContentId, Link,
    bridge::ToWorker,
    link::Codec,
    manifest::MAX_MANIFEST_LEN,
    media::{MAX_POSTER_LEN, MediaType},
    stream::{self, Ask, Destination, Refusal},
};
use sluice_web::envelope;
use wasm_bindgen::prelude::*;
use web_sys::{Headers, MessagePort, Request, Response, ResponseInit, Url};

use crate::{
    blocks::{Kind, Want},
    worker::Worker,
};

/// Answers `/stream/{id}/{path}`.
///
/// # Errors
///
/// Only when the platform refuses to build a response.
#[wasm_bindgen]
pub async fn stream(request: Request, client: String) -> Result<Response, JsValue> {
    let headers = request.headers();
    let header = |name| headers.get(name).ok().flatten();
    let (range, if_range, if_none_match) =
        (header("range"), header("if-range"), header("if-none-match"));
    // The DOM enum's JS name, rather than web-sys's closed list, which panics on new values.
    let destination = text_property(&request, "destination");
    let method = request.method();
    let mut ask = Ask {
        method: &method,
        destination: Destination::parse(&destination),
        range: range.as_deref(),
        if_range: if_range.as_deref(),
        if_none_match: if_none_match.as_deref(),
    };
    if text_property(&request, "mode") == "navigate" {
        ask.destination = Destination::Active;
    }
    let path = Url::new(&request.url())?.pathname();
    let target = match stream::admit(&ask).and_then(|()| stream::target(&path)) {
        Ok(target) => target,
        Err(refusal) => return refused(&refusal),
    };
    let worker = Worker::get();
    match worker.open(&target, client).await {
        Err(error) => problem(error.status(), "This cannot be played", &error.to_string()),
        Ok(reader) => {
            let head = stream::respond(&ask, &target, reader.media(), reader.len());
            let body = match head.body {
                None => None,
                Some(span) => match reader.start(span).await {
                    Ok(body) => Some(body),
                    Err(error) => {
                        return problem(
                            error.status(),
                            "This cannot be played",
                            &error.to_string(),
                        );
                    }
                },
            };
            respond(head.status, &head.headers, body.map(body::into_stream))
        }
    }
}

/// Answers `/ipfs/{cid}?work={id}` from every source there is: manifests, cards and posters for
/// pages, offline too.
///
/// # Errors
///
/// Only when the platform refuses to build a response.
#[wasm_bindgen]
pub async fn block(request: Request, client: String) -> Result<Response, JsValue> {
    let url = Url::new(&request.url())?;
    let link = url
        .pathname()
        .strip_prefix("/ipfs/")
        .map(str::parse::<Link>);
    let work = url
        .search_params()
        .get("work")
        .map(|id| id.parse::<ContentId>());
    let (Some(Ok(link)), Some(Ok(content))) = (link, work) else {
        return problem(404, "Not a block", "The address names no block of a work.");
    };
    let max_len = match link.codec {
        Codec::Raw => MAX_POSTER_LEN,
        Codec::DagCbor => MAX_MANIFEST_LEN as u64,
    };
    let want = Want {
        content,
        digest: link.digest,
        kind: Kind::Block { link, max_len },
    };
    match Worker::get().block(want, client).await {
        Err(error) => problem(error.status(), "Not found", &error.to_string()),
        Ok(bytes) => {
            // A raw block is shown only if it is one of the four picture formats.
            let media = match link.codec {
                Codec::Raw => MediaType::of_poster(&bytes).map(MediaType::name),
                Codec::DagCbor => Ok("application/vnd.ipld.dag-cbor"),
            };
            let Ok(media) = media else {
                return problem(415, "Not a picture", "The block is not a poster.");
            };
            let mut headers = stream::guard_headers();
            headers.push(("content-type", media.to_owned()));
            headers.push(("content-length", bytes.len().to_string()));
            let array = js_sys::Uint8Array::from(bytes.as_slice());
            respond(200, &headers, Some(array.into()))
        }
    }
}

/// Starts reading what the page at this path will want; nobody waits for it.
#[wasm_bindgen]
pub async fn prepare(path: String) {
    let worker = Worker::get();
    if let Some(Ok(content)) = path.strip_prefix("/w/").map(str::parse) {
        worker.prepare(content).await;
    }
}

/// Takes a page's message. Returns what only `loader.js` can do, if anything.
#[wasm_bindgen]
pub async fn message(data: JsValue, client: String, port: Option<MessagePort>) -> Option<String> {
    let (message, _) = envelope::unwrap::<ToWorker>(&data)?;
    let worker = Worker::get();
    match message {
        ToWorker::Claim => Some("claim".into()),
        ToWorker::Activate => Some("activate".into()),
        ToWorker::KeepShell => Some("keep-shell".into()),
        ToWorker::NodePort => {
            worker.node().attach(port?, client);
            None
        }
        ToWorker::ForgetAll => {
            worker.forget_all();
            None
        }
    }
}

fn text_property(request: &Request, name: &str) -> String {
    js_sys::Reflect::get(request, &name.into())
        .ok()
        .and_then(|value| value.as_string())
        .unwrap_or_default()
}

fn refused(refusal: &Refusal) -> Result<Response, JsValue> {
    problem(refusal.status(), "Not served", &refusal.to_string())
}

fn problem(status: u16, title: &str, detail: &str) -> Result<Response, JsValue> {
    let body = js_sys::Object::new();
    let fields: [(&str, JsValue); 4] = [
        ("type", "about:blank".into()),
        ("title", title.into()),
        ("status", status.into()),
        ("detail", detail.into()),
    ];
    for (name, value) in fields {
        js_sys::Reflect::set(&body, &name.into(), &value)?;
    }
    let body = js_sys::JSON::stringify(&body)?;
    let mut headers = stream::guard_headers();
    headers.push(("content-type", "application/problem+json".to_owned()));
    respond(status, &headers, Some(body.into()))
}

fn respond(
    status: u16,
    headers: &[(&'static str, String)],
    body: Option<JsValue>,
) -> Result<Response, JsValue> {
    let list = Headers::new()?;
    for (name, value) in headers {
        list.append(name, value)?;
    }
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(&list);
    // One constructor for streams, bytes and text: the typed ones of web-sys differ only in that.
    let constructor: js_sys::Function =
        js_sys::Reflect::get(&js_sys::global(), &"Response".into())?.dyn_into()?;
    let arguments = Array::of2(&body.unwrap_or(JsValue::NULL), &init);
    js_sys::Reflect::construct(&constructor, &arguments)?.dyn_into()
}
