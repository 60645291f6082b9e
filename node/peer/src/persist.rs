//! What waits for the disk: at most one transaction is out, and everything that comes meanwhile goes into the next.

use weft_protocol::{Batch, ChainId, CommitGroup, Cut, PrunedRows};

use crate::event::AskId;

/// Whose data a transaction holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    /// Whether the kernel waits for it.
    pub(crate) kernel: bool,
    /// Whether the start waits for it.
    pub(crate) start: bool,
    /// Whose foreign chains replication waits for.
    pub(crate) chains: Vec<ChainId>,
    /// Which chains were cut.
    pub(crate) cuts: Vec<ChainId>,
    /// Who waits until rows are gone.
    pub(crate) prunes: Vec<AskId>,
}

/// Invariant: `out` is set exactly while a batch was given away and neither written nor failed.
#[derive(Debug, Default)]
pub(crate) struct PersistQueue {
    waiting: Batch,
    waiting_owners: Owners,
    out: Option<Owners>,
}

impl PersistQueue {
    /// Adds the kernel's batch.
    pub(crate) fn add_own(&mut self, batch: Batch) {
        self.waiting.append(batch);
        self.waiting_owners.kernel = true;
    }

    /// Adds verified groups of a foreign chain.
    pub(crate) fn add_foreign(&mut self, chain: ChainId, groups: Vec<CommitGroup>) {
        self.waiting.groups.extend(groups.into_iter().map(|group| (chain, group)));
        self.waiting_owners.chains.push(chain);
    }

    /// Adds that a chain is cut.
    pub(crate) fn add_cut(&mut self, cut: Cut) {
        self.waiting.cuts.push(cut);
        self.waiting_owners.cuts.push(cut.chain);
    }

    /// Adds rows that go; whoever asked waits for that.
    pub(crate) fn add_pruned(&mut self, ask: AskId, rows: PrunedRows) {
        self.waiting.pruned.push(rows);
        self.waiting_owners.prunes.push(ask);
    }

    /// Adds groups that this node's own chain had lost.
    pub(crate) fn add_lost(&mut self, chain: ChainId, groups: Vec<CommitGroup>) {
        self.waiting.groups.extend(groups.into_iter().map(|group| (chain, group)));
        self.waiting_owners.start = true;
    }

    /// Adds what nobody waits for.
    pub(crate) fn add(&mut self, batch: Batch) {
        self.waiting.append(batch);
    }

    /// The next transaction, when none is out and something waits.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        if self.out.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.out = Some(std::mem::take(&mut self.waiting_owners));
        Some(std::mem::take(&mut self.waiting))
    }

    /// The transaction that is out is done, well or badly; whose it was.
    pub(crate) fn finish(&mut self) -> Owners {
        self.out.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::{Incarnation, NodeId};

    use super::*;

    fn batch(byte: u8) -> Batch {
        Batch { addresses: vec![(NodeId::from_bytes([byte; 32]), Vec::new())], ..Batch::default() }
    }

    #[test]
    fn one_transaction_is_out_at_a_time_and_the_rest_goes_into_the_next() {
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };
        let mut queue = PersistQueue::default();
        assert_eq!(queue.take(), None);
        queue.add(batch(1));
        assert_eq!(queue.take(), Some(batch(1)));
        queue.add_own(batch(2));
        queue.add(batch(3));
        assert_eq!(queue.take(), None, "one is out");
        assert_eq!(queue.finish(), Owners::default(), "nobody waited for it");
        let next = queue.take().expect("what came meanwhile");
        assert_eq!(next.addresses.len(), 2);
        queue.add_foreign(chain, Vec::new());
        assert_eq!(queue.finish(), Owners { kernel: true, ..Owners::default() }, "the foreign chain came too late");
    }
}
