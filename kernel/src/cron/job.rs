//! One job: what it says, which of its times are behind it, and what is due.

use std::collections::BTreeSet;

use weft_protocol::{CronAdded, CronId, CronMissed, CronResult, MissedRule, Payload, Target, Timestamp};

use super::schedule::Schedule;

/// A run that begins this much after its time is still in time, in microseconds: longer than a busy disk makes it wait, and
/// shorter than any restart (guess). What is later was missed.
const LATE_US_MAX: u64 = 5_000_000;
/// Most missed times that are counted one by one, so that a job of every second costs a start little after a month.
const COUNTED_MAX: u64 = 1_000;
/// Most missed times that the rule `all` runs after all: the last of them (guess, a tenth of a mailbox).
const CATCH_UP_MAX: u64 = 100;
/// Times that ran and are remembered, so that none runs again after the clock was set back by days (guess).
const FIRED_MAX: usize = 256;

/// What is asked when a job is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSpec {
    /// Five or six fields, `@every 90s` or plain `90s`.
    pub expression: String,
    /// The IANA name of the time zone that the fields are meant in; `UTC` for an interval.
    pub timezone: String,
    /// Whom the message is for.
    pub target: Target,
    /// Text or JSON, at most 16 KiB.
    pub payload: Payload,
    /// What becomes of missed runs.
    pub missed: MissedRule,
}

/// One job as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronJob {
    /// Which.
    pub id: CronId,
    /// What it was made of.
    pub added: CronAdded,
    /// How often it ran, by the clock and when asked.
    pub runs: u64,
    /// How many of its times passed without a run of their own.
    pub missed: u64,
    /// When it last began to run.
    pub last_run: Option<Timestamp>,
    /// How that ended; none while it is on its way.
    pub last_result: Option<CronResult>,
    /// When it runs next; none while it runs, and for one that never will.
    pub next_run: Option<Timestamp>,
    /// Why it never runs, when this version of the program cannot read its schedule.
    pub problem: Option<String>,
}

/// What a look at a job finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before its next time.
    Nothing,
    /// This time is to be run now.
    Run(Timestamp),
    /// These times passed; what is run of them nevertheless is due from now on.
    Missed(CronMissed),
}

/// Invariant: no time at or before `after` runs any more, and no time in `fired` runs again.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    id: CronId,
    added: CronAdded,
    schedule: Result<Schedule, String>,
    after: Timestamp,
    /// Times up to this one run however late it is: they were missed, and the rule wants them run.
    catch_up: Option<Timestamp>,
    fired: BTreeSet<Timestamp>,
    running: bool,
    runs: u64,
    missed: u64,
    last_run: Option<Timestamp>,
    last_result: Option<CronResult>,
}

impl Job {
    /// What it was made of.
    pub(super) fn into_added(self) -> CronAdded {
        self.added
    }

    pub(super) fn new(id: CronId, added: CronAdded) -> Self {
        let schedule = Schedule::parse(&added.expression, &added.timezone, added.added);
        Self {
            id,
            schedule,
            after: added.added,
            catch_up: None,
            fired: BTreeSet::new(),
            running: false,
            runs: 0,
            missed: 0,
            last_run: None,
            last_result: None,
            added,
        }
    }

    pub(super) const fn added(&self) -> &CronAdded {
        &self.added
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    /// The next time that is looked at; none while a run is on its way, so that runs of one job never overlap.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref().ok().filter(|_| !self.running)?;
        schedule.next(self.after)
    }

    /// What is due. A missed time is behind the job from now on; a run is when it [`began`](Self::begin).
    pub(super) fn look(&mut self, now: Timestamp) -> Due {
        loop {
            let Some(next) = self.next().filter(|next| *next <= now) else { return Due::Nothing };
            if self.fired.contains(&next) {
                self.after = next;
            } else if now.since_us(next) <= LATE_US_MAX || self.catch_up.is_some_and(|until| next <= until) {
                return Due::Run(next);
            } else {
                let missed = self.count_missed(next, now);
                self.miss(&missed);
                return Due::Missed(missed);
            }
        }
    }

    /// The times that are too late, counted from the last one back.
    fn count_missed(&self, next: Timestamp, now: Timestamp) -> CronMissed {
        let until = Timestamp(now.0 - LATE_US_MAX - 1);
        let (mut count, mut first, mut last, mut kept) = (0, next, next, next);
        let mut at = self.schedule.as_ref().ok().and_then(|schedule| schedule.previous(until));
        while let Some(time) = at.filter(|time| *time >= next && count < COUNTED_MAX) {
            last = if count == 0 { time } else { last };
            first = time;
            count += 1;
            kept = if count <= CATCH_UP_MAX { time } else { kept };
            at = self.schedule.as_ref().ok().and_then(|schedule| schedule.previous(Timestamp(time.0 - 1)));
        }
        let run_from = match self.added.missed {
            MissedRule::Skip => None,
            MissedRule::Once => Some(last),
            MissedRule::All => Some(kept),
        };
        CronMissed { job: self.id, first, last, count: count.max(1), run_from }
    }

    /// These times passed.
    pub(super) fn miss(&mut self, missed: &CronMissed) {
        self.missed = self.missed.saturating_add(missed.count);
        self.catch_up = missed.run_from.map(|_| missed.last);
        self.after = self.after.max(missed.run_from.map_or(missed.last, |from| Timestamp(from.0 - 1)));
    }

    /// A run is on its way: its intent stands on the chain.
    pub(super) fn begin(&mut self, scheduled: Option<Timestamp>, at: Timestamp) {
        self.running = true;
        self.runs = self.runs.saturating_add(1);
        (self.last_run, self.last_result) = (Some(at), None);
        let Some(scheduled) = scheduled else { return };
        self.after = self.after.max(scheduled);
        self.fired.insert(scheduled);
        if self.fired.len() > FIRED_MAX {
            self.fired.pop_first();
        }
    }

    /// It ended.
    pub(super) fn end(&mut self, result: CronResult) {
        self.running = false;
        self.last_result = Some(result);
    }

    /// The clock was set back to `now`: what lies ahead of it has not come yet, whatever the clock said before.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        self.after = self.after.min(now);
        self.catch_up = None;
    }

    /// How far behind the job its times are.
    pub(super) const fn after(&self) -> Timestamp {
        self.after
    }

    pub(super) fn show(&self) -> CronJob {
        CronJob {
            id: self.id,
            added: self.added.clone(),
            runs: self.runs,
            missed: self.missed,
            last_run: self.last_run,
            last_result: self.last_result.clone(),
            next_run: self.next(),
            problem: self.schedule.as_ref().err().cloned(),
        }
    }
}
