//! How a message of ours ends: with its receipt, with its deadline, or with nobody being there any more.

use weft_protocol::{Delivery, MessageId, NodeId, Outcome, Receipt, Refusal, Stage};

use super::call::Call;
use super::record::{Step, end_of};
use crate::event::{Answer, AskId, SendReport};
use crate::kernel::Kernel;
use crate::timers::Timer;

impl Kernel {
    /// A receipt, from another node or from this one.
    pub(crate) fn on_receipt(&mut self, from: NodeId, receipt: Receipt) {
        self.chain.observe(receipt.hlc, self.now);
        let id = receipt.message;
        let Some(call) = self.calls.get(&id).filter(|call| call.to == from && call.receipt.is_none()) else { return };
        let retried = call.is_durable() && from != self.identity.chain.node;
        let retry_us = match &receipt.outcome {
            Outcome::Received if call.envelope.level.delivery == Delivery::Executed => return,
            Outcome::Refused(Refusal::Busy { retry_after_us } | Refusal::Restarting { retry_after_us, .. })
                if retried =>
            {
                Some(*retry_after_us)
            }
            Outcome::Refused(Refusal::ShuttingDown) if retried => Some(crate::kernel::BUSY_RETRY_US),
            Outcome::Received | Outcome::Executed { .. } | Outcome::Refused(_) | Outcome::Delivered { .. } => None,
        };
        if let Some(wait_us) = retry_us {
            return self.retry_busy(&id, wait_us);
        }
        let Some(receipt) = self.check_parts(receipt) else { return };
        self.record_receipt(&id, &receipt);
        self.bury_refused(&id, &receipt.outcome);
        if let Some(call) = self.calls.get_mut(&id) {
            call.receipt = Some(receipt);
        }
        self.settle(&id);
    }

    /// A durable message that was refused for good is kept among the dead letters.
    fn bury_refused(&mut self, id: &MessageId, outcome: &Outcome) {
        let Outcome::Refused(refusal) = outcome else { return };
        // It was executed: sent again, it would be once more.
        if matches!(refusal, Refusal::BrokenOff { .. }) {
            return;
        }
        // Taken out while it is buried, and put back for its asker.
        if let Some(call) = self.calls.remove(id) {
            self.bury(&call, refusal.code());
            self.calls.insert(call);
        }
    }

    /// A durable message waits in the outbox while its receiver is busy.
    fn retry_busy(&mut self, id: &MessageId, wait_us: u64) {
        let at = self.now.after_us(wait_us.max(crate::kernel::BUSY_RETRY_US));
        if let Some(call) = self.calls.get_mut(id) {
            call.lost = true;
        }
        self.retry_at(id, at);
    }

    fn record_receipt(&mut self, id: &MessageId, receipt: &Receipt) {
        let Some(call) = self.calls.get(id) else { return };
        let (_, rule, body) = end_of(&receipt.outcome);
        let (trace, from, target) = (call.envelope.trace, call.envelope.from.clone(), call.target.clone());
        let (peer, durability, durable) = (call.to, call.envelope.level.durability, call.is_durable());
        let in_full = call.is_tool_call();
        let parts = call.taking.as_ref().and_then(|taking| taking.proof.some());
        if peer == self.identity.chain.node && !durable {
            // Its receiver is this node too and has recorded the end.
            return;
        }
        let step = Step {
            stage: Stage::Acknowledged,
            message: *id,
            trace,
            from: &from,
            target: &target,
            peer,
            rule,
            body: body.as_ref(),
            durability,
            cause: &[],
            parts,
        };
        self.record_audited(&step, in_full);
        if durable && peer != self.identity.chain.node {
            self.chain.drop_kept(*id);
        }
    }

    /// The sender's own record of a durable message is on disk.
    pub(crate) fn on_sent_recorded(&mut self, id: &MessageId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.sent_on_disk = true;
        match (call.envelope.level.delivery, call.receipt.is_some()) {
            (_, true) => self.settle(id),
            (Delivery::Routed, false) if self.waits_for_witnesses(id) => {}
            (Delivery::Routed, false) => self.answer_routed(id),
            (Delivery::Received | Delivery::Executed, false) => {}
        }
    }

    /// Tells whoever asked for no more than that the message left; it goes on by itself.
    pub(super) fn answer_routed(&mut self, id: &MessageId) {
        let Some(ask) = self.calls.release_ask(id) else { return };
        let Some(call) = self.calls.get(id) else { return };
        let report = self.report(call, None);
        self.effects.answer(ask, Ok(Answer::Sent(Box::new(report))));
    }

