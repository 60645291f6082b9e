//! The links between nodes: latency, bandwidth, loss, duplication, reordering, corruption, partitions and cuts in one direction.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::{Dice, Stream};

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
    /// Bytes that a link carries in a second in each direction, when there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

impl Default for LinkSettings {
    /// A local network (guess).
    fn default() -> Self {
        Self { latency_us: [200, 2_000], loss_per_mille: 0, duplicate_per_mille: 0, bytes_per_s: None }
    }
}

/// The links between two groups of nodes of a scenario, in both directions, or within one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkClass {
    /// The two groups; the same one twice for the links within it.
    pub between: [String; 2],
    /// As in [`LinkSettings`].
    #[serde(default = "usual_latency_us")]
    pub latency_us: [u64; 2],
    /// As in [`LinkSettings`].
    #[serde(default)]
    pub loss_per_mille: u64,
    /// As in [`LinkSettings`].
    #[serde(default)]
    pub duplicate_per_mille: u64,
    /// As in [`LinkSettings`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

fn usual_latency_us() -> [u64; 2] {
    LinkSettings::default().latency_us
}

impl LinkClass {
    const fn settings(&self) -> LinkSettings {
        let Self { latency_us, loss_per_mille, duplicate_per_mille, bytes_per_s, .. } = *self;
        LinkSettings { latency_us, loss_per_mille, duplicate_per_mille, bytes_per_s }
    }
}

/// What the network did that a good one does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NetworkCounts {
    /// Frames that arrived at least once.
    pub(crate) carried: u64,
    /// Frames that were sent, whether or not they arrived.
    pub(crate) sent: u64,
    /// Bytes of frames that were sent, whether or not they arrived.
    pub(crate) bytes: u64,
    /// Frames lost by chance.
    pub(crate) lost: u64,
    /// Frames that arrived twice.
    pub(crate) duplicated: u64,
    /// Frames that overtook an earlier one on the same link.
    pub(crate) reordered: u64,
    /// Frames that were held back and that a later one overtook.
    pub(crate) held_back: u64,
    /// Frames that a delay spike held up.
    pub(crate) delayed: u64,
    /// Frames that waited for those before them on a slow link.
    pub(crate) queued: u64,
    /// Frames stopped between the sides of a partition.
    pub(crate) partitioned: u64,
    /// Frames stopped between the sides of a partition that comes and goes.
    pub(crate) flapped: u64,
    /// Frames stopped by a cut in one direction.
    pub(crate) cut: u64,
}

/// A partition that comes and goes.
#[derive(Debug, Clone)]
struct Flapping {
    side: BTreeSet<usize>,
    since_us: u64,
    apart_us: u64,
    together_us: u64,
}

impl Flapping {
    const fn is_apart(&self, now_us: u64) -> bool {
        let round_us = self.apart_us + self.together_us;
        round_us > 0 && now_us.saturating_sub(self.since_us) % round_us < self.apart_us
    }
}

/// All links. Nodes are numbers.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    usual: LinkSettings,
    now: LinkSettings,
    /// What differs from `now`, by link; of its rates the greater one holds.
    classes: BTreeMap<(usize, usize), LinkSettings>,
    /// Whether everything was mended: nothing is lost or doubled any more.
    calm: bool,
    spike_us: u64,
    /// How many frames in a thousand are held back, and by how much.
    holding: (u64, u64),
    /// How many answers and gossips in a thousand lose a bit.
    corrupt_per_mille: u64,
    /// Nodes all of whose links carry so many bytes in a second.
    slow: BTreeMap<usize, u64>,
    /// Nodes on the one side; empty when there is no partition.
    side: BTreeSet<usize>,
    flapping: Option<Flapping>,
    cuts: BTreeSet<(usize, usize)>,
    /// By link, when its latest frame so far arrives.
    latest_us: BTreeMap<(usize, usize), u64>,
    /// By link, when the frame that is held back arrives.
    held_us: BTreeMap<(usize, usize), u64>,
    /// By link, when a slow one has sent all it was given.
    busy_us: BTreeMap<(usize, usize), u64>,
    counts: NetworkCounts,
    bytes_by_node: BTreeMap<usize, u64>,
    /// For what is not drawn on every link all the time.
    rare: Dice,
}

