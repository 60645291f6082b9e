//! What of services must be true: a call goes on at whoever is left, and a provider that fails is left alone as it should be.

use weft_kernel::{Registration, Syscall};
use weft_peer::{AskId, BreakerState, Input, ProviderView, Question, Reply};
use weft_protocol::{
    AuditLevel, Delivery, Durability, Level, LocalTarget, NodeId, Refusal, ServiceName, Target, Timestamp,
};

use crate::checks::Check;
use crate::faults::Fault;
use crate::node::Node;
use crate::outside::agent_name;
use crate::reference::{Ask, Asked};
use crate::transition::AgentKind;
use crate::world::World;

/// Of this many calls, more than half must have failed before a breaker opens.
const WINDOW: u64 = 10;

impl World {
    /// Lets the echo agent of a node answer for the service.
    pub(crate) fn serve(&mut self, node: usize) {
        self.served = true;
        let registration = Registration {
            service: service_name(),
            agent: Some(agent_name(AgentKind::Echo)),
            contract: None,
            audit_level: AuditLevel::GateOnly,
        };
        let syscall = Syscall::RegisterService(Box::new(registration));
        self.ask(node, Question::Kernel(Box::new(syscall)), Asked::Other);
    }

    /// Answers a node that asks members who serves this: those who said so and run, when there is anybody to ask.
    pub(crate) fn seek_providers(&mut self, node: usize, service: ServiceName) {
        if self.nodes[node].running.as_ref().is_none_or(|running| running.links.is_empty()) {
            return;
        }
        let provides = |of: &&Node| of.running.as_ref().is_some_and(|running| running.provided.contains(&service));
        let nodes: Vec<NodeId> = self.nodes.iter().filter(provides).map(Node::id).collect();
        if !nodes.is_empty() {
            let delay_us = 2 * self.network_dice.between(self.scenario.network.latency_us);
            self.tell_after(delay_us, node, Input::ProvidersFound { service, nodes });
        }
    }

    /// Calls the service from a node.
    pub(crate) fn call_service(&mut self, node: usize, deadline_us: u64) {
        let steady = (0..self.nodes.len()).filter_map(|provider| {
            let (run, connection) = self.steady_provider(node, provider)?;
            Some((provider, run, connection))
        });
        let what = Asked::Service { steady: steady.collect() };
        let syscall = Syscall::Send {
            target: Target { node: None, local: LocalTarget::Service(service_name()) },
            payload: self.text(),
            wants_reply: true,
            level: Level { delivery: Delivery::Executed, durability: Durability::None },
            deadline_us,
            trace: None,
            cause: Vec::new(),
            idempotent: true,
            parts: false,
        };
        self.ask(node, Question::Kernel(Box::new(syscall)), what);
    }

    /// The run and the connection of a provider that serves, and is known, connected and called from `node`.
    fn steady_provider(&self, node: usize, provider: usize) -> Option<(u64, u64)> {
        let there = self.connected(node, provider)?;
        let running = self.nodes[node].running.as_ref()?;
        let (id, service) = (self.nodes[provider].id(), service_name());
        let serves = self.nodes[provider].running.as_ref()?.peer.kernel().has_service(&service);
        let known = running.peer.discovery().providers(&service).iter().any(|(node, _)| *node == id);
        let alone = running
            .peer
            .providers_called()
            .any(|view| view.node == id && !matches!(view.breaker, BreakerState::Closed { .. }));
        (serves && known && !alone).then_some(there)
    }

    /// The present run of another node and the connection to it, when both sides have the same.
    pub(crate) fn connected(&self, node: usize, other: usize) -> Option<(u64, u64)> {
        let link = |from: usize, to: usize| self.nodes[from].running.as_ref()?.links.get(&to).copied();
        let (here, there) = (link(node, other)?, link(other, node)?);
        (node != other && here.connection == there.connection).then_some((self.nodes[other].run, here.connection))
    }

