//! A member whose keys were rotated is followed, and a liar does not escape by rotating them in one of its histories.

use weft_protocol::limits::EVIDENCE_BYTES_MAX;
use weft_protocol::{CommitRef, Evidence, HeadGossip, Hlc, SignedTick, SyncRequest, Tick, encode};
use weft_replication::{EvidenceError, ForkKind, Input, check_evidence, check_evidence_by};

use crate::world::{SECOND_US, START, World};
use crate::writer::{Writer, cluster};

/// Hosts 0 and 1 hold one history each of the writer, which is not connected.
fn holding(first: &Writer, second: &Writer) -> World {
    World::new(&[Writer::new(0), Writer::new(1), first.clone()], &[&[first], &[second], &[]])
}

#[test]
fn a_page_across_rotations_is_taken() {
    let mut writer = Writer::new(9);
    writer.write_many(START, 3);
    let short = writer.clone();
    writer.rotate(START);
    writer.write_many(START, 3);
    writer.rotate(START);
    writer.write(START, 2, 0, false);
    let mut world = holding(&writer, &short);
    world.connect(0, 1);
    world.run();
    assert_eq!(world.hosts[1].disk[&writer.chain], writer.groups);
    assert!(world.hosts.iter().all(|host| host.machine.status().refused == 0));
}

#[test]
fn a_chain_that_begins_with_later_keys_is_taken_when_they_are_known_to_follow() {
    let mut writer = Writer::new(9);
    writer.write_many(START, 2);
    writer.rotate(START);
    let mut reborn = writer.reborn(77);
    reborn.write_many(START, 3);
    let mut world = World::new(&[Writer::new(0), Writer::new(1), writer.clone()], &[&[&writer, &reborn], &[], &[]]);
    world.connect(0, 1);
    world.run();
    world.pass(60 * SECOND_US);
    assert_eq!(world.hosts[1].disk[&writer.chain], writer.groups);
    assert_eq!(world.hosts[1].disk[&reborn.chain], reborn.groups);
}

#[test]
fn no_rotation_on_one_branch_hides_the_other() {
    // The keys change at the parting itself, before anything else is said, or after.
    for (before, after) in [(0, 4), (1, 4), (3, 1)] {
        for longer in [0, 5] {
            let mut first = Writer::new(9);
            first.write_many(START, 4);
            let mut second = first.clone();
            let shared = first.groups.len();
            first.write_many(START, before + after + 1 + longer);
            for _ in 0..before {
                second.write(START, 2, 1, true);
            }
            second.rotate(START);
            for _ in 0..after {
                second.write(START, 2, 1, true);
            }
            let mut world = holding(&first, &second);
            world.connect(0, 1);
            world.run();
            world.pass(60 * SECOND_US);
            for host in [0, 1] {
                let reported = &world.hosts[host].reported;
                let verdict = check_evidence(reported.last().unwrap(), &first.public()).unwrap();
                assert_eq!((verdict.commit_no, verdict.kind), (shared as u64, ForkKind::Siblings), "{before} {longer}");
                assert_eq!(world.hosts[host].disk[&first.chain].len(), shared);
            }
        }
    }
}

#[test]
fn whoever_knows_only_the_old_keys_finds_where_histories_part_without_help() {
    // The branch with new keys is longer, of one length, or shorter than what is held here.
    for (one, other) in [(1, 6), (5, 3), (6, 1)] {
        let mut first = Writer::new(9);
        first.write_many(START, 4);
        let mut second = first.clone();
        first.write_many(START, one);
        second.rotate(START);
        for _ in 0..other {
            second.write(START, 2, 1, true);
        }
        let mut world = holding(&first, &second);
        // Whoever holds the new keys hears nothing of the other branch, so that it cannot judge.
        world.carry = Box::new(|server, request, response| match request {
            SyncRequest::Range { .. } if server == 0 => None,
            _ => Some(response),
        });
        world.connect(0, 1);
        world.run();
        world.pass(120 * SECOND_US);
        let reported = world.hosts[0].reported.last().unwrap_or_else(|| panic!("{one} {other}: nothing is found"));
        let verdict = check_evidence(reported, &first.public()).unwrap();
        assert_eq!((verdict.commit_no, verdict.kind), (4, ForkKind::Siblings), "{one} {other}");
    }
}

#[test]
fn evidence_after_a_rotation_carries_it_and_stands_alone() {
    let mut first = Writer::new(9);
    first.write_many(START, 2);
    first.rotate(START);
    let mut second = first.clone();
    first.write_many(START, 2);
    second.write(START, 2, 1, true);
    second.write(START, 2, 1, true);
    let mut world = holding(&first, &second);
    world.connect(0, 1);
    world.run();
    let reported = world.hosts[0].reported.last().unwrap();
    assert_eq!(reported.rotations.len(), 1, "both commits are signed by the same keys");
    assert!(encode(reported).len() <= EVIDENCE_BYTES_MAX);
    let verdict = check_evidence(reported, &first.public()).unwrap();
    assert_eq!((verdict.commit_no, verdict.kind), (3, ForkKind::Siblings));
    let bare = Evidence { rotations: Vec::new(), ..reported.clone() };
    assert!(matches!(check_evidence(&bare, &first.public()), Err(EvidenceError::Statement(_))));
    let all: Vec<_> = first.state().all_keys().cloned().collect();
    assert!(check_evidence_by(&bare, &all).is_ok(), "whoever holds the chain needs none");
    let stranger = Writer::new(8);
    assert!(matches!(check_evidence(reported, &stranger.public()), Err(EvidenceError::Statement(_))));
}

#[test]
fn ticks_after_a_rotation_are_believed_under_the_new_keys() {
    let mut writer = Writer::new(9);
    writer.write_many(START, 2);
    let before = writer.clone();
    writer.rotate(START);
    let tick_of = |keys: &Writer, hlc: u64| {
        let head = writer.head();
        let last = CommitRef { chain: head.chain, commit_no: head.commit_no, commit_hash: head.commit_hash };
        let hlc = Hlc(writer.state().last_hlc().0 + hlc);
        let tick = Tick { cluster: cluster(), last, hlc, horizon: Hlc(0), heads: Vec::new() };
        HeadGossip::Tick(Box::new(SignedTick::new(&tick, &*keys.keys)))
    };
    let heard = |held: &Writer, gossip: HeadGossip| {
        let mut world = World::new(&[Writer::new(0), Writer::new(1), writer.clone()], &[&[held], &[], &[]]);
        let from = world.hosts[1].node;
        world.give(0, Input::Gossiped { from, gossip: Box::new(gossip) });
        world.hosts[0].machine.status().refused == 0
    };
    assert!(heard(&writer, tick_of(&writer, 1)));
    assert!(heard(&writer, tick_of(&before, 1)), "one that was on its way when the keys changed");
    assert!(!heard(&before, tick_of(&writer, 1)), "whoever has not heard of the rotation waits for the chain");
    assert!(!heard(&writer, tick_of(&Writer::new(8), 1)));
}
