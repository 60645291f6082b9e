//! Rows beside events that may go: which they are, that the snapshot above them is true, and how they are deleted.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    BeginFold, ChainId, Digest, EventPlace, Fact, PrunedRows, PrunedStep, Replay, Snapshot, SnapshotFault, TraceId,
};

use crate::changes::Changes;
use crate::error::StoreError;
use crate::index::{self, WHOLE_EVENT};
use crate::recover::{Stored, placed_fact};
use crate::row::{self, BadRow, GroupView, Kind, numbered_key};
use crate::store::{Store, Writer};
use crate::table::{BODIES, DIGESTS, GROUPS, INDEX};
use crate::verify::body_apart;

/// Most events whose rows one plan takes, so that one transaction deletes a bounded number (guess: at the default sizes half a
/// minute of a busy node).
pub const PRUNED_EVENTS_MAX: usize = 16_384;

/// Rows, and how much they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCount {
    /// Rows with leaves of plain messages.
    pub rows: u64,
    /// Bodies beside events of durable messages.
    pub bodies: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// What may go of one chain, and what keeps the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePlan<K> {
    /// What goes.
    pub rows: PrunedRows,
    /// How much that is.
    pub goes: RowCount,
    /// The first event of which something goes, and the last.
    pub events: Option<(EventPlace, EventPlace)>,
    /// What stays, under each reason; what stays for two reasons stands under both.
    pub stays: BTreeMap<K, RowCount>,
    /// Bodies that stay because an event that stays names them too.
    pub shared: u64,
    /// Whether more may go than one plan takes.
    pub more: bool,
    /// What is wrong with the snapshot: then nothing goes.
    pub fault: Option<SnapshotFault>,
}

/// Something beside an event.
struct Beside {
    place: EventPlace,
    /// Bytes of its row with leaves.
    row: Option<u64>,
    /// Name and bytes of its body.
    body: Option<(Digest, u64)>,
}

impl Store {
    /// Which rows beside the events of a chain may go, when `keeps` says of an event what keeps its rows: the first of them up to
    /// one that stays. Verifies the chain from its first event, and that its snapshot says what it comes to. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Read`], also when the chain is damaged.
    pub fn prunable<K: Ord, I: IntoIterator<Item = K>>(
        &self,
        chain: ChainId,
        snapshot: Option<(u64, Snapshot)>,
        fold: BeginFold,
        keeps: impl Fn(EventPlace) -> I,
    ) -> Result<PrunePlan<K>, StoreError> {
        // What is written from here on may name a body once more: deleting it looks at that.
        let as_of = self.writer().generation;
        self.reading(|transaction| {
            let stored = Stored { transaction, salt: &self.salt };
            let (beside, named) = stored.beside(chain)?;
            let elsewhere = stored.named_elsewhere(chain)?;
            let fault = match snapshot {
                Some(snapshot) => stored.fault_of(chain, snapshot, fold)?,
                None => None,
            };
            let rows = PrunedRows { chain, to: 0, digests: Vec::new(), bodies: Vec::new(), as_of };
            let (goes, stays) = (RowCount::default(), BTreeMap::new());
            let mut plan = PrunePlan { rows, goes, events: None, stays, shared: 0, more: false, fault };
            let first_that_stays = plan.choose(&beside, keeps);
            plan.take(&beside[..first_that_stays], &named, &elsewhere);
            Ok(plan)
        })
    }

    /// Steps of a conversation on this chain whose leaves were deleted, the first `limit`.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn pruned_steps(&self, chain: ChainId, trace: TraceId, limit: usize) -> Result<Vec<PrunedStep>, StoreError> {
        let (prefix, pruned_to) = (index::trace_prefix(trace, chain), self.pruned_to(chain));
        self.reading(|transaction| {
            let (indexed, digests) = (transaction.open_table(INDEX)?, transaction.open_table(DIGESTS)?);
            let mut steps = Vec::new();
            for entry in indexed.range(&prefix[..]..)? {
                let key = entry?.0;
                if steps.len() >= limit || !key.value().starts_with(&prefix) {
                    break;
                }
                let place = index::place(key.value()).ok_or(BadRow("an index key of another form"))?;
                let row = numbered_key(chain, place.seq);
                if place.leaf != WHOLE_EVENT && place.seq < pruned_to && digests.get(&row[..])?.is_none() {
                    steps.push(PrunedStep { seq: place.seq, leaf: place.leaf });
                }
            }
            Ok(steps)
        })
    }
}

impl<K: Ord> PrunePlan<K> {
    /// How many of these go, from the first on; counts what stays.
    fn choose<I: IntoIterator<Item = K>>(&mut self, beside: &[Beside], keeps: impl Fn(EventPlace) -> I) -> usize {
        let mut goes = None;
        for (index, what) in beside.iter().enumerate() {
            let reasons: Vec<K> = keeps(what.place).into_iter().collect();
            let full = index >= PRUNED_EVENTS_MAX;
            if goes.is_none() && (!reasons.is_empty() || full || self.fault.is_some()) {
                goes = Some(index);
                self.more = reasons.is_empty() && full;
            }
            for reason in reasons {
                let stays = self.stays.entry(reason).or_default();
                stays.rows += u64::from(what.row.is_some());
                stays.bodies += u64::from(what.body.is_some());
                stays.bytes += what.row.unwrap_or(0) + what.body.map_or(0, |(_, bytes)| bytes);
            }
        }
        goes.unwrap_or(beside.len())
    }

