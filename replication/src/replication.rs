//! The machine: every table of replication, and the one match that hands each input to the file that knows about it.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use weft_protocol::limits::{INCARNATIONS_MAX, MEMBERS_MAX};
use weft_protocol::{
    Anchor, ChainId, ChainState, ClusterId, CommitGroup, Digest, Evidence, Fact, Head, HeadGossip, Hlc, KeyRotation,
    MemberKeys, NodeId, PlacedFact, PublicKeys, Recovered, RecoveredChain, StampVerdict, Statement, StatementBody,
    SyncResponse, Timestamp, judge_stamp, vector_root,
};

use crate::announce::Announcing;
use crate::config::{CHAINS_MAX, KEYLESS_MAX, LINKS_MAX, ReplicationConfig};
use crate::copy::{ChainCopy, Stored};
use crate::event::{FetchId, Input, Output, RequestId};
use crate::fetch::Fetch;
use crate::fork::{check_evidence_by, claimed_verdict};
use crate::forks::{Forks, Proof};
use crate::inquiry::{Inquiry, Suspicion};
use crate::order::OrderKey;
use crate::prune::Snapshots;
use crate::seek::Seek;
use crate::standing::{Standing, Step};
use crate::status::{ChainStatus, SyncStatus, Vouching};
use crate::ticks::Ticks;
use crate::topic_log::TopicLog;
use crate::tree::Tree;
use crate::votes::{Votes, step_of};
use crate::vouch::Wishes;
use crate::witnesses::Witnesses;

/// Keeps verified copies of other members' chains and lets them copy ours. Nothing is in [`Replication::heads`] that is not
/// on disk.
#[derive(Debug)]
pub struct Replication {
    pub(crate) config: ReplicationConfig,
    pub(crate) cluster: ClusterId,
    pub(crate) own: OwnChain,
    /// What others are told of it.
    pub(crate) announcing: Announcing,
    /// Who may write chains. Our own keys may be among them.
    pub(crate) members: BTreeMap<NodeId, MemberKeys>,
    pub(crate) quarantined: BTreeSet<NodeId>,
    pub(crate) copies: BTreeMap<ChainId, ChainCopy>,
    /// Copies with something on its way or missing; others cost nothing until they are heard of again.
    pub(crate) active: BTreeSet<ChainId>,
    /// Chains of writers without keys: who holds how many commits of them.
    pub(crate) keyless: BTreeMap<ChainId, (NodeId, u64)>,
    /// Connected members.
    pub(crate) links: BTreeMap<NodeId, Link>,
    pub(crate) fetches: BTreeMap<FetchId, (NodeId, Fetch)>,
    pub(crate) serving: BTreeMap<RequestId, NodeId>,
    /// From which commit on chains are not what was written, on our disk.
    pub(crate) damaged: BTreeMap<ChainId, u64>,
    pub(crate) suspicions: BTreeMap<(ChainId, Digest), Suspicion>,
    pub(crate) inquiries: BTreeMap<ChainId, Inquiry>,
    /// Chains with two proven histories: nothing counts of them but what both share.
    pub(crate) forks: Forks,
    pub(crate) witnesses: Witnesses,
    /// What is to be vouched for.
    pub(crate) seek: Seek,
    /// What others want us to vouch for.
    pub(crate) wishes: Wishes,
    /// Whether nothing was handled yet.
    unsettled: bool,
    /// Chains of this node whose copy here contradicts what members hold: they are neither shown nor written.
    disowned: BTreeSet<ChainId>,
    pub(crate) refused: u64,
    pub(crate) topics: TopicLog,
    /// Who counts, and what of the order is stable.
    pub(crate) standing: Standing,
    pub(crate) votes: Votes,
    pub(crate) ticks: Ticks,
    pub(crate) admins: BTreeSet<NodeId>,
    /// All resources of which the chains in [`Replication::heads`] tell.
    pub(crate) tree: Tree,
    pub(crate) snapshots: Snapshots,
    pub(crate) random: ChaCha8Rng,
    next_fetch: u64,
    next_round: Timestamp,
    retry_at: Option<Timestamp>,
    /// The time of the last input.
    last_now: Timestamp,
}

