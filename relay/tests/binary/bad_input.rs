//! What people get wrong: one line that names the thing and the remedy, and nothing half done.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::harness::{Place, one_line};

#[test]
fn files_that_cannot_be_published_are_named() {
    let place = Place::new();
    let good = place.file("good.mp4", 10);
    let empty = place.file("empty.mp4", 0);
    let program = place.file("program.exe", 10);
    let page = place.path("page.mp4");
    fs::write(&page, "<!doctype html><script>").unwrap();
    let twin = place.path("folder");
    fs::create_dir(&twin).unwrap();
    let twin = twin.join("good.mp4");
    fs::write(&twin, "x").unwrap();
    let pipe = place.path("pipe.mp4");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let missing = place.path("missing.mp4");

    #[track_caller]
    fn check(place: &Place, files: &[&Path], want: &str) {
        let mut args: Vec<&std::ffi::OsStr> = vec!["publish".as_ref()];
        args.extend(files.iter().map(|file| file.as_os_str()));
        args.extend(["--title".as_ref(), "T".as_ref()] as [&std::ffi::OsStr; 2]);
        let line = place.fail(args);
        assert!(line.contains(want), "{line:?} does not say {want:?}");
    }
    check(&place, &[&missing], "no file at");
    check(&place, &[&good.join("x")], "no file at");
    check(
        &place,
        &[place.path("").as_path()],
        "is a directory; name the files",
    );
    check(&place, &[&pipe], "not a regular file");
    check(&place, &[&empty], "empty.mp4: the file is empty");
    check(
        &place,
        &[&program],
        "program.exe is not a media type Sluice carries",
    );
    check(&place, &[&page], "holds HTML, XML or SVG");
    check(
        &place,
        &[&good, &twin],
        "two files would be called good.mp4",
    );
    check(&place, &[&good, &missing], "no file at");
    assert_eq!(place.list().len(), 0);
    assert_eq!((place.blocks().len(), place.incoming().len()), (0, 0));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let place = Place::new();
    let secret = place.file("secret.mp4", 10);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_ok() {
        // The superuser may read everything; there is nothing to see here.
        return;
    }
    let line = place.fail([
        "publish".as_ref(),
        secret.as_os_str(),
        "--title".as_ref(),
        "T".as_ref(),
    ]);
    assert!(
        line.contains("cannot read") && line.contains("permissions"),
        "{line}"
    );
}

#[test]
fn texts_out_of_bounds_are_refused_before_any_work() {
    let place = Place::new();
    let source = place.file("a.mp4", 10);
    let long = "x".repeat(201);
    let many = (0..17).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for (args, want) in [
        (vec![], "needs a title; add --title"),
        (vec!["--title", " "], "needs a title"),
        (
            vec!["--title", &long],
            "the title may have at most 200 characters",
        ),
        (
            vec!["--title", "T", "--language", "english!"],
            "is not a language tag",
        ),
        (vec!["--title", "T", "--tags", &many], "at most 16 tags"),
        (vec!["--title", "T", "--tags", "a,a"], "each given once"),
    ] {
        let all = ["publish".as_ref(), source.as_os_str()];
        let line = place.fail(all.into_iter().chain(args.iter().map(|arg| arg.as_ref())));
        assert!(line.contains(want), "{line:?} does not say {want:?}");
    }
    assert_eq!(place.list().len(), 0);
}

#[test]
fn posters_are_small_pictures() {
    let place = Place::new();
    let source = place.file("a.mp4", 10);
    let large = place.file("large.png", 262_145);
    let vector = place.path("vector.png");
    fs::write(&vector, "<svg xmlns='http://www.w3.org/2000/svg'/>").unwrap();
    for (poster, want) in [
        (large, "the poster has 262145 bytes"),
        (vector, "a poster is a JPEG, PNG, WebP or AVIF"),
        (place.path("none.png"), "no file at"),
    ] {
        let args = [
            "publish".as_ref(),
            source.as_os_str(),
            "--title".as_ref(),
            "T".as_ref(),
        ];
        let line = place.fail(
            args.into_iter()
                .chain(["--poster".as_ref(), poster.as_os_str()]),
        );
        assert!(line.contains(want), "{line:?} does not say {want:?}");
    }
    assert_eq!(place.list().len(), 0);
}

#[test]
fn ids_are_checked_and_unknown_works_named() {
    let place = Place::new();
    place.publish("T", &[&place.file("a.mp4", 10)]);
    let unknown = "bafyr4idqpctxsr4jm5caagjfjpd2jk246vk4tmmpz53p5pht5tev567hce";
    for command in ["card", "remove", "fetch"] {
        let out = if command == "fetch" {
            vec!["--out", "/nonexistent/x"]
        } else {
            vec![]
        };
        for (id, want) in [
            ("nonsense", "not a content identifier"),
            (
                "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
                "not one Sluice uses",
            ),
            (unknown, unknown),
        ] {
            let line = place.fail([command, id].into_iter().chain(out.clone()));
            assert!(line.contains(want), "{line:?} does not say {want:?}");
        }
    }
}

