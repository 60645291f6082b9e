//! Agents of this node and how they are started.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::health::ProbeJson;
use crate::capability::GrantSpec;
use crate::envelope::Refusal;
use crate::failover::{Failover, are_labels};
use crate::id::{AgentName, ServiceName};
use crate::limits::{GRANTS_MAX, LABEL_BYTES_MAX, LABELS_MAX, NEEDS_MAX};
use crate::process::{AgentSpec, Backend, Membership, Resource, ResourceLimits, RestartPolicy};
use crate::sandbox::SandboxPolicy;

/// The body of `POST /v1/agents`, and the arguments of the tool call `agent.spawn`. Exactly one of `builtin`, `exec`, `wasm`,
/// `image` and `tee` is given; of these, this version runs the first two.
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
    /// A WebAssembly module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<String>,
    /// The image of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A trusted execution environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tee: Option<String>,
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
    /// The node on which it is started, by name or id; this one, without. Not among the arguments of a tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// How long another node may take to start it, in milliseconds; 30,000 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Whether it is told of the ends of those it is linked to, instead of ending with them.
    #[serde(default)]
    pub traps_exits: bool,
    /// With whom it exchanges messages: `all`, `parent-only`, `restricted:a,b@NODE-ID`, `topic:jobs.*` or `none`; as whoever
    /// spawns it, or with everybody, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_scope: Option<String>,
    /// What it may touch and do on its machine, for a program; as whoever spawns it, or as every program, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxJson>,
    /// Whether it is started on another node when its own is dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failover: bool,
    /// Labels that its node must have, with their values: `{"role": "gpu"}`. Not among the arguments of a tool call.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether it is started where the fewest agents run. Not among the arguments of a tool call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub least_loaded: bool,
}

