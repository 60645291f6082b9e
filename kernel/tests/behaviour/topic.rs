//! Publications: numbered, recorded, handed to whoever listens, here and on other nodes, once.

use weft_kernel::{AskId, Cursor, Input, Output, Route, Start, Syscall};
use weft_protocol::limits::COUNTER_BLOCK;
use weft_protocol::{ExitReason, Principal, ProcessId, Publication, Role, Signer as _};

use crate::node::{Node, effects, granted, lines, text};
use crate::pair::Pair;

fn publish(words: &str) -> Syscall {
    Syscall::Publish { topic: "jobs".parse().expect("a topic"), payload: text(words), trace: None }
}

fn subscribe() -> Syscall {
    subscribe_to("jobs", Start::Now)
}

fn subscribe_to(pattern: &str, start: Start) -> Syscall {
    Syscall::Subscribe { pattern: pattern.parse().expect("a pattern"), start }
}

fn by(principal: &Principal, ask: u64, syscall: Syscall) -> Input {
    Input::Asked { ask: AskId(ask), by: principal.clone(), syscall: Box::new(syscall), route: Route::Local }
}

#[test]
fn a_publication_reaches_agents_and_the_mesh_without_waiting_for_the_disk_and_operators_when_it_is_there() {
    let mut node = Node::new("alpha");
    let agent = node.start_agent(granted("reader", &["subscribe:jobs"]));
    assert_eq!(
        effects(&node.run(by(&agent, 1, subscribe()))),
        ["follow [jobs]", "gather jobs Nothing", "answer 1 Subscribed"]
    );
    let asked = node.asked(2, subscribe());
    assert_eq!(effects(&node.run(asked)), ["follow [jobsx2]", "gather jobs Nothing", "answer 2 Subscribed"]);
    let asked = node.asked(3, publish("one"));
    assert_eq!(
        lines(&node.give(asked)),
        [
            "persist [ipc.batch] (published m0 operator-local#1) (delivered m0 local)",
            "publish jobs/1 `one`",
            "deliver-publication #0.0 jobs/1 `one`",
            "answer 3 published 1 to 2",
        ]
    );
    let written = lines(&node.persist());
    assert_eq!(written, ["announce [ipc.batch]", "notify 2 jobs/1 `one`"], "a cursor names what is on disk");
    let process = ProcessId { index: 0, generation: 0 };
    assert_eq!(node.kernel.process(process).expect("it lives").topics, ["jobs".parse().expect("a topic")]);
    assert_eq!(effects(&node.run(Input::Withdrawn { ask: AskId(2) })), ["follow [jobs]"]);
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
    for wider in ["jobs.secret", "*", ">", "jobs.*", "jobs.>"] {
        let other = subscribe_to(wider, Start::Last(10));
        assert_eq!(effects(&node.run(by(&agent, 2, other))), [format!("answer 2 {denied}")], "{wider}");
    }
    assert!(effects(&node.run(by(&agent, 3, subscribe()))).contains(&"answer 3 Subscribed".to_owned()));
    let leave = Syscall::Unsubscribe { pattern: "jobs".parse().expect("a topic") };
    assert_eq!(effects(&node.run(by(&agent, 4, leave))), ["follow []", "answer 4 Unsubscribed"]);
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
        effects(&beta.run(Input::PublicationArrived { from, role, publication, fetched: false })).join("; ")
    };
    let (nothing, stranger) = (String::new(), weft_protocol::NodeId::from_bytes([9; 32]));
    assert_eq!(arrive(stranger, Role::Worker, &publication), nothing, "the transport proves who published");
    assert_eq!(arrive(from, Role::Worker, &publication), "notify 1 jobs/1 `one`");
    assert_eq!(arrive(from, Role::Worker, &publication), nothing, "a copy");
    let mut other = publication.clone();
    other.id.counter += 1;
    other.seq += 1;
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
    let killed = published(&node.run(asked));
    assert_eq!((killed.seq, killed.prev, killed.forgetful), (COUNTER_BLOCK + 1, 3, true), "it may have forgotten some");
    let asked = node.asked(1, Syscall::Shutdown);
    node.run(asked);
    node.crash();
    node.run(Input::Woken);
    let asked = node.asked(1, publish("x"));
    let orderly = published(&node.run(asked));
    assert_eq!((orderly.seq, orderly.prev), (2 * COUNTER_BLOCK + 1, COUNTER_BLOCK + 1));
    assert!(!orderly.forgetful, "everything it gave was on disk");
    assert_eq!(orderly.verify(node.signer.public_keys()), Ok(()));
    let forged = Publication { seq: 9, ..orderly };
    assert!(forged.verify(node.signer.public_keys()).is_err());
}

