//! The full check of what is stored, for people: every chain from its first event, every digest against its event, every
//! snapshot against what its chain comes to.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;
use weft_protocol::{
    BeginFold, Blake3, ChainId, ChainState, ClusterId, Digest, DigestRow, Fact, MessageBatch, MessageRecord, Replay,
    Snapshot, SnapshotFault, StateFold, decode, root,
};

use crate::error::StoreError;
use crate::index;
use crate::recover::{Stored, compare_with_head, placed_fact};
use crate::row::{self, BODY_BYTES_MAX, Kind, StoredHead, numbered_key};
use crate::store::Store;
use crate::table::{DIGESTS, INDEX};

/// The first thing found wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFault {
    /// Number of the first commit that is not good; what comes before it is.
    pub first_bad_commit: u64,
    /// What is wrong.
    pub reason: String,
}

/// What is held of one chain, as far as it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Which.
    pub chain: ChainId,
    /// The cluster it belongs to; none when not even its first event is good.
    pub cluster: Option<ClusterId>,
    /// Good commits.
    pub commits: u64,
    /// Good events.
    pub events: u64,
    /// Good commits with both signatures.
    pub checkpoints: u64,
    /// Events under the last of them.
    pub sealed_events: u64,
    /// Root over the good events.
    pub root: Option<Digest>,
    /// Hash of the last good commit.
    pub last_commit: Option<Digest>,
    /// Digests that match their event.
    pub digests: u64,
    /// Bodies beside events of durable messages, each what its event names.
    pub bodies: u64,
    /// Bodies that events name and that are not here: a node holds those of its own chain alone.
    pub absent_bodies: u64,
    /// Snapshots that say what their chain comes to.
    pub snapshots: u64,
    /// Rows with leaves of plain messages that the chain says were deleted, and that are not here.
    pub pruned: u64,
    /// Digests without an event, and index rows that lead nowhere.
    pub orphans: u64,
    /// What is wrong, when something is.
    pub fault: Option<ChainFault>,
}

/// All chains of a store or of an export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// One report each, in the order of the chain ids.
    pub chains: Vec<ChainReport>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.chains.iter().all(|chain| chain.fault.is_none())
    }
}

impl Store {
    /// Verifies everything: all signatures, links, roots and clocks of all chains, and each digest against its event. Reads
    /// the whole store and keeps none of it. Chains with snapshots are read twice, and folded by `fold`.
    ///
    /// # Errors
    /// [`StoreError::Read`] when the database itself cannot be read; damage inside a chain is in its report.
    pub fn verify_all(&self, fold: BeginFold) -> Result<VerifyReport, StoreError> {
        // One transaction sees all; the heads are read from it, not from what is being written meanwhile.
        self.reading(|transaction| {
            let stored = Stored { transaction, salt: &self.salt };
            let heads = stored.heads()?;
            let mut chains = stored.chains()?;
            chains.extend(heads.keys());
            let report = |chain| verify_chain(&stored, chain, heads.get(&chain), fold);
            let mut report = VerifyReport { chains: chains.into_iter().map(report).collect::<Result<_, _>>()? };
            count_lost_index_rows(&stored, &heads, &mut report)?;
            Ok(report)
        })
    }
}

fn verify_chain(
    stored: &Stored<'_>,
    chain: ChainId,
    head: Option<&StoredHead>,
    fold: BeginFold,
) -> Result<ChainReport, StoreError> {
    let mut audit = Audit::new(chain);
    let digests = stored.transaction.open_table(DIGESTS)?;
    let walked = stored.walk(chain, |state, checked| {
        let commit_no = checked.commit.commit_no;
        for event in &checked.events {
            let fact = placed_fact(event);
            if let Some(Fact::Batch(batch)) = &fact {
                let key = numbered_key(chain, event.seq);
                let row = digests.get(&key[..]).map_err(|error| error.to_string())?;
                let row = row.as_ref().map(|row| row::body(stored.salt, Kind::Digest, &key, row.value())).transpose();
                if let Some(row) = row.map_err(|error| error.to_string())? {
                    audit.digest(commit_no, batch, row);
                } else {
                    audit.lacks(event.seq);
                }
            }
            if let Some(fact) = fact {
                audit.said(event.seq, commit_no, fact);
            }
        }
        audit.passed(state);
        Ok(())
    });
    let fault = walked.and_then(|state| compare_with_head(state, head)).err();
    audit.bodies(stored);
    if let Some(replay) = audit.replay(fold(chain)) {
        audit.replayed(stored.replay(chain, replay)?);
    }
    let digest_rows = stored.digest_places(chain)?.len() as u64;
    let mut report = audit.finish(fault);
    report.orphans = digest_rows.saturating_sub(report.digests);
    Ok(report)
}

/// What is said of a row with leaves that is not the one its event was recorded with.
pub(crate) const UNLIKE_ITS_EVENT: &str = "a digest does not match the root in its event";

/// The leaves in the body of a row, when they are those of this event.
pub(crate) fn digest_of(batch: &MessageBatch, body: &[u8]) -> Option<DigestRow> {
    let row = decode::<DigestRow>(body, BODY_BYTES_MAX).ok()?;
    let leaves = row.records.hashes();
    (batch.count == leaves.len() as u64 && batch.root == root::<Blake3>(&leaves)).then_some(row)
}

/// The name of the body of a message that does not fit into its event.
pub(crate) fn body_apart(record: &MessageRecord) -> Option<Digest> {
    (record.body.is_none() && record.body_bytes > 0).then_some(record.body_hash)
}

