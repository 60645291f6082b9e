//! What waits for the disk: at most one transaction is out, and everything that comes meanwhile goes into the next.

use weft_protocol::{Batch, ChainId, CommitGroup, Cut, PrunedRows, Timestamp};

use crate::event::AskId;

/// How long commits of other members wait for a transaction that is written anyway, in microseconds: each transaction of their
/// own would keep the next own commit, for which somebody waits, from the disk (guess: some disk syncs).
const FOREIGN_LINGER_US: u64 = 5_000;
/// So many bytes of them are worth a transaction of their own at once: whoever catches up is not held up (guess).
const FOREIGN_BYTES_MAX: usize = 64 * 1024;

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
    /// Whether something waits besides commits of other members.
    urgent: bool,
    /// Since when commits of other members wait, and their bytes.
    foreign: Option<(Timestamp, usize)>,
    out: Option<Owners>,
}

impl PersistQueue {
    /// Adds the kernel's batch.
    pub(crate) fn add_own(&mut self, batch: Batch) {
        self.add(batch);
        self.waiting_owners.kernel = true;
    }

    /// Adds verified groups of a foreign chain.
    pub(crate) fn add_foreign(&mut self, chain: ChainId, groups: Vec<CommitGroup>, now: Timestamp) {
        let bytes = groups.iter().flat_map(|group| &group.events).map(|event| event.len()).sum::<usize>();
        self.foreign.get_or_insert((now, 0)).1 += bytes;
        self.waiting.groups.extend(groups.into_iter().map(|group| (chain, group)));
        self.waiting_owners.chains.push(chain);
    }

    /// Adds that a chain is cut.
    pub(crate) fn add_cut(&mut self, cut: Cut) {
        self.urgent = true;
        self.waiting.cuts.push(cut);
        self.waiting_owners.cuts.push(cut.chain);
    }

    /// Adds rows that go; whoever asked waits for that.
    pub(crate) fn add_pruned(&mut self, ask: AskId, rows: PrunedRows) {
        self.urgent = true;
        self.waiting.pruned.push(rows);
        self.waiting_owners.prunes.push(ask);
    }

    /// Adds groups that this node's own chain had lost.
    pub(crate) fn add_lost(&mut self, chain: ChainId, groups: Vec<CommitGroup>) {
        self.waiting.groups.extend(groups.into_iter().map(|group| (chain, group)));
        self.waiting_owners.start = true;
        self.urgent = true;
    }

    /// Adds what nobody waits for.
    pub(crate) fn add(&mut self, batch: Batch) {
        self.urgent = true;
        self.waiting.append(batch);
    }

    /// When the next transaction is to be written; none while one is out, or nothing waits.
    pub(crate) fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.out.is_some() || self.waiting.is_empty() {
            return None;
        }
        Some(match self.foreign {
            Some((since, bytes)) if !self.urgent && bytes < FOREIGN_BYTES_MAX && since <= now => {
                since.after_us(FOREIGN_LINGER_US)
            }
            _ => now,
        })
    }

    /// The next transaction, when it is to be written.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Batch> {
        self.due_at(now).filter(|due| *due <= now)?;
        (self.urgent, self.foreign) = (false, None);
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
    use serde_bytes::{ByteArray, ByteBuf};
    use weft_protocol::{Incarnation, NodeId, SignedCommit};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn batch(byte: u8) -> Batch {
        Batch { addresses: vec![(NodeId::from_bytes([byte; 32]), Vec::new())], ..Batch::default() }
    }

    #[test]
    fn one_transaction_is_out_at_a_time_and_the_rest_goes_into_the_next() {
        let mut queue = PersistQueue::default();
        assert_eq!(queue.take(NOW), None);
        queue.add(batch(1));
        assert_eq!(queue.take(NOW), Some(batch(1)));
        queue.add_own(batch(2));
        queue.add(batch(3));
        assert_eq!(queue.take(NOW), None, "one is out");
        assert_eq!(queue.finish(), Owners::default(), "nobody waited for it");
        let next = queue.take(NOW).expect("what came meanwhile");
        assert_eq!(next.addresses.len(), 2);
        queue.add_foreign(chain(1), Vec::new(), NOW);
        assert_eq!(queue.finish(), Owners { kernel: true, ..Owners::default() }, "the foreign chain came too late");
    }

    fn chain(byte: u8) -> ChainId {
        ChainId { node: NodeId::from_bytes([byte; 32]), incarnation: Incarnation(1) }
    }

    fn group(bytes: usize) -> CommitGroup {
        let signed = SignedCommit { commit: ByteBuf::new(), ed25519: ByteArray::new([0; 64]), mldsa65: None };
        CommitGroup { signed, events: vec![ByteBuf::from(vec![0; bytes])] }
    }

    #[test]
    fn few_commits_of_others_wait_for_ours_and_not_for_long() {
        let mut queue = PersistQueue::default();
        queue.add_foreign(chain(1), vec![group(100)], NOW);
        let due = NOW.after_us(FOREIGN_LINGER_US);
        assert_eq!((queue.take(NOW), queue.due_at(NOW)), (None, Some(due)));
        queue.add_foreign(chain(2), vec![group(100)], NOW.after_us(1_000));
        assert_eq!(queue.due_at(NOW.after_us(1_000)), Some(due), "the first of them counts");
        assert_eq!(queue.take(due).map(|batch| batch.groups.len()), Some(2));
        assert_eq!(queue.due_at(due), None, "one is out");
        queue.add_foreign(chain(1), vec![group(100)], due);
        assert_eq!(queue.finish().chains, [chain(1), chain(2)]);

        queue.add_own(batch(1));
        assert_eq!(queue.take(due).map(|batch| batch.groups.len()), Some(1), "they go along");
        assert_eq!(queue.finish(), Owners { kernel: true, chains: vec![chain(1)], ..Owners::default() });

        queue.add_foreign(chain(1), vec![group(FOREIGN_BYTES_MAX)], due);
        assert!(queue.take(due).is_some(), "many wait for nothing");
        queue.finish();
        queue.add_foreign(chain(1), vec![group(100)], due);
        assert!(queue.take(NOW).is_some(), "nor for a time that may never come again");
    }
}
