//! What members say to each other once they are connected: agent messages, chain sync, adverts, gossip.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::batch::PrunedStep;
use crate::blob::{LargeEnvelope, LargeReceipt};
use crate::codec::{decode, encode};
use crate::envelope::{Envelope, Publication, Receipt};
use crate::epoch::{EpochId, SignedTick, SignedTickClaim};
use crate::error::DecodeError;
use crate::evidence::Evidence;
use crate::fact::MessageRecord;
use crate::failover::LeaseAnswer;
use crate::hash::{Digest, hash};
use crate::id::{
    AgentName, ChainId, Incarnation, MessageId, NodeId, NodeName, ProcessId, ServiceName, TopicName, TopicPattern,
    TraceId,
};
use crate::merkle::InclusionProof;
use crate::parts::{PartsTaken, ReplyPart};
use crate::record::{CommitGroup, Head, SignedCommit};
use crate::service::ContractRef;
use crate::signature::{PublicKeys, SignatureError, Signer};
use crate::time::{Hlc, Timestamp};

/// One item of an agent-to-agent frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum A2aItem {
    /// A message; its receipt comes in the response, or later as an item of its own.
    Envelope(Box<Envelope>),
    /// The receipt of an earlier message.
    Receipt(Box<Receipt>),
    /// The caller is gone or its deadline passed.
    Cancel(MessageId),
    /// A message whose body is fetched apart.
    LargeEnvelope(Box<LargeEnvelope>),
    /// A receipt whose reply is fetched apart.
    LargeReceipt(Box<LargeReceipt>),
    /// A part of the answer to an earlier message.
    Part(Box<ReplyPart>),
    /// How many parts of an answer the caller has taken.
    PartsTaken(PartsTaken),
    /// What was published, by its publisher's node alone; nobody waits for a receipt.
    Publication(Box<Publication>),
}

/// A request of `/weft/a2a/1`: everything that waited for this peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct A2aRequest {
    /// At most 64.
    pub items: Vec<A2aItem>,
}

/// Its response: the receipts that were ready within the linger time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct A2aResponse {
    /// At most 64.
    pub receipts: Vec<Receipt>,
}

/// One of several requests, or the response to one, on a stream of `/weft/a2a-kept/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// The asking side counts its requests on this stream from zero; a response has the number of its request.
    pub number: u64,
    /// What is asked or answered.
    pub content: T,
}

/// A request of `/weft/sync/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncRequest {
    /// My view of all chains in one hash.
    Hello {
        /// See [`vector_root`].
        vector_root: Digest,
    },
    /// Whole commits of one chain.
    Range {
        /// Which.
        chain: ChainId,
        /// First commit wanted.
        from_commit: u64,
        /// Most bytes wanted; the server may send less, but at least one group.
        bytes_max: u64,
    },
    /// All adverts newer than these versions.
    Adverts {
        /// Node and version of every advert already held; at most 1,024.
        held: Vec<(NodeId, AdvertVersion)>,
    },
    /// What the node recorded of one conversation.
    Trace {
        /// Which.
        trace: TraceId,
    },
    /// Who published to topics that these patterns mean, and how far your log goes.
    Streams {
        /// Which; at most 64.
        patterns: Vec<TopicPattern>,
        /// Only those after this one, in the order of topic and chain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<(TopicName, ChainId)>,
    },
    /// What one publisher published to one topic, from your log.
    Publications {
        /// Which topic.
        topic: TopicName,
        /// Which publisher.
        chain: ChainId,
        /// From where on.
        from: PublicationsFrom,
    },
    /// My view of the chains whose ids lie in one stretch, in one hash.
    Stretch {
        /// The first id that belongs to it.
        from: ChainId,
        /// The first that does not any more; none: it goes to the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<ChainId>,
        /// See [`vector_root`].
        vector_root: Digest,
    },
    /// What proves that a chain has two histories.
    Evidence {
        /// Which.
        chain: ChainId,
    },
    /// How far your copy of one chain goes: asked by its writer before it writes on. The answer holds one head or none.
    Head {
        /// Which.
        chain: ChainId,
    },
    /// Vouch for these chains as far as so many events, in a commit of your own. The answer holds your own head; the commit
    /// comes as every other one does.
    Witness {
        /// Chain and number of events; at most 64.
        places: Vec<(ChainId, u64)>,
    },
    /// The last tick of this chain that you believed: asked by its writer before it writes on.
    LastTick {
        /// Which.
        chain: ChainId,
    },
    /// Let me run these agents, each under this fence, for the time of one lease.
    Lease {
        /// The chain that I write now.
        holder: ChainId,
        /// The epoch that is now, as I see it.
        epoch: EpochId,
        /// Agents and numbers; at most 256.
        fences: Vec<(AgentName, u64)>,
    },
}

