//! What waits until everything that it names is held: whoever acts on it then holds what its writer held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{ChainId, CommitRef, Hlc, PlacedFact, Tick};

/// Most stretches of one chain that wait; further ones are joined to the last (guess: a second of a busy chain).
const WAITING_MAX: usize = 1_024;

/// A stretch of one chain, on disk and verified.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its last commit.
    pub last: CommitRef,
    /// Its first stamp, or one before it.
    pub first: Hlc,
    /// Its last stamp.
    pub hlc: Hlc,
    /// Commits of other chains that it names.
    pub anchors: Vec<(ChainId, u64)>,
    /// What it says about who counts and where chains begin; other facts are ignored.
    pub facts: Vec<PlacedFact>,
}

/// Something that counts now.
#[derive(Debug)]
pub enum Word {
    /// A stretch of a chain.
    Step(Step),
    /// A tick.
    Tick(Tick),
}

/// Invariant: of each chain stretches leave in order, and a tick after the commit that it stands on.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Commits on disk.
    held: BTreeMap<ChainId, u64>,
    /// Commits that count.
    counted: BTreeMap<ChainId, u64>,
    waiting: BTreeMap<ChainId, VecDeque<Step>>,
    /// The newest tick of each chain that does not count yet.
    ticks: BTreeMap<ChainId, Tick>,
    /// Chains of which what is named may never be held, because it was cut.
    excused: BTreeSet<ChainId>,
}

impl Gate {
    pub(super) fn stored(&mut self, step: Step) {
        let held = self.held.entry(step.last.chain).or_default();
        *held = (*held).max(step.last.commit_no + 1);
        let queue = self.waiting.entry(step.last.chain).or_default();
        let full = queue.len() >= WAITING_MAX;
        match queue.back_mut().filter(|_| full) {
            Some(last) => last.join(step),
            None => queue.push_back(step),
        }
    }

    pub(super) fn ticked(&mut self, tick: Tick) {
        match self.ticks.get(&tick.last.chain) {
            Some(known) if known.hlc >= tick.hlc => {}
            _ => _ = self.ticks.insert(tick.last.chain, tick),
        }
    }

    pub(super) fn excuse(&mut self, chain: ChainId) {
        self.excused.insert(chain);
    }

    pub(super) fn cut(&mut self, chain: ChainId, commits: u64) {
        for table in [&mut self.held, &mut self.counted] {
            if let Some(held) = table.get_mut(&chain) {
                *held = commits.min(*held);
            }
        }
    }

    fn is_met(&self, chain: &ChainId, commit_no: u64) -> bool {
        self.excused.contains(chain) || self.held.get(chain).is_some_and(|held| *held > commit_no)
    }

    /// The next thing that counts; none when everything else waits.
    pub(super) fn next_ready(&mut self) -> Option<Word> {
        let met = |step: &Step| step.anchors.iter().all(|(chain, commit_no)| self.is_met(chain, *commit_no));
        let ready = self.waiting.iter().find(|(_, queue)| queue.front().is_some_and(met)).map(|(chain, _)| *chain);
        if let Some(chain) = ready {
            let queue = self.waiting.get_mut(&chain)?;
            let step = queue.pop_front()?;
            if queue.is_empty() {
                self.waiting.remove(&chain);
            }
            self.counted.insert(chain, step.last.commit_no + 1);
            return Some(Word::Step(step));
        }
        let stands = |tick: &Tick| {
            let last = &tick.last;
            self.counted.get(&last.chain).is_some_and(|counted| *counted > last.commit_no)
                && tick.heads.iter().all(|head| self.is_met(&head.chain, head.commit_no))
        };
        let ready = self.ticks.iter().find(|(_, tick)| stands(tick)).map(|(chain, _)| *chain);
        self.ticks.remove(&ready?).map(Word::Tick)
    }
}

impl Step {
    fn join(&mut self, later: Self) {
        self.last = later.last;
        self.hlc = later.hlc;
        self.facts.extend(later.facts);
        let mut anchors: BTreeMap<ChainId, u64> = std::mem::take(&mut self.anchors).into_iter().collect();
        for (chain, commit_no) in later.anchors {
            let newest = anchors.entry(chain).or_default();
            *newest = commit_no.max(*newest);
        }
        self.anchors = anchors.into_iter().collect();
    }
}
