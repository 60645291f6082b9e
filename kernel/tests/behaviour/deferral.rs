//! What waits for a person: deferred has not happened, an approval counts once, and all of it is on the chain by name.

use weft_kernel::{Action, AgentRef, AskId, DeferralState, Input, Syscall, Ticket};
use weft_protocol::{AgentSpec, DeferralId, Environment, Fact, Grant, InviteIssued, Principal, Role, Timestamp, hash};

use crate::node::{Node, echo, effects, granted, lines, name};

const HOUR: u64 = 3_600_000_000;

/// A node in production, with running agents that were started before it was one.
fn strict(agents: &[AgentSpec]) -> (Node, Vec<Principal>) {
    let mut node = Node::new("alpha");
    let agents = agents.iter().map(|spec| node.start_agent(spec.clone())).collect();
    node.config.environment = Environment::Production;
    let config = Box::new(node.config.clone());
    node.run(Input::Configured { config });
    (node, agents)
}

fn asked(by: &Principal, syscall: Syscall) -> Input {
    Input::Asked { ask: AskId(1), by: by.clone(), syscall: Box::new(syscall), route: weft_kernel::Route::Local }
}

fn spawn(spec: AgentSpec) -> Syscall {
    Syscall::Spawn { spec: Box::new(spec) }
}

fn stop(agent: &str) -> Syscall {
    Syscall::Stop { agent: AgentRef::Name(name(agent)) }
}

fn decide(deferral: DeferralId, approve: bool, who: &str, why: Option<&str>) -> Syscall {
    Syscall::Decide { deferral, approve, name: who.parse().expect("a person"), why: why.map(str::to_owned) }
}

/// Asks as the operator; what is told and done at the end.
fn ask(node: &mut Node, syscall: Syscall) -> String {
    effects(&node.run(asked(&Principal::Operator, syscall))).join("; ")
}

fn ask_as(node: &mut Node, by: &Principal, syscall: Syscall) -> String {
    effects(&node.run(asked(by, syscall))).join("; ")
}

/// The only thing that waits.
fn waits(node: &Node) -> DeferralId {
    let all = node.kernel.deferrals().map(|info| info.id).collect::<Vec<_>>();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

#[test]
fn what_is_deferred_has_not_happened_until_a_person_approves_and_it_is_asked_again() {
    let (mut node, _) = strict(&[]);
    let given = node.give(asked(&Principal::Operator, spawn(echo("words"))));
    assert!(effects(&given).is_empty(), "nobody is told before it is on disk: {:?}", lines(&given));
    let told = node.persist();
    let id = waits(&node);
    assert_eq!(
        effects(&told),
        [format!("answer 1 deferred: deferred by rule GOV-006 until a person approves it, as {id}")]
    );
    assert_eq!(node.kernel.agent(&name("words")), None);
    assert!(!node.kinds().contains(&"effect.intent".to_owned()), "{:?}", node.kinds());

    let again = ask(&mut node, spawn(echo("words")));
    assert!(again.contains(&format!("as {id}")), "one thing waits once: {again}");
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "gate.deferred").count(), 1);

    assert_eq!(ask(&mut node, decide(id, true, "Ada", Some("it is for the demo"))), format!("answer 1 decided {id}"));
    assert_eq!(node.kernel.agent(&name("words")), None, "an approval starts nothing");
    let started = ask(&mut node, spawn(echo("words")));
    assert!(started.contains("start words#0.0"), "{started}");
    let kinds = node.kinds();
    let place =
        |kind: &str| kinds.iter().position(|found| found == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}"));
    assert!(place("gate.deferred") < place("gate.approved"));
    assert!(place("gate.approved") < place("gate.approval-spent"));
    assert!(place("gate.approval-spent") < place("effect.intent"), "used up before it is done");
    let approved = node.facts().into_iter().find_map(|fact| match fact {
        Fact::Approved(decided) => Some(decided),
        _ => None,
    });
    let approved = approved.expect("it is on the chain");
    assert_eq!((approved.name.as_str(), approved.why.as_deref()), ("Ada", Some("it is for the demo")));
    assert_eq!(node.kernel.deferrals().count(), 0);

    let process = node.kernel.agent(&name("words")).expect("it lives");
    node.run(Input::AgentStarted { process, pid: None });
    ask(&mut node, stop("words"));
    node.run(Input::AgentExited { process, reason: weft_protocol::ExitReason::Stopped });
    let once_more = ask(&mut node, spawn(echo("words")));
    assert!(once_more.contains("answer 1 deferred"), "an approval counts once: {once_more}");
    assert!(!once_more.contains(&format!("as {id}")), "{once_more}");
}

