//! One relay per folder: starting, refusing, configuring, counting, stopping.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Answer, PATIENCE, Place, Relay, one_line, signal, wait_until};
use rustix::process::Signal;

#[test]
fn a_second_relay_on_one_folder_is_refused() {
    let place = Place::new();
    let relay = place.serve(&[]);
    let line = place.fail(["serve", "--http", "127.0.0.1:0"]);
    assert!(
        line.contains("another `sluice serve` is running on"),
        "{line}"
    );
    assert!(relay.stop());
    assert!(place.serve(&[]).stop());
}

#[test]
fn a_taken_port_is_named() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["http", "metrics"] {
        let option = format!("--{flag}");
        let mut args = vec!["serve", &option, &address];
        if flag != "http" {
            args.extend(["--http", "127.0.0.1:0"]);
        }
        let line = place.fail(args);
        let want =
            format!("cannot listen on {address}: the port is taken; choose another with --{flag}");
        assert_eq!(line, want);
    }
    let line = place.fail(["serve", "--http", "127.0.0.1:0", "--p2p-tcp", &address]);
    assert!(
        line.contains(&address) && line.contains("--p2p-tcp"),
        "{line}"
    );
}

#[test]
fn settings_come_from_flag_then_environment_then_file_then_default() {
    let place = Place::new();
    let data = place.path("from-file");
    let file = place.path("sluice.toml");
    fs::write(
        &file,
        format!(
            "data = {:?}\nlog = \"info\"\n[serve]\nhttp = \"127.0.0.1:0\"\np2p-quic = \"off\"\np2p-tcp = \"off\"\n",
            data.to_str().unwrap()
        ),
    )
    .unwrap();
    let start = |name: &str, envs: &[(&str, &str)], args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"));
        command
            .arg("--config")
            .arg(&file)
            .envs(envs.iter().copied())
            .args(args);
        Relay::start(command, &place.path(name))
    };
    let transports = |relay: &Relay| {
        let node = relay.get("/api/v1/node").json();
        let addrs = node["addrs"].as_array().unwrap();
        let has = |part: &str| {
            addrs
                .iter()
                .any(|addr| addr.as_str().unwrap().contains(part))
        };
        (
            has("/webtransport/"),
            has("/ws/"),
            has("/quic-v1/p2p/"),
            has("/tcp/") && !has("/ws/"),
        )
    };
    // No command: `serve`. The file's folder is used.
    let relay = start("1.log", &[], &[]);
    assert!(data.join("sluice.db").exists());
    assert_eq!(transports(&relay), (true, true, false, false));
    assert!(relay.stop());
    // The environment wins over the file, a flag over both.
    let relay = start(
        "2.log",
        &[("SLUICE_P2P_QUIC", "127.0.0.1:0"), ("SLUICE_P2P_WS", "off")],
        &[],
    );
    assert_eq!(transports(&relay), (true, false, true, false));
    assert!(relay.stop());
    let relay = start(
        "3.log",
        &[("SLUICE_P2P_QUIC", "127.0.0.1:0")],
        &[
            "serve",
            "--p2p-quic",
            "off",
            "--p2p-webtransport",
            "off",
            "--data",
            place.data().to_str().unwrap(),
        ],
    );
    assert_eq!(transports(&relay), (false, true, false, false));
    assert!(place.data().join("sluice.db").exists());
    assert!(relay.stop());
}

#[test]
fn a_settings_file_with_mistakes_is_refused() {
    let place = Place::new();
    let file = place.path("sluice.toml");
    let name = file.to_str().unwrap();
    for (text, want) in [
        ("[serve]\nhtpp = \"127.0.0.1:0\"", "htpp"),
        ("server = 1", "server"),
        ("[serve]\nhttp = 7", "http"),
        ("[serve", "settings file"),
    ] {
        fs::write(&file, text).unwrap();
        let line = place.fail(["serve", "--config", name]);
        assert!(line.contains(want), "{line:?} does not say {want:?}");
    }
    fs::remove_file(&file).unwrap();
    let line = place.fail(["serve", "--config", name]);
    assert!(line.contains("no settings file at"), "{line}");
    let line = place.fail(["serve", "--app", "/nonexistent"]);
    assert!(line.contains("no index.html in /nonexistent"), "{line}");
}

