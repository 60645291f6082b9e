//! What many seeds of one scenario came to together: how often each fault struck, and which never did though it is promised.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::faults::promised_names;
use crate::report::SimReport;
use crate::scenario::Scenario;

/// How often a fault struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Struck {
    /// In all runs together.
    pub times: u64,
    /// In how many of them.
    pub runs: u64,
}

/// Many runs together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// How many there were.
    pub runs: u64,
    /// How often each fault struck, by name.
    pub faults: BTreeMap<&'static str, Struck>,
    #[serde(skip)]
    promised: BTreeSet<&'static str>,
}

impl Tally {
    /// Of no run yet.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        // Otherwise each run answers for itself.
        let promised = if scenario.over_seeds { promised_names(scenario) } else { BTreeSet::new() };
        Self { promised, ..Self::default() }
    }

    /// Adds one run.
    pub fn add(&mut self, report: &SimReport) {
        self.runs += 1;
        for (fault, times) in &report.faults {
            let struck = self.faults.entry(fault).or_default();
            struck.times += times;
            struck.runs += 1;
        }
    }

    /// What these runs together promised and never struck in any of them.
    #[must_use]
    pub fn never(&self) -> Vec<&'static str> {
        self.promised.iter().filter(|fault| !self.faults.contains_key(*fault)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run_steps;
    use crate::scenario::{ClockSettings, scenario};

    #[test]
    fn what_is_promised_over_seeds_and_struck_in_none_is_missing() {
        let calm = scenario("calm").expect("shipped");
        let clock = ClockSettings { offset_us_max: 100_000, ..ClockSettings::default() };
        let promises = vec!["told-too-old".to_owned()];
        let over_seeds = Scenario { over_seeds: true, clock, promises, ..calm };
        let each = Scenario { over_seeds: false, ..over_seeds.clone() };
        let (mut together, mut alone) = (Tally::new(&over_seeds), Tally::new(&each));
        for seed in 0..2 {
            let report = run_steps(&over_seeds, seed, &[]);
            assert!(!report.failures.iter().any(|reason| reason.contains("told-too-old")), "{:?}", report.failures);
            together.add(&report);
            alone.add(&run_steps(&each, seed, &[]));
        }
        assert_eq!(
            together.never(),
            ["shutdowns", "told-too-old"],
            "clocks are off in every run, and nothing else happens"
        );
        assert_eq!(together.faults["clocks-off"].runs, 2);
        assert_eq!(alone.never(), Vec::<&str>::new(), "each run has said so itself");
    }
}
