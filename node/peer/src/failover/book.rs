//! What all chains say about agents that outlive their nodes: a function of the set of facts that are held.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::{FENCE_AHEAD_MAX, FENCES_MAX};
use weft_protocol::{
    AgentName, ChainId, EpochId, Fact, FailoverDeclared, FenceEnd, FenceGranted, FenceHeld, FenceReleased, Hlc,
};

/// Most fences of one agent whose grants are remembered, the latest: what was granted before ran out long ago (guess: more
/// than are granted in the time of a few leases).
const REMEMBERED_MAX: usize = 64;

/// What is to run, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) by: ChainId,
    pub(crate) hlc: Hlc,
    pub(crate) said: FailoverDeclared,
}

/// All that is known of one agent.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    declared: Option<Declared>,
    /// Who granted each fence to whom, and in which epoch.
    grants: BTreeMap<u64, BTreeMap<ChainId, (ChainId, EpochId)>>,
    /// Who held which fence, and since when.
    held: BTreeMap<u64, (ChainId, Hlc)>,
    released: BTreeMap<(u64, ChainId), (FenceEnd, Hlc)>,
}

impl Entry {
    /// The highest fence that was granted to anybody, and to whom; zero before the first.
    pub(crate) fn top(&self) -> (u64, Option<ChainId>) {
        let last = self.grants.last_key_value();
        last.map_or((0, None), |(fence, by)| (*fence, by.values().next().map(|(holder, _)| *holder)))
    }

    /// The highest fence that was held, and by whom.
    pub(crate) fn held(&self) -> Option<(u64, ChainId)> {
        self.held.last_key_value().map(|(fence, (holder, _))| (*fence, *holder))
    }

    /// Everybody who held a fence.
    pub(crate) fn holders(&self) -> impl Iterator<Item = weft_protocol::NodeId> {
        self.held.values().map(|(holder, _)| holder.node)
    }

    /// Since when a fence was held.
    pub(crate) fn held_since(&self, fence: u64) -> Hlc {
        self.held.get(&fence).map_or(super::NEVER, |(_, since)| *since)
    }

    /// The last fence that this chain held.
    pub(crate) fn last_held_by(&self, chain: &ChainId) -> Option<u64> {
        self.held.iter().rev().find(|(_, (holder, _))| holder == chain).map(|(fence, _)| *fence)
    }

    /// How the holder of a fence gave it up in writing.
    pub(crate) fn released(&self, fence: u64, holder: &ChainId) -> Option<&FenceEnd> {
        self.released.get(&(fence, *holder)).map(|(end, _)| end)
    }

    /// What is to run, unless its last holder said that it ended.
    pub(crate) fn open(&self) -> Option<&Declared> {
        let declared = self.declared.as_ref()?;
        let ended = self.held().and_then(|held| self.released.get(&held));
        let ended = ended.is_some_and(|(end, hlc)| *end == FenceEnd::Ended && *hlc > declared.hlc);
        (!ended).then_some(declared)
    }

    /// Nodes that said that they cannot run what is to run.
    pub(crate) fn unfit(&self) -> BTreeSet<weft_protocol::NodeId> {
        let since = self.declared.as_ref().map_or(super::NEVER, |declared| declared.hlc);
        let unfit = self.released.iter().filter(|(_, (end, hlc))| matches!(end, FenceEnd::Unfit(_)) && *hlc > since);
        unfit.map(|((_, holder), _)| holder.node).collect()
    }

    /// Whether a fence was granted to anybody in another epoch than this.
    pub(crate) fn granted_outside(&self, fence: u64, epoch: EpochId) -> bool {
        self.grants.get(&fence).is_some_and(|by| by.values().any(|(_, of)| *of != epoch))
    }

