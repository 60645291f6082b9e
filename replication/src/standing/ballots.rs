//! How an epoch is decided, and what this node may say about it without contradicting itself.
//!
//! Each ballot is promised by more than half before something is proposed in it, and proposes what may have been decided in a
//! lower one (Lamport, Paxos Made Simple, 2001). A record that proposes is its writer's endorsement too.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    Ballot, ChainId, EpochAsked, EpochEndorsed, EpochId, EpochPromised, EpochProposed, Fact, MemberChange,
};

use super::Standing;
use super::epochs::{Epochs, Proposal, closes};

/// A word of this node about who counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// What goes onto the chain.
    pub fact: Fact,
    /// Chains that it ends, each with the last commit that this node may ever have acknowledged.
    pub ends: Vec<(ChainId, u64)>,
}

/// What this node wants and would endorse.
pub trait Policy {
    /// What should change, as far as this node would propose it now.
    fn wishes(&self) -> Vec<MemberChange>;
    /// Whether this change may be endorsed when this chain proposes it.
    fn accepts(&self, by: ChainId, change: &MemberChange) -> bool;
    /// Whether it is this node's turn to begin the first ballot of an epoch.
    fn leads(&self) -> bool;
    /// Whether the ballot that is under way takes too long, and it is this node's turn to begin another.
    fn is_impatient(&self) -> bool;
}

impl Epochs {
    /// Whether more than half promised this ballot.
    fn is_carried(&self, ballot: Ballot) -> bool {
        self.is_more_than_half(self.votes.promised.get(&ballot).map_or(0, BTreeSet::len))
    }

    /// The highest ballot of this epoch that a chain asked for, promised or endorsed in.
    fn pledged(&self, chain: ChainId) -> Option<Ballot> {
        let promised = self.votes.promised.iter().filter(|(_, by)| by.contains(&chain)).map(|(ballot, _)| *ballot);
        let endorsed = self.votes.endorsed.iter().filter(|(_, by)| by.contains(&chain)).map(|((ballot, _), _)| *ballot);
        promised.chain(endorsed).max()
    }

    fn endorses(&self, chain: ChainId, ballot: Ballot) -> bool {
        self.votes.endorsed.iter().any(|((of, _), by)| *of == ballot && by.contains(&chain))
    }

    /// Whether this chain endorsed anything in this epoch.
    #[must_use]
    pub fn has_endorsed(&self, chain: ChainId) -> bool {
        self.votes.endorsed.values().any(|by| by.contains(&chain))
    }

    /// The ends of chains that this one endorsed in this epoch.
    pub(super) fn endorsed_ends(&self, chain: ChainId) -> BTreeMap<ChainId, u64> {
        let endorsed = self.votes.endorsed.iter().filter(|(_, by)| by.contains(&chain));
        let proposals = endorsed.filter_map(|((_, next), _)| self.votes.proposed.get(next));
        let mut ends: BTreeMap<ChainId, u64> = BTreeMap::new();
        for last in proposals.flat_map(|proposal| &proposal.changes).filter_map(MemberChange::closes) {
            let end = ends.entry(last.chain).or_insert(last.commit_no);
            *end = last.commit_no.min(*end);
        }
        ends
    }
}

impl Standing {
    /// What a ballot must propose, as far as its promises are held; none when it is free.
    fn bound(&self, ballot: Ballot) -> Option<EpochId> {
        let votes = &self.epochs.votes;
        let promised = votes.promised.get(&ballot)?;
        let lower = votes.endorsed.iter().filter(|((other, next), by)| {
            let proposal = votes.proposed.get(next);
            *other < ballot && !by.is_disjoint(promised) && proposal.is_some_and(|it| self.is_decidable(it))
        });
        lower.map(|((_, next), _)| *next).next_back()
    }

    /// Whether more than half may still endorse it: who acknowledged more of a chain than its proposed end never will.
    fn is_decidable(&self, proposal: &Proposal) -> bool {
        let beyond = |chain: &ChainId| {
            let mut ends = proposal.changes.iter().filter_map(MemberChange::closes);
            ends.any(|last| {
                self.words.acknowledges(chain, &last.chain).is_some_and(|commit_no| commit_no > last.commit_no)
            })
        };
        let may = |chain: &&ChainId| !closes(&proposal.changes, chain) && !beyond(chain);
        self.epochs.is_more_than_half(self.epochs.active().keys().filter(may).count())
    }

    /// What is proposed in this ballot by its owner, if that may be proposed.
    fn proposed(&self, ballot: Ballot) -> Option<&Proposal> {
        let votes = &self.epochs.votes;
        let by_owner =
            |((of, _), by): &(&(Ballot, EpochId), &BTreeSet<ChainId>)| *of == ballot && by.contains(&ballot.chain);
        let mut proposed = votes.endorsed.iter().filter(by_owner).filter_map(|((_, next), _)| votes.proposed.get(next));
        let proposal = proposed.next().filter(|_| self.epochs.is_carried(ballot))?;
        self.bound(ballot).is_none_or(|bound| bound == proposal.next).then_some(proposal)
    }

    /// What this node should say next; none while nothing is to be said or others are waited for.
    #[must_use]
    pub fn duty(&self, policy: &impl Policy) -> Option<Vote> {
        self.epochs.active().contains_key(&self.own).then_some(())?;
        self.endorsement(policy).or_else(|| self.promise()).or_else(|| self.leading(policy))
    }

