//! Receipts that other members vouch for: what is waited for and how it ends; and the commits that vouch for others' chains.

use std::collections::BTreeSet;

use weft_kernel::{Answer, AskId, Input, Output};
use weft_protocol::{ChainId, Digest, Head, Hlc, Incarnation, MessageId, NodeId, Principal, Refusal, Timestamp};

use crate::node::{Node, effects, message};
use crate::pair::Pair;

const SECOND: u64 = 1_000_000;

fn stranger(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

/// alpha and beta, in a cluster with so many others.
fn pair_among(others: u8) -> Pair {
    let mut pair = Pair::new();
    let own = pair.nodes.iter().map(Node::id);
    let members = own.chain((0..others).map(|byte| stranger(100 + byte))).collect::<BTreeSet<_>>();
    for node in &mut pair.nodes {
        node.run(Input::MembersKnown { members: members.clone() });
    }
    pair
}

/// Lets the pair exchange a message of this level; what alpha was told until then, and what it wants of the world.
fn begun(pair: &mut Pair, level: &str) -> (MessageId, Vec<(u64, Result<Answer, Refusal>)>) {
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", level));
    let counter = pair.nodes[0].disk.outbox.len() as u64;
    let id = MessageId { chain: pair.nodes[0].chain(), counter };
    (id, pair.run(asked))
}

#[test]
fn a_witnessed_call_is_answered_when_enough_members_vouch_for_both_records() {
    let mut pair = pair_among(2);
    let (message, answers) = begun(&mut pair, "witnessed(2)");
    assert_eq!(answers, [], "the receipt is there, and nobody vouches for it yet");
    let alpha = &mut pair.nodes[0];
    let one = alpha.run(Input::Witnessed { message, vouching: vec![stranger(100)] });
    assert_eq!(effects(&one), Vec::<String>::new(), "one of two");
    let vouching = vec![stranger(100), stranger(101)];
    let both = alpha.run(Input::Witnessed { message, vouching: vouching.clone() });
    assert_eq!(effects(&both), ["seek no witnesses of m0", "answer 1 sent m0 executed+witnessed(2) `hi` own#2 its#5"]);
    let Some(Output::Answer { answer: Ok(Answer::Sent(report)), .. }) = both.last() else { panic!("{both:?}") };
    assert_eq!(report.witnesses, vouching);
    assert_eq!(effects(&alpha.run(Input::Witnessed { message, vouching })), Vec::<String>::new(), "it is over");
}

#[test]
fn both_records_are_sought_at_once_and_neither_sender_nor_receiver_counts() {
    let mut pair = pair_among(1);
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "witnessed"));
    let (own, to) = (pair.nodes[0].id(), pair.nodes[1].id());
    let chains = [pair.nodes[0].chain(), pair.nodes[1].chain()];
    let mut outputs = pair.nodes[0].run(asked);
    let envelope = crate::node::transmitted(&outputs);
    let role = weft_protocol::Role::Worker;
    let there = pair.nodes[1].run(Input::EnvelopeArrived { from: own, role, envelope: Box::new(envelope) });
    let delivery = there.into_iter().find_map(|output| match output {
        Output::Deliver { process, delivery } => Some(crate::node::echoed(process, *delivery)),
        _ => None,
    });
    let receipt = crate::node::acknowledged(&pair.nodes[1].run(delivery.expect("it is delivered")));
    let remote = receipt.record.clone().expect("it is durable").seq;
    outputs.extend(pair.nodes[0].run(Input::ReceiptArrived { from: to, receipt: Box::new(receipt) }));
    let sought = outputs.iter().filter_map(|output| match output {
        Output::SeekWitnesses { places, except, members, .. } => Some((places.clone(), *except, *members)),
        _ => None,
    });
    let sought = sought.collect::<Vec<_>>();
    let [(places, except, 1)] = &sought[..] else { panic!("{sought:?}") };
    assert_eq!(
        places.iter().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([(chains[0], 3), (chains[1], remote + 1)])
    );
    assert_eq!(*except, [own, to]);
}

