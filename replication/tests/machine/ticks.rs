//! A node that breaks its own tick is proven guilty, whichever of the two arrives first, and what it wrote below the tick does not count.

use weft_protocol::limits::EVIDENCE_BYTES_MAX;
use weft_protocol::{
    Anchor, CommitRef, Evidence, HeadGossip, Hlc, Incarnation, Recovered, RecoveredChain, SignedTick, SignedTickClaim,
    Statement, SyncRequest, SyncResponse, Tick, encode,
};
use weft_replication::{
    EvidenceError, ForkKind, ForkVerdict, Input, Output, Replication, ReplicationConfig, RequestId, Standing, Step,
    check_evidence,
};

use crate::world::{SECOND_US, START, World};
use crate::writer::{Writer, cluster};

/// A writer of so many commits; what it says a second later while nothing is on its way; and what it writes all the same, as if it
/// had not said that.
fn broken(commits: usize, below: usize) -> (Writer, SignedTick) {
    let mut writer = Writer::new(9);
    writer.write_many(START, commits);
    let tick = writer.clone().tick(START.after_us(SECOND_US));
    writer.write_many(START, below);
    (writer, tick)
}

fn claim(signed: &SignedTick) -> SignedTickClaim {
    signed.claim(&signed.peek().unwrap())
}

fn gossip(tick: &SignedTick) -> Box<HeadGossip> {
    Box::new(HeadGossip::Tick(Box::new(tick.clone())))
}

/// Hosts 0 and 1 are connected; of the writer, which is not, host 0 holds so many commits and host 1 everything.
fn holding(writer: &Writer, held: usize) -> World {
    let mut part = writer.clone();
    part.groups.truncate(held);
    let part = replayed(&part);
    let mut world = World::new(&[Writer::new(0), Writer::new(1), writer.clone()], &[&[&part], &[], &[]]);
    world.connect(0, 1);
    world.run();
    assert_eq!(world.hosts[1].disk.get(&writer.chain).map_or(0, Vec::len), held);
    world
}

/// The same writer as of its groups.
fn replayed(writer: &Writer) -> Writer {
    let mut again = writer.clone();
    again.replay();
    again
}

fn hear(world: &mut World, host: usize, tick: &SignedTick) {
    let from = world.hosts[1 - host].node;
    world.give(host, Input::Gossiped { from, gossip: gossip(tick) });
}

fn show(world: &mut World, host: usize, writer: &Writer, number: usize) {
    let from = world.hosts[1 - host].node;
    let gossip = Box::new(HeadGossip::Group(writer.groups[number].clone()));
    world.give(host, Input::Gossiped { from, gossip });
}

fn verdicts(world: &World, host: usize, writer: &Writer) -> Vec<(u64, ForkKind)> {
    let reported = world.hosts[host].reported.iter();
    let verdict = |evidence: &Evidence| check_evidence(evidence, &writer.public()).unwrap();
    reported.map(verdict).map(|ForkVerdict { commit_no, kind, .. }| (commit_no, kind)).collect()
}

#[test]
fn a_commit_that_breaks_a_tick_convicts_in_either_order_of_arrival() {
    for tick_first in [true, false] {
        let (writer, tick) = broken(3, 2);
        let mut world = holding(&writer, 3);
        if tick_first {
            hear(&mut world, 0, &tick);
        }
        for number in [3, 4] {
            show(&mut world, 0, &writer, number);
        }
        if !tick_first {
            assert_eq!(world.hosts[0].disk[&writer.chain].len(), 5, "nobody knows better yet");
            hear(&mut world, 0, &tick);
        }
        for host in [0, 1] {
            assert_eq!(verdicts(&world, host, &writer), [(3, ForkKind::BrokenTick)], "host {host}, {tick_first}");
            assert_eq!(world.hosts[host].disk[&writer.chain], writer.groups[..3], "host {host}, {tick_first}");
        }
        assert_eq!(world.hosts[0].cuts, usize::from(!tick_first), "what is not written need not be cut");
        assert_eq!(world.hosts[0].machine.vector_root(), world.hosts[1].machine.vector_root());
        let evidence = &world.hosts[0].reported[0];
        assert!(encode(evidence).len() <= EVIDENCE_BYTES_MAX);
        assert!(evidence.first == claim(&tick).into() || evidence.second == claim(&tick).into());
        // It stays proven, and is proven once.
        hear(&mut world, 0, &tick);
        show(&mut world, 0, &writer, 4);
        world.pass(30 * SECOND_US);
        assert_eq!(world.hosts[0].reported.len(), 1);
        assert!(world.hosts[0].machine.chains(world.now).iter().any(|it| it.chain == writer.chain && it.forked));
    }
}

