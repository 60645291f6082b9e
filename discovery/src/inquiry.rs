//! Asking again for adverts that never came: gossip about a member is lost on whoever does not know that member yet.

use weft_protocol::{NodeId, Timestamp};

use crate::discovery::Discovery;
use crate::event::Output;

impl Discovery {
    /// While some member has no advert here, one connected member after the other is asked for what it holds.
    pub(crate) fn inquire(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let connected = self.connected_members();
        if connected.is_empty() || !self.lacks_adverts() {
            self.inquire_at = None;
            return;
        }
        let due = *self.inquire_at.get_or_insert(now.after_us(self.config.inquiry_interval_us));
        if due > now {
            return;
        }
        self.inquire_at = Some(now.after_us(self.config.inquiry_interval_us));
        self.inquiries = self.inquiries.wrapping_add(1);
        let to = connected[self.inquiries % connected.len()];
        outputs.push(Output::RequestAdverts { to, held: self.held_adverts() });
    }

    /// Somebody is said to serve what nobody here advertises. A member of whom no advert is held is asked for it, or dialled, which
    /// ends in the same; its redials go on waiting as long as they did.
    pub(crate) fn on_provider_named(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let lacks = self.directory.get(&node).is_none_or(|held| held.until <= now);
        if node == self.node || !lacks || !self.members.contains(&node) || self.members.is_cut_off(&node) {
            return;
        }
        let held = self.held_adverts();
        match self.peers.get_mut(&node) {
            Some(peer) if peer.link.is_some() => outputs.push(Output::RequestAdverts { to: node, held }),
            Some(peer) => peer.next_dial = peer.next_dial.min(now),
            None => {}
        }
    }

    fn connected_members(&self) -> Vec<NodeId> {
        let connected = self.peers.iter().filter(|(_, peer)| peer.link.is_some()).map(|(node, _)| *node);
        connected.filter(|node| self.members.contains(node) && !self.members.is_cut_off(node)).collect()
    }

    fn lacks_adverts(&self) -> bool {
        let left = |node: &NodeId| self.peers.get(node).is_some_and(crate::peers::Peer::has_left);
        self.members.iter().map(|(node, _)| node).any(|node| {
            node != self.node && !left(&node) && !self.members.is_cut_off(&node) && self.directory.get(&node).is_none()
        })
    }
}
