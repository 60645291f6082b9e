//! The names of the nodes of a live simulation, `n1` to `n64`, and who else may send something to one of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most nodes of one live simulation: up to so many are connected each to each by default, and each is a process of about 30 MB
/// that 2 cores still carry; the addresses of one `/24` network are enough for them.
pub(crate) const NODES_MAX: u8 = 64;

/// One node of a live simulation, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SimNode(u8);

impl SimNode {
    /// The first so many, at most [`NODES_MAX`].
    pub(crate) fn first(count: u8) -> impl Iterator<Item = Self> {
        (1..=count.min(NODES_MAX)).map(Self)
    }

    /// 1 for `n1`.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for SimNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n{}", self.0)
    }
}

impl FromStr for SimNode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('n').filter(|digits| !digits.starts_with(['0', '+']));
        match number.and_then(|digits| digits.parse().ok()) {
            Some(number @ 1..=NODES_MAX) => Ok(Self(number)),
            Some(_) | None => Err(format!("`{text}` is no node of a simulation: n1 to n{NODES_MAX}")),
        }
    }
}

impl TryFrom<String> for SimNode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SimNode> for String {
    fn from(node: SimNode) -> Self {
        node.to_string()
    }
}

/// Nodes as they are written in a row.
pub(crate) fn listed<'a>(nodes: impl IntoIterator<Item = &'a SimNode>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Who sends something, or gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// A node of the simulation.
    Node(SimNode),
    /// Anybody else on this machine: no fault strikes what comes from there.
    Outside,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_nothing_else_is() {
        assert_eq!("n7".parse::<SimNode>().map(SimNode::number), Ok(7));
        assert_eq!("n64".parse::<SimNode>().map(|node| node.to_string()), Ok("n64".to_owned()));
        for wrong in ["n0", "n65", "n07", "n+7", "7", "n", "alpha", "N1", "n1,n2", ""] {
            let error = wrong.parse::<SimNode>().expect_err(wrong);
            assert_eq!(error, format!("`{wrong}` is no node of a simulation: n1 to n64"));
        }
    }
}
