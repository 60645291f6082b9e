//! What happens when the disk is slow, a link is busy, answers cross, or somebody sends more than was asked for.

use weft_protocol::{CommitGroup, Head, HeadGossip, NodeId, SyncRequest, SyncResponse};
use weft_replication::{FetchId, Input, Job, Output};

use crate::world::{START, World};
use crate::writer::Writer;

/// Host 0, connected to host 1, who was compared with and told these heads: what host 0 wants then.
fn told(world: &mut World, heads: Vec<Head>) -> Vec<Output> {
    let node = world.hosts[1].node;
    let outputs = world.ask(0, Input::Connected { node });
    let [Output::Request { fetch, .. }] = outputs[..] else { panic!("{outputs:?}") };
    world.ask(0, Input::ResponseArrived { fetch, content: Box::new(SyncResponse::Heads(heads)) })
}

fn page(world: &mut World, fetch: FetchId, groups: &[CommitGroup]) -> Vec<Output> {
    let chain = groups[0].signed.decode().unwrap().chain;
    let content = Box::new(SyncResponse::Page { chain, groups: groups.to_vec() });
    world.ask(0, Input::ResponseArrived { fetch, content })
}

fn gossip(world: &mut World, from: NodeId, group: &CommitGroup) -> Vec<Output> {
    world.ask(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Group(group.clone())) })
}

fn verified(world: &mut World, job: Job) -> Vec<Output> {
    world.ask(0, Input::Verified(Box::new(job.run())))
}

/// The ranges asked for: under which number, of whom, from which commit on.
fn ranges(outputs: &[Output]) -> Vec<(FetchId, NodeId, u64)> {
    let range = |output: &Output| match output {
        Output::Request { fetch, to, content: SyncRequest::Range { from_commit, .. } } => {
            Some((*fetch, *to, *from_commit))
        }
        _ => None,
    };
    outputs.iter().filter_map(range).collect()
}

/// The verifications wanted.
fn jobs(outputs: &[Output]) -> Vec<Job> {
    let job = |output: &Output| match output {
        Output::Verify(job) => Some((**job).clone()),
        _ => None,
    };
    outputs.iter().filter_map(job).collect()
}

/// How many groups each wanted store has.
fn stores(outputs: &[Output]) -> Vec<usize> {
    let store = |output: &Output| match output {
        Output::Store { groups, .. } => Some(groups.len()),
        _ => None,
    };
    outputs.iter().filter_map(store).collect()
}

fn reader_and(writer: &Writer) -> World {
    World::new(&[Writer::new(0), writer.clone(), Writer::new(2)], &[&[], &[], &[]])
}

#[test]
fn a_slow_disk_stops_verification_and_then_fetching() {
    let mut writer = Writer::new(1);
    for _ in 0..20 {
        writer.write(START, 3, 61_000, true);
    }
    let pages: Vec<&[CommitGroup]> = writer.groups.chunks(5).collect();
    let mut world = reader_and(&writer);
    let outputs = told(&mut world, vec![writer.head()]);
    let mut asked = ranges(&outputs);
    for (number, page_groups) in pages[..2].iter().enumerate() {
        let outputs = page(&mut world, asked[0].0, page_groups);
        asked = ranges(&outputs);
        assert_eq!(asked[0].2 as usize, 5 * (number + 1), "the next page is asked for at once");
        let outputs = verified(&mut world, jobs(&outputs).remove(0));
        assert_eq!(stores(&outputs).len(), 1 - number, "the first goes to the disk, the second waits for it");
    }
    let outputs = page(&mut world, asked[0].0, pages[2]);
    assert!(outputs.is_empty(), "the third waits unverified, the fourth is not asked for: {outputs:?}");
    let outputs = world.ask(0, Input::Stored { chain: writer.chain });
    assert_eq!((stores(&outputs), jobs(&outputs).len(), ranges(&outputs).len()), (vec![5], 1, 1), "all move on");
}

