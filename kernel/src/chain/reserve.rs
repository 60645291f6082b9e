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
    /// Set once the rest was given back: no stamp above it leaves the process any more.
    given_back: Option<Hlc>,
}

impl Reservation {
    /// Continues above everything an earlier run may have given; nothing may be given before a new reservation is on disk.
    pub(super) fn restored(durable: Reserved, last: Hlc) -> Self {
        let clock = HybridClock::restored(durable.clock.max(last));
        Self { clock, counter: durable.counter, durable, given_back: None }
    }

    /// The next stamp, for a record: its batch carries a reservation that covers it.
    pub(super) fn tick(&mut self, now: Timestamp) -> Hlc {
        self.clock.tick(now)
    }

    /// The stamp of a refusal that is given although nothing may be recorded: one that is reserved, new or not.
    pub(super) fn stamp_refusal(&mut self, now: Timestamp) -> Hlc {
        match self.given_back {
            Some(last) => last,
            None if self.is_ready(now) => self.tick(now),
            None => self.clock.last().min(self.durable.clock),
        }
    }

    /// Lets a stamp of another node move the clock, if it is close enough.
    pub(super) fn observe(&mut self, stamp: Hlc, now: Timestamp) -> StampVerdict {
        self.clock.observe(stamp, now)
    }

    /// The last stamp that was given or heard.
    pub(super) const fn last(&self) -> Hlc {
        self.clock.last()
    }

    /// The number of a new message.
    pub(super) fn take_counter(&mut self) -> u64 {
        debug_assert!(self.counter < self.durable.counter, "BUG: a number was given that is not reserved");
        let counter = self.counter;
        self.counter += 1;
        counter
    }

    /// Whether so many numbers are reserved on disk.
    pub(super) const fn has_counters(&self, count: u64) -> bool {
        self.counter + count <= self.durable.counter
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
    pub(super) const fn give_back(&mut self) -> Reserved {
        let clock = self.clock.last();
        self.given_back = Some(clock);
        Reserved { counter: self.durable.counter, clock }
    }

    /// The reservation of a batch is on disk.
    pub(super) const fn persisted(&mut self, reserved: Reserved) {
        self.durable = reserved;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    #[test]
    fn what_is_refused_on_the_way_down_bears_no_stamp_that_the_next_run_gives() {
        let mut reservation = Reservation::restored(Reserved::default(), Hlc(0));
        let reserved = reservation.due(NOW).expect("nothing is reserved yet");
        reservation.persisted(reserved);
        reservation.tick(NOW);
        let given_back = reservation.give_back();
        let later = NOW.after_us(1_000);
        let refusal = reservation.stamp_refusal(later);
        reservation.observe(Hlc::from_wall(later.after_us(1_000)), later);
        let second = reservation.stamp_refusal(later);
        let next_run = Reservation::restored(given_back, Hlc(0)).tick(NOW);
        assert!(next_run > refusal && next_run > second, "{next_run} after {refusal} and {second}");
    }
}
