//! Where a resource stands: `/agents/words@12D3KooW…`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::ParseError;
use crate::id::{AgentName, NodeId};
use crate::limits::{RESOURCE_DEPTH_MAX, RESOURCE_NAME_BYTES_MAX, RESOURCE_PATH_BYTES_MAX};

const EXPECTED: &str =
    "a path of a resource (/ or up to 8 names of a-z A-Z 0-9 - _ . @ * > # + :, each behind a /, as /agents)";

/// The place of a resource: `/` alone is the root; otherwise up to 8 names, each behind a slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourcePath(Arc<str>);

impl ResourcePath {
    /// The path of the root.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path of an agent: names are each node's own.
    #[must_use]
    pub fn of_agent(agent: &AgentName, node: &NodeId) -> Self {
        Self(format!("/agents/{agent}@{node}").into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root's.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Its names, the first below the root first; of the root none.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// How many names it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// The last name; none of the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The path above; none of the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (above, _) = self.0.rsplit_once('/').filter(|_| !self.is_root())?;
        Some(if above.is_empty() { Self::root() } else { Self(above.into()) })
    }

    /// The path of its child of this name.
    ///
    /// # Errors
    /// [`ParseError`] when `name` is none, or the path would be too deep or too long.
    pub fn child(&self, name: &str) -> Result<Self, ParseError> {
        let above = if self.is_root() { "" } else { self.as_str() };
        if is_name(name) { format!("{above}/{name}").parse() } else { Err(ParseError::new(name, EXPECTED)) }
    }

    /// Whether it is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@*>#+:".contains(&byte);
    (1..=RESOURCE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(inner) && name != "." && name != ".."
}

impl FromStr for ResourcePath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, EXPECTED);
        if text == "/" {
            return Ok(Self::root());
        }
        let names = text.strip_prefix('/').filter(|_| text.len() <= RESOURCE_PATH_BYTES_MAX).ok_or_else(refuse)?;
        let fits = names.split('/').count() <= RESOURCE_DEPTH_MAX && names.split('/').all(is_name);
        if fits { Ok(Self(text.into())) } else { Err(refuse()) }
    }
}

impl TryFrom<String> for ResourcePath {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl Serialize for ResourcePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ResourcePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}
