//! Publishing: the gate, the number, the record, and on to the mesh and to whoever listens here.

use weft_protocol::limits::GOSSIP_BYTES_MAX;
use weft_protocol::{
    Durability, Hlc, LoggedPublication, NodeId, Payload, Publication, Refusal, Resource, Stage, TopicName, TraceId,
};

use super::listeners::Who;
use super::start::Cursor;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::ipc::{Message, Step, check_payload};
use crate::kernel::{Asker, Kernel};
use crate::status::ProcessState;

/// Largest content of a publication, in bytes: the rest of a gossip message is for ids, names, a grant at their longest and a
/// signature (guess, twice the sum).
pub(super) const PUBLICATION_BYTES_MAX: usize = GOSSIP_BYTES_MAX - 2 * 1024;

impl Kernel {
    /// Numbers a publication, records it, and hands it to the mesh and to whoever listens here.
    pub(crate) fn on_publish(
        &mut self,
        ask: AskId,
        by: &Asker,
        topic: TopicName,
        payload: Payload,
        trace: Option<TraceId>,
    ) {
        let answer = self.publish(by, topic, payload, trace);
        self.effects.answer(ask, answer);
    }

    fn publish(
        &mut self,
        by: &Asker,
        topic: TopicName,
        payload: Payload,
        trace: Option<TraceId>,
    ) -> Result<Answer, Refusal> {
        let id = self.chain.take_message_id();
        let action = Action::Publish { topic: topic.clone() };
        let permit = self.judge(&by.sender, &action, &[topic.to_string()], &by.grants, Some(id))?;
        self.check_topic(by, &topic, id)?;
        self.spend(by, Resource::Messages)?;
        check_payload(&payload, PUBLICATION_BYTES_MAX)?;
        self.use_grant(&by.sender, &permit);
        let trace = trace.unwrap_or_else(|| id.new_trace());
        let number = self.topics.numbers.next(&topic);
        let rule = permit.text();
        let mut publication = Publication {
            id,
            hlc: Hlc(0),
            trace,
            from: by.sender.clone(),
            topic,
            seq: number.seq,
            prev: number.prev,
            forgetful: number.forgetful,
            payload,
            grant: permit.grant,
            ed25519: None,
        };
        publication.hlc = self.record_publication(Stage::Published, self.identity.chain.node, &publication, &rule);
        let publication = publication.signed(self.chain.signer());
        self.log_publication(publication.hlc, false, publication.clone());
        self.effects.publish(publication.clone());
        let delivered = self.hand_out(self.identity.chain.node, &publication, "local");
        Ok(Answer::Published { id, trace, seq: number.seq, delivered })
    }

    /// A message to a topic is a publication; nobody in particular could answer it.
    pub(crate) fn on_send_to_topic(&mut self, ask: AskId, by: &Asker, topic: TopicName, message: Message) {
        if message.wants_reply {
            let message = "a topic does not answer: publish to it, or call an agent".to_owned();
            return self.effects.answer(ask, Err(Refusal::Invalid { message }));
        }
        self.on_publish(ask, by, topic, message.payload, message.trace);
    }

    /// Hands a publication of this node to whoever listens here and says how many those were.
    fn hand_out(&mut self, peer: NodeId, publication: &Publication, rule: &str) -> u64 {
        let listeners = self.topics.listeners.live(&publication.topic);
        if listeners.is_empty() {
            return 0;
        }
        self.record_publication(Stage::Delivered, peer, publication, rule);
        listeners.iter().for_each(|who| self.hand_to(*who, Cursor::Live(publication.hlc), publication));
        listeners.len() as u64
    }

    /// Hands a publication to one listener: an agent has it at once, an operator's subscription when it is on disk with the
    /// cursor under which the subscription can be resumed.
    pub(super) fn hand_to(&mut self, who: Who, cursor: Cursor, publication: &Publication) {
        match who {
            Who::Process(process) => {
                // A suspended process hears nothing; the gap in the numbers tells it so.
                let life = self.processes.living(process);
                if life.is_none_or(|life| *life.state() != ProcessState::Suspended) {
                    self.effects.deliver_publication(process, publication);
                }
            }
            Who::Ask(ask) => {
                let notify = Promise::Notify { ask, cursor, publication: Box::new(publication.clone()) };
                if let Some(Promise::Notify { ask, cursor, publication }) = self.chain.hold_written(notify) {
                    self.effects.notify(ask, cursor, publication);
                }
            }
        }
    }

    pub(super) fn log_publication(&mut self, place: Hlc, fetched: bool, publication: Publication) {
        let entry = LoggedPublication { place, fetched, publication };
        let gone = self.topics.log.insert(entry.clone(), self.now);
        self.chain.log(entry, gone);
    }

    pub(super) fn record_publication(
        &mut self,
        stage: Stage,
        peer: NodeId,
        publication: &Publication,
        rule: &str,
    ) -> Hlc {
        let (hlc, _) = self.record_step(&Step {
            stage,
            message: publication.id,
            trace: publication.trace,
            from: &publication.from,
            target: &format!("topic:{}", publication.topic),
            peer,
            rule,
            body: Some(&publication.payload),
            durability: Durability::None,
            cause: &[],
            parts: None,
        });
        hlc
    }
}
