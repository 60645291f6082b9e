//! Heads of other chains that this node holds and has not vouched for yet: they ride as anchors on its next commits.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::{ANCHORS_MAX, MEMBERS_MAX};
use weft_protocol::{Anchor, ChainId, Head, Hlc};

/// Most chains that wait to be named: one for each member. A further one is named when its next head comes.
const WAITING_MAX: usize = MEMBERS_MAX;

/// Invariant: what is given was on disk, verified, before it was noted, and is given once.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    waiting: BTreeMap<ChainId, (Head, Hlc)>,
    /// The highest commit of each chain that was given.
    given: BTreeMap<ChainId, u64>,
    /// Beyond which commits nothing is given.
    withheld: BTreeMap<ChainId, u64>,
    /// Those that somebody waits for: a commit is written for them alone. Invariant: each of them is in `waiting`.
    wanted: BTreeSet<ChainId>,
    /// After which chain the next ones are taken, so that all get their turn.
    after: Option<ChainId>,
}

impl Vouched {
    pub(super) fn note(&mut self, head: Head, hlc: Hlc) {
        if self.waiting.len() < WAITING_MAX || self.waiting.contains_key(&head.chain) {
            self.waiting.insert(head.chain, (head, hlc));
        }
    }

    pub(super) fn forget(&mut self, chain: &ChainId) {
        self.waiting.remove(chain);
        self.wanted.remove(chain);
    }

    /// Somebody waits until this chain is named; one that is not waiting to be was named already.
    pub(super) fn want(&mut self, chain: &ChainId) {
        if self.waiting.contains_key(chain) {
            self.wanted.insert(*chain);
        }
    }

    /// Whether a head that somebody waits for may be named by what is stamped after `last`.
    pub(super) fn has_wanted(&self, last: Hlc) -> bool {
        self.wanted.iter().any(|chain| self.waiting.get(chain).is_some_and(|(_, hlc)| *hlc <= last))
    }

    /// Heads that were stamped before `first`, those that somebody waits for and then the others in turn; a group may name no others, so that what it names sorts before it.
    pub(super) fn take(&mut self, first: Hlc) -> Vec<Anchor> {
        let start = self.after.unwrap_or(ChainId::from_bytes(&[0; 40]));
        let later = self.waiting.range(start..).chain(self.waiting.range(..start));
        let later = later.filter(|(chain, _)| !self.wanted.contains(chain)).map(|(chain, _)| chain);
        let withheld = |head: &Head| self.withheld.get(&head.chain).is_some_and(|end| head.commit_no > *end);
        let may_be_named =
            |chain: &&ChainId| self.waiting.get(chain).is_some_and(|(head, hlc)| *hlc < first && !withheld(head));
        let due = self.wanted.iter().chain(later).filter(may_be_named).copied();
        let due: Vec<ChainId> = due.take(ANCHORS_MAX).collect();
        self.after = due.last().copied().or(self.after);
        self.wanted.retain(|chain| !due.contains(chain));
        let named: Vec<(Head, Hlc)> = due.iter().filter_map(|chain| self.waiting.remove(chain)).collect();
        self.given.extend(named.iter().map(|(head, _)| (head.chain, head.commit_no)));
        let anchor = |(head, _): (Head, Hlc)| Anchor {
            chain: head.chain,
            commit_no: head.commit_no,
            size: head.size,
            root: head.root,
            commit_hash: head.commit_hash,
        };
        named.into_iter().map(anchor).collect()
    }

    pub(super) fn withhold(&mut self, ends: BTreeMap<ChainId, u64>) {
        self.withheld = ends;
    }

    /// Whether nothing beyond what is withheld was given before.
    pub(super) fn keeps_back(&self) -> bool {
        self.withheld.iter().all(|(chain, end)| self.given.get(chain).is_none_or(|given| given <= end))
    }
}
