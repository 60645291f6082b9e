//! How processes begin and end: intent first, then the effect, then its outcome, then the answer.

use weft_protocol::limits::{DELEGATION_DEPTH_MAX, GRANTS_MAX};
use weft_protocol::{
    AgentName, AgentSpec, Backend, Effect, EffectOutcome, EffectResult, ExitReason, Fact, Grant, GrantId, Principal,
    ProcessExited, ProcessId, Refusal, hash,
};

use super::life::{Life, Stop};
use super::table::Found;
use crate::action::Action;
use crate::capability::check_limits;
use crate::chain::{Promise, Writer};
use crate::event::{Answer, AskId};
use crate::ipc::{failed, shortened};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::status::{NodeState, ProcessState};
use crate::syscall::AgentRef;
use crate::timers::Timer;

/// Time beyond the grace time until a stop counts as failed, in microseconds: ending a process group takes milliseconds
/// unless the operating system is stuck (guess).
const KILL_US_MAX: u64 = 3_000_000;

impl Kernel {
    /// Starts an agent; the answer follows when it runs and that is recorded.
    pub(crate) fn on_spawn(&mut self, ask: AskId, by: &Asker, spec: AgentSpec) {
        if let Err(refusal) = self.spawn_asked(ask, by, spec) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn spawn_asked(&mut self, ask: AskId, by: &Asker, spec: AgentSpec) -> Result<(), Refusal> {
        let action = Action::Spawn { agent: spec.agent.clone() };
        self.judge(&by.sender, &action, &[spec.agent.to_string()], &by.grants, None)?;
        self.spawn_permitted(by, spec, Some(ask))
    }

    /// Starts an agent that the gate permitted.
    pub(crate) fn spawn_permitted(&mut self, by: &Asker, spec: AgentSpec, ask: Option<AskId>) -> Result<(), Refusal> {
        check_spec(&spec)?;
        let process = self.free_process(&spec.agent)?;
        let grants = self.grants_for(by, process, &spec)?;
        self.spawn(process, spec, grants, by.sender.principal.clone(), 0, ask)
    }

    /// The id of the next process, when nothing lives under that name.
    fn free_process(&self, agent: &AgentName) -> Result<ProcessId, Refusal> {
        if let Some(process) = self.processes.named(agent) {
            let message = format!("{agent} is alive already, as {process}: stop it first, or choose another name");
            return Err(Refusal::Invalid { message });
        }
        self.processes.next_id().ok_or(Refusal::Busy { retry_after_us: BUSY_RETRY_US })
    }

    /// The grants of a new process: an operator gives any, an agent only what narrows one of its own.
    fn grants_for(&mut self, by: &Asker, process: ProcessId, spec: &AgentSpec) -> Result<Vec<Grant>, Refusal> {
        let mut grants = Vec::with_capacity(spec.grants.len());
        for (number, wanted) in spec.grants.iter().enumerate() {
            let id = self.grant_id(process, number);
            let grant = match by.sender.principal {
                Principal::Operator => {
                    Some(Grant { id, spec: wanted.clone(), expires: None, depth: DELEGATION_DEPTH_MAX })
                }
                Principal::Agent { .. } => by.grants.iter().find_map(|held| held.narrow(id, wanted.clone(), None)),
            };
            let Some(grant) = grant else {
                return Err(self.deny(&by.sender, "grant", &wanted.to_string(), "grant#3", None));
            };
            grants.push(grant);
        }
        Ok(grants)
    }

    /// Unique on this node: no process id is given twice on one chain.
    fn grant_id(&self, process: ProcessId, number: usize) -> GrantId {
        let place = [process.index.to_be_bytes(), process.generation.to_be_bytes()].concat();
        let digest = hash("grant", &[&self.identity.chain.to_bytes(), &place, &(number as u64).to_be_bytes()]);
        let (first, _) = digest.as_bytes().split_at(8);
        GrantId(first.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }

    /// Records the intent and takes the process in; it is started when that is on disk.
    pub(crate) fn spawn(
        &mut self,
        process: ProcessId,
        spec: AgentSpec,
        grants: Vec<Grant>,
        by: Principal,
        restarts: u64,
        ask: Option<AskId>,
    ) -> Result<(), Refusal> {
        let source = by.to_string();
        let effect = Effect::Spawn { process, spec: spec.clone(), grants: grants.clone(), by };
        if !Writer::fits(&source, &[Fact::Intent(Box::new(effect.clone()))]) {
            let message = "the agent's command, environment and grants do not fit into one record of 64 KiB".to_owned();
            return Err(Refusal::Invalid { message });
        }
        let intent = self.chain.intent(&source, effect, self.now);
        let mut life = Life::new(process, spec.clone(), grants, restarts);
        life.limits = self.limits_of(&spec);
        let deadline = self.now.after_us(self.config.start_us_max);
        life.spawn = Some((intent.seq(), deadline));
        life.spawn_ask = ask;
        self.timers.set(deadline, Timer::Start(process));
        self.processes.insert(life);
        let (seq, order) = intent.start(process, spec);
        self.chain.hold(seq, order);
        Ok(())
    }

    /// The world says that a process runs.
    pub(crate) fn on_agent_started(&mut self, process: ProcessId, pid: Option<u32>) {
        let now = self.now;
        let Some(life) = self.processes.living_mut(process) else { return };
        let Some((intent, deadline)) = life.spawn.take() else { return };
        life.pid = pid;
        life.started_at = Some(now);
        let ask = life.spawn_ask.take();
        life.enter(ProcessState::Running);
        self.timers.clear(deadline, Timer::Start(process));
        let seq = self.record_outcome(intent, EffectResult::Done);
        if let Some(ask) = ask {
            self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Spawned { process }) });
        }
        self.advertise();
        self.deliver(process);
    }

    /// Stops a process; the answer follows when it has ended and that is recorded.
    pub(crate) fn on_stop(&mut self, ask: AskId, by: &Asker, agent: &AgentRef) {
        let stopped = self.find_to_stop(by, agent).map(|process| {
            self.stop(process, &by.sender.principal, Some(ask), false);
        });
        if let Err(refusal) = stopped {
            self.effects.answer(ask, Err(refusal));
        }
    }

    /// The gate is asked before anybody learns whether such a process exists.
    fn find_to_stop(&mut self, by: &Asker, agent: &AgentRef) -> Result<ProcessId, Refusal> {
        let (target, process, name) = match agent {
            AgentRef::Name(name) => (name.to_string(), self.processes.named(name), None),
            AgentRef::Process(process) => {
                let life = self.processes.all().find(|life| life.process == *process);
                let name = life.map(|life| life.spec.agent.to_string());
                (process.to_string(), self.processes.living(*process).map(|life| life.process), name)
            }
        };
        let resources = std::iter::once(target.clone()).chain(name).collect::<Vec<_>>();
        self.judge(&by.sender, &Action::Stop { target: target.clone() }, &resources, &by.grants, None)?;
        match (process, agent) {
            (Some(process), _) => Ok(process),
            (None, AgentRef::Process(process)) if self.processes.find(*process) == Found::Gone => {
                Err(Refusal::Gone { process: *process })
            }
            (None, _) => Err(Refusal::NoResponder { target }),
        }
    }

    /// Records the intent of a stop, or joins the one that is under way.
    pub(crate) fn stop(&mut self, process: ProcessId, by: &Principal, ask: Option<AskId>, shutdown: bool) {
        let Some(life) = self.processes.living_mut(process) else { return };
        if let Some(stop) = &mut life.stop {
            stop.asks.extend(ask);
            return;
        }
        let agent = life.spec.agent.clone();
        let effect = Effect::Stop { process, agent, by: by.clone() };
        let intent = self.chain.intent(&by.to_string(), effect, self.now);
        let deadline = self.now.after_us(self.config.grace_us.saturating_add(KILL_US_MAX));
        life.enter(ProcessState::Stopping);
        life.stop = Some(Stop { intent: intent.seq(), asks: ask.into_iter().collect(), deadline, shutdown });
        self.timers.set(deadline, Timer::Stop(process));
        let (seq, order) = intent.stop(process, self.config.grace_us);
        self.chain.hold(seq, order);
        self.advertise();
    }

    /// The world says that a process ended, or never began.
    pub(crate) fn on_agent_exited(&mut self, process: ProcessId, reason: ExitReason) {
        let Some(life) = self.processes.living(process) else { return };
        let shutdown = life.stop.as_ref().is_some_and(|stop| stop.shutdown);
        let reason = match (shortened_reason(reason), &life.over_limit) {
            (ExitReason::Exited { .. } | ExitReason::Killed { .. } | ExitReason::Stopped, Some(over)) => over.clone(),
            (ExitReason::Exited { .. } | ExitReason::Killed { .. } | ExitReason::Stopped, None) if shutdown => {
                ExitReason::NodeStopped
            }
            (reason, _) => reason,
        };
        self.end_process(process, reason, EffectResult::Done);
        if self.state == NodeState::ShuttingDown && self.processes.is_empty() {
            self.finish_shutdown();
        }
    }

    /// Records a process's end and answers everybody who waited for it.
    pub(crate) fn end_process(&mut self, process: ProcessId, reason: ExitReason, stopped: EffectResult) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let (agent, messages) = (life.spec.agent.clone(), life.mailbox.messages());
        let (spawn, spawn_ask, stop) = (life.spawn.take(), life.spawn_ask.take(), life.stop.take());
        if let Some((intent, deadline)) = spawn {
            self.timers.clear(deadline, Timer::Start(process));
            self.record_outcome(intent, EffectResult::Failed { reason: reason.to_string() });
        }
        if let Some(stop) = &stop {
            self.timers.clear(stop.deadline, Timer::Stop(process));
            self.record_outcome(stop.intent, stopped);
        }
        let exited = ProcessExited { process, agent: agent.clone(), reason: reason.clone() };
        let seq = self.chain.append("kernel", &Fact::Exited(exited), self.now).seq;
        if let Some(ask) = spawn_ask {
            self.chain.hold(seq, Promise::Answer { ask, answer: Err(failed(&format!("{agent} {reason}"))) });
        }
        for ask in stop.into_iter().flat_map(|stop| stop.asks) {
            let answer = Ok(Answer::Stopped { process, reason: reason.clone() });
            self.chain.hold(seq, Promise::Answer { ask, answer });
        }
        self.processes.exit(process, reason.clone());
        self.end_mailbox(&messages, &format!("{agent} {reason}"));
        for message in self.calls.of_process(process) {
            self.abandon(&message, &Refusal::Gone { process }, "withdrawn");
        }
        self.topics.leave(process, None);
        self.follow();
        self.advertise();
    }

    /// A start that nobody reported: the process is stopped, and whoever asked is told.
    pub(crate) fn on_start_overdue(&mut self, process: ProcessId) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let (Some((intent, _)), ask) = (life.spawn.take(), life.spawn_ask.take()) else { return };
        let reason = format!("not running after {} ms", self.config.start_us_max / 1_000);
        let seq = self.record_outcome(intent, EffectResult::Failed { reason: reason.clone() });
        if let Some(ask) = ask {
            self.chain.hold(seq, Promise::Answer { ask, answer: Err(failed(&reason)) });
        }
        self.stop(process, &Principal::Operator, None, false);
    }

    /// A stop after which the process is still there: whoever asked is told, the process stays in the table.
    pub(crate) fn on_stop_overdue(&mut self, process: ProcessId) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let Some(stop) = life.stop.take() else { return };
        let reason =
            format!("still there {} ms after it was asked to stop", (self.config.grace_us + KILL_US_MAX) / 1_000);
        let seq = self.record_outcome(stop.intent, EffectResult::Failed { reason });
        for ask in stop.asks {
            let answer = Err(Refusal::Deadline { maybe_executed: true });
            self.chain.hold(seq, Promise::Answer { ask, answer });
        }
    }

    fn record_outcome(&mut self, intent: u64, result: EffectResult) -> u64 {
        self.chain.append("kernel", &Fact::Outcome(EffectOutcome { intent, result }), self.now).seq
    }

    /// Tells the world which agents run here, when that changed.
    pub(crate) fn advertise(&mut self) {
        let running = self.processes.all_living().filter(|life| *life.state() == ProcessState::Running);
        let mut agents = running.map(|life| (life.spec.agent.clone(), life.process)).collect::<Vec<_>>();
        agents.sort_unstable();
        if agents != self.advertised {
            self.advertised.clone_from(&agents);
            self.effects.advertise(agents);
        }
    }
}

fn check_spec(spec: &AgentSpec) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::Invalid { message });
    if spec.grants.len() > GRANTS_MAX {
        return invalid(format!("{} grants, at most {GRANTS_MAX} are accepted", spec.grants.len()));
    }
    check_limits(spec)?;
    match &spec.backend {
        Backend::Builtin(_) => Ok(()),
        Backend::Command { command, .. } if command.first().is_none_or(String::is_empty) => {
            invalid("the agent's command is empty: name a program".to_owned())
        }
        Backend::Command { .. } => Ok(()),
    }
}

fn shortened_reason(reason: ExitReason) -> ExitReason {
    match reason {
        ExitReason::StartFailed { reason } => ExitReason::StartFailed { reason: shortened(&reason) },
        ExitReason::Misbehaved { reason } => ExitReason::Misbehaved { reason: shortened(&reason) },
        ExitReason::Exited { .. }
        | ExitReason::Killed { .. }
        | ExitReason::Stopped
        | ExitReason::NodeStopped
        | ExitReason::OverLimit { .. } => reason,
    }
}
