//! The fold that verifies a chain, group by group: the same function for recovery, replication and offline checks.

use serde_bytes::ByteBuf;

use crate::error::DecodeError;
use crate::fact::Fact;
use crate::hash::Digest;
use crate::id::{ChainId, ClusterId};
use crate::limits::{COMMIT_BYTES_MAX, ROTATIONS_MAX, UNSEALED_AGE_US_MAX, UNSEALED_EVENTS_MAX};
use crate::merkle::{Frontier, Shake, inclusion_root};
use crate::record::{
    COMMIT_LABEL, Commit, CommitGroup, Event, EventProof, Head, SignedCommit, chain_root_hash, leaf_hash, link_hash,
};
use crate::rotation::{KeyRotation, RotationError};
use crate::signature::{PublicKeys, SignatureError};
use crate::time::Hlc;

/// Why a group does not continue a chain: the writer's fault, or damage on the way. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The group is larger than a group may be.
    #[error("a group of {size} bytes, at most {max} are accepted")]
    TooLarge {
        /// Bytes of the group.
        size: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// The commit header is not canonical.
    #[error("commit header: {0}")]
    Commit(DecodeError),
    /// An event is not canonical.
    #[error("event {seq}: {error}")]
    Event {
        /// Its place in the chain.
        seq: u64,
        /// What was wrong.
        error: DecodeError,
    },
    /// A field of the header or an event does not continue the chain.
    #[error("commit {commit_no}: {field} does not continue the chain")]
    Broken {
        /// Number of the commit that was expected.
        commit_no: u64,
        /// Which field.
        field: &'static str,
    },
    /// A signature does not verify.
    #[error("commit {commit_no}: {error}")]
    Signature {
        /// Number of the commit.
        commit_no: u64,
        /// Which half.
        error: SignatureError,
    },
    /// The first event does not bind both keys of the node.
    #[error("the first event is not the genesis of this node in this cluster")]
    Genesis,
    /// The keys do not give way to others like that.
    #[error("commit {commit_no}: a rotation of keys does not count: {error}")]
    Rotation {
        /// Number of the commit.
        commit_no: u64,
        /// Why not.
        error: RotationError,
    },
    /// Too much stands after the last checkpoint.
    #[error("commit {commit_no}: runs too far past the last checkpoint")]
    Unsealed {
        /// Number of the commit.
        commit_no: u64,
    },
}

/// A verified chain up to some commit. Invariant: everything in it was checked by [`ChainState::extend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    chain: ChainId,
    cluster: ClusterId,
    keys: PublicKeys,
    /// Those that the writer had before these: before the first commit those it may name there, then those that signed here.
    earlier: Vec<PublicKeys>,
    commits: u64,
    checkpoints: u64,
    last_commit: Digest,
    link: Digest,
    frontier: Frontier,
    last_hlc: Hlc,
    sealed_size: u64,
    unsealed_since: Option<Hlc>,
}

/// A group that passed every check, decoded.
#[derive(Debug, Clone)]
pub struct CheckedGroup {
    /// The header.
    pub commit: Commit,
    /// Its hash.
    pub commit_hash: Digest,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Their leaves, in order.
    pub leaves: Vec<Digest>,
    /// Whether the commit carries both signatures.
    pub checkpoint: bool,
}

impl ChainState {
    /// The empty chain of the node that holds `keys`.
    ///
    /// # Panics
    /// When `chain` is another node's: a bug of the caller.
    #[must_use]
    pub fn new(chain: ChainId, cluster: ClusterId, keys: PublicKeys) -> Self {
        assert_eq!(chain.node, keys.node(), "BUG: keys of another node");
        let root = chain_root_hash(&chain);
        Self {
            chain,
            cluster,
            keys,
            earlier: Vec::new(),
            commits: 0,
            checkpoints: 0,
            last_commit: root,
            link: root,
            frontier: Frontier::default(),
            last_hlc: Hlc(0),
            sealed_size: 0,
            unsealed_since: None,
        }
    }

