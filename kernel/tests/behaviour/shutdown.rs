//! The end of a run: in order, sealed, and in bounded time.

use weft_kernel::{AskId, Input, NodeState, Syscall};
use weft_protocol::{ExitReason, Principal, ProcessId, Role};

use crate::node::{Node, effects, lines, message, transmitted};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

#[test]
fn every_process_ends_first_and_the_last_record_is_sealed() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, Syscall::Shutdown);
    assert_eq!(lines(&node.give(asked)), ["persist [effect.intent]", "advertise []"]);
    assert_eq!(node.kernel.state(), NodeState::ShuttingDown);
    assert_eq!(effects(&node.persist()), ["stop #0.0"]);
    let asked = node.asked(2, message("echo", "hi", "executed"));
    assert_eq!(effects(&node.run(asked)), ["answer 2 shutting-down: the node is shutting down"]);
    let exited = node.give(Input::AgentExited { process: ECHO, reason: ExitReason::Stopped });
    assert_eq!(lines(&exited), ["persist [effect.outcome process.exited node.shutdown]! reserved"]);
    assert_eq!(
        lines(&node.persist()),
        ["announce [effect.outcome process.exited node.shutdown]!", "answer 1 shutting-down [echo#0.0]", "halt"]
    );
    let status = node.kernel.chain_status();
    assert_eq!((status.sealed_events, node.kernel.state()), (status.events, NodeState::Halted));
    assert_eq!(node.kernel.next_wakeup(), None);
    let asked = node.asked(3, Syscall::Shutdown);
    assert_eq!(lines(&node.give(asked)), ["answer 3 shutting-down: the node is shutting down"]);
}

#[test]
fn a_process_that_does_not_end_does_not_hold_the_node() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, Syscall::Shutdown);
    node.run(asked);
    let before = node.now;
    let ended = node.pass(5_000_000);
    assert_eq!(effects(&ended), ["answer 1 shutting-down [echo#0.0]", "halt"]);
    assert_eq!(node.now.since_us(before), 5_000_000);
    let last = node.kinds();
    assert_eq!(last.last().map(String::as_str), Some("node.shutdown"));
    assert_eq!(last.iter().filter(|kind| *kind == "process.exited").count(), 1);
}

#[test]
fn whoever_waits_is_told_and_durable_messages_stay_in_the_outbox() {
    let mut pair = Pair::new();
    let beta = pair.nodes[1].id();
    for (ask, level) in [(1, "executed"), (2, "durable")] {
        let asked = pair.asked(ask, Principal::Operator, message("echo@beta", "hi", level));
        pair.nodes[0].run(asked);
    }
    pair.nodes[0].run(Input::ReachabilityChanged { node: beta, reachable: false });
    let asked = pair.asked(3, Principal::Operator, message("echo@beta", "hi", "durable"));
    let alpha = &mut pair.nodes[0];
    alpha.run(asked);
    let asked = alpha.asked(4, Syscall::Shutdown);
    assert_eq!(
        effects(&alpha.run(asked)),
        [
            "answer 1 deadline: deadline passed",
            "answer 2 deadline: deadline passed",
            "answer 3 shutting-down: the node is shutting down",
            "answer 4 shutting-down []",
            "halt",
        ]
    );
    assert_eq!(alpha.disk.outbox.len(), 2);
    assert_eq!(alpha.kinds().last().map(String::as_str), Some("node.shutdown"));
}

#[test]
fn steps_that_are_not_written_yet_come_before_the_last_record() {
    let mut node = Node::new("alpha");
    for ask in [1, 2] {
        let asked = node.asked(ask, message("nobody", "hi", "executed"));
        node.give(asked);
    }
    let asked = node.asked(3, Syscall::Shutdown);
    node.give(asked);
    assert_eq!(lines(&node.persist())[0], "persist [ipc.batch node.shutdown]! (refused m1 no-responder) reserved");
}

#[test]
fn a_message_that_arrives_on_the_way_down_is_refused() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let [alpha, beta] = &mut pair.nodes;
    let envelope = Box::new(transmitted(&alpha.run(asked)));
    let (from, role) = (alpha.id(), Role::Worker);
    let asked = beta.asked(1, Syscall::Shutdown);
    beta.run(asked);
    let arrived = Input::EnvelopeArrived { from, role, envelope };
    let refused = ["acknowledge m0 shutting-down: the node is shutting down"];
    assert_eq!(effects(&beta.run(arrived.clone())), refused);
    beta.run(Input::AgentExited { process: ECHO, reason: ExitReason::Stopped });
    assert_eq!(effects(&beta.give(arrived)), refused);
    assert_eq!(effects(&beta.give(Input::Withdrawn { ask: AskId(1) })), Vec::<String>::new());
}

#[test]
fn what_began_last_is_stopped_first() {
    let mut node = Node::new("alpha");
    for agent in ["first", "second", "third"] {
        node.now = node.now.after_us(1_000);
        node.start_agent(crate::node::echo(agent));
    }
    let asked = node.asked(1, Syscall::Shutdown);
    let stops = effects(&node.run(asked)).into_iter().filter(|line| line.starts_with("stop ")).collect::<Vec<_>>();
    assert_eq!(stops, ["stop #2.0", "stop #1.0", "stop #0.0"]);
    for index in [0, 1, 2] {
        let process = ProcessId { index, generation: 0 };
        node.run(Input::AgentExited { process, reason: ExitReason::Stopped });
    }
    assert_eq!(node.kernel.state(), NodeState::Halted);
}
