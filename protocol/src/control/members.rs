//! Members of the cluster, and the invites by which nodes become members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chain::ChainHead;

/// The answer to `GET /v1/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MembersReport {
    /// By name.
    pub members: Vec<MemberRow>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberRow {
    /// The name it was admitted under.
    pub name: String,
    /// Its id.
    pub node: String,
    /// `alive`, `suspect`, `dead`, `left`, `quarantined` or `evicted`.
    pub state: String,
    /// Whether it counts for the order, and is waited for.
    #[serde(default)]
    pub counts: bool,
    /// As what it was admitted.
    pub role: String,
    /// `self`, `direct`, `relayed` through another member, or `none` without a connection.
    pub path: String,
    /// `quic`, `tcp` or `relay`, with a connection.
    pub transport: Option<String>,
    /// The remote address of the connection.
    pub address: Option<String>,
    /// The last round trip, in microseconds.
    pub rtt_us: Option<u64>,
    /// The program's version, as the member says.
    pub version: Option<String>,
    /// Version of the wire.
    pub wire: Option<u16>,
    /// Its living agents, as it advertises them.
    pub agents: Vec<String>,
    /// Its chain, as far as this node holds it.
    pub chain: ChainHead,
    /// When it was last heard; now, for this node.
    pub last_seen: Option<String>,
    /// How far its newest stamp lies ahead of this node's clock, in microseconds; none when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_us: Option<u64>,
    /// When its certificate ends, unless an admin renews it before; never, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends: Option<String>,
}

/// The body of `POST /v1/invites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// `admin`, `worker` or `observer`; `worker` without one.
    #[serde(default)]
    pub role: Option<String>,
    /// For how long, in milliseconds; one hour without one.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// For how many nodes; one without one.
    #[serde(default)]
    pub uses: Option<u32>,
    /// How long the certificates of those who join by it last, in milliseconds: a minute to ten years; until they are evicted,
    /// without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ttl_ms: Option<u64>,
}

/// The answer to `POST /v1/invites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteReport {
    /// The word to pass on; shown this once.
    pub token: String,
    /// By which it is listed and revoked.
    pub id: String,
    /// As what joiners are admitted.
    pub role: String,
    /// For how many nodes.
    pub uses: u32,
    /// When it ends.
    pub expires_at: String,
}

/// The answer to `GET /v1/invites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitesReport {
    /// By id.
    pub invites: Vec<InviteRow>,
}

/// One invite of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteRow {
    /// Its id.
    pub id: String,
    /// As what joiners are admitted.
    pub role: String,
    /// `open`, `used-up`, `expired` or `revoked`.
    pub state: String,
    /// For how many nodes.
    pub uses: u32,
    /// Nodes it was spent on.
    pub used_by: Vec<String>,
    /// When it ends.
    pub expires_at: String,
}

/// The answer to `DELETE /v1/invites/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokeReport {
    /// Which invite.
    pub id: String,
}
