//! Answering in parts: what an agent says before it is done, handed on in order and never faster than it is taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::limits::{PART_BYTES_MAX, PARTS_KEPT_BYTES_MAX, PARTS_OPEN_BYTES_MAX, PARTS_OPEN_MAX};
use weft_protocol::{MessageId, NodeId, PartsProof, PartsTaken, Payload, Refusal, ReplyPart, Timestamp};

use super::incoming::{Answered, Incoming};
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::timers::Timer;

/// How long parts of an answer that was given are kept for a caller that has not said that it has them, in microseconds
/// (guess: several attempts of it).
const KEPT_US: u64 = 30_000_000;

/// The parts of one answer. Invariant: part number `taken` is the first of `open`.
#[derive(Debug)]
struct Stream {
    /// The node of whoever takes them; this one for a local caller.
    to: NodeId,
    /// All that were said.
    proof: PartsProof,
    /// How many of them the caller has taken.
    taken: u32,
    open: VecDeque<Open>,
    open_bytes: usize,
    /// Whether the caller takes no more.
    unwanted: bool,
    /// Whether some that are open may not have arrived.
    lost: bool,
    /// What there is no room for yet, and who is told when there is.
    waiting: VecDeque<(AskId, Payload)>,
    /// The answer, which stands behind them.
    answer: Option<Answered>,
    /// When it is forgotten, once the answer was given.
    forgotten: Option<Timestamp>,
}

/// A part that was not taken yet, kept for another node until it was.
#[derive(Debug)]
struct Open {
    bytes: usize,
    payload: Option<Payload>,
}

impl Stream {
    fn new(to: NodeId) -> Self {
        Self {
            to,
            proof: PartsProof::default(),
            taken: 0,
            open: VecDeque::new(),
            open_bytes: 0,
            unwanted: false,
            lost: false,
            waiting: VecDeque::new(),
            answer: None,
            forgotten: None,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let few = self.proof.count - self.taken < PARTS_OPEN_MAX && self.open_bytes + bytes <= PARTS_OPEN_BYTES_MAX;
        self.unwanted || few
    }

    /// What waits for room that is there.
    fn next_waiting(&mut self) -> Option<(AskId, Payload)> {
        let bytes = self.waiting.front()?.1.size();
        if self.has_room(bytes) { self.waiting.pop_front() } else { None }
    }

    /// The caller has taken so many; more than were said is nonsense.
    fn take(&mut self, count: u32) {
        if count == PartsTaken::NO_MORE {
            self.unwanted = true;
            self.open.clear();
            self.open_bytes = 0;
            self.taken = self.proof.count;
            return;
        }
        while self.taken < count.min(self.proof.count) {
            self.taken += 1;
            self.open_bytes -= self.open.pop_front().map_or(0, |open| open.bytes);
        }
    }
}

/// The answers that come in parts; while they are not given, one for each open message at most. Invariant: `ended` names those that
/// were given, with the time of their end, and they hold `ended_bytes` together.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    all: BTreeMap<MessageId, Box<Stream>>,
    ended: BTreeSet<(Timestamp, MessageId)>,
    ended_bytes: usize,
}

impl Streams {
    /// The oldest of those whose answer was given, while they hold more together than they may.
    fn beyond_bound(&self) -> Option<MessageId> {
        let beyond = self.ended_bytes > PARTS_KEPT_BYTES_MAX;
        self.ended.first().filter(|_| beyond).map(|(_, message)| *message)
    }

    /// The caller of an answer that was given has taken more of it.
    fn shrink(&mut self, message: &MessageId, bytes_before: usize) {
        let stream = self.all.get(message).filter(|stream| stream.forgotten.is_some());
        self.ended_bytes -= stream.map_or(0, |stream| bytes_before - stream.open_bytes);
    }
}

