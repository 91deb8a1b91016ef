//! The listener's self-signed certificates: made, kept on disk, turned into a TLS configuration.
//!
//! `schedule.rs` decides; this file carries it out. Each certificate is one PEM file with its key
//! (mode 0600) in a folder of its own (0700), written under a temporary name and renamed, so a crash
//! leaves whole files only; whatever set of them is found at start is good enough to decide from.
//!
//! # Invariants
//!
//! - Every certificate is ECDSA P-256 and at most 14 days long: browsers take no other by its hash.
//! - A key never leaves the folder or this process, and `Debug` does not show it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libp2p::multihash::Multihash;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::schedule::{self, Source, Validity};

/// Multihash code of SHA-256, the only hash browsers and the libp2p specification know here.
const SHA2_256: u64 = 0x12;

/// A multihash of a certificate, as in a `/certhash/` address part.
pub(crate) type CertHash = Multihash<64>;

/// The certificates could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The folder or a file in it could not be read or written.
    #[error("cannot use {path} for webtransport certificates; check its owner and free space")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Making a key or a certificate failed.
    #[error("cannot make a webtransport certificate")]
    Make(#[from] rcgen::Error),
    /// The TLS library refused a certificate of ours.
    #[error("cannot use a webtransport certificate")]
    Tls(#[from] rustls::Error),
    /// The clock shows a date that no certificate can carry.
    #[error("the clock is {seconds} s from 1970, which no certificate can carry; set the clock")]
    Clock {
        /// The date asked for, in seconds since the epoch.
        seconds: i64,
    },
}

/// One certificate with its key.
struct Certificate {
    validity: Validity,
    der: CertificateDer<'static>,
    /// PKCS #8.
    key: Zeroizing<Vec<u8>>,
    hash: CertHash,
    path: PathBuf,
}

impl Certificate {
    /// Makes a certificate and writes its file.
    fn make(folder: &Path, validity: Validity) -> Result<Self, CertificateError> {
        let date = |seconds| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .map_err(|_| CertificateError::Clock { seconds })
        };
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::default();
        params.not_before = date(validity.from)?;
        params.not_after = date(validity.until)?;
        // Nobody checks the names, the hash is what counts; but Chromium's parser refuses a
        // certificate without any X.509 extension, and this is the least of them.
        params
            .subject_alt_names
            .push(rcgen::SanType::DnsName("localhost".try_into()?));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "libp2p webtransport");
        let made = params.self_signed(&key)?;

        let hash = hash_of(made.der());
        let path = folder.join(file_name(&hash));
        let mut pem = Zeroizing::new(made.pem());
        pem.push_str(&Zeroizing::new(key.serialize_pem()));
        write_file(&path, pem.as_bytes())?;
        Ok(Self {
            validity,
            der: made.der().clone(),
            key: Zeroizing::new(key.serialize_der()),
            hash,
            path,
        })
    }

    /// Reads a file back; the reason is for the log.
    fn read(path: PathBuf) -> Result<Self, String> {
        let pem = Zeroizing::new(fs::read(&path).map_err(|error| error.to_string())?);
        let der = CertificateDer::from_pem_slice(&pem).map_err(|error| error.to_string())?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|error| error.to_string())?;
        let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());

        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        let validity = Validity {
            from: parsed.validity().not_before.timestamp(),
            until: parsed.validity().not_after.timestamp(),
        };
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(key.as_slice()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )
        .map_err(|error| error.to_string())?;
        if pair.public_key_raw() != &*parsed.public_key().subject_public_key.data {
            return Err("the key is another certificate's".to_owned());
        }
        Ok(Self {
            validity,
            hash: hash_of(&der),
            der,
            key,
            path,
        })
    }
}

