//! A run that failed as one file: the scenario, the seed and the steps, from which anybody can see it fail again.

use serde::{Deserialize, Serialize};

use crate::report::SimReport;
use crate::run::run_steps;
use crate::scenario::{Scenario, ScenarioError};
use crate::transition::Step;

/// What such a file says it is.
const FORMAT: &str = "weft-sim-replay/1";
/// Most bytes of such a file: the most steps that a scenario may have, and as many words of why it failed as are kept.
pub const REPLAY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most steps of one: as many as a scenario may have, each with what undoes it.
const STEPS_MAX: usize = 30_000;

/// A run that failed, and the fewest steps that were found to make it fail. Invariant: the scenario is within its ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    format: String,
    /// The program's version that saw it fail.
    pub version: String,
    /// The world.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// What happens in it.
    pub steps: Vec<Step>,
    /// Of how many these are what was left after those were dropped that did not matter.
    pub steps_before: usize,
    /// The hash over everything that happened with these steps.
    pub trace_hash: String,
    /// Why it failed, first things first.
    pub failures: Vec<String>,
}

/// Why there is no replay. The caller's fault; nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Not such a file, or one that was changed so that it is none any more.
    #[error("line {line}: {reason}: not a file that `weft sim run` wrote of a run that failed")]
    Malformed {
        /// Where, from one.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Of another program or another version of this one.
    #[error("the file is of the format `{found}`, and this program reads `{FORMAT}`")]
    Format {
        /// What it says it is.
        found: String,
    },
    /// More steps than a run has.
    #[error("the file has {steps} steps, and at most {STEPS_MAX} are run")]
    TooMany {
        /// How many.
        steps: usize,
    },
    /// A number of its scenario out of its range, or a step of a node that it has not.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

impl Replay {
    /// Of this report, which failed with these steps; they are what was left of so many.
    pub(crate) fn new(scenario: &Scenario, report: &SimReport, steps: Vec<Step>, steps_before: usize) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.clone(),
            seed: report.seed,
            steps,
            steps_before,
            trace_hash: report.trace_hash.clone(),
            failures: report.failures.clone(),
        }
    }

    /// The one in this text.
    ///
    /// # Errors
    /// [`ReplayError`] with the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ReplayError> {
        let malformed =
            |error: serde_json::Error| ReplayError::Malformed { line: error.line(), reason: words(&error.to_string()) };
        let named: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        if let Some(found) = named.get("format").and_then(serde_json::Value::as_str).filter(|found| *found != FORMAT) {
            return Err(ReplayError::Format { found: found.to_owned() });
        }
        let replay: Self = serde_json::from_str(text).map_err(malformed)?;
        if replay.steps.len() > STEPS_MAX {
            return Err(ReplayError::TooMany { steps: replay.steps.len() });
        }
        replay.scenario.check()?;
        replay.scenario.check_steps(&replay.steps)?;
        Ok(replay)
    }

    /// The text of its file.
    ///
    /// # Panics
    /// Never: all of it is numbers, text and lists.
    #[must_use]
    #[expect(clippy::expect_used, reason = "what a scenario is made of always has a JSON form")]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("BUG: a replay is numbers, text and lists") + "\n"
    }

    /// Runs it again. It goes as it went when the trace hash is the same.
    #[must_use]
    pub fn run(&self) -> SimReport {
        run_steps(&self.scenario, self.seed, &self.steps)
    }
}

/// What a parser says, without its own place.
fn words(error: &str) -> String {
    error.split(" at line ").next().unwrap_or(error).to_owned()
}
