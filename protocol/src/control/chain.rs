//! Chains, proofs and the order of events, for people and scripts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How far a chain reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainHead {
    /// Number of events.
    pub events: u64,
    /// Root over them; empty without events.
    pub root: String,
}

/// The answer to `GET /v1/chain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainStatus {
    /// Whose.
    pub node: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Number of events.
    pub events: u64,
    /// Number of commits.
    pub commits: u64,
    /// Commits with both signatures.
    pub checkpoints: u64,
    /// Hash of the last commit.
    pub head: String,
    /// Root over all events.
    pub root: String,
    /// Events under the last checkpoint.
    pub sealed_events: u64,
}

/// The answer to `GET /v1/chain/witnesses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessesReport {
    /// Whose chain.
    pub node: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Number of its events.
    pub events: u64,
    /// Only those that vouch for so many events are listed, when that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_events: Option<u64>,
    /// Who vouches for it, the furthest first.
    pub witnesses: Vec<WitnessRow>,
}

/// How far one member vouches for a chain, in a commit of its own that this node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessRow {
    /// Who.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// The last commit that it names.
    pub commit_no: u64,
    /// Events up to it.
    pub events: u64,
    /// Its hash, as the member names it.
    pub commit: String,
    /// Whether this node's commit of that number has that hash.
    pub agrees: bool,
}

/// One event of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRow {
    /// Whose chain.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Its place.
    pub seq: u64,
    /// Its stamp.
    pub hlc: String,
    /// The same as a time.
    pub at: String,
    /// What happened.
    pub kind: String,
    /// Who made it happen.
    pub source: String,
    /// The rule under which the gates permitted it; null of what nobody asked for.
    #[serde(default)]
    pub rule: Option<String>,
    /// Whether a checkpoint covers it.
    pub sealed: bool,
    /// What it says, in a few words.
    pub summary: String,
    /// What it says; keys and signatures are left out.
    pub detail: Value,
}

/// The answer to `GET /v1/chain/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsPage {
    /// In the order of the chain.
    pub events: Vec<EventRow>,
    /// Where the next page begins.
    pub next: u64,
    /// Whether there is more already.
    pub more: bool,
}

/// The body of `POST /v1/chain/export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// The file to write, absolute; it must not exist.
    pub path: String,
}

/// The answer to `POST /v1/chain/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainVerifyReport {
    /// Whether every chain verifies.
    pub ok: bool,
    /// One row for each chain that is held.
    pub chains: Vec<ChainVerifyRow>,
}

/// What became of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainVerifyRow {
    /// Whose.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Events that verify.
    pub events: u64,
    /// Commits that verify.
    pub commits: u64,
    /// Commits with both signatures.
    pub checkpoints: u64,
    /// Root over the events that verify.
    pub root: String,
    /// Hash of the last commit that verifies.
    pub head: String,
    /// Whether all of it verifies.
    pub ok: bool,
    /// The first thing that does not.
    pub error: Option<String>,
    /// Snapshots that say what the chain comes to.
    #[serde(default)]
    pub snapshots: u64,
    /// Rows with leaves of plain messages that the chain says were deleted, and that are not here.
    #[serde(default)]
    pub pruned: u64,
}

/// The answer to `POST /v1/chain/snapshot`: what the chain says of itself from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotReport {
    /// Whose chain.
    pub node: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Place of the snapshot.
    pub seq: u64,
    /// Events that it covers, from the first on.
    pub events: u64,
    /// Root over them.
    pub root: String,
    /// Hash of the state that they come to.
    pub state: String,
}

/// The body of `POST /v1/chain/prune`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// Only rows of events that are older, in microseconds; the setting `retention_rows`, without one.
    #[serde(default)]
    pub older_than_us: Option<u64>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What went, or would go, and what keeps the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneReport {
    /// Whose chain.
    pub node: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Whether nothing was deleted because only the answer was wanted.
    pub dry_run: bool,
    /// Age from which rows may go, in microseconds; none when they never may.
    pub older_than_us: Option<u64>,
    /// How many of the others who count must vouch for an event.
    pub witnesses_needed: u64,
    /// Events that the newest snapshot covers; none without a snapshot.
    pub snapshot_events: Option<u64>,
    /// Place of the first event whose rows go; none when nothing does.
    pub from: Option<u64>,
    /// Rows of events from this place on stay; none when nothing goes.
    pub to: Option<u64>,
    /// What goes.
    pub goes: PrunedCount,
    /// What stays, by reason; what stays for two reasons is counted under both.
    pub stays: Vec<PruneStay>,
    /// Bodies that stay because an event that stays names them too.
    pub shared_bodies: u64,
    /// Whether more may go than one request deletes.
    pub more: bool,
}

/// Rows, and how much they hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PrunedCount {
    /// Rows with leaves of plain messages.
    pub rows: u64,
    /// Bodies beside events of durable messages.
    pub bodies: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// What stays for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneStay {
    /// `no-snapshot`, `not-stable`, `not-witnessed` or `too-young`.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// How much.
    pub stays: PrunedCount,
}