/// Where our own chain stands on disk.
#[derive(Debug)]
pub(crate) struct OwnChain {
    pub(crate) chain: ChainId,
    pub(crate) head: Option<Head>,
    /// Whether others are told of it: not before it is known that it continues what they hold.
    shown: bool,
    checkpoints: u64,
    events_sealed: u64,
    last_hlc: Hlc,
}

/// A connected member.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Our comparison that it has not answered.
    pub(crate) hello: Option<FetchId>,
    /// Not before this time do we begin another one.
    pub(crate) hello_after: Timestamp,
    /// When a comparison that got lost is begun again.
    pub(crate) hello_due: Option<Timestamp>,
    /// Ranges asked for and not answered.
    pub(crate) ranges: usize,
    /// Comparisons of stretches that it has not answered.
    pub(crate) stretches: usize,
    /// Our request to vouch for something that it has not answered.
    pub(crate) witness: Option<FetchId>,
    /// What it was asked to vouch for a moment ago.
    pub(crate) witnessing: BTreeMap<ChainId, u64>,
    /// What all its chains hashed to when it last said to hold the same as we did.
    pub(crate) agreed: Option<Digest>,
}

impl Replication {
    /// A machine that continues from what was recovered and is connected to nobody. `own` is the chain that this node writes;
    /// `members` are all nodes whose keys are known.
    #[must_use]
    pub fn new(
        config: ReplicationConfig,
        own: ChainId,
        cluster: ClusterId,
        members: Vec<PublicKeys>,
        recovered: &Recovered,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let (mine, foreign): (Vec<_>, Vec<_>) =
            recovered.chains.iter().map(|chain| &chain.state).partition(|state| state.chain() == own);
        let mut members: BTreeMap<NodeId, MemberKeys> =
            members.into_iter().map(|keys| (keys.node(), MemberKeys::new(keys))).collect();
        recover_rotations(recovered, &mut members);
        let forks = recovered_forks(recovered, &members);
        let mut witnesses = Witnesses::default();
        recovered.chains.iter().for_each(|chain| witnesses.learn(chain.state.chain().node, &chain.anchors));
        let mut standing = Standing::new(cluster, own);
        recovered.chains.iter().filter_map(recovered_step).for_each(|step| standing.stored(step));
        for evidence in forks.evidence() {
            parting(evidence).into_iter().for_each(|(chain, hlc)| standing.forked(chain, hlc));
        }
        let mut tree = Tree::with_stable(everything_until(Hlc(0)));
        tree.recover(recovered.chains.iter().map(|chain| (chain.state.chain(), chain.facts.as_slice())));
        let mut snapshots = Snapshots::default();
        let own_facts = recovered.chains.iter().filter(|chain| chain.state.chain() == own);
        own_facts.for_each(|chain| snapshots.learn(&chain.facts));
        Self {
            config,
            cluster,
            own: OwnChain::new(own, mine.first().copied()),
            announcing: Announcing::default(),
            members,
            quarantined: BTreeSet::new(),
            copies: foreign.into_iter().map(|state| (state.chain(), ChainCopy::new(state.clone()))).collect(),
            active: BTreeSet::new(),
            keyless: BTreeMap::new(),
            links: BTreeMap::new(),
            fetches: BTreeMap::new(),
            serving: BTreeMap::new(),
            damaged: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            unsettled: true,
            forks,
            witnesses,
            seek: Seek::default(),
            wishes: Wishes::new(),
            disowned: BTreeSet::new(),
            refused: 0,
            topics: TopicLog::default(),
            standing,
            votes: Votes::recovered(recovered.chains_of(own.node).into_iter().flat_map(|chain| &chain.facts)),
            ticks: Ticks::default(),
            admins: BTreeSet::new(),
            tree,
            snapshots,
            random: ChaCha8Rng::seed_from_u64(seed),
            next_fetch: 0,
            next_round: now,
            retry_at: None,
            last_now: now,
        }
    }

