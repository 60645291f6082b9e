//! Stamps and message numbers: none is used twice, and none leaves that is not reserved on disk, whatever clock and disk do.

use proptest::prelude::*;
use weft_kernel::{Input, Output};
use weft_protocol::limits::{CLOCK_MERGE_US_MAX, COUNTER_BLOCK};
use weft_protocol::{ChainId, Digest, Head, Hlc, Incarnation, MessageId, NodeId, Principal, Role, Timestamp};

use crate::node::{Node, START, effects, lines, message};

#[test]
fn an_input_after_a_long_silence_waits_for_a_reservation() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    node.pass(60_000_000);
    let asked = node.asked(1, message("echo", "hi", "executed"));
    assert_eq!(lines(&node.give(asked)), ["persist reserved"]);
    assert_eq!(
        lines(&node.persist()),
        ["persist [ipc.batch] (received m0 operator-local#1)", "deliver m0 to #0.0 `hi`"]
    );
}

#[test]
fn a_deadline_after_a_long_silence_waits_for_a_reservation_and_is_not_asked_for_twice() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let mut syscall = message("echo", "hi", "executed");
    if let weft_kernel::Syscall::Send { deadline_us, .. } = &mut syscall {
        *deadline_us = 60_000_000;
    }
    let asked = node.asked(1, syscall);
    node.run(asked);
    node.pass(59_999_999);
    node.now = node.now.after_us(1);
    assert_eq!(lines(&node.give(Input::Woken)), ["persist reserved"]);
    assert_eq!(node.kernel.next_wakeup(), None, "Persisted wakes it");
    assert_eq!(effects(&node.persist()), ["cancel-delivery m0 of #0.0", "answer 1 deadline: deadline passed"]);
}

#[test]
fn a_restart_begins_at_the_next_block_of_numbers() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, message("echo", "hi", "received"));
    assert_eq!(effects(&node.run(asked))[1], "deliver m0 to #0.0 `hi`");
    node.crash();
    node.run(Input::Woken);
    node.start_agent(crate::node::echo("echo"));
    let asked = node.asked(1, message("echo", "hi", "received"));
    assert_eq!(effects(&node.run(asked))[1], format!("deliver m{COUNTER_BLOCK} to #0.1 `hi`"));
}

#[test]
fn an_orderly_end_gives_back_what_was_not_used() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, weft_kernel::Syscall::Shutdown);
    node.run(asked);
    assert_eq!(node.disk.reserved.clock, node.kernel.chain_state().last_hlc());
    assert!(node.disk.reserved.clock.to_wall() <= node.now);
}

#[test]
fn no_number_is_given_that_is_not_reserved_however_long_the_disk_takes() {
    let mut node = Node::new("alpha");
    let (first, _) = publish(&mut node, 32_000);
    assert_eq!(first, 32_000);
    while node.writing.is_some() {
        node.persist();
    }
    assert_eq!(node.disk.reserved.counter, COUNTER_BLOCK, "more than half is left");
    let (rest, busy) = publish(&mut node, 40_000);
    assert_eq!((first + rest, busy), (COUNTER_BLOCK, 40_000 - rest - 4_096), "what waits is bounded too");
    node.persist();
    let more = node.persist();
    assert_eq!(node.disk.reserved.counter, 2 * COUNTER_BLOCK);
    assert_eq!(more.iter().filter(|output| matches!(output, Output::Publish(_))).count(), 4_096);
}

/// Publishes without waiting for the disk; returns how often it left and how often we were busy.
fn publish(node: &mut Node, count: u64) -> (u64, u64) {
    let topic: weft_protocol::TopicName = "jobs".parse().expect("a topic");
    let (mut left, mut busy) = (0, 0);
    for ask in 0..count {
        let payload = crate::node::text("x");
        let asked = node.asked(ask, weft_kernel::Syscall::Publish { topic: topic.clone(), payload, trace: None });
        for output in node.give(asked) {
            match output {
                Output::Publish(publication) => {
                    assert!(publication.id.counter < node.disk.reserved.counter);
                    left += 1;
                }
                Output::Answer { answer: Err(weft_protocol::Refusal::Busy { .. }), .. } => busy += 1,
                _ => {}
            }
        }
    }
    (left, busy)
}

#[derive(Debug, Clone)]
enum Step {
    /// The wall clock goes on.
    Pass(u64),
    /// The wall clock is set back.
    SetBack(u64),
    /// A call to another node.
    Call(bool),
    /// A stamp of another node, this far ahead.
    Observe(u64),
    /// A message of another node, whose stamp is this far ahead.
    Receive(u64),
    /// The disk finishes what it writes.
    Persist,
    /// The process is killed; what was being written is there, or not.
    Crash(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u64..20_000_000).prop_map(Step::Pass),
        1 => (0_u64..100_000_000).prop_map(Step::SetBack),
        6 => any::<bool>().prop_map(Step::Call),
        2 => (0_u64..1_000_000).prop_map(Step::Observe),
        2 => (0_u64..1_000_000).prop_map(Step::Receive),
        8 => Just(Step::Persist),
        1 => any::<bool>().prop_map(Step::Crash),
    ]
}

