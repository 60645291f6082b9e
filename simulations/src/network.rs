//! The links between nodes: latency, loss, duplication, reordering, partitions and cuts in one direction.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;

/// How links behave, as a scenario sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSettings {
    /// Least and most time from one node to another, in microseconds. Each frame draws its own, so frames overtake.
    pub latency_us: [u64; 2],
    /// Frames that get lost, in a thousand.
    pub loss_per_mille: u64,
    /// Frames that arrive twice, in a thousand.
    pub duplicate_per_mille: u64,
}

impl Default for LinkSettings {
    /// A local network (guess).
    fn default() -> Self {
        Self { latency_us: [200, 2_000], loss_per_mille: 0, duplicate_per_mille: 0 }
    }
}

/// What the network did that a good one does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NetworkCounts {
    /// Frames that arrived at least once.
    pub(crate) carried: u64,
    /// Frames lost by chance.
    pub(crate) lost: u64,
    /// Frames that arrived twice.
    pub(crate) duplicated: u64,
    /// Frames that overtook an earlier one on the same link.
    pub(crate) reordered: u64,
    /// Frames that a delay spike held up.
    pub(crate) delayed: u64,
    /// Frames stopped between the sides of a partition.
    pub(crate) partitioned: u64,
    /// Frames stopped by a cut in one direction.
    pub(crate) cut: u64,
}

/// All links. Nodes are numbers.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    usual: LinkSettings,
    now: LinkSettings,
    spike_us: u64,
    /// Nodes on the one side; empty when there is no partition.
    side: BTreeSet<usize>,
    cuts: BTreeSet<(usize, usize)>,
    /// By link, when its latest frame so far arrives.
    latest_us: BTreeMap<(usize, usize), u64>,
    counts: NetworkCounts,
}

impl Network {
    /// A whole network with these links.
    pub(crate) const fn new(usual: LinkSettings) -> Self {
        Self {
            usual,
            now: usual,
            spike_us: 0,
            side: BTreeSet::new(),
            cuts: BTreeSet::new(),
            latest_us: BTreeMap::new(),
            counts: NetworkCounts {
                carried: 0,
                lost: 0,
                duplicated: 0,
                reordered: 0,
                delayed: 0,
                partitioned: 0,
                cut: 0,
            },
        }
    }

    /// What this network did so far.
    pub(crate) const fn counts(&self) -> NetworkCounts {
        self.counts
    }

    /// When the copies of a frame sent now arrive, in virtual microseconds: none when it is lost, two when it is doubled.
    pub(crate) fn carry(&mut self, from: usize, to: usize, now_us: u64, dice: &mut Dice) -> Vec<u64> {
        if self.is_partitioned(from, to) {
            self.counts.partitioned += 1;
            return Vec::new();
        }
        if self.cuts.contains(&(from, to)) {
            self.counts.cut += 1;
            return Vec::new();
        }
        if dice.chance(self.now.loss_per_mille) {
            self.counts.lost += 1;
            return Vec::new();
        }
        self.counts.carried += 1;
        let mut arrivals = vec![self.arrival(from, to, now_us, dice)];
        if dice.chance(self.now.duplicate_per_mille) {
            self.counts.duplicated += 1;
            arrivals.push(self.arrival(from, to, now_us, dice));
        }
        arrivals
    }

    fn arrival(&mut self, from: usize, to: usize, now_us: u64, dice: &mut Dice) -> u64 {
        let mut latency_us = dice.between(self.now.latency_us);
        if self.spike_us > 0 {
            self.counts.delayed += 1;
            latency_us += dice.below(self.spike_us);
        }
        let arrives_us = now_us + latency_us;
        let latest_us = self.latest_us.entry((from, to)).or_default();
        if arrives_us < *latest_us {
            self.counts.reordered += 1;
        }
        *latest_us = arrives_us.max(*latest_us);
        arrives_us
    }

    fn is_partitioned(&self, from: usize, to: usize) -> bool {
        self.side.contains(&from) != self.side.contains(&to)
    }

    /// Separates these nodes from all others.
    pub(crate) fn partition(&mut self, side: impl IntoIterator<Item = usize>) {
        self.side = side.into_iter().collect();
    }

    /// Stops frames from one node to another, and not those back.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Sets how many frames in a thousand get lost.
    pub(crate) const fn set_loss(&mut self, per_mille: u64) {
        self.now.loss_per_mille = per_mille;
    }

    /// Sets how many frames in a thousand arrive twice.
    pub(crate) const fn set_duplication(&mut self, per_mille: u64) {
        self.now.duplicate_per_mille = per_mille;
    }

    /// Holds every frame up by as much as this.
    pub(crate) const fn set_spike(&mut self, up_to_us: u64) {
        self.spike_us = up_to_us;
    }

    /// Undoes partitions, cuts and spikes; links behave as usual again.
    pub(crate) fn heal(&mut self) {
        self.side.clear();
        self.cuts.clear();
        self.spike_us = 0;
        self.now = self.usual;
    }

    /// Like [`Network::heal`], and nothing is lost or doubled any more either.
    pub(crate) fn calm(&mut self) {
        self.heal();
        self.set_loss(0);
        self.set_duplication(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream;

    const LATENCY_US: [u64; 2] = [100, 900];

    fn network() -> (Network, Dice) {
        let settings = LinkSettings { latency_us: LATENCY_US, ..LinkSettings::default() };
        (Network::new(settings), Dice::new(3, Stream::Network))
    }

    #[test]
    fn a_frame_arrives_once_within_the_latency() {
        let (mut network, mut dice) = network();
        for now_us in 0..200 {
            let arrivals = network.carry(0, 1, now_us, &mut dice);
            assert_eq!(arrivals.len(), 1);
            assert!((now_us + 100..=now_us + 900).contains(&arrivals[0]));
        }
        assert_eq!(network.counts().carried, 200);
        assert!(network.counts().reordered > 0);
    }

    #[test]
    fn a_partition_stops_both_directions_between_its_sides_only() {
        let (mut network, mut dice) = network();
        network.partition([0, 1]);
        assert!(network.carry(0, 2, 0, &mut dice).is_empty());
        assert!(network.carry(2, 0, 0, &mut dice).is_empty());
        assert_eq!(network.carry(0, 1, 0, &mut dice).len(), 1);
        assert_eq!(network.counts().partitioned, 2);
        network.heal();
        assert_eq!(network.carry(0, 2, 0, &mut dice).len(), 1);
    }

    #[test]
    fn a_one_way_cut_stops_one_direction() {
        let (mut network, mut dice) = network();
        network.cut(0, 1);
        assert!(network.carry(0, 1, 0, &mut dice).is_empty());
        assert_eq!(network.carry(1, 0, 0, &mut dice).len(), 1);
        assert_eq!(network.counts().cut, 1);
    }

    #[test]
    fn loss_duplication_and_spikes_happen_and_are_counted() {
        let (mut network, mut dice) = network();
        network.set_loss(300);
        network.set_duplication(300);
        network.set_spike(10_000);
        let arrived: usize = (0..1_000).map(|now_us| network.carry(0, 1, now_us, &mut dice).len()).sum();
        let counts = network.counts();
        assert_eq!(arrived as u64, counts.carried + counts.duplicated);
        assert!((200..400).contains(&counts.lost), "{counts:?}");
        assert!((140..280).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(counts.delayed, arrived as u64);
        network.calm();
        assert_eq!((0..1_000).map(|now_us| network.carry(0, 1, now_us, &mut dice).len()).sum::<usize>(), 1_000);
    }
}
