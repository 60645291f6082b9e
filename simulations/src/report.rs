//! What a run showed: each check with how often it was made, each fault with how often it struck, and what was real.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ledger::Ledger;
use crate::replay::Replay;

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// Whether it always held.
    pub ok: bool,
    /// How often it was made.
    pub count: u64,
}

/// One run, as `sim run --json` prints it. Fields may be added, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimReport {
    /// Which scenario.
    pub scenario: String,
    /// Under which seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Whether every check held, each was made, and each configured fault struck.
    pub pass: bool,
    /// Hash over everything that happened, in order, without signatures: the same for the same scenario and seed.
    pub trace_hash: String,
    /// How long it lasted in the world's time, in seconds.
    pub virtual_s: f64,
    /// How long it took, in seconds; zero until [`SimReport::with_wall_s`].
    pub wall_s: f64,
    /// Checks by name.
    pub checks: BTreeMap<&'static str, CheckReport>,
    /// How often each fault struck, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// What ran as it ships.
    pub real: Vec<&'static str>,
    /// What the world stood in for.
    pub replaced: Vec<&'static str>,
    /// Why it did not pass, at most 16 reasons.
    pub failures: Vec<String>,
    /// The fewest steps found that make it fail; empty when it passed or was not asked for.
    pub minimal: Vec<String>,
    /// When the first check failed, in virtual microseconds since the nodes that begin together had joined; null when none did.
    pub failed_at_us: Option<u64>,
    /// What it cost, and how far apart the nodes were when.
    pub ledger: Ledger,
    /// From which a failed run can be seen again; none of one that passed, or whose steps were given.
    #[serde(skip)]
    pub replay: Option<Box<Replay>>,
}

impl SimReport {
    /// The report with the time the run took, which only the caller can measure.
    #[must_use]
    pub fn with_wall_s(self, wall_s: f64) -> Self {
        Self { wall_s, ..self }
    }
}

/// What runs as it ships.
pub(crate) const REAL: [&str; 6] = [
    "peer (kernel, discovery, replication)",
    "storage on redb",
    "wire encoding",
    "authentication handshake",
    "signatures and hashes",
    "built-in agents",
];

/// What the world stands in for.
pub(crate) const REPLACED: [&str; 6] =
    ["libp2p", "the clock", "the disk under redb", "entropy", "child processes", "the local API"];
