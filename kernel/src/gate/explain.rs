//! Which rule decides and why, told without changing anything: the gates are asked as they always are.

#![expect(clippy::wildcard_enum_match_arm, reason = "an action that is not to be completed is asked about as it is")]

use std::borrow::Cow;

use weft_protocol::{Branch, EffectVector, Environment, NodeRef, Principal, Sender, Severity, Target, Thousandths};

use super::{Decision, Gate as _, Gates, Request};
use crate::action::Action;
use crate::kernel::Kernel;

/// One governance rule that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Whose it is.
    pub branch: Branch,
    /// What it does.
    pub severity: Severity,
    /// Its conditions in words; all of them hold.
    pub conditions: String,
}

/// Everything about one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What is decided.
    pub decision: Decision,
    /// The governance rules that apply, in their order. Where roles and grants say no they are not asked, and this is what
    /// they would say.
    pub applying: Vec<RuleMatch>,
    /// What the action does.
    pub effects: EffectVector,
    /// How much that is together.
    pub magnitude: Thousandths,
    /// Where it is decided.
    pub environment: Environment,
    /// Above it the magnitude is large there.
    pub threshold: Thousandths,
    /// Which version of the rules is in force.
    pub rules_version: u32,
}

impl Gates {
    /// Decides, and says why.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        let (effects, magnitude) = self.governance.weight(request.action);
        let applying = self.governance.applying(request).map(|rule| RuleMatch {
            id: rule.id.to_string(),
            description: rule.description.clone(),
            branch: rule.branch,
            severity: rule.severity,
            conditions: rule.conditions(),
        });
        Explanation {
            decision: self.decide(request),
            applying: applying.collect(),
            effects: effects.clone(),
            magnitude,
            environment: self.governance.environment(),
            threshold: self.governance.threshold(),
            rules_version: self.governance.rules().version,
        }
    }
}

/// A question to the gates that nobody acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hypothesis {
    /// Who would act.
    pub by: Sender,
    /// What.
    pub action: Action,
    /// On what, as it is written.
    pub resource: String,
    /// Where; as this node is configured, without.
    pub environment: Option<Environment>,
}

impl Kernel {
    /// What the gates would say of this and why; nothing changes. An agent of this node has what its present life holds, one of
    /// another node nothing.
    #[must_use]
    pub fn explain(&self, what: &Hypothesis) -> Explanation {
        let Hypothesis { by, action, resource, environment } = what;
        let own = by.node == self.identity.chain.node;
        let here = |node: &NodeRef| [&self.own_names.0, &self.own_names.1].contains(&&node.to_string());
        let resources = match resource.parse::<Target>() {
            Ok(Target { local, node }) if node.as_ref().is_none_or(here) => {
                let mut resources = self.resources_of(&local);
                resources.retain(|one| one != resource);
                resources.insert(0, resource.clone());
                resources
            }
            Ok(Target { .. }) | Err(_) => vec![resource.clone()],
        };
        let held = match &by.principal {
            Principal::Agent { process, .. } if own => {
                let life = self.processes.living(*process);
                life.map(|life| life.grants.to_vec()).unwrap_or_default()
            }
            Principal::Operator | Principal::Agent { .. } => Vec::new(),
        };
        let standing = held.iter().filter(|grant| self.ledger.void(by.node, grant).is_none()).collect::<Vec<_>>();
        let action = match action {
            Action::Revoke { grant, .. } => {
                Cow::Owned(Action::Revoke { grant: *grant, parents: self.parents_of(*grant) })
            }
            action => Cow::Borrowed(action),
        };
        let request = Request { by, action: &action, resources: &resources, grants: &standing, now: self.now };
        match environment {
            None => self.gates.explain(&request),
            Some(environment) => {
                let mut gates = self.gates.clone();
                gates.configure(*environment, &self.config.effects);
                gates.explain(&request)
            }
        }
    }
}
