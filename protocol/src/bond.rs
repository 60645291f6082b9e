//! Bonds between processes: links that let two end together, and monitors that tell one of another's end.

use serde::{Deserialize, Serialize};

use crate::envelope::{Principal, ProcessEnd};
use crate::id::{AgentName, NodeId, ProcessId};

/// A process of the node whose chain names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bonded {
    /// Its name.
    pub agent: AgentName,
    /// Which process.
    pub process: ProcessId,
}

/// A process that is monitored, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Watched {
    /// On which node.
    pub node: NodeId,
    /// Its name there.
    pub agent: AgentName,
    /// Which process.
    pub process: ProcessId,
}

/// Two processes of one node are linked from here on, until one of them ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// One end.
    pub one: Bonded,
    /// The other.
    pub other: Bonded,
    /// Who asked.
    pub by: Principal,
}

/// They no longer are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlinked {
    /// One end.
    pub one: Bonded,
    /// The other.
    pub other: Bonded,
    /// Who asked.
    pub by: Principal,
}

/// A process hears of another's end, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitored {
    /// Who hears of it.
    pub watcher: Bonded,
    /// Whose end.
    pub target: Watched,
    /// Who asked.
    pub by: Principal,
}

/// It no longer does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demonitored {
    /// Who would have heard of it.
    pub watcher: Bonded,
    /// Whose end.
    pub target: Watched,
    /// Who asked.
    pub by: Principal,
}

/// Which kind of bond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BondKind {
    /// A link: its signal is `link-exit`.
    Link,
    /// A monitor: its signal is `monitor-down`.
    Monitor,
}

/// A bond has done what it was for, and is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondFired {
    /// Of which kind.
    pub kind: BondKind,
    /// Who is told.
    pub told: Bonded,
    /// Of whose end.
    pub end: ProcessEnd,
    /// Whether the one that is told is ended as well.
    pub ends: bool,
}
