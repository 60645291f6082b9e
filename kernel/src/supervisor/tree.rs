//! The children of all groups, and what a failure of one of them means for the others.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::{GROUP_MEMBERS_MAX, PROCESSES_MAX};
use weft_protocol::{
    AgentName, AgentSpec, ExitReason, Grant, GrantRef, GroupName, Membership, NodeId, ProcessId, Refusal,
    RestartPolicy, Sender, Strategy, Timestamp,
};

use super::budget::{Budget, backoff_us};
use super::plan::Plans;

/// Most agents that were given up and are remembered; with more, the one that was started first is forgotten (guess).
const FAILED_MAX: usize = 256;

/// Where a child stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It has a process.
    Living,
    /// It is started again by this plan; its last process may still be ending.
    Between {
        /// Which.
        plan: u64,
    },
    /// It is not started again by itself.
    Failed {
        /// Why, and what for.
        reason: String,
    },
}

/// What another life of an agent is made of, kept while it has no process.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    pub(crate) spec: AgentSpec,
    pub(crate) grants: Vec<Grant>,
    pub(crate) by: Sender,
    /// How its last process ended.
    pub(crate) exit: ExitReason,
}

/// One agent under supervision.
#[derive(Debug)]
pub(crate) struct Child {
    /// Children of a group were started in this order.
    order: u64,
    pub(crate) process: ProcessId,
    pub(crate) restarts: u64,
    policy: RestartPolicy,
    group: Option<GroupName>,
    pub(crate) condition: Condition,
    /// Present as soon as its process has ended.
    pub(crate) rest: Option<Rest>,
}

/// Whose failure is dealt with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Agent(AgentName),
    Group(GroupName),
}

/// What a failure means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Groups whose budget was spent, lowest first.
    pub(crate) escalated: Vec<GroupName>,
    /// Who is concerned, in the order of their starts; the failed agent is among them.
    pub(crate) agents: Vec<AgentName>,
    pub(crate) decision: Decision,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// All concerned are started again.
    Restart { group: Option<GroupName>, number: u32, delay_us: u64 },
    /// All concerned are given up.
    GiveUp { group: Option<GroupName> },
}

/// Invariant: `strategies` names groups that have somebody in or below them; `Condition::Between` names a plan that holds
/// the agent.
#[derive(Debug, Default)]
pub(crate) struct Supervisors {
    children: BTreeMap<AgentName, Child>,
    strategies: BTreeMap<GroupName, Strategy>,
    budgets: BTreeMap<Unit, Budget>,
    pub(crate) plans: Plans,
    next_order: u64,
}

impl Supervisors {
    pub(crate) fn get(&self, agent: &AgentName) -> Option<&Child> {
        self.children.get(agent)
    }

    pub(crate) fn get_mut(&mut self, agent: &AgentName) -> Option<&mut Child> {
        self.children.get_mut(agent)
    }

    /// The children without a process that somebody may ask about, by name.
    pub(crate) fn resting(&self) -> impl Iterator<Item = (&AgentName, &Child, &Rest)> {
        self.children.iter().filter_map(|(agent, child)| child.rest.as_ref().map(|rest| (agent, child, rest)))
    }

    /// What stands on a grant that was taken back falls, for the lives to come too.
    pub(crate) fn revoke(&mut self, own: NodeId, grant: GrantRef) {
        for rest in self.children.values_mut().filter_map(|child| child.rest.as_mut()) {
            rest.grants.retain(|held| !held.line(own).any(|one| one == grant));
        }
    }

    /// How the group restarts; one-for-one when nobody said.
    pub(crate) fn strategy(&self, group: &GroupName) -> Strategy {
        self.strategies.get(group).copied().unwrap_or(Strategy::OneForOne)
    }