    /// All of these go, but bodies that somebody else needs.
    fn take(&mut self, goes: &[Beside], named: &BTreeMap<Digest, u64>, elsewhere: &BTreeSet<Digest>) {
        let Some(last) = goes.last() else { return };
        self.rows.to = last.place.seq + 1;
        let mut seen = BTreeSet::new();
        for what in goes {
            if let Some(bytes) = what.row {
                self.rows.digests.push(what.place.seq);
                self.goes.bytes += bytes;
            }
            let Some((address, bytes)) = what.body.filter(|(address, _)| seen.insert(*address)) else { continue };
            if named.get(&address).is_some_and(|last| *last < self.rows.to) && !elsewhere.contains(&address) {
                self.rows.bodies.push(address);
                self.goes.bytes += bytes;
            } else {
                self.shared += 1;
            }
        }
        (self.goes.rows, self.goes.bodies) = (self.rows.digests.len() as u64, self.rows.bodies.len() as u64);
        if self.goes != RowCount::default() {
            self.events = goes.first().map(|first| (first.place, last.place));
        }
    }
}

impl Stored<'_> {
    /// What stands beside the events of a chain, in order, and the last event that names each body.
    fn beside(&self, chain: ChainId) -> Result<(Vec<Beside>, BTreeMap<Digest, u64>), StoreError> {
        let (digests, bodies) = (self.transaction.open_table(DIGESTS)?, self.transaction.open_table(BODIES)?);
        let (mut beside, mut named) = (Vec::new(), BTreeMap::new());
        let walked = self.walk(chain, |_, checked| {
            for event in &checked.events {
                let place = EventPlace { seq: event.seq, hlc: event.hlc, commit_no: checked.commit.commit_no };
                let (mut row, mut body) = (None, None);
                match placed_fact(event) {
                    Some(Fact::Batch(_)) => {
                        let found =
                            digests.get(&numbered_key(chain, event.seq)[..]).map_err(|error| error.to_string())?;
                        row = found.map(|found| found.value().len() as u64);
                    }
                    Some(Fact::Message(record)) => {
                        if let Some(address) = body_apart(&record) {
                            named.insert(address, event.seq);
                            let found = bodies.get(&address.as_bytes()[..]).map_err(|error| error.to_string())?;
                            body = found.map(|found| (address, found.value().len() as u64));
                        }
                    }
                    Some(_) | None => {}
                }
                if row.is_some() || body.is_some() {
                    beside.push(Beside { place, row, body });
                }
            }
            Ok(())
        });
        walked.map_err(|fault| StoreError::read(fault.reason))?;
        Ok((beside, named))
    }

    /// Bodies that other chains of the same node name: an earlier incarnation's stand in the same table.
    pub(crate) fn named_elsewhere(&self, chain: ChainId) -> Result<BTreeSet<Digest>, StoreError> {
        let mut named = BTreeSet::new();
        let groups = self.transaction.open_table(GROUPS)?;
        for other in self.chains()?.into_iter().filter(|other| other.node == chain.node && *other != chain) {
            let (first, last) = (numbered_key(other, 0), numbered_key(other, u64::MAX));
            for entry in groups.range(&first[..]..=&last[..])? {
                let (key, value) = entry?;
                let view = GroupView::parse(row::body(self.salt, Kind::Group, key.value(), value.value())?)?;
                for event in view.events() {
                    named.extend(index::message_of(event?).and_then(|record| body_apart(&record)));
                }
            }
        }
        Ok(named)
    }

    fn fault_of(
        &self,
        chain: ChainId,
        snapshot: (u64, Snapshot),
        fold: BeginFold,
    ) -> Result<Option<SnapshotFault>, StoreError> {
        match Replay::new([snapshot], fold(chain)) {
            Ok(replay) => Ok(self.replay(chain, replay)?.err()),
            Err(fault) => Ok(Some(fault)),
        }
    }

    /// What an earlier run said that it deletes and did not: rows of events below `to`, and bodies that none from there on names.
    pub(crate) fn unpruned(
        &self,
        chain: ChainId,
        to: u64,
        digests: Vec<u64>,
        named: &BTreeMap<Digest, u64>,
        as_of: u64,
    ) -> Result<Option<PrunedRows>, StoreError> {
        let elsewhere = self.named_elsewhere(chain)?;
        let table = self.transaction.open_table(BODIES)?;
        let mut bodies = Vec::new();
        for (address, _) in named.iter().filter(|(address, last)| **last < to && !elsewhere.contains(*address)) {
            if table.get(&address.as_bytes()[..])?.is_some() {
                bodies.push(*address);
            }
        }
        let rows = PrunedRows { chain, to, digests, bodies, as_of };
        Ok((!rows.digests.is_empty() || !rows.bodies.is_empty()).then_some(rows))
    }
}

impl Writer {
    /// What really goes: no body that was written again since it was looked for.
    pub(crate) fn still_prunable(&self, rows: &PrunedRows, now: &[(Digest, impl AsRef<[u8]>)]) -> PrunedRows {
        let again = |address: &Digest| {
            self.bodies_written.get(address).is_some_and(|written| *written > rows.as_of)
                || now.iter().any(|(written, _)| written == address)
        };
        let bodies = rows.bodies.iter().copied().filter(|address| !again(address)).collect();
        PrunedRows { bodies, ..rows.clone() }
    }
}

/// Deletes rows; what is gone already stays gone.
pub(crate) fn write_pruned(changes: &mut Changes, pruned: &PrunedRows) {
    for seq in &pruned.digests {
        changes.remove(Kind::Digest, &numbered_key(pruned.chain, *seq));
    }
    for address in &pruned.bodies {
        changes.remove(Kind::Body, address.as_bytes());
    }
}
