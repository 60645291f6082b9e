//! Who is started again: policies, waits, budgets, groups, and what of it a restart of the node remembers.

use weft_kernel::{AgentRef, Input, ProcessState, Prospect, Syscall};
use weft_protocol::{AgentSpec, EffectResult, ExitReason, Fact, Membership, Principal, ProcessId, RestartPolicy};

use crate::node::{Node, echo, effects, message, name};

const WAITS_MS: [u64; 5] = [100, 200, 400, 800, 1_600];

fn with(agent: &str, restart: RestartPolicy) -> AgentSpec {
    AgentSpec { restart, ..echo(agent) }
}

fn in_group(agent: &str, group: &str, strategy: Option<&str>) -> AgentSpec {
    let strategy = strategy.map(|strategy| strategy.parse().expect("a strategy"));
    let group = Some(Membership { group: group.parse().expect("a group"), strategy });
    AgentSpec { group, ..with(agent, RestartPolicy::Permanent) }
}

fn process(index: u32, generation: u32) -> ProcessId {
    ProcessId { index, generation }
}

fn exits(process: ProcessId, code: i32) -> Input {
    Input::AgentExited { process, reason: ExitReason::Exited { code } }
}

fn stopped(process: ProcessId) -> Input {
    Input::AgentExited { process, reason: ExitReason::Stopped }
}

/// The processes that are started, which then run.
fn run_started(node: &mut Node, wait_us: u64) -> Vec<String> {
    let outputs = node.pass(wait_us);
    let started = outputs.iter().filter_map(|output| match output {
        weft_kernel::Output::Start { process, .. } => Some(*process),
        _ => None,
    });
    for process in started.collect::<Vec<_>>() {
        node.run(Input::AgentStarted { process, pid: None });
    }
    effects(&outputs)
}

fn last(node: &Node, agent: &str) -> ProcessId {
    let all = node.kernel.processes();
    all.iter().rfind(|info| info.agent == name(agent)).expect("it is known").process
}

fn prospect(node: &Node, agent: &str) -> Prospect {
    node.kernel.process(last(node, agent)).expect("it is known").prospect
}

fn ask(node: &mut Node, syscall: Syscall) -> Vec<String> {
    let asked = node.asked(1, syscall);
    effects(&node.run(asked))
}

fn restart(agent: &str) -> Syscall {
    Syscall::Restart { agent: AgentRef::Name(name(agent)) }
}

fn stop(agent: &str) -> Syscall {
    Syscall::Stop { agent: AgentRef::Name(name(agent)) }
}

/// Fails a lone agent until its budget is spent and it is in its sixth life.
fn spend_budget(node: &mut Node, agent: &str) {
    for wait_ms in WAITS_MS {
        let failing = node.kernel.agent(&name(agent)).expect("it lives");
        node.run(exits(failing, 1));
        assert_eq!(run_started(node, wait_ms * 1_000).len(), 1, "{agent} after {wait_ms} ms");
    }
}

#[test]
fn a_failing_agent_is_started_again_after_growing_waits_and_then_given_up() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Permanent));
    for (generation, wait_ms) in (0..).zip(WAITS_MS) {
        let nothing: Vec<String> = Vec::new();
        assert_eq!(effects(&node.run(exits(process(0, generation), 1))), nothing);
        assert!(matches!(prospect(&node, "worker"), Prospect::Restart { .. }));
        let told = format!("answer 1 restarting: worker is being restarted, retry after {wait_ms} ms");
        assert_eq!(ask(&mut node, message("worker", "hi", "executed")), [told]);
        assert_eq!(effects(&node.pass(wait_ms * 1_000 - 1)), nothing);
        assert_eq!(effects(&node.pass(1)), [format!("start worker#0.{}", generation + 1)]);
        let started = node.run(Input::AgentStarted { process: process(0, generation + 1), pid: None });
        assert_eq!(effects(&started), [format!("advertise [worker#0.{}]", generation + 1)]);
        let gone = format!("answer 1 gone: gone: #0.{generation}");
        assert_eq!(ask(&mut node, message(&format!("#0.{generation}"), "hi", "executed")), [gone]);
    }
    assert_eq!(effects(&node.run(exits(process(0, 5), 1))), ["advertise []"]);
    let reason = "worker exited with code 1, after 5 restarts within 60 s".to_owned();
    assert_eq!(prospect(&node, "worker"), Prospect::Failed { reason });
    assert_eq!(effects(&node.pass(600_000_000)), Vec::<String>::new(), "it stays so");
    assert_eq!(
        ask(&mut node, message("worker", "hi", "executed")),
        ["answer 1 no-responder: no responder: worker"],
        "and nobody is told to wait"
    );
    let kinds = node.kinds();
    let count = |kind: &str| kinds.iter().filter(|it| *it == kind).count();
    assert_eq!((count("supervisor.restart-planned"), count("supervisor.gave-up")), (5, 1));
}