/// Where a stretch of one publisher's publications begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationsFrom {
    /// After this number.
    After(u64),
    /// With the first that bears this stamp or a later one.
    Since(Hlc),
    /// With so many from the end.
    Last(u64),
}

/// How far a log goes in one topic of one publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHead {
    /// Which topic.
    pub topic: TopicName,
    /// Which publisher.
    pub chain: ChainId,
    /// The last number.
    pub last: u64,
}

/// A response of `/weft/sync/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncResponse {
    /// Both hold the same.
    Same,
    /// What I hold, at most 256 chains.
    Heads(Vec<Head>),
    /// Whole commits, in order.
    Page {
        /// Which chain.
        chain: ChainId,
        /// The groups; empty when nothing is held from there on.
        groups: Vec<CommitGroup>,
    },
    /// Adverts, as their nodes signed them.
    Adverts(Vec<SignedAdvert>),
    /// Recorded steps of a conversation, at most 256.
    Trace(Vec<TraceRow>),
    /// The request cannot be served; says why.
    Refused(String),
    /// How far the log goes, in the order of topic and chain.
    Streams {
        /// At most 512.
        streams: Vec<StreamHead>,
        /// Whether there are more after the last of them.
        more: bool,
    },
    /// Publications in the order of their numbers.
    Publications {
        /// At most 256.
        publications: Vec<Publication>,
        /// Whether there are more after the last of them.
        more: bool,
    },
    /// What I hold where I was asked, one hash for each stretch of it, at most 16: the first begins where the question does, each
    /// ends where the next begins, the last where the question ends.
    Stretches(Vec<Stretch>),
    /// The two statements; none when nothing is held against that chain.
    Evidence(Option<Box<Evidence>>),
    /// Recorded steps of a conversation of which some are deleted.
    PrunedTrace {
        /// Those that are left, at most 256.
        rows: Vec<TraceRow>,
        /// Those that are deleted, at most 256.
        pruned: Vec<PrunedStep>,
    },
    /// What the tick says of its writer's own chain; none when none was believed since the last start.
    LastTick(Option<Box<SignedTickClaim>>),
    /// One answer for each fence, in the order of the question.
    Lease(Vec<LeaseAnswer>),
}

/// Some chains that follow each other by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first id that belongs to it.
    pub from: ChainId,
    /// See [`vector_root`].
    pub vector_root: Digest,
}

/// One recorded step with the proof that it is covered by an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRow {
    /// What was recorded.
    pub record: MessageRecord,
    /// The event that holds it, or holds the root of its batch.
    pub seq: u64,
    /// From the record's leaf to the batch root; none when the event holds the record itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<InclusionProof>,
}

/// A message of the gossip topic `heads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadGossip {
    /// A new commit, whole, up to 32 KiB.
    Group(CommitGroup),
    /// Only the header of a larger one.
    Head(SignedCommit),
    /// That a chain has two histories.
    Fork(Box<Evidence>),
    /// How far time has come for a node that writes nothing.
    Tick(Box<SignedTick>),
}

/// A gossip message of any topic. The topic must fit the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gossip {
    /// On `heads`.
    Head(HeadGossip),
    /// On `directory`.
    Advert(SignedAdvert),
    /// On the topic it was published to.
    Publication(Box<Publication>),
}

/// Orders the adverts of one node: a later run wins, then the later version in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AdvertVersion {
    /// When the run began, by the node's own clock.
    pub started: Hlc,
    /// Counts up within the run.
    pub version: u64,
}

