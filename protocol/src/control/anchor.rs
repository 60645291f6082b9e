//! Checkpoints of a chain outside of its cluster, for people and scripts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A checkpoint that anybody can verify without a node: the answer to `GET /v1/chain/checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointFile {
    /// `weft-checkpoint-1`.
    pub format: String,
    /// Whose chain.
    pub node: String,
    /// In which cluster.
    pub cluster: String,
    /// Which of its chains.
    pub incarnation: String,
    /// The number of the commit that carries both signatures.
    pub commit_no: u64,
    /// Events under it.
    pub events: u64,
    /// Root over them.
    pub root: String,
    /// The commit's hash.
    pub commit: String,
    /// The commit with its signatures, both keys, and the first event, which binds them, with its path to the root: CBOR in base64.
    pub proof: String,
}

/// What `weft chain checkpoint` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointReport {
    /// Where the file is.
    pub path: String,
    /// The number of the commit.
    pub commit_no: u64,
    /// Events under it.
    pub events: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Whether the file changed.
    pub written: bool,
}

/// What `weft chain check-anchor` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchorCheckReport {
    /// Whether the checkpoint is of the expected node, and the chain extends it where one was given.
    pub ok: bool,
    /// Whose chain.
    pub node: String,
    /// In which cluster.
    pub cluster: String,
    /// Which of its chains.
    pub incarnation: String,
    /// The number of the commit.
    pub commit_no: u64,
    /// Events under it.
    pub events: u64,
    /// Root over them.
    pub root: String,
    /// `extends`, `shorter` or `contradicts`, when it was held against a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Events of that chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_events: Option<u64>,
    /// The path of hashes that proves it (RFC 9162, section 2.1.4).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consistency: Vec<String>,
}

/// The body of `POST /v1/chain/stamps`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StampRequest {
    /// Calendars to ask; those that are configured without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<String>,
}

/// The answer to `GET /v1/chain/stamps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StampsReport {
    /// All stamps, the newest first.
    pub stamps: Vec<StampRow>,
}

/// One checkpoint that calendars of OpenTimestamps were asked to stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StampRow {
    /// SHA-256 of the checkpoint file.
    pub sha256: String,
    /// The number of its commit.
    pub commit_no: u64,
    /// Events under it.
    pub events: u64,
    /// When it was made.
    pub at: String,
    /// The checkpoint file.
    pub checkpoint: String,
    /// The proof file; none while no calendar has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// What each calendar said.
    pub calendars: Vec<StampCalendarRow>,
    /// Blocks that are said to hold it.
    pub blocks: Vec<StampBlockRow>,
}

/// What one calendar said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StampCalendarRow {
    /// Its address.
    pub calendar: String,
    /// `wanted`, `pending` or `attested`.
    pub state: String,
    /// Why it was of no use the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it was asked in vain.
    pub tries: u32,
}

/// A block of Bitcoin that is said to hold a stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StampBlockRow {
    /// Its height.
    pub height: u64,
    /// The Merkle root that its header must have, as blocks are shown.
    pub merkle_root: String,
    /// Whether a header that was given has it; false when none was given.
    pub verified: bool,
}

/// What `weft chain check-stamp` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StampCheckReport {
    /// Whether a block header that was given holds it.
    pub ok: bool,
    /// SHA-256 of the stamped file.
    pub sha256: String,
    /// The number of the stamped commit.
    pub commit_no: u64,
    /// Events under it.
    pub events: u64,
    /// Calendars that promise it.
    pub pending: Vec<String>,
    /// Blocks that are said to hold it.
    pub blocks: Vec<StampBlockRow>,
    /// When the block says it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_time: Option<String>,
}

/// The answer to `GET /v1/chain/anchors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchorsReport {
    /// Number of events of this node's chain.
    pub events: u64,
    /// Who holds something of it.
    pub anchors: Vec<AnchorRow>,
}

/// How far one kind of holder has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchorRow {
    /// `members`, `file` or `opentimestamps`.
    pub backend: String,
    /// Where that is.
    pub place: String,
    /// Events that the furthest of them holds the chain to; null when nothing is held.
    pub events: Option<u64>,
    /// How it stands, in words.
    pub state: String,
}
