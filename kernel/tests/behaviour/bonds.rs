//! Links and monitors: who ends with whom, who is told of what and when, and what a restart of the node makes of them.

use weft_kernel::{AgentRef, AskId, Input, Output, ProcessState, Registration, Route, Syscall};
use weft_protocol::{
    AgentSpec, AuditLevel, BondKind, ExitReason, Fact, NodeId, Principal, ProcessExited, ProcessId, RestartPolicy,
    Signal, Target, Watched,
};

use crate::node::{Node, echo, effects, granted, name};

const ALPHA_A: ProcessId = ProcessId { index: 0, generation: 0 };
const ALPHA_B: ProcessId = ProcessId { index: 1, generation: 0 };

fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

fn agent(text: &str) -> Option<AgentRef> {
    Some(AgentRef::Name(name(text)))
}

fn link(one: &str, other: &str) -> Syscall {
    Syscall::Link { agent: agent(one), with: target(other) }
}

fn unlink(one: &str, other: &str) -> Syscall {
    Syscall::Unlink { agent: agent(one), with: target(other) }
}

fn monitor(watcher: &str, of: &str) -> Syscall {
    Syscall::Monitor { watcher: agent(watcher), target: target(of), seen: None }
}

fn demonitor(watcher: &str, of: &str) -> Syscall {
    Syscall::Demonitor { watcher: agent(watcher), target: target(of) }
}

fn ask(node: &mut Node, ask: u64, syscall: Syscall) -> Vec<String> {
    let asked = node.asked(ask, syscall);
    effects(&node.run(asked))
}

fn exit(node: &mut Node, process: ProcessId, reason: ExitReason) -> Vec<Output> {
    node.run(Input::AgentExited { process, reason })
}

fn failed(node: &mut Node, process: ProcessId) -> Vec<Output> {
    exit(node, process, ExitReason::Exited { code: 4 })
}

/// What processes were told of ends.
fn told(outputs: &[Output]) -> Vec<String> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Signal { process, signal, from: None } => match &**signal {
            Signal::LinkExit(end) => {
                Some(format!("{process} link-exit {}{} {}", end.agent, id(end.process), end.reason))
            }
            Signal::MonitorDown(end) => {
                Some(format!("{process} monitor-down {}{} {}", end.agent, id(end.process), end.reason))
            }
            _ => None,
        },
        _ => None,
    });
    told.collect()
}

fn id(process: Option<ProcessId>) -> String {
    process.map_or_else(String::new, |process| process.to_string())
}

fn state(node: &Node, process: ProcessId) -> String {
    let info = node.kernel.process(process).expect("it is known");
    match info.state {
        ProcessState::Exited(reason) => reason.to_string(),
        state => state.to_string(),
    }
}

fn trapping(name: &str) -> AgentSpec {
    AgentSpec { traps_exits: true, ..echo(name) }
}

fn bond_kinds(node: &Node) -> Vec<String> {
    node.kinds().into_iter().filter(|kind| kind.starts_with("bond.")).collect()
}

#[test]
fn a_failure_ends_the_other_end_of_a_link_and_names_it() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    let asked = node.asked(1, link("a", "b"));
    assert_eq!(effects(&node.give(asked)), Vec::<String>::new(), "nothing is said before it is on disk");
    assert_eq!(effects(&node.persist()), ["answer 1 Linked { one: #0.0, other: #1.0 }"]);
    assert_eq!(
        ask(&mut node, 2, link("b", "a")),
        ["answer 2 Linked { one: #1.0, other: #0.0 }"],
        "it is the same link"
    );
    let outputs = node.give(Input::AgentExited { process: ALPHA_B, reason: ExitReason::Exited { code: 4 } });
    assert_eq!(told(&outputs), Vec::<String>::new(), "nor is anybody told before");
    let outputs = node.persist();
    assert_eq!(told(&outputs), ["#0.0 link-exit b#1.0 exited with code 4"]);
    assert!(effects(&outputs).contains(&"stop #0.0".to_owned()), "{:?}", effects(&outputs));
    exit(&mut node, ALPHA_A, ExitReason::Stopped);
    assert_eq!(state(&node, ALPHA_A), "ended by the node: linked to b #1.0: exited with code 4");
    assert_eq!(bond_kinds(&node), ["bond.linked", "bond.fired"]);
    assert!(node.facts().iter().any(|fact| matches!(fact, Fact::BondFired(fired)
        if fired.kind == BondKind::Link && fired.ends && fired.told.process == ALPHA_A)));
}