    /// Whether one more agent may live, and in this group; fills in the strategy it will have.
    ///
    /// # Errors
    /// `busy` with too many agents; `invalid` for a full group or another strategy than it has.
    pub(crate) fn check(&self, membership: Option<&mut Membership>, retry_after_us: u64) -> Result<(), Refusal> {
        let failed = self.children.values().filter(|child| matches!(child.condition, Condition::Failed { .. })).count();
        if self.children.len() - failed >= PROCESSES_MAX {
            return Err(Refusal::Busy { retry_after_us });
        }
        let Some(membership) = membership else { return Ok(()) };
        let group = &membership.group;
        let top = std::iter::successors(Some(group.clone()), GroupName::parent).last();
        if top.is_some_and(|top| self.within(&top).count() >= GROUP_MEMBERS_MAX) {
            let message =
                format!("the group {group} is full: {GROUP_MEMBERS_MAX} agents at most, with those of its tree");
            return Err(Refusal::Invalid { message });
        }
        let inhabited = self.within(group).next().is_some();
        let strategy = self.strategy(group);
        match membership.strategy {
            Some(wanted) if inhabited && wanted != strategy => {
                let message =
                    format!("the group {group} is {strategy} already: leave the strategy out, or stop its agents");
                Err(Refusal::Invalid { message })
            }
            Some(_) => Ok(()),
            None => {
                membership.strategy = Some(strategy);
                Ok(())
            }
        }
    }

    /// An agent gets a process: its first, or another one in its place.
    pub(crate) fn begin(&mut self, process: ProcessId, spec: &AgentSpec, restarts: u64) {
        if let Some(Membership { group, strategy: Some(strategy) }) = &spec.group {
            self.strategies.insert(group.clone(), *strategy);
        }
        let fresh = self.next_order;
        let order = self.children.get(&spec.agent).filter(|_| restarts > 0).map_or(fresh, |child| child.order);
        self.next_order += 1;
        let child = Child {
            order,
            process,
            restarts,
            policy: spec.restart,
            group: spec.group.as_ref().map(|membership| membership.group.clone()),
            condition: Condition::Living,
            rest: None,
        };
        self.children.insert(spec.agent.clone(), child);
    }

    /// An agent that was given up in an earlier run.
    pub(crate) fn restore_failed(&mut self, process: ProcessId, restarts: u64, reason: String, rest: Rest) {
        let agent = rest.spec.agent.clone();
        self.begin(process, &rest.spec, restarts);
        if let Some(child) = self.children.get_mut(&agent) {
            (child.condition, child.rest) = (Condition::Failed { reason }, Some(rest));
        }
    }

    /// A restart of an earlier run.
    pub(crate) fn restore_spent(&mut self, group: Option<GroupName>, agent: &AgentName, number: u32, at: Timestamp) {
        let unit = group.map_or_else(|| Unit::Agent(agent.clone()), Unit::Group);
        self.budgets.entry(unit).or_default().note(number, at);
    }

    /// Nobody starts this agent again, and nobody remembers it here.
    pub(crate) fn forget(&mut self, agent: &AgentName) {
        self.children.remove(agent);
        self.budgets.remove(&Unit::Agent(agent.clone()));
        let groups: BTreeSet<_> = self.children.values().filter_map(|child| child.group.clone()).collect();
        let inhabited = |group: &GroupName| groups.iter().any(|other| other.is_within(group));
        self.strategies.retain(|group, _| inhabited(group));
        self.budgets.retain(|unit, _| match unit {
            Unit::Agent(_) => true,
            Unit::Group(group) => inhabited(group),
        });
    }

    /// Makes an agent as good as new: a person decided that it shall run.
    pub(crate) fn forgive(&mut self, agent: &AgentName) {
        self.budgets.remove(&Unit::Agent(agent.clone()));
        let group = self.children.get(agent).and_then(|child| child.group.clone());
        for group in std::iter::successors(group, GroupName::parent) {
            self.budgets.remove(&Unit::Group(group));
        }
    }