impl SpawnRequest {
    /// What it asks for, on whichever node.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] that says what is wrong with it: nothing changed.
    pub fn into_spec(self) -> Result<AgentSpec, Refusal> {
        let agent: AgentName = self.agent.parse()?;
        let missing = [
            ("wasm", &self.wasm, "this version has no WebAssembly engine"),
            ("container", &self.image, "this version speaks to no container engine"),
            ("tee", &self.tee, "this version knows no trusted execution environment"),
        ];
        let named = missing.iter().filter(|(_, named, _)| named.is_some()).count();
        if named + usize::from(self.builtin.is_some()) + usize::from(self.exec.is_some()) != 1 {
            return Err(invalid("exactly one of `builtin`, `exec`, `wasm`, `image` and `tee` says what runs"));
        }
        if let Some((backend, _, reason)) = missing.iter().find(|(_, named, _)| named.is_some()) {
            return Err(Refusal::BackendNotAvailable {
                backend: (*backend).to_owned(),
                reason: (*reason).to_owned(),
                instead: "--exec 'CMD' runs a program that speaks JSON-RPC lines, --builtin KIND what comes along"
                    .to_owned(),
            });
        }
        let backend = match (self.builtin, self.exec) {
            (Some(kind), None) => {
                if !self.environment.is_empty() || self.trusted {
                    return Err(invalid("a built-in agent has no environment and needs no trust"));
                }
                Backend::Builtin(kind.parse()?)
            }
            (None, Some(command)) if command.first().is_some_and(|program| !program.is_empty()) => {
                Backend::Command { command, environment: self.environment, trusted: self.trusted }
            }
            (None, Some(_)) => return Err(invalid("`exec` names no program")),
            (Some(_), Some(_)) | (None, None) => return Err(invalid("one of `builtin` and `exec` says what runs")),
        };
        let restart = self.restart.as_deref().map_or(Ok(RestartPolicy::Temporary), str::parse)?;
        let group = match (self.group, self.strategy) {
            (Some(group), strategy) => {
                let strategy = strategy.as_deref().map(str::parse).transpose()?;
                Some(Membership { group: group.parse()?, strategy })
            }
            (None, Some(_)) => return Err(invalid("`strategy` says how a `group` restarts; none is named")),
            (None, None) => None,
        };
        if self.grants.len() > GRANTS_MAX {
            return Err(invalid(format!("{} grants, at most {GRANTS_MAX}", self.grants.len())));
        }
        let grants = self.grants.iter().map(|grant| grant.parse()).collect::<Result<Vec<GrantSpec>, _>>()?;
        let probes = self.probes.iter().map(ProbeJson::to_spec).collect::<Result<Vec<_>, _>>()?;
        if self.needs.len() > NEEDS_MAX {
            return Err(invalid(format!("{} needs, at most {NEEDS_MAX}", self.needs.len())));
        }
        let needs = self.needs.iter().map(|service| service.parse()).collect::<Result<Vec<ServiceName>, _>>()?;
        if !self.labels.is_empty() && !are_labels(&self.labels) {
            let message =
                format!("`where` has at most {LABELS_MAX} labels of 1 to {LABEL_BYTES_MAX} bytes, with their values");
            return Err(invalid(message));
        }
        let failover = self.failover.then_some(Failover { labels: self.labels, fence: None });
        Ok(AgentSpec {
            agent,
            backend,
            restart,
            grants,
            limits: self.limits.asked(),
            group,
            probes,
            needs,
            traps_exits: self.traps_exits,
            ipc_scope: self.ipc_scope.as_deref().map(str::parse).transpose()?,
            sandbox: self.sandbox.as_ref().map(SandboxJson::asked).transpose()?,
            failover,
        })
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::Invalid { message: message.into() }
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

impl LimitsJson {
    /// The bounds that a request asks for, where 0 is none at all.
    fn asked(&self) -> ResourceLimits {
        let read = |asked: Option<u64>| asked.map(|bound| if bound == 0 { ResourceLimits::UNBOUNDED } else { bound });
        ResourceLimits {
            memory_bytes: read(self.memory_bytes),
            cpu_us: read(self.cpu_us),
            disk_bytes: read(self.disk_bytes),
            messages: read(self.messages),
            tool_calls: read(self.tool_calls),
        }
    }

    /// The bounds in force; null for what has none.
    #[must_use]
    pub fn in_force(limits: &ResourceLimits) -> Self {
        Self {
            memory_bytes: limits.bound(Resource::Memory),
            cpu_us: limits.bound(Resource::Cpu),
            disk_bytes: limits.bound(Resource::Disk),
            messages: limits.bound(Resource::Messages),
            tool_calls: limits.bound(Resource::ToolCalls),
        }
    }
}

/// What an agent that is a program may touch and do on its machine, more or less than every such agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxJson {
    /// What it may touch besides, with everything below: `/data` or `/data:ro` to read, `/data:rw` to read and write. At most
    /// 32, from the root, without links.
    #[serde(default)]
    pub allowed_paths: Vec<String>,
    /// What of the files that every agent may touch it may not, with everything below. At most 32.
    #[serde(default)]
    pub denied_paths: Vec<String>,
    /// Whether it may use the network.
    #[serde(default = "yes")]
    pub allow_network: bool,
    /// Whether it may start other programs, shells among them.
    #[serde(default = "yes")]
    pub allow_shell: bool,
}

const fn yes() -> bool {
    true
}

/// The words of [`SandboxPolicy`].
impl fmt::Display for SandboxJson {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asked() {
            Ok(policy) => policy.fmt(formatter),
            Err(refusal) => refusal.fmt(formatter),
        }
    }
}

impl SandboxJson {
    fn asked(&self) -> Result<SandboxPolicy, Refusal> {
        SandboxPolicy::of(&self.allowed_paths, &self.denied_paths, self.allow_network, self.allow_shell)
    }

    /// The policy as it stands.
    #[must_use]
    pub fn of(policy: &SandboxPolicy) -> Self {
        Self {
            allowed_paths: policy.allowed_paths.iter().map(ToString::to_string).collect(),
            denied_paths: policy.denied_paths.clone(),
            allow_network: policy.allow_network,
            allow_shell: policy.allow_shell,
        }
    }
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
    /// `running`, or what became of it meanwhile.
    pub state: String,
}

/// The arguments of the tool calls that say no more than which agent is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentToolRequest {
    /// Its name, or its process (`#12.3`).
    pub agent: String,
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
    /// Of an agent that outlives its node, the fence under which this node holds it; null where it does not.
    #[serde(default)]
    pub fence: Option<u64>,
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
    /// Whether it is told of the ends of those it is linked to, instead of ending with them.
    #[serde(default)]
    pub traps_exits: bool,
    /// With whom it exchanges messages.
    #[serde(default)]
    pub ipc_scope: String,
    /// What it may touch and do on its machine; null of one that has what every program has.
    #[serde(default)]
    pub sandbox: Option<SandboxJson>,
    /// Agents that it is linked to, each with its process: `words #12.3`.
    #[serde(default)]
    pub links: Vec<String>,
    /// Agents whose end it hears of, each with its process, and its node's id when that is another one:
    /// `words #12.3`.
    #[serde(default)]
    pub monitors: Vec<String>,
}