#[test]
fn when_the_time_is_over_it_says_what_is_on_disk_and_what_is_missing() {
    let mut pair = pair_among(2);
    let (message, answers) = begun(&mut pair, "witnessed(2)");
    assert_eq!(answers, []);
    let alpha = &mut pair.nodes[0];
    alpha.run(Input::Witnessed { message, vouching: vec![stranger(100)] });
    let outputs = alpha.pass(10 * SECOND);
    let over = "the message was executed, and its records are on every disk they belong on; 1 of 2 members vouched for them \
                in time: nothing is lost";
    assert_eq!(effects(&outputs), ["seek no witnesses of m0".to_owned(), format!("answer 1 not-witnessed: {over}")]);
    let refusal = outputs.iter().find_map(|output| match output {
        Output::Answer { answer: Err(refusal), .. } => Some(refusal.clone()),
        _ => None,
    });
    let refusal = refusal.expect("it is refused");
    assert!(refusal.changed() && !refusal.retry(), "sent again, it would be executed twice");
    assert!(alpha.disk.dead_letters.is_empty(), "it arrived");
}

#[test]
fn without_enough_others_it_is_refused_at_once_and_nothing_leaves() {
    for (others, level) in [(0, "witnessed"), (1, "witnessed(2)")] {
        let mut pair = pair_among(others);
        let (_, answers) = begun(&mut pair, level);
        assert_eq!(answers, [(1, Err(Refusal::NoWitness))], "{others} others, {level}");
    }
    let mut pair = pair_among(0);
    let asked = pair.nodes[1].asked(1, message("echo", "hi", "witnessed"));
    let outputs = pair.nodes[1].run(asked);
    // Of a message to its own node alpha is a third.
    assert!(effects(&outputs).iter().any(|line| line.starts_with("deliver m0")), "{:?}", effects(&outputs));
}

#[test]
fn what_is_refused_waits_for_nobody() {
    let mut pair = pair_among(1);
    let asked = pair.asked(1, Principal::Operator, message("nobody@beta", "hi", "witnessed"));
    let answers = pair.run(asked);
    assert!(matches!(&answers[..], [(1, Err(Refusal::NoResponder { .. }))]), "{answers:?}");
}

#[test]
fn a_routed_message_is_answered_when_its_own_record_is_vouched_for_and_travels_meanwhile() {
    let mut pair = pair_among(1);
    pair.agents_answer = false;
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "routed+witnessed"));
    let alpha = &mut pair.nodes[0];
    let outputs = alpha.run(asked);
    assert_eq!(effects(&outputs), ["transmit m0 to echo `hi`", "seek 1 witnesses of m0 for 3"]);
    let message = MessageId { chain: alpha.chain(), counter: 0 };
    let vouched = alpha.run(Input::Witnessed { message, vouching: vec![stranger(100)] });
    assert_eq!(effects(&vouched), ["seek no witnesses of m0", "answer 1 sent m0 routed+witnessed own#2"]);
    assert_eq!(alpha.disk.outbox.len(), 1, "it is not acknowledged yet");
}

#[test]
fn whoever_is_gone_needs_no_witness() {
    let mut pair = pair_among(1);
    let (message, answers) = begun(&mut pair, "witnessed");
    assert_eq!(answers, []);
    pair.nodes[0].run(Input::Withdrawn { ask: AskId(1) });
    let outputs = pair.nodes[0].run(Input::Witnessed { message, vouching: vec![stranger(100)] });
    assert_eq!(effects(&outputs), ["seek no witnesses of m0"]);
}

/// A node that rests, and the head of another chain with so many events.
fn resting() -> Node {
    let mut node = Node::new("alpha");
    node.pass(5 * SECOND);
    node
}

fn head(size: u64) -> Head {
    let chain = ChainId { node: stranger(9), incarnation: Incarnation(1) };
    let digest = weft_protocol::hash("test", &[&size.to_be_bytes()]);
    Head { chain, commit_no: size, size, root: digest, commit_hash: digest }
}

