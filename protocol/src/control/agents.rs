//! Agents of this node and how they are started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::health::ProbeJson;

/// The body of `POST /v1/agents`. Exactly one of `builtin` and `exec` is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpawnRequest {
    /// Its name on this node.
    pub agent: String,
    /// `echo`, `counter` or `clock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<String>,
    /// Program and arguments of a child process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// What its environment holds besides the node's own three variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Whether the child may run where the kernel cannot confine it.
    #[serde(default)]
    pub trusted: bool,
    /// `permanent` (again whenever it ended without having been stopped), `transient` (again after an abnormal end) or
    /// `temporary`; `temporary` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// The group it is supervised in, `shop` or `shop/workers`; the root's own, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How that group restarts: `one-for-one`, `one-for-all` or `rest-for-one`; as it does already, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// What it may do: `call:echo@beta`, `publish:jobs.*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Its bounds.
    #[serde(default)]
    pub limits: LimitsJson,
    /// How it is found out whether it works: at most one liveness and one readiness probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeJson>,
    /// Services that somebody must serve before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// Bounds of one process. In a request null means the node's default and 0 no bound at all; in a report null means no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsJson {
    /// Resident memory of the process and all it started, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Processor time of the process and all it started, in microseconds.
    #[serde(default)]
    pub cpu_us: Option<u64>,
    /// What lies in its own folder, in bytes.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// Messages and publications it sends.
    #[serde(default)]
    pub messages: Option<u64>,
    /// Tools it calls.
    #[serde(default)]
    pub tool_calls: Option<u64>,
}

/// The answer to `POST /v1/agents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpawnReport {
    /// Its name.
    pub agent: String,
    /// Its process, `#12.3`.
    pub process: String,
    /// Its node.
    pub node: String,
}

/// The answer to `POST /v1/agents/{a}/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopReport {
    /// Its name.
    pub agent: String,
    /// The process that ended.
    pub process: String,
    /// Its node.
    pub node: String,
    /// Why it ended.
    pub reason: String,
}

/// The answer to `POST /v1/agents/{a}/suspend` and `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseReport {
    /// Its name.
    pub agent: String,
    /// Its process.
    pub process: String,
    /// Its node.
    pub node: String,
    /// `suspended` or `running`.
    pub state: String,
}

/// The body of `POST /v1/agents/{a}/signal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// `shutdown`, `kill`, `suspend`, `resume`, `ping`, `pong`, `reload-config`, `dump-state` or `user-defined:N`.
    pub signal: String,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignalReport {
    /// Its name.
    pub agent: String,
    /// The process that was told.
    pub process: String,
    /// Its node.
    pub node: String,
    /// What it was told.
    pub signal: String,
    /// The signal that it answered with.
    pub reply: Option<String>,
    /// The conversation.
    pub trace: String,
}

/// The answer to `GET /v1/agents/{a}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogReport {
    /// Its name.
    pub agent: String,
    /// Oldest first.
    pub lines: Vec<LogLine>,
}

/// One line of an agent's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    pub at: String,
    /// `stderr`, a level of `log`, or `weft` for what the node says about the agent.
    pub source: String,
    /// What.
    pub text: String,
}

/// The answer to `GET /v1/agents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentsReport {
    /// By name.
    pub agents: Vec<AgentRow>,
}

/// One agent, in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentRow {
    /// Its name.
    pub agent: String,
    /// Its process.
    pub process: String,
    /// Its node.
    pub node: String,
    /// The name of that node.
    pub name: String,
    /// `starting`, `running`, `suspended`, `stopping` or `exited`; `restarting` between two lives, `failed` when its
    /// supervisor gave it up; `unknown` on a node that cannot be reached.
    pub state: String,
    /// Why it exited.
    pub reason: Option<String>,
    /// Where it runs: `builtin echo`, `exec python3 agent.py`; of an agent on another node `remote`.
    pub backend: String,
    /// How often it was started again; unknown for agents on other nodes.
    pub restarts: Option<u64>,
    /// The group it is supervised in; null when that is the root, or unknown.
    #[serde(default)]
    pub group: Option<String>,
    /// When its process started; unknown for agents on other nodes.
    pub started_at: Option<String>,
}

/// The answer to `GET /v1/agents/{a}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentReport {
    /// Its name.
    pub agent: String,
    /// Its process.
    pub process: String,
    /// Its node.
    pub node: String,
    /// `starting`, `running`, `suspended`, `stopping`, `exited`, `restarting` or `failed`.
    pub state: String,
    /// Why it exited.
    pub reason: Option<String>,
    /// Where it runs.
    pub backend: String,
    /// The operating system's number of it, when it has one.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u64,
    /// When it is started again: `permanent`, `transient` or `temporary`.
    pub restart: String,
    /// The group it is supervised in; null when that is the root.
    pub group: Option<String>,
    /// How that group restarts.
    pub strategy: Option<String>,
    /// When it is started again, of an agent between two lives.
    pub restart_at: Option<String>,
    /// When its process started; null while it starts.
    pub started_at: Option<String>,
    /// Its bounds, those of the node included.
    pub limits: LimitsJson,
    /// What it has used, by the names of `limits` and more; null where nobody measured.
    pub used: BTreeMap<String, Option<u64>>,
    /// What it may do, each with its id.
    pub grants: Vec<String>,
    /// Topics it subscribes to.
    pub topics: Vec<String>,
}
