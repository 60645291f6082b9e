//! Agents that run here for the time of a lease: begun when it is gained, ended when it is lost, left alone by a restart.

use std::sync::Arc;

use weft_protocol::{AgentName, Backend, Effect, ExitReason, LocalTarget, Refusal};

use crate::action::Action;
use crate::event::Leased;
use crate::ipc::shortened;
use crate::kernel::{Asker, Kernel};
use crate::process::Cause;

impl Kernel {
    /// Starts the agent; one that may not run here, or cannot, leaves its lease unused.
    pub(crate) fn on_lease_gained(&mut self, leased: Leased) {
        let (agent, fence, ask) = (leased.spec.agent.clone(), leased.fence, leased.ask);
        if let Err(refusal) = self.start_leased(leased) {
            ask.into_iter().for_each(|ask| self.effects.answer(ask, Err(refusal.clone())));
            self.effects.leave_lease(agent, fence, refusal);
        }
    }

    /// What this node declared itself was judged then; what another one did is somebody's start from abroad.
    fn start_leased(&mut self, leased: Leased) -> Result<(), Refusal> {
        let Leased { mut spec, fence, by, role, ask } = leased;
        let asker = match role {
            None => self.asker(&by.principal)?,
            Some(_) => Asker { sender: by, grants: Arc::default(), foreign: Vec::new(), role, reach: None },
        };
        if role.is_some() {
            let resources = self.resources_of(&LocalTarget::Agent(spec.agent.clone()));
            let action = asker.wants(Action::Spawn { agent: spec.agent.clone() });
            self.judge(&asker.sender, &action, &resources, &asker.grants, None)?;
        }
        self.check_trust(&asker, &spec)?;
        spec.failover.get_or_insert_default().fence = Some(fence);
        self.spawn_permitted(&asker, spec, ask)
    }

    /// Ends the agent, whichever of its lives it is in or between.
    pub(crate) fn on_lease_lost(&mut self, agent: &AgentName, reason: String, at_once: bool) {
        let process = self.processes.named(agent);
        let leased = process.and_then(|process| self.processes.living(process));
        if leased.is_some_and(|life| life.spec.failover.is_none()) {
            return;
        }
        self.leave_plan(agent);
        self.supervisors.forget(agent);
        if let Some(process) = process {
            let reason = shortened(&reason);
            let effect = Effect::Terminate { process, agent: agent.clone(), reason: reason.clone() };
            let cause = Cause::Terminated { exit: ExitReason::Terminated { reason }, fails: false };
            let grace_us = if at_once { 0 } else { self.config.grace_us };
            let _joined = self.end("kernel", process, effect, cause, grace_us, None);
        }
        self.advertise();
    }

    /// Whether a process goes by that name, also while it ends, or is about to.
    #[must_use]
    pub fn is_named(&self, agent: &AgentName) -> bool {
        self.processes.named(agent).is_some() || self.restarting(agent).is_some()
    }
}

/// Whether an agent can outlive its node at all: what it needs must be there on another one.
pub fn check_failover(spec: &weft_protocol::AgentSpec) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::Invalid { message: message.to_owned() });
    match &spec.backend {
        Backend::Command { trusted: true, .. } => {
            invalid("a trusted program runs on one operator's word and cannot move: leave --trusted or --failover out")
        }
        Backend::Command { .. } | Backend::Builtin(_) if !spec.needs.is_empty() => {
            invalid("an agent that outlives its node waits for no services: leave --needs or --failover out")
        }
        Backend::Command { .. } | Backend::Builtin(_) if spec.group.is_some() => {
            invalid("an agent that outlives its node shares no group's fate: leave --group or --failover out")
        }
        Backend::Command { .. } | Backend::Builtin(_) => Ok(()),
    }
}
