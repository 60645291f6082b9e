//! Rules that change: by more than half of the admins, in one branch, the same on every member whatever comes first.

use weft_kernel::{AdminTerm, Answer, AskId, Input, Output, Syscall};
use weft_protocol::{
    Amendment, Branch, Digest, Endorsement, Fact, Hlc, Matcher, NodeId, Pattern, Principal, Rule, RuleChange, Severity,
    Timestamp,
};

use crate::node::{Node, echo, effects};

pub(crate) const OTHER: NodeId = NodeId::from_bytes([2; 32]);
const THIRD: NodeId = NodeId::from_bytes([3; 32]);
const FOURTH: NodeId = NodeId::from_bytes([4; 32]);

/// These are admins since ever.
pub(crate) fn admins(nodes: &[NodeId]) -> Input {
    let term = |node: &NodeId| AdminTerm { node: *node, since: Timestamp(1), until: Timestamp(u64::MAX) };
    Input::AdminsKnown { admins: nodes.iter().map(term).collect() }
}

pub(crate) fn retire(rule: &str) -> RuleChange {
    RuleChange::Retire(rule.parse().expect("a rule"))
}

fn said(node: NodeId, hlc: Hlc, fact: Fact) -> Input {
    Input::RulesSaid { node, hlc, fact: Box::new(fact) }
}

fn proposal(node: NodeId, hlc: Hlc, version: u32, branch: Branch, change: RuleChange) -> (Input, Digest) {
    let amendment = Amendment { version, branch, change, by: Principal::Operator };
    let digest = amendment.digest(node);
    (said(node, hlc, Fact::Amendment(Box::new(amendment))), digest)
}

fn endorsement(node: NodeId, hlc: Hlc, version: u32, amendment: Digest) -> Input {
    said(node, hlc, Fact::Endorsed(Endorsement { amendment, version, by: Principal::Operator }))
}

fn at(node: &Node, second: u64) -> Hlc {
    Hlc::from_wall(node.now.after_us(second * 1_000_000))
}

/// What another admin proposes.
pub(crate) fn proposed_elsewhere(node: &Node) -> (Input, Digest) {
    proposal(OTHER, at(node, 0), 2, Branch::Judicial, retire("GOV-007"))
}

/// No agent may start any agent.
fn no_spawn(id: &str, branch: Branch) -> Rule {
    let patterns = |text: &str| vec![Pattern::try_from(text.to_owned()).expect("a pattern")];
    Rule {
        id: id.parse().expect("a rule"),
        description: "nothing starts".to_owned(),
        branch,
        severity: Severity::Critical,
        when: vec![Matcher::Action(patterns("spawn")), Matcher::Operator],
    }
}

fn version(node: &Node) -> u32 {
    node.kernel.governance().rules().version
}

fn ask(node: &mut Node, syscall: Syscall) -> Vec<Output> {
    let input = node.asked(1, syscall);
    node.run(input)
}

