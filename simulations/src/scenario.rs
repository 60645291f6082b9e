//! What a run is made of, read from TOML: how many nodes, how the world behaves, and how often what happens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::network::{LinkClass, LinkSettings};
use crate::ranges::{wrong, wrong_step};
use crate::reading::{nearest, read};
use crate::thresholds::Thresholds;
use crate::transition::{Step, Transition};

/// Largest file of a scenario: every step of the longest script in a hundred bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// Number of nodes, from 2 to 128. Node 0 founds the cluster.
    pub nodes: usize,
    /// Of them, those that join while things happen, not before.
    #[serde(default)]
    pub late: usize,
    /// Of them, the last ones that speak no more than version 1 of the wire; never node 0.
    #[serde(default)]
    pub older: usize,
    /// Of them, the last ones that may lie; never node 0.
    #[serde(default)]
    pub liars: usize,
    /// Up to how many members all are connected to each other, when that is not what a node does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_mesh_max: Option<usize>,
    /// Number of things that happen, besides those that undo others.
    #[serde(default = "some_steps")]
    pub steps: usize,
    /// Least and most time between two of them, in microseconds.
    #[serde(default = "some_pause")]
    pub pause_us: [u64; 2],
    /// How long the nodes may take to agree once everything is whole, in virtual microseconds.
    #[serde(default = "a_minute")]
    pub quiet_us_max: u64,
    /// Links.
    #[serde(default)]
    pub network: LinkSettings,
    /// Groups of nodes, by name, for the classes of links.
    #[serde(default)]
    pub groups: BTreeMap<String, Vec<usize>>,
    /// Links between groups that are not like the others.
    #[serde(default)]
    pub links: Vec<LinkClass>,
    /// Disks.
    #[serde(default)]
    pub disk: DiskSettings,
    /// Clocks.
    #[serde(default)]
    pub clock: ClockSettings,
    /// Agents.
    #[serde(default)]
    pub agents: AgentSettings,
    /// How often each thing happens.
    #[serde(default)]
    pub weights: Weights,
    /// How much it may cost, and how well it must go.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// What must come about at least once, by name, besides what the weights promise.
    #[serde(default)]
    pub promises: Vec<String>,
    /// Whether what is promised need not come about in each run, but over all seeds that are run together: then each run draws by
    /// weight alone what happens in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub over_seeds: bool,
    /// What happens, in place of what would be drawn by weight; `steps` and `pause_us` mean nothing then.
    #[serde(default)]
    pub script: Vec<Scripted>,
}

/// One thing that a scenario lets happen at its time, once or again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// Microseconds after the nodes that begin together have joined.
    pub at_us: u64,
    /// How often.
    #[serde(default = "once")]
    pub times: u64,
    /// Microseconds from one time to the next.
    #[serde(default)]
    pub every_us: u64,
    /// What.
    pub transition: Transition,
}

const fn once() -> u64 {
    1
}

/// What happens without a word about it, as often and as densely as in most scenarios that ship.
const fn some_steps() -> usize {
    60
}

const fn some_pause() -> [u64; 2] {
    [1_000, 150_000]
}

/// How long all may take to agree, without a word about it (guess: ten times what they take as a rule).
const fn a_minute() -> u64 {
    60_000_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Scripted {
    /// Each time it happens.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        (0..self.times).map(|time| {
            let at_us = self.at_us.saturating_add(time.saturating_mul(self.every_us));
            Step { at_us, transition: self.transition.clone() }
        })
    }
}

/// How disks behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSettings {
    /// Least and most time of one transaction with its sync, in microseconds.
    pub write_us: [u64; 2],
    /// Least and most time of a read, in microseconds.
    pub read_us: [u64; 2],
}

impl Default for DiskSettings {
    /// A solid-state disk (guess).
    fn default() -> Self {
        Self { write_us: [200, 3_000], read_us: [20, 200] }
    }
}

/// How wall clocks are off from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSettings {
    /// Each node's clock is ahead or behind by at most this, in microseconds.
    pub offset_us_max: u64,
    /// And gains or loses at most this many microseconds in each second.
    pub drift_ppm_max: u64,
}

