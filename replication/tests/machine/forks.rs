//! A node that tells different histories to different members is proven guilty, once, and its chain stops.

use weft_protocol::{Digest, Evidence, Fact, ForkSeen, Head, HeadGossip, Recovered, RecoveredChain, SyncRequest};
use weft_replication::{ForkKind, Input, Output, Replication, ReplicationConfig, check_evidence};

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
    assert!(status.is_none_or(|status| status.forked));
}

#[test]
fn histories_of_one_length_are_told_apart_at_their_first_difference() {
    for (shared, length) in [(1, 1), (1, 9), (6, 5), (11, 1)] {
        let (mut world, first, _) = deceived(shared, length, length);
        world.connect(0, 1);
        world.run();
        for host in [0, 1] {
            assert_proven(&world, host, &first, shared, ForkKind::Siblings);
            assert_eq!(world.hosts[host].disk[&first.chain].len(), shared, "only what both share counts");
        }
        assert_eq!(world.hosts[0].machine.vector_root(), world.hosts[1].machine.vector_root());
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
    world.pass(30 * SECOND_US);
    assert_proven(&world, 0, &first, 4, ForkKind::Siblings);
    assert_eq!(world.hosts[0].disk[&first.chain].len(), 4);
    assert_proven(&world, 1, &first, 4, ForkKind::Siblings);
    assert_eq!(world.hosts[1].disk[&first.chain].len(), 4);
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

    let state = RecoveredChain { state: first.state().clone(), facts: Vec::new(), anchors: Vec::new() };
    let recovered = Recovered { chains: vec![state], evidence: vec![evidence.clone()], ..Default::default() };
    let members = vec![first.public()];
    let own = Writer::new(0).chain;
    let config = ReplicationConfig::default();
    world.hosts[0].machine = Replication::new(config, own, cluster(), members, &recovered, 0, START);
    first.write_many(START, 1);
    let after = Box::new(HeadGossip::Group(first.groups[4].clone()));
    let outputs = world.ask(0, Input::Gossiped { from, gossip: after });
    assert!(matches!(outputs[..], [Output::Cut { from_commit: 2, .. }]), "only what is not cut yet: {outputs:?}");
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
    let verdicts = world.hosts[0].reported.iter().map(|evidence| check_evidence(evidence, &first.public()).unwrap());
    let found = verdicts.map(|verdict| (verdict.commit_no, verdict.kind)).collect::<Vec<_>>();
    // What the witness found itself, with host 0's answers, is heard afterwards.
    assert_eq!(found, [(6, ForkKind::SameNumber), (3, ForkKind::Siblings)]);
    assert_eq!(second.groups.len(), 7);
}

/// Host 0 holds one history and host 1 the other; host 3 holds `held` commits of what they share.
fn with_a_third(shared: usize, held: usize) -> (World, Writer, Writer) {
    let mut part = Writer::new(9);
    part.write_many(START, held);
    let mut first = part.clone();
    first.write_many(START, shared - held);
    let mut second = first.clone();
    first.write_many(START, 2);
    for _ in 0..3 {
        second.write(START, 2, 1, true);
    }
    let writers = [Writer::new(0), Writer::new(1), first.clone(), Writer::new(3)];
    let world = World::new(&writers, &[&[&first], &[&second], &[], &[&part]]);
    (world, first, second)
}

fn evidence_of(first: &Writer, second: &Writer, number: usize) -> Evidence {
    Evidence {
        first: first.groups[number].signed.clone().into(),
        second: second.groups[number].signed.clone().into(),
        rotations: Vec::new(),
    }
}

#[test]
fn evidence_from_another_member_convicts_cuts_and_is_passed_on_once() {
    let (mut world, first, second) = with_a_third(4, 2);
    let from = world.hosts[1].node;
    let evidence = evidence_of(&first, &second, 4);
    for _ in 0..2 {
        let gossip = Box::new(HeadGossip::Fork(Box::new(evidence.clone())));
        world.give(0, Input::Gossiped { from, gossip });
    }
    assert_proven(&world, 0, &first, 4, ForkKind::Siblings);
    assert_eq!(world.hosts[0].disk[&first.chain].len(), 4);
    let passed_on = world.hosts[0].gossiped.iter().filter(|gossip| matches!(gossip, HeadGossip::Fork(_)));
    assert_eq!(passed_on.count(), 1);
}

#[test]
fn a_better_proof_takes_the_place_of_a_weaker_one_and_never_the_reverse() {
    let (mut world, first, second) = with_a_third(4, 2);
    let from = world.hosts[1].node;
    let later = evidence_of(&first, &second, 5);
    let best = evidence_of(&first, &second, 4);
    for (evidence, reports) in [(&later, 1), (&best, 2), (&later, 2)] {
        world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Fork(Box::new(evidence.clone()))) });
        assert_eq!(world.hosts[0].reported.len(), reports);
    }
    assert_eq!(world.hosts[0].machine.evidence().collect::<Vec<_>>(), [&best]);
    assert_eq!(world.hosts[0].disk[&first.chain].len(), 4, "siblings say where to cut");
}

#[test]
fn what_is_no_evidence_changes_nothing() {
    let (mut world, first, second) = with_a_third(4, 2);
    let from = world.hosts[1].node;
    let mut forged = evidence_of(&first, &second, 4);
    let mut signed = second.groups[4].signed.clone();
    signed.ed25519[3] ^= 1;
    forged.second = signed.into();
    let same = evidence_of(&first, &first, 4);
    for evidence in [forged, same] {
        let before = world.hosts[0].machine.status().refused;
        world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Fork(Box::new(evidence))) });
        assert_eq!(world.hosts[0].machine.status().refused, before + 1, "counted");
    }
    assert!(world.hosts[0].reported.is_empty());
    assert_eq!(world.hosts[0].disk[&first.chain].len(), 6);
}

