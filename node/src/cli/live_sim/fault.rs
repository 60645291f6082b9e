//! What can be done to the nodes of a live simulation, and what is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::name::{SimNode, listed};

/// Longest delay of a slow node (guess: above it every connection has been given up long before).
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Farthest that a clock may be set off (guess: beyond it certificates and invites of any length have ended).
const OFFSET_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A share of one in parts per million.
pub(crate) const ONE_PPM: u32 = 1_000_000;

/// One fault, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nodes of different groups do not reach each other.
    Partition {
        /// At least one; one alone is cut off from all others.
        groups: Vec<BTreeSet<SimNode>>,
    },
    /// All partitions and delays end.
    Heal,
    /// The process is ended by SIGKILL.
    Kill {
        /// Whose.
        node: SimNode,
    },
    /// The process is started again in its home.
    Start {
        /// Whose.
        node: SimNode,
    },
    /// The process is stopped by SIGSTOP.
    Pause {
        /// Whose.
        node: SimNode,
    },
    /// The process goes on.
    Resume {
        /// Whose.
        node: SimNode,
    },
    /// Everything to and from it comes later, or not at all.
    Slow {
        /// Whose.
        node: SimNode,
        /// Each way, in milliseconds.
        delay_ms: u64,
        /// Datagrams that are lost, in parts per million.
        loss_ppm: u32,
    },
    /// The node is started again with a clock that is off.
    Skew {
        /// Whose.
        node: SimNode,
        /// Ahead of this machine's clock, in milliseconds.
        offset_ms: i64,
    },
}

impl Fault {
    /// The nodes that it names.
    pub(crate) fn nodes(&self) -> BTreeSet<SimNode> {
        match self {
            Self::Partition { groups } => groups.iter().flatten().copied().collect(),
            Self::Heal => BTreeSet::new(),
            Self::Kill { node }
            | Self::Start { node }
            | Self::Pause { node }
            | Self::Resume { node }
            | Self::Slow { node, .. }
            | Self::Skew { node, .. } => BTreeSet::from([*node]),
        }
    }
}

/// How often a fault struck.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Datagrams that were not delivered.
    pub(crate) dropped: u64,
    /// Pieces of TCP connections, and new ones, that wait for its end.
    pub(crate) held: u64,
    /// What was delivered later.
    pub(crate) delayed: u64,
}

/// A fault in force, or one that just ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultRow {
    /// `partition`, `slow`, `killed`, `paused`, `skewed` or `ended`.
    pub(crate) fault: String,
    /// Whom it is about, as it is typed.
    pub(crate) nodes: String,
    /// What it does.
    pub(crate) what: String,
    /// How often it struck; of what is done to a process there is nothing to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<Counts>,
}

/// What `weft sim fault` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultReport {
    /// What was done, in one sentence.
    pub(crate) done: String,
    /// Faults that ended by it, with their last counts.
    pub(crate) ended: Vec<FaultRow>,
    /// Faults in force now.
    pub(crate) in_force: Vec<FaultRow>,
}

/// `n1,n2 / n3`, however it was split into words.
///
/// # Errors
/// What is wrong, and how it is written.
pub(crate) fn groups(words: &[String]) -> Result<Vec<BTreeSet<SimNode>>, String> {
    let how = "write it as n1,n2 / n3; one group alone is cut off from all others";
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    for group in words.join(" ").split('/') {
        let mut nodes = BTreeSet::new();
        for word in group.split([',', ' ']).filter(|word| !word.is_empty()) {
            let node: SimNode = word.parse().map_err(|error| format!("{error}; {how}"))?;
            if !seen.insert(node) {
                return Err(format!("{node} is named twice; {how}"));
            }
            nodes.insert(node);
        }
        if nodes.is_empty() {
            return Err(format!("a group without a node; {how}"));
        }
        groups.push(nodes);
    }
    Ok(groups)
}

