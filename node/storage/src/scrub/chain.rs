//! One chain of a pass: verified from its first event, by the steps of a start, some groups at a time.

use redb::ReadOnlyTable;
use weft_protocol::{ChainId, ChainState, CheckedGroup, Fact, NewTraces, names_of_leaf};

use super::{CHAIN_WEIGHT, Damage, Running};
use crate::error::StoreError;
use crate::index::{self, Place, WHOLE_EVENT};
use crate::recover::{Stored, compare_with_head, placed_fact};
use crate::row::{self, GroupView, Kind, StoredHead, numbered_key, split_numbered_key};
use crate::table::{DIGESTS, GROUPS, INDEX};
use crate::verify::{UNLIKE_ITS_EVENT, digest_of};

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Where a pass stands in one chain.
#[derive(Debug, Clone)]
pub(crate) struct ChainPass {
    chain: ChainId,
    /// Verified up to here.
    state: Option<ChainState>,
    /// The number of the next commit that is read. Behind the first damage, which ends what can be verified, only the rows are
    /// checked.
    next: u64,
}

/// The tables beside the groups.
struct Beside {
    digests: Rows,
    index: Rows,
}

impl ChainPass {
    pub(crate) const fn new(chain: ChainId) -> Self {
        Self { chain, state: None, next: 0 }
    }

    pub(crate) const fn chain(&self) -> ChainId {
        self.chain
    }

    pub(crate) const fn next_commit(&self) -> u64 {
        self.next
    }

    fn verified(&self) -> u64 {
        self.state.as_ref().map_or(0, ChainState::commits)
    }

    const fn damage(&self, table: &'static str, commit: u64, reason: String) -> Damage {
        Damage { table, chain: Some(self.chain), commit: Some(commit), reason, before: None }
    }

    /// Reads on; whether the chain has ended.
    pub(super) fn advance(&mut self, stored: &Stored<'_>, running: &mut Running) -> Result<bool, StoreError> {
        let head = stored.head(self.chain)?;
        let groups = stored.transaction.open_table(GROUPS)?;
        if !self.continues(stored, &groups, head.as_ref())? {
            *self = Self::new(self.chain);
        }
        let beside =
            Beside { digests: stored.transaction.open_table(DIGESTS)?, index: stored.transaction.open_table(INDEX)? };
        let (first, last) = (numbered_key(self.chain, self.next), numbered_key(self.chain, u64::MAX));
        for entry in groups.range(&first[..]..=&last[..])? {
            if running.is_full() {
                return Ok(false);
            }
            let (key, value) = entry?;
            running.read(value.value().len(), CHAIN_WEIGHT);
            self.group(stored, &beside, key.value(), value.value(), running)?;
        }
        self.end(head.as_ref(), running);
        Ok(true)
    }

    /// Whether what was verified is still the beginning of the chain: it may have been cut meanwhile, and may have grown again.
    fn continues(&self, stored: &Stored<'_>, groups: &Rows, head: Option<&StoredHead>) -> Result<bool, StoreError> {
        let Some(state) = &self.state else {
            return Ok(self.next == 0 || head.is_some_and(|it| it.commits >= self.next));
        };
        if head.is_none_or(|head| head.commits < self.next) {
            return Ok(false);
        }
        let Some(last) = state.commits().checked_sub(1) else { return Ok(true) };
        let key = numbered_key(self.chain, last);
        let Some(value) = groups.get(&key[..])? else { return Ok(false) };
        let view = row::body(stored.salt, Kind::Group, &key, value.value()).and_then(GroupView::parse);
        Ok(view.is_ok_and(|view| view.signed().hash() == state.last_commit()))
    }

    fn group(
        &mut self,
        stored: &Stored<'_>,
        beside: &Beside,
        key: &[u8],
        value: &[u8],
        running: &mut Running,
    ) -> Result<(), StoreError> {
        let (_, commit_no) = split_numbered_key(key)?;
        if self.next > self.verified() {
            self.row_alone(stored, commit_no, key, value, running);
            return Ok(());
        }
        let before = self.state.clone();
        match stored.step(self.chain, &mut self.state, key, value) {
            Ok(checked) => {
                self.next += 1;
                self.beside(stored, beside, &checked, running)
            }
            Err(fault) => {
                let damage = self.damage("groups", fault.first_bad_commit, fault.reason);
                running.find(Damage { before: before.map(Box::new), ..damage });
                self.next = commit_no.max(self.next) + 1;
                Ok(())
            }
        }
    }

