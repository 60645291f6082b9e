//! Real chains for tests: signed by real keys, accepted by the same check that peers use.

use weft_protocol::{
    AgentName, Batch, Boot, COMMIT_LABEL, ChainId, ChainState, ClusterId, Commit, CommitGroup, CommitRef, Digest,
    DigestRow, EVENT_VERSION, Envelope, Event, Evidence, Fact, Genesis, Hlc, Incarnation, KeyPair, Leaves, Level,
    LocalTarget, MessageBatch, MessageId, MessageRecord, NodeId, OutboxEntry, Payload, PlacedFact, Principal,
    Recovered, Reserved, SUITE, Sender, Shake, SignedCommit, SignedTick, Signer, Stage, StateFold, Tick, Timestamp,
    TraceId, commit_hash, encode, leaf_hash, link_hash, root,
};

pub(crate) fn cluster() -> ClusterId {
    ClusterId::from_bytes([9; 32])
}

/// A writer of one chain.
pub(crate) struct Writer {
    pub(crate) keys: KeyPair,
    pub(crate) state: ChainState,
    clock: u64,
}

impl Writer {
    pub(crate) fn new(seed: u8) -> Self {
        let keys = KeyPair::generate([seed; 32]);
        let chain = ChainId { node: keys.public_keys().node(), incarnation: Incarnation(7) };
        let state = ChainState::new(chain, cluster(), keys.public_keys().clone());
        Self { keys, state, clock: 1 << 32 }
    }

    /// The same writer at the same place, to write another history.
    pub(crate) fn twin(&self) -> Self {
        let (seed, mldsa65) = self.keys.secret_parts();
        let keys = KeyPair::from_parts(&seed, mldsa65, self.keys.public_keys().mldsa65()).unwrap();
        Self { keys, state: self.state.clone(), clock: self.clock + 1000 }
    }

    /// The same writer at an earlier place, to write another history from there.
    pub(crate) fn rewound(&self, state: ChainState) -> Self {
        Self { state, ..self.twin() }
    }

    pub(crate) fn chain(&self) -> ChainId {
        self.state.chain()
    }

    pub(crate) fn genesis(&mut self) -> CommitGroup {
        let keys = self.keys.public_keys().clone();
        let governance_hash = Digest::from_bytes([3; 32]);
        let genesis =
            Genesis { suite: SUITE, cluster: cluster(), keys, governance_hash, charter: None, previous: None };
        self.group(&[Fact::Genesis(Box::new(genesis)), boot("0.1.0")], true)
    }

    /// The next group, with these facts in its events.
    pub(crate) fn group(&mut self, facts: &[Fact], checkpoint: bool) -> CommitGroup {
        let (mut frontier, mut link) = (self.state.frontier().clone(), self.state.link());
        let first_seq = self.state.size();
        let mut stamps = Vec::new();
        let mut events = Vec::new();
        for (seq, fact) in (first_seq..).zip(facts) {
            self.clock += 10;
            stamps.push(Hlc(self.clock));
            let event = Event {
                version: EVENT_VERSION,
                seq,
                hlc: Hlc(self.clock),
                source: "kernel".into(),
                kind: fact.kind().into(),
                cause: Vec::new(),
                payload: fact.encode().into(),
                rule: None,
            };
            let bytes = event.encode();
            let leaf = leaf_hash(&bytes);
            link = link_hash(&link, &leaf);
            frontier.push::<Shake>(leaf);
            events.push(bytes.into());
        }
        if stamps.is_empty() {
            self.clock += 10;
            stamps.push(Hlc(self.clock));
        }
        let commit = Commit {
            suite: SUITE,
            cluster: cluster(),
            chain: self.chain(),
            commit_no: self.state.commits(),
            prev_commit: self.state.last_commit(),
            first_seq,
            count: facts.len() as u64,
            head_link: link,
            tree_size: frontier.size(),
            root: frontier.root::<Shake>(),
            hlc_first: *stamps.first().unwrap(),
            hlc_last: *stamps.last().unwrap(),
            anchors: Vec::new(),
        };
        let bytes = encode(&commit);
        let hash = commit_hash(&bytes);
        let signed = SignedCommit {
            commit: bytes.into(),
            ed25519: self.keys.sign_ed25519(COMMIT_LABEL, &hash).into(),
            mldsa65: checkpoint.then(|| self.keys.sign_mldsa65(COMMIT_LABEL, &hash).into()),
        };
        let group = CommitGroup { signed, events };
        self.state.extend(&group).expect("a good writer");
        group
    }

    /// A group with one event that carries `text` as a durable message's body.
    pub(crate) fn says(&mut self, counter: u64, text: &str) -> CommitGroup {
        let record = self.record(counter, Some(text));
        self.group(&[Fact::Message(Box::new(record))], false)
    }

    /// One step of a message of this chain's node.
    pub(crate) fn record(&self, counter: u64, body: Option<&str>) -> MessageRecord {
        let body = body.map(|text| Payload::Text(text.into()));
        MessageRecord {
            stage: Stage::Sent,
            message: MessageId { chain: self.chain(), counter },
            trace: TraceId(counter / 2),
            hlc: Hlc(self.clock),
            from: operator(self.chain().node),
            target: "echo".into(),
            peer: self.chain().node,
            rule: "owner".into(),
            body_hash: Digest::from_bytes([1; 32]),
            body_bytes: 2,
            body,
            parts: None,
        }
    }

