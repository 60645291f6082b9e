//! What the kernel makes of a failure: who is ended, who is started again and when, who is given up.

use std::collections::BTreeSet;

use weft_protocol::limits::{RESTART_WINDOW_US, RESTARTS_MAX};
use weft_protocol::{
    AgentName, Effect, EffectOutcome, EffectResult, Escalated, ExitReason, Fact, GaveUp, GroupName, ProcessId, Refusal,
    RestartPlanned,
};

use super::plan::Plan;
use super::tree::{Condition, Decision, Rest, Verdict};
use crate::event::AskId;
use crate::ipc::shortened;
use crate::kernel::{BUSY_RETRY_US, Kernel};
use crate::process::Cause;
use crate::status::NodeState;
use crate::timers::Timer;

/// A process that has ended, as its supervisor hears of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) process: ProcessId,
    pub(crate) restarts: u64,
    /// Why it was ended, when it did not end by itself.
    pub(crate) cause: Option<Cause>,
    /// Who waits for its next life.
    pub(crate) again_asks: Vec<AskId>,
    pub(crate) rest: Rest,
}

impl Kernel {
    /// Ends a process that is no use any more, for the reason it will be said to have exited with: a failure like one of
    /// its own, so its supervisor starts it again, or escalates. Says whether there was such a process.
    pub(crate) fn fail_process(&mut self, process: ProcessId, exit: ExitReason) -> bool {
        self.terminate(process, exit, true)
    }

    /// A process has ended and that is recorded: decides what follows.
    pub(crate) fn supervise(&mut self, ended: Ended) {
        let process = ended.process;
        if self.state == NodeState::ShuttingDown {
            return ended.again_asks.iter().for_each(|ask| self.effects.answer(*ask, Err(Refusal::ShuttingDown)));
        }
        match &ended.cause {
            Some(Cause::Asked) => {
                let agent = &ended.rest.spec.agent;
                self.leave_plan(agent);
                self.supervisors.forget(agent);
                ended.again_asks.iter().for_each(|ask| self.effects.answer(*ask, Err(Refusal::Gone { process })));
            }
            Some(Cause::NodeStops) => {}
            Some(Cause::Again) => {
                let agent = ended.rest.spec.agent.clone();
                self.keep(&agent, ended.rest);
                self.start_again(&agent, ended.again_asks);
            }
            Some(Cause::Terminated { fails: false, .. }) => {
                let agent = ended.rest.spec.agent.clone();
                self.keep(&agent, ended.rest);
            }
            Some(Cause::Terminated { fails: true, .. }) | None => self.failed(ended),
        }
        for plan in self.supervisors.plans.ended(process) {
            self.run_plan(plan);
        }
    }

    /// Keeps what another life is made of, unless nobody supervises the agent any more.
    fn keep(&mut self, agent: &AgentName, rest: Rest) {
        if let Some(child) = self.supervisors.get_mut(agent) {
            child.rest = Some(rest);
        }
    }