#[test]
fn a_commit_on_its_way_when_the_tick_comes_convicts_when_it_is_on_disk() {
    let (writer, tick) = broken(2, 1);
    let mut world = holding(&writer, 2);
    let from = world.hosts[1].node;
    let group = Box::new(HeadGossip::Group(writer.groups[2].clone()));
    let outputs = world.ask(0, Input::Gossiped { from, gossip: group });
    let [Output::Verify(job)] = &outputs[..] else { panic!("{outputs:?}") };
    let outputs = world.ask(0, Input::Verified(Box::new((**job).clone().run())));
    let [Output::Store { chain, .. }] = outputs[..] else { panic!("{outputs:?}") };
    // Verified already, and not to be read yet.
    assert!(world.ask(0, Input::Gossiped { from, gossip: gossip(&tick) }).is_empty());
    let outputs = world.ask(0, Input::Stored { chain });
    let read = outputs.iter().find_map(|output| match output {
        Output::ReadCommit { commit_no: 2, other, .. } => Some(other.clone()),
        _ => None,
    });
    let (held, other) = (Some(Box::new(writer.groups[2].signed.clone())), read.unwrap());
    let outputs = world.ask(0, Input::CommitRead { chain, held, other });
    let cut = matches!(outputs[..], [Output::ReportFork(_), Output::Gossip(_), Output::Cut { from_commit: 2, .. }]);
    assert!(cut, "{outputs:?}");
}

#[test]
fn what_a_page_brings_below_an_earlier_tick_convicts_although_a_later_one_was_heard() {
    // The second tick is of the commit that breaks the first; both are heard before either commit is here.
    let (mut writer, first) = broken(3, 1);
    writer.restart(2 * SECOND_US);
    let second = writer.tick(START.after_us(2 * SECOND_US));
    writer.write(START, 2, 0, true);
    let mut world = holding(&writer, 1);
    hear(&mut world, 0, &first);
    world.now = world.now.after_us(SECOND_US);
    hear(&mut world, 0, &second);
    for number in 1..writer.groups.len() {
        show(&mut world, 0, &writer, number);
    }
    assert_eq!(verdicts(&world, 0, &writer), [(3, ForkKind::BrokenTick)]);
    assert_eq!(world.hosts[0].disk[&writer.chain], writer.groups[..3]);
}

#[test]
fn ticks_that_are_kept_convict_nobody() {
    let mut writer = Writer::new(9);
    writer.write_many(START, 1);
    let mut world = holding(&writer, 1);
    let mut now = START;
    for round in 0..12_usize {
        let busy = writer.tick_of(writer.groups.len() - 1, writer.state().last_hlc());
        now = now.after_us(SECOND_US);
        world.now = now;
        let idle = writer.tick(now);
        writer.write(now, round % 3, 0, true);
        let number = writer.groups.len() - 1;
        // Heard before, after and between; the same again.
        if round % 2 == 0 {
            hear(&mut world, 0, if round % 4 == 0 { &busy } else { &idle });
            show(&mut world, 0, &writer, number);
        } else {
            show(&mut world, 0, &writer, number);
            hear(&mut world, 0, &idle);
            hear(&mut world, 0, &busy);
        }
    }
    assert_eq!(world.hosts[0].disk[&writer.chain], writer.groups);
    assert!(world.hosts.iter().all(|host| host.reported.is_empty()));
    assert_eq!(world.hosts[0].machine.status().refused, 0);
}

#[test]
fn a_tick_of_another_history_convicts_and_the_parting_is_found() {
    // Host 0 holds one history and host 1 the other, whose last commit, or one before, the tick names.
    for (named, held) in [(5, 6), (4, 6), (5, 7), (4, 5)] {
        let mut first = Writer::new(9);
        first.write_many(START, 3);
        let mut second = first.clone();
        first.write_many(START, held - 3);
        for _ in 3..6 {
            second.write(START, 2, 1, true);
        }
        let tick = second.tick_of(named, second.state().last_hlc());
        let mut world = World::new(&[Writer::new(0), Writer::new(1), first.clone()], &[&[&first], &[&second], &[]]);
        // They are linked for what follows, and have not compared yet.
        let node = world.hosts[1].node;
        world.ask(0, Input::Connected { node });
        hear(&mut world, 0, &tick);
        let found = verdicts(&world, 0, &first);
        assert_eq!(found, [(3, ForkKind::Siblings)], "{named} {held}");
        assert_eq!(world.hosts[0].disk[&first.chain].len(), 3);
    }
}

