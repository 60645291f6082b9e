//! An envelope that comes again, soon, late, after very many others or after a restart, is executed once.

use weft_kernel::{Input, Output};
use weft_protocol::limits::DEDUPLICATION_WINDOW;
use weft_protocol::{Envelope, MessageId, Principal, ProcessId, Role};

use crate::node::{effects, message, transmitted};
use crate::pair::Pair;

const ECHO: ProcessId = ProcessId { index: 0, generation: 0 };

/// How many messages come between.
const MESSAGES: u64 = 100_000;
/// One second, in microseconds.
const SECOND_US: u64 = 1_000_000;

/// What beta's agents were handed.
struct Executed {
    handed: Vec<MessageId>,
    /// The disk is done after every so many.
    written_every: usize,
}

impl Executed {
    /// Gives beta an envelope of alpha, and answers what it delivers.
    fn give(&mut self, pair: &mut Pair, envelope: &Envelope) -> Vec<String> {
        let (from, role) = (pair.nodes[0].id(), Role::Worker);
        let beta = &mut pair.nodes[1];
        let arrived = Input::EnvelopeArrived { from, role, envelope: Box::new(envelope.clone()) };
        let written = self.handed.len().is_multiple_of(self.written_every);
        let mut outputs = if written { beta.run(arrived) } else { beta.give(arrived) };
        let handed = outputs.iter().filter_map(|output| match output {
            Output::Deliver { delivery, .. } => Some(delivery.message),
            _ => None,
        });
        let handed: Vec<MessageId> = handed.collect();
        for message in &handed {
            let answered = Input::AgentAnswered { process: ECHO, message: *message, answer: Ok(None) };
            outputs.extend(if written { beta.run(answered) } else { beta.give(answered) });
        }
        self.handed.extend(handed);
        effects(&outputs)
    }

    fn times(&self, message: MessageId) -> usize {
        self.handed.iter().filter(|executed| **executed == message).count()
    }
}

fn sent(pair: &mut Pair, level: &str) -> Envelope {
    let asked = pair.asked(1, Principal::Operator, message("echo@beta", "hi", level));
    transmitted(&pair.nodes[0].run(asked))
}

fn replayed(level: &str) {
    let (mut pair, mut executed) = (Pair::new(), Executed { handed: Vec::new(), written_every: 1 });
    let envelope = sent(&mut pair, level);
    executed.give(&mut pair, &envelope);
    assert_eq!(executed.times(envelope.id), 1, "{level}");
    for pause_us in [SECOND_US, 60 * SECOND_US] {
        pair.nodes[1].pass(pause_us);
        let said = executed.give(&mut pair, &envelope).join("; ");
        assert!(said.starts_with("acknowledge m0 executed"), "{level}: answered as the first time: {said}");
        assert_eq!(executed.times(envelope.id), 1, "{level}: {pause_us} us later");
    }

    let beta = &mut pair.nodes[1];
    beta.crash();
    beta.run(Input::Woken);
    beta.start_agent(crate::node::echo("echo"));
    let said = executed.give(&mut pair, &envelope);
    assert_eq!(executed.times(envelope.id), 1, "{level}: after a restart: {said:?}");
    assert_eq!(said.len(), 1, "{level}: and it is answered: {said:?}");

    // What is new is let in all the same.
    let next = Envelope { id: MessageId { counter: envelope.id.counter + 1, ..envelope.id }, ..envelope };
    executed.give(&mut pair, &next);
    assert_eq!(executed.times(next.id), 1, "{level}");
}

#[test]
fn a_plain_envelope_is_executed_once() {
    replayed("executed");
}

#[test]
fn a_durable_envelope_is_executed_once() {
    replayed("executed+durable");
}

#[test]
fn an_envelope_is_executed_once_among_a_hundred_thousand() {
    let (mut pair, mut executed) = (Pair::new(), Executed { handed: Vec::new(), written_every: 256 });
    let first = sent(&mut pair, "executed");
    for number in 0..=MESSAGES {
        let id = MessageId { counter: first.id.counter + number, ..first.id };
        executed.give(&mut pair, &Envelope { id, ..first.clone() });
        if number % 25_000 == DEDUPLICATION_WINDOW % 25_000 {
            executed.give(&mut pair, &first);
        }
    }
    assert_eq!(executed.handed.len() as u64, MESSAGES + 1, "each was handed over");
    let said = executed.give(&mut pair, &first);
    assert_eq!(
        (executed.times(first.id), said),
        (1, vec!["acknowledge m0 expired: expired: the message id is below the receiver's window".to_owned()])
    );
    let newest = MessageId { counter: first.id.counter + MESSAGES, ..first.id };
    executed.give(&mut pair, &Envelope { id: newest, ..first });
    assert_eq!(executed.times(newest), 1, "one that the window still knows");
}
