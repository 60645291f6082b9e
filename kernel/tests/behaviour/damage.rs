//! After a failed write nothing is promised to anybody, and everybody is told.

use weft_kernel::{AskId, Input, NodeState, Syscall, Ticket};
use weft_protocol::{Principal, ProcessId, Role, Signer};

use crate::node::{Node, echo, effects, lines, message, text, transmitted};
use crate::pair::Pair;

#[test]
fn whoever_waits_is_told_and_nothing_that_waited_happens() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let alpha = &mut pair.nodes[0];
    alpha.give(asked);
    let asked = alpha.asked(2, Syscall::Spawn { spec: Box::new(echo("echo")) });
    alpha.give(asked);
    let failed = alpha.give(Input::PersistFailed);
    let told = "damaged: the node's store is damaged; nothing is promised until it is repaired";
    assert_eq!(lines(&failed), [format!("answer 1 {told}"), format!("answer 2 {told}")]);
    assert_eq!((alpha.kernel.state(), alpha.kernel.next_wakeup()), (NodeState::Damaged, None));

    alpha.writing = None;
    let asked = alpha.asked(3, message("echo", "hi", "executed"));
    assert_eq!(lines(&alpha.give(asked)), [format!("answer 3 {told}")]);
    let facts = Input::FactsGiven {
        ticket: Ticket(4),
        by: Principal::Operator,
        action: weft_kernel::Action::RecordRepair,
        facts: Vec::new(),
    };
    assert_eq!(
        lines(&alpha.give(facts)),
        ["facts-refused 4 the node's store is damaged; nothing is promised until it is repaired"]
    );
    let asked = alpha.asked(5, Syscall::Shutdown);
    assert_eq!(lines(&alpha.give(asked)), [format!("answer 5 {told}"), "halt".to_owned()]);
}

#[test]
fn other_nodes_are_told_what_may_have_happened() {
    let mut pair = Pair::new();
    let from = pair.nodes[0].id();
    for (ask, level) in [(1, "durable"), (2, "executed"), (3, "durable")] {
        let asked = pair.asked(ask, Principal::Operator, message("echo@beta", "hi", level));
        let envelope = Box::new(transmitted(&pair.nodes[0].run(asked)));
        let beta = &mut pair.nodes[1];
        beta.give(Input::EnvelopeArrived { from, role: Role::Worker, envelope: envelope.clone() });
        if ask == 1 {
            beta.persist();
            let process = ProcessId { index: 0, generation: 0 };
            beta.give(Input::AgentAnswered { process, message: envelope.id, answer: Ok(Some(text("ho"))) });
        }
    }
    assert_eq!(
        lines(&pair.nodes[1].give(Input::PersistFailed)),
        [
            "acknowledge m0 agent-failed: the agent failed: executed, but the receiving node could not record it",
            "acknowledge m1 agent-failed: the agent failed: the receiving node's store is damaged; the message may have been \
             executed",
            "acknowledge m2 damaged: the node's store is damaged; nothing is promised until it is repaired",
        ]
    );
}

/// Signs what it was not asked to.
#[derive(Debug)]
struct Wrong(weft_protocol::KeyPair);

impl Signer for Wrong {
    fn public_keys(&self) -> &weft_protocol::PublicKeys {
        self.0.public_keys()
    }

    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign_ed25519_bytes(&message[1..])
    }

    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8> {
        self.0.sign_mldsa65_bytes(context, message)
    }
}

#[test]
fn a_commit_that_does_not_verify_never_leaves() {
    let signer = Wrong(weft_protocol::KeyPair::generate([5; 32]));
    let mut node = Node::unborn("alpha", crate::node::at_once());
    node.kernel = crate::node::kernel_signed_by(std::sync::Arc::new(signer), &node.config);
    assert_eq!(lines(&node.give(Input::Woken)), Vec::<String>::new());
    assert_eq!((node.kernel.state(), node.kernel.chain_status().commits), (NodeState::Damaged, 0));
}

#[test]
fn what_waited_for_the_first_commit_is_told_too() {
    let mut node = Node::unborn("alpha", crate::node::at_once());
    node.give(Input::Woken);
    let asked = node.asked(1, message("echo", "hi", "executed"));
    assert_eq!(lines(&node.give(asked)), Vec::<String>::new());
    assert_eq!(
        effects(&node.give(Input::PersistFailed)),
        ["answer 1 damaged: the node's store is damaged; nothing is promised until it is repaired"]
    );
    assert_eq!(lines(&node.give(Input::Withdrawn { ask: AskId(1) })), Vec::<String>::new());
}
