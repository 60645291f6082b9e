//! Virtual time, and the wall clock of each node: virtual time seen through an offset, a drift, steps and freezes.

use weft_protocol::Timestamp;

/// Where virtual time begins: 2026-01-01 00:00 UTC, so that every wall clock shows a plausible date.
pub(crate) const EPOCH_US: u64 = 1_767_225_600_000_000;

/// The wall clock of one node. It may jump, stand still and run fast or slow; virtual time never does.
#[derive(Debug, Clone, Default)]
pub(crate) struct WallClock {
    /// Ahead of virtual time by this much, in microseconds.
    offset_us: i64,
    /// Gains this many microseconds in each virtual second.
    drift_ppm: i64,
    /// Shows this reading and no other, while it is set.
    frozen: Option<u64>,
}

impl WallClock {
    /// A clock that is off by `offset_us` and gains `drift_ppm` microseconds a second.
    pub(crate) const fn new(offset_us: i64, drift_ppm: i64) -> Self {
        Self { offset_us, drift_ppm, frozen: None }
    }

    /// What the clock shows at this virtual time, in microseconds since the world began.
    pub(crate) fn read(&self, virtual_us: u64) -> Timestamp {
        let shown_us = self.frozen.unwrap_or_else(|| self.running(virtual_us));
        Timestamp(shown_us)
    }

    fn running(&self, virtual_us: u64) -> u64 {
        let elapsed = i64::try_from(virtual_us).unwrap_or(i64::MAX);
        let gained = elapsed.saturating_mul(self.drift_ppm) / 1_000_000;
        EPOCH_US.saturating_add(virtual_us).saturating_add_signed(self.offset_us.saturating_add(gained))
    }

    /// Whether it shows anything but virtual time.
    pub(crate) const fn is_off(&self) -> bool {
        self.offset_us != 0 || self.drift_ppm != 0 || self.frozen.is_some()
    }

    /// Moves the clock by `by_us`, forward or back.
    pub(crate) const fn step(&mut self, by_us: i64) {
        self.offset_us = self.offset_us.saturating_add(by_us);
    }

    /// Stops the clock where it is. It already stands still when this is called twice.
    pub(crate) fn freeze(&mut self, virtual_us: u64) {
        self.frozen = Some(self.read(virtual_us).0);
    }

    /// Lets it run again; it jumps to where it would be by now.
    pub(crate) const fn thaw(&mut self) {
        self.frozen = None;
    }

    /// Sets the clock right, as a time service would: no offset, no drift, not frozen.
    pub(crate) const fn correct(&mut self) {
        *self = Self::new(0, 0);
    }
}

/// A run's reading of its wall clock, by the rule of the node's own: never back and never still. After a step back it goes on
/// at the pace of virtual time until the wall clock has caught up; only a restart shows the step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    last: Timestamp,
    read_us: u64,
}

impl Reading {
    /// A reading that begins at the wall time.
    pub(crate) const fn new(wall: Timestamp, virtual_us: u64) -> Self {
        Self { last: wall, read_us: virtual_us }
    }

    /// A time greater than every one given before.
    pub(crate) fn now(&mut self, wall: Timestamp, virtual_us: u64) -> Timestamp {
        let passed_us = virtual_us.saturating_sub(self.read_us);
        self.last = wall.max(self.last.after_us(passed_us.max(1)));
        self.read_us = virtual_us;
        self.last
    }

    /// How long it is until `time`, as of the last reading, in microseconds.
    pub(crate) const fn until_us(&self, time: Timestamp) -> u64 {
        time.since_us(self.last)
    }

    /// The last time given.
    pub(crate) const fn last(&self) -> Timestamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_never_goes_back_and_never_stands_still() {
        let mut reading = Reading::new(Timestamp(1_000), 0);
        assert_eq!(reading.now(Timestamp(1_500), 500), Timestamp(1_500));
        assert_eq!(reading.now(Timestamp(900), 600), Timestamp(1_600), "after a step back of 700");
        assert_eq!(reading.now(Timestamp(900), 600), Timestamp(1_601), "at the same moment");
        assert_eq!(reading.now(Timestamp(5_000), 700), Timestamp(5_000), "after a step forward");
        assert_eq!(reading.until_us(Timestamp(5_010)), 10);
    }

    const SECOND_US: u64 = 1_000_000;

    fn shown(clock: &WallClock, virtual_us: u64) -> i64 {
        clock.read(virtual_us).0.cast_signed() - EPOCH_US.cast_signed()
    }

    #[test]
    fn a_wall_clock_is_virtual_time_with_offset_and_drift() {
        let clock = WallClock::new(-250_000, 100);
        assert_eq!(shown(&clock, 0), -250_000);
        assert_eq!(shown(&clock, 10 * SECOND_US), 10_000_000 - 250_000 + 1_000);
    }

    #[test]
    fn steps_add_up_and_may_go_back() {
        let mut clock = WallClock::default();
        clock.step(-3_000_000);
        clock.step(1_000_000);
        assert_eq!(shown(&clock, SECOND_US), -1_000_000);
    }

    #[test]
    fn a_frozen_clock_stands_still_and_then_catches_up() {
        let mut clock = WallClock::default();
        clock.freeze(SECOND_US);
        clock.freeze(4 * SECOND_US);
        assert_eq!(shown(&clock, 9 * SECOND_US), 1_000_000);
        clock.thaw();
        assert_eq!(shown(&clock, 9 * SECOND_US), 9_000_000);
    }

    #[test]
    fn a_corrected_clock_shows_virtual_time() {
        let mut clock = WallClock::new(5, 7);
        clock.freeze(1);
        clock.correct();
        assert_eq!(shown(&clock, 42), 42);
    }
}
