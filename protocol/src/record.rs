//! What a chain is made of: events, and commits that sign whole groups of them.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::codec::{Reader, decode, encode};
use crate::error::DecodeError;
use crate::hash::{Digest, hash};
use crate::id::{ChainId, ClusterId};
use crate::limits::{
    CAUSES_MAX, COMMIT_EVENTS_MAX, EVENT_BYTES_MAX, KIND_BYTES_MAX, RULE_TEXT_BYTES_MAX, SOURCE_BYTES_MAX,
};
use crate::merkle::InclusionProof;
use crate::time::Hlc;

/// The version of the event layout that this program writes.
pub const EVENT_VERSION: u8 = 1;
/// The suite of this program: Ed25519, ML-DSA-65, SHAKE-256.
pub const SUITE: u8 = 1;
/// The label under which commits are hashed and signed.
pub const COMMIT_LABEL: &str = "commit";
/// Most bytes of one encoded commit header: 32 anchors of about 160 bytes and half a KiB of its own.
pub(crate) const COMMIT_HEADER_BYTES_MAX: usize = 8 * 1024;

/// One entry of a chain. Its bytes are hashed, stored and forwarded as they were first written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Layout version.
    #[serde(rename = "v")]
    pub version: u8,
    /// Place in the chain, from zero, without gaps.
    pub seq: u64,
    /// Greater than that of every event before it.
    pub hlc: Hlc,
    /// Who made it happen: `kernel`, `operator`, `agent/NAME`.
    pub source: String,
    /// What happened, by a name with dots: `process.started`.
    pub kind: String,
    /// Links of events, here or elsewhere, that led to this one; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<Digest>,
    /// Canonical bytes of what the kind defines; of an unknown kind simply bytes.
    pub payload: ByteBuf,
    /// The rule under which the gates permitted it, of what somebody asked for; at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl Event {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The event in these bytes, within all bounds.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are not one canonical event.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let read = if bytes.len() <= EVENT_BYTES_MAX { Self::read(bytes) } else { None };
        let event = read.map_or_else(|| decode(bytes, EVENT_BYTES_MAX), Ok)?;
        let bounded = event.version == EVENT_VERSION
            && event.source.len() <= SOURCE_BYTES_MAX
            && event.kind.len() <= KIND_BYTES_MAX
            && event.cause.len() <= CAUSES_MAX
            && event.rule.as_ref().is_none_or(|rule| rule.len() <= RULE_TEXT_BYTES_MAX);
        if bounded { Ok(event) } else { Err(DecodeError::Unexpected { reason: "an event field out of bounds".into() }) }
    }
}

impl Event {
    /// The kind of the event in these bytes, without reading what it says; none when they are no event.
    #[must_use]
    pub fn kind_of(bytes: &[u8]) -> Option<&str> {
        let mut reader = Reader(bytes);
        reader.head(5)?;
        reader.expect("v")?;
        reader.number()?;
        reader.expect("seq")?;
        reader.number()?;
        reader.expect("hlc")?;
        reader.number()?;
        reader.expect("source")?;
        reader.text()?;
        reader.expect("kind")?;
        reader.text()
    }

    /// The event in these bytes by hand; `None` for whatever is not the one encoding of an event within its
    /// bounds, and is then for the general decoder to judge.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut fields = reader.head(5)?;
        reader.expect("v")?;
        let version = u8::try_from(reader.number()?).ok()?;
        reader.expect("seq")?;
        let seq = reader.number()?;
        reader.expect("hlc")?;
        let hlc = Hlc(reader.number()?);
        reader.expect("source")?;
        let source = reader.text()?.to_owned();
        reader.expect("kind")?;
        let kind = reader.text()?.to_owned();
        let mut cause = Vec::new();
        if Reader(reader.0).expect("cause").is_some() {
            reader.expect("cause")?;
            fields = fields.checked_sub(1)?;
            // An empty list is left out of the one encoding, and more than the bound is refused anyway.
            let count = usize::try_from(reader.head(4)?).ok().filter(|count| (1..=CAUSES_MAX).contains(count))?;
            for _ in 0..count {
                cause.push(Digest::from_bytes(reader.bytes()?.try_into().ok()?));
            }
        }
        reader.expect("payload")?;
        let payload = ByteBuf::from(reader.bytes()?);
        let rule = match fields {
            6 => None,
            7 => {
                reader.expect("rule")?;
                Some(reader.text()?.to_owned())
            }
            _ => return None,
        };
        reader.end()?;
        Some(Self { version, seq, hlc, source, kind, cause, payload, rule })
    }
}

/// `H("leaf", 0x00 ‖ event)`: the event's leaf in its chain's tree.
#[must_use]
pub fn leaf_hash(event: &[u8]) -> Digest {
    hash("leaf", &[&[0x00], event])
}

