//! Links and monitors between agents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /v1/agents/{a}/links`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The other agent of this node, by its name or its process.
    pub with: String,
}

/// Its answer, and that to `DELETE /v1/agents/{a}/links/{b}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkReport {
    /// One agent.
    pub agent: String,
    /// Its process.
    pub process: String,
    /// The other agent.
    pub with: String,
    /// Its process.
    pub with_process: String,
    /// Their node.
    pub node: String,
    /// Whether they are linked now.
    pub linked: bool,
}

/// The body of `POST /v1/agents/{a}/monitors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorRequest {
    /// Whose end is to be heard of: `worker`, `worker@beta`, `#12.3`.
    pub target: String,
}

/// Its answer, and that to `DELETE /v1/agents/{a}/monitors/{target}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonitorReport {
    /// Who hears of it.
    pub agent: String,
    /// Its process.
    pub process: String,
    /// Its node.
    pub node: String,
    /// Whose end.
    pub target: String,
    /// Its process.
    pub target_process: String,
    /// Its node.
    pub target_node: String,
    /// Whether it is monitored now; of a process that is gone already its end is told at once.
    pub monitored: bool,
}
