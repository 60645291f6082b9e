//! Publications: numbered, recorded, handed to whoever listens, here and on other nodes, once.

use weft_kernel::{AskId, Input, Output, Route, Syscall};
use weft_protocol::limits::COUNTER_BLOCK;
use weft_protocol::{ExitReason, Principal, ProcessId, Publication, Role};

use crate::node::{Node, effects, granted, lines, text};
use crate::pair::Pair;

fn publish(words: &str) -> Syscall {
    Syscall::Publish { topic: "jobs".parse().expect("a topic"), payload: text(words), trace: None }
}

fn subscribe() -> Syscall {
    Syscall::Subscribe { topic: "jobs".parse().expect("a topic") }
}

fn by(principal: &Principal, ask: u64, syscall: Syscall) -> Input {
    Input::Asked { ask: AskId(ask), by: principal.clone(), syscall: Box::new(syscall), route: Route::Local }
}

#[test]
fn a_publication_reaches_local_subscribers_and_the_mesh_without_waiting_for_the_disk() {
    let mut node = Node::new("alpha");
    let agent = node.start_agent(granted("reader", &["subscribe:jobs"]));
    assert_eq!(effects(&node.run(by(&agent, 1, subscribe()))), ["answer 1 Subscribed", "follow [jobs]"]);
    let asked = node.asked(2, subscribe());
    assert_eq!(effects(&node.run(asked)), ["answer 2 Subscribed"]);
    let asked = node.asked(3, publish("one"));
    assert_eq!(
        lines(&node.give(asked)),
        [
            "persist [ipc.batch] (published m0 operator-local#1) (delivered m0 local)",
            "publish jobs/1 `one`",
            "notify 2 jobs/1 `one`",
            "deliver-publication #0.0 jobs/1 `one`",
            "answer 3 published 1 to 2",
        ]
    );
    node.persist();
    let process = ProcessId { index: 0, generation: 0 };
    assert_eq!(node.kernel.process(process).expect("it lives").topics, ["jobs".parse().expect("a topic")]);
    assert_eq!(effects(&node.run(Input::Withdrawn { ask: AskId(2) })), Vec::<String>::new());
    let exited = node.run(Input::AgentExited { process, reason: ExitReason::Exited { code: 0 } });
    assert_eq!(effects(&exited), ["follow []", "advertise []"]);
    let asked = node.asked(4, publish("two"));
    assert_eq!(effects(&node.run(asked)), ["publish jobs/2 `two`", "answer 4 published 2 to 0"]);
}

#[test]
fn an_agent_needs_a_grant_for_each_topic_and_direction() {
    let mut node = Node::new("alpha");
    let agent = node.start_agent(granted("reader", &["subscribe:jobs"]));
    let denied = "denied: denied by rule default-closed#4";
    assert_eq!(effects(&node.run(by(&agent, 1, publish("x")))), [format!("answer 1 {denied}")]);
    let other = Syscall::Subscribe { topic: "jobs.secret".parse().expect("a topic") };
    assert_eq!(effects(&node.run(by(&agent, 2, other))), [format!("answer 2 {denied}")]);
    assert_eq!(effects(&node.run(by(&agent, 3, subscribe())))[0], "answer 3 Subscribed");
    let leave = Syscall::Unsubscribe { topic: "jobs".parse().expect("a topic") };
    assert_eq!(effects(&node.run(by(&agent, 4, leave))), ["answer 4 Unsubscribed", "follow []"]);
}

#[test]
fn what_another_node_publishes_is_judged_and_handed_out_once() {
    let mut pair = Pair::new();
    let [alpha, beta] = &mut pair.nodes;
    let asked = beta.asked(1, subscribe());
    beta.run(asked);
    let asked = alpha.asked(1, publish("one"));
    let publication = published(&alpha.run(asked));
    let from = alpha.id();
    let mut arrive = |from, role, publication: &Publication| {
        let publication = Box::new(publication.clone());
        effects(&beta.run(Input::PublicationArrived { from, role, publication })).join("; ")
    };
    let (nothing, stranger) = (String::new(), weft_protocol::NodeId::from_bytes([9; 32]));
    assert_eq!(arrive(stranger, Role::Worker, &publication), nothing, "the transport proves who published");
    assert_eq!(arrive(from, Role::Worker, &publication), "notify 1 jobs/1 `one`");
    assert_eq!(arrive(from, Role::Worker, &publication), nothing, "a copy");
    let mut other = publication.clone();
    other.id.counter += 1;
    assert_eq!(arrive(from, Role::Observer, &other), nothing);
    other.id.counter += 1;
    other.topic = "nobody.listens".parse().expect("a topic");
    assert_eq!(arrive(from, Role::Observer, &other), nothing);
    assert_eq!(beta.kinds().iter().filter(|kind| *kind == "gate.denied").count(), 1);
    assert_eq!(beta.steps(), ["delivered m0 member-role#2"]);
}

#[test]
fn numbers_go_on_above_all_that_were_given_before_a_restart() {
    let mut node = Node::new("alpha");
    for number in 1..=3 {
        let asked = node.asked(1, publish("x"));
        assert_eq!(published(&node.run(asked)).seq, number);
    }
    node.crash();
    node.run(Input::Woken);
    let asked = node.asked(1, publish("x"));
    assert_eq!(published(&node.run(asked)).seq, COUNTER_BLOCK + 1);
}

#[test]
fn a_message_to_a_topic_is_a_publication() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, crate::node::message("topic:jobs", "x", "received"));
    assert_eq!(effects(&node.run(asked)), ["publish jobs/1 `x`", "answer 1 published 1 to 0"]);
    let asked = node.asked(2, crate::node::message("topic:jobs", "x", "executed"));
    assert_eq!(
        effects(&node.run(asked)),
        ["answer 2 invalid: a topic does not answer: publish to it, or call an agent"]
    );
    let asked = node.asked(3, publish(&"x".repeat(64 * 1024)));
    assert_eq!(effects(&node.run(asked)), ["answer 3 too-large: too large: 65536 bytes, at most 63488"]);
}

fn published(outputs: &[Output]) -> Publication {
    let publication = outputs.iter().find_map(|output| match output {
        Output::Publish(publication) => Some((**publication).clone()),
        _ => None,
    });
    publication.expect("a publication")
}
