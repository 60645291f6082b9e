//! The rules of a cluster as data: which branch gave each, how severe it is, and to which actions it applies.
//!
//! What a cluster is founded on is one [`RuleSet`]; its canonical bytes are in the charter, and their hash in the cluster's id. A
//! rule applies when all of its [`Matcher`]s do. There are no others than these: what they mean is the same on every member.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::capability::{Pattern, Role};
use crate::codec::decode;
use crate::effect::{Dimension, Environment, Thousandths, Thresholds};
use crate::error::{DecodeError, ParseError};
use crate::limits::{
    MATCHERS_MAX, PATTERNS_PER_MATCHER_MAX, RULE_DESCRIPTION_BYTES_MAX, RULE_ID_BYTES_MAX, RULES_BYTES_MAX, RULES_MAX,
};

/// Who gave a rule, and alone may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// What is to be.
    Legislative,
    /// How it is carried out.
    Executive,
    /// Whether it was right.
    Judicial,
}

impl fmt::Display for Branch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Legislative => "legislative",
            Self::Executive => "executive",
            Self::Judicial => "judicial",
        })
    }
}

impl FromStr for Branch {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut all = [Self::Legislative, Self::Executive, Self::Judicial].into_iter();
        let found = all.find(|branch| branch.to_string() == text);
        found.ok_or_else(|| ParseError::new(text, "a branch (legislative, executive or judicial)"))
    }
}

/// What a rule that applies does. The greatest of all that apply decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Permitted, and named beside the rule that permitted it.
    Advisory,
    /// Permitted, and an event says so.
    Warning,
    /// Not before a person has approved it; where nobody can, denied.
    Blocking,
    /// Denied.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Advisory => "advisory",
            Self::Warning => "warning",
            Self::Blocking => "blocking",
            Self::Critical => "critical",
        })
    }
}

/// By which decisions and people name a rule: `GOV-001`. 1 to 32 of A-Z a-z 0-9 - #.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleId(String);

impl RuleId {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<RuleId> for String {
    fn from(id: RuleId) -> Self {
        id.0
    }
}

impl TryFrom<String> for RuleId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'#');
        if fits && (1..=RULE_ID_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(ParseError::new(&text, "a rule (1 to 32 of A-Z a-z 0-9 - #, as GOV-001)"))
        }
    }
}

impl FromStr for RuleId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.to_owned().try_into()
    }
}

/// One condition on an action. Of the texts in a list one must fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matcher {
    /// The action's name: `spawn`, `cron-*`.
    Action(Vec<Pattern>),
    /// Any other name than these.
    ActionExcept(Vec<Pattern>),
    /// An agent of such a name acts.
    Agent(Vec<Pattern>),
    /// An operator acts.
    Operator,
    /// It comes from another node that is a member as this.
    Role(Vec<Role>),
    /// What it touches: `personal.*`, `admin`.
    Resource(Vec<Pattern>),
    /// Where it happens.
    Environment(Vec<Environment>),
    /// How much it does in one dimension.
    Effect(LeastEffect),
    /// Its magnitude is above the threshold of the environment.
    OverThreshold,
}

/// So much in one dimension, or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeastEffect {
    /// In which.
    pub dimension: Dimension,
    /// How much.
    pub at_least: Thousandths,
}

impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: ToString>(texts: &[T]) -> String {
            texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        }
        match self {
            Self::Action(any) => write!(formatter, "action {}", list(any)),
            Self::ActionExcept(none) => write!(formatter, "action not {}", list(none)),
            Self::Agent(any) => write!(formatter, "by agent {}", list(any)),
            Self::Operator => formatter.write_str("by an operator"),
            Self::Role(any) => write!(formatter, "from another node, {}", list(any)),
            Self::Resource(any) => write!(formatter, "on {}", list(any)),
            Self::Environment(any) => write!(formatter, "in {}", list(any)),
            Self::Effect(LeastEffect { dimension, at_least }) => write!(formatter, "{dimension} at least {at_least}"),
            Self::OverThreshold => formatter.write_str("magnitude over the threshold"),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// What it is for, at most 256 bytes.
    pub description: String,
    /// Whose it is.
    pub branch: Branch,
    /// What it does.
    pub severity: Severity,
    /// When it applies: all of these, at least one and at most 8.
    pub when: Vec<Matcher>,
}

impl Rule {
    /// Whether it is within all bounds.
    ///
    /// # Errors
    /// [`ParseError`] that names the rule and the bound: nothing was changed, another rule is needed.
    pub fn check(&self) -> Result<(), ParseError> {
        let refuse = |expected| Err(ParseError::new(self.id.as_str(), expected));
        if self.when.is_empty() || self.when.len() > MATCHERS_MAX {
            return refuse("a rule with 1 to 8 conditions");
        }
        if self.description.is_empty() || self.description.len() > RULE_DESCRIPTION_BYTES_MAX {
            return refuse("a rule with a description of 1 to 256 bytes");
        }
        if self.description.chars().any(char::is_control) {
            return refuse("a rule whose description is one line of text");
        }
        let in_range = |count: usize| (1..=PATTERNS_PER_MATCHER_MAX).contains(&count);
        let bounded = self.when.iter().all(|matcher| match matcher {
            Matcher::Action(list) | Matcher::ActionExcept(list) | Matcher::Agent(list) | Matcher::Resource(list) => {
                in_range(list.len())
            }
            Matcher::Role(roles) => in_range(roles.len()),
            Matcher::Environment(environments) => in_range(environments.len()),
            Matcher::Effect(least) => least.at_least <= Thousandths::ONE,
            Matcher::Operator | Matcher::OverThreshold => true,
        });
        if bounded { Ok(()) } else { refuse("a rule whose conditions name 1 to 16 texts and parts of one") }
    }

    /// Its conditions in words.
    #[must_use]
    pub fn conditions(&self) -> String {
        self.when.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// All rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// One when the cluster is founded, one more with each amendment.
    pub version: u32,
    /// The rules about roles and grants, in the order in which they are tried. They are never amended.
    pub capability: Vec<String>,
    /// What is a large action.
    pub thresholds: Thresholds,
    /// What is asked of an action that those permit.
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// The rules in these bytes, within all bounds.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are not one canonical set of rules, or are out of bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let rules: Self = decode(bytes, RULES_BYTES_MAX)?;
        let refuse = |reason: String| Err(DecodeError::Unexpected { reason });
        if rules.rules.len() > RULES_MAX {
            return refuse(format!("{} rules, at most {RULES_MAX}", rules.rules.len()));
        }
        for (place, rule) in rules.rules.iter().enumerate() {
            if let Err(error) = rule.check() {
                return refuse(error.to_string());
            }
            if rules.rules[..place].iter().any(|other| other.id == rule.id) {
                return refuse(format!("{} is there twice", rule.id));
            }
        }
        Ok(rules)
    }

    /// The rule of that name.
    #[must_use]
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == *id)
    }
}
