//! What a node writes to disk in one transaction, and what it reads back when it starts.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::chain::ChainState;
use crate::envelope::{Envelope, Publication};
use crate::evidence::Evidence;
use crate::fact::{Fact, MessageRecord};
use crate::hash::Digest;
use crate::id::{ChainId, MessageId, NodeId};
use crate::leaf::Leaves;
use crate::record::{Anchor, CommitGroup};
use crate::time::{Hlc, Timestamp};

/// The steps of plain messages behind one [`Fact::Batch`] event: one row, prunable, each step provable against the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRow {
    /// The chain of the event.
    pub chain: ChainId,
    /// Its place there.
    pub seq: u64,
    /// The leaves, in order.
    pub records: Leaves,
}

/// A message that must reach its receiver even if this node restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Where to.
    pub to: NodeId,
    /// What.
    pub envelope: Envelope,
    /// Until when it is tried.
    pub expires: Timestamp,
}

/// A publication in a node's own log of topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedPublication {
    /// The stamp under which this node logged it: unique on this node, rising, never given twice.
    pub place: Hlc,
    /// Whether it was fetched as history: nobody here listened when it was published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// What.
    pub publication: Publication,
}

/// A message that was given up: kept for a person to decide about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The message; its id names the letter.
    pub envelope: Envelope,
    /// Where it was to go; this node for one that waited in a mailbox here.
    pub to: NodeId,
    /// Its target as it was written.
    pub target: String,
    /// Why: a refusal's code, or `mailbox` for one whose process ended before it was read.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The event that records it, on this node's chain: what a retry names as its cause.
    pub event: Digest,
}

/// What is promised never to be used again: a restart begins above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reserved {
    /// Message ids below this number may have been given.
    pub counter: u64,
    /// Stamps up to this one may have been given.
    pub clock: Hlc,
}

/// That a chain with two proven histories counts only up to a commit: what stands behind it is kept aside, and read by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Which chain.
    pub chain: ChainId,
    /// The first commit that does not count.
    pub from_commit: u64,
}

/// Rows beside events of one chain that go, after [`Fact::Pruned`] said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedRows {
    /// Of which chain.
    pub chain: ChainId,
    /// All of events below this place.
    pub to: u64,
    /// Places of the batches whose [`DigestRow`] goes.
    pub digests: Vec<u64>,
    /// Names of the bodies that go.
    pub bodies: Vec<Digest>,
    /// The store's count of transactions when nothing else named these bodies: one that was written later stays.
    pub as_of: u64,
}

/// A step of a plain message whose leaf was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PrunedStep {
    /// Place of the event that holds the root over it.
    pub seq: u64,
    /// Which leaf it was.
    pub leaf: u32,
}

/// Everything that becomes durable together, in one transaction with one sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Chains to cut, before anything is appended.
    pub cuts: Vec<Cut>,
    /// Groups to append, own and foreign; those of one chain in order.
    pub groups: Vec<(ChainId, CommitGroup)>,
    /// Rows beside their events.
    pub digests: Vec<DigestRow>,
    /// Bodies of durable messages that do not fit into their events, by the hash that the events name.
    pub bodies: Vec<(Digest, ByteBuf)>,
    /// Messages to keep until they are acknowledged.
    pub outbox_put: Vec<OutboxEntry>,
    /// Messages that need not be kept any more.
    pub outbox_drop: Vec<MessageId>,
    /// The new reservation, when it moved.
    pub reserved: Option<Reserved>,
    /// Forks to remember for ever.
    pub evidence: Vec<Evidence>,
    /// Addresses under which members were reached; each replaces what was known of that node.
    pub addresses: Vec<(NodeId, Vec<String>)>,
    /// Publications to keep in the log of topics.
    pub topic_put: Vec<LoggedPublication>,
    /// Places of publications that need not be kept any more.
    pub topic_drop: Vec<Hlc>,
    /// Messages that were given up.
    pub dead_put: Vec<DeadLetter>,
    /// Given-up messages that need not be kept any more.
    pub dead_drop: Vec<MessageId>,
    /// Rows beside events that go, after everything else is written.
    pub pruned: Vec<PrunedRows>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds everything of `later` behind what is here. A cut must not find groups of its chain here.
    pub fn append(&mut self, later: Self) {
        self.cuts.extend(later.cuts);
        self.groups.extend(later.groups);
        self.digests.extend(later.digests);
        self.bodies.extend(later.bodies);
        self.outbox_put.extend(later.outbox_put);
        self.outbox_drop.extend(later.outbox_drop);
        self.reserved = later.reserved.or(self.reserved);
        self.evidence.extend(later.evidence);
        self.addresses.extend(later.addresses);
        self.topic_put.extend(later.topic_put);
        self.topic_drop.extend(later.topic_drop);
        self.dead_put.extend(later.dead_put);
        self.dead_drop.extend(later.dead_drop);
        self.pruned.extend(later.pruned);
    }
}

