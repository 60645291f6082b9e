//! Which members a link is kept to. In a full mesh that is everybody; above so many members the neighbours of the partial one, and
//! the others are linked to for as long as something passes.
//!
//! Neighbours are those among all members, so that two halves of a cluster that was divided find each other again; and those among the
//! members that are there, so that whoever is gone leaves no hole. Two nodes that see others alive keep other links for a while,
//! which costs a connection.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::rand_core::Rng;
use weft_protocol::{NodeId, Timestamp};

use crate::discovery::Discovery;
use crate::event::Output;
use crate::mesh::Mesh;

/// How many times longer a link is kept by whoever did not open it: it ends by that side when both wait for the other one.
const PATIENCE: u64 = 10;

/// What follows from who is there.
#[derive(Debug)]
struct Partial {
    all: BTreeSet<NodeId>,
    there: BTreeSet<NodeId>,
    of_all: Mesh,
    of_there: Mesh,
    neighbours: BTreeSet<NodeId>,
}

impl Partial {
    fn new(own: NodeId, all: BTreeSet<NodeId>, there: BTreeSet<NodeId>) -> Self {
        let (of_all, of_there) = (Mesh::of(&all), Mesh::of(&there));
        let neighbours = of_all.neighbours(own).union(&of_there.neighbours(own)).copied().collect();
        Self { all, there, of_all, of_there, neighbours }
    }
}

/// Links that are kept, and links that are wanted for a while.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// None in a full mesh.
    partial: Option<Partial>,
    /// Members that something waits for which has to go to them.
    wanted: BTreeSet<NodeId>,
    /// Members that were reported as out of reach and not as within it since.
    out_of_reach: BTreeSet<NodeId>,
    /// Packets of SWIM that were passed on for each member since `passed_since`.
    pub(crate) passed: BTreeMap<NodeId, u32>,
    pub(crate) passed_since: Timestamp,
}

impl Standing {
    pub(crate) fn is_wanted(&self, node: &NodeId) -> bool {
        self.wanted.contains(node)
    }

    /// A link is open, or not any more.
    pub(crate) fn reported(&mut self, node: NodeId, reachable: bool) {
        if reachable {
            self.wanted.remove(&node);
            self.out_of_reach.remove(&node);
        } else {
            self.out_of_reach.insert(node);
        }
    }
}

