//! What a start says of itself: its phases with what they took, and one line for each thing worth knowing, bounded.

use std::collections::VecDeque;
use std::fmt;

use weft_protocol::limits::{BOOT_LOG_ENTRIES_MAX, BOOT_LOG_TEXT_MAX};
use weft_protocol::{BootPhase, PhaseRecord, PhaseResult, Timestamp};

/// How much an entry matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootLevel {
    /// For whoever looks for a fault.
    Debug,
    /// As it should be.
    Info,
    /// Something does not work, and the node goes on without it.
    Warn,
    /// The start ended here.
    Error,
}

impl fmt::Display for BootLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: BootLevel,
    /// In which phase.
    pub phase: BootPhase,
    /// What, at most 512 characters.
    pub message: String,
}

/// The log of one start. Invariant: phases end in their order, each once; `entries` holds the newest 1,024.
#[derive(Debug, Clone, Default)]
pub struct BootLog {
    entries: VecDeque<BootEntry>,
    forgotten: u64,
    ended: Vec<PhaseRecord>,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    phase: BootPhase,
    since: Timestamp,
    degraded: bool,
}

impl BootLog {
    /// A phase begins; one that was under way has ended. A phase that is not later than that one is not begun.
    pub fn begin(&mut self, phase: BootPhase, now: Timestamp) {
        self.end(now);
        if self.ended.last().is_none_or(|last| last.phase < phase) {
            self.under_way = Some(UnderWay { phase, since: now, degraded: false });
        }
    }

    /// Something happened in the phase that is under way, or after the last.
    pub fn say(&mut self, level: BootLevel, message: &str, now: Timestamp) {
        if let Some(under_way) = &mut self.under_way {
            under_way.degraded |= level >= BootLevel::Warn;
        }
        let phase = self.phase().unwrap_or(BootPhase::Init);
        if self.entries.len() >= BOOT_LOG_ENTRIES_MAX {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        let message = message.chars().take(BOOT_LOG_TEXT_MAX).collect();
        self.entries.push_back(BootEntry { at: now, level, phase, message });
    }

    /// The phase that is under way has ended; how long it took is its last line.
    pub fn end(&mut self, now: Timestamp) {
        let Some(UnderWay { phase, since, degraded }) = self.under_way else { return };
        let result = if degraded { PhaseResult::Degraded } else { PhaseResult::Done };
        let duration_us = now.since_us(since);
        self.say(BootLevel::Info, &format!("{result} in {}.{:03} ms", duration_us / 1_000, duration_us % 1_000), now);
        self.under_way = None;
        self.ended.push(PhaseRecord { phase, result, duration_us });
    }

    /// A phase is passed over, because there is nothing in this version that it could start.
    pub fn pass_over(&mut self, phase: BootPhase, now: Timestamp) {
        self.begin(phase, now);
        if self.under_way.take().is_some() {
            self.ended.push(PhaseRecord { phase, result: PhaseResult::NotBuiltIn, duration_us: 0 });
            self.say(BootLevel::Info, "not built in", now);
        }
    }

    /// The phase that is under way, or the last that ended.
    #[must_use]
    pub fn phase(&self) -> Option<BootPhase> {
        self.under_way.map(|under_way| under_way.phase).or_else(|| self.ended.last().map(|last| last.phase))
    }

    /// The phases that have ended, in order.
    #[must_use]
    pub fn phases(&self) -> &[PhaseRecord] {
        &self.ended
    }

    /// The lines that are kept, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &BootEntry> {
        self.entries.iter()
    }

    /// Lines that had to make room.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &BootLog) -> Vec<String> {
        log.entries().map(|entry| format!("{} {} {}", entry.phase, entry.level, entry.message)).collect()
    }

    #[test]
    fn phases_take_time_in_their_order() {
        let mut log = BootLog::default();
        log.begin(BootPhase::Init, Timestamp(1_000));
        log.say(BootLevel::Info, "home", Timestamp(1_500));
        log.begin(BootPhase::Config, Timestamp(3_500));
        log.say(BootLevel::Warn, "odd", Timestamp(3_600));
        log.pass_over(BootPhase::ResourceTree, Timestamp(4_500));
        log.begin(BootPhase::Init, Timestamp(5_000));
        assert_eq!(
            lines(&log),
            [
                "init info home",
                "init info done in 2.500 ms",
                "config warn odd",
                "config info degraded in 1.000 ms",
                "resource-tree info not built in",
            ]
        );
        let phases = log.phases().iter().map(|record| (record.phase, record.result, record.duration_us));
        assert_eq!(
            phases.collect::<Vec<_>>(),
            [
                (BootPhase::Init, PhaseResult::Done, 2_500),
                (BootPhase::Config, PhaseResult::Degraded, 1_000),
                (BootPhase::ResourceTree, PhaseResult::NotBuiltIn, 0),
            ]
        );
    }

    #[test]
    fn the_oldest_lines_make_room_and_long_ones_are_cut() {
        let mut log = BootLog::default();
        log.begin(BootPhase::Init, Timestamp(0));
        for line in 0..1_030_u64 {
            log.say(BootLevel::Debug, &format!("{line} {}", "x".repeat(600)), Timestamp(line));
        }
        assert_eq!((log.entries().count(), log.forgotten()), (1_024, 6));
        let first = log.entries().next().expect("a line");
        assert!(first.message.starts_with("6 x") && first.message.len() == 512);
    }
}
