//! Whether two signed commits prove that a node wrote two histories of one chain. Evidence implies guilt, never the reverse.

use std::fmt;

use weft_protocol::{ChainError, ChainId, Commit, Digest, Evidence, PublicKeys, SignedCommit, verify_commit_by};

/// How two commits contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkKind {
    /// Same number and same predecessor: the place where two histories part.
    Siblings,
    /// Same number, different predecessors: both histories are older.
    SameNumber,
    /// Consecutive numbers, and the later names another predecessor than the earlier.
    BrokenLink,
    /// As many events under both, and two roots.
    SameSize,
    /// The later begins before the end of the earlier.
    Overlap,
    /// The later is stamped at or before the end of the earlier.
    ClockBackwards,
}

impl fmt::Display for ForkKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Siblings => "siblings",
            Self::SameNumber => "same-number",
            Self::BrokenLink => "broken-link",
            Self::SameSize => "same-size",
            Self::Overlap => "overlap",
            Self::ClockBackwards => "clock-backwards",
        })
    }
}

/// What evidence proves against the writer of `chain`. The smaller of two is the better proof: siblings before all others, and
/// the earlier place before the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkVerdict {
    /// Which chain has two histories.
    pub chain: ChainId,
    /// The smaller of the two commit numbers: the histories part there or before.
    pub commit_no: u64,
    /// What contradicts.
    pub kind: ForkKind,
}

impl ForkVerdict {
    /// How good a proof it is, best first: whether it shows where the histories part, and how early.
    pub(crate) const fn rank(&self) -> (bool, u64) {
        (!matches!(self.kind, ForkKind::Siblings), self.commit_no)
    }

    /// How many commits both histories have in common; none when the two commits do not tell.
    #[must_use]
    pub const fn shared_commits(&self) -> Option<u64> {
        match self.kind {
            ForkKind::Siblings => Some(self.commit_no),
            ForkKind::SameNumber
            | ForkKind::BrokenLink
            | ForkKind::SameSize
            | ForkKind::Overlap
            | ForkKind::ClockBackwards => None,
        }
    }
}

/// Why evidence proves nothing. The fault of whoever presents it; the accused node stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A commit is malformed, of another node, or not signed by it.
    #[error("not a commit of this node: {0}")]
    Commit(ChainError),
    /// The commits belong to different chains or clusters.
    #[error("the two commits are not of one chain")]
    OtherChain,
    /// The same commit twice, perhaps signed anew: signatures are randomised and not part of a commit.
    #[error("the two commits are the same commit")]
    SameCommit,
    /// It shows more rotations than two commits can need.
    #[error("more than two rotations of keys go along with it")]
    TooManyRotations,
    /// Both fit into one history, as far as these two alone can tell.
    #[error("the two commits do not contradict each other")]
    Consistent,
}

/// Most rotations that go along with evidence: one for each commit.
const EVIDENCE_ROTATIONS_MAX: usize = 2;

/// What these two commits prove against the holder of `keys`, from their bytes alone.
///
/// # Errors
/// [`EvidenceError`] when they prove nothing.
pub fn check_evidence(evidence: &Evidence, keys: &PublicKeys) -> Result<ForkVerdict, EvidenceError> {
    check_evidence_by(evidence, std::slice::from_ref(keys))
}

/// The same of a node that has had all of these keys, and those to which the evidence shows that they gave way. Each commit may be
/// signed by any of them: an honest node writes one history with all its keys together, so that no rotation hides a second one.
///
/// # Errors
/// [`EvidenceError`] when they prove nothing.
pub fn check_evidence_by(evidence: &Evidence, keys: &[PublicKeys]) -> Result<ForkVerdict, EvidenceError> {
    if evidence.rotations.len() > EVIDENCE_ROTATIONS_MAX {
        return Err(EvidenceError::TooManyRotations);
    }
    let mut all = keys.to_vec();
    for _ in &evidence.rotations {
        for rotation in &evidence.rotations {
            let next = all.iter().find_map(|keys| rotation.verify(keys).ok());
            all.extend(next.map(|rotation| rotation.new).filter(|new| !all.contains(new)));
        }
    }
    weigh_evidence(evidence, |signed| verify_commit_by(signed, &all))
}

/// What the two commits would prove if their signatures were good: cheap, and worth nothing alone.
pub(crate) fn claimed_verdict(evidence: &Evidence) -> Result<ForkVerdict, EvidenceError> {
    weigh_evidence(evidence, |signed| signed.decode().map_err(ChainError::Commit))
}

/// The same for commits that `verify` vouches for: whoever checks many pairs need not verify a commit twice.
///
/// # Errors
/// [`EvidenceError`] when they prove nothing.
pub fn weigh_evidence(
    evidence: &Evidence,
    verify: impl Fn(&SignedCommit) -> Result<Commit, ChainError>,
) -> Result<ForkVerdict, EvidenceError> {
    let verify = |signed| verify(signed).map_err(EvidenceError::Commit);
    let first = (verify(&evidence.first)?, evidence.first.hash());
    let second = (verify(&evidence.second)?, evidence.second.hash());
    if (first.0.chain, first.0.cluster) != (second.0.chain, second.0.cluster) {
        return Err(EvidenceError::OtherChain);
    }
    if first.1 == second.1 {
        return Err(EvidenceError::SameCommit);
    }
    let (earlier, later) = if first.0.commit_no <= second.0.commit_no { (first, second) } else { (second, first) };
    let kind = contradiction(&earlier, &later).ok_or(EvidenceError::Consistent)?;
    Ok(ForkVerdict { chain: earlier.0.chain, commit_no: earlier.0.commit_no, kind })
}

/// Each arm is a statement that no single history can make true; see `ChainState::extend` for why.
fn contradiction((earlier, hash): &(Commit, Digest), (later, _): &(Commit, Digest)) -> Option<ForkKind> {
    if earlier.commit_no == later.commit_no {
        let siblings = earlier.prev_commit == later.prev_commit;
        return Some(if siblings { ForkKind::Siblings } else { ForkKind::SameNumber });
    }
    if earlier.commit_no + 1 == later.commit_no && later.prev_commit != *hash {
        return Some(ForkKind::BrokenLink);
    }
    if earlier.tree_size == later.tree_size && earlier.root != later.root {
        return Some(ForkKind::SameSize);
    }
    if later.first_seq < earlier.tree_size {
        return Some(ForkKind::Overlap);
    }
    if later.hlc_first <= earlier.hlc_last {
        return Some(ForkKind::ClockBackwards);
    }
    None
}