impl Discovery {
    /// Whether the mesh is partial: there are more members than are all connected to each other.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.standing.partial.is_some()
    }

    /// Whether a link to that node is kept whether or not anything passes. Of one that is no member yet it is.
    #[must_use]
    pub fn is_kept(&self, node: &NodeId) -> bool {
        let Some(partial) = &self.standing.partial else { return true };
        partial.neighbours.contains(node) || !partial.all.contains(node)
    }

    /// Whether a link to that member is opened when something has to go to it: it is no neighbour, it is there, and it says where.
    #[must_use]
    pub fn is_on_demand(&self, node: &NodeId) -> bool {
        let Some(partial) = &self.standing.partial else { return false };
        let can_be_dialled = |node| {
            self.peers
                .get(node)
                .is_some_and(|it| it.link.is_none() && !(it.addresses.is_empty() && it.hints.is_empty()))
        };
        partial.there.contains(node) && !partial.neighbours.contains(node) && can_be_dialled(node)
    }

    /// How long a link over which nothing passes is left open, in microseconds; none of one that is kept.
    #[must_use]
    pub fn idle_us_max(&self, node: &NodeId) -> Option<u64> {
        let path = self.peers.get(node).filter(|_| !self.is_kept(node))?.link.as_ref()?;
        let idle_us = self.config.link_idle_us;
        Some(if path.dialled { idle_us } else { idle_us.saturating_mul(PATIENCE) })
    }

    /// Draws the mesh anew when who is a member or who is there has changed, and says who can be reached now.
    pub(crate) fn look_at_mesh(&mut self, outputs: &mut Vec<Output>) {
        let own = self.node;
        if self.active_others().count() < self.config.full_mesh_max {
            if self.standing.partial.take().is_some() {
                outputs.push(Output::KeepLinks { to: None });
            }
            return;
        }
        let verdicts = self.swim.verdicts();
        let is_there = |node: &NodeId| {
            let peer = self.peers.get(node);
            peer.is_some_and(|peer| self.judged_by(peer, verdicts.get(node).copied()).is_there())
        };
        let all: BTreeSet<NodeId> = self.active_others().chain([own]).collect();
        let there: BTreeSet<NodeId> = all.iter().copied().filter(|node| *node == own || is_there(node)).collect();
        let same = self.standing.partial.as_ref().is_some_and(|before| before.all == all && before.there == there);
        if !same {
            let partial = Partial::new(own, all, there);
            if self.standing.partial.as_ref().is_none_or(|before| before.neighbours != partial.neighbours) {
                outputs.push(Output::KeepLinks { to: Some(partial.neighbours.clone()) });
            }
            self.standing.partial = Some(partial);
            self.report_reach(outputs);
        }
    }

    /// Whoever is no neighbour is within reach while it is there.
    fn report_reach(&mut self, outputs: &mut Vec<Output>) {
        let Some(partial) = &self.standing.partial else { return };
        let without_link = |node: &&NodeId| self.peers.get(node).is_some_and(|peer| peer.link.is_none());
        for node in partial.all.iter().filter(without_link) {
            let there = partial.there.contains(node);
            let changed = match (there, partial.neighbours.contains(node)) {
                (false, _) => self.standing.out_of_reach.insert(*node),
                (true, false) => self.standing.out_of_reach.remove(node),
                (true, true) => false,
            };
            if changed {
                outputs.push(Output::ReportReachability { node: *node, reachable: there });
            }
        }
    }

    /// Something has to go to a member: it is dialled now.
    pub(crate) fn on_link_wanted(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        if !self.is_on_demand(&node) {
            outputs.push(Output::NotReached { node });
            return;
        }
        self.standing.wanted.insert(node);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.next_dial = now;
        }
    }

    /// A dial of that node failed: what waited for it is told, and a neighbour of it is asked for its latest advert, which says where
    /// it is now.
    pub(crate) fn not_reached(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.standing.wanted.remove(&node) {
            outputs.push(Output::NotReached { node });
        }
        let pause_us = self.config.inquiry_interval_us;
        let lately = |at: Timestamp| at <= now && now < at.after_us(pause_us);
        let asked = self.peers.get(&node).and_then(|peer| peer.exchanged);
        if !self.is_partial() || asked.is_some_and(lately) {
            return;
        }
        if let Some(to) = self.between(&node) {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.exchanged = Some(now);
            }
            outputs.push(Output::RequestAdverts { to, held: self.held_adverts() });
        }
    }

    /// What waits for somebody who is cut off waits in vain.
    pub(crate) fn let_wanted_go(&mut self, outputs: &mut Vec<Output>) {
        let (members, peers) = (&self.members, &self.peers);
        let in_vain = |node: &NodeId| members.is_cut_off(node) || peers.get(node).is_none();
        for node in self.standing.wanted.extract_if(.., |node| in_vain(node)) {
            outputs.push(Output::NotReached { node });
        }
    }

    /// A member that this node is connected to, and that should be connected to that one: any of them.
    pub(crate) fn between(&mut self, node: &NodeId) -> Option<NodeId> {
        let partial = self.standing.partial.as_ref()?;
        let linked = self.peers.iter().filter(|(other, peer)| peer.link.is_some() && *other != node);
        let near = |other: &NodeId| {
            partial.of_there.are_neighbours(*other, *node) || partial.of_all.are_neighbours(*other, *node)
        };
        let between: Vec<NodeId> = linked.map(|(other, _)| *other).filter(near).collect();
        let count = u64::try_from(between.len()).ok().filter(|count| *count > 0)?;
        between.get(usize::try_from(self.generator.next_u64() % count).ok()?).copied()
    }
}
