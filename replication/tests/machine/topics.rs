//! Publications are passed on in order and once; what is missing is asked for, also when it was the last; history is gathered.

use weft_protocol::{
    ChainId, Hlc, MessageId, NodeId, Payload, Principal, PublicKeys, Publication, Recovered, Sender, StreamHead,
    SyncRequest, SyncResponse, Timestamp, TopicPattern, TraceId,
};
use weft_replication::{FetchId, GatherId, Input, Output, Replication, ReplicationConfig, TopicWant};

use crate::world::{SECOND_US, START};
use crate::writer::{Writer, cluster};

/// One machine, between a publisher and another member.
struct Machine {
    machine: Replication,
    publisher: Writer,
    other: Writer,
    now: Timestamp,
    /// Requests that are not answered: under which number, of whom, what.
    asked: Vec<(FetchId, NodeId, SyncRequest)>,
}

fn pattern(text: &str) -> TopicPattern {
    text.parse().unwrap()
}

impl Machine {
    fn new() -> Self {
        let [own, publisher, other] = [1, 2, 3].map(Writer::new);
        let members = [&own, &publisher, &other].map(Writer::public).to_vec();
        Self::among(own, publisher, other, members)
    }

    fn among(own: Writer, publisher: Writer, other: Writer, members: Vec<PublicKeys>) -> Self {
        let recovered = Recovered::default();
        let machine =
            Replication::new(ReplicationConfig::default(), own.chain, cluster(), members, &recovered, 1, START);
        Self { machine, publisher, other, now: START, asked: Vec::new() }
    }

    /// A machine that follows `jobs`, connected to both members, which have no publication of it yet.
    fn following() -> Self {
        let mut machine = Self::new();
        for node in [machine.publisher.chain.node, machine.other.chain.node] {
            machine.give(Input::Connected { node });
        }
        machine.follow(&["jobs"]);
        assert_eq!(machine.gather(1, TopicWant::Nothing), ["streams of both"]);
        assert_eq!(machine.answer_listing(true, &[]), [""; 0]);
        assert_eq!(machine.answer_listing(false, &[]), ["gathered 1"]);
        machine
    }

    fn follow(&mut self, patterns: &[&str]) {
        let patterns = patterns.iter().map(|text| pattern(text)).collect();
        self.give(Input::TopicsFollowed { patterns, since: Hlc::from_wall(self.now) });
    }

    fn gather(&mut self, number: u64, want: TopicWant) -> Vec<String> {
        let input = Input::TopicGatherAsked { gather: GatherId(number), pattern: pattern("jobs"), want };
        let mut lines = self.give(input);
        if lines == ["streams of the publisher", "streams of the other"]
            || lines == ["streams of the other", "streams of the publisher"]
        {
            lines = vec!["streams of both".to_owned()];
        }
        lines
    }

    fn publication(&self, seq: u64, prev: u64) -> Publication {
        let chain = self.publisher.chain;
        let publication = Publication {
            id: MessageId { chain, counter: seq },
            hlc: Hlc::from_wall(START.after_us(seq * 1_000)),
            trace: TraceId(1),
            from: Sender { node: chain.node, principal: Principal::Operator },
            topic: "jobs".parse().unwrap(),
            seq,
            prev,
            forgetful: false,
            payload: Payload::Text("x".into()),
            grant: None,
            ed25519: None,
        };
        publication.signed(&*self.publisher.keys)
    }

    fn hear(&mut self, seq: u64, prev: u64) -> Vec<String> {
        let publication = Box::new(self.publication(seq, prev));
        self.give(Input::PublicationHeard { publication })
    }

    /// One input, and what the machine wants done about topics because of it.
    fn give(&mut self, input: Input) -> Vec<String> {
        let mut outputs = Vec::new();
        self.machine.handle(input, self.now, &mut outputs);
        outputs.into_iter().filter_map(|output| self.show(output)).collect()
    }

