//! Sandboxes: which are refused, that an agent only narrows its own, and that what cannot be enforced is told as that.

use std::collections::BTreeMap;

use serde_json::json;
use weft_kernel::{AskId, Input, Route, Syscall};
use weft_protocol::control::SandboxJson;
use weft_protocol::{
    AgentSpec, Backend, Effect, ExitReason, Fact, Level, Payload, Principal, ProcessId, Role, SandboxPolicy,
};

use crate::node::{Node, acknowledged, echo, effects, granted, name, transmitted};

fn policy(allowed: &[&str], denied: &[&str], open: bool) -> SandboxPolicy {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    SandboxPolicy::of(&owned(allowed), &owned(denied), open, open).expect("modes")
}

fn program(agent: &str, command: &[&str], sandbox: Option<SandboxPolicy>) -> AgentSpec {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let backend = Backend::Command { command, environment: BTreeMap::new(), trusted: false };
    AgentSpec { backend, sandbox, ..granted(agent, &["spawn:*", "call:*"]) }
}

fn trusted(spec: AgentSpec) -> AgentSpec {
    let Backend::Command { command, environment, .. } = spec.backend else { panic!("a program") };
    AgentSpec { backend: Backend::Command { command, environment, trusted: true }, ..spec }
}

fn spawn(node: &mut Node, by: &Principal, spec: AgentSpec) -> Vec<String> {
    let syscall = Box::new(Syscall::Spawn { spec: Box::new(spec) });
    effects(&node.run(Input::Asked { ask: AskId(1), by: by.clone(), syscall, route: Route::Local }))
}

/// The sandboxes that spawns of this agent were recorded with.
fn recorded(node: &Node, agent: &str) -> Vec<Option<SandboxPolicy>> {
    let found = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Intent(effect) => match *effect {
            Effect::Spawn { spec, .. } if spec.agent == name(agent) => Some(spec.sandbox),
            _ => None,
        },
        _ => None,
    });
    found.collect()
}

fn widenings(node: &Node) -> usize {
    let facts = node.facts();
    let of_sandboxes = |fact: &&Fact| matches!(fact, Fact::Denied(denial) if denial.action == "widen-sandbox");
    facts.iter().filter(of_sandboxes).count()
}

#[test]
fn a_sandbox_is_recorded_shown_and_still_there_after_a_restart() {
    let mut node = Node::new("alpha");
    let sandbox = policy(&["/data", "/srv:rw"], &["/etc"], false);
    let spec = AgentSpec {
        restart: weft_protocol::RestartPolicy::Permanent,
        ..program("a", &["python3"], Some(sandbox.clone()))
    };
    assert_eq!(spawn(&mut node, &Principal::Operator, spec), ["start a#0.0"]);
    node.run(Input::AgentStarted { process: ProcessId { index: 0, generation: 0 }, pid: None });
    assert_eq!(recorded(&node, "a"), [Some(sandbox.clone())]);
    node.crash();
    node.run(Input::Woken);
    let process = node.kernel.agent(&name("a")).expect("it comes back");
    let info = node.kernel.process(process).expect("it comes back");
    assert_eq!(info.sandbox, Some(sandbox.clone()));
    assert_eq!(info.report(node.id()).sandbox, Some(SandboxJson::of(&sandbox)));
    assert_eq!(recorded(&node, "a"), [Some(sandbox.clone()), Some(sandbox)]);
}

