//! The first records of a run, and what waits for them.

use weft_kernel::{Action, Input, KernelConfig, NodeState, Ticket, WrongState};
use weft_protocol::{BootPhase, Booted, Configured, Fact, PhaseRecord, PhaseResult, Principal, SettingChange};

use crate::node::{Node, START, echo, effects, lines, message, name};

#[test]
fn a_first_start_records_who_writes_the_chain_before_anything_else() {
    let config = KernelConfig { boot_agents: vec![echo("echo")], ..crate::node::at_once() };
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

#[test]
fn genesis_is_written_once_however_often_the_node_starts() {
    let mut node = Node::new("alpha");
    for _ in 0..2 {
        node.crash();
        node.run(Input::Woken);
    }
    assert_eq!(node.kinds(), ["genesis", "node.boot", "node.boot", "node.boot"]);
}

#[test]
fn a_state_follows_the_one_before_it_and_no_other() {
    use NodeState::{Booting, Damaged, Halted, Running, ShuttingDown};
    let states = [Booting, Running, ShuttingDown, Halted, Damaged];
    let table =
        states.map(|from| states.map(|to| if from.then(to) == Ok(to) { '+' } else { '-' }).iter().collect::<String>());
    assert_eq!(table, ["-+--+", "--+-+", "---++", "-----", "-----"]);
    let wrong = Booting.then(Halted).expect_err("not at once");
    assert_eq!(wrong, WrongState { from: Booting, to: Halted });
    assert_eq!(wrong.to_string(), "a node that is booting cannot become halted");
}

#[test]
fn a_start_is_recorded_with_its_phases_and_no_more_than_there_are() {
    let mut node = Node::new("alpha");
    let booted = |count: usize| {
        let phase = PhaseRecord { phase: BootPhase::Init, result: PhaseResult::Done, duration_us: 3 };
        let facts = vec![Fact::Booted(Booted { phases: vec![phase; count] })];
        Input::FactsGiven { ticket: Ticket(1), by: Principal::Operator, action: Action::RecordBoot, facts }
    };
    assert_eq!(lines(&node.run(booted(8)))[1..], ["announce [node.booted]", "facts-recorded 1 at 2"]);
    assert_eq!(lines(&node.run(booted(9))), ["facts-refused 1 these facts are not what `record-boot` records"]);
}

#[test]
fn other_settings_count_from_the_next_stop_on() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let change = SettingChange { key: "kernel.grace".into(), from: "2s".into(), to: "9s".into() };
    let action = Action::configure(std::slice::from_ref(&change));
    let facts = vec![Fact::Configured(Configured { changes: vec![change] })];
    let given = Input::FactsGiven { ticket: Ticket(1), by: Principal::Operator, action, facts };
    assert_eq!(lines(&node.run(given))[1..], ["announce [node.configured]", "facts-recorded 1 at 4"]);
    let config = Box::new(KernelConfig { grace_us: 9_000_000, ..crate::node::at_once() });
    assert_eq!(lines(&node.run(Input::Configured { config })), Vec::<String>::new());
    let process = node.kernel.agent(&name("echo")).expect("it is there");
    let agent = weft_kernel::AgentRef::Process(process);
    let asked = node.asked(2, weft_kernel::Syscall::Stop { agent });
    let stopped = node.run(asked);
    let grace = stopped.iter().find_map(|output| match output {
        weft_kernel::Output::Stop { grace_us, .. } => Some(*grace_us),
        _ => None,
    });
    assert_eq!(grace, Some(9_000_000));
}