impl Network {
    /// A whole network with these links.
    pub(crate) fn new(usual: LinkSettings, seed: u64) -> Self {
        Self {
            usual,
            now: usual,
            classes: BTreeMap::new(),
            calm: false,
            spike_us: 0,
            holding: (0, 0),
            corrupt_per_mille: 0,
            slow: BTreeMap::new(),
            side: BTreeSet::new(),
            flapping: None,
            cuts: BTreeSet::new(),
            latest_us: BTreeMap::new(),
            held_us: BTreeMap::new(),
            busy_us: BTreeMap::new(),
            counts: NetworkCounts::default(),
            bytes_by_node: BTreeMap::new(),
            rare: Dice::new(seed, Stream::Rare),
        }
    }

    /// The same with links of their own between groups; the later class counts where two name a link.
    pub(crate) fn with_classes(mut self, classes: &[LinkClass], groups: &BTreeMap<String, Vec<usize>>) -> Self {
        for class in classes {
            let [ones, others] = class.between.each_ref().map(|name| groups.get(name).map(Vec::as_slice));
            for one in ones.unwrap_or_default() {
                for other in others.unwrap_or_default() {
                    self.classes.insert((*one, *other), class.settings());
                    self.classes.insert((*other, *one), class.settings());
                }
            }
        }
        self
    }

    /// What this network did so far.
    pub(crate) const fn counts(&self) -> NetworkCounts {
        self.counts
    }

    /// Bytes that this node sent so far.
    pub(crate) fn bytes_of(&self, node: usize) -> u64 {
        self.bytes_by_node.get(&node).copied().unwrap_or_default()
    }

    /// How a link behaves now.
    fn link(&self, from: usize, to: usize) -> LinkSettings {
        let Some(class) = self.classes.get(&(from, to)) else { return self.now };
        let of_class = |rate: u64| if self.calm { 0 } else { rate };
        LinkSettings {
            latency_us: class.latency_us,
            loss_per_mille: self.now.loss_per_mille.max(of_class(class.loss_per_mille)),
            duplicate_per_mille: self.now.duplicate_per_mille.max(of_class(class.duplicate_per_mille)),
            bytes_per_s: class.bytes_per_s.or(self.now.bytes_per_s),
        }
    }

    /// Least and most time from one node to another, in microseconds.
    pub(crate) fn latency_us(&self, from: usize, to: usize) -> [u64; 2] {
        self.link(from, to).latency_us
    }

    /// When the copies of a frame of so many bytes sent now arrive, in virtual microseconds: none when it is lost, two when it
    /// is doubled.
    pub(crate) fn carry(&mut self, from: usize, to: usize, now_us: u64, bytes: usize, dice: &mut Dice) -> Vec<u64> {
        self.counts.sent += 1;
        self.counts.bytes += bytes as u64;
        *self.bytes_by_node.entry(from).or_default() += bytes as u64;
        if self.is_partitioned(from, to) {
            self.counts.partitioned += 1;
            return Vec::new();
        }
        let flapping = self.flapping.as_ref().filter(|flapping| flapping.is_apart(now_us));
        if flapping.is_some_and(|flapping| flapping.side.contains(&from) != flapping.side.contains(&to)) {
            self.counts.flapped += 1;
            return Vec::new();
        }
        if self.cuts.contains(&(from, to)) {
            self.counts.cut += 1;
            return Vec::new();
        }
        let link = self.link(from, to);
        if dice.chance(link.loss_per_mille) {
            self.counts.lost += 1;
            return Vec::new();
        }
        self.counts.carried += 1;
        let mut arrivals = vec![self.arrival(from, to, now_us, bytes, dice)];
        if dice.chance(link.duplicate_per_mille) {
            self.counts.duplicated += 1;
            arrivals.push(self.arrival(from, to, now_us, bytes, dice));
        }
        arrivals
    }

