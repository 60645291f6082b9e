//! Announcements make copies grow at once; what is lost or false costs a range at most.

use weft_protocol::{HeadGossip, SyncRequest};
use weft_replication::{Input, Output};

use crate::world::{SECOND_US, START, World};
use crate::writer::Writer;

/// A reader (0) and a writer (1) that are connected and hold the same three commits.
fn level() -> (World, Writer) {
    let mut writer = Writer::new(1);
    writer.write_many(START, 3);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[&writer], &[]]);
    world.connect(0, 1);
    world.run();
    world.requests.clear();
    (world, writer)
}

fn gossip(world: &World, writer: &Writer, number: usize) -> Input {
    let group = writer.groups[number].clone();
    Input::Gossiped { from: world.hosts[1].node, gossip: Box::new(HeadGossip::Group(group)) }
}

#[test]
fn what_continues_our_copy_is_verified_and_stored_without_asking() {
    let (mut world, mut writer) = level();
    writer.write(START, 3, 0, false);
    world.grow(1, &writer);
    let input = gossip(&world, &writer, 3);
    world.give(0, input);
    assert_eq!(world.requests, []);
    world.assert_equal();
    let (_, facts, hlc) = world.hosts[0].learned.last().unwrap();
    assert_eq!((facts.len(), *hlc), (2, writer.state().last_hlc()), "one of three is opaque");
}

#[test]
fn a_gap_is_fetched_from_the_announcer() {
    let (mut world, mut writer) = level();
    writer.write_many(START, 3);
    world.grow(1, &writer);
    world.run();
    let input = gossip(&world, &writer, 5);
    world.give(0, input);
    assert_eq!(world.requests.len(), 1);
    assert!(matches!(world.requests[0], (0, 1, SyncRequest::Range { from_commit: 3, .. })));
    world.assert_equal();
}

#[test]
fn a_header_alone_is_fetched_from_the_announcer() {
    let (mut world, mut writer) = level();
    let signed = writer.write(START, 2, 20_000, true).signed.clone();
    world.grow(1, &writer);
    world.run();
    let from = world.hosts[1].node;
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Head(signed)) });
    assert_eq!(world.requests.len(), 1);
    world.assert_equal();
}

#[test]
fn the_same_announcement_twice_is_nothing_new() {
    let (mut world, mut writer) = level();
    writer.write_many(START, 1);
    world.grow(1, &writer);
    let first = world.ask(0, gossip(&world, &writer, 3));
    assert!(matches!(&first[..], [Output::Verify(_)]), "{first:?}");
    assert!(world.ask(0, gossip(&world, &writer, 3)).is_empty(), "in verification");
    let Output::Verify(job) = &first[0] else { panic!() };
    assert_eq!(world.ask(0, Input::Verified(Box::new(job.clone().run()))).len(), 1);
    assert!(world.ask(0, gossip(&world, &writer, 3)).is_empty(), "on its way to the disk");
    world.ask(0, Input::Stored { chain: writer.chain });
    assert!(world.ask(0, gossip(&world, &writer, 3)).is_empty(), "on disk");
    assert_eq!(world.hosts[0].machine.heads(), [writer.head()]);
}

#[test]
fn while_a_verification_is_out_few_announcements_wait_and_the_rest_is_fetched() {
    let (mut world, mut writer) = level();
    writer.write_many(START, 20);
    let mut outputs = Vec::new();
    for number in 3..23 {
        outputs.extend(world.ask(0, gossip(&world, &writer, number)));
    }
    let [Output::Verify(job)] = &outputs[..] else { panic!("{outputs:?}") };
    let mut verdict = job.clone().run();
    let (mut jobs, mut stores) = (1, 0);
    let asked = loop {
        let outputs = world.ask(0, Input::Verified(Box::new(verdict)));
        let mut next = None;
        let mut asked = None;
        for output in outputs {
            match output {
                Output::Verify(job) => next = Some(job),
                Output::Request { content, .. } => asked = Some(content),
                Output::Store { .. } => stores += 1,
                other => panic!("{other:?}"),
            }
        }
        jobs += usize::from(next.is_some());
        if let Some(asked) = asked {
            break asked;
        }
        verdict = next.expect("the rest is not forgotten").run();
    };
    assert!(matches!(asked, SyncRequest::Range { from_commit: 12, .. }), "{asked:?}");
    assert_eq!((jobs, stores), (9, 1), "one in verification, eight waited; one store at a time");
}

#[test]
fn a_forged_announcement_changes_nothing_and_the_true_one_is_still_taken() {
    let (mut world, mut writer) = level();
    writer.write_many(START, 1);
    world.grow(1, &writer);
    world.run();
    let mut forged = writer.groups[3].clone();
    forged.signed.ed25519[0] ^= 1;
    let from = world.hosts[1].node;
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(forged)) });
    assert_eq!(world.hosts[0].disk[&writer.chain].len(), 3);
    assert_eq!(world.hosts[0].machine.status().refused, 1);
    let input = gossip(&world, &writer, 3);
    world.give(0, input);
    world.assert_equal();
    assert!(world.hosts[0].reported.is_empty());
}

#[test]
fn only_its_writer_can_begin_a_chain_here() {
    let (mut world, writer) = level();
    let mut reborn = writer.reborn(77);
    let group = reborn.write(START, 1, 0, true).clone();
    let stranger = Writer::new(5);
    let mut forged = group.clone();
    forged.signed = stranger.sign(&group.signed.decode().unwrap(), true);
    let from = world.hosts[1].node;
    let outputs = world.ask(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(forged)) });
    assert!(outputs.is_empty(), "{outputs:?}");
    assert_eq!(world.hosts[0].machine.status().refused, 1);
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(group)) });
    assert_eq!(world.hosts[0].disk[&reborn.chain].len(), 1);
}

#[test]
fn announcements_of_our_own_chain_and_of_other_clusters_are_ignored() {
    let mut own = Writer::new(0);
    own.write_many(START, 1);
    let mut writer = Writer::new(1);
    writer.write_many(START, 1);
    let mut world = World::new(&[own.clone(), writer.clone()], &[&[], &[]]);
    own.write_many(START, 1);
    let from = world.hosts[1].node;
    let outputs = world.ask(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(own.groups[1].clone())) });
    assert!(outputs.is_empty());
    let mut commit = writer.groups[0].signed.decode().unwrap();
    commit.cluster = weft_protocol::ClusterId::from_bytes([8; 32]);
    let signed = writer.sign(&commit, true);
    world.give(0, Input::Connected { node: from });
    let outputs = world.ask(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Head(signed)) });
    assert!(outputs.is_empty());
}

#[test]
fn a_lost_announcement_is_repaired_by_the_next_round() {
    let (mut world, mut writer) = level();
    writer.write_many(START, 1);
    world.grow(1, &writer);
    world.run();
    assert_ne!(world.hosts[0].machine.vector_root(), world.hosts[1].machine.vector_root());
    assert!(!world.hosts[1].machine.is_converged_with(world.hosts[0].node));
    world.pass(7 * SECOND_US);
    world.assert_equal();
    world.pass(7 * SECOND_US);
    assert!(world.hosts[0].machine.is_converged_with(world.hosts[1].node));
}
