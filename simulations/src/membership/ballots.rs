//! How an epoch is decided: by ballots of which each is promised before it proposes (Lamport, Paxos Made Simple, 2001).

use std::collections::{BTreeMap, BTreeSet};

use super::fold::Fold;
use super::view::{Ballot, Chain, Change, Commit, Record};

impl Fold<'_> {
    /// All who endorsed something in the last epoch, by what and in which ballot.
    #[must_use]
    pub fn endorsements(&self) -> BTreeMap<(Ballot, u64), BTreeSet<Chain>> {
        let now = self.now().begun_by;
        let of_now = |change: u64| match self.linked.get(&change).map(|commit| commit.record) {
            Some(Record::Change { epoch, .. }) => epoch == now,
            _ => false,
        };
        let mut all: BTreeMap<(Ballot, u64), BTreeSet<Chain>> = BTreeMap::new();
        for (hash, commit) in &self.linked {
            let (ballot, change) = match commit.record {
                Record::Change { ballot, .. } => (ballot, *hash),
                Record::Endorse { change, ballot } => (ballot, change),
                _ => continue,
            };
            if of_now(change) {
                all.entry((ballot, change)).or_default().insert(commit.chain);
            }
        }
        all
    }

    /// Who promised this ballot of the last epoch, its owner among them.
    #[must_use]
    pub fn promised(&self, of: Ballot) -> BTreeSet<Chain> {
        let now = self.now();
        let promises = |commit: &&&Commit| match commit.record {
            Record::Ask { epoch, ballot } => (epoch, ballot, ballot.chain) == (now.begun_by, of, commit.chain),
            Record::Promise { epoch, ballot } => (epoch, ballot) == (now.begun_by, of),
            _ => false,
        };
        let by = self.linked.values().filter(promises).map(|commit| commit.chain);
        by.filter(|chain| now.active.contains_key(chain)).collect()
    }

    /// Whether more than half of those who count promised it.
    #[must_use]
    pub fn carried(&self, ballot: Ballot) -> bool {
        self.promised(ballot).len() * 2 > self.now().active.len()
    }

    /// The ballots of the last epoch.
    pub fn ballots(&self) -> impl Iterator<Item = Ballot> {
        let now = self.now().begun_by;
        let owner = |chain: Chain| self.now().active.contains_key(&chain);
        self.linked
            .values()
            .filter_map(move |commit| match commit.record {
                Record::Ask { epoch, ballot } if epoch == now && ballot.chain == commit.chain => Some(ballot),
                _ => None,
            })
            .filter(move |ballot| owner(ballot.chain))
    }

    /// What a ballot must propose, as far as its promises are held: what may have been decided in a lower one. None when it is free.
    #[must_use]
    pub fn bound(&self, ballot: Ballot) -> Option<u64> {
        let promised = self.promised(ballot);
        let candidates: BTreeSet<u64> = self.undecided.iter().map(|(hash, ..)| *hash).collect();
        let lower = self.endorsements().into_iter().filter(|((other, change), by)| {
            *other < ballot && candidates.contains(change) && !by.is_disjoint(&promised) && self.decidable(*change)
        });
        lower.map(|((_, change), _)| change).next_back()
    }

    /// Whether more than half may still endorse it: who acknowledged more of a chain than its proposed end never will.
    fn decidable(&self, change: u64) -> bool {
        let Some((_, _, change)) = self.undecided.iter().find(|(hash, ..)| *hash == change) else { return false };
        let Some(end) = Change::closes(*change) else { return true };
        let beyond = |chain: &Chain| {
            self.linked.iter().any(|(hash, commit)| {
                commit.chain == end.chain && self.acknowledges(*chain, *hash) && !self.descends(end.hash, commit)
            })
        };
        let active = &self.now().active;
        let may = active.keys().filter(|chain| **chain != end.chain && !beyond(chain)).count();
        may * 2 > active.len()
    }

    /// What is proposed in this ballot, by whoever's it is, if that may be proposed.
    #[must_use]
    pub fn proposed(&self, ballot: Ballot) -> Option<u64> {
        if !self.carried(ballot) {
            return None;
        }
        let candidate = |change: &u64| self.undecided.iter().any(|(hash, ..)| hash == change);
        let by_owner = self
            .endorsements()
            .into_iter()
            .find(|((of, change), by)| *of == ballot && by.contains(&ballot.chain) && candidate(change));
        let ((_, change), _) = by_owner?;
        let bound = self.bound(ballot).filter(|_| self.rules().ballots_bind);
        bound.is_none_or(|bound| bound == change).then_some(change)
    }
}
