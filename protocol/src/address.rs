//! Where a message can go, as people write it and as it travels.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::id::{AgentName, MethodName, NodeId, NodeName, ProcessId, ServiceName, TopicName};

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
    /// Whoever serves this.
    Service(ServiceName),
    /// One method of it.
    ServiceMethod {
        /// Which service.
        service: ServiceName,
        /// Which method.
        method: MethodName,
    },
    /// Every living agent of one node but the sender.
    Broadcast,
    /// The node's kernel itself, which answers a few questions about it.
    Kernel,
}

impl LocalTarget {
    /// The service that is meant, when one is.
    #[must_use]
    pub const fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Service(service) | Self::ServiceMethod { service, .. } => Some(service),
            Self::Process(_) | Self::Agent(_) | Self::Topic(_) | Self::Broadcast | Self::Kernel => None,
        }
    }
}

impl LocalTarget {
    /// The text form, as [`fmt::Display`] writes it; an agent's is shared.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::Agent(agent) => agent.shared(),
            Self::Process(_)
            | Self::Topic(_)
            | Self::Service(_)
            | Self::ServiceMethod { .. }
            | Self::Broadcast
            | Self::Kernel => self.to_string().into(),
        }
    }
}

impl fmt::Display for LocalTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(process) => process.fmt(formatter),
            Self::Agent(agent) => agent.fmt(formatter),
            Self::Topic(topic) => write!(formatter, "topic:{topic}"),
            Self::Service(service) => write!(formatter, "svc:{service}"),
            Self::ServiceMethod { service, method } => write!(formatter, "svc:{service}.{method}"),
            Self::Broadcast => formatter.write_str("broadcast"),
            Self::Kernel => formatter.write_str("kernel"),
        }
    }
}

/// A target and, where it was named, the node it is on.
/// Text forms: `echo`, `echo@beta`, `#12.3@beta`, `topic:jobs`, `svc:words`, `svc:words.count`, `svc:words.count@beta`,
/// `kernel@beta`, `broadcast@beta`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Which node; without one, a lookup decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    /// What on that node.
    pub local: LocalTarget,
}

impl Target {
    /// The text form, as [`fmt::Display`] writes it; that of an agent without its node is shared.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        match &self.node {
            Some(_) => self.to_string().into(),
            None => self.local.text(),
        }
    }
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
        let expected = "a target (echo, echo@beta, #12.3@beta, svc:words.count, kernel, broadcast or topic:jobs)";
        let refuse = || ParseError::new(text, expected);
        if let Some(topic) = text.strip_prefix("topic:") {
            let local = LocalTarget::Topic(topic.parse().map_err(|_| refuse())?);
            return Ok(Self { node: None, local });
        }
        let (local, node) = match text.split_once('@') {
            Some((local, node)) => (local, Some(node.parse().map_err(|_| refuse())?)),
            None => (text, None),
        };
        let local = parse_local(local).map_err(|_| refuse())?;
        Ok(Self { node, local })
    }
}

/// Everything but a topic, without its node.
fn parse_local(text: &str) -> Result<LocalTarget, ParseError> {
    if let Some(service) = text.strip_prefix("svc:") {
        return Ok(match service.split_once('.') {
            Some((service, method)) => {
                LocalTarget::ServiceMethod { service: service.parse()?, method: method.parse()? }
            }
            None => LocalTarget::Service(service.parse()?),
        });
    }
    match text {
        "broadcast" => Ok(LocalTarget::Broadcast),
        "kernel" => Ok(LocalTarget::Kernel),
        _ if text.starts_with('#') => text.parse().map(LocalTarget::Process),
        _ => text.parse().map(LocalTarget::Agent),
    }
}
