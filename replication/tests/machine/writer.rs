//! Writes real chains: real events, links, roots and signatures, group by group.

use std::sync::Arc;

use weft_protocol::{
    Anchor, COMMIT_LABEL, ChainId, ChainState, ClusterId, Commit, CommitGroup, CommitRef, Denial, Digest,
    EVENT_VERSION, Event, Fact, Genesis, Head, Hlc, HybridClock, Incarnation, KeyPair, KeyRotation, NodeId, Principal,
    PublicKeys, SUITE, Sender, Shake, SignedCommit, SignedTick, Signer, Tick, Timestamp, commit_hash, encode, hash,
    leaf_hash, link_hash,
};

/// The cluster of all tests.
pub(crate) fn cluster() -> ClusterId {
    ClusterId::from_bytes([7; 32])
}

/// A node that writes its chain. A clone is the same node with a second history.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) keys: Arc<KeyPair>,
    /// Those that it had before, each with the number of the first commit that it did not sign.
    retired: Vec<(u64, Arc<KeyPair>)>,
    /// Those of its certificate.
    certified: PublicKeys,
    pub(crate) chain: ChainId,
    pub(crate) groups: Vec<CommitGroup>,
    state: ChainState,
    clock: HybridClock,
    /// What the next event says.
    next_fact: Option<Fact>,
}

/// A header before it is signed, for those who want to write something else.
pub(crate) type Bend<'a> = &'a dyn Fn(&mut Commit);

impl Writer {
    pub(crate) fn new(seed: u8) -> Self {
        let keys = Arc::new(KeyPair::generate([seed; 32]));
        let chain = ChainId { node: keys.public_keys().node(), incarnation: Incarnation(u64::from(seed)) };
        let state = ChainState::new(chain, cluster(), keys.public_keys().clone());
        let certified = keys.public_keys().clone();
        let (retired, groups, clock) = (Vec::new(), Vec::new(), HybridClock::restored(Hlc(0)));
        Self { keys, retired, certified, chain, groups, state, clock, next_fact: None }
    }

    /// A new incarnation of the same node.
    pub(crate) fn reborn(&self, incarnation: u64) -> Self {
        let chain = ChainId { node: self.chain.node, incarnation: Incarnation(incarnation) };
        let state = ChainState::new(chain, cluster(), self.keys.public_keys().clone());
        Self {
            keys: Arc::clone(&self.keys),
            retired: Vec::new(),
            certified: self.certified.clone(),
            chain,
            groups: Vec::new(),
            state,
            clock: self.clock.clone(),
            next_fact: None,
        }
    }

    /// The keys of its certificate, whichever it has now.
    pub(crate) fn public(&self) -> PublicKeys {
        self.certified.clone()
    }

    /// Writes a checkpoint that hands the chain over to new keys, and goes on with those.
    pub(crate) fn rotate(&mut self, now: Timestamp) {
        let (seed, _) = self.keys.secret_parts();
        let next = Arc::new(KeyPair::generate(*seed));
        self.say(now, Fact::KeyRotated(Box::new(KeyRotation::new(self.chain, &*self.keys, &*next))));
        let old = std::mem::replace(&mut self.keys, next);
        self.retired.push((self.state.commits(), old));
    }

    /// Those that sign the commit of that number.
    fn keys_at(&self, commit_no: u64) -> &KeyPair {
        self.retired.iter().find(|(until, _)| commit_no < *until).map_or(&self.keys, |(_, keys)| keys)
    }

    /// Stands where its groups do.
    pub(crate) fn replay(&mut self) {
        self.state = ChainState::new(self.chain, cluster(), self.certified.clone());
        self.groups
            .iter()
            .for_each(|group| drop(self.state.extend(group).expect("an honest group continues its chain")));
    }

    /// Goes on after a restart, with stamps above those that were reserved `ahead_us` ahead of use.
    pub(crate) fn restart(&mut self, ahead_us: u64) {
        let last = self.clock.last();
        self.clock = HybridClock::restored(Hlc::from_wall(last.to_wall().after_us(ahead_us)).max(last));
    }

    /// Ticks while nothing is on its way to the disk: nothing follows at or below now.
    pub(crate) fn tick(&mut self, now: Timestamp) -> SignedTick {
        let hlc = self.clock.tick(now);
        self.tick_of(self.groups.len() - 1, hlc)
    }

    /// What it would say of the commit of this number; nothing holds it to that.
    pub(crate) fn tick_of(&self, number: usize, hlc: Hlc) -> SignedTick {
        let (commit_no, commit_hash) = (number as u64, self.groups[number].signed.hash());
        let last = CommitRef { chain: self.chain, commit_no, commit_hash };
        let tick = Tick { cluster: cluster(), last, hlc, horizon: Hlc(0), heads: Vec::new() };
        SignedTick::new(&tick, self.keys_at(commit_no + 1))
    }

