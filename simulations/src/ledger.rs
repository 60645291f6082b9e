//! What a run cost and how far apart its nodes were when: for whoever reads the report, and for no check.

use std::collections::BTreeMap;

use serde::Serialize;
use weft_peer::Output;

use crate::network::Network;
use crate::thresholds::Measured;
use crate::transition::Transition;
use crate::world::World;

/// Most looks at a run that are kept: as many as a picture has columns. When there are more, every other one is let go, and those
/// that follow are as far apart.
const SAMPLES_MAX: usize = 512;
/// How far the first looks are apart, in virtual microseconds.
const SAMPLE_US: u64 = 250_000;
/// Most moments that are kept; a longer run has them only in its steps.
const MOMENTS_MAX: usize = 2_000;
/// Most latencies that are kept, in the order in which they came; what follows is counted alone.
const LATENCIES_MAX: usize = 100_000;

/// How long something took, each time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Latencies {
    /// How often.
    pub count: u64,
    /// Within which half of them were over, in virtual microseconds; zero when there were none.
    pub p50_us: u64,
    /// The same of 99 in 100.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// All of them that are kept, the shortest first.
    #[serde(skip)]
    pub sorted_us: Vec<u64>,
}

impl Latencies {
    fn add(&mut self, took_us: u64) {
        self.count += 1;
        if self.sorted_us.len() < LATENCIES_MAX {
            self.sorted_us.push(took_us);
        }
    }

    fn closed(mut self) -> Self {
        self.sorted_us.sort_unstable();
        let at = |percent| percentile(&self.sorted_us, percent).unwrap_or_default();
        let [p50_us, p99_us, max_us] = [50, 99, 100].map(at);
        Self { p50_us, p99_us, max_us, ..self }
    }
}

/// The least of these, which are sorted, that so many in a hundred do not exceed; none without any.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied()
}

/// One look at all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When, in virtual microseconds since the nodes that begin together had joined.
    pub at_us: u64,
    /// How many nodes ran.
    pub running: usize,
    /// How many different states of all chains they had: one when all agree.
    pub states: usize,
    /// Bytes that all nodes had sent until then.
    pub bytes: u64,
}

/// A fault, or the end of one, or a node that joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When, as in [`Sample`].
    pub at_us: u64,
    /// What, in words.
    pub what: String,
}

/// See the file's description.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ledger {
    /// Frames that nodes sent, lost ones, pings and handshakes among them: what `thresholds.messages_max` bounds.
    pub frames: u64,
    /// Their bytes, by the node that sent them: together what `thresholds.bytes_max` bounds.
    pub bytes_by_node: Vec<u64>,
    /// The same by what they were for.
    pub bytes_by_kind: BTreeMap<&'static str, u64>,
    /// Copies of gossip that reached nodes.
    pub gossip_heard: u64,
    /// Of them, those that the node had not had before: the rest was redundant.
    pub gossip_new: u64,
    /// From a publication until a subscriber had it.
    pub publications: Latencies,
    /// From a call or message until whoever asked had its answer, refusals among them.
    pub answers: Latencies,
    /// How long all took to agree once everything was whole, in virtual microseconds; null when they did not.
    pub convergence_us: Option<u64>,
    /// How many of a thousand messages and calls succeeded, of those whose node did not go down meanwhile; null without any.
    pub success_per_mille: Option<u64>,
    /// Looks, the first one first.
    pub samples: Vec<Sample>,
    /// Moments, the first one first.
    pub moments: Vec<Moment>,
    #[serde(skip)]
    begun_us: u64,
    #[serde(skip)]
    apart_us: u64,
    #[serde(skip)]
    next_us: u64,
}

