//! `/ipfs/{cid}`: the trustless gateway for raw blocks.
//!
//! Manifests, cards, hash pages, sealed chunks and posters, verified before they leave. Spec:
//! <https://specs.ipfs.tech/http-gateways/trustless-gateway/>. No paths below a CID, no CAR files,
//! no directory listings.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sluice_core::{
    Link,
    link::Codec,
    media::MediaType,
    range::{self, Reply},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AppState, Problem};

/// What a raw block is called in `Accept` and `Content-Type`.
const RAW_BLOCK: &str = "application/vnd.ipld.raw";

/// Seconds after which a client that found no room may ask again.
const RETRY_AFTER: u32 = 5;

/// A block never changes: 48 weeks, as gateways have it.
const IMMUTABLE: &str = "public, max-age=29030400, immutable";

/// Answers `GET` and `HEAD`.
pub(super) async fn block(
    State(state): State<AppState>,
    method: Method,
    Path(cid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let link: Link = cid
        .parse()
        .map_err(|error| Problem::bad_request(format!("{:?} is {error}", shorten(&cid))))?;
    let wants = wanted(query.as_deref(), text(&headers, header::ACCEPT.as_str()))?;
    let etag = format!("\"{link}\"");
    // Damage must not hide behind a copy that the client has: the block is read first.
    let read = state.store.block(&link.digest).await;
    let Some(bytes) = read.inspect_err(|error| state.store.tell(error))? else {
        return Err(Problem::not_found(format!(
            "this relay has no block {link}; ask another relay or peer for it"
        )));
    };
    let content_type = match wants {
        Wanted::Raw => RAW_BLOCK,
        Wanted::Anything => picture(link, &bytes).unwrap_or(RAW_BLOCK),
    };
    let mut response = if range::none_match_hits(text(&headers, "if-none-match"), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let bytes = seated(&state.outgoing, bytes)?;
        state.metrics.block_served(bytes.len());
        part(&method, &headers, &etag, bytes)
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    out.insert(header::VARY, HeaderValue::from_static("Accept"));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::ETAG, ascii(etag));
    out.insert("x-ipfs-path", ascii(format!("/ipfs/{link}")));
    out.insert(
        header::CONTENT_DISPOSITION,
        ascii(format!("attachment; filename=\"{link}.bin\"")),
    );
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        // 416 is about this request only.
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Answers anything below a CID.
pub(super) async fn below() -> Problem {
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "this gateway serves single blocks; ask for /ipfs/{cid} alone",
    )
}

/// Answers a browser's question whether other origins may ask.
pub(super) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Content-Type, If-None-Match, If-Range, Range"),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    response
}

/// `bytes` with a place in memory, free again when the last part of them has left.
fn seated(outgoing: &Arc<Semaphore>, bytes: Bytes) -> Result<Bytes, Problem> {
    struct Seated {
        bytes: Bytes,
        _place: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Seated {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    match outgoing.clone().try_acquire_owned() {
        Ok(place) => Ok(Bytes::from_owner(Seated {
            bytes,
            _place: place,
        })),
        Err(_) => Err(Problem::busy(
            "too many clients are taking blocks slowly; try again soon or ask another relay or peer",
            RETRY_AFTER,
        )),
    }
}

/// 200, 206 or 416.
fn part(method: &Method, headers: &HeaderMap, etag: &str, bytes: Bytes) -> Response {
    let len = bytes.len() as u64;
    let asked = text(headers, "range").filter(|_| {
        method == Method::GET && range::if_range_holds(text(headers, "if-range"), etag)
    });
    let (status, body, content_range) = match range::resolve(asked, len) {
        Reply::Whole => (StatusCode::OK, bytes, None),
        Reply::Partial { span, .. } => {
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            (
                StatusCode::PARTIAL_CONTENT,
                bytes.slice(at(span.first)..=at(span.last)),
                Some(format!("bytes {}-{}/{len}", span.first, span.last)),
            )
        }
        Reply::Unsatisfiable => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            Bytes::new(),
            Some(format!("bytes */{len}")),
        ),
    };
    // hyper sends no body for HEAD but keeps its length.
    let mut response = (status, Body::from(body)).into_response();
    if let Some(value) = content_range {
        response
            .headers_mut()
            .insert(header::CONTENT_RANGE, ascii(value));
    }
    response
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A raw block by name.
    Raw,
    /// Whatever we have: a poster may then say that it is a picture.
    Anything,
}

/// What the client asks for; the query wins over the header.
fn wanted(query: Option<&str>, accept: Option<&str>) -> Result<Wanted, Problem> {
    let format = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("format="));
    let refuse = |what: &str| {
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            format!(
                "this gateway serves raw blocks only, not {}; ask with ?format=raw or Accept: {RAW_BLOCK}",
                shorten(what)
            ),
        )
    };
    match (format, accept) {
        (Some("raw"), _) => Ok(Wanted::Raw),
        (Some(other), _) => Err(refuse(other)),
        (None, None) => Ok(Wanted::Anything),
        (None, Some(accept)) => {
            let mut anything = false;
            for range in accept.split(',') {
                match range.split(';').next().unwrap_or_default().trim() {
                    RAW_BLOCK => return Ok(Wanted::Raw),
                    "*/*" | "application/*" | "image/*" => anything = true,
                    _ => {}
                }
            }
            if anything {
                Ok(Wanted::Anything)
            } else {
                Err(refuse(accept))
            }
        }
    }
}

/// The picture type of a poster, so that `<img>` may show it.
fn picture(link: Link, bytes: &[u8]) -> Option<&'static str> {
    if link.codec != Codec::Raw {
        return None;
    }
    MediaType::of_poster(bytes).ok().map(MediaType::name)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn ascii(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("CIDs and numbers are visible ASCII")
}

/// As much of a stranger's text as is worth repeating.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: Option<&str>, accept: Option<&str>, want: Option<Wanted>) {
        assert_eq!(wanted(query, accept).ok(), want, "{query:?} {accept:?}");
    }

    #[test]
    fn raw_blocks_are_given_to_whoever_takes_them() {
        check(Some("format=raw"), None, Some(Wanted::Raw));
        check(Some("format=raw"), Some("text/html"), Some(Wanted::Raw));
        check(Some("filename=x&format=raw"), None, Some(Wanted::Raw));
        check(None, Some("application/vnd.ipld.raw"), Some(Wanted::Raw));
        check(
            None,
            Some("text/html, application/vnd.ipld.raw;q=0.5"),
            Some(Wanted::Raw),
        );
        check(None, None, Some(Wanted::Anything));
        check(None, Some("*/*"), Some(Wanted::Anything));
        check(
            None,
            Some("image/avif,image/webp,*/*;q=0.8"),
            Some(Wanted::Anything),
        );
    }

    #[test]
    fn blocks_on_their_way_have_a_place_each_until_the_last_byte() {
        let outgoing = Arc::new(Semaphore::new(1));
        let block = Bytes::from_static(b"a block");
        let whole = seated(&outgoing, block.clone()).expect("there is room");
        let rest = whole.slice(2..);
        drop(whole);
        assert_eq!(rest, "block");
        let answer = seated(&outgoing, block.clone())
            .expect_err("the rest is still to be sent")
            .into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
        drop(rest);
        seated(&outgoing, block).expect("there is room again");
    }

    #[test]
    fn other_formats_are_refused() {
        check(Some("format=car"), None, None);
        check(Some("format=car"), Some("application/vnd.ipld.raw"), None);
        check(Some("format="), None, None);
        check(None, Some("application/vnd.ipld.car"), None);
        check(None, Some("text/html"), None);
    }
}
