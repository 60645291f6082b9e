//! Requests of members that wait for our receipts: answered when all are there, or after a short linger without the rest.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::ENVELOPES_PER_FRAME_MAX;
use weft_protocol::{MessageId, NodeId, Receipt, Timestamp};

use crate::config::{LINGER_US, REQUEST_BYTES_MAX};
use crate::event::InboundId;
use crate::links::receipt_bytes;

#[derive(Debug)]
struct Pending {
    from: NodeId,
    missing: BTreeSet<MessageId>,
    receipts: Vec<Receipt>,
    /// Of the replies in `receipts`.
    bytes: usize,
    respond_at: Timestamp,
    /// Not answered before, whatever is there.
    not_before: Timestamp,
}

/// Invariant: `requests[m]` names a pending request that still misses the receipt of `m`.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    pending: BTreeMap<InboundId, Pending>,
    requests: BTreeMap<MessageId, InboundId>,
}

impl Inbound {
    /// A request with these messages arrived.
    pub(crate) fn open(&mut self, request: InboundId, from: NodeId, messages: BTreeSet<MessageId>, now: Timestamp) {
        for message in &messages {
            if let Some(earlier) = self.requests.insert(*message, request)
                && let Some(pending) = self.pending.get_mut(&earlier)
            {
                pending.missing.remove(message);
            }
        }
        let respond_at = now.after_us(LINGER_US);
        let pending =
            Pending { from, missing: messages, receipts: Vec::new(), bytes: 0, respond_at, not_before: Timestamp(0) };
        self.pending.insert(request, pending);
    }

    /// Holds the response to a request back until then: its member asks for more than it may.
    pub(crate) fn hold(&mut self, request: InboundId, until: Timestamp) {
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.not_before = pending.not_before.max(until);
            pending.respond_at = pending.respond_at.max(until);
        }
    }

    /// Puts a receipt into the request that waits for it; gives it back when none of that member does, or when the response
    /// would be too large with it.
    pub(crate) fn add(&mut self, to: NodeId, receipt: Box<Receipt>) -> Result<(), Box<Receipt>> {
        let waiting = self.requests.get(&receipt.message).and_then(|request| self.pending.get_mut(request));
        match waiting {
            Some(pending) if pending.from == to => {
                self.requests.remove(&receipt.message);
                pending.missing.remove(&receipt.message);
                let bytes = pending.bytes + receipt_bytes(&receipt);
                if bytes > REQUEST_BYTES_MAX && !pending.receipts.is_empty() {
                    return Err(receipt);
                }
                pending.bytes = bytes;
                pending.receipts.push(*receipt);
                Ok(())
            }
            _ => Err(receipt),
        }
    }

    /// The next request to be answered now, with at most 64 receipts.
    pub(crate) fn take_ready(&mut self, now: Timestamp) -> Option<(InboundId, Vec<Receipt>)> {
        let ready =
            |pending: &Pending| pending.respond_at <= now || (pending.missing.is_empty() && pending.not_before <= now);
        let request = *self.pending.iter().find(|(_, pending)| ready(pending))?.0;
        let pending = self.pending.remove(&request)?;
        for message in &pending.missing {
            self.requests.remove(message);
        }
        debug_assert!(pending.receipts.len() <= ENVELOPES_PER_FRAME_MAX, "the codec bounds a request");
        Some((request, pending.receipts))
    }

    /// When the next request stops lingering.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.pending.values().map(|pending| pending.respond_at).min()
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::{ChainId, Hlc, Incarnation, Outcome};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn message(counter: u64) -> MessageId {
        MessageId { chain: ChainId { node: node(2), incarnation: Incarnation(1) }, counter }
    }

    fn receipt(counter: u64) -> Box<Receipt> {
        Box::new(Receipt {
            message: message(counter),
            hlc: Hlc(1),
            outcome: Outcome::Received,
            record: None,
            parts: None,
        })
    }

    #[test]
    fn a_request_is_answered_when_all_receipts_are_there() {
        let mut inbound = Inbound::default();
        inbound.open(InboundId(1), node(2), BTreeSet::from([message(1), message(2)]), NOW);
        assert_eq!(inbound.add(node(2), receipt(1)), Ok(()));
        assert_eq!(inbound.take_ready(NOW), None);
        assert_eq!(inbound.add(node(2), receipt(2)), Ok(()));
        assert_eq!(inbound.take_ready(NOW), Some((InboundId(1), vec![*receipt(1), *receipt(2)])));
        assert_eq!(inbound.next_wakeup(), None);
    }

    #[test]
    fn the_response_to_a_member_over_its_rate_is_held_back() {
        let mut inbound = Inbound::default();
        inbound.open(InboundId(1), node(2), BTreeSet::from([message(1)]), NOW);
        let until = NOW.after_us(10 * LINGER_US);
        inbound.hold(InboundId(1), until);
        assert_eq!(inbound.add(node(2), receipt(1)), Ok(()));
        assert_eq!(inbound.take_ready(NOW.after_us(2 * LINGER_US)), None, "though everything is there");
        assert_eq!(inbound.next_wakeup(), Some(until));
        assert_eq!(inbound.take_ready(until), Some((InboundId(1), vec![*receipt(1)])));
    }

    #[test]
    fn a_response_never_outgrows_its_frame() {
        let answered = |counter: u64| {
            let reply = Some(weft_protocol::Payload::Text("x".repeat(REQUEST_BYTES_MAX / 2)));
            let outcome = Outcome::Executed { reply };
            Box::new(Receipt { message: message(counter), hlc: Hlc(1), outcome, record: None, parts: None })
        };
        let mut inbound = Inbound::default();
        inbound.open(InboundId(1), node(2), BTreeSet::from([message(1), message(2)]), NOW);
        assert_eq!(inbound.add(node(2), answered(1)), Ok(()));
        assert_eq!(inbound.add(node(2), answered(2)), Err(answered(2)), "it travels apart");
        assert_eq!(inbound.take_ready(NOW), Some((InboundId(1), vec![*answered(1)])));
    }

    #[test]
    fn a_slow_message_holds_a_request_no_longer_than_the_linger_and_is_answered_apart() {
        let mut inbound = Inbound::default();
        inbound.open(InboundId(1), node(2), BTreeSet::from([message(1), message(2)]), NOW);
        assert_eq!(inbound.add(node(2), receipt(1)), Ok(()));
        let later = inbound.next_wakeup().expect("it lingers");
        assert_eq!(later, NOW.after_us(LINGER_US));
        assert_eq!(inbound.take_ready(later), Some((InboundId(1), vec![*receipt(1)])));
        assert_eq!(inbound.add(node(2), receipt(2)), Err(receipt(2)));
    }

    #[test]
    fn a_message_sent_again_is_answered_in_the_later_request_and_never_to_another_member() {
        let mut inbound = Inbound::default();
        inbound.open(InboundId(1), node(2), BTreeSet::from([message(1)]), NOW);
        inbound.open(InboundId(2), node(2), BTreeSet::from([message(1)]), NOW);
        assert_eq!(inbound.take_ready(NOW), Some((InboundId(1), Vec::new())), "nothing is missing any more");
        assert_eq!(inbound.add(node(3), receipt(1)), Err(receipt(1)));
        assert_eq!(inbound.add(node(2), receipt(1)), Ok(()));
        assert_eq!(inbound.take_ready(NOW), Some((InboundId(2), vec![*receipt(1)])));
    }
}
