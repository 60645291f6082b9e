//! The kernel's tools over agents: called from another node or from here, judged as what they do, run once.

use serde_json::{Value, json};
use weft_kernel::{Answer, AskId, Input, Output, Route, Syscall};
use weft_protocol::{
    Backend, Effect, Fact, Grant, GrantHolder, GrantId, GrantIssued, GrantTerms, Payload, Principal, ProcessId,
    Refusal, Role, Sender, Signal, Stage,
};

use crate::node::{Node, acknowledged, effects, granted, message, name, transmitted};
use crate::pair::Pair;

fn tool(target: &str, tool: &str, args: &Value) -> Syscall {
    match message(target, "", "executed") {
        Syscall::Send { target, wants_reply, level, deadline_us, trace, cause, idempotent, .. } => {
            let payload = Payload::ToolCall { name: tool.into(), args: args.to_string() };
            Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent, parts: false }
        }
        other => other,
    }
}

fn spawn(agent: &str) -> Syscall {
    tool("kernel@beta", "agent.spawn", &json!({"agent": agent, "builtin": "echo"}))
}

fn pair(role: Role) -> Pair {
    Pair { role, ..Pair::new() }
}

/// What alpha's operator is answered by a tool of beta's kernel.
fn ask(pair: &mut Pair, name: &str, args: &Value) -> Result<Value, Refusal> {
    let asked = pair.asked(1, Principal::Operator, tool("kernel@beta", name, args));
    answer(pair, asked)
}

fn answer(pair: &mut Pair, asked: Input) -> Result<Value, Refusal> {
    let mut answers = pair.run(asked);
    assert_eq!(answers.len(), 1, "{answers:?}");
    match answers.remove(0).1 {
        Ok(Answer::Sent(report)) => match report.reply {
            Some(Payload::Json(text)) => Ok(serde_json::from_str(&text).expect("JSON")),
            other => panic!("{other:?}"),
        },
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal),
    }
}

fn denied(rule: &str) -> Refusal {
    Refusal::Denied { rule: rule.to_owned() }
}

