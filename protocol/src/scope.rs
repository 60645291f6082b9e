//! With whom an agent may exchange messages at all, whatever it is granted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::id::{AgentName, NodeId, TopicName, TopicPattern};
use crate::limits::SCOPE_ENTRIES_MAX;

const EXPECTED: &str =
    "an ipc scope (all, parent-only, none, restricted:a,b@NODE-ID or topic:jobs.*,logs; at most 64 entries)";

/// An agent that a scope names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScopedAgent {
    /// Its name.
    pub agent: AgentName,
    /// Its node; without one that of the agent whose scope it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// With whom an agent exchanges messages and publications, both ways. The operator of its own node always reaches it, and it
/// always reaches its own node's kernel, whose gate judges what it asks there. A scope is no right: it only takes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpcScope {
    /// With everybody.
    All,
    /// With whoever spawned it, by name.
    ParentOnly,
    /// With these agents; at most 64.
    Restricted(Vec<ScopedAgent>),
    /// With nobody, but through these topics; at most 64.
    Topic(Vec<TopicPattern>),
    /// With nobody.
    None,
}

impl IpcScope {
    /// Whether it names no more than it may.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        match self {
            Self::All | Self::ParentOnly | Self::None => true,
            Self::Restricted(agents) => agents.len() <= SCOPE_ENTRIES_MAX,
            Self::Topic(patterns) => patterns.len() <= SCOPE_ENTRIES_MAX,
        }
    }

    /// Whether it reaches this topic.
    #[must_use]
    pub fn has_topic(&self, topic: &TopicName) -> bool {
        match self {
            Self::All => true,
            Self::Topic(patterns) => patterns.iter().any(|pattern| pattern.matches(topic)),
            Self::ParentOnly | Self::Restricted(_) | Self::None => false,
        }
    }

    /// Whether it reaches every topic that `wanted` means.
    #[must_use]
    pub fn has_topics(&self, wanted: &TopicPattern) -> bool {
        match self {
            Self::All => true,
            Self::Topic(patterns) => patterns.iter().any(|pattern| pattern.includes(wanted)),
            Self::ParentOnly | Self::Restricted(_) | Self::None => false,
        }
    }

    /// Whether an agent with this scope may give that one to an agent it spawns: then no message gets further than before. What
    /// a child says to its parent only the parent's own scope decides.
    #[must_use]
    pub fn includes(&self, child: &Self) -> bool {
        match (self, child) {
            (Self::All, _) | (_, Self::None) => true,
            (Self::ParentOnly | Self::Restricted(_), Self::ParentOnly) => true,
            (Self::Restricted(wide), Self::Restricted(narrow)) => narrow.iter().all(|agent| wide.contains(agent)),
            (Self::Topic(_), Self::Topic(narrow)) => narrow.iter().all(|pattern| self.has_topics(pattern)),
            (Self::ParentOnly | Self::Restricted(_) | Self::Topic(_) | Self::None, _) => false,
        }
    }
}

impl fmt::Display for IpcScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::ParentOnly => formatter.write_str("parent-only"),
            Self::Restricted(agents) => {
                let agents = agents.iter().map(|one| match one.node {
                    Some(node) => format!("{}@{node}", one.agent),
                    None => one.agent.to_string(),
                });
                write!(formatter, "restricted:{}", agents.collect::<Vec<_>>().join(","))
            }
            Self::Topic(patterns) => {
                let patterns = patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
                write!(formatter, "topic:{}", patterns.join(","))
            }
            Self::None => formatter.write_str("none"),
        }
    }
}

impl FromStr for IpcScope {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, EXPECTED);
        let scope = match (text, text.split_once(':')) {
            ("all", _) => Self::All,
            ("parent-only", _) => Self::ParentOnly,
            ("none", _) => Self::None,
            (_, Some(("restricted", list))) => {
                let agents = list.split(',').map(scoped_agent).collect::<Result<_, _>>();
                Self::Restricted(agents.map_err(|_| refuse())?)
            }
            (_, Some(("topic", list))) => {
                let patterns = list.split(',').map(str::parse).collect::<Result<_, _>>();
                Self::Topic(patterns.map_err(|_| refuse())?)
            }
            _ => return Err(refuse()),
        };
        if scope.is_bounded() { Ok(scope) } else { Err(refuse()) }
    }
}

fn scoped_agent(text: &str) -> Result<ScopedAgent, ParseError> {
    match text.split_once('@') {
        Some((agent, node)) => Ok(ScopedAgent { agent: agent.parse()?, node: Some(node.parse()?) }),
        None => Ok(ScopedAgent { agent: text.parse()?, node: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> IpcScope {
        text.parse().expect("a scope")
    }

    #[test]
    fn what_is_written_is_read() {
        let node = NodeId::from_bytes([1; 32]);
        let elsewhere = format!("restricted:a,b@{node}");
        for text in ["all", "parent-only", "none", "restricted:a", elsewhere.as_str(), "topic:jobs.*,logs.>"] {
            assert_eq!(scope(text).to_string(), text);
        }
        let many = format!("topic:{}", vec!["a"; 65].join(","));
        for text in [
            "",
            "All",
            "parent",
            "restricted:",
            "restricted:a,,b",
            "restricted:a@beta",
            "topic:",
            "topic:a b",
            "none:a",
            &many,
        ] {
            assert!(text.parse::<IpcScope>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_child_gets_no_more_than_its_parent_has() {
        let scopes = ["all", "parent-only", "restricted:a,b", "restricted:a", "topic:jobs.>", "topic:jobs.*", "none"];
        let pairs = scopes.iter().flat_map(|wide| scopes.iter().map(move |narrow| (*wide, *narrow)));
        let allowed = pairs.filter(|(wide, narrow)| *wide != "all" && scope(wide).includes(&scope(narrow)));
        let expected = [
            ("parent-only", "parent-only"),
            ("parent-only", "none"),
            ("restricted:a,b", "parent-only"),
            ("restricted:a,b", "restricted:a,b"),
            ("restricted:a,b", "restricted:a"),
            ("restricted:a,b", "none"),
            ("restricted:a", "parent-only"),
            ("restricted:a", "restricted:a"),
            ("restricted:a", "none"),
            ("topic:jobs.>", "topic:jobs.>"),
            ("topic:jobs.>", "topic:jobs.*"),
            ("topic:jobs.>", "none"),
            ("topic:jobs.*", "topic:jobs.*"),
            ("topic:jobs.*", "none"),
            ("none", "none"),
        ];
        assert_eq!(allowed.collect::<Vec<_>>(), expected);
        assert!(scopes.iter().all(|narrow| scope("all").includes(&scope(narrow))));
    }
}
