//! Suspended agents, and signals: who may send which, what the kernel does itself, and what reaches the agent.

use weft_kernel::{AgentRef, AskId, Input, Output, ProcessState, Route, Syscall};
use weft_protocol::{ExitReason, Payload, Principal, ProcessEnd, ProcessId, Resource, Signal};

use crate::node::{Node, effects, granted, message, name, text};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

fn ask(node: &mut Node, ask: u64, syscall: Syscall) -> Vec<String> {
    let asked = node.asked(ask, syscall);
    effects(&node.run(asked))
}

fn suspend(agent: &str) -> Syscall {
    Syscall::Suspend { agent: AgentRef::Name(name(agent)) }
}

fn resume(agent: &str) -> Syscall {
    Syscall::Resume { agent: AgentRef::Name(name(agent)) }
}

/// A call that carries a signal.
fn signal(target: &str, signal: Signal) -> Syscall {
    match message(target, "", "executed") {
        Syscall::Send { target, wants_reply, level, deadline_us, trace, cause, idempotent, .. } => {
            let payload = Payload::Signal(Box::new(signal));
            Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent, parts: false }
        }
        other => other,
    }
}

fn state(node: &Node) -> ProcessState {
    node.kernel.process(ECHO).expect("it is known").state
}

fn signals(outputs: &[Output]) -> Vec<String> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Signal { process, signal, from } => {
            let from = from.as_ref().map_or_else(|| "kernel".to_owned(), |from| from.principal.to_string());
            Some(format!("{process} {signal} by {from}"))
        }
        _ => None,
    });
    told.collect()
}

fn end() -> ProcessEnd {
    ProcessEnd {
        node: weft_protocol::NodeId::from_bytes([1; 32]),
        agent: name("other"),
        process: None,
        reason: "forged".into(),
    }
}

#[test]
fn a_suspended_agent_is_handed_nothing_until_it_goes_on() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, suspend("echo"));
    assert_eq!(effects(&node.give(asked)), Vec::<String>::new(), "nothing before the intent is on disk");
    assert_eq!(state(&node), ProcessState::Suspended);
    assert_eq!(effects(&node.persist()), ["suspend #0.0"]);
    let done = effects(&node.run(Input::AgentSuspended { process: ECHO }));
    assert_eq!(done, ["answer 1 Suspended { process: #0.0 }"]);
    assert_eq!(ask(&mut node, 2, suspend("echo")), ["answer 2 Suspended { process: #0.0 }"], "it is already");
    assert_eq!(ask(&mut node, 3, message("echo", "one", "executed")), Vec::<String>::new());
    assert_eq!(ask(&mut node, 4, signal("echo", Signal::Ping)), Vec::<String>::new());
    assert_eq!(node.kernel.process(ECHO).expect("it is there").mailbox, 2);
    assert_eq!(ask(&mut node, 5, resume("echo")), ["resume #0.0"]);
    let resumed = effects(&node.run(Input::AgentResumed { process: ECHO }));
    let expected =
        ["deliver m0 to #0.0 `one`", "answer 4 sent m1 executed 1 bytes", "answer 5 Resumed { process: #0.0 }"];
    assert_eq!(resumed, expected);
    assert_eq!(ask(&mut node, 6, resume("echo")), ["answer 6 Resumed { process: #0.0 }"]);
    let kinds = node.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "effect.intent").count(), 3, "start, suspend, resume");
    assert_eq!(kinds.iter().filter(|kind| *kind == "effect.outcome").count(), 3);
}

#[test]
fn what_waits_for_a_suspended_agent_is_bounded_and_runs_out_of_time() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    ask(&mut node, 1, suspend("echo"));
    node.run(Input::AgentSuspended { process: ECHO });
    for _ in 0..weft_protocol::limits::MAILBOX_MESSAGES_MAX {
        ask(&mut node, 2, message("echo", "hi", "received"));
    }
    assert_eq!(ask(&mut node, 3, message("echo", "hi", "received")), ["answer 3 busy: busy, retry after 50 ms"]);
    assert_eq!(ask(&mut node, 4, signal("echo", Signal::Resume)), ["resume #0.0", "answer 4 sent m1025 executed"]);
}

#[test]
fn an_agent_that_does_not_stand_still_goes_on_and_whoever_asked_is_told() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    ask(&mut node, 1, suspend("echo"));
    let told = effects(&node.run(Input::AgentResumed { process: ECHO }));
    assert_eq!(told, ["answer 1 agent-failed: the agent failed: not everything of it stood still in time; it goes on"]);
    assert_eq!(state(&node), ProcessState::Running);
}

#[test]
fn a_suspended_agent_can_be_stopped() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    ask(&mut node, 1, suspend("echo"));
    node.run(Input::AgentSuspended { process: ECHO });
    ask(&mut node, 2, message("echo", "one", "executed"));
    let stop = Syscall::Stop { agent: AgentRef::Name(name("echo")) };
    assert_eq!(ask(&mut node, 3, stop), ["advertise []", "stop #0.0"]);
    assert_eq!(ask(&mut node, 4, suspend("echo")), ["answer 4 gone: gone: #0.0"]);
    let ended = effects(&node.run(Input::AgentExited { process: ECHO, reason: ExitReason::Stopped }));
    let expected = ["answer 2 no-responder: no responder: echo", "answer 3 Stopped { process: #0.0, reason: Stopped }"];
    assert_eq!(ended, expected, "and what waited for it finds nobody");
}

