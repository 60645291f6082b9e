//! Who counts for the order, and the signed words by which that changes and time passes.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::codec::{decode, encode};
use crate::error::DecodeError;
use crate::fact::Fact;
use crate::hash::{Digest, hash};
use crate::id::{ChainId, ClusterId};
use crate::limits::{MEMBER_CHANGES_MAX, TICK_HEADS_MAX};
use crate::signature::{PublicKeys, SignatureError, Signer};
use crate::time::Hlc;

/// A stretch of time in which the same chains count, named by the proposal that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochId(pub Digest);

impl EpochId {
    /// The first one of a cluster: the founder's first chain alone counts.
    #[must_use]
    pub const fn first() -> Self {
        Self(Digest::from_bytes([0; 32]))
    }

    /// The one that this event begins, if it is decided: `H("epoch", chain, place, stamp, payload)`.
    #[must_use]
    pub fn begun_by(chain: ChainId, seq: u64, hlc: Hlc, proposed: &EpochProposed) -> Self {
        let payload = encode(proposed);
        Self(hash("epoch", &[&chain.to_bytes(), &seq.to_be_bytes(), &hlc.0.to_be_bytes(), &payload]))
    }
}

/// One attempt to decide how an epoch ends (Lamport, Paxos Made Simple, 2001). Higher ones overrule lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// The how many-th attempt, from zero.
    pub number: u64,
    /// Whose.
    pub chain: ChainId,
}

/// The last commit of a chain that somebody speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitRef {
    /// Which chain.
    pub chain: ChainId,
    /// Its number.
    pub commit_no: u64,
    /// Its hash.
    pub commit_hash: Digest,
}

/// A change of who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberChange {
    /// This chain, whose node has none that counts, counts from here on.
    Admit(ChainId),
    /// The chain of this commit ends there until it is resumed.
    Suspend(CommitRef),
    /// The chain of this commit ends there, and its node never counts again.
    Evict(CommitRef),
    /// A suspended chain counts again.
    Resume(ChainId),
    /// The chain of the commit ends there, and another chain of the same node counts in its place.
    Readmit(CommitRef, ChainId),
}

impl MemberChange {
    /// Which chain ends, and where.
    #[must_use]
    pub const fn closes(&self) -> Option<&CommitRef> {
        match self {
            Self::Suspend(last) | Self::Evict(last) | Self::Readmit(last, _) => Some(last),
            Self::Admit(_) | Self::Resume(_) => None,
        }
    }

    /// Which chain counts from here on.
    #[must_use]
    pub const fn opens(&self) -> Option<ChainId> {
        match self {
            Self::Admit(chain) | Self::Resume(chain) | Self::Readmit(_, chain) => Some(*chain),
            Self::Suspend(_) | Self::Evict(_) => None,
        }
    }

    /// The node it is about.
    #[must_use]
    pub const fn node(&self) -> crate::id::NodeId {
        match self {
            Self::Admit(chain) | Self::Resume(chain) => chain.node,
            Self::Suspend(last) | Self::Evict(last) | Self::Readmit(last, _) => last.chain.node,
        }
    }
}

/// See [`Fact::EpochAsked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochAsked {
    /// Which epoch is to end.
    pub epoch: EpochId,
    /// A ballot of this chain's own.
    pub ballot: Ballot,
}

/// See [`Fact::EpochPromised`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPromised {
    /// Of which epoch.
    pub epoch: EpochId,
    /// Which ballot.
    pub ballot: Ballot,
}

/// See [`Fact::EpochProposed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochProposed {
    /// Which epoch is to end.
    pub epoch: EpochId,
    /// In which ballot of this chain's own.
    pub ballot: Ballot,
    /// What is to change, in this order; at most 64, none when only the epoch is to move on.
    pub changes: Vec<MemberChange>,
    /// Heads of other chains that this node has acknowledged: it counts for whoever holds them too.
    pub heads: Vec<(ChainId, u64)>,
}

/// See [`Fact::EpochEndorsed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEndorsed {
    /// Which epoch ends.
    pub epoch: EpochId,
    /// Which one begins.
    pub next: EpochId,
    /// In which ballot.
    pub ballot: Ballot,
    /// Heads of other chains that this node has acknowledged: it counts for whoever holds them too.
    pub heads: Vec<(ChainId, u64)>,
}

/// What an operator wants to become of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberVerb {
    /// Its chain is not waited for until it is resumed.
    Suspend,
    /// A suspended chain counts again.
    Resume,
    /// It is a member no longer, for ever.
    Evict,
    /// Its newest chain counts in place of the one before, also when it was cut off.
    Readmit,
}

impl MemberVerb {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Evict => "evict",
            Self::Readmit => "readmit",
        }
    }
}

impl std::str::FromStr for MemberVerb {
    type Err = crate::error::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Suspend, Self::Resume, Self::Evict, Self::Readmit];
        let wanted = "what becomes of a member (suspend, resume, evict or readmit)";
        all.into_iter().find(|verb| verb.name() == text).ok_or_else(|| Self::Err::new(text, wanted))
    }
}

/// See [`Fact::MemberChangeWanted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChangeWanted {
    /// What.
    pub verb: MemberVerb,
    /// Of whom.
    pub node: crate::id::NodeId,
    /// Who wants it.
    pub by: crate::envelope::Principal,
}

