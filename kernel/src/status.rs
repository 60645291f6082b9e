//! What a kernel shows of itself: plain values that others may print, never decide by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use weft_protocol::{
    AgentName, Backend, Bonded, ChainId, ChainState, Digest, ExitReason, Grant, IpcScope, Membership, MessageId,
    NodeId, Principal, ProcessId, Resource, ResourceLimits, RestartPolicy, SandboxPolicy, Timestamp, TopicPattern,
    Watched,
};

use crate::config::{KernelConfig, KernelIdentity};
use crate::gate::GovernanceGate;
use crate::ipc::Seen;
use crate::kernel::Kernel;
use crate::process::Life;
use crate::supervisor::{Child, Condition, Rest};

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

/// A state that cannot follow the one there is. Nothing changed; trying again cannot help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node that is {from} cannot become {to}")]
pub struct WrongState {
    /// Where the node stands.
    pub from: NodeState,
    /// Where it was to go.
    pub to: NodeState,
}

impl NodeState {
    /// The state `next`, when it may follow this one: Booting, Running, ShuttingDown, Halted, in this order, and Damaged
    /// after each but the last.
    ///
    /// # Errors
    /// [`WrongState`] naming both.
    pub const fn then(self, next: Self) -> Result<Self, WrongState> {
        match (self, next) {
            (Self::Booting, Self::Running)
            | (Self::Running, Self::ShuttingDown)
            | (Self::ShuttingDown, Self::Halted)
            | (Self::Booting | Self::Running | Self::ShuttingDown, Self::Damaged) => Ok(next),
            (
                Self::Booting | Self::Running | Self::ShuttingDown | Self::Halted | Self::Damaged,
                Self::Booting | Self::Running | Self::ShuttingDown | Self::Halted | Self::Damaged,
            ) => Err(WrongState { from: self, to: next }),
        }
    }
}

/// Where a process stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// Its intent is recorded; it does not run yet.
    Starting,
    /// It runs.
    Running,
    /// It stands still; what is for it waits.
    Suspended,
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
            Self::Suspended => formatter.write_str("suspended"),
            Self::Stopping => formatter.write_str("stopping"),
            Self::Exited(_) => formatter.write_str("exited"),
        }
    }
}

/// What will become of an agent whose process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// Nothing; or it has not ended.
    None,
    /// It will be started again.
    Restart {
        /// When its wait is over.
        at: Timestamp,
    },
    /// Its supervisor has given it up.
    Failed {
        /// Why.
        reason: String,
    },
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
    /// The group it is supervised in, with the group's strategy.
    pub group: Option<Membership>,
    /// What comes after its end.
    pub prospect: Prospect,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// What it subscribes to.
    pub topics: Vec<TopicPattern>,
    /// Whether it is told of the ends of those it is linked to instead of ending with them.
    pub traps_exits: bool,
    /// With whom it exchanges messages.
    pub ipc_scope: IpcScope,
    /// What it may touch and do on its machine; none when it has what every program has.
    pub sandbox: Option<SandboxPolicy>,
    /// Processes of this node that it is linked to.
    pub links: Vec<Bonded>,
    /// Processes whose end it hears of.
    pub monitors: Vec<Watched>,
    /// Messages that wait for it.
    pub mailbox: usize,
    /// Messages it works on.
    pub in_flight: usize,
}