/// What the chain says of messages and effects, in order.
fn told(node: &Node) -> Vec<String> {
    let told = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Message(record) => {
            assert!(record.body.is_some() || matches!(record.stage, Stage::Refused), "{record:?}");
            Some(format!("{:?}", record.stage))
        }
        Fact::Intent(effect) => Some(match *effect {
            Effect::Spawn { spec, from, .. } => format!("spawn {} {}", spec.agent, from.is_some()),
            Effect::Stop { agent, from, .. } => format!("stop {agent} {}", from.is_some()),
            other => format!("{other:?}"),
        }),
        Fact::Outcome(outcome) => Some(format!("{:?}", outcome.result)),
        Fact::Denied(denial) => Some(format!("denied {} {} by {}", denial.action, denial.resource, denial.rule)),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_operator_of_an_admin_node_spawns_elsewhere_and_both_chains_tell_it() {
    let mut pair = pair(Role::Admin);
    let beta = pair.nodes[1].id();
    let before = told(&pair.nodes[1]).len();
    let report = ask(&mut pair, "agent.spawn", &json!({"agent": "w", "builtin": "echo", "grants": ["call:echo"]}));
    assert_eq!(report, Ok(json!({"agent": "w", "process": "#1.0", "node": beta.to_string(), "state": "running"})));
    assert_eq!(told(&pair.nodes[0]), ["Sent", "Acknowledged"]);
    assert_eq!(told(&pair.nodes[1])[before..], ["Received", "spawn w true", "Done", "Answered"]);
    let w = pair.nodes[1].kernel.process(ProcessId { index: 1, generation: 0 }).expect("it lives on beta");
    assert_eq!(w.grants.iter().map(|grant| grant.spec.to_string()).collect::<Vec<_>>(), ["call:echo"]);
    assert!(pair.nodes[0].kernel.processes().is_empty());
    let again = ask(&mut pair, "agent.spawn", &json!({"agent": "w", "builtin": "echo"}));
    let taken = "w is alive already, as #1.0: stop it first, or choose another name";
    assert_eq!(again, Err(Refusal::Invalid { message: taken.to_owned() }));
    pair.nodes[1].crash();
    pair.nodes[1].run(Input::Woken);
}

#[test]
fn all_that_can_be_done_to_an_agent_can_be_done_from_an_admin_node() {
    let mut pair = pair(Role::Admin);
    let node = pair.nodes[1].id().to_string();
    let echo = json!({"agent": "echo"});
    let paused = |state: &str| Ok(json!({"agent": "echo", "process": "#0.0", "node": node, "state": state}));
    assert_eq!(ask(&mut pair, "agent.suspend", &echo), paused("suspended"));
    assert_eq!(ask(&mut pair, "agent.inspect", &echo).expect("a report")["state"], "suspended");
    assert_eq!(ask(&mut pair, "agent.resume", &json!({"agent": "#0.0"})), paused("running"));
    let restarted = ask(&mut pair, "agent.restart", &echo).expect("a report");
    assert_eq!((&restarted["process"], &restarted["state"]), (&json!("#0.1"), &json!("running")));
    let stopped = ask(&mut pair, "agent.stop", &echo);
    assert_eq!(stopped, Ok(json!({"agent": "echo", "process": "#0.1", "node": node, "reason": "stopped"})));
    assert_eq!(ask(&mut pair, "agent.stop", &echo), Err(Refusal::NoResponder { target: "echo".into() }));
    assert_eq!(ask(&mut pair, "agent.inspect", &echo).expect("the last")["reason"], "stopped");
    assert_eq!(
        ask(&mut pair, "agent.inspect", &json!({"agent": "nobody"})),
        Err(Refusal::NoResponder { target: "nobody".into() })
    );
}

#[test]
fn a_signal_that_changes_a_life_counts_from_an_admin_node_alone() {
    let kill = || match message("echo@beta", "", "executed") {
        Syscall::Send { target, wants_reply, level, deadline_us, trace, cause, idempotent, .. } => {
            let payload = Payload::Signal(Box::new(Signal::Kill));
            Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent, parts: false }
        }
        other => other,
    };
    let mut pair = pair(Role::Worker);
    let asked = pair.asked(1, Principal::Operator, kill());
    let answers = pair.run(asked);
    assert_eq!(answers, [(1, Err(denied("member-role#2")))]);
    pair.role = Role::Admin;
    let asked = pair.asked(2, Principal::Operator, kill());
    let answers = pair.run(asked);
    assert!(answers[0].1.is_ok(), "{answers:?}");
    assert!(pair.nodes[1].kernel.agent(&name("echo")).is_none());
    assert!(told(&pair.nodes[1]).contains(&"stop echo true".to_owned()));
}

#[test]
fn the_role_of_a_worker_or_an_observer_lets_its_operator_change_nothing_elsewhere() {
    for role in [Role::Worker, Role::Observer] {
        let mut pair = pair(role);
        let before = told(&pair.nodes[1]).len();
        let asked = pair.asked(1, Principal::Operator, spawn("w"));
        assert_eq!(answer(&mut pair, asked), Err(denied("member-role#2")));
        assert_eq!(ask(&mut pair, "agent.stop", &json!({"agent": "echo"})), Err(denied("member-role#2")));
        let told = told(&pair.nodes[1]);
        assert_eq!(told[before..], ["denied spawn w by member-role#2", "denied stop echo by member-role#2"]);
    }
    let mut pair = pair(Role::Worker);
    assert!(ask(&mut pair, "agent.inspect", &json!({"agent": "echo"})).is_ok(), "a worker may look");
}