#[test]
fn a_failure_now_and_then_is_no_reason_to_give_up_but_to_wait_longer() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Permanent));
    for (generation, wait_ms) in (0..).zip([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]) {
        node.run(exits(process(0, generation), 1));
        assert_eq!(effects(&node.pass(wait_ms * 1_000)), [format!("start worker#0.{}", generation + 1)], "{wait_ms}");
        node.run(Input::AgentStarted { process: process(0, generation + 1), pid: None });
        node.pass(13_000_000);
    }
    node.pass(60_000_000);
    node.run(exits(process(0, 11), 1));
    assert_eq!(effects(&node.pass(100_000)), ["start worker#0.12"], "a quiet minute ends the row");
}

#[test]
fn each_policy_starts_again_what_it_promises() {
    let policies = [RestartPolicy::Permanent, RestartPolicy::Transient, RestartPolicy::Temporary];
    let abnormal = ExitReason::Killed { signal: 11 };
    let ends = [(ExitReason::Exited { code: 0 }, [true, false, false]), (abnormal, [true, true, false])];
    for (reason, expected) in ends {
        for (policy, expected) in policies.into_iter().zip(expected) {
            let mut node = Node::new("alpha");
            node.start_agent(with("worker", policy));
            node.run(Input::AgentExited { process: process(0, 0), reason: reason.clone() });
            let again = !effects(&node.pass(100_000)).is_empty();
            assert_eq!(again, expected, "{policy} after {reason}");
        }
    }
}

#[test]
fn a_first_start_that_fails_is_told_and_not_tried_again() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, Syscall::Spawn { spec: Box::new(with("worker", RestartPolicy::Permanent)) });
    node.run(asked);
    let reason = ExitReason::StartFailed { reason: "no such program".to_owned() };
    node.run(Input::AgentExited { process: process(0, 0), reason });
    assert_eq!(effects(&node.pass(60_000_000)), Vec::<String>::new());
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
}

#[test]
fn a_later_start_that_nobody_reports_is_a_failure_like_any_other() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Permanent));
    node.run(exits(process(0, 0), 1));
    assert_eq!(effects(&node.pass(100_000)), ["start worker#0.1"]);
    assert_eq!(effects(&node.pass(30_000_000)), ["advertise [worker#0.1]", "stop #0.1"]);
    node.run(stopped(process(0, 1)));
    assert_eq!(effects(&node.pass(200_000)), ["start worker#0.2"]);
    let ends = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Exited(exited) => Some(exited.reason.to_string()),
        _ => None,
    });
    let expected = ["exited with code 1", "did not start: not running after 30000 ms"];
    assert_eq!(ends.collect::<Vec<_>>(), expected);
}