    fn endorsement(&self, policy: &impl Policy) -> Option<Vote> {
        let pledged = self.epochs.pledged(self.own);
        let open = self.epochs.votes.asked.iter().rev().filter(|ballot| Some(**ballot) >= pledged);
        let mut open = open.filter(|ballot| !self.epochs.endorses(self.own, **ballot));
        open.find_map(|ballot| {
            let proposal = self.proposed(*ballot)?;
            let accepted = proposal.changes.iter().all(|change| policy.accepts(proposal.key.chain(), change));
            accepted.then(|| self.endorse(*ballot, proposal)).flatten()
        })
    }

    fn endorse(&self, ballot: Ballot, proposal: &Proposal) -> Option<Vote> {
        let ends = self.ends(&proposal.changes)?;
        let fact = EpochEndorsed { epoch: self.epoch(), next: proposal.next, ballot, heads: self.heads(&ends) };
        Some(Vote { fact: Fact::EpochEndorsed(Box::new(fact)), ends })
    }

    /// The ends that these changes make, when this node may agree to them: none is of its own chain or is before what it has
    /// acknowledged, and it holds all of them.
    fn ends(&self, changes: &[MemberChange]) -> Option<Vec<(ChainId, u64)>> {
        let ends = changes.iter().filter_map(MemberChange::closes).map(|last| {
            let acknowledged = self.words.acknowledges(&self.own, &last.chain);
            let held = self.words.up_to(&last.chain, last.commit_no)?;
            let same = held.commit_no < last.commit_no || held.commit_hash == last.commit_hash;
            let reached = self.counted(&last.chain).is_some_and(|counted| counted.commit_no >= last.commit_no);
            let no_more = acknowledged.is_none_or(|commit_no| commit_no <= last.commit_no);
            (last.chain != self.own && reached && same && no_more).then_some((last.chain, last.commit_no))
        });
        ends.collect()
    }

    /// What this node acknowledges of others while it agrees to these ends.
    fn heads(&self, ends: &[(ChainId, u64)]) -> Vec<(ChainId, u64)> {
        let mut withheld = self.withheld();
        for (chain, commit_no) in ends {
            let end = withheld.entry(*chain).or_insert(*commit_no);
            *end = (*commit_no).min(*end);
        }
        let others = self.words.chains().filter(|chain| chain.node != self.own.node);
        let heads =
            others.filter_map(|chain| self.words.up_to(chain, withheld.get(chain).copied().unwrap_or(u64::MAX)));
        heads.map(|head| (head.chain, head.commit_no)).collect()
    }

    fn promise(&self) -> Option<Vote> {
        let highest = *self.epochs.votes.asked.iter().next_back()?;
        (Some(highest) > self.epochs.pledged(self.own)).then(|| {
            let fact = EpochPromised { epoch: self.epoch(), ballot: highest };
            Vote { fact: Fact::EpochPromised(fact), ends: Vec::new() }
        })
    }

    /// Proposes in a ballot of its own that was promised, or begins one when it is this node's turn and something is to change.
    fn leading(&self, policy: &impl Policy) -> Option<Vote> {
        let votes = &self.epochs.votes;
        let mine = votes.asked.iter().rfind(|ballot| ballot.chain == self.own).copied();
        let led = mine.filter(|ballot| {
            self.epochs.pledged(self.own) <= Some(*ballot) && !self.epochs.endorses(self.own, *ballot)
        });
        if let Some(ballot) = led.filter(|_| !policy.is_impatient()) {
            return self.epochs.is_carried(ballot).then(|| self.propose(ballot, policy)).flatten();
        }
        let due = if votes.asked.is_empty() { policy.leads() } else { policy.is_impatient() };
        (due && (!votes.proposed.is_empty() || !self.wishes(policy).is_empty())).then(|| {
            let number = votes.asked.iter().next_back().map_or(0, |highest| highest.number + 1);
            let fact = EpochAsked { epoch: self.epoch(), ballot: Ballot { number, chain: self.own } };
            Vote { fact: Fact::EpochAsked(fact), ends: Vec::new() }
        })
    }

    fn propose(&self, ballot: Ballot, policy: &impl Policy) -> Option<Vote> {
        if let Some(bound) = self.bound(ballot) {
            return self.endorse(ballot, self.epochs.votes.proposed.get(&bound)?);
        }
        let changes = self.wishes(policy);
        // Only to decide what others left undecided nothing may be proposed.
        if changes.is_empty() && self.epochs.votes.proposed.is_empty() {
            return None;
        }
        let ends = self.ends(&changes)?;
        let fact = EpochProposed { epoch: self.epoch(), ballot, changes, heads: self.heads(&ends) };
        Some(Vote { fact: Fact::EpochProposed(Box::new(fact)), ends })
    }

    /// What is wished and possible, each change after those before it.
    fn wishes(&self, policy: &impl Policy) -> Vec<MemberChange> {
        let mut changes: Vec<MemberChange> = Vec::new();
        for wish in policy.wishes().into_iter().take(weft_protocol::limits::MEMBER_CHANGES_MAX) {
            changes.push(wish);
            if !self.epochs.is_possible(&changes) || self.ends(&changes).is_none() {
                changes.pop();
            }
        }
        changes
    }
}
