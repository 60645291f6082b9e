//! One resource: what it is, what is said of it, and the hash over all of that.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec::encode;
use crate::envelope::Principal;
use crate::error::ParseError;
use crate::hash::{Digest, hash};
use crate::limits::RESOURCE_KIND_BYTES_MAX;
use crate::tree::{Millionths, Observation, ResourcePath, Scoring};

/// Lists each kind once with its word.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident => $name:literal),* $(,)?) => {
        /// What a resource is.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum ResourceKind {
            $($(#[$meta])* $kind,)*
            /// Whatever its own word says: 1 to 32 of a-z 0-9 -.
            Custom(String),
        }

        impl ResourceKind {
            /// The word for it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::Custom(word) => word,
                }
            }

            fn of(word: &str) -> Option<Self> {
                match word {
                    $($name => Some(Self::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Only a place for others.
    Namespace => "namespace",
    /// A node of the cluster.
    Node => "node",
    /// An agent on a node.
    Agent => "agent",
    /// Something that is served.
    Service => "service",
    /// Something that agents publish to or listen to.
    Topic => "topic",
    /// A tool that agents call.
    Tool => "tool",
    /// A strictness of the gates.
    Environment => "environment",
    /// A container.
    Container => "container",
    /// An application.
    App => "app",
    /// A device.
    Device => "device",
    /// A job that runs at certain times.
    Job => "job",
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl From<ResourceKind> for String {
    fn from(kind: ResourceKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl FromStr for ResourceKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if let Some(kind) = Self::of(text) {
            Ok(kind)
        } else if (1..=RESOURCE_KIND_BYTES_MAX).contains(&text.len()) && text.bytes().all(inner) {
            Ok(Self::Custom(text.to_owned()))
        } else {
            Err(ParseError::new(text, "a kind of resource (1 to 32 of a-z 0-9 -, as agent)"))
        }
    }
}

impl TryFrom<String> for ResourceKind {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

/// One resource of the tree, without what lies below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceEntry {
    /// Where it stands.
    pub path: ResourcePath,
    /// What it is.
    pub kind: ResourceKind,
    /// What is said of it, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How good it is.
    pub scoring: Scoring,
}

impl ResourceEntry {
    /// A resource of which nothing is said yet.
    #[must_use]
    pub fn new(path: ResourcePath, kind: ResourceKind) -> Self {
        Self { path, kind, metadata: BTreeMap::new(), scoring: Scoring::default() }
    }

    /// `H("resource", path, kind, metadata, scoring)`, each framed by its length; metadata and scoring in their canonical
    /// encoding.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let (metadata, scoring) = (encode(&self.metadata), encode(&self.scoring));
        hash("resource", &[self.path.as_str().as_bytes(), self.kind.as_str().as_bytes(), &metadata, &scoring])
    }
}

/// A resource was observed: its scores blend with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceScored {
    /// Which.
    pub path: ResourcePath,
    /// What was seen.
    pub seen: Observation,
    /// How much it counts: α in old·(1−α) + new·α.
    pub weight: Millionths,
    /// Who says so; the node itself, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Principal>,
}
