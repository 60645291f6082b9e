//! What is here together leaves together, and what is here alone leaves at once.

use weft_protocol::{Delivery, Durability, Level, LocalTarget, NodeRef, Payload, Target};

use super::*;

/// A peer that is connected to another member, and that member's name.
fn connected() -> (World, NodeRef) {
    let beta = KeyPair::generate([6; 32]);
    let mut world =
        World::among(std::slice::from_ref(beta.public_keys()), PeerConfig::default(), |_| Recovered::default());
    let path = discovery::Path { address: "/sim/beta".to_owned(), transport: "tcp", dialled: true, wire: 2 };
    world.give(Input::Connected { node: beta.public_keys().node(), path });
    (world, NodeRef::Name("other0".parse().expect("a name")))
}

fn call(ask: u64, node: &NodeRef) -> Input {
    let syscall = Syscall::Send {
        target: Target { node: Some(node.clone()), local: LocalTarget::Agent("echo".parse().expect("a name")) },
        payload: Payload::Text(format!("call {ask}")),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: 10_000_000,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    };
    Input::Asked { ask: AskId(ask), by: Principal::Operator, question: Question::Kernel(Box::new(syscall)) }
}

/// How many items each request for a member has.
fn sizes(outputs: &[Output]) -> Vec<usize> {
    let items = |output: &Output| match output {
        Output::Request { content: Request::A2a(request), .. } => Some(request.items.len()),
        _ => None,
    };
    outputs.iter().filter_map(items).collect()
}

#[test]
fn messages_that_are_here_together_leave_in_one_request() {
    let (mut world, beta) = connected();
    let mut outputs = Vec::new();
    for ask in 0..5 {
        world.peer.take_in(call(ask, &beta), NOW, &mut outputs);
    }
    assert_eq!(sizes(&outputs), Vec::<usize>::new());
    world.peer.depart(NOW, &mut outputs);
    assert_eq!(sizes(&outputs), [5]);
}

#[test]
fn a_message_that_is_here_alone_leaves_at_once() {
    let (mut world, beta) = connected();
    let mut outputs = Vec::new();
    for ask in 0..3 {
        world.peer.handle(call(ask, &beta), NOW, &mut outputs);
    }
    assert_eq!(sizes(&outputs), [1, 1, 1]);
}
