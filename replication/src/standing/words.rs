//! Up to where each chain was heard, what it acknowledges, and up to where it says that nothing is missing there.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::{ChainId, CommitRef, Hlc, Tick};

use super::before;
use super::gate::Step;
use crate::order::OrderKey;

/// Most places of one chain remembered with their stamps, until everybody acknowledged them; of more some are left out, and
/// the order lags by what is between their neighbours (guess).
const MARKS_MAX: usize = 4_096;

/// Some commits of a chain that follow each other.
#[derive(Debug, Clone, Copy)]
struct Mark {
    last: CommitRef,
    /// Of their first event and of their last one.
    stamps: [Hlc; 2],
}

/// What a chain said, and what was said of it.
#[derive(Debug, Default)]
struct Said {
    heard: Hlc,
    horizon: Hlc,
    /// In order: the last one that counts, and those that not everybody acknowledged.
    marks: VecDeque<Mark>,
    /// By chain: the last commit of this one that it acknowledges.
    acknowledged_by: BTreeMap<ChainId, u64>,
}

impl Said {
    fn mark(&mut self, mark: Mark) {
        self.heard = self.heard.max(mark.stamps[1]);
        self.marks.push_back(mark);
        // What everybody acknowledged needs no place; of what is left, the two oldest are joined.
        let least = self.acknowledged_by.values().copied().min().unwrap_or(0);
        while self.marks.get(1).is_some_and(|second| second.last.commit_no <= least) {
            self.marks.pop_front();
        }
        if self.marks.len() > MARKS_MAX
            && let Some(joined) = self.marks.remove(1)
            && let Some(second) = self.marks.get_mut(1)
        {
            second.stamps[0] = joined.stamps[0];
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Words {
    newest: Hlc,
    by_chain: BTreeMap<ChainId, Said>,
}

impl Words {
    pub(super) fn stored(&mut self, step: &Step) {
        self.newest = self.newest.max(step.hlc);
        let mark = Mark { last: step.last, stamps: [step.first, step.hlc] };
        self.by_chain.entry(step.last.chain).or_default().mark(mark);
        for (chain, commit_no) in &step.anchors {
            self.acknowledge(step.last.chain, *chain, *commit_no);
        }
    }

    pub(super) fn ticked(&mut self, tick: &Tick) {
        let said = self.by_chain.entry(tick.last.chain).or_default();
        said.heard = said.heard.max(tick.hlc);
        said.horizon = said.horizon.max(tick.horizon);
        for head in &tick.heads {
            self.acknowledge(tick.last.chain, head.chain, head.commit_no);
        }
    }

    pub(super) fn told(&mut self, by: ChainId, heads: &[CommitRef]) {
        heads.iter().for_each(|head| self.acknowledge(by, head.chain, head.commit_no));
    }

    fn acknowledge(&mut self, by: ChainId, of: ChainId, commit_no: u64) {
        if by.node != of.node {
            let known = self.by_chain.entry(of).or_default().acknowledged_by.entry(by).or_insert(commit_no);
            *known = commit_no.max(*known);
        }
    }

    /// Only so many commits of this chain are left.
    pub(super) fn cut(&mut self, chain: ChainId, commits: u64) {
        if let Some(said) = self.by_chain.get_mut(&chain) {
            said.marks.retain(|mark| mark.last.commit_no < commits);
        }
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = &ChainId> {
        self.by_chain.iter().filter(|(_, said)| !said.marks.is_empty()).map(|(chain, _)| chain)
    }

    pub(super) fn heard(&self, chain: &ChainId) -> Hlc {
        self.by_chain.get(chain).map_or(Hlc(0), |said| said.heard)
    }

    pub(super) fn horizon(&self, chain: &ChainId) -> Hlc {
        self.by_chain.get(chain).map_or(Hlc(0), |said| said.horizon)
    }

    pub(super) const fn newest(&self) -> Hlc {
        self.newest
    }

    /// The last commit that counts.
    pub(super) fn last(&self, chain: &ChainId) -> Option<CommitRef> {
        self.by_chain.get(chain)?.marks.back().map(|mark| mark.last)
    }

    /// The last commit that counts and is not beyond this number, as far as it is remembered.
    pub(super) fn up_to(&self, chain: &ChainId, commit_no: u64) -> Option<CommitRef> {
        let marks = &self.by_chain.get(chain)?.marks;
        marks.iter().rfind(|mark| mark.last.commit_no <= commit_no).map(|mark| mark.last)
    }

    /// How much of a chain another one acknowledges.
    pub(super) fn acknowledges(&self, by: &ChainId, of: &ChainId) -> Option<u64> {
        self.by_chain.get(of)?.acknowledged_by.get(by).copied()
    }

    /// Up to where whoever names only this commit of a chain names everything of it; none when that is the last.
    pub(super) fn missed(&self, chain: ChainId, named: Option<u64>) -> Option<Hlc> {
        let marks = &self.by_chain.get(&chain)?.marks;
        let missed = marks.iter().find(|mark| named.is_none_or(|named| mark.last.commit_no > named))?;
        Some(before(missed.stamps[0]))
    }

    /// Up to where everybody who counts, and did so by then, acknowledges this chain; none when that is all of it.
    pub(super) fn acknowledged(&self, chain: ChainId, active: &BTreeMap<ChainId, OrderKey>) -> Option<Hlc> {
        let said = self.by_chain.get(&chain)?;
        let others = active.iter().filter(|(other, _)| other.node != chain.node);
        let up_to = others.filter_map(|(other, opening)| {
            let missed = self.missed(chain, said.acknowledged_by.get(other).copied());
            missed.map(|stamp| stamp.max(before(opening.hlc)))
        });
        up_to.min()
    }
}
