//! What waits for a person: an action that a rule deferred, and what somebody decided about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::envelope::Sender;
use crate::error::ParseError;
use crate::id::MessageId;
use crate::limits::PERSON_BYTES_MAX;
use crate::time::Timestamp;

/// A deferred action of one node: the place of its record on the chain. Text form: `d12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeferralId(pub u64);

impl fmt::Display for DeferralId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "d{}", self.0)
    }
}

impl FromStr for DeferralId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.strip_prefix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "a deferred action (d12, as weft gate pending lists them)"))
    }
}

/// The name of a person, as it was given: 1 to 64 bytes of one line, without blanks at its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonName(String);

impl PersonName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<PersonName> for String {
    fn from(name: PersonName) -> Self {
        name.0
    }
}

impl TryFrom<String> for PersonName {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let fits = text.trim() == text && !text.chars().any(char::is_control);
        if fits && (1..=PERSON_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(ParseError::new(&text, "the name of a person (1 to 64 bytes on one line)"))
        }
    }
}

impl FromStr for PersonName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.to_owned().try_into()
    }
}

/// An action that has not happened, and does not before a person has approved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// Who asked.
    pub by: Sender,
    /// What for.
    pub action: String,
    /// On what.
    pub resource: String,
    /// The deciding rule.
    pub rule: String,
    /// Until when a person may decide, and what was approved may happen.
    pub expires: Timestamp,
    /// The message, when it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
}

/// What a person decided about a deferred action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// About which.
    pub deferral: DeferralId,
    /// Who, by the name given with the decision.
    pub name: PersonName,
    /// Why, at most 1,024 bytes; of an approval it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A deferred action is over: its approval was used, or its time was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferralEnded {
    /// Which.
    pub deferral: DeferralId,
}

/// An action that was permitted, and to which a rule applies that warns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warned {
    /// Who acted.
    pub by: Sender,
    /// What.
    pub action: String,
    /// On what.
    pub resource: String,
    /// The rules that warn, the first one first.
    pub rules: Vec<String>,
}
