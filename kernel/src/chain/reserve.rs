//! The node's clock and its message numbers, both reserved on disk ahead of use, so that no restart gives one twice.

use weft_protocol::limits::{CLOCK_MERGE_US_MAX, CLOCK_RESERVE_US, COUNTER_BLOCK};
use weft_protocol::{Hlc, HybridClock, Reserved, StampVerdict, Timestamp};

/// Least room above the last stamp, in units of NTP64: 10 ms, 43 million stamps. Small, because a clock that was reserved
/// further ahead than the wall clock after every restart would run away from it.
const HEADROOM: u64 = (1 << 32) / 100;
/// Room that the stamps of one input never use up: a tenth of the headroom, 4 million stamps.
const PER_INPUT: u64 = HEADROOM / 10;

/// Invariant: what leaves the process bears a stamp at or below `durable.clock` and a number below `durable.counter`.
#[derive(Debug)]
pub(super) struct Reservation {
    clock: HybridClock,
    counter: u64,
    durable: Reserved,
}

impl Reservation {
    /// Continues above everything an earlier run may have given; nothing may be given before a new reservation is on disk.
    pub(super) fn restored(durable: Reserved, last: Hlc) -> Self {
        Self { clock: HybridClock::restored(durable.clock.max(last)), counter: durable.counter, durable }
    }

    /// The next stamp, for a record: its batch carries a reservation that covers it.
    pub(super) fn tick(&mut self, now: Timestamp) -> Hlc {
        self.clock.tick(now)
    }

    /// The stamp of a refusal that is given although nothing may be recorded: one that is reserved, new or not.
    pub(super) fn stamp_refusal(&mut self, now: Timestamp) -> Hlc {
        if self.is_ready(now) { self.tick(now) } else { self.clock.last().min(self.durable.clock) }
    }

    /// Lets a stamp of another node move the clock, if it is close enough.
    pub(super) fn observe(&mut self, stamp: Hlc, now: Timestamp) -> StampVerdict {
        self.clock.observe(stamp, now)
    }

    /// The number of a new message.
    pub(super) fn take_counter(&mut self) -> u64 {
        debug_assert!(self.counter < self.durable.counter, "BUG: a number was given that is not reserved");
        let counter = self.counter;
        self.counter += 1;
        counter
    }

    /// The first number of this run is this one or, before the first was given, will be.
    pub(super) const fn counter(&self) -> u64 {
        self.counter
    }

    /// Whether one more input may be handled: all stamps and numbers that leave because of it are reserved on disk.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        let merged = Hlc::from_wall(now.after_us(CLOCK_MERGE_US_MAX));
        let top = merged.max(self.clock.last()).0.saturating_add(PER_INPUT);
        top <= self.durable.clock.0 && self.counter < self.durable.counter
    }

    /// The reservation that the next batch must carry; `None` while more than half of the last is left.
    pub(super) fn due(&self, now: Timestamp) -> Option<Reserved> {
        let last = self.clock.last().0;
        let low_clock = Hlc::from_wall(now.after_us(CLOCK_RESERVE_US / 2)).0.max(last.saturating_add(HEADROOM / 2));
        let (clock_is_low, counter_is_low) =
            (self.durable.clock.0 < low_clock, self.counter + COUNTER_BLOCK / 2 > self.durable.counter);
        if !clock_is_low && !counter_is_low {
            return None;
        }
        let ahead = Hlc::from_wall(now.after_us(CLOCK_RESERVE_US)).max(Hlc(last.saturating_add(HEADROOM)));
        let counter = if counter_is_low { self.durable.counter + COUNTER_BLOCK } else { self.durable.counter };
        Some(Reserved { counter, clock: ahead.max(self.durable.clock) })
    }

    /// What the last batch of a run carries: nothing above the last stamp will be used, so the next run begins there and
    /// its clock is not ahead of the wall clock.
    pub(super) const fn given_back(&self) -> Reserved {
        Reserved { counter: self.durable.counter, clock: self.clock.last() }
    }

    /// The reservation of a batch is on disk.
    pub(super) const fn persisted(&mut self, reserved: Reserved) {
        self.durable = reserved;
    }
}
