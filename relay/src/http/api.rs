//! `/api/v1/…`: the works and the node, as JSON for any origin.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sluice_core::ContentId;

use super::{AppState, Problem};
use crate::store::{MAX_PAGE, Work, WorksPage};

/// Works per page unless asked otherwise.
const DEFAULT_PAGE: usize = 24;

/// `GET /api/v1/works?limit=N&cursor=C`
pub(super) async fn works(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (limit, before) = page(query.as_deref().unwrap_or_default())?;
    let WorksPage { works, next } = state.store.works(limit, before).await?;
    let works: Vec<_> = works.iter().map(public).collect();
    Ok(fresh(Json(
        json!({"works": works, "next": next.map(cursor)}),
    )))
}

/// `GET /api/v1/works/{id}`
pub(super) async fn work(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: ContentId = id.parse().map_err(|error| {
        let id: String = id.chars().take(80).collect();
        Problem::bad_request(format!("{id:?} is {error}"))
    })?;
    match state.store.work(&id).await? {
        Some(work) => Ok(fresh(Json(public(&work)))),
        None => Err(Problem::not_found(format!(
            "this relay has no work {id}; check the link, or ask another relay"
        ))),
    }
}

/// `GET /api/v1/node`
pub(super) async fn node(State(state): State<AppState>) -> Response {
    let node = state.node.info();
    fresh(Json(json!({
        "peer_id": node.peer_id,
        "addrs": node.addrs,
        "version": env!("CARGO_PKG_VERSION"),
    })))
}

/// What strangers may know: everything but whether it is unlisted, which its absence from lists
/// says already.
fn public(work: &Work) -> serde_json::Value {
    let mut value = json!(work);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("unlisted");
    }
    value
}

/// An answer that may be another one the next moment.
fn fresh(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Page length and start from a query; unknown keys are ignored, as new clients may know more.
fn page(query: &str) -> Result<(usize, Option<u64>), Problem> {
    let mut limit = DEFAULT_PAGE;
    let mut before = None;
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "limit" => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MAX_PAGE).contains(limit))
                    .ok_or_else(|| {
                        Problem::bad_request(format!("limit is a number from 1 to {MAX_PAGE}"))
                    })?;
            }
            "cursor" if !value.is_empty() => {
                before = Some(uncursor(value).ok_or_else(|| {
                    Problem::bad_request(
                        "the cursor is not one of this relay's; start again without it",
                    )
                })?);
            }
            _ => {}
        }
    }
    Ok((limit, before))
}

/// A place in the list, as clients see it: opaque, so that it may change its meaning.
fn cursor(place: u64) -> String {
    format!("w{place:x}")
}

fn uncursor(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('w').filter(|digits| digits.len() <= 16)?;
    // `from_str_radix` would also take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_place_it_was() {
        for place in [0, 1, 255, u64::MAX] {
            assert_eq!(uncursor(&cursor(place)), Some(place));
        }
        for text in ["", "w", "x1", "w+1", "wg", "w11111111111111111"] {
            assert_eq!(uncursor(text), None, "{text}");
        }
    }

    #[test]
    fn limits_out_of_range_are_refused_and_unknown_keys_ignored() {
        assert!(page("limit=0").is_err());
        assert!(page("limit=101").is_err());
        assert!(page("limit=-1").is_err());
        assert!(page("cursor=nonsense").is_err());
        assert_eq!(page("limit=7&sort=x").ok(), Some((7, None)));
        assert_eq!(page("cursor=").ok(), Some((DEFAULT_PAGE, None)));
        assert_eq!(page("").ok(), Some((DEFAULT_PAGE, None)));
    }
}
