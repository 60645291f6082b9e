//! Snapshots of a chain: where it stood, one hash over what it had said by then, and the check that it did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::PlacedFact;
use crate::chain::ChainState;
use crate::hash::Digest;
use crate::id::ChainId;
use crate::merkle::{Frontier, Shake};
use crate::time::Hlc;

/// The version of the fold that this program makes: whoever changes what an event changes in the state of its chain counts it up,
/// so that snapshots made before are not called wrong.
pub const STATE_FOLD: u32 = 1;

/// See [`Fact::Snapshot`](crate::Fact::Snapshot). Whoever holds the state behind the hash goes on from there as if it had read all
/// events before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Events that it covers: those below this place.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Roots of their complete subtrees, largest first: the tree grows on from them.
    pub peaks: Vec<Digest>,
    /// Hash of the state that they fold to.
    pub state: Digest,
    /// Which fold made that state, see [`STATE_FOLD`].
    pub fold: u32,
}

impl Snapshot {
    /// The snapshot of a chain that stands there, with the hash of the state that its events fold to.
    #[must_use]
    pub fn of(chain: &ChainState, state: Digest) -> Self {
        let peaks = chain.frontier().peaks().to_vec();
        Self { size: chain.size(), root: chain.root(), peaks, state, fold: STATE_FOLD }
    }

    /// The tree that grows on from here; none when the peaks are not those of the root.
    #[must_use]
    pub fn frontier(&self) -> Option<Frontier> {
        Frontier::of(self.size, self.peaks.clone()).filter(|frontier| frontier.root::<Shake>() == self.root)
    }
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// Its place on its chain.
    pub seq: u64,
    /// Its stamp.
    pub hlc: Hlc,
    /// Number of the commit that holds it.
    pub commit_no: u64,
}

/// See [`Fact::Pruned`](crate::Fact::Pruned): recorded before anything is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Place of the first event whose rows go.
    pub from: u64,
    /// Rows of events from this place on stay.
    pub to: u64,
    /// Rows with leaves of plain messages that go.
    pub rows: u64,
    /// Bodies beside events that go.
    pub bodies: u64,
    /// Place of the snapshot that covers them.
    pub snapshot: u64,
}

/// The state of one chain: a pure function of what stands on it.
pub trait StateFold {
    /// Takes the next fact of the chain.
    fn apply(&mut self, placed: &PlacedFact);

    /// One hash over the state.
    fn state_hash(&self) -> Digest;
}

/// Begins the fold of a chain from before its first event.
pub type BeginFold = fn(ChainId) -> Box<dyn StateFold>;

/// What is wrong with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot at event {seq} {reason}")]
pub struct SnapshotFault {
    /// Its place on the chain.
    pub seq: u64,
    /// What it does wrong.
    pub reason: &'static str,
}

/// Compares snapshots of a chain with what its events come to when they are read again from the first on.
pub struct Replay {
    /// By the size at which they are compared, then by place.
    waiting: BTreeMap<(u64, u64), Snapshot>,
    frontier: Frontier,
    fold: Box<dyn StateFold>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Replay").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Replay {
    /// Compares these, each with its place on the chain. Of one that another version's fold made only the tree is compared.
    ///
    /// # Errors
    /// [`SnapshotFault`] for one that covers nothing, or more than what stands before it.
    pub fn new(
        snapshots: impl IntoIterator<Item = (u64, Snapshot)>,
        fold: Box<dyn StateFold>,
    ) -> Result<Self, SnapshotFault> {
        let mut waiting = BTreeMap::new();
        for (seq, snapshot) in snapshots {
            if snapshot.size == 0 || snapshot.size > seq {
                return Err(SnapshotFault { seq, reason: "covers what does not stand before it" });
            }
            waiting.insert((snapshot.size, seq), snapshot);
        }
        Ok(Self { waiting, frontier: Frontier::default(), fold })
    }

    /// Whether nothing is left to compare.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next event of the chain: its leaf, and what it says when it says something.
    ///
    /// # Errors
    /// [`SnapshotFault`] when a snapshot that covers everything up to it says something else than that comes to.
    pub fn event(&mut self, leaf: Digest, placed: Option<&PlacedFact>) -> Result<(), SnapshotFault> {
        self.frontier.push::<Shake>(leaf);
        if let Some(placed) = placed {
            self.fold.apply(placed);
        }
        let size = self.frontier.size();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 == size) {
            let ((_, seq), snapshot) = entry.remove_entry();
            self.compare(seq, &snapshot)?;
        }
        Ok(())
    }

    fn compare(&self, seq: u64, snapshot: &Snapshot) -> Result<(), SnapshotFault> {
        if snapshot.root != self.frontier.root::<Shake>() || snapshot.peaks != self.frontier.peaks() {
            return Err(SnapshotFault { seq, reason: "names another tree than its chain has" });
        }
        if snapshot.fold == STATE_FOLD && snapshot.state != self.fold.state_hash() {
            return Err(SnapshotFault { seq, reason: "names another state than its chain comes to" });
        }
        Ok(())
    }
}
