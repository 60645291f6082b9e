//! What a start consists of: its phases in order, and what became of each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One phase of a start, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootPhase {
    /// The program runs, and which home is meant is known.
    Init,
    /// The settings are read and checked.
    Config,
    /// The home is locked, its keys are read, the store is open and verified, the transports listen, the local door is open.
    Services,
    /// The tree of resources.
    ResourceTree,
    /// The first agents run.
    Agents,
    /// The addresses at which others find this node are known.
    Network,
    /// The memory of agents.
    Ecc,
    /// Everything before has ended.
    Ready,
}

impl BootPhase {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Init,
        Self::Config,
        Self::Services,
        Self::ResourceTree,
        Self::Agents,
        Self::Network,
        Self::Ecc,
        Self::Ready,
    ];
}

impl fmt::Display for BootPhase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Init => "init",
            Self::Config => "config",
            Self::Services => "services",
            Self::ResourceTree => "resource-tree",
            Self::Agents => "agents",
            Self::Network => "network",
            Self::Ecc => "ecc",
            Self::Ready => "ready",
        })
    }
}

/// What became of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseResult {
    /// It ended well.
    Done,
    /// It ended, and something in it did not work: the boot log says what.
    Degraded,
    /// This version has no such component: nothing was done, and nothing took time.
    NotBuiltIn,
}

impl fmt::Display for PhaseResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::NotBuiltIn => "not built in",
        })
    }
}

/// One phase that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Which.
    pub phase: BootPhase,
    /// What became of it.
    pub result: PhaseResult,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}