/// Collects what is good of one chain.
pub(crate) struct Audit {
    report: ChainReport,
    /// The commit of each body that does not fit into its event, by the hash that the event names.
    apart: BTreeMap<Digest, u64>,
    /// The batches without a row.
    lacking: BTreeSet<u64>,
    /// Rows of events below this place were deleted, the chain says.
    pruned_to: u64,
    /// By its place each snapshot and its commit.
    snapshots: BTreeMap<u64, (u64, Snapshot)>,
}

impl Audit {
    pub(crate) fn new(chain: ChainId) -> Self {
        Self {
            report: ChainReport {
                chain,
                cluster: None,
                commits: 0,
                events: 0,
                checkpoints: 0,
                sealed_events: 0,
                root: None,
                last_commit: None,
                digests: 0,
                bodies: 0,
                absent_bodies: 0,
                snapshots: 0,
                pruned: 0,
                orphans: 0,
                fault: None,
            },
            apart: BTreeMap::new(),
            lacking: BTreeSet::new(),
            pruned_to: 0,
            snapshots: BTreeMap::new(),
        }
    }

    /// An event and what it says.
    pub(crate) fn said(&mut self, seq: u64, commit_no: u64, fact: Fact) {
        match fact {
            Fact::Message(record) => self.message(commit_no, &record),
            Fact::Snapshot(snapshot) => drop(self.snapshots.insert(seq, (commit_no, *snapshot))),
            Fact::Pruned(pruned) => self.pruned_to = self.pruned_to.max(pruned.to),
            _ => {}
        }
    }

    /// A batch has no row: it was pruned, or is another node's.
    pub(crate) fn lacks(&mut self, seq: u64) {
        self.lacking.insert(seq);
    }

    /// What compares the snapshots with their chain; none without any.
    pub(crate) fn replay(&mut self, fold: Box<dyn StateFold>) -> Option<Replay> {
        if self.snapshots.is_empty() {
            return None;
        }
        let snapshots = self.snapshots.iter().map(|(seq, (_, snapshot))| (*seq, snapshot.clone()));
        let replay = Replay::new(snapshots, fold);
        replay.map_err(|fault| self.replayed(Err(fault))).ok()
    }

    /// All snapshots were compared, or one is wrong.
    pub(crate) fn replayed(&mut self, outcome: Result<(), SnapshotFault>) {
        match outcome {
            Ok(()) => self.report.snapshots = self.snapshots.len() as u64,
            Err(fault) => {
                let first_bad_commit = self.snapshots.get(&fault.seq).map_or(0, |(commit_no, _)| *commit_no);
                self.report.fault.get_or_insert(ChainFault { first_bad_commit, reason: fault.to_string() });
            }
        }
    }

    /// A digest that should match its event.
    pub(crate) fn digest(&mut self, commit_no: u64, batch: &MessageBatch, body: &[u8]) {
        if digest_of(batch, body).is_some() {
            self.report.digests += 1;
        } else {
            let reason = UNLIKE_ITS_EVENT.to_owned();
            self.report.fault.get_or_insert(ChainFault { first_bad_commit: commit_no, reason });
        }
    }

    /// An event of a message that may name a body beside it.
    fn message(&mut self, commit_no: u64, record: &MessageRecord) {
        if let Some(address) = body_apart(record) {
            self.apart.entry(address).or_insert(commit_no);
        }
    }

    /// A body that is what its name says; false when no event names it.
    pub(crate) fn body(&mut self, address: &Digest) -> bool {
        let named = self.apart.remove(address).is_some();
        self.report.bodies += u64::from(named);
        named
    }

    /// Looks for every body that an event names.
    fn bodies(&mut self, stored: &Stored<'_>) {
        for (address, commit_no) in self.apart.clone() {
            match stored.body(&address) {
                Ok(Some(_)) => drop(self.body(&address)),
                Ok(None) => {}
                Err(error) => {
                    let reason = format!("the body beside an event: {error}");
                    self.report.fault.get_or_insert(ChainFault { first_bad_commit: commit_no, reason });
                }
            }
        }
    }

    /// A group passed every check.
    pub(crate) fn passed(&mut self, state: &ChainState) {
        self.report.cluster = Some(state.cluster());
        self.report.commits = state.commits();
        self.report.events = state.size();
        self.report.checkpoints = state.checkpoints();
        self.report.sealed_events = state.sealed_size();
        self.report.root = Some(state.root());
        self.report.last_commit = Some(state.last_commit());
    }

    /// The report; a fault of the chain itself goes before one of its digests.
    pub(crate) fn finish(mut self, fault: Option<ChainFault>) -> ChainReport {
        self.report.absent_bodies = self.apart.len() as u64;
        self.report.pruned = self.lacking.range(..self.pruned_to).count() as u64;
        self.report.fault = fault.or(self.report.fault);
        self.report
    }
}

fn count_lost_index_rows(
    stored: &Stored<'_>,
    heads: &BTreeMap<ChainId, StoredHead>,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let indexed = stored.transaction.open_table(INDEX)?;
    for entry in indexed.iter()? {
        let Some(place) = index::place(entry?.0.value()) else { continue };
        let held = heads.get(&place.chain).is_some_and(|head| place.seq < head.size);
        let chain = report.chains.iter_mut().find(|chain| chain.chain == place.chain);
        if let (false, Some(chain)) = (held, chain) {
            chain.orphans += 1;
        }
    }
    Ok(())
}