#[test]
fn a_member_that_lags_fetches_what_both_histories_share_and_nothing_else() {
    let (mut world, first, second) = with_a_third(6, 2);
    let from = world.hosts[0].node;
    for host in [0, 3] {
        let gossip = Box::new(HeadGossip::Fork(Box::new(evidence_of(&first, &second, 6))));
        world.give(host, Input::Gossiped { from, gossip });
    }
    assert_eq!(world.hosts[3].disk[&first.chain].len(), 2);
    // Host 1 has not heard yet and would give all of its history.
    world.connect(1, 3);
    world.run();
    assert_eq!(world.hosts[3].disk[&first.chain].len(), 6);
    assert_eq!(world.hosts[3].cuts, 0, "nothing was taken that had to go again");
    world.connect(0, 3);
    world.pass(30 * SECOND_US);
    assert_eq!(world.hosts[3].disk[&first.chain].len(), 6);
    assert_eq!(world.hosts[0].machine.vector_root(), world.hosts[3].machine.vector_root());
}

#[test]
fn a_fork_that_another_chain_tells_of_is_asked_for() {
    for restarted in [false, true] {
        let (first, second) = histories(3, 2, 2);
        let mut teller = Writer::new(0);
        teller.write_many(START, 1);
        let seen = ForkSeen {
            chain: first.chain,
            commit_no: 3,
            first: first.groups[3].signed.hash(),
            second: second.groups[3].signed.hash(),
        };
        teller.say(START, Fact::ForkSeen(seen));
        let writers = [teller.clone(), Writer::new(1), first.clone()];
        let held: &[&Writer] = if restarted { &[&first, &teller] } else { &[&first] };
        let mut world = World::new(&writers, &[&[&first], held, &[]]);
        let from = world.hosts[1].node;
        let gossip = Box::new(HeadGossip::Fork(Box::new(evidence_of(&first, &second, 3))));
        world.give(0, Input::Gossiped { from, gossip });
        world.connect(0, 1);
        world.run();
        assert_proven(&world, 1, &first, 3, ForkKind::Siblings);
        assert_eq!(world.hosts[1].disk[&first.chain].len(), 3);
        let asked = world.requests.iter().filter(|it| matches!(it.2, SyncRequest::Evidence { .. })).count();
        assert_eq!(asked, 1);
    }
}

#[test]
fn a_cut_that_a_crash_kept_from_the_disk_is_made_at_the_next_start() {
    let (first, second) = histories(3, 2, 2);
    let chain = RecoveredChain { state: first.state().clone(), facts: Vec::new(), anchors: Vec::new() };
    let recovered =
        Recovered { chains: vec![chain], evidence: vec![evidence_of(&first, &second, 3)], ..Default::default() };
    let own = Writer::new(0).chain;
    let config = ReplicationConfig::default();
    let mut machine = Replication::new(config, own, cluster(), vec![first.public()], &recovered, 0, START);
    let mut outputs = Vec::new();
    machine.handle(Input::Woken, START, &mut outputs);
    assert!(matches!(outputs[..], [Output::Cut { from_commit: 3, .. }]), "{outputs:?}");
}

/// Five members: 0, 1 and 3 hold the liar's first history to its end and host 4 the second; `vouching` of the first three have
/// anchored the first history at commit 7 of 9. Everybody is connected and holds what the others wrote.
fn anchored(vouching: usize) -> (World, Writer, Writer) {
    let (first, second) = histories(4, 5, 3);
    let mut honest = [Writer::new(0), Writer::new(1), Writer::new(3)];
    let signed = &first.groups[7].signed;
    let head = signed.decode().unwrap().head(signed.hash());
    for (place, writer) in honest.iter_mut().enumerate() {
        writer.write_many(START, 1);
        writer.vouch(START, if place < vouching { std::slice::from_ref(&head) } else { &[] });
    }
    let [zero, one, three] = honest;
    let writers = [zero, one, first.clone(), three, Writer::new(4)];
    let mut world = World::new(&writers, &[&[&first], &[&first], &[], &[&first], &[&second]]);
    for (one, other) in [(0, 1), (0, 3), (1, 3)] {
        world.connect(one, other);
    }
    world.pass(20 * SECOND_US);
    (world, first, second)
}

#[test]
fn a_late_fork_does_not_remove_what_more_than_half_had_anchored() {
    let (mut world, first, _) = anchored(3);
    // Whoever stole the key signs a second history from the middle on, and shows it to host 4 alone.
    for host in [0, 1, 3] {
        world.connect(host, 4);
    }
    world.pass(60 * SECOND_US);
    for host in [0, 1, 3, 4] {
        let verdict = check_evidence(world.hosts[host].reported.last().unwrap(), &first.public()).unwrap();
        assert_eq!(verdict.shared_commits(), Some(4));
        assert_eq!(
            world.hosts[host].disk[&first.chain],
            first.groups[..8],
            "host {host}: all that was anchored, no more"
        );
    }
    assert_eq!(world.hosts[0].machine.vector_root(), world.hosts[4].machine.vector_root());
}

#[test]
fn what_half_or_fewer_had_anchored_goes_with_the_fork() {
    let (mut world, first, _) = anchored(2);
    for host in [0, 1, 3] {
        world.connect(host, 4);
    }
    world.pass(60 * SECOND_US);
    for host in [0, 1, 3, 4] {
        assert_eq!(world.hosts[host].disk[&first.chain], first.groups[..4], "host {host}");
    }
    assert_eq!(world.hosts[0].machine.vector_root(), world.hosts[4].machine.vector_root());
}
