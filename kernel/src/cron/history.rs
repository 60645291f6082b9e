//! What the own chain says about jobs: which there are, which of their times are behind them, and which runs nobody knows
//! the end of.

use std::collections::BTreeMap;

use weft_protocol::{CronAdded, CronFired, CronId, CronResult, Effect, Fact, PlacedFact, Timestamp};

use super::job::Job;

/// The fold over the own chain's facts.
#[derive(Debug, Default)]
pub(crate) struct History {
    jobs: BTreeMap<CronId, Job>,
    /// Runs whose intent has no outcome, by its place.
    open: BTreeMap<u64, (CronId, Option<Timestamp>)>,
}

impl History {
    pub(crate) fn of(facts: &[PlacedFact]) -> Self {
        let mut history = Self::default();
        for placed in facts {
            match &placed.fact {
                Fact::CronAdded(added) => history.added(CronId(placed.seq), added),
                Fact::CronRemoved(removed) => drop(history.jobs.remove(&removed.job)),
                Fact::CronMissed(missed) => {
                    history.jobs.entry(missed.job).and_modify(|job| job.miss(missed));
                }
                Fact::CronFired(fired) => history.fired(fired),
                Fact::Intent(effect) => {
                    if let Effect::Fire { job, scheduled, by: _ } = effect.as_ref() {
                        history.intended(placed, *job, *scheduled);
                    }
                }
                _ => {}
            }
        }
        history
    }

    fn added(&mut self, id: CronId, added: &CronAdded) {
        self.jobs.insert(id, Job::new(id, added.clone()));
    }

    fn intended(&mut self, placed: &PlacedFact, id: CronId, scheduled: Option<Timestamp>) {
        self.open.insert(placed.seq, (id, scheduled));
        self.jobs.entry(id).and_modify(|job| job.begin(scheduled, placed.hlc.to_wall()));
    }

    fn fired(&mut self, fired: &CronFired) {
        self.open.remove(&fired.intent);
        self.jobs.entry(fired.job).and_modify(|job| job.end(fired.result.clone()));
    }

    /// Ends what the last run left open: nobody can tell, and it is not run again. Returns what the chain must say of it.
    pub(super) fn close(mut self) -> (BTreeMap<CronId, Job>, Vec<CronFired>) {
        let open = std::mem::take(&mut self.open).into_iter();
        let closed = open.map(|(intent, (job, scheduled))| {
            let result = CronResult::Indeterminate;
            CronFired { job, intent, scheduled, message: None, result }
        });
        let closed = closed.collect::<Vec<_>>();
        closed.iter().for_each(|fired| self.fired(fired));
        (self.jobs, closed)
    }
}