#[test]
fn a_no_holds_until_its_time_is_over_and_says_who_said_it() {
    let (mut node, _) = strict(&[]);
    ask(&mut node, spawn(echo("words")));
    let id = waits(&node);
    let refused = |node: &mut Node, syscall| ask(node, syscall);
    assert!(refused(&mut node, decide(id, false, "Ada", None)).contains("who denies says why"));
    assert_eq!(refused(&mut node, decide(id, false, "Ada", Some("not today"))), format!("answer 1 decided {id}"));
    let denied = format!("answer 1 denied: denied by rule GOV-006 denied by Ada as {id}");
    assert_eq!(ask(&mut node, spawn(echo("words"))), denied);
    assert!(refused(&mut node, decide(id, true, "Bob", None)).contains(&format!("{id} was denied by Ada")));
    node.pass(HOUR);
    assert!(ask(&mut node, spawn(echo("words"))).contains("answer 1 deferred"), "it may be asked again");
    assert!(refused(&mut node, decide(id, true, "Bob", None)).contains(&format!("{id} was denied by Ada")));
    assert!(node.kinds().contains(&"gate.denied-by".to_owned()));
}

#[test]
fn a_deferral_ends_with_its_time_whether_or_not_it_was_approved() {
    let (mut node, _) = strict(&[]);
    ask(&mut node, spawn(echo("words")));
    ask(&mut node, spawn(echo("other")));
    let ids = node.kernel.deferrals().map(|info| info.id).collect::<Vec<_>>();
    ask(&mut node, decide(ids[1], true, "Ada", None));
    node.pass(HOUR - 1);
    assert_eq!(node.kernel.deferrals().count(), 2);
    node.pass(1);
    assert_eq!(node.kernel.deferrals().count(), 0);
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "gate.deferral-expired").count(), 2);
    for id in ids {
        let refused = ask(&mut node, decide(id, true, "Ada", None));
        assert!(refused.contains(&format!("the time of {id} is over")), "{refused}");
    }
    let unknown = ask(&mut node, decide(DeferralId(9_999), true, "Ada", None));
    assert!(unknown.contains("nothing waits as d9999"), "{unknown}");
    assert!(ask(&mut node, spawn(echo("other"))).contains("answer 1 deferred"), "a late approval counts for nothing");
}

#[test]
fn what_waits_and_what_was_approved_outlive_a_crash() {
    let (mut node, _) = strict(&[]);
    ask(&mut node, spawn(echo("words")));
    ask(&mut node, spawn(echo("other")));
    let ids = node.kernel.deferrals().map(|info| info.id).collect::<Vec<_>>();
    ask(&mut node, decide(ids[0], true, "Ada", None));
    let restart = |node: &mut Node| {
        node.crash();
        node.run(Input::Woken)
    };
    restart(&mut node);
    let states = node.kernel.deferrals().map(|info| (info.id, info.state.clone())).collect::<Vec<_>>();
    assert!(
        matches!(&states[..], [(_, DeferralState::Approved(by)), (_, DeferralState::Waiting)] if by.name.as_str() == "Ada")
    );
    assert!(ask(&mut node, spawn(echo("words"))).contains("start words#0.0"));
    restart(&mut node);
    assert_eq!(waits(&node), ids[1], "what was used up stays so");
    let denied = ask(&mut node, decide(ids[0], true, "Ada", None));
    assert!(denied.contains("was approved and has happened"), "{denied}");
    node.now = node.now.after_us(HOUR);
    restart(&mut node);
    assert_eq!(node.kernel.deferrals().count(), 0, "its time went on while nobody ran");
    node.pass(1);
    assert!(node.kinds().contains(&"gate.deferral-expired".to_owned()));
}

