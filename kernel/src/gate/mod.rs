//! Where it is decided who may do what: asked before every privileged step, on the sending and on the receiving node.
//!
//! [`Gates`] are two, both always on: roles and grants say whether somebody may at all (`capability`), then the cluster's rules
//! say whether that is enough (`governance`). There is no way to make only one of them.

// Where authority is decided no case is left to a wildcard.
#![deny(clippy::wildcard_enum_match_arm)]

mod capability;
mod effects;
mod explain;
mod genesis;
mod governance;
mod rules;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use capability::CapabilityGate;
pub use effects::RaisedEffect;
pub use explain::{Explanation, Hypothesis, RuleMatch};
pub use governance::GovernanceGate;
pub use rules::{CAPABILITY_RULES, DEFAULT_CLOSED, GateError, genesis_rules};
use weft_protocol::{Digest, Environment, Grant, NodeId, RuleSet, Sender, Timestamp};

use self::governance::Verdict;
use crate::action::Action;

/// One question to a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who wants to act, on which node.
    pub by: &'a Sender,
    /// What.
    pub action: &'a Action,
    /// Every text under which the touched resource goes: a local target as written, and with this node's name and id.
    pub resources: &'a [String],
    /// The grants that the acting agent holds, or the one its message carries; none for an operator.
    pub grants: &'a [&'a Grant],
    /// When.
    pub now: Timestamp,
}

/// What a gate says. Only `Permit` lets anything happen; a deferred action has not happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Permit {
        /// The deciding rule.
        rule: Cow<'static, str>,
        /// The grant that allowed it, to be carried by the message.
        grant: Option<Grant>,
        /// The rules that apply besides.
        notes: Option<Arc<Notes>>,
    },
    /// No.
    Deny {
        /// The deciding rule.
        rule: Cow<'static, str>,
    },
    /// Not before a person has decided.
    Defer {
        /// The deciding rule.
        rule: Arc<str>,
        /// The rule that permits it once that person has approved it.
        permitted_by: Cow<'static, str>,
        /// The grant that allows it then.
        grant: Option<Grant>,
    },
}

/// Rules that apply to something and let it happen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// Those that advise.
    pub noted: Vec<Arc<str>>,
    /// Those that warn.
    pub warned: Vec<Arc<str>>,
    /// All of them, as records name them: ` GOV-005 GOV-007`.
    text: String,
}

impl Notes {
    fn is_empty(&self) -> bool {
        self.noted.is_empty() && self.warned.is_empty()
    }

    fn with_text(mut self) -> Self {
        self.text = self.warned.iter().chain(&self.noted).flat_map(|rule| [" ", &**rule]).collect();
        self
    }

    /// All of them, each after a blank.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Decides. Pure: the same request has the same decision, and asking changes nothing.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Whether the action may happen.
    fn decide(&self, request: &Request<'_>) -> Decision;
}

/// Both gates of one node.
#[derive(Debug, Clone)]
pub struct Gates {
    capability: CapabilityGate,
    governance: GovernanceGate,
}

impl Gates {
    /// The gates of `node` under the rules its cluster was founded on.
    ///
    /// # Errors
    /// [`GateError`] when the rules are not those of `governance_hash`, or of another kind: the node must not start.
    pub fn new(node: NodeId, rules: &[u8], governance_hash: &Digest) -> Result<Self, GateError> {
        let rules = rules::check(rules, governance_hash)?;
        Ok(Self { capability: CapabilityGate::of(node), governance: GovernanceGate::new(rules) })
    }

    /// Whether roles and grants alone permit it.
    #[must_use]
    pub fn has_right(&self, request: &Request<'_>) -> bool {
        matches!(self.capability.decide(request), Decision::Permit { .. })
    }

    /// The gate of the cluster's rules.
    #[must_use]
    pub const fn governance(&self) -> &GovernanceGate {
        &self.governance
    }

    /// From now on they decide in this environment, with these effects raised.
    pub fn configure(&mut self, environment: Environment, raised: &[RaisedEffect]) {
        self.governance.configure(environment, raised);
    }

    /// From now on they decide by these rules.
    pub fn amend(&mut self, rules: RuleSet) {
        self.governance.amend(rules);
    }
}

impl Gate for Gates {
    fn decide(&self, request: &Request<'_>) -> Decision {
        match self.capability.decide(request) {
            Decision::Permit { rule, grant, notes: _ } => match self.governance.decide(request) {
                Verdict::Permit(notes) => Decision::Permit { rule, grant, notes },
                Verdict::Defer(by) => Decision::Defer { rule: by, permitted_by: rule, grant },
                Verdict::Deny(by) => Decision::Deny { rule: Cow::Owned(by.as_ref().to_owned()) },
            },
            no @ (Decision::Deny { .. } | Decision::Defer { .. }) => no,
        }
    }
}
