//! Clocks that are more than half a second apart: what is recorded here still sorts after what it answers to.

use weft_kernel::Input;
use weft_protocol::{Fact, Hlc, Principal, Role, Stage};

use crate::node::{Node, acknowledged, lines, message, transmitted};
use crate::pair::Pair;

/// How far alpha's clock is ahead of beta's, in microseconds: 300 ms more than may be merged.
const AHEAD_US: u64 = 800_000;

fn stamp_of(node: &Node, stage: Stage) -> Option<Hlc> {
    node.facts().into_iter().find_map(|fact| match fact {
        Fact::Message(record) if record.stage == stage => Some(record.hlc),
        _ => None,
    })
}

#[test]
fn a_durable_message_from_a_fast_clock_waits_until_ours_may_follow() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let [alpha, beta] = &mut pair.nodes;
    alpha.now = beta.now.after_us(AHEAD_US);
    let (from, role, envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&alpha.run(asked))));
    let stamp = envelope.hlc;
    beta.run(Input::EnvelopeArrived { from, role, envelope });
    assert_eq!(stamp_of(beta, Stage::Received), None, "it waits");
    beta.pass(AHEAD_US);
    let received = stamp_of(beta, Stage::Received).expect("our clock has caught up");
    assert!(received > stamp, "received at {received}, sent at {stamp}");
}

#[test]
fn the_time_a_message_waits_is_taken_from_its_deadline() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let [alpha, beta] = &mut pair.nodes;
    alpha.now = beta.now.after_us(AHEAD_US);
    let (from, role, mut envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&alpha.run(asked))));
    envelope.deadline_us = 100_000;
    beta.run(Input::EnvelopeArrived { from, role, envelope });
    let refused = lines(&beta.pass(AHEAD_US));
    assert!(refused.iter().any(|line| line.starts_with("acknowledge m0 deadline")), "{refused:?}");
    assert_eq!(stamp_of(beta, Stage::Received), None);
}

#[test]
fn a_durable_receipt_from_a_fast_clock_is_recorded_after_it() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "received+durable"));
    let [alpha, beta] = &mut pair.nodes;
    beta.now = alpha.now.after_us(AHEAD_US);
    let (from, role, envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&alpha.run(asked))));
    let receipt = Box::new(acknowledged(&beta.run(Input::EnvelopeArrived { from, role, envelope })));
    let stamp = receipt.hlc;
    let from = beta.id();
    alpha.run(Input::ReceiptArrived { from, receipt });
    assert_eq!(stamp_of(alpha, Stage::Acknowledged), None, "it waits");
    alpha.pass(AHEAD_US);
    let recorded = stamp_of(alpha, Stage::Acknowledged).expect("our clock has caught up");
    assert!(recorded > stamp, "acknowledged at {recorded}, received at {stamp}");
}

#[test]
fn a_receipt_from_a_clock_more_than_a_minute_ahead_is_not_believed() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "received+durable"));
    let [alpha, beta] = &mut pair.nodes;
    let (from, role, envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&alpha.run(asked))));
    let mut receipt = Box::new(acknowledged(&beta.run(Input::EnvelopeArrived { from, role, envelope })));
    receipt.hlc = Hlc::from_wall(alpha.now.after_us(61_000_000));
    let from = beta.id();
    alpha.run(Input::ReceiptArrived { from, receipt });
    let ended = lines(&alpha.pass(70_000_000));
    assert!(ended.iter().any(|line| line.starts_with("answer 1 deadline")), "{ended:?}");
    assert_eq!(stamp_of(alpha, Stage::Acknowledged), None);
}
