//! What an agent needs before it starts: it waits for it, not for ever, and never in a circle.

use std::collections::BTreeSet;

use weft_kernel::{Input, KernelConfig, Registration, Syscall};
use weft_protocol::{AgentSpec, AuditLevel, RestartPolicy};

use crate::node::{Node, echo, effects, name};

fn needing(agent: &str, needs: &[&str]) -> AgentSpec {
    let needs = needs.iter().map(|service| service.parse().expect("a name")).collect();
    AgentSpec { restart: RestartPolicy::Permanent, needs, ..echo(agent) }
}

fn spawn(spec: AgentSpec) -> Syscall {
    Syscall::Spawn { spec: Box::new(spec) }
}

fn serve(service: &str, agent: &str) -> Syscall {
    Syscall::RegisterService(Box::new(Registration {
        service: service.parse().expect("a name"),
        agent: Some(name(agent)),
        contract: None,
        audit_level: AuditLevel::GateOnly,
    }))
}

fn ask(node: &mut Node, ask: u64, syscall: Syscall) -> Vec<String> {
    let asked = node.asked(ask, syscall);
    effects(&node.run(asked))
}

fn started(node: &mut Node, agent: &str) -> Vec<String> {
    let process = node.kernel.agent(&name(agent)).expect("it is starting");
    effects(&node.run(Input::AgentStarted { process, pid: None }))
}

#[test]
fn a_spawn_waits_until_what_it_needs_is_served_here_or_elsewhere() {
    let mut node = Node::with_agents("alpha", &["b"]);
    assert_eq!(ask(&mut node, 1, spawn(needing("a", &["sum", "far"]))), Vec::<String>::new());
    let waits = "a waits for what it needs and starts then: wait, or choose another name";
    assert_eq!(ask(&mut node, 2, spawn(echo("a"))), [format!("answer 2 invalid: {waits}")]);
    assert_eq!(ask(&mut node, 3, serve("sum", "b")).len(), 2);
    let far = BTreeSet::from(["far".parse().expect("a name")]);
    assert_eq!(effects(&node.run(Input::ServicesElsewhere { services: far })), ["start a#1.0"]);
    let outputs = started(&mut node, "a");
    assert!(outputs.contains(&"answer 1 Spawned { process: #1.0 }".to_owned()), "{outputs:?}");
    assert_eq!(ask(&mut node, 4, spawn(needing("c", &["sum"]))), ["start c#2.0"], "what is served is not waited for");
}

#[test]
fn what_does_not_come_in_time_is_refused_and_nothing_happened() {
    let mut node = Node::new("alpha");
    let events = node.kinds().len();
    ask(&mut node, 1, spawn(needing("a", &["sum"])));
    assert_eq!(effects(&node.pass(9_999_999)), Vec::<String>::new());
    assert_eq!(effects(&node.pass(1)), ["answer 1 no-responder: no responder: svc:sum"]);
    ask(&mut node, 2, spawn(needing("a", &["sum"])));
    node.run(Input::Withdrawn { ask: weft_kernel::AskId(2) });
    assert_eq!(effects(&node.pass(20_000_000)), Vec::<String>::new());
    assert_eq!(node.kinds().len(), events);
    ask(&mut node, 3, spawn(needing("a", &["sum"])));
    let outputs = ask(&mut node, 4, Syscall::Shutdown);
    assert_eq!(outputs[0], "answer 3 shutting-down: the node is shutting down");
}

#[test]
fn a_node_starts_its_agents_in_the_order_of_their_needs() {
    let mut node = Node::new("alpha");
    node.start_agent(needing("z", &[]));
    ask(&mut node, 1, serve("sum", "z"));
    node.start_agent(needing("m", &["sum"]));
    ask(&mut node, 2, serve("mean", "m"));
    node.start_agent(needing("a", &["mean", "sum"]));
    node.crash();
    assert_eq!(effects(&node.run(Input::Woken)), ["start z#0.1"]);
    let after_z = started(&mut node, "z");
    assert!(after_z.contains(&"start m#1.1".to_owned()) && !after_z.contains(&"start a#2.1".to_owned()), "{after_z:?}");
    let after_m = started(&mut node, "m");
    assert!(after_m.contains(&"start a#2.1".to_owned()), "{after_m:?}");
}

