//! Who vouches for what is asked, counted by commits on disk, and only of the history that is held.

use weft_protocol::{ChainId, Head, MessageId, NodeId, SyncRequest};
use weft_replication::Input;

use crate::world::{SECOND_US, START, World};
use crate::writer::Writer;

const SENDER: usize = 0;
const RECEIVER: usize = 1;
const THIRD: usize = 2;

/// Four writers with a chain each.
fn writers() -> [Writer; 4] {
    [0, 1, 2, 3].map(|seed| {
        let mut writer = Writer::new(seed);
        writer.write_many(START, 3);
        writer
    })
}

/// A world in which everybody holds everything and is connected to everybody.
fn world(writers: &[Writer; 4]) -> World {
    let held: Vec<Vec<&Writer>> =
        (0..4).map(|own| writers.iter().enumerate().filter(|(it, _)| *it != own).map(|(_, it)| it).collect()).collect();
    let held: Vec<&[&Writer]> = held.iter().map(Vec::as_slice).collect();
    let mut world = World::new(writers, &held);
    for one in 0..4 {
        for other in one + 1..4 {
            world.connect(one, other);
        }
    }
    world.pass(SECOND_US);
    world.requests.clear();
    world
}

fn message(writers: &[Writer; 4]) -> MessageId {
    MessageId { chain: writers[SENDER].chain, counter: 1 }
}

fn places(writers: &[Writer; 4]) -> Vec<(ChainId, u64)> {
    [SENDER, RECEIVER].map(|place| (writers[place].chain, writers[place].head().size)).to_vec()
}

fn sought(writers: &[Writer; 4], members: u8) -> Input {
    let except = [writers[SENDER].chain.node, writers[RECEIVER].chain.node];
    Input::WitnessesSought { message: message(writers), places: places(writers), except, members }
}

fn asked(world: &World) -> Vec<(usize, usize)> {
    let of = |(from, to, content): &(usize, usize, SyncRequest)| match content {
        SyncRequest::Witness { .. } => Some((*from, *to)),
        _ => None,
    };
    world.requests.iter().filter_map(of).collect()
}

/// A member vouches for these, in a commit that reaches everybody.
fn vouch(world: &mut World, writers: &mut [Writer; 4], place: usize, heads: &[Head]) {
    writers[place].vouch(world.now, heads);
    world.grow(place, &writers[place]);
    world.pass(12 * SECOND_US);
}

fn heads(writers: &[Writer; 4]) -> Vec<Head> {
    vec![writers[SENDER].head(), writers[RECEIVER].head()]
}

fn witnessed(world: &World) -> Vec<Vec<NodeId>> {
    world.hosts[SENDER].witnessed.iter().map(|(_, vouching)| vouching.clone()).collect()
}

#[test]
fn a_member_is_asked_vouches_and_counts_when_its_commit_is_on_disk() {
    let mut writers = writers();
    let mut world = world(&writers);
    world.give(SENDER, sought(&writers, 1));
    let [(SENDER, third)] = asked(&world)[..] else { panic!("{:?}", asked(&world)) };
    assert!(third == THIRD || third == 3, "neither sender nor receiver is asked");
    let wanted = [SENDER, RECEIVER].map(|place| writers[place].chain);
    assert_eq!(std::collections::BTreeSet::from_iter(world.hosts[third].anchored.clone()), wanted.into());
    assert_eq!(witnessed(&world), Vec::<Vec<NodeId>>::new(), "a promise to do so is no commit");
    let heads = heads(&writers);
    vouch(&mut world, &mut writers, third, &heads);
    assert_eq!(witnessed(&world), [vec![writers[third].chain.node]]);
    world.give(SENDER, Input::NoWitnessesSought { message: message(&writers) });
    world.requests.clear();
    world.pass(5 * SECOND_US);
    assert_eq!(asked(&world), [], "nobody is asked any more");
}

#[test]
fn a_member_that_does_not_is_followed_by_the_next_and_distinct_members_count() {
    let mut writers = writers();
    let mut world = world(&writers);
    world.give(SENDER, sought(&writers, 1));
    world.pass(SECOND_US);
    let mut others: Vec<usize> = asked(&world).iter().map(|(_, to)| *to).collect();
    others.sort_unstable();
    others.dedup();
    assert_eq!(others, [THIRD, 3], "the second when the first has not");
    let heads = heads(&writers);
    for place in [THIRD, THIRD, 3] {
        vouch(&mut world, &mut writers, place, &heads);
    }
    let mut all = vec![writers[THIRD].chain.node, writers[3].chain.node];
    all.sort_unstable();
    assert_eq!(witnessed(&world), [vec![writers[THIRD].chain.node], all], "twice the same member counts once");
}

