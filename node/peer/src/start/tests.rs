//! What a start decides, for each thing that members can say and each thing that may be remembered.

use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::{
    COMMIT_LABEL, ClusterId, Commit, EVENT_VERSION, Event, Fact, Frontier, Genesis, Hlc, Incarnation, KeyPair, SUITE,
    Shake, Signer as _, encode, hash, leaf_hash, link_hash,
};

use super::*;

const T0: Timestamp = Timestamp(1_000_000_000);

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

fn members(bytes: &[u8]) -> BTreeSet<NodeId> {
    bytes.iter().copied().map(node).collect()
}

/// A writer whose history can be taken back.
#[derive(Clone)]
struct Writer {
    keys: std::sync::Arc<KeyPair>,
    state: ChainState,
    groups: Vec<CommitGroup>,
}

impl Writer {
    fn new(commits: usize) -> Self {
        let keys = std::sync::Arc::new(KeyPair::generate([7; 32]));
        let chain = ChainId { node: keys.public_keys().node(), incarnation: Incarnation(1) };
        let state = ChainState::new(chain, ClusterId::from_bytes([3; 32]), keys.public_keys().clone());
        let mut writer = Self { keys, state, groups: Vec::new() };
        (0..commits).for_each(|_| writer.write("same"));
        writer
    }

    fn write(&mut self, word: &str) {
        let (seq, hlc) = (self.state.size(), Hlc(1_000 + self.state.size()));
        let fact = if seq == 0 {
            Fact::Genesis(Box::new(Genesis {
                suite: SUITE,
                cluster: self.state.cluster(),
                keys: self.keys.public_keys().clone(),
                governance_hash: hash("rules", &[]),
                charter: None,
                previous: None,
            }))
        } else {
            Fact::Opaque { kind: "test".to_owned(), payload: ByteBuf::from(word.as_bytes()) }
        };
        let (kind, payload) = (fact.kind().to_owned(), ByteBuf::from(fact.encode()));
        let source = "test".to_owned();
        let event =
            Event { version: EVENT_VERSION, seq, hlc, source, kind, cause: Vec::new(), payload, rule: None }.encode();
        let leaf = leaf_hash(&event);
        let mut frontier: Frontier = self.state.frontier().clone();
        frontier.push::<Shake>(leaf);
        let commit = encode(&Commit {
            suite: SUITE,
            cluster: self.state.cluster(),
            chain: self.state.chain(),
            commit_no: self.state.commits(),
            prev_commit: self.state.last_commit(),
            first_seq: seq,
            count: 1,
            head_link: link_hash(&self.state.link(), &leaf),
            tree_size: frontier.size(),
            root: frontier.root::<Shake>(),
            hlc_first: hlc,
            hlc_last: hlc,
            anchors: Vec::new(),
        });
        let digest = weft_protocol::commit_hash(&commit);
        let signed = SignedCommit {
            commit: ByteBuf::from(commit),
            ed25519: ByteArray::new(self.keys.sign_ed25519(COMMIT_LABEL, &digest)),
            mldsa65: Some(ByteBuf::from(self.keys.sign_mldsa65(COMMIT_LABEL, &digest))),
        };
        let group = CommitGroup { signed, events: vec![ByteBuf::from(event)] };
        self.state.extend(&group).expect("an honest group");
        self.groups.push(group);
    }

    /// The same writer when it had written less.
    fn first(&self, commits: usize) -> Self {
        let (chain, cluster) = (self.state.chain(), self.state.cluster());
        let mut state = ChainState::new(chain, cluster, self.keys.public_keys().clone());
        let groups = self.groups[..commits].to_vec();
        groups.iter().for_each(|group| drop(state.extend(group).expect("written")));
        Self { keys: std::sync::Arc::clone(&self.keys), state, groups }
    }

    fn head(&self) -> Head {
        self.state.head().expect("begun")
    }

    fn page(&self, from: usize, most: usize) -> SyncResponse {
        let groups = self.groups.iter().skip(from).take(most).cloned().collect();
        SyncResponse::Page { chain: self.state.chain(), groups }
    }

    fn start(&self, memory: Memory) -> Start {
        Start::new(self.state.clone(), memory, 0)
    }
}

fn unknown() -> Memory {
    Memory::Unknown("nothing is remembered".to_owned())
}

fn lost() -> Memory {
    Memory::Lost("two commits are gone".to_owned())
}

fn look(start: &mut Start, known: &[u8], after_us: u64) -> Vec<Act> {
    let mut acts = Vec::new();
    start.look(&members(known), T0.after_us(after_us), &mut acts);
    acts
}