    /// Ends a message whose receipt is there, as soon as its own record is where it must be and as many members vouch for both
    /// as were asked for.
    pub(super) fn settle(&mut self, id: &MessageId) {
        let waits = |call: &Call| call.receipt.is_none() || call.is_durable() && !call.sent_on_disk;
        if self.calls.get(id).is_none_or(waits) || self.waits_for_witnesses(id) {
            return;
        }
        let Some(mut call) = self.remove_call(id) else { return };
        self.took_all(call.to, *id, call.taking.as_deref());
        let (Some(ask), Some(receipt)) = (call.ask, call.receipt.take()) else { return };
        let answer = match receipt.outcome {
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Received | Outcome::Executed { .. } if call.is_durable() && receipt.record.is_none() => {
                Err(Refusal::Unsupported { what: "a durable receipt".to_owned() })
            }
            Outcome::Received => Ok(self.report(&call, receipt.record)),
            Outcome::Delivered { count } => {
                Ok(SendReport { delivered: Some(count), ..self.report(&call, receipt.record) })
            }
            Outcome::Executed { reply } => Ok(SendReport { reply, ..self.report(&call, receipt.record) }),
        };
        self.effects.answer(ask, answer.map(|report| Answer::Sent(Box::new(report))));
    }

    fn report(&self, call: &Call, remote_record: Option<weft_protocol::RecordRef>) -> SendReport {
        SendReport {
            id: call.envelope.id,
            trace: call.envelope.trace,
            node: call.to,
            level: call.envelope.level,
            reply: None,
            delivered: None,
            latency_us: self.now.since_us(call.asked_at),
            record: call.sent.clone(),
            remote_record,
            witnesses: call.witnesses.vouching.clone(),
            parts: call.taking.as_ref().and_then(|taking| taking.proof.some()),
        }
    }

    /// The time of a message is over: its receiver is told, and whoever asked.
    pub(crate) fn expire_call(&mut self, id: &MessageId) {
        if self.end_without_parts(id) {
            return;
        }
        if let Some(refusal) = self.calls.get(id).and_then(Call::not_witnessed) {
            return self.abandon(id, &refusal, "deadline");
        }
        let maybe_executed = self.may_have_been_executed(id);
        self.abandon(id, &Refusal::Deadline { maybe_executed }, "deadline");
    }

    /// Whether the receiver may have acted on a message of ours.
    pub(crate) fn may_have_been_executed(&self, id: &MessageId) -> bool {
        match (self.calls.get(id), self.inbox.get(id)) {
            (Some(call), _) if call.to != self.identity.chain.node => call.attempts > 0,
            (_, incoming) => incoming.is_none_or(super::Incoming::was_delivered),
        }
    }

    /// Ends a message of ours without a receipt.
    pub(crate) fn abandon(&mut self, id: &MessageId, refusal: &Refusal, rule: &str) {
        let Some(call) = self.remove_call(id) else { return };
        if call.receipt.is_none() {
            let local = call.to == self.identity.chain.node;
            let ended_below =
                local && !call.is_durable() && self.inbox.get(id).is_some_and(super::Incoming::is_awaited);
            if !ended_below {
                self.record_call(&call, Stage::Refused, rule);
            }
            if call.is_durable() && !local {
                self.chain.drop_kept(*id);
            }
            self.bury(&call, rule);
            if local {
                let why: fn(bool) -> Refusal = match refusal {
                    Refusal::Deadline { .. } if rule == "deadline" => {
                        |maybe_executed| Refusal::Deadline { maybe_executed }
                    }
                    _ => |maybe_executed| Refusal::Cancelled { maybe_executed },
                };
                self.cancel_incoming(id, why);
            } else if call.attempts > 0 && call.envelope.level.delivery == Delivery::Executed {
                self.effects.cancel(call.to, *id);
            }
        }
        if let Some(ask) = call.ask {
            self.effects.answer(ask, Err(refusal.clone()));
        }
    }

    /// Whoever asked is gone. A call ends; a durable message, or one that wants no answer, goes on without it.
    pub(crate) fn on_withdrawn(&mut self, ask: AskId) {
        if self.topics.withdraw(ask) {
            return self.follow();
        }
        if self.withdraw_waiting(ask) {
            return;
        }
        let Some(id) = self.calls.of_ask(ask) else { return };
        self.calls.release_ask(&id);
        let goes_on = |call: &Call| call.is_durable() || call.envelope.level.delivery != Delivery::Executed;
        if !self.calls.get(&id).is_some_and(goes_on) {
            self.abandon(&id, &Refusal::Cancelled { maybe_executed: true }, "withdrawn");
        } else {
            self.take_no_more(&id);
        }
    }

    pub(crate) fn remove_call(&mut self, id: &MessageId) -> Option<Box<Call>> {
        let call = self.calls.remove(id)?;
        if call.witnesses.sought {
            self.effects.seek_no_witnesses(*id);
        }
        self.timers.clear(call.expires, Timer::CallDeadline(*id));
        if let Some(at) = call.retry_at {
            self.timers.clear(at, Timer::CallRetry(*id));
        }
        Some(call)
    }
}
