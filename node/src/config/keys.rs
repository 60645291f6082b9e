//! Every key: its name, what it is for, what is allowed, where it goes, and when a change of it counts.

use std::fmt;
use std::path::PathBuf;

use weft_kernel::RaisedEffect;
use weft_protocol::limits::{
    ADDRESSES_MAX, AGENT_IN_FLIGHT_MAX, APPROVAL_US_MAX, APPROVAL_US_MIN, DIMENSIONS_MAX, LABEL_BYTES_MAX, LABELS_MAX,
    MEMBERS_MAX, PAGE_BYTES_MAX,
};
use weft_protocol::{BuiltinKind, Dimension, Resource, ResourceLimits, WIRE_VERSION, WIRE_VERSION_MIN, WireVersions};

use super::value::{Value, show_bytes, show_time};
use super::{Config, LogFormat};
use crate::anchor::calendar::Calendar;
use crate::cli::nearest;
use crate::network::{TcpSecurity, check_address, check_announced};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// As long as it is written: 365.25 days.
const YEAR: u64 = 8_766 * HOUR;

/// The word for a time that does not come.
const NEVER: &str = "never";
/// The word for what is not done.
const OFF: &str = "off";
/// Least and most time for one pass of the scrub (guesses: below it never rests, above a disk is older than that).
const SCRUB_US: (u64, u64) = (100 * MS, YEAR);
/// Longest age that rows may be asked to have (guess: longer than any node lives).
const RETENTION_US_MAX: u64 = 100 * YEAR;

/// Most messages a second that a member may be allowed (guess: more than any machine executes).
const MESSAGES_PER_S_MAX: u64 = 100_000_000;

/// When a change of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changes {
    /// With SIGHUP or `weft config reload`.
    Running,
    /// At the next start.
    Restart,
    /// Never: a node keeps what it was founded with.
    Never,
}

impl fmt::Display for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Running => "running",
            Self::Restart => "restart",
            Self::Never => "never",
        })
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// As a file writes it, with its section.
    pub(crate) name: &'static str,
    /// What it is for, in one line.
    pub(crate) about: &'static str,
    /// When a change counts.
    pub(crate) changes: Changes,
    field: Field,
}

/// Where the value goes, and what is allowed.
#[derive(Debug)]
enum Field {
    Name,
    Listen,
    Announce,
    /// The newest version of the wire that is spoken.
    Wire,
    TcpSecurity,
    /// `label=value`.
    Labels,
    /// `true` or `false`.
    Switch(fn(&mut Config) -> &mut bool),
    Log,
    LogFormat,
    BootAgents,
    Environment,
    Effects,
    AnchorFile,
    Calendars,
    /// Microseconds, or `never`.
    Retention,
    /// Microseconds, or `off`.
    Scrub,
    /// Microseconds.
    Time(fn(&mut Config) -> &mut u64, u64, u64),
    Count(fn(&mut Config) -> &mut usize, usize, usize),
    Number(fn(&mut Config) -> &mut u64, u64, u64),
    Bytes(fn(&mut Config) -> &mut u64, u64, u64),
    /// What an agent that is a program may use of it, in its unit, or `none`.
    Limit(Resource),
}

const fn time(
    name: &'static str,
    about: &'static str,
    field: fn(&mut Config) -> &mut u64,
    least: u64,
    most: u64,
) -> Key {
    Key { name, about, changes: Changes::Running, field: Field::Time(field, least, most) }
}

const fn limit(name: &'static str, about: &'static str, resource: Resource) -> Key {
    Key { name, about, changes: Changes::Running, field: Field::Limit(resource) }
}

