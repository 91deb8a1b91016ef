//! `/api/v1/…` and everything else that is not a block.

use std::{collections::BTreeSet, fs};

use crate::harness::{Place, Relay};

#[test]
fn works_come_newest_first_in_pages_that_never_repeat() {
    let place = Place::new();
    let source = place.file("a.mp4", 10);
    let ids: Vec<String> = (0..5)
        .map(|n| place.publish(&format!("Work {n}"), &[&source]))
        .collect();
    let relay = place.serve(&[]);
    let mut seen = Vec::new();
    let mut path = "/api/v1/works?limit=2".to_owned();
    loop {
        let page = relay.get(&path).json();
        let works = page["works"].as_array().unwrap().clone();
        assert!(works.len() <= 2);
        seen.extend(
            works
                .iter()
                .map(|work| work["id"].as_str().unwrap().to_owned()),
        );
        if seen.len() == 2 {
            // A work that arrives between two pages moves nothing.
            place.publish("Late", &[&source]);
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/works?limit=2&cursor={next}"),
            None => break,
        }
    }
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(seen, newest_first);
    assert_eq!(
        relay.get("/api/v1/works").json()["works"][0]["title"],
        "Late"
    );
    for (query, detail) in [
        ("limit=0", "1 to 100"),
        ("limit=101", "1 to 100"),
        ("limit=x", "1 to 100"),
        ("cursor=x", "start again without it"),
    ] {
        relay
            .get(&format!("/api/v1/works?{query}"))
            .is_problem(400, detail);
    }
}

#[test]
fn a_work_says_what_its_manifest_and_card_say() {
    let place = Place::new();
    let source = place.file("a.webm", 10);
    let id = place
        .run([
            "publish".as_ref(),
            source.as_os_str(),
            "--title".as_ref(),
            "T".as_ref(),
            "--description".as_ref(),
            "Two\nlines".as_ref(),
            "--licence".as_ref(),
            "CC-BY-4.0".as_ref(),
        ])
        .pop()
        .unwrap();
    let relay = place.serve(&[]);
    let work = relay.get(&format!("/api/v1/works/{id}")).json();
    let keys: BTreeSet<&str> = work
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let want = [
        "id",
        "title",
        "description",
        "language",
        "tags",
        "licence",
        "poster",
        "card",
        "card_seq",
        "created_ms",
        "bytes",
        "creator",
        "policy",
        "files",
    ];
    assert_eq!(keys, BTreeSet::from(want));
    assert_eq!(work["description"], "Two\nlines");
    assert_eq!(work["licence"], "CC-BY-4.0");
    assert_eq!(work["policy"], "free");
    assert_eq!(work["bytes"], 10);
    assert!(work["poster"].is_null());
    assert!(
        work["creator"]
            .as_str()
            .unwrap()
            .starts_with("did:key:z6Mk")
    );
    relay
        .get("/api/v1/works/nonsense")
        .is_problem(400, "not a content identifier");
    relay
        .get("/api/v1/works/bafyr4idqpctxsr4jm5caagjfjpd2jk246vk4tmmpz53p5pht5tev567hce")
        .is_problem(404, "ask another relay");
}

#[test]
fn the_node_says_where_it_listens() {
    let place = Place::new();
    let lines = place.run(["keygen", "--json"]);
    let keys: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let relay = place.serve(&[]);
    let node = relay.get("/api/v1/node").json();
    assert_eq!(node["peer_id"], keys["peer_id"]);
    let addrs = node["addrs"].as_array().unwrap();
    let end = format!("/p2p/{}", keys["peer_id"].as_str().unwrap());
    for (transport, mark) in [
        ("webtransport", "/certhash/"),
        ("ws", "/tcp/"),
        ("tcp", "/ip4/"),
    ] {
        let found = addrs.iter().filter_map(|addr| addr.as_str()).any(|addr| {
            addr.contains(&format!("/{transport}/")) && addr.contains(mark) && addr.ends_with(&end)
        });
        assert!(found, "{transport} is missing: {addrs:?}");
    }
    // Browsers do not use plain QUIC, so it is there for whoever asks only.
    assert!(!node["addrs"].to_string().contains("/quic-v1/p2p/"));
    assert_eq!(
        relay
            .get("/api/v1/node")
            .header("access-control-allow-origin"),
        "*"
    );
    // The identity stays across restarts.
    assert!(relay.stop());
    assert_eq!(
        place.serve(&[]).get("/api/v1/node").json()["peer_id"],
        keys["peer_id"]
    );
}