impl Ledger {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        Self { apart_us: SAMPLE_US, next_us: u64::MAX, ..Self::default() }
    }

    /// The steps begin.
    pub(crate) fn begin(&mut self, now_us: u64) {
        (self.begun_us, self.next_us) = (now_us, now_us);
    }

    /// When the next look is due, in virtual microseconds.
    pub(crate) const fn next_look_us(&self) -> u64 {
        self.next_us
    }

    /// A frame leaves a node.
    pub(crate) fn sent(&mut self, kind: &'static str, bytes: usize) {
        *self.bytes_by_kind.entry(kind).or_default() += bytes as u64;
    }

    /// A copy of gossip reached a node.
    pub(crate) fn heard(&mut self, new: bool) {
        self.gossip_heard += 1;
        self.gossip_new += u64::from(new);
    }

    /// A subscriber has a publication.
    pub(crate) fn notified(&mut self, took_us: u64) {
        self.publications.add(took_us);
    }

    /// Something happens from outside.
    pub(crate) fn happened(&mut self, now_us: u64, transition: &Transition) {
        if transition.is_fault() && self.moments.len() < MOMENTS_MAX {
            let at_us = now_us.saturating_sub(self.begun_us);
            self.moments.push(Moment { at_us, what: transition.to_string() });
        }
    }

    fn sample(&mut self, now_us: u64, running: usize, states: usize, bytes: u64) {
        self.samples.push(Sample { at_us: now_us.saturating_sub(self.begun_us), running, states, bytes });
        // The one that was just made is let go, so the next is as far from the last as those are apart.
        self.next_us = now_us + self.apart_us;
        if self.samples.len() == SAMPLES_MAX {
            let mut keep = [true, false].into_iter().cycle();
            self.samples.retain(|_| keep.next().unwrap_or(true));
            self.apart_us *= 2;
        }
    }

    /// The same with all that can only be said at the end.
    pub(crate) fn closed(mut self, nodes: usize, network: &Network, measured: &Measured) -> Self {
        let counts = network.counts();
        let others = counts.bytes - self.bytes_by_kind.values().sum::<u64>();
        self.bytes_by_kind.insert("pings and handshakes", others);
        measured.answers_us().iter().for_each(|took_us| self.answers.add(*took_us));
        Self {
            frames: counts.sent,
            bytes_by_node: (0..nodes).map(|node| network.bytes_of(node)).collect(),
            publications: self.publications.closed(),
            answers: self.answers.closed(),
            convergence_us: measured.convergence_us,
            success_per_mille: measured.success_per_mille(),
            ..self
        }
    }
}

impl World {
    /// Enters how long it took until somebody had what a peer hands out.
    pub(crate) fn enter(&mut self, output: &Output) {
        if let Output::Notify { publication, .. } = output
            && let Some(at_us) = self.judge.topics.published_us(&publication.id)
        {
            self.ledger.notified(self.now_us.saturating_sub(at_us));
        }
    }

    /// Looks at all nodes when that is due.
    pub(crate) fn look(&mut self) {
        if self.now_us < self.ledger.next_look_us() {
            return;
        }
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        let mut states: Vec<_> = running.map(|running| running.peer.replication().vector_root()).collect();
        let running = states.len();
        states.sort_unstable();
        states.dedup();
        self.ledger.sample(self.now_us, running, states.len(), self.network.counts().bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_looked_at_less_and_less_often() {
        let mut ledger = Ledger::new();
        ledger.begin(5);
        let mut looks = 0;
        for now_us in (5..).step_by(50_000).take(20_000) {
            if now_us >= ledger.next_look_us() {
                ledger.sample(now_us, 2, 1, 0);
                looks += 1;
            }
        }
        assert!(looks > SAMPLES_MAX && ledger.samples.len() < SAMPLES_MAX, "{looks} {}", ledger.samples.len());
        let apart: Vec<u64> = ledger.samples.windows(2).map(|pair| pair[1].at_us - pair[0].at_us).collect();
        assert!(apart.iter().all(|it| *it == apart[0]), "{apart:?}");
        assert_eq!(ledger.samples[0].at_us, 0);
    }

    #[test]
    fn latencies_are_summed_up_in_order() {
        let mut latencies = Latencies::default();
        (1..=200).rev().for_each(|took_us| latencies.add(took_us));
        let closed = latencies.closed();
        assert_eq!((closed.count, closed.p50_us, closed.p99_us, closed.max_us), (200, 100, 198, 200));
        assert_eq!(Latencies::default().closed(), Latencies::default());
    }

    #[test]
    fn what_users_do_is_no_moment() {
        let mut ledger = Ledger::new();
        ledger.begin(10);
        ledger.happened(11, &Transition::Invite { node: 0 });
        ledger.happened(12, &Transition::Partition { side: vec![0] });
        assert_eq!(ledger.moments, [Moment { at_us: 2, what: "Partition { side: [0] }".to_owned() }]);
    }
}
