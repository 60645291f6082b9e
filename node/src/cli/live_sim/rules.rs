//! Who may reach whom, how late, and what is lost: decided without a socket or a clock, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fault::{Counts, FaultRow, ONE_PPM, written};
use super::name::{Party, SimNode};

/// What is to be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freight {
    /// It may be lost.
    Datagram,
    /// A piece of a TCP connection, or a new one: it waits, or comes later.
    Stream,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried, after this time.
    Carry(Duration),
    /// A datagram is gone.
    Lost,
    /// There is no way: a datagram is gone, a stream waits.
    Cut,
}

/// How much later a piece of a stream comes that was lost on its way: the least time after which TCP sends it again on Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Partition {
    groups: Vec<BTreeSet<SimNode>>,
    counts: Counts,
}

impl Partition {
    fn cuts(&self, one: SimNode, other: SimNode) -> bool {
        let group = |node: SimNode| self.groups.iter().position(|group| group.contains(&node));
        match (group(one), group(other)) {
            (Some(one), Some(other)) => one != other,
            // Of one group alone the others are the second.
            (Some(_), None) | (None, Some(_)) => self.groups.len() == 1,
            (None, None) => false,
        }
    }

    fn row(&self) -> FaultRow {
        let what = "nothing passes between the groups";
        row("partition", written(&self.groups), what.to_owned(), self.counts)
    }
}

#[derive(Debug)]
struct Slow {
    delay_ms: u64,
    loss_ppm: u32,
    counts: Counts,
}

impl Slow {
    fn row(&self, node: SimNode) -> FaultRow {
        let percent = f64::from(self.loss_ppm) / 10_000.0;
        let what = format!("each way {} ms later, {percent}% lost", self.delay_ms);
        row("slow", node.to_string(), what, self.counts)
    }
}

fn row(fault: &str, nodes: String, what: String, counts: Counts) -> FaultRow {
    FaultRow { fault: fault.to_owned(), nodes, what, counts: Some(counts) }
}

/// All partitions and delays in force.
#[derive(Debug)]
pub(crate) struct Rules {
    partitions: Vec<Partition>,
    slow: BTreeMap<SimNode, Slow>,
    /// State of the generator that decides what is lost.
    dice: u64,
}

