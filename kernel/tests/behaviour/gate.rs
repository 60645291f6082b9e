//! Who may do what: every decision of the four rules, and that a denial is an event.

use weft_kernel::{
    Action, AgentRef, AskId, Decision, Gate, GateError, Gates, Input, Request, Route, Syscall, genesis_rules,
};
use weft_protocol::{
    CronId, Environment, Fact, Grant, GrantId, GrantTerms, NodeId, Principal, ProcessId, Refusal, Role, Sender,
    Timestamp, hash,
};

use crate::node::{Node, effects, granted, message, name, text, transmitted};
use crate::pair::Pair;

const OWN: NodeId = NodeId::from_bytes([1; 32]);
const OTHER: NodeId = NodeId::from_bytes([2; 32]);

#[test]
fn the_table_of_all_decisions() {
    let agent = || Principal::Agent { agent: name("a"), process: ProcessId { index: 0, generation: 0 } };
    let topic = || "jobs".parse().expect("a topic");
    let actions = [
        Action::Send { target: "t".into() },
        Action::Call { target: "t".into() },
        Action::Receive { role: Role::Admin, target: "t".to_owned(), wants_reply: false },
        Action::Receive { role: Role::Worker, target: "t".to_owned(), wants_reply: true },
        Action::Receive { role: Role::Observer, target: "t".to_owned(), wants_reply: true },
        Action::Publish { topic: topic() },
        Action::Subscribe { pattern: topic().into() },
        Action::ReceivePublication { role: Role::Worker, topic: topic() },
        Action::ReceivePublication { role: Role::Observer, topic: topic() },
        Action::Spawn { agent: name("a") },
        Action::Stop { target: "t".into() },
        Action::CronAdd { target: "t".into() },
        Action::CronRemove { job: CronId(1) },
        Action::CronRun { job: CronId(1) },
        Action::CronList,
        Action::Grant {
            to: name("b"),
            terms: GrantTerms { spec: "call:t".parse().expect("a grant"), expires: None, uses: None },
        },
        Action::Revoke { grant: GrantId(2), parents: vec![GrantId(1)] },
        Action::Revoke { grant: GrantId(2), parents: Vec::new() },
        Action::Invite { role: Role::Worker },
        Action::RevokeInvite,
        Action::Admit { node: OTHER },
        Action::RecordFork { node: OTHER },
        Action::RecordRepair,
        Action::RecordTail,
        Action::RecordBoot,
        Action::Anchor { place: "file".into() },
        Action::Snapshot,
        Action::Prune { to: 9 },
        Action::configure(&[]),
        Action::RotateKeys,
        Action::Score { path: weft_protocol::ResourcePath::root() },
        Action::Shutdown,
    ];
    let table = actions.iter().map(|action| {
        let decide = |node, principal, grants: &[&str]| rule(&Sender { node, principal }, action, grants);
        let every = [
            "send:t",
            "call:t",
            "publish:t",
            "subscribe:t",
            "spawn:t",
            "stop:t",
            "cron-add:t",
            "cron-remove:t",
            "cron-run:t",
            "cron-list:t",
        ];
        let decisions = [
            decide(OWN, Principal::Operator, &[]),
            decide(OTHER, Principal::Operator, &[]),
            decide(OWN, agent(), &[]),
            decide(OWN, agent(), &every),
            decide(OTHER, agent(), &every),
        ];
        format!("{}: {}", action.name(), decisions.join(" "))
    });
    // Own operator, another's operator, own agent without and with grants, another's agent with grants.
    let expected = [
        "send: +1 -4 -4 +3 -4",
        "call: +1 -4 -4 +3 -4",
        "receive: +2 +2 -4 +3 +3",
        "receive: +2 +2 -4 +3 +3",
        "receive: -2 -2 -2 -2 -2",
        "publish: +1 -4 -4 +3 -4",
        "subscribe: +1 -4 -4 +3 -4",
        "receive-publication: +2 +2 -4 +3 +3",
        "receive-publication: -2 -2 -2 -2 -2",
        "spawn: +1 -4 -4 +3 -4",
        "stop: +1 -4 -4 +3 -4",
        "cron-add: +1 -4 -4 +3 -4",
        "cron-remove: +1 -4 -4 +3 -4",
        "cron-run: +1 -4 -4 +3 -4",
        "cron-list: +1 -4 -4 +3 -4",
        "grant: +1 -4 -3 +3 -4",
        "revoke: +1 -4 -3 +3 -4",
        "revoke: +1 -4 -3 -3 -4",
        "invite: +1 -4 -4 -4 -4",
        "revoke-invite: +1 -4 -4 -4 -4",
        "admit: +1 -4 -4 -4 -4",
        "record-fork: +1 -4 -4 -4 -4",
        "record-repair: +1 -4 -4 -4 -4",
        "record-tail: +1 -4 -4 -4 -4",
        "record-boot: +1 -4 -4 -4 -4",
        "anchor: +1 -4 -4 -4 -4",
        "snapshot: +1 -4 -4 -4 -4",
        "prune: +1 -4 -4 -4 -4",
        "configure: +1 -4 -4 -4 -4",
        "rotate-keys: +1 -4 -4 -4 -4",
        "score: +1 -4 -4 -4 -4",
        "shutdown: +1 -4 -4 -4 -4",
    ];
    assert_eq!(table.collect::<Vec<_>>(), expected);
}

