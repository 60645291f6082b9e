//! What is asked when an agent is started, and why it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::capability::GrantSpec;
use crate::error::ParseError;
use crate::failover::Failover;
use crate::health::ProbeSpec;
use crate::id::{AgentName, GroupName, ServiceName};
use crate::sandbox::SandboxPolicy;
use crate::scope::IpcScope;

/// The agents that come with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuiltinKind {
    /// Answers with what it was sent.
    Echo,
    /// Counts its messages and answers with the count; `+N` adds N.
    Counter,
    /// Answers with the node's time, in RFC 3339.
    Clock,
    /// Sends as many messages as it is told, as fast as they are taken, and answers with what became of them.
    Load,
}

impl fmt::Display for BuiltinKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Echo => "echo",
            Self::Counter => "counter",
            Self::Clock => "clock",
            Self::Load => "load",
        })
    }
}

impl FromStr for BuiltinKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "echo" => Ok(Self::Echo),
            "counter" => Ok(Self::Counter),
            "clock" => Ok(Self::Clock),
            "load" => Ok(Self::Load),
            _ => Err(ParseError::new(text, "a built-in agent (echo, counter, clock or load)")),
        }
    }
}

/// Where an agent really runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// Inside the node.
    Builtin(BuiltinKind),
    /// A child process that speaks JSON-RPC lines on stdio.
    Command {
        /// Program and arguments; at least one word.
        command: Vec<String>,
        /// What its environment holds besides the node's own three variables.
        environment: BTreeMap<String, String>,
        /// Whether it may run where the kernel cannot confine it.
        trusted: bool,
    },
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(kind) => write!(formatter, "builtin {kind}"),
            Self::Command { command, .. } => write!(formatter, "exec {}", command.join(" ")),
        }
    }
}

/// When a process that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartPolicy {
    /// Whenever it ended without having been stopped, and whenever the node starts.
    Permanent,
    /// Never.
    Temporary,
    /// After an abnormal end, and when the node starts again that went down with it.
    Transient,
}

impl RestartPolicy {
    const ALL: [(&'static str, Self); 3] =
        [("permanent", Self::Permanent), ("transient", Self::Transient), ("temporary", Self::Temporary)];

    /// Whether an agent that ended like this is started again. A request to stop is not asked about here.
    #[must_use]
    pub const fn wants_again(self, reason: &ExitReason) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => reason.is_abnormal(),
            Self::Temporary => false,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, policy)| policy == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl FromStr for RestartPolicy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, policy)| *policy)
            .ok_or_else(|| ParseError::new(text, "a restart policy (permanent, transient or temporary)"))
    }
}

/// Who is started again when one of a group fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The one that failed.
    OneForOne,
    /// Everybody.
    OneForAll,
    /// The one that failed and everybody that was started after it.
    RestForOne,
}

impl Strategy {
    const ALL: [(&'static str, Self); 3] =
        [("one-for-one", Self::OneForOne), ("one-for-all", Self::OneForAll), ("rest-for-one", Self::RestForOne)];
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, strategy)| strategy == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl FromStr for Strategy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, strategy)| *strategy)
            .ok_or_else(|| ParseError::new(text, "a strategy (one-for-one, one-for-all or rest-for-one)"))
    }
}

/// That an agent belongs to a supervised group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Which.
    pub group: GroupName,
    /// How the group restarts; without one as it does already, or one-for-one when nobody is in it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// Something of which a process may use so much and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Resident memory of the process and all it started, in bytes.
    Memory,
    /// Processor time of the process and all it started, in microseconds.
    Cpu,
    /// What lies in its own folder, in bytes.
    Disk,
    /// Messages and publications it sent.
    Messages,
    /// Tools it called.
    ToolCalls,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Cpu, Self::Disk, Self::Messages, Self::ToolCalls];

    /// So much of it, with its unit.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Memory | Self::Disk => format!("{amount} bytes"),
            Self::Cpu => format!("{}.{:03} s", amount / 1_000_000, amount / 1_000 % 1_000),
            Self::Messages => format!("{amount} messages"),
            Self::ToolCalls => format!("{amount} tool calls"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Messages => "messages",
            Self::ToolCalls => "tool-calls",
        })
    }
}

/// Bounds of one life of a process; none means the node's default, [`ResourceLimits::UNBOUNDED`] none at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// See [`Resource::Memory`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// See [`Resource::Cpu`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// See [`Resource::Disk`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// See [`Resource::Messages`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// See [`Resource::ToolCalls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
}

impl ResourceLimits {
    /// The bound that nothing reaches: for what is to have none where the node has a default.
    pub const UNBOUNDED: u64 = u64::MAX;