    fn show(&mut self, output: Output) -> Option<String> {
        match output {
            Output::PassPublication { publication, fetched: false } => Some(format!("pass {}", publication.seq)),
            Output::PassPublication { publication, fetched: true } => Some(format!("remember {}", publication.seq)),
            Output::TopicGathered { gather } => Some(format!("gathered {}", gather.0)),
            Output::Request { fetch, to, content } => {
                let who = if to == self.publisher.chain.node { "the publisher" } else { "the other" };
                let what = match &content {
                    SyncRequest::Streams { .. } => format!("streams of {who}"),
                    SyncRequest::Publications { from, .. } => format!("ask {who} {from:?}"),
                    _ => return None,
                };
                self.asked.push((fetch, to, content));
                Some(what)
            }
            _ => None,
        }
    }

    fn take(&mut self, publisher: bool, listing: bool) -> FetchId {
        let node = if publisher { self.publisher.chain.node } else { self.other.chain.node };
        let wanted = |(_, to, request): &(FetchId, NodeId, SyncRequest)| {
            *to == node && matches!(request, SyncRequest::Streams { .. }) == listing
        };
        let place = self.asked.iter().position(wanted).expect("nothing like that was asked");
        self.asked.remove(place).0
    }

    fn answer_listing(&mut self, publisher: bool, heads: &[(ChainId, u64)]) -> Vec<String> {
        let fetch = self.take(publisher, true);
        let head =
            |(chain, last): &(ChainId, u64)| StreamHead { topic: "jobs".parse().unwrap(), chain: *chain, last: *last };
        let content = SyncResponse::Streams { streams: heads.iter().map(head).collect(), more: false };
        self.give(Input::ResponseArrived { fetch, content: Box::new(content) })
    }

    fn answer(&mut self, publisher: bool, publications: Vec<Publication>, more: bool) -> Vec<String> {
        let fetch = self.take(publisher, false);
        let content = Box::new(SyncResponse::Publications { publications, more });
        self.give(Input::ResponseArrived { fetch, content })
    }

    /// Time passes until something is wanted, at most so long.
    fn pass(&mut self, duration_us: u64) -> Vec<String> {
        let until = self.now.after_us(duration_us);
        let mut lines = Vec::new();
        while let Some(at) = self.machine.next_wakeup().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            lines.extend(self.give(Input::Woken));
            if !lines.is_empty() {
                return lines;
            }
        }
        self.now = until;
        lines
    }
}

#[test]
fn a_lost_publication_is_fetched_and_passed_on_before_what_follows_it() {
    let mut machine = Machine::following();
    assert_eq!(machine.hear(1, 0), ["pass 1"]);
    assert_eq!(machine.hear(3, 2), ["ask the publisher After(1)"]);
    assert_eq!(machine.hear(4, 3), [""; 0], "it waits");
    let missing = vec![machine.publication(2, 1), machine.publication(3, 2)];
    assert_eq!(machine.answer(true, missing, false), ["pass 2", "pass 3", "pass 4"]);
    assert_eq!(machine.hear(2, 1), [""; 0], "gossip that comes late is a copy");
    assert_eq!(machine.hear(9, 4), ["pass 9"], "5 to 8 were never given");
}

#[test]
fn a_lost_last_publication_is_found_by_asking_how_far_publishers_are() {
    let mut machine = Machine::following();
    assert_eq!(machine.hear(1, 0), ["pass 1"]);
    let asked = machine.pass(3 * SECOND_US);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let chain = machine.publisher.chain;
    assert_eq!(machine.answer_listing(true, &[(chain, 2)]), ["ask the publisher After(1)"]);
    let last = vec![machine.publication(2, 1)];
    assert_eq!(machine.answer(true, last, false), ["pass 2"]);
    assert_eq!(machine.answer_listing(false, &[(chain, 2)]), [""; 0]);
}