impl Kernel {
    /// An agent says a part of its answer. It may answer whoever asked it: that needs no other right.
    pub(crate) fn on_stream(&mut self, ask: AskId, by: &Asker, message: &MessageId, part: Payload) {
        match self.may_stream(by, message, &part) {
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
            Ok(to) => {
                let stream = self.streams.all.entry(*message).or_insert_with(|| Box::new(Stream::new(to)));
                if stream.waiting.len() >= PARTS_OPEN_MAX as usize {
                    return self.effects.answer(ask, Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US }));
                }
                stream.waiting.push_back((ask, part));
                self.go_on_streaming(message);
            }
        }
    }

    /// The node of whoever takes the part.
    fn may_stream(&self, by: &Asker, message: &MessageId, part: &Payload) -> Result<NodeId, Refusal> {
        let open = |incoming: &&Incoming| by.process() == Some(incoming.process) && incoming.was_delivered();
        let answered = self.streams.all.get(message).is_some_and(|stream| stream.answer.is_some());
        let Some(incoming) = self.inbox.get(message).filter(open).filter(|_| !answered) else {
            let message = format!("{message} is not open here: it was answered, or nobody waits for it any more");
            return Err(Refusal::Invalid { message });
        };
        if !incoming.parts {
            let what = "an answer in parts: whoever asked takes it whole".to_owned();
            return Err(Refusal::Unsupported { what });
        }
        if matches!(part, Payload::Signal(_)) {
            return Err(Refusal::Invalid { message: "a signal is no part of an answer".to_owned() });
        }
        if self
            .streams
            .all
            .get(message)
            .is_some_and(|stream| stream.proof.count >= PartsTaken::NO_MORE - PARTS_OPEN_MAX)
        {
            return Err(Refusal::Invalid { message: "an answer has no more parts than can be counted".to_owned() });
        }
        super::check_payload(part, PART_BYTES_MAX)?;
        Ok(incoming.from)
    }

    /// Hands on what there is room for, and the answer when nothing waits any more.
    fn go_on_streaming(&mut self, message: &MessageId) {
        while let Some((ask, part)) = self.streams.all.get_mut(message).and_then(|stream| stream.next_waiting()) {
            let number = self.say_part(message, part);
            self.effects.answer(ask, Ok(Answer::Streamed { number }));
        }
        let done = |stream: &&mut Box<Stream>| stream.waiting.is_empty();
        let answer = self.streams.all.get_mut(message).filter(done).and_then(|stream| stream.answer.take());
        let Some((answer, process)) = answer.zip(self.inbox.get(message).map(|incoming| incoming.process)) else {
            return;
        };
        self.on_agent_answered(process, message, answer);
    }

    /// Hands a part on; returns its number.
    fn say_part(&mut self, message: &MessageId, payload: Payload) -> u32 {
        let own = self.identity.chain.node;
        let Some(stream) = self.streams.all.get_mut(message) else { return 0 };
        let (number, to) = (stream.proof.count, stream.to);
        stream.proof.add(&payload);
        if stream.unwanted {
            stream.taken = stream.proof.count;
            return number;
        }
        let bytes = payload.size();
        stream.open_bytes += bytes;
        stream.open.push_back(Open { bytes, payload: (to != own).then(|| payload.clone()) });
        let part = ReplyPart { message: *message, number, payload };
        if to == own {
            self.on_part(own, part);
        } else {
            self.effects.send_part(to, part);
        }
        number
    }

    /// The answer stands behind parts that wait for room, if there are any; otherwise it is given back.
    pub(super) fn hold_answer(&mut self, message: &MessageId, answer: Answered) -> Option<Answered> {
        match self.streams.all.get_mut(message) {
            Some(stream) if !stream.waiting.is_empty() => {
                stream.answer.get_or_insert(answer);
                None
            }
            Some(_) | None => Some(answer),
        }
    }

    /// The caller has taken parts.
    pub(crate) fn on_parts_taken(&mut self, from: NodeId, taken: PartsTaken) {
        let Some(stream) = self.streams.all.get_mut(&taken.message).filter(|stream| stream.to == from) else { return };
        let bytes_before = stream.open_bytes;
        stream.take(taken.count);
        self.streams.shrink(&taken.message, bytes_before);
        let Some(stream) = self.streams.all.get(&taken.message) else { return };
        if stream.forgotten.is_some() && stream.open.is_empty() {
            return self.forget_stream(&taken.message);
        }
        self.send_parts_again(&taken.message);
        self.go_on_streaming(&taken.message);
    }

    /// A second copy of a message: the caller is there, and what was lost is sent again; one that takes no parts wants no more.
    pub(super) fn stream_again(&mut self, from: NodeId, message: &MessageId, parts: bool) {
        if parts {
            self.send_parts_again(message);
        } else {
            self.on_parts_taken(from, PartsTaken { message: *message, count: PartsTaken::NO_MORE });
        }
    }

    /// A frame with parts may not have arrived.
    pub(super) fn on_part_lost(&mut self, to: NodeId, message: &MessageId) {
        if let Some(stream) = self.streams.all.get_mut(message).filter(|stream| stream.to == to) {
            stream.lost = true;
        }
    }

    /// A node is there again.
    pub(super) fn send_parts_to(&mut self, node: NodeId) {
        let lost = self.streams.all.iter().filter(|(_, stream)| stream.to == node && stream.lost);
        let lost = lost.map(|(message, _)| *message).collect::<Vec<_>>();
        lost.iter().for_each(|message| self.send_parts_again(message));
    }

    /// Sends what is open once more, when some of it may not have arrived.
    fn send_parts_again(&mut self, message: &MessageId) {
        let Some(stream) = self.streams.all.get_mut(message).filter(|stream| stream.lost) else { return };
        stream.lost = false;
        for (number, open) in (stream.taken..).zip(&stream.open) {
            if let Some(payload) = open.payload.clone() {
                self.effects.send_part(stream.to, ReplyPart { message: *message, number, payload });
            }
        }
    }

    /// The message ends: what still waits is not said, and what is open is kept for a moment. Returns what stands for its parts.
    pub(super) fn end_stream(&mut self, message: &MessageId, wanted: bool) -> Option<PartsProof> {
        let stream = self.streams.all.get_mut(message)?;
        let proof = stream.proof.some();
        for (ask, _) in std::mem::take(&mut stream.waiting) {
            self.effects.answer(ask, Err(Refusal::Cancelled { maybe_executed: true }));
        }
        if !wanted || stream.open.is_empty() || stream.to == self.identity.chain.node {
            self.streams.all.remove(message);
        } else {
            let until = self.now.after_us(KEPT_US);
            stream.forgotten = Some(until);
            self.streams.ended_bytes += stream.open_bytes;
            self.streams.ended.insert((until, *message));
            self.timers.set(until, Timer::Stream(*message));
            while let Some(oldest) = self.streams.beyond_bound() {
                self.forget_stream(&oldest);
            }
        }
        proof
    }

    /// Parts of an answer that was given are kept no longer.
    pub(crate) fn forget_stream(&mut self, message: &MessageId) {
        let Some(stream) = self.streams.all.remove(message) else { return };
        if let Some(until) = stream.forgotten {
            self.streams.ended.remove(&(until, *message));
            self.streams.ended_bytes -= stream.open_bytes;
            self.timers.clear(until, Timer::Stream(*message));
        }
    }
}
