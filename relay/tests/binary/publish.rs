//! Publishing and fetching back.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Place, one_line, signal, wait_until};

#[test]
fn what_was_published_comes_back_byte_for_byte() {
    let place = Place::new();
    for len in [1, 3, 262_143, 262_144, 262_145, 1_000_000] {
        let source = place.file("clip.mp4", len);
        let id = place.publish("Clip", &[&source]);
        let out = place.path(&format!("out-{len}.mp4"));
        place.run([
            "fetch".as_ref(),
            id.as_ref(),
            "--out".as_ref(),
            out.as_os_str(),
        ]);
        assert!(
            fs::read(&source).unwrap() == fs::read(&out).unwrap(),
            "{len} bytes"
        );
    }
    assert_eq!(place.list().len(), 6);
    assert_eq!(place.incoming(), [] as [std::path::PathBuf; 0]);
}

#[test]
fn more_than_one_hash_page_and_batch_come_back() {
    let place = Place::new();
    // 1,025 chunks: two pages, five batches.
    let source = place.large_file(256);
    let file = fs::OpenOptions::new().append(true).open(&source).unwrap();
    std::io::Write::write_all(&mut &file, b"the end").unwrap();
    let id = place.publish("Long", &[&source]);
    let out = place.path("out.mp4");
    place.run([
        "fetch".as_ref(),
        id.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert!(fs::read(&source).unwrap() == fs::read(&out).unwrap());
    // manifest, card, two pages
    assert_eq!(place.blocks().len(), 1025 + 4);
}

#[test]
fn several_files_make_one_work_and_come_back_in_a_folder() {
    let place = Place::new();
    let film = place.file("the film.mp4", 300_000);
    let words = place.path("english.vtt");
    fs::write(&words, "WEBVTT\n\n00:00.000 --> 00:01.000\nHello").unwrap();
    let id = place.publish("Both", &[&film, &words]);
    let relay = place.serve(&[]);
    let out = place.path("out");
    let lines = place.run([
        "fetch".as_ref(),
        id.as_ref(),
        "--from".as_ref(),
        relay.url.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert_eq!(lines.len(), 2);
    assert!(fs::read(&film).unwrap() == fs::read(out.join("the-film.mp4")).unwrap());
    assert_eq!(
        fs::read(&words).unwrap(),
        fs::read(out.join("english.vtt")).unwrap()
    );
    let left: Vec<_> = fs::read_dir(&out).unwrap().collect();
    assert_eq!(left.len(), 2, "no part is left: {left:?}");
}

#[test]
fn publishing_beside_a_running_relay_shows_at_once() {
    let place = Place::new();
    let relay = place.serve(&[]);
    assert_eq!(
        relay.get("/api/v1/works").json()["works"],
        serde_json::json!([])
    );
    let id = place.publish("Beside", &[&place.file("a.webm", 5000)]);
    let works = relay.get("/api/v1/works").json();
    assert_eq!(works["works"][0]["id"], id.as_str());
    assert_eq!(relay.get(&format!("/ipfs/{id}")).status, 200);
    assert!(relay.stop());
}

#[test]
fn the_same_input_twice_makes_two_works() {
    let place = Place::new();
    let source = place.file("a.mp4", 600_000);
    let first = place.publish("First", &[&source]);
    let blocks = place.blocks().len();
    let second = place.publish("Second", &[&source]);
    assert_ne!(first, second);
    // Another key: not one chunk is shared.
    assert_eq!(place.blocks().len(), 2 * blocks);
    place.run(["remove", &first]);
    assert_eq!(place.blocks().len(), blocks);
    let out = place.path("out.mp4");
    place.run([
        "fetch".as_ref(),
        second.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert!(fs::read(&source).unwrap() == fs::read(out).unwrap());
}

#[test]
fn results_as_json_are_for_machines() {
    let place = Place::new();
    let source = place.file("a.mp4", 10);
    let lines = place.run([
        "publish".as_ref(),
        source.as_os_str(),
        "--title".as_ref(),
        "T".as_ref(),
        "--tags".as_ref(),
        "one,two".as_ref(),
        "--language".as_ref(),
        "pt-BR".as_ref(),
        "--json".as_ref(),
    ]);
    assert_eq!(lines.len(), 1);
    let work: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(work["tags"], serde_json::json!(["one", "two"]));
    assert_eq!(work["language"], "pt-BR");
    assert_eq!(
        work["files"][0],
        serde_json::json!({"path": "a.mp4", "type": "video/mp4", "len": 10})
    );
}

#[test]
fn a_card_is_edited_by_its_creator_only() {
    let place = Place::new();
    let id = place.publish("Tpyo", &[&place.file("a.mp4", 10)]);
    let relay = place.serve(&[]);
    let path = format!("/api/v1/works/{id}");
    let old = relay.get(&path).json();
    place.run(["card", &id, "--title", "Typo", "--tags", "x", "--unlisted"]);
    let new = relay.get(&path).json();
    assert_eq!(
        (&new["title"], &new["tags"][0]),
        (&"Typo".into(), &"x".into())
    );
    assert_eq!((&old["card_seq"], &new["card_seq"]), (&0.into(), &1.into()));
    // The history stays, the list does not show it any more.
    for card in [&old["card"], &new["card"]] {
        assert_eq!(
            relay
                .get(&format!("/ipfs/{}", card.as_str().unwrap()))
                .status,
            200
        );
    }
    assert_eq!(
        relay.get("/api/v1/works").json()["works"],
        serde_json::json!([])
    );
    place.run(["card", &id, "--unlisted", "false"]);
    assert_eq!(
        relay.get("/api/v1/works").json()["works"][0]["title"],
        "Typo"
    );

    fs::remove_file(place.data().join("keys/creator.key")).unwrap();
    let line = place.fail(["card", &id, "--title", "Mine"]);
    assert!(line.contains("another creator"), "{line}");
}

#[test]
fn a_shared_poster_outlives_one_of_its_works() {
    let place = Place::new();
    let poster = place.path("poster.png");
    fs::write(&poster, b"\x89PNG\r\n\x1a\nnot much of a picture").unwrap();
    let publish = |title: &str| {
        let source = place.file("a.mp4", 10);
        let args = [
            "publish".as_ref(),
            source.as_os_str(),
            "--title".as_ref(),
            title.as_ref(),
        ];
        let poster = ["--poster".as_ref(), poster.as_os_str()];
        place.run(args.into_iter().chain(poster)).pop().unwrap()
    };
    let (first, second) = (publish("One"), publish("Two"));
    let relay = place.serve(&[]);
    let work = relay.get(&format!("/api/v1/works/{second}")).json();
    let path = format!("/ipfs/{}", work["poster"].as_str().unwrap());
    place.run(["remove", &first]);
    let answer = relay.get(&path);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "image/png")
    );
    assert_eq!(
        relay
            .get(&format!("{path}?format=raw"))
            .header("content-type"),
        "application/vnd.ipld.raw"
    );
    place.run(["remove", &second]);
    relay.get(&path).is_problem(404, "another relay");
    assert_eq!(place.blocks().len(), 0);
}

#[test]
fn interrupting_a_publish_leaves_nothing() {
    let place = Place::new();
    let source = place.large_file(400);
    let mut command = place.sluice(["publish".as_ref(), source.as_os_str()]);
    let child = command
        .args(["--title", "Long"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("blocks arrive", || !place.blocks().is_empty());
    signal(&child, Signal::INT);
    let line = one_line(&child.wait_with_output().unwrap());
    assert_eq!(line, "stopped; nothing was published");
    assert_eq!(place.list().len(), 0);
    assert_eq!((place.blocks().len(), place.incoming().len()), (0, 0));
}

#[test]
fn a_source_that_changes_meanwhile_is_refused() {
    let place = Place::new();
    let source = place.large_file(400);
    let mut command = place.sluice(["publish".as_ref(), source.as_os_str()]);
    let child = command
        .args(["--title", "Long"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("blocks arrive", || !place.incoming().is_empty());
    let file = fs::OpenOptions::new().write(true).open(&source).unwrap();
    std::io::Write::write_all(&mut &file, b"other bytes").unwrap();
    let line = one_line(&child.wait_with_output().unwrap());
    assert!(
        line.contains("large.mp4 changed while it was read"),
        "{line}"
    );
    assert_eq!(place.list().len(), 0);
    assert_eq!((place.blocks().len(), place.incoming().len()), (0, 0));
}

#[test]
fn fetch_never_leaves_its_folder_nor_replaces_what_is_there() {
    let place = Place::new();
    let (a, b) = (place.file("a.mp4", 10), place.file("b.mp4", 10));
    let single = place.publish("One", &[&a]);
    let both = place.publish("Two", &[&a, &b]);
    let out = place.path("out");

    place.run([
        "fetch".as_ref(),
        both.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    let line = place.fail([
        "fetch".as_ref(),
        both.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert!(
        line.contains("exists already") && line.contains("--force"),
        "{line}"
    );
    place.run([
        "fetch".as_ref(),
        both.as_ref(),
        "--force".as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);

    // A link where a part would go is not followed.
    let outside = place.path("outside");
    fs::write(&outside, "precious").unwrap();
    std::os::unix::fs::symlink(&outside, place.path(".x.mp4.sluice-part")).unwrap();
    let target = place.path("x.mp4");
    let line = place.fail([
        "fetch".as_ref(),
        single.as_ref(),
        "--out".as_ref(),
        target.as_os_str(),
    ]);
    assert!(line.contains("symbolic link"), "{line}");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
}

#[test]
fn a_relay_that_lies_is_found_out() {
    let place = Place::new();
    let id = place.publish("Film", &[&place.file("a.mp4", 300_000)]);
    // A relay that answers every block with the same other bytes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nwrong";
            std::io::Write::write_all(&mut stream, answer).unwrap();
        }
    });
    let out = place.path("out.mp4");
    let line = place.fail([
        "fetch".as_ref(),
        id.as_ref(),
        "--from".as_ref(),
        url.as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert!(line.contains("sent something else"), "{line}");
    assert!(!out.exists());
}

/// Fetches work `id`, published from `a.mp4`; checks that it is whole, has no title, and that stderr says why.
#[track_caller]
fn comes_without_title(place: &Place, id: &str, from: &str, why: &str) {
    let out = place.path("out.mp4");
    let to = out.to_str().unwrap();
    let output = place
        .sluice([
            "fetch", id, "--force", "--json", "--from", from, "--out", to,
        ])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("without its title") && stderr.contains(why),
        "{stderr}"
    );
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["title"].is_null(), "{told}");
    assert!(fs::read(&out).unwrap() == fs::read(place.path("a.mp4")).unwrap());
}

#[test]
fn a_card_that_is_no_good_costs_only_the_title() {
    let place = Place::new();
    let id = place.publish("Film", &[&place.file("a.mp4", 300_000)]);
    let card: sluice_core::Link = place.list()[0]["card"].as_str().unwrap().parse().unwrap();
    let name = card.digest.to_string();
    let file = place.data().join("blocks").join(&name[..2]).join(&name);
    let folder = place.data().display().to_string();

    let mut bytes = fs::read(&file).unwrap();
    bytes[9] ^= 1;
    fs::write(&file, bytes).unwrap();
    comes_without_title(&place, &id, &folder, &name);
    fs::remove_file(&file).unwrap();
    comes_without_title(&place, &id, &folder, &name);
}

#[test]
fn a_gateway_with_another_api_costs_only_the_title() {
    let place = Place::new();
    let id = place.publish("Film", &[&place.file("a.mp4", 300_000)]);
    // It has the blocks, and a page for every other path.
    let blocks = place.data().join("blocks");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let len = std::io::Read::read(&mut stream, &mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            let path = request.split(' ').nth(1).unwrap();
            let cid = path
                .strip_prefix("/ipfs/")
                .and_then(|p| p.split('?').next());
            let body = match cid.map(|cid| cid.parse::<sluice_core::Link>().unwrap()) {
                Some(link) => {
                    let name = link.digest.to_string();
                    fs::read(blocks.join(&name[..2]).join(name)).unwrap()
                }
                None => b"<!doctype html><title>Welcome</title>".to_vec(),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            std::io::Write::write_all(&mut stream, &body).unwrap();
        }
    });
    comes_without_title(&place, &id, &url, "expected value");
}
