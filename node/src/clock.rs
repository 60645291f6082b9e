//! The one place that reads the operating system's clock.

#![expect(clippy::disallowed_methods, reason = "this is that place")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weft_protocol::Timestamp;

/// How far this process's wall time is ahead of the operating system's, in microseconds; see [`set_offset`].
static OFFSET_US: AtomicI64 = AtomicI64::new(0);

/// Wall time that never goes back and never stands still: after a step back it goes on at the monotonic clock's pace until
/// the wall clock has caught up.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Timestamp,
    last_read: Instant,
}

impl Clock {
    /// A clock that begins at the wall time.
    pub(crate) fn new() -> Self {
        Self { last: wall(), last_read: Instant::now() }
    }

    /// A time greater than every one given before.
    pub(crate) fn now(&mut self) -> Timestamp {
        let read = Instant::now();
        let passed_us = u64::try_from((read - self.last_read).as_micros()).unwrap_or(u64::MAX);
        self.last = wall().max(self.last.after_us(passed_us.max(1)));
        self.last_read = read;
        self.last
    }

    /// How long it is until `time`, as of the last reading.
    pub(crate) const fn until(&self, time: Timestamp) -> Duration {
        Duration::from_micros(time.since_us(self.last))
    }
}

/// The wall time as the operating system has it, and as far off as this process was told.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let system_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    Timestamp(system_us.saturating_add_signed(offset_us()))
}

/// Sets the clock of this process off, for a node that shows what a wrong clock does. Before anything reads it.
pub(crate) fn set_offset(offset_us: i64) {
    OFFSET_US.store(offset_us, Ordering::Relaxed);
}

/// How far it is ahead of the operating system's, in microseconds.
pub(crate) fn offset_us() -> i64 {
    OFFSET_US.load(Ordering::Relaxed)
}