#[test]
fn addresses_that_are_nothing_are_problems() {
    let place = Place::new();
    let relay = place.serve(&[]);
    for path in [
        "/api",
        "/api/v2/works",
        "/ipfs/",
        "/ipfs",
        "/app.js",
        "/../../etc/passwd.txt",
        "/%00.js",
    ] {
        let answer = relay.get(path);
        assert_eq!(answer.status, 404, "{path}");
        answer.is_problem(404, "");
    }
    relay
        .get("/stream/x/y.mp4")
        .is_problem(404, "service worker");
    relay.get("/").is_problem(404, "cargo xtask build");
    assert!(relay.log().contains("no web app in this build"));
    relay.ask("POST", "/", &[]).is_problem(405, "GET or HEAD");
    relay
        .ask("DELETE", "/api/v1/works", &[])
        .is_problem(405, "GET or HEAD");
    relay
        .ask("GET", "/", &[("content-length", "100000000")])
        .is_problem(413, "send none");
}

fn with_app() -> (Place, Relay) {
    let place = Place::new();
    let app = place.path("app");
    fs::create_dir(&app).unwrap();
    for (name, text) in [
        ("index.html", "<!doctype html>the app"),
        ("sw.js", "the loader"),
        (
            "shell.json",
            r#"{"version":"1","script_hashes":["sha256-AbC="]}"#,
        ),
        ("app-0123456789abcdef.js", "the code"),
        ("app-0123456789abcdef.js.br", "packed"),
        ("app-0123456789abcdef_bg.wasm", "\0asm"),
    ] {
        fs::write(app.join(name), text).unwrap();
    }
    fs::write(place.path("secret.txt"), "secret").unwrap();
    let relay = place.serve(&["--app", app.to_str().unwrap()]);
    (place, relay)
}

#[test]
fn the_app_is_served_with_its_policies() {
    let (_place, relay) = with_app();
    for path in ["/", "/w/bafyr4iabc", "/node", "/settings"] {
        let page = relay.get(path);
        assert_eq!(page.body, b"<!doctype html>the app", "{path}");
        assert_eq!(page.header("cache-control"), "no-cache");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("script-src 'self' 'wasm-unsafe-eval' 'sha256-AbC='"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("sandbox"), "{policy}");
        assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert!(page.header("permissions-policy").contains("camera=()"));
    }
    let worker = relay.get("/sw.js");
    assert_eq!(worker.header("cache-control"), "no-cache");
    assert_eq!(
        worker.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    let policy = worker.header("content-security-policy");
    assert!(
        policy.contains("script-src 'self' 'wasm-unsafe-eval';"),
        "{policy}"
    );
    assert_eq!(relay.get("/shell.json").header("cache-control"), "no-cache");
    let code = relay.get("/app-0123456789abcdef.js");
    assert_eq!(
        (code.body.as_slice(), code.header("content-encoding")),
        (&b"the code"[..], "")
    );
    assert_eq!(
        code.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    let packed = relay.ask(
        "GET",
        "/app-0123456789abcdef.js",
        &[("accept-encoding", "gzip, br")],
    );
    assert_eq!(
        (packed.body.as_slice(), packed.header("content-encoding")),
        (&b"packed"[..], "br")
    );
    assert_eq!(packed.header("vary"), "Accept-Encoding");
    let refused = relay.ask(
        "GET",
        "/app-0123456789abcdef.js",
        &[("accept-encoding", "br;q=0")],
    );
    assert_eq!(refused.header("content-encoding"), "");
    let again = [("if-none-match", code.header("etag"))];
    assert_eq!(
        relay.ask("GET", "/app-0123456789abcdef.js", &again).status,
        304
    );
    let wasm = relay.get("/app-0123456789abcdef_bg.wasm");
    assert_eq!(wasm.header("content-type"), "application/wasm");
    assert_eq!(relay.ask("HEAD", "/", &[]).body, b"");
}

#[test]
fn the_app_never_answers_for_what_it_is_not() {
    let (_place, relay) = with_app();
    relay
        .get("/stream/bafy/a.mp4")
        .is_problem(404, "service worker");
    relay.get("/missing.js").is_problem(404, "reload the page");
    relay
        .get("/api/v1/nothing")
        .is_problem(404, "nothing at this address");
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//secret.txt",
    ] {
        let answer = relay.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.starts_with(b"secret"));
    }
}
