//! Restarts that wait: for their time, and for the end of whoever is to be started again.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{AgentName, ProcessId, Timestamp};

/// One restart of one or more agents.
#[derive(Debug)]
pub(crate) struct Plan {
    /// When its wait is over.
    pub(crate) at: Timestamp,
    /// Who, in this order.
    pub(crate) agents: Vec<AgentName>,
    /// Processes that must have ended before.
    pub(crate) waits_for: BTreeSet<ProcessId>,
}

/// Invariant: an agent is in one plan at most, and no plan is empty.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    plans: BTreeMap<u64, Plan>,
    next: u64,
}

impl Plans {
    pub(crate) fn add(&mut self, plan: Plan) -> u64 {
        let number = self.next;
        self.next += 1;
        self.plans.insert(number, plan);
        number
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Plan> {
        self.plans.get(&number)
    }

    /// Takes a plan whose time has come and that waits for nobody.
    pub(crate) fn take_ready(&mut self, number: u64, now: Timestamp) -> Option<Plan> {
        let ready = self.plans.get(&number).is_some_and(|plan| plan.at <= now && plan.waits_for.is_empty());
        if ready { self.plans.remove(&number) } else { None }
    }

    /// A process has ended: returns the plans that waited for it.
    pub(crate) fn ended(&mut self, process: ProcessId) -> Vec<u64> {
        let waited =
            self.plans.iter_mut().filter_map(|(number, plan)| plan.waits_for.remove(&process).then_some(*number));
        waited.collect()
    }

    /// Takes an agent out; returns the plan's number and time when it was the last in it.
    pub(crate) fn withdraw(&mut self, agent: &AgentName) -> Option<(u64, Timestamp)> {
        let (number, plan) = self.plans.iter_mut().find(|(_, plan)| plan.agents.contains(agent))?;
        plan.agents.retain(|planned| planned != agent);
        let emptied = plan.agents.is_empty().then_some((*number, plan.at));
        if let Some((number, _)) = emptied {
            self.plans.remove(&number);
        }
        emptied
    }

    pub(crate) fn clear(&mut self) {
        self.plans.clear();
    }
}
