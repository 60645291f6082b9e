//! Everything that happens by itself at some time, in order; the machine asks the world for the earliest alone.

use std::collections::BTreeSet;

use weft_protocol::{DeferralId, MessageId, ProcessId, Timestamp};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Nobody waits for the answer to this message of ours any longer.
    CallDeadline(MessageId),
    /// This message of ours is sent once more.
    CallRetry(MessageId),
    /// Nobody waits for our answer to this message any longer.
    IncomingDeadline(MessageId),
    /// Parts of this answer are kept no longer.
    Stream(MessageId),
    /// This process should run by now.
    Start(ProcessId),
    /// This process should have ended by now.
    Stop(ProcessId),
    /// The wait of this restart is over.
    Restart(u64),
    /// The last record is written, whoever still runs.
    Shutdown,
    /// This start has waited long enough for what it needs.
    Needs(u64),
    /// Nobody may decide about this any longer.
    Deferral(DeferralId),
}

/// Invariant: whoever sets a timer clears it, so that its size is bounded by that of the tables.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, _) = self.0.first()?;
        if *at > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }

    /// Whether a timer is due.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn clear_all(&mut self) {
        self.0.clear();
    }
}
