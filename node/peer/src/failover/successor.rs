//! When this node wants an agent that nobody runs: everybody knows who is first, and the others stand by.

use std::collections::BTreeSet;

use weft_protocol::{AgentName, FenceEnd, NodeId, hash};

use super::book::Entry;
use super::event::{Output, World};
use super::{Failover, QUIET_US};

/// How much longer each further node in the order waits, in microseconds: a claim and its record fit (guess).
const STANDBY_US: u64 = 1_500_000;
/// How long a grant to somebody else is waited for to become more, in microseconds (guess: as long).
const OTHERS_US: u64 = STANDBY_US;

impl Failover {
    /// Begins what is due.
    pub(super) fn look_for_work(&mut self, world: &World, out: &mut Vec<Output>) {
        let agents: Vec<AgentName> =
            self.book.iter().filter(|(_, entry)| entry.open().is_some()).map(|(agent, _)| agent.clone()).collect();
        for agent in agents {
            if self.is_due(&agent, world) {
                self.claim(&agent, world, out);
            }
        }
        for seat in self.seats.values_mut() {
            seat.not_before = seat.not_before.filter(|at| world.now < *at);
            seat.others_claim = seat.others_claim.filter(|heard| world.now < heard.after_us(OTHERS_US));
        }
        self.seats.retain(|_, seat| {
            seat.holds()
                || seat.claim.is_some()
                || seat.wanted.is_some()
                || seat.not_before.is_some()
                || seat.others_claim.is_some()
        });
    }

    fn is_due(&mut self, agent: &AgentName, world: &World) -> bool {
        let counts = world.counting.contains(&self.own) && world.counting.len() >= super::COUNTING_MIN;
        let alive = |chain: &&weft_protocol::ChainId| world.members.get(&chain.node).is_some_and(|member| member.alive);
        // Alone it would write down one promise after the other that nobody else makes.
        let counts = counts && world.counting.iter().filter(alive).count() * 2 > world.counting.len();
        if !counts || !world.running || self.drain.is_some() {
            return false;
        }
        let moves = self.must_move(agent, world);
        let rank = self.book.get(agent).and_then(|entry| self.rank(agent, entry, world));
        let top = self.book.get(agent).map_or(0, |entry| entry.top().0);
        let grantable = self.wait_us(agent, top + 1, self.own, world) == Some(0);
        let seat = self.seats.entry(agent.clone()).or_default();
        if seat.claim.is_some() {
            return false;
        }
        if seat.not_before.is_some_and(|at| world.now < at) {
            return false;
        }
        seat.not_before = None;
        if moves {
            return true;
        }
        // The order is waited for from when anybody could begin: before that all would wait together, and begin together.
        let Some(rank) = rank.filter(|_| grantable && !seat.holds()) else {
            seat.wanted = None;
            return false;
        };
        if seat.others_claim.is_some_and(|heard| world.now < heard.after_us(OTHERS_US)) {
            return false;
        }
        let wanted = *seat.wanted.get_or_insert(world.now);
        world.now >= wanted.after_us(STANDBY_US.saturating_mul(rank))
    }

    /// Whether nothing is to be expected of a holder: its node is gone, or has not asked this one for more time for longer than a
    /// lease. That it may be so is enough to ask others, who know when they renewed last.
    fn is_silent(&self, agent: &AgentName, node: NodeId, world: &World) -> bool {
        let alive = world.members.get(&node).is_some_and(|member| member.alive);
        let promise = self.promises.get(agent).filter(|it| it.holder.node == node && it.epoch == world.epoch);
        !alive || promise.is_some_and(|promise| self.steady_us >= promise.renewed_us.saturating_add(QUIET_US))
    }

    /// The place of this node in the order of those who could run the agent; none when it cannot, or somebody runs it.
    fn rank(&self, agent: &AgentName, entry: &Entry, world: &World) -> Option<u64> {
        let open = entry.open()?;
        world.members.get(&open.by.node)?;
        let mut out = entry.unfit();
        let held = entry.held().map(|(fence, holder)| (holder.node, entry.released(fence, &holder)));
        let first = match held {
            None => Some(open.said.first.unwrap_or(open.by.node)),
            // This node was away, and nobody has taken its place.
            Some((node, None)) if node == self.own.node => Some(node),
            Some((node, None)) if !self.is_silent(agent, node, world) => return None,
            Some((node, None | Some(FenceEnd::HandedOver))) => {
                out.insert(node);
                None
            }
            // It ended, and was declared anew.
            Some((_, Some(FenceEnd::Ended))) => Some(open.said.first.unwrap_or(open.by.node)),
            Some((_, Some(FenceEnd::Unfit(_) | FenceEnd::Abandoned | FenceEnd::Superseded { .. }))) => None,
        };
        let labels = open.said.spec.failover.clone().unwrap_or_default().labels;
        let fits = |node: &NodeId| {
            let member = world.members.get(node).filter(|member| member.alive && !out.contains(node));
            member.is_some_and(|member| labels.iter().all(|(label, value)| member.labels.get(label) == Some(value)))
        };
        let candidates: BTreeSet<NodeId> = world.counting.iter().map(|chain| chain.node).filter(fits).collect();
        let mut order: Vec<NodeId> = candidates.into_iter().collect();
        // Rendezvous hashing: when one is gone, only what it had goes to others (Thaler, Ravishankar, 1998).
        order.sort_by_key(|node| {
            (Some(*node) != first, hash("failover", &[agent.as_str().as_bytes(), node.as_bytes()]))
        });
        order.iter().position(|node| *node == self.own.node).map(|rank| rank as u64)
    }
}