#[test]
fn an_announcement_that_crosses_a_page_is_taken_once() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 2);
    let mut world = reader_and(&writer);
    let asked = ranges(&told(&mut world, vec![writer.head()]));
    let from = world.hosts[1].node;
    let first = jobs(&gossip(&mut world, from, &writer.groups[0]));
    assert_eq!(first[0].len(), 1);
    assert!(page(&mut world, asked[0].0, &writer.groups).is_empty(), "waits behind the announced one");
    let outputs = verified(&mut world, first[0].clone());
    let second = jobs(&outputs);
    assert_eq!(second[0].len(), 1, "without what was announced");
    assert_eq!(stores(&outputs), [1]);
    assert_eq!(second[0].clone().run().error(), None);
}

#[test]
fn a_page_that_begins_beyond_what_is_left_after_a_refusal_is_asked_for_again() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 4);
    let mut world = reader_and(&writer);
    let asked = ranges(&told(&mut world, vec![writer.head()]));
    let mut spoiled = writer.groups[..2].to_vec();
    spoiled[1].signed.ed25519[0] ^= 1;
    let outputs = page(&mut world, asked[0].0, &spoiled);
    let next = ranges(&outputs);
    assert_eq!(next[0].2, 2);
    assert_eq!(stores(&verified(&mut world, jobs(&outputs).remove(0))), [1], "the good one is kept");
    assert!(page(&mut world, next[0].0, &writer.groups[2..]).is_empty(), "its sender is left alone for a while");
    assert_eq!(world.hosts[0].machine.status().refused, 1);
}

#[test]
fn what_waits_behind_a_forged_announcement_is_fetched_from_who_announced_it() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 3);
    let mut world = reader_and(&writer);
    let (liar, honest) = (world.hosts[1].node, world.hosts[2].node);
    world.ask(0, Input::Connected { node: liar });
    world.ask(0, Input::Connected { node: honest });
    let mut forged = writer.groups[0].clone();
    forged.events[0][12] ^= 1;
    let job = jobs(&gossip(&mut world, liar, &forged)).remove(0);
    assert!(gossip(&mut world, honest, &writer.groups[0]).is_empty(), "under the same number as what is verified");
    assert!(gossip(&mut world, honest, &writer.groups[1]).is_empty(), "behind it");
    let outputs = verified(&mut world, job);
    assert_eq!(jobs(&outputs).len(), 0, "nothing is verified that continues what was refused");
    let asked = ranges(&outputs);
    assert_eq!((asked.len(), asked[0].1, asked[0].2), (1, honest, 0));
    let outputs = page(&mut world, asked[0].0, &writer.groups[..2]);
    assert_eq!(stores(&verified(&mut world, jobs(&outputs).remove(0))), [2]);
}

#[test]
fn more_than_a_page_is_not_even_verified() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 2);
    let mut world = reader_and(&writer);
    let asked = ranges(&told(&mut world, vec![writer.head()]));
    let mut groups = writer.groups.clone();
    groups[1].events = vec![vec![0; 64 * 1024].into(); 16];
    assert!(page(&mut world, asked[0].0, &groups).is_empty());
    assert_eq!(world.hosts[0].machine.status().refused, 1);
}

#[test]
fn a_busy_link_is_waited_for_without_waking() {
    let base = Writer::new(1);
    let mut lives: Vec<Writer> = (1..4).map(|life| base.reborn(life)).collect();
    lives.iter_mut().for_each(|life| life.write_many(START, 1));
    let mut world = reader_and(&base);
    let outputs = told(&mut world, lives.iter().map(Writer::head).collect());
    let asked = ranges(&outputs);
    assert_eq!(asked.len(), 2, "two of three at a time");
    let outputs = world.ask(0, Input::FetchFailed { fetch: asked[0].0 });
    assert_eq!(ranges(&outputs).len(), 1, "the third takes the place of the lost one");
    let pause_ends = world.now.after_us(500_000);
    assert_eq!(world.hosts[0].machine.next_wakeup(), Some(pause_ends));
    world.now = pause_ends;
    assert!(world.ask(0, Input::Woken).is_empty(), "the link is still busy");
    assert!(world.hosts[0].machine.next_wakeup().unwrap() > world.now, "no timer can help");
    let outputs = world.ask(0, Input::FetchFailed { fetch: asked[1].0 });
    assert_eq!(ranges(&outputs).len(), 1, "the lost one is asked for again");
}