#[test]
fn an_agent_of_the_node_whose_need_never_comes_is_on_the_chain_as_not_started() {
    let config = KernelConfig { boot_agents: vec![needing("a", &["sum"])], ..crate::node::at_once() };
    let mut node = Node::unborn("alpha", config);
    node.run(Input::Woken);
    assert_eq!(node.kernel.processes().len(), 0);
    node.pass(60_000_000);
    let state = format!("{:?}", node.kernel.processes()[0].state);
    assert!(state.contains("it needs svc:sum, which nobody served within 60 s"), "{state}");
    assert_eq!(node.kinds()[2..], ["effect.intent", "effect.outcome", "process.exited"]);
}

#[test]
fn agents_that_would_wait_for_each_other_are_refused_with_the_path() {
    let mut node = Node::new("alpha");
    for agent in ["a", "b", "c"] {
        node.start_agent(echo(agent));
    }
    ask(&mut node, 1, serve("sa", "a"));
    ask(&mut node, 1, serve("sb", "b"));
    for (agent, needs) in [("a", "sb"), ("b", "sc")] {
        let stop = Syscall::Stop { agent: weft_kernel::AgentRef::Name(name(agent)) };
        ask(&mut node, 2, stop);
        let process = node.kernel.agent(&name(agent)).expect("it is stopping");
        node.run(Input::AgentExited { process, reason: weft_protocol::ExitReason::Stopped });
        ask(&mut node, 3, spawn(needing(agent, &[needs])));
    }
    let stop = Syscall::Stop { agent: weft_kernel::AgentRef::Name(name("c")) };
    ask(&mut node, 2, stop);
    let process = node.kernel.agent(&name("c")).expect("it is stopping");
    node.run(Input::AgentExited { process, reason: weft_protocol::ExitReason::Stopped });
    node.start_agent(needing("d", &[]));
    ask(&mut node, 4, serve("sc", "d"));
    assert_eq!(
        ask(&mut node, 5, spawn(needing("e", &["se"]))),
        Vec::<String>::new(),
        "nobody serves it yet, which is no circle"
    );
    started(&mut node, "b");
    started(&mut node, "a");
    let circle = "agents would wait for each other";
    let stop = Syscall::Stop { agent: weft_kernel::AgentRef::Name(name("d")) };
    ask(&mut node, 6, stop);
    let process = node.kernel.agent(&name("d")).expect("it is stopping");
    node.run(Input::AgentExited { process, reason: weft_protocol::ExitReason::Stopped });
    assert_eq!(
        ask(&mut node, 7, spawn(needing("d", &["sa"]))),
        [format!("answer 7 invalid: {circle}: d needs svc:sa of a, which needs svc:sb of b, which needs svc:sc of d")]
    );
    assert_eq!(ask(&mut node, 8, serve("own", "b")).len(), 2, "b serves one more that nobody in its needs wants");
}

#[test]
fn a_service_that_its_own_agents_needs_lead_back_to_is_refused_with_the_path() {
    let mut node = Node::with_agents("alpha", &["b"]);
    let far = BTreeSet::from(["sa".parse().expect("a name")]);
    node.run(Input::ServicesElsewhere { services: far });
    ask(&mut node, 1, serve("sb", "b"));
    ask(&mut node, 2, spawn(needing("a", &["sb"])));
    started(&mut node, "a");
    ask(&mut node, 3, spawn(needing("c", &["sa"])));
    started(&mut node, "c");
    ask(&mut node, 4, Syscall::UnregisterService { service: "sb".parse().expect("a name") });
    ask(&mut node, 5, serve("sb", "c"));
    assert_eq!(
        ask(&mut node, 6, serve("sa", "a")),
        ["answer 6 invalid: agents would wait for each other: a needs svc:sb of c, which needs svc:sa of a"]
    );
}
