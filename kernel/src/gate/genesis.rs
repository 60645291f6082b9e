//! The 22 governance rules that a new cluster is founded on, each with the conditions under which it applies.
//!
//! In development none of them keeps anybody from anything: what they ask for begins where people depend on it. What takes a
//! node down, tells the truth of what happened, or carries out what a person has decided already is never deferred.

use weft_protocol::{Branch, Dimension, Environment, LeastEffect, Matcher, Pattern, Role, Rule, Severity, Thousandths};

use Branch::{Executive, Judicial, Legislative};
use Severity::{Advisory, Blocking, Warning};

/// What carries out a decision that was made, or records what has happened.
const CARRIED_OUT: [&str; 6] = ["admit", "shutdown", "spawn-configured", "record-*", "approve", "deny-deferred"];

/// The rules, in the order in which they are tried.
pub(super) fn rules() -> Vec<Rule> {
    let strict = || Matcher::Environment(vec![Environment::Staging, Environment::Production]);
    let production = || Matcher::Environment(vec![Environment::Production]);
    let over = || Matcher::OverThreshold;
    vec![
        rule(
            "GOV-001",
            Judicial,
            Blocking,
            "an operation of high risk needs a second look by a person",
            vec![except(&[&CARRIED_OUT[..], &["spawn"]].concat()), effect("risk", 500), over()],
        ),
        rule(
            "GOV-002",
            Judicial,
            Blocking,
            "what changes who may do what needs a person where people depend on it",
            vec![except(&CARRIED_OUT), effect("security", 500), over()],
        ),
        rule(
            "GOV-003",
            Legislative,
            Warning,
            "what reads the messages of others is flagged",
            vec![effect("privacy", 300), strict()],
        ),
        rule(
            "GOV-004",
            Executive,
            Advisory,
            "what was not there before is noted",
            vec![effect("novelty", 200), strict()],
        ),
        rule(
            "GOV-005",
            Legislative,
            Warning,
            "what stays on disk after whoever wrote it is flagged",
            vec![action(&["cron-add", "configure", "fs-*"]), production()],
        ),
        rule(
            "GOV-006",
            Executive,
            Blocking,
            "an agent starts in production when a person has cleared it",
            vec![action(&["spawn"]), over()],
        ),
        rule(
            "GOV-007",
            Judicial,
            Advisory,
            "in production each message names this rule in its record",
            vec![action(&["send", "call", "receive", "deliver", "publish", "receive-publication"]), production()],
        ),
        rule(
            "SOP-L001",
            Legislative,
            Blocking,
            "another admin is a decision of great impact: a person approves it",
            vec![action(&["invite"]), Matcher::Resource(patterns(&["admin"])), strict()],
        ),
        rule(
            "SOP-L002",
            Legislative,
            Warning,
            "a change of settings is flagged, to be compared with their versions",
            vec![action(&["configure"]), strict()],
        ),
        rule(
            "SOP-L003",
            Legislative,
            Warning,
            "what takes something from somebody is flagged for review",
            vec![effect("fairness", 200), strict()],
        ),
        rule(
            "SOP-L004",
            Legislative,
            Advisory,
            "what is offered to others, or no longer, is noted as a release",
            vec![action(&["register-service", "unregister-service"]), strict()],
        ),
        rule(
            "SOP-L005",
            Legislative,
            Blocking,
            "hearing what was not addressed to one needs a person in production",
            vec![effect("privacy", 400), over()],
        ),
        rule(
            "SOP-L006",
            Legislative,
            Warning,
            "a risk above the threshold is entered in the register",
            vec![effect("risk", 300), over()],
        ),
        rule(
            "SOP-E001",
            Executive,
            Warning,
            "an agent that starts agents is flagged",
            vec![action(&["spawn"]), Matcher::Agent(patterns(&["*"])), strict()],
        ),
        rule(
            "SOP-E002",
            Executive,
            Blocking,
            "in production nothing is ended or replaced from another node",
            vec![
                action(&["spawn", "stop", "restart", "suspend", "resume"]),
                Matcher::Role(vec![Role::Admin, Role::Worker, Role::Observer]),
                production(),
            ],
        ),
        rule(
            "SOP-E003",
            Executive,
            Warning,
            "what is done about an incident is flagged",
            vec![action(&["suspend", "restart", "drop-dead-letter", "record-fork", "record-repair"]), strict()],
        ),
        rule(
            "SOP-E004",
            Executive,
            Advisory,
            "what is taken out of service is noted",
            vec![action(&["stop", "shutdown", "unregister-service"]), strict()],
        ),
        rule(
            "SOP-E005",
            Executive,
            Advisory,
            "what comes in from elsewhere is noted",
            vec![action(&["admit", "invite"]), strict()],
        ),
        rule(
            "SOP-J001",
            Judicial,
            Blocking,
            "in production no agent takes from another without a person",
            vec![Matcher::Agent(patterns(&["*"])), effect("fairness", 200), over()],
        ),
        rule(
            "SOP-J002",
            Judicial,
            Warning,
            "a decision of a person is kept with who made it and why",
            vec![action(&["approve", "deny-deferred"]), strict()],
        ),
        rule(
            "SOP-J003",
            Judicial,
            Warning,
            "what makes a node drift from how it was set up is flagged",
            vec![effect("novelty", 300), over()],
        ),
        rule("SOP-J004", Judicial, Advisory, "what is above the threshold is noted", vec![over()]),
    ]
}

fn rule(id: &str, branch: Branch, severity: Severity, description: &str, when: Vec<Matcher>) -> Rule {
    let id = id.parse().expect("BUG: the name of a rule");
    Rule { id, description: description.to_owned(), branch, severity, when }
}

fn action(any: &[&str]) -> Matcher {
    Matcher::Action(patterns(any))
}

fn except(none: &[&str]) -> Matcher {
    Matcher::ActionExcept(patterns(none))
}

fn effect(dimension: &str, at_least: u16) -> Matcher {
    let dimension: Dimension = dimension.parse().expect("BUG: a dimension");
    Matcher::Effect(LeastEffect { dimension, at_least: Thousandths(at_least) })
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::try_from((*text).to_owned()).expect("BUG: a pattern")).collect()
}
