//! What is proven against whom, and how much of each forked chain still counts.

use std::collections::BTreeMap;

use weft_protocol::{ChainId, Evidence, NodeId};

use crate::config::CHAINS_MAX;
use crate::fork::ForkVerdict;

/// Two histories of one chain.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) evidence: Evidence,
    pub(crate) verdict: ForkVerdict,
    /// Whether the world and other members were told.
    pub(crate) reported: bool,
    /// Whether what does not count is being taken out of the store.
    pub(crate) cutting: bool,
    /// What more than half of the members have vouched for behind the place where the histories part.
    pub(crate) floor: Floor,
    /// How far more than half had come, whatever they vouch for, when that was last looked into.
    pub(crate) weighed: Option<u64>,
}

/// See MEMBERSHIP, Evidence: what more than half had anchored is never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Floor {
    /// Too few vouch for anything behind the parting.
    #[default]
    None,
    /// Hashes of our commits are being read, to see which history they vouch for.
    Weighing,
    /// They vouch for the history that is held here, up to this commit.
    Held(u64),
    /// They vouch for the other one, up to this commit: it is fetched in place of ours.
    Other(u64),
}

impl Proof {
    /// How many commits of the chain count; none while only the guilt is proven and not where the histories part, or while it is
    /// being weighed.
    pub(crate) const fn limit(&self) -> Option<u64> {
        match (self.verdict.shared_commits(), self.floor) {
            (None, _) | (_, Floor::Weighing) => None,
            (Some(shared), Floor::None) => Some(shared),
            (Some(_), Floor::Held(commit_no) | Floor::Other(commit_no)) => Some(commit_no + 1),
        }
    }
}

/// Every fork that is proven, by the best evidence that was seen, and forks that others say they have seen.
/// Invariant: at most [`CHAINS_MAX`] of either.
#[derive(Debug, Default)]
pub(crate) struct Forks {
    proven: BTreeMap<ChainId, Proof>,
    told: BTreeMap<ChainId, (bool, u64, NodeId)>,
}

impl Forks {
    pub(crate) fn get(&self, chain: &ChainId) -> Option<&Proof> {
        self.proven.get(chain)
    }

    pub(crate) fn get_mut(&mut self, chain: &ChainId) -> Option<&mut Proof> {
        self.proven.get_mut(chain)
    }

    pub(crate) fn contains(&self, chain: &ChainId) -> bool {
        self.proven.contains_key(chain)
    }

    /// Whether what does not count of this chain is on its way out of the store.
    pub(crate) fn is_cutting(&self, chain: &ChainId) -> bool {
        self.proven.get(chain).is_some_and(|proof| proof.cutting)
    }

    pub(crate) fn chains(&self) -> Vec<ChainId> {
        self.proven.keys().copied().collect()
    }

    pub(crate) fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.proven.values().map(|proof| &proof.evidence)
    }

    /// Whether this would be a better proof than what is known. There is room for one of every chain that can be tracked.
    pub(crate) fn is_news(&self, verdict: &ForkVerdict) -> bool {
        match self.proven.get(&verdict.chain) {
            Some(known) => verdict.rank() < known.verdict.rank(),
            None => self.proven.len() < CHAINS_MAX,
        }
    }

    /// Keeps a proof in place of any weaker one; whether it was news.
    pub(crate) fn prove(&mut self, verdict: ForkVerdict, evidence: Evidence) -> bool {
        if !self.is_news(&verdict) {
            return false;
        }
        let cutting = self.proven.get(&verdict.chain).is_some_and(|known| known.cutting);
        self.proven.insert(
            verdict.chain,
            Proof { evidence, verdict, reported: false, cutting, floor: Floor::None, weighed: None },
        );
        if self.told.get(&verdict.chain).is_some_and(|(weak, commit_no, _)| verdict.rank() <= (*weak, *commit_no)) {
            self.told.remove(&verdict.chain);
        }
        true
    }

    /// What is proven by now is on disk and needs no report.
    pub(crate) fn mark_reported(&mut self) {
        self.proven.values_mut().for_each(|proof| proof.reported = true);
    }

    /// A member's chain says that it has seen a fork; whether that may be more than is known here.
    pub(crate) fn tell(&mut self, chain: ChainId, commit_no: u64, by: NodeId) -> bool {
        let rank = (false, commit_no);
        if self.proven.get(&chain).is_some_and(|known| known.verdict.rank() <= rank) {
            return false;
        }
        if self.told.len() >= CHAINS_MAX && !self.told.contains_key(&chain) {
            return false;
        }
        self.told.insert(chain, (rank.0, rank.1, by));
        true
    }

    /// Forks whose evidence is still wanted, each with a member whose chain tells of it.
    pub(crate) fn wanted(&self) -> Vec<(ChainId, NodeId)> {
        self.told.iter().map(|(chain, (_, _, by))| (*chain, *by)).collect()
    }

    /// Nobody has more to say about this one.
    pub(crate) fn forget_told(&mut self, chain: &ChainId) {
        self.told.remove(chain);
    }
}