#[test]
fn what_contradicts_itself_is_refused_before_anything_is_recorded() {
    let mut node = Node::new("alpha");
    let before = node.facts().len();
    let none = Some(SandboxPolicy::default());
    let cases = [
        (
            AgentSpec { sandbox: none.clone(), ..echo("a") },
            "invalid: a built-in agent touches no file and starts nothing: it takes no sandbox",
        ),
        (
            trusted(program("a", &["x"], none)),
            "invalid: a trusted agent may run unconfined, so it can have no sandbox: leave one of them out",
        ),
        (
            program("a", &["x"], Some(policy(&["data"], &[], true))),
            "invalid: the path `data` does not begin at the root: write it with a / in front",
        ),
        (
            program("a", &["x"], Some(policy(&["/data"], &["/data/x"], true))),
            "unenforceable: this sandbox cannot be enforced: /data/x cannot be denied, because /data above it is allowed \
             as a whole",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(spawn(&mut node, &Principal::Operator, spec), [format!("answer 1 {expected}")]);
    }
    assert_eq!(node.facts().len(), before);
}

#[test]
fn what_the_machine_cannot_enforce_is_no_failure_of_the_agent_and_is_not_tried_again() {
    let mut node = Node::new("alpha");
    let spec = AgentSpec {
        restart: weft_protocol::RestartPolicy::Permanent,
        ..program("a", &["x"], Some(policy(&[], &[], false)))
    };
    spawn(&mut node, &Principal::Operator, spec);
    let reason = ExitReason::Unenforceable { reason: "no Landlock".to_owned() };
    let process = ProcessId { index: 0, generation: 0 };
    let told = effects(&node.run(Input::AgentExited { process, reason: reason.clone() }));
    assert_eq!(told, ["answer 1 unenforceable: this sandbox cannot be enforced: no Landlock"]);
    let ended = node.facts().into_iter().find_map(|fact| match fact {
        Fact::Exited(exited) => Some(exited.reason),
        _ => None,
    });
    assert_eq!(ended, Some(reason));
    assert_eq!(effects(&node.pass(60_000_000)), Vec::<String>::new(), "whoever asked was told, and can ask again");
    node.crash();
    node.run(Input::Woken);
    assert_eq!(node.kernel.agent(&name("a")), None, "nor by the next start of the node");
}

#[test]
fn what_an_agent_spawns_has_its_sandbox_or_a_narrower_one() {
    let mut node = Node::new("alpha");
    let own = policy(&["/data", "/srv:rw"], &["/etc"], false);
    let a = node.start_agent(program("a", &["python3", "/code/a.py"], Some(own.clone())));
    let wider = |asked: &str| {
        let held = "sandbox allow /data:ro, allow /srv:rw, deny /etc, no network, no shell";
        [format!("answer 1 wider: a sandbox with {asked} is wider than what is held: {held}")]
    };
    let code = "/code/a.py";
    let cases = [
        (program("b", &["python3", code], Some(policy(&["/data:rw"], &["/etc"], false))), "/data:rw"),
        (program("b", &["python3", code], Some(policy(&["/other"], &["/etc"], false))), "/other:ro"),
        (program("b", &["python3", code], Some(policy(&[], &["/etc"], true))), "the network"),
        (program("b", &["python3", code], Some(policy(&[], &[], false))), "/etc"),
        (program("b", &["python3", "/secret/a.py"], None), "/secret/a.py"),
        (program("b", &["python3", "/srv/../secret/a.py"], None), "/srv/../secret/a.py"),
        (program("b", &["/srv/program"], None), "/srv/program"),
        (trusted(program("b", &["python3"], None)), "trust"),
    ];
    let count = cases.len();
    for (spec, asked) in cases {
        assert_eq!(spawn(&mut node, &a, spec), wider(asked));
    }
    assert_eq!(widenings(&node), count, "each is on the chain");
    assert_eq!(spawn(&mut node, &a, program("b", &["python3", code, "/srv/in"], None)), ["start b#1.0"]);
    let narrow = policy(&["/srv/in"], &["/etc", "/bin"], false);
    assert_eq!(spawn(&mut node, &a, program("c", &["python3"], Some(narrow.clone()))), ["start c#2.0"]);
    assert_eq!(spawn(&mut node, &a, echo("d")), ["start d#3.0"], "what is built in touches nothing");
    assert_eq!(
        [recorded(&node, "b"), recorded(&node, "c"), recorded(&node, "d")],
        [vec![Some(own)], vec![Some(narrow)], vec![None]]
    );
}

#[test]
fn an_agent_without_a_sandbox_gives_no_path_that_it_has_not() {
    let mut node = Node::new("alpha");
    let a = node.start_agent(program("a", &["python3"], None));
    let told = spawn(&mut node, &a, program("b", &["python3"], Some(policy(&["/data"], &[], true))));
    assert_eq!(told, ["answer 1 wider: a sandbox with /data:ro is wider than what is held: sandbox as every agent"]);
    let less = policy(&[], &["/etc"], false);
    assert_eq!(spawn(&mut node, &a, program("b", &["python3"], Some(less.clone()))), ["start b#1.0"]);
    assert_eq!(recorded(&node, "b"), [Some(less)]);
}

fn elsewhere(sandbox: &serde_json::Value) -> Syscall {
    let args = json!({"agent": "b", "exec": ["python3", "/there/b.py"], "sandbox": sandbox}).to_string();
    Syscall::Send {
        target: "kernel@beta".parse().expect("a target"),
        payload: Payload::ToolCall { name: "agent.spawn".to_owned(), args },
        wants_reply: true,
        level: "executed".parse::<Level>().expect("a level"),
        deadline_us: 5_000_000,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    }
}

#[test]
fn across_nodes_it_narrows_too() {
    let (mut alpha, mut beta) = (Node::new("alpha"), Node::new("beta"));
    let route = Route::Remote(beta.id());
    let spec = program("a", &["python3"], Some(policy(&[], &[], false)));
    let a = alpha.start_agent(spec);
    let by = |sandbox: serde_json::Value| Input::Asked {
        ask: AskId(1),
        by: a.clone(),
        syscall: Box::new(elsewhere(&sandbox)),
        route: route.clone(),
    };
    for open in [json!(null), json!({}), json!({"allow_shell": false})] {
        let told = effects(&alpha.run(by(open)));
        let held = "sandbox no network, no shell";
        assert_eq!(told, [format!("answer 1 wider: a sandbox with the network is wider than what is held: {held}")]);
    }
    transmitted(&alpha.run(by(json!({"allow_network": false, "allow_shell": false}))));

    let open = alpha.start_agent(program("open", &["python3"], None));
    let asked = Input::Asked {
        ask: AskId(2),
        by: open,
        syscall: Box::new(elsewhere(&json!({"allowed_paths": ["/data"]}))),
        route,
    };
    let envelope = Box::new(transmitted(&alpha.run(asked)));
    let arrived = Input::EnvelopeArrived { from: alpha.id(), role: Role::Admin, envelope };
    let receipt = acknowledged(&beta.run(arrived));
    let told = format!("{:?}", receipt.outcome);
    assert!(told.contains("Wider") && told.contains("/data:ro") && told.contains("as every agent"), "{told}");
}
