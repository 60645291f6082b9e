//! What can be configured: defaults, then TOML files, then the environment, then flags; one typed value comes out.
//!
//! Of files there are two: `$XDG_CONFIG_HOME/weft/config.toml` for all nodes of a user, then HOME/config.toml for one node. A
//! later source decides key by key. A key that nobody knows is refused with the nearest right one, and a value out of its range
//! with what is allowed: a setting that is silently ignored is worse than one that is missing.
//!
//! Modules in reading order: `keys` (every key with its range, its reason and when it may change), `value` (what a source can
//! say), `sources` (files, environment, flags), `error`, `live` (the settings of a running node, and how they change).

mod error;
mod keys;
mod live;
mod sources;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::Deserialize;
use weft_discovery::DiscoveryConfig;
use weft_kernel::KernelConfig;
use weft_peer::{PeerConfig, RateLimits};
use weft_protocol::control::{ConfigReport, SettingRow};
use weft_protocol::{AgentSpec, Backend, BuiltinKind, NodeCheck, NodeName, ProbeTiming};
use weft_replication::ReplicationConfig;

use crate::home::HomeDir;
use crate::network::TcpSecurity;

pub(crate) use self::error::ConfigError;
pub(crate) use self::keys::{KEYS, Key};
pub(crate) use self::live::{Live, reload};
pub(crate) use self::sources::{Flags, Origin};

use self::sources::Given;

/// What changes and matters; of the transport only what is wrong.
const LOG_DEFAULT: &str = "info,libp2p=warn";

/// In which time everything that is stored is read once (guess: disks remap what they notice going bad within days of reads).
const SCRUB_PERIOD_US: u64 = 7 * 24 * 3_600 * 1_000_000;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object on each line.
    Json,
}

/// Who outside of the cluster holds something of this node's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnchorConfig {
    /// A file that always holds a checkpoint.
    pub(crate) file: Option<PathBuf>,
    /// How often it is written when there is something new, in microseconds.
    pub(crate) interval_us: u64,
    /// Calendars of OpenTimestamps that `weft chain stamp` asks.
    pub(crate) calendars: Vec<String>,
    /// Wait before a calendar is asked again, in microseconds; it doubles, up to a thousand times as much.
    pub(crate) retry_us: u64,
}

impl Default for AnchorConfig {
    fn default() -> Self {
        Self { file: None, interval_us: 10 * 60 * 1_000_000, calendars: Vec::new(), retry_us: 10 * 1_000_000 }
    }
}

