//! Services: what is served in the cluster, by whom, and what it promises.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The body of `POST /v1/services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// Its name.
    pub service: String,
    /// The living agent of this node that answers.
    pub agent: String,
    /// `{"version": …, "methods": {"NAME": {"input": SCHEMA, "output": SCHEMA}}}`; a registered version never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Value>,
    /// `gate-only` (a decision and a digest for each call) or `full` (events with bodies); `gate-only` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
}

/// One service on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceRow {
    /// Its name.
    pub service: String,
    /// The node that serves it.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// The agent that answers.
    pub agent: String,
    /// `serving`; `no-agent` while its agent does not live; `unknown` on a node that cannot be reached.
    pub state: String,
    /// The version of its contract, when it has one.
    pub version: Option<String>,
    /// The hash of its contract.
    pub contract: Option<String>,
    /// `full` or `gate-only`; unknown on other nodes.
    pub audit: Option<String>,
    /// Who registered it; unknown on other nodes.
    pub owner: Option<String>,
    /// Messages that wait for its agent or are worked on; of other nodes as they last said, by order of magnitude.
    pub load: u64,
    /// When it was registered; unknown on other nodes.
    pub registered_at: Option<String>,
}

/// The answer to `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServicesReport {
    /// By name, then by node.
    pub services: Vec<ServiceRow>,
}

/// The answer to `GET /v1/services/{service}`, and to `POST /v1/services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceReport {
    /// Its name.
    pub service: String,
    /// The nodes that serve it.
    pub providers: Vec<ServiceRow>,
    /// The contract of the first provider that has one, as it was registered.
    pub contract: Option<Value>,
}

/// The answer to `DELETE /v1/services/{service}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnregisterReport {
    /// Its name.
    pub service: String,
}