fn stored(node: &Node, size: u64) -> Input {
    Input::HeadStored { head: Box::new(head(size)), hlc: Hlc::from_wall(node.now) }
}

/// What each commit since there vouches for.
fn anchors(node: &Node, from_commit: usize) -> Vec<(usize, Vec<Digest>)> {
    let groups = node.disk.groups.iter().skip(from_commit);
    let named = groups.map(|group| {
        let commit = group.signed.decode().expect("a header");
        (group.events.len(), commit.anchors.iter().map(|anchor| anchor.commit_hash).collect())
    });
    named.collect()
}

#[test]
fn a_stored_head_is_no_reason_to_write_and_a_wanted_one_is() {
    let mut node = resting();
    let before = node.disk.groups.len();
    let input = stored(&node, 4);
    node.run(input);
    node.pass(10 * SECOND);
    assert_eq!(anchors(&node, before), [], "nobody waits");
    node.run(Input::AnchorWanted { chain: head(4).chain });
    assert_eq!(anchors(&node, before), [(0, vec![head(4).commit_hash])], "an empty commit that vouches for it");
    assert!(node.disk.groups.last().expect("a commit").signed.is_checkpoint(), "of both signatures");
    node.run(Input::AnchorWanted { chain: head(4).chain });
    node.pass(10 * SECOND);
    assert_eq!(anchors(&node, before).len(), 1, "it is vouched for");
}

#[test]
fn a_commit_that_only_seals_vouches_for_nothing() {
    let mut node = resting();
    let asked = node.asked(1, weft_kernel::Syscall::Spawn { spec: Box::new(crate::node::echo("a")) });
    node.run(asked);
    let before = node.disk.groups.len();
    let input = stored(&node, 4);
    node.run(input);
    node.pass(3 * SECOND);
    let named = anchors(&node, before);
    assert!(named.iter().any(|(events, _)| *events == 0), "the tail is sealed: {named:?}");
    assert!(named.iter().all(|(events, anchors)| *events > 0 || anchors.is_empty()), "{named:?}");
}

#[test]
fn what_is_wanted_rides_on_events_when_there_are_any() {
    let mut node = resting();
    let before = node.disk.groups.len();
    let input = stored(&node, 4);
    node.give(input);
    let spawn = weft_kernel::Syscall::Spawn { spec: Box::new(crate::node::echo("a")) };
    let asked = node.asked(1, spawn);
    node.give(asked);
    node.give(Input::AnchorWanted { chain: head(4).chain });
    while node.writing.is_some() {
        node.persist();
    }
    let named = anchors(&node, before);
    assert_eq!(named[0], (1, vec![head(4).commit_hash]), "{named:?}");
    assert!(named[1..].iter().all(|(_, anchors)| anchors.is_empty()), "once: {named:?}");
}

#[test]
fn commits_for_anchors_alone_keep_their_distance() {
    let mut node = resting();
    let before = node.disk.groups.len();
    for size in 1..=50 {
        let input = stored(&node, size);
        node.run(input);
        node.run(Input::AnchorWanted { chain: head(size).chain });
        node.pass(1_000);
    }
    node.pass(SECOND);
    let named = anchors(&node, before);
    // Fifty requests in fifty milliseconds, with 20 ms between two commits.
    assert!((3..=4).contains(&named.len()), "{} commits", named.len());
    assert_eq!(named.last(), Some(&(0, vec![head(50).commit_hash])), "the newest is vouched for");
}

#[test]
fn a_head_from_the_future_waits_and_the_node_rests_meanwhile() {
    let mut node = resting();
    let before = node.disk.groups.len();
    let ahead: Timestamp = node.now.after_us(30 * SECOND);
    node.run(Input::HeadStored { head: Box::new(head(4)), hlc: Hlc::from_wall(ahead) });
    node.run(Input::AnchorWanted { chain: head(4).chain });
    assert_eq!(anchors(&node, before), [], "what names it must be stamped later");
    assert_eq!(node.kernel.next_wakeup().filter(|at| *at <= node.now), None, "it does not wake up in vain");
}
