//! A mesh in which not everybody is connected to everybody: whoever is gone is known to be, whoever is there can be called, and links
//! are kept to neighbours alone.

use std::collections::BTreeMap;

use weft_peer::{AskId, Reply};
use weft_protocol::Refusal;

use crate::checks::Check;
use crate::faults::Fault;
use crate::transition::Transition;
use crate::world::World;

/// After so long everybody knows who is gone, in virtual microseconds: a suspicion that nobody refutes, the probes before it and the
/// news behind it, with room to spare.
const KNOWN_US: u64 = 15_000_000;

/// A call between two nodes that both ran, in a network in which nothing was wrong.
#[derive(Debug, Clone, Copy)]
struct FarCall {
    to: usize,
    run: u64,
    linked: bool,
}

/// What the checks of a partial mesh go by.
#[derive(Debug, Default)]
pub(crate) struct Farness {
    /// Nodes that went down, and when.
    down_since_us: BTreeMap<usize, u64>,
    /// When somebody last did something to the network.
    disturbed_us: u64,
    calls: BTreeMap<AskId, FarCall>,
}

impl World {
    /// A process has ended.
    pub(crate) fn note_down(&mut self, node: usize) {
        self.farness.down_since_us.insert(node, self.now_us);
    }

    /// A process begins.
    pub(crate) fn note_up(&mut self, node: usize) {
        self.farness.down_since_us.remove(&node);
    }

    /// Before something happens: everybody knows who has been gone for long.
    pub(crate) fn judge_deaths(&mut self, transition: &Transition) {
        let disturbs = matches!(
            transition,
            Transition::Partition { .. }
                | Transition::CutOneWay { .. }
                | Transition::Loss { .. }
                | Transition::DelaySpike { .. }
                | Transition::Heal
        );
        if self.scenario.full_mesh_max.is_some() && self.is_long_ago(self.farness.disturbed_us) {
            let gone: Vec<usize> = self
                .farness
                .down_since_us
                .iter()
                .filter(|(_, at)| self.is_long_ago(**at))
                .map(|(node, _)| *node)
                .collect();
            for node in 0..self.nodes.len() {
                for dead in &gone {
                    self.judge_death(node, *dead);
                }
            }
        }
        if disturbs {
            self.farness.disturbed_us = self.now_us;
        }
    }

    fn judge_death(&mut self, node: usize, dead: usize) {
        let id = self.nodes[dead].id();
        let running = self.nodes[node].running.as_ref().filter(|running| self.is_long_ago(running.begun_us));
        let Some(state) = running.map(|running| running.peer.discovery().state_of(&id)) else { return };
        self.judge.book.check(Check::DeathsAreKnown, !state.is_there(), || {
            format!("node {dead} has been down for long, and node {node} says it is {state}")
        });
    }

    fn is_long_ago(&self, at_us: u64) -> bool {
        self.now_us >= at_us.saturating_add(KNOWN_US)
    }

    /// A call begins: if nothing is wrong with either end or the network, it must be answered.
    pub(crate) fn note_far_call(&mut self, ask: AskId, node: usize, to: usize) {
        let steady = |node: usize| {
            let running = self.nodes[node].running.as_ref();
            running.is_some_and(|running| self.is_long_ago(running.begun_us))
        };
        let begun = self.scenario.full_mesh_max.is_some() && self.is_long_ago(self.farness.disturbed_us);
        if begun && node != to && steady(node) && steady(to) {
            let linked = self.connection(node, to).is_some();
            self.farness.calls.insert(ask, FarCall { to, run: self.nodes[to].run, linked });
        }
    }

    /// A call was answered, or not.
    pub(crate) fn judge_far_call(&mut self, node: usize, ask: AskId, answer: &Result<Reply, Refusal>) {
        let Some(FarCall { to, run, linked }) = self.farness.calls.remove(&ask) else { return };
        let stayed = self.nodes[to].run == run && self.nodes[to].running.is_some();
        // A disturbance since may have cost it.
        if !stayed || !self.is_long_ago(self.farness.disturbed_us) {
            return;
        }
        self.judge.book.check(Check::CallsArrive, answer.is_ok(), || {
            format!("a call of node {node} to node {to}, which ran and was connected before: {linked}, ended with {answer:?}")
        });
        if answer.is_ok() && !linked {
            self.faults.count(Fault::CalledFar);
        }
    }

    /// Links that neither end keeps.
    pub(crate) fn needless_links(&self) -> Vec<String> {
        let keeps = |node: usize, peer: usize| {
            let running = self.nodes[node].running.as_ref();
            running.is_some_and(|running| running.peer.discovery().is_kept(&self.nodes[peer].id()))
        };
        let links = self.nodes.iter().flat_map(|node| {
            let links = node.running.iter().flat_map(|running| running.links.keys());
            links.map(|peer| (node.index, *peer))
        });
        let needless = links.filter(|(node, peer)| !keeps(*node, *peer) && !keeps(*peer, *node));
        needless.map(|(node, peer)| format!("node {node} is connected to {peer}")).collect()
    }

    /// How many links there are in all, counted from both ends.
    pub(crate) fn links(&self) -> usize {
        self.nodes.iter().filter_map(|node| node.running.as_ref()).map(|running| running.links.len()).sum()
    }
}