/// How agents behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Least and most time to start, in microseconds.
    pub start_us: [u64; 2],
    /// Least and most time to answer, in microseconds.
    pub answer_us: [u64; 2],
    /// The same of the slow agent.
    pub slow_answer_us: [u64; 2],
    /// Messages the slow agent never answers, in a thousand.
    pub never_per_mille: u64,
    /// Messages whose text is too large for a frame, in a thousand.
    pub large_per_mille: u64,
}

impl Default for AgentSettings {
    /// Guesses; the slow agent often misses the default deadline of 5 s.
    fn default() -> Self {
        Self {
            start_us: [100, 5_000],
            answer_us: [20, 2_000],
            slow_answer_us: [500_000, 7_000_000],
            never_per_mille: 200,
            large_per_mille: 0,
        }
    }
}

/// How often each thing happens, relative to the others. What has a weight happens at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// An agent is started.
    pub spawn: u64,
    /// An agent is stopped.
    pub stop: u64,
    /// A plain message is sent.
    pub send: u64,
    /// A durable message is sent.
    pub send_durable: u64,
    /// A plain call.
    pub call: u64,
    /// A durable call.
    pub call_durable: u64,
    /// A publication.
    pub publish: u64,
    /// A subscription.
    pub subscribe: u64,
    /// An invite.
    pub invite: u64,
    /// A node goes down in order and comes back.
    pub shutdown: u64,
    /// A home is put back from an old copy: with members there or not, with one that lags, twice, or all at once.
    pub restore: u64,
    /// Power is lost between writes, and with it all that was not synced.
    pub crash: u64,
    /// The process dies in the middle of a write; what it had written stays.
    pub kill: u64,
    /// Power is lost in the middle of a write; some of its sectors are on disk.
    pub scattered: u64,
    /// Power is lost in the middle of a write, which is cut.
    pub torn: u64,
    /// A disk fails.
    pub disk_error: u64,
    /// The nodes are divided.
    pub partition: u64,
    /// A link fails in one direction.
    pub one_way: u64,
    /// Frames get lost for a while.
    pub loss: u64,
    /// Frames are doubled for a while.
    pub duplicate: u64,
    /// Frames are held up for a while.
    pub delay: u64,
    /// Nodes are separated and joined by turns.
    pub flap: u64,
    /// Frames are held back for a while.
    pub reorder: u64,
    /// What is carried loses bits for a while.
    pub corrupt: u64,
    /// The links of a node are slow for a while.
    pub slow_link: u64,
    /// A disk has no room for a while.
    pub disk_full: u64,
    /// A disk is slow for a while.
    pub slow_disk: u64,
    /// A process is stopped for a while.
    pub freeze: u64,
    /// A node loses power again and again.
    pub churn: u64,
    /// The late nodes come all at once, and not each at its time.
    pub join_storm: u64,
    /// A member that may lie does so for a while, in any way but a second history.
    pub lie: u64,
    /// A clock jumps forward.
    pub clock_forward: u64,
    /// A clock jumps back.
    pub clock_back: u64,
    /// A clock stands still for a while.
    pub clock_freeze: u64,
}

/// Why there is no scenario. The caller's fault; nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither the name of a scenario nor a file.
    #[error("no scenario `{name}`{}: give one of {} or the path of a TOML file", or_near(name), names().join(", "))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Not TOML, an unknown or missing key, or a value of another type.
    #[error("{name}:{line}: {reason}")]
    Malformed {
        /// Which scenario.
        name: String,
        /// Where, from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A number out of its range.
    #[error("{place}: `{field}` must be {expected}")]
    OutOfRange {
        /// Which scenario, and the line when it was read from a text that has the field.
        place: String,
        /// Which field.
        field: String,
        /// What is accepted.
        expected: String,
    },
}

