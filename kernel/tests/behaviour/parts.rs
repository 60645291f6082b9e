//! Answers in parts: in order, once, no faster than they are taken, never with a silent gap, and cancelled like every call.

use weft_kernel::{Answer, AskId, Input, Output, Syscall};
use weft_protocol::limits::{PARTS_KEPT_BYTES_MAX, PARTS_OPEN_BYTES_MAX, PARTS_OPEN_MAX};
use weft_protocol::{
    AgentSpec, ExitReason, MessageId, PartsProof, PartsTaken, Payload, Principal, ProcessId, Receipt, ReplyPart, Role,
    Stage,
};

use crate::node::{Node, acknowledged, effects, in_parts, message, name, text, transmitted};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

/// What the agent of a node says of one message.
fn say(ask: u64, message: MessageId, part: Payload) -> Input {
    let by = Principal::Agent { agent: name("echo"), process: ECHO };
    let syscall = Box::new(Syscall::Stream { message, part });
    Input::Asked { ask: AskId(ask), by, syscall, route: weft_kernel::Route::Local }
}

/// Says so many parts, each with its number, under questions from 100 on; what came of it.
fn say_many(node: &mut Node, message: MessageId, numbers: std::ops::Range<u32>) -> Vec<String> {
    let parts = numbers.map(|number| say(u64::from(100 + number), message, text(&number.to_string())));
    let parts = parts.collect::<Vec<_>>();
    parts.into_iter().flat_map(|part| effects(&node.run(part))).collect()
}

fn done(message: MessageId, answer: &str) -> Input {
    Input::AgentAnswered { process: ECHO, message, answer: Ok(Some(text(answer))) }
}

/// A call from alpha whose message beta's agent has.
fn called(pair: &mut Pair) -> MessageId {
    pair.agents_answer = false;
    let asked = pair.asked(1, Principal::Operator, in_parts(message("echo@beta", "hi", "executed")));
    assert!(pair.run(asked).is_empty());
    MessageId { chain: pair.nodes[0].chain(), counter: 0 }
}

fn parts_in(outputs: &[Output]) -> Vec<ReplyPart> {
    let part = |output: &Output| match output {
        Output::SendPart { part, .. } => Some((**part).clone()),
        _ => None,
    };
    outputs.iter().filter_map(part).collect()
}

/// What the records of one stage say of parts.
fn recorded(node: &mut Node, stage: Stage) -> Option<PartsProof> {
    while node.writing.is_some() {
        node.persist();
    }
    node.disk.records.iter().find(|record| record.stage == stage).expect("it is recorded").parts
}

fn proof(parts: &[&str]) -> Option<PartsProof> {
    let mut proof = PartsProof::default();
    parts.iter().for_each(|part| proof.add(&text(part)));
    Some(proof)
}

#[test]
fn parts_come_in_order_before_the_answer_and_both_chains_prove_them() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let first = beta.run(say(100, id, text("to ")));
    let second = beta.run(say(101, id, text("be")));
    let streamed = |number| format!("answer {} Streamed {{ number: {number} }}", 100 + number);
    assert_eq!(effects(&first), ["send part 0 of m0 `to `".to_owned(), streamed(0)]);
    assert_eq!(effects(&second), ["send part 1 of m0 `be`".to_owned(), streamed(1)]);
    let answered = beta.run(done(id, "to be"));
    assert_eq!(effects(&answered), ["acknowledge m0 executed `to be` behind 2 parts"]);
    // The other way round on the way.
    let from = beta.id();
    let arrived = |part| Input::PartArrived { from, part: Box::new(part) };
    let [to, be] = [first, second].map(|outputs| arrived(parts_in(&outputs).remove(0)));
    assert_eq!(effects(&alpha.run(be.clone())), Vec::<String>::new());
    let receipt = Box::new(acknowledged(&answered));
    assert_eq!(effects(&alpha.run(Input::ReceiptArrived { from, receipt })), Vec::<String>::new());
    assert_eq!(
        effects(&alpha.run(to.clone())),
        ["part 0 to 1 `to `", "part 1 to 1 `be`", "want no more parts of m0", "answer 1 sent m0 executed `to be`"]
    );
    assert_eq!(effects(&alpha.run(to)), Vec::<String>::new(), "nobody waits for it any more");
    assert_eq!(effects(&alpha.run(be)), Vec::<String>::new());
    assert_eq!(recorded(beta, Stage::Answered), proof(&["to ", "be"]));
    assert_eq!(recorded(alpha, Stage::Acknowledged), proof(&["to ", "be"]));
}

