//! The checks that stand between a member's bytes and our disk: pure, and run outside the machine because they are slow.

use weft_protocol::{
    Anchor, ChainError, ChainId, ChainState, CheckedGroup, CommitGroup, Fact, Hlc, PlacedFact, SignedCommit,
    StampVerdict, Timestamp, judge_stamp, verify_commit_by,
};

/// Why a group was not accepted. Nothing of it or after it is stored; what came before it in the same job may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It does not continue the chain: the sender's or the writer's fault; asking the same member again cannot help.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It is stamped over 60 s ahead of our clock: the writer's clock or ours is wrong; a later retry may succeed.
    #[error("commit {commit_no} is stamped {ahead_us} microseconds ahead of this node's clock")]
    Ahead {
        /// Which commit.
        commit_no: u64,
        /// How far, in microseconds.
        ahead_us: u64,
    },
}

/// Groups to verify against a chain that is already verified up to them.
#[derive(Debug, Clone)]
pub struct Job {
    state: ChainState,
    groups: Vec<CommitGroup>,
    now: Timestamp,
}

/// What became of a [`Job`]. Invariant: only [`Job::run`] makes one, so every group in it passed every check.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub(crate) state: ChainState,
    pub(crate) groups: Vec<CommitGroup>,
    pub(crate) facts: Vec<PlacedFact>,
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) error: Option<VerifyError>,
    pub(crate) parked: usize,
    pub(crate) contradicting: Option<Box<SignedCommit>>,
    /// Whether the refused group claims to be the next one of this chain after another history than ours, whoever signed it.
    pub(crate) claims_another: bool,
}

impl Job {
    pub(crate) const fn new(state: ChainState, groups: Vec<CommitGroup>, now: Timestamp) -> Self {
        Self { state, groups, now }
    }

    /// Which chain.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.state.chain()
    }

    /// How many groups.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is nothing to verify.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Checks the groups in order until one fails: size, canonical form, links, root, key, Ed25519, ML-DSA-65 at checkpoints,
    /// clock.
    #[must_use]
    pub fn run(self) -> Verdict {
        let Self { state, groups, now } = self;
        let mut verdict = Verdict {
            state,
            groups: Vec::with_capacity(groups.len()),
            facts: Vec::new(),
            anchors: Vec::new(),
            error: None,
            parked: 0,
            contradicting: None,
            claims_another: false,
        };
        for group in groups {
            match extend(&verdict.state, &group, now) {
                Ok((next, mut checked)) => {
                    verdict.anchors.append(&mut checked.commit.anchors);
                    verdict.parked += usize::from(judge_stamp(next.last_hlc(), now) == StampVerdict::Parked);
                    verdict.facts.extend(facts_of(checked));
                    verdict.state = next;
                    verdict.groups.push(group);
                }
                Err(error) => {
                    verdict.claims_another = claims_another(&verdict.state, &group);
                    verdict.contradicting = contradicting(&verdict.state, &group);
                    verdict.error = Some(error);
                    break;
                }
            }
        }
        verdict
    }
}

fn extend(state: &ChainState, group: &CommitGroup, now: Timestamp) -> Result<(ChainState, CheckedGroup), VerifyError> {
    let mut next = state.clone();
    let checked = next.extend(group)?;
    match judge_stamp(next.last_hlc(), now) {
        StampVerdict::Merged | StampVerdict::Parked => Ok((next, checked)),
        StampVerdict::Refused => {
            let ahead_us = next.last_hlc().to_wall().since_us(now);
            Err(VerifyError::Ahead { commit_no: state.commits(), ahead_us })
        }
    }
}

/// Facts that others act on. Messages and batches are read from the chain when somebody asks; a payload that its own kind
/// does not decode says nothing, to nobody.
fn facts_of(checked: CheckedGroup) -> impl Iterator<Item = PlacedFact> {
    checked.events.into_iter().filter_map(|event| {
        let fact = Fact::decode(&event.kind, &event.payload).ok()?;
        let read_elsewhere = matches!(fact, Fact::Message(_) | Fact::Batch(_) | Fact::Opaque { .. });
        (!read_elsewhere).then_some(PlacedFact { seq: event.seq, hlc: event.hlc, fact })
    })
}

/// Whether a refused group is meant as the next one of this chain and yet names another predecessor than the one we hold.
fn claims_another(state: &ChainState, group: &CommitGroup) -> bool {
    group.signed.decode().is_ok_and(|commit| {
        state.commits() > 0
            && commit.commit_no == state.commits()
            && commit.chain == state.chain()
            && commit.cluster == state.cluster()
            && commit.prev_commit != state.last_commit()
    })
}

/// The commit of such a group, when its writer truly signed it: the writer has two histories.
fn contradicting(state: &ChainState, group: &CommitGroup) -> Option<Box<SignedCommit>> {
    let signed = claims_another(state, group) && verify_commit_by(&group.signed, state.all_keys()).is_ok();
    signed.then(|| Box::new(group.signed.clone()))
}

impl Verdict {
    /// Which chain.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.state.chain()
    }

    /// The groups that passed every check, from the first on.
    #[must_use]
    pub fn groups(&self) -> &[CommitGroup] {
        &self.groups
    }

    /// How many passed.
    #[must_use]
    pub const fn good(&self) -> usize {
        self.groups.len()
    }

    /// How many of these are stamped ahead of our clock and wait for their place in the order.
    #[must_use]
    pub const fn parked(&self) -> usize {
        self.parked
    }

    /// The chain after the last good group.
    #[must_use]
    pub const fn state(&self) -> &ChainState {
        &self.state
    }

    /// Their facts but messages, batches and opaque ones.
    #[must_use]
    pub fn facts(&self) -> &[PlacedFact] {
        &self.facts
    }

    /// Why the group after the last good one was refused; `None` when all were good.
    #[must_use]
    pub const fn error(&self) -> Option<&VerifyError> {
        self.error.as_ref()
    }

    /// The stamp of the last good group.
    #[must_use]
    pub const fn last_hlc(&self) -> Hlc {
        self.state.last_hlc()
    }
}
