//! The first records of a run, and what waits for them.

use weft_kernel::{Input, KernelConfig, NodeState};

use crate::node::{Node, START, echo, effects, lines, message, name};

#[test]
fn a_first_start_records_who_writes_the_chain_before_anything_else() {
    let config = KernelConfig { boot_agents: vec![echo("echo")], ..KernelConfig::default() };
    let mut node = Node::unborn("alpha", config);
    assert_eq!(node.kernel.next_wakeup(), Some(START));
    assert_eq!(lines(&node.give(Input::Woken)), ["persist [genesis node.boot effect.intent]! reserved"]);
    assert_eq!(node.kernel.state(), NodeState::Booting);

    let asked = node.asked(1, message("echo", "hi", "executed"));
    assert_eq!(lines(&node.give(asked)), Vec::<String>::new(), "questions wait for the first commit");
    assert_eq!(
        lines(&node.persist()),
        [
            "persist [ipc.batch] (received m0 operator-local#1)",
            "announce [genesis node.boot effect.intent]!",
            "start echo#0.0",
        ]
    );
    assert_eq!(node.kernel.state(), NodeState::Running);
    node.persist();

    let process = node.kernel.agent(&name("echo")).expect("it is there");
    let started = node.run(Input::AgentStarted { process, pid: Some(9) });
    assert_eq!(effects(&started), ["deliver m0 to #0.0 `hi`", "advertise [echo#0.0]"]);
    let shown = node.kernel.process(process).expect("it is there");
    assert_eq!((shown.pid, shown.started_at, shown.in_flight, shown.mailbox), (Some(9), Some(START), 1, 0));
}

#[test]
fn a_second_start_continues_the_chain() {
    let mut node = Node::new("alpha");
    node.crash();
    assert_eq!(lines(&node.give(Input::Woken)), ["persist [node.boot] reserved"]);
    node.persist();
    assert_eq!(node.kinds(), ["genesis", "node.boot", "node.boot"]);
    assert_eq!(node.kernel.chain_status().events, 3);
}
