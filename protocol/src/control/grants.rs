//! Rights of agents: giving, listing and taking them back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /v1/grants`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// Whom: `worker`, or `worker@beta` for whichever goes by that name there.
    pub agent: String,
    /// What: `call:echo@beta`, `publish:jobs.*`.
    pub grant: String,
    /// How often it may be used; without bound, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// For how long; for ever, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// The answer to `GET /v1/grants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantsReport {
    /// What agents of this node hold, and what crossed from one node to another.
    pub grants: Vec<GrantRow>,
}

/// One right that stands; also the answer to `POST /v1/grants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantRow {
    /// By which it is taken back.
    pub id: String,
    /// Who holds it.
    pub agent: String,
    /// On which node.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// Its process; of an agent on another node unknown.
    pub process: Option<String>,
    /// What: `call:echo@beta`.
    pub grant: String,
    /// The node that gave it, which alone takes it back for all.
    pub issuer: String,
    /// The name of that node.
    pub issuer_name: String,
    /// When it ends; null for never.
    pub expires_at: Option<String>,
    /// How often it may be used; null without bound.
    pub uses: Option<u64>,
    /// How often it was, as far as this node has seen; null when nobody counts.
    pub used: Option<u64>,
    /// How often it may still be passed on.
    pub depth: u8,
    /// The grants it was narrowed from, the first one first; it falls with each of them.
    pub parents: Vec<String>,
    /// Who gave it, when it crossed from one node to another or was just given: `operator`, `agent/boss`.
    pub by: Option<String>,
}

/// The answer to `DELETE /v1/grants/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantRevokeReport {
    /// Which was taken back, with all that was narrowed from it.
    pub id: String,
}
