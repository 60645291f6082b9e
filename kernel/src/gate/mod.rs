//! Where it is decided who may do what: asked before every privileged step, on the sending and on the receiving node.

mod capability;
mod rules;

use std::borrow::Cow;
use std::fmt;

pub use capability::CapabilityGate;
pub use rules::{DEFAULT_CLOSED, GateError, genesis_rules};
use weft_protocol::{Grant, Sender, Timestamp};

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
    },
    /// No.
    Deny {
        /// The deciding rule.
        rule: Cow<'static, str>,
    },
    /// Not before a person has decided.
    Defer {
        /// The deciding rule.
        rule: Cow<'static, str>,
    },
}

/// Decides. Pure: the same request has the same decision, and asking changes nothing.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Whether the action may happen.
    fn decide(&self, request: &Request<'_>) -> Decision;
}
