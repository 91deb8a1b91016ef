//! How the service worker answers `/stream/{content id}/{path}`.
//!
//! The decision only: who may ask, which status, which headers, which bytes. The service worker
//! turns a [`Head`] into a `Response` and fills its body; nothing here knows a browser.
//!
//! # Invariants
//!
//! - Only subresources are served. A document, frame, script or worker gets [`Refusal::Destination`],
//!   so nothing a manifest names ever runs on our origin.
//! - A body a media element reads open-endedly is at most [`MAX_OPEN_SPAN`] long; it asks again.

use crate::{
    link::{ContentId, LinkError},
    media::MediaType,
    range::{self, ByteSpan, Reply},
};

/// First path segment of every stream URL.
pub const PREFIX: &str = "/stream/";

/// Longest body for `bytes=N-` from a media element: 4 MiB.
///
/// Browsers end a service worker that feeds one response for minutes; a short one is asked for
/// again. Anything but a media element gets what it asked for.
pub const MAX_OPEN_SPAN: u64 = 4 * 1024 * 1024;

/// Where a stream URL points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The work.
    pub content: ContentId,
    /// The file's path within it, unchecked.
    pub path: String,
}

/// What the browser will do with the answer (`Request.destination`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// `<video>` or `<audio>`.
    Media,
    /// `<track>`, `<img>` or script-made `fetch`.
    Other,
    /// A document, frame, script, style, worker or anything else that can act.
    Active,
}

impl Destination {
    /// Reads `Request.destination`.
    pub fn parse(text: &str) -> Self {
        match text {
            "video" | "audio" => Self::Media,
            "" | "track" | "image" => Self::Other,
            _ => Self::Active,
        }
    }
}

/// What was asked, as far as the answer depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// What the browser will do with it.
    pub destination: Destination,
    /// The `Range` header.
    pub range: Option<&'a str>,
    /// The `If-Range` header.
    pub if_range: Option<&'a str>,
    /// The `If-None-Match` header.
    pub if_none_match: Option<&'a str>,
}

/// Status, headers and the bytes to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// What the body holds; `None` for an empty one.
    pub body: Option<ByteSpan>,
}

/// Why a request gets no media at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a stream URL of a work.
    #[error("not a work's address: {0}")]
    Address(#[from] LinkError),
    /// No path after the id.
    #[error("the address names no file; it should be /stream/<id>/<file>")]
    NoFile,
    /// Another method than GET or HEAD.
    #[error("only GET and HEAD are answered here")]
    Method,
    /// A navigation, frame, script or worker.
    #[error("media is played inside a page, not opened by itself; open /w/<id> instead")]
    Destination,
}

impl Refusal {
    /// The HTTP status that says so.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Address(_) | Self::NoFile => 404,
            Self::Method => 405,
            Self::Destination => 403,
        }
    }
}

/// Reads the path of a stream URL.
///
/// # Errors
///
/// [`Refusal::Address`] or [`Refusal::NoFile`].
pub fn target(url_path: &str) -> Result<Target, Refusal> {
    let rest = url_path.strip_prefix(PREFIX).ok_or(LinkError::Malformed)?;
    let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
    let content = id.parse()?;
    if path.is_empty() {
        return Err(Refusal::NoFile);
    }
    Ok(Target {
        content,
        path: path.to_owned(),
    })
}

/// Whether a request may be answered at all.
///
/// # Errors
///
/// [`Refusal::Method`] or [`Refusal::Destination`].
pub fn admit(ask: &Ask<'_>) -> Result<(), Refusal> {
    if ask.destination == Destination::Active {
        return Err(Refusal::Destination);
    }
    match ask.method {
        "GET" | "HEAD" => Ok(()),
        _ => Err(Refusal::Method),
    }
}

/// The entity tag of a file: works never change, so its address says it all.
pub fn etag(target: &Target) -> String {
    format!("\"{}/{}\"", target.content, target.path)
}

