//! Agents that outlive their node: what is recorded of them, and what members say to each other about who may run one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::envelope::Principal;
use crate::epoch::EpochId;
use crate::id::{AgentName, ChainId, NodeId};
use crate::limits::{LABEL_BYTES_MAX, LABELS_MAX};
use crate::process::AgentSpec;

/// That an agent is started on another node when its own is dead, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failover {
    /// Labels that a node must have to run it, with their values; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Under which fence this life of it runs; none while it is only asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// Whether these are few enough, and each of them short enough and not empty.
#[must_use]
pub fn are_labels(labels: &BTreeMap<String, String>) -> bool {
    let fits = |text: &String| !text.is_empty() && text.len() <= LABEL_BYTES_MAX;
    labels.len() <= LABELS_MAX && labels.iter().all(|(label, value)| fits(label) && fits(value))
}

/// See [`crate::Fact::FailoverDeclared`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverDeclared {
    /// What runs, wherever it runs.
    pub spec: AgentSpec,
    /// Who wants it.
    pub by: Principal,
    /// Where it runs first, if that node can; on the node whose chain this is, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<NodeId>,
}

/// See [`crate::Fact::FenceGranted`]. Fences of an agent are numbered from one; of each number a member promises one holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceGranted {
    /// Whose.
    pub agent: AgentName,
    /// Which number.
    pub fence: u64,
    /// To whom.
    pub holder: ChainId,
    /// In which epoch; it counts among the grants of that epoch alone.
    pub epoch: EpochId,
}

/// See [`crate::Fact::FenceHeld`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceHeld {
    /// Whose.
    pub agent: AgentName,
    /// Which number.
    pub fence: u64,
    /// In which epoch more than half granted it.
    pub epoch: EpochId,
    /// The chain that says what runs.
    pub declared: ChainId,
}

/// See [`crate::Fact::FenceReleased`]. Whoever wrote it neither runs the agent under this number nor will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReleased {
    /// Whose.
    pub agent: AgentName,
    /// Which number.
    pub fence: u64,
    /// Why.
    pub end: FenceEnd,
}

/// Why a fence is held no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceEnd {
    /// The node leaves; another one is to start the agent at once.
    HandedOver,
    /// The agent was stopped, or ended for good: nobody starts it.
    Ended,
    /// The agent cannot be started here; another one is to try. At most 1,024 characters.
    Unfit(String),
    /// Too few granted it.
    Abandoned,
    /// Another node holds a later one.
    Superseded {
        /// Its number.
        fence: u64,
        /// Whose.
        holder: ChainId,
    },
}

impl fmt::Display for FenceEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandedOver => formatter.write_str("handed over"),
            Self::Ended => formatter.write_str("ended"),
            Self::Unfit(reason) => write!(formatter, "cannot run here: {reason}"),
            Self::Abandoned => formatter.write_str("too few granted it"),
            Self::Superseded { fence, holder } => {
                write!(formatter, "refused: fence {fence} is held by {}", holder.node)
            }
        }
    }
}

/// What a member answers to whoever wants to hold a fence, or to go on holding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseAnswer {
    /// It is yours for the time of a lease from when you asked; a first grant is on disk.
    Granted,
    /// Somebody else may still run the agent: ask again after so many microseconds.
    NotYet {
        /// How long.
        wait_us: u64,
    },
    /// Somebody else was promised this fence, or one that follows it.
    Taken {
        /// The highest that is known.
        fence: u64,
        /// Whose that is.
        holder: ChainId,
    },
    /// You are in another epoch than I am, or one of us does not count in it, or I said that it ends.
    OtherEpoch,
    /// More agents than are kept, or a number that is far beyond those that are known.
    Unknown,
}
