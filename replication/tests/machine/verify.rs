//! What verification accepts, learns and refuses: only what passed every check reaches a disk.

use weft_protocol::{ChainError, ChainState, CommitGroup, Fact, HeadGossip, Shutdown, SyncResponse, Timestamp, encode};
use weft_replication::{Input, Job, Output, VerifyError};

use crate::world::{SECOND_US, START, World};
use crate::writer::{Writer, cluster};

/// The job of host 0 after `group`, the first of a chain, was gossiped to it.
fn job(world: &mut World, group: &CommitGroup) -> Job {
    let from = world.hosts[1].node;
    let gossip = Box::new(HeadGossip::Group(group.clone()));
    match world.ask(0, Input::Gossiped { from, gossip }).remove(0) {
        Output::Verify(job) => *job,
        other => panic!("{other:?}"),
    }
}

#[test]
fn facts_are_learned_but_not_what_is_read_elsewhere() {
    let mut writer = Writer::new(1);
    writer.write(START, 6, 10, true);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    let verdict = job(&mut world, &writer.groups[0]).run();
    assert_eq!((verdict.good(), verdict.parked(), verdict.error()), (1, 0, None));
    assert_eq!(verdict.state(), writer.state());
    let seqs: Vec<(u64, &str)> = verdict.facts().iter().map(|placed| (placed.seq, placed.fact.kind())).collect();
    let denied = "gate.denied";
    assert_eq!(seqs, [(0, "genesis"), (1, denied), (3, denied), (4, denied)], "events 2 and 5 are opaque");
}

#[test]
fn what_a_later_program_says_is_replicated_and_not_believed() {
    let opaque = |kind: &str, payload: &[u8]| Fact::Opaque { kind: kind.to_owned(), payload: payload.to_vec().into() };
    let shutdown = Fact::Shutdown(Shutdown { stopped: 1 });
    // A map of two fields in place of one: what the first says may mean something else beside the second.
    let with_field = [&[0xa2], &shutdown.encode()[1..], &encode("later"), &encode(&1_u64)].concat();
    let mut writer = Writer::new(1);
    writer.write(START, 1, 0, true);
    writer.say(START, opaque("future.kind", b"whatever"));
    writer.say(START, opaque(shutdown.kind(), &with_field));
    writer.say(START, shutdown);
    let mut world = World::new(&[Writer::new(0), writer.clone(), Writer::new(2)], &[&[], &[], &[]]);
    world.connect(0, 1);
    world.run();
    // And on to somebody who never meets its writer.
    world.connect(0, 2);
    world.run();
    world.check_disks(&[&writer]);
    for host in [0, 2] {
        let host = &world.hosts[host];
        assert_eq!(host.disk[&writer.chain], writer.groups, "byte for byte");
        let learned = host.learned.iter().filter(|(chain, ..)| *chain == writer.chain).flat_map(|(_, facts, _)| facts);
        let learned: Vec<(u64, &str)> = learned.map(|placed| (placed.seq, placed.fact.kind())).collect();
        assert_eq!(learned, [(0, "genesis"), (3, "node.shutdown")], "only what could be read");
        assert_eq!(host.machine.status().refused, 0);
        assert!(host.reported.is_empty(), "nobody is convicted for being newer");
    }
}

/// What becomes of a chain that begins at a time ahead of the verifier's clock.
fn ahead(ahead_us: u64) -> (usize, usize, Option<VerifyError>) {
    let mut writer = Writer::new(1);
    writer.write(Timestamp(START.0 + ahead_us), 1, 0, true);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    let verdict = job(&mut world, &writer.groups[0]).run();
    (verdict.good(), verdict.parked(), verdict.error().cloned())
}

#[test]
fn stamps_ahead_are_accepted_then_parked_then_refused() {
    assert_eq!(ahead(SECOND_US / 2), (1, 0, None));
    assert_eq!(ahead(SECOND_US), (1, 1, None));
    assert_eq!(ahead(60 * SECOND_US), (1, 1, None));
    let refused = VerifyError::Ahead { commit_no: 0, ahead_us: 60 * SECOND_US + 1 };
    assert_eq!(ahead(60 * SECOND_US + 1), (0, 0, Some(refused)));
}

#[test]
fn a_parked_chain_is_stored_and_shown_as_parked_until_its_time_comes() {
    let mut writer = Writer::new(1);
    writer.write(Timestamp(START.0 + 10 * SECOND_US), 1, 0, true);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    world.connect(0, 1);
    world.run();
    let parked = |world: &World| world.hosts[0].machine.chains(world.now)[0].parked;
    assert!(parked(&world));
    world.pass(10 * SECOND_US);
    assert!(!parked(&world));
    world.assert_equal();
}

