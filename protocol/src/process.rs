//! What is asked when an agent is started, and why it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::capability::GrantSpec;
use crate::error::ParseError;
use crate::id::AgentName;

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
}

impl fmt::Display for BuiltinKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Echo => "echo",
            Self::Counter => "counter",
            Self::Clock => "clock",
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
            _ => Err(ParseError::new(text, "a built-in agent (echo, counter or clock)")),
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
    /// Whenever the node starts.
    Permanent,
    /// Never.
    Temporary,
}

/// Bounds of one process, measured and enforced by whoever runs it; none means the node's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Address space in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
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
        }
    }
}
