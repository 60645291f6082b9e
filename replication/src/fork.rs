//! Whether two signed statements prove that a node wrote two histories of one chain. Evidence implies guilt, never the reverse.

use std::fmt;

use weft_protocol::{
    ChainId, Commit, CommitRef, DecodeError, Digest, Evidence, PublicKeys, Statement, StatementBody, StatementError,
    TickClaim,
};

/// How two signed statements contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkKind {
    /// Same number and same predecessor: the place where two histories part.
    Siblings,
    /// Same number, and different predecessors or, of a tick, none to see: both histories are older.
    SameNumber,
    /// Consecutive numbers, and the later names another predecessor than the earlier.
    BrokenLink,
    /// As many events under both, and two roots.
    SameSize,
    /// The later begins before the end of the earlier.
    Overlap,
    /// The later is stamped at or before the end of the earlier.
    ClockBackwards,
    /// The commit that follows a tick's directly, stamped at or before that tick: the place from which on nothing counts.
    BrokenTick,
    /// A later commit is stamped at or before a tick: the one that follows the tick's directly is so too, or was never shown.
    BelowTick,
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
            Self::BrokenTick => "broken-tick",
            Self::BelowTick => "below-tick",
        })
    }
}

/// What evidence proves against the writer of `chain`. The smaller of two is the better proof: those that show a place before all
/// others, and the earlier place before the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkVerdict {
    /// Which chain has two histories.
    pub chain: ChainId,
    /// The first commit that does not count, or one at or behind it: the smaller number of two commits, or the one that follows a
    /// tick's.
    pub commit_no: u64,
    /// What contradicts.
    pub kind: ForkKind,
}

impl ForkVerdict {
    /// How good a proof it is, best first: whether it shows from where on nothing counts, and how early.
    pub(crate) const fn rank(&self) -> (bool, u64) {
        (self.shared_commits().is_none(), self.commit_no)
    }

    /// How many commits of the chain count; none when the two statements do not tell.
    #[must_use]
    pub const fn shared_commits(&self) -> Option<u64> {
        match self.kind {
            ForkKind::Siblings | ForkKind::BrokenTick => Some(self.commit_no),
            ForkKind::SameNumber
            | ForkKind::BrokenLink
            | ForkKind::SameSize
            | ForkKind::Overlap
            | ForkKind::ClockBackwards
            | ForkKind::BelowTick => None,
        }
    }
}

/// Why evidence proves nothing. The fault of whoever presents it; the accused node stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A statement is malformed, of another node, or not signed by it.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A statement cannot be read.
    #[error("not a statement about a chain: {0}")]
    Decode(#[from] DecodeError),
    /// The statements are about different chains or clusters.
    #[error("the two are not of one chain")]
    OtherChain,
    /// The same statement twice, perhaps signed anew: signatures are randomised and not part of it.
    #[error("the two are the same commit or tick")]
    SameStatement,
    /// It shows more rotations than two statements can need.
    #[error("more than two rotations of keys go along with it")]
    TooManyRotations,
    /// Both fit into one history, as far as these two alone can tell.
    #[error("the two do not contradict each other")]
    Consistent,
}

/// Most rotations that go along with evidence: one for each statement.
const EVIDENCE_ROTATIONS_MAX: usize = 2;

/// What these two statements prove against the holder of `keys`, from their bytes alone.
///
/// # Errors
/// [`EvidenceError`] when they prove nothing.
pub fn check_evidence(evidence: &Evidence, keys: &PublicKeys) -> Result<ForkVerdict, EvidenceError> {
    check_evidence_by(evidence, std::slice::from_ref(keys))
}

/// The same of a node that has had all of these keys, and those to which the evidence shows that they gave way. Each statement may be
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
    weigh_evidence(evidence, |statement| Ok(statement.verify_by(&all)?))
}

/// What the two would prove if their signatures were good: cheap, and worth nothing alone.
///
/// # Errors
/// [`EvidenceError`] when they prove nothing whoever signed them.
pub fn claimed_verdict(evidence: &Evidence) -> Result<ForkVerdict, EvidenceError> {
    weigh_evidence(evidence, |statement| Ok(statement.decode()?))
}