    /// Takes one input; what must be done about it is appended to `outputs`, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        if now < std::mem::replace(&mut self.last_now, now) {
            self.restart_pauses(now);
        }
        if std::mem::take(&mut self.unsettled) {
            self.settle_all(outputs);
        }
        match input {
            Input::Connected { node } => self.on_connected(node, now, outputs),
            Input::Disconnected { node } => self.on_disconnected(node, now, outputs),
            Input::MemberLearned { keys } => self.on_member_learned(keys, now, outputs),
            Input::MemberQuarantined { node } => self.on_member_quarantined(node),
            Input::MemberPardoned { node } => self.on_member_pardoned(node),
            Input::OwnChainGrew { group, commit } => self.on_own_chain_grew(*group, &commit, now, outputs),
            Input::Halting => outputs.extend(self.announcing.take_all().map(gossip)),
            Input::Gossiped { from, gossip } => self.on_gossiped(from, *gossip, now, outputs),
            Input::RequestArrived { request, from, content } => self.on_request(request, from, content, now, outputs),
            Input::ResponseArrived { fetch, content } => self.on_response(fetch, Some(*content), now, outputs),
            Input::FetchFailed { fetch } => self.on_response(fetch, None, now, outputs),
            Input::RangeRead { request, chain, groups } => self.on_range_read(request, chain, groups, outputs),
            Input::CommitRead { chain, held, other } => self.on_commit_read(chain, held, *other, outputs),
            Input::Verified(verdict) => self.on_verified(*verdict, now, outputs),
            Input::Stored { chain } => self.on_stored(chain, outputs),
            Input::HashesRead { chain, hashes } => {
                self.on_words_read(&chain, &hashes, outputs);
                self.on_hashes_read(chain, &hashes, outputs);
            }
            Input::ChainDamaged { chain, from_commit } => drop(self.damaged.insert(chain, from_commit)),
            Input::ChainMended { chain } => drop(self.damaged.remove(&chain)),
            Input::ChainCut { chain, state, facts } => self.on_cut(chain, state.map(|state| *state), &facts, outputs),
            Input::TopicsFollowed { patterns, since } => self.on_topics_followed(patterns, since, now, outputs),
            Input::TopicGatherAsked { gather, pattern, want } => {
                self.on_gather_asked(gather, pattern, want, now, outputs);
            }
            Input::PublicationHeard { publication } => self.on_publication_heard(*publication, now, outputs),
            Input::Configured { config } => self.configure(*config, now),
            Input::OwnChainHidden { disowned } => self.on_own_chain_hidden(disowned),
            Input::OwnChainShown => self.on_own_chain_shown(),
            Input::AdminsKnown { admins } => self.on_admins_known(admins),
            Input::ChangeWanted(wanted) => self.on_change_wanted(&wanted),
            Input::VoteRefused => self.on_vote_refused(),
            Input::OwnTicked { tick } => self.on_own_tick(tick.map(|tick| *tick), outputs),
            Input::WitnessesSought { message, places, except, members } => {
                self.on_witnesses_sought(message, places, except, members, now, outputs);
            }
            Input::NoWitnessesSought { message } => self.on_no_witnesses_sought(&message),
            Input::Woken => self.on_woken(now, outputs),
        }
        self.advance(now, outputs);
        self.vote(now, outputs);
        outputs.extend(self.announcing.take_due(&self.config, now).map(gossip));
    }

    /// A round that is due later than the new mean allows comes earlier.
    fn configure(&mut self, config: ReplicationConfig, now: Timestamp) {
        self.next_round = self.next_round.min(now.after_us(config.round_us));
        self.config = config;
    }

    /// When [`Input::Woken`] is wanted.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let round = (!self.links.is_empty()).then_some(self.next_round);
        let hello = self.links.values().filter_map(|link| link.hello_due).min();
        let others = [self.vote_wakeup(), self.tick_wakeup(), self.seek.next_wakeup(), self.announcing.next_wakeup()];
        [round, hello, self.retry_at, self.topics.next_wakeup()].into_iter().chain(others).flatten().min()
    }

    /// Who counts, and what of the order is stable.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The heads of all chains that are held, sorted by chain.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        let own = self.own.shown_head().cloned();
        // While a chain is being cut, what is known of it here may be more than what is on disk.
        let told = self.copies.iter().filter(|(chain, _)| !self.forks.is_cutting(chain));
        let mut heads: Vec<Head> = told.filter_map(|(_, copy)| copy.durable().head()).chain(own).collect();
        heads.sort_unstable_by_key(|head| head.chain);
        heads
    }

    /// One hash over all of [`Replication::heads`]: equal on two nodes exactly when they hold the same chains to the same
    /// length.
    #[must_use]
    pub fn vector_root(&self) -> Digest {
        vector_root(&self.heads())
    }

    /// The resources of which all chains of [`Replication::heads`] tell: equal on two nodes when their vector roots are.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Every chain that is held, sorted by chain.
    #[must_use]
    pub fn chains(&self, now: Timestamp) -> Vec<ChainStatus> {
        let mut chains: Vec<ChainStatus> =
            self.copies.values().filter_map(|copy| self.copy_status(copy, now)).chain(self.own.status(now)).collect();
        chains.sort_unstable_by_key(|status| status.chain);
        chains
    }

    /// The verified state of a foreign chain as far as it is on disk.
    #[must_use]
    pub fn chain_state(&self, chain: &ChainId) -> Option<&ChainState> {
        self.copies.get(chain).map(ChainCopy::durable).filter(|state| state.commits() > 0)
    }

    /// How far our copies agree with those of connected members.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        let root = self.vector_root();
        let missing = || self.copies.values().map(ChainCopy::commits_missing).filter(|commits| *commits > 0);
        let held = self.copies.values().filter(|copy| copy.durable().commits() > 0).count();
        SyncStatus {
            members_connected: self.links.len(),
            members_agreeing: self.links.values().filter(|link| link.agreed == Some(root)).count(),
            chains: held + usize::from(self.own.head.is_some()),
            chains_behind: missing().count(),
            commits_missing: missing().fold(0, u64::saturating_add),
            chains_keyless: self.keyless.len(),
            refused: self.refused,
            publications_lost: self.topics.lost,
        }
    }

    /// Who vouches for how far of this chain, in the order of their ids; whether of the history that is held here, the hashes
    /// tell.
    pub fn vouchers(&self, chain: &ChainId) -> impl Iterator<Item = Vouching> {
        self.witnesses.of(chain).map(|(node, vouched)| Vouching {
            node,
            commit_no: vouched.commit_no,
            size: vouched.size,
            commit_hash: vouched.commit_hash,
        })
    }

    /// Whether that member, when we last compared, held exactly what this node holds now.
    #[must_use]
    pub fn is_converged_with(&self, node: NodeId) -> bool {
        let agreed = self.links.get(&node).and_then(|link| link.agreed);
        agreed.is_some_and(|root| root == self.vector_root())
    }

    /// Where our earlier chains end on disk, each with the number of commits that connected members say to hold beyond that.
    pub fn earlier_chains(&self) -> impl Iterator<Item = (Head, u64)> {
        let own = self.copies.iter().filter(|(chain, _)| chain.node == self.own.chain.node).map(|(_, copy)| copy);
        own.filter_map(|copy| Some((copy.durable().head()?, copy.commits_missing())))
    }

    /// Every fork that was proven, by chain.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.forks.evidence()
    }

    fn copy_status(&self, copy: &ChainCopy, now: Timestamp) -> Option<ChainStatus> {
        let state = copy.durable();
        let head = state.head()?;
        Some(ChainStatus {
            chain: head.chain,
            events: head.size,
            commits: state.commits(),
            checkpoints: state.checkpoints(),
            events_sealed: state.sealed_size(),
            root: head.root,
            commit_hash: head.commit_hash,
            last_hlc: state.last_hlc(),
            parked: judge_stamp(state.last_hlc(), now) != StampVerdict::Merged,
            commits_missing: copy.commits_missing(),
            forked: self.forks.contains(&head.chain),
        })
    }

    fn on_connected(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        if node == self.own.chain.node || self.links.contains_key(&node) || self.links.len() >= LINKS_MAX {
            return;
        }
        if self.links.is_empty() {
            self.plan_round(now);
        }
        self.links.insert(node, Link::default());
        self.votes.look = true;
        self.ticks.hurry();
        self.say_hello(node, now, outputs);
        self.ask_wanted(node, outputs);
        self.ask_followed(node, now, outputs);
    }

    fn on_disconnected(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let lost: Vec<FetchId> =
            self.fetches.iter().filter(|(_, (to, _))| *to == node).map(|(fetch, _)| *fetch).collect();
        self.links.remove(&node);
        self.votes.look = true;
        for fetch in lost {
            self.on_response(fetch, None, now, outputs);
        }
        self.serving.retain(|_, from| *from != node);
        for (chain, copy) in &mut self.copies {
            copy.forget_member(node);
            self.active.insert(*chain);
        }
        self.keyless.retain(|_, (from, _)| *from != node);
    }

    fn on_member_learned(&mut self, keys: PublicKeys, now: Timestamp, outputs: &mut Vec<Output>) {
        let node = keys.node();
        self.votes.look = true;
        if self.members.len() < MEMBERS_MAX {
            self.members.entry(node).or_insert_with(|| MemberKeys::new(keys));
        }
        let waited: Vec<_> = self.keyless.extract_if(.., |chain, _| chain.node == node).collect();
        for (chain, (from, commits)) in waited {
            self.note_ahead(chain, from, commits);
        }
        self.mend_streams_of(node, now, outputs);
    }

    fn on_own_chain_shown(&mut self) {
        self.own.shown = true;
        self.votes.look = true;
        self.tree.show(&self.own.chain);
    }

    fn on_admins_known(&mut self, admins: BTreeSet<NodeId>) {
        self.votes.look |= self.admins != admins;
        self.admins = admins;
    }

    /// Nobody is told of our own chain until [`Input::OwnChainShown`], nor ever of those that are disowned.
    fn on_own_chain_hidden(&mut self, disowned: Vec<ChainId>) {
        self.own.shown = false;
        self.tree.hide(self.own.chain);
        disowned.iter().for_each(|chain| self.tree.forget(chain));
        self.disowned = disowned.into_iter().collect();
        let disowned = &self.disowned;
        self.copies.retain(|chain, _| !disowned.contains(chain));
        disowned.iter().for_each(|chain| self.standing.disown(*chain));
    }

    fn on_member_pardoned(&mut self, node: NodeId) {
        self.votes.look |= self.quarantined.remove(&node);
    }

    fn on_member_quarantined(&mut self, node: NodeId) {
        self.quarantined.insert(node);
        self.votes.look = true;
        self.keyless.retain(|chain, _| chain.node != node);
        for (chain, copy) in self.copies.iter_mut().filter(|(chain, _)| chain.node == node) {
            if !self.forks.contains(chain) {
                copy.stop();
            }
        }
    }

    /// Whether commits of this chain may be added to our copy: of a forked one those that both histories share, from whoever has
    /// them.
    pub(crate) fn accepts(&self, chain: &ChainId) -> bool {
        let welcome = match self.forks.get(chain) {
            Some(proof) => !proof.cutting && proof.limit().is_some_and(|limit| self.expected(chain) < limit),
            None => !self.quarantined.contains(&chain.node) && !self.disowned.contains(chain),
        };
        welcome && *chain != self.own.chain && self.members.contains_key(&chain.node)
    }

    /// Where a chain stands on our disk, our own too, whoever may know of that.
    pub(crate) fn head_here(&self, chain: &ChainId) -> Option<Head> {
        if *chain == self.own.chain {
            return self.own.head.clone();
        }
        self.copies.get(chain).filter(|_| !self.forks.is_cutting(chain))?.durable().head()
    }

    fn expected(&self, chain: &ChainId) -> u64 {
        self.copies.get(chain).map_or(0, ChainCopy::expected)
    }

    /// How many commits of this chain may count.
    pub(crate) fn limit(&self, chain: &ChainId) -> u64 {
        self.forks.get(chain).and_then(Proof::limit).unwrap_or(u64::MAX)
    }

    /// Whether more of this chain would be welcome if its writer's keys were known.
    pub(crate) fn is_keyless(&self, chain: &ChainId) -> bool {
        chain.node != self.own.chain.node
            && !self.members.contains_key(&chain.node)
            && !self.quarantined.contains(&chain.node)
    }

    /// Remembers that a connected member says to hold this many commits, within all bounds.
    pub(crate) fn note_ahead(&mut self, chain: ChainId, from: NodeId, commits: u64) {
        if !self.links.contains_key(&from) {
            return;
        }
        if self.is_keyless(&chain) {
            if self.keyless.contains_key(&chain) || self.keyless.len() < KEYLESS_MAX {
                self.keyless.insert(chain, (from, commits));
            } else {
                self.refused += 1;
            }
            return;
        }
        if !self.accepts(&chain) {
            return;
        }
        let commits = commits.min(self.limit(&chain));
        if let Some(copy) = self.copy_or_new(chain) {
            copy.note_ahead(from, commits);
            self.active.insert(chain);
        }
    }

    /// Our copy of an accepted chain, begun when there is none; `None` when the table is full.
    pub(crate) fn copy_or_new(&mut self, chain: ChainId) -> Option<&mut ChainCopy> {
        if !self.copies.contains_key(&chain) {
            let of_writer = self.copies.keys().filter(|other| other.node == chain.node).count();
            if self.copies.len() >= CHAINS_MAX || of_writer >= INCARNATIONS_MAX {
                self.refused += 1;
                return None;
            }
            let empty = self.empty_chain(chain)?;
            self.copies.insert(chain, ChainCopy::new(empty));
        }
        self.copies.get_mut(&chain)
    }

    /// An accepted chain before its first commit: it begins with any of the keys that its writer is known to have had.
    pub(crate) fn empty_chain(&self, chain: ChainId) -> Option<ChainState> {
        let (last, earlier) = self.members.get(&chain.node)?.all().split_last()?;
        Some(ChainState::succeeding(chain, self.cluster, last.clone(), earlier.to_vec()))
    }

    /// All keys that a member is known to have or to have had; none of a stranger.
    pub(crate) fn member_keys(&self, node: &NodeId) -> &[PublicKeys] {
        self.members.get(node).map_or(&[], MemberKeys::all)
    }

    /// What is on a verified chain of a member changes its keys.
    pub(crate) fn learn_rotations(&mut self, node: NodeId, facts: &[PlacedFact]) {
        for placed in facts {
            if let (Fact::KeyRotated(rotation), Some(keys)) = (&placed.fact, self.members.get_mut(&node)) {
                keys.learn(rotation);
            }
        }
    }

    pub(crate) const fn new_fetch(&mut self) -> FetchId {
        let fetch = FetchId(self.next_fetch);
        self.next_fetch += 1;
        fetch
    }

    /// One of `0..count`, by the seeded generator; its bias is below one in 2^32 for any table here.
    pub(crate) fn roll(&mut self, count: usize) -> usize {
        usize::try_from(self.random.next_u64() % (count.max(1) as u64)).unwrap_or(0)
    }

    pub(crate) fn plan_round(&mut self, now: Timestamp) {
        let quarter = self.config.round_us / 4;
        let jitter = self.random.next_u64() % (2 * quarter + 1);
        self.next_round = now.after_us(self.config.round_us - quarter + jitter);
    }

    /// The clock was set back: pauses that were to end by the old one could last for hours, so they end now.
    fn restart_pauses(&mut self, now: Timestamp) {
        self.plan_round(now);
        for link in self.links.values_mut() {
            link.hello_after = now;
            link.hello_due = link.hello_due.map(|_| now);
        }
        self.copies.values_mut().for_each(ChainCopy::end_pauses);
        self.announcing.restart(now);
    }

    fn on_woken(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let due: Vec<NodeId> = self
            .links
            .iter()
            .filter(|(_, link)| link.hello_due.is_some_and(|due| due <= now))
            .map(|(node, _)| *node)
            .collect();
        for node in due {
            self.say_hello(node, now, outputs);
        }
        self.wake_topics(now, outputs);
        self.tick(now, outputs);
        self.seek_again(now, outputs);
        if self.next_round > now {
            return;
        }
        self.plan_round(now);
        let mut nodes: Vec<NodeId> = self.links.keys().copied().collect();
        for _ in 0..self.config.round_members.min(nodes.len()) {
            let node = nodes.swap_remove(self.roll(nodes.len()));
            self.say_hello(node, now, outputs);
            self.ask_wanted(node, outputs);
        }
    }

    fn on_response(
        &mut self,
        fetch: FetchId,
        content: Option<SyncResponse>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let Some((from, purpose)) = self.fetches.remove(&fetch) else { return };
        match purpose {
            Fetch::Hello { root } => self.on_hello_answered(from, root, content, now, outputs),
            Fetch::Stretch(stretched) => self.on_stretch_answered(from, stretched, content, now, outputs),
            Fetch::Range { chain, from_commit } => {
                self.on_range_answered(fetch, from, chain, from_commit, content, now)
            }
            Fetch::Probe { chain, commit_no } => self.on_probe_answered(from, chain, commit_no, content, outputs),
            Fetch::Evidence { chain } => self.on_evidence_answered(from, chain, content, outputs),
            Fetch::Witness => self.on_witness_answered(from, content, now, outputs),
            Fetch::Streams(listing) => self.on_streams_answered(from, listing, content, now, outputs),
            Fetch::Publications(wanted) => {
                self.on_publications_answered(fetch, from, wanted, content, now, outputs);
            }
        }
    }

    fn on_stored(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        let Some(stored) = self.copies.get_mut(&chain).and_then(ChainCopy::take_stored) else { return };
        let Stored { facts, anchors, first, hlc } = stored;
        self.active.insert(chain);
        if let Some(head) = self.copies.get(&chain).and_then(|copy| copy.durable().head()) {
            let named = anchors.iter().map(|anchor| (anchor.chain, anchor.commit_no)).collect();
            self.stand(&head, [first, hlc], named, &facts);
        }
        self.tree.learn(chain, &facts);
        self.learn_rotations(chain.node, &facts);
        self.hear_of_forks(chain.node, &facts, outputs);
        outputs.push(Output::Learn { chain, facts, hlc });
        self.compare_ticks(chain, outputs);
        self.settle(chain, outputs);
        self.vouch_for(chain, outputs);
        self.seek_in(&chain, outputs);
        self.learn_anchors(chain.node, &anchors, outputs);
    }

    /// A stored commit of a member vouches for these; where histories part, that may decide which one counts.
    pub(crate) fn learn_anchors(&mut self, by: NodeId, anchors: &[Anchor], outputs: &mut Vec<Output>) {
        self.witnesses.learn(by, anchors);
        for anchor in anchors {
            self.settle(anchor.chain, outputs);
            self.seek_in(&anchor.chain, outputs);
        }
    }

    /// Moves every active copy as far as it goes, and sets the time of the next retry.
    fn advance(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.retry_at = None;
        let mut pages: Option<usize> = None;
        for chain in self.active.clone() {
            let Some(copy) = self.copies.get_mut(&chain) else {
                self.active.remove(&chain);
                continue;
            };
            // The disk first: what leaves for it makes room for the next verification, and that for the next page.
            if let Some(groups) = copy.next_store() {
                outputs.push(Output::Store { chain, groups });
            }
            if let Some(job) = copy.next_job(now) {
                outputs.push(Output::Verify(Box::new(job)));
            }
            if copy.can_fetch() {
                let held = pages.unwrap_or_else(|| self.copies.values().map(ChainCopy::pages).sum());
                let begun = self.begin_range(chain, held, now, outputs);
                pages = Some(held + usize::from(begun));
            }
            self.rest(chain, now);
        }
    }

    /// Takes a copy off the active list when nothing is left to do, and forgets one that never got a commit.
    fn rest(&mut self, chain: ChainId, now: Timestamp) {
        let Some(copy) = self.copies.get(&chain) else { return };
        if copy.can_fetch() {
            self.retry_at = [self.retry_at, copy.retry_at(now)].into_iter().flatten().min();
        }
        if copy.is_idle() {
            self.active.remove(&chain);
            if copy.durable().commits() == 0 {
                self.copies.remove(&chain);
            }
        }
    }
}

