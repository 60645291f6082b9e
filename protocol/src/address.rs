//! Where a message can go, as people write it and as it travels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::id::{AgentName, NodeId, NodeName, ProcessId, TopicName};

/// A node, by the name it goes by or by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeRef {
    /// The name it was admitted under.
    Name(NodeName),
    /// Its key.
    Id(NodeId),
}

impl fmt::Display for NodeRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Id(id) => id.fmt(formatter),
        }
    }
}

impl FromStr for NodeRef {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let refuse = |_| ParseError::new(text, "a node (its name, or its id 12D3KooW…)");
        text.parse().map(Self::Name).map_err(refuse)
    }
}

/// Something on one node that can receive a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LocalTarget {
    /// One process, and only this life of it.
    Process(ProcessId),
    /// Whatever process runs under this name.
    Agent(AgentName),
    /// Every subscriber of this topic, on all nodes.
    Topic(TopicName),
}

impl fmt::Display for LocalTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(process) => process.fmt(formatter),
            Self::Agent(agent) => agent.fmt(formatter),
            Self::Topic(topic) => write!(formatter, "topic:{topic}"),
        }
    }
}

/// A target and, where it was named, the node it is on.
/// Text forms: `echo`, `echo@beta`, `#12.3@beta`, `topic:jobs`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Which node; without one, a lookup decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    /// What on that node.
    pub local: LocalTarget,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(formatter, "{}@{node}", self.local),
            None => self.local.fmt(formatter),
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a target (echo, echo@beta, #12.3@beta or topic:jobs)");
        if let Some(topic) = text.strip_prefix("topic:") {
            let local = LocalTarget::Topic(topic.parse().map_err(|_| refuse())?);
            return Ok(Self { node: None, local });
        }
        let (local, node) = match text.split_once('@') {
            Some((local, node)) => (local, Some(node.parse().map_err(|_| refuse())?)),
            None => (text, None),
        };
        let local = if local.starts_with('#') {
            LocalTarget::Process(local.parse().map_err(|_| refuse())?)
        } else {
            LocalTarget::Agent(local.parse().map_err(|_| refuse())?)
        };
        Ok(Self { node, local })
    }
}