fn connect(start: &mut Start, who: u8) -> Vec<Act> {
    let mut acts = Vec::new();
    start.connected(node(who), &mut acts);
    acts
}

fn answer(start: &mut Start, who: u8, content: Option<SyncResponse>) -> Vec<Act> {
    let mut acts = Vec::new();
    start.answered(node(who), content, T0, &mut acts);
    acts
}

fn heads(head: Option<Head>) -> Option<SyncResponse> {
    Some(SyncResponse::Heads(head.into_iter().collect()))
}

/// Connected, asked, and told that it holds this.
fn told(start: &mut Start, who: u8, head: Option<Head>) -> Vec<Act> {
    connect(start, who);
    answer(start, who, heads(head))
}

#[test]
fn a_chain_that_was_just_chosen_and_one_that_is_remembered_with_nobody_else_go_on_at_once() {
    let writer = Writer::new(3);
    assert_eq!(look(&mut writer.start(Memory::Fresh), &[1, 2], 0), [Act::Continue]);
    assert_eq!(look(&mut writer.start(Memory::Agrees), &[], 0), [Act::Continue]);
}

#[test]
fn a_remembered_chain_goes_on_when_all_have_answered_or_two_seconds_have_passed() {
    let writer = Writer::new(3);
    let mut start = writer.start(Memory::Agrees);
    assert_eq!(look(&mut start, &[1, 2], 0), []);
    let chain = writer.state.chain();
    assert_eq!(connect(&mut start, 1), [Act::Ask { to: node(1), content: SyncRequest::Head { chain } }]);
    assert_eq!(answer(&mut start, 1, heads(Some(writer.head()))), []);
    assert_eq!(look(&mut start, &[1, 2], 1_999_999), []);
    assert_eq!(start.next_wakeup(T0), Some(T0.after_us(WAIT_US)));
    let mut late = writer.start(Memory::Agrees);
    look(&mut late, &[1, 2], 0);
    assert_eq!(look(&mut late, &[1, 2], WAIT_US), [Act::Continue], "nobody is there");
    told(&mut start, 2, None);
    assert_eq!(look(&mut start, &[1, 2], 1_999_999), [Act::Continue]);
    assert_eq!(look(&mut start, &[1, 2], 2_000_000), [], "it is decided once");
}

#[test]
fn an_unsure_chain_goes_on_only_when_every_member_has_answered_and_has_had_its_time() {
    let writer = Writer::new(3);
    for memory in [unknown(), lost()] {
        let mut start = writer.start(memory);
        look(&mut start, &[1, 2], 0);
        told(&mut start, 1, Some(writer.head()));
        told(&mut start, 2, Some(writer.head()));
        assert_eq!(look(&mut start, &[1, 2], WAIT_US - 1), [], "one that is not known may find us yet");
        assert_eq!(look(&mut start, &[1, 2], WAIT_US), [Act::Continue]);
    }
}

#[test]
fn an_unsure_chain_is_left_when_a_member_is_silent() {
    let writer = Writer::new(3);
    for memory in [unknown(), lost()] {
        let mut start = writer.start(memory);
        look(&mut start, &[1, 2], 0);
        told(&mut start, 1, Some(writer.head()));
        let acts = look(&mut start, &[1, 2], WAIT_US);
        let [Act::Over(StartOver::Reincarnate { reason, disown: false })] = &acts[..] else { panic!("{acts:?}") };
        assert!(reason.ends_with("; 1 of 2 other members did not answer"), "{reason}");
    }
}

#[test]
fn alone_a_chain_goes_on_unless_it_is_known_that_something_was_lost() {
    let writer = Writer::new(3);
    let mut start = writer.start(unknown());
    assert_eq!(look(&mut start, &[], 0), []);
    assert_eq!(look(&mut start, &[], WAIT_US), [Act::Continue]);
    let mut start = writer.start(lost());
    look(&mut start, &[], 0);
    assert!(matches!(look(&mut start, &[], WAIT_US)[..], [Act::Over(StartOver::Reincarnate { .. })]));
}

#[test]
fn one_more_chain_than_others_keep_is_not_begun() {
    let writer = Writer::new(3);
    let most = weft_protocol::limits::INCARNATIONS_MAX;
    let decided = |earlier| {
        let mut start = Start::new(writer.state.clone(), lost(), earlier);
        look(&mut start, &[1], 0);
        look(&mut start, &[1], 3 * WAIT_US)
    };
    assert!(matches!(decided(most - 2)[..], [Act::Over(StartOver::Reincarnate { .. })]));
    assert_eq!(decided(most - 1), [], "it waits for the members that are not there");
}

