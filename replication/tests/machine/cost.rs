//! What it costs to become equal, in bytes of all requests and responses as they are framed: in proportion to the difference.

use weft_protocol::{ChainId, CommitGroup, Digest, Stretch, SyncRequest, SyncResponse};
use weft_replication::{FetchId, Input, Output};

use crate::world::{START, World};
use crate::writer::Writer;

/// So many chains with a commit each, of as many writers as that takes, 16 lives of each.
fn many_chains(count: u64) -> (Vec<Writer>, Vec<Writer>) {
    let bases: Vec<Writer> =
        (0..u8::try_from(count.div_ceil(16)).unwrap()).map(|seed| Writer::new(seed + 10)).collect();
    let lives = bases.iter().flat_map(|base| (1..=16).map(|life| base.reborn(life)));
    let chains = lives.take(usize::try_from(count).unwrap()).map(|mut writer| {
        writer.write(START, 2, 0, true);
        writer
    });
    (chains.collect(), bases)
}

fn bytes_of(groups: &[CommitGroup]) -> usize {
    groups.iter().map(CommitGroup::size).sum()
}

/// Two hosts, and further writers whose keys they know; the hosts hold these copies.
fn pair(bases: &[Writer], near: &[Writer], far: &[Writer]) -> World {
    let mut writers = vec![Writer::new(0), Writer::new(1)];
    writers.extend(bases.iter().cloned());
    let (near, far): (Vec<&Writer>, Vec<&Writer>) = (near.iter().collect(), far.iter().collect());
    let mut held: Vec<&[&Writer]> = vec![&near, &far];
    held.resize(writers.len(), &[]);
    World::new(&writers, &held)
}

/// Connects the two and lets them finish; what travelled, and how many comparisons of stretches did.
fn exchange(world: &mut World) -> (usize, usize) {
    world.connect(0, 1);
    world.run();
    assert_eq!(world.hosts[0].machine.vector_root(), world.hosts[1].machine.vector_root());
    assert!(world.hosts[0].disk == world.hosts[1].disk, "equal roots over different bytes");
    let stretches = world.requests.iter().filter(|(_, _, request)| matches!(request, SyncRequest::Stretch { .. }));
    (world.bytes, stretches.count())
}

/// As the project promises: 1.2 times the bytes that were missing, 80 bytes a chain and 4 KiB.
fn bound(missing: usize, chains: usize) -> usize {
    missing * 6 / 5 + 80 * chains + 4 * 1024
}

#[test]
fn equal_members_pay_for_one_hash_however_many_chains_they_hold() {
    for count in [1, 12, 300] {
        let (chains, bases) = many_chains(count);
        let (bytes, _) = exchange(&mut pair(&bases, &chains, &chains));
        println!("{count} equal chains: {bytes} bytes");
        assert!(bytes <= 512, "{bytes} bytes for {count} equal chains");
    }
}

#[test]
fn one_event_of_a_hundred_thousand_costs_less_than_16_kib() {
    let mut writer = Writer::new(9);
    while writer.state().size() < 99_999 {
        let left = usize::try_from(99_999 - writer.state().size()).unwrap();
        writer.write(START, left.min(256), 0, true);
    }
    let before = writer.clone();
    let missing = writer.write(START, 1, 0, true).size();
    assert_eq!(writer.state().size(), 100_000);
    let base = writer.clone();
    let (bytes, _) = exchange(&mut pair(&[base], &[before], &[writer]));
    println!("one event of 100,000: {bytes} bytes, of which the commit has {missing}");
    assert!(bytes <= 16 * 1024, "{bytes} bytes");
    assert!(bytes <= bound(missing, 1), "{bytes} bytes for a commit of {missing}");
}

#[test]
fn what_is_missing_costs_little_more_than_itself() {
    let mut writer = Writer::new(9);
    for number in 0..200 {
        writer.write(START, 40, 100, number % 6 == 0);
    }
    let missing = bytes_of(&writer.groups);
    let base = writer.clone();
    let (bytes, _) = exchange(&mut pair(&[base], &[], &[writer]));
    println!("a whole chain of {missing} bytes: {bytes} bytes");
    assert!(bytes <= bound(missing, 1), "{bytes} bytes for {missing}");
}

