//! Messages that were let into a mailbox of this node and are not answered yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_protocol::{
    Delivery as Reached, Digest, Envelope, Level, MessageId, NodeId, Outcome, Payload, ProcessId, Sender, Timestamp,
    TraceId,
};

use super::Bound;
use crate::event::Delivery;

/// What a process said about one message.
pub(crate) type Answered = Result<Option<Payload>, String>;

/// One message.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The node that waits for its receipt; this one for a local message.
    pub(crate) from: NodeId,
    pub(crate) sender: Sender,
    pub(crate) trace: TraceId,
    pub(crate) target: Arc<str>,
    pub(crate) level: Level,
    pub(crate) cause: Vec<Digest>,
    /// Whose mailbox it is in.
    pub(crate) process: ProcessId,
    /// When nobody waits any longer; never, once its receipt was given.
    pub(crate) expires: Option<Timestamp>,
    /// What is handed to the process; none once it was.
    pub(crate) delivery: Option<Box<Delivery>>,
    /// Whether its record is where it must be before the process may have it.
    pub(crate) deliverable: bool,
    /// What its service holds it to.
    pub(crate) bound: Bound,
    /// Whether whoever waits takes parts of the answer.
    pub(crate) parts: bool,
}

impl Incoming {
    pub(crate) fn new(
        from: NodeId,
        target: Arc<str>,
        envelope: Box<Envelope>,
        process: ProcessId,
        expires: Timestamp,
        bound: Bound,
    ) -> Self {
        let envelope = *envelope;
        let parts = envelope.parts && envelope.wants_reply && envelope.level.delivery == Reached::Executed;
        let delivery = Delivery {
            message: envelope.id,
            from: envelope.from.clone(),
            target: Arc::clone(&target),
            payload: envelope.payload,
            wants_reply: envelope.wants_reply,
            deadline: expires,
            trace: envelope.trace,
            parts,
        };
        Self {
            from,
            sender: envelope.from,
            trace: envelope.trace,
            target,
            level: envelope.level,
            cause: envelope.cause,
            process,
            expires: Some(expires),
            delivery: Some(Box::new(delivery)),
            deliverable: false,
            bound,
            parts,
        }
    }

    /// Whether the process has it.
    pub(crate) const fn was_delivered(&self) -> bool {
        self.delivery.is_none()
    }

    /// Whether somebody still waits for a receipt when the process is done with it.
    pub(crate) const fn is_awaited(&self) -> bool {
        match self.level.delivery {
            Reached::Executed => true,
            Reached::Routed | Reached::Received => false,
        }
    }

    /// What a process's words mean as an outcome, held against the contract of the method that was called.
    pub(crate) fn outcome(&self, answer: Answered) -> Outcome {
        match (Self::unchecked_outcome(answer), &self.bound.method) {
            (Outcome::Executed { reply }, Some(method)) => match method.check_output(reply.as_ref()) {
                Ok(()) => Outcome::Executed { reply },
                Err(refusal) => Outcome::Refused(refusal),
            },
            (outcome, _) => outcome,
        }
    }

    fn unchecked_outcome(answer: Answered) -> Outcome {
        match answer {
            Ok(reply) => {
                match reply.as_ref().map(|reply| super::check_payload(reply, weft_protocol::limits::MESSAGE_BYTES_MAX))
                {
                    Some(Err(refusal)) => {
                        Outcome::Refused(super::answer::failed(&format!("its answer is not acceptable: {refusal}")))
                    }
                    Some(Ok(())) | None => Outcome::Executed { reply },
                }
            }
            Err(reason) => Outcome::Refused(super::answer::failed(&reason)),
        }
    }
}

/// The messages in all mailboxes; their number is bounded by those.
#[derive(Debug, Default)]
pub(crate) struct Inbox(BTreeMap<MessageId, Box<Incoming>>);

impl Inbox {
    pub(crate) fn insert(&mut self, message: MessageId, incoming: Box<Incoming>) {
        self.0.insert(message, incoming);
    }

    pub(crate) fn get(&self, message: &MessageId) -> Option<&Incoming> {
        self.0.get(message).map(AsRef::as_ref)
    }

    pub(crate) fn get_mut(&mut self, message: &MessageId) -> Option<&mut Incoming> {
        self.0.get_mut(message).map(AsMut::as_mut)
    }

    pub(crate) fn remove(&mut self, message: &MessageId) -> Option<Box<Incoming>> {
        self.0.remove(message)
    }

    /// All of them, in the order of their ids; none is left.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = (MessageId, Box<Incoming>)> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }
}