#[test]
fn what_the_publisher_lost_comes_from_another_member_if_it_is_proven() {
    let mut machine = Machine::following();
    assert_eq!(machine.hear(1, 0), ["pass 1"]);
    assert_eq!(machine.hear(3, 2), ["ask the publisher After(1)"]);
    assert_eq!(machine.answer(true, Vec::new(), false), ["ask the other After(1)"]);
    let forged = Publication { payload: Payload::Text("forged".into()), ..machine.publication(2, 1) };
    assert_eq!(machine.answer(false, vec![forged], false), ["pass 3"], "nobody has 2");
    assert_eq!(machine.machine.status().publications_lost, 1);
    assert_eq!(machine.hear(5, 4), ["ask the publisher After(3)"]);
    assert_eq!(machine.answer(true, Vec::new(), false), ["ask the other After(3)"]);
    let proven = vec![machine.publication(4, 3)];
    assert_eq!(machine.answer(false, proven, false), ["pass 4", "pass 5"]);
}

#[test]
fn what_follows_a_hole_waits_for_a_publisher_that_is_away_but_not_for_ever() {
    let mut machine = Machine::following();
    assert_eq!(machine.hear(1, 0), ["pass 1"]);
    let (publisher, other) = (machine.publisher.chain.node, machine.other.chain.node);
    machine.give(Input::Disconnected { node: publisher });
    machine.give(Input::Disconnected { node: other });
    assert_eq!(machine.hear(3, 2), [""; 0]);
    assert_eq!(machine.pass(29 * SECOND_US), [""; 0]);
    assert_eq!(machine.pass(2 * SECOND_US), ["pass 3"]);
}

#[test]
fn what_a_killed_publisher_forgot_is_asked_of_others_before_it_goes_on() {
    let mut machine = Machine::following();
    assert_eq!(machine.hear(1, 0), ["pass 1"]);
    let after = Publication { forgetful: true, ..machine.publication(65_537, 1) }.signed(&*machine.publisher.keys);
    let publication = Box::new(after.clone());
    assert_eq!(machine.give(Input::PublicationHeard { publication }), ["ask the publisher After(1)"]);
    assert_eq!(machine.answer(true, vec![after], false), ["ask the other After(1)"]);
    let forgotten = vec![machine.publication(2, 1)];
    assert_eq!(machine.answer(false, forgotten, false), ["pass 2", "ask the publisher After(2)"]);
    assert_eq!(machine.answer(true, Vec::new(), false), ["ask the other After(2)"]);
    assert_eq!(machine.answer(false, Vec::new(), false), ["pass 65537"]);
}

#[test]
fn a_late_subscriber_gets_what_it_wants_of_the_past_and_then_what_comes() {
    let mut machine = Machine::new();
    for node in [machine.publisher.chain.node, machine.other.chain.node] {
        machine.give(Input::Connected { node });
    }
    machine.follow(&["jobs"]);
    assert_eq!(machine.gather(1, TopicWant::Last(2)), ["streams of both"]);
    assert_eq!(machine.hear(4, 3), [""; 0], "it waits until it is known where the stream begins");
    let chain = machine.publisher.chain;
    assert_eq!(machine.answer_listing(false, &[(chain, 2)]), [""; 0]);
    assert_eq!(machine.answer_listing(true, &[(chain, 3)]), ["pass 4", "ask the publisher Last(2)"]);
    let page = vec![machine.publication(2, 1)];
    assert_eq!(machine.answer(true, page, true), ["remember 2", "ask the publisher After(2)"]);
    let page = vec![machine.publication(3, 2)];
    assert_eq!(machine.answer(true, page, false), ["remember 3", "gathered 1"]);
    assert_eq!(machine.hear(5, 4), ["pass 5"]);
}

#[test]
fn a_second_subscription_takes_nothing_from_the_first() {
    let mut machine = Machine::following();
    // The first publication is lost, and somebody else begins to listen.
    assert_eq!(machine.gather(2, TopicWant::Nothing), ["streams of both"]);
    let chain = machine.publisher.chain;
    assert_eq!(machine.answer_listing(false, &[]), [""; 0]);
    assert_eq!(machine.answer_listing(true, &[(chain, 1)]), ["ask the publisher After(0)", "gathered 2"]);
    let page = vec![machine.publication(1, 0)];
    assert_eq!(machine.answer(true, page, false), ["pass 1"]);
}