#[test]
fn a_member_that_is_asked_is_waited_for_a_little_longer() {
    let writer = Writer::new(3);
    let mut start = writer.start(lost());
    look(&mut start, &[1], 0);
    connect(&mut start, 1);
    assert_eq!(look(&mut start, &[1], WAIT_US), []);
    assert!(matches!(look(&mut start, &[1], WAIT_US + ANSWER_US)[..], [Act::Over(_)]));
}

#[test]
fn what_a_member_holds_beyond_the_home_is_fetched_page_by_page_and_the_start_begins_anew() {
    let writer = Writer::new(7);
    for memory in [Memory::Agrees, unknown(), lost()] {
        let mut start = writer.first(3).start(memory);
        look(&mut start, &[1, 2], 0);
        assert_eq!(told(&mut start, 1, Some(writer.head())), []);
        let chain = writer.state.chain();
        let ask = |from_commit| {
            let content = SyncRequest::Range { chain, from_commit, bytes_max: PAGE_BYTES };
            Act::Ask { to: node(1), content }
        };
        assert_eq!(look(&mut start, &[1, 2], 1), [ask(3)]);
        assert_eq!(answer(&mut start, 1, Some(writer.page(3, 2))), [Act::Store(writer.groups[3..5].to_vec())]);
        assert_eq!(look(&mut start, &[1, 2], WAIT_US), [], "not before it is on disk");
        let mut acts = Vec::new();
        start.stored(&mut acts);
        assert_eq!(acts, [ask(5)]);
        assert_eq!(answer(&mut start, 1, Some(writer.page(5, 2))), [Act::Store(writer.groups[5..7].to_vec())]);
        start.stored(&mut Vec::new());
        assert_eq!(answer(&mut start, 1, Some(writer.page(7, 2))), []);
        let over = StartOver::Fetched { commits: 4, from: node(1) };
        assert_eq!(look(&mut start, &[1, 2], WAIT_US), [Act::Over(over)]);
    }
}

#[test]
fn what_is_on_its_way_to_the_disk_contradicts_nobody() {
    let writer = Writer::new(7);
    let mut start = writer.first(3).start(Memory::Agrees);
    look(&mut start, &[1, 2], 0);
    told(&mut start, 1, Some(writer.head()));
    look(&mut start, &[1, 2], 1);
    answer(&mut start, 1, Some(writer.page(3, 4)));
    // The other member lags behind what was fetched, and the page is not on disk yet.
    told(&mut start, 2, Some(writer.first(5).head()));
    let compare = answer(&mut start, 2, Some(writer.page(4, 1)));
    assert!(matches!(compare[..], [Act::Compare { commit_no: 4, .. }]), "{compare:?}");
    let mut acts = Vec::new();
    start.compared(None, &writer.groups[4].signed, &mut acts);
    let chain = writer.state.chain();
    assert_eq!(acts, [Act::Ask { to: node(2), content: SyncRequest::Head { chain } }], "it is asked again");
}

#[test]
fn a_second_history_is_never_continued_nor_shown() {
    let mut ours = Writer::new(3);
    let mut theirs = ours.clone();
    ours.write("ours");
    theirs.write("theirs");
    let disowned = |acts: &[Act]| matches!(acts, [Act::Over(StartOver::Reincarnate { disown: true, .. })]);

    // As long as ours: the commit that it says to hold is looked at.
    let mut start = ours.start(Memory::Agrees);
    look(&mut start, &[1], 0);
    let acts = told(&mut start, 1, Some(theirs.head()));
    assert!(matches!(acts[..], [Act::Ask { content: SyncRequest::Range { from_commit: 3, .. }, .. }]), "{acts:?}");
    let other = theirs.groups[3].signed.clone();
    let compare = Act::Compare { commit_no: 3, other: Box::new(other.clone()) };
    assert_eq!(answer(&mut start, 1, Some(theirs.page(3, 1))), [compare]);
    assert_eq!(look(&mut start, &[1], 1), [], "not before our own was read");
    let mut acts = Vec::new();
    start.compared(Some(&ours.groups[3].signed), &other, &mut acts);
    assert!(disowned(&acts), "{acts:?}");

    // Longer than ours: it does not continue what we hold.
    theirs.write("more");
    let mut start = ours.start(lost());
    look(&mut start, &[1], 0);
    told(&mut start, 1, Some(theirs.head()));
    look(&mut start, &[1], 1);
    assert!(disowned(&answer(&mut start, 1, Some(theirs.page(4, 1)))));
}

