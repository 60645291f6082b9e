//! Who may do what: roles of members, and grants that name one right over one pattern of resources.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::id::{GrantId, NodeId};
use crate::limits::DELEGATION_DEPTH_MAX;
use crate::time::Timestamp;

/// What a member of the cluster is admitted as. Decides what its operator may ask of other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May also invite, admit and evict.
    Admin,
    /// Runs agents and talks to those of others.
    Worker,
    /// Reads chains, topics and the directory; sends nothing.
    Observer,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Admin => "admin",
            Self::Worker => "worker",
            Self::Observer => "observer",
        })
    }
}

impl FromStr for Role {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "admin" => Ok(Self::Admin),
            "worker" => Ok(Self::Worker),
            "observer" => Ok(Self::Observer),
            _ => Err(ParseError::new(text, "a role (admin, worker or observer)")),
        }
    }
}

/// One thing a grant can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Send a message that wants no answer. Resource: the target, `echo@beta`.
    Send,
    /// Send a message and wait for its answer. Resource: the target.
    Call,
    /// Publish to a topic. Resource: the topic.
    Publish,
    /// Receive what is published to a topic. Resource: the topic.
    Subscribe,
    /// Start an agent. Resource: its name.
    Spawn,
    /// Stop an agent. Resource: its name.
    Stop,
    /// Make a job that sends a message at certain times. Resource: the target of its messages.
    #[serde(rename = "cron-add")]
    CronAdd,
    /// Take a job back. Resource: its id, or who made it (`agent/words`).
    #[serde(rename = "cron-remove")]
    CronRemove,
    /// Let a job run now. Resource: its id, or who made it.
    #[serde(rename = "cron-run")]
    CronRun,
    /// See all jobs. Resource: `jobs`.
    #[serde(rename = "cron-list")]
    CronList,
    /// Let an agent stand still. Resource: its name.
    Suspend,
    /// Let a suspended agent go on. Resource: its name.
    Resume,
    /// Stop an agent and start it again. Resource: its name.
    Restart,
    /// Tie the own end and an agent's to each other. Resource: its name.
    Link,
    /// Hear of an agent's end. Resource: its name.
    Monitor,
    /// Serve under a name, and stop serving. Resource: the service.
    Serve,
    /// See everything about an agent. Resource: its name.
    Inspect,
}

impl Right {
    const ALL: &'static [(&'static str, Self)] = &[
        ("send", Self::Send),
        ("call", Self::Call),
        ("publish", Self::Publish),
        ("subscribe", Self::Subscribe),
        ("spawn", Self::Spawn),
        ("stop", Self::Stop),
        ("cron-add", Self::CronAdd),
        ("cron-remove", Self::CronRemove),
        ("cron-run", Self::CronRun),
        ("cron-list", Self::CronList),
        ("suspend", Self::Suspend),
        ("resume", Self::Resume),
        ("restart", Self::Restart),
        ("link", Self::Link),
        ("monitor", Self::Monitor),
        ("serve", Self::Serve),
        ("inspect", Self::Inspect),
    ];
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, right)| right == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

/// A pattern of resources: an exact text, or a beginning followed by `*`. At most 192 bytes. Copies share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Whether `resource` is covered.
    #[must_use]
    pub fn covers(&self, resource: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => resource.starts_with(beginning),
            None => resource == &*self.0,
        }
    }

    /// Whether everything `other` covers is covered too.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (Some(wide), Some(narrow)) => narrow.starts_with(wide),
            (None, Some(_)) => false,
            (_, None) => self.covers(&other.0),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for Pattern {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let inner = text.strip_suffix('*').unwrap_or(&text);
        let plain = inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if plain && !text.is_empty() && text.len() <= 192 {
            Ok(Self(text.into()))
        } else {
            Err(ParseError::new(&text, "a pattern (a name, or the beginning of one followed by *)"))
        }
    }
}

/// What is asked to be granted: a right over a pattern. Text form: `call:echo@beta`, `publish:jobs.*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantSpec {
    /// Which right.
    pub right: Right,
    /// Over what.
    pub resource: Pattern,
}

impl fmt::Display for GrantSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.right, self.resource)
    }
}