/// `H("link", previous, leaf)`: the running hash of a chain.
#[must_use]
pub fn link_hash(previous: &Digest, leaf: &Digest) -> Digest {
    hash("link", &[previous.as_bytes(), leaf.as_bytes()])
}

/// What stands before the first link and the first commit of a chain: `H("chain", chain id)`.
#[must_use]
pub fn chain_root_hash(chain: &ChainId) -> Digest {
    hash("chain", &[&chain.to_bytes()])
}

/// A claim about another chain that the writer verified and stored before it wrote this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Whose head.
    pub chain: ChainId,
    /// The number of the commit that signed it.
    pub commit_no: u64,
    /// Number of events.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// The hash of that commit.
    pub commit_hash: Digest,
}

/// The header that signs a group of events, possibly empty, and everything before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Which algorithms.
    pub suite: u8,
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which chain.
    pub chain: ChainId,
    /// From zero, without gaps.
    pub commit_no: u64,
    /// Hash of the commit before, or [`chain_root_hash`].
    pub prev_commit: Digest,
    /// Place of the first event of the group.
    pub first_seq: u64,
    /// Events in the group; zero when it only seals what came before.
    pub count: u64,
    /// Link of the last event so far.
    pub head_link: Digest,
    /// Events so far.
    pub tree_size: u64,
    /// Root over them.
    pub root: Digest,
    /// Stamp of the first event of the group; of an empty group its own.
    pub hlc_first: Hlc,
    /// Stamp of the last event of the group; of an empty group its own.
    pub hlc_last: Hlc,
    /// Heads of other chains; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Anchor>,
}

impl Commit {
    /// The head this commit signs.
    #[must_use]
    pub fn head(&self, commit_hash: Digest) -> Head {
        Head { chain: self.chain, commit_no: self.commit_no, size: self.tree_size, root: self.root, commit_hash }
    }
}

/// Where a chain stands: enough to compare two copies of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which chain.
    pub chain: ChainId,
    /// Number of its last commit.
    pub commit_no: u64,
    /// Number of its events.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Hash of its last commit.
    pub commit_hash: Digest,
}

/// `H("commit", commit)`. Signatures are not part of it, because ML-DSA is randomised.
#[must_use]
pub fn commit_hash(commit: &[u8]) -> Digest {
    hash(COMMIT_LABEL, &[commit])
}

/// A commit's bytes with their signatures; a checkpoint carries both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCommit {
    /// Canonical bytes of a [`Commit`].
    pub commit: ByteBuf,
    /// On every commit.
    pub ed25519: ByteArray<64>,
    /// On checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mldsa65: Option<ByteBuf>,
}

impl SignedCommit {
    /// The header, within all bounds; nothing is said about signatures.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are not one canonical commit.
    pub fn decode(&self) -> Result<Commit, DecodeError> {
        let commit: Commit = decode(&self.commit, COMMIT_HEADER_BYTES_MAX)?;
        let bounded = commit.suite == SUITE
            && commit.count <= COMMIT_EVENTS_MAX as u64
            && commit.anchors.len() <= crate::limits::ANCHORS_MAX;
        if bounded {
            Ok(commit)
        } else {
            Err(DecodeError::Unexpected { reason: "a commit field out of bounds".into() })
        }
    }

    /// The commit's hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        commit_hash(&self.commit)
    }

    /// Whether both signatures are there.
    #[must_use]
    pub const fn is_checkpoint(&self) -> bool {
        self.mldsa65.is_some()
    }
}

/// A signed commit and the events it covers: the unit that is synced to disk, announced and fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitGroup {
    /// The header.
    pub signed: SignedCommit,
    /// Canonical bytes of the events, in order; at most 256.
    pub events: Vec<ByteBuf>,
}

impl CommitGroup {
    /// Bytes of commit, signatures and events, without the framing around them.
    #[must_use]
    pub fn size(&self) -> usize {
        let signatures = 64 + self.signed.mldsa65.as_ref().map_or(0, |signature| signature.len());
        self.signed.commit.len() + signatures + self.events.iter().map(|event| event.len()).sum::<usize>()
    }
}

/// Everything an outsider needs, besides the writer's keys, to check that one event is on a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventProof {
    /// Canonical bytes of the event.
    pub event: ByteBuf,
    /// From its leaf to the checkpoint's root.
    pub inclusion: InclusionProof,
    /// A commit with both signatures whose tree holds the event.
    pub checkpoint: SignedCommit,
    /// The writer's keys, that signed the checkpoint; whoever checks must know them, or the node id, from elsewhere.
    pub keys: crate::signature::PublicKeys,
    /// From the keys that the chain begins with to these, when they are others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<crate::rotation::KeyRotation>,
}