impl Fact {
    /// Whether it is about who counts.
    #[must_use]
    pub const fn is_of_epoch(&self) -> bool {
        matches!(self, Self::EpochAsked(_) | Self::EpochPromised(_) | Self::EpochProposed(_) | Self::EpochEndorsed(_))
    }
}

const TICK_LABEL: &str = "tick";
const TICK_HEADS_LABEL: &str = "tick-heads";
/// Two hashes, a reference to a commit and two stamps are about 260 bytes.
const TICK_CLAIM_BYTES_MAX: usize = 512;
/// A head is at most 133 bytes.
const TICK_BYTES_MAX: usize = 512 + TICK_HEADS_MAX * 144;

/// What a node says about time while it writes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// In which cluster.
    pub cluster: ClusterId,
    /// The last commit of its chain.
    pub last: CommitRef,
    /// Whatever follows that commit is stamped later.
    pub hlc: Hlc,
    /// Up to here it holds, and acknowledges, everything of everybody who counts.
    pub horizon: Hlc,
    /// Commits of other chains that it acknowledges, with all before them; at most 256.
    pub heads: Vec<CommitRef>,
}

/// What a tick says of its writer's own chain, in few bytes: the commits of others stand in it by their hash alone. This is what is
/// signed, so that who breaks a tick can be shown it without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickClaim {
    /// In which cluster.
    pub cluster: ClusterId,
    /// The last commit of its chain.
    pub last: CommitRef,
    /// Whatever follows that commit is stamped later.
    pub hlc: Hlc,
    /// See [`Tick::horizon`].
    pub horizon: Hlc,
    /// `H("tick-heads", heads)`.
    pub heads: Digest,
}

impl Tick {
    /// What it says of its writer's own chain.
    #[must_use]
    pub fn claim(&self) -> TickClaim {
        let heads = hash(TICK_HEADS_LABEL, &[&encode(&self.heads)]);
        TickClaim { cluster: self.cluster, last: self.last, hlc: self.hlc, horizon: self.horizon, heads }
    }
}

/// A tick as its node signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTick {
    tick: ByteBuf,
    ed25519: ByteArray<64>,
}

/// What a tick says of its writer's own chain, as its node signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTickClaim {
    /// Canonical bytes of a [`TickClaim`].
    pub claim: ByteBuf,
    /// That of the tick.
    pub ed25519: ByteArray<64>,
}

/// Why a tick was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TickError {
    /// Not the canonical encoding of a bounded tick.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not signed by the node it speaks for.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl SignedTick {
    /// Signs a tick of the signer's own node.
    #[must_use]
    pub fn new(tick: &Tick, signer: &dyn Signer) -> Self {
        let digest = hash(TICK_LABEL, &[&encode(&tick.claim())]);
        let ed25519 = ByteArray::new(signer.sign_ed25519(TICK_LABEL, &digest));
        Self { tick: ByteBuf::from(encode(tick)), ed25519 }
    }

    /// The tick without any check of who signed it: to find out whose keys to ask for, never to act on.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not the canonical encoding of a bounded tick.
    pub fn peek(&self) -> Result<Tick, DecodeError> {
        let tick: Tick = decode(&self.tick, TICK_BYTES_MAX)?;
        if tick.heads.len() > TICK_HEADS_MAX {
            return Err(DecodeError::Unexpected { reason: "a tick with too many heads".into() });
        }
        Ok(tick)
    }

    /// What this tick says of its writer's own chain, under the same signature; `tick` is what it says.
    #[must_use]
    pub fn claim(&self, tick: &Tick) -> SignedTickClaim {
        SignedTickClaim { claim: ByteBuf::from(encode(&tick.claim())), ed25519: self.ed25519 }
    }

    /// The tick, signed by the node of these keys.
    ///
    /// # Errors
    /// [`TickError`] when it is malformed, out of bounds, or not signed by `keys`.
    pub fn verify(&self, keys: &PublicKeys) -> Result<Tick, TickError> {
        let tick = self.peek()?;
        self.claim(&tick).verify(keys)?;
        Ok(tick)
    }
}

impl SignedTickClaim {
    /// What it says, within its bound; nothing is said about the signature.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are not one canonical claim.
    pub fn decode(&self) -> Result<TickClaim, DecodeError> {
        decode(&self.claim, TICK_CLAIM_BYTES_MAX)
    }

    /// The hash under which it is signed.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash(TICK_LABEL, &[&self.claim])
    }

    /// What it says, signed by the node of these keys.
    ///
    /// # Errors
    /// [`TickError`] when it is malformed, of another node, or not signed by `keys`.
    pub fn verify(&self, keys: &PublicKeys) -> Result<TickClaim, TickError> {
        let claim = self.decode()?;
        if claim.last.chain.node != keys.node() {
            return Err(SignatureError::Ed25519.into());
        }
        keys.verify_ed25519(TICK_LABEL, &self.hash(), &self.ed25519)?;
        Ok(claim)
    }
}

impl EpochProposed {
    /// Whether it is within its bounds.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.changes.len() <= MEMBER_CHANGES_MAX
    }
}