fn gossip(gossip: HeadGossip) -> Output {
    Output::Gossip(Box::new(gossip))
}

/// What is held of a chain, as one stretch.
fn recovered_step(chain: &RecoveredChain) -> Option<Step> {
    let anchors = chain.anchors.iter().map(|anchor| (anchor.chain, anchor.commit_no)).collect();
    let first = chain.facts.first().map_or(Hlc(0), |placed| placed.hlc);
    Some(step_of(&chain.state.head()?, [first, chain.state.last_hlc()], anchors, &chain.facts))
}

/// The first stamp of what does not count any more by this proof, when it shows where that begins.
pub(crate) fn parting(evidence: &Evidence) -> Option<(ChainId, Hlc)> {
    claimed_verdict(evidence).ok()?.shared_commits()?;
    let stamp = |statement: &Statement| match statement.decode().ok()? {
        StatementBody::Commit(commit) => Some(commit.hlc_first),
        StatementBody::Tick(_) => None,
    };
    let stamps = [&evidence.first, &evidence.second].into_iter().filter_map(stamp);
    Some((evidence.chain()?, stamps.min()?))
}

/// The last place in the order with this stamp.
pub(crate) fn everything_until(hlc: Hlc) -> OrderKey {
    OrderKey::new(ChainId::from_bytes(&[u8::MAX; 40]), u64::MAX, hlc)
}

