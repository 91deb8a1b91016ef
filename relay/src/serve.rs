//! `sluice serve`: one process that ties data folder, HTTP and libp2p together, from lock to drain.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use libp2p::{Multiaddr, identity::Keypair};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    commands,
    config::Serve,
    http::{
        self, AppState, Assets, BLOCKS_IN_MEMORY, NodeInfo, NodeView,
        listen::{self, Limits},
        tls::{Tls, TlsError},
    },
    metrics::Metrics,
    p2p::{self, P2p, P2pError, Stats},
    store::{
        Open, Store, StoreError,
        keys::{self, Key, Seed},
        lock,
    },
};

/// Folder of the WebTransport certificates within the data folder.
const CERTIFICATES: &str = "webtransport";

/// Folder of the ACME account and certificates within the data folder.
const ACME: &str = "acme";

/// A relay that could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The libp2p node.
    #[error(transparent)]
    P2p(#[from] P2pError),
    /// HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address that cannot be listened on.
    #[error(
        "cannot listen on {address}: {}; choose another with --{flag}",
        reason(source)
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that set it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A multiaddr that is none.
    #[error(
        "{0:?} is no multiaddr; --p2p-announce takes such as /dns4/relay.example/tcp/443/tls/ws"
    )]
    Multiaddr(String),
    /// One of two settings that need each other.
    #[error("--tls-cert and --tls-key belong together; give both or neither")]
    HalfATls,
    /// Two sources of certificates.
    #[error("--domain and --tls-cert are two ways to get a certificate; choose one")]
    TwoCertificates,
    /// A folder without an app.
    #[error("no index.html in {}; --app takes the folder that `cargo xtask build` makes", .0.display())]
    NoApp(PathBuf),
    /// The system.
    #[error("the system failed: {0}")]
    System(#[from] io::Error),
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken".into(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        io::ErrorKind::PermissionDenied => "not allowed; ports below 1024 need a privilege".into(),
        _ => error.to_string(),
    }
}

/// The libp2p peer id that belongs to a node key.
pub fn peer_id(seed: &Seed) -> String {
    keypair(seed).public().to_peer_id().to_string()
}

fn keypair(seed: &Seed) -> Keypair {
    Keypair::ed25519_from_bytes(**seed).expect("an Ed25519 seed is any 32 bytes")
}

/// The node as the routes and counters see it.
#[derive(Debug)]
pub struct Node(Mutex<Option<P2p>>);

impl Node {
    fn ask<T>(&self, question: impl FnOnce(&P2p) -> T) -> Option<T> {
        let p2p = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        p2p.as_ref().map(question)
    }

    /// What the node has counted; `None` once it has stopped.
    pub fn stats(&self) -> Option<Stats> {
        self.ask(P2p::stats)
    }

    async fn shutdown(&self) {
        let p2p = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(p2p) = p2p {
            p2p.shutdown().await;
        }
    }
}

impl NodeView for Node {
    fn info(&self) -> NodeInfo {
        self.ask(|p2p| NodeInfo {
            peer_id: p2p.peer_id().to_string(),
            addrs: p2p.addresses().iter().map(ToString::to_string).collect(),
        })
        .unwrap_or_default()
    }

    fn trouble(&self) -> Option<String> {
        match self.ask(|p2p| p2p.is_running()) {
            Some(true) => None,
            Some(false) => Some("it has failed; restart the relay".into()),
            None => Some("the relay is stopping".into()),
        }
    }
}