#[test]
fn a_part_that_comes_twice_is_handed_on_once_and_takes_no_room() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let large = "x".repeat(PARTS_OPEN_BYTES_MAX / 5 * 2);
    let part = parts_in(&beta.run(say(100, id, text(&large)))).remove(0);
    let from = beta.id();
    let mut arrive = |from, part| effects(&alpha.run(Input::PartArrived { from, part: Box::new(part) })).len();
    assert_eq!(arrive(from, part.clone()), 1);
    assert_eq!((arrive(from, part.clone()), arrive(from, part.clone())), (0, 0));
    let second = ReplyPart { number: 1, ..part };
    assert_eq!(arrive(from, second.clone()), 1);
    let stranger = Input::PartArrived { from: pair.nodes[0].id(), part: Box::new(ReplyPart { number: 2, ..second }) };
    assert_eq!(effects(&pair.nodes[0].run(stranger)), Vec::<String>::new(), "only its own node says parts");
}

#[test]
fn a_node_that_sends_more_than_may_be_open_is_not_heard() {
    let mut pair = Pair::new();
    let message = called(&mut pair);
    let (from, alpha) = (pair.nodes[1].id(), &mut pair.nodes[0]);
    let mut arrive = |number| {
        let part = Box::new(ReplyPart { message, number, payload: text("x") });
        effects(&alpha.run(Input::PartArrived { from, part })).len()
    };
    assert_eq!((0..2 * PARTS_OPEN_MAX).map(&mut arrive).sum::<usize>(), PARTS_OPEN_MAX as usize);
}

#[test]
fn a_fast_agent_waits_for_a_slow_caller_and_its_answer_waits_too() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let said = say_many(beta, id, 0..PARTS_OPEN_MAX + 2);
    let sent = |said: &[String]| said.iter().filter(|line| line.starts_with("send part")).count();
    assert_eq!((sent(&said), said.len()), (64, 128), "two are not answered");
    assert_eq!(effects(&beta.run(done(id, "all"))), Vec::<String>::new());
    let from = alpha.id();
    let taken = |count| Input::PartsTakenArrived { from, taken: PartsTaken { message: id, count } };
    let more = effects(&beta.run(taken(1)));
    assert_eq!(more, ["send part 64 of m0 `64`", "answer 164 Streamed { number: 64 }"]);
    assert_eq!(effects(&beta.run(taken(1))), Vec::<String>::new(), "said again, it makes no more room");
    let last = effects(&beta.run(taken(16)));
    assert_eq!(
        last,
        [
            "send part 65 of m0 `65`",
            "answer 165 Streamed { number: 65 }",
            "acknowledge m0 executed `all` behind 66 parts"
        ]
    );
}

#[test]
fn large_parts_are_counted_in_bytes_on_both_sides() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let large = |bytes| text(&"x".repeat(bytes));
    let outputs = beta.run(say(100, id, large(PARTS_OPEN_BYTES_MAX * 5 / 8)));
    assert_eq!(parts_in(&outputs).len(), 0, "larger than a frame");
    let half = PARTS_OPEN_BYTES_MAX / 2;
    let first = parts_in(&beta.run(say(101, id, large(half)))).remove(0);
    let second = parts_in(&beta.run(say(102, id, large(half)))).remove(0);
    assert_eq!(effects(&beta.run(say(103, id, text("z")))), Vec::<String>::new(), "it waits");
    let (from, message) = (beta.id(), id);
    let arrive = |alpha: &mut Node, part| effects(&alpha.run(Input::PartArrived { from, part: Box::new(part) })).len();
    assert_eq!((arrive(alpha, first), arrive(alpha, second)), (1, 1));
    // More than this node said that may come, as only a liar sends.
    let beyond = ReplyPart { message, number: 2, payload: text("z") };
    assert_eq!(arrive(alpha, beyond.clone()), 0);
    assert_eq!(effects(&alpha.run(Input::PartsTaken { ask: AskId(1), count: 1 })), ["took 1 parts of m0"]);
    assert_eq!(arrive(alpha, beyond), 1);
}

