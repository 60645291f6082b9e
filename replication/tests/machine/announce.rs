//! Our own commits are announced a moment after they are on disk, many of them at once, and fetched without a read.

use weft_protocol::{HeadGossip, SyncRequest, SyncResponse};
use weft_replication::{Input, Output, ReplicationConfig, RequestId};

use crate::world::{START, World};
use crate::writer::Writer;

const HOST: usize = 0;

/// One host that writes, with a member beside it.
fn writing() -> (World, Writer) {
    let writer = Writer::new(1);
    let mut world = World::new(&[writer.clone(), Writer::new(2)], &[&[], &[]]);
    world.connect(0, 1);
    world.run();
    (world, writer)
}

/// The machine is told of what was written since, and what it wants done about that.
fn grow(world: &mut World, writer: &Writer) -> Vec<Output> {
    let known = world.hosts[HOST].disk.get(&writer.chain).map_or(0, Vec::len);
    let mut outputs = Vec::new();
    for group in &writer.groups[known..] {
        world.hosts[HOST].disk.entry(writer.chain).or_default().push(group.clone());
        let commit = Box::new(group.signed.decode().unwrap());
        outputs.extend(world.ask(HOST, Input::OwnChainGrew { group: Box::new(group.clone()), commit }));
    }
    outputs
}

fn after(world: &mut World, us: u64) -> Vec<HeadGossip> {
    world.now = world.now.after_us(us);
    gossiped(world.ask(HOST, Input::Woken))
}

fn gossiped(outputs: Vec<Output>) -> Vec<HeadGossip> {
    let gossip = |output| match output {
        Output::Gossip(gossip) => Some(*gossip),
        _ => None,
    };
    outputs.into_iter().filter_map(gossip).collect()
}

fn asked(world: &mut World, from_commit: u64, bytes_max: u64) -> Vec<Output> {
    let (from, chain) = (world.hosts[1].node, world.hosts[HOST].disk.keys().next().copied().unwrap());
    let content = SyncRequest::Range { chain, from_commit, bytes_max };
    world.ask(HOST, Input::RequestArrived { request: RequestId(9), from, content })
}

fn pages(outputs: &[Output]) -> Vec<usize> {
    let page = |output: &Output| match output {
        Output::Respond { content, .. } => match &**content {
            SyncResponse::Page { groups, .. } => Some(groups.len()),
            _ => None,
        },
        _ => None,
    };
    outputs.iter().filter_map(page).collect()
}

#[test]
fn a_commit_that_comes_alone_is_announced_whole_a_moment_later() {
    let ReplicationConfig { announce_linger_us, announce_pause_us, .. } = ReplicationConfig::default();
    let (mut world, mut writer) = writing();
    writer.write(START, 2, 0, true);
    assert!(gossiped(grow(&mut world, &writer)).is_empty(), "who waits for it comes first");
    assert_eq!(after(&mut world, 0), []);
    world.run();
    assert_eq!(world.hosts[HOST].machine.next_wakeup(), Some(START.after_us(announce_linger_us)));
    assert_eq!(after(&mut world, announce_linger_us - 1), []);
    assert_eq!(after(&mut world, 1), [HeadGossip::Group(writer.groups[0].clone())]);
    assert_eq!(after(&mut world, announce_pause_us), [], "once");

    writer.write(START, 4, 10_000, true);
    grow(&mut world, &writer);
    let large = HeadGossip::Head(writer.groups[1].signed.clone());
    assert_eq!(after(&mut world, announce_linger_us), [large], "over 32 KiB");
    assert_eq!(world.hosts[HOST].machine.heads(), [writer.head()]);
    let status = &world.hosts[HOST].machine.chains(world.now)[0];
    assert_eq!((status.events, status.commits, status.checkpoints, status.events_sealed), (6, 2, 2, 6));
}

#[test]
fn of_many_in_short_succession_the_last_header_is_told_and_the_range_comes_out_of_memory() {
    let ReplicationConfig { announce_linger_us, announce_pause_us, .. } = ReplicationConfig::default();
    let (mut world, mut writer) = writing();
    writer.write_many(START, 1);
    grow(&mut world, &writer);
    after(&mut world, announce_linger_us);
    writer.write_many(START, 5);
    assert!(gossiped(grow(&mut world, &writer)).is_empty());
    assert_eq!(after(&mut world, announce_pause_us - 1), [], "not so soon after the last one");
    assert_eq!(after(&mut world, 1), [HeadGossip::Head(writer.groups[5].signed.clone())]);

    assert_eq!(pages(&asked(&mut world, 1, 1 << 20)), [5]);
    assert_eq!(pages(&asked(&mut world, 4, 1 << 20)), [2]);
    assert_eq!(pages(&asked(&mut world, 1, 1)), [1], "at least one");
    assert_eq!(pages(&asked(&mut world, 6, 1 << 20)), [0], "there are no more");
    let older = asked(&mut world, 0, 1 << 20);
    assert!(matches!(older[..], [Output::ReadRange { from_commit: 0, .. }]), "announced before: {older:?}");
}

