//! Which bonds there are: links both ways, monitors by watcher and by target, and ends that somebody was not told of yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{BondKind, Linked, Monitored, NodeId, ProcessEnd, ProcessExited, ProcessId, Signal, Watched};

/// Most ends of processes of other nodes that are remembered, for whoever monitors one before the directory knows that it is
/// gone; the oldest make room (guess).
const ENDS_ELSEWHERE_MAX: usize = 1_024;

/// Invariant: links stand on both sides; `watchers` is `monitors` by target.
#[derive(Debug, Default)]
pub(crate) struct Bonds {
    links: BTreeMap<ProcessId, BTreeSet<ProcessId>>,
    monitors: BTreeMap<ProcessId, BTreeSet<Watched>>,
    watchers: BTreeMap<(NodeId, ProcessId), BTreeSet<ProcessId>>,
    /// Signals of processes that could not be handed one when it was due, in order.
    untold: BTreeMap<ProcessId, Vec<Signal>>,
    ends_elsewhere: VecDeque<(NodeId, ProcessExited)>,
    /// Bonds as they were recorded, with an end that went down with the node and waits to run again.
    waiting: Vec<Tie>,
    /// Ends that such a one is to be told of when it runs.
    unheard: BTreeMap<ProcessId, Vec<(BondKind, ProcessEnd)>>,
}

/// One bond as it is recorded.
#[derive(Debug, Clone)]
pub(super) enum Tie {
    Link(Linked),
    Monitor(Monitored),
}

impl Tie {
    /// The same bond with the next life of an agent in place of its last.
    pub(super) fn with(mut self, last: ProcessId, next: ProcessId, own: NodeId) -> Self {
        let renew = |process: &mut ProcessId| {
            if *process == last {
                *process = next;
            }
        };
        match &mut self {
            Self::Link(linked) => {
                renew(&mut linked.one.process);
                renew(&mut linked.other.process);
            }
            Self::Monitor(monitored) => {
                renew(&mut monitored.watcher.process);
                if monitored.target.node == own {
                    renew(&mut monitored.target.process);
                }
            }
        }
        self
    }

    /// The processes of this node that it ties.
    pub(super) fn ends(&self, own: NodeId) -> impl Iterator<Item = ProcessId> {
        let (one, other) = match self {
            Self::Link(linked) => (linked.one.process, Some(linked.other.process)),
            Self::Monitor(Monitored { watcher, target, .. }) => {
                (watcher.process, (target.node == own).then_some(target.process))
            }
        };
        std::iter::once(one).chain(other)
    }
}

/// Who was tied to a process that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) linked: BTreeSet<ProcessId>,
    pub(super) watchers: BTreeSet<ProcessId>,
}

impl Bonds {
    /// How many bonds a process has, with the ends it was not told of.
    pub(super) fn count(&self, process: ProcessId) -> usize {
        let links = self.links.get(&process).map_or(0, BTreeSet::len);
        let monitors = self.monitors.get(&process).map_or(0, BTreeSet::len);
        links + monitors + self.untold.get(&process).map_or(0, Vec::len)
    }

    pub(super) fn are_linked(&self, one: ProcessId, other: ProcessId) -> bool {
        self.links.get(&one).is_some_and(|others| others.contains(&other))
    }

    pub(super) fn link(&mut self, one: ProcessId, other: ProcessId) {
        self.links.entry(one).or_default().insert(other);
        self.links.entry(other).or_default().insert(one);
    }

    pub(super) fn unlink(&mut self, one: ProcessId, other: ProcessId) {
        remove(&mut self.links, &one, &other);
        remove(&mut self.links, &other, &one);
    }

    pub(super) fn monitor(&mut self, watcher: ProcessId, target: Watched) {
        self.watchers.entry((target.node, target.process)).or_default().insert(watcher);
        self.monitors.entry(watcher).or_default().insert(target);
    }

    pub(super) fn demonitor(&mut self, watcher: ProcessId, target: &Watched) {
        remove(&mut self.monitors, &watcher, target);
        remove(&mut self.watchers, &(target.node, target.process), &watcher);
    }

    pub(crate) fn links_of(&self, process: ProcessId) -> impl Iterator<Item = ProcessId> {
        self.links.get(&process).into_iter().flatten().copied()
    }

    pub(crate) fn monitors_of(&self, process: ProcessId) -> impl Iterator<Item = &Watched> {
        self.monitors.get(&process).into_iter().flatten()
    }

    /// Whether a bond stands as it was recorded.
    fn stands(&self, tie: &Tie) -> bool {
        match tie {
            Tie::Link(linked) => self.are_linked(linked.one.process, linked.other.process),
            Tie::Monitor(Monitored { watcher, target, .. }) => {
                self.monitors.get(&watcher.process).is_some_and(|targets| targets.contains(target))
            }
        }
    }

    /// A bond stands.
    pub(super) fn tie(&mut self, tie: &Tie) {
        match tie {
            Tie::Link(linked) => self.link(linked.one.process, linked.other.process),
            Tie::Monitor(monitored) => self.monitor(monitored.watcher.process, monitored.target.clone()),
        }
    }

    /// A bond that stands has an end that waits to run again.
    pub(super) fn wait(&mut self, tie: Tie) {
        self.waiting.push(tie);
    }

