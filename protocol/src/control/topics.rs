//! Topics and dead letters, as a node's own door shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;

/// The answer to `GET /v1/topics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicsReport {
    /// Every topic that this node knows of, by name; patterns with a wildcard that somebody subscribes to are among them.
    pub topics: Vec<TopicReport>,
}

/// One topic, or one pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicReport {
    /// Its name.
    pub topic: String,
    /// Known subscriptions that mean it, on all nodes; of a pattern those to this very pattern.
    pub subscribers: u64,
    /// Who published to it, as far as this node knows.
    pub publishers: Vec<PublisherRow>,
    /// What this node remembers of it.
    pub history: HistoryReport,
}

/// One publisher of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublisherRow {
    /// Its node.
    pub node: String,
    /// That node's name.
    pub name: String,
    /// Its last number that is known here.
    pub last: u64,
    /// When that was published, by the publisher's clock; null when it is not remembered any more.
    pub at: Option<String>,
}

/// What a node remembers of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HistoryReport {
    /// Publications.
    pub publications: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// The answer to `GET /v1/dead-letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLettersReport {
    /// All of them, the oldest first.
    pub letters: Vec<DeadLetterRow>,
}

/// One message that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterRow {
    /// The message.
    pub id: String,
    /// Who sent it: agent or operator, and node, `operator@alpha`.
    pub from: String,
    /// Its target as it was written.
    pub target: String,
    /// The node where it was to go.
    pub node: String,
    /// Why it was given up: a refusal's code, or `mailbox` for one whose process ended before it was read.
    pub reason: String,
    /// When.
    pub at: String,
    /// Its conversation.
    pub trace: String,
    /// The level with which it was sent.
    pub receipt: String,
    /// What it carries.
    pub payload: Body,
}

/// The body of `POST /v1/dead-letters/{id}/retry`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// How long it may take, in milliseconds; 5,000 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// The answer to `POST /v1/dead-letters/{id}/retry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetryReport {
    /// The new message.
    pub id: String,
    /// The message that was given up: the cause of the new one.
    pub retried: String,
    /// The level that was reached.
    pub receipt: String,
    /// Its conversation.
    pub trace: String,
    /// Who received it.
    pub node: String,
    /// What the agent answered; null when it answered nothing.
    pub reply: Option<Body>,
    /// From request to receipt, in microseconds, measured by the node.
    pub latency_us: u64,
}

/// The answer to `DELETE /v1/dead-letters/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropReport {
    /// The message that is kept no longer.
    pub id: String,
}

/// A change of a member's state, as a server-sent event of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberEvent {
    /// Which.
    pub node: String,
    /// Its name.
    pub name: String,
    /// What is known of it now.
    pub state: String,
}
