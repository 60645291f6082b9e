//! What the gates decide, as a table that can be read: who, what, on what, where, and by which rule.

use weft_kernel::{Action, Decision, Gate as _, Gates, RaisedEffect, Request, genesis_rules};
use weft_protocol::{
    Environment, Grant, GrantId, GrantTerms, NodeId, Principal, ProcessId, RuleSet, Sender, Severity, Timestamp,
    encode, hash,
};

const OWN: NodeId = NodeId::from_bytes([1; 32]);
const OTHER: NodeId = NodeId::from_bytes([2; 32]);

/// Every line of the table: the words before `=` are a case, those after it what is decided.
const TABLE: &str = include_str!("decisions.txt");

fn gates(environment: Environment) -> Gates {
    let rules = genesis_rules();
    let mut gates = Gates::new(OWN, &rules, &hash("rules", &[&rules])).expect("the genesis rules");
    gates.configure(environment, &[]);
    gates
}

/// `operator` or `words`, with `@admin` from another node, with `[call:echo]` what it holds.
struct Who {
    by: Sender,
    role: Option<weft_protocol::Role>,
    grants: Vec<Grant>,
}

fn who(text: &str) -> Who {
    let (text, held) = text.split_once('[').map_or((text, None), |(text, held)| (text, held.strip_suffix(']')));
    let (name, role) = text.split_once('@').map_or((text, None), |(name, role)| (name, Some(role)));
    let principal = match name {
        "operator" => Principal::Operator,
        name => {
            Principal::Agent { agent: name.parse().expect("a name"), process: ProcessId { index: 1, generation: 0 } }
        }
    };
    let node = if role.is_some() { OTHER } else { OWN };
    let issuer = role.map(|_| OWN);
    let terms = |spec: &str| GrantTerms { spec: spec.parse().expect("a grant"), expires: None, uses: None };
    let grants = held.into_iter().map(|spec| Grant { issuer, ..Grant::root(GrantId(1), terms(spec)) }).collect();
    Who { by: Sender { node, principal }, role: role.map(|role| role.parse().expect("a role")), grants }
}

fn decide(gates: &Gates, agent: &str, action: &str, resource: &str) -> Decision {
    let Who { by, role, grants } = who(agent);
    let resource = resource.replace('_', " ");
    let action = Action::named(action, &resource, role).unwrap_or_else(|error| panic!("{agent} {action}: {error}"));
    let resources = [resource];
    let grants = grants.iter().collect::<Vec<_>>();
    let request = Request { by: &by, action: &action, resources: &resources, grants: &grants, now: Timestamp(5) };
    let explained = gates.explain(&request);
    assert_eq!(explained.decision, gates.decide(&request), "what explains is what decides");
    if let Decision::Defer { rule, .. } = &explained.decision {
        let first =
            explained.applying.iter().find(|one| one.severity == Severity::Blocking).expect("a rule that blocks");
        assert_eq!(*first.id, **rule, "the first that blocks");
    }
    explained.decision
}

fn show(decision: &Decision) -> String {
    match decision {
        Decision::Permit { rule, notes, .. } => {
            format!("permit {rule}{}", notes.as_ref().map_or("", |notes| notes.text()))
        }
        Decision::Deny { rule } => format!("deny {rule}"),
        Decision::Defer { rule, .. } => format!("defer {rule}"),
    }
}

#[test]
fn the_table_of_decisions() {
    let mut found = String::new();
    let mut cases = 0;
    for line in TABLE.lines() {
        match line.split_once(" = ") {
            None => found.push_str(line),
            Some((case, _)) => {
                let words = case.split_whitespace().collect::<Vec<_>>();
                let [agent, action, resource, environment] = words[..] else { panic!("four words: {line}") };
                let gates = gates(environment.parse().expect(line));
                found.push_str(&format!("{case} = {}", show(&decide(&gates, agent, action, resource))));
                cases += 1;
            }
        }
        found.push('\n');
    }
    assert!(cases >= 60, "{cases} cases");
    assert!(found == TABLE, "the table says otherwise; it is now:\n{found}");
}

#[test]
fn each_genesis_rule_decides_or_is_named_somewhere_in_the_table() {
    let rules = RuleSet::decode(&genesis_rules()).expect("rules");
    assert_eq!((rules.version, rules.capability.len(), rules.rules.len()), (1, 4, 22));
    let named = |id: &str| TABLE.lines().any(|line| line.split_once(" = ").is_some_and(|(_, what)| what.contains(id)));
    let ids = rules.capability.iter().map(String::as_str).chain(rules.rules.iter().map(|rule| rule.id.as_str()));
    let unnamed = ids.filter(|id| !named(id)).collect::<Vec<_>>();
    assert_eq!(unnamed, Vec::<&str>::new());
}

#[test]
fn the_bytes_of_the_genesis_rules_are_the_recorded_ones() {
    let recorded = include_str!("../../../protocol/golden/genesis-rules.v1.hex");
    let rules = genesis_rules();
    let written: String = rules.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(recorded.trim(), written, "another genesis: every cluster that is founded has another id");
    assert_eq!(encode(&RuleSet::decode(&rules).expect("rules")), rules);
}

#[test]
fn in_development_nothing_that_roles_and_grants_permit_waits_for_anybody() {
    let gates = gates(Environment::Development);
    let mut seen = 0;
    for line in TABLE.lines().filter_map(|line| line.split_once(" = ")) {
        let words = line.0.split_whitespace().collect::<Vec<_>>();
        let decision = show(&decide(&gates, words[0], words[1], words[2]));
        let capability = ["operator-local#1", "member-role#2", "grant#3", "default-closed#4"];
        assert!(capability.iter().any(|rule| decision.ends_with(rule)), "{}: {decision}", line.0);
        seen += 1;
    }
    assert!(seen >= 60);
}

#[test]
fn an_operator_may_weigh_an_action_heavier_and_never_lighter() {
    let raised = |text: &str| text.parse::<RaisedEffect>().expect(text);
    let mut gates = gates(Environment::Development);
    assert_eq!(show(&decide(&gates, "operator", "stop", "echo")), "permit operator-local#1");
    gates.configure(Environment::Development, &[raised("stop.risk=1"), raised("stop.cost=0.4")]);
    assert_eq!(show(&decide(&gates, "operator", "stop", "echo")), "defer GOV-001");
    gates.configure(Environment::Production, &[raised("invite.risk=0"), raised("invite.security=0")]);
    assert_eq!(show(&decide(&gates, "operator", "invite", "worker")), "defer GOV-001", "less counts for nothing");
    for text in ["stop", "stop.risk", "stop.risk=2", "fly.risk=1", "stop.Risk=1", "stop.risk=0.1234", ""] {
        assert!(text.parse::<RaisedEffect>().is_err(), "{text}");
    }
}
