//! The short form in which a step of a plain message is a leaf of its batch: encoded once, hashed and stored as encoded.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteArray, ByteBuf, Bytes};

use crate::codec::{Writer, decode, encode};
use crate::envelope::{Payload, Principal, Sender};
use crate::error::DecodeError;
use crate::fact::{MessageRecord, Stage};
use crate::hash::Digest;
use crate::id::{AgentName, ChainId, MessageId, NodeId, ProcessId, TraceId};
use crate::limits::EVENT_BYTES_MAX;
use crate::merkle::Blake3;
use crate::parts::PartsProof;
use crate::time::Hlc;

/// By which numbers leaves name stages. A stage keeps its place for ever.
const STAGES: [Stage; 7] = [
    Stage::Sent,
    Stage::Received,
    Stage::Answered,
    Stage::Acknowledged,
    Stage::Refused,
    Stage::Published,
    Stage::Delivered,
];

/// What a leaf holds, in order: an array of thirteen. What is the recording chain's own is left out.
#[derive(Serialize, Deserialize)]
struct Leaf(
    /// The stage's place in [`STAGES`].
    u8,
    /// The message's number on its chain, and that chain when it is another one.
    u64,
    Option<ByteArray<40>>,
    TraceId,
    Hlc,
    /// The sender's node when it is another one, and the sending agent; none for an operator.
    Option<NodeId>,
    Option<(AgentName, ProcessId)>,
    /// The target.
    String,
    /// The node at the other end, when it is another one.
    Option<NodeId>,
    /// The rule.
    String,
    /// The body's hash and size, and the body where the record holds it.
    Digest,
    u64,
    Option<Payload>,
);

/// With what the bytes of a [`LeafWithParts`] begin: an array of fourteen.
const WITH_PARTS: u8 = 0x8e;

/// The leaf of an answer that had parts: the same, and what stands for them behind it.
#[derive(Serialize, Deserialize)]
struct LeafWithParts(
    u8,
    u64,
    Option<ByteArray<40>>,
    TraceId,
    Hlc,
    Option<NodeId>,
    Option<(AgentName, ProcessId)>,
    String,
    Option<NodeId>,
    String,
    Digest,
    u64,
    Option<Payload>,
    PartsProof,
);

impl Writer<'_> {
    /// A node, unless it is the one that goes without saying.
    fn other_node(&mut self, node: &NodeId, own: &NodeId) {
        if node == own { self.none() } else { self.bytes(node.as_bytes()) }
    }
}

/// A [`MessageRecord`] whose texts are somebody else's.
#[derive(Debug, Clone, Copy)]
pub struct RecordedStep<'a> {
    /// Which step.
    pub stage: Stage,
    /// Which message.
    pub message: MessageId,
    /// Which conversation.
    pub trace: TraceId,
    /// When, by the recorder's clock.
    pub hlc: Hlc,
    /// Who sent it.
    pub from: &'a Sender,
    /// To what, as text.
    pub target: &'a str,
    /// The node at the other end.
    pub peer: NodeId,
    /// The deciding rule, or the refusal's code.
    pub rule: &'a str,
    /// BLAKE3 of the body.
    pub body_hash: Digest,
    /// Bytes of it.
    pub body_bytes: u64,
    /// The body itself, where it is recorded.
    pub body: Option<&'a Payload>,
    /// What stands for the parts of the answer.
    pub parts: Option<PartsProof>,
}

impl RecordedStep<'_> {
    /// The record with texts of its own.
    #[must_use]
    pub fn to_record(&self) -> MessageRecord {
        MessageRecord {
            stage: self.stage,
            message: self.message,
            trace: self.trace,
            hlc: self.hlc,
            from: self.from.clone(),
            target: self.target.to_owned(),
            peer: self.peer,
            rule: self.rule.to_owned(),
            body_hash: self.body_hash,
            body_bytes: self.body_bytes,
            body: self.body.cloned(),
            parts: self.parts,
        }
    }

    /// The bytes of this step as a leaf of a batch on `chain`, behind what is there.
    fn pack(&self, chain: ChainId, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.head(4, if self.parts.is_some() { 14 } else { 13 });
        let stage = STAGES.iter().position(|stage| *stage == self.stage).expect("BUG: a stage without a number");
        writer.number(stage as u64);
        writer.number(self.message.counter);
        if self.message.chain == chain {
            writer.none()
        } else {
            writer.bytes(&self.message.chain.to_bytes())
        }
        writer.number(self.trace.0);
        writer.number(self.hlc.0);
        writer.other_node(&self.from.node, &chain.node);
        match &self.from.principal {
            Principal::Operator => writer.none(),
            Principal::Agent { agent, process } => {
                writer.head(4, 2);
                writer.text(agent.as_str());
                writer.head(4, 2);
                writer.number(u64::from(process.index));
                writer.number(u64::from(process.generation));
            }
        }
        writer.text(self.target);
        writer.other_node(&self.peer, &chain.node);
        writer.text(self.rule);
        writer.bytes(self.body_hash.as_bytes());
        writer.number(self.body_bytes);
        match self.body {
            Some(body) => writer.append(&encode(body)),
            None => writer.none(),
        }
        if let Some(parts) = &self.parts {
            writer.append(&encode(parts));
        }
    }
}

