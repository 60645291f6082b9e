//! Scopes: whom an agent reaches and who reaches it, on sending, receiving, publishing, listening and spawning.

use weft_kernel::{AskId, Input, Route, Start, Syscall};
use weft_protocol::{AgentSpec, Fact, IpcScope, NodeId, Principal, Refusal, Role};

use crate::node::{Node, acknowledged, effects, granted, message, name, text, transmitted};

fn scoped(agent: &str, scope: &str, grants: &[&str]) -> AgentSpec {
    AgentSpec { ipc_scope: Some(scope.parse().expect("a scope")), ..granted(agent, grants) }
}

const ALL: &[&str] = &["send:*", "call:*", "publish:*", "subscribe:*", "spawn:*"];

fn by(by: &Principal, syscall: Syscall, route: Route) -> Input {
    Input::Asked { ask: AskId(1), by: by.clone(), syscall: Box::new(syscall), route }
}

/// What a message of this agent to that target comes to: the refusal, or that it was delivered.
fn send(node: &mut Node, from: &Principal, target: &str) -> String {
    let lines = effects(&node.run(by(from, message(target, "hi", "received"), Route::Local)));
    let answer = lines.iter().find(|line| line.starts_with("answer 1 ")).expect("an answer");
    let words = answer.trim_start_matches("answer 1 ").to_owned();
    if words.starts_with("sent") { "sent".to_owned() } else { words }
}

fn refused(agent: &str, scope: &str, what: &str) -> String {
    format!("out-of-scope: the ipc scope of {agent}, {scope}, does not reach {what}")
}

fn denials(node: &Node) -> Vec<String> {
    let denials = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Denied(denial) => Some(format!("{} {} {}", denial.action, denial.resource, denial.rule)),
        _ => None,
    });
    denials.collect()
}

#[test]
fn a_restricted_agent_talks_with_those_it_names_both_ways() {
    let mut node = Node::new("alpha");
    let a = node.start_agent(scoped("a", "restricted:b", ALL));
    let b = node.start_agent(granted("b", ALL));
    let c = node.start_agent(granted("c", ALL));
    assert_eq!(send(&mut node, &a, "b"), "sent");
    assert_eq!(send(&mut node, &a, "#1.0"), "sent", "by its process too");
    assert_eq!(send(&mut node, &b, "a"), "sent");
    assert_eq!(send(&mut node, &a, "c"), refused("a", "restricted:b", "c"));
    assert_eq!(send(&mut node, &c, "a"), refused("a", "restricted:b", "c"), "nor does it hear from it");
    assert_eq!(send(&mut node, &Principal::Operator, "a"), "sent", "the operator is above scopes");
    assert_eq!(send(&mut node, &a, "svc:words"), refused("a", "restricted:b", "svc:words"));
    let expected =
        ["send c ipc scope restricted:b", "receive a ipc scope restricted:b", "send svc:words ipc scope restricted:b"];
    assert_eq!(denials(&node), expected);
    let asked = effects(&node.run(by(&a, message("kernel", "ping", "executed"), Route::Local)));
    assert_eq!(asked, ["answer 1 sent m7 executed `pong`"], "its own kernel is no agent");
    let info = node.kernel.process(weft_protocol::ProcessId { index: 0, generation: 0 }).expect("it lives");
    assert_eq!(info.ipc_scope, "restricted:b".parse().expect("a scope"));
}

#[test]
fn a_broadcast_does_not_reach_whom_a_scope_keeps_away() {
    let mut node = Node::new("alpha");
    let a = node.start_agent(granted("a", ALL));
    node.start_agent(granted("b", &[]));
    node.start_agent(scoped("c", "none", &[]));
    let lines = effects(&node.run(by(&a, message("broadcast", "hi", "received"), Route::Local)));
    assert!(lines.iter().any(|line| line.contains(" to 1")), "b alone: {lines:?}");
}

#[test]
fn who_may_speak_with_its_parent_alone_does_so_and_its_children_get_no_more() {
    let mut node = Node::new("alpha");
    let parent = node.start_agent(granted("parent", ALL));
    let other = node.start_agent(granted("other", ALL));
    let spawn = |spec: AgentSpec| Syscall::Spawn { spec: Box::new(spec) };
    node.run(by(&parent, spawn(scoped("child", "parent-only", &["send:*", "spawn:*"])), Route::Local));
    let process = node.kernel.agent(&name("child")).expect("it starts");
    node.run(Input::AgentStarted { process, pid: None });
    let child = Principal::Agent { agent: name("child"), process };
    assert_eq!(send(&mut node, &child, "parent"), "sent");
    assert_eq!(send(&mut node, &parent, "child"), "sent");
    assert_eq!(send(&mut node, &child, "other"), refused("child", "parent-only", "other"));
    assert_eq!(send(&mut node, &other, "child"), refused("child", "parent-only", "other"));
    let wider = effects(&node.run(by(&child, spawn(scoped("grandchild", "all", &[])), Route::Local)));
    assert_eq!(wider, ["answer 1 wider: ipc scope all is wider than what is held: ipc scope parent-only"]);
    node.run(by(&child, spawn(granted("grandchild", &[])), Route::Local));
    let process = node.kernel.agent(&name("grandchild")).expect("it starts");
    assert_eq!(node.kernel.process(process).expect("it starts").ipc_scope, IpcScope::ParentOnly, "as its parent");
    let recorded = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Intent(effect) => match *effect {
            weft_protocol::Effect::Spawn { spec, .. } if spec.agent == name("grandchild") => spec.ipc_scope,
            _ => None,
        },
        _ => None,
    });
    assert_eq!(recorded.collect::<Vec<_>>(), [IpcScope::ParentOnly], "and so it is recorded");
}

