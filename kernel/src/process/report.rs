//! One process as the local API and other nodes are told about it.

use weft_protocol::control::{AgentReport, LimitsJson, SandboxJson};
use weft_protocol::{NodeId, Resource, Watched};

use crate::status::{ProcessInfo, ProcessState, Prospect};
use crate::text::time_text;

fn watched_text(target: &Watched, own: NodeId) -> String {
    let Watched { node, agent, process } = target;
    if *node == own { format!("{agent} {process}") } else { format!("{agent}@{node} {process}") }
}

impl ProcessInfo {
    /// Everything about it; `node` is where it runs.
    #[must_use]
    pub fn report(&self, node: NodeId) -> AgentReport {
        let waiting = [("messages_waiting", self.mailbox as u64), ("messages_in_flight", self.in_flight as u64)];
        let waiting = waiting.map(|(name, value)| (name.to_owned(), Some(value)));
        let used = self.used.iter().map(|(resource, used)| (unit_name(*resource).to_owned(), *used)).chain(waiting);
        AgentReport {
            agent: self.agent.to_string(),
            process: self.process.to_string(),
            node: node.to_string(),
            state: self.shown_state(),
            reason: self.shown_reason(),
            backend: self.backend.to_string(),
            pid: self.pid,
            restarts: self.restarts,
            restart: self.restart.to_string(),
            group: self.group.as_ref().map(|membership| membership.group.to_string()),
            strategy: self.group.as_ref().and_then(|membership| membership.strategy).map(|it| it.to_string()),
            restart_at: match self.prospect {
                Prospect::Restart { at } => Some(time_text(at)),
                Prospect::None | Prospect::Failed { .. } => None,
            },
            started_at: self.started_at.map(time_text),
            limits: LimitsJson::in_force(&self.limits),
            used: used.collect(),
            grants: self.grants.iter().map(|grant| format!("{} {}", grant.id, grant.spec)).collect(),
            topics: self.topics.iter().map(ToString::to_string).collect(),
            traps_exits: self.traps_exits,
            ipc_scope: self.ipc_scope.to_string(),
            sandbox: self.sandbox.as_ref().map(SandboxJson::of),
            links: self.links.iter().map(|end| format!("{} {}", end.agent, end.process)).collect(),
            monitors: self.monitors.iter().map(|target| watched_text(target, node)).collect(),
        }
    }

    /// The state of the process, and once it has ended that of its agent.
    #[must_use]
    pub fn shown_state(&self) -> String {
        match (&self.state, &self.prospect) {
            (ProcessState::Exited(_), Prospect::Restart { .. }) => "restarting".to_owned(),
            (ProcessState::Exited(_), Prospect::Failed { .. }) => "failed".to_owned(),
            (state, _) => state.to_string(),
        }
    }

    /// Why it is so, once it has ended.
    #[must_use]
    pub fn shown_reason(&self) -> Option<String> {
        match (&self.state, &self.prospect) {
            (ProcessState::Exited(_), Prospect::Failed { reason }) => Some(reason.clone()),
            (ProcessState::Exited(reason), Prospect::None | Prospect::Restart { .. }) => Some(reason.to_string()),
            (ProcessState::Starting | ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping, _) => {
                None
            }
        }
    }
}

/// The name of a resource with its unit, as in the requests.
const fn unit_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory_bytes",
        Resource::Cpu => "cpu_us",
        Resource::Disk => "disk_bytes",
        Resource::Messages => "messages",
        Resource::ToolCalls => "tool_calls",
    }
}
