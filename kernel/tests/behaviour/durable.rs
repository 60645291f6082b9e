//! Durable messages: what leaves at once, what waits for which record, and that nothing is delivered twice.

use weft_kernel::{Answer, Input, KernelConfig, Output};
use weft_protocol::{Fact, Principal, ProcessId, Refusal, Role, Stage};

use crate::node::{acknowledged, effects, lines, message, text, transmitted};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

#[test]
fn a_durable_call_travels_while_it_is_written_and_is_answered_when_both_records_are_on_disk() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let [alpha, beta] = &mut pair.nodes;
    let sent = alpha.give(asked);
    assert_eq!(lines(&sent), ["persist [ipc.message] +m0", "transmit m0 to echo `hi`"]);

    let (from, role, envelope) = (alpha.id(), Role::Worker, Box::new(transmitted(&sent)));
    let id = envelope.id;
    let arrived = Input::EnvelopeArrived { from, role, envelope };
    let received = beta.give(arrived.clone());
    assert_eq!(lines(&received), ["persist [ipc.message]"]);
    assert_eq!(lines(&beta.persist()), ["announce [ipc.message]", "deliver m0 to #0.0 `hi`"]);
    let answered = beta.give(Input::AgentAnswered { process: ECHO, message: id, answer: Ok(Some(text("ho"))) });
    assert_eq!(lines(&answered), ["persist [ipc.message]"], "the receipt waits for its record");
    assert_eq!(lines(&beta.give(arrived.clone())), Vec::<String>::new(), "and so does that of a copy");
    let receipted = beta.persist();
    assert_eq!(effects(&receipted), ["acknowledge m0 executed `ho` #5"]);
    assert_eq!(effects(&beta.give(arrived)), ["acknowledge m0 executed `ho` #5"]);

    let (from, receipt) = (beta.id(), Box::new(acknowledged(&receipted)));
    let arrived = alpha.give(Input::ReceiptArrived { from, receipt });
    assert_eq!(lines(&arrived), Vec::<String>::new(), "our own record is still being written");
    assert_eq!(
        lines(&alpha.persist()),
        ["persist [ipc.message] -m0", "announce [ipc.message]", "answer 1 sent m0 executed+durable `ho` own#2 its#5",]
    );
    alpha.persist();
    assert!(alpha.disk.outbox.is_empty());
    let stages = |node: &crate::node::Node| {
        let facts = node.facts().into_iter().filter_map(|fact| match fact {
            Fact::Message(record) => Some((record.stage, record.body)),
            _ => None,
        });
        facts.collect::<Vec<_>>()
    };
    assert_eq!(stages(alpha), [(Stage::Sent, Some(text("hi"))), (Stage::Acknowledged, Some(text("ho")))]);
    assert_eq!(stages(beta), [(Stage::Received, Some(text("hi"))), (Stage::Answered, Some(text("ho")))]);
}

