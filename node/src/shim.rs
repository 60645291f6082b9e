//! The hidden command `weft child`: the guard that stands over an agent's processes, and the step that confines the agent.
//!
//! `weft child guard` is the node's child. It leads the agent's process group, adopts every orphan below it, starts
//! `weft child confine`, and waits. When the program ends, the guard ends whatever else is left and passes the exit status
//! on. When the node is gone or asks with SIGTERM, it ends the group: SIGTERM, a second, SIGKILL. The guard itself touches
//! nothing that the agent says.
//!
//! `weft child confine` limits and confines itself, then becomes the program. Where its sandbox allows no other program, the guard
//! sees to it that it becomes one only once (`seal`).

mod confine;
mod guard;
mod seal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use weft_protocol::{ResourceLimits, SandboxPolicy};

pub(crate) use confine::can_confine;

use crate::runners::Confinement;

/// The variable of the environment that holds the plan: unlike arguments, other users cannot read it.
pub(crate) const PLAN_VARIABLE: &str = "WEFT_CHILD";
/// The exit code when the program could not be run at all, as shells use it.
const NOT_RUN: u8 = 126;

/// What is to be run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The process that is the node.
    pub(crate) node: u32,
    /// The program's file.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Its whole environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// What it may touch.
    pub(crate) confinement: Confinement,
    /// Whether it may run where it cannot be confined.
    pub(crate) trusted: bool,
    pub(crate) limits: ResourceLimits,
    /// What it may touch and do, more or less than others; whatever of it cannot be enforced keeps it from running.
    #[serde(default)]
    pub(crate) sandbox: Option<SandboxPolicy>,
}

impl Plan {
    /// Whether the start of the program is the last one that there may be.
    fn starts_once(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| !sandbox.allow_shell)
    }
}

/// Why the program does not run.
#[derive(Debug)]
enum NotRun {
    /// It cannot.
    Failed(String),
    /// It may not: its sandbox cannot be enforced.
    Unenforceable(String),
}

impl From<String> for NotRun {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl From<std::io::Error> for NotRun {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("the guard failed: {error}"))
    }
}

impl From<&str> for NotRun {
    fn from(reason: &str) -> Self {
        Self::Failed(reason.to_owned())
    }
}

/// Runs `weft child WORDS` to its end. Call it before any thread or runtime is started: limits and confinement are the
/// process's.
pub(crate) fn main(words: &[OsString]) -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the plan of this one process, not configuration")]
    let plan = std::env::var(PLAN_VARIABLE).map_err(|error| error.to_string());
    let plan = plan.and_then(|text| serde_json::from_str::<Plan>(&text).map_err(|error| error.to_string()));
    let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
    let ended = match (words.as_slice(), plan) {
        (["guard"], Ok(plan)) => guard::run(&plan),
        (["confine"], Ok(plan)) => Err(confine::run(&plan)),
        (["guard" | "confine"], Err(error)) => {
            Err(format!("only a node runs this command; {PLAN_VARIABLE}: {error}").into())
        }
        _ => Err("only a node runs this command".into()),
    };
    ended.unwrap_or_else(|not_run| {
        match not_run {
            NotRun::Failed(reason) => say(&Word::Failed { reason }),
            NotRun::Unenforceable(reason) => say(&Word::Unenforceable { reason }),
        }
        ExitCode::from(NOT_RUN)
    })
}

/// What is told to the node, as a notification on the pipe that is the agent's output.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Word {
    Started { pid: u32 },
    Failed { reason: String },
    Unenforceable { reason: String },
    Ended { signal: i32 },
}

fn say(word: &Word) {
    let method = match word {
        Word::Started { .. } => "child/started",
        Word::Failed { .. } => "child/failed",
        Word::Unenforceable { .. } => "child/unenforceable",
        Word::Ended { .. } => "child/ended",
    };
    let line = serde_json::json!({"jsonrpc": "2.0", "method": method, "params": word});
    // A line break first: the program may have ended in the middle of a line.
    let mut output = std::io::stdout().lock();
    let _nobody_reads = output.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| output.flush());
}