/// The groups as they are typed.
pub(crate) fn written(groups: &[BTreeSet<SimNode>]) -> String {
    groups.iter().map(listed).collect::<Vec<_>>().join(" / ")
}

/// `200ms`: of a slow node.
///
/// # Errors
/// What is allowed.
pub(crate) fn delay_ms(text: &str) -> Result<u64, String> {
    let delay = humantime::parse_duration(text).map_err(|_| "not a duration (200ms, 1s)".to_owned())?;
    if delay > DELAY_MAX {
        return Err(format!("a delay is at most {} s", DELAY_MAX.as_secs()));
    }
    Ok(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}

/// `5%`, in parts per million.
///
/// # Errors
/// What is allowed.
pub(crate) fn loss_ppm(text: &str) -> Result<u32, String> {
    let refuse = || "not a share (0% to 100%, as 5% or 0.5%)".to_owned();
    let number = text.strip_suffix('%').ok_or_else(refuse)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number =
        |digits: &str, most: usize| digits.len() <= most && digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole, 3) || !is_number(part, 4) || number.ends_with('.') {
        return Err(refuse());
    }
    let ppm = format!("{whole}{part:0<4}").parse::<u32>().map_err(|_| refuse())?;
    if ppm > ONE_PPM { Err(refuse()) } else { Ok(ppm) }
}

/// `+30s` or `-5m`, in milliseconds.
///
/// # Errors
/// What is allowed.
pub(crate) fn offset_ms(text: &str) -> Result<i64, String> {
    let (sign, text) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (None, Some(rest)) => (-1, rest),
        (None, None) => (1, text),
    };
    let offset = humantime::parse_duration(text).map_err(|_| "not an offset (+30s, -5m, 0s)".to_owned())?;
    if offset > OFFSET_MAX {
        return Err("a clock is off by at most 30 days".to_owned());
    }
    Ok(sign * i64::try_from(offset.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn groups_are_read_however_they_are_spaced() {
        for text in ["n1,n2 / n3", "n1,n2/n3", "n1 n2 / n3", "n1, n2 /n3", "n2,n1 / n3"] {
            assert_eq!(groups(&words(text)).map(|groups| written(&groups)), Ok("n1,n2 / n3".to_owned()), "{text}");
        }
        assert_eq!(groups(&words("n4")).map(|groups| written(&groups)), Ok("n4".to_owned()));
        let how = "; write it as n1,n2 / n3; one group alone is cut off from all others";
        let wrong = [
            ("n1 /", "a group without a node"),
            ("", "a group without a node"),
            ("n1 / n2 / n1", "n1 is named twice"),
            ("n1 / beta", "`beta` is no node of a simulation: n1 to n64"),
        ];
        for (text, problem) in wrong {
            assert_eq!(groups(&words(text)), Err(format!("{problem}{how}")), "{text}");
        }
    }

    #[test]
    fn shares_delays_and_offsets_are_read() {
        assert_eq!(
            ["0%", "5%", "0.5%", "100%", "12.3456%"].map(loss_ppm),
            [0, 50_000, 5_000, 1_000_000, 123_456].map(Ok)
        );
        for wrong in ["5", "101%", "-1%", "%", "5.%", ".5%", "1e2%", "0.00001%", "five%"] {
            assert_eq!(loss_ppm(wrong), Err("not a share (0% to 100%, as 5% or 0.5%)".to_owned()), "{wrong}");
        }
        assert_eq!(["200ms", "1s", "0s"].map(delay_ms), [200, 1_000, 0].map(Ok));
        assert_eq!(delay_ms("2m"), Err("a delay is at most 60 s".to_owned()));
        assert!(delay_ms("soon").is_err());
        assert_eq!(["+30s", "-5m", "1s", "0s"].map(offset_ms), [30_000, -300_000, 1_000, 0].map(Ok));
        assert!(offset_ms("+31days").is_err() && offset_ms("--1s").is_err() && offset_ms("later").is_err());
    }
}