#[test]
fn a_scope_of_topics_reaches_these_topics_and_nobody() {
    let mut node = Node::new("alpha");
    let a = node.start_agent(scoped("a", "topic:jobs.*", ALL));
    node.start_agent(granted("b", ALL));
    assert_eq!(send(&mut node, &a, "b"), refused("a", "topic:jobs.*", "b"));
    let mut publish = |topic: &str| {
        let topic = topic.parse().expect("a topic");
        let syscall = Syscall::Publish { topic, payload: text("hi"), trace: None };
        effects(&node.run(by(&a, syscall, Route::Local))).pop().expect("an answer")
    };
    assert!(publish("jobs.new").starts_with("answer 1 published"), "{}", publish("jobs.new"));
    assert_eq!(publish("logs"), format!("answer 1 {}", refused("a", "topic:jobs.*", "topic:logs")));
    let mut subscribe = |pattern: &str| {
        let syscall = Syscall::Subscribe { pattern: pattern.parse().expect("a pattern"), start: Start::Now };
        effects(&node.run(by(&a, syscall, Route::Local))).pop().expect("an answer")
    };
    assert_eq!(subscribe("jobs.*"), "answer 1 Subscribed");
    assert_eq!(subscribe("jobs.>"), format!("answer 1 {}", refused("a", "topic:jobs.*", "topic:jobs.>")));
    for scope in ["none", "restricted:b", "parent-only"] {
        let mut node = Node::new("alpha");
        let a = node.start_agent(scoped("a", scope, ALL));
        let syscall =
            Syscall::Publish { topic: "jobs.new".parse().expect("a topic"), payload: text("hi"), trace: None };
        let lines = effects(&node.run(by(&a, syscall, Route::Local)));
        assert_eq!(lines, [format!("answer 1 {}", refused("a", scope, "topic:jobs.new"))]);
    }
}

#[test]
fn across_nodes_a_scope_holds_at_both_ends() {
    let mut beta = Node::new("beta");
    let mut alpha = Node::new("alpha");
    beta.start_agent(granted("open", &[]));
    beta.start_agent(scoped("shut", &format!("restricted:b@{}", alpha.id()), &[]));
    let a = alpha.start_agent(scoped("a", &format!("restricted:open@{}", beta.id()), ALL));
    let b = alpha.start_agent(granted("b", ALL));
    let c = alpha.start_agent(granted("c", ALL));
    let to = Route::Remote(beta.id());
    let refusal = effects(&alpha.run(by(&a, message("shut@beta", "hi", "executed"), to.clone())));
    let scope = format!("restricted:open@{}", beta.id());
    assert_eq!(refusal, [format!("answer 1 {}", refused("a", &scope, &format!("shut@{}", beta.id())))]);
    transmitted(&alpha.run(by(&a, message("open@beta", "hi", "executed"), to.clone())));
    let (from, role): (NodeId, Role) = (alpha.id(), Role::Worker);
    for (who, admitted) in [(&b, true), (&c, false)] {
        let envelope = transmitted(&alpha.run(by(who, message("shut@beta", "hi", "received"), to.clone())));
        let receipt = acknowledged(&beta.run(Input::EnvelopeArrived { from, role, envelope: Box::new(envelope) }));
        let refused = matches!(receipt.outcome, weft_protocol::Outcome::Refused(Refusal::OutOfScope { .. }));
        assert_eq!(refused, !admitted, "{who}: {receipt:?}");
    }
    let asked = by(&Principal::Operator, message("shut@beta", "hi", "received"), to);
    let envelope = Box::new(transmitted(&alpha.run(asked)));
    let receipt = acknowledged(&beta.run(Input::EnvelopeArrived { from, role, envelope }));
    let refused = matches!(receipt.outcome, weft_protocol::Outcome::Refused(Refusal::OutOfScope { .. }));
    assert!(refused, "another node's operator is not above scopes here: {receipt:?}");
}