/// All settings of one node, and where each came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The name a new node goes by; one that exists keeps its own.
    pub(crate) name: Option<NodeName>,
    /// Multiaddresses to listen on. Empty: QUIC and TCP on all interfaces, at ports chosen once and kept.
    pub(crate) listen: Vec<String>,
    /// Multiaddresses that others are told instead of those listened on. Empty: those.
    pub(crate) announce: Vec<String>,
    /// What those that come by TCP may be encrypted by.
    pub(crate) tcp_security: TcpSecurity,
    /// Which log lines are written, as tracing's filter directives.
    pub(crate) log: String,
    /// How they look.
    pub(crate) log_format: LogFormat,
    /// The built-in agents that every start brings to life, by kind.
    pub(crate) boot_agents: Vec<BuiltinKind>,
    /// Bounds of the kernel; its own list of first agents is made of `boot_agents`.
    pub(crate) kernel: KernelConfig,
    /// Times of discovery.
    pub(crate) discovery: DiscoveryConfig,
    /// Times and bounds of replication.
    pub(crate) replication: ReplicationConfig,
    /// What one member may ask of this node.
    pub(crate) rates: RateLimits,
    /// How old events must be before rows beside them may go, in microseconds; none: those never go.
    pub(crate) retention_rows_us: Option<u64>,
    /// Whether members that are missed are asked for on the LAN.
    pub(crate) mdns: bool,
    /// Who outside of the cluster holds something of the chain.
    pub(crate) anchor: AnchorConfig,
    /// In which time the scrub reads everything that is stored once, in microseconds; none: never.
    pub(crate) scrub_period_us: Option<u64>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            listen: Vec::new(),
            announce: Vec::new(),
            tcp_security: TcpSecurity::default(),
            log: LOG_DEFAULT.to_owned(),
            log_format: LogFormat::default(),
            boot_agents: vec![BuiltinKind::Echo],
            kernel: KernelConfig::default(),
            discovery: DiscoveryConfig::default(),
            replication: ReplicationConfig::default(),
            rates: RateLimits::default(),
            retention_rows_us: None,
            mdns: true,
            anchor: AnchorConfig::default(),
            scrub_period_us: Some(SCRUB_PERIOD_US),
            origins: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Where the value of this key came from.
    pub(crate) fn origin(&self, key: &Key) -> &Origin {
        self.origins.get(key.name).unwrap_or(&Origin::Default)
    }

    /// What the three machines are made with.
    ///
    /// # Errors
    /// `failed`, when a kind of built-in agent is no name: a bug.
    pub(crate) fn peer(&self) -> Result<PeerConfig, weft_protocol::ParseError> {
        let boot_agents = self.boot_agents.iter().map(|kind| boot_agent(*kind)).collect::<Result<_, _>>()?;
        let node_checks =
            [NodeCheck::Disk, NodeCheck::Chain, NodeCheck::Network].map(|check| (check, ProbeTiming::default()));
        Ok(PeerConfig {
            kernel: KernelConfig { boot_agents, node_checks: node_checks.to_vec(), ..self.kernel.clone() },
            discovery: self.discovery.clone(),
            replication: self.replication.clone(),
            rates: self.rates,
        })
    }

    /// Every key with its value and where that came from.
    pub(crate) fn report(&self, running: bool) -> ConfigReport {
        let default = Self::default();
        let rows = KEYS.iter().map(|key| SettingRow {
            key: key.name.to_owned(),
            value: key.show(self),
            default: key.show(&default),
            from: self.origin(key).to_string(),
            variable: key.variable(),
            allowed: key.allowed(),
            changes: key.changes.to_string(),
            about: key.about.to_owned(),
        });
        ConfigReport { running, settings: rows.collect() }
    }

    fn take(&mut self, given: &Given) -> Result<(), ConfigError> {
        given.key.set(self, &given.value).map_err(|problem| given.origin.refuse(problem))?;
        self.origins.insert(given.key.name, given.origin.clone());
        Ok(())
    }

    /// What no key can check alone: of two bounds the lesser one stands below the greater one.
    fn check(&self) -> Result<(), ConfigError> {
        let pairs = [
            ("discovery.redial_min", "discovery.redial_max"),
            ("discovery.redial_max", "discovery.redial_late_max"),
            ("discovery.advert_interval", "discovery.advert_ttl"),
            ("kernel.grace", "kernel.shutdown"),
        ];
        for (less, more) in pairs {
            let (Some(less), Some(more)) = (Key::named(less), Key::named(more)) else { continue };
            if less.time_us(self) > more.time_us(self) {
                let [low, high] = [less, more].map(|key| format!("`{}` ({})", key.name, key.show(self)));
                let given = [less, more].map(|key| self.origin(key)).into_iter().find(|from| **from != Origin::Default);
                return Err(given.unwrap_or(&Origin::Default).refuse(format!("{low} is more than {high}")));
            }
        }
        Ok(())
    }
}

/// An agent that every node starts, so that there is somebody to call.
fn boot_agent(kind: BuiltinKind) -> Result<AgentSpec, weft_protocol::ParseError> {
    Ok(AgentSpec::new(kind.to_string().parse()?, Backend::Builtin(kind)))
}

/// The configuration of the node in `home`: its files, the environment, then `flags`.
///
/// # Errors
/// [`ConfigError`] naming the file and line, the variable or the flag.
pub(crate) fn load(home: &HomeDir, flags: &Flags) -> Result<Config, ConfigError> {
    let mut given = Vec::new();
    for path in sources::user_file().into_iter().chain([home.config()]) {
        given.extend(sources::file(&path)?.unwrap_or_default());
    }
    given.extend(sources::environment(process_environment())?);
    given.extend(flags.given()?);
    merge(&given)
}

/// What one file alone says, on top of the defaults.
///
/// # Errors
/// [`ConfigError`]; `Io` when there is no such file.
pub(crate) fn check_file(path: &std::path::Path) -> Result<Config, ConfigError> {
    // Only the operating system says what is there; a file that is missing is no default here.
    std::fs::File::open(path).map_err(|error| ConfigError::io(path, error))?;
    merge(&sources::file(path)?.unwrap_or_default())
}

/// The name that file or environment give a new node.
///
/// # Errors
/// [`ConfigError`].
pub(crate) fn configured_name() -> Result<Option<NodeName>, ConfigError> {
    let mut given = match sources::user_file() {
        Some(path) => sources::file(&path)?.unwrap_or_default(),
        None => Vec::new(),
    };
    given.extend(sources::environment(process_environment().into_iter().filter(|(name, _)| name == "WEFT_NAME"))?);
    given.retain(|given| given.key.name == "name");
    Ok(merge(&given)?.name)
}

fn merge(given: &[Given]) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for given in given {
        config.take(given)?;
    }
    config.check()?;
    Ok(config)
}

fn process_environment() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// A variable of the environment that is set to something.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
