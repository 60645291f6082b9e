//! The tree of resources: a pure fold of the events that are held, and one hash over all of it.
//!
//! Each chain is folded by itself, in its own order (`chain`, with `changes`: what each fact changes). What the chains say of one
//! resource is joined by where it stands in the order of all events (`fold`), and the result stands in a Merkle tree of which one
//! path is hashed again for each change (`merkle`). So neither the order in which chains arrive nor how they are split into
//! commits can matter. `stable` is a second fold that is fed only with what can have nothing before it any more. `state` is one
//! chain's fold as a value, which a snapshot names by its hash.

mod chain;
mod changes;
mod fold;
mod merkle;
mod names;
mod stable;
mod state;

pub use state::{FoldedState, StateOfChain};
use weft_protocol::{ChainId, Digest, PlacedFact, ResourceEntry, ResourcePath, TreeProof};

use crate::order::OrderKey;
use crate::tree::fold::Fold;
use crate::tree::stable::Stable;

/// All resources that the chains held here tell of. The root over it is provisional: an event that arrives later may stand
/// before others.
#[derive(Debug, Default)]
pub struct Tree {
    provisional: Fold,
    stable: Option<Stable>,
}

impl Tree {
    /// A tree that also keeps what is stable, from this place in the order on: everything at or below it is fed before anything
    /// else can become stable.
    #[must_use]
    pub fn with_stable(bound: OrderKey) -> Self {
        Self { provisional: Fold::default(), stable: Some(Stable::new(bound)) }
    }

    /// The tree of everything at or below a place in the order: what any node that holds these facts calls stable there. The
    /// facts of one chain must come in their order.
    #[must_use]
    pub fn at<'a>(bound: OrderKey, chains: impl IntoIterator<Item = (ChainId, &'a [PlacedFact])>) -> Self {
        let mut tree = Self::default();
        for (chain, facts) in chains {
            let within = facts.iter().filter(|placed| OrderKey::new(chain, placed.seq, placed.hlc) <= bound);
            tree.provisional.apply(chain, within);
        }
        tree.provisional.settle();
        tree
    }

    /// Takes what chains say when they are read at a start: hashed once, at the end. What is stable is said by
    /// [`Tree::advance`] before anything else is learned, so that little waits for it.
    pub fn recover<'a>(&mut self, chains: impl IntoIterator<Item = (ChainId, &'a [PlacedFact])>) {
        for (chain, facts) in chains {
            self.provisional.apply(chain, facts);
            if let Some(stable) = &mut self.stable {
                stable.learn(chain, facts);
            }
        }
        self.provisional.settle();
    }

    /// Takes more of what a chain says. Those of one chain must come in their order; what is known already is passed over.
    pub fn learn(&mut self, chain: ChainId, facts: &[PlacedFact]) {
        self.recover([(chain, facts)]);
        if let Some(stable) = &mut self.stable {
            stable.let_go();
        }
    }

    /// Takes everything that a chain said out, for good.
    pub fn forget(&mut self, chain: &ChainId) {
        if let Some(stable) = &mut self.stable {
            stable.forget(chain);
        }
        self.provisional.forget(chain);
    }

    /// What this chain says counts for nothing until it is shown.
    pub fn hide(&mut self, chain: ChainId) {
        if let Some(stable) = &mut self.stable {
            stable.hide(chain);
        }
        self.provisional.hide(chain);
    }

    /// What was hidden counts.
    pub fn show(&mut self, chain: &ChainId) {
        if let Some(stable) = &mut self.stable {
            stable.show(chain);
        }
        self.provisional.show(chain);
    }

    /// Nothing at or below this place can appear any more: it moves into the stable tree. Going back changes nothing.
    pub fn advance(&mut self, bound: OrderKey) {
        if let Some(stable) = &mut self.stable {
            stable.advance(bound);
        }
    }

    /// The hash over everything that is held.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.provisional.merkle().root()
    }

    /// The hash over everything at or below the bound of [`Tree::advance`], with that bound; none when it is not known.
    #[must_use]
    pub fn stable_root(&self) -> Option<(OrderKey, Digest)> {
        self.stable.as_ref().and_then(Stable::root)
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, path: &ResourcePath) -> Option<&ResourceEntry> {
        self.provisional.merkle().get(path)
    }

    /// Those directly below it, by name, each with how many stand below it in turn.
    pub fn children(&self, path: &ResourcePath) -> impl Iterator<Item = (&ResourceEntry, usize)> {
        self.provisional.merkle().children(path)
    }

    /// That a resource is there, or is not.
    #[must_use]
    pub fn prove(&self, path: &ResourcePath) -> TreeProof {
        self.provisional.merkle().prove(path)
    }

    /// What this chain alone says, as one value: a snapshot of it names its hash. Hidden or not, it says that.
    #[must_use]
    pub fn state_of(&self, chain: ChainId) -> FoldedState {
        self.provisional.state_of(chain)
    }

    /// How many resources there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.provisional.merkle().len()
    }

    /// Whether there is none: never, as the root is one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many resources have no place because the chain that tells of them tells of too many.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.provisional.left_out()
    }

    /// How many hashes were computed so far.
    #[must_use]
    pub const fn hashes(&self) -> u64 {
        self.provisional.merkle().hashes()
    }
}