impl Rules {
    /// None yet.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { partitions: Vec::new(), slow: BTreeMap::new(), dice: seed }
    }

    /// Nodes of different groups do not reach each other from now on, nor what earlier partitions keep apart.
    pub(crate) fn part(&mut self, groups: Vec<BTreeSet<SimNode>>) {
        self.partitions.push(Partition { groups, counts: Counts::default() });
    }

    /// Everything to and from this node comes later from now on; what was said of it before ends.
    pub(crate) fn slow(&mut self, node: SimNode, delay_ms: u64, loss_ppm: u32) -> Option<FaultRow> {
        let before = self.slow.insert(node, Slow { delay_ms, loss_ppm, counts: Counts::default() });
        before.map(|before| before.row(node))
    }

    /// Ends everything; what ended.
    pub(crate) fn heal(&mut self) -> Vec<FaultRow> {
        let ended = self.rows();
        self.partitions.clear();
        self.slow.clear();
        ended
    }

    /// What is in force, with its counts.
    pub(crate) fn rows(&self) -> Vec<FaultRow> {
        let slow = self.slow.iter().map(|(node, slow)| slow.row(*node));
        self.partitions.iter().map(Partition::row).chain(slow).collect()
    }

    /// Whether nothing passes between these two; counts nothing.
    pub(crate) fn is_cut(&self, from: Party, to: Party) -> bool {
        let (Party::Node(from), Party::Node(to)) = (from, to) else { return false };
        self.partitions.iter().any(|partition| partition.cuts(from, to))
    }

    /// What becomes of something on its way; counted in each fault that strikes it.
    pub(crate) fn judge(&mut self, from: Party, to: Party, freight: Freight) -> Verdict {
        let (Party::Node(from), Party::Node(to)) = (from, to) else { return Verdict::Carry(Duration::ZERO) };
        if let Some(partition) = self.partitions.iter_mut().find(|partition| partition.cuts(from, to)) {
            match freight {
                Freight::Datagram => partition.counts.dropped += 1,
                Freight::Stream => partition.counts.held += 1,
            }
            return Verdict::Cut;
        }
        let mut delay = Duration::ZERO;
        // As a rule nobody is slow, and each datagram is asked about.
        if self.slow.is_empty() {
            return Verdict::Carry(delay);
        }
        for node in BTreeSet::from([from, to]) {
            let draw = self.draw_ppm();
            let Some(slow) = self.slow.get_mut(&node) else { continue };
            match (draw < slow.loss_ppm, freight) {
                (true, Freight::Datagram) => {
                    slow.counts.dropped += 1;
                    return Verdict::Lost;
                }
                (true, Freight::Stream) => delay += RETRANSMISSION,
                (false, Freight::Datagram | Freight::Stream) => {}
            }
            delay += Duration::from_millis(slow.delay_ms);
            slow.counts.delayed += u64::from(!delay.is_zero());
        }
        Verdict::Carry(delay)
    }

    /// Below a million, evenly: `SplitMix64`.
    fn draw_ppm(&mut self) -> u32 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(ONE_PPM)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::groups;
    use super::*;

    const NOW: Verdict = Verdict::Carry(Duration::ZERO);

    fn party(name: &str) -> Party {
        Party::Node(name.parse().expect("a node"))
    }

    fn parted(text: &str) -> Rules {
        let mut rules = Rules::new(1);
        rules.part(groups(&[text.to_owned()]).expect("groups"));
        rules
    }

    #[test]
    fn groups_do_not_reach_each_other_and_whoever_is_in_none_reaches_all() {
        let mut rules = parted("n1,n2 / n3");
        for (from, to, verdict) in [
            ("n1", "n3", Verdict::Cut),
            ("n3", "n2", Verdict::Cut),
            ("n1", "n2", NOW),
            ("n4", "n1", NOW),
            ("n3", "n4", NOW),
            ("n4", "n5", NOW),
        ] {
            assert_eq!(rules.judge(party(from), party(to), Freight::Datagram), verdict, "{from} to {to}");
            assert_eq!(rules.is_cut(party(from), party(to)), verdict == Verdict::Cut, "{from} to {to}");
        }
        assert_eq!(rules.judge(Party::Outside, party("n3"), Freight::Datagram), NOW);
        assert_eq!(rules.judge(party("n1"), party("n3"), Freight::Stream), Verdict::Cut);
        assert_eq!(rules.rows()[0].counts, Some(Counts { dropped: 2, held: 1, delayed: 0 }));
        assert_eq!(rules.heal().len(), 1);
        assert_eq!((rules.rows(), rules.judge(party("n1"), party("n3"), Freight::Datagram)), (Vec::new(), NOW));
    }

    #[test]
    fn one_group_alone_is_cut_off_from_all_others() {
        let mut rules = parted("n1,n2");
        assert_eq!(rules.judge(party("n1"), party("n2"), Freight::Datagram), NOW);
        assert_eq!(rules.judge(party("n3"), party("n4"), Freight::Datagram), NOW);
        assert_eq!(rules.judge(party("n3"), party("n1"), Freight::Datagram), Verdict::Cut);
        assert_eq!(rules.judge(party("n2"), party("n4"), Freight::Datagram), Verdict::Cut);
    }

    #[test]
    fn partitions_add_up() {
        let mut rules = parted("n1 / n2");
        rules.part(groups(&["n1 / n3".to_owned()]).expect("groups"));
        assert!(rules.is_cut(party("n1"), party("n2")) && rules.is_cut(party("n1"), party("n3")));
        assert!(!rules.is_cut(party("n2"), party("n3")));
    }

    #[test]
    fn what_is_slow_is_slow_both_ways_and_twice_between_two() {
        let mut rules = Rules::new(1);
        assert_eq!(rules.slow("n2".parse().expect("a node"), 200, 0), None);
        let after = |ms| Verdict::Carry(Duration::from_millis(ms));
        assert_eq!(rules.judge(party("n1"), party("n2"), Freight::Datagram), after(200));
        assert_eq!(rules.judge(party("n2"), party("n1"), Freight::Stream), after(200));
        assert_eq!(rules.judge(party("n1"), party("n3"), Freight::Datagram), NOW);
        rules.slow("n3".parse().expect("a node"), 50, 0);
        assert_eq!(rules.judge(party("n3"), party("n2"), Freight::Datagram), after(250));
        let counts: Vec<_> = rules.rows().into_iter().map(|row| (row.nodes, row.counts.map(|it| it.delayed))).collect();
        assert_eq!(counts, [("n2".to_owned(), Some(3)), ("n3".to_owned(), Some(1))]);
        let before = rules.slow("n2".parse().expect("a node"), 1, 0).and_then(|row| row.counts);
        assert_eq!(before.map(|counts| counts.delayed), Some(3));
    }

    #[test]
    fn about_as_much_is_lost_as_was_said_and_streams_lose_nothing() {
        let mut rules = Rules::new(7);
        rules.slow("n2".parse().expect("a node"), 0, 50_000);
        let lost =
            (0..10_000).filter(|_| rules.judge(party("n1"), party("n2"), Freight::Datagram) == Verdict::Lost).count();
        assert!((400..600).contains(&lost), "{lost} of 10,000 at 5%");
        assert_eq!(rules.rows()[0].counts.map(|counts| counts.dropped), Some(lost as u64));
        let mut later = 0;
        for _ in 0..10_000 {
            match rules.judge(party("n2"), party("n1"), Freight::Stream) {
                Verdict::Carry(delay) => later += u32::from(delay == RETRANSMISSION),
                Verdict::Lost | Verdict::Cut => panic!("a piece of a stream is gone"),
            }
        }
        assert!((400..600).contains(&later), "{later} of 10,000 at 5%");
    }
}