fn amend(node: &mut Node, branch: Branch, change: RuleChange) -> String {
    let outputs = ask(node, Syscall::Amend { branch, change: Box::new(change) });
    let answer = outputs.iter().find_map(|output| match output {
        Output::Answer { ask: AskId(1), answer } => Some(answer.clone()),
        _ => None,
    });
    match answer {
        Some(Ok(Answer::Amended { state, version })) => {
            format!("{} of {}, version {version}", state.support.len(), state.admins)
        }
        Some(Err(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_only_admin_amends_alone_and_the_new_rule_counts_at_once_and_after_a_crash() {
    let mut node = Node::new("alpha");
    node.run(admins(&[node.id()]));
    let spawn = || Syscall::Spawn { spec: Box::new(echo("words")) };
    assert_eq!(
        amend(&mut node, Branch::Executive, RuleChange::Add(no_spawn("OWN-1", Branch::Executive))),
        "1 of 1, version 2"
    );
    assert_eq!(effects(&ask(&mut node, spawn())), ["answer 1 denied: denied by rule OWN-1"]);
    node.crash();
    node.run(Input::Woken);
    node.run(admins(&[node.id()]));
    assert_eq!(version(&node), 2);
    assert_eq!(effects(&ask(&mut node, spawn())), ["answer 1 denied: denied by rule OWN-1"]);
    assert_eq!(amend(&mut node, Branch::Executive, retire("OWN-1")), "1 of 1, version 3");
    assert!(effects(&ask(&mut node, spawn())).join(" ").contains("start words"), "retired");
}

#[test]
fn more_than_half_of_the_admins_must_want_it() {
    let mut node = Node::new("alpha");
    node.run(admins(&[node.id(), OTHER, THIRD, FOURTH]));
    assert_eq!(amend(&mut node, Branch::Judicial, retire("GOV-007")), "1 of 4, version 1");
    let digest = node.kernel.amendments()[0].proposal.digest;
    let hlc = at(&node, 1);
    node.run(endorsement(OTHER, hlc, 2, digest));
    assert_eq!(version(&node), 1, "two of four are not more than half");
    node.run(endorsement(OTHER, hlc, 2, digest));
    node.run(endorsement(NodeId::from_bytes([9; 32]), hlc, 2, digest));
    assert_eq!(version(&node), 1, "the same twice, and who is no admin");
    node.run(endorsement(THIRD, hlc, 2, digest));
    assert_eq!(version(&node), 2);
    assert!(node.kernel.governance().rules().rule(&"GOV-007".parse().expect("a rule")).is_none());
}

#[test]
fn whatever_comes_first_the_same_rules_are_in_force() {
    let base = Node::new("alpha");
    let (one, first) = proposal(OTHER, at(&base, 1), 2, Branch::Judicial, retire("GOV-007"));
    let (two, second) = proposal(THIRD, at(&base, 2), 2, Branch::Executive, retire("GOV-004"));
    let (three, third) = proposal(THIRD, at(&base, 9), 3, Branch::Executive, retire("SOP-E001"));
    let inputs = [
        admins(&[OTHER, THIRD, FOURTH]),
        one,
        two,
        three,
        endorsement(FOURTH, at(&base, 3), 2, second),
        // Both have a majority then; the other one had it first.
        endorsement(FOURTH, at(&base, 4), 2, first),
        endorsement(OTHER, at(&base, 10), 3, third),
    ];
    let mut found = std::collections::BTreeSet::new();
    for turn in 0..inputs.len() {
        for reverse in [false, true] {
            let mut order = inputs.to_vec();
            order.rotate_left(turn);
            if reverse {
                order.reverse();
            }
            let mut node = Node::new("alpha");
            order.into_iter().for_each(|input| drop(node.run(input)));
            found.insert((version(&node), node.kernel.governance().rules_hash()));
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found.first().map(|(version, _)| *version), Some(3));
}

#[test]
fn two_admins_with_a_proposal_each_can_agree() {
    let mut node = Node::new("alpha");
    node.run(admins(&[node.id(), OTHER]));
    assert_eq!(amend(&mut node, Branch::Judicial, retire("GOV-007")), "1 of 2, version 1");
    let hlc = at(&node, 1);
    let (input, theirs) = proposal(OTHER, hlc, 2, Branch::Executive, retire("GOV-004"));
    node.run(input);
    assert_eq!(version(&node), 1);
    ask(&mut node, Syscall::Endorse { amendment: theirs });
    assert_eq!(version(&node), 2);
    assert!(node.kernel.governance().rules().rule(&"GOV-007".parse().expect("a rule")).is_some());
}

#[test]
fn no_branch_changes_the_rules_of_another_and_nobody_those_about_roles_and_grants() {
    let mut node = Node::new("alpha");
    node.run(admins(&[node.id()]));
    let mut refused = |branch, change| amend(&mut node, branch, change);
    let foreign = "GOV-001 is of the judicial branch, which alone changes it, not the executive";
    assert_eq!(refused(Branch::Executive, retire("GOV-001")), foreign);
    let mine = RuleChange::Replace(no_spawn("GOV-001", Branch::Executive));
    assert_eq!(refused(Branch::Executive, mine), foreign);
    let theirs = "OWN-1 is of the executive branch, which alone changes it, not the judicial";
    assert_eq!(refused(Branch::Judicial, RuleChange::Add(no_spawn("OWN-1", Branch::Executive))), theirs);
    let fixed = "default-closed#4 is about roles and grants, and those rules are never changed";
    assert_eq!(refused(Branch::Judicial, retire("default-closed#4")), fixed);
    assert_eq!(
        refused(Branch::Judicial, RuleChange::Add(no_spawn("grant#3", Branch::Judicial))),
        fixed.replace("default-closed#4", "grant#3")
    );
    assert_eq!(refused(Branch::Judicial, retire("GOV-999")), "there is no rule GOV-999");
    assert_eq!(
        refused(Branch::Judicial, RuleChange::Add(no_spawn("GOV-001", Branch::Judicial))),
        "there is a rule GOV-001 already: replace it"
    );
    let empty = Rule { when: Vec::new(), ..no_spawn("OWN-1", Branch::Judicial) };
    assert_eq!(refused(Branch::Judicial, RuleChange::Add(empty)), "`OWN-1` is not a rule with 1 to 8 conditions");
    // What another node recorded all the same counts for nothing.
    node.run(admins(&[OTHER]));
    let hlc = at(&node, 1);
    node.run(proposal(OTHER, hlc, 2, Branch::Executive, retire("GOV-001")).0);
    assert_eq!(version(&node), 1);
    assert!(node.kernel.amendments()[0].refused.is_some());
    assert!(!node.kinds().contains(&"governance.amendment".to_owned()));
}

#[test]
fn who_is_no_admin_says_nothing_about_rules() {
    let mut node = Node::new("alpha");
    node.run(admins(&[OTHER]));
    assert_eq!(amend(&mut node, Branch::Judicial, retire("GOV-007")), "denied by rule member-role#2");
    let hlc = at(&node, 1);
    let (input, digest) = proposal(OTHER, hlc, 2, Branch::Judicial, retire("GOV-007"));
    node.run(admins(&[OTHER, THIRD]));
    node.run(input);
    assert_eq!(
        effects(&ask(&mut node, Syscall::Endorse { amendment: digest })),
        ["answer 1 denied: denied by rule member-role#2"]
    );
    node.run(endorsement(node.id(), hlc, 2, digest));
    assert_eq!(version(&node), 1);
}

#[test]
fn an_admin_of_later_counts_neither_for_nor_against_what_was_proposed_before() {
    let mut node = Node::new("alpha");
    let late = AdminTerm { node: THIRD, since: node.now.after_us(5_000_000), until: Timestamp(u64::MAX) };
    let early = AdminTerm { node: OTHER, since: Timestamp(1), until: Timestamp(u64::MAX) };
    node.run(Input::AdminsKnown { admins: vec![early, late] });
    let hlc = at(&node, 1);
    node.run(proposal(OTHER, hlc, 2, Branch::Judicial, retire("GOV-007")).0);
    assert_eq!(version(&node), 2, "one of one, at that time");
    let hlc = at(&node, 9);
    node.run(proposal(OTHER, hlc, 3, Branch::Judicial, retire("GOV-001")).0);
    assert_eq!(version(&node), 2, "one of two");
}
