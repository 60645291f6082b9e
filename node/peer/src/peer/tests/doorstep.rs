//! What waits before the door of a member that is no neighbour, and links that are let go.

use std::collections::BTreeSet;

use weft_discovery::{DiscoveryConfig, Mesh};
use weft_protocol::{KeyPair, TraceId};

use super::*;

/// Seven members besides the founder, which is connected to its neighbours, and no neighbour of the one that is returned.
fn partial() -> (World, NodeId) {
    let others: Vec<PublicKeys> = (10..17).map(|seed| KeyPair::generate([seed; 32]).public_keys().clone()).collect();
    let config = PeerConfig {
        discovery: DiscoveryConfig { full_mesh_max: 3, ..DiscoveryConfig::default() },
        ..PeerConfig::default()
    };
    let mut world = World::among(&others, config, |_| Recovered::default());
    let own = world.peer.node();
    let mesh = Mesh::of(&others.iter().map(PublicKeys::node).chain([own]).collect::<BTreeSet<_>>());
    let far = others.iter().map(PublicKeys::node).find(|node| !mesh.are_neighbours(own, *node));
    // Before it had heard who is a member it dialled everybody of whom it was told.
    for node in others.iter().map(PublicKeys::node) {
        let input = if mesh.are_neighbours(own, node) {
            connected(node)
        } else {
            Input::DialFailed { node, reason: "nobody".to_owned() }
        };
        give(&mut world, input, NOW);
    }
    (world, far.expect("not all are neighbours"))
}

fn give(world: &mut World, input: Input, now: Timestamp) -> Vec<Output> {
    let mut outputs = Vec::new();
    world.peer.handle(input, now, &mut outputs);
    world.peer.write(now, &mut outputs);
    outputs
}

/// Asks the far member for the steps of a conversation.
fn ask(world: &mut World, far: NodeId, now: Timestamp) -> Vec<Output> {
    let question = Question::Trace { node: far, trace: TraceId(1) };
    give(world, Input::Asked { ask: AskId(7), by: Principal::Operator, question }, now)
}

fn connected(node: NodeId) -> Input {
    let path = discovery::Path { address: "/sim/far".to_owned(), transport: "quic", dialled: true, wire: 2 };
    Input::Connected { node, path }
}

fn is_request(output: &Output, far: NodeId) -> bool {
    matches!(output, Output::Request { to, content: Request::Sync(SyncRequest::Trace { .. }), .. } if *to == far)
}

#[test]
fn a_request_waits_for_the_link_that_it_needs() {
    let (mut world, far) = partial();
    let outputs = ask(&mut world, far, NOW);
    let dials = |output: &Output| matches!(output, Output::Dial { node, .. } if *node == far);
    assert!(outputs.iter().any(dials), "{outputs:?}");
    assert!(!outputs.iter().any(|output| is_request(output, far)), "it waits: {outputs:?}");
    let outputs = give(&mut world, connected(far), NOW);
    assert_eq!(outputs.iter().filter(|output| is_request(output, far)).count(), 1, "{outputs:?}");
}

#[test]
fn whoever_waits_in_vain_is_told() {
    let (mut world, far) = partial();
    ask(&mut world, far, NOW);
    let outputs = give(&mut world, Input::DialFailed { node: far, reason: "nobody".to_owned() }, NOW);
    let refused =
        |output: &Output| matches!(output, Output::Answer { ask: AskId(7), answer: Err(Refusal::Unreachable { .. }) });
    assert!(outputs.iter().any(refused), "{outputs:?}");
}

#[test]
fn a_link_over_which_nothing_passes_is_let_go_once() {
    let (mut world, far) = partial();
    ask(&mut world, far, NOW);
    give(&mut world, connected(far), NOW);
    let closes = |outputs: &[Output]| {
        let closed = outputs.iter().filter(|output| matches!(output, Output::Disconnect { node } if *node == far));
        closed.count()
    };
    let idle_us = DiscoveryConfig::default().link_idle_us;
    let half = NOW.after_us(idle_us / 2);
    assert_eq!(closes(&give(&mut world, Input::Woken, half)), 0, "it was used a moment ago");
    ask(&mut world, far, half);
    assert_eq!(closes(&give(&mut world, Input::Woken, NOW.after_us(idle_us))), 0, "and again");
    assert!(world.peer.next_wakeup().is_some_and(|at| at <= half.after_us(idle_us)));
    let outputs = give(&mut world, Input::Woken, half.after_us(idle_us));
    assert_eq!(closes(&outputs), 1, "{outputs:?}");
    assert_eq!(closes(&give(&mut world, Input::Woken, half.after_us(idle_us + 1))), 0, "it is being closed");
}
