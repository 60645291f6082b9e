//! A call, here and across nodes: what leaves when, and what both sides record.

use weft_kernel::{Answer, AskId, Input, Output, Route};
use weft_protocol::{Principal, ProcessId, Refusal, Role};

use crate::node::{Node, acknowledged, effects, lines, message, text, transmitted};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

#[test]
fn a_local_call_does_not_wait_for_the_disk() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, message("echo", "hi", "executed"));
    let outputs = node.give(asked);
    let id = delivered(&outputs);
    assert_eq!(lines(&outputs), ["persist [ipc.batch] (received m0 operator-local#1)", "deliver m0 to #0.0 `hi`"]);
    node.now = node.now.after_us(250);
    let answered = node.give(Input::AgentAnswered { process: ECHO, message: id, answer: Ok(Some(text("ho"))) });
    assert_eq!(lines(&answered), ["answer 1 sent m0 executed `ho`"], "the first commit is still being written");
    let Some(Output::Answer { answer: Ok(Answer::Sent(report)), .. }) = answered.first() else {
        panic!("it was answered")
    };
    assert_eq!((report.latency_us, report.node, report.trace), (250, node.id(), id.new_trace()));
    assert_eq!(lines(&node.persist()), ["persist [ipc.batch] (answered m0 executed)", "announce [ipc.batch]"]);
}

#[test]
fn of_a_plain_message_that_nobody_waits_for_its_arrival_is_recorded_and_its_failure() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let send = |node: &mut Node, ask| {
        let asked = node.asked(ask, message("echo@alpha", "hi", "received"));
        let outputs = node.run(asked);
        assert_eq!(
            effects(&outputs),
            [format!("answer {ask} sent m{} received", ask - 1), format!("deliver m{} to #0.0 `hi`", ask - 1)]
        );
        delivered(&outputs)
    };
    let first = send(&mut node, 1);
    node.run(Input::AgentAnswered { process: ECHO, message: first, answer: Ok(Some(text("ho"))) });
    let second = send(&mut node, 2);
    node.run(Input::AgentAnswered { process: ECHO, message: second, answer: Err("no".to_owned()) });
    let expected = ["received m0 operator-local#1", "received m1 operator-local#1", "refused m1 agent-failed"];
    assert_eq!(node.steps(), expected);
    let targets: Vec<_> = node.disk.records.iter().map(|record| record.target.as_str()).collect();
    assert_eq!(targets, ["echo"; 3], "recorded without its node");
    // Its place is free again.
    assert_eq!(delivered(&node.give(node.asked(3, message("echo", "hi", "executed")))).counter, 2);
}

#[test]
fn a_remote_call_is_recorded_on_both_sides_and_waits_for_neither_disk() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let [alpha, beta] = &mut pair.nodes;
    let sent = alpha.give(asked);
    assert_eq!(lines(&sent), ["persist [ipc.batch] (sent m0 operator-local#1)", "transmit m0 to echo `hi`"]);

    let (from, role, envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&sent)));
    let id = envelope.id;
    let received = beta.give(Input::EnvelopeArrived { from, role, envelope });
    assert_eq!(lines(&received), ["persist [ipc.batch] (received m0 member-role#2)", "deliver m0 to #0.0 `hi`"]);
    let answered = beta.give(Input::AgentAnswered { process: ECHO, message: id, answer: Ok(Some(text("ho"))) });
    assert_eq!(lines(&answered), ["acknowledge m0 executed `ho`"]);

    let (from, receipt) = (beta.id(), Box::new(acknowledged(&answered)));
    let done = alpha.give(Input::ReceiptArrived { from, receipt });
    assert_eq!(lines(&done), ["answer 1 sent m0 executed `ho`"]);
    while alpha.writing.is_some() {
        alpha.persist();
    }
    assert_eq!(alpha.steps(), ["sent m0 operator-local#1", "acknowledged m0 executed"]);
}

