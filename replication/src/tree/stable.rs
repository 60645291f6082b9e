//! The fold of what is stable: everything at or below a place in the order before which nothing can appear any more.

use std::collections::BTreeMap;

use weft_protocol::{ChainId, Digest, Fact, PlacedFact};

use crate::order::OrderKey;
use crate::tree::fold::Fold;

/// Most facts that wait to become stable, in case somebody is silent for long: at a kilobyte each 64 MiB (guess). Beyond that the
/// stable tree is not known until the next start, which reads all facts again.
const WAITING_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Stable {
    fold: Fold,
    /// What is held beyond the bound.
    waiting: BTreeMap<OrderKey, PlacedFact>,
    bound: OrderKey,
    /// Whether something that waited was let go.
    lost: bool,
}

impl Stable {
    pub(super) fn new(bound: OrderKey) -> Self {
        Self { fold: Fold::default(), waiting: BTreeMap::new(), bound, lost: false }
    }

    /// The root and what it is the root of; none when something that is needed was let go.
    pub(super) fn root(&self) -> Option<(OrderKey, Digest)> {
        (!self.lost).then(|| (self.bound, self.fold.merkle().root()))
    }

    /// Takes facts of one chain, in its order.
    pub(super) fn learn(&mut self, chain: ChainId, facts: &[PlacedFact]) {
        let key = |placed: &PlacedFact| OrderKey::new(chain, placed.seq, placed.hlc);
        let (stable, later): (Vec<_>, Vec<_>) = facts.iter().partition(|placed| key(placed) <= self.bound);
        self.fold.apply(chain, stable);
        self.fold.settle();
        if !self.lost {
            let later = later.into_iter().filter(|placed| !matches!(placed.fact, Fact::Opaque { .. }));
            self.waiting.extend(later.map(|placed| (key(placed), placed.clone())));
        }
    }

    /// When too much waits, nothing of it is kept.
    pub(super) fn let_go(&mut self) {
        if self.waiting.len() > WAITING_MAX {
            self.lost = true;
            self.waiting.clear();
        }
    }

    /// What is at or below this place is stable.
    pub(super) fn advance(&mut self, bound: OrderKey) {
        if bound <= self.bound {
            return;
        }
        self.bound = bound;
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= bound) {
            let (key, placed) = first.remove_entry();
            self.fold.apply(key.chain(), [&placed]);
        }
        self.fold.settle();
    }

    /// Takes everything of a chain out.
    pub(super) fn forget(&mut self, chain: &ChainId) {
        self.waiting.retain(|key, _| key.chain() != *chain);
        self.fold.forget(chain);
    }

    pub(super) fn hide(&mut self, chain: ChainId) {
        self.fold.hide(chain);
    }

    pub(super) fn show(&mut self, chain: &ChainId) {
        self.fold.show(chain);
    }
}