/// The rotations on all stored chains. A later chain of a node may follow one that stands on an earlier one: as long as there was
/// news the rest is looked at again.
fn recover_rotations(recovered: &Recovered, members: &mut BTreeMap<NodeId, MemberKeys>) {
    let on_chain = |chain: &RecoveredChain| {
        let node = chain.state.chain().node;
        let rotation = move |placed: &PlacedFact| match &placed.fact {
            Fact::KeyRotated(rotation) => Some((node, rotation.as_ref().clone())),
            _ => None,
        };
        chain.facts.iter().filter_map(rotation).collect::<Vec<_>>()
    };
    let rotations: Vec<_> = recovered.chains.iter().flat_map(on_chain).collect();
    let mut learn =
        |(node, rotation): &(NodeId, KeyRotation)| members.get_mut(node).is_some_and(|keys| keys.learn(rotation));
    while rotations.iter().filter(|rotation| learn(rotation)).count() > 0 {}
}

/// What was proven by earlier runs, and what other chains tell of.
fn recovered_forks(recovered: &Recovered, members: &BTreeMap<NodeId, MemberKeys>) -> Forks {
    let mut forks = Forks::default();
    for evidence in &recovered.evidence {
        let node = evidence.chain().map(|chain| chain.node);
        let verdict = node.and_then(|node| check_evidence_by(evidence, members.get(&node)?.all()).ok());
        if let Some(verdict) = verdict {
            forks.prove(verdict, evidence.clone());
        }
    }
    forks.mark_reported();
    for chain in &recovered.chains {
        for placed in &chain.facts {
            if let Fact::ForkSeen(seen) = &placed.fact {
                forks.tell(seen.chain, seen.commit_no, chain.state.chain().node);
            }
        }
    }
    forks
}

