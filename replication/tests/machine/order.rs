//! The order is a pure function of what is held, and extends every chain and all causality.

use proptest::prelude::*;
use weft_protocol::{ChainId, Hlc, HybridClock, Incarnation, NodeId, StampVerdict, Timestamp};
use weft_replication::{OrderKey, merge, order};

/// An event of a made-up history: its place in the order, and an event that led to it.
#[derive(Debug, Clone)]
struct Happened {
    key: OrderKey,
    cause: Option<OrderKey>,
}

/// What happens next: at which node, after how long, and whether an event of another node led to it.
type Step = (usize, u64, Option<prop::sample::Index>);

const NODES: usize = 4;
/// How far each node's wall clock is ahead, in microseconds: within and beyond what moves another clock.
const AHEAD_US: [u64; NODES] = [0, 30_000, 400_000, 20_000_000];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cause = prop::option::of(any::<prop::sample::Index>());
    prop::collection::vec((0..NODES, 0_u64..50_000, cause), 1..120)
}

/// Four nodes with clocks that disagree write events; a cause counts only where its stamp moved the writer's clock, because
/// what waits for its time is not acted upon.
fn history(steps: Vec<Step>) -> Vec<Happened> {
    let mut clocks: Vec<HybridClock> = (0..NODES).map(|_| HybridClock::restored(Hlc(0))).collect();
    let mut lengths = [0; NODES];
    let mut virtual_us = 1_767_225_600_000_000;
    let mut events: Vec<Happened> = Vec::new();
    for (node, passed_us, cause) in steps {
        virtual_us += passed_us;
        let wall = Timestamp(virtual_us + AHEAD_US[node]);
        let cause = cause.filter(|_| !events.is_empty()).map(|index| index.get(&events).key);
        let cause = cause.filter(|cause| clocks[node].observe(cause.hlc, wall) == StampVerdict::Merged);
        let chain = ChainId { node: NodeId::from_bytes([node as u8; 32]), incarnation: Incarnation(1) };
        let key = OrderKey::new(chain, lengths[node], clocks[node].tick(wall));
        lengths[node] += 1;
        events.push(Happened { key, cause });
    }
    events
}

fn keys(events: &[Happened]) -> Vec<OrderKey> {
    events.iter().map(|event| event.key).collect()
}

proptest! {
    #[test]
    fn arrival_does_not_change_the_order(
        (arrived, shuffled) in steps().prop_map(history).prop_flat_map(|events| {
            let arrived = keys(&events);
            (Just(arrived.clone()), Just(arrived).prop_shuffle())
        }),
        repeated in any::<prop::sample::Index>(),
    ) {
        let twice = [shuffled.clone(), vec![shuffled[repeated.index(shuffled.len())]]].concat();
        prop_assert_eq!(order(arrived.clone()), order(twice));
        prop_assert_eq!(order(arrived.clone()).len(), arrived.len());
    }

    #[test]
    fn it_extends_every_chain_and_every_cause(events in steps().prop_map(history)) {
        let ordered = order(keys(&events));
        let place = |key: &OrderKey| ordered.iter().position(|other| other == key).unwrap();
        for event in &events {
            if let Some(cause) = &event.cause {
                prop_assert!(place(cause) < place(&event.key));
            }
            let before = events.iter().filter(|other| other.key.chain() == event.key.chain());
            for earlier in before.filter(|other| other.key.seq < event.key.seq) {
                prop_assert!(place(&earlier.key) < place(&event.key));
            }
        }
    }

    #[test]
    fn merging_whole_chains_gives_the_same_order(events in steps().prop_map(history)) {
        let mut chains = vec![Vec::new(); NODES];
        for event in &events {
            chains[usize::from(event.key.node.as_bytes()[0])].push((event.key, event.key.seq));
        }
        let merged: Vec<(OrderKey, u64)> = merge(chains).collect();
        prop_assert!(merged.iter().all(|(key, item)| key.seq == *item));
        let merged: Vec<OrderKey> = merged.into_iter().map(|(key, _)| key).collect();
        prop_assert_eq!(merged, order(keys(&events)));
    }
}

#[test]
fn stamps_come_first_then_writer_incarnation_and_place() {
    let key = |hlc, node, incarnation, seq| {
        let chain = ChainId { node: NodeId::from_bytes([node; 32]), incarnation: Incarnation(incarnation) };
        OrderKey::new(chain, seq, Hlc(hlc))
    };
    let sorted = [key(1, 9, 9, 9), key(2, 1, 9, 9), key(2, 2, 1, 9), key(2, 2, 2, 1), key(2, 2, 2, 2)];
    let mut arrived = sorted;
    arrived.reverse();
    assert_eq!(order(arrived), sorted);
}
