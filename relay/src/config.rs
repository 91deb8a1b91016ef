//! What can be set: one clap struct per command, each field a flag, an environment variable, a key
//! of the TOML file, and a default.
//!
//! A flag wins over its variable, that over the file, that over the default. In the file the common
//! settings stand at the top and each command's in a table of its name, spelled like the flags:
//!
//! ```toml
//! data = "/var/lib/sluice"
//!
//! [serve]
//! http = "0.0.0.0:8080"
//! ```

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource,
};
use figment::{
    Figment, Provider,
    providers::{Format, Serialized, Toml},
    value::Dict,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::listen::Listen;
use self::listen::text;

mod listen;

/// Publish videos and serve them to browsers, from one binary and one data folder.
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    subcommand_required = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Without a command, `sluice` serves. Every flag is also SLUICE_<FLAG> and a key of the --config file."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings of every command.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "For every command")]
pub struct Common {
    /// The data folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "SLUICE_DATA",
        default_value = "./sluice-data"
    )]
    pub data: PathBuf,
    /// A TOML file with settings
    #[arg(long, global = true, value_name = "FILE", env = "SLUICE_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true, env = "SLUICE_JSON")]
    pub json: bool,
    /// Show no progress
    #[arg(long, global = true, env = "SLUICE_QUIET")]
    pub quiet: bool,
    /// What to log to stderr: error, warn, info, debug, trace, or per module
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "SLUICE_LOG",
        default_value = "warn,sluice_relay=info"
    )]
    pub log: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay: web app, gateway, libp2p node (the default)
    Serve(Box<Serve>),
    /// Make a work from files and print its id
    Publish(Box<Publish>),
    /// Get a free work's files back, from a data folder or a relay
    Fetch(Fetch),
    /// Make the data folder's keys, or show whose they are
    Keygen(Keygen),
    /// List the works in the data folder, newest first
    List(List),
    /// Show a work's card, or change it
    Card(Box<EditCard>),
    /// Remove works and free their space
    Remove(Remove),
    /// Clear what interrupted publishes left, and find damaged blocks
    Gc(Gc),
}

/// Settings of `sluice serve`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Serve {
    /// Where to serve HTTP
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "SLUICE_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,
    /// Where to serve HTTPS, with --tls-cert or --domain
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "SLUICE_HTTPS",
        default_value = "0.0.0.0:443"
    )]
    pub https: SocketAddr,
    /// Certificate chain for HTTPS, PEM; read again when it changes or on SIGHUP
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Get certificates for these domains by ACME (TLS-ALPN-01); --https must be reachable at port 443
    #[arg(
        long,
        value_name = "NAME,…",
        env = "SLUICE_DOMAIN",
        value_delimiter = ',',
        conflicts_with = "tls_cert"
    )]
    #[serde(default)]
    pub domain: Vec<String>,
    /// The ACME service
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_ACME_DIRECTORY",
        default_value = "https://acme-v02.api.letsencrypt.org/directory"
    )]
    pub acme_directory: String,
    /// Mail addresses the ACME service may warn
    #[arg(
        long,
        value_name = "MAIL,…",
        env = "SLUICE_ACME_CONTACT",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub acme_contact: Vec<String>,
    /// Trust only this PEM for the ACME service itself; for a private one
    #[arg(long, value_name = "FILE", env = "SLUICE_ACME_CA")]
    pub acme_ca: Option<PathBuf>,
    /// Where to serve Prometheus metrics; off unless given
    #[arg(long, value_name = "ADDR:PORT", env = "SLUICE_METRICS")]
    pub metrics: Option<SocketAddr>,
    /// Serve the web app from this folder instead of the embedded one
    #[arg(long, value_name = "DIR", env = "SLUICE_APP")]
    pub app: Option<PathBuf>,
    /// libp2p over TCP; `off` for none
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "SLUICE_P2P_TCP",
        default_value = "127.0.0.1:0"
    )]
    #[serde(with = "text")]
    pub p2p_tcp: Listen,
    /// libp2p over QUIC, for native peers; browsers do not use it
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "SLUICE_P2P_QUIC",
        default_value = "off"
    )]
    #[serde(with = "text")]
    pub p2p_quic: Listen,
    /// libp2p over WebSocket, the browsers' second rung; `off` for none
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "SLUICE_P2P_WS",
        default_value = "127.0.0.1:0"
    )]
    #[serde(with = "text")]
    pub p2p_ws: Listen,
    /// libp2p over WebTransport, the browsers' first rung; `off` for none
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "SLUICE_P2P_WEBTRANSPORT",
        default_value = "127.0.0.1:0"
    )]
    #[serde(with = "text")]
    pub p2p_webtransport: Listen,
    /// Further multiaddrs to tell browsers, such as /dns4/relay.example/tcp/443/tls/ws
    #[arg(
        long,
        value_name = "MULTIADDR,…",
        env = "SLUICE_P2P_ANNOUNCE",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub p2p_announce: Vec<String>,
    /// Most libp2p connections
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_P2P_MAX_CONNECTIONS",
        default_value_t = 512
    )]
    pub p2p_max_connections: usize,
    /// Most HTTP connections; further ones are closed
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_MAX_CONNECTIONS",
        default_value_t = 1024
    )]
    pub max_connections: usize,
    /// Most HTTP connections of one address; loopback, where a proxy is, is exempt
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = 256
    )]
    pub max_connections_per_address: usize,
    /// Seconds a client may take for a request's header, or for the TLS handshake
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_HEADER_TIMEOUT",
        default_value_t = 10
    )]
    pub header_timeout: u64,
    /// Seconds the relay may take to answer
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_REQUEST_TIMEOUT",
        default_value_t = 30
    )]
    pub request_timeout: u64,
    /// Seconds a client may take for the next 16 KiB of an answer, or say nothing at all
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_STALL_TIMEOUT",
        default_value_t = 60
    )]
    pub stall_timeout: u64,
    /// Seconds that running answers get when the relay is told to stop
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_DRAIN_TIMEOUT",
        default_value_t = 10
    )]
    pub drain_timeout: u64,
}