    fn arrival(&mut self, from: usize, to: usize, now_us: u64, bytes: usize, dice: &mut Dice) -> u64 {
        let mut latency_us = dice.between(self.latency_us(from, to));
        if self.spike_us > 0 {
            self.counts.delayed += 1;
            latency_us += dice.below(self.spike_us);
        }
        latency_us += self.queue(from, to, now_us, bytes);
        let mut arrives_us = now_us + latency_us;
        let held_us = self.held_us.get(&(from, to)).copied();
        if held_us.is_some_and(|held_us| arrives_us < held_us) {
            self.counts.held_back += 1;
            self.held_us.remove(&(from, to));
        }
        let (per_mille, by_us) = self.holding;
        if per_mille > 0 && self.rare.chance(per_mille) {
            arrives_us += by_us;
            self.held_us.insert((from, to), arrives_us);
        }
        let latest_us = self.latest_us.entry((from, to)).or_default();
        if arrives_us < *latest_us {
            self.counts.reordered += 1;
        }
        *latest_us = arrives_us.max(*latest_us);
        arrives_us
    }

    /// How long a frame waits for those before it and then takes itself, in microseconds.
    fn queue(&mut self, from: usize, to: usize, now_us: u64, bytes: usize) -> u64 {
        let limits = [self.link(from, to).bytes_per_s, self.slow.get(&from).copied(), self.slow.get(&to).copied()];
        let Some(bytes_per_s) = limits.into_iter().flatten().min() else { return 0 };
        let busy_us = self.busy_us.entry((from, to)).or_default();
        if *busy_us > now_us {
            self.counts.queued += 1;
        }
        let begins_us = now_us.max(*busy_us);
        *busy_us = begins_us + (bytes as u64).saturating_mul(1_000_000) / bytes_per_s.max(1);
        *busy_us - now_us
    }

    /// Whether anything is corrupted now.
    pub(crate) const fn may_corrupt(&self) -> bool {
        self.corrupt_per_mille > 0
    }

    /// A place and a bit to flip in what is carried now, when it is to be corrupted.
    pub(crate) fn corrupts(&mut self, bytes: usize) -> Option<(usize, u8)> {
        if self.corrupt_per_mille == 0 || bytes == 0 || !self.rare.chance(self.corrupt_per_mille) {
            return None;
        }
        let place = self.rare.index(bytes);
        Some((place, 1 << self.rare.below(8)))
    }

    fn is_partitioned(&self, from: usize, to: usize) -> bool {
        self.side.contains(&from) != self.side.contains(&to)
    }

    /// Separates these nodes from all others.
    pub(crate) fn partition(&mut self, side: impl IntoIterator<Item = usize>) {
        self.side = side.into_iter().collect();
    }

