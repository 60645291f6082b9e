//! How many restarts a supervisor may make, and how long it waits before each.

use std::collections::VecDeque;

use weft_protocol::Timestamp;
use weft_protocol::limits::{RESTART_BACKOFF_US, RESTART_BACKOFF_US_MAX, RESTART_WINDOW_US, RESTARTS_MAX};

/// Invariant: `made` holds at most `RESTARTS_MAX` times, oldest first.
#[derive(Debug, Default)]
pub(super) struct Budget {
    made: VecDeque<Timestamp>,
    /// Restarts in a row: since the last time that a whole window passed without one.
    row: u32,
}

impl Budget {
    /// Takes one restart and says the how many-th of a row it is, from one; `None` when the window holds as many as it may.
    pub(super) fn spend(&mut self, now: Timestamp) -> Option<u32> {
        while self.made.front().is_some_and(|made| now.since_us(*made) >= RESTART_WINDOW_US) {
            self.made.pop_front();
        }
        if self.made.is_empty() {
            self.row = 0;
        }
        if self.made.len() >= RESTARTS_MAX {
            return None;
        }
        self.row = self.row.saturating_add(1);
        self.note(self.row, now);
        Some(self.row)
    }

    /// A restart that was made before, as the how many-th of a row.
    pub(super) fn note(&mut self, row: u32, at: Timestamp) {
        self.row = row;
        self.made.push_back(at);
        if self.made.len() > RESTARTS_MAX {
            self.made.pop_front();
        }
    }
}

/// The wait before the how many-th restart of a row, in microseconds.
pub(super) fn backoff_us(number: u32) -> u64 {
    let doubled = RESTART_BACKOFF_US.checked_shl(number.saturating_sub(1).min(32));
    doubled.unwrap_or(RESTART_BACKOFF_US_MAX).min(RESTART_BACKOFF_US_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn five_restarts_fit_into_a_window_and_the_sixth_when_the_first_has_left_it() {
        let mut budget = Budget::default();
        let spent: Vec<_> = (0..6).map(|second| budget.spend(START.after_us(second * 1_000_000))).collect();
        assert_eq!(spent, [Some(1), Some(2), Some(3), Some(4), Some(5), None]);
        assert_eq!(budget.spend(START.after_us(59_999_999)), None);
        assert_eq!(budget.spend(START.after_us(60_000_000)), Some(6));
    }

    #[test]
    fn a_window_without_a_restart_ends_the_row() {
        let mut budget = Budget::default();
        assert_eq!(budget.spend(START), Some(1));
        assert_eq!(budget.spend(START.after_us(59_999_999)), Some(2));
        assert_eq!(budget.spend(START.after_us(119_999_999)), Some(1));
    }

    #[test]
    fn the_wait_doubles_up_to_half_a_minute() {
        let waits: Vec<_> = (1..=11).map(|number| backoff_us(number) / 1_000).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(backoff_us(u32::MAX), 30_000_000);
    }
}
