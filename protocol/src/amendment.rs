//! How rules change: one admin proposes, more than half endorse, each on its own chain.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec::encode;
use crate::envelope::Principal;
use crate::governance::{Branch, Rule, RuleId};
use crate::hash::{Digest, hash};
use crate::id::NodeId;

/// What an amendment does to one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleChange {
    /// It is one more.
    Add(Rule),
    /// It takes the place of the rule of its name.
    Replace(Rule),
    /// It is no more.
    Retire(RuleId),
}

impl RuleChange {
    /// Which rule.
    #[must_use]
    pub const fn rule(&self) -> &RuleId {
        match self {
            Self::Add(rule) | Self::Replace(rule) => &rule.id,
            Self::Retire(id) => id,
        }
    }

    /// The rule as it is to be; none when it is to go.
    #[must_use]
    pub const fn new_rule(&self) -> Option<&Rule> {
        match self {
            Self::Add(rule) | Self::Replace(rule) => Some(rule),
            Self::Retire(_) => None,
        }
    }
}

impl fmt::Display for RuleChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(rule) => write!(formatter, "add {} ({})", rule.id, rule.severity),
            Self::Replace(rule) => write!(formatter, "replace {} ({})", rule.id, rule.severity),
            Self::Retire(id) => write!(formatter, "retire {id}"),
        }
    }
}

/// A change of one rule, proposed by an admin: the record on its chain is its first endorsement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// The version of the rules with it: one more than that which it changes.
    pub version: u32,
    /// Whose rule it changes. No branch changes another's.
    pub branch: Branch,
    /// What.
    pub change: RuleChange,
    /// Who proposes it on that node.
    pub by: Principal,
}

impl Amendment {
    /// By which endorsements name it, on the chain of `proposer`.
    #[must_use]
    pub fn digest(&self, proposer: NodeId) -> Digest {
        hash("amendment", &[proposer.as_bytes(), &encode(self)])
    }
}

/// That another admin wants an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// Which, see [`Amendment::digest`].
    pub amendment: Digest,
    /// The version it would make.
    pub version: u32,
    /// Who endorses it on that node.
    pub by: Principal,
}
