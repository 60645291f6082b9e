//! Services: registered once, recorded, held to their contract, and ended with whoever registered them.

use weft_kernel::{AskId, Input, Registration, Route, Syscall};
use weft_protocol::{
    AgentSpec, AuditLevel, Contract, ExitReason, Fact, Payload, Principal, ProcessId, RestartPolicy, Stage,
};

use crate::node::{Node, acknowledged, echo, effects, granted, lines, message, name, transmitted};
use crate::pair::Pair;

fn contract(version: &str, input: &str, output: &str) -> Contract {
    let text = format!(r#"{{"version":"{version}","methods":{{"run":{{"input":{input},"output":{output}}}}}}}"#);
    let value = serde_json::from_str(&text).expect("JSON");
    Contract::read("sum".parse().expect("a name"), value).expect("a contract")
}

const ITEMS: &str = r#"{"type":"object","properties":{"items":{"items":{"properties":{"name":{"type":"string"}}}}}}"#;

fn register(agent: Option<&str>, contract: Option<Contract>, audit_level: AuditLevel) -> Syscall {
    let service = "sum".parse().expect("a name");
    Syscall::RegisterService(Box::new(Registration { service, agent: agent.map(name), contract, audit_level }))
}

fn unregister() -> Syscall {
    Syscall::UnregisterService { service: "sum".parse().expect("a name") }
}

fn by(principal: &Principal, ask: u64, syscall: Syscall) -> Input {
    Input::Asked { ask: AskId(ask), by: principal.clone(), syscall: Box::new(syscall), route: Route::Local }
}

fn call(target: &str, json: &str) -> Syscall {
    let Syscall::Send { target, wants_reply, level, deadline_us, trace, cause, idempotent, .. } =
        message(target, "", "executed")
    else {
        panic!("a send")
    };
    let payload = Payload::Json(json.to_owned());
    Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent, parts: false }
}

fn operator(node: &mut Node, syscall: Syscall) -> Vec<String> {
    let asked = node.asked(1, syscall);
    effects(&node.run(asked))
}

/// A node whose agent `echo` serves `sum` under a contract.
fn serving(contract: Contract) -> Node {
    let mut node = Node::with_agents("beta", &["echo"]);
    operator(&mut node, register(Some("echo"), Some(contract), AuditLevel::GateOnly));
    node
}

#[test]
fn an_operators_service_is_answered_when_it_is_on_disk_and_then_reaches_its_agent() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, register(Some("echo"), Some(contract("1.0.0", ITEMS, "true")), AuditLevel::GateOnly));
    let outputs = lines(&node.give(asked));
    assert_eq!(
        outputs,
        ["persist [service.contract.registered service.registered]", "advertise-services [sum:echo 0]"]
    );
    let outputs = effects(&node.persist());
    assert!(outputs[0].starts_with("answer 1 ServiceRegistered"), "{outputs:?}");
    assert_eq!(operator(&mut node, call("svc:sum.run", "{}"))[0], "deliver m0 to #0.0 2 bytes");
    let info = node.kernel.service(&"sum".parse().expect("a name")).expect("it is registered");
    assert_eq!((info.process, info.load), (Some(ProcessId { index: 0, generation: 0 }), 1));
    let version = "1.0.0".parse().expect("a version");
    assert!(node.kernel.contract(&info.entry.name, &version).is_some());
    assert_eq!(
        operator(&mut node, register(Some("echo"), None, AuditLevel::GateOnly)),
        ["answer 1 invalid: sum is registered on this node already, by operator for agent echo: unregister it first, \
          or choose another name"]
    );
    assert_eq!(
        operator(&mut node, unregister()),
        ["advertise-services []", "answer 1 ServiceUnregistered { service: \"sum\" }"]
    );
    assert_eq!(operator(&mut node, call("svc:sum.run", "{}")), ["answer 1 no-responder: no responder: svc:sum.run"]);
    assert_eq!(operator(&mut node, unregister()), ["answer 1 no-responder: no responder: svc:sum"]);
}

#[test]
fn an_agent_serves_with_a_grant_by_itself_and_as_long_as_it_lives() {
    let mut node = Node::new("alpha");
    let plain = node.start_agent(granted("plain", &["call:*"]));
    let serve = || register(None, None, AuditLevel::GateOnly);
    let denied = "answer 2 denied: denied by rule default-closed#4";
    assert_eq!(effects(&node.run(by(&plain, 2, serve()))), [denied]);
    let server = node.start_agent(granted("server", &["serve:sum"]));
    let other = register(Some("plain"), None, AuditLevel::GateOnly);
    assert_eq!(
        effects(&node.run(by(&server, 2, other))),
        ["answer 2 invalid: an agent serves by itself, not by plain"]
    );
    let registered = effects(&node.run(by(&server, 2, serve())));
    assert_eq!(registered[0], "advertise-services [sum:server 0]");
    let events = node.kinds().len();
    assert_eq!(effects(&node.run(by(&server, 3, serve()))).len(), 1, "the same once more is no news");
    assert_eq!(node.kinds().len(), events);
    let rival = node.start_agent(granted("rival", &["serve:*"]));
    assert!(effects(&node.run(by(&rival, 4, serve())))[0].starts_with("answer 4 invalid: sum is registered"));
    assert!(effects(&node.run(by(&rival, 4, unregister())))[0].contains("registered by agent/server"));
    let exited =
        Input::AgentExited { process: ProcessId { index: 1, generation: 0 }, reason: ExitReason::Exited { code: 0 } };
    let outputs = effects(&node.run(exited));
    assert!(outputs.contains(&"advertise-services []".to_owned()), "{outputs:?}");
    assert_eq!(node.kinds().last().map(String::as_str), Some("service.ended"));
    assert!(node.kernel.services().is_empty());
}