/// One right as `cap ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantInfo {
    /// What.
    pub grant: Grant,
    /// Where its holder is.
    pub node: NodeId,
    /// Its holder.
    pub agent: AgentName,
    /// Its holder's process, on this node.
    pub process: Option<ProcessId>,
    /// Who gave it, when it crossed from one node to another.
    pub by: Option<Principal>,
    /// How often it was used, as far as this node has seen; none when nobody counts.
    pub used: Option<u64>,
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

    /// Who this node is.
    #[must_use]
    pub const fn identity(&self) -> &KernelIdentity {
        &self.identity
    }

    /// The rules in force, and how they are applied here.
    #[must_use]
    pub const fn governance(&self) -> &GovernanceGate {
        self.gates.governance()
    }

    /// The bounds in force.
    #[must_use]
    pub const fn config(&self) -> &KernelConfig {
        &self.config
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

    /// All processes: the living by place, then those that exited, the last of them last. Of an agent that waits for its next
    /// life, or was given up, the last process is always among them.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessInfo> {
        let (mut living, mut exited): (Vec<_>, Vec<_>) = self
            .processes
            .all()
            .map(|life| self.info(life))
            .partition(|info| !matches!(info.state, ProcessState::Exited(_)));
        let known: BTreeSet<_> = exited.iter().map(|info| info.process).collect();
        let forgotten = self.supervisors.resting().filter(|(_, child, _)| !known.contains(&child.process));
        living.extend(forgotten.map(|(_, child, rest)| self.resting_info(child, rest)));
        living.append(&mut exited);
        living
    }

    /// One process, living or not long gone.
    #[must_use]
    pub fn process(&self, process: ProcessId) -> Option<ProcessInfo> {
        let known = self.processes.all().find(|life| life.process == process).map(|life| self.info(life));
        known.or_else(|| {
            let mut resting = self.supervisors.resting();
            resting
                .find(|(_, child, _)| child.process == process)
                .map(|(_, child, rest)| self.resting_info(child, rest))
        })
    }

    /// The living process of that name.
    #[must_use]
    pub fn agent(&self, agent: &AgentName) -> Option<ProcessId> {
        self.processes.named(agent)
    }

    /// Whether a message to that name is for this node: it finds a process here, or is told that one is about to be.
    #[must_use]
    pub fn has_agent(&self, agent: &AgentName) -> bool {
        let accepts = self.agent(agent).and_then(|process| self.processes.living(process)).is_some_and(Life::accepts);
        accepts || self.restarting(agent).is_some()
    }

    fn prospect(&self, agent: &AgentName, process: ProcessId) -> Prospect {
        let child = self.supervisors.get(agent).filter(|child| child.process == process);
        match child.map(|child| &child.condition) {
            Some(Condition::Between { plan }) => {
                let at = self.supervisors.plans.get(*plan).map_or(self.now, |plan| plan.at);
                Prospect::Restart { at }
            }
            Some(Condition::Failed { reason }) => Prospect::Failed { reason: reason.clone() },
            Some(Condition::Living) | None => Prospect::None,
        }
    }

    fn resting_info(&self, child: &Child, rest: &Rest) -> ProcessInfo {
        ProcessInfo {
            agent: rest.spec.agent.clone(),
            process: child.process,
            state: ProcessState::Exited(rest.exit.clone()),
            backend: rest.spec.backend.clone(),
            restart: rest.spec.restart,
            restarts: child.restarts,
            started_at: None,
            pid: None,
            limits: self.limits_of(&rest.spec),
            used: BTreeMap::new(),
            group: rest.spec.group.clone(),
            prospect: self.prospect(&rest.spec.agent, child.process),
            grants: rest.grants.clone(),
            topics: Vec::new(),
            traps_exits: rest.spec.traps_exits,
            ipc_scope: rest.spec.ipc_scope.clone().unwrap_or(IpcScope::All),
            sandbox: rest.spec.sandbox.clone(),
            links: Vec::new(),
            monitors: Vec::new(),
            mailbox: 0,
            in_flight: 0,
        }
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

    /// Every right that stands: what agents here hold, and what crossed from one node to another.
    #[must_use]
    pub fn grants(&self) -> Vec<GrantInfo> {
        let own = self.identity.chain.node;
        let info = |grant: &Grant, node: NodeId, agent: &AgentName, process, by| {
            let used = self.ledger.used(grant.reference(node));
            GrantInfo { grant: grant.clone(), node, agent: agent.clone(), process, by, used }
        };
        let held = self.processes.all_living().flat_map(|life| {
            life.grants.iter().map(move |grant| info(grant, own, &life.spec.agent, Some(life.process), None))
        });
        let crossed =
            self.ledger.all().map(|one| info(&one.grant, one.to.node, &one.to.agent, None, Some(one.by.clone())));
        held.chain(crossed).collect()
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
            group: life.spec.group.clone(),
            prospect: self.prospect(&life.spec.agent, life.process),
            grants: life.grants.iter().chain(self.ledger.crossed_to(&life.spec.agent)).cloned().collect(),
            topics: self.topics.of_process(life.process),
            traps_exits: life.spec.traps_exits,
            ipc_scope: life.spec.ipc_scope.clone().unwrap_or(IpcScope::All),
            sandbox: life.spec.sandbox.clone(),
            links: self.bonds.links_of(life.process).filter_map(|process| self.bonded(process).ok()).collect(),
            monitors: self.bonds.monitors_of(life.process).cloned().collect(),
            mailbox: life.mailbox.waiting(),
            in_flight: life.mailbox.in_flight(),
        }
    }
}