#[test]
fn stamps_of_the_steps_rise_across_nodes() {
    let mut pair = Pair::new();
    pair.nodes[0].now = pair.nodes[0].now.after_us(400_000);
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    pair.run(asked);
    let stamp = |node: usize, step: usize| pair.nodes[node].disk.records[step].hlc;
    let stamps = [stamp(0, 0), stamp(1, 0), stamp(1, 1), stamp(0, 1)];
    assert!(stamps.is_sorted_by(|left, right| left < right), "{stamps:?}");
}

#[test]
fn each_level_is_answered_when_it_is_reached() {
    let mut pair = Pair::new();
    for (ask, level) in [(1, "routed"), (2, "received"), (3, "executed")] {
        let asked = pair.asked(ask, Principal::Operator, message("echo@beta", "hi", level));
        let answers = pair.run(asked);
        let [(answered, Ok(Answer::Sent(report)))] = &answers[..] else { panic!("{level}: {answers:?}") };
        assert_eq!((*answered, report.level.to_string()), (ask, level.to_owned()));
        assert_eq!(report.reply, if level == "executed" { Some(text("hi")) } else { None });
    }
}

#[test]
fn refusals_are_typed_and_come_at_once() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let mut refused = |target: &str, level: &str, route: Route| {
        let syscall = Box::new(message(target, "hi", level));
        let outputs = node.run(Input::Asked { ask: AskId(1), by: Principal::Operator, syscall, route });
        effects(&outputs).join("; ")
    };
    assert_eq!(refused("nobody", "executed", Route::Local), "answer 1 no-responder: no responder: nobody");
    assert_eq!(refused("#7.0", "executed", Route::Local), "answer 1 no-responder: no responder: #7.0");
    assert_eq!(refused("#0.1", "executed", Route::Local), "answer 1 no-responder: no responder: #0.1");
    assert_eq!(
        refused("echo", "executed+witnessed", Route::Local),
        "answer 1 no-witness: no other member can witness this"
    );
    let ambiguous = Refusal::Ambiguous { targets: vec!["echo@alpha".to_owned(), "echo@beta".to_owned()] };
    assert_eq!(
        refused("echo", "executed", Route::nowhere(ambiguous)),
        "answer 1 ambiguous: ambiguous: echo@alpha, echo@beta"
    );
    assert!(node.steps().contains(&"refused m4 ambiguous".to_owned()), "{:?}", node.steps());
}

#[test]
fn a_member_known_to_be_unreachable_is_not_waited_for() {
    let mut pair = Pair::new();
    let beta = pair.nodes[1].id();
    pair.nodes[0].run(Input::ReachabilityChanged { node: beta, reachable: false });
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    assert_eq!(effects(&pair.nodes[0].run(asked)), [format!("answer 1 unreachable: {beta} is unreachable")]);
}

#[test]
fn what_is_too_large_or_not_json_does_not_leave() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let mut refused = |payload| {
        let weft_kernel::Syscall::Send { target, wants_reply, level, deadline_us, trace, cause, idempotent, .. } =
            message("echo", "", "executed")
        else {
            panic!("a send")
        };
        let syscall = weft_kernel::Syscall::Send {
            target,
            payload,
            wants_reply,
            level,
            deadline_us,
            trace,
            cause,
            idempotent,
            parts: false,
        };
        let asked = node.asked(1, syscall);
        effects(&node.run(asked)).join("; ")
    };
    let big = "x".repeat(weft_protocol::limits::MESSAGE_BYTES_MAX + 1);
    assert_eq!(
        refused(weft_protocol::Payload::Text(big)),
        "answer 1 too-large: too large: 1048577 bytes, at most 1048576"
    );
    assert_eq!(
        refused(weft_protocol::Payload::Json("{\"a\":".to_owned())),
        "answer 1 invalid: not one JSON value: EOF while parsing a value at line 1 column 5"
    );
}

fn delivered(outputs: &[Output]) -> weft_protocol::MessageId {
    let id = outputs.iter().find_map(|output| match output {
        Output::Deliver { delivery, .. } => Some(delivery.message),
        _ => None,
    });
    id.expect("a delivery")
}