#[test]
fn commands_on_a_missing_folder_say_so_and_make_none() {
    let place = Place::new();
    for command in ["list", "gc"] {
        let line = place.fail([command]);
        assert!(line.contains("no data folder at"), "{line}");
    }
    assert!(!place.data().exists());
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let place = Place::new();
    place.publish("T", &[&place.file("a.mp4", 10)]);
    let database = place.data().join("sluice.db");
    let noise = vec![0x5a; 8192];
    fs::write(&database, &noise).unwrap();
    for args in [
        vec!["list"],
        vec!["gc"],
        vec!["serve", "--http", "127.0.0.1:0"],
    ] {
        let line = place.fail(args);
        assert!(
            line.contains("sluice.db is damaged") && line.contains("backup"),
            "{line}"
        );
    }
    assert_eq!(fs::read(&database).unwrap(), noise);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let place = Place::new();
    place.publish("T", &[&place.file("a.mp4", 10)]);
    rusqlite::Connection::open(place.data().join("sluice.db"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let line = place.fail(["list"]);
    assert!(line.contains("written by a newer sluice"), "{line}");
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let place = Place::new();
    let source = place.file("a.mp4", 10);
    place.publish("T", &[&source]);
    let key = place.data().join("keys/creator.key");
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(place.data().join("keys"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let args = [
        "publish".as_ref(),
        source.as_os_str(),
        "--title".as_ref(),
        "T".as_ref(),
    ];
    let line = place.fail(args);
    assert!(
        line.contains("can be read by others; run: chmod 600"),
        "{line}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "no key").unwrap();
    let line = place.fail(args);
    assert!(line.contains("is no key of sluice"), "{line}");
    assert_eq!(place.list().len(), 1);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let place = Place::new();
    place.publish("T", &[&place.file("small.mp4", 10)]);
    let before = place.blocks().len();
    let source = place.file("a.mp4", 3_000_000);
    // A file size limit stands for the full disk: sealed chunks do not fit under it, the database
    // does. Ignored signals stay ignored across exec, so the write fails instead of killing.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_sluice"))
        .arg("publish")
        .arg(&source)
        .args(["--title", "T", "--data"])
        .arg(place.data())
        .output()
        .unwrap();
    let line = one_line(&output);
    assert!(
        line.contains("no space left for") && line.contains("free some"),
        "{line}"
    );
    assert_eq!(place.list().len(), 1);
    assert_eq!((place.blocks().len(), place.incoming().len()), (before, 0));
}

#[test]
fn a_full_disk_names_the_file_that_was_being_fetched() {
    let place = Place::new();
    let id = place.publish("T", &[&place.file("a.mp4", 3_000_000)]);
    let out = place.path("out.mp4");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_sluice"))
        .args(["fetch", &id, "--out"])
        .arg(&out)
        .arg("--data")
        .arg(place.data())
        .output()
        .unwrap();
    let line = one_line(&output);
    let want = format!("no space left for {};", out.display());
    assert!(line.contains(&want), "{line}");
    assert!(!out.exists());
}

#[test]
fn wrong_command_lines_are_told_in_one_line() {
    let place = Place::new();
    for (args, want) in [
        (vec!["bogus"], "unrecognized subcommand 'bogus'"),
        (vec!["list", "--bogus"], "unexpected argument '--bogus'"),
        (vec!["publish"], "required arguments were not provided"),
        (
            vec!["serve", "--http", "nowhere"],
            "invalid value 'nowhere' for '--http",
        ),
        (vec!["serve", "--p2p-ws", "nowhere"], "or off"),
        (vec!["list", "--log", "a=b=c"], "--log"),
    ] {
        let line = place.fail(args);
        assert!(line.contains(want), "{line:?} does not say {want:?}");
    }
}

#[test]
fn a_clock_before_the_format_is_noticed() {
    let place = Place::new();
    let source = place.file("a.mp4", 10);
    let store =
        sluice_relay::store::Store::open(&place.data(), sluice_relay::store::Open::OrCreate);
    let error = sluice_relay::publish::publish(
        &store.unwrap(),
        &sluice_relay::publish::Request {
            files: vec![source],
            text: sluice_core::card::Text {
                title: "T".into(),
                ..Default::default()
            },
            poster: None,
        },
        &sluice_core::creator::CreatorKey::from_seed(&[7; 32]),
        sluice_core::UnixMillis(0),
        &false.into(),
        &|_| {},
    )
    .expect_err("1970");
    assert!(
        error.to_string().contains("clock is before 2026; set it"),
        "{error}"
    );
}