#[test]
fn what_is_kept_in_memory_is_bounded_and_all_is_announced() {
    let ReplicationConfig { announce_linger_us, announce_pause_us, .. } = ReplicationConfig::default();
    let (mut world, mut writer) = writing();
    for _ in 0..12 {
        writer.write(START, 3, 10_000, true);
    }
    grow(&mut world, &writer);
    assert_eq!(after(&mut world, announce_linger_us), [HeadGossip::Head(writer.groups[11].signed.clone())]);
    assert!(matches!(asked(&mut world, 0, 1 << 20)[..], [Output::ReadRange { .. }]));
    let kept = pages(&asked(&mut world, 6, 1 << 20));
    assert_eq!(kept, [6], "under 256 KiB");

    writer.write_many(START, 2);
    grow(&mut world, &writer);
    assert_eq!(after(&mut world, announce_pause_us), [HeadGossip::Head(writer.groups[13].signed.clone())]);
    assert_eq!(world.hosts[HOST].machine.next_wakeup().filter(|at| *at <= world.now), None);
}

#[test]
fn a_node_that_goes_down_says_at_once_what_it_has_not_said() {
    let (mut world, mut writer) = writing();
    writer.write_many(START, 1);
    grow(&mut world, &writer);
    after(&mut world, 1_000);
    writer.write_many(START, 2);
    grow(&mut world, &writer);
    let each = [1, 2].map(|number: usize| HeadGossip::Group(writer.groups[number].clone()));
    assert_eq!(gossiped(world.ask(HOST, Input::Halting)), each, "nobody can ask it any more");
    assert_eq!(gossiped(world.ask(HOST, Input::Halting)), []);
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_from_being_announced() {
    let (mut world, mut writer) = writing();
    world.now = START.after_us(3_600_000_000);
    writer.write_many(START, 1);
    grow(&mut world, &writer);
    after(&mut world, 1_000);
    writer.write_many(START, 1);
    grow(&mut world, &writer);
    world.now = START;
    assert_eq!(gossiped(world.ask(HOST, Input::Woken)), [HeadGossip::Group(writer.groups[1].clone())]);
}

#[test]
fn a_header_that_somebody_passes_on_is_fetched_from_its_writer() {
    let mut writer = Writer::new(2);
    writer.write_many(START, 3);
    let mut world = World::new(&[Writer::new(1), writer.clone(), Writer::new(3)], &[&[], &[], &[]]);
    world.connect(0, 1);
    world.connect(0, 2);
    world.run();
    world.requests.clear();
    writer.write_many(START, 2);
    world.grow(1, &writer);
    world.run();
    let (from, head) = (world.hosts[2].node, writer.groups[4].signed.clone());
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Head(head)) });
    assert!(matches!(world.requests[..], [(0, 1, SyncRequest::Range { from_commit: 3, .. })]), "{:?}", world.requests);
}

#[test]
fn when_its_writer_is_not_connected_whoever_passed_it_on_is_asked_a_little_later() {
    let mut writer = Writer::new(2);
    writer.write_many(START, 3);
    let mut world = World::new(&[Writer::new(1), writer.clone(), Writer::new(3)], &[&[&writer], &[], &[&writer]]);
    world.connect(0, 2);
    world.run();
    world.requests.clear();
    writer.write_many(START, 2);
    let (from, head) = (world.hosts[2].node, writer.groups[4].signed.clone());
    world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Head(head)) });
    assert_eq!(world.requests, [], "it has it since a moment ago at most");
    world.now = world.now.after_us(ReplicationConfig::default().loss_pause_us);
    world.give(0, Input::Woken);
    let asks = |(by, to, request): &(usize, usize, SyncRequest)| {
        (*by, *to) == (0, 2) && matches!(request, SyncRequest::Range { from_commit: 3, .. })
    };
    assert_eq!(world.requests.iter().filter(|request| asks(request)).count(), 1, "{:?}", world.requests);
}
