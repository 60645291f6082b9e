//! Messages that were given up: kept, recorded, sent once more or thrown away, and never a silent loss.

use weft_kernel::{Action, Answer, AskId, Input, Output, Route, Syscall, Ticket};
use weft_protocol::limits::DEAD_LETTERS_MAX;
use weft_protocol::{DeadLetter, ExitReason, Fact, MessageId, NodeId, Payload, Principal, ProcessId};

use crate::node::{Node, echo, effects, granted, lines, message, text, transmitted};

const DEADLINE_US: u64 = 5_000_000;

fn away() -> NodeId {
    NodeId::from_bytes([9; 32])
}

/// A durable message to an agent of a node that never answers.
fn send_away(node: &mut Node, words: &str) -> Vec<Output> {
    let syscall = Box::new(message("echo@away", words, "executed+durable"));
    let route = Route::Remote(away());
    node.run(Input::Asked { ask: AskId(1), by: Principal::Operator, syscall, route })
}

fn letters(node: &mut Node) -> Vec<DeadLetter> {
    let asked = node.asked(90, Syscall::ListDeadLetters);
    let outputs = node.run(asked);
    let letters = outputs.into_iter().find_map(|output| match output {
        Output::Answer { answer: Ok(Answer::DeadLetters(letters)), .. } => Some(letters),
        _ => None,
    });
    letters.expect("they are listed")
}

fn reasons(node: &mut Node) -> Vec<(String, Payload)> {
    letters(node).into_iter().map(|letter| (letter.reason, letter.envelope.payload)).collect()
}

#[test]
fn a_durable_message_whose_time_is_over_is_kept_recorded_and_survives_a_kill() {
    let mut node = Node::new("alpha");
    send_away(&mut node, "hi");
    node.pass(DEADLINE_US);
    assert!(node.disk.outbox.is_empty(), "it is in one place");
    assert_eq!(reasons(&mut node), [("deadline".to_owned(), text("hi"))]);
    assert!(node.kinds().contains(&"ipc.dead-lettered".to_owned()));
    node.crash();
    node.run(Input::Woken);
    assert_eq!(reasons(&mut node), [("deadline".to_owned(), text("hi"))]);
}

#[test]
fn one_that_is_refused_for_good_is_kept_and_one_that_may_be_lost_is_not() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, message("nobody", "kept", "received+durable"));
    assert_eq!(effects(&node.run(asked)), ["answer 1 no-responder: no responder: nobody"]);
    let asked = node.asked(2, message("nobody", "lost", "received"));
    node.run(asked);
    assert_eq!(reasons(&mut node), [("no-responder".to_owned(), text("kept"))]);
}

#[test]
fn a_retry_is_a_new_message_that_names_the_letter_as_its_cause() {
    let mut node = Node::new("alpha");
    send_away(&mut node, "hi");
    node.pass(DEADLINE_US);
    let letter = letters(&mut node).pop().expect("one letter");
    let retry = |message| Box::new(Syscall::RetryDeadLetter { message, deadline_us: DEADLINE_US });
    let (id, route) = (letter.envelope.id, Route::Remote(away()));
    // Where it cannot be sent it stays.
    let refusal = weft_protocol::Refusal::NoResponder { target: "echo".into() };
    let nowhere = Route::nowhere(refusal);
    let refused = node.run(Input::Asked { ask: AskId(5), by: Principal::Operator, syscall: retry(id), route: nowhere });
    assert_eq!(effects(&refused), ["answer 5 no-responder: no responder: echo"]);
    assert_eq!(letters(&mut node).len(), 1);
    let sent = node.run(Input::Asked { ask: AskId(6), by: Principal::Operator, syscall: retry(id), route });
    let again = transmitted(&sent);
    assert_eq!((again.payload, again.cause), (text("hi"), vec![letter.event]));
    assert_eq!(again.trace, letter.envelope.trace);
    assert!(again.id.counter > id.counter);
    assert_eq!(letters(&mut node), []);
    let retried = node.facts().into_iter().find_map(|fact| match fact {
        Fact::DeadLetterRetried(retried) => Some((retried.message, retried.again)),
        _ => None,
    });
    assert_eq!(retried, Some((id, again.id)));
    node.crash();
    node.run(Input::Woken);
    assert_eq!(letters(&mut node), []);
    assert_eq!(node.disk.outbox.len(), 1, "it goes on");
}

fn retry(message: MessageId) -> Input {
    let syscall = Box::new(Syscall::RetryDeadLetter { message, deadline_us: DEADLINE_US });
    Input::Asked { ask: AskId(6), by: Principal::Operator, syscall, route: Route::Remote(away()) }
}

/// The numbers of the messages that are transmitted.
fn sent(outputs: &[Output]) -> Vec<u64> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Transmit { envelope, .. } => Some(envelope.id.counter),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_retry_that_is_killed_before_its_record_is_on_disk_has_sent_nothing_and_after_it_sends_one_message() {
    let mut node = Node::new("alpha");
    send_away(&mut node, "hi");
    node.pass(DEADLINE_US);
    let letter = letters(&mut node).pop().expect("one letter").envelope.id;
    assert!(sent(&node.give(retry(letter))).is_empty(), "the record comes first");
    let back = node.give(Input::ReachabilityChanged { node: away(), reachable: true });
    assert!(sent(&back).is_empty(), "whoever comes back meanwhile");
    node.crash();
    node.run(Input::Woken);
    assert_eq!(letters(&mut node).len(), 1, "it is where it was");
    assert!(node.disk.outbox.is_empty());

    // Killed when the record is on disk and nobody here has heard of that.
    node.give(retry(letter));
    let batch = node.writing.take().expect("the record");
    node.disk.write(&batch);
    node.crash();
    let mut outputs = node.run(Input::Woken);
    assert_eq!(letters(&mut node), []);
    let again = node.disk.outbox.keys().next().copied().expect("it is kept");
    outputs.extend(node.pass(DEADLINE_US));
    let sent = sent(&outputs);
    assert!(!sent.is_empty() && sent.iter().all(|number| *number == again.counter), "one message: {sent:?}");
    assert!(node.run(retry(letter)).iter().all(|output| !matches!(output, Output::Transmit { .. })), "it is gone");
}

