//! What the own chains say about agents of earlier runs: which are started again, which were given up, and what was left open.

use std::collections::BTreeMap;

use weft_protocol::limits::RESTART_WINDOW_US;
use weft_protocol::{
    AgentName, AgentSpec, Effect, EffectResult, ExitReason, Fact, Grant, GrantIssued, GrantRef, GroupName, NodeId,
    PlacedFact, ProcessId, RestartPlanned, RestartPolicy, Sender, Timestamp,
};

/// The last life of an agent that may have another.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) process: ProcessId,
    pub(crate) spec: AgentSpec,
    pub(crate) grants: Vec<Grant>,
    pub(crate) by: Sender,
    pub(crate) restarts: u64,
    /// Place among all facts of the one by which it was first started: by it, agents keep their order.
    first: u64,
    /// None while it lived.
    pub(crate) ended: Option<ExitReason>,
    /// Whether somebody stopped it.
    stopped: bool,
    /// Who let it stand still, when it did to the end: its next life does too.
    pub(crate) suspended: Option<Sender>,
    /// Why it was given up.
    pub(crate) failed: Option<String>,
}

/// One restart that was made.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub(crate) group: Option<GroupName>,
    pub(crate) agent: AgentName,
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
}

/// An intent without an outcome so far.
#[derive(Debug)]
enum Open {
    Stop(ProcessId),
    Suspend(ProcessId, Sender),
    Resume(ProcessId),
    Other,
}

/// The fold over the facts of the own chains, the first one first. It holds no more than agents that may be started again and what is still open, however
/// long the chain is.
#[derive(Debug, Default)]
pub(crate) struct History {
    agents: BTreeMap<AgentName, Past>,
    living: BTreeMap<ProcessId, AgentName>,
    generations: BTreeMap<u32, u32>,
    open: BTreeMap<u64, Open>,
    spent: Vec<Spent>,
}

