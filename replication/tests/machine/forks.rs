//! A node that tells different histories to different members is proven guilty, once, and its chain stops.

use weft_protocol::{Digest, Evidence, Head, HeadGossip, Recovered, RecoveredChain, SyncRequest};
use weft_replication::{ForkKind, Input, Replication, ReplicationConfig, check_evidence};

use crate::world::{SECOND_US, START, World};
use crate::writer::{Writer, cluster};

/// A liar's two histories: the same up to `shared`, then of these lengths.
fn histories(shared: usize, one: usize, other: usize) -> (Writer, Writer) {
    let mut first = Writer::new(9);
    first.write_many(START, shared);
    let mut second = first.clone();
    first.write_many(START, one);
    for _ in 0..other {
        second.write(START, 2, 1, true);
    }
    (first, second)
}

/// Hosts 0 and 1 hold one history each; host 2 is the liar and not connected.
fn deceived(shared: usize, one: usize, other: usize) -> (World, Writer, Writer) {
    let (first, second) = histories(shared, one, other);
    let world = World::new(&[Writer::new(0), Writer::new(1), first.clone()], &[&[&first], &[&second], &[]]);
    (world, first, second)
}

fn assert_proven(world: &World, host: usize, liar: &Writer, commit_no: usize, kind: ForkKind) {
    let it = &world.hosts[host];
    assert_eq!(it.reported.len(), 1, "reported once");
    let verdict = check_evidence(&it.reported[0], &liar.public()).unwrap();
    assert_eq!((verdict.chain, verdict.commit_no, verdict.kind), (liar.chain, commit_no as u64, kind));
    assert_eq!(it.machine.evidence().collect::<Vec<_>>(), [&it.reported[0]]);
    let status = it.machine.chains(world.now).into_iter().find(|status| status.chain == liar.chain);
    assert!(status.is_some_and(|status| status.forked));
}

#[test]
fn histories_of_one_length_are_told_apart_at_their_first_difference() {
    for (shared, length) in [(1, 1), (1, 9), (6, 5), (11, 1)] {
        let (mut world, first, _) = deceived(shared, length, length);
        world.connect(0, 1);
        world.run();
        for host in [0, 1] {
            assert_proven(&world, host, &first, shared, ForkKind::Siblings);
            assert_eq!(world.hosts[host].disk[&first.chain].len(), shared + length, "nothing is merged or overwritten");
        }
        let probes =
            world.requests.iter().filter(|(_, _, request)| matches!(request, SyncRequest::Range { .. })).count();
        let halvings = (shared + length).ilog2() as usize + 2;
        assert!(probes <= 2 * halvings, "{probes} probes");
        world.requests.clear();
        world.pass(30 * SECOND_US);
        assert!(world.hosts.iter().all(|host| host.reported.len() < 2), "reported once");
        assert!(world.requests.iter().all(|it| matches!(it.2, SyncRequest::Hello { .. })), "the chain stopped");
    }
}

#[test]
fn the_longer_history_does_not_replace_the_shorter() {
    let (mut world, first, _) = deceived(4, 2, 6);
    world.connect(0, 1);
    world.run();
    assert_proven(&world, 0, &first, 4, ForkKind::Siblings);
    assert_eq!(world.hosts[0].disk[&first.chain].len(), 6);
    world.pass(30 * SECOND_US);
    assert_proven(&world, 1, &first, 4, ForkKind::Siblings);
    assert_eq!(world.hosts[1].disk[&first.chain].len(), 10);
    world.check_disks(&[&first]);
}

#[test]
fn histories_that_part_at_the_very_beginning_are_proven_too() {
    let (first, second) = histories(0, 2, 3);
    let mut world = World::new(&[Writer::new(0), Writer::new(1), first.clone()], &[&[&first], &[&second], &[]]);
    world.connect(0, 1);
    world.pass(30 * SECOND_US);
    for host in [0, 1] {
        assert_proven(&world, host, &first, 0, ForkKind::Siblings);
    }
}

#[test]
fn an_announced_commit_that_contradicts_a_stored_one_is_evidence() {
    for number in [3, 4, 5] {
        let (mut world, first, second) = deceived(3, 3, 3);
        let from = world.hosts[1].node;
        world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(second.groups[number].clone())) });
        let kind = if number == 3 { ForkKind::Siblings } else { ForkKind::SameNumber };
        assert_proven(&world, 0, &first, number, kind);
    }
}

#[test]
fn an_announced_commit_that_names_another_predecessor_is_evidence() {
    let (mut world, first, second) = deceived(3, 1, 2);
    let from = world.hosts[1].node;
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(second.groups[4].clone())) });
    assert_proven(&world, 0, &first, 3, ForkKind::BrokenLink);
    assert_eq!(world.hosts[0].disk[&first.chain].len(), 4);
}

#[test]
fn a_proven_chain_does_not_grow_and_stays_proven_after_a_restart() {
    let (mut world, mut first, second) = deceived(2, 1, 1);
    let from = world.hosts[1].node;
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(second.groups[2].clone())) });
    assert_eq!(world.hosts[0].reported.len(), 1);
    let evidence: Evidence = world.hosts[0].reported[0].clone();
    first.write_many(START, 1);
    let next = || Box::new(HeadGossip::Group(first.groups[3].clone()));
    assert!(world.ask(0, Input::Gossiped { from, gossip: next() }).is_empty());

    let state = RecoveredChain { state: first.state().clone(), facts: Vec::new() };
    let recovered = Recovered { chains: vec![state], evidence: vec![evidence.clone()], ..Default::default() };
    let members = vec![first.public()];
    let own = Writer::new(0).chain;
    let config = ReplicationConfig::default();
    world.hosts[0].machine = Replication::new(config, own, cluster(), members, &recovered, 0, START);
    first.write_many(START, 1);
    let after = Box::new(HeadGossip::Group(first.groups[4].clone()));
    assert!(world.ask(0, Input::Gossiped { from, gossip: after }).is_empty());
    assert_eq!(world.hosts[0].machine.evidence().collect::<Vec<_>>(), [&evidence]);
}

#[test]
fn a_false_claim_of_another_history_convicts_nobody() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 4);
    for back in [0, 2] {
        let mut world = World::new(&[Writer::new(0), writer.clone(), Writer::new(2)], &[&[&writer], &[], &[&writer]]);
        world.connect(0, 2);
        world.run();
        let from = world.hosts[2].node;
        let claim = |number: u64| Head { commit_no: number, commit_hash: Digest::from_bytes([2; 32]), ..writer.head() };
        for _ in 0..3 {
            world.now.0 += 6 * SECOND_US;
            world.claim(0, from, vec![claim(3 - back)]);
        }
        assert!(world.hosts.iter().all(|host| host.reported.is_empty()));
        let probes = world.requests.iter().filter(|it| matches!(it.2, SyncRequest::Range { bytes_max: 1, .. })).count();
        assert!(probes > 0, "the claim was looked into");
        assert!(!world.hosts[0].machine.chains(world.now)[0].forked);
    }
}

#[test]
fn a_witness_that_goes_away_leaves_what_is_proven_by_then() {
    let (mut world, first, second) = deceived(3, 4, 4);
    world.connect(0, 1);
    let contradicted = std::cell::Cell::new(0);
    world.carry = Box::new(move |server, request, response| match request {
        SyncRequest::Range { .. } if server == 1 => {
            contradicted.set(contradicted.get() + 1);
            (contradicted.get() == 1).then_some(response)
        }
        _ => Some(response),
    });
    world.run();
    assert_proven(&world, 0, &first, 6, ForkKind::SameNumber);
    assert_eq!(second.groups.len(), 7);
}
