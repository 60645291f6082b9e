//! Receipts that other members vouch for: who is sought, how long whoever asked waits, and what is said when it was too long.

use weft_protocol::{ChainId, Delivery, Durability, Level, MessageId, NodeId, Outcome, Receipt, RecordRef, Refusal};

use super::call::Call;
use crate::kernel::Kernel;

/// Who vouches for the records of one message.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    /// Whether members are asked to.
    pub(super) sought: bool,
    /// Those that do, in the order of their ids.
    pub(super) vouching: Vec<NodeId>,
}

/// How many members must vouch for the records of a message.
const fn witnesses_of(level: Level) -> u8 {
    match level.durability {
        Durability::None | Durability::Durable => 0,
        Durability::Witnessed { members } => members,
    }
}

impl Call {
    /// How many members whoever asked waits for.
    fn witnesses_wanted(&self) -> usize {
        self.ask.map_or(0, |_| usize::from(witnesses_of(self.envelope.level)))
    }

    /// What is vouched for: the record of its sender and, once it is known, that of its receiver.
    fn places(&self) -> Vec<(ChainId, u64)> {
        let received = self.receipt.as_ref().and_then(|receipt| receipt.record.as_ref());
        let end = |record: &RecordRef| (record.chain, record.seq.saturating_add(1));
        let mut places = self.sent.iter().chain(received).map(end).collect::<Vec<_>>();
        // Of a message to its own node both stand on one chain.
        places.sort_unstable();
        places.reverse();
        places.dedup_by_key(|(chain, _)| *chain);
        places
    }

    /// What is said of a message whose records are where they must be, and whose time is over.
    pub(crate) fn not_witnessed(&self) -> Option<Refusal> {
        let arrived = match (self.envelope.level.delivery, &self.receipt) {
            (_, Some(receipt)) => !matches!(receipt.outcome, Outcome::Refused(_)),
            (Delivery::Routed, None) => true,
            (Delivery::Received | Delivery::Executed, None) => false,
        };
        let vouching = u8::try_from(self.witnesses.vouching.len()).unwrap_or(u8::MAX);
        (self.witnesses.sought && arrived).then_some(Refusal::NotWitnessed {
            delivery: self.envelope.level.delivery,
            vouching,
            wanted: witnesses_of(self.envelope.level),
        })
    }
}

impl Kernel {
    /// Whether there are members enough, neither sender nor receiver, that could vouch for a message to that node.
    pub(super) fn check_witnesses(&self, level: Level, to: NodeId) -> Result<(), Refusal> {
        let others = self.members.iter().filter(|node| **node != self.identity.chain.node && **node != to).count();
        if others < usize::from(witnesses_of(level)) { Err(Refusal::NoWitness) } else { Ok(()) }
    }

    /// Whether a message whose records are on disk waits for members to vouch for them; the first time they are sought.
    pub(super) fn waits_for_witnesses(&mut self, id: &MessageId) -> bool {
        let own = self.identity.chain.node;
        let Some(call) = self.calls.get_mut(id) else { return false };
        let unrecorded = |receipt: &Receipt| receipt.record.is_none() || matches!(receipt.outcome, Outcome::Refused(_));
        let refused = call.receipt.as_ref().is_some_and(unrecorded);
        let wanted = call.witnesses_wanted();
        if refused || call.witnesses.vouching.len() >= wanted {
            return false;
        }
        if !std::mem::replace(&mut call.witnesses.sought, true) {
            let (places, to, members) = (call.places(), call.to, witnesses_of(call.envelope.level));
            self.effects.seek_witnesses(*id, places, [own, to], members);
        }
        true
    }

    /// So many members vouch for the records of a message of ours.
    pub(crate) fn on_witnessed(&mut self, id: &MessageId, vouching: Vec<NodeId>) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.witnesses.sought) else { return };
        if vouching.len() <= call.witnesses.vouching.len() {
            return;
        }
        call.witnesses.vouching = vouching;
        if call.witnesses.vouching.len() < call.witnesses_wanted() {
            return;
        }
        let routed = call.envelope.level.delivery == Delivery::Routed;
        call.witnesses.sought = false;
        self.effects.seek_no_witnesses(*id);
        if routed {
            self.answer_routed(id);
        }
        self.settle(id);
    }
}
