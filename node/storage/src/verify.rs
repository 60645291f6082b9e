//! The full check of what is stored, for people: every chain from its first event, every digest against its event.

use std::collections::BTreeMap;

use redb::ReadableTable;
use weft_protocol::{
    Blake3, ChainId, ChainState, ClusterId, Digest, DigestRow, Fact, MessageBatch, MessageRecord, decode, root,
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
    /// the whole store and keeps none of it.
    ///
    /// # Errors
    /// [`StoreError::Read`] when the database itself cannot be read; damage inside a chain is in its report.
    pub fn verify_all(&self) -> Result<VerifyReport, StoreError> {
        // One transaction sees all; the heads are read from it, not from what is being written meanwhile.
        self.reading(|transaction| {
            let stored = Stored { transaction, salt: &self.salt };
            let heads = stored.heads()?;
            let mut chains = stored.chains()?;
            chains.extend(heads.keys());
            let report = |chain| verify_chain(&stored, chain, heads.get(&chain));
            let mut report = VerifyReport { chains: chains.into_iter().map(report).collect::<Result<_, _>>()? };
            count_lost_index_rows(&stored, &heads, &mut report)?;
            Ok(report)
        })
    }
}

fn verify_chain(stored: &Stored<'_>, chain: ChainId, head: Option<&StoredHead>) -> Result<ChainReport, StoreError> {
    let mut audit = Audit::new(chain);
    let digests = stored.transaction.open_table(DIGESTS)?;
    let walked = stored.walk(chain, |state, checked| {
        let commit_no = checked.commit.commit_no;
        for event in &checked.events {
            match placed_fact(event) {
                Some(Fact::Batch(batch)) => {
                    let key = numbered_key(chain, event.seq);
                    let row = digests.get(&key[..]).map_err(|error| error.to_string())?;
                    let row =
                        row.as_ref().map(|row| row::body(stored.salt, Kind::Digest, &key, row.value())).transpose();
                    audit.digest(commit_no, &batch, row.map_err(|error| error.to_string())?);
                }
                Some(Fact::Message(record)) => audit.message(commit_no, &record),
                Some(_) | None => {}
            }
        }
        audit.passed(state);
        Ok(())
    });
    let fault = walked.and_then(|state| compare_with_head(state, head)).err();
    audit.bodies(stored);
    let digest_rows = stored.digest_places(chain)?.len() as u64;
    let mut report = audit.finish(fault);
    report.orphans = digest_rows.saturating_sub(report.digests);
    Ok(report)
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
                orphans: 0,
                fault: None,
            },
            apart: BTreeMap::new(),
        }
    }

    /// A digest that should match its event; none when it was pruned.
    pub(crate) fn digest(&mut self, commit_no: u64, batch: &MessageBatch, row: Option<&[u8]>) {
        let Some(body) = row else { return };
        let good = decode::<DigestRow>(body, BODY_BYTES_MAX).is_ok_and(|row| {
            let leaves = row.records.hashes();
            batch.count == leaves.len() as u64 && batch.root == root::<Blake3>(&leaves)
        });
        if good {
            self.report.digests += 1;
        } else {
            let reason = "a digest does not match the root in its event".to_owned();
            self.report.fault.get_or_insert(ChainFault { first_bad_commit: commit_no, reason });
        }
    }

    /// An event of a message that may name a body beside it.
    pub(crate) fn message(&mut self, commit_no: u64, record: &MessageRecord) {
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