/// Runs a relay until SIGINT or SIGTERM, then drains.
///
/// # Errors
///
/// [`ServeError`] if it cannot start.
pub async fn run(data: &Path, settings: Serve) -> Result<(), ServeError> {
    let assets = assets(&settings)?;
    let store = Store::open(data, Open::OrCreate)?;
    let _only_one = lock::serve(&store)?;
    store.check_database()?;
    let (seed, _) = keys::load_or_create(&store, Key::Node)?;
    let http = bind(settings.http, "http").await?;
    let stop = CancellationToken::new();
    let secure = match tls(&settings, &store, &stop)? {
        Some(tls) => Some((bind(settings.https, "https").await?, tls)),
        None => None,
    };
    let for_metrics = match settings.metrics {
        Some(address) => Some(bind(address, "metrics").await?),
        None => None,
    };
    let p2p = P2p::start(
        p2p_config(&settings, &store)?,
        keypair(&seed),
        Arc::new(store.clone()),
    );
    let node = Arc::new(Node(Mutex::new(Some(p2p.await?))));
    let metrics = Arc::new(Metrics::new(node.clone()));
    let limits = Arc::new(Limits::new(&settings, metrics.clone()));
    let state = AppState {
        store,
        assets,
        metrics,
        node: node.clone(),
        outgoing: Arc::new(Semaphore::new(BLOCKS_IN_MEMORY)),
        request_timeout: Duration::from_secs(settings.request_timeout.max(1)),
    };
    let tasks = TaskTracker::new();
    let spawn = |listener: TcpListener, tls, router| {
        tasks.spawn(listen::serve(
            listener,
            tls,
            router,
            limits.clone(),
            tasks.clone(),
            stop.clone(),
        ));
    };
    let router = http::router(state.clone());
    let http_address = http.local_addr()?;
    tracing::info!(address = %http_address, peer_id = node.info().peer_id, "serving http");
    if let Some((listener, tls)) = secure {
        let address = listener.local_addr()?;
        let router = if settings.domain.is_empty() {
            router.clone()
        } else {
            http::strictly_https(router.clone())
        };
        spawn(listener, Some(tls), router);
        tracing::info!(%address, "serving https");
    }
    if let Some(listener) = for_metrics {
        tracing::info!(address = %listener.local_addr()?, "serving metrics");
        spawn(listener, None, http::metrics_router(state));
    }
    let plain = if settings.domain.is_empty() {
        router
    } else {
        http::redirecting(router, settings.domain.clone())
    };
    let mut signals = Signals::new()?;
    spawn(http, None, plain);
    // Whoever waits for this line may rely on everything above.
    if commands::print(&format!("listening on http://{http_address}")).is_err() {
        tracing::debug!("nobody reads stdout");
    }
    signals.wait().await;
    drain(&settings, tasks, stop, &node, &mut signals).await;
    Ok(())
}

/// Lets running answers end, for a while.
async fn drain(
    settings: &Serve,
    tasks: TaskTracker,
    stop: CancellationToken,
    node: &Node,
    signals: &mut Signals,
) {
    tracing::info!("stopping; a second signal stops at once");
    stop.cancel();
    tasks.close();
    let patience = Duration::from_secs(settings.drain_timeout);
    let calm = async {
        let ((), ended) = tokio::join!(
            node.shutdown(),
            tokio::time::timeout(patience, tasks.wait())
        );
        if ended.is_err() {
            tracing::warn!("some answers did not end in time");
        }
    };
    tokio::select! {
        () = calm => {}
        () = signals.wait() => {}
    }
}

fn assets(settings: &Serve) -> Result<Assets, ServeError> {
    if let Some(folder) = &settings.app {
        let assets = Assets::Folder(folder.clone());
        if !assets.exist() {
            return Err(ServeError::NoApp(folder.clone()));
        }
        return Ok(assets);
    }
    if !Assets::Embedded.exist() {
        tracing::warn!(
            "no web app in this build: / will say so; use the binary of `cargo xtask build`, or --app DIR"
        );
    }
    Ok(Assets::Embedded)
}

fn tls(
    settings: &Serve,
    store: &Store,
    stop: &CancellationToken,
) -> Result<Option<Tls>, ServeError> {
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(_), Some(_)) if !settings.domain.is_empty() => Err(ServeError::TwoCertificates),
        (Some(cert), Some(key)) => {
            let (tls, files) = Tls::from_files(cert, key)?;
            let stop = stop.clone();
            tokio::spawn(async move { files.watch(stop).await });
            Ok(Some(tls))
        }
        (None, None) if settings.domain.is_empty() => Ok(None),
        (None, None) => {
            let cache = store.root().join(ACME);
            // The ACME crate writes the account's and the certificate's keys there.
            private_folder(&cache)?;
            Ok(Some(Tls::from_acme(settings, cache, stop.clone())?))
        }
        _ => Err(ServeError::HalfATls),
    }
}

fn p2p_config(settings: &Serve, store: &Store) -> Result<p2p::Config, ServeError> {
    let mut config = p2p::Config::new(store.root().join(CERTIFICATES));
    config.tcp = settings.p2p_tcp.address();
    config.quic = settings.p2p_quic.address();
    config.websocket = settings.p2p_ws.address();
    config.webtransport = settings.p2p_webtransport.address();
    for text in &settings.p2p_announce {
        let addr: Multiaddr = text
            .parse()
            .map_err(|_| ServeError::Multiaddr(text.clone()))?;
        config.external.push(addr);
    }
    config.limits.established = settings.p2p_max_connections.max(1);
    Ok(config)
}

/// Makes a folder that only we can look into.
fn private_folder(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
        .map_err(|error| StoreError::at(path, error))
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    listen::bind(address)
        .await
        .map_err(|source| ServeError::Listen {
            address,
            flag,
            source,
        })
}

/// The two ways a relay is told to stop.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