    /// The empty chain of a node that has these keys, and had the others before: which of them the chain begins with, its first
    /// event says.
    ///
    /// # Panics
    /// When `chain` is another node's: a bug of the caller.
    #[must_use]
    pub fn succeeding(chain: ChainId, cluster: ClusterId, keys: PublicKeys, earlier: Vec<PublicKeys>) -> Self {
        assert!(earlier.iter().all(|keys| keys.node() == chain.node), "BUG: keys of another node");
        Self { earlier, ..Self::new(chain, cluster, keys) }
    }

    /// Which chain.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// Which cluster.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The writer's keys: those that sign the next commit.
    #[must_use]
    pub const fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// All keys that may have signed a commit of this chain so far, or sign the next one.
    pub fn all_keys(&self) -> impl Iterator<Item = &PublicKeys> {
        self.earlier.iter().chain([&self.keys])
    }

    /// Number of events.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Number of commits; the next one bears this number.
    #[must_use]
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// Number of commits with both signatures.
    #[must_use]
    pub const fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// Hash of the last commit, or [`chain_root_hash`].
    #[must_use]
    pub const fn last_commit(&self) -> Digest {
        self.last_commit
    }

    /// Link of the last event, or [`chain_root_hash`].
    #[must_use]
    pub const fn link(&self) -> Digest {
        self.link
    }

