//! Which members pass connections on to this node, and where: circuits of libp2p's relay, which look like addresses listened at.

use std::collections::BTreeMap;

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

    /// The listeners of those who are not wanted any more; they are forgotten.
    pub(super) fn take_unwanted(&mut self) -> Vec<ListenerId> {
        let unwanted: Vec<NodeId> = self.reserved.keys().filter(|node| !self.wanted.contains(node)).copied().collect();
        unwanted.iter().filter_map(|node| self.reserved.remove(node)).collect()
    }

    /// A listener ended; whether it was one of these. It may be asked for again.
    pub(super) fn closed(&mut self, listener: ListenerId) -> bool {
        let before = self.reserved.len();
        self.reserved.retain(|_, reserved| *reserved != listener);
        self.reserved.len() < before
    }
}

/// The address of this node through another one.
fn circuit(node: NodeId, address: &Multiaddr) -> Multiaddr {
    let direct: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
    direct.with(Protocol::P2p(peer_id(node))).with(Protocol::P2pCircuit)
}
