//! What all chains together say of each resource: whatever stands later in the order counts.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::RESOURCE_METADATA_MAX;
use weft_protocol::{ChainId, PlacedFact, ResourceEntry, ResourceKind, ResourcePath, Scoring};

use crate::order::OrderKey;
use crate::tree::chain::{ChainFold, Record};
use crate::tree::merkle::MerkleTree;
use crate::tree::names;
use crate::tree::state::FoldedState;

/// Invariant: between two calls from outside nothing waits to be hashed.
#[derive(Debug)]
pub(super) struct Fold {
    said: Said,
    /// Chains of which nobody is told: they are folded further and count for nothing.
    hidden: BTreeMap<ChainId, ChainFold>,
    waiting: BTreeSet<ResourcePath>,
    merkle: MerkleTree,
}

/// All chains. Invariant: `writers` names exactly the chains that have a record of a resource.
#[derive(Debug)]
struct Said {
    chains: BTreeMap<ChainId, ChainFold>,
    writers: BTreeMap<ResourcePath, BTreeSet<ChainId>>,
    genesis: BTreeMap<ResourcePath, ResourceKind>,
}

impl Default for Fold {
    fn default() -> Self {
        let genesis: BTreeMap<_, _> = names::genesis().collect();
        let mut fold = Self {
            hidden: BTreeMap::new(),
            waiting: genesis.keys().cloned().collect(),
            said: Said { chains: BTreeMap::new(), writers: BTreeMap::new(), genesis },
            merkle: MerkleTree::default(),
        };
        fold.settle();
        fold
    }
}

impl Fold {
    pub(super) const fn merkle(&self) -> &MerkleTree {
        &self.merkle
    }

    /// Takes facts of one chain, in its order; [`Fold::settle`] hashes what changed.
    pub(super) fn apply<'a>(&mut self, chain: ChainId, facts: impl IntoIterator<Item = &'a PlacedFact>) {
        let mut facts = facts.into_iter().peekable();
        if let Some(fold) = self.hidden.get_mut(&chain) {
            facts.for_each(|placed| fold.apply(placed));
        } else if facts.peek().is_some() {
            let fold = self.said.chains.entry(chain).or_insert_with(|| ChainFold::new(chain));
            facts.for_each(|placed| fold.apply(placed));
            for path in std::mem::take(&mut fold.touched) {
                if fold.records.contains_key(&path) {
                    self.said.writers.entry(path.clone()).or_default().insert(chain);
                } else {
                    forget_writer(&mut self.said.writers, &path, &chain);
                }
                self.waiting.insert(path);
            }
        }
    }

    /// Takes what a chain says out, for good.
    pub(super) fn forget(&mut self, chain: &ChainId) {
        self.hidden.remove(chain);
        self.take(chain);
        self.settle();
    }

    /// Takes it out until it is shown.
    pub(super) fn hide(&mut self, chain: ChainId) {
        let fold = self.take(&chain).unwrap_or_else(|| ChainFold::new(chain));
        self.hidden.entry(chain).or_insert(fold);
        self.settle();
    }

    /// Puts what is hidden back.
    pub(super) fn show(&mut self, chain: &ChainId) {
        let Some(mut fold) = self.hidden.remove(chain) else { return };
        fold.touched.clear();
        for path in fold.records.keys() {
            self.said.writers.entry(path.clone()).or_default().insert(*chain);
            self.waiting.insert(path.clone());
        }
        self.said.chains.insert(*chain, fold);
        self.settle();
    }

    fn take(&mut self, chain: &ChainId) -> Option<ChainFold> {
        let fold = self.said.chains.remove(chain)?;
        for path in fold.records.keys() {
            forget_writer(&mut self.said.writers, path, chain);
            self.waiting.insert(path.clone());
        }
        Some(fold)
    }

    /// Hashes what changed.
    pub(super) fn settle(&mut self) {
        for path in std::mem::take(&mut self.waiting) {
            let (entry, stands) = self.said.entry(&path);
            self.merkle.put(entry, stands, &|above| self.said.entry(above).0);
        }
    }

    /// What one chain says, counted or hidden.
    pub(super) fn state_of(&self, chain: ChainId) -> FoldedState {
        let fold = self.said.chains.get(&chain).or_else(|| self.hidden.get(&chain));
        fold.map_or_else(|| ChainFold::new(chain).state(), ChainFold::state)
    }

    pub(super) fn left_out(&self) -> u64 {
        self.said.chains.values().map(|fold| fold.left_out).sum()
    }
}

impl Said {
    /// A resource as all chains together say that it is, and whether it is there without anything below it.
    fn entry(&self, path: &ResourcePath) -> (ResourceEntry, bool) {
        let chains = self.writers.get(path).into_iter().flatten();
        let records: Vec<&Record> = chains.filter_map(|chain| self.chains.get(chain)?.records.get(path)).collect();
        let made = records.iter().filter_map(|record| record.made.as_ref()).max_by_key(|(at, _)| *at);
        let removed = records.iter().filter_map(|record| record.removed).max();
        let made = made.filter(|(at, _)| removed.is_none_or(|removed| removed < *at));
        let genesis = self.genesis.get(path);
        let kind = made.map(|(_, kind)| kind).or(genesis).cloned().unwrap_or_else(|| names::implied_kind(path));
        let mut entry = ResourceEntry::new(path.clone(), kind);
        if let Some((since, _)) = made {
            entry.metadata = metadata(&records, *since);
        }
        entry.scoring = scoring(&records);
        (entry, made.is_some() || genesis.is_some())
    }
}

fn forget_writer(writers: &mut BTreeMap<ResourcePath, BTreeSet<ChainId>>, path: &ResourcePath, chain: &ChainId) {
    let Some(chains) = writers.get_mut(path) else { return };
    chains.remove(chain);
    if chains.is_empty() {
        writers.remove(path);
    }
}

/// Under each key what was said last, of what was said since it is; the first keys when there are too many.
fn metadata(records: &[&Record], since: OrderKey) -> BTreeMap<String, String> {
    let mut last: BTreeMap<&str, (OrderKey, &str)> = BTreeMap::new();
    for (key, (at, value)) in records.iter().flat_map(|record| &record.said).filter(|(_, (at, _))| *at >= since) {
        let said = last.entry(key).or_insert((*at, value));
        if said.0 < *at {
            *said = (*at, value);
        }
    }
    let last = last.into_iter().take(RESOURCE_METADATA_MAX);
    last.map(|(key, (_, value))| (key.to_owned(), value.to_owned())).collect()
}

/// All observations blended in their order, beginning from one half.
fn scoring(records: &[&Record]) -> Scoring {
    let mut seen: Vec<_> = records.iter().flat_map(|record| &record.seen).collect();
    seen.sort_unstable_by_key(|(at, _, _)| *at);
    seen.into_iter().fold(Scoring::default(), |scores, (_, seen, weight)| scores.blend(seen, *weight))
}
