//! Which bonds stood when the last run ended, and how they come back with the processes that went down with it.

use std::collections::BTreeMap;

use weft_protocol::{
    BondKind, Bonded, ExitReason, Fact, Linked, Monitored, NodeId, PlacedFact, ProcessEnd, ProcessId, Watched,
};

use super::fire::text;
use crate::kernel::Kernel;

/// The fold over the own chain's facts: no more than the bonds of its last run.
#[derive(Debug, Default)]
pub(crate) struct BondHistory {
    links: BTreeMap<(ProcessId, ProcessId), Linked>,
    /// By watcher and target, with how the target ended when that was not told of.
    monitors: BTreeMap<(ProcessId, NodeId, ProcessId), (Monitored, Option<ExitReason>)>,
}

impl BondHistory {
    pub(crate) fn of(own: NodeId, facts: &[PlacedFact]) -> Self {
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
                _ => {}
            }
        }
        history
    }

    fn unlink(&mut self, one: ProcessId, other: ProcessId) {
        self.links.remove(&(one, other));
        self.links.remove(&(other, one));
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
                self.bonds.link(one.process, other.process);
                let source = linked.by.to_string();
                self.chain.append(&source, &Fact::Linked(Linked { one, other, ..linked }), self.now);
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
            Some(target) => {
                self.bonds.monitor(watcher.process, target.clone());
                let source = monitored.by.to_string();
                let fact = Fact::Monitored(Monitored { watcher, target, ..monitored });
                self.chain.append(&source, &fact, self.now);
            }
            None => {
                let Watched { node, agent, process } = monitored.target;
                let reason = text(&ended.unwrap_or(ExitReason::NodeStopped));
                let end = ProcessEnd { node, agent, process: Some(process), reason };
                self.tell_end(watcher.process, BondKind::Monitor, end, false);
            }
        }
    }

    /// The process that was started in the place of one that went down with the node.
    fn again(&self, before: &Bonded) -> Option<Bonded> {
        let process = self.processes.named(&before.agent)?;
        Some(Bonded { agent: before.agent.clone(), process })
    }
}

fn key(watcher: &Bonded, target: &Watched) -> (ProcessId, NodeId, ProcessId) {
    (watcher.process, target.node, target.process)
}
