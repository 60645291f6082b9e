//! Groups of events: one is written at a time, the rest gathers, and seals follow in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weft_kernel::{Input, KernelConfig, Output, Syscall};
use weft_protocol::limits::{CHECKPOINT_EVENTS_MAX, COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, UNSEALED_EVENTS_MAX};

use crate::node::{Node, effects, lines, message};

/// An input that adds one event and nothing else: a send to a topic that wants an answer is refused by the gate never,
/// a denied one always.
fn denied(node: &Node) -> Input {
    let by = weft_protocol::Principal::Agent {
        agent: crate::node::name("echo"),
        process: node.kernel.agent(&crate::node::name("echo")).expect("it lives"),
    };
    let syscall = Box::new(Syscall::Shutdown);
    Input::Asked { ask: weft_kernel::AskId(1), by, syscall, route: weft_kernel::Route::Local }
}

#[test]
fn what_comes_while_a_group_is_written_forms_the_next() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    assert!(lines(&node.give(input.clone()))[0].starts_with("persist [gate.denied]"));
    for _ in 0..3 {
        assert_eq!(lines(&node.give(input.clone())), ["answer 1 denied: denied by rule default-closed#4"]);
    }
    assert_eq!(lines(&node.persist()), ["persist [gate.denied gate.denied gate.denied]", "announce [gate.denied]"]);
    assert_eq!(lines(&node.persist()), ["announce [gate.denied gate.denied gate.denied]"]);
}

#[test]
fn a_group_closes_before_it_is_too_large() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    node.give(input.clone());
    for _ in 0..1_000 {
        node.give(input.clone());
    }
    let asked = node.asked(2, message("echo", "hi", "executed"));
    node.give(asked);
    while node.writing.is_some() {
        node.persist();
    }
    let sizes = node.disk.groups.iter().map(|group| group.events.len()).collect::<Vec<_>>();
    let burst = sizes.len() - 8;
    assert_eq!(sizes[burst..burst + 5], [1, 32, 33, 66, 132], "half of what waits, and at least 32");
    assert_eq!(sizes[burst + 5..], [COMMIT_EVENTS_MAX - 1, COMMIT_EVENTS_MAX - 1, 1_000 - 263 - 510 + 1]);
    node.recovered();
}

#[test]
fn steps_of_plain_messages_wait_for_others_and_for_nothing_else() {
    let mut node = Node::unborn("alpha", KernelConfig::default());
    node.run(Input::Woken);
    node.start_agent(crate::node::echo("echo"));
    let plain = |node: &Node, ask| node.asked(ask, message("echo", "hi", "executed"));
    let writes = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Persist(_)));
    let begun = node.now;

    // Nobody waits for the first; the second lets nothing wait longer.
    assert!(!writes(&node.give(plain(&node, 1))));
    let due = begun.after_us(20_000);
    assert_eq!(node.kernel.next_wakeup(), Some(due));
    node.now = begun.after_us(15_000);
    assert!(!writes(&node.give(plain(&node, 2))));
    assert_eq!(node.kernel.next_wakeup(), Some(due));
    node.now = due;
    assert!(writes(&node.give(Input::Woken)), "both");
    node.persist();
    assert_eq!(node.steps().len(), 2);

    // An event takes along what waits.
    assert!(!writes(&node.give(plain(&node, 3))));
    assert!(writes(&node.give(denied(&node))));
    node.persist();
    assert_eq!(node.steps().len(), 3);

    // So does one too many, and a clock that went back.
    for ask in 0..1_023 {
        assert!(!writes(&node.give(plain(&node, 4 + ask))));
    }
    assert!(writes(&node.give(plain(&node, 4))));
    node.persist();
    assert!(!writes(&node.give(plain(&node, 5))));
    node.now = begun;
    assert!(writes(&node.give(Input::Woken)), "nobody waits for a time that may never come again");
    node.persist();
    assert_eq!(node.steps().len(), 3 + 1_024 + 1);
    node.recovered();
}

/// Counts the commits that it signs.
#[derive(Debug)]
struct Counting(Arc<weft_protocol::KeyPair>, Arc<AtomicUsize>);

impl weft_protocol::Signer for Counting {
    fn public_keys(&self) -> &weft_protocol::PublicKeys {
        self.0.public_keys()
    }

    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sign_ed25519_bytes(message)
    }

    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8> {
        self.0.sign_mldsa65_bytes(context, message)
    }
}

#[test]
fn a_whole_group_is_signed_while_the_one_before_it_is_written() {
    let signed = Arc::new(AtomicUsize::new(0));
    let mut node = Node::unborn("alpha", crate::node::at_once());
    let signer = Arc::new(Counting(node.signer.clone(), signed.clone()));
    node.kernel = crate::node::kernel_signed_by(signer, &node.config);
    node.run(Input::Woken);
    node.start_agent(crate::node::echo("echo"));
    let input = denied(&node);
    node.give(input.clone());
    let before = signed.load(Ordering::Relaxed);
    for _ in 0..31 {
        node.give(input.clone());
    }
    assert_eq!(signed.load(Ordering::Relaxed), before, "a group that may still grow is not signed");
    for _ in 0..8 {
        node.give(input.clone());
    }
    assert_eq!(signed.load(Ordering::Relaxed), before + 1, "once, however much follows");
    node.persist();
    let batch = node.writing.as_ref().expect("the next group is written");
    let (_, group) = &batch.groups[0];
    assert_eq!((group.events.len(), signed.load(Ordering::Relaxed)), (32, before + 1), "the one that was signed");
    while node.writing.is_some() {
        node.persist();
    }
    node.recovered();
}