/// Settings of `sluice publish`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Publish {
    /// The files; several make one work
    #[arg(required = true, value_name = "FILE")]
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// What people will read above the player
    #[arg(
        long,
        env = "SLUICE_TITLE",
        default_value = "",
        hide_default_value = true
    )]
    pub title: String,
    /// Several lines about it
    #[arg(
        long,
        env = "SLUICE_DESCRIPTION",
        default_value = "",
        hide_default_value = true
    )]
    pub description: String,
    /// Words to find it by
    #[arg(long, value_name = "TAG,…", env = "SLUICE_TAGS", value_delimiter = ',')]
    #[serde(default)]
    pub tags: Vec<String>,
    /// A picture of at most 256 KiB: JPEG, PNG, WebP or AVIF
    #[arg(long, value_name = "FILE", env = "SLUICE_POSTER")]
    pub poster: Option<PathBuf>,
    /// The spoken language, such as en or pt-BR
    #[arg(
        long,
        env = "SLUICE_LANGUAGE",
        default_value = "",
        hide_default_value = true
    )]
    pub language: String,
    /// The licence: an SPDX name or a URL
    #[arg(
        long,
        env = "SLUICE_LICENCE",
        default_value = "",
        hide_default_value = true
    )]
    pub licence: String,
    /// Keep it off lists; whoever has the link can watch
    #[arg(long, env = "SLUICE_UNLISTED")]
    pub unlisted: bool,
}

/// Settings of `sluice fetch`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fetch {
    /// The work's id
    #[arg(value_name = "ID")]
    #[serde(default)]
    pub id: String,
    /// The file to write, or the folder if the work has several
    #[arg(long, value_name = "PATH", env = "SLUICE_OUT")]
    pub out: Option<PathBuf>,
    /// A relay's address or another data folder, instead of --data
    #[arg(long, value_name = "URL|DIR", env = "SLUICE_FROM")]
    pub from: Option<String>,
    /// Replace files that are there already
    #[arg(long, env = "SLUICE_FORCE")]
    pub force: bool,
}

/// Settings of `sluice keygen`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Keygen {}

/// Settings of `sluice list`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct List {}

/// Settings of `sluice card`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EditCard {
    /// The work's id
    #[arg(value_name = "ID")]
    #[serde(default)]
    pub id: String,
    /// The new title
    #[arg(long, env = "SLUICE_TITLE")]
    pub title: Option<String>,
    /// The new description
    #[arg(long, env = "SLUICE_DESCRIPTION")]
    pub description: Option<String>,
    /// The new tags; an empty word for none
    #[arg(long, value_name = "TAG,…", env = "SLUICE_TAGS", value_delimiter = ',')]
    pub tags: Option<Vec<String>>,
    /// The new poster
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_POSTER",
        conflicts_with = "no_poster"
    )]
    pub poster: Option<PathBuf>,
    /// Take the poster away
    #[arg(long, env = "SLUICE_NO_POSTER")]
    pub no_poster: bool,
    /// The new language
    #[arg(long, env = "SLUICE_LANGUAGE")]
    pub language: Option<String>,
    /// The new licence
    #[arg(long, env = "SLUICE_LICENCE")]
    pub licence: Option<String>,
    /// Keep it off lists (true) or not (false)
    #[arg(long, env = "SLUICE_UNLISTED", num_args = 0..=1, default_missing_value = "true")]
    pub unlisted: Option<bool>,
}