#[test]
fn one_for_all_restarts_everybody_when_the_last_has_ended() {
    let mut node = Node::new("alpha");
    for agent in ["a", "b", "c"] {
        node.start_agent(in_group(agent, "shop", (agent == "a").then_some("one-for-all")));
    }
    node.start_agent(AgentSpec { restart: RestartPolicy::Temporary, ..in_group("d", "shop", None) });
    node.start_agent(with("stranger", RestartPolicy::Permanent));
    let failed = effects(&node.run(exits(process(1, 0), 1)));
    let advertise = "advertise [a#0.0 b#1.0 c#2.0 stranger#4.0]";
    assert_eq!(failed, [advertise, "stop #0.0", "stop #2.0", "stop #3.0"], "who comes back is still here");
    assert_eq!(
        ask(&mut node, message("a", "hi", "executed")),
        ["answer 1 restarting: a is being restarted, retry after 100 ms"]
    );
    node.run(stopped(process(0, 0)));
    assert_eq!(effects(&node.pass(100_000)), Vec::<String>::new(), "two have not ended yet");
    assert_eq!(effects(&node.run(stopped(process(3, 0)))), Vec::<String>::new());
    let started =
        effects(&node.run(Input::AgentExited { process: process(2, 0), reason: ExitReason::Killed { signal: 9 } }));
    assert_eq!(started[1..], ["start a#0.1", "start b#1.1", "start c#2.1"], "in their order, the temporary one not");
    let reasons = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Exited(exited) if exited.agent == name("c") => Some(exited.reason.to_string()),
        _ => None,
    });
    let expected = "ended by the node: one-for-all of shop: b exited with code 1";
    assert_eq!(reasons.collect::<Vec<_>>(), [expected]);
}

#[test]
fn rest_for_one_restarts_those_that_were_started_later() {
    let mut node = Node::new("alpha");
    node.start_agent(in_group("c", "shop", Some("rest-for-one")));
    node.start_agent(in_group("worker", "shop/workers", None));
    node.start_agent(in_group("a", "shop", None));
    node.start_agent(in_group("late-worker", "shop/workers", None));
    assert_eq!(effects(&node.run(exits(process(2, 0), 1))), Vec::<String>::new(), "nobody came after a");
    assert_eq!(run_started(&mut node, 100_000), ["start a#2.1"]);
    assert_eq!(effects(&node.run(exits(process(0, 0), 1))), ["stop #1.0", "stop #2.1", "stop #3.0"]);
    for place in [process(1, 0), process(2, 1), process(3, 0)] {
        node.run(stopped(place));
    }
    let expected = ["start c#0.1", "start worker#1.1", "start a#2.2", "start late-worker#3.1"];
    assert_eq!(run_started(&mut node, 200_000), expected);
    assert_eq!(effects(&node.run(exits(process(1, 1), 1))), Vec::<String>::new(), "its own group is one-for-one");
}

#[test]
fn a_group_that_spent_its_budget_fails_as_one_child_of_the_group_above() {
    let mut node = Node::new("alpha");
    node.start_agent(in_group("front", "shop", Some("one-for-all")));
    node.start_agent(in_group("worker", "shop/workers", None));
    node.start_agent(in_group("helper", "shop/workers", None));
    spend_budget(&mut node, "worker");
    let failed = effects(&node.run(exits(process(1, 5), 1)));
    assert_eq!(failed, ["stop #0.0", "stop #2.0"], "now it is a matter of shop");
    node.run(stopped(process(0, 0)));
    node.run(stopped(process(2, 0)));
    assert_eq!(run_started(&mut node, 100_000), ["start front#0.1", "start worker#1.6", "start helper#2.1"]);
    node.run(exits(process(1, 6), 1));
    assert_eq!(run_started(&mut node, 100_000), ["start worker#1.7"], "the group begins with a budget of its own");
    let escalated = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Escalated(it) => Some((it.group.to_string(), it.to.map(|to| to.to_string()))),
        _ => None,
    });
    assert_eq!(escalated.collect::<Vec<_>>(), [("shop/workers".to_owned(), Some("shop".to_owned()))]);
}

