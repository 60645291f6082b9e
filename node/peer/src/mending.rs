//! Getting damaged groups of foreign chains back from members while the node runs: one member after the other is asked, and what it
//! gives is proven where it is written.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{ChainId, NodeId, Timestamp};

/// Most chains that are mended at once (guess); of what is beyond, the next pass of the scrub tells again.
const CHAINS_MAX: usize = 64;
/// When members that could not help are asked again, in microseconds (guess: who was away may be back).
const RETRY_US: u64 = 60_000_000;

/// What became of groups that a member gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MendOutcome {
    /// So many commits are on the disk again; none when they are not part of the chain any more.
    Done(u64),
    /// They do not fit: the member's fault. Another one may help.
    Unfit,
    /// Nothing that a member gives helps while the node runs.
    Hopeless,
}

/// One chain with damage.
#[derive(Debug)]
struct Gap {
    from_commit: u64,
    /// Asked since the last pause.
    asked: BTreeSet<NodeId>,
    /// Whether somebody was asked, or what it gave is being proven.
    waits: bool,
    retry_at: Timestamp,
}

/// Everything that is being mended.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    gaps: BTreeMap<ChainId, Gap>,
}

impl Mending {
    /// From this commit on a chain cannot be read. What was begun for another place in it goes on first.
    pub(crate) fn begin(&mut self, chain: ChainId, from_commit: u64, now: Timestamp) {
        if self.gaps.len() < CHAINS_MAX || self.gaps.contains_key(&chain) {
            let gap = Gap { from_commit, asked: BTreeSet::new(), waits: false, retry_at: now };
            let known = self.gaps.entry(chain).or_insert(gap);
            if !known.waits {
                known.from_commit = from_commit;
                known.retry_at = now;
            }
        }
    }

    /// Whom to ask now for which chain, from which commit on: a connected member that was not asked yet, the chain's writer first.
    pub(crate) fn next(&mut self, now: Timestamp, connected: &BTreeSet<NodeId>) -> Option<(ChainId, u64, NodeId)> {
        for (chain, gap) in &mut self.gaps {
            if gap.waits || gap.retry_at > now {
                continue;
            }
            let mut left = connected.difference(&gap.asked);
            let to = if left.clone().any(|node| *node == chain.node) { Some(&chain.node) } else { left.next() };
            match to.copied() {
                Some(to) => {
                    gap.asked.insert(to);
                    gap.waits = true;
                    return Some((*chain, gap.from_commit, to));
                }
                None => {
                    gap.asked.clear();
                    gap.retry_at = now.after_us(RETRY_US);
                }
            }
        }
        None
    }

    /// The member that was asked cannot help.
    pub(crate) fn ask_another(&mut self, chain: &ChainId) {
        if let Some(gap) = self.gaps.get_mut(chain) {
            gap.waits = false;
        }
    }

    /// Nothing more is to be asked for this chain; from which commit on it was damaged.
    pub(crate) fn end(&mut self, chain: &ChainId) -> Option<u64> {
        self.gaps.remove(chain).map(|gap| gap.from_commit)
    }

    /// Somebody is connected, who may help at once.
    pub(crate) fn connected(&mut self, node: NodeId, now: Timestamp) {
        for gap in self.gaps.values_mut().filter(|gap| !gap.asked.contains(&node)) {
            gap.retry_at = now;
        }
    }

    /// When members are to be asked again.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.gaps.values().filter(|gap| !gap.waits).map(|gap| gap.retry_at).min()
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::Incarnation;

    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    #[test]
    fn each_member_is_asked_once_and_all_again_after_a_pause() {
        let chain = ChainId { node: node(3), incarnation: Incarnation(1) };
        let connected: BTreeSet<NodeId> = [1, 2, 3].map(node).into_iter().collect();
        let mut mending = Mending::default();
        assert_eq!((mending.next(Timestamp(5), &connected), mending.next_wakeup()), (None, None));
        mending.begin(chain, 7, Timestamp(5));
        assert_eq!(mending.next_wakeup(), Some(Timestamp(5)));
        for to in [3, 1, 2] {
            assert_eq!(mending.next(Timestamp(5), &connected), Some((chain, 7, node(to))), "the writer first");
            assert_eq!(mending.next(Timestamp(5), &connected), None, "one at a time");
            mending.ask_another(&chain);
        }
        assert_eq!(mending.next(Timestamp(5), &connected), None);
        let later = Timestamp(5).after_us(RETRY_US);
        assert_eq!(mending.next_wakeup(), Some(later));
        mending.connected(node(4), Timestamp(6));
        assert_eq!(mending.next(Timestamp(6), &[node(4)].into_iter().collect()), Some((chain, 7, node(4))));
        mending.ask_another(&chain);
        assert_eq!(mending.next(Timestamp(6), &[node(4)].into_iter().collect()), None);
        assert_eq!(mending.next(later.after_us(1), &connected), Some((chain, 7, node(3))));
        assert_eq!((mending.end(&chain), mending.next_wakeup()), (Some(7), None));
        for byte in 0..100 {
            mending.begin(ChainId { node: node(byte), incarnation: Incarnation(1) }, 0, Timestamp(9));
        }
        assert_eq!(mending.gaps.len(), CHAINS_MAX, "bounded");
    }
}