impl MessageRecord {
    /// This record as a step.
    #[must_use]
    pub fn step(&self) -> RecordedStep<'_> {
        RecordedStep {
            stage: self.stage,
            message: self.message,
            trace: self.trace,
            hlc: self.hlc,
            from: &self.from,
            target: &self.target,
            peer: self.peer,
            rule: &self.rule,
            body_hash: self.body_hash,
            body_bytes: self.body_bytes,
            body: self.body.as_ref(),
            parts: self.parts,
        }
    }

    /// The bytes of this record as a leaf of a batch on `chain`.
    #[must_use]
    pub fn pack(&self, chain: ChainId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(192);
        self.step().pack(chain, &mut bytes);
        bytes
    }

    /// The record in the bytes of a leaf of a batch on `chain`.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are not what [`Self::pack`] makes of a record.
    pub fn unpack(chain: ChainId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (leaf, parts) = match bytes.first() {
            Some(&WITH_PARTS) => {
                let LeafWithParts(a, b, c, d, e, f, g, h, i, j, k, l, m, parts) = decode(bytes, 2 * EVENT_BYTES_MAX)?;
                (Leaf(a, b, c, d, e, f, g, h, i, j, k, l, m), Some(parts))
            }
            _ => (decode(bytes, 2 * EVENT_BYTES_MAX)?, None),
        };
        let Leaf(stage, counter, other, trace, hlc, from, agent, target, peer, rule, body_hash, body_bytes, body) =
            leaf;
        let unknown = || DecodeError::Unexpected { reason: format!("stage {stage} of a message") };
        let principal = agent.map_or(Principal::Operator, |(agent, process)| Principal::Agent { agent, process });
        let record = Self {
            stage: *STAGES.get(usize::from(stage)).ok_or_else(unknown)?,
            message: MessageId { chain: other.map_or(chain, |other| ChainId::from_bytes(&other)), counter },
            trace,
            hlc,
            from: Sender { node: from.unwrap_or(chain.node), principal },
            target,
            peer: peer.unwrap_or(chain.node),
            rule,
            body_hash,
            body_bytes,
            body,
            parts,
        };
        // What is the chain's own could be written out as well: one form counts.
        if record.pack(chain) == bytes { Ok(record) } else { Err(DecodeError::NotCanonical { offset: 0 }) }
    }

    /// The leaf of this record in the tree of its batch on `chain`.
    #[must_use]
    pub fn leaf(&self, chain: ChainId) -> Digest {
        Blake3::leaf(&self.pack(chain))
    }
}

/// The message and the conversation that the bytes of a leaf on `chain` name, without looking at the rest; `None` for other
/// bytes.
#[must_use]
pub fn names_of_leaf(chain: ChainId, bytes: &[u8]) -> Option<(MessageId, TraceId)> {
    let mut rest = bytes.get(2..)?;
    let counter = take_number(&mut rest)?;
    let chain = match rest.split_first()? {
        (0xf6, behind) => {
            rest = behind;
            chain
        }
        (0x58, behind) => {
            let (chain, behind) = behind.strip_prefix(&[40])?.split_first_chunk::<40>()?;
            rest = behind;
            ChainId::from_bytes(chain)
        }
        _ => return None,
    };
    Some((MessageId { chain, counter }, TraceId(take_number(&mut rest)?)))
}

/// The step that the bytes of a leaf tell of, without looking at the rest; `None` for other bytes.
#[must_use]
pub fn stage_of_leaf(bytes: &[u8]) -> Option<Stage> {
    STAGES.get(usize::from(*bytes.get(1)?)).copied()
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (initial, behind) = rest.split_first()?;
    let width = match initial {
        0..=23 => 0,
        24..=27 => 1 << (initial - 24),
        _ => return None,
    };
    let (field, behind) = behind.split_at_checked(width)?;
    *rest = behind;
    let short = if width == 0 { u64::from(*initial) } else { 0 };
    Some(field.iter().fold(short, |number, byte| number << 8 | u64::from(*byte)))
}

/// Many leaves behind one another. On the wire and on disk a list of byte strings.
/// Invariant: `ends` rise, the last of them is the length of `bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaves {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Leaves {
    /// Adds the leaf of a step on `chain` and returns its hash.
    pub fn push(&mut self, chain: ChainId, step: &RecordedStep<'_>) -> Digest {
        let start = self.bytes.len();
        step.pack(chain, &mut self.bytes);
        self.ends.push(self.bytes.len());
        Blake3::leaf(&self.bytes[start..])
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of one.
    #[must_use]
    pub fn get(&self, leaf: usize) -> Option<&[u8]> {
        let start = if leaf == 0 { 0 } else { *self.ends.get(leaf - 1)? };
        self.bytes.get(start..*self.ends.get(leaf)?)
    }

    /// The bytes of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|leaf| self.get(leaf))
    }

    /// The hash of each, in order.
    #[must_use]
    pub fn hashes(&self) -> Vec<Digest> {
        self.iter().map(Blake3::leaf).collect()
    }

    /// The records, which stand on `chain`.
    ///
    /// # Errors
    /// [`DecodeError`] when one of them is none.
    pub fn records(&self, chain: ChainId) -> Result<Vec<MessageRecord>, DecodeError> {
        self.iter().map(|bytes| MessageRecord::unpack(chain, bytes)).collect()
    }
}

impl Serialize for Leaves {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|leaf| list.serialize_element(Bytes::new(leaf)))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Leaves {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LeavesVisitor)
    }
}

struct LeavesVisitor;

impl<'de> Visitor<'de> for LeavesVisitor {
    type Value = Leaves;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of byte strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Leaves, A::Error> {
        let mut leaves = Leaves::default();
        while let Some(leaf) = list.next_element::<ByteBuf>()? {
            if leaf.is_empty() {
                return Err(A::Error::custom("an empty leaf"));
            }
            leaves.bytes.extend_from_slice(&leaf);
            leaves.ends.push(leaves.bytes.len());
        }
        Ok(leaves)
    }
}
