//! What replication can say of itself: numbers for people, never for decisions.

use weft_protocol::{ChainId, Digest, Hlc, NodeId};

/// One chain that is held, own or foreign, as far as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainStatus {
    /// Which.
    pub chain: ChainId,
    /// Its events.
    pub events: u64,
    /// Its commits.
    pub commits: u64,
    /// Its commits with both signatures.
    pub checkpoints: u64,
    /// Its events under the last of these.
    pub events_sealed: u64,
    /// Root over its events.
    pub root: Digest,
    /// Hash of its last commit.
    pub commit_hash: Digest,
    /// Its last stamp.
    pub last_hlc: Hlc,
    /// Whether that stamp is so far ahead of our clock that the end of the chain waits for its place in the order.
    pub parked: bool,
    /// Commits that connected members say to hold beyond what is here or on its way.
    pub commits_missing: u64,
    /// Whether two histories of it were proven: it does not grow any more.
    pub forked: bool,
}

/// How far this node's copies agree with those of the members it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncStatus {
    /// Members connected.
    pub members_connected: usize,
    /// Of these, how many said to hold exactly what this node holds now.
    pub members_agreeing: usize,
    /// Chains on disk.
    pub chains: usize,
    /// Chains of which a connected member says to hold more.
    pub chains_behind: usize,
    /// Commits that are missing from these.
    pub commits_missing: u64,
    /// Chains heard of whose writer's keys are not known yet.
    pub chains_keyless: usize,
    /// Groups, pages and claims refused since the start: malformed, forged, not continuing, or over a bound.
    pub refused: u64,
    /// Stretches of publications that were passed over since the start because nobody has them any more.
    pub publications_lost: u64,
}

/// How far a member vouches for a chain, in a commit of its own that is on our disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vouching {
    /// Who.
    pub node: NodeId,
    /// The last commit that it names.
    pub commit_no: u64,
    /// Events up to it.
    pub size: u64,
    /// Its hash.
    pub commit_hash: Digest,
}
