//! Agents that need services before they start: they wait, for a bounded time, and nobody may wait in a circle.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    AgentName, AgentSpec, Effect, EffectOutcome, EffectResult, ExitReason, Fact, Grant, LocalTarget, Principal,
    ProcessExited, ProcessId, Refusal, Sender, ServiceName, Timestamp,
};

use crate::event::AskId;
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::process::{Life, Past};
use crate::timers::Timer;

/// How long a spawn waits for what it needs before it is refused, in microseconds: a program that registers a service has
/// started by then (guess).
const SPAWN_WAITS_US_MAX: u64 = 10_000_000;
/// The same for agents that the node starts by itself: members have been found and have said what they serve (guess).
const BOOT_WAITS_US_MAX: u64 = 60_000_000;
/// Most spawns that wait; one more is answered `busy` (guess).
const WAITING_MAX: usize = 256;

/// A start that waits, as it was permitted.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// Somebody asked for it.
    Asked {
        /// Who waits for the answer.
        ask: AskId,
        /// On whose behalf.
        by: Asker,
        /// What.
        spec: AgentSpec,
    },
    /// It is configured to start with the node.
    Configured(AgentSpec),
    /// It ran before the node restarted.
    Again(Past),
}

/// What became of a start that needs something.
#[derive(Debug)]
pub(crate) enum Held {
    /// Nothing is missing.
    Ready(Waiting),
    /// It waits.
    Waits,
    /// It would wait for itself, or too many wait.
    Refused(Waiting, Refusal),
}

impl Waiting {
    const fn spec(&self) -> &AgentSpec {
        match self {
            Self::Asked { spec, .. } | Self::Configured(spec) => spec,
            Self::Again(past) => &past.spec,
        }
    }

    const fn waits_us_max(&self) -> u64 {
        match self {
            Self::Asked { .. } => SPAWN_WAITS_US_MAX,
            Self::Configured(_) | Self::Again(_) => BOOT_WAITS_US_MAX,
        }
    }
}

/// Invariant: each waiting start has its timer.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    waiting: BTreeMap<u64, (Timestamp, Waiting)>,
    next: u64,
    /// Services that other nodes say they serve.
    elsewhere: BTreeSet<ServiceName>,
}

impl Needs {
    /// All starts that wait, forgotten here.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting).into_values().map(|(_, waiting)| waiting).collect()
    }
}

impl Kernel {
    /// Lets a start wait when something it needs is not served.
    pub(crate) fn hold_for_needs(&mut self, waiting: Waiting) -> Held {
        let spec = waiting.spec();
        if let Err(refusal) = self.check_circle(&spec.agent, &spec.needs, None) {
            return Held::Refused(waiting, refusal);
        }
        if self.missing(&spec.needs).is_none() {
            return Held::Ready(waiting);
        }
        if self.needs.waiting.len() >= WAITING_MAX {
            return Held::Refused(waiting, Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        let id = self.needs.next;
        self.needs.next += 1;
        let until = self.now.after_us(waiting.waits_us_max());
        self.timers.set(until, Timer::Needs(id));
        self.needs.waiting.insert(id, (until, waiting));
        Held::Waits
    }

    /// The first service that nobody serves.
    fn missing<'a>(&self, needs: &'a [ServiceName]) -> Option<&'a ServiceName> {
        needs.iter().find(|service| !self.is_served_here(service) && !self.needs.elsewhere.contains(*service))
    }

    /// Other nodes serve these now.
    pub(crate) fn on_services_elsewhere(&mut self, services: BTreeSet<ServiceName>) {
        self.needs.elsewhere = services;
        self.start_waiting();
    }

    /// Starts whatever waits for nothing any more, in the order in which it came.
    pub(crate) fn start_waiting(&mut self) {
        let ready = |(_, (_, waiting)): &(&u64, &(Timestamp, Waiting))| self.missing(&waiting.spec().needs).is_none();
        let ready = self.needs.waiting.iter().filter(ready).map(|(id, _)| *id).collect::<Vec<_>>();
        for id in ready {
            let Some((until, waiting)) = self.needs.waiting.remove(&id) else { continue };
            self.timers.clear(until, Timer::Needs(id));
            self.start_now(waiting);
        }
    }