#[test]
fn an_agent_spawns_elsewhere_what_it_was_granted_and_nothing_else() {
    let mut pair = pair(Role::Admin);
    let by = pair.nodes[0].start_agent(granted("planner", &["call:kernel@beta", "spawn:home"]));
    let home = pair.asked(1, by, spawn("home"));
    assert_eq!(answer(&mut pair, home), Err(denied("default-closed#4")), "home is not home@beta");
    let by = pair.nodes[0].start_agent(granted("boss", &["call:kernel@beta", "spawn:w-*"]));
    let asked = |pair: &Pair, agent: &str| pair.asked(1, by.clone(), spawn(agent));
    let (one, other) = (asked(&pair, "w-1"), asked(&pair, "x"));
    assert_eq!(answer(&mut pair, one).expect("it may")["state"], "running");
    assert_eq!(answer(&mut pair, other), Err(denied("default-closed#4")));
    let greedy = json!({"agent": "w-2", "builtin": "echo", "grants": ["spawn:w-*"]});
    let greedy = pair.asked(1, by.clone(), tool("kernel@beta", "agent.spawn", &greedy));
    assert_eq!(answer(&mut pair, greedy), Err(denied("default-closed#4")), "what it holds counts at home");
    let by = pair.nodes[0].start_agent(granted("mute", &["spawn:w-*"]));
    let mute = pair.asked(1, by, spawn("w-3"));
    assert_eq!(answer(&mut pair, mute), Err(denied("default-closed#4")), "it may not call that kernel");
}

#[test]
fn a_grant_that_its_own_node_did_not_check_is_checked_where_it_counts() {
    let mut pair = pair(Role::Admin);
    let by = pair.nodes[0].start_agent(granted("boss", &["call:kernel@beta", "spawn:w-*"]));
    let asked = pair.asked(1, by, spawn("w-1"));
    let mut envelope = transmitted(&pair.nodes[0].run(asked));
    envelope.payload =
        Payload::ToolCall { name: "agent.spawn".into(), args: json!({"agent": "x", "builtin": "echo"}).to_string() };
    let from = pair.nodes[0].id();
    let arrived = Input::EnvelopeArrived { from, role: Role::Admin, envelope: Box::new(envelope) };
    let receipt = acknowledged(&pair.nodes[1].run(arrived));
    assert!(format!("{receipt:?}").contains("default-closed#4"), "{receipt:?}");
}

#[test]
fn the_agent_of_a_worker_node_may_spawn_where_that_node_granted_it() {
    let mut pair = pair(Role::Worker);
    let (alpha, beta) = (pair.nodes[0].id(), pair.nodes[1].id());
    let by = pair.nodes[0].start_agent(granted("boss", &["call:kernel@beta", "spawn:own*"]));
    let own = pair.asked(1, by.clone(), spawn("own-1"));
    assert_eq!(answer(&mut pair, own), Err(denied("default-closed#4")), "a worker gives no rights elsewhere");
    let terms = GrantTerms { spec: "spawn:w*".parse().expect("a grant"), expires: None, uses: None };
    let to = "boss@alpha".parse().expect("a target");
    let give = Syscall::Grant { to, terms, lasts_us: None };
    let asked =
        Input::Asked { ask: AskId(7), by: Principal::Operator, syscall: Box::new(give), route: Route::Remote(alpha) };
    let given = pair.nodes[1].run(asked).into_iter().find_map(|output| match output {
        Output::Answer { answer: Ok(Answer::Granted(issued)), .. } => Some(issued),
        _ => None,
    });
    pair.nodes[0].run(Input::GrantLearned { issuer: beta, issued: given.expect("given") });
    let asked = pair.asked(1, by.clone(), spawn("w1"));
    assert_eq!(answer(&mut pair, asked).expect("it may")["agent"], "w1");
    // A third node says that it gave the same.
    let gamma = weft_protocol::NodeId::from_bytes([9; 32]);
    let terms = GrantTerms { spec: "spawn:v*".parse().expect("a grant"), expires: None, uses: None };
    let grant = Grant { issuer: Some(gamma), ..Grant::root(GrantId(5), terms) };
    let to = GrantHolder { node: alpha, agent: name("boss"), process: None };
    let issued = Box::new(GrantIssued { grant, to, by: Principal::Operator });
    for node in &mut pair.nodes {
        node.run(Input::GrantLearned { issuer: gamma, issued: issued.clone() });
    }
    for role in [Role::Worker, Role::Admin] {
        pair.role = role;
        let asked = pair.asked(1, by.clone(), spawn("v1"));
        assert_eq!(answer(&mut pair, asked), Err(denied("default-closed#4")), "{role}");
    }
}

