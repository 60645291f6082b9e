//! Messages that were given up: kept on disk for a person, who sends them once more or throws them away.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::limits::{DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, EVENT_BYTES_MAX};
use weft_protocol::{
    DeadLetter, DeadLetterRemoved, DeadLetterRetried, DeadLettered, Envelope, Fact, MessageId, NodeId, Refusal, Target,
};

use super::call::Call;
use super::incoming::Incoming;
use super::send::Message;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId, Route};
use crate::kernel::{Asker, Kernel};

/// Why a message that waited in the mailbox of a process is among the dead letters: the process ended.
const MAILBOX: &str = "mailbox";

/// Events of a retry that share one commit: retried, sent, received, and what a refusal at once adds (acknowledged, given up).
const RETRY_EVENTS: usize = 5;
/// Bytes of them: two hold the message.
const RETRY_BYTES: usize = 2 * EVENT_BYTES_MAX + 8 * 1_024;

/// Invariant: `order` holds the keys of `letters`, oldest first; `bytes` is the sum of what they carry.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<MessageId, DeadLetter>,
    order: VecDeque<MessageId>,
    bytes: usize,
}

impl DeadLetters {
    /// The letters as they were on disk.
    pub(crate) fn restored(letters: &[DeadLetter]) -> Self {
        let mut restored = Self::default();
        let mut letters = letters.to_vec();
        letters.sort_by_key(|letter| (letter.at, letter.envelope.id));
        letters.into_iter().for_each(|letter| restored.insert(letter));
        restored
    }

    fn insert(&mut self, letter: DeadLetter) {
        self.remove(&letter.envelope.id);
        self.bytes += letter.envelope.payload.size();
        self.order.push_back(letter.envelope.id);
        self.letters.insert(letter.envelope.id, letter);
    }

    fn remove(&mut self, message: &MessageId) -> Option<DeadLetter> {
        let letter = self.letters.remove(message)?;
        self.order.retain(|other| other != message);
        self.bytes -= letter.envelope.payload.size();
        Some(letter)
    }

    /// The oldest, while there are too many; one always stays.
    fn surplus(&self) -> Option<MessageId> {
        let full = self.letters.len() > DEAD_LETTERS_MAX || self.bytes > DEAD_LETTER_BYTES_MAX;
        self.order.front().copied().filter(|_| full && self.letters.len() > 1)
    }

    pub(crate) fn get(&self, message: &MessageId) -> Option<&DeadLetter> {
        self.letters.get(message)
    }

    /// All of them, the oldest first.
    fn all(&self) -> Vec<DeadLetter> {
        self.order.iter().filter_map(|message| self.letters.get(message)).cloned().collect()
    }
}

impl Kernel {
    /// Puts a durable message of ours that ended badly among the dead letters; one that may be lost is forgotten.
    pub(super) fn bury(&mut self, call: &Call, reason: &str) {
        if call.is_durable() {
            self.keep_dead_letter(call.envelope.clone(), call.to, call.target.to_string(), reason);
        }
    }

    /// Puts a message that nobody has read among the dead letters, when its sender was told that it is safe in the mailbox.
    pub(super) fn bury_unread(&mut self, message: &MessageId, incoming: &Incoming) {
        let Some(delivery) = incoming.delivery.as_ref().filter(|_| !incoming.is_awaited()) else { return };
        let Ok(Target { local, .. }) = incoming.target.parse::<Target>() else { return };
        let envelope = Envelope {
            id: *message,
            hlc: weft_protocol::Hlc(0),
            trace: incoming.trace,
            from: incoming.sender.clone(),
            target: local,
            payload: delivery.payload.clone(),
            wants_reply: delivery.wants_reply,
            level: incoming.level,
            deadline_us: 0,
            hops: 0,
            grant: None,
            cause: incoming.cause.clone(),
            parts: false,
        };
        let (own, target) = (self.identity.chain.node, incoming.target.to_string());
        self.keep_dead_letter(envelope, own, target, MAILBOX);
    }

    fn keep_dead_letter(&mut self, envelope: Envelope, to: NodeId, target: String, reason: &str) {
        let (message, reason) = (envelope.id, reason.to_owned());
        let fact = DeadLettered { message, to, target: target.clone(), reason: reason.clone() };
        let event = self.chain.append("kernel", &Fact::DeadLettered(fact), self.now).leaf;
        let letter = DeadLetter { envelope, to, target, reason, at: self.now, event };
        self.chain.keep_dead(letter.clone());
        self.dead_letters.insert(letter);
        while let Some(oldest) = self.dead_letters.surplus() {
            self.remove_dead(&oldest, "kernel", "full");
        }
    }

