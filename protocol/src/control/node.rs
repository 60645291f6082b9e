//! What a node says about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterJson {
    /// The name that every member derives from the id.
    pub name: String,
    /// The id.
    pub id: String,
}

/// What `up` and `join` say once the node serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpReport {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Its home folder.
    pub home: String,
    /// Its process.
    pub pid: u32,
    /// Multiaddresses it listens on.
    pub listen: Vec<String>,
    /// Its cluster.
    pub cluster: ClusterJson,
    /// Members of the cluster, this node included.
    pub members: u64,
}

/// The answer to `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// Its home folder.
    pub home: String,
    /// Its cluster.
    pub cluster: ClusterJson,
    /// `booting`, `running`, `shutting-down`, or `damaged` when its store can no longer be written.
    pub state: String,
    /// Which of its chains it writes.
    pub incarnation: String,
    /// Why it does not write its first one any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation_reason: Option<String>,
    /// Whether it still asks members how much of its chain they hold: what must be recorded waits.
    #[serde(default)]
    pub asking: bool,
    /// Living agents.
    pub agents: u64,
    /// Members of the cluster, this node included.
    pub members: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// `provisional`: no prefix of the total order is final yet.
    pub order: String,
    /// Multiaddresses it listens on.
    pub listen: Vec<String>,
    /// As what it was admitted.
    pub role: String,
    /// The program's version.
    pub version: String,
    /// `healthy`, `degraded`, or `unhealthy` when the node itself is.
    pub health: String,
    /// What is not well, one line each.
    pub health_reasons: Vec<String>,
    /// Handshakes that were refused lately, the newest first.
    pub refusals: Vec<RefusalRow>,
    /// How often since the start a member asked for more than it may (`limits.messages_per_second` and others).
    #[serde(default)]
    pub over_rate: u64,
    /// Phases of its start that are over, in order; `ready` is the last.
    #[serde(default)]
    pub phases: Vec<PhaseRow>,
    /// Bounds it runs within.
    #[serde(default)]
    pub limits: Vec<LimitRow>,
    /// What was read of the store in the background, and what was found.
    #[serde(default)]
    pub scrub: ScrubReport,
    /// What is asked of the LAN, and what it says.
    #[serde(default)]
    pub mdns: MdnsReport,
    /// How far its clock was set off when it started, in milliseconds, to see what that does (`weft sim fault skew`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

/// Members that are missed are asked for on the LAN, by multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MdnsReport {
    /// `on`, `off` (`network.mdns`), `idle` while the node listens for its own machine alone, `failed`.
    pub state: String,
    /// Why it failed, or does at one of the places, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Addresses of the interfaces that take part.
    #[serde(default)]
    pub places: Vec<String>,
    /// How often since the start it was asked for a member.
    #[serde(default)]
    pub asked: u64,
    /// How often this node answered.
    #[serde(default)]
    pub answered: u64,
    /// Packets of other machines that were heard, whatever they are about.
    #[serde(default)]
    pub heard: u64,
    /// Answers that said where a missed member is.
    #[serde(default)]
    pub found: u64,
}

/// The scrub: everything that is stored is read and checked, once in each period.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ScrubReport {
    /// Seconds in which one pass is made; none when it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_s: Option<u64>,
    /// When it reads on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The pass that is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<ScrubPassRow>,
    /// How much of that is done, in hundredths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_percent: Option<u64>,
    /// The last pass that ended; none since the start, which verifies everything itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScrubPassRow>,
    /// What is not what was written, and what of it was mended since; at most 64.
    #[serde(default)]
    pub finds: Vec<ScrubFindRow>,
    /// What was found beyond those.
    #[serde(default)]
    pub finds_forgotten: u64,
}

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubPassRow {
    /// When it began.
    pub begun: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Rows it read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something stored that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubFindRow {
    /// In which table of the store.
    pub table: String,
    /// The chain that it belongs to, when it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The commit of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// What was found.
    pub reason: String,
    /// When.
    pub since: String,
    /// When it was as it was written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended_at: Option<String>,
    /// Which member gave what was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended_by: Option<String>,
}

/// One phase of a start that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhaseRow {
    /// `init`, `config`, `services`, `resource-tree`, `agents`, `network`, `ecc` or `ready`.
    pub phase: String,
    /// `done`, `degraded`, or `not built in`.
    pub result: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// One bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitRow {
    /// Of what.
    pub name: String,
    /// How much is used; none when nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// How much there may be.
    pub most: u64,
}

/// The answer to `GET /v1/boot-log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BootLogReport {
    /// Whether the last phase is over.
    pub ready: bool,
    /// Phases that are over, in order.
    pub phases: Vec<PhaseRow>,
    /// Lines, the oldest first; at most 1,024.
    pub entries: Vec<BootRow>,
    /// Lines that had to make room.
    pub forgotten: u64,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BootRow {
    /// When.
    pub at: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// In which phase.
    pub phase: String,
    /// What.
    pub message: String,
}

/// One refused handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalRow {
    /// When.
    pub at: String,
    /// The other side, as its key says.
    pub node: String,
    /// Where from, or where to.
    pub address: String,
    /// Whether this node refused; otherwise it was refused.
    pub by_us: bool,
    /// Stable: `not-a-member`, `wrong-cluster`, …
    pub code: String,
    /// Why, in one line.
    pub message: String,
    /// What the refused side does next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
}

impl StatusReport {
    /// The part of it that `up` and `join` print.
    #[must_use]
    pub fn up(&self) -> UpReport {
        UpReport {
            node: self.node.clone(),
            name: self.name.clone(),
            home: self.home.clone(),
            pid: self.pid,
            listen: self.listen.clone(),
            cluster: self.cluster.clone(),
            members: self.members,
        }
    }
}

/// The answer to `POST /v1/down`: everything is on disk and sealed, the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DownReport {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// The process that ends.
    pub pid: u32,
    /// The agents that were alive and were stopped, in the order in which that was asked of them.
    #[serde(default)]
    pub stopped: Vec<StoppedRow>,
    /// From the request to the last record on disk, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
}

/// The answer to `POST /v1/leave`: what outlives the node is held by others, everything is on disk, the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaveReport {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// The process that ends.
    pub pid: u32,
    /// The agents that outlive it.
    pub handed: Vec<HandedRow>,
    /// The other agents that were alive and were stopped.
    pub stopped: Vec<StoppedRow>,
    /// From the request to the last record on disk, in milliseconds.
    pub took_ms: u64,
}

/// One agent that was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HandedRow {
    /// Its name.
    pub agent: String,
    /// The name of the node that holds it now; null when none did within ten seconds.
    pub to: Option<String>,
}

/// One agent that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoppedRow {
    /// Its name.
    pub agent: String,
    /// Which life of it.
    pub process: String,
}

/// The answer of `livez` and `readyz`: 200 when all is well, 503 otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProbeReport {
    /// Whether all is well.
    pub ok: bool,
    /// Where the node stands: `running`, `booting`, …; `stuck` when it does not answer.
    pub state: String,
    /// `healthy`, `degraded` or `unhealthy`; `unknown` when it does not answer.
    pub health: String,
    /// What is not well, one line each.
    pub reasons: Vec<String>,
}