#[test]
fn a_lost_comparison_is_begun_again_soon() {
    let mut world = reader_and(&Writer::new(1));
    let node = world.hosts[1].node;
    let outputs = world.ask(0, Input::Connected { node });
    let [Output::Request { fetch, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert!(world.ask(0, Input::FetchFailed { fetch }).is_empty());
    let due = world.now.after_us(500_000);
    assert_eq!(world.hosts[0].machine.next_wakeup(), Some(due));
    world.now = due;
    let outputs = world.ask(0, Input::Woken);
    assert!(matches!(outputs[..], [Output::Request { content: SyncRequest::Hello { .. }, .. }]), "{outputs:?}");
}

#[test]
fn what_is_verified_when_a_fork_is_proven_does_not_reach_the_disk_any_more() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 2);
    let mut other = writer.clone();
    writer.write_many(START, 3);
    other.write(START, 2, 1, true);
    let mut world = reader_and(&writer);
    let from = world.hosts[1].node;
    world.ask(0, Input::Connected { node: from });
    let chain = writer.chain;
    let store = |world: &mut World, number: usize| {
        let outputs = gossip(world, from, &writer.groups[number]);
        stores(&verified(world, jobs(&outputs).remove(0)))
    };
    for number in 0..3 {
        assert_eq!(store(&mut world, number), [1]);
        world.ask(0, Input::Stored { chain });
    }
    assert_eq!(store(&mut world, 3), [1]);
    assert_eq!(store(&mut world, 4), [0; 0], "waits for the disk");
    let outputs = gossip(&mut world, gone(), &other.groups[2]);
    let [Output::ReadCommit { commit_no: 2, other, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    let held = Some(Box::new(writer.groups[2].signed.clone()));
    let outputs = world.ask(0, Input::CommitRead { chain, held, other: other.clone() });
    assert!(matches!(outputs[..], [Output::ReportFork(_), Output::Gossip(_)]), "{outputs:?}");
    let outputs = world.ask(0, Input::Stored { chain });
    let cut = matches!(outputs[..], [Output::Learn { .. }, Output::Cut { from_commit: 2, .. }]);
    assert!(cut, "what was on its way to the disk is awaited: {outputs:?}");
    assert!(world.hosts[0].machine.heads().is_empty(), "nothing is told of a chain that is being cut");
}

/// Somebody who passed gossip on and is gone.
fn gone() -> NodeId {
    Writer::new(77).chain.node
}

#[test]
fn no_more_pages_are_asked_for_than_memory_is_meant_for() {
    let writers: Vec<Writer> = (0..41).map(Writer::new).collect();
    let mut lives: Vec<Writer> = writers[1..6].iter().flat_map(|it| (100..116).map(|life| it.reborn(life))).collect();
    lives.iter_mut().for_each(|life| life.write_many(START, 1));
    let heads: Vec<Head> = lives.iter().map(Writer::head).collect();
    let mut world = World::new(&writers, &vec![&[][..]; 41]);
    let mut asked = Vec::new();
    for (host, heads) in (1..41).zip(heads.chunks(2)) {
        let node = world.hosts[host].node;
        let outputs = world.ask(0, Input::Connected { node });
        let [Output::Request { fetch, .. }] = outputs[..] else { panic!("{outputs:?}") };
        let content = Box::new(SyncResponse::Heads(heads.to_vec()));
        asked.extend(ranges(&world.ask(0, Input::ResponseArrived { fetch, content })));
    }
    assert_eq!(asked.len(), 64, "of 80 chains that 40 members hold");
    let outputs = world.ask(0, Input::FetchFailed { fetch: asked[0].0 });
    assert_eq!(ranges(&outputs).len(), 1, "one makes room for another");
}
