//! Packets of SWIM between members that are not connected: a neighbour of both passes them on, so that everybody is probed by everybody
//! in a partial mesh as in a full one.

use serde_bytes::ByteBuf;
use weft_protocol::limits::SWIM_PACKET_BYTES_MAX;
use weft_protocol::{Hlc, NodeId, SwimDetour, Timestamp, decode, encode};

use crate::discovery::Discovery;
use crate::event::Output;

/// Most packets that are passed on for one member in one period of probes: some times what all probes, answers and news of one
/// member are that come by this way when there is no other (guess). More are lost, as packets may be.
const PASSED_MAX: u32 = 64;

impl Discovery {
    pub(crate) fn on_swim_arrived(&mut self, from: NodeId, packet: &[u8], now: Timestamp, outputs: &mut Vec<Output>) {
        // A packet of SWIM is no value of our encoding: it begins with the length of an id, and does not end there.
        let fine = match decode::<SwimDetour>(packet, SWIM_PACKET_BYTES_MAX) {
            Err(_) => self.swim_said(from, packet, true, now, outputs),
            Ok(detour) if detour.to == self.node => {
                self.run_of(&from).is_some() && self.swim_said(detour.from, &detour.packet, false, now, outputs)
            }
            Ok(detour) if detour.from == from => self.pass_on(detour, now, outputs),
            Ok(_) => false,
        };
        if !fine {
            self.counters.swim_refused += 1;
        }
    }

    /// A packet of that node came, on a connection of its own or not.
    fn swim_said(
        &mut self,
        from: NodeId,
        packet: &[u8],
        directly: bool,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let belongs = |node: &NodeId| {
            let peer = self.peers.get(node).filter(|_| !self.members.is_cut_off(node));
            let known = peer.is_some() || *node == self.node;
            known.then(|| peer.and_then(|peer| peer.run_started))
        };
        belongs(&from).is_some() && self.swim.packet_arrived((from, directly), packet, belongs, now, outputs)
    }

    /// The latest run of a node that may take part, by its own words.
    fn run_of(&self, node: &NodeId) -> Option<Option<Hlc>> {
        self.peers.get(node).filter(|_| !self.members.is_cut_off(node)).map(|peer| peer.run_started)
    }

    /// Hands a packet to a member that its sender is not connected to, and this node is.
    fn pass_on(&mut self, detour: SwimDetour, now: Timestamp, outputs: &mut Vec<Output>) -> bool {
        if self.run_of(&detour.from).is_none() || self.run_of(&detour.to).is_none() {
            return false;
        }
        let standing = &mut self.standing;
        if now >= standing.passed_since.after_us(self.config.probe_period_us) {
            (standing.passed_since, standing.passed) = (now, std::collections::BTreeMap::new());
        }
        let passed = standing.passed.entry(detour.from).or_default();
        *passed = passed.saturating_add(1);
        // Without a connection to the receiver it is lost, as packets may be.
        if *passed <= PASSED_MAX && self.is_reachable(detour.to) {
            outputs.push(Output::SendSwim { to: detour.to, packet: encode(&detour) });
        }
        true
    }

    /// Of what this node has to say, sends over a neighbour of both what is for a member that it is not connected to.
    pub(crate) fn take_detours(&mut self, begin: usize, outputs: &mut Vec<Output>) {
        if !self.is_partial() {
            return;
        }
        for output in outputs.split_off(begin) {
            match output {
                Output::SendSwim { to, packet } if !self.is_reachable(to) => {
                    if let Some(between) = self.between(&to) {
                        let detour = SwimDetour { from: self.node, to, packet: ByteBuf::from(packet) };
                        outputs.push(Output::SendSwim { to: between, packet: encode(&detour) });
                    }
                }
                other => outputs.push(other),
            }
        }
    }
}
