//! What a kernel shows of itself: plain values that others may print, never decide by.

use std::collections::BTreeMap;
use std::fmt;

use weft_protocol::{
    AgentName, Backend, ChainId, ChainState, Digest, ExitReason, Grant, MessageId, ProcessId, Resource, ResourceLimits,
    RestartPolicy, Timestamp, TopicName,
};

use crate::ipc::Seen;
use crate::kernel::Kernel;
use crate::process::Life;

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
    /// How many lives of this agent the node started again before this one, since it was last stopped.
    pub restarts: u64,
    /// When it began to run; none while it starts.
    pub started_at: Option<Timestamp>,
    /// The operating system's number of it, when it has one.
    pub pid: Option<u32>,
    /// Its bounds, those of the node included.
    pub limits: ResourceLimits,
    /// What it has used of each resource; none where nobody has measured.
    pub used: BTreeMap<Resource, Option<u64>>,
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

impl Kernel {
    /// Where the node stands.
    #[must_use]
    pub const fn state(&self) -> NodeState {
        self.state
    }

    /// The own chain as it is on disk.
    #[must_use]
    pub const fn chain_state(&self) -> &ChainState {
        self.chain.durable()
    }

    /// The same, for people.
    #[must_use]
    pub fn chain_status(&self) -> ChainStatus {
        let chain = self.chain.durable();
        ChainStatus {
            chain: chain.chain(),
            events: chain.size(),
            commits: chain.commits(),
            checkpoints: chain.checkpoints(),
            head: chain.head().map(|head| head.commit_hash),
            root: chain.root(),
            sealed_events: chain.sealed_size(),
        }
    }

    /// All processes: the living by place, then those that exited, the last of them last.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessInfo> {
        self.processes.all().map(|life| self.info(life)).collect()
    }

    /// One process, living or not long gone.
    #[must_use]
    pub fn process(&self, process: ProcessId) -> Option<ProcessInfo> {
        self.processes.all().find(|life| life.process == process).map(|life| self.info(life))
    }

    /// The living process of that name.
    #[must_use]
    pub fn agent(&self, agent: &AgentName) -> Option<ProcessId> {
        self.processes.named(agent)
    }

    /// Whether a message to that name would find a process here.
    #[must_use]
    pub fn has_agent(&self, agent: &AgentName) -> bool {
        self.agent(agent).and_then(|process| self.processes.living(process)).is_some_and(Life::accepts)
    }

    /// Whether a copy of this message was let in or answered before, or is too old to tell: its body does not matter then.
    #[must_use]
    pub fn has_seen(&self, message: &MessageId) -> bool {
        self.windows.look(message) != Seen::Never
    }

    /// Whether a receipt for this message of ours is still waited for.
    #[must_use]
    pub fn waits_for(&self, message: &MessageId) -> bool {
        self.calls.get(message).is_some_and(|call| call.receipt.is_none())
    }

    fn info(&self, life: &Life) -> ProcessInfo {
        ProcessInfo {
            agent: life.spec.agent.clone(),
            process: life.process,
            state: life.state().clone(),
            backend: life.spec.backend.clone(),
            restart: life.spec.restart,
            restarts: life.restarts,
            started_at: life.started_at,
            pid: life.pid,
            limits: life.limits.clone(),
            used: Resource::ALL.into_iter().map(|resource| (resource, life.usage.of(resource))).collect(),
            grants: life.grants.clone(),
            topics: self.topics.of_process(life.process),
            mailbox: life.mailbox.waiting(),
            in_flight: life.mailbox.in_flight(),
        }
    }
}