#[test]
fn a_member_that_lags_behind_on_the_same_history_is_level() {
    let writer = Writer::new(5);
    let lagging = writer.first(2);
    let mut start = writer.start(lost());
    look(&mut start, &[1], 0);
    told(&mut start, 1, Some(lagging.head()));
    answer(&mut start, 1, Some(lagging.page(1, 1)));
    let mut acts = Vec::new();
    start.compared(Some(&writer.groups[1].signed), &lagging.groups[1].signed, &mut acts);
    assert_eq!(acts, []);
    assert_eq!(look(&mut start, &[1], WAIT_US), [Act::Continue]);
}

#[test]
fn a_member_that_lies_is_as_if_it_were_not_there() {
    let writer = Writer::new(3);
    let mut forged = writer.clone();
    forged.write("more");
    forged.groups[3].signed.ed25519[0] ^= 1;
    let lies: [&dyn Fn(&mut Start) -> Vec<Act>; 3] = [
        &|start| {
            told(start, 1, Some(forged.head()));
            look(start, &[1], 1);
            answer(start, 1, Some(forged.page(3, 1)))
        },
        &|start| told(start, 1, Some(Head { commit_no: u64::MAX, ..writer.head() })),
        &|start| {
            connect(start, 1);
            answer(start, 1, Some(SyncResponse::Same))
        },
    ];
    for lie in lies {
        let mut start = writer.start(lost());
        look(&mut start, &[1], 0);
        assert_eq!(lie(&mut start), []);
        assert!(matches!(
            look(&mut start, &[1], WAIT_US)[..],
            [Act::Over(StartOver::Reincarnate { disown: false, .. })]
        ));
        let mut start = writer.start(Memory::Agrees);
        look(&mut start, &[1], 0);
        lie(&mut start);
        assert_eq!(look(&mut start, &[1], WAIT_US), [Act::Continue]);
    }
}

#[test]
fn a_question_that_got_no_answer_is_asked_again_and_not_one_of_a_member_that_is_gone() {
    let writer = Writer::new(3);
    let mut start = writer.start(lost());
    look(&mut start, &[1], 0);
    connect(&mut start, 1);
    answer(&mut start, 1, None);
    assert_eq!(start.next_wakeup(T0), Some(T0.after_us(RETRY_US)));
    let ask = Act::Ask { to: node(1), content: SyncRequest::Head { chain: writer.state.chain() } };
    assert_eq!(look(&mut start, &[1], RETRY_US), [ask]);
    start.disconnected(node(1));
    assert_eq!(answer(&mut start, 1, heads(Some(writer.head()))), []);
    assert!(matches!(look(&mut start, &[1], WAIT_US)[..], [Act::Over(_)]));
}

#[test]
fn what_is_remembered_is_compared_with_what_the_home_holds() {
    let writer = Writer::new(5);
    let chain = writer.state.chain();
    let said = |commits: u64| Said {
        chain,
        commits,
        last_commit: commits
            .checked_sub(1)
            .map_or(hash("none", &[]), |last| writer.groups[usize::try_from(last).expect("small")].signed.hash()),
    };
    let compare = |said: Option<&Said>, held: usize, elsewhere: Option<&str>| {
        let commit = |number: u64| {
            writer.groups[..held].get(usize::try_from(number).expect("small")).map(|group| group.signed.clone())
        };
        Memory::compare(said, chain, held as u64, elsewhere, commit)
    };
    assert_eq!(compare(Some(&said(5)), 5, None), Memory::Agrees);
    assert_eq!(compare(Some(&said(4)), 5, None), Memory::Agrees, "what was written last was never said");
    assert!(matches!(compare(Some(&said(5)), 4, None), Memory::Lost(_)));
    assert!(matches!(compare(Some(&said(5)), 4, Some("a copy")), Memory::Lost(_)));
    let other = Said { last_commit: hash("other", &[]), ..said(5) };
    assert!(matches!(compare(Some(&other), 5, None), Memory::Lost(_)));
    assert_eq!(compare(Some(&said(5)), 5, Some("a copy")), Memory::Unknown("a copy".to_owned()));
    assert!(matches!(compare(None, 5, None), Memory::Unknown(_)));
    let chain = ChainId { incarnation: Incarnation(2), ..chain };
    assert!(matches!(compare(Some(&Said { chain, ..said(5) }), 5, None), Memory::Unknown(_)));
    assert_eq!(compare(Some(&said(0)), 0, None), Memory::Fresh);
    assert_eq!(compare(Some(&said(0)), 1, None), Memory::Agrees);
}