/// All keys, in the order in which they are shown.
pub(crate) static KEYS: [Key; 50] = [
    Key { name: "name", about: "the name a new node goes by", changes: Changes::Never, field: Field::Name },
    Key {
        name: "listen",
        about: "multiaddresses to listen on; none: all interfaces, at ports chosen once",
        changes: Changes::Restart,
        field: Field::Listen,
    },
    Key {
        name: "labels",
        about: "what this node is, for agents that ask for such a one",
        changes: Changes::Running,
        field: Field::Labels,
    },
    Key {
        name: "environment",
        about: "how strict the rules are on this node",
        changes: Changes::Running,
        field: Field::Environment,
    },
    Key {
        name: "effects",
        about: "actions that have a greater effect on this node than the program says",
        changes: Changes::Running,
        field: Field::Effects,
    },
    Key { name: "log", about: "which log lines are written", changes: Changes::Running, field: Field::Log },
    Key { name: "log_format", about: "how log lines look", changes: Changes::Restart, field: Field::LogFormat },
    Key {
        name: "retention_rows",
        about: "age from which weft chain prune deletes rows beside events, unless it names another",
        changes: Changes::Running,
        field: Field::Retention,
    },
    Key {
        name: "kernel.boot_agents",
        about: "built-in agents that every start brings to life",
        changes: Changes::Restart,
        field: Field::BootAgents,
    },
    Key {
        name: "kernel.in_flight",
        about: "messages that one agent works on at once; more wait in its mailbox",
        changes: Changes::Running,
        field: Field::Count(|config| &mut config.kernel.in_flight_max, 1, AGENT_IN_FLIGHT_MAX),
    },
    time(
        "kernel.records_linger",
        "how long records of plain messages, and that durable ones were acknowledged, may wait for others before they are written",
        |config| &mut config.kernel.records_linger_us,
        0,
        10 * SECOND,
    ),
    time(
        "kernel.grace",
        "time that an agent gets to finish when it is stopped",
        |config| &mut config.kernel.grace_us,
        10 * MS,
        MINUTE,
    ),
    time(
        "kernel.start",
        "time after which a start that nobody reported has failed",
        |config| &mut config.kernel.start_us_max,
        SECOND,
        10 * MINUTE,
    ),
    time(
        "kernel.shutdown",
        "time from the request to go down to the last record, whoever still runs",
        |config| &mut config.kernel.shutdown_us_max,
        100 * MS,
        5 * MINUTE,
    ),
    time(
        "kernel.approval",
        "time in which a person may decide about what a rule deferred, and whoever asked may repeat it",
        |config| &mut config.kernel.approval_us,
        APPROVAL_US_MIN,
        APPROVAL_US_MAX,
    ),
    limit(
        "kernel.agent_memory",
        "memory that an agent which is a program may hold with all it starts; unless its spawn says otherwise, as all limits",
        Resource::Memory,
    ),
    limit("kernel.agent_cpu", "processor time that one life of such an agent may use", Resource::Cpu),
    limit("kernel.agent_disk", "files that such an agent may hold in its own folder", Resource::Disk),
    limit("kernel.agent_messages", "messages that one life of such an agent may send", Resource::Messages),
    limit("kernel.agent_tool_calls", "tools that one life of such an agent may call", Resource::ToolCalls),
    time(
        "discovery.dead_after",
        "a member that is suspect and does not say that it lives is dead after this",
        |config| &mut config.discovery.dead_after_us,
        500 * MS,
        HOUR,
    ),
    time(
        "discovery.probe_period",
        "one member after the other is probed, one in this time; 1s suits a WAN",
        |config| &mut config.discovery.probe_period_us,
        50 * MS,
        MINUTE,
    ),
    time(
        "discovery.probe_timeout",
        "a member that has not answered by then is probed through others; at most half of the period counts; 500ms suits a WAN",
        |config| &mut config.discovery.probe_timeout_us,
        10 * MS,
        MINUTE,
    ),
    time(
        "discovery.news_interval",
        "how often news of who is alive is told to a few members, while there is any",
        |config| &mut config.discovery.news_interval_us,
        10 * MS,
        MINUTE,
    ),
    time(
        "discovery.redial_min",
        "wait before the first redial; each next one waits twice as long",
        |config| &mut config.discovery.redial_us_min,
        10 * MS,
        MINUTE,
    ),
    time(
        "discovery.redial_max",
        "longest wait between redials while an outage is young",
        |config| &mut config.discovery.redial_us_max,
        10 * MS,
        HOUR,
    ),
    time(
        "discovery.redial_patience",
        "how long an outage is young",
        |config| &mut config.discovery.redial_patience_us,
        0,
        24 * HOUR,
    ),
    time(
        "discovery.redial_late_max",
        "longest wait between redials of a member that is long gone",
        |config| &mut config.discovery.redial_late_us_max,
        10 * MS,
        24 * HOUR,
    ),
    time(
        "discovery.dial",
        "a dial that nobody reported on is over after this",
        |config| &mut config.discovery.dial_us_max,
        SECOND,
        5 * MINUTE,
    ),
    time(
        "discovery.advert_ttl",
        "how long others may believe what this node says of itself",
        |config| &mut config.discovery.advert_ttl_us,
        10 * SECOND,
        24 * HOUR,
    ),
    time(
        "discovery.advert_interval",
        "changes of what this node says of itself leave together within this time",
        |config| &mut config.discovery.advert_interval_us,
        MS,
        MINUTE,
    ),
    time(
        "discovery.inquiry_interval",
        "how long what a member says of itself is waited for before somebody is asked again",
        |config| &mut config.discovery.inquiry_interval_us,
        10 * MS,
        MINUTE,
    ),
    Key {
        name: "discovery.full_mesh_max",
        about: "up to so many members all are connected to each other; above, each to its neighbours, and to others while something passes",
        changes: Changes::Running,
        field: Field::Count(|config| &mut config.discovery.full_mesh_max, 2, MEMBERS_MAX),
    },
    time(
        "discovery.link_idle",
        "a connection to a member that is no neighbour is closed when nothing has passed for so long",
        |config| &mut config.discovery.link_idle_us,
        SECOND,
        24 * HOUR,
    ),
    Key {
        name: "network.wire_version_max",
        about: "the version of the wire that this node speaks at most: 1, for a cluster in which some nodes were not upgraded, speaks like these",
        changes: Changes::Restart,
        field: Field::Wire,
    },
    Key {
        name: "network.announce",
        about: "multiaddresses that others are told instead of those listened on: where a port forward begins that ends here; none: those",
        changes: Changes::Restart,
        field: Field::Announce,
    },
    Key {
        name: "network.mdns",
        about: "members that are missed are asked for on the LAN, and this node answers who asks for it; a node that listens on loopback alone does neither",
        changes: Changes::Restart,
        field: Field::Switch(|config| &mut config.mdns),
    },
    Key {
        name: "network.tcp_security",
        about: "what whoever dials this node over TCP may encrypt by: tls+noise lets programs in whose libp2p speaks no TLS, without a post-quantum key exchange",
        changes: Changes::Restart,
        field: Field::TcpSecurity,
    },
    time(
        "replication.round",
        "mean time between two comparisons of chains with random members",
        |config| &mut config.replication.round_us,
        100 * MS,
        HOUR,
    ),
    Key {
        name: "replication.round_members",
        about: "members that each such round compares with",
        changes: Changes::Running,
        field: Field::Count(|config| &mut config.replication.round_members, 1, 64),
    },
    time(
        "replication.hello_pause",
        "least time between two comparisons with one member",
        |config| &mut config.replication.hello_pause_us,
        10 * MS,
        HOUR,
    ),
    time(
        "replication.loss_pause",
        "how long a member that did not respond is not asked for the same chain",
        |config| &mut config.replication.loss_pause_us,
        10 * MS,
        HOUR,
    ),
    time(
        "replication.fault_pause",
        "how long a member that sent something wrong is not asked for the same chain",
        |config| &mut config.replication.fault_pause_us,
        10 * MS,
        HOUR,
    ),
    Key {
        name: "replication.page",
        about: "most bytes wanted in one page of a chain",
        changes: Changes::Running,
        field: Field::Bytes(|config| &mut config.replication.page_bytes, 4 * 1_024, PAGE_BYTES_MAX as u64),
    },
    Key {
        name: "anchor.file",
        about: "a file that is to hold a checkpoint of the chain, for somebody outside of the cluster to keep; none without one",
        changes: Changes::Running,
        field: Field::AnchorFile,
    },
    time(
        "anchor.interval",
        "how often that file is written when there is something new",
        |config| &mut config.anchor.interval_us,
        100 * MS,
        24 * HOUR,
    ),
    Key {
        name: "anchor.calendars",
        about: "calendars of OpenTimestamps that weft chain stamp asks",
        changes: Changes::Running,
        field: Field::Calendars,
    },
    time(
        "anchor.retry",
        "wait before a calendar is asked again; each next one is twice as long, up to a thousand times",
        |config| &mut config.anchor.retry_us,
        100 * MS,
        HOUR,
    ),
    Key {
        name: "limits.messages_per_second",
        about: "messages of agents that one member may send to this node in a second, and twice as many at once; more is told to come later",
        changes: Changes::Running,
        field: Field::Number(|config| &mut config.rates.messages_per_s, 1, MESSAGES_PER_S_MAX),
    },
    Key {
        name: "storage.scrub_period",
        about: "time in which everything that is stored is read and checked once, in the background",
        changes: Changes::Restart,
        field: Field::Scrub,
    },
];

