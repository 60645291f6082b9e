//! What waits for each connected member: items leave together, a bounded number of requests at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::limits::ENVELOPES_PER_FRAME_MAX;
use weft_protocol::{A2aItem, A2aRequest, MessageId, NodeId, Outcome, Payload, Receipt, Timestamp};

use crate::config::{QUEUED_ITEMS_MAX, REQUEST_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};

/// What one item adds to a request besides its payload: ids, names, a grant, framing (measured generously).
const ITEM_OVERHEAD_BYTES: usize = 2 * 1024;

#[derive(Debug, Default)]
struct Link {
    queue: VecDeque<A2aItem>,
    /// The lowest version of the wire that a connection to it agreed on.
    wire: Option<u16>,
    in_flight: usize,
    /// When the member last answered a request, or was connected.
    answered: Timestamp,
    /// When something last passed for which the link is kept open, or it was opened.
    used: Timestamp,
}

/// One queue for each connected member. Invariant: a member without a connection has no queue.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<NodeId, Link>,
}

impl Links {
    /// A connection is open, on which that version of the wire is spoken.
    pub(crate) fn open(&mut self, node: NodeId, wire: u16, now: Timestamp) {
        let link = self.links.entry(node).or_default();
        link.wire = Some(link.wire.map_or(wire, |lowest| lowest.min(wire)));
        (link.answered, link.used) = (now, now);
    }

    /// Something passes for which the link is kept open.
    pub(crate) fn used(&mut self, node: NodeId, now: Timestamp) {
        if let Some(link) = self.links.get_mut(&node) {
            link.used = now;
        }
    }

    /// When that was last so, of each link on which nothing waits or is on its way.
    pub(crate) fn used_at(&self) -> impl Iterator<Item = (NodeId, Timestamp)> {
        let idle = self.links.iter().filter(|(_, link)| link.queue.is_empty() && link.in_flight == 0);
        idle.map(|(node, link)| (*node, link.used))
    }

    /// The version of the wire that may be spoken to a member; none without a connection.
    pub(crate) fn wire(&self, node: &NodeId) -> Option<u16> {
        self.links.get(node)?.wire
    }

    /// Whether so many items wait for a member that answered a request less than `stalled_us` ago.
    pub(crate) fn is_behind(&self, node: &NodeId, items: usize, now: Timestamp, stalled_us: u64) -> bool {
        let link = self.links.get(node);
        link.is_some_and(|link| link.queue.len() >= items && now.since_us(link.answered) < stalled_us)
    }

    /// Whether so many items wait for any member.
    pub(crate) fn any_waiting(&self, items: usize) -> bool {
        self.links.values().any(|link| link.queue.len() >= items)
    }

