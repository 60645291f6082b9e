//! Bodies that this node fetches: chunk by chunk, each proven before it is kept, resumed where they stopped.

use std::collections::{BTreeMap, BTreeSet};

use serde_bytes::ByteBuf;
use weft_protocol::limits::{BLOB_BYTES_MAX, DEADLINE_US_MAX, MESSAGE_BYTES_MAX};
use weft_protocol::{
    BlobRef, BlobRequest, BlobResponse, Envelope, MessageId, NodeId, Outcome, Payload, Receipt, Refusal, Role,
    Timestamp, decode,
};

/// Most bytes of bodies that are fetched at once (guess: sixty of the largest).
const FETCHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most of them from one member, so that the others are served whatever it does.
pub(super) const MEMBER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Chunks of one body asked for at once.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// When a member whose body finds no room may try again, in microseconds (guess).
const BUSY_RETRY_US: u64 = 200_000;
/// A body of which nothing came for this long is let go of, in microseconds: longer than a request may take.
const IDLE_US_MAX: u64 = 15_000_000;

/// Which body: of which member's message, and whether it is the reply to ours.
pub(crate) type FetchKey = (NodeId, MessageId, bool);

/// What waits for a body.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// A message; the role of the member that sent it.
    Envelope(Role, Box<Envelope>),
    /// The answer to a message of ours.
    Receipt(Box<Receipt>),
}

/// What became of a body.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// It is whole, and in its place.
    Whole(NodeId, Wanted),
    /// The member named one thing and served another.
    Refused(NodeId, Wanted, Refusal),
}

#[derive(Debug)]
struct Fetch {
    wanted: Wanted,
    body: BlobRef,
    missing: BTreeSet<u64>,
    in_flight: BTreeSet<u64>,
    chunks: BTreeMap<u64, ByteBuf>,
    since: Timestamp,
    until: Timestamp,
    moved: Timestamp,
}

/// Invariant: `bytes` is the sum over `fetches`, and at most [`FETCHED_BYTES_MAX`]; a chunk is missing, in flight or here.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    fetches: BTreeMap<FetchKey, Fetch>,
    bytes: u64,
}

