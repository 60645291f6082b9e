//! Members that lack commits get them, page by page, from whoever has them, and then rest.

use weft_protocol::{CommitGroup, Head, PublicKeys, Recovered, SyncRequest, SyncResponse};
use weft_replication::{Input, Output, Replication, ReplicationConfig};

use crate::world::{SECOND_US, START, World};
use crate::writer::{Writer, cluster};

fn ranges(world: &World) -> Vec<(usize, usize, u64)> {
    let of = |(from, to, request): &(usize, usize, SyncRequest)| match request {
        SyncRequest::Range { from_commit, .. } => Some((*from, *to, *from_commit)),
        SyncRequest::Hello { .. }
        | SyncRequest::Stretch { .. }
        | SyncRequest::Head { .. }
        | SyncRequest::LastTick { .. }
        | SyncRequest::Lease { .. }
        | SyncRequest::Witness { .. }
        | SyncRequest::Adverts { .. }
        | SyncRequest::Trace { .. }
        | SyncRequest::Streams { .. }
        | SyncRequest::Evidence { .. }
        | SyncRequest::Publications { .. } => None,
    };
    world.requests.iter().filter_map(of).collect()
}

fn small_pages(page_bytes: u64) -> ReplicationConfig {
    ReplicationConfig { page_bytes, ..ReplicationConfig::default() }
}

#[test]
fn equal_members_exchange_less_than_512_bytes() {
    let (mut one, mut other) = (Writer::new(0), Writer::new(1));
    one.write_many(START, 3);
    other.write_many(START, 2);
    let mut world = World::new(&[one.clone(), other.clone()], &[&[&other], &[&one]]);
    world.connect(0, 1);
    world.run();
    assert_eq!(world.requests.len(), 2, "each compares once");
    assert!(world.bytes > 0 && world.bytes < 512, "{} bytes", world.bytes);
    for (host, peer) in [(0, 1), (1, 0)] {
        let (machine, peer) = (&world.hosts[host].machine, world.hosts[peer].node);
        assert!(machine.is_converged_with(peer));
        assert_eq!((machine.status().members_connected, machine.status().members_agreeing), (1, 1));
    }
}

#[test]
fn both_sides_pull_what_they_lack_from_one_connection() {
    let (mut one, mut other) = (Writer::new(0), Writer::new(1));
    one.write_many(START, 3);
    other.write_many(START, 2);
    let mut world = World::new(&[one.clone(), other.clone()], &[&[], &[]]);
    let one_node = world.hosts[0].node;
    world.give(1, Input::Connected { node: one_node });
    world.connect(0, 1);
    world.run();
    world.assert_equal();
    world.check_disks(&[&one, &other]);
    let (chain, facts, hlc) = &world.hosts[0].learned[0];
    assert_eq!((*chain, *hlc), (other.chain, other.state().last_hlc()));
    assert!(!facts.is_empty());
    let chains = world.hosts[1].machine.chains(world.now);
    let copy = chains.iter().find(|status| status.chain == one.chain).unwrap();
    assert_eq!((copy.events, copy.commits, copy.checkpoints, copy.events_sealed), (6, 3, 3, 6));
    assert_eq!((copy.root, copy.commit_hash), (one.head().root, one.head().commit_hash));
    assert_eq!((copy.parked, copy.forked, copy.commits_missing), (false, false, 0));
}

#[test]
fn a_long_chain_comes_in_pages_and_costs_little_more_than_its_bytes() {
    let mut writer = Writer::new(1);
    for number in 0..40 {
        writer.write(START, 6, 200, number % 5 == 0);
    }
    let stored: usize = writer.groups.iter().map(CommitGroup::size).sum();
    let configs = [small_pages(20_000), ReplicationConfig::default()];
    let mut world = World::configured(&[Writer::new(0), writer.clone()], &[&[], &[]], &configs);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
    let pages = ranges(&world);
    assert!(pages.len() >= 5, "{pages:?}");
    assert!(pages.iter().all(|(from, to, _)| (*from, *to) == (0, 1)));
    assert!(pages.is_sorted_by(|one, next| one.2 < next.2), "no page is asked for twice: {pages:?}");
    let bound = stored * 6 / 5 + 80 + 4 * 1024;
    assert!(world.bytes <= bound, "{} bytes for {stored}, at most {bound}", world.bytes);
}

