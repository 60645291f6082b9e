//! Which members pass connections on to this node, and where: circuits of libp2p's relay, which look like addresses listened at.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::Multiaddr;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use weft_protocol::NodeId;

use crate::identity::peer_id;

/// What is wanted and what there is.
#[derive(Debug, Default)]
pub(super) struct Relays {
    wanted: Vec<NodeId>,
    /// Where members were reached directly, when this node dialled them.
    ways: BTreeMap<NodeId, Multiaddr>,
    reserved: BTreeMap<NodeId, ListenerId>,
    /// Those of them that have said yes.
    accepted: BTreeSet<NodeId>,
}

impl Relays {
    /// These, and no others.
    pub(super) fn want(&mut self, nodes: Vec<NodeId>) {
        self.wanted = nodes;
    }

    /// A member was dialled at this address, and answers.
    pub(super) fn reached(&mut self, node: NodeId, address: &Multiaddr) {
        self.ways.insert(node, address.clone());
    }

    /// No connection to it is open any more.
    pub(super) fn lost(&mut self, node: NodeId) {
        self.ways.remove(&node);
    }

    /// Who is wanted and not asked yet, with the address to listen at.
    pub(super) fn missing(&self) -> Vec<(NodeId, Multiaddr)> {
        let missing = self.wanted.iter().filter(|node| !self.reserved.contains_key(node));
        missing.filter_map(|node| Some((*node, circuit(*node, self.ways.get(node)?)))).collect()
    }

    /// One was asked.
    pub(super) fn reserved(&mut self, node: NodeId, listener: ListenerId) {
        self.reserved.insert(node, listener);
    }

    /// A member passes connections on from now on.
    pub(super) fn accepted(&mut self, node: NodeId) {
        self.accepted.insert(node);
    }

    /// The listeners of those who are not wanted any more; they are forgotten. Of one who was asked and has not answered the
    /// listener stays until then: libp2p's client of relays panics at an answer to what it has forgotten.
    pub(super) fn take_unwanted(&mut self) -> Vec<ListenerId> {
        let unwanted = self.reserved.keys().filter(|node| !self.wanted.contains(node) && self.accepted.contains(node));
        let unwanted: Vec<NodeId> = unwanted.copied().collect();
        self.accepted.retain(|node| !unwanted.contains(node));
        unwanted.iter().filter_map(|node| self.reserved.remove(node)).collect()
    }

    /// A listener ended; whether it was one of these. It may be asked for again.
    pub(super) fn closed(&mut self, listener: ListenerId) -> bool {
        let before = self.reserved.len();
        self.reserved.retain(|_, reserved| *reserved != listener);
        self.accepted.retain(|node| self.reserved.contains_key(node));
        self.reserved.len() < before
    }
}

/// The address of this node through another one.
fn circuit(node: NodeId, address: &Multiaddr) -> Multiaddr {
    let direct: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
    direct.with(Protocol::P2p(peer_id(node))).with(Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_is_not_forgotten_before_it_has_answered() {
        let (node, listener) = (NodeId::from_bytes([1; 32]), ListenerId::next());
        let mut relays = Relays::default();
        relays.want(vec![node]);
        relays.reserved(node, listener);
        relays.want(Vec::new());
        assert_eq!(relays.take_unwanted(), Vec::new(), "its answer is on its way");
        relays.accepted(node);
        assert_eq!((relays.take_unwanted(), relays.take_unwanted()), (vec![listener], Vec::new()));

        relays.reserved(node, listener);
        assert!(relays.closed(listener) && !relays.closed(listener));
        relays.reserved(node, listener);
        assert_eq!(relays.take_unwanted(), Vec::new(), "it was asked anew");
    }
}