#[test]
fn a_retry_is_one_commit_however_full_the_one_before_it_is() {
    for full in 245..=255 {
        let mut node = Node::new("alpha");
        send_away(&mut node, "hi");
        node.pass(DEADLINE_US);
        let letter = letters(&mut node).pop().expect("one letter").envelope.id;
        for count in [1, full] {
            let invite = weft_protocol::InviteId::from_bytes([1; 8]);
            let facts = vec![Fact::InviteRevoked(weft_protocol::InviteRevoked { invite }); count];
            let (ticket, by, action) = (Ticket(5), Principal::Operator, Action::RevokeInvite);
            node.give(Input::FactsGiven { ticket, by, action, facts });
        }
        assert!(sent(&node.give(retry(letter))).is_empty());
        while node.writing.is_some() {
            let outputs = node.persist();
            let (kept, taken) = (node.disk.dead_letters.contains_key(&letter), !node.disk.outbox.is_empty());
            assert_ne!(kept, taken, "behind {full} events it is in one place");
            assert_eq!(sent(&outputs).len(), usize::from(node.writing.is_none() && taken));
        }
    }
}

#[test]
fn a_letter_is_thrown_away_once_and_the_answer_waits_for_the_record() {
    let mut node = Node::new("alpha");
    send_away(&mut node, "hi");
    node.pass(DEADLINE_US);
    let message = letters(&mut node).pop().expect("one letter").envelope.id;
    let asked = node.asked(5, Syscall::DropDeadLetter { message });
    assert_eq!(lines(&node.give(asked.clone())), ["persist [ipc.dead-letter-removed]"]);
    assert!(effects(&node.persist())[0].starts_with("answer 5 DeadLetterDropped"));
    assert!(effects(&node.run(asked))[0].starts_with("answer 5 no-responder: no responder: no dead letter m-"));
    node.crash();
    node.run(Input::Woken);
    assert_eq!(letters(&mut node), []);
}

#[test]
fn what_waited_in_the_mailbox_of_a_process_that_ended_is_kept_when_its_sender_was_told_it_is_safe() {
    let mut node = Node::new("alpha");
    let asked = node.asked(1, Syscall::Spawn { spec: Box::new(echo("slow")) });
    node.run(asked);
    for (ask, words, level) in [(2, "safe", "received"), (3, "asked", "executed")] {
        let asked = node.asked(ask, message("slow", words, level));
        node.run(asked);
    }
    let process = ProcessId { index: 0, generation: 0 };
    let exited = node.run(Input::AgentExited { process, reason: ExitReason::Exited { code: 1 } });
    let answers = effects(&exited);
    assert!(answers.contains(&"answer 3 no-responder: no responder: slow".to_owned()), "its sender knows: {answers:?}");
    assert_eq!(reasons(&mut node), [("mailbox".to_owned(), text("safe"))]);
    node.start_agent(echo("slow"));
    let message = letters(&mut node).pop().expect("one letter").envelope.id;
    let asked = node.asked(7, Syscall::RetryDeadLetter { message, deadline_us: DEADLINE_US });
    let retried = effects(&node.run(asked));
    assert!(retried.iter().any(|line| line.starts_with("deliver") && line.ends_with("`safe`")), "{retried:?}");
    assert_eq!(letters(&mut node), []);
}

#[test]
fn only_the_operator_decides_about_dead_letters() {
    let mut node = Node::new("alpha");
    send_away(&mut node, "hi");
    node.pass(DEADLINE_US);
    let message = letters(&mut node).pop().expect("one letter").envelope.id;
    let agent = node.start_agent(granted("clerk", &["call:*", "send:*"]));
    let syscalls = [
        (Syscall::ListDeadLetters, "read-dead-letters"),
        (Syscall::RetryDeadLetter { message, deadline_us: 1 }, "retry-dead-letter"),
        (Syscall::DropDeadLetter { message }, "drop-dead-letter"),
    ];
    for (syscall, action) in syscalls {
        let syscall = Box::new(syscall);
        let asked = Input::Asked { ask: AskId(1), by: agent.clone(), syscall, route: Route::Local };
        assert_eq!(effects(&node.run(asked)), ["answer 1 denied: denied by rule default-closed#4"]);
        let denied =
            node.facts().into_iter().any(|fact| matches!(fact, Fact::Denied(denial) if denial.action == action));
        assert!(denied, "{action}");
    }
    assert_eq!(letters(&mut node).len(), 1);
}

#[test]
fn the_oldest_goes_when_there_are_too_many_and_that_is_recorded() {
    let mut node = Node::new("alpha");
    for number in 0..=DEAD_LETTERS_MAX {
        let asked = node.asked(1, message("nobody", &number.to_string(), "received+durable"));
        node.run(asked);
        node.now = node.now.after_us(1_000);
    }
    let kept = letters(&mut node);
    assert_eq!(kept.len(), DEAD_LETTERS_MAX);
    assert_eq!(kept[0].envelope.payload, text("1"));
    assert_eq!(node.disk.dead_letters.len(), DEAD_LETTERS_MAX);
    let full = |fact: &Fact| matches!(fact, Fact::DeadLetterRemoved(removed) if removed.reason == "full");
    assert_eq!(node.facts().iter().filter(|fact| full(fact)).count(), 1);
}