    pub(crate) fn head(&self) -> Head {
        self.state.head().unwrap()
    }

    pub(crate) fn state(&self) -> &ChainState {
        &self.state
    }

    /// Writes a commit of so many events, each about `padding` bytes larger than need be; the first event is the genesis.
    pub(crate) fn write(&mut self, now: Timestamp, events: usize, padding: usize, checkpoint: bool) -> &CommitGroup {
        let group = self.compose(now, events, padding, checkpoint, &|_| {});
        self.state.extend(&group).expect("an honest group continues its chain");
        self.groups.push(group);
        self.groups.last().unwrap()
    }

    /// Writes a checkpoint of one event that says this.
    pub(crate) fn say(&mut self, now: Timestamp, fact: Fact) {
        self.next_fact = Some(fact);
        self.write(now, 1, 0, true);
    }

    /// Writes a checkpoint of two events that vouches for these heads.
    pub(crate) fn vouch(&mut self, now: Timestamp, heads: &[Head]) {
        let anchor = |head: &Head| Anchor {
            chain: head.chain,
            commit_no: head.commit_no,
            size: head.size,
            root: head.root,
            commit_hash: head.commit_hash,
        };
        let anchors: Vec<Anchor> = heads.iter().map(anchor).collect();
        let group = self.compose(now, 2, 0, true, &|commit| commit.anchors.clone_from(&anchors));
        self.state.extend(&group).expect("an honest group continues its chain");
        self.groups.push(group);
    }

    /// Writes `commits` small checkpoints of two events.
    pub(crate) fn write_many(&mut self, now: Timestamp, commits: usize) {
        for _ in 0..commits {
            self.write(now, 2, 0, true);
        }
    }

    /// The group that would come next, with its header bent before it is signed; nothing is written.
    pub(crate) fn compose(
        &mut self,
        now: Timestamp,
        count: usize,
        padding: usize,
        checkpoint: bool,
        bend: Bend<'_>,
    ) -> CommitGroup {
        let (mut link, mut frontier) = (self.state.link(), self.state.frontier().clone());
        let first_seq = self.state.size();
        let mut events = Vec::new();
        let mut stamps = Vec::new();
        for seq in (first_seq..).take(count) {
            let hlc = self.clock.tick(now);
            let said = self.next_fact.take().filter(|_| seq > 0);
            let other = || if seq == 0 { self.genesis() } else { event_fact(self.chain.node, seq, padding) };
            let fact = said.unwrap_or_else(other);
            let event = Event {
                version: EVENT_VERSION,
                seq,
                hlc,
                source: "kernel".into(),
                kind: fact.kind().to_owned(),
                cause: Vec::new(),
                payload: fact.encode().into(),
                rule: None,
            };
            let bytes = event.encode();
            let leaf = leaf_hash(&bytes);
            link = link_hash(&link, &leaf);
            frontier.push::<Shake>(leaf);
            stamps.push(hlc);
            events.push(bytes.into());
        }
        let own = self.clock.tick(now);
        let mut commit = Commit {
            suite: SUITE,
            cluster: cluster(),
            chain: self.chain,
            commit_no: self.state.commits(),
            prev_commit: self.state.last_commit(),
            first_seq,
            count: count as u64,
            head_link: link,
            tree_size: frontier.size(),
            root: frontier.root::<Shake>(),
            hlc_first: stamps.first().copied().unwrap_or(own),
            hlc_last: stamps.last().copied().unwrap_or(own),
            anchors: Vec::new(),
        };
        bend(&mut commit);
        CommitGroup { signed: self.sign(&commit, checkpoint), events }
    }

    pub(crate) fn sign(&self, commit: &Commit, checkpoint: bool) -> SignedCommit {
        let bytes = encode(commit);
        let digest: Digest = commit_hash(&bytes);
        let keys = self.keys_at(commit.commit_no);
        SignedCommit {
            ed25519: keys.sign_ed25519(COMMIT_LABEL, &digest).into(),
            mldsa65: checkpoint.then(|| keys.sign_mldsa65(COMMIT_LABEL, &digest).into()),
            commit: bytes.into(),
        }
    }

    fn genesis(&self) -> Fact {
        Fact::Genesis(Box::new(Genesis {
            suite: SUITE,
            cluster: cluster(),
            keys: self.state.keys().clone(),
            governance_hash: hash("rules", &[]),
            charter: None,
            previous: None,
        }))
    }
}

/// Every third event is of a kind that no program knows.
fn event_fact(writer: NodeId, seq: u64, padding: usize) -> Fact {
    if seq % 3 == 2 {
        return Fact::Opaque { kind: "test.note".into(), payload: vec![0; padding].into() };
    }
    Fact::Denied(Denial {
        by: Sender { node: writer, principal: Principal::Operator },
        action: "send".into(),
        resource: "x".repeat(padding),
        rule: format!("rule {seq}"),
        message: None,
    })
}