#[test]
fn an_approval_is_of_one_thing_asked_by_one_principal() {
    let holds = |agent: &str| granted(agent, &["stop:*"]);
    let (mut node, agents) = strict(&[holds("one"), holds("two"), echo("victim"), echo("bystander")]);
    assert!(ask_as(&mut node, &agents[0], stop("victim")).contains("deferred by rule SOP-J001"));
    let id = waits(&node);
    for syscall in [decide(id, true, "one", None), decide(id, false, "one", Some("mine"))] {
        let denied = ask_as(&mut node, &agents[0], syscall);
        assert_eq!(denied, "answer 1 denied: denied by rule default-closed#4", "an agent is no person");
    }
    ask(&mut node, decide(id, true, "Ada", None));
    assert!(ask_as(&mut node, &agents[1], stop("victim")).contains("answer 1 deferred"), "another agent");
    assert!(ask_as(&mut node, &agents[0], stop("bystander")).contains("answer 1 deferred"), "another victim");
    assert!(ask_as(&mut node, &agents[0], stop("victim")).contains("stop #2.0"));
}

#[test]
fn an_approval_is_used_up_only_when_all_of_it_happens() {
    let (mut node, _) = strict(&[]);
    let spec = granted("words", &["call:echo", "send:echo"]);
    assert!(ask(&mut node, spawn(spec.clone())).contains("answer 1 deferred"));
    let what = node.kernel.deferrals().map(|info| info.deferral.resource.clone()).collect::<Vec<_>>();
    assert_eq!(what, ["words", "call:echo for words", "send:echo for words"], "all of it waits at once");
    let ids = node.kernel.deferrals().map(|info| info.id).collect::<Vec<_>>();
    for id in &ids[..2] {
        ask(&mut node, decide(*id, true, "Ada", None));
        assert!(ask(&mut node, spawn(spec.clone())).contains("answer 1 deferred"));
    }
    assert!(!node.kinds().contains(&"gate.approval-spent".to_owned()));
    ask(&mut node, decide(ids[2], true, "Ada", None));
    assert!(ask(&mut node, spawn(spec)).contains("start words#0.0"));
    assert_eq!(node.kinds().iter().filter(|kind| *kind == "gate.approval-spent").count(), 3);
    let other = granted("other", &["call:echo"]);
    ask(&mut node, spawn(other));
    let what = node.kernel.deferrals().map(|info| info.deferral.resource.clone()).collect::<Vec<_>>();
    assert_eq!(what, ["other", "call:echo for other"], "for somebody else it is something else");
}

#[test]
fn no_agent_takes_all_places_and_what_finds_none_is_denied() {
    let (mut node, agents) = strict(&[granted("greedy", &["spawn:*"])]);
    for number in 0..16 {
        assert!(ask_as(&mut node, &agents[0], spawn(echo(&format!("w{number}")))).contains("answer 1 deferred"));
    }
    let denied = ask_as(&mut node, &agents[0], spawn(echo("w16")));
    assert_eq!(denied, "answer 1 denied: denied by rule GOV-006 too many wait for a person");
    assert!(ask(&mut node, spawn(echo("w16"))).contains("answer 1 deferred"), "others have theirs");
    for number in 0..239 {
        assert!(ask(&mut node, spawn(echo(&format!("o{number}")))).contains("answer 1 deferred"), "{number}");
    }
    let denied = ask(&mut node, spawn(echo("one-more")));
    assert_eq!(denied, "answer 1 denied: denied by rule GOV-006 too many wait for a person");
}

#[test]
fn what_other_machines_want_recorded_waits_as_well() {
    let (mut node, _) = strict(&[]);
    let issued = InviteIssued {
        secret_hash: hash("x", &[]),
        role: Role::Worker,
        uses: 1,
        expires: Timestamp(9),
        certificate_ttl_us: None,
    };
    let given = || Input::FactsGiven {
        ticket: Ticket(1),
        by: Principal::Operator,
        action: Action::Invite { role: Role::Worker },
        facts: vec![Fact::InviteIssued(issued.clone())],
    };
    let told = effects(&node.run(given())).join("; ");
    let id = waits(&node);
    assert_eq!(told, format!("facts-refused 1 deferred by rule GOV-001 until a person approves it, as {id}"));
    assert!(!node.kinds().contains(&"invite.issued".to_owned()));
    ask(&mut node, decide(id, true, "Ada", None));
    assert!(effects(&node.run(given())).join("; ").contains("facts-recorded 1"));
}