/// `+` or `-` and the number of the rule.
fn rule(by: &Sender, action: &Action, grants: &[&str]) -> String {
    let terms = |spec: &str| GrantTerms { spec: spec.parse().expect("a grant"), expires: None, uses: None };
    let grant = |spec: &&str| Grant::root(GrantId(1), terms(spec));
    let grants = grants.iter().map(grant).collect::<Vec<_>>();
    let resources = ["t".to_owned()];
    let request =
        Request { by, action, resources: &resources, grants: &grants.iter().collect::<Vec<_>>(), now: Timestamp(5) };
    let number = |rule: &str| rule.rsplit('#').next().unwrap_or_default().to_owned();
    match gate().decide(&request) {
        Decision::Permit { rule, grant, notes } => {
            assert_eq!(grant.is_some(), rule == "grant#3", "only a grant travels");
            assert_eq!(notes, None, "in development");
            format!("+{}", number(&rule))
        }
        Decision::Deny { rule } => format!("-{}", number(&rule)),
        Decision::Defer { rule, .. } => format!("?{}", number(&rule)),
    }
}

fn gate() -> Gates {
    let mut gates = Gates::new(OWN, &genesis_rules(), &hash("rules", &[&genesis_rules()])).expect("the genesis rules");
    gates.configure(Environment::Development, &[]);
    gates
}

#[test]
fn a_grant_ends_when_it_says_so() {
    let spec = "call:t".parse().expect("a grant");
    let grants = [Grant::root(GrantId(1), GrantTerms { spec, expires: Some(Timestamp(10)), uses: None })];
    let principal = Principal::Agent { agent: name("a"), process: ProcessId { index: 0, generation: 0 } };
    let (by, action) = (Sender { node: OWN, principal }, Action::Call { target: "t".into() });
    let resources = ["t".to_owned()];
    let permits = |now| {
        let request = Request {
            by: &by,
            action: &action,
            resources: &resources,
            grants: &grants.iter().collect::<Vec<_>>(),
            now,
        };
        matches!(gate().decide(&request), Decision::Permit { .. })
    };
    assert!(permits(Timestamp(9)));
    assert!(!permits(Timestamp(10)));
}

#[test]
fn other_rules_than_the_clusters_make_no_gate() {
    let expected = hash("rules", &[&genesis_rules()]);
    let refused = Gates::new(OWN, b"others", &expected).expect_err("another hash");
    assert_eq!(refused, GateError::Hash { expected, found: hash("rules", &[b"others"]) });
    let refused = Gates::new(OWN, b"others", &hash("rules", &[b"others"])).expect_err("not rules");
    assert!(matches!(refused, GateError::Decode(_)), "{refused}");
    let mut unknown = genesis_rules();
    let place = unknown.windows(5).position(|window| window == b"grant").expect("a rule");
    unknown[place] = b'h';
    let refused = Gates::new(OWN, &unknown, &hash("rules", &[&unknown])).expect_err("an unknown rule");
    assert_eq!(refused, GateError::Unknown);
}

#[test]
fn an_agent_without_a_grant_is_denied_and_that_is_an_event() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = node.start_agent(granted("asker", &["call:clock"]));
    let mut call = |target: &str, route: Route| {
        let (ask, syscall) = (AskId(1), Box::new(message(target, "hi", "executed")));
        effects(&node.run(Input::Asked { ask, by: by.clone(), syscall, route })).join("; ")
    };
    assert_eq!(call("echo", Route::Local), "answer 1 denied: denied by rule default-closed#4");
    let nowhere = Route::nowhere(Refusal::NoResponder { target: "secret".to_owned() });
    assert_eq!(
        call("secret", nowhere),
        "answer 1 denied: denied by rule default-closed#4",
        "the gate is asked before anybody learns what exists"
    );
    let Some(Fact::Denied(denial)) = node.facts().into_iter().rfind(|fact| matches!(fact, Fact::Denied(_))) else {
        panic!("it is recorded")
    };
    assert_eq!((&*denial.action, &*denial.resource, &*denial.rule), ("call", "secret", "default-closed#4"));
    assert_eq!(denial.by.principal, by);
}

