//! Calls to a service on whichever node serves it: each attempt has a provider, its end is judged, and another may follow.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use weft_discovery::Discovery;
use weft_kernel::{self as kernel, Answer, Kernel, Route, Syscall};
use weft_protocol::{ContractPart, NodeId, Principal, Refusal, ServiceName, Timestamp, TraceId};

use crate::balance::{Choice, Provider, choose};
use crate::breaker::{BreakerState, Breakers, Verdict};
use crate::event::AskId;

/// Numbers of attempts begin here, below the kernel's own: the world numbers its questions from zero and never comes so far.
const ATTEMPTS_FROM: u64 = 1 << 62;

/// One call, from question to answer. Invariant: `syscall` is a `Send` to `service` that names no node.
#[derive(Debug)]
struct Open {
    by: Principal,
    service: ServiceName,
    syscall: Box<Syscall>,
    idempotent: bool,
    durable: bool,
    asked_at: Timestamp,
    until: Timestamp,
    /// Where the attempt that is out went, under which number.
    attempt: Option<(kernel::AskId, NodeId)>,
    /// Whom it went to before, and why that was not the end.
    tried: BTreeSet<NodeId>,
    last: Option<Refusal>,
    /// Whether parts of an answer came, and how many.
    parts: u32,
}

/// What the peer must do for a call.
#[derive(Debug)]
pub(crate) enum Next {
    /// Ask the kernel under this number.
    Ask(Attempt),
    /// The directory is not complete: wait.
    Later { by: Principal, syscall: Box<Syscall>, deadline_us: u64 },
    /// It ended.
    Answer(AskId, Result<Answer, Refusal>),
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) ask: kernel::AskId,
    pub(crate) by: Principal,
    pub(crate) syscall: Box<Syscall>,
    pub(crate) route: Route,
}

/// All calls to services that are not answered, and what is known of their providers.
#[derive(Debug)]
pub(crate) struct Services {
    random: ChaCha8Rng,
    breakers: Breakers,
    open: BTreeMap<AskId, Open>,
    attempts: BTreeMap<kernel::AskId, AskId>,
    /// How many attempts are out at each provider; none is not kept.
    outstanding: BTreeMap<(ServiceName, NodeId), u64>,
    next: u64,
}

/// What this node knows of a provider that it called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderView {
    /// What it serves.
    pub service: ServiceName,
    /// Who.
    pub node: NodeId,
    /// Its breaker.
    pub breaker: BreakerState,
    /// How many attempts of calls are out there.
    pub outstanding: u64,
}

/// The service that a syscall calls without naming a node.
pub(crate) fn balanced(syscall: &Syscall) -> Option<&ServiceName> {
    match syscall {
        Syscall::Send { target, .. } if target.node.is_none() => target.local.service(),
        _ => None,
    }
}