#[test]
fn a_chain_of_links_falls_as_a_whole_and_supervisors_start_again_without_the_links() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..echo("c") });
    let c = ProcessId { index: 2, generation: 0 };
    ask(&mut node, 1, link("a", "b"));
    ask(&mut node, 2, link("b", "c"));
    failed(&mut node, ALPHA_A);
    let outputs = exit(&mut node, ALPHA_B, ExitReason::Stopped);
    let reason = "linked to a #0.0: exited with code 4";
    assert_eq!(told(&outputs), [format!("#2.0 link-exit b#1.0 ended by the node: {reason}")]);
    exit(&mut node, c, ExitReason::Stopped);
    assert!(state(&node, c).starts_with("ended by the node: linked to b #1.0"), "{}", state(&node, c));
    let started = effects(&node.pass(200_000));
    assert!(started.contains(&"start c#2.1".to_owned()), "{started:?}");
    let again = ProcessId { index: 2, generation: 1 };
    node.run(Input::AgentStarted { process: again, pid: None });
    assert_eq!(node.kernel.process(again).expect("it lives").links, [], "another process has no bonds");
}

#[test]
fn what_somebody_wanted_is_no_failure() {
    let ends = [ExitReason::Exited { code: 0 }, ExitReason::Stopped];
    for reason in ends {
        let mut node = Node::with_agents("alpha", &["a", "b"]);
        ask(&mut node, 1, link("a", "b"));
        assert_eq!(told(&exit(&mut node, ALPHA_B, reason.clone())), Vec::<String>::new(), "{reason}");
        assert_eq!(state(&node, ALPHA_A), "running", "{reason}");
        assert_eq!(node.kernel.process(ALPHA_A).expect("it lives").links, [], "{reason}");
    }
    let wishes =
        [Syscall::Stop { agent: AgentRef::Name(name("b")) }, Syscall::Restart { agent: AgentRef::Name(name("b")) }];
    for wish in wishes {
        let mut node = Node::with_agents("alpha", &["a", "b"]);
        ask(&mut node, 1, link("a", "b"));
        ask(&mut node, 2, wish.clone());
        // It was asked to, so even a code that is not 0 is no failure.
        assert_eq!(told(&failed(&mut node, ALPHA_B)), Vec::<String>::new(), "{wish:?}");
        assert_eq!(state(&node, ALPHA_A), "running", "{wish:?}");
    }
}

#[test]
fn who_traps_exits_hears_of_every_end_and_lives_on() {
    for reason in [ExitReason::Exited { code: 0 }, ExitReason::Killed { signal: 9 }] {
        let mut node = Node::with_agents("alpha", &[]);
        node.start_agent(trapping("a"));
        node.start_agent(echo("b"));
        ask(&mut node, 1, link("a", "b"));
        let outputs = exit(&mut node, ALPHA_B, reason.clone());
        assert_eq!(told(&outputs), [format!("#0.0 link-exit b#1.0 {reason}")]);
        assert_eq!(state(&node, ALPHA_A), "running");
        assert!(node.kernel.process(ALPHA_A).expect("it lives").traps_exits);
    }
}

#[test]
fn what_is_undone_does_not_fire() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    ask(&mut node, 1, link("a", "b"));
    ask(&mut node, 2, monitor("a", "b"));
    assert_eq!(ask(&mut node, 3, unlink("b", "a")), ["answer 3 Unlinked { one: #1.0, other: #0.0 }"]);
    assert!(ask(&mut node, 4, demonitor("a", "#1.0"))[0].starts_with("answer 4 Demonitored"));
    assert_eq!(ask(&mut node, 5, unlink("a", "b")), ["answer 5 invalid: #0.0 and #1.0 are not linked"]);
    assert_eq!(ask(&mut node, 6, demonitor("a", "b")), ["answer 6 invalid: #0.0 does not monitor b"]);
    assert_eq!(told(&failed(&mut node, ALPHA_B)), Vec::<String>::new());
    assert_eq!(state(&node, ALPHA_A), "running");
    assert_eq!(bond_kinds(&node), ["bond.linked", "bond.monitored", "bond.unlinked", "bond.demonitored"]);
}

