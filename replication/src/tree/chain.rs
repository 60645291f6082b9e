//! What one chain says of resources, folded in the chain's own order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::limits::{RESOURCE_METADATA_MAX, RESOURCE_VALUE_BYTES_MAX};
use weft_protocol::{AgentName, ChainId, Millionths, Observation, ResourceKind, ResourcePath};

use crate::order::OrderKey;

/// Most resources that one chain tells of: four times the processes that a node can have (guess). Of further ones nothing is
/// known; how many is counted. What is left out depends on the chain alone, so it is the same everywhere.
pub(super) const RECORDS_MAX: usize = 16_384;
/// Most of them that are over (agents that ended, what was removed); the one that is over for the longest goes, with its scores,
/// when one more comes. Four times what a node remembers of exited processes.
pub(super) const ENDED_MAX: usize = 4 * weft_protocol::limits::EXITED_MAX;
/// Most observations of one resource that count of one chain, the newest. With a weight of 0.3 all before them together
/// would have moved a score by less than a millionth.
pub(super) const OBSERVATIONS_MAX: usize = 64;
/// Most intents whose outcome is still to come; the oldest goes when one more comes: twice the processes that a node can have.
const INTENTS_MAX: usize = 2 * weft_protocol::limits::PROCESSES_MAX;
/// Longest key of metadata, in bytes: the longest of a setting has 40.
const KEY_BYTES_MAX: usize = 64;

/// What one chain says of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Since when it is, as what; none when this chain does not say so, or says that it is no more.
    pub(super) made: Option<(OrderKey, ResourceKind)>,
    /// When it was last removed.
    pub(super) removed: Option<OrderKey>,
    /// What was said of it since then, by key.
    pub(super) said: BTreeMap<String, (OrderKey, String)>,
    /// The newest observations, in order.
    pub(super) seen: VecDeque<(OrderKey, Observation, Millionths)>,
    /// The place of the event by which it is over.
    pub(super) ended: Option<u64>,
}

/// What follows when the effect of an intent is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intended {
    pub(super) path: ResourcePath,
    /// The state when it is done.
    pub(super) done: &'static str,
    /// Whether it is the start of a life: without success there is none.
    pub(super) start: bool,
}

/// The fold of one chain up to some event: a pure function of what stands there.
#[derive(Debug)]
pub(super) struct ChainFold {
    pub(super) chain: ChainId,
    /// The place of the first event that was not seen yet.
    pub(super) next_seq: u64,
    pub(super) records: BTreeMap<ResourcePath, Record>,
    pub(super) intents: BTreeMap<u64, Intended>,
    /// What each agent listens to.
    pub(super) subscriptions: BTreeMap<AgentName, BTreeSet<ResourcePath>>,
    pub(super) ended: BTreeSet<(u64, ResourcePath)>,
    /// How many resources have no record.
    pub(super) left_out: u64,
    /// What changed since the last look.
    pub(super) touched: BTreeSet<ResourcePath>,
}

impl ChainFold {
    pub(super) const fn new(chain: ChainId) -> Self {
        Self {
            chain,
            next_seq: 0,
            records: BTreeMap::new(),
            intents: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            ended: BTreeSet::new(),
            left_out: 0,
            touched: BTreeSet::new(),
        }
    }

    /// The record of a resource, begun when there is none; none when there are too many.
    fn record(&mut self, path: &ResourcePath) -> Option<&mut Record> {
        if !self.records.contains_key(path) {
            if self.records.len() >= RECORDS_MAX {
                self.left_out += 1;
                return None;
            }
            self.records.insert(path.clone(), Record::default());
        }
        self.touched.insert(path.clone());
        self.records.get_mut(path)
    }

    /// It is from here on, and nothing said before counts.
    pub(super) fn make<const N: usize>(
        &mut self,
        at: OrderKey,
        path: &ResourcePath,
        kind: ResourceKind,
        said: [(&str, String); N],
    ) {
        self.revive(path);
        let Some(record) = self.record(path) else { return };
        record.made = Some((at, kind));
        record.said.clear();
        for (key, value) in said {
            say(record, at, key, &value);
        }
    }

    /// It is, if it was not.
    pub(super) fn ensure(&mut self, at: OrderKey, path: &ResourcePath, kind: ResourceKind) {
        if self.records.get(path).is_none_or(|record| record.made.is_none()) {
            self.make(at, path, kind, []);
        }
    }

    /// One thing is said of it.
    pub(super) fn say(&mut self, at: OrderKey, path: &ResourcePath, key: &str, value: &str) {
        if let Some(record) = self.record(path) {
            say(record, at, key, value);
        }
    }

    /// What this chain said last of it under a key.
    pub(super) fn said(&self, path: &ResourcePath, key: &str) -> Option<&str> {
        let (_, value) = self.records.get(path)?.said.get(key)?;
        Some(value)
    }

    /// It is no more.
    pub(super) fn remove(&mut self, at: OrderKey, path: &ResourcePath) {
        // Even if this chain did not make it: one of an earlier incarnation may have.
        if let Some(record) = self.record(path) {
            (record.made, record.removed) = (None, Some(at));
            record.said.clear();
        }
        self.end(at.seq, path);
    }

    /// It was observed.
    pub(super) fn observe(&mut self, at: OrderKey, path: &ResourcePath, seen: Observation, weight: Millionths) {
        if let Some(record) = self.record(path) {
            record.seen.push_back((at, seen, weight));
            if record.seen.len() > OBSERVATIONS_MAX {
                record.seen.pop_front();
            }
        }
    }

    /// It is over, and remembered as long as there is room.
    pub(super) fn end(&mut self, seq: u64, path: &ResourcePath) {
        self.revive(path);
        let Some(record) = self.records.get_mut(path) else { return };
        record.ended = Some(seq);
        self.ended.insert((seq, path.clone()));
        if self.ended.len() > ENDED_MAX
            && let Some((_, oldest)) = self.ended.pop_first()
        {
            self.records.remove(&oldest);
            self.touched.insert(oldest);
        }
    }

    /// It is not over.
    pub(super) fn revive(&mut self, path: &ResourcePath) {
        let Some(record) = self.records.get_mut(path) else { return };
        if let Some(seq) = record.ended.take() {
            self.ended.remove(&(seq, path.clone()));
        }
    }

    /// The outcome of this intent is to come.
    pub(super) fn intend(&mut self, seq: u64, intended: Intended) {
        self.intents.insert(seq, intended);
        if self.intents.len() > INTENTS_MAX {
            self.intents.pop_first();
        }
    }
}

/// A key beyond the bound is left out, what is too long is cut.
fn say(record: &mut Record, at: OrderKey, key: &str, value: &str) {
    let key = cut(key, KEY_BYTES_MAX);
    if record.said.len() < RESOURCE_METADATA_MAX || record.said.contains_key(key) {
        record.said.insert(key.to_owned(), (at, cut(value, RESOURCE_VALUE_BYTES_MAX).to_owned()));
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
