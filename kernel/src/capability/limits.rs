//! Bounds in force: what was measured or counted is held against them, the process is told in time, and ended or refused.

use weft_protocol::{AgentSpec, Backend, ExitReason, Fact, ProcessId, Refusal, Resource, ResourceLimits, ResourceUse};

use super::usage::Standing;
use crate::event::{AskId, Measured};
use crate::ipc::shortened;
use crate::kernel::{Asker, Kernel};

impl Kernel {
    /// The bounds of a process of this kind: what it was spawned with, and for a program the node's defaults where that says
    /// nothing.
    pub(crate) fn limits_of(&self, spec: &AgentSpec) -> ResourceLimits {
        match &spec.backend {
            Backend::Builtin(_) => spec.limits.clone(),
            Backend::Command { .. } => spec.limits.or(&self.config.limits),
        }
    }

    /// Whoever runs a process measured what it uses. Far too much of one thing ends it; the first that is found is named.
    pub(crate) fn on_resources_measured(&mut self, process: ProcessId, measured: Measured) {
        let Some(life) = self.processes.living_mut(process) else { return };
        life.usage.measure(measured);
        for resource in [Resource::Memory, Resource::Cpu, Resource::Disk] {
            let Some(life) = self.processes.living_mut(process).filter(|life| life.stop.is_none()) else {
                return;
            };
            match life.usage.standing(resource, &life.limits) {
                Standing::Within => {}
                Standing::Near { measured, limit } => self.warn(process, resource, measured, limit),
                Standing::Over { measured, limit } => self.end_over_limit(process, resource, measured, limit),
            }
        }
    }

    /// Counts one message or tool call of an agent before it is let on; an operator's are not counted.
    pub(crate) fn spend(&mut self, by: &Asker, resource: Resource) -> Result<(), Refusal> {
        let Some(process) = by.process() else { return Ok(()) };
        let Some(life) = self.processes.living_mut(process) else { return Err(Refusal::Gone { process }) };
        if let Standing::Over { limit, .. } = life.usage.standing(resource, &life.limits) {
            let rule = format!("limit {resource}={limit}");
            self.deny(&by.sender, "use", &resource.to_string(), &rule, None);
            return Err(Refusal::LimitReached { resource, limit });
        }
        match resource {
            Resource::Messages => life.usage.count_message(),
            Resource::ToolCalls => life.usage.count_tool_call(),
            // These are measured, not counted.
            Resource::Memory | Resource::Cpu | Resource::Disk => {}
        }
        match life.usage.standing(resource, &life.limits) {
            Standing::Near { measured, limit } => self.warn(process, resource, measured, limit),
            // The last one that is left is let on; the next is refused.
            Standing::Within | Standing::Over { .. } => {}
        }
        Ok(())
    }

    /// Counts a call of a tool. No tool exists, so what is within its bound is answered as not supported.
    pub(crate) fn on_call_tool(&mut self, ask: AskId, by: &Asker, name: &str) {
        let spent = self.spend(by, Resource::ToolCalls);
        let nothing = || Refusal::Unsupported { what: format!("the tool {}", shortened(name)) };
        self.effects.answer(ask, Err(spent.map_or_else(|refusal| refusal, |()| nothing())));
    }

    fn warn(&mut self, process: ProcessId, resource: Resource, measured: u64, limit: u64) {
        if let Some(used) = self.resource_use(process, resource, measured, limit) {
            self.chain.append("kernel", &Fact::ResourceWarned(used), self.now);
            self.effects.warn(process, resource, measured, limit);
        }
    }

    fn end_over_limit(&mut self, process: ProcessId, resource: Resource, measured: u64, limit: u64) {
        let Some(used) = self.resource_use(process, resource, measured, limit) else { return };
        self.chain.append("kernel", &Fact::ResourceExceeded(used), self.now);
        self.fail_process(process, ExitReason::OverLimit { resource, measured, limit });
    }

    fn resource_use(&self, process: ProcessId, resource: Resource, measured: u64, limit: u64) -> Option<ResourceUse> {
        let agent = self.processes.living(process)?.spec.agent.clone();
        Some(ResourceUse { process, agent, resource, measured, limit })
    }
}

/// Refuses bounds that nobody could keep.
pub(crate) fn check_limits(spec: &AgentSpec) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::Invalid { message });
    for resource in Resource::ALL {
        match (spec.limits.said(resource), resource, &spec.backend) {
            (Some(0), _, _) => return invalid(format!("a {resource} limit of 0 lets nothing run")),
            (Some(_), Resource::Memory | Resource::Cpu | Resource::Disk, Backend::Builtin(_)) => {
                return invalid(format!(
                    "a built-in agent runs inside the node, so its {resource} cannot be measured: limit messages or \
                     tool-calls"
                ));
            }
            (Some(_) | None, _, _) => {}
        }
    }
    Ok(())
}