#[test]
fn what_rules_warn_of_is_an_event_and_messages_name_the_rule_themselves() {
    let (mut node, _) = strict(&[echo("words")]);
    ask(&mut node, crate::node::message("words", "hi", "routed"));
    let rules = node.disk.records.iter().map(|record| &*record.rule).collect::<Vec<_>>();
    assert_eq!(rules, ["operator-local#1 GOV-007"]);
    assert!(!node.kinds().contains(&"gate.warned".to_owned()));
    ask(&mut node, stop("words"));
    let warned = node.facts().into_iter().find_map(|fact| match fact {
        Fact::Warned(warned) => Some(warned),
        _ => None,
    });
    let warned = warned.expect("it is on the chain");
    assert_eq!((&*warned.action, &*warned.resource), ("stop", "words"));
    assert_eq!(warned.rules, ["SOP-L003", "SOP-L006"]);
}

#[test]
fn another_environment_is_on_the_chain_also_when_it_changed_between_two_runs() {
    let mut node = Node::new("alpha");
    assert!(!node.kinds().contains(&"node.configured".to_owned()), "development is where it begins");
    for (environment, changes) in [(Environment::Staging, 1), (Environment::Staging, 1), (Environment::Development, 2)]
    {
        node.config.environment = environment;
        node.crash();
        node.run(Input::Woken);
        let found = node.facts().into_iter().filter_map(|fact| match fact {
            Fact::Configured(configured) => Some(configured.changes[0].clone()),
            _ => None,
        });
        let found = found.collect::<Vec<_>>();
        assert_eq!(found.len(), changes);
        let last = found.last().expect("one");
        assert_eq!((&*last.key, last.to.clone()), ("environment", environment.to_string()));
    }
}

#[test]
fn nobody_lowers_the_environment_in_passing() {
    let (mut node, _) = strict(&[]);
    let change = |key: &str| weft_protocol::SettingChange { key: key.into(), from: "a".into(), to: "b".into() };
    let given = |action: Action, keys: &[&str]| Input::FactsGiven {
        ticket: Ticket(1),
        by: Principal::Operator,
        action,
        facts: vec![Fact::Configured(weft_protocol::Configured {
            changes: keys.iter().map(|key| change(key)).collect(),
        })],
    };
    let changes = [change("environment")];
    let told = effects(&node.run(given(Action::configure(&changes), &["environment"]))).join("; ");
    assert!(told.contains("deferred by rule GOV-002"), "{told}");
    let log = Action::configure(&[change("log")]);
    let told = effects(&node.run(given(log.clone(), &["environment"]))).join("; ");
    assert!(told.contains("these facts are not what `configure` records"), "{told}");
    let told = effects(&node.run(given(log, &["log"]))).join("; ");
    assert!(told.contains("facts-recorded"), "{told}");
}

#[test]
fn a_subscription_that_stands_waits_for_nobody_when_another_right_is_taken_back() {
    let (mut node, agents) = strict(&[granted("words", &["subscribe:jobs.*", "send:echo"])]);
    let start = weft_kernel::Start::Now;
    let listen = || Syscall::Subscribe { pattern: "jobs.*".parse().expect("a pattern"), start };
    assert!(ask_as(&mut node, &agents[0], listen()).contains("deferred by rule SOP-L005"));
    let id = waits(&node);
    ask(&mut node, decide(id, true, "Ada", None));
    ask_as(&mut node, &agents[0], listen());
    let topics = |node: &Node| node.kernel.processes().iter().map(|process| process.topics.len()).sum::<usize>();
    assert_eq!(topics(&node), 1);
    let held = |node: &Node, right: &str| {
        let grants = node.kernel.grants();
        grants.iter().find(|held| held.grant.spec.to_string() == right).expect("held").grant.id
    };
    let send = held(&node, "send:echo");
    ask(&mut node, Syscall::Revoke { grant: send });
    assert_eq!((topics(&node), node.kernel.deferrals().count()), (1, 0));
    let hear = held(&node, "subscribe:jobs.*");
    ask(&mut node, Syscall::Revoke { grant: hear });
    assert_eq!((topics(&node), node.kernel.deferrals().count()), (0, 0));
}