#[test]
fn a_body_that_does_not_fit_into_a_record_is_named_by_its_hash() {
    let mut pair = Pair::new();
    let words = "x".repeat(70_000);
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", &words, "durable"));
    let answers = pair.run(asked);
    let [(1, Ok(Answer::Sent(report)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(report.reply, Some(text(&words)));
    let sent = pair.nodes[0].facts().into_iter().find_map(|fact| match fact {
        Fact::Message(record) => Some(*record),
        _ => None,
    });
    let sent = sent.expect("the message is recorded");
    assert_eq!((sent.body, sent.body_bytes), (None, 70_000));
    assert_eq!(sent.body_hash, text(&words).content_address());
    let kept = pair.nodes[0].disk.bodies.get(&sent.body_hash).expect("the body is kept beside the record");
    assert_eq!(*kept, weft_protocol::encode(&text(&words)));
}

#[test]
fn a_local_durable_call_waits_for_the_disk_before_and_after_its_process() {
    let mut pair = Pair::new();
    let beta = &mut pair.nodes[1];
    let asked = beta.asked(1, message("echo", "hi", "durable"));
    assert_eq!(lines(&beta.give(asked)), ["persist [ipc.message ipc.message]"]);
    let delivered = beta.persist();
    assert_eq!(effects(&delivered), ["deliver m0 to #0.0 `hi`"]);
    let Some(Output::Deliver { delivery, .. }) = delivered.last() else { panic!("a delivery") };
    let message = delivery.message;
    let answered = beta.give(Input::AgentAnswered { process: ECHO, message, answer: Ok(Some(text("ho"))) });
    assert_eq!(lines(&answered), ["persist [ipc.message]"]);
    assert_eq!(effects(&beta.persist()), ["answer 1 sent m0 executed+durable `ho` own#4 its#6"]);
}

#[test]
fn a_receipt_without_a_record_is_no_durable_receipt() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let [alpha, beta] = &mut pair.nodes;
    let sent = transmitted(&alpha.run(asked));
    let role = Role::Worker;
    let received = beta.run(Input::EnvelopeArrived { from: alpha.id(), role, envelope: Box::new(sent.clone()) });
    assert_eq!(effects(&received), ["deliver m0 to #0.0 `hi`"]);
    let answered = beta.run(Input::AgentAnswered { process: ECHO, message: sent.id, answer: Ok(None) });
    let mut receipt = Box::new(acknowledged(&answered));
    receipt.record = None;
    let from = beta.id();
    assert_eq!(
        effects(&alpha.run(Input::ReceiptArrived { from, receipt })),
        ["answer 1 unsupported: not supported: a durable receipt"]
    );
}

#[test]
fn a_durable_message_to_an_unreachable_member_waits_in_the_outbox() {
    let mut pair = Pair::new();
    let beta = pair.nodes[1].id();
    pair.nodes[0].run(Input::ReachabilityChanged { node: beta, reachable: false });
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "routed+durable"));
    let alpha = &mut pair.nodes[0];
    assert_eq!(effects(&alpha.run(asked)), ["answer 1 sent m0 routed+durable own#2"], "queued, and nothing of beta's");
    let back = alpha.run(Input::ReachabilityChanged { node: beta, reachable: true });
    assert_eq!(effects(&back), ["transmit m0 to echo `hi`"]);
}

#[test]
fn the_outbox_survives_a_crash_of_the_sender() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let alpha = &mut pair.nodes[0];
    alpha.run(asked);
    alpha.now = alpha.now.after_us(1_000_000);
    alpha.crash();
    let sent = alpha.run(Input::Woken);
    assert_eq!(effects(&sent), ["transmit m0 to echo `hi`"]);
    assert_eq!(transmitted(&sent).deadline_us, 4_000_000, "the time that is left");
    let again = pair.nodes[0].pass(500_000);
    assert_eq!(effects(&again), ["transmit m0 to echo `hi`"]);
    let role = Role::Worker;
    let from = pair.nodes[0].id();
    let envelope = Box::new(transmitted(&again));
    let received = pair.nodes[1].run(Input::EnvelopeArrived { from, role, envelope: envelope.clone() });
    assert_eq!(effects(&received), ["deliver m0 to #0.0 `hi`"]);
    let answered = pair.nodes[1].run(Input::AgentAnswered { process: ECHO, message: envelope.id, answer: Ok(None) });
    let (from, receipt) = (pair.nodes[1].id(), Box::new(acknowledged(&answered)));
    pair.nodes[0].run(Input::ReceiptArrived { from, receipt });
    assert!(pair.nodes[0].disk.outbox.is_empty());
}

