//! All jobs of one node: a machine of its own, told what happened, saying what must be run and what was missed.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{CronAdded, CronId, CronMissed, CronResult, Principal, Timestamp};

use super::job::{CronJob, Due, Job};

/// A clock that goes back by no more than this was corrected: what ran does not run again until the clock has passed it. By
/// more, it was wrong before, and the schedules begin anew from the time it says now; microseconds (three hours, as Vixie's
/// cron has it).
const SET_BACK_US_MAX: u64 = 3 * 3_600 * 1_000_000;

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A job was made.
    Added { id: CronId, added: Box<CronAdded> },
    /// A job was taken back.
    Removed { id: CronId },
    /// The intent of a run stands on the chain, stamped `at`.
    Began { id: CronId, scheduled: Option<Timestamp>, at: Timestamp },
    /// A run ended.
    Ended { id: CronId, result: CronResult },
    /// Time has passed.
    Woken,
}

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Run this job for this time; give `Began` before anything else.
    Run { id: CronId, scheduled: Timestamp },
    /// Put this on the chain.
    Miss(CronMissed),
}

/// Invariant: `due` holds the next time of each job that has one.
#[derive(Debug, Default)]
pub(crate) struct Crontab {
    jobs: BTreeMap<CronId, Job>,
    due: BTreeSet<(Timestamp, CronId)>,
    next: BTreeMap<CronId, Timestamp>,
    /// The latest time that this machine was told.
    latest: Timestamp,
}

impl Crontab {
    /// The jobs of earlier runs.
    pub(super) fn restored(jobs: BTreeMap<CronId, Job>, now: Timestamp) -> Self {
        let mut crontab = Self { jobs, latest: now, ..Self::default() };
        crontab.rewind(now);
        crontab
    }

    /// Takes one input and appends what must be done, in order. A run must be begun before the next input.
    pub(super) fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        match input {
            Input::Added { id, added } => {
                self.jobs.insert(id, Job::new(id, *added));
                self.schedule(id);
            }
            Input::Removed { id } => {
                self.jobs.remove(&id);
                self.schedule(id);
            }
            Input::Began { id, scheduled, at } => self.change(id, |job| job.begin(scheduled, at)),
            Input::Ended { id, result } => self.change(id, |job| job.end(result)),
            Input::Woken => self.look(now, outputs),
        }
    }

    fn change(&mut self, id: CronId, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(&id) {
            change(job);
        }
        self.schedule(id);
    }

    fn look(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if now.after_us(SET_BACK_US_MAX) < self.latest {
            self.rewind(now);
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        while let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let Some(job) = self.jobs.get_mut(&id) else { return };
            match job.look(now) {
                Due::Nothing => self.schedule(id),
                Due::Missed(missed) => {
                    self.schedule(id);
                    outputs.push(Output::Miss(missed));
                }
                Due::Run(scheduled) => {
                    self.unschedule(id);
                    outputs.push(Output::Run { id, scheduled });
                }
            }
        }
    }

    /// Times ahead of a clock that was wrong before are not behind the jobs any more.
    fn rewind(&mut self, now: Timestamp) {
        let ids = self.jobs.keys().copied().collect::<Vec<_>>();
        for id in ids {
            if let Some(job) = self.jobs.get_mut(&id).filter(|job| now.after_us(SET_BACK_US_MAX) < job.after()) {
                job.rewind(now);
            }
            self.schedule(id);
        }
    }

    fn schedule(&mut self, id: CronId) {
        self.unschedule(id);
        if let Some(at) = self.jobs.get(&id).and_then(Job::next) {
            self.due.insert((at, id));
            self.next.insert(id, at);
        }
    }

    fn unschedule(&mut self, id: CronId) {
        if let Some(at) = self.next.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// When `Woken` is due.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether there is anything to do at this time.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next_wakeup().is_some_and(|at| at <= now) || now.after_us(SET_BACK_US_MAX) < self.latest
    }

    pub(super) fn get(&self, id: CronId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// One job as lists show it.
    pub(super) fn show(&self, id: CronId) -> Option<CronJob> {
        self.jobs.get(&id).map(Job::show)
    }

    /// All jobs, by id.
    pub(crate) fn all(&self) -> Vec<CronJob> {
        self.jobs.values().map(Job::show).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// How many jobs the agent of that name keeps; an operator's are not counted.
    pub(super) fn count_of(&self, by: &Principal) -> usize {
        let Principal::Agent { agent, .. } = by else { return 0 };
        let own = |job: &&Job| matches!(&job.added().by, Principal::Agent { agent: maker, .. } if maker == agent);
        self.jobs.values().filter(own).count()
    }
}
