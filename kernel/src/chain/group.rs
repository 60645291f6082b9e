//! A group of events that are on their way to becoming one commit, with all that goes to disk or waits beside them.

use serde_bytes::ByteBuf;
use weft_protocol::limits::{COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX};
use weft_protocol::{DeadLetter, Digest, DigestRow, Hlc, Leaves, LoggedPublication, MessageId, OutboxEntry, Timestamp};

use super::promise::Promise;

/// Events of a group besides the one that holds the root over its plain messages.
const EVENTS_MAX: usize = COMMIT_EVENTS_MAX - 1;
/// Bytes of them: the root's event needs about 150.
const BYTES_MAX: usize = COMMIT_BYTES_MAX - 1_024;
/// Most steps of plain messages in one group: with 150 bytes each their row stays under a third of a MiB (guess).
const RECORDS_MAX: usize = 2_048;

/// So many steps of plain messages wait for no others.
const RECORDS_LINGER_MAX: usize = RECORDS_MAX / 2;
/// Nor do so many events.
const EVENTS_LINGER_MAX: usize = EVENTS_MAX / 2;

/// Invariant: `events` hold consecutive places from `first_seq` on, with rising stamps.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) first_seq: u64,
    pub(super) events: Vec<ByteBuf>,
    /// Their leaves in the chain's tree.
    pub(super) event_leaves: Vec<Digest>,
    pub(super) bytes: usize,
    pub(super) first_hlc: Hlc,
    pub(super) last_hlc: Hlc,
    /// The leaves of plain messages that no event holds the root of yet, and their hashes.
    pub(super) leaves: Leaves,
    pub(super) hashes: Vec<Digest>,
    /// When the first was added of what nobody waits for: steps of plain messages, ends of those that were acknowledged.
    lingers_since: Option<Timestamp>,
    /// Whether there is something besides.
    urgent: bool,
    pub(super) digests: Vec<DigestRow>,
    pub(super) bodies: Vec<(Digest, ByteBuf)>,
    pub(super) outbox_put: Vec<OutboxEntry>,
    pub(super) outbox_drop: Vec<MessageId>,
    pub(super) topic_put: Vec<LoggedPublication>,
    pub(super) topic_drop: Vec<Hlc>,
    pub(super) dead_put: Vec<DeadLetter>,
    pub(super) dead_drop: Vec<MessageId>,
    pub(super) promises: Vec<Promise>,
    pub(super) checkpoint: bool,
}

impl Group {
    pub(super) fn new(first_seq: u64) -> Self {
        Self {
            first_seq,
            events: Vec::new(),
            event_leaves: Vec::new(),
            bytes: 0,
            first_hlc: Hlc(0),
            last_hlc: Hlc(0),
            leaves: Leaves::default(),
            hashes: Vec::new(),
            lingers_since: None,
            urgent: false,
            digests: Vec::new(),
            bodies: Vec::new(),
            outbox_put: Vec::new(),
            outbox_drop: Vec::new(),
            topic_put: Vec::new(),
            topic_drop: Vec::new(),
            dead_put: Vec::new(),
            dead_drop: Vec::new(),
            promises: Vec::new(),
            checkpoint: false,
        }
    }

    /// Whether events of these bytes still fit in; the root's event always does.
    pub(super) fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.events.len() + events <= EVENTS_MAX && self.bytes + bytes <= BYTES_MAX
    }

    /// Whether one more step of a plain message fits in.
    pub(super) fn has_room_for_record(&self) -> bool {
        self.hashes.len() < RECORDS_MAX && self.events.len() < EVENTS_MAX
    }

    /// Adds the hash of one step of a plain message.
    pub(super) fn push_record(&mut self, hash: Digest, now: Timestamp) {
        self.linger(now);
        self.hashes.push(hash);
    }

    /// What is added now may wait for others.
    pub(super) fn linger(&mut self, now: Timestamp) {
        self.lingers_since.get_or_insert(now);
    }

    /// What is added now waits for nothing.
    pub(super) const fn hurry(&mut self) {
        self.urgent = true;
    }

    pub(super) fn push(&mut self, event: Vec<u8>, leaf: Digest, hlc: Hlc) {
        if self.events.is_empty() {
            self.first_hlc = hlc;
        }
        self.last_hlc = hlc;
        self.bytes += event.len();
        self.events.push(ByteBuf::from(event));
        self.event_leaves.push(leaf);
    }

    /// Whether there is anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.hashes.is_empty()
            && self.topic_put.is_empty()
            && self.topic_drop.is_empty()
            && self.outbox_put.is_empty()
            && self.outbox_drop.is_empty()
            && self.dead_put.is_empty()
            && self.dead_drop.is_empty()
            && !self.checkpoint
    }

    /// From when on it is to be written, if what nobody waits for waits so long for others; none when there is nothing.
    pub(super) fn due_at(&self, linger_us: u64, now: Timestamp) -> Option<Timestamp> {
        let few = self.hashes.len() < RECORDS_LINGER_MAX && self.events.len() < EVENTS_LINGER_MAX;
        let lingers = few && !self.urgent && self.promises.is_empty();
        match self.lingers_since {
            _ if self.is_empty() => None,
            Some(since) if lingers && since <= now => Some(since.after_us(linger_us)),
            _ => Some(now),
        }
    }
}

/// Whether events of these sizes fit into one group at all.
pub(super) fn fits_one_group(events: usize, bytes: usize) -> bool {
    Group::new(0).has_room(events, bytes)
}