#[test]
fn two_ticks_of_one_number_and_two_commits_convict() {
    let mut first = Writer::new(9);
    first.write_many(START, 3);
    let mut second = first.clone();
    first.write_many(START, 1);
    second.write(START, 2, 1, true);
    let one = first.tick_of(3, first.state().last_hlc());
    let other = second.tick_of(3, second.state().last_hlc());
    let mut world = World::new(&[Writer::new(0), Writer::new(1), first.clone()], &[&[], &[], &[]]);
    hear(&mut world, 0, &one);
    assert!(world.hosts[0].reported.is_empty());
    hear(&mut world, 0, &other);
    assert_eq!(verdicts(&world, 0, &first), [(3, ForkKind::SameNumber)], "guilt, and no place");
    hear(&mut world, 0, &one);
    assert_eq!(world.hosts[0].reported.len(), 1);
}

#[test]
fn evidence_of_a_broken_tick_from_another_member_cuts_and_is_passed_on() {
    let (writer, tick) = broken(3, 3);
    let evidence = |number: usize| Evidence {
        first: writer.groups[number].signed.clone().into(),
        second: claim(&tick).into(),
        rotations: Vec::new(),
    };
    // Also when it shows only that a commit far behind the tick is below it: the one that follows the tick's is held here.
    for (number, reports) in
        [(3, vec![(3, ForkKind::BrokenTick)]), (5, vec![(3, ForkKind::BelowTick), (3, ForkKind::BrokenTick)])]
    {
        let mut world = World::new(&[Writer::new(0), Writer::new(1), writer.clone()], &[&[&writer], &[], &[]]);
        let from = world.hosts[1].node;
        world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Fork(Box::new(evidence(number)))) });
        assert_eq!(verdicts(&world, 0, &writer), reports);
        assert_eq!(world.hosts[0].disk[&writer.chain], writer.groups[..3]);
        let passed_on = world.hosts[0].gossiped.iter().filter(|gossip| matches!(gossip, HeadGossip::Fork(_)));
        assert_eq!(passed_on.count(), reports.len());
        // Whoever asks gets it.
        let content = SyncRequest::Evidence { chain: writer.chain };
        let outputs = world.ask(0, Input::RequestArrived { request: RequestId(7), from, content });
        let [Output::Respond { content, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        let held = world.hosts[0].machine.evidence().next().cloned();
        assert_eq!(**content, SyncResponse::Evidence(held.map(Box::new)));
    }
}

#[test]
fn what_is_no_evidence_of_a_broken_tick_changes_nothing() {
    let (writer, tick) = broken(3, 2);
    let mut world = World::new(&[Writer::new(0), Writer::new(1), writer.clone()], &[&[&writer], &[], &[]]);
    let from = world.hosts[1].node;
    let mut forged = claim(&tick);
    forged.ed25519[5] ^= 1;
    let mut theirs = Writer::new(8);
    theirs.write_many(START, 4);
    let others = theirs.tick_of(3, Hlc(u64::MAX / 2));
    let kept = writer.tick_of(3, writer.groups[3].signed.decode().unwrap().hlc_last);
    let pairs: [(Statement, usize); 4] = [
        (forged.into(), 3),
        (claim(&others).into(), 3),
        (claim(&kept).into(), 4),
        // Nothing is said of what stands before the tick's commit, nor of that itself.
        (claim(&tick).into(), 2),
    ];
    for (refused, (tick, number)) in pairs.into_iter().enumerate() {
        let evidence =
            Evidence { first: tick, second: writer.groups[number].signed.clone().into(), rotations: Vec::new() };
        assert!(check_evidence(&evidence, &writer.public()).is_err());
        world.give(0, Input::Gossiped { from, gossip: Box::new(HeadGossip::Fork(Box::new(evidence))) });
        assert_eq!(world.hosts[0].machine.status().refused, refused as u64 + 1, "counted");
    }
    let twice = Evidence { first: claim(&tick).into(), second: claim(&tick).into(), rotations: Vec::new() };
    assert_eq!(check_evidence(&twice, &writer.public()), Err(EvidenceError::SameStatement));
    assert!(world.hosts[0].reported.is_empty());
    assert_eq!(world.hosts[0].disk[&writer.chain], writer.groups);
}

#[test]
fn a_broken_tick_does_not_take_what_more_than_half_had_anchored() {
    for vouching in [2, 1] {
        let (writer, tick) = broken(3, 3);
        let signed = &writer.groups[4].signed;
        let head = signed.decode().unwrap().head(signed.hash());
        let mut honest = [Writer::new(0), Writer::new(1)];
        for (place, own) in honest.iter_mut().enumerate() {
            own.write_many(START, 1);
            own.vouch(START, if place < vouching { std::slice::from_ref(&head) } else { &[] });
        }
        let [zero, one] = honest;
        let mut world = World::new(&[zero, one, writer.clone()], &[&[&writer], &[&writer], &[]]);
        world.connect(0, 1);
        world.pass(20 * SECOND_US);
        world.now = world.now.after_us(SECOND_US);
        hear(&mut world, 0, &tick);
        world.pass(20 * SECOND_US);
        let kept = if vouching == 2 { 5 } else { 3 };
        for host in [0, 1] {
            assert_eq!(verdicts(&world, host, &writer), [(3, ForkKind::BrokenTick)]);
            assert_eq!(
                world.hosts[host].disk[&writer.chain],
                writer.groups[..kept],
                "{vouching} of three, host {host}"
            );
        }
    }
}