#[test]
fn among_many_chains_those_that_differ_are_found_by_stretches() {
    for (count, differing) in [(9, 1), (40, 1), (256, 1), (300, 1), (300, 5), (1_000, 3)] {
        let (near, bases) = many_chains(count);
        let mut far = near.clone();
        let mut missing = 0;
        for number in 0..differing {
            let chain = &mut far[number * 37 % usize::try_from(count).unwrap()];
            missing += chain.write(START, 1, 0, false).size();
        }
        let mut world = pair(&bases, &near, &far);
        let (bytes, stretches) = exchange(&mut world);
        let bound = bound(missing, near.len());
        println!(
            "{differing} of {count} chains, {missing} bytes: {bytes} bytes, {stretches} stretches, at most {bound}"
        );
        assert!(bytes <= bound, "{bytes} bytes for {differing} of {count} chains, at most {bound}");
        assert!(stretches > 0, "more heads than are told at once were not told in stretches");
    }
}

#[test]
fn a_new_member_gets_hundreds_of_chains() {
    let (chains, bases) = many_chains(400);
    let missing = chains.iter().map(|chain| bytes_of(&chain.groups)).sum();
    let mut world = pair(&bases, &[], &chains);
    let (bytes, stretches) = exchange(&mut world);
    let bound = bound(missing, chains.len());
    println!("400 new chains of {missing} bytes: {bytes} bytes, {stretches} stretches, at most {bound}");
    assert!(bytes <= bound, "{bytes} bytes for {missing}, at most {bound}");
}

fn stretch(first_byte: u8) -> Stretch {
    let mut id = [0; 40];
    id[0] = first_byte;
    Stretch { from: ChainId::from_bytes(&id), vector_root: Digest::from_bytes([1; 32]) }
}

#[test]
fn stretches_that_divide_nothing_are_counted_and_others_are_not_divided_for_ever() {
    let mut world = World::new(&[Writer::new(0), Writer::new(1)], &[&[], &[]]);
    let peer = world.hosts[1].node;
    let [Output::Request { fetch, .. }] = world.ask(0, Input::Connected { node: peer })[..] else { panic!() };
    let answer = |world: &mut World, fetch: FetchId, stretches: Vec<Stretch>| {
        world.ask(0, Input::ResponseArrived { fetch, content: Box::new(SyncResponse::Stretches(stretches)) })
    };
    let outputs = answer(&mut world, fetch, vec![stretch(0), stretch(9)]);
    let asked: Vec<FetchId> = outputs
        .iter()
        .map(|output| match output {
            Output::Request { fetch, content: SyncRequest::Stretch { .. }, .. } => *fetch,
            other => panic!("{other:?}"),
        })
        .collect();
    let [first, mut second] = asked[..] else { panic!("{outputs:?}") };
    assert!(answer(&mut world, first, Vec::new()).is_empty());
    assert_eq!(world.hosts[0].machine.status().refused, 1);
    assert!(answer(&mut world, first, Vec::new()).is_empty(), "nobody waits for this");
    assert_eq!(world.hosts[0].machine.status().refused, 1);
    let mut divisions = 0;
    while let [Output::Request { fetch, .. }] = answer(&mut world, second, vec![stretch(9)])[..] {
        second = fetch;
        divisions += 1;
    }
    assert_eq!(divisions, 3, "four in all, the first of everything among them");
}

#[test]
fn an_answer_must_divide_exactly_what_was_asked() {
    let beyond = vec![stretch(0), stretch(9)];
    let many = (0..17).map(stretch).collect();
    for nonsense in [vec![stretch(1)], vec![stretch(0), stretch(0)], beyond, many] {
        let mut world = World::new(&[Writer::new(0), Writer::new(1)], &[&[], &[]]);
        let peer = world.hosts[1].node;
        let [Output::Request { fetch, .. }] = world.ask(0, Input::Connected { node: peer })[..] else { panic!() };
        let content = Box::new(SyncResponse::Stretches(vec![stretch(0), stretch(9)]));
        let outputs = world.ask(0, Input::ResponseArrived { fetch, content });
        let Output::Request { fetch, .. } = outputs[0] else { panic!("{outputs:?}") };
        let content = Box::new(SyncResponse::Stretches(nonsense.clone()));
        assert!(world.ask(0, Input::ResponseArrived { fetch, content }).is_empty(), "{nonsense:?}");
        assert_eq!(world.hosts[0].machine.status().refused, 1, "{nonsense:?}");
    }
}
