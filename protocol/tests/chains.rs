//! The fold that verifies a chain: honest chains pass, and every single change to one is found.

use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::{
    COMMIT_LABEL, ChainError, ChainId, ChainState, Charter, ClusterId, Commit, CommitGroup, EVENT_VERSION, Event,
    EventProof, Fact, Genesis, Hlc, Incarnation, KeyPair, SUITE, Shake, Shutdown, SignedCommit, Signer, Timestamp,
    commit_hash, encode, leaf_hash, link_hash, prove_inclusion, verify_event_proof,
};

const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000);

/// Writes an honest chain, or one with a field changed on purpose.
pub(crate) struct Writer {
    pub(crate) keys: KeyPair,
    pub(crate) cluster: ClusterId,
    pub(crate) state: ChainState,
}

impl Writer {
    pub(crate) fn new() -> Self {
        let keys = KeyPair::generate([1; 32]);
        let charter =
            Charter { founder: keys.public_keys().clone(), rules: ByteBuf::new(), nonce: ByteArray::new([0; 16]) };
        let cluster = charter.cluster_id();
        let chain = ChainId { node: keys.public_keys().node(), incarnation: Incarnation(1) };
        let state = ChainState::new(chain, cluster, keys.public_keys().clone());
        Self { keys, cluster, state }
    }

    /// The same chain, in the hands of whoever holds copies of these keys.
    pub(crate) fn copy(&self) -> Self {
        Self { keys: copied(&self.keys), cluster: self.cluster, state: self.state.clone() }
    }

    pub(crate) fn genesis(&self) -> Fact {
        let keys = self.keys.public_keys().clone();
        let governance_hash = weft_protocol::hash("rules", &[b""]);
        Fact::Genesis(Box::new(Genesis {
            suite: SUITE,
            cluster: self.cluster,
            keys,
            governance_hash,
            charter: None,
            previous: None,
        }))
    }

    /// The next group of these facts, one millisecond apart, `change`d before it is signed.
    pub(crate) fn group(
        &self,
        facts: &[Fact],
        checkpoint: bool,
        change: impl Fn(&mut Commit, &mut Vec<Event>),
    ) -> CommitGroup {
        let first_seq = self.state.size();
        let after = self.state.last_hlc().to_wall().max(BEGIN).0;
        let mut events: Vec<Event> = facts
            .iter()
            .zip(0_u64..)
            .map(|(fact, offset)| Event {
                version: EVENT_VERSION,
                seq: first_seq + offset,
                hlc: Hlc::from_wall(Timestamp(after + 1_000 * (offset + 1))),
                source: "kernel".into(),
                kind: fact.kind().into(),
                cause: Vec::new(),
                payload: ByteBuf::from(fact.encode()),
                rule: None,
            })
            .collect();
        let (mut link, mut frontier) = (self.state.link(), self.state.frontier().clone());
        for event in &events {
            let leaf = leaf_hash(&event.encode());
            link = link_hash(&link, &leaf);
            frontier.push::<Shake>(leaf);
        }
        let alone = Hlc::from_wall(Timestamp(after + 1_000));
        let mut commit = Commit {
            suite: SUITE,
            cluster: self.cluster,
            chain: self.state.chain(),
            commit_no: self.state.commits(),
            prev_commit: self.state.last_commit(),
            first_seq,
            count: events.len() as u64,
            head_link: link,
            tree_size: frontier.size(),
            root: frontier.root::<Shake>(),
            hlc_first: events.first().map_or(alone, |event| event.hlc),
            hlc_last: events.last().map_or(alone, |event| event.hlc),
            anchors: Vec::new(),
        };
        change(&mut commit, &mut events);
        let events = events.iter().map(|event| ByteBuf::from(event.encode())).collect();
        CommitGroup { signed: self.sign(&commit, checkpoint), events }
    }

    fn sign(&self, commit: &Commit, checkpoint: bool) -> SignedCommit {
        let bytes = encode(commit);
        let digest = commit_hash(&bytes);
        let mldsa65 = checkpoint.then(|| ByteBuf::from(self.keys.sign_mldsa65(COMMIT_LABEL, &digest)));
        let ed25519 = ByteArray::new(self.keys.sign_ed25519(COMMIT_LABEL, &digest));
        SignedCommit { commit: ByteBuf::from(bytes), ed25519, mldsa65 }
    }