#[test]
fn a_broken_tick_stays_proven_after_a_restart_and_its_cut_is_made() {
    let (writer, tick) = broken(3, 2);
    let evidence =
        Evidence { first: claim(&tick).into(), second: writer.groups[3].signed.clone().into(), rotations: Vec::new() };
    let chain = RecoveredChain { state: writer.state().clone(), facts: Vec::new(), anchors: Vec::<Anchor>::new() };
    let recovered = Recovered { chains: vec![chain], evidence: vec![evidence.clone()], ..Recovered::default() };
    let own = Writer::new(0).chain;
    let config = ReplicationConfig::default();
    let mut machine = Replication::new(config, own, cluster(), vec![writer.public()], &recovered, 0, START);
    let mut outputs = Vec::new();
    machine.handle(Input::Woken, START, &mut outputs);
    assert!(matches!(outputs[..], [Output::Cut { from_commit: 3, .. }]), "{outputs:?}");
    assert_eq!(machine.evidence().collect::<Vec<_>>(), [&evidence]);
}

#[test]
fn a_tick_broken_after_a_rotation_is_proven_with_it() {
    let mut writer = Writer::new(9);
    writer.write_many(START, 2);
    writer.rotate(START);
    let tick = writer.clone().tick(START.after_us(SECOND_US));
    writer.write_many(START, 1);
    let mut world = holding(&writer, 3);
    hear(&mut world, 0, &tick);
    show(&mut world, 0, &writer, 3);
    assert_eq!(verdicts(&world, 0, &writer), [(3, ForkKind::BrokenTick)], "under the keys of the certificate alone");
    let evidence = &world.hosts[0].reported[0];
    assert_eq!(evidence.rotations.len(), 1);
    assert!(encode(evidence).len() <= EVIDENCE_BYTES_MAX);
}

#[test]
fn a_node_that_starts_is_told_its_last_tick() {
    let mut writer = Writer::new(9);
    writer.write_many(START, 2);
    let mut world = holding(&writer, 2);
    let from = world.hosts[1].node;
    let told = |world: &mut World| {
        let content = SyncRequest::LastTick { chain: writer.chain };
        let outputs = world.ask(0, Input::RequestArrived { request: RequestId(7), from, content });
        let [Output::Respond { content, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        let SyncResponse::LastTick(tick) = &**content else { panic!("{content:?}") };
        tick.clone()
    };
    assert_eq!(told(&mut world), None);
    for second in 1..4 {
        world.now = world.now.after_us(SECOND_US);
        let tick = writer.clone().tick(START.after_us(second * SECOND_US));
        hear(&mut world, 0, &tick);
        assert_eq!(told(&mut world), Some(Box::new(claim(&tick))));
    }
}

#[test]
fn what_was_stable_when_a_tick_was_broken_stays_so() {
    let chain = |node: u8| weft_protocol::ChainId {
        node: weft_protocol::NodeId::from_bytes([node; 32]),
        incarnation: Incarnation(0),
    };
    let last = |node: u8| CommitRef { chain: chain(node), commit_no: 0, commit_hash: weft_protocol::hash("a", &[]) };
    let mut standing = Standing::new(cluster(), chain(0));
    standing.founded_by((0..3).map(chain));
    for node in 0..3 {
        let (first, hlc) = (Hlc(10), Hlc(10));
        standing.stored(Step { last: last(node), first, hlc, anchors: Vec::new(), facts: Vec::new() });
    }
    for node in 0..3 {
        let heads = (0..3).filter(|other| *other != node).map(last).collect();
        standing.ticked(Tick { cluster: cluster(), last: last(node), hlc: Hlc(50), horizon: Hlc(50), heads });
    }
    assert_eq!(standing.watermark(), Hlc(50));
    // A commit of the third turns up, stamped 30: everybody had said to hold all there is up to 50.
    standing.forked(chain(2), Hlc(30));
    assert_eq!(standing.watermark(), Hlc(50));
    for node in 0..3 {
        let heads = (0..3).filter(|other| *other != node).map(last).collect();
        standing.ticked(Tick { cluster: cluster(), last: last(node), hlc: Hlc(70), horizon: Hlc(70), heads });
    }
    assert_eq!(standing.watermark(), Hlc(50), "and nothing more is, until its chain is ended");
}
