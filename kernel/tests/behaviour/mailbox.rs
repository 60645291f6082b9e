//! Mailboxes: bounded, in order, and never a message that nobody answers.

use weft_kernel::{Input, KernelConfig, Output};
use weft_protocol::limits::MAILBOX_MESSAGES_MAX;
use weft_protocol::{ExitReason, MessageId, ProcessId};

use crate::node::{Node, echo, effects, message, text};

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

#[test]
fn no_more_than_the_bound_is_worked_on_and_the_rest_follows_in_order() {
    let mut node = Node::unborn("alpha", KernelConfig { in_flight_max: 2, ..crate::node::at_once() });
    node.run(Input::Woken);
    node.start_agent(echo("echo"));
    let mut call = |ask: u64| {
        let asked = node.asked(ask, message("echo", &format!("{ask}"), "executed"));
        effects(&node.run(asked)).join("; ")
    };
    assert_eq!(call(1), "deliver m0 to #0.0 `1`");
    assert_eq!(call(2), "deliver m1 to #0.0 `2`");
    assert_eq!((call(3), call(4)), (String::new(), String::new()));
    let message = MessageId { chain: node.chain(), counter: 1 };
    let answered = node.run(Input::AgentAnswered { process: ECHO, message, answer: Ok(Some(text("ho"))) });
    assert_eq!(effects(&answered), ["answer 2 sent m1 executed `ho`", "deliver m2 to #0.0 `3`"]);
    let shown = node.kernel.process(ECHO).expect("it lives");
    assert_eq!((shown.in_flight, shown.mailbox), (2, 1));
}

#[test]
fn a_full_mailbox_is_busy_and_a_retry_is_harmless() {
    let mut node = Node::unborn("alpha", KernelConfig { in_flight_max: 0, ..crate::node::at_once() });
    node.run(Input::Woken);
    node.start_agent(echo("echo"));
    for ask in 0..MAILBOX_MESSAGES_MAX as u64 {
        let asked = node.asked(ask, message("echo", "hi", "received"));
        let outputs = effects(&node.run(asked));
        assert_eq!(outputs, [format!("answer {ask} sent m{ask} received")]);
    }
    let asked = node.asked(9_999, message("echo", "hi", "received"));
    assert_eq!(effects(&node.run(asked)), ["answer 9999 busy: busy, retry after 50 ms"]);
}

#[test]
fn when_a_process_ends_everybody_who_waits_for_it_is_told() {
    let mut node = Node::unborn("alpha", KernelConfig { in_flight_max: 1, ..crate::node::at_once() });
    node.run(Input::Woken);
    node.start_agent(echo("echo"));
    for ask in [1, 2] {
        let asked = node.asked(ask, message("echo", "hi", "executed"));
        node.run(asked);
    }
    let exited = node.run(Input::AgentExited { process: ECHO, reason: ExitReason::Killed { signal: 9 } });
    assert_eq!(
        effects(&exited),
        [
            "answer 1 agent-failed: the agent failed: echo killed by signal 9",
            "answer 2 no-responder: no responder: echo",
            "advertise []",
        ]
    );
    assert_eq!(node.kinds()[6..], ["process.exited", "resource.scored", "ipc.batch"]);
}

#[test]
fn an_agent_that_answers_what_it_was_not_asked_changes_nothing() {
    let mut node = Node::with_agents("alpha", &["echo", "other"]);
    let asked = node.asked(1, message("echo", "hi", "executed"));
    let outputs = node.run(asked);
    let Some(Output::Deliver { delivery, .. }) = outputs.iter().find(|output| matches!(output, Output::Deliver { .. }))
    else {
        panic!("a delivery")
    };
    let message = delivery.message;
    let other = ProcessId { index: 1, generation: 0 };
    let nonsense = node.run(Input::AgentAnswered { process: other, message, answer: Ok(None) });
    assert_eq!(effects(&nonsense), Vec::<String>::new());
    let failed = node.run(Input::AgentAnswered { process: ECHO, message, answer: Err("no idea".to_owned()) });
    assert_eq!(effects(&failed), ["answer 1 agent-failed: the agent failed: no idea"]);
    let again = node.run(Input::AgentAnswered { process: ECHO, message, answer: Ok(None) });
    assert_eq!(effects(&again), Vec::<String>::new());
}

#[test]
fn an_answer_that_is_too_large_to_travel_is_a_failure_of_the_agent() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let asked = node.asked(1, message("echo", "hi", "executed"));
    node.run(asked);
    let message = MessageId { chain: node.chain(), counter: 0 };
    let answer = Ok(Some(text(&"x".repeat(1_048_577))));
    assert_eq!(
        effects(&node.run(Input::AgentAnswered { process: ECHO, message, answer })),
        [
            "answer 1 agent-failed: the agent failed: its answer is not acceptable: too large: 1048577 bytes, at most 1048576"
        ]
    );
}