#[test]
fn the_next_page_is_asked_for_while_the_last_is_verified_and_stored() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 6);
    let mut world = World::configured(
        &[Writer::new(0), writer.clone()],
        &[&[], &[]],
        &[small_pages(1), ReplicationConfig::default()],
    );
    let peer = world.hosts[1].node;
    let hello = world.ask(0, Input::Connected { node: peer });
    let [Output::Request { fetch, .. }] = hello[..] else { panic!("{hello:?}") };
    let heads = SyncResponse::Heads(vec![writer.head()]);
    let first = world.ask(0, Input::ResponseArrived { fetch, content: Box::new(heads) });
    let [Output::Request { fetch, content: SyncRequest::Range { from_commit: 0, .. }, .. }] = first[..] else {
        panic!("{first:?}")
    };
    let page = |number: usize| {
        let groups = vec![writer.groups[number].clone()];
        Box::new(SyncResponse::Page { chain: writer.chain, groups })
    };
    let second = world.ask(0, Input::ResponseArrived { fetch, content: page(0) });
    let [Output::Verify(job), Output::Request { fetch, content: SyncRequest::Range { from_commit: 1, .. }, .. }] =
        &second[..]
    else {
        panic!("{second:?}")
    };
    let stored = world.ask(0, Input::Verified(Box::new(job.clone().run())));
    assert!(matches!(&stored[..], [Output::Store { groups, .. }] if groups.len() == 1), "{stored:?}");
    assert_eq!(world.hosts[0].machine.heads(), [], "nothing is told of before it is on disk");
    let third = world.ask(0, Input::ResponseArrived { fetch: *fetch, content: page(1) });
    let [Output::Verify(job), Output::Request { .. }] = &third[..] else { panic!("{third:?}") };
    let waits = world.ask(0, Input::Verified(Box::new(job.clone().run())));
    assert!(waits.is_empty(), "one store at a time: {waits:?}");
    let chain = writer.chain;
    let next = world.ask(0, Input::Stored { chain });
    assert!(matches!(&next[..], [Output::Learn { .. }, Output::Store { .. }]), "{next:?}");
    assert_eq!(world.hosts[0].machine.heads()[0].commit_no, 0);
    let last = world.ask(0, Input::Stored { chain });
    assert!(matches!(&last[..], [Output::Learn { facts, .. }] if !facts.is_empty()), "{last:?}");
    assert_eq!(world.hosts[0].machine.heads()[0].commit_no, 1);
    assert!(world.ask(0, Input::Stored { chain }).is_empty(), "nothing was on its way");
}

#[test]
fn lost_responses_delay_but_do_not_prevent() {
    let mut writers: Vec<Writer> = (0..3).map(Writer::new).collect();
    for (writer, commits) in writers.iter_mut().zip([7, 5, 0]) {
        writer.write_many(START, commits);
    }
    let configs = vec![small_pages(8_000); 3];
    let mut world = World::configured(&writers, &[&[], &[], &[]], &configs);
    let mut number = 0_u32;
    world.carry = Box::new(move |_, _, response| {
        number += 1;
        number.is_multiple_of(3).then_some(response)
    });
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        world.connect(one, other);
    }
    world.run();
    assert_ne!(world.hosts[2].disk.len(), 2, "something was lost");
    world.pass(120 * SECOND_US);
    world.assert_equal();
    world.check_disks(&writers.iter().collect::<Vec<_>>());
    assert_eq!(world.hosts[2].machine.heads().len(), 2);
}

#[test]
fn a_third_member_serves_what_the_writer_is_not_there_to_serve() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 4);
    let relay = Writer::new(2);
    let mut world = World::new(&[Writer::new(0), writer.clone(), relay], &[&[], &[], &[&writer]]);
    world.connect(0, 2);
    world.run();
    assert_eq!(world.hosts[0].disk, world.hosts[2].disk);
}

#[test]
fn a_member_that_sends_rubbish_is_left_for_one_that_does_not() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 4);
    let mut world = World::new(&[Writer::new(0), writer.clone(), Writer::new(2)], &[&[], &[], &[&writer]]);
    world.carry = Box::new(|server, _, mut response| {
        if let (1, SyncResponse::Page { groups, .. }) = (server, &mut response) {
            groups[0].events[0][9] ^= 1;
        }
        Some(response)
    });
    world.connect(0, 1);
    world.run();
    assert!(!world.hosts[0].disk.contains_key(&writer.chain), "nothing unverified is stored");
    world.connect(0, 2);
    world.run();
    assert_eq!(world.hosts[0].disk, world.hosts[2].disk);
    world.check_disks(&[&writer]);
}

#[test]
fn a_chain_waits_for_its_writers_keys() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 3);
    let relay = Writer::new(2);
    let mut world = World::new(&[Writer::new(0), writer.clone(), relay.clone()], &[&[], &[], &[&writer]]);
    let keys: Vec<PublicKeys> = vec![relay.public()];
    let own = Writer::new(0).chain;
    let recovered = Recovered::default();
    world.hosts[0].node = own.node;
    world.hosts[0].machine = Replication::new(ReplicationConfig::default(), own, cluster(), keys, &recovered, 0, START);
    let relay_node = world.hosts[2].node;
    world.give(0, Input::Connected { node: relay_node });
    assert_eq!(ranges(&world), []);
    assert_eq!(world.hosts[0].machine.status().chains_keyless, 1);
    world.give(0, Input::MemberLearned { keys: writer.public() });
    assert_eq!(world.hosts[0].disk, world.hosts[2].disk);
    assert_eq!(world.hosts[0].machine.status().chains_keyless, 0);
}