    /// Separates these nodes from all others for the one time and joins them for the other, again and again.
    pub(crate) fn flap(&mut self, side: Vec<usize>, since_us: u64, apart_us: u64, together_us: u64) {
        self.flapping = Some(Flapping { side: side.into_iter().collect(), since_us, apart_us, together_us });
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

    /// Holds so many frames in a thousand back, by this much.
    pub(crate) const fn set_holding(&mut self, per_mille: u64, by_us: u64) {
        self.holding = (per_mille, by_us);
    }

    /// Lets so many answers and gossips in a thousand lose a bit.
    pub(crate) const fn set_corruption(&mut self, per_mille: u64) {
        self.corrupt_per_mille = per_mille;
    }

    /// Lets the links of a node carry so many bytes in a second.
    pub(crate) fn set_slow(&mut self, node: usize, bytes_per_s: u64) {
        self.slow.insert(node, bytes_per_s);
    }

    /// Undoes what was done to the links; they behave as usual again.
    pub(crate) fn heal(&mut self) {
        self.side.clear();
        self.flapping = None;
        self.cuts.clear();
        self.spike_us = 0;
        self.holding = (0, 0);
        self.corrupt_per_mille = 0;
        self.slow.clear();
        self.now = self.usual;
    }

    /// Like [`Network::heal`], and nothing is lost or doubled any more either.
    pub(crate) fn calm(&mut self) {
        self.heal();
        self.calm = true;
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
        (Network::new(settings, 3), Dice::new(3, Stream::Network))
    }

    #[test]
    fn a_frame_arrives_once_within_the_latency() {
        let (mut network, mut dice) = network();
        for now_us in 0..200 {
            let arrivals = network.carry(0, 1, now_us, 100, &mut dice);
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
        assert!(network.carry(0, 2, 0, 100, &mut dice).is_empty());
        assert!(network.carry(2, 0, 0, 100, &mut dice).is_empty());
        assert_eq!(network.carry(0, 1, 0, 100, &mut dice).len(), 1);
        assert_eq!(network.counts().partitioned, 2);
        network.heal();
        assert_eq!(network.carry(0, 2, 0, 100, &mut dice).len(), 1);
    }

    #[test]
    fn a_one_way_cut_stops_one_direction() {
        let (mut network, mut dice) = network();
        network.cut(0, 1);
        assert!(network.carry(0, 1, 0, 100, &mut dice).is_empty());
        assert_eq!(network.carry(1, 0, 0, 100, &mut dice).len(), 1);
        assert_eq!(network.counts().cut, 1);
    }

    #[test]
    fn loss_duplication_and_spikes_happen_and_are_counted() {
        let (mut network, mut dice) = network();
        network.set_loss(300);
        network.set_duplication(300);
        network.set_spike(10_000);
        let arrived: usize = (0..1_000).map(|now_us| network.carry(0, 1, now_us, 100, &mut dice).len()).sum();
        let counts = network.counts();
        assert_eq!(arrived as u64, counts.carried + counts.duplicated);
        assert!((200..400).contains(&counts.lost), "{counts:?}");
        assert!((140..280).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(counts.delayed, arrived as u64);
        network.calm();
        assert_eq!((0..1_000).map(|now_us| network.carry(0, 1, now_us, 100, &mut dice).len()).sum::<usize>(), 1_000);
    }

    #[test]
    fn a_flapping_partition_stops_frames_while_it_is_there() {
        let (mut network, mut dice) = network();
        network.flap(vec![1], 1_000, 300, 700);
        let arrived = |now_us, network: &mut Network, dice: &mut Dice| network.carry(0, 1, now_us, 1, dice).len();
        let seen = [1_000, 1_299, 1_300, 1_999, 2_000, 2_300].map(|now_us| arrived(now_us, &mut network, &mut dice));
        assert_eq!(seen, [0, 0, 1, 1, 0, 1]);
        assert_eq!(network.counts().flapped, 3);
        network.heal();
        assert_eq!(arrived(3_000, &mut network, &mut dice), 1);
    }

    #[test]
    fn frames_queue_on_a_slow_link() {
        let (mut network, mut dice) = network();
        network.set_slow(1, 1_000);
        let first = network.carry(0, 1, 0, 500, &mut dice)[0];
        let second = network.carry(0, 1, 0, 500, &mut dice)[0];
        assert!((500_100..=500_900).contains(&first), "{first}");
        assert!((1_000_100..=1_000_900).contains(&second), "{second}");
        assert!(network.carry(0, 2, 0, 500, &mut dice)[0] < 1_000, "another link is not");
        assert_eq!(network.counts().queued, 1);
        assert_eq!(network.counts().bytes, 1_500);
    }

    #[test]
    fn a_frame_that_is_held_back_is_overtaken() {
        let (mut network, mut dice) = network();
        network.set_holding(1_000, 50_000);
        let held = network.carry(0, 1, 0, 1, &mut dice)[0];
        network.set_holding(0, 0);
        let next = network.carry(0, 1, 1, 1, &mut dice)[0];
        assert!(next < held);
        assert_eq!(network.counts().held_back, 1);
    }

    #[test]
    fn links_between_groups_are_their_own() {
        let far = LinkClass {
            between: ["near".to_owned(), "far".to_owned()],
            latency_us: [50_000, 60_000],
            loss_per_mille: 1_000,
            duplicate_per_mille: 0,
            bytes_per_s: None,
        };
        let groups = BTreeMap::from([("near".to_owned(), vec![0, 1]), ("far".to_owned(), vec![2])]);
        let (network, mut dice) = network();
        let mut network = network.with_classes(&[far], &groups);
        assert_eq!(network.carry(0, 1, 0, 1, &mut dice).len(), 1);
        assert!(network.carry(0, 2, 0, 1, &mut dice).is_empty() && network.carry(2, 1, 0, 1, &mut dice).is_empty());
        network.calm();
        assert!(network.carry(0, 2, 0, 1, &mut dice)[0] >= 50_000, "the distance stays");
    }
}