/// Each label once.
fn labels(texts: &[String]) -> Result<std::collections::BTreeMap<String, String>, String> {
    let split = |text: &String| {
        let refused = || format!("`{text}` is no label: write label=value, as role=gpu");
        let (label, value) = text.split_once('=').ok_or_else(refused)?;
        Ok((label.to_owned(), value.to_owned()))
    };
    let labels = texts.iter().map(split).collect::<Result<_, String>>()?;
    if weft_protocol::are_labels(&labels) {
        return Ok(labels);
    }
    Err(format!("at most {LABELS_MAX} labels, each and its value of 1 to {LABEL_BYTES_MAX} bytes"))
}

impl Key {
    /// The key of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The variable of the environment that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("WEFT_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Sets it in `config`.
    ///
    /// # Errors
    /// What is wrong with the value, and what is allowed.
    pub(super) fn set(&self, config: &mut Config, value: &Value) -> Result<(), String> {
        let wants = |what: String| if what.starts_with('`') { what } else { format!("`{}` wants {what}", self.name) };
        match self.field {
            Field::Name => {
                config.name = Some(value.text().map_err(wants)?.parse().map_err(|error| format!("{error}"))?)
            }
            Field::Listen => {
                let addresses = value.list().map_err(wants)?;
                addresses.iter().try_for_each(|address| check_address(address).map_err(|error| error.to_string()))?;
                config.listen = addresses;
            }
            Field::Announce => {
                let addresses = value.list().map_err(wants)?;
                if addresses.len() > ADDRESSES_MAX {
                    return Err(format!("`{}` names {}, at most {ADDRESSES_MAX}", self.name, addresses.len()));
                }
                addresses.iter().try_for_each(|address| check_announced(address).map_err(|error| error.to_string()))?;
                config.announce = addresses;
            }
            Field::Wire => {
                let (least, most) = (u64::from(WIRE_VERSION_MIN), u64::from(WIRE_VERSION));
                let newest = self.within(value.count().map_err(wants)?, least, most, value)?;
                let spoken =
                    u16::try_from(newest).ok().and_then(|newest| WireVersions::between(WIRE_VERSION_MIN, newest));
                config.discovery.wire = spoken.unwrap_or_default();
            }
            Field::TcpSecurity => {
                let text = value.text().map_err(wants)?;
                let named = TcpSecurity::ALL.into_iter().find(|security| security.name() == text);
                config.tcp_security = named.ok_or_else(|| format!("`{text}` is neither tls nor tls+noise"))?;
            }
            Field::Labels => config.discovery.labels = labels(&value.list().map_err(wants)?)?,
            Field::Switch(field) => *field(config) = value.switch().map_err(wants)?,
            Field::Log => {
                let text = value.text().map_err(wants)?;
                crate::cli::check_filter(text)?;
                text.clone_into(&mut config.log);
            }
            Field::LogFormat => {
                let text = value.text().map_err(wants)?;
                let format = clap::ValueEnum::from_str(text, true);
                config.log_format = format.map_err(|_| format!("`{text}` is neither text nor json"))?;
            }
            Field::BootAgents => config.boot_agents = kinds(&value.list().map_err(wants)?)?,
            Field::Environment => {
                let environment = value.text().map_err(wants)?.parse();
                config.kernel.environment = environment.map_err(|error| format!("`{}`: {error}", self.name))?;
            }
            Field::Effects => config.kernel.effects = effects(&value.list().map_err(wants)?)?,
            Field::AnchorFile => {
                let path = PathBuf::from(value.text().map_err(wants)?);
                if path.is_relative() && !path.as_os_str().is_empty() {
                    return Err(format!("`{}`: {} is not an absolute path", self.name, path.display()));
                }
                config.anchor.file = Some(path).filter(|path| path.is_absolute());
            }
            Field::Calendars => {
                let calendars = value.list().map_err(wants)?;
                calendars.iter().try_for_each(|text| text.parse::<Calendar>().map(|_| ()))?;
                config.anchor.calendars = calendars;
            }
            Field::Retention => {
                config.retention_rows_us = match value {
                    Value::Text(text) if text == NEVER => None,
                    value => Some(self.within(value.time_us().map_err(wants)?, 0, RETENTION_US_MAX, value)?),
                };
            }
            Field::Scrub => {
                let off =
                    matches!(value, Value::Text(text) if text == OFF || text == "0") || *value == Value::Number(0);
                let time = |value: &Value| self.within(value.time_us().map_err(wants)?, SCRUB_US.0, SCRUB_US.1, value);
                config.scrub_period_us = if off { None } else { Some(time(value)?) };
            }
            Field::Time(field, least, most) => {
                *field(config) = self.within(value.time_us().map_err(wants)?, least, most, value)?;
            }
            Field::Bytes(field, least, most) => {
                *field(config) = self.within(value.bytes().map_err(wants)?, least, most, value)?;
            }
            Field::Number(field, least, most) => {
                *field(config) = self.within(value.count().map_err(wants)?, least, most, value)?;
            }
            Field::Count(field, least, most) => {
                let count = self.within(value.count().map_err(wants)?, least as u64, most as u64, value)?;
                *field(config) = usize::try_from(count).unwrap_or(most);
            }
            Field::Limit(resource) => {
                let bound = match (value, resource) {
                    (Value::Text(text), _) if text == "none" => None,
                    (_, Resource::Memory | Resource::Disk) => Some(value.bytes().map_err(wants)?),
                    (_, Resource::Cpu) => Some(value.time_us().map_err(wants)?),
                    (_, Resource::Messages | Resource::ToolCalls) => Some(value.count().map_err(wants)?),
                };
                let (least, most) = limit_range(resource);
                let bound = bound.map(|bound| self.within(bound, least, most, value)).transpose()?;
                *limit_of(&mut config.kernel.limits, resource) = bound;
            }
        }
        Ok(())
    }