    /// No connection is open any more; the messages that had not left.
    pub(crate) fn close(&mut self, node: NodeId) -> Vec<MessageId> {
        let link = self.links.remove(&node).unwrap_or_default();
        link.queue.iter().filter_map(message_of).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Every member with a connection.
    pub(crate) fn connected(&self) -> BTreeSet<NodeId> {
        self.links.keys().copied().collect()
    }

    /// Queues an item; gives it back when the member has no connection or its queue is full.
    pub(crate) fn push(&mut self, to: NodeId, item: A2aItem) -> Result<(), A2aItem> {
        match self.links.get_mut(&to) {
            Some(link) if link.queue.len() < QUEUED_ITEMS_MAX => {
                link.queue.push_back(item);
                Ok(())
            }
            _ => Err(item),
        }
    }

    /// A request to that member was answered or failed.
    pub(crate) fn finish(&mut self, to: NodeId, now: Timestamp) {
        if let Some(link) = self.links.get_mut(&to) {
            link.answered = now;
            link.in_flight = link.in_flight.saturating_sub(1);
        }
    }

    /// The next request that may leave.
    pub(crate) fn take(&mut self) -> Option<(NodeId, A2aRequest)> {
        let ready = |link: &Link| !link.queue.is_empty() && link.in_flight < REQUESTS_IN_FLIGHT_MAX;
        let (node, link) = self.links.iter_mut().find(|(_, link)| ready(link))?;
        let mut items = Vec::new();
        let mut bytes = 0;
        while let Some(item) = link.queue.front() {
            bytes += item_bytes(item);
            if items.len() == ENVELOPES_PER_FRAME_MAX || (bytes > REQUEST_BYTES_MAX && !items.is_empty()) {
                break;
            }
            items.extend(link.queue.pop_front());
        }
        link.in_flight += 1;
        Some((*node, A2aRequest { items }))
    }
}

/// The message that an item carries, which is answered with a receipt.
pub(crate) fn envelope_id(item: &A2aItem) -> Option<MessageId> {
    match item {
        A2aItem::Envelope(envelope) => Some(envelope.id),
        A2aItem::LargeEnvelope(large) => Some(large.envelope.id),
        A2aItem::Receipt(_)
        | A2aItem::LargeReceipt(_)
        | A2aItem::Cancel(_)
        | A2aItem::Part(_)
        | A2aItem::PartsTaken(_)
        | A2aItem::Publication(_) => None,
    }
}

/// The message of an item whose loss somebody must hear of: a message, or a part of the answer to one.
pub(crate) fn message_of(item: &A2aItem) -> Option<MessageId> {
    match item {
        A2aItem::Part(part) => Some(part.message),
        A2aItem::Envelope(_)
        | A2aItem::LargeEnvelope(_)
        | A2aItem::Receipt(_)
        | A2aItem::LargeReceipt(_)
        | A2aItem::Cancel(_)
        | A2aItem::PartsTaken(_)
        | A2aItem::Publication(_) => envelope_id(item),
    }
}

/// Bytes that a receipt adds to a frame.
pub(crate) fn receipt_bytes(receipt: &Receipt) -> usize {
    let reply = match &receipt.outcome {
        Outcome::Executed { reply } => reply.as_ref().map_or(0, Payload::size),
        Outcome::Received | Outcome::Refused(_) | Outcome::Delivered { .. } => 0,
    };
    reply + ITEM_OVERHEAD_BYTES
}

fn item_bytes(item: &A2aItem) -> usize {
    match item {
        A2aItem::Envelope(envelope) => envelope.payload.size() + ITEM_OVERHEAD_BYTES,
        A2aItem::Receipt(receipt) => receipt_bytes(receipt),
        A2aItem::Part(part) => part.payload.size() + ITEM_OVERHEAD_BYTES,
        A2aItem::Publication(publication) => publication.payload.size() + ITEM_OVERHEAD_BYTES,
        A2aItem::Cancel(_) | A2aItem::PartsTaken(_) | A2aItem::LargeEnvelope(_) | A2aItem::LargeReceipt(_) => {
            ITEM_OVERHEAD_BYTES
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::{ChainId, Incarnation, ReplyPart};

    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn item(counter: u64) -> A2aItem {
        A2aItem::Cancel(MessageId { chain: ChainId { node: node(1), incarnation: Incarnation(1) }, counter })
    }

    #[test]
    fn what_waits_leaves_together_and_only_so_many_requests_at_a_time() {
        let mut links = Links::default();
        links.open(node(2), 2, Timestamp(0));
        for counter in 0..REQUESTS_IN_FLIGHT_MAX as u64 {
            assert_eq!(links.push(node(2), item(counter)), Ok(()));
            assert_eq!(links.take(), Some((node(2), A2aRequest { items: vec![item(counter)] })));
        }
        for counter in 0..70 {
            assert_eq!(links.push(node(2), item(counter)), Ok(()));
        }
        assert_eq!(links.take(), None, "the window is full");
        links.finish(node(2), Timestamp(0));
        let (_, request) = links.take().expect("one place is free");
        assert_eq!(request.items, (0..64).map(item).collect::<Vec<_>>());
        links.finish(node(2), Timestamp(0));
        assert_eq!(links.take().expect("the rest").1.items, (64..70).map(item).collect::<Vec<_>>());
    }

    #[test]
    fn a_member_is_behind_while_much_waits_for_it_and_it_answers() {
        let mut links = Links::default();
        links.open(node(2), 2, Timestamp(0));
        for counter in 0..5 {
            assert_eq!(links.push(node(2), item(counter)), Ok(()));
        }
        let behind = |links: &Links, items, now| links.is_behind(&node(2), items, Timestamp(now), 100);
        assert!(behind(&links, 5, 99) && links.any_waiting(5));
        assert!(!behind(&links, 6, 99) && !links.any_waiting(6), "so much does not wait");
        assert!(!behind(&links, 5, 100), "it takes nothing");
        links.finish(node(2), Timestamp(60));
        assert!(behind(&links, 5, 100), "it has answered since");
        assert!(!links.is_behind(&node(3), 0, Timestamp(0), 100), "it is not connected");
    }

    #[test]
    fn the_loss_of_a_part_is_told_once_for_its_message() {
        let mut links = Links::default();
        links.open(node(2), 2, Timestamp(0));
        let message = MessageId { chain: ChainId { node: node(2), incarnation: Incarnation(1) }, counter: 1 };
        for number in 0..2 {
            let part = ReplyPart { message, number, payload: Payload::Text("x".to_owned()) };
            assert_eq!(links.push(node(2), A2aItem::Part(Box::new(part))), Ok(()));
        }
        assert_eq!(links.close(node(2)), [message]);
        let large = |number| {
            let payload = Payload::Text("x".repeat(REQUEST_BYTES_MAX / 2));
            A2aItem::Part(Box::new(ReplyPart { message, number, payload }))
        };
        links.open(node(2), 2, Timestamp(0));
        assert_eq!((links.push(node(2), large(0)), links.push(node(2), large(1))), (Ok(()), Ok(())));
        assert_eq!(links.take().map(|(_, request)| request.items.len()), Some(1), "a frame has a bound");
    }

    #[test]
    fn of_several_connections_the_lowest_version_counts_until_all_are_closed() {
        let mut links = Links::default();
        assert_eq!(links.wire(&node(2)), None);
        for (opened, counts) in [(2, 2), (1, 1), (2, 1)] {
            links.open(node(2), opened, Timestamp(0));
            assert_eq!(links.wire(&node(2)), Some(counts));
        }
        links.close(node(2));
        assert_eq!(links.wire(&node(2)), None);
        links.open(node(2), 2, Timestamp(0));
        assert_eq!(links.wire(&node(2)), Some(2), "another life of it may speak more");
    }

    #[test]
    fn nothing_waits_for_a_member_without_a_connection_and_no_queue_grows_for_ever() {
        let mut links = Links::default();
        assert_eq!(links.push(node(2), item(0)), Err(item(0)));
        links.open(node(2), 2, Timestamp(0));
        for counter in 0..QUEUED_ITEMS_MAX as u64 {
            assert_eq!(links.push(node(2), item(counter)), Ok(()));
        }
        assert_eq!(links.push(node(2), item(9)), Err(item(9)));
        assert_eq!(links.close(node(2)), Vec::new(), "only envelopes are given back");
        assert_eq!(links.take(), None);
    }
}
