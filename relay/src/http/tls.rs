//! Certificates for HTTPS: from files, read again when they change, or from an ACME service.
//!
//! Without HTTPS browsers give no service worker outside localhost, so this or a proxy is part of
//! every public relay. ACME uses TLS-ALPN-01: the challenge is a handshake on the HTTPS port itself.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use futures::StreamExt;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_acme::{AcmeConfig, caches::DirCache, is_tls_alpn_challenge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// How often certificate files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// HTTPS that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds nothing usable.
    #[error("{}: {reason}; --tls-cert and --tls-key take PEM files", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key that belongs to another certificate.
    #[error("{} is not the key of {}; name the pair that belongs together", key.display(), cert.display())]
    Mismatch {
        /// The certificate chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// HTTPS, set up. Clones share it.
#[derive(Clone)]
pub struct Tls(Kind);

#[derive(Clone)]
enum Kind {
    Files(TlsAcceptor),
    Acme {
        challenge: Arc<ServerConfig>,
        normal: Arc<ServerConfig>,
    },
}

impl Tls {
    /// Shakes hands; `None` after an ACME challenge, which is over with that.
    ///
    /// # Errors
    ///
    /// What the client did wrong.
    pub(super) async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: IO,
    ) -> io::Result<Option<TlsStream<IO>>> {
        match &self.0 {
            Kind::Files(acceptor) => acceptor.accept(io).await.map(Some),
            Kind::Acme { challenge, normal } => {
                let start =
                    LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io).await?;
                if is_tls_alpn_challenge(&start.client_hello()) {
                    tracing::info!("answering an ACME challenge");
                    start.into_stream(challenge.clone()).await?;
                    return Ok(None);
                }
                start.into_stream(normal.clone()).await.map(Some)
            }
        }
    }

    /// Serves the certificate in these files. The returned handle reads them again.
    ///
    /// # Errors
    ///
    /// [`TlsError`] naming the file.
    pub fn from_files(cert: &Path, key: &Path) -> Result<(Self, Arc<Files>), TlsError> {
        let files = Arc::new(Files {
            current: RwLock::new(load(cert, key)?),
            cert: cert.into(),
            key: key.into(),
        });
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(files.clone());
        config.alpn_protocols = protocols();
        Ok((
            Self(Kind::Files(TlsAcceptor::from(Arc::new(config)))),
            files,
        ))
    }

    /// Gets certificates from an ACME service and renews them, until `stop`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if `ca`, the PEM to trust for the service itself, is no good. What the service
    /// says later is logged and tried again.
    pub fn from_acme(
        settings: &crate::config::Serve,
        cache: PathBuf,
        stop: CancellationToken,
    ) -> Result<Self, TlsError> {
        let contact = settings
            .acme_contact
            .iter()
            .map(|mail| format!("mailto:{mail}"));
        let config = match &settings.acme_ca {
            None => AcmeConfig::new(&settings.domain),
            Some(ca) => AcmeConfig::new_with_client_config(&settings.domain, trusting(ca)?),
        };
        let mut state = config
            .contact(contact)
            .directory(&settings.acme_directory)
            .cache(DirCache::new(cache))
            .state();
        let challenge = state.challenge_rustls_config();
        let mut normal = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(state.resolver());
        normal.alpn_protocols = protocols();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = state.next() => match event {
                        Some(Ok(event)) => tracing::info!(?event, "certificate"),
                        Some(Err(error)) => {
                            tracing::error!(%error, "no certificate from the ACME service; it will be asked again");
                        }
                        None => return,
                    },
                    () = stop.cancelled() => return,
                }
            }
        });
        Ok(Self(Kind::Acme {
            challenge,
            normal: Arc::new(normal),
        }))
    }
}

/// No HTTP/2: see [`super::listen`].
fn protocols() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}

/// A client that trusts the roots in one file only.
fn trusting(ca: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    ))
}

/// A certificate in files.
#[derive(Debug)]
pub struct Files {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Files {
    /// Reads the files again; a pair that is no good leaves the old one in use.
    ///
    /// # Errors
    ///
    /// [`TlsError`] naming the file.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = load(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Reads the files again whenever they change, and on SIGHUP, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return;
        };
        let mut seen = self.changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let now = self.changed();
                    if now == seen {
                        continue;
                    }
                    seen = now;
                }
            }
            match self.reload() {
                Ok(()) => tracing::info!("the HTTPS certificate was read again"),
                Err(error) => tracing::error!(%error, "the old HTTPS certificate stays in use"),
            }
        }
    }

    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.cert, &self.key].map(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |reason: String| TlsError::File {
        path: path.into(),
        reason,
    };
    // Opened first, because the PEM reader's errors do not say that a file is missing.
    File::open(path).map_err(|error| bad(error.to_string()))?;
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad("no certificate in it".into()));
    }
    Ok(chain)
}

fn load(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(cert)?;
    let bad = |reason: String| TlsError::File {
        path: key.into(),
        reason,
    };
    File::open(key).map_err(|error| bad(error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(error.to_string()))?;
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let certified =
        CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                cert: cert.into(),
                key: key.into(),
            },
            other => bad(other.to_string()),
        })?;
    Ok(Arc::new(certified))
}