    fn within(&self, given: u64, least: u64, most: u64, value: &Value) -> Result<u64, String> {
        if (least..=most).contains(&given) {
            return Ok(given);
        }
        Err(format!("`{}` is {}; allowed is {}", self.name, value.shown(), self.allowed()))
    }

    /// What is allowed, in words.
    pub(crate) fn allowed(&self) -> String {
        match self.field {
            Field::Name => "1 to 63 of a-z 0-9 - _".to_owned(),
            Field::Listen => "multiaddresses".to_owned(),
            Field::Announce => format!("multiaddresses of one machine and port each, at most {ADDRESSES_MAX}"),
            Field::Wire => format!("{WIRE_VERSION_MIN} to {WIRE_VERSION}"),
            Field::TcpSecurity => TcpSecurity::ALL.map(TcpSecurity::name).join(" or "),
            Field::Labels => format!("label=value, as role=gpu; at most {LABELS_MAX}"),
            Field::Switch(_) => "true or false".to_owned(),
            Field::Log => "error, warn, info, debug, trace, or tracing's directives".to_owned(),
            Field::LogFormat => "text or json".to_owned(),
            Field::BootAgents => "of echo, counter, clock, load".to_owned(),
            Field::Environment => "development, staging or production".to_owned(),
            Field::Effects => "action.dimension=0.6, as spawn.risk=0.6; at most 64".to_owned(),
            Field::AnchorFile => "an absolute path, or nothing".to_owned(),
            Field::Calendars => "addresses as http://HOST".to_owned(),
            Field::Retention => format!("a time as 30d, up to {}, or {NEVER}", show_time(RETENTION_US_MAX)),
            Field::Scrub => {
                format!("a time as 7d, from {}, up to {}, or {OFF}", show_time(SCRUB_US.0), show_time(SCRUB_US.1))
            }
            Field::Time(_, least, most) => format!("{} to {}", show_time(least), show_time(most)),
            Field::Number(_, least, most) => format!("{least} to {most}"),
            Field::Count(_, least, most) => format!("{least} to {most}"),
            Field::Bytes(_, least, most) => format!("{} to {}", show_bytes(least), show_bytes(most)),
            Field::Limit(resource) => {
                let (least, most) = limit_range(resource);
                format!("{} to {}, or none", show_limit(resource, least), show_limit(resource, most))
            }
        }
    }