    /// Starts what needs nothing more.
    pub(crate) fn start_now(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Asked { ask, by, spec } => {
                // What an agent of this node holds may be less by now.
                let by = if by.role.is_none() { self.asker(&by.sender.principal) } else { Ok(by) };
                let started = by.and_then(|by| self.spawn_permitted(&by, spec, Some(ask)));
                if let Err(refusal) = started {
                    self.effects.answer(ask, Err(refusal));
                }
            }
            Waiting::Configured(spec) => {
                if let Ok(operator) = self.asker(&Principal::Operator) {
                    let _refused_by_form = self.spawn_permitted(&operator, spec, None);
                }
            }
            Waiting::Again(Past { process: last, spec, grants, by, restarts, suspended, .. }) => {
                let Some(process) = self.processes.next_life_of(last) else { return };
                // The record of its last start had the same size, so it cannot be refused.
                let _fits = self.spawn(process, spec, grants, by, restarts.saturating_add(1), Vec::new());
                if let Some(life) = self.processes.living_mut(process) {
                    life.stands_still = suspended;
                }
                self.bonds_wait_no_more(last, process);
            }
        }
    }

    /// What an agent needs did not come in time.
    pub(crate) fn on_needs_overdue(&mut self, id: u64) {
        let Some((_, waiting)) = self.needs.waiting.remove(&id) else { return };
        let Some(missing) = self.missing(&waiting.spec().needs).cloned() else { return self.start_now(waiting) };
        let seconds = waiting.waits_us_max() / 1_000_000;
        let reason = format!("it needs svc:{missing}, which nobody served within {seconds} s");
        self.give_up_start(
            waiting,
            &reason,
            Refusal::NoResponder { target: LocalTarget::Service(missing).to_string() },
        );
    }

    /// Whoever asked is told; a start that nobody asked for is on the chain as failed.
    pub(crate) fn give_up_start(&mut self, waiting: Waiting, reason: &str, refusal: Refusal) {
        match waiting {
            Waiting::Asked { ask, .. } => self.effects.answer(ask, Err(refusal)),
            Waiting::Configured(spec) => {
                let operator = self.own_sender(Principal::Operator);
                self.record_unstarted(spec, Vec::new(), operator, 0, reason);
            }
            Waiting::Again(Past { process, spec, grants, by, restarts, .. }) => {
                let agent = spec.agent.clone();
                self.record_unstarted(spec, grants, by, restarts, reason);
                self.fire_bonds(process, &agent, &ExitReason::StartFailed { reason: reason.to_owned() }, None);
            }
        }
    }

    fn record_unstarted(&mut self, spec: AgentSpec, grants: Vec<Grant>, by: Sender, restarts: u64, reason: &str) {
        let Some(process) = self.processes.next_id().filter(|_| self.processes.named(&spec.agent).is_none()) else {
            return;
        };
        let (source, from) = (self.source(&by), self.abroad(&by));
        let (recorded, by_whom) = (spec.clone(), by.principal.clone());
        let effect = Effect::Spawn { process, spec: recorded, grants: grants.clone(), by: by_whom, from };
        let intent = self.chain.append(&source, &Fact::Intent(Box::new(effect)), self.now).seq;
        let reason = reason.to_owned();
        let outcome = EffectOutcome { intent, result: EffectResult::Failed { reason: reason.clone() } };
        self.chain.append("kernel", &Fact::Outcome(outcome), self.now);
        let (agent, reason) = (spec.agent.clone(), ExitReason::StartFailed { reason });
        let exited = ProcessExited { process, agent, reason: reason.clone() };
        self.chain.append("kernel", &Fact::Exited(exited), self.now);
        // Its supervisor never had it: it is tried again when the node starts, or when somebody asks.
        let names = self.names_of(spec.agent.as_str(), spec.agent.as_str());
        self.processes.insert(Life::new(process, spec, names, grants, by, restarts));
        self.processes.exit(process, reason);
    }

    /// Whoever asked for a start is gone before it began: it does not happen.
    pub(crate) fn withdraw_waiting(&mut self, ask: AskId) -> bool {
        let of_ask =
            |(_, waiting): &(Timestamp, Waiting)| matches!(waiting, Waiting::Asked { ask: own, .. } if *own == ask);
        let id = self.needs.waiting.iter().find(|(_, waiting)| of_ask(waiting)).map(|(id, _)| *id);
        let Some((id, (until, _))) = id.and_then(|id| Some((id, self.needs.waiting.remove(&id)?))) else {
            return false;
        };
        self.timers.clear(until, Timer::Needs(id));
        true
    }

    /// Whether some start of that name waits.
    pub(crate) fn is_waiting(&self, agent: &AgentName) -> bool {
        self.needs.waiting.values().any(|(_, waiting)| waiting.spec().agent == *agent)
    }

    /// Refuses a service whose agent needs, directly or through others, somebody who needs that service.
    pub(super) fn check_circle_through(&self, service: &ServiceName, agent: &AgentName) -> Result<(), Refusal> {
        let needs = self.needs_of(agent);
        if needs.is_empty() { Ok(()) } else { self.check_circle(agent, &needs, Some((service, agent))) }
    }

    /// Follows what `agent` needs over the services registered here, and one that is to be; coming back to it is a circle.
    fn check_circle(
        &self,
        agent: &AgentName,
        needs: &[ServiceName],
        extra: Option<(&ServiceName, &AgentName)>,
    ) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        let mut paths = vec![(agent.clone(), needs.to_vec(), agent.to_string())];
        while let Some((_, needs, path)) = paths.pop() {
            for service in needs {
                let extra = extra.filter(|(name, _)| **name == service).map(|(_, agent)| agent);
                let provider = extra.or_else(|| self.services.get(&service).map(|entry| entry.endpoint.agent()));
                let Some(provider) = provider else { continue };
                let path = format!("{path} needs svc:{service} of {provider}");
                if provider == agent {
                    let message = format!("agents would wait for each other: {path}");
                    return Err(Refusal::Invalid { message });
                }
                if seen.insert(provider.clone()) {
                    paths.push((provider.clone(), self.needs_of(provider), format!("{path}, which")));
                }
            }
        }
        Ok(())
    }

    /// The last process of an agent that ran before the node restarted and waits to run again.
    pub(crate) fn waits_again(&self, agent: &AgentName) -> Option<ProcessId> {
        self.pasts().find(|past| past.spec.agent == *agent).map(|past| past.process)
    }

    /// Whether the agent of a process that went down with the node waits to run again.
    pub(crate) fn is_waiting_again(&self, process: ProcessId) -> bool {
        self.pasts().any(|past| past.process == process)
    }

    /// Whether such a one hears of the ends of those it is linked to, instead of ending with them.
    pub(crate) fn traps_exits_again(&self, process: ProcessId) -> bool {
        self.pasts().any(|past| past.process == process && past.spec.traps_exits)
    }

    fn pasts(&self) -> impl Iterator<Item = &Past> {
        self.needs.waiting.values().filter_map(|(_, waiting)| match waiting {
            Waiting::Again(past) => Some(past),
            Waiting::Asked { .. } | Waiting::Configured(_) => None,
        })
    }

    /// What the agent of that name needs, living or waiting.
    fn needs_of(&self, agent: &AgentName) -> Vec<ServiceName> {
        let life = self.processes.named(agent).and_then(|process| self.processes.living(process));
        let waiting =
            || self.needs.waiting.values().map(|(_, waiting)| waiting.spec()).find(|spec| spec.agent == *agent);
        life.map(|life| &life.spec).or_else(waiting).map(|spec| spec.needs.clone()).unwrap_or_default()
    }
}
