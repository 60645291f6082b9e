//! Who counts, and up to where the order of events cannot change any more: what the chains and ticks that are held mean.
//!
//! The rules and why they are as they are: ARCHITECTURE.md, "Membership, order and evidence"; `weft_simulations::membership`
//! is the model that this is compared with. In reading order: `gate` (what counts once everything that it names is held),
//! `epochs` (who counts), `ballots` (how an epoch is decided, and what a member may say about it), `words` (who was heard and
//! acknowledges what), `placement` (what stands where).

mod ballots;
mod epochs;
mod gate;
mod placement;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{ChainId, ClusterId, CommitRef, EpochId, Fact, Hlc, NodeId, PlacedFact, Tick};

pub use ballots::{Policy, Vote};
pub use epochs::{Epochs, Proposal, Span};
pub use gate::{Step, Word};
pub use placement::{Place, Placement};

use gate::Gate;
use words::Words;

/// Invariant: a function of the set of what was taken in, as long as nothing was cut; the order of arrival does not matter, but for
/// how much was stable before a fork was proven.
#[derive(Debug)]
pub struct Standing {
    cluster: ClusterId,
    own: ChainId,
    gate: Gate,
    epochs: Epochs,
    words: Words,
    /// Of each chain with two histories, a stamp before whatever differs.
    forked: BTreeMap<ChainId, Hlc>,
    /// When each chain began.
    begun: BTreeMap<ChainId, Hlc>,
    /// Counts what was learned of who counts.
    revision: u64,
}

impl Standing {
    /// Nothing is held; `own` is the chain that this node writes.
    #[must_use]
    pub fn new(cluster: ClusterId, own: ChainId) -> Self {
        Self {
            cluster,
            own,
            gate: Gate::default(),
            epochs: Epochs::default(),
            words: Words::default(),
            forked: BTreeMap::new(),
            begun: BTreeMap::new(),
            revision: 0,
        }
    }

    /// A stretch of a chain is on disk.
    pub fn stored(&mut self, step: Step) {
        self.gate.stored(step);
        self.take_ready();
    }

    /// A tick, signed by the node that it speaks for.
    pub fn ticked(&mut self, tick: Tick) {
        self.gate.ticked(tick);
        self.take_ready();
    }

    /// Two histories of a chain are proven, which part at or after this stamp: until a change ends the chain nothing from there
    /// on is stable. What was so before stays so: everybody who counts said by then to hold and to acknowledge all there is up
    /// to W, so that what turns up below it was acknowledged by nobody and will be by too few.
    pub fn forked(&mut self, chain: ChainId, parting: Hlc) {
        let before = before(parting).max(self.watermark());
        let known = self.forked.entry(chain).or_insert(before);
        *known = before.min(*known);
        self.gate.excuse(chain);
        self.take_ready();
    }

    /// Of this chain so many commits are left. What its writer said about who counts stays said.
    pub fn cut(&mut self, chain: ChainId, commits: u64) {
        self.gate.cut(chain, commits);
        self.words.cut(chain, commits);
    }

    /// What is held of this chain, one of our own, contradicts what others hold: it says nothing.
    pub fn disown(&mut self, chain: ChainId) {
        self.gate.excuse(chain);
        self.cut(chain, 0);
        self.take_ready();
    }

    /// These chains count in the first epoch: said by whoever has no first event of a founder to show.
    pub fn founded_by(&mut self, chains: impl IntoIterator<Item = ChainId>) {
        self.epochs.founded_by(chains);
    }

    /// This node is about to say that it acknowledges these.
    pub fn told(&mut self, heads: &[CommitRef]) {
        self.words.told(self.own, heads);
    }

    fn take_ready(&mut self) {
        while let Some(word) = self.gate.next_ready() {
            match word {
                Word::Step(step) => self.count_step(&step),
                Word::Tick(tick) => self.words.ticked(&tick),
            }
        }
    }

    fn count_step(&mut self, step: &Step) {
        self.words.stored(step);
        for placed in &step.facts {
            self.learn(step.last.chain, placed);
        }
    }

    fn learn(&mut self, chain: ChainId, placed: &PlacedFact) {
        self.revision += 1;
        match &placed.fact {
            Fact::Genesis(genesis) => {
                self.begun.insert(chain, placed.hlc);
                let charter = genesis.charter.as_ref();
                if charter.is_some_and(|it| it.cluster_id() == self.cluster && it.founder.node() == chain.node) {
                    self.epochs.founded_by([chain]);
                }
            }
            Fact::TailReturned(returned) => self.epochs.returned(chain, placed, &returned.head),
            fact if fact.is_of_epoch() => self.epochs.learn(chain, placed),
            _ => {}
        }
    }

    /// Who counts, and how that came.
    #[must_use]
    pub const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Another number than before when something was learned of who counts.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The epoch that is now.
    #[must_use]
    pub const fn epoch(&self) -> EpochId {
        self.epochs.now()
    }

