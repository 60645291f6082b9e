//! The rules a cluster is born with: their canonical bytes, which the cluster's id and every first event commit to.

use weft_protocol::{DecodeError, Digest, RuleSet, Thousandths, Thresholds, encode, hash};

use super::genesis;

/// An operator may do everything on its own node.
pub(super) const OPERATOR_LOCAL: &str = "operator-local#1";
/// A member's role says what its operator and its agents may ask of other nodes.
pub(super) const MEMBER_ROLE: &str = "member-role#2";
/// An agent may do what one of its grants allows.
pub(super) const GRANT: &str = "grant#3";
/// Nothing else may happen.
pub const DEFAULT_CLOSED: &str = "default-closed#4";

/// The rules about roles and grants, with what they say, in the order in which they are tried.
pub const CAPABILITY_RULES: [(&str, &str); 4] = [
    (OPERATOR_LOCAL, "an operator may do everything on its own node"),
    (MEMBER_ROLE, "a member's role says what its operator and its agents may ask of other nodes"),
    (GRANT, "an agent may do what one of its grants allows"),
    (DEFAULT_CLOSED, "nothing else may happen"),
];

/// Why no gate can be made of a cluster's rules: the node cannot start. Nothing was changed; a retry cannot help, a program
/// that knows the rules can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The rules are not those that the cluster's id was made of.
    #[error("the genesis rules hash to {found}, the cluster was founded on {expected}: take the charter from a member")]
    Hash {
        /// What the cluster says.
        expected: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
    /// The bytes are not a set of rules.
    #[error("the genesis rules cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// This program has no matcher for one of the rules.
    #[error("the genesis rules are of a kind that this version does not know: update the program")]
    Unknown,
}

fn genesis_set() -> RuleSet {
    RuleSet {
        version: 1,
        capability: CAPABILITY_RULES.map(|(name, _)| name.to_owned()).to_vec(),
        // The reference system's thresholds.
        thresholds: Thresholds {
            development: Thousandths(900),
            staging: Thousandths(600),
            production: Thousandths(300),
        },
        rules: genesis::rules(),
    }
}

/// The canonical bytes of the rules that a new cluster is founded on.
#[must_use]
pub fn genesis_rules() -> Vec<u8> {
    encode(&genesis_set())
}

/// The rules under the hash the cluster was founded on. About roles and grants this program enforces its own and no others; of
/// the rest it enforces whatever stands there.
pub(super) fn check(rules: &[u8], expected: &Digest) -> Result<RuleSet, GateError> {
    let found = hash("rules", &[rules]);
    if found != *expected {
        return Err(GateError::Hash { expected: *expected, found });
    }
    let rules = RuleSet::decode(rules)?;
    if rules.capability == genesis_set().capability && rules.version == 1 { Ok(rules) } else { Err(GateError::Unknown) }
}
