//! What one member of the model holds: commits and ticks, as a set, so that the order of arrival cannot matter.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// One of a member's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// Its writer.
    pub node: u8,
    /// Which of the writer's chains.
    pub incarnation: u8,
}

/// One commit of a chain, named by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// Whose.
    pub chain: Chain,
    /// Its place, from 0.
    pub commit_no: u32,
    /// Its hash.
    pub hash: u64,
}

/// Where an event stands by its stamp: (hlc, node, incarnation, `commit_no`).
pub type Key = (u64, u8, u8, u32);

/// A change of who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// This chain, whose node has none that counts, counts from now on.
    Admit(Chain),
    /// The chain of this head ends there until it is resumed.
    Suspend(Head),
    /// The chain of this head ends there, and its node never counts again.
    Evict(Head),
    /// A suspended chain counts again.
    Resume(Chain),
    /// The chain of the head ends there, and a later incarnation of the same node counts in its place.
    Readmit(Head, Chain),
    /// Nobody: only the epoch moves on.
    Nothing,
}

impl Change {
    /// Which chain ends, and where.
    #[must_use]
    pub const fn closes(self) -> Option<Head> {
        match self {
            Self::Suspend(head) | Self::Evict(head) | Self::Readmit(head, _) => Some(head),
            Self::Admit(_) | Self::Resume(_) | Self::Nothing => None,
        }
    }

    /// Which chain counts from now on.
    #[must_use]
    pub const fn opens(self) -> Option<Chain> {
        match self {
            Self::Admit(chain) | Self::Resume(chain) | Self::Readmit(_, chain) => Some(chain),
            Self::Suspend(_) | Self::Evict(_) | Self::Nothing => None,
        }
    }
}

/// One attempt to decide an epoch: its number, and who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Higher ones overrule lower ones.
    pub number: u32,
    /// Whose.
    pub chain: Chain,
}

/// What an event says. The model has one event for each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// The first event of a chain, with the last head its node knows of the one before.
    Genesis {
        /// None for a node's first chain.
        previous: Option<Head>,
    },
    /// The writer asks for promises to a ballot of its own, and gives its own by that.
    Ask {
        /// Hash of the record that began the epoch; 0 for the first.
        epoch: u64,
        /// Which.
        ballot: Ballot,
    },
    /// The writer endorses nothing in a lower ballot of this epoch any more.
    Promise {
        /// Which epoch.
        epoch: u64,
        /// Which ballot.
        ballot: Ballot,
    },
    /// Proposes the end of an epoch in a ballot of the writer, and endorses it.
    Change {
        /// Which epoch.
        epoch: u64,
        /// In which ballot.
        ballot: Ballot,
        /// What is to change.
        change: Change,
    },
    /// The writer endorses in a ballot the change recorded in the commit of this hash. Whoever's ballot it is proposes it by that.
    Endorse {
        /// Which.
        change: u64,
        /// In which ballot.
        ballot: Ballot,
    },
    /// The events of the writer's earlier chain up to this head turned up.
    TailReturned {
        /// Its head.
        tail: Head,
    },
    /// The writer grants a fence to a holder.
    Claim {
        /// Whose fence.
        agent: u8,
        /// Its number.
        fence: u8,
        /// To whom.
        holder: u8,
        /// In which epoch.
        epoch: u64,
    },
    /// Anything else.
    Other,
}

/// One signed commit. Whoever holds one holds what it claims; whether it fits anywhere is another matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit {
    /// Where.
    pub chain: Chain,
    /// Its place, from 0.
    pub commit_no: u32,
    /// Hash of the commit before; 0 for the first.
    pub prev: u64,
    /// Its stamp.
    pub hlc: u64,
    /// Heads of other chains that its writer held.
    pub anchors: BTreeSet<Head>,
    /// What it says.
    pub record: Record,
}

impl Commit {
    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    /// Its name.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { chain: self.chain, commit_no: self.commit_no, hash: self.hash() }
    }

    /// Where it stands by its stamp.
    #[must_use]
    pub const fn key(&self) -> Key {
        (self.hlc, self.chain.node, self.chain.incarnation, self.commit_no)
    }
}

/// A signed word about time: the issuer writes nothing at or below `hlc` after `head`, and acknowledges what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick {
    /// The last commit of its issuer.
    pub head: Head,
    /// Up to where the issuer is silent.
    pub hlc: u64,
    /// Up to where the issuer holds everything of everybody who counts, and took it in.
    pub horizon: u64,
    /// Heads of other chains that it acknowledges.
    pub heads: BTreeSet<Head>,
}

/// What one member holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The chains that count in the first epoch.
    pub founders: BTreeSet<Chain>,
    /// Commits by stamp, so that whatever a commit builds on comes first.
    pub commits: BTreeMap<(u64, u64), Arc<Commit>>,
    /// Ticks.
    pub ticks: BTreeSet<Arc<Tick>>,
}

impl View {
    /// Nothing but the names of the chains that count at first.
    pub fn new(founders: impl IntoIterator<Item = Chain>) -> Self {
        Self { founders: founders.into_iter().collect(), ..Self::default() }
    }

    /// Takes a commit in; true when it is new.
    pub fn add(&mut self, commit: Commit) -> bool {
        self.commits.insert((commit.hlc, commit.hash()), Arc::new(commit)).is_none()
    }

    /// Takes in everything another view holds.
    pub fn merge(&mut self, other: &Self) {
        self.commits.extend(other.commits.iter().map(|(key, commit)| (*key, Arc::clone(commit))));
        self.ticks.extend(other.ticks.iter().cloned());
    }
}