    /// Its value as a file writes it, a list with commas.
    pub(crate) fn show(&self, config: &Config) -> String {
        match self.field {
            Field::Name => config.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            Field::Listen => config.listen.join(","),
            Field::Announce => config.announce.join(","),
            Field::Wire => config.discovery.wire.newest().to_string(),
            Field::TcpSecurity => config.tcp_security.name().to_owned(),
            Field::Labels => {
                let labels = config.discovery.labels.iter().map(|(label, value)| format!("{label}={value}"));
                labels.collect::<Vec<_>>().join(",")
            }
            Field::Switch(field) => field(&mut config.clone()).to_string(),
            Field::Log => config.log.clone(),
            Field::LogFormat => match config.log_format {
                LogFormat::Text => "text".to_owned(),
                LogFormat::Json => "json".to_owned(),
            },
            Field::BootAgents => config.boot_agents.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            Field::Environment => config.kernel.environment.to_string(),
            Field::Effects => config.kernel.effects.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            Field::AnchorFile => config.anchor.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            Field::Calendars => config.anchor.calendars.join(","),
            Field::Retention => config.retention_rows_us.map_or_else(|| NEVER.to_owned(), show_time),
            Field::Scrub => config.scrub_period_us.map_or_else(|| OFF.to_owned(), show_time),
            Field::Time(field, ..) => show_time(*field(&mut config.clone())),
            Field::Number(field, ..) => field(&mut config.clone()).to_string(),
            Field::Count(field, ..) => field(&mut config.clone()).to_string(),
            Field::Bytes(field, ..) => show_bytes(*field(&mut config.clone())),
            Field::Limit(resource) => {
                let bound = config.kernel.limits.bound(resource);
                bound.map_or_else(|| "none".to_owned(), |bound| show_limit(resource, bound))
            }
        }
    }

