//! What a kernel shows of itself: plain values that others may print, never decide by.

use std::fmt;

use weft_protocol::{
    AgentName, Backend, ChainId, Digest, ExitReason, Grant, ProcessId, ResourceLimits, RestartPolicy, Timestamp, TopicName,
};

/// Where a node stands between start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// The records of this start are not on disk yet; questions wait.
    Booting,
    /// Everything works.
    Running,
    /// Processes are being stopped; questions are refused.
    ShuttingDown,
    /// The last record is on disk.
    Halted,
    /// A write failed: nothing is promised until the node was started again.
    Damaged,
}

impl fmt::Display for NodeState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Booting => "booting",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Halted => "halted",
            Self::Damaged => "damaged",
        })
    }
}

/// Where a process stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// Its intent is recorded; it does not run yet.
    Starting,
    /// It runs.
    Running,
    /// It was asked to finish.
    Stopping,
    /// It is no more.
    Exited(ExitReason),
}

impl fmt::Display for ProcessState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => formatter.write_str("starting"),
            Self::Running => formatter.write_str("running"),
            Self::Stopping => formatter.write_str("stopping"),
            Self::Exited(_) => formatter.write_str("exited"),
        }
    }
}

/// One process as `ps` and `agent inspect` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its name.
    pub agent: AgentName,
    /// Which life of it.
    pub process: ProcessId,
    /// Where it stands.
    pub state: ProcessState,
    /// Where it really runs.
    pub backend: Backend,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// How often the node started it again since it was last asked for.
    pub restarts: u64,
    /// When it began to run; none while it starts.
    pub started_at: Option<Timestamp>,
    /// The operating system's number of it, when it has one.
    pub pid: Option<u32>,
    /// Its bounds.
    pub limits: ResourceLimits,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// What it subscribes to.
    pub topics: Vec<TopicName>,
    /// Messages that wait for it.
    pub mailbox: usize,
    /// Messages it works on.
    pub in_flight: usize,
}

/// Where the own chain stands, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainStatus {
    /// Which chain.
    pub chain: ChainId,
    /// Number of events.
    pub events: u64,
    /// Number of commits.
    pub commits: u64,
    /// Number of commits with both signatures.
    pub checkpoints: u64,
    /// Hash of the last commit; none before the first.
    pub head: Option<Digest>,
    /// Root over all events.
    pub root: Digest,
    /// Number of events under the last checkpoint.
    pub sealed_events: u64,
}