    /// The bonds of a process that waits no more, as far as they stand, forgotten here; and what it is to be told.
    pub(super) fn wait_no_more(&mut self, own: NodeId, process: ProcessId) -> (Vec<Tie>, Vec<(BondKind, ProcessEnd)>) {
        let (its, others) = std::mem::take(&mut self.waiting).into_iter().partition(|tie| {
            let mut ends = tie.ends(own);
            ends.any(|end| end == process)
        });
        self.waiting = others;
        let its: Vec<Tie> = its;
        let standing = its.into_iter().filter(|tie| self.stands(tie)).collect();
        let unheard = self.unheard.remove(&process).unwrap_or_default();
        (standing, unheard)
    }

    /// Keeps an end for a process that waits to run again.
    pub(super) fn keep_unheard(&mut self, process: ProcessId, kind: BondKind, end: ProcessEnd) {
        self.unheard.entry(process).or_default().push((kind, end));
    }

    pub(super) fn is_watched(&self, node: NodeId, process: ProcessId) -> bool {
        self.watchers.contains_key(&(node, process))
    }

    /// The nodes on which something is monitored.
    pub(super) fn nodes_watched(&self) -> BTreeSet<NodeId> {
        self.watchers.keys().map(|(node, _)| *node).collect()
    }

    /// All that is monitored on a node, each with its watcher.
    pub(super) fn watched_on(&self, node: NodeId) -> Vec<(ProcessId, Watched)> {
        let all = self.monitors.iter().flat_map(|(watcher, targets)| targets.iter().map(|target| (*watcher, target)));
        all.filter(|(_, target)| target.node == node).map(|(watcher, target)| (watcher, target.clone())).collect()
    }

    /// A process of `node`, which is this one when it has bonds of its own, has ended: all its bonds are no more.
    pub(super) fn end(&mut self, node: NodeId, process: ProcessId, is_own: bool) -> Freed {
        let watchers = self.watchers.remove(&(node, process)).unwrap_or_default();
        for watcher in &watchers {
            let targets = self.monitors.get_mut(watcher);
            let emptied = targets.is_some_and(|targets| {
                targets.retain(|target| (target.node, target.process) != (node, process));
                targets.is_empty()
            });
            if emptied {
                self.monitors.remove(watcher);
            }
        }
        if !is_own {
            return Freed { linked: BTreeSet::new(), watchers };
        }
        let linked = self.links.remove(&process).unwrap_or_default();
        linked.iter().for_each(|other| remove(&mut self.links, other, &process));
        for target in self.monitors.remove(&process).unwrap_or_default() {
            remove(&mut self.watchers, &(target.node, target.process), &process);
        }
        self.untold.remove(&process);
        self.unheard.remove(&process);
        Freed { linked, watchers }
    }

    /// Keeps a signal until its process can be handed it.
    pub(super) fn keep_untold(&mut self, process: ProcessId, signal: Signal) {
        self.untold.entry(process).or_default().push(signal);
    }

    pub(super) fn take_untold(&mut self, process: ProcessId) -> Vec<Signal> {
        self.untold.remove(&process).unwrap_or_default()
    }

    /// Remembers that a process of another node has ended.
    pub(super) fn remember_end(&mut self, node: NodeId, exited: ProcessExited) {
        if self.ends_elsewhere.len() >= ENDS_ELSEWHERE_MAX {
            self.ends_elsewhere.pop_front();
        }
        self.ends_elsewhere.push_back((node, exited));
    }

    /// How a process of another node ended, when that was heard of lately.
    pub(super) fn end_elsewhere(&self, node: NodeId, process: ProcessId) -> Option<&ProcessExited> {
        let mut latest = self.ends_elsewhere.iter().rev();
        latest.find(|(of, exited)| *of == node && exited.process == process).map(|(_, exited)| exited)
    }
}

/// Takes a value out of a set of a map, and the set with it when it was the last.
fn remove<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(index: u32) -> ProcessId {
        ProcessId { index, generation: 0 }
    }

    #[test]
    fn an_end_frees_both_sides_and_leaves_nothing_behind() {
        let (here, there) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let watched = |node, index| Watched { node, agent: "a".parse().expect("a name"), process: process(index) };
        let mut bonds = Bonds::default();
        bonds.link(process(1), process(2));
        bonds.link(process(1), process(3));
        bonds.monitor(process(2), watched(here, 1));
        bonds.monitor(process(1), watched(there, 1));
        bonds.monitor(process(4), watched(there, 1));
        bonds.keep_untold(process(1), Signal::Ping);
        assert_eq!([1, 2, 3, 4].map(|index| bonds.count(process(index))), [4, 2, 1, 1]);
        let freed = bonds.end(here, process(1), true);
        let expected = Freed { linked: [process(2), process(3)].into(), watchers: [process(2)].into() };
        assert_eq!(freed, expected);
        assert_eq!([1, 2, 3, 4].map(|index| bonds.count(process(index))), [0, 0, 0, 1]);
        assert_eq!(bonds.nodes_watched(), [there].into());
        assert_eq!(bonds.end(there, process(1), false).watchers, [process(4)].into());
        assert!(bonds.links.is_empty() && bonds.monitors.is_empty() && bonds.watchers.is_empty());
    }

    #[test]
    fn ends_elsewhere_are_bounded_and_the_oldest_go() {
        let node = NodeId::from_bytes([2; 32]);
        let mut bonds = Bonds::default();
        let last = u32::try_from(ENDS_ELSEWHERE_MAX).expect("small");
        for index in 0..=last {
            let (agent, reason) = ("a".parse().expect("a name"), weft_protocol::ExitReason::Stopped);
            bonds.remember_end(node, ProcessExited { process: process(index), agent, reason });
        }
        assert!(bonds.end_elsewhere(node, process(0)).is_none() && bonds.end_elsewhere(node, process(1)).is_some());
    }
}