/// What runs on a node and where it can be reached, as the node itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// Who says it.
    pub node: NodeId,
    /// The name it goes by.
    pub name: NodeName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Which advert.
    pub version: AdvertVersion,
    /// The program's version.
    pub build: String,
    /// Living agents; at most 512.
    pub agents: Vec<(AgentName, ProcessId)>,
    /// Topics with local subscribers; at most 512.
    pub topics: Vec<TopicName>,
    /// Patterns with a wildcard and subscribers on this node, and those topics of the list that have more than one; each
    /// with their number. At most 512.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<(TopicPattern, u32)>,
    /// What is served here; at most 512.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceAdvert>,
    /// Multiaddresses; at most 16.
    pub addresses: Vec<String>,
    /// When it should no longer be believed, by the node's clock.
    pub expires: Timestamp,
    /// What its operator says of it, for agents that ask for such a node; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// One service in an advert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceAdvert {
    /// Its name.
    pub service: ServiceName,
    /// The agent that answers for it.
    pub agent: AgentName,
    /// What it promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractRef>,
    /// Messages that wait for its agent or are worked on, rounded down to a power of two, and 0 below 8: an order of
    /// magnitude, so that not every call is worth an advert.
    pub load: u64,
}

const ADVERT_LABEL: &str = "advert";
const ADVERT_BYTES_MAX: usize = 60 * 1024;

/// An advert with the Ed25519 signature of its node; relayed as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAdvert {
    /// Whose.
    pub node: NodeId,
    advert: ByteBuf,
    ed25519: ByteArray<64>,
}

/// Why an advert was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertError {
    /// Not the canonical encoding of a bounded advert.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not signed by the node it speaks of.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl SignedAdvert {
    /// Signs an advert of the signer's own node.
    #[must_use]
    pub fn new(advert: &Advert, signer: &dyn Signer) -> Self {
        let bytes = encode(advert);
        let ed25519 = ByteArray::new(signer.sign_ed25519(ADVERT_LABEL, &hash(ADVERT_LABEL, &[&bytes])));
        Self { node: advert.node, advert: ByteBuf::from(bytes), ed25519 }
    }

    /// The advert, checked against the keys of the node it claims to be from.
    ///
    /// # Errors
    /// [`AdvertError`] when it is malformed, out of bounds, of another node, or not signed by `keys`.
    pub fn verify(&self, keys: &PublicKeys) -> Result<Advert, AdvertError> {
        let advert: Advert = decode(&self.advert, ADVERT_BYTES_MAX)?;
        let bounded = advert.agents.len() <= crate::limits::ADVERT_AGENTS_MAX
            && advert.topics.len() <= crate::limits::ADVERT_TOPICS_MAX
            && advert.subscriptions.len() <= crate::limits::ADVERT_TOPICS_MAX
            && advert.services.len() <= crate::limits::SERVICES_MAX
            && crate::failover::are_labels(&advert.labels)
            && advert.addresses.len() <= crate::limits::ADDRESSES_MAX
            && advert.addresses.iter().all(|address| address.len() <= crate::limits::ADDRESS_BYTES_MAX);
        if !bounded || advert.node != self.node || advert.node != keys.node() {
            return Err(DecodeError::Unexpected { reason: "an advert field out of bounds".into() }.into());
        }
        keys.verify_ed25519(ADVERT_LABEL, &hash(ADVERT_LABEL, &[&self.advert]), &self.ed25519)?;
        Ok(advert)
    }
}

/// `H("vector", chain ‖ size ‖ root, …)` over the heads sorted by chain: equal exactly when two nodes hold the same chains
/// to the same length. The heads need not arrive sorted.
#[must_use]
pub fn vector_root<'a>(heads: impl IntoIterator<Item = &'a Head>) -> Digest {
    let mut rows: Vec<[u8; 80]> = heads
        .into_iter()
        .map(|head| {
            let mut row = [0; 80];
            row[..40].copy_from_slice(&head.chain.to_bytes());
            row[40..48].copy_from_slice(&head.size.to_be_bytes());
            row[48..].copy_from_slice(head.root.as_bytes());
            row
        })
        .collect();
    rows.sort_unstable();
    let parts: Vec<&[u8]> = rows.iter().map(|row| row.as_slice()).collect();
    hash("vector", &parts)
}
