//! How processes begin and end: intent first, then the effect, then its outcome, then the answer.

use weft_protocol::limits::{GRANTS_MAX, NEEDS_MAX, SCOPE_ENTRIES_MAX};
use weft_protocol::{
    AgentName, AgentSpec, Backend, Effect, EffectOutcome, EffectResult, ExitReason, Fact, Grant, GrantId, GrantTerms,
    LocalTarget, Membership, Principal, ProcessExited, ProcessId, Refusal, Sender, hash,
};

use super::life::{Cause, Life, Stop};
use crate::action::Action;
use crate::capability::{check_limits, check_sandbox};
use crate::chain::{Promise, Writer};
use crate::event::{Answer, AskId};
use crate::health::check_probes;
use crate::ipc::{failed, shortened};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::service::{Held, Waiting};
use crate::status::{NodeState, ProcessState};
use crate::supervisor::{Ended, Meant, Rest};
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
        if spec.failover.is_some() {
            let message =
                "what outlives its node is declared at one of them: weft agent spawn NAME --failover".to_owned();
            return Err(Refusal::Invalid { message });
        }
        let action = by.wants(Action::Spawn { agent: spec.agent.clone() });
        let resources = self.resources_of(&LocalTarget::Agent(spec.agent.clone()));
        let permit = self.weigh(&by.sender, &action, &resources, &by.grants, None);
        if matches!(permit, Err(Refusal::Deferred { .. })) {
            // A person who decides about it finds all of it waiting.
            self.weigh_grants(by, &spec)?;
        }
        let permit = permit?;
        self.check_trust(by, &spec)?;
        check_spec(&spec)?;
        self.free_process(&spec.agent)?;
        self.weigh_grants(by, &spec)?;
        if let Some(deferral) = permit.approval {
            self.spend_approval(deferral);
        }
        match self.hold_for_needs(Waiting::Asked { ask, by: by.clone(), spec }) {
            Held::Ready(ready) => self.start_now(ready),
            Held::Waits => {}
            Held::Refused(_, refusal) => return Err(refusal),
        }
        self.use_grant(&by.sender, &permit);
        Ok(())
    }

    /// Starts an agent that the gate permitted.
    pub(crate) fn spawn_permitted(&mut self, by: &Asker, spec: AgentSpec, ask: Option<AskId>) -> Result<(), Refusal> {
        check_spec(&spec)?;
        let mut spec = spec;
        let process = self.free_process(&spec.agent)?;
        self.check_group(by, spec.group.as_mut())?;
        self.narrow_scope(by, &mut spec)?;
        self.narrow_sandbox(by, &mut spec)?;
        let grants = self.grants_for(by, process, &spec)?;
        self.spawn(process, spec, grants, by.sender.clone(), 0, ask.into_iter().collect())
    }

    /// Whether a program runs where nothing confines it is for the operator of that machine to say.
    pub(crate) fn check_trust(&mut self, by: &Asker, spec: &AgentSpec) -> Result<(), Refusal> {
        match &spec.backend {
            Backend::Command { trusted: true, .. } if by.role.is_some() => {
                let agent = spec.agent.to_string();
                Err(self.deny(&by.sender, "trust", &agent, crate::gate::DEFAULT_CLOSED, None))
            }
            Backend::Command { .. } | Backend::Builtin(_) => Ok(()),
        }
    }

    /// A group shares its fate: an agent brings others into its own group and into no other.
    fn check_group(&mut self, by: &Asker, wanted: Option<&mut Membership>) -> Result<(), Refusal> {
        if let (Some(wanted), Principal::Agent { .. }) = (&wanted, &by.sender.principal) {
            let life = by.process().and_then(|process| self.processes.living(process));
            let own = life.and_then(|life| life.spec.group.as_ref());
            if own.is_none_or(|own| own.group != wanted.group) {
                let group = wanted.group.to_string();
                return Err(self.deny(&by.sender, "join-group", &group, crate::gate::DEFAULT_CLOSED, None));
            }
        }
        self.supervisors.check(wanted, BUSY_RETRY_US)
    }

    /// The id of the next process, when nothing lives under that name.
    fn free_process(&self, agent: &AgentName) -> Result<ProcessId, Refusal> {
        if let Some(process) = self.processes.named(agent) {
            let message = format!("{agent} is alive already, as {process}: stop it first, or choose another name");
            return Err(Refusal::Invalid { message });
        }
        if self.restarting(agent).is_some() {
            let message = format!("{agent} is about to be started again: stop it first, or choose another name");
            return Err(Refusal::Invalid { message });
        }
        if self.is_waiting(agent) {
            let message = format!("{agent} waits for what it needs and starts then: wait, or choose another name");
            return Err(Refusal::Invalid { message });
        }
        self.processes.next_id().ok_or(Refusal::Busy { retry_after_us: BUSY_RETRY_US })
    }

    /// Whether the grants of a new process may be given, all of them: an approval is used up for nothing when one may not.
    fn weigh_grants(&mut self, by: &Asker, spec: &AgentSpec) -> Result<(), Refusal> {
        let mut first = Ok(());
        for wanted in &spec.grants {
            let terms = GrantTerms { spec: wanted.clone(), expires: None, uses: None };
            let weighed = self.weigh_grant(by, GrantId(0), &terms, &spec.agent).map(drop);
            match weighed {
                Ok(()) => {}
                Err(refusal @ Refusal::Deferred { .. }) => first = first.and(Err(refusal)),
                Err(refusal) => return Err(refusal),
            }
        }
        first
    }

    /// The grants of a new process: an operator gives any, an agent only what narrows one of its own.
    fn grants_for(&mut self, by: &Asker, process: ProcessId, spec: &AgentSpec) -> Result<Vec<Grant>, Refusal> {
        let mut grants = Vec::with_capacity(spec.grants.len());
        for (number, wanted) in spec.grants.iter().enumerate() {
            let terms = GrantTerms { spec: wanted.clone(), expires: None, uses: None };
            grants.push(self.grant_for(by, self.grant_id(process, number), &terms, &spec.agent)?);
        }
        Ok(grants)
    }

    /// Unique on this node: no process id is given twice on one chain.
    fn grant_id(&self, process: ProcessId, number: usize) -> GrantId {
        let place = [process.index.to_be_bytes(), process.generation.to_be_bytes()].concat();
        let digest = hash("grant", &[&self.identity.chain.to_bytes(), &place, &(number as u64).to_be_bytes()]);
        GrantId::of(&digest)
    }

    /// Records the intent and takes the process in; it is started when that is on disk.
    pub(crate) fn spawn(
        &mut self,
        process: ProcessId,
        spec: AgentSpec,
        grants: Vec<Grant>,
        by: Sender,
        restarts: u64,
        asks: Vec<AskId>,
    ) -> Result<(), Refusal> {
        let (source, from) = (self.source(&by), self.abroad(&by));
        let (spec_recorded, by_whom) = (spec.clone(), by.principal.clone());
        let effect = Effect::Spawn { process, spec: spec_recorded, grants: grants.clone(), by: by_whom, from };
        if !Writer::fits(&source, &[Fact::Intent(Box::new(effect.clone()))]) {
            let message = "the agent's command, environment and grants do not fit into one record of 64 KiB".to_owned();
            return Err(Refusal::Invalid { message });
        }
        let intent = self.chain.intent(&source, effect, self.now);
        let names = self.names_of(spec.agent.as_str(), spec.agent.as_str());
        let mut life = Life::new(process, spec.clone(), names, grants, by, restarts);
        life.limits = self.limits_of(&spec);
        let deadline = self.now.after_us(self.config.start_us_max);
        life.spawn = Some((intent.seq(), deadline));
        life.spawn_asks = asks;
        self.timers.set(deadline, Timer::Start(process));
        life.grants.iter().for_each(|grant| self.ledger.note(grant));
        // What it holds may be more than it was spawned with, when this is not its first life.
        let grants = life.grants.iter().map(|grant| grant.spec.clone()).collect();
        self.processes.insert(life);
        self.supervisors.begin(process, &spec, restarts);
        let (seq, order) = intent.start(process, AgentSpec { grants, ..spec });
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
        let (asks, stands_still) = (std::mem::take(&mut life.spawn_asks), life.stands_still.take());
        life.enter(ProcessState::Running);
        self.timers.clear(deadline, Timer::Start(process));
        let seq = self.record_outcome(intent, EffectResult::Done);
        for ask in asks {
            self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Spawned { process }) });
        }
        self.watch(process);
        self.advertise();
        if let Some(by) = stands_still {
            // It runs and nothing is under way, so this cannot be refused; from now on it is handed nothing.
            let _intended = self.pause(process, &by, false, None);
        }
        self.tell_untold(process);
        self.deliver(process);
        self.start_waiting();
    }

    /// Stops an agent; the answer follows when it has ended and that is recorded.
    pub(crate) fn on_stop(&mut self, ask: AskId, by: &Asker, agent: &AgentRef) {
        match self.find(by, agent, |target| Action::Stop { target }) {
            Ok(Meant::Living(process)) => self.stop(process, &by.sender, Some(ask), false),
            Ok(Meant::Resting(agent)) => self.stop_resting(&agent, &by.sender, ask),
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    /// Stops a process because somebody asked, or because the node goes down.
    pub(crate) fn stop(&mut self, process: ProcessId, by: &Sender, ask: Option<AskId>, shutdown: bool) {
        let Some(life) = self.processes.living(process) else { return };
        let (agent, from) = (life.spec.agent.clone(), self.abroad(by));
        let effect = Effect::Stop { process, agent, by: by.principal.clone(), from };
        let cause = if shutdown { Cause::NodeStops } else { Cause::Asked };
        self.end(&self.source(by), process, effect, cause, self.config.grace_us, ask);
    }

    /// Records the intent of an end, or joins the one that is under way unless this one prevails: the wish that somebody's
    /// agent stops prevails over every other end of it, and an end without grace over one with it. Returns the place of the
    /// intent when there is a new one.
    pub(crate) fn end(
        &mut self,
        source: &str,
        process: ProcessId,
        effect: Effect,
        cause: Cause,
        grace_us: u64,
        ask: Option<AskId>,
    ) -> Option<u64> {
        let life = self.processes.living_mut(process)?;
        let again = cause == Cause::Again;
        if let Some(stop) = &mut life.stop {
            if again {
                stop.again_asks.extend(ask)
            } else {
                stop.asks.extend(ask)
            }
            let prevails = cause == Cause::Asked && matches!(stop.cause, Cause::Again | Cause::Terminated { .. });
            let hastens = grace_us == 0 && !stop.at_once;
            if !prevails && !hastens && !stop.overdue {
                return None;
            }
            if std::mem::take(&mut stop.overdue) {
                stop.deadline = self.now.after_us(grace_us.saturating_add(KILL_US_MAX));
                self.timers.set(stop.deadline, Timer::Stop(process));
            }
            if prevails {
                stop.cause = cause;
            }
            stop.at_once |= hastens;
            let intent = self.chain.intent(source, effect, self.now);
            stop.intents.push(intent.seq());
            let (seq, order) = intent.stop(process, grace_us);
            self.chain.hold(seq, order);
            self.advertise();
            return Some(seq);
        }
        let intent = self.chain.intent(source, effect, self.now);
        let deadline = self.now.after_us(grace_us.saturating_add(KILL_US_MAX));
        life.enter(ProcessState::Stopping);
        let (asks, again_asks) = if again { (None, ask) } else { (ask, None) };
        life.stop = Some(Stop {
            intents: vec![intent.seq()],
            asks: asks.into_iter().collect(),
            again_asks: again_asks.into_iter().collect(),
            deadline,
            at_once: grace_us == 0,
            overdue: false,
            cause,
        });
        self.timers.set(deadline, Timer::Stop(process));
        self.unwatch(process);
        let (seq, order) = intent.stop(process, grace_us);
        self.chain.hold(seq, order);
        self.advertise();
        Some(seq)
    }

    /// The world says that a process ended, or never began.
    pub(crate) fn on_agent_exited(&mut self, process: ProcessId, reason: ExitReason) {
        let Some(life) = self.processes.living(process) else { return };
        let wanted = match life.stop.as_ref().map(|stop| &stop.cause) {
            Some(Cause::NodeStops) => Some(ExitReason::NodeStopped),
            Some(Cause::Again) => Some(ExitReason::Terminated { reason: "to be started again".to_owned() }),
            Some(Cause::Terminated { exit, .. }) => Some(exit.clone()),
            Some(Cause::Asked) | None => None,
        };
        let reason = match (shortened_reason(reason), wanted) {
            (ExitReason::Exited { .. } | ExitReason::Killed { .. } | ExitReason::Stopped, Some(wanted)) => wanted,
            (reason, _) => reason,
        };
        self.end_process(process, reason, EffectResult::Done);
        if self.state == NodeState::ShuttingDown && self.processes.is_empty() {
            self.finish_shutdown();
        }
    }

    /// Records a process's end, answers everybody who waited for it, and leaves the rest to its supervisor.
    pub(crate) fn end_process(&mut self, process: ProcessId, reason: ExitReason, stopped: EffectResult) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let (agent, messages) = (life.spec.agent.clone(), life.mailbox.messages());
        let (spawn, spawn_asks, stop) = (life.spawn.take(), std::mem::take(&mut life.spawn_asks), life.stop.take());
        let (spec, grants, by) = (life.spec.clone(), life.grants.to_vec(), life.by.clone());
        let (pause, handled) = (life.pause.take(), life.handled);
        let (restarts, rest) = (life.restarts, Rest { spec, grants, by, exit: reason.clone() });
        if let Some((intent, deadline)) = spawn {
            self.timers.clear(deadline, Timer::Start(process));
            self.record_outcome(intent, EffectResult::Failed { reason: reason.to_string() });
        }
        if let Some(stop) = &stop {
            self.timers.clear(stop.deadline, Timer::Stop(process));
            for intent in &stop.intents {
                self.record_outcome(*intent, stopped.clone());
            }
        }
        self.end_pause(process, pause, &reason.to_string());
        let exited = ProcessExited { process, agent: agent.clone(), reason: reason.clone() };
        let seq = self.chain.append("kernel", &Fact::Exited(exited), self.now).seq;
        self.score_life(&agent, &reason, handled);
        let refusal = match &reason {
            ExitReason::Unenforceable { reason } => Refusal::Unenforceable { reason: reason.clone() },
            reason => failed(&format!("{agent} {reason}")),
        };
        for ask in spawn_asks {
            self.chain.hold(seq, Promise::Answer { ask, answer: Err(refusal.clone()) });
        }
        let (cause, asks, again_asks) =
            stop.map_or((None, Vec::new(), Vec::new()), |stop| (Some(stop.cause), stop.asks, stop.again_asks));
        for ask in asks {
            let answer = Ok(Answer::Stopped { process, reason: reason.clone() });
            self.chain.hold(seq, Promise::Answer { ask, answer });
        }
        self.unwatch(process);
        self.processes.exit(process, reason.clone());
        self.end_mailbox(&messages, &format!("{agent} {reason}"));
        for message in self.calls.of_process(process) {
            self.abandon(&message, &Refusal::Gone { process }, "withdrawn");
        }
        self.topics.leave(process, None);
        self.follow();
        self.supervise(Ended { process, restarts, cause: cause.clone(), again_asks, rest });
        self.fire_bonds(process, &agent, &reason, cause.as_ref());
        self.advertise();
    }

    /// A start that nobody reported: whoever asked is told, and the process is ended as one that never ran.
    pub(crate) fn on_start_overdue(&mut self, process: ProcessId) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let Some((intent, _)) = life.spawn.take() else { return };
        let asks = std::mem::take(&mut life.spawn_asks);
        let reason = format!("not running after {} ms", self.config.start_us_max / 1_000);
        let seq = self.record_outcome(intent, EffectResult::Failed { reason: reason.clone() });
        for ask in asks {
            self.chain.hold(seq, Promise::Answer { ask, answer: Err(failed(&reason)) });
        }
        self.fail_process(process, ExitReason::StartFailed { reason });
    }

    /// A stop after which the process is still there: whoever asked is told, the process stays in the table. Its end is
    /// reported whenever it comes, and has the meaning that it would have had in time.
    pub(crate) fn on_stop_overdue(&mut self, process: ProcessId) {
        let Some(life) = self.processes.living_mut(process) else { return };
        let Some(stop) = &mut life.stop else { return };
        let (intents, asks) = (std::mem::take(&mut stop.intents), std::mem::take(&mut stop.asks));
        let asks = asks.into_iter().chain(std::mem::take(&mut stop.again_asks)).collect::<Vec<_>>();
        // The next request is a new order.
        stop.at_once = false;
        stop.overdue = true;
        let reason =
            format!("still there {} ms after it was asked to stop", (self.config.grace_us + KILL_US_MAX) / 1_000);
        let mut last = None;
        for intent in intents {
            last = Some(self.record_outcome(intent, EffectResult::Failed { reason: reason.clone() }));
        }
        let Some(seq) = last else { return };
        for ask in asks {
            let answer = Err(Refusal::Deadline { maybe_executed: true });
            self.chain.hold(seq, Promise::Answer { ask, answer });
        }
    }

    pub(super) fn record_outcome(&mut self, intent: u64, result: EffectResult) -> u64 {
        self.chain.append("kernel", &Fact::Outcome(EffectOutcome { intent, result }), self.now).seq
    }

    /// Tells the world which agents are here, if that has changed when the input has been handled.
    pub(crate) const fn advertise(&mut self) {
        self.advert_due = true;
    }

    /// Tells the world which agents are here, if that has changed.
    pub(crate) fn advertise_now(&mut self) {
        if !std::mem::take(&mut self.advert_due) {
            return;
        }
        let is_there = |life: &&Life| match life.state() {
            ProcessState::Running | ProcessState::Suspended => true,
            // A restart takes a moment; forgetting the agent for it would tell the whole cluster twice.
            ProcessState::Starting => life.restarts > 0,
            ProcessState::Stopping => self.restarting(&life.spec.agent).is_some(),
            ProcessState::Exited(_) => false,
        };
        let living = self.processes.all_living().filter(is_there);
        let mut agents = living.map(|life| (life.spec.agent.clone(), life.process)).collect::<Vec<_>>();
        let resting = self.supervisors.resting().filter(|(agent, ..)| self.restarting(agent).is_some());
        agents.extend(resting.map(|(agent, child, _)| (agent.clone(), child.process)));
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
    check_probes(&spec.probes)?;
    if spec.ipc_scope.as_ref().is_some_and(|scope| !scope.is_bounded()) {
        return invalid(format!("the ipc scope names more than {SCOPE_ENTRIES_MAX}"));
    }
    check_sandbox(spec)?;
    if spec.needs.len() > NEEDS_MAX {
        return invalid(format!("{} needs, at most {NEEDS_MAX} are accepted", spec.needs.len()));
    }
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
        ExitReason::Terminated { reason } => ExitReason::Terminated { reason: shortened(&reason) },
        ExitReason::Unenforceable { reason } => ExitReason::Unenforceable { reason: shortened(&reason) },
        ExitReason::Exited { .. }
        | ExitReason::Killed { .. }
        | ExitReason::Stopped
        | ExitReason::NodeStopped
        | ExitReason::OverLimit { .. } => reason,
    }
}