#[test]
fn a_watcher_is_told_once_whatever_the_end_was_and_at_once_when_it_is_over() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    ask(&mut node, 1, monitor("a", "b"));
    ask(&mut node, 2, monitor("a", "b"));
    let outputs = exit(&mut node, ALPHA_B, ExitReason::Exited { code: 0 });
    assert_eq!(told(&outputs), ["#0.0 monitor-down b#1.0 exited with code 0"]);
    assert_eq!(state(&node, ALPHA_A), "running");
    for of in ["b", "#1.0"] {
        let asked = node.asked(3, monitor("a", of));
        let outputs = node.run(asked);
        assert_eq!(told(&outputs), ["#0.0 monitor-down b#1.0 exited with code 0"], "{of} is gone already");
    }
    assert_eq!(ask(&mut node, 4, monitor("a", "c")), ["answer 4 no-responder: no responder: c"], "nobody ever was c");
    assert_eq!(ask(&mut node, 5, link("a", "b")), ["answer 5 no-responder: no responder: b"]);
    assert_eq!(ask(&mut node, 6, link("a", "#1.0")), ["answer 6 gone: gone: #1.0"]);
    assert_eq!(ask(&mut node, 7, link("a", "a")), ["answer 7 invalid: a process is not linked to itself"]);
    assert_eq!(ask(&mut node, 8, monitor("a", "a")), ["answer 8 invalid: a process does not monitor itself"]);
    let topic = "answer 9 invalid: topic:jobs is no process: a bond names an agent, or a process like #12.3";
    assert_eq!(ask(&mut node, 9, link("a", "topic:jobs")), [topic]);
}

#[test]
fn between_two_lives_the_last_end_is_told() {
    let mut node = Node::with_agents("alpha", &["a"]);
    node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..echo("b") });
    failed(&mut node, ALPHA_B);
    let asked = node.asked(1, monitor("a", "b"));
    assert_eq!(told(&node.run(asked)), ["#0.0 monitor-down b#1.0 exited with code 4"]);
}

#[test]
fn who_starts_or_stands_still_is_told_when_it_can_hear() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    ask(&mut node, 1, monitor("a", "b"));
    ask(&mut node, 2, Syscall::Suspend { agent: AgentRef::Name(name("a")) });
    node.run(Input::AgentSuspended { process: ALPHA_A });
    assert_eq!(told(&failed(&mut node, ALPHA_B)), Vec::<String>::new(), "it stands still");
    ask(&mut node, 3, Syscall::Resume { agent: AgentRef::Name(name("a")) });
    let outputs = node.run(Input::AgentResumed { process: ALPHA_A });
    assert_eq!(told(&outputs), ["#0.0 monitor-down b#1.0 exited with code 4"]);
    let spawn = Syscall::Spawn { spec: Box::new(echo("c")) };
    ask(&mut node, 4, spawn);
    let asked = node.asked(5, monitor("c", "b"));
    assert_eq!(told(&node.run(asked)), Vec::<String>::new(), "it does not run yet");
    let process = node.kernel.agent(&name("c")).expect("it starts");
    let outputs = node.run(Input::AgentStarted { process, pid: None });
    assert_eq!(told(&outputs), [format!("{process} monitor-down b#1.0 exited with code 4")]);
}

/// A process of another node.
fn elsewhere(node: NodeId, index: u32) -> Watched {
    Watched { node, agent: name("far"), process: ProcessId { index, generation: 2 } }
}

fn remote(ask: u64, syscall: Syscall, to: NodeId) -> Input {
    Input::Asked { ask: AskId(ask), by: Principal::Operator, syscall: Box::new(syscall), route: Route::Remote(to) }
}