    /// What is said about this resource.
    #[must_use]
    pub const fn said(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Memory => self.memory_bytes,
            Resource::Cpu => self.cpu_us,
            Resource::Disk => self.disk_bytes,
            Resource::Messages => self.messages,
            Resource::ToolCalls => self.tool_calls,
        }
    }

    /// The bound of this resource, when it has one.
    #[must_use]
    pub fn bound(&self, resource: Resource) -> Option<u64> {
        self.said(resource).filter(|bound| *bound != Self::UNBOUNDED)
    }

    /// These bounds, and `defaults` where they say nothing.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.or(defaults.memory_bytes),
            cpu_us: self.cpu_us.or(defaults.cpu_us),
            disk_bytes: self.disk_bytes.or(defaults.disk_bytes),
            messages: self.messages.or(defaults.messages),
            tool_calls: self.tool_calls.or(defaults.tool_calls),
        }
    }
}

/// A request to start an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Its name on its node.
    pub agent: AgentName,
    /// Where it runs.
    pub backend: Backend,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// What it may do besides answering; at most 64.
    pub grants: Vec<GrantSpec>,
    /// Its bounds.
    pub limits: ResourceLimits,
    /// The group it is supervised in; the root's own, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Membership>,
    /// How it is found out whether it works; at most one of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeSpec>,
    /// Services that somebody must serve before it starts; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<ServiceName>,
    /// Whether it is told of the ends of those it is linked to, whatever they are, instead of ending with them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub traps_exits: bool,
    /// With whom it exchanges messages; as whoever spawns it, or with everybody, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_scope: Option<IpcScope>,
    /// What it may touch and do on its machine; as whoever spawns it, or as every agent that is a program, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxPolicy>,
    /// That it outlives its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
}

impl AgentSpec {
    /// An agent that may do nothing but answer, under the node's own bounds, and is not started again.
    #[must_use]
    pub fn new(agent: AgentName, backend: Backend) -> Self {
        Self {
            agent,
            backend,
            restart: RestartPolicy::Temporary,
            grants: Vec::new(),
            limits: ResourceLimits::default(),
            group: None,
            probes: Vec::new(),
            needs: Vec::new(),
            traps_exits: false,
            ipc_scope: None,
            sandbox: None,
            failover: None,
        }
    }
}

/// Why a process is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It ended by itself with this code.
    Exited {
        /// Zero for success.
        code: i32,
    },
    /// A signal of the operating system ended it.
    Killed {
        /// The number of the signal.
        signal: i32,
    },
    /// It was asked to stop, and did.
    Stopped,
    /// It never ran; the text says why, at most 1,024 characters.
    StartFailed {
        /// Why.
        reason: String,
    },
    /// It broke the protocol; the text says how, at most 1,024 characters.
    Misbehaved {
        /// How.
        reason: String,
    },
    /// The node went down with it.
    NodeStopped,
    /// It used more than it may, and was ended for that.
    OverLimit {
        /// Of what.
        resource: Resource,
        /// How much it was seen to use, in the resource's unit.
        measured: u64,
        /// How much it may use.
        limit: u64,
    },
    /// The node ended it without having been asked to stop it: to start it again, or for its supervisor's reason, which the
    /// text says in at most 1,024 characters.
    Terminated {
        /// Why.
        reason: String,
    },
    /// It never ran, because its sandbox cannot be enforced where it was to run; the text says what of it, at most 1,024
    /// characters.
    Unenforceable {
        /// What cannot be enforced, and why.
        reason: String,
    },
}

impl ExitReason {
    /// Whether it ended before it ran: a first life of this kind has no second.
    #[must_use]
    pub const fn never_ran(&self) -> bool {
        match self {
            Self::StartFailed { .. } | Self::Unenforceable { .. } => true,
            Self::Exited { .. }
            | Self::Killed { .. }
            | Self::Stopped
            | Self::Misbehaved { .. }
            | Self::NodeStopped
            | Self::OverLimit { .. }
            | Self::Terminated { .. } => false,
        }
    }

    /// Whether it is a failure: neither success nor wanted.
    #[must_use]
    pub const fn is_abnormal(&self) -> bool {
        match self {
            Self::Exited { code } => *code != 0,
            Self::Stopped | Self::NodeStopped => false,
            Self::Killed { .. }
            | Self::StartFailed { .. }
            | Self::Misbehaved { .. }
            | Self::Terminated { .. }
            | Self::Unenforceable { .. }
            | Self::OverLimit { .. } => true,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(formatter, "exited with code {code}"),
            Self::Killed { signal } => write!(formatter, "killed by signal {signal}"),
            Self::Stopped => formatter.write_str("stopped"),
            Self::StartFailed { reason } => write!(formatter, "did not start: {reason}"),
            Self::Misbehaved { reason } => write!(formatter, "broke the protocol: {reason}"),
            Self::NodeStopped => formatter.write_str("the node stopped"),
            Self::OverLimit { resource, measured, limit } => {
                let (measured, limit) = (resource.amount(*measured), resource.amount(*limit));
                write!(formatter, "over its {resource} limit: used {measured} of {limit}")
            }
            Self::Terminated { reason } => write!(formatter, "ended by the node: {reason}"),
            Self::Unenforceable { reason } => {
                write!(formatter, "did not start, its sandbox cannot be enforced: {reason}")
            }
        }
    }
}