    /// The tree over all events.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Root over all events.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.frontier.root::<Shake>()
    }

    /// Stamp of the last event or empty commit.
    #[must_use]
    pub const fn last_hlc(&self) -> Hlc {
        self.last_hlc
    }

    /// Number of events under the last checkpoint.
    #[must_use]
    pub const fn sealed_size(&self) -> u64 {
        self.sealed_size
    }

    /// Stamp of the oldest event that no checkpoint covers yet.
    #[must_use]
    pub const fn unsealed_since(&self) -> Option<Hlc> {
        self.unsealed_since
    }

    /// The head after the last commit; `None` before the first.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let commit_no = self.commits.checked_sub(1)?;
        let (size, root) = (self.size(), self.root());
        Some(Head { chain: self.chain, commit_no, size, root, commit_hash: self.last_commit })
    }

    /// Checks `group` in the order size, canonical form, links, root, key, Ed25519, ML-DSA-65, clock; when all hold, this
    /// state has moved past it, and otherwise it has not changed.
    ///
    /// # Errors
    /// [`ChainError`] with the first check that failed.
    pub fn extend(&mut self, group: &CommitGroup) -> Result<CheckedGroup, ChainError> {
        self.extend_signed(group, check_signatures)
    }

    /// The same for a group that this process has built and signed a moment ago: all is checked but the signature of a commit
    /// that is no checkpoint. A signer that is broken is found out at the next checkpoint, before that leaves.
    ///
    /// # Errors
    /// [`ChainError`] with the first check that failed.
    pub fn extend_own(&mut self, group: &CommitGroup) -> Result<CheckedGroup, ChainError> {
        self.extend_signed(group, |keys, signed, hash, commit_no| {
            if signed.is_checkpoint() { check_signatures(keys, signed, hash, commit_no) } else { Ok(()) }
        })
    }

    fn extend_signed(
        &mut self,
        group: &CommitGroup,
        check: impl FnOnce(&PublicKeys, &SignedCommit, &Digest, u64) -> Result<(), ChainError>,
    ) -> Result<CheckedGroup, ChainError> {
        let size = group.events.iter().map(|event| event.len()).sum::<usize>();
        if size > COMMIT_BYTES_MAX {
            return Err(ChainError::TooLarge { size, max: COMMIT_BYTES_MAX });
        }
        let commit = group.signed.decode().map_err(ChainError::Commit)?;
        let mut next = self.clone();
        let (events, leaves) = next.append_events(&group.events)?;
        next.check_header(&commit, self, &events)?;
        let commit_hash = group.signed.hash();
        check(&next.keys, &group.signed, &commit_hash, commit.commit_no)?;
        next.check_clock(&commit, self, &events)?;
        next.rotate(&commit, group.signed.is_checkpoint(), &events)?;
        next.commits += 1;
        next.last_commit = commit_hash;
        next.seal(&commit, group.signed.is_checkpoint())?;
        *self = next;
        Ok(CheckedGroup { commit, commit_hash, events, leaves, checkpoint: group.signed.is_checkpoint() })
    }

    fn append_events(&mut self, encoded: &[ByteBuf]) -> Result<(Vec<Event>, Vec<Digest>), ChainError> {
        let mut events = Vec::with_capacity(encoded.len());
        let mut leaves = Vec::with_capacity(encoded.len());
        for bytes in encoded {
            let seq = self.size();
            let event = Event::decode(bytes).map_err(|error| ChainError::Event { seq, error })?;
            if event.seq != seq {
                return Err(self.broken("seq"));
            }
            if seq == 0 {
                self.check_genesis(&event)?;
            }
            let leaf = leaf_hash(bytes);
            self.link = link_hash(&self.link, &leaf);
            self.frontier.push::<Shake>(leaf);
            events.push(event);
            leaves.push(leaf);
        }
        Ok((events, leaves))
    }

    /// The first event names the keys that write the chain: one of those that its node is known to have or to have had.
    fn check_genesis(&mut self, event: &Event) -> Result<(), ChainError> {
        match Fact::decode(&event.kind, &event.payload) {
            Ok(Fact::Genesis(genesis))
                if genesis.cluster == self.cluster && self.all_keys().any(|keys| *keys == genesis.keys) =>
            {
                self.keys = genesis.keys;
                self.earlier = Vec::new();
                Ok(())
            }
            _ => Err(ChainError::Genesis),
        }
    }

    /// From the next commit on the chain is written by the keys that the last event names, when one does. That commit is the old
    /// keys' last word and carries both their signatures, so that whoever steals one of them later changes nothing before it.
    fn rotate(&mut self, commit: &Commit, checkpoint: bool, events: &[Event]) -> Result<(), ChainError> {
        let refuse = |error| ChainError::Rotation { commit_no: commit.commit_no, error };
        let Some(at) = events.iter().position(|event| event.kind == KeyRotation::KIND) else { return Ok(()) };
        if at + 1 != events.len() {
            return Err(refuse(RotationError::NotLast));
        }
        if !checkpoint {
            return Err(refuse(RotationError::NotSealed));
        }
        if self.earlier.len() >= ROTATIONS_MAX {
            return Err(refuse(RotationError::TooMany));
        }
        let rotation = match Fact::decode(&events[at].kind, &events[at].payload) {
            Ok(Fact::KeyRotated(rotation)) => rotation.verify(&self.keys).map_err(refuse)?,
            Ok(_) => return Err(refuse(RotationError::OtherKeys)),
            Err(error) => return Err(refuse(RotationError::Decode(error))),
        };
        if rotation.chain != self.chain {
            return Err(refuse(RotationError::OtherChain));
        }
        self.earlier.push(std::mem::replace(&mut self.keys, rotation.new));
        Ok(())
    }

    fn check_header(&self, commit: &Commit, before: &Self, events: &[Event]) -> Result<(), ChainError> {
        let checks = [
            ("cluster", commit.cluster == self.cluster),
            ("chain", commit.chain == self.chain),
            ("commit_no", commit.commit_no == before.commits),
            ("prev_commit", commit.prev_commit == before.last_commit),
            ("first_seq", commit.first_seq == before.size()),
            ("count", commit.count == events.len() as u64),
            ("genesis", before.commits > 0 || !events.is_empty()),
            ("head_link", commit.head_link == self.link),
            ("tree_size", commit.tree_size == self.size()),
            ("root", commit.root == self.root()),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(before.broken(field)),
            None => Ok(()),
        }
    }

    fn check_clock(&mut self, commit: &Commit, before: &Self, events: &[Event]) -> Result<(), ChainError> {
        let mut last = before.last_hlc;
        for event in events {
            if event.hlc <= last {
                return Err(before.broken("hlc"));
            }
            last = event.hlc;
        }
        let (first_stamp, last_stamp) = match (events.first(), events.last()) {
            (Some(first), Some(last)) => (first.hlc, last.hlc),
            _ => (commit.hlc_first, commit.hlc_first),
        };
        let holds = commit.hlc_first == first_stamp && commit.hlc_last == last_stamp && last_stamp > before.last_hlc;
        if !holds {
            return Err(before.broken("hlc"));
        }
        self.last_hlc = last_stamp;
        Ok(())
    }

    fn seal(&mut self, commit: &Commit, checkpoint: bool) -> Result<(), ChainError> {
        if checkpoint {
            self.checkpoints += 1;
            self.sealed_size = self.size();
            self.unsealed_since = None;
            return Ok(());
        }
        let since = *self.unsealed_since.get_or_insert(commit.hlc_first);
        let age_us = commit.hlc_last.to_wall().since_us(since.to_wall());
        let too_far = self.size() - self.sealed_size > UNSEALED_EVENTS_MAX || age_us > UNSEALED_AGE_US_MAX;
        if too_far || self.checkpoints == 0 {
            return Err(ChainError::Unsealed { commit_no: commit.commit_no });
        }
        Ok(())
    }

    const fn broken(&self, field: &'static str) -> ChainError {
        ChainError::Broken { commit_no: self.commits, field }
    }
}