impl Fetches {
    /// Begins to fetch, or goes on with what a second copy names again.
    pub(crate) fn begin(&mut self, from: NodeId, wanted: Wanted, body: BlobRef, now: Timestamp) -> Result<(), Refusal> {
        let key = key(from, &wanted);
        if self.fetches.get(&key).is_some_and(|fetch| fetch.body == body) {
            return Ok(());
        }
        if body.bytes > BLOB_BYTES_MAX as u64 {
            return Err(Refusal::TooLarge { size: body.bytes, max: MESSAGE_BYTES_MAX as u64 });
        }
        self.remove(&key);
        let of_member = self.fetches.iter().filter(|((member, ..), _)| *member == from);
        let of_member = of_member.map(|(_, fetch)| fetch.body.bytes).sum::<u64>();
        if self.bytes + body.bytes > FETCHED_BYTES_MAX || of_member + body.bytes > MEMBER_BYTES_MAX {
            return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        let until = match &wanted {
            Wanted::Envelope(_, envelope) => now.after_us(envelope.deadline_us.min(DEADLINE_US_MAX)),
            Wanted::Receipt(_) => now.after_us(DEADLINE_US_MAX),
        };
        let fetch = Fetch {
            wanted,
            body,
            missing: (0..body.chunks()).collect(),
            in_flight: BTreeSet::new(),
            chunks: BTreeMap::new(),
            since: now,
            until,
            moved: now,
        };
        self.bytes += body.bytes;
        self.fetches.insert(key, fetch);
        Ok(())
    }

    /// What is to be asked for now of this body; it counts as in flight from here on.
    pub(crate) fn ask(&mut self, key: &FetchKey) -> Vec<BlobRequest> {
        let Some(fetch) = self.fetches.get_mut(key) else { return Vec::new() };
        let room = CHUNKS_IN_FLIGHT_MAX.saturating_sub(fetch.in_flight.len());
        let next = fetch.missing.iter().copied().take(room).collect::<Vec<_>>();
        for chunk in &next {
            fetch.missing.remove(chunk);
            fetch.in_flight.insert(*chunk);
        }
        let address = fetch.body.address;
        next.into_iter().map(|chunk| BlobRequest { address, chunk }).collect()
    }

    /// A member answered; what is whole or refused leaves.
    pub(crate) fn arrived(
        &mut self,
        key: &FetchKey,
        chunk: u64,
        response: BlobResponse,
        now: Timestamp,
    ) -> Option<Arrived> {
        let fetch = self.fetches.get_mut(key)?;
        if !fetch.in_flight.remove(&chunk) {
            return None;
        }
        match response {
            BlobResponse::Chunk(answer) if answer.proves(&fetch.body, chunk) => {
                fetch.chunks.insert(chunk, answer.content);
                fetch.moved = now;
                if fetch.chunks.len() as u64 == fetch.body.chunks() { self.finish(key, now) } else { None }
            }
            BlobResponse::Chunk(_) => {
                let fetch = self.remove(key)?;
                let message = format!("what was served is not the body {}", fetch.body.address);
                Some(Arrived::Refused(key.0, fetch.wanted, Refusal::Invalid { message }))
            }
            // It is kept no longer: whoever sent it names it again if it still matters.
            BlobResponse::Unknown => {
                self.remove(key);
                None
            }
            // As a request that failed: it is asked for again when the message is named again.
            BlobResponse::Busy { .. } => {
                fetch.missing.insert(chunk);
                None
            }
        }
    }

    /// A request failed: the chunk is asked for again when the message is named again.
    pub(crate) fn failed(&mut self, key: &FetchKey, chunk: u64) {
        if let Some(fetch) = self.fetches.get_mut(key)
            && fetch.in_flight.remove(&chunk)
        {
            fetch.missing.insert(chunk);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let over = self.fetches.iter().filter(|(_, fetch)| fetch.ends() <= now).map(|(key, _)| *key);
        for key in over.collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        self.fetches.values().map(Fetch::ends).min()
    }

    fn finish(&mut self, key: &FetchKey, now: Timestamp) -> Option<Arrived> {
        let mut fetch = self.remove(key)?;
        let content = fetch.chunks.values().flat_map(|chunk| chunk.iter().copied()).collect::<Vec<u8>>();
        let payload = match decode::<Payload>(&content, BLOB_BYTES_MAX) {
            Ok(payload) => payload,
            Err(error) => {
                let message = format!("the body {} is not a payload: {error}", fetch.body.address);
                return Some(Arrived::Refused(key.0, fetch.wanted, Refusal::Invalid { message }));
            }
        };
        match &mut fetch.wanted {
            Wanted::Envelope(_, envelope) => {
                envelope.payload = payload;
                envelope.deadline_us = envelope.deadline_us.saturating_sub(now.since_us(fetch.since));
            }
            Wanted::Receipt(receipt) => receipt.outcome = Outcome::Executed { reply: Some(payload) },
        }
        Some(Arrived::Whole(key.0, fetch.wanted))
    }

    fn remove(&mut self, key: &FetchKey) -> Option<Fetch> {
        let fetch = self.fetches.remove(key)?;
        self.bytes -= fetch.body.bytes;
        Some(fetch)
    }
}

impl Fetch {
    fn ends(&self) -> Timestamp {
        self.until.min(self.moved.after_us(IDLE_US_MAX))
    }
}

/// Under which key this is fetched.
pub(crate) fn key(from: NodeId, wanted: &Wanted) -> FetchKey {
    match wanted {
        Wanted::Envelope(_, envelope) => (from, envelope.id, false),
        Wanted::Receipt(receipt) => (from, receipt.message, true),
    }
}
