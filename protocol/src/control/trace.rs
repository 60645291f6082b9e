//! One conversation as all concerned nodes recorded it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /v1/trace/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceReport {
    /// The conversation.
    pub id: String,
    /// Its steps, by stamp.
    pub hops: Vec<TraceHop>,
    /// Whether every message that has two sides was recorded by both, with the same sender, target and body.
    pub agree: bool,
    /// Whether a checkpoint covers every step.
    pub sealed: bool,
    /// What kept `agree` from being true, one sentence each.
    pub disagreements: Vec<String>,
    /// Messages of which the other side has no record, or does not say whether it has one, with what to do next, one sentence
    /// each: nothing contradicts what is shown, and nothing confirms it.
    #[serde(default)]
    pub unheard: Vec<String>,
    /// Steps of which their node says that it deleted what they said; the root over them stays on its chain.
    #[serde(default)]
    pub pruned: Vec<PrunedHop>,
}

/// A recorded step whose leaf was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrunedHop {
    /// Whose record.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// The event that holds the root over it.
    pub seq: u64,
    /// Which leaf it was.
    pub leaf: u64,
}

/// One recorded step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceHop {
    /// Whose record.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// The event that holds it, or holds the root of its batch.
    pub seq: u64,
    /// `sent`, `received`, `answered`, `acknowledged`, `refused`, `published` or `delivered`.
    pub kind: String,
    /// The recorder's stamp.
    pub hlc: String,
    /// The same as a time.
    pub at: String,
    /// Microseconds since the first step; clocks of different machines differ by a little.
    pub offset_us: u64,
    /// Whether this node holds a checkpoint of both signatures over the event.
    pub sealed: bool,
    /// Whether the record was found in the event itself, or its leaf under the root in the event.
    pub proven: bool,
    /// The message.
    pub message: String,
    /// Who sent it.
    pub from: String,
    /// To what.
    pub target: String,
    /// The node at the other end.
    pub peer: String,
    /// The deciding rule, or the refusal's code.
    pub rule: String,
    /// BLAKE3 of the body.
    pub body_hash: String,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// How many members, neither sender nor receiver, vouch for the record in commits of theirs that this node holds.
    #[serde(default)]
    pub witnesses: u64,
    /// How many parts came before the answer, in the records of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// BLAKE3 over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts_digest: Option<String>,
}
