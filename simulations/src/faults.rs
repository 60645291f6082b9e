//! Which faults struck and how often, and which ones a scenario promises: one that never struck shows nothing.

use std::collections::BTreeMap;

use crate::disk::DiskCounts;
use crate::network::NetworkCounts;
use crate::scenario::Scenario;

/// One kind of fault, counted where it has its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A frame that got lost.
    FrameLost,
    /// A frame that arrived twice.
    FrameDoubled,
    /// A frame that overtook another.
    FrameOvertook,
    /// A frame that was held up.
    FrameDelayed,
    /// A frame stopped between two sides.
    FramePartitioned,
    /// A frame stopped in one direction.
    FrameCut,
    /// A process ended between writes.
    Crash,
    /// A process ended in the middle of a write that stayed.
    Kill,
    /// A process ended in the middle of a write of which some sectors stayed.
    Scattered,
    /// A process ended in the middle of a write that was cut.
    Torn,
    /// A write, or a sector of one, that a crash took back.
    WriteLost,
    /// An operation that failed.
    DiskError,
    /// A node that went down in order, and stayed down for a while.
    Shutdown,
    /// A clock that jumped forward.
    ClockForward,
    /// A clock that jumped back.
    ClockBack,
    /// A clock that stood still.
    ClockFreeze,
    /// A clock that was off from the start.
    ClockOff,
    /// A node that joined while things happened.
    LateJoin,
    /// A chunk of a body that no frame holds was served.
    BodyApart,
}

impl Fault {
    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FrameLost => "frames-lost",
            Self::FrameDoubled => "frames-doubled",
            Self::FrameOvertook => "frames-overtook",
            Self::FrameDelayed => "frames-delayed",
            Self::FramePartitioned => "frames-partitioned",
            Self::FrameCut => "frames-cut-one-way",
            Self::Crash => "crashes",
            Self::Kill => "kills-while-writing",
            Self::Scattered => "writes-scattered",
            Self::Torn => "writes-torn",
            Self::WriteLost => "writes-lost",
            Self::DiskError => "disk-errors",
            Self::Shutdown => "shutdowns",
            Self::ClockForward => "clocks-forward",
            Self::ClockBack => "clocks-back",
            Self::ClockFreeze => "clocks-frozen",
            Self::ClockOff => "clocks-off",
            Self::LateJoin => "late-joins",
            Self::BodyApart => "bodies-apart",
        }
    }
}

/// How often each fault struck.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultCounts(BTreeMap<Fault, u64>);

impl FaultCounts {
    /// Counts one.
    pub(crate) fn count(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    /// Counts several.
    pub(crate) fn add(&mut self, fault: Fault, times: u64) {
        if times > 0 {
            *self.0.entry(fault).or_default() += times;
        }
    }

    /// Adds what the links counted.
    pub(crate) fn add_network(&mut self, counts: NetworkCounts) {
        self.add(Fault::FrameLost, counts.lost);
        self.add(Fault::FrameDoubled, counts.duplicated);
        self.add(Fault::FrameOvertook, counts.reordered);
        self.add(Fault::FrameDelayed, counts.delayed);
        self.add(Fault::FramePartitioned, counts.partitioned);
        self.add(Fault::FrameCut, counts.cut);
    }

    /// Adds what one disk counted.
    pub(crate) fn add_disk(&mut self, counts: DiskCounts) {
        self.add(Fault::WriteLost, counts.lost);
        self.add(Fault::Torn, counts.torn);
        self.add(Fault::DiskError, counts.errors);
    }

    /// The faults that `scenario` promises and that never struck.
    pub(crate) fn missing(&self, scenario: &Scenario) -> Vec<&'static str> {
        let promised = promised(scenario).into_iter();
        promised.filter(|fault| !self.0.contains_key(fault)).map(Fault::name).collect()
    }

    /// All that struck, by name.
    pub(crate) fn report(&self) -> BTreeMap<&'static str, u64> {
        self.0.iter().map(|(fault, times)| (fault.name(), *times)).collect()
    }
}

/// What a scenario promises by giving it a weight or a rate.
fn promised(scenario: &Scenario) -> Vec<Fault> {
    let (weights, network, clock) = (&scenario.weights, &scenario.network, &scenario.clock);
    let promises = [
        (Fault::FrameLost, weights.loss + network.loss_per_mille),
        (Fault::FrameDoubled, weights.duplicate + network.duplicate_per_mille),
        (Fault::FrameOvertook, network.latency_us[1] - network.latency_us[0]),
        (Fault::FrameDelayed, weights.delay),
        (Fault::FramePartitioned, weights.partition),
        (Fault::FrameCut, weights.one_way),
        (Fault::Crash, weights.crash),
        (Fault::Kill, weights.kill),
        (Fault::Scattered, weights.scattered),
        (Fault::Torn, weights.torn),
        (Fault::WriteLost, weights.scattered),
        (Fault::DiskError, weights.disk_error),
        (Fault::Shutdown, weights.shutdown),
        (Fault::ClockForward, weights.clock_forward),
        (Fault::ClockBack, weights.clock_back),
        (Fault::ClockFreeze, weights.clock_freeze),
        (Fault::ClockOff, clock.offset_us_max),
        (Fault::LateJoin, scenario.late as u64),
        (Fault::BodyApart, scenario.agents.large_per_mille),
    ];
    promises.into_iter().filter(|(_, weight)| *weight > 0).map(|(fault, _)| fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::scenario;

    #[test]
    fn a_promised_fault_that_never_struck_is_missing() {
        let partition = scenario("partition").expect("shipped");
        let mut counts = FaultCounts::default();
        counts.count(Fault::FrameOvertook);
        counts.count(Fault::FramePartitioned);
        assert_eq!(counts.missing(&partition), ["frames-cut-one-way"]);
        counts.add(Fault::FrameCut, 0);
        assert_eq!(counts.missing(&partition), ["frames-cut-one-way"]);
        counts.count(Fault::FrameCut);
        assert!(counts.missing(&partition).is_empty());
    }
}