#[test]
fn a_signal_that_changes_a_life_is_carried_out_by_the_kernel() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, signal("echo", Signal::Suspend));
    assert_eq!(effects(&node.give(asked)), Vec::<String>::new());
    assert_eq!(effects(&node.persist()), ["suspend #0.0", "answer 1 sent m0 executed"], "the order is on the chain");
    node.run(Input::AgentSuspended { process: ECHO });
    assert_eq!(state(&node), ProcessState::Suspended);
    assert_eq!(ask(&mut node, 2, signal("#0.0", Signal::Resume)), ["resume #0.0", "answer 2 sent m1 executed"]);
    node.run(Input::AgentResumed { process: ECHO });
    let stopped = ask(&mut node, 3, signal("echo", Signal::Shutdown));
    assert_eq!(stopped, ["advertise []", "stop #0.0", "answer 3 sent m2 executed"]);
    let killed = node.asked(4, signal("echo", Signal::Kill));
    let outputs = node.run(killed);
    assert_eq!(effects(&outputs), ["stop #0.0", "answer 4 sent m3 executed"], "and it may be hastened");
    assert!(outputs.iter().any(|output| matches!(output, Output::Stop { grace_us: 0, .. })));
    node.run(Input::AgentExited { process: ECHO, reason: ExitReason::Killed { signal: 9 } });
    assert_eq!(ask(&mut node, 5, signal("echo", Signal::Kill)), ["answer 5 no-responder: no responder: echo"]);
}

#[test]
fn ping_is_answered_and_all_other_signals_reach_the_agent_in_order() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    assert_eq!(ask(&mut node, 1, signal("echo", Signal::Ping)), ["answer 1 sent m0 executed 1 bytes"]);
    let warning = Signal::ResourceWarning { resource: Resource::Memory, measured: 8, limit: 10 };
    let others = [
        (Signal::Pong, "pong"),
        (Signal::ReloadConfig, "reload-config"),
        (Signal::DumpState, "dump-state"),
        (Signal::UserDefined(7), "user-defined:7"),
        (Signal::LinkExit(end()), "link-exit"),
        (Signal::MonitorDown(end()), "monitor-down"),
        (warning, "resource-warning"),
    ];
    for (sent, word) in others {
        let asked = node.asked(2, signal("echo", sent));
        let outputs = node.run(asked);
        assert_eq!(signals(&outputs), [format!("#0.0 {word} by operator")]);
        assert!(effects(&outputs).iter().any(|line| line.starts_with("answer 2 sent")), "{word}");
    }
}

#[test]
fn an_agent_sends_no_signal_for_which_it_has_no_grant() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = node.start_agent(granted("other", &["call:*", "suspend:echo"]));
    let mut ask = |sent| {
        let (ask, route) = (AskId(1), Route::Local);
        let syscall = Box::new(signal("echo", sent));
        let outputs = node.run(Input::Asked { ask, by: by.clone(), syscall, route });
        (effects(&outputs).join("; "), signals(&outputs))
    };
    let denied = ("answer 1 denied: denied by rule default-closed#4".to_owned(), Vec::new());
    for forged in [Signal::Kill, Signal::Shutdown, Signal::Resume, Signal::LinkExit(end()), Signal::MonitorDown(end())]
    {
        assert_eq!(ask(forged.clone()), denied, "{forged}");
    }
    assert_eq!(ask(Signal::UserDefined(1)).1, ["#0.0 user-defined:1 by agent/other"]);
    assert!(ask(Signal::Suspend).0.starts_with("suspend #0.0; answer 1 sent"), "this one it was granted");
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "gate.denied").count(), 5);
}

#[test]
fn a_worker_changes_no_life_on_another_node() {
    let mut pair = Pair::new();
    let rules = ["member-role#2", "member-role#2", weft_kernel::DEFAULT_CLOSED];
    for (forged, rule) in [Signal::Kill, Signal::Suspend, Signal::LinkExit(end())].into_iter().zip(rules) {
        let asked = pair.asked(1, Principal::Operator, signal("echo@beta", forged.clone()));
        let answers = pair.run(asked);
        let denied = weft_protocol::Refusal::Denied { rule: rule.to_owned() };
        assert_eq!(answers, [(1, Err(denied))], "{forged}");
    }
    let asked = pair.asked(2, Principal::Operator, signal("echo@beta", Signal::Ping));
    let answers = pair.run(asked);
    let Some((2, Ok(weft_kernel::Answer::Sent(report)))) = answers.into_iter().next() else { panic!("not answered") };
    assert_eq!(report.reply, Some(Payload::Signal(Box::new(Signal::Pong))));
    let asked = pair.asked(3, Principal::Operator, message("echo@beta", "hi", "executed"));
    let [(3, Ok(weft_kernel::Answer::Sent(report)))] = &pair.run(asked)[..] else { panic!("not answered") };
    assert_eq!(report.reply, Some(text("hi")), "it is as it was");
}
