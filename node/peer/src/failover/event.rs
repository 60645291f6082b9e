//! What the machine is told and what it wants; and what it sees of the rest of the peer.

use std::collections::{BTreeMap, BTreeSet};

use weft_kernel::{Action, Leased};
use weft_protocol::{
    AgentName, ChainId, EpochId, Fact, FailoverDeclared, LeaseAnswer, NodeId, PlacedFact, Refusal, Role, Timestamp,
};

use crate::event::{AskId, InboundId};

/// What the rest of the peer knows at one moment.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    /// The epoch that is now.
    pub(crate) epoch: EpochId,
    /// The chains that count in it.
    pub(crate) counting: BTreeSet<ChainId>,
    /// Members that are not cut off, this node among them.
    pub(crate) members: BTreeMap<NodeId, MemberSeen>,
    /// Whether the kernel takes anything on.
    pub(crate) running: bool,
}

/// A member as this node sees it.
#[derive(Debug, Clone)]
pub(crate) struct MemberSeen {
    pub(crate) role: Role,
    /// Whether it is not known to be gone.
    pub(crate) alive: bool,
    /// What it says of itself.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// Somebody wants an agent that outlives its node; the gate is asked when that is recorded.
    Asked { ask: AskId, declared: Box<FailoverDeclared> },
    /// A chain says something, this node's own included, and that is on our disk.
    Learned { chain: ChainId, placed: Box<PlacedFact> },
    /// What was to be recorded is on disk.
    Recorded { ticket: u64 },
    /// It was not recorded.
    NotRecorded { ticket: u64, refusal: Refusal },
    /// A member wants leases of this node.
    LeaseAsked { request: InboundId, from: NodeId, holder: ChainId, epoch: EpochId, fences: Vec<(AgentName, u64)> },
    /// A member answered a round of ours; none when it did not.
    LeaseAnswered { round: u64, answers: Option<Vec<LeaseAnswer>> },
    /// This node is about to say that an epoch ends.
    EndEndorsed { epoch: EpochId },
    /// A process of the agent is there.
    Here { agent: AgentName },
    /// None is, and none will be by itself; with the reason when it never ran.
    Gone { agent: AgentName, never_ran: Option<String> },
    /// The kernel did not start what it was given a lease for.
    Unused { agent: AgentName, fence: u64, refusal: Refusal },
    /// This node is to hold nothing any longer: others are to run its agents.
    DrainAsked { ask: AskId },
    /// The time has come.
    Woken,
}

/// What the peer must do.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Put this on the chain; give `Recorded` or `NotRecorded`.
    Record { ticket: u64, action: Action, fact: Fact },
    /// Ask that member for leases; give `LeaseAnswered`.
    Ask { to: NodeId, round: u64, fences: Vec<(AgentName, u64)> },
    /// Answer a member.
    Respond { request: InboundId, answers: Vec<LeaseAnswer> },
    /// The agent may run here; give `Here`, or `Unused`.
    Start(Box<Leased>),
    /// It may not any longer; give `Gone`.
    Stop { agent: AgentName, reason: String, at_once: bool },
    /// Tell whoever asked for an agent.
    Placed { ask: AskId, agent: AgentName, fence: u64, node: NodeId },
    /// Or that it is not so.
    Refused { ask: AskId, refusal: Refusal },
    /// Nothing is held here any longer: each agent with the node that holds it now, if one does.
    Drained { ask: AskId, agents: Vec<(AgentName, Option<NodeId>)> },
}
