//! The list of everything that is checked, how often each was, and the first reasons why one did not hold.

use std::collections::BTreeMap;

use crate::faults::Fault;
use crate::malice::Lie;
use crate::report::CheckReport;
use crate::scenario::Scenario;
use crate::transition::{Step, Transition};

/// Reasons that are kept; the first one is what matters.
const FAILURES_MAX: usize = 16;

/// Declares each check once: its variant, its name in reports and what it says.
macro_rules! checks {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// One property that must always hold. Each that is due must be made at least once in a run: what was never checked is not shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Check {
            $($(#[$doc])+ $variant,)+
        }

        impl Check {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in reports.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

checks! {
    /// What was acknowledged as durable is on the disk then, with its text, and on every disk image read later.
    AcknowledgedIsKept = "acknowledged-is-kept",
    /// Every head, group, record and root that leaves a process is on its disk at that moment.
    SpokenIsDurable = "spoken-is-durable",
    /// Every commit that is stored passes full verification, made again here.
    StoredIsVerified = "stored-is-verified",
    /// All copies of one commit are byte for byte the same.
    OneHistory = "one-history",
    /// Disks whose chains have equal vector roots hold the same bytes.
    EqualRootsEqualBytes = "equal-roots-equal-bytes",
    /// Peers whose vector roots are equal have the same tree of resources, whatever they heard first.
    EqualRootsEqualTrees = "equal-roots-equal-trees",
    /// When everything is whole, all vector roots become equal within the scenario's time.
    Converges = "converges",
    /// The order is the same however the events are given.
    OrderIsPure = "order-is-pure",
    /// Nothing stands before what led to it.
    OrderIsCausal = "order-is-causal",
    /// What a node calls stable stays where it is, and all nodes call the same stable.
    StableStays = "stable-stays",
    /// Stamps of a node rise across restarts, jumps and standstills of its clock.
    StampsIncrease = "stamps-increase",
    /// Nothing is started or stopped without an intent on disk.
    EffectsHaveIntents = "effects-have-intents",
    /// Each intent has at most one outcome, and in the end exactly one.
    IntentsHaveOneOutcome = "intents-have-one-outcome",
    /// Each question is answered once, unless the asker's node went down.
    OneAnswer = "one-answer",
    /// Parts of an answer are handed on from the first, without hole or repetition, and the answer counts exactly those.
    PartsAreWhole = "parts-are-whole",
    /// No message is handed to agents twice by one run, and no durable one by two.
    ExecutedOnce = "executed-once",
    /// A start finds everything that was synced, and never a damaged store.
    RecoversWhatWasSynced = "recovers-what-was-synced",
    /// A start that is cut off once it has read the disk leaves it so that the next one reads the same.
    RecoversTheSameTwice = "recovers-the-same-twice",
    /// No message id names two messages.
    IdsAreUnique = "ids-are-unique",
    /// Every frame fits its limit and decodes at the other end.
    FramesAreCanonical = "frames-are-canonical",
    /// A node of an older version of the wire is sent nothing that this has not.
    OlderUnderstand = "older-understand",
    /// A subscription is handed each publication once, and those of one publisher in the order of their numbers.
    PublicationsInOrder = "publications-in-order",
    /// What was published and is on its publisher's disk reaches every subscription that was there before.
    PublicationsReachAll = "publications-reach-all",
    /// No publisher gives a number twice in one topic, before a crash and after it.
    NumbersAreUnique = "numbers-are-unique",
    /// A call to a service succeeds as long as one provider that was there when it was asked stays there.
    ServiceGoesOn = "service-goes-on",
    /// A breaker opens after more than half of ten calls failed, lets one call through when its time has come, and closes after
    /// that has worked and not before.
    BreakersHold = "breakers-hold",
    /// An agent started from another node is on the chain of its own before that is told, lives there alone, answers while its
    /// node is there, and comes back with it as its next life.
    ElsewhereIsKept = "elsewhere-is-kept",
    /// What a node denies somebody of another one is told as denied, and is on both chains.
    DenialsAreOnBoth = "denials-are-on-both",
    /// A node vouches only for what its disk holds of the one history of a chain.
    WitnessesAreConsistent = "witnesses-are-consistent",
    /// No node writes a second history of its chain while a member that holds the first can be asked.
    NoForkToPrevent = "no-fork-to-prevent",
    /// At no instant do two nodes run an agent that outlives its node.
    OneNodeRunsIt = "one-node-runs-it",
    /// In a partial mesh everybody who runs knows of whoever has been gone for long that it is not there.
    DeathsAreKnown = "deaths-are-known",
    /// In a partial mesh a call to a node that is there is answered, whether or not the two are connected.
    CallsArrive = "calls-arrive",
    /// In a partial mesh links are kept to neighbours alone, once nothing passes, and they are fewer than all.
    NeighboursAlone = "neighbours-alone",
    /// All agree within the time that the scenario wants, once everything is whole.
    ConvergesInTime = "converges-in-time",
    /// No more frames were sent than the scenario wants.
    FewMessages = "messages-within-threshold",
    /// No more bytes were sent than the scenario wants.
    FewBytes = "bytes-within-threshold",
    /// As many answers come in time as the scenario wants.
    AnswersInTime = "answers-in-time",
    /// As many messages and calls succeed as the scenario wants.
    CallsSucceed = "calls-succeed",
    /// Of a member that signed two histories every other one comes to hold the proof.
    LiarIsConvicted = "liar-is-convicted",
    /// Nobody ever holds proof of two histories against whoever wrote one.
    NobodyIsConvicted = "nobody-is-convicted",
}

impl Check {
    /// Whether a scenario of these steps must have made it: some checks are of what not every scenario does.
    pub(crate) fn is_due(self, scenario: &Scenario, steps: &[Step]) -> bool {
        let has = |found: fn(&Transition) -> bool| steps.iter().any(|step| found(&step.transition));
        match self {
            Self::PublicationsInOrder | Self::PublicationsReachAll | Self::NumbersAreUnique => {
                scenario.weights.publish > 0
            }
            Self::ServiceGoesOn | Self::BreakersHold => has(|it| matches!(it, Transition::CallService { .. })),
            Self::OneNodeRunsIt => has(|it| matches!(it, Transition::Roam { .. })),
            Self::ElsewhereIsKept => has(|it| matches!(it, Transition::SpawnOn { .. })),
            Self::StableStays => !has(|it| matches!(it, Transition::RestoreHome { .. })),
            Self::ConvergesInTime => scenario.thresholds.convergence_us_max.is_some(),
            Self::FewMessages => scenario.thresholds.messages_max.is_some(),
            Self::FewBytes => scenario.thresholds.bytes_max.is_some(),
            Self::AnswersInTime => scenario.thresholds.answer_us_p99_max.is_some(),
            Self::CallsSucceed => scenario.thresholds.success_per_mille_min.is_some(),
            Self::EffectsHaveIntents => has(Transition::starts_or_stops),
            Self::ExecutedOnce | Self::IdsAreUnique => {
                has(|it| matches!(it, Transition::Send { .. } | Transition::Call { .. }))
            }
            Self::LiarIsConvicted => has(|it| matches!(it, Transition::Lie { how: Lie::Fork, .. })),
            Self::NobodyIsConvicted => scenario.liars > 0 || has(|it| matches!(it, Transition::RestoreHome { .. })),
            Self::NoForkToPrevent => has(|it| matches!(it, Transition::RestoreHome { .. })),
            Self::DeathsAreKnown | Self::CallsArrive | Self::NeighboursAlone => scenario.full_mesh_max.is_some(),
            Self::OlderUnderstand => scenario.older > 0,
            // A scenario may have no call that takes parts and is answered.
            Self::PartsAreWhole => false,
            Self::DenialsAreOnBoth => scenario.promises.iter().any(|name| name == Fault::DeniedElsewhere.name()),
            Self::AcknowledgedIsKept
            | Self::SpokenIsDurable
            | Self::StoredIsVerified
            | Self::OneHistory
            | Self::EqualRootsEqualBytes
            | Self::EqualRootsEqualTrees
            | Self::Converges
            | Self::OrderIsPure
            | Self::OrderIsCausal
            | Self::StampsIncrease
            | Self::IntentsHaveOneOutcome
            | Self::OneAnswer
            | Self::RecoversWhatWasSynced
            | Self::RecoversTheSameTwice
            | Self::WitnessesAreConsistent
            | Self::FramesAreCanonical => true,
        }
    }
}

/// How the checks of one run went.
#[derive(Debug, Default)]
pub(crate) struct CheckBook {
    counts: BTreeMap<Check, u64>,
    failed: BTreeMap<Check, u64>,
    failures: Vec<String>,
}

impl CheckBook {
    /// Notes that a check was made; `reason` is only asked for when it did not hold.
    pub(crate) fn check(&mut self, check: Check, holds: bool, reason: impl FnOnce() -> String) {
        *self.counts.entry(check).or_default() += 1;
        if !holds {
            *self.failed.entry(check).or_default() += 1;
            self.complain(format!("{}: {}", check.name(), reason()));
        }
    }

    /// Notes a reason why the run did not pass.
    pub(crate) fn complain(&mut self, reason: String) {
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(reason);
        }
    }

    /// Whether something did not hold.
    pub(crate) const fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The reasons so far.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Checks that were never made.
    pub(crate) fn never_made(&self) -> impl Iterator<Item = Check> {
        Check::ALL.iter().copied().filter(|check| !self.counts.contains_key(check))
    }

    /// All checks, for the report.
    pub(crate) fn report(&self) -> BTreeMap<&'static str, CheckReport> {
        let report = |check: &Check| {
            let count = self.counts.get(check).copied().unwrap_or_default();
            (check.name(), CheckReport { ok: !self.failed.contains_key(check), count })
        };
        Check::ALL.iter().map(report).collect()
    }
}
