//! What a start decides, for each thing that members can say and each thing that may be remembered.

use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::{
    COMMIT_LABEL, ClusterId, Commit, EVENT_VERSION, Event, Fact, Frontier, Genesis, Hlc, Incarnation, KeyPair, SUITE,
    Shake, SignedTick, Signer as _, Tick, encode, hash, leaf_hash, link_hash,
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

    /// What it said of the commit of this number.
    fn tick(&self, commit_no: usize, hlc: Hlc) -> SignedTickClaim {
        let (chain, commit_hash) = (self.state.chain(), self.groups[commit_no].signed.hash());
        let last = CommitRef { chain, commit_no: commit_no as u64, commit_hash };
        let tick = Tick { cluster: self.state.cluster(), last, hlc, horizon: Hlc(0), heads: Vec::new() };
        SignedTick::new(&tick, &*self.keys).claim(&tick)
    }

    fn start(&self, memory: Memory) -> Start {
        Start::new(self.state.clone(), memory, 0, Hlc(1_000 + self.state.size()))
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
    if let [Act::Ask { content: SyncRequest::LastTick { .. }, .. }] = acts[..] {
        return answer(start, who, Some(SyncResponse::LastTick(None)));
    }
    acts
}

/// Connected, and told of the tick that it heard; what it is asked then.
fn heard(start: &mut Start, who: u8, tick: SignedTickClaim) -> Vec<Act> {
    start.connected(node(who), &mut Vec::new());
    answer(start, who, Some(SyncResponse::LastTick(Some(Box::new(tick)))))
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
        let mut start = Start::new(writer.state.clone(), lost(), earlier, Hlc(0));
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
    start.compared(None, &writer.groups[4].signed.clone().into(), &mut acts);
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
    let other: Statement = theirs.groups[3].signed.clone().into();
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
    start.compared(Some(&writer.groups[1].signed), &lagging.groups[1].signed.clone().into(), &mut acts);
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
        clock: Hlc(0),
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

#[test]
fn what_a_node_said_in_ticks_it_does_not_contradict() {
    let writer = Writer::new(5);
    let head = |writer: &Writer| Some(writer.head());
    let decided = |home: &Writer, memory: Memory, tick: SignedTickClaim| {
        let mut start = home.start(memory);
        look(&mut start, &[1], 0);
        let chain = home.state.chain();
        assert_eq!(heard(&mut start, 1, tick), [Act::Ask { to: node(1), content: SyncRequest::Head { chain } }]);
        answer(&mut start, 1, heads(head(&home.first(3))));
        answer(&mut start, 1, Some(home.page(2, 1)));
        if home.state.commits() > 3 {
            let ours = home.groups[2].signed.clone();
            start.compared(Some(&ours), &ours.clone().into(), &mut Vec::new());
        }
        look(&mut start, &[1], WAIT_US)
    };
    let last = |writer: &Writer| writer.state.last_hlc();
    for memory in [Memory::Agrees, unknown(), lost()] {
        // A tick below the stamps of this run, of the last commit or of an earlier one, says nothing new.
        for commit_no in [2, 4] {
            let tick = writer.tick(commit_no, last(&writer));
            assert_eq!(decided(&writer, memory.clone(), tick), [Act::Continue], "{memory:?}");
        }
        // The clock stands where it stood before the tick: nothing may be written below it.
        let clock = last(&writer).next();
        let behind = decided(&writer, memory.clone(), writer.tick(4, clock));
        assert_eq!(behind, [Act::Over(StartOver::Behind { clock })], "{memory:?}");
        // The home lacks a commit that nobody holds and somebody heard of.
        let lost = decided(&writer.first(3), memory.clone(), writer.tick(4, Hlc(0)));
        assert!(matches!(lost[..], [Act::Over(StartOver::Reincarnate { disown: false, .. })]), "{lost:?}");
        // The home holds another commit than the one that was named.
        let mut other = writer.first(4);
        other.write("other");
        let another = decided(&other, memory.clone(), writer.tick(4, Hlc(0)));
        assert!(matches!(another[..], [Act::Over(StartOver::Reincarnate { disown: true, .. })]), "{another:?}");
    }
}

#[test]
fn a_tick_that_this_node_did_not_sign_is_as_if_the_member_were_not_there() {
    let writer = Writer::new(3);
    let stranger = Writer { keys: std::sync::Arc::new(KeyPair::generate([8; 32])), ..writer.clone() };
    let mut start = writer.start(unknown());
    look(&mut start, &[1], 0);
    assert_eq!(heard(&mut start, 1, stranger.tick(2, Hlc(u64::MAX))), []);
    let acts = look(&mut start, &[1], WAIT_US);
    assert!(matches!(acts[..], [Act::Over(StartOver::Reincarnate { .. })]), "nobody answered: {acts:?}");
    let mut start = writer.start(Memory::Agrees);
    look(&mut start, &[1], 0);
    heard(&mut start, 1, stranger.tick(2, Hlc(u64::MAX)));
    assert_eq!(look(&mut start, &[1], WAIT_US), [Act::Continue]);
}

#[test]
fn who_told_of_its_tick_and_failed_afterwards_is_asked_for_its_head_alone() {
    let writer = Writer::new(3);
    let mut start = writer.start(lost());
    look(&mut start, &[1], 0);
    let asked = |acts: &[Act]| match acts {
        [Act::Ask { content, .. }] => matches!(content, SyncRequest::LastTick { .. }),
        acts => panic!("{acts:?}"),
    };
    let mut acts = Vec::new();
    start.connected(node(1), &mut acts);
    assert!(asked(&acts), "its last tick comes first");
    answer(&mut start, 1, None);
    assert!(asked(&look(&mut start, &[1], RETRY_US)), "that question failed");
    answer(&mut start, 1, Some(SyncResponse::LastTick(None)));
    answer(&mut start, 1, None);
    assert!(!asked(&look(&mut start, &[1], 2 * RETRY_US)), "that one did not");
}
