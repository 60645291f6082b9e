//! How the steps of messages stand on the chain: an event each for durable ones, a leaf of a batch for all others.

use weft_protocol::{
    Digest, Durability, Hlc, MessageId, MessageRecord, NodeId, Outcome, PartsProof, Payload, RecordRef, RecordedStep,
    Refusal, Sender, Stage, TraceId,
};

use crate::kernel::Kernel;

/// BLAKE3 of nothing: the address of the body of a step that has none.
const EMPTY: Digest = Digest::from_bytes([
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b, 0xcb, 0x25,
    0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
]);

/// One step that is to be recorded.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) stage: Stage,
    pub(crate) message: MessageId,
    pub(crate) trace: TraceId,
    pub(crate) from: &'a Sender,
    pub(crate) target: &'a str,
    pub(crate) peer: NodeId,
    pub(crate) rule: &'a str,
    pub(crate) body: Option<&'a Payload>,
    pub(crate) durability: Durability,
    pub(crate) cause: &'a [Digest],
    /// What stands for the parts of the answer, when it ended with some.
    pub(crate) parts: Option<PartsProof>,
}

impl Kernel {
    /// Records one step; of a durable message returns where it stands once it is on disk.
    pub(crate) fn record_step(&mut self, step: &Step<'_>) -> (Hlc, Option<RecordRef>) {
        self.record_audited(step, false)
    }

    /// The same, as an event of its own when `in_full`. Nothing waits for the record of a message that is not durable.
    pub(crate) fn record_audited(&mut self, step: &Step<'_>, in_full: bool) -> (Hlc, Option<RecordRef>) {
        let now = self.now;
        let durable = is_durable(step.durability);
        let (body_hash, body_bytes) = step.body.map_or((EMPTY, 0), |body| (body.content_address(), body.size() as u64));
        let plain = !durable && !in_full;
        let recorded = |hlc| RecordedStep {
            stage: step.stage,
            message: step.message,
            trace: step.trace,
            hlc,
            from: step.from,
            target: step.target,
            peer: step.peer,
            rule: step.rule,
            body_hash,
            body_bytes,
            body: step.body.filter(|_| !plain),
            parts: step.parts,
        };
        if plain {
            let hlc = self.chain.tick(now);
            self.chain.record(&recorded(hlc), now);
            return (hlc, None);
        }
        let record = recorded(Hlc(0)).to_record();
        let source = if step.from.node == self.identity.chain.node {
            step.from.principal.to_string()
        } else {
            "kernel".to_owned()
        };
        // Whoever asked has its answer when a message is acknowledged, and a repeated one would find the same.
        let awaited = step.stage != Stage::Acknowledged;
        let (hlc, place) = self.chain.append_message(&source, record, step.cause.to_vec(), awaited, now);
        (hlc, durable.then_some(place))
    }
}

/// Whether records of messages with this durability are events of their own.
pub(crate) const fn is_durable(durability: Durability) -> bool {
    match durability {
        Durability::None => false,
        Durability::Durable | Durability::Witnessed { .. } => true,
    }
}

/// The stage, the rule and the body by which the end of a received message is recorded.
pub(crate) fn end_of(outcome: &Outcome) -> (Stage, &'static str, Option<Payload>) {
    match outcome {
        Outcome::Received => (Stage::Received, "received", None),
        Outcome::Executed { reply } => (Stage::Answered, "executed", reply.clone()),
        Outcome::Refused(refusal @ Refusal::AgentFailed { reason }) => {
            (Stage::Refused, refusal.code(), Some(Payload::Text(reason.clone())))
        }
        Outcome::Refused(refusal) => (Stage::Refused, refusal.code(), None),
        Outcome::Delivered { .. } => (Stage::Received, "received", None),
    }
}

/// What a recorded end of a received message was: the reverse of [`end_of`], as far as the record holds it.
pub(crate) fn outcome_of(record: &MessageRecord) -> Outcome {
    match (record.stage, record.rule.as_str(), &record.body) {
        (Stage::Answered, _, None) if record.body_bytes > 0 => Outcome::Refused(Refusal::Expired),
        (Stage::Answered, _, body) => Outcome::Executed { reply: body.clone() },
        (_, "agent-failed", Some(Payload::Text(reason))) => {
            Outcome::Refused(Refusal::AgentFailed { reason: reason.clone() })
        }
        (_, rule, _) => {
            let reason = format!("the message was refused before its node restarted: {rule}");
            Outcome::Refused(Refusal::AgentFailed { reason })
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_address_of_nothing_is_that_of_no_bytes() {
        assert_eq!(super::EMPTY, weft_protocol::content_address(&[]));
    }
}