impl FromStr for GrantSpec {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a grant (right:pattern, as call:echo@beta or publish:jobs.*)");
        let (right, resource) = text.split_once(':').ok_or_else(refuse)?;
        let (_, right) = Right::ALL.iter().find(|(name, _)| *name == right).ok_or_else(refuse)?;
        let resource = Pattern::try_from(resource.to_owned()).map_err(|_| refuse())?;
        Ok(Self { right: *right, resource })
    }
}

/// One grant, wherever it was given: its id is unique on the node that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantRef {
    /// Who gave it, and may take it back.
    pub node: NodeId,
    /// Which of its grants.
    pub grant: GrantId,
}

impl fmt::Display for GrantRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.grant, self.node)
    }
}

/// A right that somebody holds. It only ever narrows when it is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// By which records and refusals name it.
    pub id: GrantId,
    /// What it allows.
    pub spec: GrantSpec,
    /// When it ends; never, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How often it may still be passed on.
    pub depth: u8,
    /// Which node gave it; without one the node of the agent that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<NodeId>,
    /// The grants it was narrowed from, the first one first. When one of them falls, it falls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<GrantRef>,
    /// How often it may be used; without bound, without one. Each use counts for its parents too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
}

/// What is to be passed on; what it leaves out is as in the grant that is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantTerms {
    /// The right.
    pub spec: GrantSpec,
    /// When it is to end.
    pub expires: Option<Timestamp>,
    /// How often it may be used.
    pub uses: Option<u64>,
}

impl Grant {
    /// A grant that comes from no other one.
    #[must_use]
    pub fn root(id: GrantId, terms: GrantTerms) -> Self {
        let GrantTerms { spec, expires, uses } = terms;
        Self { id, spec, expires, depth: DELEGATION_DEPTH_MAX, issuer: None, parents: Vec::new(), uses }
    }

    /// Whether it allows `right` over `resource` at `now`.
    #[must_use]
    pub fn allows(&self, right: Right, resource: &str, now: Timestamp) -> bool {
        self.spec.right == right
            && self.spec.resource.covers(resource)
            && self.expires.is_none_or(|expires| now < expires)
    }

    /// Under which name it is known everywhere, when an agent of `holder` holds it.
    #[must_use]
    pub fn reference(&self, holder: NodeId) -> GrantRef {
        GrantRef { node: self.issuer.unwrap_or(holder), grant: self.id }
    }

    /// All grants that must stand for this one to stand, itself last.
    pub fn line(&self, holder: NodeId) -> impl Iterator<Item = GrantRef> {
        self.parents.iter().copied().chain([self.reference(holder)])
    }

    /// Whether a grant with these terms, passed on from this one, is no wider.
    #[must_use]
    pub fn includes(&self, terms: &GrantTerms) -> bool {
        let no_later = self.expires.is_none_or(|mine| terms.expires.is_none_or(|asked| asked <= mine));
        let no_more = self.uses.is_none_or(|mine| terms.uses.is_none_or(|asked| asked <= mine));
        terms.spec.right == self.spec.right
            && self.spec.resource.includes(&terms.spec.resource)
            && no_later
            && no_more
            && self.depth > 0
    }

    /// The grant passed on under another id by the node of `holder`, no wider than this one; `None` when that would widen it or
    /// no depth is left.
    #[must_use]
    pub fn narrow(&self, holder: NodeId, id: GrantId, terms: &GrantTerms) -> Option<Self> {
        self.includes(terms).then(|| Self {
            id,
            spec: terms.spec.clone(),
            expires: terms.expires.or(self.expires),
            depth: self.depth - 1,
            issuer: None,
            parents: self.line(holder).collect(),
            uses: terms.uses.or(self.uses),
        })
    }
}

impl fmt::Display for GrantTerms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.spec)?;
        if let Some(uses) = self.uses {
            write!(formatter, " {uses} times")?;
        }
        match self.expires {
            Some(expires) => write!(formatter, " until {}.{:06}", expires.0 / 1_000_000, expires.0 % 1_000_000),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spec, expires, uses) = (self.spec.clone(), self.expires, self.uses);
        write!(formatter, "{}", GrantTerms { spec, expires, uses })?;
        if self.depth == 0 { formatter.write_str(" not to be passed on") } else { Ok(()) }
    }
}