#[test]
fn a_group_whose_failure_reaches_the_root_is_given_up_whole() {
    let mut node = Node::new("alpha");
    node.start_agent(in_group("worker", "shop", None));
    node.start_agent(in_group("healthy", "shop", None));
    node.start_agent(with("stranger", RestartPolicy::Permanent));
    spend_budget(&mut node, "worker");
    let failed = effects(&node.run(exits(process(0, 5), 1)));
    assert_eq!(failed, ["advertise [stranger#2.0]", "stop #1.0"]);
    node.run(stopped(process(1, 0)));
    assert_eq!(effects(&node.pass(600_000_000)), Vec::<String>::new());
    for agent in ["worker", "healthy"] {
        assert!(matches!(prospect(&node, agent), Prospect::Failed { .. }), "{agent}");
    }
    assert_eq!(prospect(&node, "stranger"), Prospect::None);
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start stranger#2.1"], "and that is remembered");
    assert!(matches!(prospect(&node, "healthy"), Prospect::Failed { .. }));
    assert_eq!(ask(&mut node, restart("healthy")), ["start healthy#1.1"]);
}

#[test]
fn a_group_has_one_strategy_and_an_agent_joins_no_group_but_its_own() {
    let mut node = Node::new("alpha");
    node.start_agent(in_group("a", "shop", Some("one-for-all")));
    let other = Syscall::Spawn { spec: Box::new(in_group("b", "shop", Some("one-for-one"))) };
    let refused = "answer 1 invalid: the group shop is one-for-all already: leave the strategy out, or stop its agents";
    assert_eq!(ask(&mut node, other), [refused]);
    let boss = AgentSpec { grants: vec!["spawn:*".parse().expect("a grant")], ..in_group("boss", "shop", None) };
    let by = node.start_agent(boss);
    let mut spawn = |spec| {
        let syscall = Box::new(Syscall::Spawn { spec: Box::new(spec) });
        let (ask, route) = (weft_kernel::AskId(1), weft_kernel::Route::Local);
        effects(&node.run(Input::Asked { ask, by: by.clone(), syscall, route }))
    };
    let denied = ["answer 1 denied: denied by rule default-closed#4"];
    assert_eq!(spawn(in_group("c", "other", None)), denied);
    assert_eq!(spawn(in_group("c", "shop/below", None)), denied);
    assert_eq!(spawn(in_group("c", "shop", None)), ["start c#2.0"]);
}

#[test]
fn an_agent_that_waits_for_its_next_life_can_be_stopped_or_started_at_once() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Permanent));
    node.run(exits(process(0, 0), 1));
    let spawn = Syscall::Spawn { spec: Box::new(echo("worker")) };
    let refused = "answer 1 invalid: worker is about to be started again: stop it first, or choose another name";
    assert_eq!(ask(&mut node, spawn), [refused]);
    assert_eq!(ask(&mut node, restart("worker")), ["start worker#0.1"]);
    let started = effects(&node.run(Input::AgentStarted { process: process(0, 1), pid: None }));
    assert_eq!(started, ["advertise [worker#0.1]", "answer 1 Spawned { process: #0.1 }"]);
    assert_eq!(effects(&node.pass(100_000)), Vec::<String>::new(), "its wait is forgotten");
    node.run(exits(process(0, 1), 1));
    let answered = ask(&mut node, stop("worker"));
    assert_eq!(answered, ["advertise []", "answer 1 Stopped { process: #0.1, reason: Exited { code: 1 } }"]);
    assert_eq!(effects(&node.pass(60_000_000)), Vec::<String>::new());
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
}

#[test]
fn a_restart_on_request_is_another_process_and_no_failure() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Temporary));
    for generation in 0..8 {
        assert_eq!(ask(&mut node, restart("worker")), [format!("stop #0.{generation}")]);
        let told = ["answer 1 restarting: worker is being restarted, retry after 50 ms"];
        assert_eq!(ask(&mut node, message("worker", "hi", "executed")), told);
        let next = generation + 1;
        let ended = effects(&node.run(stopped(process(0, generation))));
        assert_eq!(ended, [format!("advertise [worker#0.{next}]"), format!("start worker#0.{next}")]);
        let started = effects(&node.run(Input::AgentStarted { process: process(0, next), pid: None }));
        assert_eq!(started, [format!("answer 1 Spawned {{ process: #0.{next} }}")]);
    }
    assert_eq!(node.kernel.process(process(0, 8)).expect("it runs").restarts, 8);
}

