//! HTTP byte ranges, resolved against a media of known length.
//!
//! A `<video>` element asks for bytes; the store holds sealed chunks. This module decides which
//! bytes to answer with. It reads no header map and builds no response, so the service worker, the
//! gateway and `cargo test` run the very same code.
//!
//! # Invariants
//!
//! - A [`ByteSpan`] is never empty and never reaches past the end of the media.
//! - A malformed or multi-part header is *ignored*, never rejected ([RFC 9110 §14.2]).
//!   Only a well-formed range that misses the media is [`Reply::Unsatisfiable`].
//!
//! [RFC 9110 §14.2]: https://www.rfc-editor.org/rfc/rfc9110#section-14.2

/// Longest Range header that is parsed, in bytes; a longer one is ignored.
const MAX_HEADER_LEN: usize = 128;

/// A run of bytes, both ends included as in `Content-Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSpan {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte; never before `first`.
    pub last: u64,
}

impl ByteSpan {
    /// Number of bytes, at least one.
    pub const fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The same span, cut to at most `max` bytes (at least one).
    #[must_use]
    pub const fn at_most(self, max: u64) -> Self {
        let max = if max == 0 { 1 } else { max };
        if self.count() <= max {
            return self;
        }
        Self {
            first: self.first,
            last: self.first + max - 1,
        }
    }
}

/// How to answer a request for a media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 200: all of it.
    Whole,
    /// 206: these bytes.
    Partial {
        /// The bytes.
        span: ByteSpan,
        /// Whether the request named no end, so that fewer bytes still answer it.
        open_ended: bool,
    },
    /// 416 with `Content-Range: bytes */len`.
    Unsatisfiable,
}

/// Decides the reply to a `Range` header (absent: `None`) on a media of `len` bytes.
pub fn resolve(header: Option<&str>, len: u64) -> Reply {
    let Some(spec) = header.filter(|h| h.len() <= MAX_HEADER_LEN).and_then(parse) else {
        return Reply::Whole;
    };
    let last = len.checked_sub(1);
    match (spec, last) {
        (Spec::Suffix(0), _) | (_, None) => Reply::Unsatisfiable,
        (Spec::Suffix(count), Some(last)) => Reply::Partial {
            span: ByteSpan {
                first: len.saturating_sub(count),
                last,
            },
            open_ended: false,
        },
        (Spec::From(first), Some(last)) if first <= last => Reply::Partial {
            span: ByteSpan { first, last },
            open_ended: true,
        },
        (Spec::FromTo(first, end), Some(last)) if first <= last => Reply::Partial {
            span: ByteSpan {
                first,
                last: end.min(last),
            },
            open_ended: false,
        },
        (Spec::From(_) | Spec::FromTo(..), Some(_)) => Reply::Unsatisfiable,
    }
}

/// Whether a `Range` still applies under `If-Range` ([RFC 9110 §13.1.5]): only a strong match of
/// our ETag keeps it. Works never change, so a date says nothing and drops the range.
///
/// [RFC 9110 §13.1.5]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
pub fn if_range_holds(header: Option<&str>, etag: &str) -> bool {
    header.is_none_or(|value| value.trim() == etag)
}