/// The current and the next certificate, and the one before.
pub(crate) struct Certificates {
    folder: PathBuf,
    current: Certificate,
    next: Certificate,
    previous: Option<Certificate>,
    /// First second at which [`Self::rotate`] has something to do.
    due: i64,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("current", &self.current.hash)
            .field("next", &self.next.hash)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Opens the folder, makes what is missing at `now` (seconds since the epoch) and removes what
    /// is of no more use.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used or a certificate cannot be made. A file that cannot be read as
    /// a certificate is not an error: it is logged and replaced.
    pub(crate) fn open(folder: &Path, now: i64) -> Result<Self, CertificateError> {
        let at = |source| CertificateError::File {
            path: folder.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at)?;
        let mut at_hand = Vec::new();
        for entry in fs::read_dir(folder).map_err(at)? {
            let path = entry.map_err(at)?.path();
            let extension = path.extension().and_then(|name| name.to_str());
            match extension {
                Some("pem") => match Certificate::read(path.clone()) {
                    Ok(certificate) => at_hand.push(certificate),
                    Err(reason) => {
                        tracing::warn!(path = %path.display(), reason, "webtransport certificate is unreadable and is replaced");
                        remove_file(&path);
                    }
                },
                // Left by a crash between write and rename.
                Some("tmp") => remove_file(&path),
                _ => {}
            }
        }
        Self::settle(folder.to_owned(), at_hand, now)
    }

    /// Brings the certificates up to `now`. True if what is served or announced changed.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; the certificates in use then stay in use.
    pub(crate) fn rotate(&mut self, now: i64) -> Result<bool, CertificateError> {
        let validities = [self.current.validity, self.next.validity];
        let plan = schedule::decide(&validities, now);
        if (plan.current, plan.next) == (Source::Keep(0), Source::Keep(1)) {
            return Ok(false);
        }
        // Read again what is on disk: the certificates in use stay untouched if this fails.
        *self = Self::open(&self.folder, now)?;
        Ok(true)
    }

    /// First second, since the epoch, at which [`Self::rotate`] will change something. A clock that
    /// is set may make it earlier.
    #[cfg(test)]
    pub(crate) fn due(&self) -> i64 {
        self.due
    }

    /// The hashes to announce, the served certificate's first.
    pub(crate) fn announced(&self) -> [CertHash; 2] {
        [self.current.hash, self.next.hash]
    }

    /// The hashes to report in the Noise handshake: a client requires every hash it dialled with to be
    /// among them, so the certificate before is named too.
    pub(crate) fn reported(&self) -> HashSet<CertHash> {
        let mut reported = HashSet::from(self.announced());
        reported.extend(self.previous.as_ref().map(|previous| previous.hash));
        reported
    }

    /// A TLS 1.3 server configuration for HTTP/3 that serves the current certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Tls`] if the TLS library refuses it.
    pub(crate) fn tls_config(&self) -> Result<rustls::ServerConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.current.key.to_vec()));
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![self.current.der.clone()], key)?;
        tls.alpn_protocols = vec![wtransport::proto::WEBTRANSPORT_ALPN.to_vec()];
        Ok(tls)
    }

    /// Carries out the plan for `now`.
    fn settle(
        folder: PathBuf,
        at_hand: Vec<Certificate>,
        now: i64,
    ) -> Result<Self, CertificateError> {
        let validities: Vec<_> = at_hand
            .iter()
            .map(|certificate| certificate.validity)
            .collect();
        let plan = schedule::decide(&validities, now);
        if plan.clock_is_suspect {
            tracing::warn!(
                "webtransport certificates on disk begin in the future: the clock was or is wrong; they are replaced"
            );
        }
        let mut at_hand: Vec<_> = at_hand.into_iter().map(Some).collect();
        let mut get = |source| match source {
            Source::Keep(index) => Ok(at_hand[index]
                .take()
                .expect("a plan uses each certificate once")),
            Source::Make(validity) => Certificate::make(&folder, validity),
        };
        let current = get(plan.current)?;
        let next = get(plan.next)?;
        let previous = plan.previous.and_then(|index| at_hand[index].take());
        for unused in at_hand.into_iter().flatten() {
            remove_file(&unused.path);
        }
        Ok(Self {
            folder,
            current,
            next,
            previous,
            due: plan.due,
        })
    }
}

