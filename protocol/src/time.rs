//! Wall time as a number, and the hybrid logical clock that orders what happened on different machines.
//!
//! The clock is the rule of Kulkarni et al., "Logical Physical Clocks" (2014), on the `NTP64` type of uhlc: a stamp is
//! strictly greater than every stamp it has seen, and stays as close to the wall clock as that allows. uhlc's own clock
//! reads the environment and cannot be restored after a restart, so only its types are used here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uhlc::NTP64;

use crate::error::ParseError;
use crate::id::hex_number;
use crate::limits::{CLOCK_HOLD_US_MAX, CLOCK_MERGE_US_MAX};

/// Microseconds since 1970-01-01 00:00 UTC. The cores receive it as an argument and never read a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time and `duration_us` more; stays at the end of time instead of wrapping.
    #[must_use]
    pub const fn after_us(self, duration_us: u64) -> Self {
        Self(self.0.saturating_add(duration_us))
    }

    /// Microseconds from `earlier` until this time, zero when it is not earlier.
    #[must_use]
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

hex_number! {
    /// A hybrid logical stamp: NTP64, seconds since 1970 in the upper half and fractions in the lower.
    /// Text form: 16 hexadecimal digits.
    Hlc, "", "16 hexadecimal digits"
}

impl Hlc {
    /// The stamp of this wall time.
    #[must_use]
    pub fn from_wall(wall: Timestamp) -> Self {
        Self(NTP64::from(Duration::from_micros(wall.0)).as_u64())
    }

    /// The wall time of this stamp, to the nearest microsecond.
    #[must_use]
    pub const fn to_wall(self) -> Timestamp {
        let seconds = self.0 >> 32;
        let fraction_us = ((self.0 & 0xffff_ffff) * 1_000_000 + (1 << 31)) >> 32;
        Timestamp(seconds * 1_000_000 + fraction_us)
    }

    /// The next greater stamp.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What a remote stamp may do here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StampVerdict {
    /// At most 500 ms ahead of the wall clock: it was merged into the clock.
    Merged,
    /// At most 60 s ahead: valid, but what carries it waits, and the clock did not move.
    Parked,
    /// Further ahead: refused and counted.
    Refused,
}

/// Whether a remote stamp may move a clock that reads `wall`, must wait, or is refused.
#[must_use]
pub fn judge_stamp(stamp: Hlc, wall: Timestamp) -> StampVerdict {
    match stamp.to_wall().since_us(wall) {
        0..=CLOCK_MERGE_US_MAX => StampVerdict::Merged,
        ahead if ahead <= CLOCK_HOLD_US_MAX => StampVerdict::Parked,
        _ => StampVerdict::Refused,
    }
}

/// The one clock of a node. Invariant: every stamp it gives is greater than all it gave or merged before.
#[derive(Clone, Debug)]
pub struct HybridClock {
    last: Hlc,
}

impl HybridClock {
    /// A clock that continues above `last`, the greatest stamp that may have been given before a restart.
    #[must_use]
    pub const fn restored(last: Hlc) -> Self {
        Self { last }
    }

    /// The next stamp at this wall time: the wall clock's, or one more than the last when that is greater.
    pub fn tick(&mut self, wall: Timestamp) -> Hlc {
        self.last = Hlc::from_wall(wall).max(self.last.next());
        self.last
    }

    /// Judges a remote stamp and merges it when it is close enough.
    pub fn observe(&mut self, stamp: Hlc, wall: Timestamp) -> StampVerdict {
        let verdict = judge_stamp(stamp, wall);
        if verdict == StampVerdict::Merged {
            self.last = self.last.max(stamp);
        }
        verdict
    }

    /// The greatest stamp given or merged so far.
    #[must_use]
    pub const fn last(&self) -> Hlc {
        self.last
    }
}