    fn remove_dead(&mut self, message: &MessageId, source: &str, reason: &str) -> u64 {
        self.dead_letters.remove(message);
        self.chain.drop_dead(*message);
        let fact = DeadLetterRemoved { message: *message, reason: reason.to_owned() };
        self.chain.append(source, &Fact::DeadLetterRemoved(fact), self.now).seq
    }

    /// Lists them.
    pub(crate) fn on_list_dead_letters(&mut self, ask: AskId, by: &Asker) {
        let judged = self.judge(&by.sender, &Action::ReadDeadLetters, &["node".to_owned()], &by.grants, None);
        let answer = judged.map(|_| Answer::DeadLetters(self.dead_letters.all()));
        self.effects.answer(ask, answer);
    }

    /// Sends one once more, as a message of whoever asks, and keeps it no longer; a refusal at once leaves it where it is.
    pub(crate) fn on_retry_dead_letter(
        &mut self,
        ask: AskId,
        by: &Asker,
        message: MessageId,
        deadline_us: u64,
        route: Route,
    ) {
        if let Err(refusal) = self.retry_dead_letter(ask, by, message, deadline_us, route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn retry_dead_letter(
        &mut self,
        ask: AskId,
        by: &Asker,
        message: MessageId,
        deadline_us: u64,
        route: Route,
    ) -> Result<(), Refusal> {
        let action = Action::RetryDeadLetter { message };
        self.judge(&by.sender, &action, &[message.to_string()], &by.grants, Some(message))?;
        let letter = self.dead_letters.get(&message).cloned().ok_or_else(|| none(&message))?;
        let target =
            letter.target.parse::<Target>().map_err(|error| Refusal::Invalid { message: error.to_string() })?;
        let Envelope { payload, wants_reply, level, trace, .. } = letter.envelope;
        let again = Message {
            target,
            payload,
            wants_reply,
            level,
            deadline_us,
            trace: Some(trace),
            cause: vec![letter.event],
            parts: false,
        };
        let (call, rule, _) = self.prepare(ask, by, again, route)?;
        self.send_again(&by.sender.principal.to_string(), message, call, rule);
        Ok(())
    }

    /// One commit says that the letter is sent once more, takes it away and holds the message that carries it now. What could
    /// be executed leaves when that is on disk: a node that is killed before has the letter still and has sent nothing.
    fn send_again(&mut self, source: &str, letter: MessageId, mut call: Box<Call>, rule: String) {
        self.chain.make_room(RETRY_EVENTS, RETRY_BYTES, self.now);
        self.dead_letters.remove(&letter);
        self.chain.drop_dead(letter);
        let again = call.envelope.id;
        let fact = Fact::DeadLetterRetried(DeadLetterRetried { message: letter, again });
        let seq = self.chain.append(source, &fact, self.now).seq;
        if call.to == self.identity.chain.node && call.is_durable() {
            // Its process has it when *received* is on disk, which stands in this commit.
            return self.start_call(call, &rule, false);
        }
        self.record_start(&mut call, &rule);
        // Nothing else sends it meanwhile.
        call.lost = false;
        self.calls.insert(call);
        self.chain.hold(seq, Promise::RetryRecorded { message: again, rule });
    }

    /// That a letter is sent once more is on disk.
    pub(crate) fn on_retry_recorded(&mut self, message: &MessageId, rule: &str) {
        let own = self.identity.chain.node;
        let Some(call) = self.calls.get_mut(message) else { return };
        call.lost = true;
        let local = (call.to == own).then(|| (call.envelope.clone(), call.expires));
        let unreachable = self.reachable.get(&call.to) == Some(&false);
        self.depart(message, local, rule, unreachable);
    }

    /// Throws one away; the answer follows when that is recorded.
    pub(crate) fn on_drop_dead_letter(&mut self, ask: AskId, by: &Asker, message: MessageId) {
        let action = Action::DropDeadLetter { message };
        let judged = self.judge(&by.sender, &action, &[message.to_string()], &by.grants, Some(message));
        let there = judged.and_then(|_| self.dead_letters.get(&message).map(|_| ()).ok_or_else(|| none(&message)));
        match there {
            Ok(()) => {
                let source = by.sender.principal.to_string();
                let seq = self.remove_dead(&message, &source, "operator");
                let answer = Ok(Answer::DeadLetterDropped { message });
                self.chain.hold(seq, Promise::Answer { ask, answer });
            }
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    /// Where a dead letter was to go, as it was written.
    #[must_use]
    pub fn dead_letter_target(&self, message: &MessageId) -> Option<Target> {
        self.dead_letters.get(message)?.target.parse().ok()
    }
}

fn none(message: &MessageId) -> Refusal {
    Refusal::NoResponder { target: format!("no dead letter {message}") }
}