fn hash_of(der: &CertificateDer<'_>) -> CertHash {
    let digest = ring_sha256(der);
    CertHash::wrap(SHA2_256, &digest).expect("32 bytes fit into 64")
}

fn ring_sha256(bytes: &[u8]) -> Vec<u8> {
    // The provider that is compiled in anyway; saves a second SHA-256.
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let rustls::SupportedCipherSuite::Tls13(suite) = suite else {
        unreachable!("a TLS 1.3 suite by its name")
    };
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

fn file_name(hash: &CertHash) -> String {
    let mut name = String::with_capacity(20);
    for byte in &hash.digest()[..8] {
        name.push_str(&format!("{byte:02x}"));
    }
    name + ".pem"
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}

/// Removes a file of ours; one that stays is removed at the next start.
fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "could not remove an old webtransport certificate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 24 * 60 * 60;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_restart_finds_the_same_two_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let first = Certificates::open(folder.path(), NOW).unwrap();
        let second = Certificates::open(folder.path(), NOW + DAY).unwrap();
        assert_eq!(first.announced(), second.announced());
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn a_certificate_is_version_3_with_an_extension_and_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::open(folder.path(), NOW).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificates.current.der).unwrap();
        assert_eq!(parsed.version(), x509_parser::x509::X509Version::V3);
        assert!(!parsed.extensions().is_empty());
        assert_eq!(parsed.subject().to_string(), "CN=libp2p webtransport");
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        Certificates::open(folder.path(), NOW).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn rotation_moves_the_next_certificate_up_and_reports_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut certificates = Certificates::open(folder.path(), NOW).unwrap();
        let [old, next] = certificates.announced();
        assert!(!certificates.rotate(certificates.due() - 1).unwrap());
        assert!(certificates.rotate(certificates.due()).unwrap());
        let [now_current, new] = certificates.announced();
        assert_eq!(now_current, next);
        assert!(![old, next].contains(&new));
        assert_eq!(certificates.reported(), HashSet::from([old, next, new]));
        assert_eq!(files(folder.path()), 3);

        assert!(certificates.rotate(certificates.due()).unwrap());
        assert!(!certificates.reported().contains(&old));
        assert_eq!(files(folder.path()), 3);
    }

    #[test]
    fn broken_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let before = Certificates::open(folder.path(), NOW).unwrap().announced();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let half = fs::read(&path).unwrap()[..300].to_vec();
            fs::write(path, half).unwrap();
        }
        fs::write(folder.path().join("left.tmp"), b"half").unwrap();
        let after = Certificates::open(folder.path(), NOW).unwrap().announced();
        assert!(before.iter().all(|hash| !after.contains(hash)));
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::open(folder.path(), NOW).unwrap();
        let (a, b) = (&certificates.current.path, &certificates.next.path);
        let key_at = |pem: &str| pem.find("-----BEGIN PRIVATE").unwrap();
        let (one, other) = (
            fs::read_to_string(a).unwrap(),
            fs::read_to_string(b).unwrap(),
        );
        fs::write(
            a,
            format!("{}{}", &one[..key_at(&one)], &other[key_at(&other)..]),
        )
        .unwrap();
        assert!(Certificate::read(a.clone()).is_err());
    }

    #[test]
    fn certificates_from_the_future_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let future = Certificates::open(folder.path(), NOW + 400 * DAY).unwrap();
        let present = Certificates::open(folder.path(), NOW).unwrap();
        assert!(!present.reported().contains(&future.announced()[0]));
        assert!(present.current.validity.from <= NOW);
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = Certificates::open(&file.join("certificates"), NOW).unwrap_err();
        assert!(error.to_string().contains("certificates"), "{error}");
    }

    #[test]
    fn debug_shows_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::open(folder.path(), NOW).unwrap();
        assert!(!format!("{certificates:?}").contains("key"));
    }
}