/// Settings of `sluice remove`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Remove {
    /// The works' ids
    #[arg(required = true, value_name = "ID")]
    #[serde(default)]
    pub ids: Vec<String>,
}

/// Settings of `sluice gc`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gc {
    /// Also read every block and name the damaged ones
    #[arg(long, env = "SLUICE_VERIFY")]
    pub verify: bool,
}

/// Settings that do not make sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line; clap says how. Help and version arrive here too.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The settings file.
    #[error("{0}; mend the settings file")]
    File(Box<figment::Error>),
    /// No such settings file.
    #[error("no settings file at {}; check --config", .0.display())]
    NoFile(PathBuf),
}

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        Self::File(Box::new(error))
    }
}

/// The shape of the settings file, to refuse what is not a setting.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "only its shape is used; each part is read on its own"
)]
struct Shape {
    data: Option<PathBuf>,
    json: Option<bool>,
    quiet: Option<bool>,
    log: Option<String>,
    serve: Option<Dict>,
    publish: Option<Dict>,
    fetch: Option<Dict>,
    keygen: Option<Dict>,
    list: Option<Dict>,
    card: Option<Dict>,
    remove: Option<Dict>,
    gc: Option<Dict>,
}

impl Cli {
    /// Settles every setting from `args` (the program's name first), the environment and the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also for `--help` and `--version`, as clap has it.
    pub fn settle(args: Vec<std::ffi::OsString>) -> Result<Self, ConfigError> {
        let matches = matches(args)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        let Some(path) = cli.common.config.clone() else {
            return Ok(cli);
        };
        if !path.is_file() {
            return Err(ConfigError::NoFile(path));
        }
        let file = Figment::from(Toml::file_exact(&path));
        file.extract::<Shape>()?;
        let mut common = Dict::new();
        for key in ["data", "json", "quiet", "log"] {
            if let Ok(value) = file.find_value(key) {
                common.insert(key.into(), value);
            }
        }
        cli.common = layer(&cli.common, &matches, Serialized::defaults(common))?;
        cli.common.config = Some(path);
        let Some((name, matches)) = matches.subcommand() else {
            return Ok(cli);
        };
        let part = file.focus(name);
        match &mut cli.command {
            Command::Serve(args) => **args = layer(&**args, matches, part)?,
            Command::Publish(args) => **args = layer(&**args, matches, part)?,
            Command::Fetch(args) => *args = layer(args, matches, part)?,
            Command::Keygen(args) => *args = layer(args, matches, part)?,
            Command::List(args) => *args = layer(args, matches, part)?,
            Command::Card(args) => **args = layer(&**args, matches, part)?,
            Command::Remove(args) => *args = layer(args, matches, part)?,
            Command::Gc(args) => *args = layer(args, matches, part)?,
        }
        Ok(cli)
    }
}

/// Parses the command line; one without a command is one for `serve`.
fn matches(args: Vec<std::ffi::OsString>) -> Result<ArgMatches, clap::Error> {
    use clap::error::ErrorKind;
    let error = match Cli::command().try_get_matches_from(&args) {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    let no_command = matches!(
        error.kind(),
        ErrorKind::MissingSubcommand
            | ErrorKind::UnknownArgument
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !no_command {
        return Err(error);
    }
    let mut serve = args;
    serve.insert(1.min(serve.len()), "serve".into());
    Cli::command()
        .try_get_matches_from(serve)
        .map_err(|_| error)
}

/// Defaults below `file` below what was said on the command line or in the environment.
fn layer<T: Serialize + DeserializeOwned>(
    said: &T,
    matches: &ArgMatches,
    file: impl Provider,
) -> Result<T, ConfigError> {
    let all = Figment::from(Serialized::defaults(said));
    let mut explicit = all
        .data()?
        .remove(&figment::Profile::Default)
        .unwrap_or_default();
    explicit.retain(|key, _| {
        // An argument that this command does not have was not said either.
        matches!(
            matches
                .try_get_raw(&key.replace('-', "_"))
                .ok()
                .and_then(|_| { matches.value_source(&key.replace('-', "_")) }),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    });
    Ok(all
        .merge(file)
        .merge(Serialized::defaults(explicit))
        .extract()?)
}
