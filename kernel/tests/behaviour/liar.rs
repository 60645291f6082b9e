//! A member that lies, repeats itself or talks nonsense gets a decision, and nobody else is affected.

use weft_kernel::Input;
use weft_protocol::limits::DEDUPLICATION_WINDOW;
use weft_protocol::{
    Envelope, Hlc, LocalTarget, MessageId, NodeId, Outcome, Payload, Principal, Receipt, Refusal, Role,
};

use crate::node::{effects, message, text, transmitted};
use crate::pair::Pair;

/// What beta says to a message of alpha after `change`, as of one line.
fn said(change: impl FnOnce(&mut Envelope)) -> String {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let [alpha, beta] = &mut pair.nodes;
    let mut envelope = Box::new(transmitted(&alpha.run(asked)));
    change(&mut envelope);
    effects(&beta.run(Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope })).join("; ")
}

#[test]
fn each_lie_has_its_answer() {
    assert_eq!(said(|_| {}), "deliver m0 to #0.0 `hi`");
    let stranger = NodeId::from_bytes([9; 32]);
    let other = "acknowledge m0 invalid: the message claims to come from another node";
    assert_eq!(said(|envelope| envelope.id.chain.node = stranger), other);
    assert_eq!(said(|envelope| envelope.from.node = stranger), other);
    assert_eq!(said(|envelope| envelope.deadline_us = 0), "acknowledge m0 deadline: deadline passed");
    assert_eq!(
        said(|envelope| envelope.hlc = Hlc::from_wall(envelope.hlc.to_wall().after_us(70_000_000))),
        "acknowledge m0 invalid: the sender's clock is more than 60 s ahead"
    );
    assert_eq!(
        said(|envelope| envelope.cause = vec![weft_protocol::hash("x", &[]); 9]),
        "acknowledge m0 invalid: 9 causes, at most 8 are accepted"
    );
    assert_eq!(
        said(|envelope| envelope.target = LocalTarget::Topic("jobs".parse().expect("a topic"))),
        "acknowledge m0 unsupported: not supported: a topic as the target of a message"
    );
    assert_eq!(
        said(|envelope| envelope.payload = Payload::Json("}".to_owned())),
        "acknowledge m0 invalid: not one JSON value: expected value at line 1 column 1"
    );
    // Who is to vouch for it is the sender's business.
    assert_eq!(said(|envelope| envelope.level = "witnessed".parse().expect("a level")), "deliver m0 to #0.0 `hi`");
    assert_eq!(
        said(|envelope| envelope.payload = text(&"x".repeat(1_048_577))),
        "acknowledge m0 too-large: too large: 1048577 bytes, at most 1048576"
    );
}

#[test]
fn an_id_below_the_window_is_expired_and_never_executed() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let [alpha, beta] = &mut pair.nodes;
    let envelope = transmitted(&alpha.run(asked));
    let mut arrive = |counter| {
        let mut envelope = Box::new(envelope.clone());
        envelope.id.counter = counter;
        effects(&beta.run(Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope })).join("; ")
    };
    assert_eq!(arrive(DEDUPLICATION_WINDOW), "deliver m65536 to #0.0 `hi`");
    assert_eq!(arrive(0), "acknowledge m0 expired: expired: the message id is below the receiver's window");
    assert_eq!(arrive(1), "deliver m1 to #0.0 `hi`");
}

#[test]
fn a_receipt_counts_only_from_whom_it_is_expected() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "executed"));
    let beta = pair.nodes[1].id();
    let alpha = &mut pair.nodes[0];
    let sent = transmitted(&alpha.run(asked));
    let mut receipt = |from, message, outcome| {
        let receipt = Box::new(Receipt { message, hlc: sent.hlc, outcome, record: None, parts: None });
        effects(&alpha.run(Input::ReceiptArrived { from, receipt })).join("; ")
    };
    let executed = || Outcome::Executed { reply: None };
    assert_eq!(receipt(NodeId::from_bytes([9; 32]), sent.id, executed()), "");
    assert_eq!(receipt(beta, MessageId { counter: 5, ..sent.id }, executed()), "");
    assert_eq!(receipt(beta, sent.id, Outcome::Received), "", "a call was asked for");
    let refused = Outcome::Refused(Refusal::Quarantined);
    assert_eq!(receipt(beta, sent.id, refused), "answer 1 quarantined: quarantined");
    assert_eq!(receipt(beta, sent.id, executed()), "", "it was answered");
}
