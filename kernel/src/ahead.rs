//! What was stamped by a clock too far ahead of ours: it waits until our clock may follow, so that what is recorded here sorts
//! after what it answers to.

use std::collections::BTreeMap;

use weft_protocol::limits::CLOCK_MERGE_US_MAX;
use weft_protocol::{Hlc, Refusal, StampVerdict, Timestamp, judge_stamp};

use crate::event::Input;
use crate::ipc::is_durable;
use crate::kernel::{BUSY_RETRY_US, Kernel};

/// Most inputs that wait for our clock. A further message is answered `busy`; a further receipt is dropped, and comes again
/// with the sender's next attempt (guess: a minute of calls between two badly set clocks).
const WAITING_MAX: usize = 1_024;

/// Inputs by the time at which their stamp may be merged, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    waiting: BTreeMap<(Timestamp, u64), (Timestamp, Input)>,
    next: u64,
}

impl Ahead {
    /// When the first one may go on.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    fn push(&mut self, stamp: Hlc, now: Timestamp, input: Input) {
        let at = Timestamp(stamp.to_wall().0.saturating_sub(CLOCK_MERGE_US_MAX));
        self.waiting.insert((at, self.next), (now, input));
        self.next += 1;
    }

    fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Input)> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

impl Kernel {
    /// Gives an input back unless it must wait for our clock. Only records of durable messages are events with a place of
    /// their own in the order; others need not wait.
    pub(crate) fn hold_ahead(&mut self, input: Input) -> Option<Input> {
        let stamp = match &input {
            Input::EnvelopeArrived { envelope, .. } if is_durable(envelope.level.durability) => envelope.hlc,
            Input::ReceiptArrived { receipt, .. } => {
                let durable = self.calls.get(&receipt.message).is_some_and(crate::ipc::Call::is_durable);
                if !durable {
                    return Some(input);
                }
                receipt.hlc
            }
            _ => return Some(input),
        };
        match (judge_stamp(stamp, self.now), &input) {
            // More than a minute ahead: what such a clock acknowledges is not believed, and the message ends by its deadline.
            (StampVerdict::Refused, Input::ReceiptArrived { .. }) => None,
            (StampVerdict::Merged | StampVerdict::Refused, _) => Some(input),
            (StampVerdict::Parked, _) if self.ahead.waiting.len() < WAITING_MAX => {
                self.ahead.push(stamp, self.now, input);
                None
            }
            (StampVerdict::Parked, _) => {
                self.refuse_input(input, &Refusal::Busy { retry_after_us: BUSY_RETRY_US });
                None
            }
        }
    }

    /// Lets go on what our clock has caught up with; the time it waited is taken from its deadline.
    pub(crate) fn take_ahead(&mut self) {
        while let Some((since, mut input)) = self.ahead.take_due(self.now) {
            if let Input::EnvelopeArrived { envelope, .. } = &mut input {
                envelope.deadline_us = envelope.deadline_us.saturating_sub(self.now.since_us(since));
            }
            self.take(input);
        }
    }
}