    /// An event that covers these steps, and the row beside it.
    pub(crate) fn digest(&mut self, counters: std::ops::Range<u64>) -> (CommitGroup, DigestRow) {
        let records: Vec<MessageRecord> = counters.map(|counter| self.record(counter, None)).collect();
        self.digest_of(&records)
    }

    /// The same for steps of any kind.
    pub(crate) fn digest_of(&mut self, steps: &[MessageRecord]) -> (CommitGroup, DigestRow) {
        let mut records = Leaves::default();
        let leaves: Vec<Digest> = steps.iter().map(|step| records.push(self.chain(), &step.step())).collect();
        let batch = MessageBatch { root: root::<weft_protocol::Blake3>(&leaves), count: leaves.len() as u64 };
        let row = DigestRow { chain: self.chain(), seq: self.state.size(), records };
        (self.group(&[Fact::Batch(batch)], true), row)
    }

    pub(crate) fn outbox_entry(&self, counter: u64) -> OutboxEntry {
        let envelope = Envelope {
            id: MessageId { chain: self.chain(), counter },
            hlc: Hlc(self.clock),
            trace: TraceId(counter),
            from: operator(self.chain().node),
            target: LocalTarget::Agent("echo".parse::<AgentName>().unwrap()),
            payload: Payload::Text("hi".into()),
            wants_reply: false,
            level: "durable".parse::<Level>().unwrap(),
            deadline_us: 5_000_000,
            hops: 1,
            grant: None,
            cause: Vec::new(),
            parts: false,
        };
        OutboxEntry { to: self.chain().node, envelope, expires: Timestamp(99) }
    }
}

fn operator(node: NodeId) -> Sender {
    Sender { node, principal: Principal::Operator }
}

pub(crate) fn boot(version: &str) -> Fact {
    Fact::Boot(Boot { version: version.into(), name: "alpha".parse().unwrap(), counter: None, environment: None })
}

pub(crate) fn one(chain: ChainId, group: CommitGroup) -> Batch {
    Batch { groups: vec![(chain, group)], ..Batch::default() }
}

/// A state that no event changes, for chains without snapshots.
struct NoFold;

impl StateFold for NoFold {
    fn apply(&mut self, _placed: &PlacedFact) {}

    fn state_hash(&self) -> Digest {
        Digest::from_bytes([0; 32])
    }
}

pub(crate) fn no_fold(_chain: ChainId) -> Box<dyn StateFold> {
    Box::new(NoFold)
}

/// A little of everything: two chains, digests, outbox, reservation, evidence, addresses; each batch one commit.
pub(crate) fn script() -> (Vec<Batch>, ChainId, ChainId) {
    let (mut own, mut peer) = (Writer::new(1), Writer::new(2));
    let (own_id, peer_id) = (own.chain(), peer.chain());
    let mut batches = Vec::new();
    let first = Batch { reserved: Some(Reserved { counter: 64, clock: Hlc(5) }), ..one(own_id, own.genesis()) };
    batches.push(first);
    let mut second = one(own_id, own.says(1, "the first own text"));
    second.groups.push((peer_id, peer.genesis()));
    second.groups.push((peer_id, peer.says(1, "the first foreign text")));
    second.outbox_put = vec![own.outbox_entry(1), own.outbox_entry(2)];
    batches.push(second);
    let (group, row) = own.digest(10..15);
    batches.push(Batch {
        digests: vec![row],
        outbox_drop: vec![own.outbox_entry(1).envelope.id],
        ..one(own_id, group)
    });
    let (left, right) = (peer.twin().says(2, "left"), peer.twin().says(2, "right"));
    let last = CommitRef { chain: peer_id, commit_no: 3, commit_hash: right.signed.hash() };
    let tick = Tick { cluster: cluster(), last, hlc: Hlc(5), horizon: Hlc(4), heads: vec![last] };
    let claim = SignedTick::new(&tick, &peer.keys).claim(&tick);
    let broken = Evidence { first: claim.into(), second: left.signed.clone().into(), rotations: Vec::new() };
    let evidence =
        vec![Evidence { first: left.signed.into(), second: right.signed.into(), rotations: Vec::new() }, broken];
    let addresses = vec![(peer_id.node, vec!["/ip4/127.0.0.1/udp/1/quic-v1".to_owned()])];
    let reserved = Some(Reserved { counter: 128, clock: Hlc(9) });
    batches.push(Batch { evidence, addresses, reserved, ..one(peer_id, peer.says(2, "the second foreign text")) });
    batches.push(one(own_id, own.group(&[boot("0.1.1")], true)));
    batches.push(one(own_id, own.says(3, "the last own text")));
    (batches, own_id, peer_id)
}

/// What a start read, in a form that can be compared.
pub(crate) fn summary(recovered: &Recovered) -> String {
    format!("{recovered:#?}")
}

/// How many commits each chain has.
pub(crate) fn commits(recovered: &Recovered, chain: ChainId) -> u64 {
    recovered.chains.iter().find(|held| held.state.chain() == chain).map_or(0, |held| held.state.commits())
}
