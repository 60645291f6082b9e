//! Restarts and stops that somebody asked for, of agents with a process and of those without one.

use weft_protocol::{AgentName, Effect, LocalTarget, ProcessId, Refusal, Sender};

use super::tree::Condition;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, Kernel};
use crate::process::{Cause, Found};
use crate::syscall::AgentRef;

/// What is meant by an [`AgentRef`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meant {
    /// A process.
    Living(ProcessId),
    /// An agent between two lives, or given up.
    Resting(AgentName),
}

impl Kernel {
    /// The gate is asked before anybody learns whether such a process exists.
    pub(crate) fn find(
        &mut self,
        by: &Asker,
        agent: &AgentRef,
        action: impl FnOnce(String) -> Action,
    ) -> Result<Meant, Refusal> {
        let (target, name) = match agent {
            AgentRef::Name(name) => (name.to_string(), Some(name.clone())),
            AgentRef::Process(process) => {
                let life = self.processes.all().find(|life| life.process == *process);
                let mut resting = self.supervisors.resting();
                let name = life.map(|life| life.spec.agent.clone()).or_else(|| {
                    resting.find(|(_, child, _)| child.process == *process).map(|(agent, ..)| agent.clone())
                });
                (process.to_string(), name)
            }
        };
        let mut resources = match agent {
            AgentRef::Process(process) => self.resources_of(&LocalTarget::Process(*process)),
            AgentRef::Name(_) => Vec::new(),
        };
        resources.extend(name.iter().flat_map(|name| self.resources_of(&LocalTarget::Agent(name.clone()))));
        let action = by.wants(action(target.clone()));
        let permit = self.judge(&by.sender, &action, &resources, &by.grants, None)?;
        self.use_grant(&by.sender, &permit);
        let resting = name.filter(|name| self.supervisors.get(name).is_some_and(|child| child.rest.is_some()));
        match agent {
            AgentRef::Name(name) => match (self.processes.named(name), resting) {
                (Some(process), _) => Ok(Meant::Living(process)),
                (None, Some(name)) => Ok(Meant::Resting(name)),
                (None, None) => Err(Refusal::NoResponder { target }),
            },
            AgentRef::Process(process) => {
                let is_last = |name: &AgentName| self.supervisors.get(name).is_some_and(|it| it.process == *process);
                match (self.processes.find(*process), resting.filter(is_last)) {
                    (Found::Living, _) => Ok(Meant::Living(*process)),
                    (_, Some(name)) => Ok(Meant::Resting(name)),
                    (Found::Gone, None) => Err(Refusal::Gone { process: *process }),
                    (Found::Never, None) => Err(Refusal::NoResponder { target }),
                }
            }
        }
    }

    /// Stops an agent that has no process: it is not started again.
    pub(crate) fn stop_resting(&mut self, agent: &AgentName, by: &Sender, ask: AskId) {
        let Some(child) = self.supervisors.get(agent) else { return };
        let Some(rest) = &child.rest else { return };
        let (process, reason) = (child.process, rest.exit.clone());
        let (principal, from) = (by.principal.clone(), self.abroad(by));
        let effect = Effect::Stop { process, agent: agent.clone(), by: principal, from };
        let seq = self.record_done(&self.source(by), effect);
        self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Stopped { process, reason }) });
        self.leave_plan(agent);
        self.supervisors.forget(agent);
        self.advertise();
    }

    /// Starts an agent anew; the answer follows when its next process runs and that is recorded.
    pub(crate) fn on_restart(&mut self, ask: AskId, by: &Asker, agent: &AgentRef) {
        let restarted = self.find(by, agent, |target| Action::Restart { target });
        let restarted = restarted.and_then(|meant| match meant {
            Meant::Living(process) => self.restart_living(process, &by.sender, ask),
            Meant::Resting(agent) => {
                self.restart_resting(&agent, &by.sender, ask);
                Ok(())
            }
        });
        if let Err(refusal) = restarted {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn restart_living(&mut self, process: ProcessId, by: &Sender, ask: AskId) -> Result<(), Refusal> {
        let life = self.processes.living(process).ok_or(Refusal::Gone { process })?;
        let agent = life.spec.agent.clone();
        match life.stop.as_ref().map(|stop| &stop.cause) {
            None | Some(Cause::Again) => {}
            Some(Cause::Terminated { .. }) => return Err(self.restarting(&agent).unwrap_or(Refusal::Gone { process })),
            Some(Cause::Asked | Cause::NodeStops) => return Err(Refusal::Gone { process }),
        }
        let effect = Effect::Restart { process, agent, by: by.principal.clone(), from: self.abroad(by) };
        self.end(&self.source(by), process, effect, Cause::Again, self.config.grace_us, Some(ask));
        Ok(())
    }

    fn restart_resting(&mut self, agent: &AgentName, by: &Sender, ask: AskId) {
        let Some(child) = self.supervisors.get(agent) else { return };
        let (process, given_up) = (child.process, matches!(child.condition, Condition::Failed { .. }));
        let (principal, from) = (by.principal.clone(), self.abroad(by));
        let effect = Effect::Restart { process, agent: agent.clone(), by: principal, from };
        self.record_done(&self.source(by), effect);
        self.leave_plan(agent);
        if given_up {
            self.supervisors.forgive(agent);
        }
        self.start_again(agent, vec![ask]);
    }
}
