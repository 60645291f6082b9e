//! Time is over, or nobody is there any more: whoever still works on a message is told to stop.

use weft_kernel::{AskId, Input};
use weft_protocol::{Principal, ProcessId, Role};

use crate::node::{Node, effects, message, transmitted};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

#[test]
fn a_local_call_ends_with_its_deadline() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, message("echo", "hi", "executed"));
    node.run(asked);
    assert_eq!(effects(&node.pass(4_999_999)), Vec::<String>::new());
    assert_eq!(effects(&node.pass(1)), ["cancel-delivery m0 of #0.0", "answer 1 deadline: deadline passed"]);
    assert_eq!(node.kernel.process(ECHO).expect("it lives").in_flight, 0);
}

#[test]
fn whether_a_message_may_have_been_executed_is_known() {
    let mut pair = Pair::new();
    let local = |node: &mut Node, syscall| {
        let asked = node.asked(1, syscall);
        node.run(asked);
        let outputs = node.pass(5_000_000);
        let answer = outputs.iter().find_map(|output| match output {
            weft_kernel::Output::Answer { answer: Err(refusal), .. } => Some(refusal.changed()),
            _ => None,
        });
        answer.expect("it was answered")
    };
    let beta = &mut pair.nodes[1];
    assert!(local(beta, message("echo", "hi", "executed")), "its process had it");
    let spec = crate::node::echo("starting");
    let asked = beta.asked(2, weft_kernel::Syscall::Spawn { spec: Box::new(spec) });
    beta.run(asked);
    assert!(!local(beta, message("starting", "hi", "executed")), "it was still in the mailbox");
}

#[test]
fn the_far_end_stops_when_whoever_asked_is_gone() {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    assert!(pair.run(asked).is_empty());
    let withdrawn = pair.nodes[0].run(Input::Withdrawn { ask: AskId(1) });
    assert_eq!(effects(&withdrawn), ["cancel m0"]);
    let (from, message) = (pair.nodes[0].id(), weft_protocol::MessageId { chain: pair.nodes[0].chain(), counter: 0 });
    let stranger = pair.nodes[1].id();
    assert_eq!(effects(&pair.nodes[1].run(Input::CancelArrived { from: stranger, message })), Vec::<String>::new());
    let cancelled = pair.nodes[1].run(Input::CancelArrived { from, message });
    assert_eq!(
        effects(&cancelled),
        ["cancel-delivery m0 of #0.0", "acknowledge m0 cancelled: cancelled: whoever asked no longer waits"]
    );
}

#[test]
fn a_message_without_a_receipt_is_sent_again_with_the_time_that_is_left() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let beta = pair.nodes[1].id();
    let alpha = &mut pair.nodes[0];
    let first = transmitted(&alpha.run(asked));
    let again = transmitted(&alpha.pass(500_000));
    assert_eq!((first.id, &first.payload, first.hlc), (again.id, &again.payload, again.hlc));
    assert!((4_500_000..=4_750_000).contains(&again.deadline_us), "{}", again.deadline_us);
    let failed = Input::TransmitFailed { to: beta, message: first.id };
    assert_eq!(effects(&alpha.run(failed)), Vec::<String>::new());
    let back = alpha.run(Input::ReachabilityChanged { node: beta, reachable: true });
    assert_eq!(effects(&back), ["transmit m0 to echo `hi`"], "not before the next attempt is due, but when it is back");
}

#[test]
fn a_copy_is_answered_but_not_executed() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let [alpha, beta] = &mut pair.nodes;
    let envelope = Box::new(transmitted(&alpha.run(asked)));
    let arrived = Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope: envelope.clone() };
    assert_eq!(effects(&beta.run(arrived.clone())), ["deliver m0 to #0.0 `hi`"]);
    assert_eq!(effects(&beta.run(arrived.clone())), Vec::<String>::new(), "it is being worked on");
    let answer = Ok(Some(crate::node::text("ho")));
    let answered = beta.run(Input::AgentAnswered { process: ECHO, message: envelope.id, answer });
    assert_eq!(effects(&answered), ["acknowledge m0 executed `ho`"]);
    assert_eq!(effects(&beta.run(arrived)), ["acknowledge m0 executed `ho`"]);
}

#[test]
fn what_is_acknowledged_as_received_stays_in_the_mailbox_beyond_its_deadline() {
    let mut pair = Pair::new();
    let beta = &mut pair.nodes[1];
    let spec = Box::new(crate::node::echo("slow"));
    let asked = beta.asked(2, weft_kernel::Syscall::Spawn { spec });
    beta.run(asked);
    let asked = beta.asked(1, message("slow", "hi", "received"));
    assert_eq!(effects(&beta.run(asked)), ["answer 1 sent m0 received"]);
    beta.pass(6_000_000);
    let process = beta.kernel.agent(&crate::node::name("slow")).expect("it lives");
    let started = effects(&beta.run(Input::AgentStarted { process, pid: None }));
    assert!(started.contains(&"deliver m0 to #1.0 `hi`".to_owned()), "{started:?}");
}
