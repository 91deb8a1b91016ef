//! What the service worker answers to any Range header on a file of any length.
//!
//! Input: the length (u64 be), a byte that chooses method, destination and conditions, the header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_core::{
    ContentId, Digest,
    chunk::{CHUNK_LEN, Layout, MAX_FILE_LEN},
    media::MediaType,
    range::{self, ByteSpan, Reply},
    stream::{self, Ask, Destination, MAX_OPEN_SPAN, Target},
};

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk() else {
        return;
    };
    let (Some((&choice, header)), len) = (rest.split_first(), u64::from_be_bytes(*len)) else {
        return;
    };
    let Ok(header) = std::str::from_utf8(header) else {
        return;
    };
    if let Reply::Partial { span, .. } = range::resolve(Some(header), len) {
        assert!(span.first <= span.last && span.last < len);
    }
    // Addresses come with it: whatever names a work is printed in the one spelling that names it too.
    if let Ok(target) = stream::target(&format!("{}{header}", stream::PREFIX)) {
        assert_eq!(target.content.to_string().parse(), Ok(target.content));
    }
    let len = len % MAX_FILE_LEN + 1;
    let target = Target {
        content: ContentId(Digest::of(b"work")),
        path: "film.mp4".into(),
    };
    let etag = stream::etag(&target);
    let is = |bit: u8| choice >> bit & 1 == 1;
    let ask = Ask {
        method: if is(0) { "HEAD" } else { "GET" },
        destination: if is(1) {
            Destination::Other
        } else {
            Destination::Media
        },
        range: (!is(2)).then_some(header),
        if_range: is(3).then_some(if is(4) { &etag } else { header }),
        if_none_match: is(5).then_some(header),
    };
    let head = stream::respond(&ask, &target, MediaType::Mp4, len);
    let header_of = |name| {
        head.headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(header_of("x-content-type-options"), Some("nosniff"));
    match (head.status, head.body) {
        (200 | 206, Some(span)) => check(span, len, &ask, header_of("content-length")),
        (200, None) => assert_eq!(ask.method, "HEAD"),
        (304, None) => assert!(ask.if_none_match.is_some()),
        (416, None) => assert_eq!(
            header_of("content-range"),
            Some(format!("bytes */{len}").as_str())
        ),
        other => panic!("{other:?}"),
    }
});

/// The body is inside the file, as long as announced, and made of pieces without gap or overlap.
fn check(span: ByteSpan, len: u64, ask: &Ask<'_>, announced: Option<&str>) {
    assert!(span.first <= span.last && span.last < len);
    assert_eq!(announced, Some(span.count().to_string().as_str()));
    let open = ask
        .range
        .is_some_and(|header| header.trim_end().ends_with('-'));
    if open && ask.destination == Destination::Media && span.count() != len {
        assert!(span.count() <= MAX_OPEN_SPAN);
    }
    let layout = Layout::new(len).expect("1 byte to 1 TiB");
    let mut at = span.first;
    // A film has millions of chunks; some at the start say as much.
    let span = span.at_most(CHUNK_LEN * 4);
    for piece in layout.pieces(span) {
        assert_eq!(piece.chunk.0 * CHUNK_LEN + piece.start as u64, at);
        assert!(piece.start < piece.end && piece.end as u64 <= layout.plain_len(piece.chunk));
        at += (piece.end - piece.start) as u64;
    }
    assert_eq!(at, span.last + 1);
}
