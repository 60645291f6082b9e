//! How a received message ends: its process answers, fails, dies or runs out of time, and its sender is told.

use weft_protocol::{MessageId, NodeId, Outcome, PartsTaken, ProcessId, Receipt, Refusal};

use super::incoming::{Answered, Incoming};
use super::record::{Step, end_of, is_durable};
use crate::chain::Promise;
use crate::kernel::Kernel;
use crate::timers::Timer;

/// Longest reason of a failure, in characters.
const REASON_CHARACTERS_MAX: usize = 1_024;

/// The refusal of an agent that failed, with as much of its words as travels.
pub(crate) fn failed(reason: &str) -> Refusal {
    Refusal::AgentFailed { reason: shortened(reason) }
}

/// The beginning of a text that came from outside.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARACTERS_MAX).collect()
}

impl Kernel {
    /// A process is done with a message. What it says about others than those it works on is ignored.
    pub(crate) fn on_agent_answered(&mut self, process: ProcessId, message: &MessageId, answer: Answered) {
        let works_on = |incoming: &&Incoming| incoming.process == process && incoming.was_delivered();
        if self.inbox.get(message).filter(works_on).is_some() {
            let Some(answer) = self.hold_answer(message, answer) else { return };
            let Some(incoming) = self.inbox.get(message) else { return };
            let outcome = incoming.outcome(answer);
            self.end_incoming(message, &outcome);
            self.deliver(process);
        }
    }

    /// The time for the answer to a received message is over.
    pub(crate) fn expire_incoming(&mut self, message: &MessageId) {
        self.give_up_incoming(message, |maybe_executed| Refusal::Deadline { maybe_executed });
    }

    /// Nobody waits for the answer to a received message any longer.
    fn give_up_incoming(&mut self, message: &MessageId, why: fn(bool) -> Refusal) {
        let Some(incoming) = self.inbox.get(message) else { return };
        let (process, maybe_executed) = (incoming.process, incoming.was_delivered());
        if maybe_executed {
            self.effects.cancel_delivery(process, *message);
        }
        self.end_incoming(message, &Outcome::Refused(why(maybe_executed)));
        self.deliver(process);
    }

    /// The other node no longer waits for an answer.
    pub(crate) fn on_cancel(&mut self, from: NodeId, message: &MessageId) {
        if message.chain.node == from {
            self.withdraw_tool_run(message);
            self.on_parts_taken(from, PartsTaken { message: *message, count: PartsTaken::NO_MORE });
        }
        if self.inbox.get(message).is_some_and(|incoming| incoming.from == from && incoming.is_awaited()) {
            self.give_up_incoming(message, |maybe_executed| Refusal::Cancelled { maybe_executed });
        }
    }

    /// This node no longer waits for an answer of its own process.
    pub(super) fn cancel_incoming(&mut self, message: &MessageId, why: fn(bool) -> Refusal) {
        self.withdraw_tool_run(message);
        if self.inbox.get(message).is_some_and(Incoming::is_awaited) {
            self.give_up_incoming(message, why);
        }
    }

    /// A process is no more: what it worked on failed, what waited for it finds nobody.
    pub(crate) fn end_mailbox(&mut self, messages: &[MessageId], why: &str) {
        for message in messages {
            if let Some(incoming) = self.inbox.remove(message) {
                self.bury_unread(message, &incoming);
                self.inbox.insert(*message, incoming);
            }
            let Some(incoming) = self.inbox.get(message) else { continue };
            let refusal = if incoming.was_delivered() {
                failed(why)
            } else {
                Refusal::NoResponder { target: incoming.target.to_string() }
            };
            self.end_incoming(message, &Outcome::Refused(refusal));
        }
    }

    pub(super) fn end_incoming(&mut self, message: &MessageId, outcome: &Outcome) {
        let Some(incoming) = self.inbox.remove(message) else { return };
        let wanted = !matches!(outcome, Outcome::Refused(Refusal::Deadline { .. } | Refusal::Cancelled { .. }));
        let parts = self.end_stream(message, wanted);
        if let Some(expires) = incoming.expires {
            self.timers.clear(expires, Timer::IncomingDeadline(*message));
        }
        if let Some(life) = self.processes.living_mut(incoming.process) {
            life.mailbox.remove(message);
            if incoming.was_delivered() {
                life.handled.0 += 1;
                life.handled.1 += u64::from(matches!(outcome, Outcome::Executed { .. }));
            }
        }
        let plain = !is_durable(incoming.level.durability) && !incoming.bound.in_full;
        if plain && !incoming.is_awaited() && matches!(outcome, Outcome::Executed { .. }) {
            // *received* says it all of a plain message that nobody waits for, unless it failed.
            return;
        }
        let (stage, rule, body) = end_of(outcome);
        let step = Step {
            stage,
            message: *message,
            trace: incoming.trace,
            from: &incoming.sender,
            target: &incoming.target,
            peer: incoming.from,
            rule,
            body: body.as_ref(),
            durability: incoming.level.durability,
            cause: &incoming.cause,
            parts,
        };
        let (hlc, record) = self.record_audited(&step, incoming.bound.in_full);
        if incoming.is_awaited() {
            self.give_receipt(
                incoming.from,
                Receipt { message: *message, hlc, outcome: outcome.clone(), record, parts },
            );
        }
    }

    /// Gives a receipt: at once, or when the record it names is on disk.
    pub(super) fn give_receipt(&mut self, to: NodeId, receipt: Receipt) {
        match &receipt.record {
            Some(record) => {
                let seq = record.seq;
                self.receipts.hold(receipt.message);
                self.chain.hold(seq, Promise::Receipt { to, receipt: Box::new(receipt) });
            }
            None => self.release_receipt(to, receipt),
        }
    }

    /// Gives a receipt whose record, if it names one, is on disk.
    pub(crate) fn release_receipt(&mut self, to: NodeId, receipt: Receipt) {
        if to == self.identity.chain.node {
            self.receipts.forget(&receipt.message);
            return self.on_receipt(to, receipt);
        }
        self.receipts.remember(&receipt);
        self.effects.acknowledge(to, receipt);
    }
}
