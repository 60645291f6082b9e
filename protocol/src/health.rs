//! How it is: of agents and of the node itself, how that is found out, and that it changed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::id::{AgentName, ProcessId};

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not looked at yet.
    Unknown,
    /// As it should be.
    Healthy,
    /// It works, but not as it should.
    Degraded {
        /// Why, at most 256 characters.
        reason: String,
    },
    /// It does not work.
    Unhealthy {
        /// Why, at most 256 characters.
        reason: String,
    },
}

impl Health {
    /// The word by which lists name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded { .. } => "degraded",
            Self::Unhealthy { .. } => "unhealthy",
        }
    }

    /// Why, when it is not well.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Degraded { reason } | Self::Unhealthy { reason } => Some(reason),
            Self::Unknown | Self::Healthy => None,
        }
    }
}

/// What a probe of an agent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Whether it works at all: when it does not, its process is ended as one that failed.
    Liveness,
    /// Whether it can do what it is asked.
    Readiness,
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        })
    }
}

impl FromStr for ProbeKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "liveness" => Ok(Self::Liveness),
            "readiness" => Ok(Self::Readiness),
            _ => Err(ParseError::new(text, "a probe (liveness or readiness)")),
        }
    }
}

/// How an agent is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeCheck {
    /// It is asked how it is, and must answer in time.
    Message,
    /// Its process must be there and must not be stopped by a signal of the operating system.
    Process,
}

impl fmt::Display for ProbeCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Message => "message",
            Self::Process => "process",
        })
    }
}

impl FromStr for ProbeCheck {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "message" => Ok(Self::Message),
            "process" => Ok(Self::Process),
            _ => Err(ParseError::new(text, "a check (message or process)")),
        }
    }
}

/// When a probe is made, and how often it must fail or succeed to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTiming {
    /// From one probe to the next, in microseconds.
    pub interval_us: u64,
    /// How long its answer may take, in microseconds.
    pub timeout_us: u64,
    /// Failures in a row that make it unhealthy.
    pub failures: u32,
    /// Successes in a row that make it healthy again.
    pub successes: u32,
}

impl Default for ProbeTiming {
    /// Every ten seconds, within five, three failures, one success.
    fn default() -> Self {
        Self { interval_us: 10_000_000, timeout_us: 5_000_000, failures: 3, successes: 1 }
    }
}

/// One probe of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// What for.
    pub kind: ProbeKind,
    /// How.
    pub check: ProbeCheck,
    /// When.
    pub timing: ProbeTiming,
}

/// What the node checks of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeCheck {
    /// Room for what it writes, and that what is stored is what was written.
    Disk,
    /// That what it records reaches the disk.
    Chain,
    /// That it listens, and reaches somebody when there is anybody.
    Network,
}

impl fmt::Display for NodeCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Disk => "disk",
            Self::Chain => "chain",
            Self::Network => "network",
        })
    }
}

/// What is healthy or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthSubject {
    /// The node itself, in one respect.
    Node {
        /// In which.
        check: NodeCheck,
    },
    /// A process, as one of its probes finds it.
    Process {
        /// Which.
        process: ProcessId,
        /// Its name.
        agent: AgentName,
        /// Which probe.
        probe: ProbeKind,
    },
}

/// Something is healthy, degraded, unhealthy, and was not before. Nothing is recorded while it stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChanged {
    /// What.
    pub subject: HealthSubject,
    /// How it was.
    pub before: Health,
    /// How it is.
    pub now: Health,
}
