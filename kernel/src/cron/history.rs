//! What the own chains say about jobs: which there are, which of their times are behind them, and which runs nobody knows
//! the end of.

use std::collections::BTreeMap;

use weft_protocol::{CronAdded, CronFired, CronId, CronResult, Effect, Fact, PlacedFact, Timestamp};

use super::job::Job;

/// The fold over the facts of the own chains, the first one first.
#[derive(Debug, Default)]
pub(crate) struct History {
    jobs: BTreeMap<CronId, Job>,
    /// Runs whose intent has no outcome, by its place.
    open: BTreeMap<u64, (CronId, Option<Timestamp>)>,
    /// Jobs of earlier chains that this one does not have yet: a job is named by its place on its chain.
    inherited: Vec<CronAdded>,
}

impl History {
    pub(crate) fn of<'a>(facts: impl Iterator<Item = &'a PlacedFact>) -> Self {
        let mut history = Self::default();
        for placed in facts {
            match &placed.fact {
                Fact::Genesis(_) => history.begin_chain(),
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

    /// Jobs of earlier chains are to be made once more on the next; runs that those left open stay so.
    pub(crate) fn begin_chain(&mut self) {
        self.open.clear();
        self.inherited.extend(std::mem::take(&mut self.jobs).into_values().map(Job::into_added));
    }

    fn added(&mut self, id: CronId, added: &CronAdded) {
        let same = |old: &CronAdded| CronAdded { added: added.added, ..old.clone() } == *added;
        if let Some(place) = self.inherited.iter().position(same) {
            self.inherited.remove(place);
        }
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

    /// Ends what the last run left open: nobody can tell, and it is not run again. Returns what the chain must say of it, and
    /// the jobs that must be made once more on this chain.
    pub(super) fn close(mut self) -> (BTreeMap<CronId, Job>, Vec<CronFired>, Vec<CronAdded>) {
        let open = std::mem::take(&mut self.open).into_iter();
        let closed = open.map(|(intent, (job, scheduled))| {
            let result = CronResult::Indeterminate;
            CronFired { job, intent, scheduled, message: None, result }
        });
        let closed = closed.collect::<Vec<_>>();
        closed.iter().for_each(|fired| self.fired(fired));
        (self.jobs, closed, self.inherited)
    }
}