    /// Its value, of a time, in microseconds.
    pub(super) fn time_us(&self, config: &Config) -> u64 {
        match self.field {
            Field::Time(field, ..) => *field(&mut config.clone()),
            _ => 0,
        }
    }

    /// Gives `config` the value that `other` has, with where it came from.
    pub(super) fn copy(&self, other: &Config, config: &mut Config) {
        match self.field {
            Field::Name => config.name.clone_from(&other.name),
            Field::Listen => config.listen.clone_from(&other.listen),
            Field::Announce => config.announce.clone_from(&other.announce),
            Field::Wire => config.discovery.wire = other.discovery.wire,
            Field::TcpSecurity => config.tcp_security = other.tcp_security,
            Field::Labels => config.discovery.labels.clone_from(&other.discovery.labels),
            Field::Switch(field) => *field(config) = *field(&mut other.clone()),
            Field::Log => config.log.clone_from(&other.log),
            Field::LogFormat => config.log_format = other.log_format,
            Field::BootAgents => config.boot_agents.clone_from(&other.boot_agents),
            Field::Environment => config.kernel.environment = other.kernel.environment,
            Field::Effects => config.kernel.effects.clone_from(&other.kernel.effects),
            Field::AnchorFile => config.anchor.file.clone_from(&other.anchor.file),
            Field::Calendars => config.anchor.calendars.clone_from(&other.anchor.calendars),
            Field::Retention => config.retention_rows_us = other.retention_rows_us,
            Field::Scrub => config.scrub_period_us = other.scrub_period_us,
            Field::Time(field, ..) | Field::Number(field, ..) | Field::Bytes(field, ..) => {
                *field(config) = *field(&mut other.clone());
            }
            Field::Count(field, ..) => *field(config) = *field(&mut other.clone()),
            Field::Limit(resource) => {
                *limit_of(&mut config.kernel.limits, resource) = other.kernel.limits.said(resource);
            }
        }
        config.origins.insert(self.name, other.origin(self).clone());
    }
}

