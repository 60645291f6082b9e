//! What the own chain says about processes of earlier runs: which ended, which were cut off, which are started again.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    AgentName, AgentSpec, Effect, EffectResult, ExitReason, Fact, Grant, PlacedFact, Principal, ProcessId,
    RestartPolicy,
};

/// A process that is to be started again.
#[derive(Debug, Clone)]
pub(crate) struct Respawn {
    pub(crate) spec: AgentSpec,
    pub(crate) grants: Vec<Grant>,
    pub(crate) by: Principal,
    pub(crate) restarts: u64,
}

#[derive(Debug)]
struct Past {
    respawn: Respawn,
    stopped: bool,
    ended: Option<ExitReason>,
}

/// The fold over the own chain's facts.
#[derive(Debug, Default)]
pub(crate) struct History {
    lives: BTreeMap<ProcessId, Past>,
    last_of: BTreeMap<AgentName, ProcessId>,
    stops: BTreeMap<u64, ProcessId>,
    open: BTreeSet<u64>,
}

impl History {
    pub(crate) fn of(facts: &[PlacedFact]) -> Self {
        let mut history = Self::default();
        for placed in facts {
            match &placed.fact {
                Fact::Intent(effect) => history.intended(placed.seq, effect),
                Fact::Outcome(outcome) => history.ended(outcome.intent, &outcome.result),
                Fact::Exited(exited) => history.exited(exited.process, &exited.reason),
                _ => {}
            }
        }
        history
    }

    fn intended(&mut self, seq: u64, effect: &Effect) {
        match effect {
            Effect::Spawn { process, spec, grants, by } => {
                self.open.insert(seq);
                let restarts = self.last_of.get(&spec.agent).and_then(|last| self.lives.get(last));
                let restarts = restarts.filter(|past| !past.was_stopped()).map_or(0, |past| past.respawn.restarts + 1);
                let respawn = Respawn { spec: spec.clone(), grants: grants.clone(), by: by.clone(), restarts };
                self.lives.insert(*process, Past { respawn, stopped: false, ended: None });
                self.last_of.insert(spec.agent.clone(), *process);
            }
            Effect::Stop { process, .. } => {
                self.open.insert(seq);
                self.stops.insert(seq, *process);
            }
            // The history of jobs closes those.
            Effect::Fire { .. } => {}
        }
    }

    fn ended(&mut self, intent: u64, result: &EffectResult) {
        self.open.remove(&intent);
        let process = self.stops.remove(&intent).filter(|_| *result == EffectResult::Done);
        if let Some(past) = process.and_then(|process| self.lives.get_mut(&process)) {
            past.stopped = true;
        }
    }

    fn exited(&mut self, process: ProcessId, reason: &ExitReason) {
        if let Some(past) = self.lives.get_mut(&process) {
            past.ended = Some(reason.clone());
        }
    }

    /// The last generation of each place.
    pub(crate) fn generations(&self) -> BTreeMap<u32, u32> {
        self.lives.keys().map(|process| (process.index, process.generation)).collect()
    }

    /// Intents without an outcome: nobody can tell whether they happened.
    pub(crate) fn open_intents(&self) -> impl Iterator<Item = u64> {
        self.open.iter().copied()
    }

    /// Processes without an end: the node went down with them.
    pub(crate) fn cut_off(&self) -> impl Iterator<Item = (ProcessId, &AgentName)> {
        let open = self.lives.iter().filter(|(_, past)| past.ended.is_none());
        open.map(|(process, past)| (*process, &past.respawn.spec.agent))
    }

    /// The permanent agents whose last life nobody stopped.
    pub(crate) fn respawns(&self) -> Vec<Respawn> {
        let last = self.last_of.values().filter_map(|process| self.lives.get(process));
        let again = last.filter(|past| past.respawn.spec.restart == RestartPolicy::Permanent && !past.was_stopped());
        again.map(|past| Respawn { restarts: past.respawn.restarts + 1, ..past.respawn.clone() }).collect()
    }
}

impl Past {
    /// Whether it ended because somebody asked for that, rather than with its node.
    fn was_stopped(&self) -> bool {
        match &self.ended {
            Some(ExitReason::Stopped) => true,
            Some(ExitReason::NodeStopped | ExitReason::OverLimit { .. }) => false,
            Some(
                ExitReason::Exited { .. }
                | ExitReason::Killed { .. }
                | ExitReason::StartFailed { .. }
                | ExitReason::Misbehaved { .. },
            )
            | None => self.stopped,
        }
    }
}