#[test]
fn parts_that_were_lost_come_again_when_the_caller_is_there() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    say_many(beta, id, 0..3);
    let envelope = Box::new(transmitted(&alpha.pass(500_000)));
    let copy = Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope };
    assert_eq!(effects(&beta.run(copy.clone())), Vec::<String>::new(), "nothing is known to be lost");
    let from = alpha.id();
    beta.run(Input::PartsTakenArrived { from, taken: PartsTaken { message: id, count: 1 } });
    beta.run(Input::TransmitFailed { to: from, message: id });
    let again = ["send part 1 of m0 `1`", "send part 2 of m0 `2`"];
    assert_eq!(effects(&beta.run(copy.clone())), again, "and it is not delivered twice");
    assert_eq!(effects(&beta.run(copy)), Vec::<String>::new());
    beta.run(Input::TransmitFailed { to: from, message: id });
    assert_eq!(effects(&beta.run(Input::ReachabilityChanged { node: from, reachable: true })), again);
}

#[test]
fn an_answer_whose_parts_do_not_come_is_told_as_broken_off() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let part = parts_in(&beta.run(say(100, id, text("one")))).remove(0);
    beta.run(say(101, id, text("two")));
    let receipt = Box::new(acknowledged(&beta.run(done(id, "both"))));
    let from = beta.id();
    alpha.run(Input::PartArrived { from, part: Box::new(part) });
    let arrived = Input::ReceiptArrived { from, receipt };
    assert_eq!(effects(&alpha.run(arrived.clone())), Vec::<String>::new(), "the second may be on its way");
    let ended = effects(&alpha.pass(5_000_000));
    let expected = "answer 1 broken-off: the answer broke off after 1 part: its agent gave 2 before it was done";
    assert!(ended.contains(&expected.to_owned()), "{ended:?}");
    assert_eq!(recorded(alpha, Stage::Acknowledged), proof(&["one"]), "what came, and no more");
    assert_eq!(effects(&alpha.run(arrived)), Vec::<String>::new());
}

#[test]
fn an_answer_that_counts_other_parts_than_came_is_broken_off_at_once() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let part = parts_in(&beta.run(say(100, id, text("one")))).remove(0);
    let receipt = acknowledged(&beta.run(done(id, "done")));
    let from = beta.id();
    alpha.run(Input::PartArrived { from, part: Box::new(ReplyPart { payload: text("eno"), ..part }) });
    let ended = effects(&alpha.run(Input::ReceiptArrived { from, receipt: Box::new(receipt) }));
    assert!(ended.iter().any(|line| line.starts_with("answer 1 broken-off")), "{ended:?}");
}

#[test]
fn a_receipt_with_fewer_parts_than_came_is_broken_off_too() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    let part = parts_in(&beta.run(say(100, id, text("one")))).remove(0);
    let receipt = acknowledged(&beta.run(done(id, "done")));
    let from = beta.id();
    alpha.run(Input::PartArrived { from, part: Box::new(part) });
    let receipt = Box::new(Receipt { parts: None, ..receipt });
    let ended = effects(&alpha.run(Input::ReceiptArrived { from, receipt }));
    assert!(ended.iter().any(|line| line.starts_with("answer 1 broken-off")), "{ended:?}");
}

#[test]
fn parts_are_said_only_of_an_open_message_to_somebody_who_takes_them() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    pair.run(asked);
    let id = MessageId { chain: pair.nodes[0].chain(), counter: 0 };
    let beta = &mut pair.nodes[1];
    let whole = effects(&beta.run(say(100, id, text("x"))));
    assert_eq!(
        whole,
        ["answer 100 unsupported: not supported: an answer in parts: whoever asked takes it whole".to_owned()]
    );
    beta.run(done(id, "ho"));
    let closed = effects(&beta.run(say(101, id, text("x"))));
    assert!(closed[0].starts_with("answer 101 invalid"), "{closed:?}");
    let operator = beta.asked(102, Syscall::Stream { message: id, part: text("x") });
    assert!(effects(&beta.run(operator))[0].starts_with("answer 102 invalid"));
    let not_waited_for = beta.asked(103, in_parts(message("echo", "hi", "received")));
    assert!(effects(&beta.run(not_waited_for))[0].starts_with("answer 103 invalid"));
}