/// Whether `If-None-Match` names our ETag (weak comparison, [RFC 9110 §13.1.2]).
///
/// [RFC 9110 §13.1.2]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
pub fn none_match_hits(header: Option<&str>, etag: &str) -> bool {
    header.is_some_and(|value| {
        value
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

enum Spec {
    Suffix(u64),
    From(u64),
    FromTo(u64, u64),
}

fn parse(header: &str) -> Option<Spec> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Several ranges would need a multipart answer; RFC 9110 lets a server ignore them.
    let (first, last) = set.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", count) => Some(Spec::Suffix(number(count)?)),
        (first, "") => Some(Spec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

/// Digits only; more than a u64 holds means "past any end", not "malformed".
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The one place that calls the API; every test below is data.
    #[track_caller]
    fn check(header: &str, len: u64, want: Reply) {
        assert_eq!(resolve(Some(header), len), want, "{header} of {len} bytes");
    }

    fn partial(first: u64, last: u64) -> Reply {
        Reply::Partial {
            span: ByteSpan { first, last },
            open_ended: false,
        }
    }

    fn open(first: u64, last: u64) -> Reply {
        Reply::Partial {
            span: ByteSpan { first, last },
            open_ended: true,
        }
    }

    #[test]
    fn no_header_is_the_whole_media() {
        assert_eq!(resolve(None, 100), Reply::Whole);
    }

    #[test]
    fn open_range_runs_to_the_last_byte() {
        check("bytes=0-", 100, open(0, 99));
        check("bytes=90-", 100, open(90, 99));
        check("bytes=99-", 100, open(99, 99));
    }

    #[test]
    fn closed_range_includes_both_ends() {
        check("bytes=0-0", 100, partial(0, 0));
        check("bytes=0-1", 100, partial(0, 1));
        check("bytes=10-19", 100, partial(10, 19));
    }

    #[test]
    fn last_byte_past_the_end_is_clamped() {
        check("bytes=90-500", 100, partial(90, 99));
        check("bytes=0-99999999999999999999999999", 100, partial(0, 99));
    }

    #[test]
    fn suffix_counts_from_the_end() {
        check("bytes=-1", 100, partial(99, 99));
        check("bytes=-100", 100, partial(0, 99));
    }

    #[test]
    fn suffix_longer_than_the_media_is_the_whole_media() {
        check("bytes=-500", 100, partial(0, 99));
    }

    #[test]
    fn ranges_that_miss_the_media_are_unsatisfiable() {
        check("bytes=100-", 100, Reply::Unsatisfiable);
        check("bytes=100-200", 100, Reply::Unsatisfiable);
        check("bytes=-0", 100, Reply::Unsatisfiable);
        check(
            "bytes=99999999999999999999999999-",
            100,
            Reply::Unsatisfiable,
        );
    }

    #[test]
    fn malformed_and_multipart_headers_are_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5",
            "bytes=5-4",
            "bytes=+1-2",
            "bytes=1-2-3",
            "items=0-1",
            "bytes=0-1,5-6",
            "bytes=0x1-2",
            "=0-1",
            "bytes 0-1",
        ] {
            check(header, 100, Reply::Whole);
        }
        check(&format!("bytes={}0-1", "0".repeat(200)), 100, Reply::Whole);
    }

    #[test]
    fn unit_is_case_insensitive_and_spaces_are_forgiven() {
        check("Bytes=0-1", 100, partial(0, 1));
        check("bytes = 0 - 1 ", 100, partial(0, 1));
    }

    #[test]
    fn if_range_needs_the_very_etag() {
        assert!(if_range_holds(None, "\"a\""));
        assert!(if_range_holds(Some("\"a\""), "\"a\""));
        assert!(!if_range_holds(Some("W/\"a\""), "\"a\""));
        assert!(!if_range_holds(
            Some("Wed, 21 Oct 2015 07:28:00 GMT"),
            "\"a\""
        ));
    }

    #[test]
    fn none_match_takes_lists_stars_and_weak_tags() {
        assert!(none_match_hits(Some("\"x\", W/\"a\""), "\"a\""));
        assert!(none_match_hits(Some("*"), "\"a\""));
        assert!(!none_match_hits(Some("\"b\""), "\"a\""));
        assert!(!none_match_hits(None, "\"a\""));
    }

    proptest! {
        #[test]
        fn any_header_yields_a_span_inside_the_media(header in ".{0,40}", len in any::<u64>()) {
            if let Reply::Partial { span, .. } = resolve(Some(&header), len) {
                prop_assert!(span.first <= span.last && span.last < len);
            }
        }

        #[test]
        fn any_numbers_yield_a_span_inside_the_media(a in any::<u64>(), b in any::<u64>(), len in 1u64..) {
            if let Reply::Partial { span, .. } = resolve(Some(&format!("bytes={a}-{b}")), len) {
                prop_assert!(span.first == a && span.last < len);
            }
        }

        #[test]
        fn cutting_keeps_the_start(a in 0u64..1000, n in 1u64..1000, max in any::<u64>()) {
            let cut = ByteSpan { first: a, last: a + n - 1 }.at_most(max);
            prop_assert!(cut.first == a && cut.count() <= max.max(1) && cut.count() <= n);
        }
    }
}
