//! Lives of agents: the intent is on disk before anything happens, the outcome before anybody is told.

use weft_kernel::{AgentRef, AskId, Input, ProcessState, Route, Syscall};
use weft_protocol::{EffectResult, ExitReason, Fact, ProcessId};

use crate::node::{Node, echo, effects, granted, lines, message, name};

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

fn spawn(name: &str) -> Syscall {
    Syscall::Spawn { spec: Box::new(echo(name)) }
}

fn stop(name: &str) -> Syscall {
    Syscall::Stop { agent: AgentRef::Name(name.parse().expect("a name")) }
}

#[test]
fn an_agent_starts_after_its_intent_and_is_reported_after_its_outcome() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, spawn("echo"));
    assert_eq!(lines(&node.give(asked)), ["persist [effect.intent]"]);
    assert_eq!(lines(&node.persist()), ["announce [effect.intent]", "start echo#0.0"]);
    let started = node.give(Input::AgentStarted { process: ECHO, pid: Some(4) });
    assert_eq!(lines(&started), ["persist [effect.outcome]", "advertise [echo#0.0]"]);
    assert_eq!(lines(&node.persist()), ["announce [effect.outcome]", "answer 1 Spawned { process: #0.0 }"]);
}

#[test]
fn an_agent_stops_after_its_intent_and_is_reported_after_its_end() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, stop("echo"));
    assert_eq!(lines(&node.give(asked)), ["persist [effect.intent]", "advertise []"]);
    let asked = node.asked(2, stop("echo"));
    assert_eq!(lines(&node.give(asked)), Vec::<String>::new(), "it joins the first");
    assert_eq!(lines(&node.persist()), ["announce [effect.intent]", "stop #0.0"]);
    let asked = node.asked(3, message("echo", "hi", "executed"));
    assert_eq!(effects(&node.run(asked)), ["answer 3 no-responder: no responder: echo"]);
    let exited = node.give(Input::AgentExited { process: ECHO, reason: ExitReason::Stopped });
    assert_eq!(lines(&exited), ["persist [effect.outcome process.exited resource.scored]"]);
    assert_eq!(
        effects(&node.persist()),
        ["answer 1 Stopped { process: #0.0, reason: Stopped }", "answer 2 Stopped { process: #0.0, reason: Stopped }",]
    );
    let shown = node.kernel.process(ECHO).expect("it is remembered");
    assert_eq!(shown.state, ProcessState::Exited(ExitReason::Stopped));
}

#[test]
fn an_agent_that_does_not_start_is_reported_with_the_reason() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, spawn("echo"));
    node.run(asked);
    let reason = ExitReason::StartFailed { reason: "no such program".to_owned() };
    let exited = node.run(Input::AgentExited { process: ECHO, reason });
    assert_eq!(effects(&exited), ["answer 1 agent-failed: the agent failed: echo did not start: no such program"]);
    assert!(node.facts().iter().any(|fact| matches!(
        fact,
        Fact::Outcome(outcome) if matches!(&outcome.result, EffectResult::Failed { .. })
    )));
}

#[test]
fn a_start_that_nobody_reports_ends_by_itself() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, spawn("echo"));
    node.run(asked);
    assert_eq!(effects(&node.pass(29_999_999)), Vec::<String>::new());
    let overdue = effects(&node.pass(1));
    assert_eq!(overdue, ["answer 1 agent-failed: the agent failed: not running after 30000 ms", "stop #0.0"]);
}

#[test]
fn a_stop_that_does_not_end_is_reported() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, stop("echo"));
    node.run(asked);
    assert_eq!(effects(&node.pass(5_000_000)), ["answer 1 deadline: deadline passed"]);
    assert_eq!(node.kernel.process(ECHO).expect("it is still there").state, ProcessState::Stopping);
    let asked = node.asked(2, stop("echo"));
    assert_eq!(effects(&node.run(asked)), ["stop #0.0"], "it may be asked again");
}

#[test]
fn a_name_is_taken_while_its_process_lives_and_a_new_life_is_another_process() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, spawn("echo"));
    assert_eq!(
        effects(&node.run(asked)),
        ["answer 1 invalid: echo is alive already, as #0.0: stop it first, or choose another name"]
    );
    node.run(Input::AgentExited { process: ECHO, reason: ExitReason::Exited { code: 0 } });
    node.start_agent(echo("echo"));
    assert_eq!(node.kernel.agent(&name("echo")), Some(ProcessId { index: 0, generation: 1 }));
    let asked = node.asked(2, message("#0.0", "hi", "executed"));
    assert_eq!(effects(&node.run(asked)), ["answer 2 gone: gone: #0.0"]);
}

#[test]
fn an_agent_passes_on_no_more_than_it_holds() {
    let mut node = Node::new("alpha");
    let by = node.start_agent(granted("boss", &["spawn:helper*", "call:echo*"]));
    let mut spawn = |spec| {
        let (ask, syscall) = (AskId(1), Box::new(Syscall::Spawn { spec: Box::new(spec) }));
        effects(&node.run(Input::Asked { ask, by: by.clone(), syscall, route: Route::Local })).join("; ")
    };
    assert_eq!(spawn(granted("other", &[])), "answer 1 denied: denied by rule default-closed#4");
    assert_eq!(
        spawn(granted("helper-1", &["call:clock"])).split(": g-").next(),
        Some("answer 1 wider: call:clock is wider than what is held")
    );
    assert_eq!(spawn(granted("helper-1", &["call:echo@beta"])), "start helper-1#1.0");
    let helper = node.kernel.agent(&name("helper-1")).and_then(|process| node.kernel.process(process));
    let grants = helper.expect("it starts").grants;
    assert_eq!(
        grants.iter().map(|grant| (grant.spec.to_string(), grant.depth)).collect::<Vec<_>>(),
        [("call:echo@beta".to_owned(), 3)]
    );
}
