//! Letting a process stand still and go on: intent first, then the effect, then its outcome, then the answer.

use weft_protocol::{Effect, EffectResult, ProcessId, Refusal, Sender};

use super::life::Pause;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::status::ProcessState;
use crate::supervisor::Meant;
use crate::syscall::AgentRef;

impl Kernel {
    /// Suspends an agent; the answer follows when it stands still and that is recorded.
    pub(crate) fn on_suspend(&mut self, ask: AskId, by: &Asker, agent: &AgentRef) {
        let meant = self.find(by, agent, |target| Action::Suspend { target });
        self.pause_meant(meant, &by.sender, false, ask);
    }

    /// Lets a suspended agent go on.
    pub(crate) fn on_resume(&mut self, ask: AskId, by: &Asker, agent: &AgentRef) {
        let meant = self.find(by, agent, |target| Action::Resume { target });
        self.pause_meant(meant, &by.sender, true, ask);
    }

    fn pause_meant(&mut self, meant: Result<Meant, Refusal>, by: &Sender, resume: bool, ask: AskId) {
        let process = meant.and_then(|meant| match meant {
            Meant::Living(process) => Ok(process),
            Meant::Resting(agent) => {
                Err(self.restarting(&agent).unwrap_or(Refusal::NoResponder { target: agent.to_string() }))
            }
        });
        if let Err(refusal) = process.and_then(|process| self.pause(process, by, resume, Some(ask))) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    /// Suspends or resumes a process; returns the place of the intent, none when there is nothing to do.
    pub(crate) fn pause(
        &mut self,
        process: ProcessId,
        by: &Sender,
        resume: bool,
        ask: Option<AskId>,
    ) -> Result<Option<u64>, Refusal> {
        let life = self.processes.living_mut(process).ok_or(Refusal::Gone { process })?;
        match (life.state().clone(), &mut life.pause) {
            (ProcessState::Starting, _) => return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US }),
            (ProcessState::Stopping | ProcessState::Exited(_), _) => return Err(Refusal::Gone { process }),
            (_, Some(pause)) if pause.resume == resume => {
                pause.asks.extend(ask);
                return Ok(None);
            }
            (_, Some(_)) => return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US }),
            (ProcessState::Running, None) if resume => return Ok(self.already(process, resume, ask)),
            (ProcessState::Suspended, None) if !resume => return Ok(self.already(process, resume, ask)),
            (ProcessState::Running | ProcessState::Suspended, None) => {}
        }
        let agent = life.spec.agent.clone();
        let (by_whom, from, source) = (by.principal.clone(), self.abroad(by), self.source(by));
        let effect = if resume {
            Effect::Resume { process, agent, by: by_whom, from }
        } else {
            Effect::Suspend { process, agent, by: by_whom, from }
        };
        let intent = self.chain.intent(&source, effect, self.now);
        let (seq, order) = if resume { intent.resume(process) } else { intent.suspend(process) };
        self.chain.hold(seq, order);
        if let Some(life) = self.processes.living_mut(process) {
            life.pause = Some(Pause { intent: seq, asks: ask.into_iter().collect(), resume });
            if !resume {
                // From now on it is handed nothing.
                life.enter(ProcessState::Suspended);
            }
        }
        Ok(Some(seq))
    }

    fn already(&mut self, process: ProcessId, resumed: bool, ask: Option<AskId>) -> Option<u64> {
        if let Some(ask) = ask {
            self.effects.answer(ask, Ok(answer(process, resumed)));
        }
        None
    }

    /// The world says that a process stands still, or goes on: also when it could not be made to stand still.
    pub(crate) fn on_agent_paused(&mut self, process: ProcessId, resumed: bool) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let Some(Pause { intent, asks, resume }) = life.pause.take() else { return };
        if resumed {
            life.enter(ProcessState::Running);
        }
        let done = resume == resumed;
        let reason = "not everything of it stood still in time; it goes on".to_owned();
        let result = if done { EffectResult::Done } else { EffectResult::Failed { reason: reason.clone() } };
        let seq = self.record_outcome(intent, result);
        for ask in asks {
            let answer = if done { Ok(answer(process, resumed)) } else { Err(crate::ipc::failed(&reason)) };
            self.chain.hold(seq, Promise::Answer { ask, answer });
        }
        self.tell_untold(process);
        self.deliver(process);
    }

    /// A process has ended while it was being suspended or resumed.
    pub(super) fn end_pause(&mut self, process: ProcessId, pause: Option<Pause>, why: &str) {
        let Some(Pause { intent, asks, .. }) = pause else { return };
        let seq = self.record_outcome(intent, EffectResult::Failed { reason: why.to_owned() });
        for ask in asks {
            self.chain.hold(seq, Promise::Answer { ask, answer: Err(Refusal::Gone { process }) });
        }
    }
}

const fn answer(process: ProcessId, resumed: bool) -> Answer {
    if resumed { Answer::Resumed { process } } else { Answer::Suspended { process } }
}
