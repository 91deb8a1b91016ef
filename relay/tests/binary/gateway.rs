//! `/ipfs/{cid}`: blocks as they are, or a reason why not.

use std::fs;

use sluice_core::{ContentId, link::Link};

use crate::harness::{Place, Relay};

/// A relay with one work of several chunks; its manifest and one of its pages' chunks.
fn library() -> (Place, Relay, ContentId) {
    let place = Place::new();
    let id = place.publish("Film", &[&place.file("a.mp4", 600_000)]);
    let relay = place.serve(&[]);
    (place, relay, id.parse().unwrap())
}

/// The links of a work's first file: its first page, then its chunks.
fn links(relay: &Relay, id: ContentId) -> (Link, Vec<Link>) {
    let manifest = relay.get(&format!("/ipfs/{id}"));
    let manifest = sluice_core::manifest::Manifest::decode(&manifest.body).unwrap();
    let page = manifest.files()[0].pages[0];
    let body = relay.get(&format!("/ipfs/{page}")).body;
    let page_of = sluice_core::page::HashPage::decode(&body, 3).unwrap();
    (
        page,
        page_of
            .digests()
            .iter()
            .map(|digest| digest.raw())
            .collect(),
    )
}

#[test]
fn every_kind_of_block_is_served_and_is_what_its_cid_says() {
    let (_place, relay, id) = library();
    let work = relay.get(&format!("/api/v1/works/{id}")).json();
    let card: Link = work["card"].as_str().unwrap().parse().unwrap();
    let (page, chunks) = links(&relay, id);
    for link in chunks.into_iter().chain([page, card, id.link()]) {
        let answer = relay.get(&format!("/ipfs/{link}"));
        assert_eq!(answer.status, 200, "{link}");
        assert!(link.digest.matches(&answer.body), "{link}");
        assert_eq!(answer.header("content-type"), "application/vnd.ipld.raw");
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=29030400, immutable"
        );
        assert_eq!(answer.header("etag"), format!("\"{link}\""));
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("sandbox")
        );
        assert_eq!(answer.header("accept-ranges"), "bytes");
    }
}

#[test]
fn any_spelling_of_a_cid_names_the_block() {
    let (_place, relay, id) = library();
    let hex: String = id.0.to_string();
    let canonical = relay.get(&format!("/ipfs/{id}"));
    for spelling in [
        format!("f01711e20{hex}"),
        format!("F01711E20{}", hex.to_uppercase()),
        format!("B{}", id.to_string()[1..].to_uppercase()),
    ] {
        let answer = relay.get(&format!("/ipfs/{spelling}"));
        assert_eq!(answer.status, 200, "{spelling}");
        assert!(answer.body == canonical.body);
        assert_eq!(answer.header("etag"), canonical.header("etag"));
    }
}

#[test]
fn ranges_etags_methods_and_formats() {
    let (_place, relay, id) = library();
    let (_, chunks) = links(&relay, id);
    let path = format!("/ipfs/{}", chunks[0]);
    let whole = relay.get(&path).body;
    let len = whole.len();
    assert_eq!(len, 262_160);
    let etag = format!("\"{}\"", chunks[0]);
    let weak = format!("W/{etag}");

    #[track_caller]
    fn check(relay: &Relay, request: (&str, &str, &[(&str, &str)]), want: (u16, &[u8], &str)) {
        let answer = relay.ask(request.0, request.1, request.2);
        assert_eq!(answer.status, want.0, "{request:?}");
        assert!(
            answer.body == want.1,
            "{request:?}: {} bytes",
            answer.body.len()
        );
        assert_eq!(answer.header("content-range"), want.2, "{request:?}");
    }
    type Headers<'a> = &'a [(&'a str, &'a str)];
    fn get_of<'a>(path: &'a str, headers: Headers<'a>) -> (&'a str, &'a str, Headers<'a>) {
        ("GET", path, headers)
    }
    macro_rules! get {
        ($headers:expr) => {
            get_of(&path, $headers)
        };
    }
    for (range, want) in [
        (
            "bytes=0-",
            (206, &whole[..], format!("bytes 0-{}/{len}", len - 1)),
        ),
        ("bytes=0-0", (206, &whole[..1], format!("bytes 0-0/{len}"))),
        (
            "bytes=5-9",
            (206, &whole[5..10], format!("bytes 5-9/{len}")),
        ),
        (
            "bytes=-4",
            (
                206,
                &whole[len - 4..],
                format!("bytes {}-{}/{len}", len - 4, len - 1),
            ),
        ),
        (
            "bytes=262159-999999",
            (
                206,
                &whole[len - 1..],
                format!("bytes {}-{}/{len}", len - 1, len - 1),
            ),
        ),
        ("bytes=262160-", (416, &[][..], format!("bytes */{len}"))),
        ("bytes=-0", (416, &[][..], format!("bytes */{len}"))),
        ("bytes=9-5", (200, &whole[..], String::new())),
        ("bytes=0-1,4-5", (200, &whole[..], String::new())),
        ("chunks=0-1", (200, &whole[..], String::new())),
        ("nonsense", (200, &whole[..], String::new())),
    ] {
        check(&relay, get!(&[("range", range)]), (want.0, want.1, &want.2));
    }
    // conditions
    let first = format!("bytes 0-0/{len}");
    check(&relay, get!(&[("if-none-match", &etag)]), (304, b"", ""));
    check(&relay, get!(&[("if-none-match", &weak)]), (304, b"", ""));
    check(&relay, get!(&[("if-none-match", "*")]), (304, b"", ""));
    check(
        &relay,
        get!(&[("if-none-match", "\"x\"")]),
        (200, &whole, ""),
    );
    check(
        &relay,
        get!(&[("range", "bytes=0-0"), ("if-range", &etag)]),
        (206, &whole[..1], &first),
    );
    check(
        &relay,
        get!(&[("range", "bytes=0-0"), ("if-range", "\"x\"")]),
        (200, &whole, ""),
    );
    // methods
    check(&relay, ("HEAD", &path, &[]), (200, b"", ""));
    check(
        &relay,
        ("HEAD", &path, &[("range", "bytes=0-0")]),
        (200, b"", ""),
    );
    assert_eq!(
        relay.ask("HEAD", &path, &[]).header("content-length"),
        len.to_string()
    );
    relay
        .ask("PUT", &path, &[])
        .is_problem(405, "use GET or HEAD");
    assert_eq!(relay.ask("PUT", &path, &[]).header("allow"), "GET, HEAD");
    let preflight = relay.ask("OPTIONS", &path, &[("origin", "https://elsewhere.example")]);
    assert_eq!(
        (
            preflight.status,
            preflight.header("access-control-allow-origin")
        ),
        (204, "*")
    );
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("Range")
    );
    // formats
    let raw = format!("{path}?format=raw");
    check(&relay, ("GET", &raw, &[]), (200, &whole, ""));
    check(
        &relay,
        get!(&[("accept", "application/vnd.ipld.raw")]),
        (200, &whole, ""),
    );
    let car = format!("{path}?format=car");
    relay.get(&car).is_problem(406, "raw blocks only");
    relay
        .ask("GET", &path, &[("accept", "application/vnd.ipld.car")])
        .is_problem(406, "?format=raw");
    relay
        .get(&format!("{path}/a.mp4"))
        .is_problem(501, "single blocks");
}

