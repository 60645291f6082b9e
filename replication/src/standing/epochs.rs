//! Who counts: a fold of what those say who count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{Ballot, ChainId, CommitRef, EpochId, Fact, Head, Hlc, MemberChange, NodeId, PlacedFact};

use crate::order::OrderKey;

/// Most words about epochs that are not known yet; the oldest is forgotten, and heard again at the next start (guess: two for
/// each member in sixteen epochs).
const EARLY_MAX: usize = 32 * weft_protocol::limits::MEMBERS_MAX;

/// A stretch of a chain that is in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The record that let it count.
    pub opening: OrderKey,
    /// Its last commit; none while it counts.
    pub last: Option<CommitRef>,
}

/// A proposed end of the last epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The epoch that would begin.
    pub next: EpochId,
    /// Where the record stands.
    pub key: OrderKey,
    /// What would change, in this order.
    pub changes: Vec<MemberChange>,
}

/// What is said about the end of the last epoch.
#[derive(Debug, Default)]
pub(super) struct Votes {
    pub(super) asked: BTreeSet<Ballot>,
    pub(super) promised: BTreeMap<Ballot, BTreeSet<ChainId>>,
    pub(super) proposed: BTreeMap<EpochId, Proposal>,
    pub(super) endorsed: BTreeMap<(Ballot, EpochId), BTreeSet<ChainId>>,
}

/// Invariant: `votes` are of the epoch `now` and of chains that count in it.
#[derive(Debug)]
pub struct Epochs {
    now: EpochId,
    past: BTreeSet<EpochId>,
    active: BTreeMap<ChainId, OrderKey>,
    spans: BTreeMap<ChainId, Vec<Span>>,
    evicted: BTreeSet<NodeId>,
    /// Of each node the stamp of the last decided proposal that was about it.
    changed: BTreeMap<NodeId, Hlc>,
    pub(super) votes: Votes,
    early: VecDeque<(ChainId, PlacedFact)>,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            now: EpochId::first(),
            past: BTreeSet::new(),
            active: BTreeMap::new(),
            spans: BTreeMap::new(),
            evicted: BTreeSet::new(),
            changed: BTreeMap::new(),
            votes: Votes::default(),
            early: VecDeque::new(),
        }
    }
}

impl Epochs {
    /// The epoch that is now.
    #[must_use]
    pub const fn now(&self) -> EpochId {
        self.now
    }

