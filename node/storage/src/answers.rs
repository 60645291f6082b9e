//! Answers that did not fit into their events: read at a start, so that a second copy of their message is answered by them.

use redb::TableError;
use weft_protocol::limits::BLOB_BYTES_MAX;
use weft_protocol::{Digest, Payload, PlacedMessage, Stage, content_address, decode};

use crate::error::StoreError;
use crate::recover::Stored;
use crate::row::{self, BadRow, Kind};
use crate::table::BODIES;

/// Most bytes of such answers that a start reads: as many as a running node keeps of answers. What is older stays unread, and
/// a second copy of its message is told that it is too old.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Stored<'_> {
    /// The body of a durable message that does not fit into its event, by the hash that the event names.
    pub(crate) fn body(&self, address: &Digest) -> Result<Option<Payload>, StoreError> {
        let bodies = match self.transaction.open_table(BODIES) {
            Ok(bodies) => bodies,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(value) = bodies.get(&address.as_bytes()[..])? else { return Ok(None) };
        let body = row::body(self.salt, Kind::Body, address.as_bytes(), value.value())?;
        if content_address(body) != *address {
            return Err(BadRow("a body of another hash").into());
        }
        decode(body, BLOB_BYTES_MAX).map(Some).map_err(StoreError::read)
    }

    /// Gives answers whose bodies stand beside their events those bodies, the newest first. One that cannot be read is left
    /// out, as one that is too old.
    pub(crate) fn fill_answers(&self, messages: &mut [PlacedMessage]) {
        let mut left = ANSWER_BYTES_MAX;
        for record in messages.iter_mut().rev().map(|placed| &mut placed.record) {
            let apart = record.stage == Stage::Answered && record.body.is_none() && record.body_bytes > 0;
            if !apart || record.body_bytes > left {
                continue;
            }
            record.body = self.body(&record.body_hash).ok().flatten();
            if record.body.is_some() {
                left -= record.body_bytes;
            }
        }
    }
}
