//! Taking an answer in parts: each is handed to whoever asked once and in order, and the answer only behind all of them.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::limits::{PART_BYTES_MAX, PARTS_OPEN_BYTES_MAX, PARTS_OPEN_MAX};
use weft_protocol::{MessageId, NodeId, Outcome, PartsProof, PartsTaken, Payload, Receipt, Refusal, ReplyPart};

use crate::event::AskId;
use crate::kernel::Kernel;
use crate::timers::Timer;

/// How long parts may come behind the answer that counts them, in microseconds: two of the longest waits between two attempts
/// of ours, each of which makes the other node send again what was lost.
const BEHIND_US: u64 = 10_000_000;

/// What has come of one answer. Invariant: `ahead` holds no number below `proof.count`.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// All that were handed on.
    pub(crate) proof: PartsProof,
    /// How many of them were taken, and the sizes of those that were not.
    taken: u32,
    open: VecDeque<usize>,
    /// Parts that came before one that belongs in front of them.
    ahead: BTreeMap<u32, Payload>,
    /// Of all that is open or ahead.
    bytes: usize,
    /// The answer, which waits for the parts that it counts.
    receipt: Option<Receipt>,
}

impl Taking {
    /// Whether a part may come now: it is new, and no more than the other side was told that it may send.
    fn may_come(&self, part: &ReplyPart) -> bool {
        let size = part.payload.size();
        part.number >= self.proof.count
            && part.number - self.taken < PARTS_OPEN_MAX
            && !self.ahead.contains_key(&part.number)
            && self.bytes + size <= PARTS_OPEN_BYTES_MAX
            && super::check_payload(&part.payload, PART_BYTES_MAX).is_ok()
    }

    /// The next part in order.
    fn next(&mut self) -> Option<(u32, Payload)> {
        let number = self.proof.count;
        let payload = self.ahead.remove(&number)?;
        self.proof.add(&payload);
        self.open.push_back(payload.size());
        Some((number, payload))
    }

    fn take(&mut self, count: u32) {
        while self.taken < count.min(self.proof.count) {
            self.taken += 1;
            self.bytes -= self.open.pop_front().unwrap_or(0);
        }
    }
}

/// What is told of an answer whose parts are not those that it counts.
fn broken_off(came: PartsProof, said: PartsProof) -> Refusal {
    let reason = if came.count == said.count {
        "they are not the parts that the agent's node recorded".to_owned()
    } else {
        format!("its agent gave {} before it was done", said.count)
    };
    Refusal::BrokenOff { parts: came.count, reason }
}

impl Kernel {
    /// A part of an answer, from another node or from this one. What nobody waits for is ignored.
    pub(crate) fn on_part(&mut self, from: NodeId, part: ReplyPart) {
        let id = part.message;
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.to == from && call.receipt.is_none()) else {
            return;
        };
        let (Some(taking), Some(ask)) = (&mut call.taking, call.ask) else { return };
        if !taking.may_come(&part) {
            return;
        }
        taking.bytes += part.payload.size();
        taking.ahead.insert(part.number, part.payload);
        while let Some((number, payload)) = taking.next() {
            self.effects.answer_part(ask, number, payload);
        }
        if let Some(receipt) = taking.receipt.take() {
            self.on_receipt(from, receipt);
        }
    }

    /// Whoever asked has taken so many parts: as many more may come.
    pub(crate) fn on_taken(&mut self, ask: AskId, count: u32) {
        let Some(id) = self.calls.of_ask(ask) else { return };
        if let Some(taking) = self.calls.get_mut(&id).and_then(|call| call.taking.as_mut()) {
            taking.take(count);
        }
        self.tell_taken(&id);
    }

    /// Tells the node of the agent how many parts were taken.
    pub(super) fn tell_taken(&mut self, id: &MessageId) {
        let Some(call) = self.calls.get(id) else { return };
        if let Some(count) = call.taking.as_ref().map(|taking| taking.taken).filter(|count| *count > 0) {
            self.say_taken(call.to, PartsTaken { message: *id, count });
        }
    }

    fn say_taken(&mut self, to: NodeId, taken: PartsTaken) {
        if to == self.identity.chain.node {
            self.on_parts_taken(to, taken);
        } else {
            self.effects.say_taken(to, taken);
        }
    }

    /// Whoever asked is gone and the message goes on: its parts are for nobody.
    pub(super) fn take_no_more(&mut self, id: &MessageId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.envelope.parts = false;
        if call.taking.take().is_some() {
            let to = call.to;
            self.say_taken(to, PartsTaken { message: *id, count: PartsTaken::NO_MORE });
        }
    }

    /// A message of ours has ended with its answer: the other node need keep no parts of it.
    pub(super) fn took_all(&mut self, to: NodeId, id: MessageId, taking: Option<&Taking>) {
        if to != self.identity.chain.node && taking.is_some_and(|taking| taking.proof.count > 0) {
            self.effects.say_taken(to, PartsTaken { message: id, count: PartsTaken::NO_MORE });
        }
    }

    /// Holds an answer against the parts that came before it. One whose parts are on their way waits for them: then none is
    /// returned.
    pub(super) fn check_parts(&mut self, mut receipt: Receipt) -> Option<Receipt> {
        let id = receipt.message;
        let Some(call) = self.calls.get_mut(&id) else { return Some(receipt) };
        let (Some(taking), Outcome::Executed { .. }) = (&mut call.taking, &receipt.outcome) else {
            return Some(receipt);
        };
        let (came, said) = (taking.proof, receipt.parts.unwrap_or_default());
        if came == said {
            return Some(receipt);
        }
        if came.count < said.count {
            taking.receipt = Some(receipt);
            let (before, until) = (call.expires, call.expires.min(self.now.after_us(BEHIND_US)));
            call.expires = until;
            self.timers.clear(before, Timer::CallDeadline(id));
            self.timers.set(until, Timer::CallDeadline(id));
            return None;
        }
        receipt.outcome = Outcome::Refused(broken_off(came, said));
        Some(receipt)
    }

    /// The time of a message is over whose answer waits for parts: it is told as broken off. Whether there was one.
    pub(super) fn end_without_parts(&mut self, id: &MessageId) -> bool {
        let Some(call) = self.calls.get_mut(id) else { return false };
        let to = call.to;
        let Some(taking) = &mut call.taking else { return false };
        let Some(mut receipt) = taking.receipt.take() else { return false };
        receipt.outcome = Outcome::Refused(broken_off(taking.proof, receipt.parts.unwrap_or_default()));
        self.on_receipt(to, receipt);
        true
    }
}
