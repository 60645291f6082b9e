//! How publications leave: straight to the few members that listen, with whatever else waits for them; by gossip to many, and when one
//! that listens cannot be reached straight.

use weft_kernel::Syscall;
use weft_protocol::{
    A2aItem, Gossip, LocalTarget, NodeId, Publication, Refusal, Target, TopicName, WIRE_VERSION_PUBLICATIONS,
};

use crate::event::{GossipTopic, Output};
use crate::peer::Peer;

/// Most members that a publication goes to straight: above it each publication would cost its node more than gossip does (guess:
/// some times as many as gossip tells by itself).
const STRAIGHT_MAX: usize = 16;
/// The same in a partial mesh, where some are connected to for it (guess: as many as are all connected in a full one).
const STRAIGHT_PARTIAL_MAX: usize = 64;
/// Items that wait for a listening member before publishers are told to come again: four full frames, besides those on their way.
const BEHIND_MIN: usize = 256;
/// How long publishers wait for a member that takes nothing, in microseconds; what it misses then it asks for when it is back (guess).
const STALLED_US: u64 = 1_000_000;
/// When they may come again, in microseconds: a few frames were taken by then.
const BUSY_RETRY_US: u64 = 1_000;

impl Peer {
    /// A publication travels straight, or on its topic; there once more on that of the wildcards when somebody hears it only there.
    pub(crate) fn publish(&mut self, publication: Box<Publication>, out: &mut Vec<Output>) {
        if let Some(listeners) = self.straight_to(&publication.topic) {
            for to in listeners {
                // What finds no room is asked for by the member, as what gossip loses.
                self.transmit(to, A2aItem::Publication(publication.clone()));
            }
            return;
        }
        let topic = GossipTopic::Agents(publication.topic.clone());
        let by_wildcard = self.discovery.is_heard_by_wildcard(&publication.topic);
        let content = Box::new(Gossip::Publication(publication));
        if by_wildcard {
            out.push(Output::Gossip { topic: GossipTopic::Wildcards, content: content.clone() });
        }
        out.push(Output::Gossip { topic, content });
    }

    /// The members that listen, when they are few, each connected or connected to for this, and of a version that reads it. Of one that
    /// is not connected that shows when it is: what it cannot read it asks for then.
    fn straight_to(&self, topic: &TopicName) -> Option<Vec<NodeId>> {
        let listeners: Vec<NodeId> = self.discovery.subscribers(topic).into_iter().map(|(node, _)| node).collect();
        // Gossip reaches whoever listens over others that do: in a partial mesh there may be none between two of them.
        let most = if self.discovery.is_partial() { STRAIGHT_PARTIAL_MAX } else { STRAIGHT_MAX };
        let few = (1..=most).contains(&listeners.len());
        let reads = |node: &NodeId| {
            let wire = self.wire(node);
            wire.map_or_else(|| self.waits_for_link(node), |wire| wire >= WIRE_VERSION_PUBLICATIONS)
        };
        (few && listeners.iter().all(reads)).then_some(listeners)
    }

    /// Why nobody may publish now: a member that listens is behind with what was published before. One that takes nothing any more is
    /// not waited for.
    pub(crate) fn fan_out_full(&self, syscall: &Syscall) -> Option<Refusal> {
        let (Syscall::Publish { topic, .. }
        | Syscall::Send { target: Target { local: LocalTarget::Topic(topic), .. }, .. }) = syscall
        else {
            return None;
        };
        let behind = |node: &NodeId| self.links.is_behind(node, BEHIND_MIN, self.now, STALLED_US);
        let full = self.links.any_waiting(BEHIND_MIN) && self.straight_to(topic)?.iter().any(behind);
        full.then_some(Refusal::Busy { retry_after_us: BUSY_RETRY_US })
    }

    /// A publication came straight from a member: the connection proves who says it.
    pub(crate) fn publication_arrived(&mut self, from: NodeId, publication: Box<Publication>) {
        if publication.from.node == from && publication.id.chain.node == from {
            self.tell_replication(weft_replication::Input::PublicationHeard { publication });
        }
    }
}
