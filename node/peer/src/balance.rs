//! Which provider of a service is called: this node itself, else the less busy of two drawn at random.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;
use weft_protocol::{NodeId, Timestamp};

/// One node that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provider {
    pub(crate) node: NodeId,
    /// Whether it is this node.
    pub(crate) own: bool,
    /// Whether a connection to it is open.
    pub(crate) reachable: bool,
    /// What it says of its load, and our own calls that it has not answered.
    pub(crate) load: u64,
    /// When its breaker lets a call through; now or earlier means that it does.
    pub(crate) admits_at: Timestamp,
}

/// What came of choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Call this one.
    Take(NodeId),
    /// Nobody serves it that was not tried.
    Nobody,
    /// All who do failed too often; the first is tried again then.
    AllOpen { until: Timestamp },
}

/// Chooses among providers that were not tried. One that is not connected is taken only when none is.
pub(crate) fn choose(
    providers: &[Provider],
    tried: &BTreeSet<NodeId>,
    random: &mut ChaCha8Rng,
    now: Timestamp,
) -> Choice {
    let left = providers.iter().filter(|provider| !tried.contains(&provider.node)).collect::<Vec<_>>();
    let admitted = left.iter().copied().filter(|provider| provider.admits_at <= now).collect::<Vec<_>>();
    if admitted.is_empty() {
        let until = left.iter().map(|provider| provider.admits_at).min();
        return until.map_or(Choice::Nobody, |until| Choice::AllOpen { until });
    }
    if let Some(own) = admitted.iter().find(|provider| provider.own) {
        return Choice::Take(own.node);
    }
    let connected = admitted.iter().copied().filter(|provider| provider.reachable).collect::<Vec<_>>();
    let candidates = if connected.is_empty() { admitted } else { connected };
    let (first, second) = draw_two(candidates.len(), random);
    let (first, second) = (candidates[first], candidates[second]);
    Choice::Take(if second.load < first.load { second.node } else { first.node })
}

/// Two different places below `count`, or twice the only one.
fn draw_two(count: usize, random: &mut ChaCha8Rng) -> (usize, usize) {
    let mut below = |bound: usize| (random.next_u64() % bound as u64) as usize;
    let first = below(count);
    if count == 1 {
        return (first, first);
    }
    (first, (first + 1 + below(count - 1)) % count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn provider(byte: u8, load: u64) -> Provider {
        let node = NodeId::from_bytes([byte; 32]);
        Provider { node, own: false, reachable: true, load, admits_at: Timestamp(0) }
    }

    fn taken(providers: &[Provider], tried: &[NodeId]) -> BTreeMap<u8, usize> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let tried = tried.iter().copied().collect();
        let mut counts = BTreeMap::new();
        for _ in 0..3_000 {
            let Choice::Take(node) = choose(providers, &tried, &mut random, NOW) else { panic!("nobody") };
            *counts.entry(node.as_bytes()[0]).or_default() += 1;
        }
        counts
    }

    #[test]
    fn equals_share_the_calls_and_the_busiest_of_three_is_never_taken() {
        let equal = taken(&[provider(1, 0), provider(2, 0), provider(3, 0)], &[]);
        assert!(equal.values().all(|count| (900..1_100).contains(count)), "{equal:?}");
        let busy = taken(&[provider(1, 0), provider(2, 8), provider(3, 16)], &[]);
        assert!(!busy.contains_key(&3), "it loses each draw: {busy:?}");
        assert!((1_900..2_100).contains(&busy[&1]), "it wins both draws it is in: {busy:?}");
    }

    #[test]
    fn this_node_goes_first_and_whoever_is_not_connected_last() {
        let own = Provider { own: true, ..provider(1, 1_000) };
        assert_eq!(taken(&[own.clone(), provider(2, 0)], &[]), BTreeMap::from([(1, 3_000)]));
        assert_eq!(taken(&[own.clone(), provider(2, 0)], &[own.node]), BTreeMap::from([(2, 3_000)]));
        let gone = Provider { reachable: false, ..provider(3, 0) };
        assert_eq!(taken(&[gone.clone(), provider(2, 99)], &[]), BTreeMap::from([(2, 3_000)]));
        assert_eq!(taken(&[gone], &[]), BTreeMap::from([(3, 3_000)]));
    }

    #[test]
    fn whoever_is_left_alone_is_not_taken_and_when_all_are_it_is_said_until_when() {
        let open = |byte, until| Provider { admits_at: Timestamp(until), ..provider(byte, 0) };
        assert_eq!(taken(&[open(1, 2_000), provider(2, 99)], &[]), BTreeMap::from([(2, 3_000)]));
        assert_eq!(taken(&[open(1, 1_000)], &[]), BTreeMap::from([(1, 3_000)]), "its time has come");
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let all_open = choose(&[open(1, 3_000), open(2, 2_000)], &BTreeSet::new(), &mut random, NOW);
        assert_eq!(all_open, Choice::AllOpen { until: Timestamp(2_000) });
        assert_eq!(choose(&[], &BTreeSet::new(), &mut random, NOW), Choice::Nobody);
        let tried = BTreeSet::from([NodeId::from_bytes([1; 32])]);
        assert_eq!(choose(&[provider(1, 0)], &tried, &mut random, NOW), Choice::Nobody);
    }
}
