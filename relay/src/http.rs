//! The relay over HTTP: routes, limits and headers.
//!
//! `/` and the app's routes, `/ipfs/{cid}`, `/api/v1/…`, `/healthz`, `/readyz`. Every error is a
//! problem document; every answer carries the security headers. Sockets are [`listen`]'s business,
//! certificates [`tls`]'s.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{metrics::Metrics, store::Store};

mod api;
mod app;
mod gateway;
mod guard;
pub mod listen;
mod problem;
pub mod tls;

pub use app::Assets;
pub use problem::Problem;

/// Longest body a request may announce. No route reads one.
const MAX_BODY_LEN: u64 = 64 * 1024;

/// Blocks that are on their way to clients at once: 128 MiB. More than one address can hold with
/// the default of its connections.
pub const BLOCKS_IN_MEMORY: usize = 512;

/// What the routes share.
#[derive(Clone, Debug)]
pub struct AppState {
    /// The data folder.
    pub store: Store,
    /// The web app.
    pub assets: Assets,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The libp2p node.
    pub node: Arc<dyn NodeView>,
    /// Room for blocks on their way out: [`BLOCKS_IN_MEMORY`].
    pub outgoing: Arc<Semaphore>,
    /// How long a route may take.
    pub request_timeout: Duration,
}

/// What the routes ask of the libp2p node.
pub trait NodeView: Send + Sync + std::fmt::Debug {
    /// Who it is and where it listens now; addresses change when certificates rotate.
    fn info(&self) -> NodeInfo;

    /// What is wrong with it, if anything.
    fn trouble(&self) -> Option<String>;
}

/// Who the node is and where it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its libp2p peer id.
    pub peer_id: String,
    /// Its multiaddrs, certificate hashes and `/p2p/` included.
    pub addrs: Vec<String>,
}

/// All routes of the relay.
pub fn router(state: AppState) -> Router {
    let open = Router::new()
        .route(
            "/ipfs/{cid}",
            get(gateway::block)
                .options(gateway::preflight)
                .fallback(wrong_method),
        )
        .route(
            "/ipfs/{cid}/{*below}",
            get(gateway::below).fallback(wrong_method),
        )
        .route("/api/v1/works", get(api::works).fallback(wrong_method))
        .route("/api/v1/works/{id}", get(api::work).fallback(wrong_method))
        .route("/api/v1/node", get(api::node).fallback(wrong_method))
        .layer(middleware::map_response(for_any_origin));
    Router::new()
        .merge(open)
        .route("/healthz", get(healthz).fallback(wrong_method))
        .route("/readyz", get(readyz).fallback(wrong_method))
        .fallback_service(
            get(app::file)
                .fallback(wrong_method)
                .with_state(state.clone()),
        )
        .layer(middleware::from_fn_with_state(state.clone(), guard_request))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(secure))
        .with_state(state)
}

/// The routes of the metrics listener.
pub fn metrics_router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(metrics).fallback(wrong_method))
        .fallback(|| async { Problem::not_found("this listener has /metrics only") })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(secure))
        .with_state(state)
}

/// Sends everybody who speaks plain HTTP to `domain` over HTTPS, and serves the rest.
pub fn redirecting(router: Router, domains: Vec<String>) -> Router {
    let domains = Arc::new(domains);
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let domains = domains.clone();
        async move {
            let host = request
                .headers()
                .get(header::HOST)
                .and_then(|value| value.to_str().ok())
                .map(|host| {
                    host.split(':')
                        .next()
                        .unwrap_or_default()
                        .to_ascii_lowercase()
                });
            let domain = host.filter(|host| domains.iter().any(|domain| domain == host));
            let Some(domain) = domain else {
                return next.run(request).await;
            };
            let path = request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str());
            match HeaderValue::try_from(format!("https://{domain}{path}")) {
                Ok(target) => {
                    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, target)]).into_response()
                }
                Err(_) => next.run(request).await,
            }
        }
    }))
}

/// Tells browsers to come back over HTTPS only.
pub fn strictly_https(router: Router) -> Router {
    router.layer(middleware::map_response(|mut response: Response| async {
        response.headers_mut().insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
        response
    }))
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when blocks can be read and written and the node listens, else 503 with the reason.
async fn readyz(State(state): State<AppState>) -> Result<Response, Problem> {
    let not_ready = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    if state.store.check().await.is_err() {
        return Err(not_ready(
            "the data folder cannot be used; the relay's log says why".into(),
        ));
    }
    if let Some(trouble) = state.node.trouble() {
        return Err(not_ready(format!(
            "the libp2p node is not ready: {trouble}"
        )));
    }
    Ok(Json(json!({"ready": true})).into_response())
}

async fn metrics(State(state): State<AppState>) -> Result<Response, Problem> {
    let (works, bytes) = state.store.totals().await?;
    let text = state.metrics.text(works, bytes, state.store.damaged());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok((
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        text,
    )
        .into_response())
}

async fn wrong_method(method: Method) -> Response {
    let mut response = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not possible here; use GET or HEAD"),
    )
    .into_response();
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic hook has written the message and place to the log.
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the relay made a mistake; try again, and tell its operator if it stays",
    )
    .into_response()
}

/// Bounds body and time of a request, and counts it.
async fn guard_request(
    State(state): State<AppState>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let route = path.map_or_else(|| "app".into(), |path| path.as_str().to_owned());
    let started = tokio::time::Instant::now();
    let response = if request.body().size_hint().lower() > MAX_BODY_LEN {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "no request here needs a body; send none",
        )
        .into_response()
    } else {
        match tokio::time::timeout(state.request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "the relay is too busy to answer in time; try again later or ask another relay",
            )
            .into_response(),
        }
    };
    state
        .metrics
        .request(&route, response.status().as_u16(), started.elapsed());
    response
}

/// Blocks and lists are for every origin: what they say is public or verifies itself.
async fn for_any_origin(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Content-Length, Content-Range, ETag, X-Ipfs-Path"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

/// Headers of every answer. What a route set itself stays.
async fn secure(mut response: Response) -> Response {
    const HEADERS: [(&str, &str); 6] = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=(), payment=(), usb=(), \
             fullscreen=(self), picture-in-picture=(self)",
        ),
        // Nothing but the app's own files may act in a browser: not a block, not an error.
        (
            "content-security-policy",
            "sandbox; default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