    /// The chain of this node that counts now, if one does.
    #[must_use]
    pub fn active_of(&self, node: NodeId) -> Option<ChainId> {
        self.epochs.active().keys().copied().find(|chain| chain.node == node)
    }

    /// The last commit of a chain that counts here, with all it names held.
    #[must_use]
    pub fn counted(&self, chain: &ChainId) -> Option<CommitRef> {
        self.words.last(chain)
    }

    /// The stamp of a chain's first event, as far as that is held.
    #[must_use]
    pub fn begun(&self, chain: &ChainId) -> Option<Hlc> {
        self.begun.get(chain).copied()
    }

    /// The chain that this node began last, as far as is held.
    #[must_use]
    pub fn newest_of(&self, node: NodeId) -> Option<ChainId> {
        let of_node = self.begun.iter().filter(|(chain, _)| chain.node == node);
        of_node.max_by_key(|(chain, begun)| (**begun, **chain)).map(|(chain, _)| *chain)
    }

    /// Every node with a chain that is held.
    pub fn writers(&self) -> impl Iterator<Item = NodeId> {
        self.begun.keys().map(|chain| chain.node).collect::<BTreeSet<NodeId>>().into_iter()
    }

    /// Whom the order waits for: each chain that counts with the stamp up to which it was heard and acknowledges everything, the
    /// one that is least far first.
    #[must_use]
    pub fn waits_for(&self) -> Vec<(ChainId, Hlc)> {
        let mut waits: Vec<(ChainId, Hlc)> =
            self.epochs.active().keys().map(|chain| (*chain, self.reached(*chain))).collect();
        waits.sort_by_key(|(chain, reached)| (*reached, *chain));
        waits
    }

    fn reached(&self, chain: ChainId) -> Hlc {
        self.words.heard(&chain).min(self.words.horizon(&chain))
    }

    /// W: every event at or below this stamp, of a chain that counts or did, is held, and its place cannot change any more.
    #[must_use]
    pub fn watermark(&self) -> Hlc {
        let active = self.epochs.active();
        let reached = |(chain, opening): (&ChainId, &crate::OrderKey)| self.reached(*chain).max(before(opening.hlc));
        let acknowledged = active.keys().filter_map(|chain| self.words.acknowledged(*chain, active));
        let least = active.iter().map(reached).chain(acknowledged).chain(self.holds()).min();
        least.unwrap_or(Hlc(0))
    }

    /// What keeps everything after it from being stable: changes that are not decided, and histories that may still be taken in.
    fn holds(&self) -> impl Iterator<Item = Hlc> {
        let active = self.epochs.active();
        let forks = self.forked.iter().filter(|(chain, _)| active.contains_key(chain)).map(|(_, before)| *before);
        self.epochs.proposals().map(|proposal| before(proposal.key.hlc)).chain(forks)
    }

    /// What this node may say: commits of others that it acknowledges, and up to where that is everything, if nothing of its own
    /// is missing there.
    #[must_use]
    pub fn acknowledgeable(&self, heads_max: usize) -> (Vec<CommitRef>, Hlc) {
        let withheld = self.withheld();
        let others = self.words.chains().filter(|chain| chain.node != self.own.node);
        let mut heads: Vec<CommitRef> = others
            .filter_map(|chain| self.words.up_to(chain, withheld.get(chain).copied().unwrap_or(u64::MAX)))
            .collect();
        heads.truncate(heads_max);
        let named: BTreeMap<ChainId, u64> = heads.iter().map(|head| (head.chain, head.commit_no)).collect();
        let active = self.epochs.active();
        let others = active.iter().filter(|(chain, _)| **chain != self.own);
        let heard = others.clone().map(|(chain, opening)| self.words.heard(chain).max(before(opening.hlc)));
        let missed = others.filter_map(|(chain, _)| self.words.missed(*chain, named.get(chain).copied()));
        let horizon = heard.chain(missed).chain(self.holds()).min().unwrap_or(Hlc(u64::MAX));
        (heads, horizon)
    }

    /// Chains whose end this node endorsed in this epoch, each with the last commit that it may acknowledge.
    #[must_use]
    pub fn withheld(&self) -> BTreeMap<ChainId, u64> {
        self.epochs.endorsed_ends(self.own)
    }

    /// The last stamp of all that counts here.
    #[must_use]
    pub const fn newest(&self) -> Hlc {
        self.words.newest()
    }

    /// What stands where.
    #[must_use]
    pub fn placement(&self) -> Placement {
        Placement::new(&self.epochs, self.watermark())
    }
}

/// The stamp before this one.
pub(crate) const fn before(hlc: Hlc) -> Hlc {
    Hlc(hlc.0.saturating_sub(1))
}