/// The same for statements that `verify` vouches for: whoever checks many pairs need not verify one twice.
///
/// # Errors
/// [`EvidenceError`] when they prove nothing.
pub fn weigh_evidence(
    evidence: &Evidence,
    verify: impl Fn(&Statement) -> Result<StatementBody, EvidenceError>,
) -> Result<ForkVerdict, EvidenceError> {
    let (first, second) = (verify(&evidence.first)?, verify(&evidence.second)?);
    if (first.chain(), first.cluster()) != (second.chain(), second.cluster()) {
        return Err(EvidenceError::OtherChain);
    }
    let hashes = [evidence.first.hash(), evidence.second.hash()];
    if hashes[0] == hashes[1] {
        return Err(EvidenceError::SameStatement);
    }
    let chain = first.chain();
    let found = match (&first, &second) {
        (StatementBody::Commit(first), StatementBody::Commit(second)) if first.commit_no <= second.commit_no => {
            of_commits((first, &hashes[0]), second)
        }
        (StatementBody::Commit(first), StatementBody::Commit(second)) => of_commits((second, &hashes[1]), first),
        (StatementBody::Tick(tick), StatementBody::Commit(commit)) => of_tick(tick, (commit, &hashes[1])),
        (StatementBody::Commit(commit), StatementBody::Tick(tick)) => of_tick(tick, (commit, &hashes[0])),
        (StatementBody::Tick(first), StatementBody::Tick(second)) => of_ticks(first, second),
    };
    let (kind, commit_no) = found.ok_or(EvidenceError::Consistent)?;
    Ok(ForkVerdict { chain, commit_no, kind })
}

/// Each arm is a statement that no single history can make true; see `ChainState::extend` for why.
fn of_commits((earlier, hash): (&Commit, &Digest), later: &Commit) -> Option<(ForkKind, u64)> {
    let kind = if earlier.commit_no == later.commit_no {
        if earlier.prev_commit == later.prev_commit { ForkKind::Siblings } else { ForkKind::SameNumber }
    } else if earlier.commit_no + 1 == later.commit_no && later.prev_commit != *hash {
        ForkKind::BrokenLink
    } else if earlier.tree_size == later.tree_size && earlier.root != later.root {
        ForkKind::SameSize
    } else if later.first_seq < earlier.tree_size {
        ForkKind::Overlap
    } else if later.hlc_first <= earlier.hlc_last {
        ForkKind::ClockBackwards
    } else {
        return None;
    };
    Some((kind, earlier.commit_no))
}

/// A tick names the last commit of its chain that is on disk, and what follows that is stamped above the tick: its stamp was
/// reserved on disk and outside the home before it left, and a start goes on only above both and above what members heard of
/// itself (see `weft_peer`, `start`). So in one history
///
/// - the tick's commit is *the* commit of that number: another one of it is on another history;
/// - the next commit names it as its predecessor;
/// - whatever bears a higher number is stamped later, wherever it stands behind the tick's commit: stamps rise along a chain.
///
/// A commit below the tick's says nothing: that a tick bears a low stamp promises less, and breaks nothing. What the header of an
/// empty commit says of stamps is its own; of others it is that of the first event, and each receiver has compared it with that.
fn of_tick(tick: &TickClaim, (commit, hash): (&Commit, &Digest)) -> Option<(ForkKind, u64)> {
    let CommitRef { commit_no, commit_hash, .. } = tick.last;
    let next = commit_no.checked_add(1)?;
    if commit.commit_no == commit_no && *hash != commit_hash {
        return Some((ForkKind::SameNumber, commit_no));
    }
    if commit.commit_no == next && commit.prev_commit != commit_hash {
        return Some((ForkKind::BrokenLink, commit_no));
    }
    if commit.commit_no >= next && commit.hlc_first <= tick.hlc {
        let directly = commit.commit_no == next;
        return Some((if directly { ForkKind::BrokenTick } else { ForkKind::BelowTick }, next));
    }
    None
}

/// Both name a commit that was on the disk, and of one number there is one. Their stamps contradict nothing: each says only that
/// what follows is later, and a tick of a busy moment bears the stamp of its commit.
fn of_ticks(first: &TickClaim, second: &TickClaim) -> Option<(ForkKind, u64)> {
    let differ = first.last.commit_hash != second.last.commit_hash;
    (first.last.commit_no == second.last.commit_no && differ).then_some((ForkKind::SameNumber, first.last.commit_no))
}