#[test]
fn a_copy_of_the_call_spawns_nothing_and_gets_the_same_answer() {
    let mut pair = pair(Role::Admin);
    let asked = pair.asked(1, Principal::Operator, spawn("w"));
    let envelope = transmitted(&pair.nodes[0].run(asked));
    let from = pair.nodes[0].id();
    let arrived = || Input::EnvelopeArrived { from, role: Role::Admin, envelope: Box::new(envelope.clone()) };
    assert_eq!(effects(&pair.nodes[1].run(arrived())), ["start w#1.0"]);
    assert_eq!(effects(&pair.nodes[1].run(arrived())), Vec::<String>::new(), "the first is worked on");
    let process = ProcessId { index: 1, generation: 0 };
    let first = acknowledged(&pair.nodes[1].run(Input::AgentStarted { process, pid: None }));
    assert_eq!(acknowledged(&pair.nodes[1].run(arrived())), first);
    let spawns = |node: &Node| told(node).iter().filter(|told| told.starts_with("spawn w")).count();
    assert_eq!(spawns(&pair.nodes[1]), 1);
    pair.nodes[1].crash();
    pair.nodes[1].run(Input::Woken);
    let after = acknowledged(&pair.nodes[1].run(arrived()));
    assert_eq!(after.outcome, first.outcome, "also when the node restarted in between");
    assert_eq!(spawns(&pair.nodes[1]), 1);
}

#[test]
fn nobody_elsewhere_has_a_program_trusted_or_puts_it_into_a_group_of_others() {
    let mut pair = pair(Role::Admin);
    let trusted = json!({"agent": "w", "exec": ["true"], "trusted": true});
    assert_eq!(ask(&mut pair, "agent.spawn", &trusted), Err(denied("default-closed#4")));
    let by = pair.nodes[0].start_agent(granted("boss", &["call:kernel@beta", "spawn:*"]));
    // On beta there is a process of the same number that is in a group.
    let shop = Some(weft_protocol::Membership { group: "shop".parse().expect("a group"), strategy: None });
    pair.nodes[1].start_agent(weft_protocol::AgentSpec { group: shop, ..granted("clerk", &[]) });
    let group = json!({"agent": "w", "builtin": "echo", "group": "shop"});
    let asked = pair.asked(1, by, tool("kernel@beta", "agent.spawn", &group));
    assert_eq!(answer(&mut pair, asked), Err(denied("default-closed#4")));
    let unknown = ask(&mut pair, "fs.read", &json!({}));
    assert!(matches!(unknown, Err(Refusal::Unsupported { .. })), "{unknown:?}");
}

#[test]
fn at_home_a_tool_of_the_kernel_is_judged_as_what_it_does_too() {
    let mut node = Node::new("alpha");
    let boss = node.start_agent(granted("boss", &["call:kernel", "spawn:w", "stop:w"]));
    let ask = |node: &mut Node, name: &str, args: Value| {
        let syscall = Box::new(tool("kernel", name, &args));
        let asked = Input::Asked { ask: AskId(1), by: boss.clone(), syscall, route: Route::Local };
        effects(&node.run(asked))
    };
    assert_eq!(ask(&mut node, "agent.spawn", json!({"agent": "w", "builtin": "echo"})), ["start w#1.0"]);
    let started = node.run(Input::AgentStarted { process: ProcessId { index: 1, generation: 0 }, pid: None });
    let sent = effects(&started);
    assert!(sent.iter().any(|line| line.starts_with("answer 1 sent m0 executed ")), "{sent:?}");
    let denied = ask(&mut node, "agent.spawn", json!({"agent": "x", "builtin": "echo"}));
    assert_eq!(denied, ["answer 1 denied: denied by rule default-closed#4"]);
    let spawned = node.facts().into_iter().find_map(|fact| match fact {
        Fact::Intent(effect) => match *effect {
            Effect::Spawn { by, from, spec, .. } if spec.agent == name("w") => Some((by, from, spec.backend)),
            _ => None,
        },
        _ => None,
    });
    assert!(matches!(spawned, Some((Principal::Agent { .. }, None, Backend::Builtin(_)))), "{spawned:?}");
    let from = Sender { node: node.id(), principal: boss };
    assert!(node.facts().iter().any(|fact| matches!(fact, Fact::Denied(denial) if denial.by == from)));
}

