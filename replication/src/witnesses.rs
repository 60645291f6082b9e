//! Which members vouch for how much of each chain, as their own chains say.

use std::collections::BTreeMap;

use weft_protocol::{Anchor, ChainId, Digest, NodeId};

use crate::config::CHAINS_MAX;

/// A commit that a member held, verified, when it named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) commit_no: u64,
    /// Events of the chain up to it.
    pub(crate) size: u64,
    pub(crate) commit_hash: Digest,
}

/// What one member vouches for of one chain.
#[derive(Debug, Clone, Copy)]
struct Voucher {
    newest: Vouched,
    /// The newest that is known to name a commit of the history that is held here.
    checked: Option<Vouched>,
    /// One that names a commit of another history.
    refuted: Option<Vouched>,
}

/// The newest anchor of each member for each chain. Invariant: no node vouches for chains of its own, and at most [`CHAINS_MAX`]
/// chains are vouched for; of further ones nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    by_chain: BTreeMap<ChainId, BTreeMap<NodeId, Voucher>>,
}

impl Witnesses {
    /// A stored commit of `by` names these.
    pub(crate) fn learn(&mut self, by: NodeId, anchors: &[Anchor]) {
        for anchor in anchors.iter().filter(|anchor| anchor.chain.node != by) {
            if self.by_chain.len() >= CHAINS_MAX && !self.by_chain.contains_key(&anchor.chain) {
                continue;
            }
            let (commit_no, size, commit_hash) = (anchor.commit_no, anchor.size, anchor.commit_hash);
            let vouched = Vouched { commit_no, size, commit_hash };
            let first = Voucher { newest: vouched, checked: None, refuted: None };
            let voucher = self.by_chain.entry(anchor.chain).or_default().entry(by).or_insert(first);
            if voucher.newest.commit_no < vouched.commit_no {
                voucher.newest = vouched;
            }
        }
    }

    /// A commit that a member named was compared with the one that is held here under its number.
    pub(crate) fn compared(&mut self, chain: &ChainId, by: &NodeId, vouched: Vouched, same: bool) {
        let voucher = self.by_chain.get_mut(chain).and_then(|vouchers| vouchers.get_mut(by));
        let Some(voucher) = voucher else { return };
        if !same {
            voucher.refuted = Some(vouched);
        } else if voucher.checked.is_none_or(|checked| checked.commit_no < vouched.commit_no) {
            voucher.checked = Some(vouched);
        }
    }

    /// Members whose word about this chain is known to be of the history that is held here.
    pub(crate) fn checked(&self, chain: &ChainId) -> impl Iterator<Item = (NodeId, Vouched)> + use<'_> {
        let vouchers = self.by_chain.get(chain).into_iter().flatten();
        vouchers.filter_map(|(node, voucher)| Some((*node, voucher.checked?)))
    }

    /// Words about this chain that reach so far, and that nobody has compared with our copy yet.
    pub(crate) fn unchecked(&self, chain: &ChainId, size: u64) -> impl Iterator<Item = (NodeId, Vouched)> + use<'_> {
        let vouchers = self.by_chain.get(chain).into_iter().flatten();
        let open = vouchers.filter(move |(_, voucher)| {
            voucher.newest.size >= size
                && voucher.checked.is_none_or(|checked| checked.size < size)
                && voucher.refuted != Some(voucher.newest)
        });
        open.map(|(node, voucher)| (*node, voucher.newest))
    }

    /// How many events of this chain that member vouches for.
    pub(crate) fn size_of(&self, by: &NodeId, chain: &ChainId) -> u64 {
        let voucher = self.by_chain.get(chain).and_then(|vouchers| vouchers.get(by));
        voucher.map_or(0, |voucher| voucher.newest.size)
    }

    /// What each member vouches for of this chain, whether or not that is the history that is held here.
    pub(crate) fn of(&self, chain: &ChainId) -> impl Iterator<Item = (NodeId, Vouched)> + use<'_> {
        let vouchers = self.by_chain.get(chain).into_iter().flatten();
        vouchers.map(|(node, voucher)| (*node, voucher.newest))
    }

    /// What members vouch for of this chain at this commit or behind it.
    pub(crate) fn beyond(&self, chain: &ChainId, commit_no: u64) -> Vec<Vouched> {
        self.of(chain).map(|(_, vouched)| vouched).filter(|vouched| vouched.commit_no >= commit_no).collect()
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
            let commit_hash = Digest::from_bytes([0; 32]);
            let vouched = |commit_no: &u64| Vouched { commit_no: *commit_no, size: *commit_no, commit_hash };
            numbers.iter().map(vouched).collect::<Vec<_>>()
        };
        assert_eq!(floor_of(&at(&[9, 3, 7]), 2), Some(7));
        assert_eq!(floor_of(&at(&[9, 3, 7]), 3), Some(3));
        assert_eq!(floor_of(&at(&[9, 3, 7]), 4), None);
        assert_eq!(floor_of(&at(&[9]), 0), None);
    }
}