    /// How many epochs came before it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.past.len() as u64
    }

    /// The chains that count, each with the record that let it.
    #[must_use]
    pub const fn active(&self) -> &BTreeMap<ChainId, OrderKey> {
        &self.active
    }

    /// The stretches of chains that are in the order.
    #[must_use]
    pub const fn spans(&self) -> &BTreeMap<ChainId, Vec<Span>> {
        &self.spans
    }

    /// Whether this node may never count again.
    #[must_use]
    pub fn is_evicted(&self, node: NodeId) -> bool {
        self.evicted.contains(&node)
    }

    /// Nodes that may never count again.
    #[must_use]
    pub const fn evicted(&self) -> &BTreeSet<NodeId> {
        &self.evicted
    }

    /// Whether something about this node that was proposed after this stamp has been decided.
    #[must_use]
    pub fn is_changed_since(&self, node: NodeId, hlc: Hlc) -> bool {
        self.changed.get(&node).is_some_and(|changed| *changed > hlc)
    }

    /// Proposed ends of this epoch that may be decided.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposal> {
        self.votes.proposed.values()
    }

    /// The chains that count in the first epoch. Only the first time it is told.
    pub(super) fn founded_by(&mut self, chains: impl IntoIterator<Item = ChainId>) {
        if !self.active.is_empty() {
            return;
        }
        for chain in chains {
            let opening = OrderKey::new(chain, 0, Hlc(0));
            self.active.insert(chain, opening);
            self.spans.insert(chain, vec![Span { opening, last: None }]);
        }
        self.replay();
    }

    /// The events of an earlier chain up to this head turned up: they follow the record that says so.
    pub(super) fn returned(&mut self, by: ChainId, placed: &PlacedFact, tail: &Head) {
        if by.node == tail.chain.node {
            let last = CommitRef { chain: tail.chain, commit_no: tail.commit_no, commit_hash: tail.commit_hash };
            let opening = OrderKey::new(by, placed.seq, placed.hlc);
            self.spans.entry(tail.chain).or_default().push(Span { opening, last: Some(last) });
        }
    }

    pub(super) fn learn(&mut self, chain: ChainId, placed: &PlacedFact) {
        self.take(chain, placed);
        self.decide();
    }

    fn take(&mut self, chain: ChainId, placed: &PlacedFact) {
        let epoch = match &placed.fact {
            Fact::EpochAsked(asked) => asked.epoch,
            Fact::EpochPromised(promised) => promised.epoch,
            Fact::EpochProposed(proposed) => proposed.epoch,
            Fact::EpochEndorsed(endorsed) => endorsed.epoch,
            _ => return,
        };
        if epoch == self.now && !self.active.is_empty() {
            if self.active.contains_key(&chain) {
                self.vote(chain, placed);
            }
        } else if !self.past.contains(&epoch) {
            if self.early.len() >= EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back((chain, placed.clone()));
        }
    }

    fn vote(&mut self, chain: ChainId, placed: &PlacedFact) {
        match &placed.fact {
            Fact::EpochAsked(asked) if asked.ballot.chain == chain => {
                self.votes.asked.insert(asked.ballot);
                self.votes.promised.entry(asked.ballot).or_default().insert(chain);
            }
            Fact::EpochPromised(promised) => {
                self.votes.promised.entry(promised.ballot).or_default().insert(chain);
            }
            Fact::EpochProposed(proposed)
                if proposed.ballot.chain == chain && proposed.is_bounded() && self.is_possible(&proposed.changes) =>
            {
                let next = EpochId::begun_by(chain, placed.seq, placed.hlc, proposed);
                let key = OrderKey::new(chain, placed.seq, placed.hlc);
                self.votes.proposed.insert(next, Proposal { next, key, changes: proposed.changes.clone() });
                self.votes.endorsed.entry((proposed.ballot, next)).or_default().insert(chain);
            }
            Fact::EpochEndorsed(endorsed) => {
                self.votes.endorsed.entry((endorsed.ballot, endorsed.next)).or_default().insert(chain);
            }
            _ => {}
        }
    }

    /// Whether these changes make sense one after the other.
    #[must_use]
    pub fn is_possible(&self, changes: &[MemberChange]) -> bool {
        let mut active: BTreeSet<ChainId> = self.active.keys().copied().collect();
        let mut evicted: BTreeSet<NodeId> = BTreeSet::new();
        changes.iter().all(|change| {
            let absent = |node| {
                let counts = active.iter().any(|chain| chain.node == node);
                !counts && !self.evicted.contains(&node) && !evicted.contains(&node)
            };
            let known = |chain: &ChainId| self.spans.contains_key(chain);
            let possible = match change {
                MemberChange::Admit(chain) => absent(chain.node) && !known(chain),
                MemberChange::Resume(chain) => absent(chain.node) && known(chain),
                MemberChange::Suspend(last) | MemberChange::Evict(last) => active.contains(&last.chain),
                MemberChange::Readmit(last, chain) => {
                    active.contains(&last.chain) && last.chain.node == chain.node && !known(chain)
                }
            };
            if let MemberChange::Evict(last) = change {
                evicted.insert(last.chain.node);
            }
            change.closes().map(|last| active.remove(&last.chain));
            active.extend(change.opens());
            possible
        })
    }

    /// Whether more than half of those who count endorsed it in one ballot, not counting whom it ends.
    fn is_effective(&self, proposal: &Proposal) -> bool {
        let closed = |chain: &ChainId| closes(&proposal.changes, chain);
        let ballots = self.votes.endorsed.iter().filter(|((_, next), _)| *next == proposal.next);
        ballots
            .map(|(_, by)| by.iter().filter(|chain| !closed(chain)).count())
            .any(|votes| self.is_more_than_half(votes))
    }

    pub(super) fn is_more_than_half(&self, votes: usize) -> bool {
        votes * 2 > self.active.len()
    }

    fn decide(&mut self) {
        loop {
            let effective = self.votes.proposed.values().filter(|proposal| self.is_effective(proposal));
            let Some(proposal) = effective.min_by_key(|proposal| proposal.key).cloned() else { return };
            self.begin(&proposal);
            self.replay();
        }
    }

    fn begin(&mut self, proposal: &Proposal) {
        for change in &proposal.changes {
            self.changed.insert(change.node(), proposal.key.hlc);
            if let Some(last) = change.closes() {
                self.active.remove(&last.chain);
                let spans = self.spans.entry(last.chain).or_default().iter_mut();
                spans.filter(|span| span.last.is_none()).for_each(|span| span.last = Some(*last));
            }
            if let MemberChange::Evict(last) = change {
                self.evicted.insert(last.chain.node);
            }
            if let Some(chain) = change.opens() {
                self.active.insert(chain, proposal.key);
                self.spans.entry(chain).or_default().push(Span { opening: proposal.key, last: None });
            }
        }
        self.past.insert(self.now);
        self.now = proposal.next;
        self.votes = Votes::default();
    }

    /// What was said early may be of this epoch.
    fn replay(&mut self) {
        for (chain, placed) in std::mem::take(&mut self.early) {
            self.take(chain, &placed);
        }
    }
}

/// Whether one of these changes ends the chain.
pub(super) fn closes(changes: &[MemberChange], chain: &ChainId) -> bool {
    changes.iter().filter_map(MemberChange::closes).any(|last| last.chain == *chain)
}