    /// An answer leaves: when it is that of a call to the service, whoever could answer it all the time must have.
    pub(crate) fn judge_service(&mut self, ask: AskId, answer: &Result<Reply, Refusal>) {
        let asked = self.judge.reference.asks.get(&ask);
        let Some(Ask { node, what: Asked::Service { steady }, .. }) = asked.cloned() else { return };
        let stayed = steady
            .iter()
            .find(|(provider, run, connection)| self.connected(node, *provider) == Some((*run, *connection)));
        let (stayed, refusal) = (stayed.copied(), answer.as_ref().err());
        self.judge.book.check(Check::ServiceGoesOn, refusal.is_none() || stayed.is_none(), || {
            format!("a call of node {node} was refused ({refusal:?}) although {stayed:?} served all the time")
        });
        let known = |view: &ProviderView| self.nodes.iter().find(|node| node.id() == view.node);
        let running = self.nodes[node].running.as_ref();
        let mut called = running.into_iter().flat_map(|running| running.peer.providers_called());
        if answer.is_ok() && called.any(|view| known(&view).is_some_and(|provider| provider.running.is_none())) {
            self.faults.count(Fault::ServedByOthers);
        }
    }

    /// A peer took one input: what became of its breakers must follow from what they were.
    pub(crate) fn judge_breakers(&mut self, node: usize, before: &[ProviderView], now: Timestamp) {
        let Some(running) = self.nodes[node].running.as_ref() else { return };
        for after in running.peer.providers_called().collect::<Vec<_>>() {
            let was = before.iter().find(|view| (&view.service, view.node) == (&after.service, after.node));
            let (was, out) =
                was.map_or((BreakerState::Closed { failures: 0 }, 0), |was| (was.breaker, was.outstanding));
            self.judge.book.check(Check::BreakersHold, follows(was, out, &after, now), || {
                format!("node {node}: {was:?} with {out} calls out became {after:?} at {now:?}")
            });
            match (was, after.breaker) {
                (BreakerState::Closed { .. }, BreakerState::Open { .. }) => self.faults.count(Fault::BreakerOpened),
                (BreakerState::Open { .. }, BreakerState::Probing { .. }) => self.faults.count(Fault::BreakerProbed),
                (BreakerState::Probing { .. }, BreakerState::Closed { .. }) => self.faults.count(Fault::BreakerClosed),
                _ => {}
            }
        }
    }
}

/// Whether a breaker may become this by one input.
fn follows(was: BreakerState, out: u64, after: &ProviderView, now: Timestamp) -> bool {
    let no_more = after.outstanding <= out;
    let ended = out.saturating_sub(after.outstanding);
    match (was, after.breaker) {
        (BreakerState::Closed { failures }, BreakerState::Open { until }) => {
            (failures as u64 + ended) * 2 > WINDOW && until > now
        }
        (BreakerState::Closed { .. }, BreakerState::Closed { failures }) => failures as u64 * 2 <= WINDOW,
        (BreakerState::Open { until }, BreakerState::Open { until: later }) => {
            if until == later {
                no_more
            } else {
                until <= now
            }
        }
        (BreakerState::Open { until }, BreakerState::Probing { .. }) => until <= now && after.outstanding <= out + 1,
        (BreakerState::Probing { since }, BreakerState::Probing { since: later }) => {
            if since == later {
                no_more
            } else {
                after.outstanding <= out + 1
            }
        }
        (BreakerState::Probing { .. }, BreakerState::Closed { failures }) => failures == 0 && ended > 0,
        (BreakerState::Probing { .. }, BreakerState::Open { .. }) => ended > 0,
        (BreakerState::Closed { .. }, BreakerState::Probing { .. })
        | (BreakerState::Open { .. }, BreakerState::Closed { .. }) => false,
    }
}

fn service_name() -> ServiceName {
    "work".parse().expect("BUG: a name of letters")
}