#[test]
fn a_grant_covers_a_local_target_however_it_is_written() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let cases = [
        ("call:echo", "echo", true),
        ("call:echo", "echo@alpha", true),
        ("call:echo@alpha", "echo", true),
        ("call:echo@alpha", "echo@alpha", true),
        ("call:echo@beta", "echo", false),
        ("send:echo", "echo", false),
        ("call:e*", "echo@alpha", true),
    ];
    for (number, (grant, target, permitted)) in cases.into_iter().enumerate() {
        let by = node.start_agent(granted(&format!("asker-{number}"), &[grant]));
        let (ask, syscall) = (AskId(1), Box::new(message(target, "hi", "executed")));
        let outputs = effects(&node.run(Input::Asked { ask, by, syscall, route: Route::Local }));
        let denied = outputs == ["answer 1 denied: denied by rule default-closed#4"];
        assert_eq!(!denied, permitted, "{grant} {target}: {outputs:?}");
    }
}

#[test]
fn the_receiver_asks_its_own_gate() {
    let mut pair = Pair::new();
    let by = pair.nodes[0].start_agent(granted("asker", &["call:echo@beta"]));
    let asked = pair.asked(1, by, message("echo@beta", "hi", "executed"));
    let [alpha, beta] = &mut pair.nodes;
    let envelope = transmitted(&alpha.run(asked));
    assert_eq!(envelope.grant.as_ref().map(|grant| grant.spec.to_string()), Some("call:echo@beta".to_owned()));
    let mut arrive = |change: &dyn Fn(&mut weft_protocol::Envelope), role| {
        let mut envelope = Box::new(envelope.clone());
        change(&mut envelope);
        effects(&beta.run(Input::EnvelopeArrived { from: alpha.id(), role, envelope })).join("; ")
    };
    let denied = |rule: &str| format!("acknowledge m0 denied: denied by rule {rule}");
    assert_eq!(arrive(&|_| {}, Role::Observer), denied("member-role#2"));
    assert_eq!(arrive(&|envelope| envelope.grant = None, Role::Worker), denied("default-closed#4"));
    let other = |envelope: &mut weft_protocol::Envelope| {
        let grant = envelope.grant.as_mut().expect("a grant");
        grant.spec = "call:clock@beta".parse().expect("a grant");
    };
    assert_eq!(arrive(&other, Role::Worker), denied("default-closed#4"));
    assert_eq!(arrive(&|_| {}, Role::Worker), "deliver m0 to #0.0 `hi`", "a denial does not burn the message's id");
    let denials = beta.kinds().iter().filter(|kind| *kind == "gate.denied").count();
    assert_eq!(denials, 3);
}

#[test]
fn a_process_that_is_over_may_ask_for_nothing() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = Principal::Agent { agent: name("echo"), process: ProcessId { index: 0, generation: 1 } };
    let syscall =
        Box::new(Syscall::Publish { topic: "jobs".parse().expect("a topic"), payload: text("x"), trace: None });
    let asked = Input::Asked { ask: AskId(1), by, syscall, route: Route::Local };
    assert_eq!(effects(&node.run(asked)), ["answer 1 gone: gone: #0.1"]);
}

#[test]
fn only_the_operator_stops_agents_and_the_node_unless_granted() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let by = node.start_agent(granted("asker", &["stop:echo"]));
    let mut ask = |syscall: Syscall| {
        let input = Input::Asked { ask: AskId(1), by: by.clone(), syscall: Box::new(syscall), route: Route::Local };
        effects(&node.run(input)).join("; ")
    };
    let denied = "answer 1 denied: denied by rule default-closed#4";
    assert_eq!(ask(Syscall::Shutdown), denied);
    assert_eq!(ask(Syscall::Stop { agent: AgentRef::Name(name("asker")) }), denied);
    let process = ProcessId { index: 9, generation: 0 };
    assert_eq!(ask(Syscall::Stop { agent: AgentRef::Process(process) }), denied, "even of what does not exist");
    let process = ProcessId { index: 0, generation: 0 };
    let stopped = ask(Syscall::Stop { agent: AgentRef::Process(process) });
    assert_eq!(stopped, "advertise [asker#1.0]; stop #0.0");
}
