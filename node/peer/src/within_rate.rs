//! What requests of members cost, and what a member hears that asks for more than it may.

use weft_protocol::{
    A2aItem, BlobResponse, Durability, Envelope, Gossip, Hlc, MessageId, NodeId, Refusal, SyncResponse, Timestamp,
};

use crate::event::{Request, Response};
use crate::peer::Peer;
use crate::rates::{Cost, Protocol};

/// What one request for a chain, an advert or a chunk counts.
const ONE: Cost = Cost { messages: 1, bytes: 0, signatures: 0, writes: 0 };

impl Peer {
    /// Whether a request may be served now; otherwise its response. What is inside one of agents is looked at item by item.
    pub(crate) fn within_rate(&mut self, from: NodeId, content: &Request, now: Timestamp) -> Result<(), Response> {
        match content {
            Request::A2a(_) => Ok(()),
            Request::Sync(_) => self.rates.take(from, Protocol::Sync, ONE, now).map_err(|wait_us| {
                let milliseconds = wait_us.div_ceil(1_000);
                Response::Sync(SyncResponse::Refused(format!("busy: ask again in {milliseconds} ms")))
            }),
            Request::Blob(_) => self
                .rates
                .take(from, Protocol::Blob, ONE, now)
                .map_err(|retry_after_us| Response::Blob(BlobResponse::Busy { retry_after_us })),
        }
    }

    /// The item, when its member may still send one; otherwise the message it holds is answered `busy`.
    pub(crate) fn item_within_rate(&mut self, from: NodeId, item: A2aItem, now: Timestamp) -> Option<A2aItem> {
        let (cost, message) = cost_of(&item);
        match self.rates.take(from, Protocol::A2a, cost, now) {
            Ok(()) => Some(item),
            Err(retry_after_us) => {
                if let Some((message, hlc)) = message {
                    self.refuse_unheard(from, message, hlc, Refusal::Busy { retry_after_us });
                }
                None
            }
        }
    }

    /// Whether what a neighbour passes on is listened to. What is not is found again by comparing heads, adverts and logs.
    pub(crate) fn gossip_within_rate(&mut self, from: NodeId, content: &Gossip, now: Timestamp) -> bool {
        let cost = match content {
            Gossip::Head(_) | Gossip::Advert(_) => Cost { signatures: 1, ..ONE },
            Gossip::Publication(publication) => Cost { bytes: publication.payload.size() as u64, ..ONE },
        };
        self.rates.take(from, Protocol::Gossip, cost, now).is_ok()
    }
}

/// What an item costs, and the message that is refused with it. A receipt costs nothing: it answers what this node asked.
fn cost_of(item: &A2aItem) -> (Cost, Option<(MessageId, Hlc)>) {
    let envelope = |envelope: &Envelope, bytes: u64| {
        let writes = u64::from(envelope.level.durability != Durability::None);
        (Cost { messages: 1, bytes, signatures: 0, writes }, Some((envelope.id, envelope.hlc)))
    };
    match item {
        A2aItem::Envelope(one) => envelope(one, one.payload.size() as u64),
        A2aItem::LargeEnvelope(large) => envelope(&large.envelope, large.body.bytes),
        A2aItem::Receipt(_) | A2aItem::LargeReceipt(_) => (Cost::default(), None),
        // It answers what this node asked, and no more may come than this node said.
        A2aItem::Part(_) => (Cost::default(), None),
        A2aItem::Cancel(_) | A2aItem::PartsTaken(_) => (ONE, None),
        // Nobody is told of one that is not taken: its gap is found, and it is asked for.
        A2aItem::Publication(publication) => (Cost { bytes: publication.payload.size() as u64, ..ONE }, None),
    }
}
