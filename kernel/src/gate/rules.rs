//! The rules a cluster is born with: their canonical bytes, which the cluster's id and every first event commit to.

use serde::{Deserialize, Serialize};
use weft_protocol::{DecodeError, Digest, decode, encode, hash};

/// An operator may do everything on its own node.
pub(super) const OPERATOR_LOCAL: &str = "operator-local#1";
/// A member's role says what its operator and its agents may ask of other nodes.
pub(super) const MEMBER_ROLE: &str = "member-role#2";
/// An agent may do what one of its grants allows.
pub(super) const GRANT: &str = "grant#3";
/// Nothing else may happen.
pub const DEFAULT_CLOSED: &str = "default-closed#4";

/// Most bytes of encoded rules: four names need under a hundred.
const RULES_BYTES_MAX: usize = 4 * 1024;

/// The rules in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rules {
    version: u8,
    rules: Vec<String>,
}

impl Rules {
    fn genesis() -> Self {
        let rules = [OPERATOR_LOCAL, MEMBER_ROLE, GRANT, DEFAULT_CLOSED].map(str::to_owned).to_vec();
        Self { version: 1, rules }
    }
}

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
    /// The bytes are not a list of rules.
    #[error("the genesis rules cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// This program has no matcher for one of the rules.
    #[error("the genesis rules are of a kind that this version does not know: update the program")]
    Unknown,
}

/// The canonical bytes of the rules that a new cluster is founded on.
#[must_use]
pub fn genesis_rules() -> Vec<u8> {
    encode(&Rules::genesis())
}

/// Accepts the rules this program enforces, under the hash the cluster was founded on, and no others.
pub(super) fn check(rules: &[u8], expected: &Digest) -> Result<(), GateError> {
    let found = hash("rules", &[rules]);
    if found != *expected {
        return Err(GateError::Hash { expected: *expected, found });
    }
    let rules: Rules = decode(rules, RULES_BYTES_MAX)?;
    if rules == Rules::genesis() { Ok(()) } else { Err(GateError::Unknown) }
}
