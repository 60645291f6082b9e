//! Jobs that send a message at certain times, as they stand on the chain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::Target;
use crate::envelope::{Payload, Principal};
use crate::error::ParseError;
use crate::id::MessageId;
use crate::time::Timestamp;

/// A job of one node: the place of its `cron.added` on that node's chain, so no id is ever given twice. Text form: `c12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CronId(pub u64);

impl fmt::Display for CronId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "c{}", self.0)
    }
}

impl FromStr for CronId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.strip_prefix('c').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| ParseError::new(text, "a cron job (c12, as weft cron ls lists them)"))
    }
}

/// What becomes of the times at which a job could not run, because its node was down or its clock jumped ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissedRule {
    /// They are recorded, and that is all.
    Skip,
    /// The last of them is run.
    Once,
    /// Each of them is run, one after the other; of many only the last hundred.
    All,
}

impl fmt::Display for MissedRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        })
    }
}

impl FromStr for MissedRule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            "all" => Ok(Self::All),
            _ => Err(ParseError::new(text, "a rule for missed runs (skip, once or all)")),
        }
    }
}

/// A job was made; its id is the place of this event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronAdded {
    /// Five or six fields, or an interval: `30 2 * * *`, `@every 90s`.
    pub expression: String,
    /// In which time zone the fields are meant, by its IANA name; `UTC` for an interval.
    pub timezone: String,
    /// Whom the message is for.
    pub target: Target,
    /// What the message carries: text or JSON.
    pub payload: Payload,
    /// What becomes of missed runs.
    pub missed: MissedRule,
    /// In whose name the message is sent, judged at each run.
    pub by: Principal,
    /// When it was made; an interval counts from here.
    pub added: Timestamp,
}

/// A job was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronRemoved {
    /// Which.
    pub job: CronId,
    /// Who did it.
    pub by: Principal,
}

/// How one run of a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CronResult {
    /// The message is in the mailbox, or was published.
    Delivered,
    /// A rule said no, or nobody could have accepted it; the text says why.
    Refused {
        /// Why.
        reason: String,
    },
    /// It did not arrive, as far as this node can tell; the text says why.
    Failed {
        /// Why.
        reason: String,
    },
    /// The node went down between intent and outcome; nobody can tell, and it is not sent again.
    Indeterminate,
}

impl CronResult {
    /// The word by which lists name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// Why it was not delivered, when that is known.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason } | Self::Failed { reason } => Some(reason),
            Self::Delivered | Self::Indeterminate => None,
        }
    }
}

/// A run of a job ended. Its intent stands before it on the chain, and stood there before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronFired {
    /// Which job.
    pub job: CronId,
    /// Place of the intent on this chain.
    pub intent: u64,
    /// For which time; none when somebody asked for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Timestamp>,
    /// The message, when one left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// How it ended.
    pub result: CronResult,
}

/// Times of a job that passed without a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronMissed {
    /// Which job.
    pub job: CronId,
    /// The first that was counted.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// How many; when they are a thousand there may be more, and `first` is not the first.
    pub count: u64,
    /// From this one on they are run after all, as the job's rule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_from: Option<Timestamp>,
}
