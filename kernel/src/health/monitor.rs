//! One probe: what its answers add up to, and when it is made again.

use weft_protocol::{Health, ProbeTiming, Timestamp};

use super::monitors::ProbeAnswer;

/// Longest reason that is kept, in characters: an agent says it, and it stands on the chain.
const REASON_CHARACTERS_MAX: usize = 256;

/// Invariant: with a probe open, `at` is its deadline; otherwise the time of the next one.
#[derive(Debug, Clone)]
pub(super) struct Monitor {
    timing: ProbeTiming,
    health: Health,
    failures: u32,
    successes: u32,
    open: Option<u64>,
    at: Timestamp,
    began: Timestamp,
    since: Timestamp,
    checked: Option<Timestamp>,
}

impl Monitor {
    /// Nothing is known yet; the first probe is made at once.
    pub(super) const fn new(timing: ProbeTiming, now: Timestamp) -> Self {
        Self {
            timing,
            health: Health::Unknown,
            failures: 0,
            successes: 0,
            open: None,
            at: now,
            began: now,
            since: now,
            checked: None,
        }
    }

    /// When it must be looked at next.
    pub(super) const fn at(&self) -> Timestamp {
        self.at
    }

    pub(super) const fn open(&self) -> Option<u64> {
        self.open
    }

    pub(super) const fn health(&self) -> &Health {
        &self.health
    }

    pub(super) const fn timing(&self) -> &ProbeTiming {
        &self.timing
    }

    /// Failures in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Since when it is as it is.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    /// When it last answered, or did not in time.
    pub(super) const fn checked(&self) -> Option<Timestamp> {
        self.checked
    }

    /// A probe is on its way.
    pub(super) const fn begin(&mut self, number: u64, now: Timestamp) {
        self.open = Some(number);
        self.began = now;
        self.at = now.after_us(self.timing.timeout_us);
    }

    /// The probe could not be made, and says nothing.
    pub(super) fn skip(&mut self, now: Timestamp) {
        self.rest(now);
    }

    /// What a probe that was not answered in time says.
    pub(super) fn overdue(&self) -> ProbeAnswer {
        let timeout = std::time::Duration::from_micros(self.timing.timeout_us);
        ProbeAnswer::Failed { reason: format!("no answer within {}", humantime::format_duration(timeout)) }
    }

    /// An answer came, or its deadline. Returns how it was before, when that changed.
    pub(super) fn answered(&mut self, answer: ProbeAnswer, now: Timestamp) -> Option<Health> {
        self.rest(now);
        self.checked = Some(now);
        let next = match answer {
            ProbeAnswer::Healthy => self.succeeded(Health::Healthy),
            ProbeAnswer::Degraded { reason } => self.succeeded(Health::Degraded { reason: clip(&reason) }),
            ProbeAnswer::Failed { reason } => self.failed(&reason),
        }?;
        let before = std::mem::replace(&mut self.health, next);
        // The same word with another reason is no change: an agent that counts in its reason would fill the chain.
        if before.name() == self.health.name() {
            return None;
        }
        self.since = now;
        Some(before)
    }

    fn succeeded(&mut self, health: Health) -> Option<Health> {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let counts = match self.health {
            Health::Healthy | Health::Degraded { .. } => true,
            Health::Unknown | Health::Unhealthy { .. } => self.successes >= self.timing.successes,
        };
        counts.then_some(health)
    }

    fn failed(&mut self, reason: &str) -> Option<Health> {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        (self.failures >= self.timing.failures).then(|| Health::Unhealthy { reason: clip(reason) })
    }

    /// The next probe is an interval after the last began, or now when that took longer.
    fn rest(&mut self, now: Timestamp) {
        self.open = None;
        self.at = self.began.after_us(self.timing.interval_us).max(now);
    }
}

fn clip(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS_MAX).collect()
}