    pub(crate) fn append(&mut self, facts: &[Fact], checkpoint: bool) -> CommitGroup {
        let group = self.group(facts, checkpoint, |_, _| {});
        self.state.extend(&group).unwrap();
        group
    }
}

pub(crate) fn copied(keys: &KeyPair) -> KeyPair {
    let (seed, secret) = keys.secret_parts();
    KeyPair::from_parts(&seed, secret, keys.public_keys().mldsa65()).unwrap()
}

pub(crate) fn fact(number: u64) -> Fact {
    Fact::Shutdown(Shutdown { stopped: number })
}

/// A writer with a sealed genesis.
pub(crate) fn begun() -> Writer {
    let mut writer = Writer::new();
    writer.append(&[writer.genesis()], true);
    writer
}

#[test]
fn an_honest_chain_verifies_and_counts() {
    let mut writer = begun();
    writer.append(&[fact(1), fact(2)], false);
    writer.append(&[], true);
    let state = &writer.state;
    assert_eq!((state.size(), state.commits(), state.checkpoints(), state.sealed_size()), (3, 3, 2, 3));
    assert_eq!(state.head().unwrap().commit_no, 2);
}

#[test]
fn every_changed_field_is_found_and_changes_nothing() {
    let writer = begun();
    let other = weft_protocol::hash("test", &[b"other"]);
    let changes: [(&str, fn(&mut Commit, weft_protocol::Digest)); 11] = [
        ("cluster", |commit, other| commit.cluster = ClusterId::from_bytes(*other.as_bytes())),
        ("chain", |commit, _| commit.chain.incarnation = Incarnation(2)),
        ("commit_no", |commit, _| commit.commit_no += 1),
        ("prev_commit", |commit, other| commit.prev_commit = other),
        ("first_seq", |commit, _| commit.first_seq += 1),
        ("count", |commit, _| commit.count += 1),
        ("head_link", |commit, other| commit.head_link = other),
        ("tree_size", |commit, _| commit.tree_size += 1),
        ("root", |commit, other| commit.root = other),
        ("hlc", |commit, _| commit.hlc_first = commit.hlc_first.next()),
        ("hlc", |commit, _| commit.hlc_last = commit.hlc_last.next()),
    ];
    for (field, change) in changes {
        let group = writer.group(&[fact(1)], true, |commit, _| change(commit, other));
        let mut state = writer.state.clone();
        assert_eq!(state.extend(&group).unwrap_err(), ChainError::Broken { commit_no: 1, field }, "{field}");
        assert_eq!(state, writer.state, "{field}");
    }
}

#[test]
fn of_an_own_group_all_is_checked_but_the_signature_between_two_checkpoints() {
    let writer = begun();
    let facts = [fact(1), fact(2)];
    let honest = writer.group(&facts, false, |_, _| {});
    assert!(writer.state.clone().extend_own(&honest).is_ok());
    let mut unsigned = honest.clone();
    unsigned.signed.ed25519 = ByteArray::new([7; 64]);
    assert!(matches!(writer.state.clone().extend(&unsigned), Err(ChainError::Signature { .. })));
    assert!(writer.state.clone().extend_own(&unsigned).is_ok());
    let mut checkpoint = writer.group(&facts, true, |_, _| {});
    checkpoint.signed.ed25519 = ByteArray::new([7; 64]);
    assert!(matches!(writer.state.clone().extend_own(&checkpoint), Err(ChainError::Signature { .. })));
    let changed = writer.group(&facts, false, |commit, _| commit.tree_size += 1);
    assert!(matches!(writer.state.clone().extend_own(&changed), Err(ChainError::Broken { field: "tree_size", .. })));
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let writer = begun();
    let group = writer.group(&[fact(1)], true, |_, _| {});
    let flips = |length: usize| (0..length).map(|place| (place, 1_u8 << (place % 8)));
    for (place, bit) in flips(group.signed.commit.len()) {
        let mut flipped = group.clone();
        flipped.signed.commit[place] ^= bit;
        assert!(writer.state.clone().extend(&flipped).is_err(), "commit byte {place}");
    }
    for (place, bit) in flips(group.events[0].len()) {
        let mut flipped = group.clone();
        flipped.events[0][place] ^= bit;
        assert!(writer.state.clone().extend(&flipped).is_err(), "event byte {place}");
    }
    for (place, bit) in flips(64) {
        let mut flipped = group.clone();
        flipped.signed.ed25519[place] ^= bit;
        assert!(writer.state.clone().extend(&flipped).is_err(), "Ed25519 byte {place}");
    }
    for (place, bit) in flips(weft_protocol::MLDSA65_SIGNATURE_BYTES).step_by(101) {
        let mut flipped = group.clone();
        flipped.signed.mldsa65.as_mut().unwrap()[place] ^= bit;
        assert!(writer.state.clone().extend(&flipped).is_err(), "ML-DSA byte {place}");
    }
}