#[test]
fn one_of_both_records_is_not_enough_and_neither_are_those_who_took_part() {
    let mut writers = writers();
    let mut world = world(&writers);
    world.give(SENDER, sought(&writers, 1));
    let heads = heads(&writers);
    vouch(&mut world, &mut writers, THIRD, &heads[..1]);
    vouch(&mut world, &mut writers, RECEIVER, &heads[..1]);
    assert_eq!(witnessed(&world), Vec::<Vec<NodeId>>::new());
    vouch(&mut world, &mut writers, THIRD, &heads[1..]);
    assert_eq!(witnessed(&world), [vec![writers[THIRD].chain.node]]);
}

#[test]
fn the_receiver_of_a_message_is_no_witness_of_its_sender() {
    let mut writers = writers();
    let mut world = world(&writers);
    let Input::WitnessesSought { message, mut places, except, members } = sought(&writers, 1) else { unreachable!() };
    places.truncate(1);
    world.give(SENDER, Input::WitnessesSought { message, places, except, members });
    let heads = heads(&writers);
    vouch(&mut world, &mut writers, RECEIVER, &heads[..1]);
    assert_eq!(witnessed(&world), Vec::<Vec<NodeId>>::new());
    vouch(&mut world, &mut writers, THIRD, &heads[..1]);
    assert_eq!(witnessed(&world), [vec![writers[THIRD].chain.node]]);
}

#[test]
fn a_commit_of_another_history_does_not_count() {
    let mut writers = writers();
    let mut world = world(&writers);
    world.give(SENDER, sought(&writers, 1));
    let mut wrong = heads(&writers);
    wrong[0].commit_hash = weft_protocol::Digest::from_bytes([7; 32]);
    vouch(&mut world, &mut writers, THIRD, &wrong);
    assert_eq!(witnessed(&world), Vec::<Vec<NodeId>>::new());
}

#[test]
fn a_commit_below_the_last_is_compared_with_what_is_on_disk() {
    let mut writers = writers();
    let (named, wanted) = (heads(&writers), sought(&writers, 1));
    for place in [SENDER, RECEIVER] {
        writers[place].write_many(START, 2);
    }
    let mut world = world(&writers);
    world.give(SENDER, wanted.clone());
    let mut wrong = named.clone();
    wrong[1].commit_hash = weft_protocol::Digest::from_bytes([7; 32]);
    vouch(&mut world, &mut writers, 3, &wrong);
    assert_eq!(witnessed(&world), Vec::<Vec<NodeId>>::new(), "another history");
    vouch(&mut world, &mut writers, THIRD, &named);
    assert_eq!(witnessed(&world), [vec![writers[THIRD].chain.node]]);
}

#[test]
fn who_does_not_hold_it_yet_vouches_when_it_does() {
    let mut writers = writers();
    let before = writers[SENDER].clone();
    writers[SENDER].write_many(START, 2);
    let [sender, receiver, third, _] = &writers;
    let mut world = World::new(&writers, &[&[receiver], &[sender], &[&before, receiver], &[]]);
    world.connect(SENDER, THIRD);
    world.carry = Box::new(|_, request, response| match request {
        SyncRequest::Range { .. } | SyncRequest::Hello { .. } => None,
        _ => Some(response),
    });
    world.pass(SECOND_US);
    world.give(SENDER, sought(&writers, 1));
    assert_eq!(world.hosts[THIRD].anchored, [receiver.chain], "what it holds");
    world.carry = Box::new(|_, _, response| Some(response));
    world.pass(20 * SECOND_US);
    assert!(world.hosts[THIRD].anchored.contains(&sender.chain), "and what it fetched since");
    assert_eq!(third.head().chain.node, world.hosts[THIRD].node);
}

#[test]
fn what_is_vouched_for_already_and_absurd_requests_make_nobody_write() {
    let mut writers = writers();
    let named = heads(&writers);
    writers[THIRD].vouch(START, &named);
    let mut world = world(&writers);
    let from = world.hosts[SENDER].node;
    let own = writers[THIRD].chain;
    let places = places(&writers).into_iter().chain([(own, 1), (writers[3].chain, u64::MAX)]).collect();
    let request = weft_replication::RequestId(9_999);
    let outputs = world.ask(THIRD, Input::RequestArrived { request, from, content: SyncRequest::Witness { places } });
    let anchored = outputs.iter().filter(|output| matches!(output, weft_replication::Output::Anchor { .. })).count();
    assert_eq!(anchored, 0, "{outputs:?}");
}
