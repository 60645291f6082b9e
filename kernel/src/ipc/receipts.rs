//! What was answered to messages of other nodes: a second copy gets the same answer, and its process never hears of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{
    Delivery, Hlc, Level, MessageId, Outcome, PartsProof, PlacedMessage, Receipt, RecordRef, Refusal, Stage,
};

/// Most receipts that are kept; a copy that comes after its receipt was dropped is answered `expired` (guess).
const RECEIPTS_MAX: usize = 4_096;
/// Most bytes of answers in them.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the chain says about a durable message that was let in before the restart.
#[derive(Debug)]
struct Past {
    received: RecordRef,
    hlc: Hlc,
    end: Option<(RecordRef, Hlc, Outcome, Option<PartsProof>)>,
}

/// Invariant: `order` holds the keys of `given`, oldest first; `bytes` is the sum of their answers.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    given: BTreeMap<MessageId, Receipt>,
    order: VecDeque<MessageId>,
    bytes: usize,
    /// Messages whose receipt waits for its record.
    held: BTreeSet<MessageId>,
    past: BTreeMap<MessageId, Past>,
}

impl Receipts {
    /// What is known of durable messages from the chains of this node.
    pub(crate) fn restored(own: weft_protocol::NodeId, messages: &[PlacedMessage]) -> Self {
        let mut receipts = Self::default();
        let recorded =
            messages.iter().filter(|placed| placed.chain.node == own && placed.record.message.chain.node != own);
        for PlacedMessage { chain, seq, leaf, record } in recorded {
            let place = RecordRef { chain: *chain, seq: *seq, leaf: *leaf };
            match record.stage {
                Stage::Received => {
                    let past = Past { received: place, hlc: record.hlc, end: None };
                    receipts.past.insert(record.message, past);
                }
                Stage::Answered | Stage::Refused => {
                    if let Some(past) = receipts.past.get_mut(&record.message) {
                        past.end = Some((place, record.hlc, super::record::outcome_of(record), record.parts));
                    }
                }
                Stage::Sent | Stage::Acknowledged | Stage::Published | Stage::Delivered => {}
            }
        }
        receipts
    }

    /// The messages let in before the restart.
    pub(crate) fn past(&self) -> impl Iterator<Item = &MessageId> {
        self.past.keys()
    }

    /// A receipt of this message waits for its record.
    pub(crate) fn hold(&mut self, message: MessageId) {
        self.held.insert(message);
    }

    /// A receipt for this node itself was given; nobody sends a second copy.
    pub(crate) fn forget(&mut self, message: &MessageId) {
        self.held.remove(message);
    }

    pub(crate) fn is_held(&self, message: &MessageId) -> bool {
        self.held.contains(message)
    }

    /// Remembers a receipt that is given now.
    pub(crate) fn remember(&mut self, receipt: &Receipt) {
        self.held.remove(&receipt.message);
        self.bytes += size(receipt);
        match self.given.insert(receipt.message, receipt.clone()) {
            Some(replaced) => self.bytes -= size(&replaced),
            None => self.order.push_back(receipt.message),
        }
        while self.order.len() > RECEIPTS_MAX || self.bytes > BYTES_MAX && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|oldest| self.given.remove(&oldest));
            self.bytes -= oldest.map_or(0, |receipt| size(&receipt));
        }
    }

    /// The receipt that a second copy of this message, sent with this level, gets; `None` when nobody can tell any more.
    pub(crate) fn again(&self, message: &MessageId, level: Level) -> Option<Receipt> {
        if let Some(receipt) = self.given.get(message) {
            return Some(receipt.clone());
        }
        let past = self.past.get(message)?;
        let (record, hlc, outcome, parts) = match (level.delivery, &past.end) {
            (Delivery::Routed | Delivery::Received, _) => (&past.received, past.hlc, Outcome::Received, None),
            (Delivery::Executed, Some((record, hlc, outcome, parts))) => (record, *hlc, outcome.clone(), *parts),
            (Delivery::Executed, None) => {
                let reason =
                    "its node restarted while the message was in the mailbox; it may have been executed".to_owned();
                (&past.received, past.hlc, Outcome::Refused(Refusal::AgentFailed { reason }), None)
            }
        };
        Some(Receipt { message: *message, hlc, outcome, record: Some(record.clone()), parts })
    }
}

fn size(receipt: &Receipt) -> usize {
    match &receipt.outcome {
        Outcome::Executed { reply: Some(reply) } => reply.size(),
        Outcome::Executed { reply: None } | Outcome::Received | Outcome::Refused(_) | Outcome::Delivered { .. } => 0,
    }
}