#[test]
fn a_stop_prevails_over_a_restart_that_is_under_way() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Permanent));
    ask(&mut node, restart("worker"));
    let asked = node.asked(2, stop("worker"));
    assert_eq!(effects(&node.run(asked)), ["advertise []", "stop #0.0"]);
    let ended = effects(&node.run(stopped(process(0, 0))));
    assert_eq!(ended, ["answer 1 gone: gone: #0.0", "answer 2 Stopped { process: #0.0, reason: Stopped }"]);
    assert_eq!(effects(&node.pass(60_000_000)), Vec::<String>::new());
    let open = node.facts().into_iter().filter(|fact| matches!(fact, Fact::Intent(_))).count();
    let done = node
        .facts()
        .into_iter()
        .filter(|fact| matches!(fact, Fact::Outcome(outcome) if outcome.result == EffectResult::Done));
    assert_eq!((open, done.count()), (3, 3), "start, restart and stop: each has its outcome");
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
}

#[test]
fn what_was_spent_stays_spent_over_a_crash_of_the_node() {
    let mut node = Node::new("alpha");
    node.start_agent(with("worker", RestartPolicy::Transient));
    spend_budget(&mut node, "worker");
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start worker#0.6"]);
    node.run(Input::AgentStarted { process: process(0, 6), pid: None });
    node.run(exits(process(0, 6), 1));
    assert!(matches!(prospect(&node, "worker"), Prospect::Failed { .. }));
    for _ in 0..2 {
        node.crash();
        assert_eq!(effects(&node.run(Input::Woken)), Vec::<String>::new());
        let shown = node.kernel.process(last(&node, "worker")).expect("it is shown");
        assert!(matches!(shown.prospect, Prospect::Failed { .. }) && matches!(shown.state, ProcessState::Exited(_)));
        assert_eq!(shown.restarts, 6);
    }
    assert_eq!(ask(&mut node, restart("worker")), ["start worker#0.7"]);
    node.run(Input::AgentStarted { process: process(0, 7), pid: None });
    node.run(exits(process(0, 7), 1));
    assert_eq!(effects(&node.pass(100_000)), ["start worker#0.8"], "whoever asked gave it a fresh budget");
}

#[test]
fn a_crash_of_the_node_between_two_lives_costs_none() {
    let mut node = Node::new("alpha");
    node.start_agent(with("waiting", RestartPolicy::Transient));
    node.start_agent(with("asked", RestartPolicy::Transient));
    node.start_agent(with("done", RestartPolicy::Transient));
    node.run(exits(process(0, 0), 1));
    ask(&mut node, restart("asked"));
    node.run(exits(process(2, 0), 0));
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start waiting#0.1", "start asked#1.1"]);
}

#[test]
fn a_node_that_goes_down_starts_nobody_again() {
    let mut node = Node::new("alpha");
    node.start_agent(in_group("a", "shop", Some("one-for-all")));
    node.start_agent(in_group("b", "shop", None));
    node.run(exits(process(0, 0), 1));
    let asked = node.asked(1, Syscall::Shutdown);
    assert_eq!(effects(&node.run(asked)), Vec::<String>::new());
    let ended = effects(&node.run(stopped(process(1, 0))));
    assert_eq!(ended.last().map(String::as_str), Some("halt"), "{ended:?}");
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start a#0.1", "start b#1.1"]);
}

#[test]
fn a_forged_restart_is_denied_and_recorded() {
    let mut node = Node::with_agents("alpha", &["worker"]);
    let by: Principal = node.start_agent(echo("other"));
    let syscall = Box::new(restart("worker"));
    let (ask, route) = (weft_kernel::AskId(1), weft_kernel::Route::Local);
    let denied = effects(&node.run(Input::Asked { ask, by, syscall, route }));
    assert_eq!(denied, ["answer 1 denied: denied by rule default-closed#4"]);
    let recorded = |fact: &Fact| matches!(fact, Fact::Denied(denial) if denial.action == "restart");
    assert!(node.facts().iter().any(recorded));
}