#[test]
fn a_local_caller_sees_parts_under_the_same_window() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, in_parts(message("echo", "hi", "executed")));
    node.run(asked);
    let id = MessageId { chain: node.chain(), counter: 0 };
    let said = say_many(&mut node, id, 0..PARTS_OPEN_MAX + 1);
    assert_eq!(said.iter().filter(|line| line.contains(" to 1 `")).count(), 64, "{said:?}");
    assert_eq!(
        effects(&node.run(Input::PartsTaken { ask: AskId(1), count: 16 })),
        ["part 64 to 1 `64`", "answer 164 Streamed { number: 64 }"]
    );
    let outputs = node.run(done(id, "all"));
    let Some(Output::Answer { answer: Ok(Answer::Sent(report)), .. }) =
        outputs.iter().find(|output| matches!(output, Output::Answer { .. }))
    else {
        panic!("{outputs:?}")
    };
    let told = report.parts.expect("parts");
    assert_eq!(told.count, 65);
    assert_eq!(recorded(&mut node, Stage::Answered), Some(told), "the chain says what the caller was told");
}

#[test]
fn a_call_that_is_withdrawn_is_cancelled_before_at_and_not_after_its_answer() {
    let mut pair = Pair::new();
    let id = called(&mut pair);
    let [alpha, beta] = &mut pair.nodes;
    say_many(beta, id, 0..PARTS_OPEN_MAX + 1);
    assert_eq!(effects(&alpha.run(Input::Withdrawn { ask: AskId(1) })), ["cancel m0"]);
    let cancelled = effects(&beta.run(Input::CancelArrived { from: alpha.id(), message: id }));
    let words = "cancelled: cancelled: whoever asked no longer waits";
    assert_eq!(
        cancelled,
        [
            "send part 64 of m0 `64`"
                .to_owned()
                .replace("send part 64 of m0 `64`", "answer 164 Streamed { number: 64 }"),
            "cancel-delivery m0 of #0.0".to_owned(),
            format!("acknowledge m0 {words} behind 65 parts")
        ]
    );
    let late = effects(&beta.run(say(300, id, text("x"))));
    assert!(late[0].starts_with("answer 300 invalid"), "{late:?}");
    assert_eq!(effects(&beta.run(done(id, "late"))), Vec::<String>::new());
    while beta.writing.is_some() {
        beta.persist();
    }
    assert!(beta.steps().contains(&"refused m0 cancelled".to_owned()), "{:?}", beta.steps());

    // The answer is on its way when the caller goes away.
    let asked = pair.asked(2, Principal::Operator, in_parts(message("echo@beta", "hi", "executed")));
    pair.run(asked);
    let second = MessageId { counter: 1, ..id };
    let [alpha, beta] = &mut pair.nodes;
    let receipt = Box::new(acknowledged(&beta.run(done(second, "ho"))));
    assert_eq!(effects(&alpha.run(Input::Withdrawn { ask: AskId(2) })), ["cancel m1"]);
    assert_eq!(effects(&beta.run(Input::CancelArrived { from: alpha.id(), message: second })), Vec::<String>::new());
    assert_eq!(effects(&alpha.run(Input::ReceiptArrived { from: beta.id(), receipt })), Vec::<String>::new());

    // And when it was told.
    let asked = pair.asked(3, Principal::Operator, message("echo@beta", "hi", "executed"));
    pair.agents_answer = true;
    assert_eq!(pair.run(asked).len(), 1);
    assert_eq!(effects(&pair.nodes[0].run(Input::Withdrawn { ask: AskId(3) })), Vec::<String>::new());
}

#[test]
fn a_durable_message_goes_on_when_its_caller_is_gone_and_its_parts_are_for_nobody() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let asked = pair.asked(1, Principal::Operator, in_parts(message("echo@beta", "hi", "executed+durable")));
    pair.run(asked);
    let id = MessageId { chain: pair.nodes[0].chain(), counter: 0 };
    let [alpha, beta] = &mut pair.nodes;
    say_many(beta, id, 0..PARTS_OPEN_MAX + 1);
    assert_eq!(effects(&alpha.run(Input::Withdrawn { ask: AskId(1) })), ["want no more parts of m0"]);
    let taken = PartsTaken { message: id, count: PartsTaken::NO_MORE };
    let freed = effects(&beta.run(Input::PartsTakenArrived { from: alpha.id(), taken }));
    assert_eq!(freed, ["answer 164 Streamed { number: 64 }"], "counted and not sent");
    assert_eq!(effects(&beta.run(say(300, id, text("x")))), ["answer 300 Streamed { number: 65 }"]);
    let outputs = beta.run(done(id, "ho"));
    let receipt = acknowledged(&outputs);
    assert_eq!(receipt.parts.map(|parts| parts.count), Some(66));
    alpha.run(Input::ReceiptArrived { from: beta.id(), receipt: Box::new(receipt) });
    assert!(alpha.disk.outbox.is_empty(), "it was acknowledged");
}

