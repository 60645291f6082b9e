//! Messages and replies that do not fit into a frame: sent by reference, and completed before the kernel hears of them.

use weft_kernel as kernel;
use weft_protocol::limits::ENVELOPE_BYTES_MAX;
use weft_protocol::{
    A2aItem, BlobRequest, BlobResponse, Envelope, LargeEnvelope, LargeReceipt, NodeId, Outcome, Payload, Receipt,
    Refusal, Role, Timestamp,
};

use crate::blobs::{Arrived, FetchKey, Wanted};
use crate::event::{Output, Request};
use crate::peer::{Outbound, Peer};

/// Largest content that travels in its frame, in bytes: the rest of the bound is for ids, names and a grant.
const INLINE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX - 2 * 1024;
/// How long a reply is kept for its caller, in microseconds: a caller that lost the reference asks again sooner (guess).
const REPLY_US: u64 = 30_000_000;

/// Stands where a body is fetched.
const fn placeholder() -> Payload {
    Payload::Text(String::new())
}

impl Peer {
    /// Sends a message, its body apart when it is large; one that finds no room is tried again.
    pub(crate) fn send_envelope(&mut self, to: NodeId, mut envelope: Box<Envelope>, now: Timestamp) {
        if envelope.payload.size() <= INLINE_BYTES_MAX {
            return self.transmit(to, A2aItem::Envelope(envelope));
        }
        let (message, until) = (envelope.id, now.after_us(envelope.deadline_us));
        let Some(body) = self.blobs.offers.keep(to, message, &envelope.payload, until) else {
            return self.tell_kernel(kernel::Input::TransmitFailed { to, message });
        };
        envelope.payload = placeholder();
        self.transmit(to, A2aItem::LargeEnvelope(Box::new(LargeEnvelope { envelope: *envelope, body })));
    }

    /// Sends a receipt whose reply is large by reference, and gives back any other. When there is no room the caller's next
    /// attempt asks again.
    pub(crate) fn send_large_receipt(
        &mut self,
        to: NodeId,
        mut receipt: Box<Receipt>,
        now: Timestamp,
    ) -> Option<Box<Receipt>> {
        let Outcome::Executed { reply: Some(payload) } = &receipt.outcome else { return Some(receipt) };
        if payload.size() <= INLINE_BYTES_MAX {
            return Some(receipt);
        }
        if let Some(body) = self.blobs.offers.keep(to, receipt.message, payload, now.after_us(REPLY_US)) {
            receipt.outcome = Outcome::Executed { reply: None };
            self.transmit(to, A2aItem::LargeReceipt(Box::new(LargeReceipt { receipt: *receipt, body })));
        }
        None
    }

    /// A message whose body must be fetched. Of a second copy of one that was let in before, the body does not matter.
    pub(crate) fn large_envelope_arrived(
        &mut self,
        from: NodeId,
        role: Role,
        large: LargeEnvelope,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let LargeEnvelope { envelope, body } = large;
        let envelope = Box::new(envelope);
        if self.kernel().has_seen(&envelope.id) {
            return self.tell_kernel(kernel::Input::EnvelopeArrived { from, role, envelope });
        }
        let (message, hlc) = (envelope.id, envelope.hlc);
        let wanted = Wanted::Envelope(role, envelope);
        let key = crate::blobs::key(from, &wanted);
        match self.blobs.fetches.begin(from, wanted, body, now) {
            Ok(()) => self.fetch(key, out),
            Err(refusal) => self.refuse_unheard(from, message, hlc, refusal),
        }
    }

    /// A reply that must be fetched; when there is no room our next attempt asks again.
    pub(crate) fn large_receipt_arrived(
        &mut self,
        from: NodeId,
        large: LargeReceipt,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let LargeReceipt { receipt, body } = large;
        let wanted = Wanted::Receipt(Box::new(receipt));
        let key = crate::blobs::key(from, &wanted);
        if self.kernel().waits_for(&key.1) && self.blobs.fetches.begin(from, wanted, body, now).is_ok() {
            self.fetch(key, out);
        }
    }

    /// A member asks for a chunk.
    pub(crate) fn serve_blob(&mut self, from: NodeId, request: &BlobRequest, now: Timestamp) -> BlobResponse {
        self.blobs.offers.serve(from, request, now)
    }

    /// A member answered with a chunk.
    pub(crate) fn chunk_arrived(
        &mut self,
        key: FetchKey,
        chunk: u64,
        response: BlobResponse,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        match self.blobs.fetches.arrived(&key, chunk, response, now) {
            Some(Arrived::Whole(from, Wanted::Envelope(role, envelope))) => {
                self.tell_kernel(kernel::Input::EnvelopeArrived { from, role, envelope });
            }
            Some(Arrived::Whole(from, Wanted::Receipt(receipt))) => {
                self.tell_kernel(kernel::Input::ReceiptArrived { from, receipt });
            }
            Some(Arrived::Refused(from, Wanted::Envelope(_, envelope), refusal)) => {
                self.refuse_unheard(from, envelope.id, envelope.hlc, refusal);
            }
            Some(Arrived::Refused(from, Wanted::Receipt(mut receipt), refusal)) => {
                receipt.outcome = Outcome::Refused(unreadable_reply(&refusal));
                self.tell_kernel(kernel::Input::ReceiptArrived { from, receipt });
            }
            None => self.fetch(key, out),
        }
    }

    fn fetch(&mut self, key: FetchKey, out: &mut Vec<Output>) {
        for request in self.blobs.fetches.ask(&key) {
            let purpose = Outbound::Chunk { key, chunk: request.chunk };
            self.request(key.0, Request::Blob(request), purpose, out);
        }
    }
}

/// The agent answered, but its node serves something else.
fn unreadable_reply(refusal: &Refusal) -> Refusal {
    Refusal::AgentFailed { reason: format!("it answered, but its answer cannot be read: {refusal}") }
}