/// What the start of a process leads to, besides that others hear of it.
fn runs(node: &mut Node, process: ProcessId) -> Vec<String> {
    let effects = effects(&node.run(Input::AgentStarted { process, pid: None }));
    effects.into_iter().filter(|effect| !effect.starts_with("advertise")).collect()
}

#[test]
fn who_stood_still_when_the_node_went_down_stands_still_again_until_somebody_lets_it_go_on() {
    for orderly in [false, true] {
        let mut node = Node::with_agents("alpha", &["brief"]);
        let keeper = AgentSpec { restart: RestartPolicy::Permanent, ..echo("keeper") };
        node.start_agent(keeper);
        let suspend = Syscall::Suspend { agent: AgentRef::Name(name("keeper")) };
        let process = |generation| ProcessId { index: 1, generation };
        ask(&mut node, suspend);
        node.run(Input::AgentSuspended { process: process(0) });
        for generation in 1..3 {
            if orderly {
                ask(&mut node, Syscall::Shutdown);
                for process in [ProcessId { index: 0, generation: 0 }, process(generation - 1)] {
                    node.run(Input::AgentExited { process, reason: ExitReason::Stopped });
                }
            }
            node.crash();
            node.run(Input::Woken);
            let asked = node.asked(3, message("keeper", "hi", "received"));
            node.run(asked);
            let started = runs(&mut node, process(generation));
            assert_eq!(started, [format!("suspend #1.{generation}")], "it is handed nothing first");
            // A crash between the intent and its outcome forgets nothing.
            if generation == 1 {
                node.run(Input::AgentSuspended { process: process(1) });
            }
        }
        node.run(Input::AgentSuspended { process: process(2) });
        assert_eq!(node.kernel.process(process(2)).expect("it lives").state, ProcessState::Suspended);
        let resume = Syscall::Resume { agent: AgentRef::Name(name("keeper")) };
        ask(&mut node, resume);
        let resumed = effects(&node.run(Input::AgentResumed { process: process(2) }));
        assert!(resumed.iter().any(|effect| effect.starts_with("deliver ")), "what waited: {resumed:?}");
        node.crash();
        node.run(Input::Woken);
        let started = runs(&mut node, process(3));
        assert!(started.iter().all(|effect| !effect.starts_with("suspend")), "it went on: {started:?}");
    }
}

#[test]
fn who_is_started_again_by_its_supervisor_runs_and_so_it_does_after_a_restart_of_the_node() {
    let mut node = Node::with_agents("alpha", &[]);
    node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..echo("keeper") });
    let process = |generation| ProcessId { index: 0, generation };
    ask(&mut node, Syscall::Suspend { agent: AgentRef::Name(name("keeper")) });
    node.run(Input::AgentSuspended { process: process(0) });
    node.run(Input::AgentExited { process: process(0), reason: ExitReason::Killed { signal: 9 } });
    node.pass(100_000);
    assert_eq!(runs(&mut node, process(1)), Vec::<String>::new());
    node.crash();
    node.run(Input::Woken);
    assert_eq!(runs(&mut node, process(2)), Vec::<String>::new());
}

#[test]
fn whom_its_node_failed_to_serve_is_started_again() {
    for (restart, expected) in [
        (RestartPolicy::Permanent, vec!["start a#0.1"]),
        (RestartPolicy::Transient, vec!["start a#0.1"]),
        (RestartPolicy::Temporary, Vec::new()),
    ] {
        let mut node = Node::with_agents("alpha", &[]);
        node.start_agent(with("a", restart));
        let reason = ExitReason::Terminated { reason: "its node failed to serve it".to_owned() };
        node.run(Input::AgentExited { process: process(0, 0), reason });
        assert_eq!(run_started(&mut node, 100_000), expected, "{restart:?}");
    }
}
