//! HTTPS from certificate files: served, read again, refused when wrong.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};

use crate::harness::{Answer, Place, Relay, signal, wait_until};

struct Pair {
    cert: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

/// A self-signed certificate for `localhost`, in files.
fn pair(place: &Place, name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (
        place.path(&format!("{name}.pem")),
        place.path(&format!("{name}.key")),
    );
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Pair {
        cert,
        key,
        der: made.cert.der().clone(),
    }
}

/// Asks over TLS, trusting `root` only; `None` if the handshake fails.
fn ask(address: &str, root: &CertificateDer<'static>) -> Option<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    write!(
        stream,
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    // The relay cannot bound what HTTP/2 holds, so it does not offer it.
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    Some(Answer::read(stream))
}

fn serve(place: &Place, cert: &Path, key: &Path) -> (Relay, String) {
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let relay = place.serve(&[
        "--https",
        "127.0.0.1:0",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
        "--log",
        "info",
    ]);
    let log = relay.log();
    let line = log
        .lines()
        .find(|line| line.contains("serving https"))
        .unwrap();
    let address = line.split("address=").nth(1).unwrap().trim().to_owned();
    (relay, address)
}

#[test]
fn a_certificate_is_served_and_read_again_on_hangup() {
    let place = Place::new();
    let (old, new) = (pair(&place, "old"), pair(&place, "new"));
    let (relay, address) = serve(&place, &old.cert, &old.key);
    assert_eq!(ask(&address, &old.der).unwrap().body, b"ok\n");
    assert!(ask(&address, &new.der).is_none());

    // A pair that is no good leaves the old one in use.
    fs::write(&old.cert, "nothing").unwrap();
    signal(&relay.child, Signal::HUP);
    wait_until("the mistake is logged", || {
        relay.log().contains("the old HTTPS certificate stays")
    });
    assert_eq!(ask(&address, &old.der).unwrap().status, 200);

    fs::copy(&new.cert, &old.cert).unwrap();
    fs::copy(&new.key, &old.key).unwrap();
    signal(&relay.child, Signal::HUP);
    wait_until("it is read again", || {
        relay.log().contains("was read again")
    });
    assert_eq!(ask(&address, &new.der).unwrap().status, 200);
    assert!(ask(&address, &old.der).is_none());
    // Plain HTTP goes on beside it.
    assert_eq!(relay.get("/healthz").status, 200);
    assert!(relay.stop());
}

#[test]
fn certificates_that_are_no_good_are_named() {
    let place = Place::new();
    let (one, two) = (pair(&place, "one"), pair(&place, "two"));
    let missing = place.path("missing.pem");
    for (cert, key, want) in [
        (&missing, &one.key, "missing.pem"),
        (&one.cert, &missing, "missing.pem"),
        (&one.key, &one.key, "no certificate in it"),
        (&one.cert, &one.cert, "one.pem"),
        (&one.cert, &two.key, "two.key is not the key of"),
    ] {
        let line = place.fail([
            "serve".as_ref(),
            "--http".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--https".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--tls-cert".as_ref(),
            cert.as_os_str(),
            "--tls-key".as_ref(),
            key.as_os_str(),
        ]);
        assert!(line.contains(want), "{line:?} does not say {want:?}");
    }
}