#[test]
fn a_chain_that_is_refused_for_its_clock_is_taken_when_ours_has_caught_up() {
    let mut writer = Writer::new(1);
    writer.write(START, 1, 0, true);
    writer.write(Timestamp(START.0 + 70 * SECOND_US), 1, 0, true);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    world.connect(0, 1);
    world.run();
    assert_eq!(world.hosts[0].disk[&writer.chain].len(), 1, "what came before is kept");
    assert_eq!(world.hosts[0].machine.status().refused, 1);
    world.pass(30 * SECOND_US);
    world.assert_equal();
}

/// Runs a catch-up of three commits in which `spoil` changes each page on its way, and gives what was stored.
fn spoiled(spoil: impl Fn(&mut Vec<CommitGroup>) + 'static) -> usize {
    let mut writer = Writer::new(1);
    writer.write_many(START, 3);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    world.carry = Box::new(move |_, _, mut response| {
        if let SyncResponse::Page { groups, .. } = &mut response {
            spoil(groups);
        }
        Some(response)
    });
    world.connect(0, 1);
    world.run();
    world.check_disks(&[&writer]);
    let told = world.hosts[0].machine.heads().first().map_or(0, |head| head.commit_no as usize + 1);
    let stored = world.hosts[0].disk.get(&writer.chain).map_or(0, Vec::len);
    assert_eq!(told, stored);
    assert!(stored == 3 || world.hosts[0].machine.status().refused > 0, "what was refused is counted");
    assert!(world.hosts[0].reported.is_empty(), "damage on the way convicts nobody");
    stored
}

#[test]
fn of_a_spoiled_page_only_what_came_before_the_damage_is_stored() {
    assert_eq!(spoiled(|_| {}), 3);
    assert_eq!(spoiled(|groups| groups[0].events[1][20] ^= 1), 0, "an event");
    assert_eq!(spoiled(|groups| groups[1].events[1][20] ^= 1), 1, "a later event");
    assert_eq!(spoiled(|groups| groups[1].signed.commit[40] ^= 1), 1, "a header");
    assert_eq!(spoiled(|groups| groups[1].signed.ed25519[3] ^= 1), 1, "an Ed25519 signature");
    assert_eq!(spoiled(|groups| groups[1].signed.mldsa65.as_mut().unwrap()[3] ^= 1), 1, "an ML-DSA-65 signature");
    assert_eq!(spoiled(|groups| groups[1].events.push(vec![0x80].into())), 1, "an event too many");
    assert_eq!(spoiled(|groups| groups[2].events.clear()), 2, "events too few");
    assert_eq!(spoiled(|groups| groups.swap(1, 2)), 1, "another order");
    assert_eq!(spoiled(|groups| drop(groups.remove(0))), 0, "a page that begins later");
    assert_eq!(spoiled(|groups| groups.iter_mut().for_each(|group| group.signed.mldsa65 = None)), 0, "no checkpoint");
}

#[test]
fn a_page_larger_than_asked_for_is_refused_unread() {
    let huge = |groups: &mut Vec<CommitGroup>| {
        let copy = groups[0].clone();
        groups[0].events = vec![vec![0; 64 * 1024].into(); 16];
        groups.push(copy);
    };
    assert_eq!(spoiled(huge), 0);
}

#[test]
fn a_group_of_another_key_is_refused_at_its_signature() {
    let (mut writer, stranger) = (Writer::new(1), Writer::new(2));
    let mut forged = writer.write(START, 2, 0, true).clone();
    forged.signed = stranger.sign(&forged.signed.decode().unwrap(), true);
    let mut state = ChainState::new(writer.chain, cluster(), writer.public());
    let error = state.extend(&forged).unwrap_err();
    assert!(matches!(error, ChainError::Signature { commit_no: 0, .. }), "{error}");

    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    world.carry = Box::new(move |_, _, response| match response {
        SyncResponse::Page { chain, .. } => Some(SyncResponse::Page { chain, groups: vec![forged.clone()] }),
        other => Some(other),
    });
    world.connect(0, 1);
    world.run();
    assert!(!world.hosts[0].disk.contains_key(&writer.chain));
    assert_eq!(world.hosts[0].machine.status().refused, 1);
}
