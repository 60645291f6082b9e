//! Messages, calls and publications that go through a node's own door.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;

/// The body of `POST /v1/send`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// `echo`, `echo@beta`, `#12.3@beta`, `svc:words.count`, `kernel`, `broadcast@beta`.
    pub target: String,
    /// What to send.
    pub payload: Body,
    /// When to answer: `routed`, `received` or `executed`, each alone or with `+durable`, `+witnessed` or `+witnessed(2)` for two
    /// members; `received` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// How long it may take, in milliseconds; 5,000 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The conversation it belongs to; a new one, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Whether it may be executed twice: then a service that does not answer is tried at another provider.
    #[serde(default)]
    pub idempotent: bool,
    /// Of a call: whether its answer is told in parts as it comes, as server-sent events; so does `Accept: text/event-stream`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parts: bool,
}

/// The body of `POST /v1/call`: the same, with `executed` as the level without one.
pub type CallRequest = SendRequest;

/// The answer to `POST /v1/send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SendReport {
    /// The message.
    pub id: String,
    /// The level that was reached.
    pub receipt: String,
    /// Its conversation.
    pub trace: String,
    /// Who received it.
    pub node: String,
    /// Of a broadcast, in how many mailboxes it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// Ids of the members that vouch for its records, when that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    /// From request to receipt, in microseconds, measured by the node.
    pub latency_us: u64,
}

/// The answer to `POST /v1/call`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallReport {
    /// What the agent answered; null when it answered nothing.
    pub reply: Option<Body>,
    /// The level that was reached.
    pub receipt: String,
    /// From request to answer, in microseconds, measured by the node.
    pub latency_us: u64,
    /// Its conversation.
    pub trace: String,
    /// Who answered.
    pub node: String,
    /// The name of the node that answered.
    pub name: String,
    /// `local`, `direct`, or `none` when the connection has closed since.
    pub path: String,
    /// The last round trip to that node, in microseconds.
    pub rtt_us: Option<u64>,
    /// The message.
    pub id: String,
    /// The place of the sender's record on its chain, when durability was asked.
    pub record: Option<u64>,
    /// The place of the receiver's record on its chain, when durability was asked.
    pub remote_record: Option<u64>,
    /// Ids of the members that vouch for both, when that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    /// How many parts came before the answer, when there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// BLAKE3 over them, as the agent's node recorded it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts_digest: Option<String>,
}

/// One part of an answer: a server-sent event `part`. Behind the last comes `answer` with a call report, or `error` with an
/// error object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartEvent {
    /// Which it is, from zero.
    pub number: u32,
    /// What it says.
    pub payload: Body,
}

/// The body of `POST /v1/topics/{t}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// What to publish.
    pub payload: Body,
    /// Wait until so many subscribers are known in the cluster; zero without one.
    #[serde(default)]
    pub wait_for: u64,
    /// How long to wait for them, in milliseconds; 5,000 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The conversation it belongs to; a new one, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// The answer to `POST /v1/topics/{t}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishReport {
    /// The publication.
    pub id: String,
    /// Subscribers on this node that were handed it; those elsewhere are not known here.
    pub delivered: u64,
    /// Its conversation.
    pub trace: String,
    /// Its number within the topic.
    pub seq: u64,
}

/// One publication, as a server-sent event and as a line of `weft sub --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublicationEvent {
    /// The publication.
    pub id: String,
    /// The topic.
    pub topic: String,
    /// Who published it: node and agent or operator, `operator@alpha`.
    pub from: String,
    /// The publisher's node.
    pub node: String,
    /// The publisher's count within the topic.
    pub seq: u64,
    /// The publisher's number before it, as far as it knows: what lies between was never given. A number that is greater than
    /// the last one that was printed of this publisher and topic tells of a loss.
    pub prev: u64,
    /// How far the subscription has come with it; also the id of the server-sent event, for `Last-Event-ID`.
    pub cursor: String,
    /// The publisher's stamp.
    pub hlc: String,
    /// The same as a time.
    pub at: String,
    /// Its conversation.
    pub trace: String,
    /// What it carries.
    pub payload: Body,
}
