//! Which members vouch for how much of each chain, as their own chains say.

use std::collections::BTreeMap;

use weft_protocol::{Anchor, ChainId, Digest, NodeId};

use crate::config::CHAINS_MAX;

/// A commit that a member held, verified, when it named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) commit_no: u64,
    pub(crate) commit_hash: Digest,
}

/// The newest anchor of each member for each chain. Invariant: no node vouches for chains of its own, and at most [`CHAINS_MAX`]
/// chains are vouched for; of further ones nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    by_chain: BTreeMap<ChainId, BTreeMap<NodeId, Vouched>>,
}

impl Witnesses {
    /// A stored commit of `by` names these.
    pub(crate) fn learn(&mut self, by: NodeId, anchors: &[Anchor]) {
        for anchor in anchors.iter().filter(|anchor| anchor.chain.node != by) {
            if self.by_chain.len() >= CHAINS_MAX && !self.by_chain.contains_key(&anchor.chain) {
                continue;
            }
            let vouched = Vouched { commit_no: anchor.commit_no, commit_hash: anchor.commit_hash };
            let newest = self.by_chain.entry(anchor.chain).or_default().entry(by).or_insert(vouched);
            if newest.commit_no < vouched.commit_no {
                *newest = vouched;
            }
        }
    }

    /// What members vouch for of this chain at this commit or behind it.
    pub(crate) fn beyond(&self, chain: &ChainId, commit_no: u64) -> Vec<Vouched> {
        let vouched = self.by_chain.get(chain).into_iter().flat_map(BTreeMap::values);
        vouched.filter(|vouched| vouched.commit_no >= commit_no).copied().collect()
    }
}

/// The highest commit that at least so many of these vouch for, when they are of one history.
pub(crate) fn floor_of(vouched: &[Vouched], needed: usize) -> Option<u64> {
    let mut numbers: Vec<u64> = vouched.iter().map(|vouched| vouched.commit_no).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.get(needed.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_what_enough_members_have_reached() {
        let at = |numbers: &[u64]| {
            let vouched = |commit_no: &u64| Vouched { commit_no: *commit_no, commit_hash: Digest::from_bytes([0; 32]) };
            numbers.iter().map(vouched).collect::<Vec<_>>()
        };
        assert_eq!(floor_of(&at(&[9, 3, 7]), 2), Some(7));
        assert_eq!(floor_of(&at(&[9, 3, 7]), 3), Some(3));
        assert_eq!(floor_of(&at(&[9, 3, 7]), 4), None);
        assert_eq!(floor_of(&at(&[9]), 0), None);
    }
}
