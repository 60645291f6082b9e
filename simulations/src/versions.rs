//! Nodes of an older version of the wire: which they are, and what they must never be sent.

use weft_peer::{Reply, Request, Response};
use weft_protocol::{A2aItem, Envelope, Outcome, Receipt, Refusal, SyncResponse, WIRE_VERSION_MIN, WireVersions};

use crate::checks::Check;
use crate::faults::Fault;
use crate::world::World;

impl World {
    /// Which versions of the wire a node speaks.
    pub(crate) fn wire_of(&self, node: usize) -> WireVersions {
        let first_older = self.nodes.len() - self.scenario.older;
        let older = WireVersions::between(WIRE_VERSION_MIN, WIRE_VERSION_MIN).filter(|_| node >= first_older);
        older.unwrap_or_default()
    }

    /// Counts how often somebody was told that a member is too old.
    pub(crate) fn note_too_old(&mut self, answer: &Result<Reply, Refusal>) {
        if matches!(answer, Err(Refusal::PeerTooOld { .. })) {
            self.faults.count(Fault::ToldTooOld);
        }
    }

    /// A request has arrived, which an older node must understand.
    pub(crate) fn check_request_version(&mut self, to: usize, content: &Request) {
        let later = match content {
            Request::A2a(request) => request.items.iter().find_map(later_item),
            Request::Sync(_) | Request::Blob(_) => None,
        };
        self.check_understood(to, later);
    }

    /// A response has arrived, which an older node must understand.
    pub(crate) fn check_response_version(&mut self, to: usize, content: &Response) {
        let later = match content {
            Response::A2a(response) => response.receipts.iter().find_map(later_receipt),
            Response::Sync(SyncResponse::Trace(rows) | SyncResponse::PrunedTrace { rows, .. }) => {
                rows.iter().any(|row| row.record.parts.is_some()).then_some("a record with parts")
            }
            Response::Sync(_) | Response::Blob(_) => None,
        };
        self.check_understood(to, later);
    }

    fn check_understood(&mut self, to: usize, later: Option<&'static str>) {
        if self.wire_of(to).newest() == WIRE_VERSION_MIN {
            self.judge.book.check(Check::OlderUnderstand, later.is_none(), || {
                format!("node {to}, of version {WIRE_VERSION_MIN} of the wire, was sent {}", later.unwrap_or_default())
            });
        }
    }
}

/// What of an item the first version of the wire has not.
fn later_item(item: &A2aItem) -> Option<&'static str> {
    let message = |envelope: &Envelope| envelope.parts.then_some("a message that asks for parts");
    match item {
        A2aItem::Part(_) => Some("a part"),
        A2aItem::PartsTaken(_) => Some("how many parts were taken"),
        A2aItem::Publication(_) => Some("a publication sent straight"),
        A2aItem::Envelope(envelope) => message(envelope),
        A2aItem::LargeEnvelope(large) => message(&large.envelope),
        A2aItem::Receipt(receipt) => later_receipt(receipt),
        A2aItem::LargeReceipt(large) => later_receipt(&large.receipt),
        A2aItem::Cancel(_) => None,
    }
}

fn later_receipt(receipt: &Receipt) -> Option<&'static str> {
    match &receipt.outcome {
        Outcome::Refused(Refusal::Cancelled { .. } | Refusal::BrokenOff { .. } | Refusal::PeerTooOld { .. }) => {
            Some("a refusal that came later")
        }
        Outcome::Refused(_) | Outcome::Received | Outcome::Executed { .. } | Outcome::Delivered { .. } => {
            receipt.parts.map(|_| "a receipt that stands for parts")
        }
    }
}