#[test]
fn what_an_agent_called_is_cancelled_when_it_ends() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let grants = vec!["call:echo@beta".parse().expect("a right")];
    let caller = pair.nodes[0].start_agent(AgentSpec { grants, ..crate::node::echo("caller") });
    let Principal::Agent { process, .. } = caller.clone() else { panic!("{caller:?}") };
    let call = in_parts(message("echo@beta", "hi", "executed"));
    let asked = pair.asked(1, caller, call);
    let left = effects(&pair.nodes[0].run(asked));
    assert!(left.iter().any(|line| line.starts_with("transmit")), "{left:?}");
    let reason = ExitReason::Killed { signal: 9 };
    let ended = effects(&pair.nodes[0].run(Input::AgentExited { process, reason }));
    assert!(ended.contains(&"cancel m0".to_owned()), "{ended:?}");
    let gone = |line: &String| line.starts_with("answer 1 gone");
    assert!(ended.iter().any(gone), "{ended:?}");
}

#[test]
fn a_second_copy_of_an_answered_message_gets_the_answer_and_no_parts() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let asked = pair.asked(1, Principal::Operator, in_parts(message("echo@beta", "hi", "executed")));
    let [alpha, beta] = &mut pair.nodes;
    let envelope = Box::new(transmitted(&alpha.run(asked)));
    let id = envelope.id;
    let arrived = Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope };
    beta.run(arrived.clone());
    say_many(beta, id, 0..2);
    beta.run(done(id, "two"));
    assert_eq!(effects(&beta.run(arrived)), ["acknowledge m0 executed `two` behind 2 parts"]);
    // They are kept for a moment, no longer.
    let from = alpha.id();
    beta.run(Input::TransmitFailed { to: from, message: id });
    beta.pass(31_000_000);
    assert_eq!(effects(&beta.run(Input::ReachabilityChanged { node: from, reachable: true })), Vec::<String>::new());
}

#[test]
fn parts_that_nobody_takes_are_bounded_over_all_answers_and_the_oldest_go() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let half = PARTS_OPEN_BYTES_MAX / 2;
    let most = PARTS_KEPT_BYTES_MAX / half;
    let answer = |pair: &mut Pair, number: u64| {
        let asked = pair.asked(number, Principal::Operator, in_parts(message("echo@beta", "hi", "executed")));
        let [alpha, beta] = &mut pair.nodes;
        let envelope = Box::new(transmitted(&alpha.run(asked)));
        let id = envelope.id;
        beta.run(Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope });
        assert_eq!(parts_in(&beta.run(say(1_000 + number, id, text(&"x".repeat(half))))).len(), 1);
        beta.run(done(id, "done"));
        id
    };
    let sent_again = |pair: &mut Pair, ids: &[MessageId]| {
        let [alpha, beta] = &mut pair.nodes;
        let from = alpha.id();
        for id in ids {
            beta.run(Input::TransmitFailed { to: from, message: *id });
        }
        let outputs = beta.run(Input::ReachabilityChanged { node: from, reachable: true });
        parts_in(&outputs).into_iter().map(|part| part.message).collect::<Vec<_>>()
    };
    let mut ids = (0..most as u64).map(|number| answer(&mut pair, number)).collect::<Vec<_>>();
    assert_eq!(sent_again(&mut pair, &ids), ids, "so many are kept");
    ids.push(answer(&mut pair, 100));
    assert_eq!(sent_again(&mut pair, &ids), ids[1..], "one more takes the place of the oldest");

    let (from, taken) = (pair.nodes[0].id(), PartsTaken { message: ids[1], count: 1 });
    pair.nodes[1].run(Input::PartsTakenArrived { from, taken });
    ids.push(answer(&mut pair, 101));
    assert_eq!(sent_again(&mut pair, &ids), ids[2..], "what was taken makes room");
    pair.nodes[1].pass(31_000_000);
    let later = (200..200 + most as u64).map(|number| answer(&mut pair, number)).collect::<Vec<_>>();
    assert_eq!(sent_again(&mut pair, &later), later, "and so does what was forgotten");
}