impl Services {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            breakers: Breakers::default(),
            open: BTreeMap::new(),
            attempts: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            next: ATTEMPTS_FROM,
        }
    }

    /// A call begins, or is looked at again after it has waited; `may_wait` says whether it may wait for the directory.
    pub(crate) fn begin(
        &mut self,
        ask: AskId,
        by: Principal,
        mut syscall: Box<Syscall>,
        may_wait: bool,
        world: &World<'_>,
    ) -> Option<Next> {
        let service = balanced(&syscall)?.clone();
        let Syscall::Send { deadline_us, level, idempotent, trace, .. } = &mut *syscall else { return None };
        // All attempts belong to one conversation.
        trace.get_or_insert_with(|| TraceId(self.random.next_u64()));
        let (idempotent, deadline_us) = (*idempotent, *deadline_us);
        let durable = level.durability != weft_protocol::Durability::None;
        let until = world.now.after_us(deadline_us);
        if may_wait && !world.discovery.is_complete() && self.providers(&service, world).is_empty() {
            return Some(Next::Later { by, syscall, deadline_us });
        }
        if kernel::AskId(ask.0).is_own() {
            let route = self.route(&service, &syscall, world);
            return Some(Next::Ask(Attempt { ask: kernel::AskId(ask.0), by, syscall, route }));
        }
        let open = Open {
            by,
            service,
            syscall,
            idempotent,
            durable,
            asked_at: world.now,
            until,
            attempt: None,
            tried: BTreeSet::new(),
            last: None,
            parts: 0,
        };
        self.open.insert(ask, open);
        Some(self.attempt(ask, world))
    }

    /// The route of a question that the kernel itself asks: it hears the answer alone, so there is one attempt.
    fn route(&mut self, service: &ServiceName, syscall: &Syscall, world: &World<'_>) -> Route {
        let providers = self.providers(service, world);
        match choose(&providers, &BTreeSet::new(), &mut self.random, world.now) {
            Choice::Take(node) if node == world.own => Route::Local,
            Choice::Take(node) => Route::Remote(node),
            Choice::Nobody => Route::nowhere(nobody(syscall, "")),
            Choice::AllOpen { until } => Route::nowhere(all_fail(syscall, providers.len(), until, world.now)),
        }
    }

    /// The providers that were called, as far as they are remembered.
    pub(crate) fn called(&self) -> impl Iterator<Item = ProviderView> {
        self.breakers.all().map(|(service, node, breaker)| {
            let outstanding = self.outstanding.get(&(service.clone(), node)).copied().unwrap_or(0);
            ProviderView { service: service.clone(), node, breaker, outstanding }
        })
    }

    /// Everybody who serves it, as far as this node knows.
    fn providers(&self, service: &ServiceName, world: &World<'_>) -> Vec<Provider> {
        let outstanding = |node| self.outstanding.get(&(service.clone(), node)).copied().unwrap_or(0);
        let own = world.kernel.has_service(service).then(|| Provider {
            node: world.own,
            own: true,
            reachable: true,
            load: world.kernel.service_load(service),
            admits_at: self.breakers.admits_at(service, world.own),
        });
        let others = world.discovery.providers(service).into_iter().map(|(node, advert)| Provider {
            node,
            own: false,
            reachable: world.discovery.is_reachable(node) || world.discovery.is_on_demand(&node),
            load: advert.load.saturating_add(outstanding(node)),
            admits_at: self.breakers.admits_at(service, node),
        });
        own.into_iter().chain(others).collect()
    }

    /// The next attempt of a call, or its end when nobody is left.
    fn attempt(&mut self, ask: AskId, world: &World<'_>) -> Next {
        let kernel_ask = kernel::AskId(self.next);
        let Some(service) = self.open.get(&ask).map(|open| open.service.clone()) else {
            return Next::Answer(ask, Err(Refusal::Deadline { maybe_executed: true }));
        };
        let providers = self.providers(&service, world);
        let Some(open) = self.open.get_mut(&ask) else {
            return Next::Answer(ask, Err(Refusal::Deadline { maybe_executed: true }));
        };
        let route = match choose(&providers, &open.tried, &mut self.random, world.now) {
            Choice::Take(node) => {
                open.attempt = Some((kernel_ask, node));
                open.tried.insert(node);
                self.breakers.called(&service, node, world.now);
                *self.outstanding.entry((service, node)).or_default() += 1;
                if node == world.own { Route::Local } else { Route::Remote(node) }
            }
            Choice::Nobody | Choice::AllOpen { .. } if open.last.is_some() => {
                let last = open.last.take().unwrap_or(Refusal::Expired);
                self.open.remove(&ask);
                return Next::Answer(ask, Err(last));
            }
            // The kernel says so, after it has asked the gate, and records it.
            Choice::Nobody => Route::nowhere(nobody(&open.syscall, "")),
            Choice::AllOpen { until } => Route::nowhere(all_fail(&open.syscall, providers.len(), until, world.now)),
        };
        self.next += 1;
        self.attempts.insert(kernel_ask, ask);
        let more = providers.iter().any(|other| !open.tried.contains(&other.node) && other.admits_at <= world.now);
        let left_us = open.until.since_us(world.now);
        let mut syscall = open.syscall.clone();
        if let Syscall::Send { deadline_us, .. } = &mut *syscall {
            // An answer that is late is tried for elsewhere while there is time for one.
            *deadline_us = if open.idempotent && more { left_us.div_ceil(2) } else { left_us };
        }
        Next::Ask(Attempt { ask: kernel_ask, by: open.by.clone(), syscall, route })
    }

    /// The kernel answered an attempt of one of these calls, or something else: then the answer is given back.
    pub(crate) fn answered(
        &mut self,
        attempt: kernel::AskId,
        answer: Result<Answer, Refusal>,
        world: &World<'_>,
    ) -> Next {
        let Some(ask) = self.attempts.remove(&attempt) else { return Next::Answer(AskId(attempt.0), answer) };
        let Some(open) = self.open.get_mut(&ask) else { return Next::Answer(ask, answer) };
        if let Some((_, node)) = open.attempt.take() {
            let service = open.service.clone();
            self.end_attempt(&service, node, verdict(&answer), world.now);
            let Some(open) = self.open.get_mut(&ask) else { return Next::Answer(ask, answer) };
            if let Err(refusal) = &answer
                && may_follow(refusal, open.idempotent)
                && open.until > world.now
                && open.parts == 0
            {
                open.last = Some(refusal.clone());
                return self.attempt(ask, world);
            }
        }
        let (asked_at, parts) = self.open.remove(&ask).map_or((world.now, 0), |open| (open.asked_at, open.parts));
        let answer = answer.map_err(|refusal| broken_off(refusal, parts));
        let answer = answer.map(|answer| match answer {
            Answer::Sent(mut report) => {
                report.latency_us = world.now.since_us(asked_at);
                Answer::Sent(report)
            }
            other => other,
        });
        Next::Answer(ask, answer)
    }

    /// A node cannot be reached any more: attempts there that may be made twice are given up and made elsewhere, when there
    /// is an elsewhere; one that was answered in part ends. Returns the numbers to withdraw, each with what follows.
    pub(crate) fn lost(&mut self, node: NodeId, world: &World<'_>) -> Vec<(kernel::AskId, Next)> {
        let there = self
            .open
            .iter()
            .filter(|(_, open)| open.idempotent && !open.durable && open.attempt.is_some_and(|(_, to)| to == node));
        let there = there.map(|(ask, _)| *ask).collect::<Vec<_>>();
        let mut moved = Vec::new();
        for ask in there {
            let Some((service, tried)) = self.open.get(&ask).map(|open| (open.service.clone(), open.tried.clone()))
            else {
                continue;
            };
            let elsewhere =
                |other: &Provider| !tried.contains(&other.node) && other.reachable && other.admits_at <= world.now;
            if !self.providers(&service, world).iter().any(elsewhere) {
                continue;
            }
            let Some((attempt, _)) = self.open.get_mut(&ask).and_then(|open| open.attempt.take()) else { continue };
            self.attempts.remove(&attempt);
            self.end_attempt(&service, node, Verdict::Failed, world.now);
            let parts = self.open.get(&ask).map_or(0, |open| open.parts);
            if parts > 0 {
                self.open.remove(&ask);
                let unreachable = Refusal::Unreachable { node: world.discovery.display_name(node) };
                moved.push((attempt, Next::Answer(ask, Err(broken_off(unreachable, parts)))));
            } else {
                moved.push((attempt, self.attempt(ask, world)));
            }
        }
        moved
    }

    /// A part of the answer to an attempt came; whoever asked.
    pub(crate) fn part_came(&mut self, attempt: kernel::AskId) -> AskId {
        let Some(ask) = self.attempts.get(&attempt).copied() else { return AskId(attempt.0) };
        if let Some(open) = self.open.get_mut(&ask) {
            open.parts = open.parts.saturating_add(1);
        }
        ask
    }

    /// The number under which the kernel knows a question.
    pub(crate) fn attempt_of(&self, ask: AskId) -> kernel::AskId {
        let attempt = self.open.get(&ask).and_then(|open| open.attempt);
        attempt.map_or(kernel::AskId(ask.0), |(attempt, _)| attempt)
    }

    /// Whoever asked is gone; the number under which the kernel knows the question.
    pub(crate) fn withdraw(&mut self, ask: AskId, now: Timestamp) -> kernel::AskId {
        let Some(open) = self.open.remove(&ask) else { return kernel::AskId(ask.0) };
        let Some((attempt, node)) = open.attempt else { return kernel::AskId(ask.0) };
        self.attempts.remove(&attempt);
        self.end_attempt(&open.service, node, Verdict::Nothing, now);
        attempt
    }

    fn end_attempt(&mut self, service: &ServiceName, node: NodeId, verdict: Verdict, now: Timestamp) {
        self.breakers.settle(service, node, verdict, now);
        let key = (service.clone(), node);
        if let Some(count) = self.outstanding.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.outstanding.remove(&key);
            }
        }
    }
}