#[test]
fn jobs_are_made_listed_run_and_taken_back_by_tools_of_their_own_node_and_each_is_an_event_before_it_is_answered() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let grants = ["call:kernel", "cron-add:echo", "cron-list:*", "cron-run:*", "cron-remove:agent/clerk", "send:echo"];
    let clerk = node.start_agent(granted("clerk", &grants));
    let asked = |by: &Principal, name: &str, args: Value| {
        let syscall = Box::new(tool("kernel", name, &args));
        Input::Asked { ask: AskId(1), by: by.clone(), syscall, route: Route::Local }
    };
    let replied = |outputs: &[Output]| {
        let reply = outputs.iter().find_map(|output| match output {
            Output::Answer { answer: Ok(Answer::Sent(report)), .. } => report.reply.clone(),
            _ => None,
        });
        match reply {
            Some(Payload::Json(text)) => serde_json::from_str::<Value>(&text).expect("JSON"),
            _ => panic!("{:?}", effects(outputs)),
        }
    };
    let job = json!({"expression": "30 2 * * *", "target": "echo", "payload": "tick"});
    assert_eq!(
        effects(&node.give(asked(&clerk, "cron.add", job.clone()))),
        Vec::<String>::new(),
        "the record is first"
    );
    let added = replied(&node.persist());
    assert_eq!((&added["by"], &added["timezone"]), (&json!("agent/clerk"), &json!("UTC")), "{added}");
    while node.writing.is_some() {
        node.persist();
    }
    let id = json!({"job": added["id"]});
    assert_eq!(replied(&node.run(asked(&clerk, "cron.list", json!({}))))["jobs"], json!([added]));

    let outputs = node.run(asked(&clerk, "cron.run", id.clone()));
    let delivered = outputs.iter().find_map(|output| match output {
        Output::Deliver { process, delivery } => Some((*process, delivery.message)),
        _ => None,
    });
    let (process, message) = delivered.expect("its message is delivered");
    let mut outputs = outputs;
    outputs.extend(node.run(Input::AgentAnswered { process, message, answer: Ok(None) }));
    assert_eq!(replied(&outputs)["result"], "delivered");

    assert_eq!(replied(&node.run(asked(&clerk, "cron.remove", id.clone()))), json!({"id": added["id"]}));
    let gone = node.run(asked(&Principal::Operator, "cron.remove", id));
    assert!(effects(&gone)[0].starts_with("answer 1 no-responder"), "{:?}", effects(&gone));
    for kind in ["cron.added", "cron.fired", "cron.removed"] {
        assert_eq!(node.kinds().iter().filter(|other| *other == kind).count(), 1, "{kind}");
    }
    let poor = node.start_agent(granted("poor", &["call:kernel"]));
    for (name, args) in [("cron.add", job.clone()), ("cron.list", json!({}))] {
        let denied = effects(&node.run(asked(&poor, name, args)));
        assert_eq!(denied, ["answer 1 denied: denied by rule default-closed#4"], "{name}");
    }
    let mut pair = pair(Role::Admin);
    assert_eq!(ask(&mut pair, "cron.add", &job), Err(denied("default-closed#4")), "a job is for its own node");
    assert_eq!(ask(&mut pair, "cron.list", &json!({})), Err(denied("default-closed#4")));
    assert!(!pair.nodes[1].kinds().contains(&"cron.added".to_owned()));
}