/// Least and most of what a limit may be set to: below nothing starts, above is no limit on any machine (guesses).
const fn limit_range(resource: Resource) -> (u64, u64) {
    match resource {
        Resource::Memory => (1 << 20, 1 << 40),
        Resource::Cpu => (100 * MS, YEAR),
        Resource::Disk => (64 << 10, 1 << 40),
        Resource::Messages | Resource::ToolCalls => (1, 1_000_000_000_000),
    }
}

const fn limit_of(limits: &mut ResourceLimits, resource: Resource) -> &mut Option<u64> {
    match resource {
        Resource::Memory => &mut limits.memory_bytes,
        Resource::Cpu => &mut limits.cpu_us,
        Resource::Disk => &mut limits.disk_bytes,
        Resource::Messages => &mut limits.messages,
        Resource::ToolCalls => &mut limits.tool_calls,
    }
}

fn show_limit(resource: Resource, amount: u64) -> String {
    match resource {
        Resource::Memory | Resource::Disk => show_bytes(amount),
        Resource::Cpu => show_time(amount),
        Resource::Messages | Resource::ToolCalls => amount.to_string(),
    }
}

/// What is said of a key that nobody knows.
pub(super) fn unknown(name: &str) -> String {
    let same_word = KEYS.iter().map(|key| key.name).find(|known| known.rsplit('.').next() == Some(name));
    match nearest(name, KEYS.iter().map(|key| key.name)).or(same_word) {
        Some(near) => format!("unknown key `{name}`; did you mean `{near}`?"),
        None => format!("unknown key `{name}`"),
    }
}

/// The sections that keys stand in.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut sections: Vec<&str> =
        KEYS.iter().filter_map(|key| key.name.split_once('.')).map(|(section, _)| section).collect();
    sections.dedup();
    sections.into_iter()
}

/// Most effects that one node raises (guess); one more is refused.
const EFFECTS_MAX: usize = 64;

fn effects(words: &[String]) -> Result<Vec<RaisedEffect>, String> {
    if words.len() > EFFECTS_MAX {
        return Err(format!("`effects` names {}, at most {EFFECTS_MAX}", words.len()));
    }
    let effects = words.iter().map(|word| word.parse().map_err(|error| format!("{error}")));
    let effects = effects.collect::<Result<Vec<RaisedEffect>, String>>()?;
    for one in &effects {
        let mut dimensions: Vec<&str> = Dimension::DEFAULT.to_vec();
        let same = effects.iter().filter(|other| other.action.name() == one.action.name());
        dimensions.extend(same.map(|other| other.dimension.as_str()));
        dimensions.sort_unstable();
        dimensions.dedup();
        if dimensions.len() > DIMENSIONS_MAX {
            let name = one.action.name();
            return Err(format!("`{name}` has effects in {} dimensions, at most {DIMENSIONS_MAX}", dimensions.len()));
        }
    }
    Ok(effects)
}

fn kinds(words: &[String]) -> Result<Vec<BuiltinKind>, String> {
    let mut kinds = Vec::new();
    for word in words {
        let kind = word.parse().map_err(|error| format!("{error}"))?;
        if kinds.contains(&kind) {
            return Err(format!("`{word}` is named twice, and a name has one agent"));
        }
        kinds.push(kind);
    }
    Ok(kinds)
}
