//! The state of one chain as one value: what its fold goes on from, and the hash that a snapshot names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weft_protocol::{
    AgentName, ChainId, Digest, Hlc, Millionths, Observation, PlacedFact, ResourceKind, ResourcePath, StateFold,
    encode, hash,
};

use crate::order::OrderKey;
use crate::tree::chain::{ChainFold, Intended, Record};

/// Where something was said on the chain: its stamp and its place.
type At = (Hlc, u64);

/// Everything on which the fold of later events depends: a fold that goes on from it ends as one over all events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedState {
    chain: ChainId,
    records: Vec<SaidOf>,
    /// The place of each intent whose outcome is to come.
    intents: Vec<(u64, Intent)>,
    subscriptions: BTreeMap<AgentName, Vec<ResourcePath>>,
    left_out: u64,
}

/// What the chain says of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SaidOf {
    path: ResourcePath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<(At, ResourceKind)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed: Option<At>,
    said: BTreeMap<String, (At, String)>,
    seen: Vec<(At, Observation, Millionths)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Intent {
    path: ResourcePath,
    done: String,
    start: bool,
}

impl FoldedState {
    /// `H("chain-state", state)`.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash("chain-state", &[&encode(self)])
    }
}

const fn at(key: &OrderKey) -> At {
    (key.hlc, key.seq)
}

impl ChainFold {
    /// What later events are folded onto.
    pub(super) fn state(&self) -> FoldedState {
        let record = |(path, record): (&ResourcePath, &Record)| SaidOf {
            path: path.clone(),
            made: record.made.as_ref().map(|(key, kind)| (at(key), kind.clone())),
            removed: record.removed.as_ref().map(at),
            said: record.said.iter().map(|(key, (said, value))| (key.clone(), (at(said), value.clone()))).collect(),
            seen: record.seen.iter().map(|(key, seen, weight)| (at(key), *seen, *weight)).collect(),
            ended: record.ended,
        };
        let intent = |(seq, intended): (&u64, &Intended)| {
            let Intended { path, done, start } = intended;
            (*seq, Intent { path: path.clone(), done: (*done).to_owned(), start: *start })
        };
        let subscriptions = self.subscriptions.iter();
        FoldedState {
            chain: self.chain,
            records: self.records.iter().map(record).collect(),
            intents: self.intents.iter().map(intent).collect(),
            subscriptions: subscriptions.map(|(agent, all)| (agent.clone(), all.iter().cloned().collect())).collect(),
            left_out: self.left_out,
        }
    }

    /// The fold of a chain that has come to this state with its first `size` events; none when no fold comes to it.
    pub(super) fn resume(state: &FoldedState, size: u64) -> Option<Self> {
        let key = |(hlc, seq): &At| OrderKey::new(state.chain, *seq, *hlc);
        let mut fold = Self::new(state.chain);
        fold.next_seq = size;
        fold.left_out = state.left_out;
        for SaidOf { path, made, removed, said, seen, ended } in &state.records {
            fold.ended.extend(ended.map(|seq| (seq, path.clone())));
            let record = Record {
                made: made.as_ref().map(|(at, kind)| (key(at), kind.clone())),
                removed: removed.as_ref().map(key),
                said: said.iter().map(|(word, (at, value))| (word.clone(), (key(at), value.clone()))).collect(),
                seen: seen.iter().map(|(at, seen, weight)| (key(at), *seen, *weight)).collect(),
                ended: *ended,
            };
            fold.records.insert(path.clone(), record);
        }
        for (seq, Intent { path, done, start }) in &state.intents {
            let done = ["running", "suspended"].into_iter().find(|word| word == done)?;
            fold.intents.insert(*seq, Intended { path: path.clone(), done, start: *start });
        }
        for (agent, all) in &state.subscriptions {
            fold.subscriptions.insert(agent.clone(), all.iter().cloned().collect());
        }
        Some(fold)
    }
}

/// The fold of one chain by itself: what a snapshot of it is compared with.
#[derive(Debug)]
pub struct StateOfChain(ChainFold);

impl StateOfChain {
    /// Before the first event.
    #[must_use]
    pub fn of(chain: ChainId) -> Self {
        Self(ChainFold::new(chain))
    }

    /// Begins a fold for whoever reads chains without knowing what they mean.
    #[must_use]
    pub fn begin(chain: ChainId) -> Box<dyn StateFold> {
        Box::new(Self::of(chain))
    }

    /// The chain stood so with its first `size` events; none when no chain does.
    #[must_use]
    pub fn resumed(state: &FoldedState, size: u64) -> Option<Self> {
        ChainFold::resume(state, size).map(Self)
    }

    /// Where the chain stands.
    #[must_use]
    pub fn state(&self) -> FoldedState {
        self.0.state()
    }
}

impl StateFold for StateOfChain {
    fn apply(&mut self, placed: &PlacedFact) {
        self.0.apply(placed);
        // Nobody looks at what changed.
        self.0.touched.clear();
    }

    fn state_hash(&self) -> Digest {
        self.state().hash()
    }
}