    /// An agent failed: what becomes of it, and of whom else.
    pub(crate) fn judge(&mut self, agent: &AgentName, now: Timestamp) -> Verdict {
        let mut escalated = Vec::new();
        let mut unit = Unit::Agent(agent.clone());
        let mut above = self.children.get(agent).and_then(|child| child.group.clone());
        loop {
            let Some(group) = above else {
                let number = match &unit {
                    Unit::Agent(_) => self.budgets.entry(unit.clone()).or_default().spend(now),
                    Unit::Group(_) => None,
                };
                let decision = match number {
                    Some(number) => Decision::Restart { group: None, number, delay_us: backoff_us(number) },
                    None => Decision::GiveUp { group: None },
                };
                self.budgets.retain(|spent, _| *spent != unit || number.is_some());
                return Verdict { escalated, agents: self.members(&unit), decision };
            };
            let own = Unit::Group(group.clone());
            if let Some(number) = self.budgets.entry(own.clone()).or_default().spend(now) {
                let agents = self.concerned(&group, &unit);
                let decision = Decision::Restart { group: Some(group), number, delay_us: backoff_us(number) };
                return Verdict { escalated, agents, decision };
            }
            self.budgets.remove(&own);
            above = group.parent();
            escalated.push(group);
            unit = own;
        }
    }

    /// Who is started again with a failed unit of this group.
    fn concerned(&self, group: &GroupName, failed: &Unit) -> Vec<AgentName> {
        match self.strategy(group) {
            Strategy::OneForOne => self.members(failed),
            Strategy::OneForAll => self.members(&Unit::Group(group.clone())),
            Strategy::RestForOne => {
                let first = self.order_of(failed);
                let mut agents = self.members(&Unit::Group(group.clone()));
                agents.retain(|agent| self.order_of(&self.unit_within(group, agent)) >= first);
                agents
            }
        }
    }

    /// The child of `group` that this agent is, or is in.
    fn unit_within(&self, group: &GroupName, agent: &AgentName) -> Unit {
        let own = self.children.get(agent).and_then(|child| child.group.clone());
        let mut path = std::iter::successors(own, GroupName::parent);
        path.find(|path| path.parent().as_ref() == Some(group)).map_or_else(|| Unit::Agent(agent.clone()), Unit::Group)
    }

    /// When a child of a group was started; of a group, the first of its agents.
    fn order_of(&self, unit: &Unit) -> Option<u64> {
        match unit {
            Unit::Agent(agent) => self.children.get(agent).map(|child| child.order),
            Unit::Group(group) => self.within(group).map(|(_, child)| child.order).min(),
        }
    }

    /// The agents of a unit that are not given up, in the order of their starts.
    fn members(&self, unit: &Unit) -> Vec<AgentName> {
        let mut members: Vec<_> = match unit {
            Unit::Agent(agent) => self.children.get_key_value(agent).into_iter().collect(),
            Unit::Group(group) => self.within(group).collect(),
        };
        members.retain(|(_, child)| !matches!(child.condition, Condition::Failed { .. }));
        members.sort_by_key(|(_, child)| child.order);
        members.into_iter().map(|(agent, _)| agent.clone()).collect()
    }

    fn within<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = (&'a AgentName, &'a Child)> {
        self.children.iter().filter(|(_, child)| child.group.as_ref().is_some_and(|own| own.is_within(group)))
    }

    /// Remembers an agent as given up; with too many, the oldest of them is forgotten.
    pub(crate) fn give_up(&mut self, agent: &AgentName, reason: String) {
        if let Some(child) = self.children.get_mut(agent) {
            child.condition = Condition::Failed { reason };
        }
        let resting = self
            .children
            .iter()
            .filter(|(_, child)| matches!(child.condition, Condition::Failed { .. }) && child.rest.is_some());
        let failed: Vec<_> = resting.map(|(agent, child)| (child.order, agent.clone())).collect();
        if failed.len() >= FAILED_MAX
            && let Some((_, oldest)) = failed.into_iter().min()
        {
            self.forget(&oldest);
        }
    }
}

impl Child {
    /// Whether it is started again with its group.
    pub(crate) const fn comes_back(&self) -> bool {
        match self.policy {
            RestartPolicy::Permanent | RestartPolicy::Transient => true,
            RestartPolicy::Temporary => false,
        }
    }
}