/// What a choice goes by.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) own: NodeId,
    pub(crate) kernel: &'a Kernel,
    pub(crate) discovery: &'a Discovery,
    pub(crate) now: Timestamp,
}

fn nobody(syscall: &Syscall, why: &str) -> Refusal {
    let target = match syscall {
        Syscall::Send { target, .. } => target.to_string(),
        _ => String::new(),
    };
    Refusal::NoResponder { target: format!("{target}{why}") }
}

fn all_fail(syscall: &Syscall, providers: usize, until: Timestamp, now: Timestamp) -> Refusal {
    let seconds = until.since_us(now).div_ceil(1_000_000);
    nobody(syscall, &format!(" (each of {providers} providers failed too often; tried again in {seconds} s)"))
}

/// A provider that fails after it answered in part is not followed by another, whose parts would be other ones.
fn broken_off(refusal: Refusal, parts: u32) -> Refusal {
    if parts == 0 || !may_follow(&refusal, true) {
        return refusal;
    }
    let reason = format!("{refusal}; another provider would begin again, so none was asked: call once more for that");
    Refusal::BrokenOff { parts, reason }
}

/// What the end of a call says about its provider.
fn verdict(answer: &Result<Answer, Refusal>) -> Verdict {
    match answer {
        Ok(_) => Verdict::Worked,
        Err(refusal) => match refusal {
            Refusal::NoResponder { .. }
            | Refusal::Gone { .. }
            | Refusal::Deadline { .. }
            | Refusal::Quarantined
            | Refusal::AgentFailed { .. }
            | Refusal::Damaged
            | Refusal::ShuttingDown
            | Refusal::Restarting { .. }
            | Refusal::Unreachable { .. }
            | Refusal::BrokenOff { .. }
            | Refusal::ContractViolated { part: ContractPart::Output, .. } => Verdict::Failed,
            Refusal::Denied { .. }
            | Refusal::Deferred { .. }
            | Refusal::Busy { .. }
            | Refusal::Ambiguous { .. }
            | Refusal::TooLarge { .. }
            | Refusal::Expired
            | Refusal::Unsupported { .. }
            | Refusal::PeerTooOld { .. }
            | Refusal::NoWitness
            | Refusal::NoMajority { .. }
            | Refusal::NotWitnessed { .. }
            | Refusal::Cancelled { .. }
            | Refusal::LimitReached { .. }
            | Refusal::Wider { .. }
            | Refusal::OutOfScope { .. }
            | Refusal::Unenforceable { .. }
            | Refusal::Invalid { .. }
            | Refusal::ContractViolated { part: ContractPart::Input, .. }
            | Refusal::BackendNotAvailable { .. } => Verdict::Nothing,
        },
    }
}