/// One fact of a stored chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFact {
    /// Its place on the chain.
    pub seq: u64,
    /// Its stamp.
    pub hlc: Hlc,
    /// What it says.
    pub fact: Fact,
}

/// One stored chain, verified from its first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredChain {
    /// Where it stands.
    pub state: ChainState,
    /// All its facts but messages, batches and opaque ones, in order.
    pub facts: Vec<PlacedFact>,
    /// The last head of each other chain that its commits name.
    pub anchors: Vec<Anchor>,
}

/// One step of a durable message: an `ipc.message` event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedMessage {
    /// On which chain.
    pub chain: ChainId,
    /// Its place on the chain.
    pub seq: u64,
    /// Its leaf.
    pub leaf: Digest,
    /// What it says.
    pub record: MessageRecord,
}

/// What a start continues from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every chain that is held, own and foreign.
    pub chains: Vec<RecoveredChain>,
    /// What was promised never to be used again.
    pub reserved: Reserved,
    /// Messages still to be delivered.
    pub outbox: Vec<OutboxEntry>,
    /// Of each chain the newest [`DEDUPLICATION_WINDOW`](crate::limits::DEDUPLICATION_WINDOW) steps of durable messages that
    /// came from other nodes, at the stages received (without its body), answered and refused, in order: so that a second
    /// copy of a message that was in a mailbox before the restart is answered from its record and not delivered again. An
    /// older message is below its sender's window. Only the steps on the own chain matter; which that is the store does not
    /// know.
    pub messages: Vec<PlacedMessage>,
    /// Plain messages that came from other nodes and were let into a mailbox before: of each chain that recorded any the newest
    /// [`DEDUPLICATION_WINDOW`](crate::limits::DEDUPLICATION_WINDOW). A second copy of one is refused. Those of the last
    /// moment before a crash are not on disk, and not here.
    pub let_in: Vec<(ChainId, Vec<MessageId>)>,
    /// Forks seen.
    pub evidence: Vec<Evidence>,
    /// Addresses of members.
    pub addresses: Vec<(NodeId, Vec<String>)>,
    /// The log of topics, by place.
    pub topic_log: Vec<LoggedPublication>,
    /// Messages that were given up.
    pub dead_letters: Vec<DeadLetter>,
    /// Of each chain what an earlier run said that it deletes, and did not: only that of the node's own chains matters.
    pub unpruned: Vec<PrunedRows>,
}

impl Recovered {
    /// The chains that a node has written, in the order in which it began them.
    #[must_use]
    pub fn chains_of(&self, node: NodeId) -> Vec<&RecoveredChain> {
        let mut chains: Vec<_> = self.chains.iter().filter(|chain| chain.state.chain().node == node).collect();
        chains.sort_by_key(|chain| (chain.facts.first().map(|placed| placed.hlc), chain.state.chain()));
        chains
    }
}