#[test]
fn a_crash_of_the_receiver_delivers_nothing_twice() {
    let mut pair = Pair::new();
    let from = pair.nodes[0].id();
    let role = Role::Worker;
    let send = |pair: &mut Pair, ask: u64, level: &str| {
        let asked = pair.asked(ask, Principal::Operator, message("echo@beta", "hi", level));
        Box::new(transmitted(&pair.nodes[0].run(asked)))
    };
    let (answered, open) = (send(&mut pair, 1, "durable"), send(&mut pair, 2, "durable"));
    let kept = send(&mut pair, 3, "received+durable");
    let beta = &mut pair.nodes[1];
    for envelope in [&answered, &open, &kept] {
        beta.run(Input::EnvelopeArrived { from, role, envelope: envelope.clone() });
    }
    let message = answered.id;
    beta.run(Input::AgentAnswered { process: ECHO, message, answer: Ok(Some(text("ho"))) });
    beta.crash();
    beta.run(Input::Woken);
    beta.start_agent(crate::node::echo("echo"));
    let mut again = |envelope: &weft_protocol::Envelope| {
        effects(&beta.run(Input::EnvelopeArrived { from, role, envelope: Box::new(envelope.clone()) })).join("; ")
    };
    assert_eq!(again(&answered), "acknowledge m0 executed `ho` #7");
    assert_eq!(
        again(&open),
        "acknowledge m1 agent-failed: the agent failed: its node restarted while the message was in the mailbox; it may \
         have been executed #5"
    );
    assert_eq!(again(&kept), "acknowledge m2 received #6");
}

#[test]
fn a_busy_receiver_is_tried_again_until_the_deadline() {
    let mut pair = Pair::new();
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", "durable"));
    let alpha_id = pair.nodes[0].id();
    let [alpha, beta] = &mut pair.nodes;
    let id = transmitted(&alpha.run(asked)).id;
    let hlc = beta.disk.groups.last().and_then(|group| group.signed.decode().ok()).expect("a commit").hlc_last;
    let outcome = weft_protocol::Outcome::Refused(Refusal::Busy { retry_after_us: 60_000 });
    let receipt = Box::new(weft_protocol::Receipt { message: id, hlc, outcome, record: None, parts: None });
    let (from, now) = (beta.id(), alpha.now);
    assert_eq!(effects(&alpha.run(Input::ReceiptArrived { from, receipt })), Vec::<String>::new());
    assert_eq!(effects(&alpha.pass(60_000)), ["transmit m0 to echo `hi`"]);
    assert_eq!(alpha.now, now.after_us(60_000));
    let rest = effects(&alpha.pass(5_000_000));
    assert!(rest.len() > 2, "it is tried again: {rest:?}");
    assert_eq!(rest[rest.len() - 2..], ["cancel m0", "answer 1 deadline: deadline passed"]);
    assert!(alpha.disk.outbox.is_empty());
    assert_ne!(alpha_id, from);
}

#[test]
fn that_a_message_ended_waits_for_the_next_record_and_not_for_long() {
    let mut pair = Pair::new();
    let config = Box::new(KernelConfig::default());
    let linger_us = config.records_linger_us;
    pair.nodes[0].run(Input::Configured { config });
    let receipted = |pair: &mut Pair, ask: u64| {
        let asked = pair.asked(ask, Principal::Operator, message("echo@beta", "hi", "durable"));
        let [alpha, beta] = &mut pair.nodes;
        let sent = alpha.give(asked);
        let written = lines(&sent).remove(0);
        alpha.persist();
        let envelope = Box::new(transmitted(&sent));
        let id = envelope.id;
        beta.run(Input::EnvelopeArrived { from: alpha.id(), role: Role::Worker, envelope });
        let answered = beta.run(Input::AgentAnswered { process: ECHO, message: id, answer: Ok(None) });
        let (from, receipt) = (beta.id(), Box::new(acknowledged(&answered)));
        (written, lines(&alpha.give(Input::ReceiptArrived { from, receipt })))
    };
    let (_, ended) = receipted(&mut pair, 1);
    assert_eq!(ended, ["answer 1 sent m0 executed+durable own#2 its#5"], "whoever asked waits for no disk");
    let (written, _) = receipted(&mut pair, 2);
    assert_eq!(written, "persist [ipc.message ipc.message] +m1 -m0", "one commit for an end and a beginning");

    let alpha = &mut pair.nodes[0];
    assert_eq!(alpha.disk.outbox.len(), 1);
    alpha.pass(linger_us - 1);
    assert_eq!(alpha.disk.outbox.len(), 1, "it waits");
    alpha.pass(1);
    assert!(alpha.disk.outbox.is_empty());
}