/// What must hold of everything that ever left, over all lives of the node.
#[derive(Debug, Default)]
struct Left {
    numbers: Vec<u64>,
    stamp: Hlc,
}

impl Left {
    fn check(&mut self, node: &Node, outputs: &[Output]) -> Result<(), TestCaseError> {
        for output in outputs {
            let stamp = match output {
                Output::Transmit { envelope, .. } => {
                    if self.numbers.last() != Some(&envelope.id.counter) && !self.numbers.contains(&envelope.id.counter)
                    {
                        prop_assert!(self.numbers.last().is_none_or(|last| *last < envelope.id.counter));
                        prop_assert!(envelope.hlc > self.stamp, "a stamp was given twice");
                        self.numbers.push(envelope.id.counter);
                    }
                    prop_assert!(
                        envelope.id.counter < node.disk.reserved.counter,
                        "a number left that is not reserved"
                    );
                    envelope.hlc
                }
                Output::Acknowledge { receipt, .. } => receipt.hlc,
                Output::Publish(publication) => publication.hlc,
                _ => continue,
            };
            prop_assert!(stamp <= node.disk.reserved.clock, "a stamp left that is not reserved");
            self.stamp = self.stamp.max(stamp);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_twice_and_nothing_leaves_unreserved(steps in prop::collection::vec(step(), 1..60)) {
        let mut node = Node::with_agents("alpha", &["echo"]);
        let other = Node::unborn("beta", crate::node::at_once());
        let mut left = Left::default();
        let mut received = 0;
        for (number, step) in steps.into_iter().enumerate() {
            let outputs = match step {
                Step::Pass(us) => {
                    node.now = node.now.after_us(us);
                    node.give(Input::Woken)
                }
                Step::SetBack(us) => {
                    node.now = Timestamp(node.now.0 - us).max(START);
                    node.give(Input::Woken)
                }
                Step::Call(durable) => {
                    let level = if durable { "durable" } else { "executed" };
                    let syscall = Box::new(message("echo@beta", "hi", level));
                    let (ask, by) = (weft_kernel::AskId(number as u64), Principal::Operator);
                    node.give(Input::Asked { ask, by, syscall, route: weft_kernel::Route::Remote(other.id()) })
                }
                Step::Observe(us) => {
                    let other = NodeId::from_bytes([9; 32]);
                    let chain = ChainId { node: other, incarnation: Incarnation(1) };
                    let digest = Digest::from_bytes([1; 32]);
                    let head = Head { chain, commit_no: 0, size: 1, root: digest, commit_hash: digest };
                    let hlc = Hlc::from_wall(node.now.after_us(us));
                    node.give(Input::HeadStored { head: Box::new(head), hlc })
                }
                Step::Receive(us) => {
                    received += 1;
                    let envelope = weft_protocol::Envelope {
                        id: MessageId { chain: other.chain(), counter: received },
                        hlc: Hlc::from_wall(node.now.after_us(us)),
                        trace: weft_protocol::TraceId(1),
                        from: weft_protocol::Sender { node: other.id(), principal: Principal::Operator },
                        target: "nobody".parse::<weft_protocol::Target>().expect("a target").local,
                        payload: crate::node::text("hi"),
                        wants_reply: true,
                        level: "executed".parse().expect("a level"),
                        deadline_us: 1_000_000,
                        hops: 8,
                        grant: None,
                        cause: Vec::new(),
                        parts: false,
                    };
                    let (from, role) = (other.id(), Role::Worker);
                    node.give(Input::EnvelopeArrived { from, role, envelope: Box::new(envelope) })
                }
                Step::Persist if node.writing.is_some() => node.persist(),
                Step::Persist => Vec::new(),
                Step::Crash(written) => {
                    if let Some(batch) = node.writing.take().filter(|_| written) {
                        node.disk.write(&batch);
                    }
                    node.crash();
                    node.give(Input::Woken)
                }
            };
            left.check(&node, &outputs)?;
            // Verifies every link, root, signature and that stamps rise from event to event.
            let last = node.recovered().chains.iter().map(|chain| chain.state.last_hlc()).max();
            let bound = Hlc::from_wall(node.now.after_us(200_000_000 + CLOCK_MERGE_US_MAX));
            prop_assert!(last.is_none_or(|last| last <= bound), "the clock ran away");
        }
    }
}
