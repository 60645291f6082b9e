//! The messages of one process: those that wait, in order, and those it works on.

use std::collections::{BTreeSet, VecDeque};

use weft_protocol::MessageId;
use weft_protocol::limits::MAILBOX_MESSAGES_MAX;

/// Most bytes of content that wait in one mailbox: a thousand small messages or two dozen of the largest (guess).
/// What would pass it is answered `busy`.
const MAILBOX_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Invariant: a message is in one of both places or in none.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: VecDeque<(MessageId, usize)>,
    bytes: usize,
    in_flight: BTreeSet<MessageId>,
}

impl Mailbox {
    /// Whether a message of this size still fits in. One message always does.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.waiting.is_empty()
            || self.waiting.len() < MAILBOX_MESSAGES_MAX && self.bytes.saturating_add(size) <= MAILBOX_BYTES_MAX
    }

    pub(crate) fn push(&mut self, message: MessageId, size: usize) {
        self.bytes += size;
        self.waiting.push_back((message, size));
    }

    /// The message that is next, while fewer than `in_flight_max` are being worked on.
    pub(crate) fn next(&self, in_flight_max: usize) -> Option<MessageId> {
        let (message, _) = self.waiting.front().filter(|_| self.in_flight.len() < in_flight_max)?;
        Some(*message)
    }

    /// Moves the message that is next to those that are being worked on.
    pub(crate) fn begin(&mut self) {
        if let Some((message, size)) = self.waiting.pop_front() {
            self.bytes -= size;
            self.in_flight.insert(message);
        }
    }

    /// Forgets a message, wherever it is.
    pub(crate) fn remove(&mut self, message: &MessageId) {
        if self.in_flight.remove(message) {
            return;
        }
        if let Some(position) = self.waiting.iter().position(|(waiting, _)| waiting == message) {
            let removed = self.waiting.remove(position);
            self.bytes -= removed.map_or(0, |(_, size)| size);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// All messages, those that are being worked on first.
    pub(crate) fn messages(&self) -> Vec<MessageId> {
        self.in_flight.iter().copied().chain(self.waiting.iter().map(|(message, _)| *message)).collect()
    }
}