#[test]
fn what_a_member_published_that_did_not_answer_the_first_subscription_is_wanted_by_its_stamp() {
    let mut machine = Machine::new();
    machine.follow(&["jobs"]);
    assert_eq!(machine.gather(1, TopicWant::Nothing), ["gathered 1"], "nobody can be asked");
    let (node, chain) = (machine.publisher.chain.node, machine.publisher.chain);
    machine.give(Input::Connected { node });
    machine.asked.clear();
    assert_eq!(machine.gather(2, TopicWant::Nothing), ["streams of the publisher"]);
    let lines = machine.answer_listing(true, &[(chain, 1)]);
    assert!(lines[0].starts_with("ask the publisher Since("), "{lines:?}");
    let page = vec![machine.publication(1, 0)];
    assert_eq!(machine.answer(true, page, false), ["pass 1"]);
}

#[test]
fn that_a_member_has_nothing_does_not_end_the_search_for_what_another_one_says_to_have() {
    let mut machine = Machine::new();
    machine.follow(&["jobs"]);
    assert_eq!(machine.gather(1, TopicWant::Nothing), ["gathered 1"], "nobody can be asked");
    let (other, chain) = (machine.other.chain.node, machine.publisher.chain);
    // The publisher is away; who is there has heard of it, lacks it at first and has it a little later.
    assert_eq!(machine.give(Input::Connected { node: other }), ["streams of the other"]);
    let lines = machine.answer_listing(false, &[(chain, 1)]);
    assert!(lines[0].starts_with("ask the other Since("), "{lines:?}");
    assert_eq!(machine.answer(false, Vec::new(), false), [""; 0]);
    let again = machine.pass(SECOND_US / 2);
    assert!(again[0].starts_with("ask the other Since("), "{again:?}");
    let page = vec![machine.publication(1, 0)];
    assert_eq!(machine.answer(false, page, false), ["pass 1"]);
}

#[test]
fn what_a_node_published_that_is_not_known_as_a_member_yet_waits() {
    let [own, publisher, other] = [1, 2, 3].map(Writer::new);
    let members = vec![own.public(), other.public()];
    let keys = publisher.public();
    let mut machine = Machine::among(own, publisher, other, members);
    let node = machine.publisher.chain.node;
    machine.give(Input::Connected { node });
    machine.follow(&["jobs"]);
    assert_eq!(machine.gather(1, TopicWant::Nothing), ["streams of the publisher"]);
    assert_eq!(machine.answer_listing(true, &[]), ["gathered 1"]);
    assert_eq!(machine.hear(1, 0), [""; 0]);
    assert_eq!(machine.hear(3, 2), [""; 0]);
    assert_eq!(machine.give(Input::MemberLearned { keys }), ["pass 1", "ask the publisher After(1)"]);
}

#[test]
fn a_member_that_says_nothing_holds_a_subscription_up_for_two_seconds() {
    let mut machine = Machine::new();
    let node = machine.publisher.chain.node;
    machine.give(Input::Connected { node });
    machine.follow(&["jobs"]);
    assert_eq!(machine.gather(1, TopicWant::Nothing), ["streams of the publisher"]);
    assert_eq!(machine.pass(SECOND_US), [""; 0]);
    let late = std::iter::from_fn(|| Some(machine.pass(2 * SECOND_US)).filter(|lines| !lines.is_empty()));
    let late = late.take_while(|lines| lines.iter().all(|line| line.starts_with("streams"))).count();
    assert!(late <= 1, "a round may come before: {late}");
    // What it published meanwhile is wanted by its stamp.
    assert!(machine.hear(7, 6)[0].starts_with("ask the publisher Since("));
    let since = vec![machine.publication(6, 5), machine.publication(7, 6)];
    assert_eq!(machine.answer(true, since, false), ["pass 6", "pass 7"]);
}

#[test]
fn nothing_is_asked_or_passed_on_of_topics_that_nobody_follows() {
    let mut machine = Machine::following();
    machine.follow(&[]);
    assert_eq!(machine.hear(1, 0), [""; 0]);
    assert_eq!(machine.pass(60 * SECOND_US), [""; 0]);
}