#[test]
fn a_registered_version_is_never_changed_not_even_after_its_service_ended() {
    let mut node = serving(contract("1.0.0", ITEMS, "true"));
    operator(&mut node, unregister());
    let changed = || contract("1.0.0", "true", "true");
    let refused = operator(&mut node, register(Some("echo"), Some(changed()), AuditLevel::GateOnly));
    assert!(refused[0].starts_with("answer 1 invalid: sum 1.0.0 is registered with another content, "), "{refused:?}");
    node.crash();
    node.run(Input::Woken);
    node.start_agent(echo("echo"));
    let refused = operator(&mut node, register(Some("echo"), Some(changed()), AuditLevel::GateOnly));
    assert!(refused[0].contains("a changed contract needs a new version"), "{refused:?}");
    let contracts = |node: &Node| node.kinds().iter().filter(|kind| *kind == "service.contract.registered").count();
    assert_eq!(contracts(&node), 1);
    operator(&mut node, register(Some("echo"), Some(contract("1.0.0", ITEMS, "true")), AuditLevel::GateOnly));
    assert_eq!((contracts(&node), node.kernel.services().len()), (1, 1), "the same content is on the chain already");
}

#[test]
fn a_schema_that_is_none_is_refused_at_registration() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let events = node.kinds().len();
    let refused = operator(
        &mut node,
        register(Some("echo"), Some(contract("1", r#"{"type":"objekt"}"#, "true")), AuditLevel::GateOnly),
    );
    assert!(
        refused[0].starts_with("answer 1 invalid: the input of method run: the schema is none: /type: \"objekt\""),
        "{refused:?}"
    );
    let refused = operator(&mut node, register(Some("nobody"), None, AuditLevel::GateOnly));
    assert_eq!(refused, ["answer 1 no-responder: no responder: nobody"]);
    assert_eq!(node.kinds().len(), events);
}

#[test]
fn arguments_that_break_the_contract_are_refused_before_the_mailbox_here_and_from_elsewhere() {
    let violated = "contract-violated: the arguments break the contract of svc:sum.run 1.0.0: /items/0/name: 5 is not \
                    of type \"string\"";
    let mut pair = Pair {
        nodes: [Node::new("alpha"), serving(contract("1.0.0", ITEMS, "true"))],
        agents_answer: true,
        ..Pair::new()
    };
    let wrong = || call("svc:sum.run", r#"{"items":[{"name":5}]}"#);
    assert_eq!(operator(&mut pair.nodes[1], wrong()), [format!("answer 1 {violated}")]);
    let asked = pair.asked(1, Principal::Operator, wrong());
    let envelope = Box::new(transmitted(&pair.nodes[0].run(asked)));
    let (from, role) = (pair.nodes[0].id(), weft_protocol::Role::Worker);
    let outputs = pair.nodes[1].run(Input::EnvelopeArrived { from, role, envelope });
    assert_eq!(effects(&outputs), [format!("acknowledge m0 {violated}")]);
    let from = pair.nodes[1].id();
    let receipt = Box::new(acknowledged(&outputs));
    assert_eq!(effects(&pair.nodes[0].run(Input::ReceiptArrived { from, receipt })), [format!("answer 1 {violated}")]);
    assert_eq!(pair.nodes[1].steps().last().map(String::as_str), Some("refused m0 contract-violated"));
    assert_eq!(
        operator(&mut pair.nodes[1], call("svc:sum.walk", "{}")),
        ["answer 1 invalid: the contract of svc:sum has no method walk; it has run"]
    );
    assert_eq!(
        operator(&mut pair.nodes[1], call("svc:sum", "{}")),
        ["answer 1 invalid: svc:sum has a contract, so a call must name a method; it has run"]
    );
}

#[test]
fn an_answer_that_breaks_the_contract_is_not_passed_on() {
    let mut node = serving(contract("1.0.0", "true", r#"{"type":"integer"}"#));
    operator(&mut node, call("svc:sum.run", "7"));
    let process = ProcessId { index: 0, generation: 0 };
    let answer = |counter: u64, words: &str| Input::AgentAnswered {
        process,
        message: weft_protocol::MessageId { chain: node.chain(), counter },
        answer: Ok(Some(Payload::Json(words.to_owned()))),
    };
    let (right, wrong) = (answer(0, "7"), answer(1, "\"seven\""));
    assert_eq!(effects(&node.run(right)), ["answer 1 sent m0 executed 1 bytes"]);
    operator(&mut node, call("svc:sum.run", "7"));
    assert_eq!(
        effects(&node.run(wrong)),
        ["answer 1 contract-violated: the answer breaks the contract of svc:sum.run 1.0.0: as a whole: \"seven\" is \
          not of type \"integer\""]
    );
}

#[test]
fn a_full_audit_records_each_call_as_events_and_a_gate_only_one_as_a_digest() {
    let stages = |audit_level| {
        let mut pair = Pair {
            nodes: [Node::new("alpha"), Node::with_agents("beta", &["echo"])],
            agents_answer: true,
            ..Pair::new()
        };
        operator(&mut pair.nodes[1], register(Some("echo"), None, audit_level));
        let asked = pair.asked(1, Principal::Operator, call("svc:sum.run", "7"));
        let answers = pair.run(asked);
        assert!(matches!(&answers[0].1, Ok(weft_kernel::Answer::Sent(_))), "{answers:?}");
        let facts = pair.nodes[1].facts().into_iter();
        let events = facts.filter_map(|fact| match fact {
            Fact::Message(record) => Some((record.stage, record.body.is_some())),
            _ => None,
        });
        (events.collect::<Vec<_>>(), pair.nodes[1].steps())
    };
    let (events, steps) = stages(AuditLevel::Full);
    assert_eq!((events, steps), (vec![(Stage::Received, true), (Stage::Answered, true)], Vec::new()));
    let (events, steps) = stages(AuditLevel::GateOnly);
    assert_eq!(events, Vec::new());
    assert_eq!(steps, ["received m0 member-role#2", "answered m0 executed"]);
}

#[test]
fn an_operators_service_survives_a_crash_and_an_agents_ends_with_its_run() {
    let mut node = Node::new("alpha");
    node.start_agent(echo("echo"));
    let server = node.start_agent(granted("server", &["serve:own"]));
    operator(&mut node, register(Some("echo"), Some(contract("1.0.0", ITEMS, "true")), AuditLevel::Full));
    let own = Registration {
        service: "own".parse().expect("a name"),
        agent: None,
        contract: None,
        audit_level: AuditLevel::GateOnly,
    };
    node.run(by(&server, 2, Syscall::RegisterService(Box::new(own))));
    let before = node.kernel.service(&"sum".parse().expect("a name")).expect("it is registered");
    for _ in 0..2 {
        node.crash();
        node.run(Input::Woken);
    }
    assert_eq!(node.kernel.services().len(), 1);
    let after = &node.kernel.services()[0];
    assert_eq!((&after.entry, after.process), (&before.entry, None));
    assert_eq!(operator(&mut node, call("svc:sum.run", "{}")), ["answer 1 no-responder: no responder: svc:sum.run"]);
    node.start_agent(echo("echo"));
    assert_eq!(operator(&mut node, call("svc:sum.run", "{}")).len(), 1);
    let refused = operator(&mut node, call("svc:sum.run", r#"{"items":[{"name":5}]}"#));
    assert!(refused[0].contains("/items/0/name"), "the contract is still checked: {refused:?}");
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "service.ended").count(), 1);
}

#[test]
fn the_load_that_is_told_changes_with_its_order_of_magnitude_alone() {
    let mut node = serving(contract("1.0.0", "true", "true"));
    for calls in 1..=16_u32 {
        let outputs = operator(&mut node, call("svc:sum.run", "7"));
        let told = outputs.iter().find(|line| line.starts_with("advertise-services")).cloned();
        let expected = calls.is_power_of_two().then(|| format!("advertise-services [sum:echo {calls}]"));
        assert_eq!(told, expected.filter(|_| calls >= 8));
    }
}

#[test]
fn an_agents_service_is_kept_while_its_supervisor_starts_it_again_and_ends_with_its_last_life() {
    let mut node = Node::new("alpha");
    let spec = AgentSpec { restart: RestartPolicy::Permanent, ..granted("server", &["serve:sum"]) };
    let server = node.start_agent(spec);
    node.run(by(&server, 1, register(None, None, AuditLevel::GateOnly)));
    let process = node.kernel.agent(&name("server")).expect("it lives");
    node.run(Input::AgentExited { process, reason: ExitReason::Exited { code: 1 } });
    assert_eq!(node.kernel.services().len(), 1, "it is about to be started again");
    let refused = operator(&mut node, call("svc:sum.run", "7"));
    assert!(refused[0].starts_with("answer 1 restarting: "), "{refused:?}");
    node.pass(1_000_000);
    let process = node.kernel.agent(&name("server")).expect("it is started again");
    node.run(Input::AgentStarted { process, pid: None });
    assert_eq!(operator(&mut node, call("svc:sum.run", "7"))[0], format!("deliver m1 to {process} 1 bytes"));
    let stop = Syscall::Stop { agent: weft_kernel::AgentRef::Name(name("server")) };
    operator(&mut node, stop);
    node.run(Input::AgentExited { process, reason: ExitReason::Stopped });
    assert!(node.kernel.services().is_empty());
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "service.ended").count(), 1);
}
