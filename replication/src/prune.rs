//! Which rows beside events of the own chain may go: four conditions, each told by itself.

use std::collections::BTreeSet;

use weft_protocol::{ChainId, EventPlace, Fact, Hlc, NodeId, PlacedFact, STATE_FOLD, Snapshot};

use crate::order::OrderKey;
use crate::replication::Replication;
use crate::standing::Placement;
use crate::status::Vouching;

/// Why the rows beside an event stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeps {
    /// No snapshot covers the event, or none that this version can replay.
    Snapshot,
    /// Its place in the order may still change.
    Order,
    /// Too few of the others who count vouch for it.
    Witnesses,
    /// It is younger than what is to be kept.
    Age,
}

impl Keeps {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Snapshot, Self::Order, Self::Witnesses, Self::Age];
}

/// What decides which rows of one chain may go, as far as this node knows now.
#[derive(Debug, Clone)]
pub struct PruneTerms {
    /// Of which chain.
    pub chain: ChainId,
    /// Its newest snapshot, with the place of that.
    pub snapshot: Option<(u64, Snapshot)>,
    /// What stands where.
    pub placement: Placement,
    /// What others who count vouch for; whoever holds the commits may take out what names others.
    pub vouchings: Vec<Vouching>,
    /// How many of them must.
    pub needed: usize,
    /// Events stamped later are too young.
    pub until: Hlc,
}

impl PruneTerms {
    /// Everything that keeps the rows beside this event; nothing when they may go.
    #[must_use]
    pub fn keeps(&self, event: EventPlace) -> BTreeSet<Keeps> {
        let readable = self.snapshot.iter().filter(|(_, snapshot)| snapshot.fold == STATE_FOLD);
        let covered = readable.into_iter().any(|(_, snapshot)| event.seq < snapshot.size);
        let place = self.placement.place(OrderKey::new(self.chain, event.seq, event.hlc), event.commit_no);
        let others = self.vouchings.iter().filter(|vouching| vouching.node != self.chain.node);
        let by: BTreeSet<NodeId> =
            others.filter(|vouching| vouching.size > event.seq).map(|vouching| vouching.node).collect();
        let conditions = [
            (Keeps::Snapshot, covered),
            (Keeps::Order, self.placement.is_stable(&place)),
            (Keeps::Witnesses, self.needed > 0 && by.len() >= self.needed),
            (Keeps::Age, event.hlc <= self.until),
        ];
        conditions.into_iter().filter(|(_, holds)| !holds).map(|(keeps, _)| keeps).collect()
    }
}

/// What the own chain says of what may be pruned.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    newest: Option<(u64, Snapshot)>,
}

impl Snapshots {
    /// More of the own chain is on disk.
    pub(crate) fn learn(&mut self, facts: &[PlacedFact]) {
        for placed in facts {
            if let Fact::Snapshot(snapshot) = &placed.fact {
                self.newest = Some((placed.seq, (**snapshot).clone()));
            }
        }
    }
}

impl Replication {
    /// The newest snapshot of the own chain that is on disk, with its place.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&(u64, Snapshot)> {
        self.snapshots.newest.as_ref()
    }

    /// What decides which rows of the own chain may go, when whatever is stamped after `until` is to stay. More than half of the
    /// others who count must vouch for an event; alone nobody does.
    #[must_use]
    pub fn prune_terms(&self, until: Hlc) -> PruneTerms {
        let chain = self.own.chain;
        let counting = self.standing.epochs().active().keys().map(|chain| chain.node);
        let others: BTreeSet<NodeId> = counting.filter(|node| *node != chain.node).collect();
        let vouchings = self.vouchers(&chain).filter(|vouching| others.contains(&vouching.node)).collect();
        PruneTerms {
            chain,
            snapshot: self.snapshots.newest.clone(),
            placement: self.standing.placement(),
            vouchings,
            needed: others.len() / 2 + 1,
            until,
        }
    }
}