/// Whether another provider may be asked: nothing was changed and the fault is the provider's, or the call may be executed twice.
fn may_follow(refusal: &Refusal, idempotent: bool) -> bool {
    match refusal {
        Refusal::NoResponder { .. }
        | Refusal::Gone { .. }
        | Refusal::Busy { .. }
        | Refusal::Quarantined
        | Refusal::Damaged
        | Refusal::ShuttingDown
        | Refusal::Restarting { .. }
        | Refusal::Unreachable { .. }
        | Refusal::PeerTooOld { .. }
        | Refusal::Deadline { maybe_executed: false } => true,
        Refusal::Deadline { maybe_executed: true } => idempotent,
        // An agent that said that it failed has answered; what is wrong with the message is wrong everywhere.
        Refusal::AgentFailed { .. }
        | Refusal::Denied { .. }
        | Refusal::Deferred { .. }
        | Refusal::Ambiguous { .. }
        | Refusal::TooLarge { .. }
        | Refusal::Expired
        | Refusal::Unsupported { .. }
        | Refusal::NoWitness
        | Refusal::NoMajority { .. }
        | Refusal::NotWitnessed { .. }
        | Refusal::Cancelled { .. }
        | Refusal::BrokenOff { .. }
        | Refusal::LimitReached { .. }
        | Refusal::Wider { .. }
        | Refusal::OutOfScope { .. }
        | Refusal::Unenforceable { .. }
        | Refusal::Invalid { .. }
        | Refusal::ContractViolated { .. }
        | Refusal::BackendNotAvailable { .. } => false,
    }
}