#[test]
fn a_group_of_large_events_closes_by_bytes() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    node.give(input);
    for ask in 0..20 {
        let asked = node.asked(ask, message("echo", &"x".repeat(60_000), "received+durable"));
        node.give(asked);
    }
    while node.writing.is_some() {
        node.persist();
    }
    let bytes = node.disk.groups.iter().map(|group| group.events.iter().map(|event| event.len()).sum::<usize>());
    let bytes = bytes.collect::<Vec<_>>();
    assert!(bytes.iter().all(|bytes| *bytes <= COMMIT_BYTES_MAX), "{bytes:?}");
    assert!(bytes.iter().filter(|bytes| **bytes > COMMIT_BYTES_MAX - 66_000).count() >= 9, "{bytes:?}");
}

#[test]
fn a_tail_is_sealed_after_a_second_and_once() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    node.pass(2_000_000);
    let input = denied(&node);
    let before = node.kernel.chain_status();
    assert_eq!(before.sealed_events, before.events);
    node.run(input);
    assert_eq!(node.kernel.chain_status().sealed_events, before.events);
    assert_eq!(lines(&node.pass(999_999)), Vec::<String>::new());
    assert_eq!(lines(&node.pass(1)), ["persist []! reserved", "announce []!"]);
    let after = node.kernel.chain_status();
    assert_eq!(
        (after.sealed_events, after.events, after.commits),
        (before.events + 1, before.events + 1, before.commits + 2)
    );
    assert_eq!(node.kernel.next_wakeup(), None);
    assert_eq!(lines(&node.pass(10_000_000)), Vec::<String>::new());
}

#[test]
fn every_256_events_are_sealed_even_if_the_clock_stands_still() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    for _ in 0..2 * UNSEALED_EVENTS_MAX {
        node.run(input.clone());
    }
    let status = node.kernel.chain_status();
    assert!(status.events - status.sealed_events < CHECKPOINT_EVENTS_MAX);
    assert_eq!(status.checkpoints, 1 + status.events / CHECKPOINT_EVENTS_MAX);
    node.recovered();
}

#[test]
fn a_group_that_gathered_for_more_than_a_second_is_sealed() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    node.run(input.clone());
    node.now = node.now.after_us(1_000_000);
    assert_eq!(lines(&node.give(Input::Woken)), ["persist []!"]);
    node.give(input.clone());
    node.now = node.now.after_us(1_000_000);
    node.give(input);
    assert_eq!(lines(&node.persist()), ["persist [gate.denied gate.denied]!", "announce []!"]);
}

#[test]
fn a_long_silence_between_two_events_breaks_no_rule() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    node.run(input.clone());
    // Nobody woke the machine in time.
    node.now = node.now.after_us(60_000_000);
    let outputs = node.run(input);
    assert_eq!(effects(&outputs), ["answer 1 denied: denied by rule default-closed#4"]);
    node.recovered();
}

#[test]
fn the_root_of_a_batch_proves_each_of_its_steps() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    for ask in 0..5 {
        let asked = node.asked(ask, message("echo", "hi", "executed"));
        node.give(asked);
    }
    let batch = node.writing.clone().expect("it is being written");
    node.persist();
    let next = node.writing.clone().expect("it is being written");
    for (batch, count) in [(batch, 1), (next, 4)] {
        let [row] = &batch.digests[..] else { panic!("one row") };
        assert_eq!(row.records.len(), count);
        let (_, group) = &batch.groups[0];
        let event = weft_protocol::Event::decode(group.events.last().expect("an event")).expect("an event");
        assert_eq!(event.seq, row.seq);
        let leaves = row.records.hashes();
        let expected = weft_protocol::Fact::Batch(weft_protocol::MessageBatch {
            root: weft_protocol::root::<weft_protocol::Blake3>(&leaves),
            count: count as u64,
        });
        assert_eq!(weft_protocol::Fact::decode(&event.kind, &event.payload), Ok(expected));
    }
}

#[test]
fn a_durable_message_that_fills_a_group_with_plain_ones_comes_after_their_root() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let input = denied(&node);
    node.give(input.clone());
    // The next group takes all these while the first one is being written; its last place is that of the root.
    for ask in 0..300 {
        let plain = node.asked(2 * ask, message("echo", "plain", "received"));
        node.give(plain);
        let durable = node.asked(2 * ask + 1, message("echo", "durable", "received+durable"));
        node.give(durable);
    }
    while node.writing.is_some() {
        let outputs = node.persist();
        assert!(!lines(&outputs).iter().any(|line| line.contains("damaged")), "{:?}", lines(&outputs));
    }
    assert_eq!(node.kernel.state(), weft_kernel::NodeState::Running);
    node.recovered();
}