/// What is said beside the name of a scenario that there is not.
fn or_near(name: &str) -> String {
    nearest(name, names()).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

const SHIPPED: [(&str, &str); 26] = [
    ("calm", include_str!("../scenarios/calm.toml")),
    ("partition", include_str!("../scenarios/partition.toml")),
    ("crash", include_str!("../scenarios/crash.toml")),
    ("lossy", include_str!("../scenarios/lossy.toml")),
    ("large", include_str!("../scenarios/large.toml")),
    ("topics", include_str!("../scenarios/topics.toml")),
    ("skew", include_str!("../scenarios/skew.toml")),
    ("join", include_str!("../scenarios/join.toml")),
    ("failover", include_str!("../scenarios/failover.toml")),
    ("fences", include_str!("../scenarios/fences.toml")),
    ("versions", include_str!("../scenarios/versions.toml")),
    ("partial", include_str!("../scenarios/partial.toml")),
    ("elsewhere", include_str!("../scenarios/elsewhere.toml")),
    ("restore", include_str!("../scenarios/restore.toml")),
    ("join-storm", include_str!("../scenarios/join-storm.toml")),
    ("split-brain", include_str!("../scenarios/split-brain.toml")),
    ("crash-in-call", include_str!("../scenarios/crash-in-call.toml")),
    ("rolling-restart", include_str!("../scenarios/rolling-restart.toml")),
    ("clock-chaos", include_str!("../scenarios/clock-chaos.toml")),
    ("liar", include_str!("../scenarios/liar.toml")),
    ("slow-disk", include_str!("../scenarios/slow-disk.toml")),
    ("hot-topic", include_str!("../scenarios/hot-topic.toml")),
    ("flapping", include_str!("../scenarios/flapping.toml")),
    ("faults", include_str!("../scenarios/faults.toml")),
    ("chaos", include_str!("../scenarios/chaos.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
];

/// The names of the scenarios that come with the program.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

/// The text of a scenario that comes with the program.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// The names that reports give to faults and to what faults lead to.
pub fn fault_names() -> impl Iterator<Item = &'static str> {
    Fault::names()
}

/// The names of all weights.
pub(crate) fn weight_names() -> impl Iterator<Item = String> {
    let weights = serde_json::to_value(Weights::default()).unwrap_or_default();
    weights.as_object().cloned().unwrap_or_default().into_iter().map(|(name, _)| name)
}

/// The scenario of this name, or in the file at this path.
///
/// # Errors
/// [`ScenarioError`] when there is none, or it is not a scenario.
pub fn scenario(name_or_path: &str) -> Result<Scenario, ScenarioError> {
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
        return Scenario::parse(name, text);
    }
    if !Path::new(name_or_path).exists() {
        return Err(ScenarioError::Unknown { name: name_or_path.to_owned() });
    }
    let text = read_at_most(name_or_path)
        .map_err(|error| ScenarioError::Unreadable { path: name_or_path.to_owned(), error })?;
    Scenario::parse(name_or_path, &text)
}

fn read_at_most(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes, which no scenario is")));
    }
    Ok(text)
}

impl Scenario {
    /// The scenario in this text; `name` is for errors alone.
    ///
    /// # Errors
    /// [`ScenarioError`] with the first thing that is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        read(name, text)
    }

    /// Whether these steps are of this world.
    ///
    /// # Errors
    /// [`ScenarioError::OutOfRange`] with the first value that is not.
    pub(crate) fn check_steps(&self, steps: &[Step]) -> Result<(), ScenarioError> {
        match wrong_step(steps, self.nodes) {
            Some(wrong) => {
                let (field, expected) = (wrong.path.join("."), wrong.expected);
                Err(ScenarioError::OutOfRange { place: self.name.clone(), field, expected })
            }
            None => Ok(()),
        }
    }

    /// Whether every number is in its range; for scenarios that were changed after reading.
    ///
    /// # Errors
    /// [`ScenarioError::OutOfRange`] with the first field that is not.
    pub fn check(&self) -> Result<(), ScenarioError> {
        match wrong(self) {
            Some(wrong) => {
                let (field, expected) = (wrong.key(), wrong.expected);
                Err(ScenarioError::OutOfRange { place: self.name.clone(), field, expected })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_is_one_and_bears_its_name() {
        for name in names() {
            assert_eq!(scenario(name).expect("shipped").name, name);
        }
    }

    #[test]
    fn a_file_that_is_no_scenario_for_its_size_is_not_read_whole() {
        let error = scenario("/dev/zero").expect_err("endless").to_string();
        assert_eq!(error, "/dev/zero: larger than 1048576 bytes, which no scenario is");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = scenario("clam").expect_err("misspelt").to_string();
        assert!(error.starts_with("no scenario `clam` (did you mean `calm`?): give one of calm, partition"), "{error}");
        let error = scenario("qqqqqqqq").expect_err("nothing like it").to_string();
        assert!(error.starts_with("no scenario `qqqqqqqq`: give one of calm, partition"), "{error}");
    }
}
