//! Which bonds stood when the last run ended, and how they come back with the processes that went down with it.

use std::collections::BTreeMap;

use weft_protocol::{
    BondKind, Bonded, Effect, ExitReason, Fact, Linked, Monitored, NodeId, PlacedFact, ProcessEnd, ProcessId, Watched,
};

use super::fire::text;
use super::table::Tie;
use crate::kernel::Kernel;

/// The fold over the facts of the own chains, the first one first: no more than the bonds of its last run.
#[derive(Debug, Default)]
pub(crate) struct BondHistory {
    links: BTreeMap<(ProcessId, ProcessId), Linked>,
    /// By watcher and target, with how the target ended when that was not told of.
    monitors: BTreeMap<(ProcessId, NodeId, ProcessId), (Monitored, Option<ExitReason>)>,
}

impl BondHistory {
    pub(crate) fn of<'a>(own: NodeId, facts: impl Iterator<Item = &'a PlacedFact>) -> Self {
        let mut history = Self::default();
        for placed in facts {
            match &placed.fact {
                // Each start makes anew what it can of the bonds before it.
                Fact::Boot(_) => history = Self::default(),
                Fact::Linked(linked) => {
                    history.links.insert((linked.one.process, linked.other.process), linked.clone());
                }
                Fact::Unlinked(unlinked) => history.unlink(unlinked.one.process, unlinked.other.process),
                Fact::Monitored(monitored) => {
                    history.monitors.insert(key(&monitored.watcher, &monitored.target), (monitored.clone(), None));
                }
                Fact::Demonitored(gone) => drop(history.monitors.remove(&key(&gone.watcher, &gone.target))),
                Fact::BondFired(fired) => {
                    let (told, Some(ended)) = (fired.told.process, fired.end.process) else { continue };
                    match fired.kind {
                        BondKind::Link => history.unlink(told, ended),
                        BondKind::Monitor => drop(history.monitors.remove(&(told, fired.end.node, ended))),
                    }
                }
                Fact::Exited(exited) => history.exited(own, exited.process, &exited.reason),
                Fact::Intent(effect) => history.intended(own, effect),
                _ => {}
            }
        }
        history
    }

    fn unlink(&mut self, one: ProcessId, other: ProcessId) {
        self.links.remove(&(one, other));
        self.links.remove(&(other, one));
    }

    /// An agent that waited runs again: its bonds are recorded anew, as those of its new process.
    fn intended(&mut self, own: NodeId, effect: &Effect) {
        let Effect::Spawn { process, spec, .. } = effect else { return };
        let is_last = |end: &Bonded| end.agent == spec.agent && end.process != *process;
        self.links.retain(|_, linked| !is_last(&linked.one) && !is_last(&linked.other));
        self.monitors.retain(|_, (Monitored { watcher, target, .. }, ended)| {
            let target_is_last =
                target.node == own && ended.is_none() && target.agent == spec.agent && target.process != *process;
            !is_last(watcher) && !target_is_last
        });
    }

    fn exited(&mut self, own: NodeId, process: ProcessId, reason: &ExitReason) {
        for ((_, node, target), (_, ended)) in &mut self.monitors {
            if (*node, *target) == (own, process) {
                *ended = Some(reason.clone());
            }
        }
        // What goes down with the node may come back with it.
        if *reason != ExitReason::NodeStopped {
            self.links.retain(|(one, other), _| *one != process && *other != process);
            self.monitors.retain(|(watcher, ..), _| *watcher != process);
        }
    }
}

impl Kernel {
    /// Bonds of processes that went down with the node stand again between those that were started in their places.
    pub(crate) fn restore_bonds(&mut self, history: BondHistory) {
        for linked in history.links.into_values() {
            let ends = (self.again(&linked.one), self.again(&linked.other));
            if let (Some(one), Some(other)) = ends {
                self.tie_again(Tie::Link(Linked { one, other, ..linked }));
            }
        }
        for (monitored, ended) in history.monitors.into_values() {
            if let Some(watcher) = self.again(&monitored.watcher) {
                self.restore_monitor(watcher, monitored, ended);
            }
        }
    }

    fn restore_monitor(&mut self, watcher: Bonded, monitored: Monitored, ended: Option<ExitReason>) {
        let (own, target) = (self.identity.chain.node, monitored.target.clone());
        let target = match ended {
            None | Some(ExitReason::NodeStopped) if target.node == own => {
                let before = Bonded { agent: target.agent.clone(), process: target.process };
                self.again(&before).map(|again| Watched { node: own, agent: again.agent, process: again.process })
            }
            None => Some(target),
            Some(_) => None,
        };
        match target {
            Some(target) => self.tie_again(Tie::Monitor(Monitored { watcher, target, ..monitored })),
            None => {
                let Watched { node, agent, process } = monitored.target;
                let reason = text(&ended.unwrap_or(ExitReason::NodeStopped));
                let end = ProcessEnd { node, agent, process: Some(process), reason };
                self.tell_end(watcher.process, BondKind::Monitor, end, false);
            }
        }
    }

    /// Records that a bond stands; one with an end that waits to run again is recorded anew when that does.
    fn tie_again(&mut self, tie: Tie) {
        self.bonds.tie(&tie);
        let own = self.identity.chain.node;
        if tie.ends(own).any(|end| self.is_waiting_again(end)) {
            self.bonds.wait(tie.clone());
        }
        let (by, fact) = match tie {
            Tie::Link(linked) => (linked.by.to_string(), Fact::Linked(linked)),
            Tie::Monitor(monitored) => (monitored.by.to_string(), Fact::Monitored(monitored)),
        };
        self.chain.append(&by, &fact, self.now);
    }

    /// An agent that waited since the node restarted runs as its next process: what was of its last one is of that.
    pub(crate) fn bonds_wait_no_more(&mut self, last: ProcessId, next: ProcessId) {
        let own = self.identity.chain.node;
        let (ties, unheard) = self.bonds.wait_no_more(own, last);
        self.bonds.end(own, last, true);
        for tie in ties {
            self.tie_again(tie.with(last, next, own));
        }
        for (kind, end) in unheard {
            self.tell_end(next, kind, end, false);
        }
    }

    /// The process that was started in the place of one that went down with the node; of an agent that waits, the last one.
    fn again(&self, before: &Bonded) -> Option<Bonded> {
        let process = self.processes.named(&before.agent).or_else(|| self.waits_again(&before.agent))?;
        Some(Bonded { agent: before.agent.clone(), process })
    }
}

fn key(watcher: &Bonded, target: &Watched) -> (ProcessId, NodeId, ProcessId) {
    (watcher.process, target.node, target.process)
}