#[test]
fn what_is_recorded_of_what_somebody_asked_for_names_the_rule() {
    let (mut node, agents) = strict(&[granted("words", &["cron-add:*", "serve:sums"])]);
    ask(&mut node, spawn(echo("other")));
    let id = waits(&node);
    ask(&mut node, decide(id, true, "Ada", None));
    ask(&mut node, spawn(echo("other")));
    let registration = weft_kernel::Registration {
        service: "sums".parse().expect("a name"),
        agent: None,
        contract: None,
        audit_level: weft_protocol::AuditLevel::GateOnly,
    };
    ask_as(&mut node, &agents[0], Syscall::RegisterService(Box::new(registration)));
    ask(&mut node, Syscall::ListDeadLetters);
    ask(&mut node, Syscall::Shutdown);
    let events = node.disk.groups.iter().flat_map(|group| &group.events);
    let events = events.map(|bytes| weft_protocol::Event::decode(bytes).expect("an event")).collect::<Vec<_>>();
    let grant = node_grant(&events);
    let named = |kind: &str| {
        let found = events.iter().rfind(|event| event.kind == kind).unwrap_or_else(|| panic!("no {kind}"));
        (found.source.clone(), found.rule.clone().unwrap_or_default())
    };
    let operator = |rule: &str| ("operator".to_owned(), rule.to_owned());
    let intents = events.iter().filter(|event| event.kind == "effect.intent" && event.source == "operator");
    let rules = intents.map(|event| event.rule.clone().unwrap_or_default()).collect::<Vec<_>>();
    assert!(rules.contains(&format!("operator-local#1 approved {id}")), "{rules:?}");
    assert_eq!(named("gate.approved"), operator("operator-local#1 SOP-J002"));
    assert_eq!(named("service.registered"), ("agent/words".to_owned(), format!("grant#3 {grant} GOV-004 SOP-L004")));
    let unasked = events.iter().filter(|event| event.source == "kernel");
    assert!(unasked.clone().count() > 5 && unasked.into_iter().all(|event| event.rule.is_none()));
}

/// The grant to serve.
fn node_grant(events: &[weft_protocol::Event]) -> weft_protocol::GrantId {
    let facts = events.iter().map(|event| Fact::decode(&event.kind, &event.payload).expect("a fact"));
    let mut grants = facts.filter_map(|fact| match fact {
        Fact::Intent(effect) => match *effect {
            weft_protocol::Effect::Spawn { grants, .. } => grants.get(1).map(|grant| grant.id),
            _ => None,
        },
        _ => None,
    });
    grants.next().expect("it holds two")
}

#[test]
fn a_grant_is_not_needed_to_see_why() {
    let (mut node, agents) = strict(&[granted("asker", &["stop:echo"]), echo("echo")]);
    let by = weft_protocol::Sender { node: node.id(), principal: agents[0].clone() };
    let action = Action::named("stop", "echo", None).expect("an action");
    let kinds = node.kinds();
    let what = weft_kernel::Hypothesis { by, action, resource: "echo".to_owned(), environment: None };
    let explained = node.kernel.explain(&what);
    let weft_kernel::Decision::Defer { rule, grant, .. } = &explained.decision else { panic!("{explained:?}") };
    assert_eq!(
        (&**rule, grant.as_ref().map(|grant: &Grant| grant.spec.to_string())),
        ("SOP-J001", Some("stop:echo".into()))
    );
    let softer = weft_kernel::Hypothesis { environment: Some(Environment::Development), ..what };
    assert!(matches!(node.kernel.explain(&softer).decision, weft_kernel::Decision::Permit { .. }));
    assert_eq!(node.kinds(), kinds);
    assert!(effects(&node.run(Input::Woken)).is_empty(), "nothing changed");
}