impl OwnChain {
    fn new(chain: ChainId, state: Option<&ChainState>) -> Self {
        Self {
            chain,
            head: state.and_then(ChainState::head),
            shown: true,
            checkpoints: state.map_or(0, ChainState::checkpoints),
            events_sealed: state.map_or(0, ChainState::sealed_size),
            last_hlc: state.map_or(Hlc(0), ChainState::last_hlc),
        }
    }

    /// Where it stands as far as others may know.
    pub(crate) fn shown_head(&self) -> Option<&Head> {
        self.head.as_ref().filter(|_| self.shown)
    }

    pub(crate) fn grow(&mut self, group: &CommitGroup, head: Head, hlc: Hlc) {
        if group.signed.is_checkpoint() {
            self.checkpoints += 1;
            self.events_sealed = head.size;
        }
        self.head = Some(head);
        self.last_hlc = hlc;
    }

    fn status(&self, now: Timestamp) -> Option<ChainStatus> {
        let head = self.head.as_ref()?;
        Some(ChainStatus {
            chain: head.chain,
            events: head.size,
            commits: head.commit_no + 1,
            checkpoints: self.checkpoints,
            events_sealed: self.events_sealed,
            root: head.root,
            commit_hash: head.commit_hash,
            last_hlc: self.last_hlc,
            parked: judge_stamp(self.last_hlc, now) != StampVerdict::Merged,
            commits_missing: 0,
            forked: false,
        })
    }
}