/// One line of the total order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderRow {
    /// Its stamp.
    pub hlc: String,
    /// Whose event.
    pub node: String,
    /// On which of its chains.
    pub incarnation: String,
    /// Its place there.
    pub seq: u64,
    /// What happened.
    pub kind: String,
    /// Whether nothing can be ordered before it any more.
    pub stable: bool,
}

/// One chain that counts for the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountingRow {
    /// Its node's name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Which of its chains.
    pub incarnation: String,
}

/// Whom the order waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderWait {
    /// Its node's name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Up to when it was heard, and has everything; never, without one.
    pub heard_until: Option<String>,
}

/// The answer to `GET /v1/order/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderState {
    /// `stable` when everything that is held is, else `provisional`.
    pub order: String,
    /// Whatever is in the order at or below this stamp is stable.
    pub watermark: String,
    /// The same as a time; none when nothing is.
    pub stable_until: Option<String>,
    /// Which epoch it is.
    pub epoch: String,
    /// How many came before it.
    pub epochs_before: u64,
    /// Whose chains count.
    pub counting: Vec<CountingRow>,
    /// Those of them that must be heard before everything is stable, the one least heard first.
    pub waits_for: Vec<OrderWait>,
    /// Proposed changes of who counts that are not decided.
    pub undecided: u64,
}

/// The body of `POST /v1/members/change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberChangeRequest {
    /// Name or id of the member.
    pub node: String,
    /// `suspend`, `resume`, `evict` or `readmit`.
    pub change: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberChangeReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub node: String,
    /// What was wanted.
    pub change: String,
    /// Whether more than half of those who count have agreed; otherwise it stays proposed.
    pub decided: bool,
    /// Who has said nothing about it yet.
    pub waits_for: Vec<String>,
}

/// The answer to `GET /v1/chain/proof/{seq}`: a file that anybody can check without a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofFile {
    /// What this file is: `weft-event-proof-1`.
    pub format: String,
    /// Whose chain, as the proof itself claims.
    pub node: String,
    /// In which cluster, as the proof itself claims.
    pub cluster: String,
    /// Place of the event.
    pub seq: u64,
    /// What happened.
    pub kind: String,
    /// Canonical CBOR of event, path, checkpoint and keys, in base64.
    pub proof: String,
}

/// What `weft chain check-proof` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProofCheckReport {
    /// Whether the event is on that chain.
    pub ok: bool,
    /// Whose chain; checked.
    pub node: String,
    /// In which cluster; checked.
    pub cluster: String,
    /// Which of its chains.
    pub incarnation: String,
    /// Place of the event.
    pub seq: u64,
    /// Its stamp.
    pub hlc: String,
    /// What happened.
    pub kind: String,
    /// Who made it happen.
    pub source: String,
    /// Number of the checkpoint that covers it.
    pub commit_no: u64,
    /// Events under that checkpoint.
    pub tree_size: u64,
}

/// A file that proves to anybody that a node wrote two histories of one chain, or broke its own tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFile {
    /// What this file is: `weft-fork-evidence-1`.
    pub format: String,
    /// Against whom, as the file itself claims.
    pub node: String,
    /// Canonical CBOR of the two signed commits, or of a tick and a commit or another tick, in base64; at most 24 KiB before that.
    pub evidence: String,
    /// Canonical CBOR of the node's public keys, in base64.
    pub keys: String,
}

/// One proven fork.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceRow {
    /// Who wrote two histories.
    pub node: String,
    /// The name it goes by.
    pub name: String,
    /// Of which of its chains.
    pub incarnation: String,
    /// The smaller number of the two commits; the one after a tick's that was broken.
    pub commit_no: u64,
    /// What contradicts: `siblings`, `same-number`, `broken-link`, `same-size`, `overlap`, `clock-backwards`,
    /// `broken-tick`, `below-tick`.
    pub kind: String,
    /// How many commits of the chain still count: those that both histories share. None while it is not known where they part.
    pub shared_commits: Option<u64>,
    /// Bytes of the evidence.
    pub bytes: u64,
    /// The file that proves it.
    pub file: EvidenceFile,
}

/// The answer to `GET /v1/chain/evidence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceReport {
    /// By chain.
    pub evidence: Vec<EvidenceRow>,
}

/// What `weft chain check-evidence` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceCheckReport {
    /// Whether it proves a fork of the node it was to be about.
    pub ok: bool,
    /// Who wrote two histories; checked.
    pub node: String,
    /// Of which of its chains; checked.
    pub incarnation: String,
    /// The smaller number of the two commits; the one after a tick's that was broken.
    pub commit_no: u64,
    /// What contradicts.
    pub kind: String,
    /// How many commits both histories share, when the two commits tell.
    pub shared_commits: Option<u64>,
    /// Hash of one commit.
    pub first: String,
    /// Hash of the other.
    pub second: String,
    /// Bytes of the evidence.
    pub bytes: u64,
}

/// What `weft chain export` wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportReport {
    /// Where.
    pub path: String,
    /// Chains in it.
    pub chains: u64,
    /// Events in it.
    pub events: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Bodies in it that did not fit into their events.
    pub bodies: u64,
    /// Such bodies that this node does not hold and that are left out: those of other nodes' chains.
    pub bodies_omitted: u64,
}