#[test]
fn health_readiness_and_counters() {
    let place = Place::new();
    place.publish("T", &[&place.file("a.mp4", 1000)]);
    let log = place.path("serve.log");
    let relay = place.serve(&["--metrics", "127.0.0.1:0"]);
    assert_eq!(relay.get("/healthz").body, b"ok\n");
    assert_eq!(relay.get("/readyz").json()["ready"], true);
    // Metrics have their own listener and only that.
    relay.get("/metrics.txt").is_problem(404, "");
    let log = fs::read_to_string(log).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("serving metrics"))
        .unwrap();
    let address = line.split("address=").nth(1).unwrap().trim();
    let scrape = || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        Answer::read(stream)
    };
    let id = place.list()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(relay.get(&format!("/ipfs/{id}")).status, 200);
    let answer = scrape();
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(answer.body).unwrap();
    for want in [
        "sluice_works 1\n",
        "sluice_work_bytes 1000\n",
        "sluice_gateway_blocks_total 1\n",
        "sluice_damaged_blocks 0\n",
        "sluice_http_requests_total{route=\"/ipfs/{cid}\",status=\"200\"} 1\n",
        "sluice_p2p_connections{transport=\"webtransport\"} 0\n",
        "sluice_p2p_chunks_sent_total 0\n",
    ] {
        assert!(text.contains(want), "{want} is missing in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // Readiness tells when blocks cannot be written.
    let blocks = place.data().join("blocks");
    let aside = place.path("aside");
    fs::rename(&blocks, &aside).unwrap();
    wait_until("it is noticed", || relay.get("/readyz").status == 503);
    relay.get("/readyz").is_problem(503, "data folder");
    assert_eq!(relay.get("/healthz").status, 200);
    fs::rename(&aside, &blocks).unwrap();
    wait_until("it is ready again", || relay.get("/readyz").status == 200);
}

#[test]
fn clients_that_stall_are_closed_and_others_served() {
    let place = Place::new();
    let relay = place.serve(&["--header-timeout", "1", "--stall-timeout", "1"]);
    let mut silent = TcpStream::connect(relay.address()).unwrap();
    let mut slow = TcpStream::connect(relay.address()).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: ").unwrap();
    assert_eq!(relay.get("/healthz").status, 200);
    for stream in [&mut silent, &mut slow] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        // Closed by the relay: an end or a reset, but no time-out of ours.
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn http_2_is_not_spoken() {
    let place = Place::new();
    let relay = place.serve(&[]);
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The preface of a client that knows, and its empty SETTINGS.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(
        said.is_empty() || said.starts_with(b"HTTP/1.1 4"),
        "{said:?}"
    );
    // Nor is an upgrade to it.
    let upgrade = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", ""),
    ];
    assert_eq!(relay.ask("GET", "/healthz", &upgrade).status, 200);
}

#[test]
fn connections_over_the_limit_are_closed() {
    let place = Place::new();
    let relay = place.serve(&["--max-connections", "3"]);
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(stream.read(&mut [0; 64]).unwrap() > 0);
        held.push(stream);
    }
    let mut fourth = TcpStream::connect(relay.address()).unwrap();
    fourth.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(fourth.read(&mut [0; 64]).unwrap_or(0), 0, "closed at once");
    held.pop();
    wait_until("a place is free", || {
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .is_ok()
            && stream.read(&mut [0; 64]).is_ok_and(|count| count > 0)
    });
}

#[test]
fn stopping_ends_idle_connections_and_the_process() {
    let place = Place::new();
    let mut relay = place.serve(&[]);
    let mut idle = TcpStream::connect(relay.address()).unwrap();
    write!(idle, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    signal(&relay.child, Signal::INT);
    assert_eq!(idle.read(&mut [0; 64]).unwrap_or(0), 0);
    assert!(relay.child.wait().unwrap().success());
    assert!(relay.log().contains("stopping"));
}

#[test]
fn help_and_version_are_results() {
    let place = Place::new();
    for args in [vec!["--help"], vec!["serve", "--help"], vec!["--version"]] {
        let output = place.sluice(args).output().unwrap();
        assert!(output.status.success());
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
    let output = place
        .sluice(["serve", "--tls-cert", "x", "--http", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(one_line(&output).contains("--tls-key"));
}