fn watch_far(watched: Watched) -> Syscall {
    Syscall::Monitor { watcher: agent("a"), target: target("far@beta"), seen: Some(watched) }
}

fn learned(watched: &Watched, reason: ExitReason) -> Input {
    let exited = ProcessExited { process: watched.process, agent: watched.agent.clone(), reason };
    Input::ExitLearned { node: watched.node, exited: Box::new(exited) }
}

#[test]
fn the_end_of_a_process_elsewhere_is_what_its_chain_says_or_that_its_node_is_lost() {
    let beta = NodeId::from_bytes([2; 32]);
    let mut node = Node::with_agents("alpha", &["a"]);
    let [one, two, three] = [0, 1, 2].map(|index| elsewhere(beta, index));
    for watched in [&one, &two] {
        let asked = remote(1, watch_far(watched.clone()), beta);
        assert!(effects(&node.run(asked))[0].starts_with("answer 1 Monitored"));
    }
    assert_eq!(node.kernel.nodes_watched(), [beta].into());
    assert_eq!(
        told(&node.run(learned(&one, ExitReason::Killed { signal: 9 }))),
        ["#0.0 monitor-down far#0.2 killed by signal 9"]
    );
    assert_eq!(told(&node.run(learned(&one, ExitReason::NodeStopped))), Vec::<String>::new(), "once");
    assert_eq!(told(&node.run(Input::NodeLost { node: beta })), ["#0.0 monitor-down far#1.2 node lost"]);
    assert_eq!(told(&node.run(learned(&two, ExitReason::NodeStopped))), Vec::<String>::new(), "once");
    assert_eq!(node.kernel.nodes_watched(), [].into());
    // The chain was quicker than the directory.
    node.run(learned(&three, ExitReason::Exited { code: 1 }));
    let asked = remote(2, watch_far(three), beta);
    assert_eq!(told(&node.run(asked)), ["#0.0 monitor-down far#2.2 exited with code 1"]);
    let unseen = Syscall::Monitor { watcher: agent("a"), target: target("far@beta"), seen: None };
    let asked = remote(3, unseen, beta);
    assert_eq!(effects(&node.run(asked)), ["answer 3 no-responder: no responder: far@beta"]);
    let asked = remote(4, link("a", "far@beta"), beta);
    let refused =
        "answer 4 unsupported: not supported: a link to far@beta, which is on another node; monitor it instead";
    assert_eq!(effects(&node.run(asked)), [refused]);
}

#[test]
fn an_agent_ties_itself_alone_and_needs_the_right() {
    let mut node = Node::with_agents("alpha", &["a", "b"]);
    let bound = node.start_agent(granted("c", &["link:b", "monitor:*"]));
    let Principal::Agent { process: c, .. } = bound else { panic!("an agent") };
    let by = |ask: u64, by: &Principal, syscall: Syscall| Input::Asked {
        ask: AskId(ask),
        by: by.clone(),
        syscall: Box::new(syscall),
        route: Route::Local,
    };
    let own = |with: &str| Syscall::Link { agent: None, with: target(with) };
    let plain = Principal::Agent { agent: name("a"), process: ALPHA_A };
    let denied = |ask: u64| format!("answer {ask} denied: denied by rule default-closed#4");
    assert_eq!(effects(&node.run(by(1, &plain, own("b")))), [denied(1)]);
    assert_eq!(effects(&node.run(by(2, &bound, own("a")))), [denied(2)], "the grant names another agent");
    assert_eq!(
        effects(&node.run(by(3, &bound, own("#1.0")))),
        [format!("answer 3 Linked {{ one: {c}, other: #1.0 }}")]
    );
    assert_eq!(effects(&node.run(by(4, &bound, link("a", "b")))), [denied(4)], "it speaks for itself alone");
    let watch = Syscall::Monitor { watcher: None, target: target("a"), seen: None };
    assert!(effects(&node.run(by(5, &bound, watch.clone())))[0].starts_with("answer 5 Monitored"));
    assert_eq!(effects(&node.run(by(6, &plain, watch))), [denied(6)]);
    let unlink = Syscall::Unlink { agent: None, with: target("b") };
    assert_eq!(effects(&node.run(by(7, &bound, unlink))), [format!("answer 7 Unlinked {{ one: {c}, other: #1.0 }}")]);
    let denials = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Denied(denial) => Some(format!("{} {}", denial.action, denial.resource)),
        _ => None,
    });
    assert_eq!(denials.collect::<Vec<_>>(), ["link b", "link a", "link a", "monitor a"]);
}