#[test]
fn a_clock_that_stands_still_is_found() {
    let writer = begun();
    let last = writer.state.last_hlc();
    let group = writer.group(&[fact(1)], true, |commit, events| {
        events[0].hlc = last;
        (commit.hlc_first, commit.hlc_last) = (last, last);
        let leaf = leaf_hash(&events[0].encode());
        let mut frontier = writer.state.frontier().clone();
        frontier.push::<Shake>(leaf);
        commit.head_link = link_hash(&writer.state.link(), &leaf);
        commit.root = frontier.root::<Shake>();
    });
    let found = writer.state.clone().extend(&group).unwrap_err();
    assert_eq!(found, ChainError::Broken { commit_no: 1, field: "hlc" });
}

#[test]
fn a_chain_begins_with_its_genesis() {
    let writer = Writer::new();
    let without = writer.group(&[fact(1)], true, |_, _| {});
    assert_eq!(writer.state.clone().extend(&without).unwrap_err(), ChainError::Genesis);
    let empty = writer.group(&[], true, |_, _| {});
    let found = writer.state.clone().extend(&empty).unwrap_err();
    assert_eq!(found, ChainError::Broken { commit_no: 0, field: "genesis" });
    let unsealed = writer.group(&[writer.genesis()], false, |_, _| {});
    assert_eq!(writer.state.clone().extend(&unsealed).unwrap_err(), ChainError::Unsealed { commit_no: 0 });
}

#[test]
fn a_long_unsealed_tail_is_refused() {
    let mut writer = begun();
    let facts: Vec<Fact> = (0..256).map(fact).collect();
    for _ in 0..4 {
        writer.append(&facts, false);
    }
    let group = writer.group(&facts[..1], false, |_, _| {});
    assert_eq!(writer.state.clone().extend(&group).unwrap_err(), ChainError::Unsealed { commit_no: 5 });
    let sealing = writer.group(&facts[..1], true, |_, _| {});
    writer.state.extend(&sealing).unwrap();
}

#[test]
fn a_proof_shows_one_event_and_no_other() {
    let mut writer = Writer::new();
    let groups = [
        writer.append(&[writer.genesis()], true),
        writer.append(&[fact(1), fact(2)], false),
        writer.append(&[fact(3)], true),
    ];
    let leaves: Vec<_> = groups.iter().flat_map(|group| &group.events).map(|event| leaf_hash(event)).collect();
    let proof = EventProof {
        event: groups[1].events[1].clone(),
        inclusion: prove_inclusion::<Shake>(&leaves, 2).unwrap(),
        checkpoint: groups[2].signed.clone(),
        keys: writer.keys.public_keys().clone(),
        rotations: Vec::new(),
    };
    let (event, commit) = verify_event_proof(&proof).unwrap();
    assert_eq!((event.seq, commit.commit_no), (2, 2));

    let mut other_event = proof.clone();
    other_event.event = groups[1].events[0].clone();
    assert!(verify_event_proof(&other_event).is_err());
    let mut unsealed = proof.clone();
    unsealed.checkpoint.mldsa65 = None;
    assert!(verify_event_proof(&unsealed).is_err());
    let mut other_keys = proof;
    other_keys.keys = KeyPair::generate([2; 32]).public_keys().clone();
    assert!(verify_event_proof(&other_keys).is_err());
}