/// Headers every answer under `/stream` carries, refusals too: whatever the bytes are, they stay
/// data.
pub fn guard_headers() -> Vec<(&'static str, String)> {
    [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cross-origin-resource-policy", "same-origin"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

/// Decides the answer for a file of `len` bytes, at least 1.
pub fn respond(ask: &Ask<'_>, target: &Target, media: MediaType, len: u64) -> Head {
    let etag = etag(target);
    let mut headers = guard_headers();
    headers.extend([
        ("accept-ranges", "bytes".to_owned()),
        ("etag", etag.clone()),
        // The store is the cache; the HTTP cache would keep the plaintext on the disk.
        ("cache-control", "no-store".to_owned()),
    ]);
    if range::none_match_hits(ask.if_none_match, &etag) {
        return Head {
            status: 304,
            headers,
            body: None,
        };
    }
    headers.push(("content-type", media.name().to_owned()));
    let wanted = ask
        .range
        .filter(|_| range::if_range_holds(ask.if_range, &etag));
    // RFC 9110 §14.2: a server ignores Range with any method but GET.
    let wanted = wanted.filter(|_| ask.method == "GET");
    let (status, span) = match range::resolve(wanted, len) {
        Reply::Whole => (
            200,
            ByteSpan {
                first: 0,
                last: len - 1,
            },
        ),
        Reply::Partial { span, open_ended } => {
            let bounded = open_ended && ask.destination == Destination::Media;
            let span = if bounded {
                span.at_most(MAX_OPEN_SPAN)
            } else {
                span
            };
            headers.push((
                "content-range",
                format!("bytes {}-{}/{len}", span.first, span.last),
            ));
            (206, span)
        }
        Reply::Unsatisfiable => {
            headers.push(("content-range", format!("bytes */{len}")));
            return Head {
                status: 416,
                headers,
                body: None,
            };
        }
    };
    headers.push(("content-length", span.count().to_string()));
    Head {
        status,
        headers,
        body: (ask.method == "GET").then_some(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Digest;

    const GET: Ask<'_> = Ask {
        method: "GET",
        destination: Destination::Media,
        range: None,
        if_range: None,
        if_none_match: None,
    };

    fn work() -> Target {
        Target {
            content: ContentId(Digest::of(b"work")),
            path: "a/b.mp4".into(),
        }
    }

    #[track_caller]
    fn check(ask: Ask<'_>, len: u64, status: u16, body: Option<(u64, u64)>) -> Head {
        let head = respond(&ask, &work(), MediaType::Mp4, len);
        let body = body.map(|(first, last)| ByteSpan { first, last });
        assert_eq!((head.status, head.body), (status, body), "{ask:?}");
        head
    }

    fn header<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
        let found = head.headers.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn without_a_range_all_of_it() {
        let head = check(GET, 100, 200, Some((0, 99)));
        assert_eq!(header(&head, "content-length"), Some("100"));
        assert_eq!(header(&head, "content-type"), Some("video/mp4"));
        assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"));
    }

    #[test]
    fn a_media_element_reads_an_open_range_in_bounded_parts() {
        let ask = Ask {
            range: Some("bytes=10-"),
            ..GET
        };
        let len = MAX_OPEN_SPAN * 3;
        let head = check(ask, len, 206, Some((10, MAX_OPEN_SPAN + 9)));
        assert_eq!(
            header(&head, "content-range"),
            Some(format!("bytes 10-{}/{len}", MAX_OPEN_SPAN + 9).as_str())
        );
        let by_script = Ask {
            destination: Destination::Other,
            ..ask
        };
        check(by_script, len, 206, Some((10, len - 1)));
    }

    #[test]
    fn a_closed_range_is_answered_in_full() {
        let ask = Ask {
            range: Some("bytes=0-9999999"),
            ..GET
        };
        check(ask, 20_000_000, 206, Some((0, 9_999_999)));
    }

    #[test]
    fn a_range_past_the_end_is_416_with_the_length() {
        let head = check(
            Ask {
                range: Some("bytes=100-"),
                ..GET
            },
            100,
            416,
            None,
        );
        assert_eq!(header(&head, "content-range"), Some("bytes */100"));
    }

    #[test]
    fn head_has_headers_and_no_body_and_ignores_ranges() {
        let head = check(
            Ask {
                method: "HEAD",
                range: Some("bytes=0-1"),
                ..GET
            },
            100,
            200,
            None,
        );
        assert_eq!(header(&head, "content-length"), Some("100"));
    }

    #[test]
    fn if_range_with_another_tag_gets_it_whole() {
        let ask = Ask {
            range: Some("bytes=0-1"),
            if_range: Some("\"old\""),
            ..GET
        };
        check(ask, 100, 200, Some((0, 99)));
        let tag = etag(&work());
        check(
            Ask {
                if_range: Some(&tag),
                ..ask
            },
            100,
            206,
            Some((0, 1)),
        );
    }

    #[test]
    fn if_none_match_is_304() {
        let tag = etag(&work());
        check(
            Ask {
                if_none_match: Some(&tag),
                ..GET
            },
            100,
            304,
            None,
        );
    }

    #[test]
    fn nothing_that_can_act_is_admitted() {
        for text in [
            "document", "iframe", "frame", "embed", "object", "script", "worker", "style", "font",
        ] {
            let ask = Ask {
                destination: Destination::parse(text),
                ..GET
            };
            assert_eq!(admit(&ask), Err(Refusal::Destination), "{text}");
        }
        for text in ["video", "audio", "track", "image", ""] {
            assert_eq!(
                admit(&Ask {
                    destination: Destination::parse(text),
                    ..GET
                }),
                Ok(()),
                "{text}"
            );
        }
        assert_eq!(
            admit(&Ask {
                method: "POST",
                ..GET
            }),
            Err(Refusal::Method)
        );
    }

    #[test]
    fn addresses_are_read_in_any_spelling() {
        let id = work().content;
        assert_eq!(target(&format!("/stream/{id}/a/b.mp4")), Ok(work()));
        assert_eq!(target(&format!("/stream/{id}")), Err(Refusal::NoFile));
        assert_eq!(target(&format!("/stream/{id}/")), Err(Refusal::NoFile));
        assert_eq!(
            target("/stream/x/y"),
            Err(Refusal::Address(LinkError::Malformed))
        );
    }
}