#[test]
fn numbers_of_other_topics_are_no_gap() {
    let mut node = Node::new("alpha");
    let mut publish_to = |topic: &str| {
        let topic = topic.parse().expect("a topic");
        let asked = node.asked(1, Syscall::Publish { topic, payload: text("x"), trace: None });
        let publication = published(&node.run(asked));
        (publication.seq, publication.prev)
    };
    assert_eq!([publish_to("a"), publish_to("b"), publish_to("a"), publish_to("b")], [(1, 0), (1, 0), (2, 1), (2, 1)]);
}

#[test]
fn a_wildcard_hears_topics_that_come_into_being_later() {
    let mut node = Node::new("alpha");
    for (ask, pattern) in [(1, "jobs.*"), (2, "jobs.>"), (3, "other.*")] {
        let asked = node.asked(ask, subscribe_to(pattern, Start::Now));
        node.run(asked);
    }
    let mut publish_to = |topic: &str| {
        let topic = topic.parse().expect("a topic");
        let asked = node.asked(9, Syscall::Publish { topic, payload: text("x"), trace: None });
        let outputs = effects(&node.run(asked));
        outputs.into_iter().filter(|line| line.starts_with("notify")).collect::<Vec<_>>()
    };
    assert_eq!(publish_to("jobs.new"), ["notify 1 jobs.new/1 `x`", "notify 2 jobs.new/1 `x`"]);
    assert_eq!(publish_to("jobs.new.big"), ["notify 2 jobs.new.big/1 `x`"]);
    assert_eq!(publish_to("jobs"), Vec::<String>::new());
}

#[test]
fn a_late_subscriber_gets_history_and_then_what_comes_without_hole_or_duplicate() {
    let mut node = Node::new("alpha");
    for number in 1..=3 {
        let asked = node.asked(1, publish(&number.to_string()));
        node.run(asked);
        node.pass(1_000_000);
    }
    node.crash();
    node.run(Input::Woken);
    let asked = node.asked(5, subscribe_to("jobs", Start::Last(2)));
    let begun = node.give(asked);
    assert_eq!(effects(&begun), ["follow [jobs]", "gather jobs Last(2)"]);
    let gather = begun.iter().find_map(|output| match output {
        Output::Gather { gather, .. } => Some(*gather),
        _ => None,
    });
    // What is published while members are asked is part of the history.
    let asked = node.asked(6, publish("4"));
    assert!(!effects(&node.run(asked)).iter().any(|line| line.starts_with("notify")));
    let gathered = node.run(Input::Gathered { gather: gather.expect("asked for") });
    let floor = COUNTER_BLOCK;
    let expected = [
        "answer 5 Subscribed".to_owned(),
        "notify 5 jobs/3 `3`".to_owned(),
        format!("notify 5 jobs/{} `4`", floor + 1),
    ];
    assert_eq!(effects(&gathered), expected);
    let asked = node.asked(7, publish("5"));
    let live = node.run(asked);
    assert!(effects(&live).contains(&format!("notify 5 jobs/{} `5`", floor + 2)));
    // A reader that was cut after `4` goes on with `5`, also after a kill.
    let cursor = cursor_of(&gathered);
    node.crash();
    node.run(Input::Woken);
    let asked = node.asked(8, subscribe_to("jobs", Start::Resume(cursor)));
    let resumed = effects(&node.run(asked));
    assert_eq!(resumed.iter().filter(|line| line.starts_with("notify")).count(), 1, "{resumed:?}");
    assert!(resumed.contains(&format!("notify 8 jobs/{} `5`", floor + 2)), "{resumed:?}");
    let asked = node.asked(9, subscribe_to("jobs", Start::Resume(cursor_of(&live))));
    assert!(!effects(&node.run(asked)).iter().any(|line| line.starts_with("notify")));
}

#[test]
fn what_was_fetched_as_history_is_handed_to_nobody_who_listens_already() {
    let mut pair = Pair::new();
    let [alpha, beta] = &mut pair.nodes;
    let asked = alpha.asked(1, publish("old"));
    let old = Box::new(published(&alpha.run(asked)));
    let asked = beta.asked(1, subscribe());
    beta.run(asked);
    let asked = beta.asked(2, subscribe_to("jobs", Start::Since(weft_protocol::Hlc(0))));
    let begun = beta.give(asked);
    let (from, role) = (alpha.id(), Role::Worker);
    let fetched = Input::PublicationArrived { from, role, publication: old, fetched: true };
    assert_eq!(effects(&beta.run(fetched)), Vec::<String>::new());
    let gather = begun.iter().find_map(|output| match output {
        Output::Gather { gather, .. } => Some(*gather),
        _ => None,
    });
    let gathered = beta.run(Input::Gathered { gather: gather.expect("asked for") });
    assert_eq!(effects(&gathered), ["answer 2 Subscribed", "notify 2 jobs/1 `old`"]);
}

fn cursor_of(outputs: &[Output]) -> Cursor {
    let last = outputs.iter().rev().find_map(|output| match output {
        Output::Notify { cursor, .. } => Some(*cursor),
        _ => None,
    });
    last.expect("a notification")
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
