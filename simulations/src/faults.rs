//! Which faults struck and how often, and which ones a scenario promises: one that never struck shows nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::DiskCounts;
use crate::network::NetworkCounts;
use crate::scenario::Scenario;

/// Declares the kinds with the names that reports and promises give them.
macro_rules! faults {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// One kind of fault, or of what a fault leads to, counted where it has its effect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($(#[$doc])+ $variant,)+
        }

        impl Fault {
            /// All of them.
            const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in reports.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

faults! {
    /// A frame that got lost.
    FrameLost = "frames-lost",
    /// A frame that arrived twice.
    FrameDoubled = "frames-doubled",
    /// A frame that overtook another.
    FrameOvertook = "frames-overtook",
    /// A frame that was held up.
    FrameDelayed = "frames-delayed",
    /// A frame stopped between two sides.
    FramePartitioned = "frames-partitioned",
    /// A frame stopped in one direction.
    FrameCut = "frames-cut-one-way",
    /// A process ended between writes.
    Crash = "crashes",
    /// A process ended in the middle of a write that stayed.
    Kill = "kills-while-writing",
    /// A process ended in the middle of a write of which some sectors stayed.
    Scattered = "writes-scattered",
    /// A process ended in the middle of a write that was cut.
    Torn = "writes-torn",
    /// A write, or a sector of one, that a crash took back.
    WriteLost = "writes-lost",
    /// An operation that failed.
    DiskError = "disk-errors",
    /// A node that went down in order, and stayed down for a while.
    Shutdown = "shutdowns",
    /// A clock that jumped forward.
    ClockForward = "clocks-forward",
    /// A clock that jumped back.
    ClockBack = "clocks-back",
    /// A clock that stood still.
    ClockFreeze = "clocks-frozen",
    /// A clock that was off from the start.
    ClockOff = "clocks-off",
    /// A node that joined while things happened.
    LateJoin = "late-joins",
    /// A chunk of a body that no frame holds was served.
    BodyApart = "bodies-apart",
    /// A breaker that opened: a provider of a service failed too often.
    BreakerOpened = "breakers-opened",
    /// A call that was the probe of an open breaker.
    BreakerProbed = "breakers-probed",
    /// A breaker that its probe closed.
    BreakerClosed = "breakers-closed",
    /// A call to a service that was answered while one of its providers was down.
    ServedByOthers = "calls-served-by-others",
    /// An agent that was started from another node.
    SpawnedElsewhere = "spawns-elsewhere",
    /// A start on another node that was denied there.
    DeniedElsewhere = "spawns-denied-elsewhere",
    /// A call to such an agent that failed because its node was down.
    FailedElsewhere = "calls-failed-elsewhere",
    /// A call that such an agent answered in a later run of its node than the one in which it was started.
    AnsweredAgain = "calls-answered-after-return",
    /// An agent that outlives its node began on another one than before.
    RanElsewhere = "agents-resumed-elsewhere",
    /// A call that was answered by a node which the caller was not connected to when it began.
    CalledFar = "calls-to-far-nodes-answered",
    /// A home that was put back from an old copy and lacked commits that had been written.
    Restored = "homes-restored",
    /// A start that fetched what its home lacked of its own chain.
    Refetched = "chains-fetched-back",
    /// A start that began a new chain.
    Reborn = "incarnations-begun",
    /// Whoever asked was told that a member speaks too old a version of the wire.
    ToldTooOld = "told-too-old",
    /// A frame stopped between two sides that are apart by turns.
    FrameFlapped = "frames-stopped-by-flapping",
    /// A frame that was held back and overtaken.
    FrameHeldBack = "frames-held-back",
    /// A frame that waited for others on a slow link.
    FrameQueued = "frames-queued",
    /// A commit, a chunk or a gossip that arrived with a bit flipped.
    Corrupted = "answers-corrupted",
    /// An operation that failed because the disk was full.
    DiskFull = "disk-full-errors",
    /// A write that took longer than usual.
    DiskSlow = "writes-slowed",
    /// Something that waited for a process that was stopped.
    Frozen = "events-held-by-freeze",
    /// A loss of power of a node that comes and goes.
    Churned = "crashes-of-churn",
    /// A node that was admitted while others joined.
    StormJoin = "joins-in-a-storm",
    /// Anything that a member which lies said.
    Lied = "lies-told",
    /// A commit of which another member was shown a second one.
    LieForked = "lies-forked",
    /// An old message that was sent again.
    LieReplayed = "lies-replayed",
    /// A frame that was sent many times.
    LieFlooded = "lies-flooded",
    /// Somebody who holds less was told that both hold the same.
    LieStale = "lies-of-sameness",
    /// A message or a receipt stamped in the future.
    LieFuture = "lies-of-the-future",
    /// Commits handed on under a signature that is none.
    LieForged = "lies-forged",
    /// A node that wrote a second history because nobody who knew of the first could be reached.
    Forked = "forks-nobody-could-prevent",
}

impl Fault {
    /// The names of all.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|fault| fault.name())
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
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
        self.add(Fault::FrameFlapped, counts.flapped);
        self.add(Fault::FrameHeldBack, counts.held_back);
        self.add(Fault::FrameQueued, counts.queued);
    }

    /// Adds what one disk counted.
    pub(crate) fn add_disk(&mut self, counts: DiskCounts) {
        self.add(Fault::WriteLost, counts.lost);
        self.add(Fault::Torn, counts.torn);
        self.add(Fault::DiskError, counts.errors);
        self.add(Fault::DiskFull, counts.refused);
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

/// The names of all that a scenario promises.
pub(crate) fn promised_names(scenario: &Scenario) -> BTreeSet<&'static str> {
    promised(scenario).into_iter().map(Fault::name).collect()
}

/// What a scenario promises by giving it a weight or a rate, or by name.
fn promised(scenario: &Scenario) -> Vec<Fault> {
    let (weights, network, clock) = (&scenario.weights, &scenario.network, &scenario.clock);
    let promises = [
        (Fault::FrameLost, weights.loss + network.loss_per_mille),
        (Fault::FrameDoubled, weights.duplicate + network.duplicate_per_mille),
        (Fault::FrameOvertook, network.latency_us[1] - network.latency_us[0]),
        (Fault::FrameFlapped, weights.flap),
        (Fault::FrameHeldBack, weights.reorder),
        (Fault::FrameQueued, weights.slow_link),
        (Fault::Corrupted, weights.corrupt),
        (Fault::DiskFull, weights.disk_full),
        (Fault::DiskSlow, weights.slow_disk),
        (Fault::Frozen, weights.freeze),
        (Fault::Churned, weights.churn),
        (Fault::StormJoin, weights.join_storm),
        (Fault::Lied, weights.lie),
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
        (Fault::Restored, weights.restore),
        (Fault::LateJoin, scenario.late as u64),
        (Fault::BodyApart, scenario.agents.large_per_mille),
    ];
    let weighed = promises.into_iter().filter(|(_, weight)| *weight > 0).map(|(fault, _)| fault);
    weighed.chain(scenario.promises.iter().filter_map(|name| Fault::named(name))).collect()
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