    /// Behind damage: nothing but that each row is as it was written, and that none is missing.
    fn row_alone(&mut self, stored: &Stored<'_>, commit_no: u64, key: &[u8], value: &[u8], running: &mut Running) {
        if commit_no > self.next {
            running.find(self.damage("groups", self.next, "a group is missing".to_owned()));
        }
        if let Err(error) = row::body(stored.salt, Kind::Group, key, value).and_then(GroupView::parse) {
            running.find(self.damage("groups", commit_no, error.to_string()));
        }
        self.next = commit_no + 1;
    }

    fn end(&self, head: Option<&StoredHead>, running: &mut Running) {
        if self.next == self.verified() {
            if let Err(fault) = compare_with_head(self.state.clone(), head) {
                let damage = self.damage("groups", fault.first_bad_commit, fault.reason);
                running.find(Damage { before: self.state.clone().map(Box::new), ..damage });
            }
        } else if head.is_none_or(|head| head.commits != self.next) {
            running.find(self.damage("groups", self.next, "it does not end where its head says".to_owned()));
        }
    }

    /// What stands beside the events of a group: rows with leaves, and the keys by which messages are found.
    fn beside(
        &self,
        stored: &Stored<'_>,
        beside: &Beside,
        checked: &CheckedGroup,
        running: &mut Running,
    ) -> Result<(), StoreError> {
        let commit = checked.commit.commit_no;
        for event in &checked.events {
            if let Some(Fact::Message(record)) = placed_fact(event) {
                let place = Place { chain: self.chain, seq: event.seq, leaf: WHOLE_EVENT };
                let keys = index::keys(&mut NewTraces::default(), record.message, record.trace, place);
                self.found_by(beside, keys, commit, event.seq, running)?;
            }
        }
        let first_seq = checked.commit.first_seq;
        let (first, last) = (numbered_key(self.chain, first_seq), numbered_key(self.chain, checked.commit.tree_size));
        for entry in beside.digests.range(&first[..]..&last[..])? {
            let (key, value) = entry?;
            running.read(value.value().len(), CHAIN_WEIGHT);
            let (_, seq) = split_numbered_key(key.value())?;
            let body = match row::body(stored.salt, Kind::Digest, key.value(), value.value()) {
                Ok(body) => body,
                Err(error) => {
                    running.find(self.damage("digests", commit, error.to_string()));
                    continue;
                }
            };
            let event = usize::try_from(seq - first_seq).ok().and_then(|at| checked.events.get(at));
            // A row of no batch belongs to nothing, and nobody reads it.
            let Some(Fact::Batch(batch)) = event.and_then(placed_fact) else { continue };
            let Some(digest) = digest_of(&batch, body) else {
                running.find(self.damage("digests", commit, UNLIKE_ITS_EVENT.to_owned()));
                continue;
            };
            let mut traces = NewTraces::default();
            for (leaf, bytes) in (0..).zip(digest.records.iter()) {
                let Some((message, trace)) = names_of_leaf(self.chain, bytes) else { continue };
                let keys = index::keys(&mut traces, message, trace, Place { chain: self.chain, seq, leaf });
                self.found_by(beside, keys, commit, seq, running)?;
            }
        }
        Ok(())
    }

    /// Whether these keys of the index are there.
    fn found_by(
        &self,
        beside: &Beside,
        keys: impl Iterator<Item = Vec<u8>>,
        commit: u64,
        seq: u64,
        running: &mut Running,
    ) -> Result<(), StoreError> {
        for key in keys {
            running.bytes += key.len() as u64;
            if beside.index.get(&key[..])?.is_none() {
                let reason = format!("the index does not find a message of event {seq}");
                running.find(self.damage("index", commit, reason));
            }
        }
        Ok(())
    }
}