fn check_signatures(
    keys: &PublicKeys,
    signed: &SignedCommit,
    commit_hash: &Digest,
    commit_no: u64,
) -> Result<(), ChainError> {
    let refuse = |error| ChainError::Signature { commit_no, error };
    keys.verify_ed25519(COMMIT_LABEL, commit_hash, &signed.ed25519).map_err(refuse)?;
    match &signed.mldsa65 {
        Some(signature) => keys.verify_mldsa65(COMMIT_LABEL, commit_hash, signature).map_err(refuse),
        None => Ok(()),
    }
}

/// Checks the signatures of a single commit, whatever comes before it.
///
/// # Errors
/// [`ChainError`] when the header is not canonical, of another node, or a signature does not verify.
pub fn verify_commit(signed: &SignedCommit, keys: &PublicKeys) -> Result<Commit, ChainError> {
    let commit = signed.decode().map_err(ChainError::Commit)?;
    if commit.chain.node != keys.node() {
        return Err(ChainError::Broken { commit_no: commit.commit_no, field: "chain" });
    }
    check_signatures(keys, signed, &signed.hash(), commit.commit_no)?;
    Ok(commit)
}

/// The same when its writer had several keys, of which any may have signed it.
///
/// # Errors
/// [`ChainError`] when none of them has, as [`verify_commit`] says of the last one.
pub fn verify_commit_by<'a>(
    signed: &SignedCommit,
    keys: impl IntoIterator<Item = &'a PublicKeys>,
) -> Result<Commit, ChainError> {
    let mut refused = ChainError::Genesis;
    for keys in keys {
        match verify_commit(signed, keys) {
            Ok(commit) => return Ok(commit),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Checks that the proof's event is on the chain its checkpoint signs; the keys are the proof's own, so the caller must
/// compare the returned commit's node and cluster with what it trusts.
///
/// # Errors
/// [`ChainError`] with the first check that failed.
pub fn verify_event_proof(proof: &EventProof) -> Result<(Event, Commit), ChainError> {
    let commit = verify_commit(&proof.checkpoint, &proof.keys)?;
    let broken = |field| ChainError::Broken { commit_no: commit.commit_no, field };
    if proof.checkpoint.mldsa65.is_none() {
        let (commit_no, error) = (commit.commit_no, SignatureError::MlDsa65Missing);
        return Err(ChainError::Signature { commit_no, error });
    }
    let seq = proof.inclusion.index;
    let event = Event::decode(&proof.event).map_err(|error| ChainError::Event { seq, error })?;
    if event.seq != seq || proof.inclusion.size != commit.tree_size {
        return Err(broken("seq"));
    }
    match inclusion_root::<Shake>(&leaf_hash(&proof.event), &proof.inclusion) {
        Some(root) if root == commit.root => Ok((event, commit)),
        _ => Err(broken("root")),
    }
}
