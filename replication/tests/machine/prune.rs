//! What keeps the rows beside an event, each condition by itself.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weft_protocol::{
    ChainId, CommitRef, Digest, EventPlace, Hlc, Incarnation, NodeId, STATE_FOLD, Snapshot, Tick, hash,
};
use weft_replication::{Keeps, Placement, PruneTerms, Standing, Step, Vouching};

use crate::writer::cluster;

const OWN: ChainId = chain(1);
const OTHERS: [ChainId; 2] = [chain(2), chain(3)];
const EVENTS: u64 = 12;

const fn chain(byte: u8) -> ChainId {
    ChainId { node: NodeId::from_bytes([byte; 32]), incarnation: Incarnation(1) }
}

fn commit(chain: ChainId, commit_no: u64) -> CommitRef {
    let commit_hash = hash("commit", &[&chain.to_bytes(), &commit_no.to_be_bytes()]);
    CommitRef { chain, commit_no, commit_hash }
}

/// Each event in a commit of its own.
const fn place(seq: u64) -> EventPlace {
    EventPlace { seq, hlc: Hlc(100 + 10 * seq), commit_no: seq }
}

fn step(chain: ChainId, number: u64, hlc: Hlc) -> Step {
    Step { last: commit(chain, number), first: hlc, hlc, anchors: Vec::new(), facts: Vec::new() }
}

/// What is stable of the own chain when the others have said that they are so far, and hold so many commits of it.
fn placement(said: [(u64, u64); 2]) -> Placement {
    let mut standing = Standing::new(cluster(), OWN);
    standing.founded_by([OWN].into_iter().chain(OTHERS));
    (0..EVENTS).for_each(|seq| standing.stored(step(OWN, seq, place(seq).hlc)));
    for (other, (hlc, held)) in OTHERS.into_iter().zip(said) {
        standing.stored(step(other, 0, Hlc(50)));
        let own = held.checked_sub(1).map(|last| commit(OWN, last));
        let heads = own.into_iter().chain(OTHERS.map(|other| commit(other, 0))).collect();
        let (hlc, last) = (Hlc(100 + 10 * hlc), commit(other, 0));
        standing.ticked(Tick { cluster: cluster(), last, hlc, horizon: hlc, heads });
    }
    let (last, end) = (commit(OWN, EVENTS - 1), Hlc(1_000));
    let heads = OTHERS.map(|other| commit(other, 0)).to_vec();
    standing.ticked(Tick { cluster: cluster(), last, hlc: end, horizon: end, heads });
    standing.placement()
}

fn snapshot(size: u64, fold: u32) -> Option<(u64, Snapshot)> {
    let digest = Digest::from_bytes([0; 32]);
    Some((EVENTS, Snapshot { size, root: digest, peaks: Vec::new(), state: digest, fold }))
}

fn vouching(node: NodeId, size: u64) -> Vouching {
    Vouching { node, commit_no: size, size, commit_hash: Digest::from_bytes([0; 32]) }
}

proptest! {
    #[test]
    fn rows_go_only_when_nothing_keeps_them(
        said in [(0..EVENTS, 0..=EVENTS), (0..EVENTS, 0..=EVENTS)],
        covered in 0..=EVENTS,
        vouched in [0..=EVENTS, 0..=EVENTS],
        needed in 0..4_usize,
        until in 90..250_u64,
    ) {
        let placement = placement(said);
        let terms = PruneTerms {
            chain: OWN,
            snapshot: snapshot(covered, STATE_FOLD),
            placement: placement.clone(),
            // One says it twice, and the writer itself counts for nothing.
            vouchings: vec![
                vouching(OTHERS[0].node, vouched[0]),
                vouching(OTHERS[0].node, vouched[0] / 2),
                vouching(OTHERS[1].node, vouched[1]),
                vouching(OWN.node, EVENTS),
            ],
            needed,
            until: Hlc(until),
        };
        // Everybody has been heard beyond it, has everything up to it, and holds it.
        let stable = |seq: u64| said.iter().all(|(hlc, held)| 100 + 10 * hlc >= place(seq).hlc.0 && *held > seq);
        for seq in 0..EVENTS {
            let witnesses = vouched.iter().filter(|size| **size > seq).count();
            let holds = [seq < covered, stable(seq), needed > 0 && witnesses >= needed, place(seq).hlc.0 <= until];
            let keeps = Keeps::ALL.into_iter().zip(holds).filter(|(_, holds)| !holds);
            let expected: BTreeSet<Keeps> = keeps.map(|(keeps, _)| keeps).collect();
            prop_assert_eq!(terms.keeps(place(seq)), expected, "event {}, watermark {:?}", seq, placement.watermark());
        }
        // What another version's fold made cannot be replayed, and without any snapshot nothing goes.
        for snapshot in [snapshot(covered, STATE_FOLD + 1), None] {
            let terms = PruneTerms { snapshot, ..terms.clone() };
            prop_assert!((0..EVENTS).all(|seq| terms.keeps(place(seq)).contains(&Keeps::Snapshot)));
        }
    }
}
