//! How a node is reached that others cannot dial: members that it dialled pass connections on to it.

use weft_protocol::NodeId;

use crate::discovery::Discovery;
use crate::event::Output;

/// Members that pass connections on to one node: when one goes, the other is there (guess).
const RELAYS_MAX: usize = 2;

/// Whom a node uses to be reached.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Whether others see this node at an address that it does not have.
    translated: bool,
    /// Who passes connections on now.
    relays: Vec<NodeId>,
}

impl Discovery {
    pub(crate) fn on_translation_seen(&mut self, translated: bool, outputs: &mut Vec<Output>) {
        self.reach.translated = translated;
        self.choose_relays(outputs);
    }

    /// Keeps the relays that are still connected, and fills up from the other members that this node dialled directly: whoever
    /// it reached others may reach as well, and whoever reached it proves nothing.
    pub(crate) fn choose_relays(&mut self, outputs: &mut Vec<Output>) {
        let fits = |node: &NodeId| {
            let path = self.peers.get(node).and_then(|peer| peer.link.as_ref());
            let reached = path.is_some_and(|path| path.dialled && !path.relayed());
            self.reach.translated
                && reached
                && self.is_kept(node)
                && self.members.contains(node)
                && !self.members.is_cut_off(node)
        };
        let kept = self.reach.relays.iter().filter(|node| fits(node)).copied();
        let others = self.peers.iter().map(|(node, _)| *node).filter(|node| !self.reach.relays.contains(node));
        let chosen: Vec<NodeId> = kept.chain(others.filter(fits)).take(RELAYS_MAX).collect();
        if chosen != self.reach.relays {
            self.reach.relays.clone_from(&chosen);
            outputs.push(Output::UseRelays { nodes: chosen });
        }
    }
}
