//! Targets besides one agent: the kernel itself, and all agents of a node at once.

use weft_kernel::{AskId, Input, Route};
use weft_protocol::{Fact, Payload, Principal};

use crate::node::{Node, effects, granted, message};
use crate::pair::Pair;

fn by(principal: &Principal, ask: u64, target: &str, level: &str) -> Input {
    let syscall = Box::new(message(target, "hi", level));
    Input::Asked { ask: AskId(ask), by: principal.clone(), syscall, route: Route::Local }
}

fn ask(node: &mut Node, target: &str, words: &str, level: &str) -> String {
    let asked = node.asked(1, message(target, words, level));
    effects(&node.run(asked)).join("; ")
}

#[test]
fn the_kernel_answers_a_few_questions_and_nothing_else() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    assert_eq!(ask(&mut node, "kernel", "ping", "executed"), "answer 1 sent m0 executed `pong`");
    assert_eq!(node.steps()[node.steps().len() - 2..], ["received m0 operator-local#1", "answered m0 executed"]);
    let status = node.asked(2, message("kernel", "status", "executed"));
    let outputs = node.run(status);
    let weft_kernel::Output::Answer { answer: Ok(weft_kernel::Answer::Sent(report)), .. } = &outputs[1] else {
        panic!("{:?}", effects(&outputs))
    };
    let Some(Payload::Json(json)) = &report.reply else { panic!("{report:?}") };
    assert!(json.contains(r#""name":"alpha""#) && json.contains(r#""agents":1"#), "{json}");
    assert_eq!(
        ask(&mut node, "kernel", "format disk", "executed"),
        "answer 1 invalid: the kernel answers ping, echo TEXT, status, agents, services and contract \
         NAME [VERSION], not `format disk`"
    );
    assert_eq!(ask(&mut node, "kernel", "echo a  b", "executed"), "answer 1 sent m3 executed `a  b`");
    assert!(ask(&mut node, "kernel", "ping", "received").starts_with("answer 1 invalid: the kernel answers"));
    let reader = node.start_agent(granted("reader", &["call:kernel"]));
    assert_eq!(effects(&node.run(by(&reader, 3, "kernel", "executed"))).len(), 1);
    let other = node.start_agent(granted("other", &["call:echo"]));
    assert_eq!(
        effects(&node.run(by(&other, 4, "kernel", "executed"))),
        ["answer 4 denied: denied by rule default-closed#4"]
    );
}

#[test]
fn another_node_asks_the_kernel_and_its_answer_may_be_durable() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("kernel@beta", "ping", "executed"));
    let answers = pair.run(asked);
    assert!(format!("{answers:?}").contains("pong"), "{answers:?}");
    let asked = pair.asked(2, Principal::Operator, message("kernel@beta", "ping", "durable"));
    let answers = pair.run(asked);
    let Ok(weft_kernel::Answer::Sent(report)) = &answers[0].1 else { panic!("{answers:?}") };
    assert!(report.record.is_some() && report.remote_record.is_some());
    let stages = pair.nodes[1].facts().into_iter().filter_map(|fact| match fact {
        Fact::Message(record) => Some(format!("{:?}", record.stage)),
        _ => None,
    });
    assert_eq!(stages.collect::<Vec<_>>(), ["Received", "Answered"]);
}

#[test]
fn a_broadcast_reaches_every_agent_but_its_sender_and_says_how_many() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    let speaker = node.start_agent(granted("speaker", &["send:broadcast"]));
    assert_eq!(
        effects(&node.run(by(&speaker, 1, "broadcast", "received"))),
        ["deliver m1 to #0.0 `hi`", "deliver m2 to #1.0 `hi`", "answer 1 sent m0 received to 2"]
    );
    assert_eq!(
        ask(&mut node, "broadcast", "all", "received"),
        "deliver m4 to #0.0 `all`; deliver m5 to #1.0 `all`; deliver m6 to #2.0 `all`; answer 1 sent m3 received to 3"
    );
    let received: Vec<String> = node.steps().into_iter().filter(|step| step.starts_with("received m")).collect();
    assert_eq!(
        received[received.len() - 4..],
        [
            "received m3 operator-local#1",
            "received m4 operator-local#1",
            "received m5 operator-local#1",
            "received m6 operator-local#1",
        ]
    );
    let quiet = node.start_agent(granted("quiet", &["send:a"]));
    assert_eq!(
        effects(&node.run(by(&quiet, 2, "broadcast", "received"))),
        ["answer 2 denied: denied by rule default-closed#4"]
    );
    assert!(ask(&mut node, "broadcast", "x", "executed").starts_with("answer 1 invalid: a broadcast is not answered"));
    assert!(ask(&mut node, "broadcast", "x", "received+durable").starts_with("answer 1 unsupported"));
}

#[test]
fn a_broadcast_to_another_node_is_judged_there_delivered_once_and_counted() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    pair.nodes[1].start_agent(crate::node::echo("second"));
    let asked = pair.asked(1, Principal::Operator, message("broadcast@beta", "hi", "received"));
    let outputs = pair.nodes[0].run(asked);
    let envelope = crate::node::transmitted(&outputs);
    let from = pair.nodes[0].id();
    let arrived = |role| Input::EnvelopeArrived { from, role, envelope: Box::new(envelope.clone()) };
    assert_eq!(
        effects(&pair.nodes[1].run(arrived(weft_protocol::Role::Observer))),
        ["acknowledge m0 denied: denied by rule member-role#2"]
    );
    let arrived = |role| Input::EnvelopeArrived { from, role, envelope: Box::new(envelope.clone()) };
    assert_eq!(
        effects(&pair.nodes[1].run(arrived(weft_protocol::Role::Worker))),
        ["deliver m0 to #0.0 `hi`", "deliver m1 to #1.0 `hi`", "acknowledge m0 delivered 2"]
    );
    let again = arrived(weft_protocol::Role::Worker);
    let outputs = pair.nodes[1].run(again);
    assert_eq!(effects(&outputs), ["acknowledge m0 delivered 2"], "a second copy is not delivered again");
    let receipt = Box::new(crate::node::acknowledged(&outputs));
    let from = pair.nodes[1].id();
    assert_eq!(
        effects(&pair.nodes[0].run(Input::ReceiptArrived { from, receipt })),
        ["answer 1 sent m0 received to 2"]
    );
}

#[test]
fn a_full_mailbox_is_left_out_of_a_broadcast() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    for _ in 0..weft_protocol::limits::AGENT_IN_FLIGHT_MAX + weft_protocol::limits::MAILBOX_MESSAGES_MAX {
        let asked = node.asked(1, message("a", "x", "received"));
        node.run(asked);
    }
    assert!(ask(&mut node, "broadcast", "hi", "received").ends_with("received to 1"));
}