#[test]
fn what_is_no_block_of_ours_is_refused() {
    let (_place, relay, _) = library();
    for (cid, status, detail) in [
        ("nonsense", 400, "not a content identifier"),
        ("%2e%2e%2fsluice.db", 400, "not a content identifier"),
        (
            "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
            400,
            "codec 0x70",
        ),
        (
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            400,
            "hash 0x12",
        ),
        (
            "bafkr4ifpmwwwqtdhwvnhpnvajhufzrl2w5iuj22pgfrpgnavizqkvvrpxm",
            404,
            "has no block",
        ),
    ] {
        relay
            .get(&format!("/ipfs/{cid}"))
            .is_problem(status, detail);
    }
    let long = "b".repeat(20_000);
    relay
        .get(&format!("/ipfs/{long}"))
        .is_problem(400, "not a content identifier");
    assert_eq!(relay.get("/healthz").status, 200);
}

#[test]
fn damaged_blocks_are_refused_counted_and_found() {
    let (place, relay, id) = library();
    let (_, chunks) = links(&relay, id);
    let file = |link: &Link| {
        let name = link.digest.to_string();
        place.data().join("blocks").join(&name[..2]).join(name)
    };
    // flipped, cut, grown; the fourth, the manifest, gone
    let mut bytes = fs::read(file(&chunks[0])).unwrap();
    bytes[1000] ^= 1;
    fs::write(file(&chunks[0]), &bytes).unwrap();
    fs::write(file(&chunks[1]), &bytes[..100]).unwrap();
    bytes[1000] ^= 1;
    let mut grown = fs::read(file(&chunks[2])).unwrap();
    grown.push(0);
    fs::write(file(&chunks[2]), grown).unwrap();
    fs::remove_file(file(&id.link())).unwrap();

    relay
        .get(&format!("/ipfs/{}", chunks[0]))
        .is_problem(410, "do not match its digest");
    relay
        .get(&format!("/ipfs/{}", chunks[1]))
        .is_problem(410, "wrong length");
    relay
        .get(&format!("/ipfs/{}", chunks[2]))
        .is_problem(410, "wrong length");
    relay
        .get(&format!("/ipfs/{id}"))
        .is_problem(410, "file is missing");
    // Not even a client that has it is told that all is well.
    let etag = format!("\"{}\"", chunks[0]);
    let path = format!("/ipfs/{}", chunks[0]);
    assert_eq!(
        relay.ask("GET", &path, &[("if-none-match", &etag)]).status,
        410
    );
    // Each is logged once, or asking in a loop would fill the disk.
    assert_eq!(relay.log().matches("a stored block is damaged").count(), 4);

    let output = place.sluice(["gc", "--verify", "--json"]).output().unwrap();
    assert!(!output.status.success());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["damaged"].as_array().unwrap().len(), 4);
    assert_eq!(found["damaged"][0]["work"], id.to_string());

    let out = place.path("out.mp4");
    let id = id.to_string();
    let args = [
        "fetch".as_ref(),
        id.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ];
    let line = place.fail(args);
    assert!(line.contains("damaged on disk"), "{line}");
    assert!(!out.exists());

    // Mended by hand, served again.
    fs::write(file(&chunks[0]), &bytes).unwrap();
    assert_eq!(relay.get(&path).status, 200);
}
