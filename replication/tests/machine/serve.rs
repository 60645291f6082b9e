//! What a member answers: only what is on its disk, within bounds, and only what belongs here.

use weft_protocol::limits::PAGE_BYTES_MAX;
use weft_protocol::{Digest, HeadGossip, NodeId, SyncRequest, SyncResponse, TraceId};
use weft_replication::{Input, Output, RequestId};

use crate::world::{START, World};
use crate::writer::Writer;

fn world() -> (World, Writer) {
    let mut writer = Writer::new(0);
    writer.write_many(START, 3);
    (World::new(&[writer.clone(), Writer::new(1)], &[&[], &[]]), writer)
}

fn request(number: u64, from: NodeId, content: SyncRequest) -> Input {
    Input::RequestArrived { request: RequestId(number), from, content }
}

/// The one response to a request.
fn response(world: &mut World, content: SyncRequest) -> SyncResponse {
    let from = world.hosts[1].node;
    let mut outputs = world.ask(0, request(0, from, content));
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    match outputs.remove(0) {
        Output::Respond { request: RequestId(0), content } => *content,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_comparison_is_answered_with_same_or_with_heads() {
    let (mut world, writer) = world();
    let vector_root = world.hosts[0].machine.vector_root();
    assert_eq!(response(&mut world, SyncRequest::Hello { vector_root }), SyncResponse::Same);
    let vector_root = Digest::from_bytes([0; 32]);
    assert_eq!(response(&mut world, SyncRequest::Hello { vector_root }), SyncResponse::Heads(vec![writer.head()]));
}

#[test]
fn a_difference_makes_us_compare_too_but_not_for_ever() {
    let (mut world, _) = world();
    let from = world.hosts[1].node;
    let [Output::Request { fetch, .. }] = world.ask(0, Input::Connected { node: from })[..] else { panic!() };
    let hello = || request(0, from, SyncRequest::Hello { vector_root: Digest::from_bytes([0; 32]) });
    assert_eq!(world.ask(0, hello()).len(), 1, "one comparison is out already");
    world.ask(0, Input::ResponseArrived { fetch, content: Box::new(SyncResponse::Heads(Vec::new())) });
    assert_eq!(world.ask(0, hello()).len(), 1, "the last comparison was just now");
    world.now.0 += 1_000_000;
    let outputs = world.ask(0, hello());
    assert!(
        matches!(&outputs[..], [Output::Respond { .. }, Output::Request { content: SyncRequest::Hello { .. }, .. }]),
        "{outputs:?}"
    );
}

#[test]
fn a_range_is_read_from_disk_within_the_size_of_a_page() {
    let (mut world, writer) = world();
    let (from, chain) = (world.hosts[1].node, writer.chain);
    let content = SyncRequest::Range { chain, from_commit: 1, bytes_max: u64::MAX };
    let outputs = world.ask(0, request(4, from, content));
    let [Output::ReadRange { request, chain: of, from_commit: 1, bytes_max }] = outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((request, of, bytes_max), (RequestId(4), chain, PAGE_BYTES_MAX as u64));
    let groups = writer.groups[1..].to_vec();
    let outputs = world.ask(0, Input::RangeRead { request, chain, groups: groups.clone() });
    let [Output::Respond { request: RequestId(4), content }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(**content, SyncResponse::Page { chain, groups: groups.clone() });
    assert!(world.ask(0, Input::RangeRead { request, chain, groups }).is_empty(), "each request is answered once");
}

#[test]
fn what_is_not_held_is_an_empty_page() {
    let (mut world, writer) = world();
    for (chain, from_commit) in [(writer.chain, 3), (Writer::new(9).chain, 0)] {
        let page = response(&mut world, SyncRequest::Range { chain, from_commit, bytes_max: 1_000 });
        assert_eq!(page, SyncResponse::Page { chain, groups: Vec::new() });
    }
}

#[test]
fn what_is_damaged_is_not_served_until_it_is_mended() {
    let (mut world, writer) = world();
    let (from, chain) = (world.hosts[1].node, writer.chain);
    world.give(0, Input::ChainDamaged { chain, from_commit: 1 });
    let wanted = |from_commit| SyncRequest::Range { chain, from_commit, bytes_max: 1_000 };
    let refused = response(&mut world, wanted(1));
    assert!(matches!(&refused, SyncResponse::Refused(reason) if reason.contains("damaged here")), "{refused:?}");
    let read = |world: &mut World| {
        let outputs = world.ask(0, request(5, from, wanted(0)));
        assert!(matches!(outputs[..], [Output::ReadRange { .. }]), "what stands before it is served: {outputs:?}");
        let groups = writer.groups.clone();
        let mut outputs = world.ask(0, Input::RangeRead { request: RequestId(5), chain, groups });
        match outputs.remove(0) {
            Output::Respond { content, .. } => *content,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(&mut world), SyncResponse::Page { chain, groups: writer.groups[..1].to_vec() });
    assert_eq!(world.hosts[0].machine.heads(), [writer.head()], "its head is not what rotted");
    world.give(0, Input::ChainMended { chain });
    assert_eq!(read(&mut world), SyncResponse::Page { chain, groups: writer.groups.clone() });
}

#[test]
fn what_is_verified_but_not_on_disk_is_not_told_of() {
    let mut writers = [Writer::new(0), Writer::new(1)];
    writers[1].write_many(START, 1);
    let mut world = World::new(&writers, &[&[], &[]]);
    let node = world.hosts[1].node;
    world.ask(0, Input::Connected { node });
    let gossip = Box::new(HeadGossip::Group(writers[1].groups[0].clone()));
    let outputs = world.ask(0, Input::Gossiped { from: node, gossip });
    let [Output::Verify(job)] = &outputs[..] else { panic!("{outputs:?}") };
    let stored = world.ask(0, Input::Verified(Box::new(job.clone().run())));
    assert!(matches!(&stored[..], [Output::Store { .. }]), "{stored:?}");
    let chain = writers[1].chain;
    let before = response(&mut world, SyncRequest::Range { chain, from_commit: 0, bytes_max: 1_000 });
    assert_eq!(before, SyncResponse::Page { chain, groups: Vec::new() });
    assert_eq!(world.hosts[0].machine.heads(), []);
    world.ask(0, Input::Stored { chain });
    assert_eq!(world.hosts[0].machine.heads(), [writers[1].head()]);
}

#[test]
fn what_does_not_belong_here_is_refused() {
    let (mut world, _) = world();
    for content in [SyncRequest::Adverts { held: Vec::new() }, SyncRequest::Trace { trace: TraceId(1) }] {
        assert!(matches!(response(&mut world, content), SyncResponse::Refused(_)));
    }
    let node = world.hosts[1].node;
    world.give(0, Input::MemberQuarantined { node });
    let vector_root = world.hosts[0].machine.vector_root();
    assert!(matches!(response(&mut world, SyncRequest::Hello { vector_root }), SyncResponse::Refused(_)));
}

#[test]
fn one_member_cannot_occupy_the_disk_alone() {
    let (mut world, writer) = world();
    let (from, chain) = (world.hosts[1].node, writer.chain);
    let range = |number| request(number, from, SyncRequest::Range { chain, from_commit: 0, bytes_max: 1 });
    for number in 0..10 {
        let outputs = world.ask(0, range(number));
        assert!(matches!(outputs[..], [Output::ReadRange { .. }]), "{number}: {outputs:?}");
    }
    let outputs = world.ask(0, range(10));
    let [Output::Respond { content, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(matches!(&**content, SyncResponse::Refused(reason) if reason.contains("busy")), "{content:?}");
    let groups = vec![writer.groups[0].clone()];
    world.ask(0, Input::RangeRead { request: RequestId(3), chain, groups });
    assert!(matches!(world.ask(0, range(11))[..], [Output::ReadRange { .. }]));
}