#[test]
fn a_process_has_so_many_bonds_and_no_more() {
    let mut node = Node::with_agents("alpha", &["a"]);
    let beta = NodeId::from_bytes([2; 32]);
    for index in 0..64 {
        let asked = remote(1, watch_far(elsewhere(beta, index)), beta);
        assert!(effects(&node.run(asked))[0].starts_with("answer 1 Monitored"));
    }
    let asked = remote(2, watch_far(elsewhere(beta, 64)), beta);
    let full = "answer 2 invalid: #0.0 has 64 links and monitors, at most so many are possible: undo some";
    assert_eq!(effects(&node.run(asked)), [full]);
}

#[test]
fn bonds_come_back_with_the_processes_that_went_down_with_their_node() {
    let mut node = Node::with_agents("alpha", &[]);
    let permanent = |name: &str| AgentSpec { restart: RestartPolicy::Permanent, ..echo(name) };
    for spec in [permanent("a"), permanent("b"), echo("brief")] {
        node.start_agent(spec);
    }
    let beta = NodeId::from_bytes([2; 32]);
    ask(&mut node, 1, link("a", "b"));
    ask(&mut node, 2, link("a", "brief"));
    ask(&mut node, 3, monitor("b", "a"));
    ask(&mut node, 4, monitor("a", "brief"));
    let asked = remote(5, watch_far(elsewhere(beta, 0)), beta);
    node.run(asked);
    for generation in 1..3 {
        node.crash();
        node.run(Input::Woken);
        let [a, b] = [0, 1].map(|index| ProcessId { index, generation });
        let started = [a, b].map(|process| node.run(Input::AgentStarted { process, pid: None })).concat();
        let brief = format!("#0.{generation} monitor-down brief#2.0 the node stopped");
        assert_eq!(
            told(&started),
            if generation == 1 { vec![brief] } else { Vec::new() },
            "it does not come back, once"
        );
        let info = node.kernel.process(a).expect("it lives");
        assert_eq!(info.links.iter().map(|end| end.process).collect::<Vec<_>>(), [b]);
        assert_eq!(info.monitors, [elsewhere(beta, 0)]);
        let info = node.kernel.process(b).expect("it lives");
        assert_eq!(info.monitors.iter().map(|target| target.process).collect::<Vec<_>>(), [a]);
    }
    let [a, b] = [0, 1].map(|index| ProcessId { index, generation: 2 });
    let outputs = failed(&mut node, a);
    assert_eq!(
        told(&outputs),
        ["#1.2 monitor-down a#0.2 exited with code 4", "#1.2 link-exit a#0.2 exited with code 4"]
    );
    exit(&mut node, b, ExitReason::Stopped);
    node.crash();
    node.run(Input::Woken);
    let info = node.kernel.processes().into_iter().find(|info| info.agent == name("a")).expect("it lives again");
    assert_eq!((info.links.len(), info.monitors.len()), (0, 0), "what ended before the node did is over");
}

#[test]
fn a_node_that_goes_down_in_order_fires_nothing() {
    let mut node = Node::with_agents("alpha", &[]);
    let permanent = |name: &str| AgentSpec { restart: RestartPolicy::Permanent, ..echo(name) };
    node.start_agent(permanent("a"));
    node.start_agent(permanent("b"));
    ask(&mut node, 1, link("a", "b"));
    ask(&mut node, 2, Syscall::Shutdown);
    for process in [ALPHA_B, ALPHA_A] {
        assert_eq!(told(&exit(&mut node, process, ExitReason::Stopped)), Vec::<String>::new());
    }
    node.crash();
    node.run(Input::Woken);
    assert_eq!(bond_kinds(&node), ["bond.linked", "bond.linked"], "and the link stands again");
}

