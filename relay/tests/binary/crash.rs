//! Death at any moment: the whole work or nothing of it, and nothing in anybody's way.

use std::{fs, path::PathBuf, process::Child};

use rustix::process::Signal;

use crate::harness::{Place, signal, wait_until};

fn start(place: &Place, source: &std::path::Path) -> Child {
    place
        .sluice(["publish".as_ref(), source.as_os_str()])
        .args(["--title", "Long"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a publish once `moment` comes, and checks what is left.
#[track_caller]
fn dies_without_a_trace(what: &str, moment: impl Fn(&Place) -> bool) {
    let place = Place::new();
    let small = place.file("small.mp4", 1000);
    let kept = place.publish("Kept", &[&small]);
    let before = place.blocks().len();
    let source = place.large_file(400);
    let mut child = start(&place, &source);
    wait_until(what, || moment(&place));
    signal(&child, Signal::KILL);
    let output = {
        child.wait().unwrap();
        child
            .stdout
            .take()
            .map(std::io::read_to_string)
            .unwrap()
            .unwrap()
    };
    assert_eq!(output, "", "killed before it could tell an id");

    let relay = place.serve(&[]);
    let works = relay.get("/api/v1/works").json();
    assert_eq!(works["works"].as_array().unwrap().len(), 1, "{what}");
    assert_eq!(place.list()[0]["id"], kept.as_str());
    // Nothing of it can be had, though blocks may be on the disk until `gc`.
    for block in place.blocks() {
        let digest = block.file_name().unwrap().to_str().unwrap().to_owned();
        let status = relay.get(&format!("/ipfs/{}", raw_cid(&digest))).status;
        assert!(
            status == 404 || is_of(&place, &kept, &digest),
            "{digest} of {what}"
        );
    }

    let line = place.run(["gc"]).pop().unwrap();
    assert!(line.starts_with("cleared 1 interrupted"), "{line}");
    assert_eq!(place.blocks().len(), before, "{what}");
    assert_eq!(place.incoming(), [] as [PathBuf; 0], "{what}");
    let lines = place.run(["gc", "--verify"]);
    assert_eq!(lines.last().unwrap(), "every block is what it should be");

    let again = place.publish("Again", &[&small]);
    assert_eq!(relay.get(&format!("/ipfs/{again}")).status, 200);
}

/// A raw block's CID in base 16, made from the digest's hex.
fn raw_cid(digest: &str) -> String {
    format!("f01551e20{digest}")
}

/// Whether the work that was there before has this block.
fn is_of(place: &Place, kept: &str, digest: &str) -> bool {
    let out = place.path("kept.mp4");
    fs::remove_file(&out).ok();
    let path = place.data().join("blocks").join(&digest[..2]).join(digest);
    let aside = place.path("aside");
    fs::rename(&path, &aside).unwrap();
    let output = place
        .sluice([
            "fetch".as_ref(),
            kept.as_ref(),
            "--json".as_ref(),
            "--out".as_ref(),
            out.as_os_str(),
        ])
        .output()
        .unwrap();
    fs::rename(&aside, &path).unwrap();
    // Without its card it comes back, but has no title.
    !output.status.success() || {
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        told["title"].is_null()
    }
}

#[test]
fn killed_before_the_first_block() {
    dies_without_a_trace("the lease is taken", |place| !place.incoming().is_empty());
}

#[test]
fn killed_within_the_first_batch() {
    dies_without_a_trace("some blocks are written", |place| {
        place.incoming().len() > 20
    });
}

#[test]
fn killed_after_the_first_names_are_final() {
    dies_without_a_trace("blocks have final names", |place| place.blocks().len() > 10);
}

#[test]
fn killed_in_the_middle() {
    dies_without_a_trace("some batches are done", |place| place.blocks().len() > 700);
}

#[test]
fn killing_the_relay_loses_nothing() {
    let place = Place::new();
    let id = place.publish("Film", &[&place.file("a.mp4", 700_000)]);
    let relay = place.serve(&[]);
    assert_eq!(relay.get(&format!("/ipfs/{id}")).status, 200);
    signal(&relay.child, Signal::KILL);
    drop(relay);
    let relay = place.serve(&[]);
    assert_eq!(relay.get(&format!("/ipfs/{id}")).status, 200);
    assert_eq!(
        relay.get("/api/v1/works").json()["works"][0]["id"],
        id.as_str()
    );
}

#[test]
fn gc_spares_a_publish_in_flight() {
    let place = Place::new();
    place.publish("First", &[&place.file("small.mp4", 10)]);
    let source = place.large_file(200);
    let mut child = start(&place, &source);
    wait_until("blocks have final names", || place.blocks().len() > 10);
    let mut rounds = 0;
    while child.try_wait().unwrap().is_none() {
        let line = place.run(["gc"]).pop().unwrap();
        assert_eq!(
            line,
            "cleared 0 interrupted publishes, freed 0 B in 0 blocks"
        );
        rounds += 1;
    }
    assert!(rounds > 0);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.list().len(), 2);
    let lines = place.run(["gc", "--verify"]);
    assert_eq!(lines.last().unwrap(), "every block is what it should be");
}

#[test]
fn two_publishes_at_once_both_arrive() {
    let place = Place::new();
    let source = place.large_file(40);
    let children: Vec<Child> = (0..2).map(|_| start(&place, &source)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(place.list().len(), 2);
}
