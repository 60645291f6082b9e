//! What a member that speaks an older version of the wire is told: never what it cannot read, and never in silence less than was asked.

use weft_protocol::{
    A2aItem, Envelope, NodeId, Receipt, Refusal, SyncResponse, WIRE_VERSION_MIN, WIRE_VERSION_PARTS,
    WIRE_VERSION_PUBLICATIONS,
};

use crate::event::InboundId;
use crate::peer::Peer;

impl Peer {
    /// The version of the wire that this node and a member agreed on, on the connections that are open; none without any.
    #[must_use]
    pub fn wire(&self, node: &NodeId) -> Option<u16> {
        self.links.wire(node)
    }

    /// Whether a member understands what came with that version. Of one that is not connected nobody knows: it is asked again when
    /// something leaves for it.
    ///
    /// # Errors
    /// [`Refusal::PeerTooOld`].
    pub(crate) fn check_version(&self, node: NodeId, needed: u16) -> Result<(), Refusal> {
        match self.wire(&node) {
            Some(wire) if wire < needed => Err(Refusal::PeerTooOld { node, wire, needed }),
            Some(_) | None => Ok(()),
        }
    }

    /// The item as that member can read it; none when it cannot be said to it at all.
    pub(crate) fn item_for(&mut self, to: NodeId, item: A2aItem) -> Option<A2aItem> {
        match item {
            A2aItem::Envelope(envelope) => self.may_leave(to, &envelope).then_some(A2aItem::Envelope(envelope)),
            A2aItem::LargeEnvelope(large) => {
                self.may_leave(to, &large.envelope).then_some(A2aItem::LargeEnvelope(large))
            }
            A2aItem::Receipt(receipt) => Some(A2aItem::Receipt(Box::new(self.receipt_for(to, *receipt)))),
            A2aItem::LargeReceipt(mut large) => {
                large.receipt = self.receipt_for(to, large.receipt);
                Some(A2aItem::LargeReceipt(large))
            }
            // Whoever took parts and was put back to an older version since takes them no more.
            A2aItem::Part(_) | A2aItem::PartsTaken(_) => {
                self.check_version(to, WIRE_VERSION_PARTS).is_ok().then_some(item)
            }
            A2aItem::Publication(_) => self.check_version(to, WIRE_VERSION_PUBLICATIONS).is_ok().then_some(item),
            A2aItem::Cancel(_) => Some(item),
        }
    }

    /// An item of a member as its version means it: in the first one no message asks for parts, so one that does is answered whole.
    pub(crate) fn item_from(&self, from: NodeId, mut item: A2aItem) -> A2aItem {
        let older = self.check_version(from, WIRE_VERSION_PARTS).is_err();
        match &mut item {
            A2aItem::Envelope(envelope) => envelope.parts &= !older,
            A2aItem::LargeEnvelope(large) => large.envelope.parts &= !older,
            A2aItem::Receipt(_)
            | A2aItem::LargeReceipt(_)
            | A2aItem::Cancel(_)
            | A2aItem::Part(_)
            | A2aItem::PartsTaken(_)
            | A2aItem::Publication(_) => {}
        }
        item
    }

    /// Whether a message may leave for that member. One that was sent before it was known what that speaks is refused here, in its place.
    fn may_leave(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        if !envelope.parts {
            return true;
        }
        match self.check_version(to, WIRE_VERSION_PARTS) {
            Ok(()) => true,
            Err(refusal) => {
                self.refused_here(to, envelope.id, envelope.hlc, refusal);
                false
            }
        }
    }

    /// A receipt in the words of the version that was agreed on with that member.
    pub(crate) fn receipt_for(&self, to: NodeId, receipt: Receipt) -> Receipt {
        match self.wire(&to) {
            Some(wire) => receipt.in_version(wire),
            None => receipt,
        }
    }

    /// A member asks for the steps of a conversation.
    pub(crate) fn trace_asked(&mut self, request: InboundId, from: NodeId) {
        if self.check_version(from, WIRE_VERSION_PARTS).is_err() {
            self.traces_for_older.insert(request);
        }
    }

    /// What it is answered: the record of an answer in parts cannot be read in the first version, and proves nothing when it is cut.
    pub(crate) fn trace_for(&mut self, request: InboundId, content: SyncResponse) -> SyncResponse {
        let older = self.traces_for_older.remove(&request);
        let rows = match &content {
            SyncResponse::Trace(rows) | SyncResponse::PrunedTrace { rows, .. } => rows.as_slice(),
            _ => &[],
        };
        if older && rows.iter().any(|row| row.record.parts.is_some()) {
            let reason = format!(
                "an answer came in parts, which version {WIRE_VERSION_MIN} of the wire cannot say: upgrade the node that asks"
            );
            return SyncResponse::Refused(reason);
        }
        content
    }
}
