//! Errors over HTTP: problem details ([RFC 9457]) that say what to do.
//!
//! Causes that only the operator can act on are logged where they arise; what leaves here names
//! no path of the machine.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::store::StoreError;

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem whose detail tells the client what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Too much is asked at once; it may be better in some seconds.
    pub fn busy(detail: impl Into<String>, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// Nothing is here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request itself is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            // Logged by the store, which knows whether it has been already.
            StoreError::Damaged { digest, reason } => Self::new(
                StatusCode::GONE,
                format!(
                    "block {digest} is damaged on this relay ({reason}); ask another relay or peer for it"
                ),
            ),
            other => {
                tracing::error!(error = %other, "the data folder failed");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the relay cannot read its data folder; try again later",
                )
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        // 404 and 410 may be cached by default, and a work may arrive the next minute.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