/// A permanent agent that needs `svc:sum`, which the permanent agent `z` serves, and two that are tied to it both ways.
fn tied_to_one_that_needs() -> Node {
    let mut node = Node::with_agents("alpha", &[]);
    let permanent = |name: &str| AgentSpec { restart: RestartPolicy::Permanent, ..echo(name) };
    node.start_agent(permanent("z"));
    let registration = Registration {
        service: "sum".parse().expect("a name"),
        agent: Some(name("z")),
        contract: None,
        audit_level: AuditLevel::GateOnly,
    };
    ask(&mut node, 1, Syscall::RegisterService(Box::new(registration)));
    node.start_agent(AgentSpec { needs: vec!["sum".parse().expect("a name")], ..permanent("needy") });
    node.start_agent(permanent("friend"));
    node.start_agent(permanent("seen"));
    ask(&mut node, 2, link("needy", "friend"));
    ask(&mut node, 3, monitor("needy", "seen"));
    ask(&mut node, 4, monitor("friend", "needy"));
    node
}

fn started(node: &mut Node, process: ProcessId) -> Vec<Output> {
    node.run(Input::AgentStarted { process, pid: None })
}

#[test]
fn bonds_of_an_agent_that_waits_for_what_it_needs_hold_when_it_starts() {
    let mut node = tied_to_one_that_needs();
    for generation in 1..4 {
        let [z, friend, seen] = [0, 2, 3].map(|index| ProcessId { index, generation });
        node.crash();
        node.run(Input::Woken);
        for process in [friend, seen] {
            started(&mut node, process);
        }
        assert_eq!(node.kernel.agent(&name("needy")), None, "it waits");
        if generation == 2 {
            // Once more before it started.
            continue;
        }
        started(&mut node, z);
        let needy = node.kernel.agent(&name("needy")).expect("it starts");
        started(&mut node, needy);
        let info = node.kernel.process(needy).unwrap_or_else(|| panic!("{generation}: it lives"));
        assert_eq!(info.links.iter().map(|end| end.process).collect::<Vec<_>>(), [friend]);
        assert_eq!(info.monitors.iter().map(|target| target.process).collect::<Vec<_>>(), [seen]);
        let info = node.kernel.process(friend).expect("it lives");
        assert_eq!(info.links.iter().map(|end| end.process).collect::<Vec<_>>(), [needy]);
        assert_eq!(info.monitors.iter().map(|target| target.process).collect::<Vec<_>>(), [needy]);
    }
    let needy = node.kernel.agent(&name("needy")).expect("it lives");
    let friend = id(node.kernel.agent(&name("friend")));
    assert_eq!(
        told(&failed(&mut node, needy)),
        [
            format!("{friend} monitor-down needy{needy} exited with code 4"),
            format!("{friend} link-exit needy{needy} exited with code 4")
        ]
    );
}

#[test]
fn what_ends_while_an_agent_waits_is_told_when_it_starts_and_an_agent_that_never_starts_is_told_of() {
    let mut node = tied_to_one_that_needs();
    node.crash();
    node.run(Input::Woken);
    let [z, needy, friend, seen] = [0, 1, 2, 3].map(|index| ProcessId { index, generation: 1 });
    for process in [friend, seen] {
        started(&mut node, process);
    }
    assert_eq!(told(&failed(&mut node, seen)), Vec::<String>::new(), "it cannot hear yet");
    started(&mut node, z);
    assert_eq!(told(&started(&mut node, needy)), ["#1.1 monitor-down seen#3.1 exited with code 4"]);

    let mut node = tied_to_one_that_needs();
    node.crash();
    node.run(Input::Woken);
    started(&mut node, friend);
    exit(&mut node, z, ExitReason::StartFailed { reason: "no".to_owned() });
    let outputs = told(&node.pass(60_000_000));
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    assert!(outputs[0].starts_with("#2.1 monitor-down needy#1.0 ") && outputs[0].contains("svc:sum"), "{outputs:?}");
    assert!(outputs[1].starts_with("#2.1 link-exit needy#1.0 ") && outputs[1].contains("svc:sum"), "{outputs:?}");
}
