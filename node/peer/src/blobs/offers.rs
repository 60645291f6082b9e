//! Bodies that members may fetch from this node: each for the member it was named to and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{Blob, BlobRef, BlobRequest, BlobResponse, Digest, MessageId, NodeId, Payload, Timestamp};

/// Most bytes that are kept at once; a message that would pass it counts as not transmitted and is tried again (guess: a
/// hundred of the largest).
pub(crate) const OFFERED_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// How long a body is kept once each of its chunks was served, in microseconds: a response that was lost on the way is asked
/// for again well within that (guess).
const SERVED_US: u64 = 1_000_000;

#[derive(Debug)]
struct Offer {
    blob: Blob,
    /// The messages it belongs to.
    messages: BTreeSet<MessageId>,
    unserved: BTreeSet<u64>,
    until: Timestamp,
}

/// Invariant: `bytes` is the sum over `offers`, and at most [`OFFERED_BYTES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Offers {
    offers: BTreeMap<(NodeId, Digest), Offer>,
    bytes: u64,
}

impl Offers {
    /// Keeps a body for this member until then; `None` when there is no room.
    pub(crate) fn keep(
        &mut self,
        to: NodeId,
        message: MessageId,
        payload: &Payload,
        until: Timestamp,
    ) -> Option<BlobRef> {
        let blob = Blob::of(payload);
        let name = blob.name();
        let unserved = (0..name.chunks()).collect();
        if let Some(offer) = self.offers.get_mut(&(to, name.address)) {
            offer.messages.insert(message);
            offer.unserved = unserved;
            offer.until = offer.until.max(until);
            return Some(name);
        }
        if self.bytes + name.bytes > OFFERED_BYTES_MAX {
            return None;
        }
        self.bytes += name.bytes;
        let offer = Offer { blob, messages: BTreeSet::from([message]), unserved, until };
        self.offers.insert((to, name.address), offer);
        Some(name)
    }

    /// Answers a member's request.
    pub(crate) fn serve(&mut self, from: NodeId, request: &BlobRequest, now: Timestamp) -> BlobResponse {
        let Some(offer) = self.offers.get_mut(&(from, request.address)) else { return BlobResponse::Unknown };
        let Some(chunk) = offer.blob.chunk(request.chunk) else { return BlobResponse::Unknown };
        offer.unserved.remove(&request.chunk);
        if offer.unserved.is_empty() {
            offer.until = offer.until.min(now.after_us(SERVED_US));
        }
        BlobResponse::Chunk(chunk)
    }

    /// A message was answered: its body is not needed any more.
    pub(crate) fn answered(&mut self, by: NodeId, message: &MessageId) {
        let offers = self.offers.range_mut((by, Digest::from_bytes([0; 32]))..=(by, Digest::from_bytes([0xff; 32])));
        let mut done = Vec::new();
        for (key, offer) in offers {
            if offer.messages.remove(message) && offer.messages.is_empty() {
                done.push(*key);
            }
        }
        done.iter().for_each(|key| self.drop(key));
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let over = self.offers.iter().filter(|(_, offer)| offer.until <= now).map(|(key, _)| *key).collect::<Vec<_>>();
        over.iter().for_each(|key| self.drop(key));
    }

    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        self.offers.values().map(|offer| offer.until).min()
    }

    fn drop(&mut self, key: &(NodeId, Digest)) {
        if let Some(offer) = self.offers.remove(key) {
            self.bytes -= offer.blob.name().bytes;
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