#[test]
fn nothing_more_of_a_quarantined_member_is_accepted() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 3);
    let mut world = World::new(&[Writer::new(0), writer.clone(), Writer::new(2)], &[&[], &[], &[&writer]]);
    let node = writer.chain.node;
    world.give(0, Input::MemberQuarantined { node });
    world.connect(0, 2);
    world.pass(20 * SECOND_US);
    assert_eq!(ranges(&world), []);
    assert!(world.hosts[0].disk.is_empty());
}

#[test]
fn rounds_compare_with_two_members_every_five_seconds() {
    let writers: Vec<Writer> = (0..5).map(Writer::new).collect();
    let mut world = World::new(&writers, &[&[], &[], &[], &[], &[]]);
    assert_eq!(world.hosts[0].machine.next_wakeup(), None, "alone there is nothing to compare");
    for other in 1..5 {
        world.connect(0, other);
    }
    world.run();
    world.requests.clear();
    world.pass(100 * SECOND_US);
    let hellos = world.requests.iter().filter(|(from, _, _)| *from == 0).count();
    assert!((32..=54).contains(&hellos), "{hellos} comparisons in 20 rounds, jittered by a quarter");
    let mut reached: Vec<usize> = world.requests.iter().filter(|it| it.0 == 0).map(|it| it.1).collect();
    reached.sort_unstable();
    reached.dedup();
    assert_eq!(reached, [1, 2, 3, 4], "all are reached in time");
    for other in 1..5 {
        world.disconnect(0, other);
    }
    world.run();
    assert_eq!(world.hosts[0].machine.next_wakeup(), None);
}

#[test]
fn the_same_seed_asks_the_same_members() {
    let run = || {
        let mut writers: Vec<Writer> = (0..4).map(Writer::new).collect();
        writers[3].write_many(START, 2);
        let mut world = World::new(&writers, &[&[], &[], &[], &[]]);
        for other in 1..4 {
            world.connect(0, other);
        }
        world.pass(30 * SECOND_US);
        world.requests.iter().map(|(from, to, _)| (*from, *to)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_a_member() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 1);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    world.connect(0, 1);
    world.run();
    world.now.0 -= 40 * SECOND_US;
    world.give(0, Input::Woken);
    let next = world.hosts[0].machine.next_wakeup().unwrap();
    assert!(next <= world.now.after_us(7 * SECOND_US), "{} s", next.since_us(world.now) / SECOND_US);
}

#[test]
fn an_empty_page_ends_a_false_claim() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 2);
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    world.carry = Box::new(|_, _, mut response| {
        if let SyncResponse::Heads(heads) = &mut response {
            heads.iter_mut().for_each(|head| head.commit_no = u64::MAX - 1);
        }
        Some(response)
    });
    world.connect(0, 1);
    world.run();
    assert_eq!(world.hosts[0].disk[&writer.chain].len(), 2);
    assert_eq!(ranges(&world).len(), 2, "{:?}", ranges(&world));
    assert_eq!(world.hosts[0].machine.status().commits_missing, 0);
}

#[test]
fn claims_beyond_all_bounds_are_counted_and_cost_nothing() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 1);
    let lives: Vec<_> = (0..200_u64).map(|life| writer.reborn(life).chain).collect();
    let strangers: Vec<Writer> = vec![Writer::new(9)];
    let mut world = World::new(&[Writer::new(0), writer.clone()], &[&[], &[]]);
    let head = writer.head();
    let peer = world.hosts[1].node;
    let outputs = world.ask(0, Input::Connected { node: peer });
    let [Output::Request { fetch, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let claims = lives.iter().map(|chain| Head { chain: *chain, ..head.clone() });
    let unknown = (0..56_u64).map(|life| Head { chain: strangers[0].reborn(life).chain, ..head.clone() });
    let content = Box::new(SyncResponse::Heads(claims.chain(unknown).collect()));
    let outputs = world.ask(0, Input::ResponseArrived { fetch, content });
    assert_eq!(outputs.len(), 2, "at most two ranges are asked of one member: {outputs:?}");
    let status = world.hosts[0].machine.status();
    assert_eq!((status.chains_behind, status.chains_keyless), (16, 56));
    assert_eq!(status.refused, 200 - 16);
    assert_eq!(status.chains, 0);
}