impl History {
    pub(crate) fn of<'a>(own: NodeId, facts: impl Iterator<Item = &'a PlacedFact>) -> Self {
        let mut history = Self::default();
        for (place, placed) in (0..).zip(facts) {
            match &placed.fact {
                Fact::Genesis(_) => history.begin_chain(),
                Fact::Intent(effect) => history.intended(own, place, placed.seq, effect),
                Fact::Outcome(outcome) => history.ended(outcome.intent, &outcome.result),
                Fact::Exited(exited) => history.exited(exited.process, &exited.agent, &exited.reason),
                Fact::RestartPlanned(planned) => history.planned(planned, placed.hlc.to_wall()),
                Fact::Escalated(escalated) => {
                    history.spent.retain(|spent| spent.group.as_ref() != Some(&escalated.group));
                }
                Fact::GaveUp(gave_up) => history.gave_up(&gave_up.agents, &gave_up.reason),
                Fact::GrantIssued(issued) => history.granted(issued),
                Fact::GrantRevoked(revoked) => history.revoked(own, revoked.grant),
                _ => {}
            }
        }
        history
    }

    /// What an earlier chain left open stays so: an outcome names an intent of its own chain.
    pub(crate) fn begin_chain(&mut self) {
        self.open.clear();
    }

    fn intended(&mut self, own: NodeId, place: u64, seq: u64, effect: &Effect) {
        let open = match effect {
            // The history of jobs closes those.
            Effect::Fire { .. } => return,
            Effect::Spawn { process, spec, grants, by, from } => {
                let by = Sender { node: from.unwrap_or(own), principal: by.clone() };
                self.begun(place, *process, spec, grants, by);
                Open::Other
            }
            Effect::Stop { process, .. } => Open::Stop(*process),
            Effect::Restart { agent, .. } => {
                // Whoever asked decided that it shall run.
                if let Some(past) = self.agents.get_mut(agent)
                    && past.failed.take().is_some()
                {
                    let group = past.spec.group.as_ref().map(|membership| membership.group.clone());
                    self.forgive(&agent.clone(), group.as_ref());
                }
                Open::Other
            }
            Effect::Suspend { process, by, from, .. } => {
                Open::Suspend(*process, Sender { node: from.unwrap_or(own), principal: by.clone() })
            }
            Effect::Resume { process, .. } => Open::Resume(*process),
            Effect::Terminate { .. } => Open::Other,
        };
        self.open.insert(seq, open);
    }

    fn begun(&mut self, place: u64, process: ProcessId, spec: &AgentSpec, grants: &[Grant], by: Sender) {
        let last = self.agents.get(&spec.agent).filter(|past| past.failed.is_none() && !past.was_stopped());
        let (first, restarts) = last.map_or((place, 0), |past| (past.first, past.restarts + 1));
        // One that ended by itself, or that somebody wanted to begin anew, runs.
        let suspended = last.and_then(|past| past.suspended.clone());
        let past = Past {
            process,
            spec: spec.clone(),
            grants: grants.to_vec(),
            by,
            restarts,
            first,
            ended: None,
            stopped: false,
            suspended,
            failed: None,
        };
        self.agents.insert(spec.agent.clone(), past);
        self.living.insert(process, spec.agent.clone());
        self.generations.insert(process.index, process.generation);
    }

    fn ended(&mut self, intent: u64, result: &EffectResult) {
        let Some(open) = self.open.remove(&intent).filter(|_| *result == EffectResult::Done) else { return };
        match open {
            Open::Stop(process) => self.stopped(process),
            Open::Suspend(process, by) => self.paused(process, Some(by)),
            Open::Resume(process) => self.paused(process, None),
            Open::Other => {}
        }
    }

    fn stopped(&mut self, process: ProcessId) {
        let Some((agent, past)) = self.agents.iter_mut().find(|(_, past)| past.process == process) else { return };
        past.stopped = true;
        if past.ended.is_some() {
            let agent = agent.clone();
            self.forget(&agent);
        }
    }

    fn paused(&mut self, process: ProcessId, by: Option<Sender>) {
        if let Some(past) = self.agents.values_mut().find(|past| past.process == process) {
            past.suspended = by;
        }
    }

    fn exited(&mut self, process: ProcessId, agent: &AgentName, reason: &ExitReason) {
        self.living.remove(&process);
        let Some(past) = self.agents.get_mut(agent).filter(|past| past.process == process) else { return };
        past.ended = Some(reason.clone());
        if *reason != ExitReason::NodeStopped {
            past.suspended = None;
        }
        if !past.may_come_back() {
            self.forget(agent);
        }
    }

    fn planned(&mut self, planned: &RestartPlanned, at: Timestamp) {
        self.spent.retain(|spent| at.since_us(spent.at) < RESTART_WINDOW_US);
        let RestartPlanned { group, agent, number, .. } = planned.clone();
        self.spent.push(Spent { group, agent, number, at });
    }

    fn gave_up(&mut self, agents: &[AgentName], reason: &str) {
        for agent in agents {
            self.spent.retain(|spent| spent.group.is_some() || spent.agent != *agent);
            if let Some(past) = self.agents.get_mut(agent) {
                past.failed = Some(reason.to_owned());
            }
        }
    }

    fn forget(&mut self, agent: &AgentName) {
        self.agents.remove(agent);
        self.spent.retain(|spent| spent.group.is_some() || spent.agent != *agent);
    }

    fn forgive(&mut self, agent: &AgentName, group: Option<&GroupName>) {
        self.spent.retain(|spent| match (&spent.group, group) {
            (None, _) => spent.agent != *agent,
            (Some(spent), Some(group)) => !group.is_within(spent),
            (Some(_), None) => true,
        });
    }

    fn granted(&mut self, issued: &GrantIssued) {
        let Some(past) = self.agents.get_mut(&issued.to.agent) else { return };
        if issued.to.process == Some(past.process) {
            past.grants.push(issued.grant.clone());
        }
    }

    fn revoked(&mut self, own: NodeId, grant: GrantRef) {
        for past in self.agents.values_mut() {
            past.grants.retain(|held| !held.line(own).any(|one| one == grant));
        }
    }

    /// The last generation of each place.
    pub(crate) fn generations(&self) -> BTreeMap<u32, u32> {
        self.generations.clone()
    }

    /// Intents without an outcome: nobody can tell whether they happened.
    pub(crate) fn open_intents(&self) -> impl Iterator<Item = u64> {
        self.open.keys().copied()
    }

    /// Processes without an end: the node went down with them.
    pub(crate) fn cut_off(&self) -> impl Iterator<Item = (ProcessId, &AgentName)> {
        self.living.iter().map(|(process, agent)| (*process, agent))
    }

    /// The agents that live again, in the order of their first starts.
    pub(crate) fn respawns(&self) -> Vec<&Past> {
        let mut again: Vec<_> = self
            .agents
            .values()
            .filter(|past| past.failed.is_none() && past.may_come_back() && !past.is_leased())
            .collect();
        again.sort_by_key(|past| past.first);
        again
    }

    /// The agents that were given up, in the order of their first starts.
    pub(crate) fn failed(&self) -> Vec<&Past> {
        let mut failed: Vec<_> = self.agents.values().filter(|past| past.failed.is_some()).collect();
        failed.sort_by_key(|past| past.first);
        failed
    }

    /// The restarts that were made and still count.
    pub(crate) fn spent(&self) -> &[Spent] {
        &self.spent
    }
}

impl Past {
    /// Whether it ran for the time of a lease, which ended with its node.
    const fn is_leased(&self) -> bool {
        self.spec.failover.is_some()
    }

    /// Whether it ended because somebody asked for that, rather than with its node.
    fn was_stopped(&self) -> bool {
        match &self.ended {
            Some(ExitReason::Stopped) => true,
            Some(ExitReason::NodeStopped) => false,
            Some(
                ExitReason::Exited { .. }
                | ExitReason::Killed { .. }
                | ExitReason::StartFailed { .. }
                | ExitReason::Misbehaved { .. }
                | ExitReason::Terminated { .. }
                | ExitReason::Unenforceable { .. }
                | ExitReason::OverLimit { .. },
            )
            | None => self.stopped,
        }
    }

    /// Whether it is to be started again: when it went down with its node, or as its policy wants it.
    fn may_come_back(&self) -> bool {
        if self.was_stopped() {
            return false;
        }
        match &self.ended {
            None | Some(ExitReason::NodeStopped) => self.spec.restart != RestartPolicy::Temporary,
            Some(reason) if self.restarts == 0 && reason.never_ran() => false,
            Some(reason) => self.spec.restart.wants_again(reason),
        }
    }
}
