//! The gate of governance: what the cluster's rules ask of an action that roles and grants permit.
//!
//! Which rules can apply to an action of one kind is known before anybody asks: it depends on the rules, the environment and
//! the effects alone. So there is a row for each kind, from here and from another node, and where no rule looks at who acts or
//! on what, the row is the answer: a message costs a look into a table.

use std::sync::Arc;

use weft_protocol::{
    EffectVector, Environment, Matcher, Pattern, Principal, Rule, RuleSet, Severity, Thousandths, encode, hash,
};

use super::effects::{RaisedEffect, effects};
use super::{Notes, Request};
use crate::action::{Action, ActionKind};

/// Decides by the rules in force, in one environment.
#[derive(Debug, Clone)]
pub struct GovernanceGate {
    rules: RuleSet,
    environment: Environment,
    raised: Vec<RaisedEffect>,
    /// Two rows for each kind of action: from here, from another node.
    rows: Vec<[Row; 2]>,
}

/// What governance says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing against it; some rules may be named beside.
    Permit(Option<Arc<Notes>>),
    /// A person must approve it.
    Defer(Arc<str>),
    /// No.
    Deny(Arc<str>),
}

/// What is known of one kind of action before anybody asks.
#[derive(Debug, Clone, Default)]
struct Row {
    effects: EffectVector,
    magnitude: Thousandths,
    /// The places of the rules that can apply.
    candidates: Vec<usize>,
    /// The verdict, where it depends on nothing else.
    verdict: Option<Verdict>,
}

impl GovernanceGate {
    /// The gate of these rules, which were checked, in the strictest environment until another one is named.
    pub(super) fn new(rules: RuleSet) -> Self {
        let mut gate = Self { rules, environment: Environment::Production, raised: Vec::new(), rows: Vec::new() };
        gate.weigh_kinds();
        gate
    }

    /// From now on it decides in this environment, with these effects raised.
    pub(super) fn configure(&mut self, environment: Environment, raised: &[RaisedEffect]) {
        if (self.environment, &*self.raised) != (environment, raised) {
            self.environment = environment;
            self.raised = raised.to_vec();
            self.weigh_kinds();
        }
    }

    /// From now on it decides by these rules.
    pub(super) fn amend(&mut self, rules: RuleSet) {
        self.rules = rules;
        self.weigh_kinds();
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Where it decides.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// Above this magnitude an action is a large one.
    #[must_use]
    pub const fn threshold(&self) -> Thousandths {
        self.rules.thresholds.of(self.environment)
    }

    fn weigh_kinds(&mut self) {
        let rows = ActionKind::ALL.iter().map(|kind| [false, true].map(|abroad| self.weigh(*kind, abroad)));
        self.rows = rows.collect();
    }

    fn weigh(&self, kind: ActionKind, abroad: bool) -> Row {
        let mut effects = effects(kind, abroad);
        for raised in self.raised.iter().filter(|raised| raised.action.name() == kind.name()) {
            effects.raise(raised.dimension.clone(), raised.least);
        }
        let magnitude = effects.magnitude();
        let mut row = Row { effects, magnitude, candidates: Vec::new(), verdict: None };
        let mut is_settled = true;
        for (place, rule) in self.rules.rules.iter().enumerate() {
            let known = rule.when.iter().map(|matcher| self.before(matcher, kind, abroad, &row)).collect::<Vec<_>>();
            if !known.contains(&Some(false)) {
                row.candidates.push(place);
                is_settled &= !known.contains(&None);
            }
        }
        if is_settled {
            row.verdict = Some(self.conclude(abroad, row.candidates.iter().map(|place| &self.rules.rules[*place])));
        }
        row
    }

    /// Whether a condition holds, where that is known before anybody asks.
    fn before(&self, matcher: &Matcher, kind: ActionKind, abroad: bool, row: &Row) -> Option<bool> {
        match matcher {
            Matcher::Action(any) => Some(covers(any, kind.name())),
            Matcher::ActionExcept(none) => Some(!covers(none, kind.name())),
            Matcher::Environment(any) => Some(any.contains(&self.environment)),
            Matcher::Effect(least) => Some(row.effects.part(&least.dimension) >= least.at_least),
            Matcher::OverThreshold => Some(row.magnitude > self.threshold()),
            Matcher::Role(_) if !abroad => Some(false),
            Matcher::Agent(_) | Matcher::Operator | Matcher::Role(_) | Matcher::Resource(_) => None,
        }
    }

    fn row(&self, action: &Action) -> &Row {
        &self.rows[action.kind() as usize][usize::from(action.role().is_some())]
    }

    /// What the rules say of a request that roles and grants permit.
    pub(super) fn decide(&self, request: &Request<'_>) -> Verdict {
        let row = self.row(request.action);
        match &row.verdict {
            Some(verdict) => verdict.clone(),
            None => self.conclude(request.action.role().is_some(), self.applying(request)),
        }
    }

    /// The rules that apply to a request.
    pub(super) fn applying<'a>(&'a self, request: &'a Request<'_>) -> impl Iterator<Item = &'a Rule> {
        let (row, kind, role) = (self.row(request.action), request.action.kind(), request.action.role());
        let rules = row.candidates.iter().map(|place| &self.rules.rules[*place]);
        rules.filter(move |rule| {
            rule.when.iter().all(|matcher| match self.before(matcher, kind, role.is_some(), row) {
                Some(known) => known,
                None => match matcher {
                    Matcher::Agent(any) => match &request.by.principal {
                        Principal::Agent { agent, .. } => covers(any, agent.as_str()),
                        Principal::Operator => false,
                    },
                    Matcher::Operator => request.by.principal == Principal::Operator,
                    Matcher::Role(any) => role.is_some_and(|role| any.contains(&role)),
                    Matcher::Resource(any) => request.resources.iter().any(|resource| covers(any, resource)),
                    Matcher::Action(_)
                    | Matcher::ActionExcept(_)
                    | Matcher::Environment(_)
                    | Matcher::Effect(_)
                    | Matcher::OverThreshold => false,
                },
            })
        })
    }

    /// The greatest severity decides, of several the first rule. What nobody here was asked for nobody here approves.
    fn conclude<'a>(&self, abroad: bool, applying: impl Iterator<Item = &'a Rule>) -> Verdict {
        let mut notes = Notes::default();
        let mut blocking: Option<&Rule> = None;
        for rule in applying {
            match rule.severity {
                Severity::Advisory => notes.noted.push(rule.id.as_str().into()),
                Severity::Warning => notes.warned.push(rule.id.as_str().into()),
                Severity::Blocking => blocking = blocking.or(Some(rule)),
                Severity::Critical => return Verdict::Deny(rule.id.as_str().into()),
            }
        }
        match blocking {
            Some(rule) if abroad => Verdict::Deny(rule.id.as_str().into()),
            Some(rule) => Verdict::Defer(rule.id.as_str().into()),
            None if notes.is_empty() => Verdict::Permit(None),
            None => Verdict::Permit(Some(Arc::new(notes.with_text()))),
        }
    }

    /// The effects of an action and their magnitude, as they are configured here.
    #[must_use]
    pub fn weight(&self, action: &Action) -> (&EffectVector, Thousandths) {
        let row = self.row(action);
        (&row.effects, row.magnitude)
    }

    /// What two nodes compare to see whether the same rules are in force.
    #[must_use]
    pub fn rules_hash(&self) -> weft_protocol::Digest {
        hash("rules", &[&encode(&self.rules)])
    }
}

fn covers(any: &[Pattern], text: &str) -> bool {
    any.iter().any(|pattern| pattern.covers(text))
}