    fn failed(&mut self, ended: Ended) {
        let (agent, exit) = (ended.rest.spec.agent.clone(), ended.rest.exit.clone());
        // Whoever asked for a first start that failed was told, and can ask again.
        let never_ran = ended.restarts == 0 && exit.never_ran();
        if never_ran || !ended.rest.spec.restart.wants_again(&exit) {
            return self.supervisors.forget(&agent);
        }
        self.keep(&agent, ended.rest);
        let verdict = self.supervisors.judge(&agent, self.now);
        for group in &verdict.escalated {
            let fact = Escalated { group: group.clone(), to: group.parent(), process: ended.process };
            self.chain.append("kernel", &Fact::Escalated(fact), self.now);
        }
        let reason = format!("{agent} {exit}");
        match verdict.decision {
            Decision::Restart { ref group, number, delay_us } => {
                let group = group.clone();
                self.plan_restart(&agent, ended.process, group, &verdict, number, delay_us, &reason);
            }
            Decision::GiveUp { .. } => self.give_up(&verdict.agents, ended.process, &reason),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of one record")]
    fn plan_restart(
        &mut self,
        agent: &AgentName,
        process: ProcessId,
        group: Option<GroupName>,
        verdict: &Verdict,
        number: u32,
        delay_us: u64,
        reason: &str,
    ) {
        let concerned: Vec<_> = verdict.agents.iter().filter(|other| !self.is_leaving(other)).cloned().collect();
        let comes_back = |agent: &&AgentName| self.supervisors.get(agent).is_some_and(super::tree::Child::comes_back);
        let agents: Vec<_> = concerned.iter().filter(comes_back).cloned().collect();
        let words = match &group {
            Some(group) => format!("{} of {group}: {reason}", self.supervisors.strategy(group)),
            None => reason.to_owned(),
        };
        let fact = RestartPlanned { agent: agent.clone(), process, group, agents: agents.clone(), number, delay_us };
        self.chain.append("kernel", &Fact::RestartPlanned(fact), self.now);
        concerned.iter().for_each(|agent| self.leave_plan(agent));
        let at = self.now.after_us(delay_us);
        let waits_for: BTreeSet<_> = concerned.iter().filter_map(|agent| self.processes.named(agent)).collect();
        let plan = self.supervisors.plans.add(Plan { at, agents, waits_for });
        self.timers.set(at, Timer::Restart(plan));
        self.take_down(&concerned, &words, &Condition::Between { plan });
    }

    /// Ends whoever of them still runs, and gives those that come back their new condition.
    fn take_down(&mut self, agents: &[AgentName], reason: &str, condition: &Condition) {
        for agent in agents {
            let living = self.processes.named(agent);
            match self.supervisors.get_mut(agent) {
                Some(child) if child.comes_back() => child.condition = condition.clone(),
                Some(_) => self.supervisors.forget(agent),
                None => {}
            }
            if let Some(process) = living {
                self.terminate(process, ExitReason::Terminated { reason: shortened(reason) }, false);
            }
        }
        self.advertise();
    }

    fn give_up(&mut self, agents: &[AgentName], process: ProcessId, reason: &str) {
        let seconds = RESTART_WINDOW_US / 1_000_000;
        let reason = shortened(&format!("{reason}, after {RESTARTS_MAX} restarts within {seconds} s"));
        let concerned: Vec<_> = agents.iter().filter(|agent| !self.is_leaving(agent)).cloned().collect();
        let comes_back = |agent: &&AgentName| self.supervisors.get(agent).is_some_and(super::tree::Child::comes_back);
        let failed: Vec<_> = concerned.iter().filter(comes_back).cloned().collect();
        let fact = GaveUp { agents: failed.clone(), process, reason: reason.clone() };
        self.chain.append("kernel", &Fact::GaveUp(fact), self.now);
        concerned.iter().for_each(|agent| self.leave_plan(agent));
        self.take_down(&concerned, &reason, &Condition::Failed { reason: reason.clone() });
        failed.iter().for_each(|agent| self.supervisors.give_up(agent, reason.clone()));
    }

    /// Whether somebody asked that this agent ends, or begins anew: what its group does is no concern of it.
    fn is_leaving(&self, agent: &AgentName) -> bool {
        let stop = self.processes.named(agent).and_then(|process| self.processes.living(process)?.stop.as_ref());
        stop.is_some_and(|stop| match stop.cause {
            Cause::Asked | Cause::NodeStops | Cause::Again => true,
            Cause::Terminated { .. } => false,
        })
    }

    /// Takes an agent out of the restart that it waits for.
    pub(crate) fn leave_plan(&mut self, agent: &AgentName) {
        if let Some((plan, at)) = self.supervisors.plans.withdraw(agent) {
            self.timers.clear(at, Timer::Restart(plan));
        }
    }

    /// Ends a process because the node wants it.
    fn terminate(&mut self, process: ProcessId, exit: ExitReason, fails: bool) -> bool {
        let Some(life) = self.processes.living(process) else { return false };
        let (agent, reason) = (life.spec.agent.clone(), shortened(&exit.to_string()));
        let effect = Effect::Terminate { process, agent, reason };
        let _joined =
            self.end("kernel", process, effect, Cause::Terminated { exit, fails }, self.config.grace_us, None);
        true
    }

    /// The wait of a restart is over, or the last process that it waited for has ended.
    pub(crate) fn run_plan(&mut self, plan: u64) {
        if self.state != NodeState::Running {
            return;
        }
        let Some(plan) = self.supervisors.plans.take_ready(plan, self.now) else { return };
        for agent in &plan.agents {
            self.start_again(agent, Vec::new());
        }
    }

    /// Starts an agent again as its next process; whoever asked is told when it runs.
    pub(crate) fn start_again(&mut self, agent: &AgentName, asks: Vec<AskId>) {
        let Some(child) = self.supervisors.get_mut(agent) else { return };
        let (last, restarts) = (child.process, child.restarts.saturating_add(1));
        let Some(Rest { spec, grants, by, .. }) = child.rest.take() else { return };
        let started = match self.processes.next_life_of(last) {
            Some(process) => self.spawn(process, spec, grants, by, restarts, asks.clone()),
            None => Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US }),
        };
        // There is a place for everybody that is supervised, and the record of the last start had the same size.
        if let Err(refusal) = started {
            self.supervisors.forget(agent);
            asks.iter().for_each(|ask| self.effects.answer(*ask, Err(refusal.clone())));
        }
    }

    /// Records an effect on an agent without a process: nothing in the world is to be done for it.
    pub(super) fn record_done(&mut self, source: &str, effect: Effect) -> u64 {
        let intent = self.chain.intent(source, effect, self.now).seq();
        let outcome = EffectOutcome { intent, result: EffectResult::Done };
        self.chain.append("kernel", &Fact::Outcome(outcome), self.now).seq
    }

    /// That an agent is between two lives, when it is; its last process may still be ending.
    pub(crate) fn restarting(&self, agent: &AgentName) -> Option<Refusal> {
        let child = self.supervisors.get(agent)?;
        let stop = self.processes.living(child.process).and_then(|life| life.stop.as_ref());
        let wait_us = match (&child.condition, stop.map(|stop| &stop.cause)) {
            (_, Some(Cause::Asked | Cause::NodeStops)) | (Condition::Failed { .. }, _) => return None,
            (Condition::Between { plan }, _) => {
                self.supervisors.plans.get(*plan).map_or(0, |plan| plan.at.since_us(self.now))
            }
            (Condition::Living, Some(Cause::Again)) => 0,
            (Condition::Living, Some(Cause::Terminated { .. })) if child.comes_back() => 0,
            (Condition::Living, Some(Cause::Terminated { .. }) | None) => return None,
        };
        Some(Refusal::Restarting { agent: agent.clone(), retry_after_us: wait_us.max(BUSY_RETRY_US) })
    }
}