    /// Whether somebody else than this holder was granted a fence in another epoch and did not give it up in writing.
    /// What was granted before a fence that is held is not asked about: its holder was let in when that had run out. It counts as
    /// held when as many granted it as are more than half of those who count now.
    pub(crate) fn owed_outside(&self, holder: &ChainId, epoch: EpochId, counting: usize) -> bool {
        let supported = |(fence, (by, _)): &(&u64, &(ChainId, Hlc))| {
            let grants = self.grants.get(fence).into_iter().flat_map(BTreeMap::values);
            grants.filter(|(to, _)| to == by).count() * 2 > counting
        };
        let first = self.held.iter().rev().find(supported).map_or(0, |(fence, _)| *fence);
        self.grants.range(first..).any(|(fence, by)| {
            let owed = |(other, of): &(ChainId, EpochId)| {
                of != &epoch && other != holder && self.released(*fence, other).is_none()
            };
            by.values().any(owed)
        })
    }

    /// What one chain granted last.
    pub(crate) fn last_of(&self, granter: &ChainId) -> Option<(u64, ChainId, EpochId)> {
        let mut grants = self.grants.iter().rev();
        grants.find_map(|(fence, by)| by.get(granter).map(|(holder, epoch)| (*fence, *holder, *epoch)))
    }

    fn granted(&mut self, by: ChainId, granted: &FenceGranted) {
        let top = self.top().0;
        if granted.fence > top.saturating_add(FENCE_AHEAD_MAX) {
            return;
        }
        let fence = self.grants.entry(granted.fence).or_default();
        fence.insert(by, (granted.holder, granted.epoch));
        while self.grants.len() > REMEMBERED_MAX {
            self.grants.pop_first();
        }
        let first = self.grants.first_key_value().map_or(0, |(fence, _)| *fence);
        self.released.retain(|(fence, _), _| *fence >= first);
    }
}

/// Invariant: at most [`FENCES_MAX`] agents; of a further one nothing is known, and no fence is granted.
#[derive(Debug, Default)]
pub(crate) struct Book {
    agents: BTreeMap<AgentName, Entry>,
}

impl Book {
    /// Takes in what a chain says.
    pub(crate) fn learn(&mut self, chain: ChainId, hlc: Hlc, fact: &Fact) {
        match fact {
            Fact::FailoverDeclared(declared) => {
                let Some(entry) = self.entry(&declared.spec.agent) else { return };
                let newer = |known: &Declared| (known.hlc, known.by) < (hlc, chain);
                if entry.declared.as_ref().is_none_or(newer) {
                    entry.declared = Some(Declared { by: chain, hlc, said: (**declared).clone() });
                }
            }
            Fact::FenceGranted(granted) => {
                if let Some(entry) = self.entry(&granted.agent) {
                    entry.granted(chain, granted);
                }
            }
            Fact::FenceHeld(FenceHeld { agent, fence, .. }) => {
                if let Some(entry) = self.entry(agent) {
                    entry.held.insert(*fence, (chain, hlc));
                    while entry.held.len() > REMEMBERED_MAX {
                        entry.held.pop_first();
                    }
                }
            }
            Fact::FenceReleased(FenceReleased { agent, fence, end }) => {
                if let Some(entry) = self.entry(agent) {
                    entry.released.insert((*fence, chain), (end.clone(), hlc));
                }
            }
            _ => {}
        }
    }

    fn entry(&mut self, agent: &AgentName) -> Option<&mut Entry> {
        if !self.agents.contains_key(agent) && self.agents.len() >= FENCES_MAX {
            return None;
        }
        Some(self.agents.entry(agent.clone()).or_default())
    }

    pub(crate) fn get(&self, agent: &AgentName) -> Option<&Entry> {
        self.agents.get(agent)
    }

    /// Whether nothing more is taken in.
    pub(crate) fn is_full_for(&self, agent: &AgentName) -> bool {
        !self.agents.contains_key(agent) && self.agents.len() >= FENCES_MAX
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AgentName, &Entry)> {
        self.agents.iter()
    }
}

/// Whether a fact is one of those.
pub(crate) const fn is_of_failover(fact: &Fact) -> bool {
    matches!(fact, Fact::FailoverDeclared(_) | Fact::FenceGranted(_) | Fact::FenceHeld(_) | Fact::FenceReleased(_))
}
