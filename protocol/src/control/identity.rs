//! Who a node is: its keys, and the chains that it has written.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /v1/identity`, and what `weft identity show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityReport {
    /// The name it goes by.
    pub name: String,
    /// Its id, which is its Ed25519 key.
    pub node: String,
    /// BLAKE3 of its Ed25519 key, in hexadecimal digits.
    pub ed25519_fingerprint: String,
    /// BLAKE3 of its ML-DSA-65 key.
    pub mldsa65_fingerprint: String,
    /// How often that key was rotated since the node's certificate was issued.
    #[serde(default)]
    pub rotations: u64,
    /// Since when it has that key; nothing of the one that its certificate names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_since: Option<String>,
    /// The chains that it has written, as they are here, the first one first.
    pub incarnations: Vec<IncarnationRow>,
}

/// One chain of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncarnationRow {
    /// Which.
    pub incarnation: String,
    /// Whether it is the one that is written.
    pub current: bool,
    /// Its events.
    pub events: u64,
    /// Its commits.
    pub commits: u64,
    /// Hash of its last commit; none before the first.
    pub head: Option<String>,
    /// Why it was begun; nothing of the first one, and of earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When that was, when there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<String>,
    /// Whether members hold another history of it, so that nobody is told of this one.
    pub disowned: bool,
}

/// The answer to `POST /v1/identity/rotate`, and what `weft identity rotate` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotateReport {
    /// Which node.
    pub node: String,
    /// BLAKE3 of the ML-DSA-65 key that it had.
    pub before: String,
    /// BLAKE3 of the one that signs from now on.
    pub mldsa65_fingerprint: String,
    /// How often its key was rotated.
    pub rotations: u64,
}

/// What `weft identity rejoin` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejoinReport {
    /// Which node.
    pub node: String,
    /// The incarnation that it leaves.
    pub before: String,
    /// The one under which it begins a new chain at its next start.
    pub incarnation: String,
    /// Why.
    pub reason: String,
}
