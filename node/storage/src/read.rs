//! Plain reads, each in a read transaction of its own: they see whole commits and do not wait for writes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{ReadOnlyTable, ReadTransaction};
use weft_protocol::{
    Blake3, ChainId, CommitGroup, Digest, DigestRow, Event, EventProof, Fact, KeyRotation, MessageId, MessageRecord,
    Payload, SignedCommit, TraceId, TraceRow, decode, leaf_hash, prove_inclusion,
};

use crate::error::{StoreError, panic_text};
use crate::index::{self, Place, WHOLE_EVENT};
use crate::recover::{Stored, empty_state};
use crate::row::{self, BODY_BYTES_MAX, BadRow, GroupView, Kind, numbered_key, split_numbered_key};
use crate::store::Store;
use crate::table::{DIGESTS, GROUPS, INDEX};

type Groups = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Store {
    /// Whole groups of one chain from a commit on, as many as fit into `bytes_max`, but at least one when there is one.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn range(&self, chain: ChainId, from_commit: u64, bytes_max: u64) -> Result<Vec<CommitGroup>, StoreError> {
        self.reading(|transaction| {
            let table = transaction.open_table(GROUPS)?;
            let (first, last) = (numbered_key(chain, from_commit), numbered_key(chain, u64::MAX));
            let (mut groups, mut bytes) = (Vec::new(), 0);
            for entry in table.range(&first[..]..=&last[..])? {
                let (key, value) = entry?;
                let body = match self.row_body("groups", Kind::Group, key.value(), value.value()) {
                    // What stands before damage is served.
                    Err(_) if !groups.is_empty() => break,
                    body => body?,
                };
                bytes += body.len() as u64;
                if bytes > bytes_max && !groups.is_empty() {
                    break;
                }
                groups.push(GroupView::parse(body)?.group()?);
            }
            Ok(groups)
        })
    }

    /// One signed commit, without its events.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn commit_header(&self, chain: ChainId, commit_no: u64) -> Result<Option<SignedCommit>, StoreError> {
        self.reading(|transaction| {
            let groups = transaction.open_table(GROUPS)?;
            self.with_group(&groups, chain, commit_no, |view| Ok(view.signed()))
        })
    }

    /// The body of a durable message that does not fit into its event, by the hash that the event names; `None` when this
    /// node neither sent nor received it.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn body(&self, address: &Digest) -> Result<Option<Payload>, StoreError> {
        self.reading(|transaction| Stored { transaction, salt: &self.salt }.body(address))
    }

    /// The bytes of one event.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn event(&self, chain: ChainId, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.events(chain, seq, 1)?.pop())
    }

    /// The bytes of at most `limit` events from a place on, in order.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn events(&self, chain: ChainId, from_seq: u64, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.reading(|transaction| {
            let groups = transaction.open_table(GROUPS)?;
            self.events_in(&groups, chain, from_seq, limit)
        })
    }

    /// Every chain that is held, own and foreign, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn chains(&self) -> Result<Vec<ChainId>, StoreError> {
        self.reading(|transaction| {
            let stored = Stored { transaction, salt: &self.salt };
            Ok(stored.chains()?.into_iter().collect())
        })
    }

    /// The first `limit` recorded steps of one conversation on one chain, in order; steps of plain messages with the proof that
    /// their batch holds them. Those whose leaves were deleted are left out ([`Store::pruned_steps`]).
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn trace(&self, chain: ChainId, trace: TraceId, limit: usize) -> Result<Vec<TraceRow>, StoreError> {
        self.steps(&index::trace_prefix(trace, chain), limit, |_| true)
    }

    /// The first `limit` recorded steps of one message on one chain, as [`Store::trace`].
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn message(&self, chain: ChainId, message: MessageId, limit: usize) -> Result<Vec<TraceRow>, StoreError> {
        // One that began its conversation is found by that.
        let begun =
            self.steps(&index::trace_prefix(message.new_trace(), chain), limit, |step| step.message == message)?;
        if begun.is_empty() { self.steps(&index::message_prefix(message, chain), limit, |_| true) } else { Ok(begun) }
    }

    /// Proves that an event is on its chain, under the newest checkpoint; `None` when the event is not held or no checkpoint
    /// covers it yet. Hashes the chain up to that checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn prove(&self, chain: ChainId, seq: u64) -> Result<Option<EventProof>, StoreError> {
        self.reading(|transaction| {
            let groups = transaction.open_table(GROUPS)?;
            let Some((checkpoint, size)) = self.newest_checkpoint(&groups, chain)? else { return Ok(None) };
            if seq >= size {
                return Ok(None);
            }
            let (mut leaves, mut event, mut keys): (Vec<Digest>, _, _) = (Vec::new(), None, None);
            let mut rotations = Vec::new();
            let sealed_by = checkpoint.decode().map_err(StoreError::read)?.commit_no;
            let (first, last) = (numbered_key(chain, 0), numbered_key(chain, u64::MAX));
            for entry in groups.range(&first[..]..=&last[..])? {
                let (key, value) = entry?;
                let view = self.view(key.value(), value.value())?;
                if keys.is_none() {
                    keys = Some(empty_state(chain, &view.group()?).map_err(StoreError::read)?.keys().clone());
                }
                let (_, commit_no) = split_numbered_key(key.value())?;
                for bytes in view.events() {
                    let bytes = bytes?;
                    // The commit that holds a rotation is the last one of the old keys.
                    if commit_no < sealed_by && Event::kind_of(bytes) == Some(KeyRotation::KIND) {
                        let rotation = rotation_of(bytes)?;
                        keys = Some(rotation.rotation.peek().map_err(StoreError::read)?.new);
                        rotations.push(rotation);
                    }
                    if leaves.len() as u64 == seq {
                        event = Some(bytes.to_vec());
                    }
                    leaves.push(leaf_hash(bytes));
                }
                if leaves.len() as u64 >= size {
                    break;
                }
            }
            let (Some(event), Some(keys)) = (event, keys) else { return Err(StoreError::read("events are missing")) };
            let inclusion = prove_inclusion::<weft_protocol::Shake>(&leaves, seq);
            let inclusion = inclusion.ok_or_else(|| StoreError::read("events are missing"))?;
            Ok(Some(EventProof { event: event.into(), inclusion, checkpoint, keys, rotations }))
        })
    }

    /// The number of the first checkpoint that covers an event; `None` when there is none yet.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn first_checkpoint(&self, chain: ChainId, seq: u64) -> Result<Option<u64>, StoreError> {
        self.reading(|transaction| {
            let groups = transaction.open_table(GROUPS)?;
            let Some(holder) = self.group_of(&groups, chain, seq)? else { return Ok(None) };
            let (first, last) = (numbered_key(chain, holder), numbered_key(chain, u64::MAX));
            for entry in groups.range(&first[..]..=&last[..])? {
                let (key, value) = entry?;
                if self.view(key.value(), value.value())?.checkpoint {
                    return Ok(Some(split_numbered_key(key.value())?.1));
                }
            }
            Ok(None)
        })
    }

    /// Whether an event is under a checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn sealed(&self, chain: ChainId, seq: u64) -> Result<bool, StoreError> {
        self.reading(|transaction| {
            let groups = transaction.open_table(GROUPS)?;
            Ok(self.newest_checkpoint(&groups, chain)?.is_some_and(|(_, size)| seq < size))
        })
    }

    /// Runs one read; a panic of the database becomes an error.
    pub(crate) fn reading<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&self.begin_read()?)));
        let outcome = outcome.unwrap_or_else(|panic| Err(StoreError::read(panic_text(&*panic))));
        outcome.inspect_err(|error| {
            if let StoreError::Read { reason } = error {
                self.notes.failed(reason);
            }
        })
    }

    pub(crate) fn view<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<GroupView<'a>, BadRow> {
        GroupView::parse(self.row_body("groups", Kind::Group, key, value)?)
    }

    /// The body of a row that is to be served or shown; one that fails its check is noted.
    fn row_body<'a>(&self, table: &'static str, kind: Kind, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], BadRow> {
        row::body(&self.salt, kind, key, value).inspect_err(|error| self.notes.row(table, kind, key, error.0))
    }

    fn with_group<T>(
        &self,
        groups: &Groups,
        chain: ChainId,
        commit_no: u64,
        read: impl FnOnce(GroupView<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let key = numbered_key(chain, commit_no);
        match groups.get(&key[..])? {
            Some(value) => read(self.view(&key, value.value())?).map(Some),
            None => Ok(None),
        }
    }

    /// The newest commit with both signatures, and the number of events it covers. Checkpoints are never further apart than
    /// the limit for unsealed events, so this reads few groups.
    fn newest_checkpoint(&self, groups: &Groups, chain: ChainId) -> Result<Option<(SignedCommit, u64)>, StoreError> {
        let (first, last) = (numbered_key(chain, 0), numbered_key(chain, u64::MAX));
        for entry in groups.range(&first[..]..=&last[..])?.rev() {
            let (key, value) = entry?;
            let view = self.view(key.value(), value.value())?;
            if view.checkpoint {
                return Ok(Some((view.signed(), view.first_seq + view.count)));
            }
        }
        Ok(None)
    }

    /// The number of the commit whose group holds an event: a binary search over the groups of the chain.
    fn group_of(&self, groups: &Groups, chain: ChainId, seq: u64) -> Result<Option<u64>, StoreError> {
        let (first, last) = (numbered_key(chain, 0), numbered_key(chain, u64::MAX));
        let Some(newest) = groups.range(&first[..]..=&last[..])?.next_back() else { return Ok(None) };
        let (mut low, mut high) = (0, split_numbered_key(newest?.0.value())?.1);
        // The group looked for is the first that ends behind `seq`, and it is between both when it is there.
        while low < high {
            let middle = low + (high - low) / 2;
            let end = self.with_group(groups, chain, middle, |view| Ok(view.first_seq + view.count))?;
            if end.ok_or_else(|| StoreError::read("a group is missing"))? > seq {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let end = self.with_group(groups, chain, low, |view| Ok(view.first_seq + view.count))?;
        Ok(end.is_some_and(|end| end > seq).then_some(low))
    }

    fn events_in(
        &self,
        groups: &Groups,
        chain: ChainId,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut events = Vec::new();
        let Some(holder) = self.group_of(groups, chain, from_seq)? else { return Ok(events) };
        let (first, last) = (numbered_key(chain, holder), numbered_key(chain, u64::MAX));
        for entry in groups.range(&first[..]..=&last[..])? {
            let (key, value) = entry?;
            let view = self.view(key.value(), value.value())?;
            for (seq, event) in (view.first_seq..).zip(view.events()) {
                if events.len() >= limit {
                    return Ok(events);
                }
                if seq >= from_seq {
                    events.push(event?.to_vec());
                }
            }
        }
        Ok(events)
    }

    fn steps(
        &self,
        prefix: &[u8],
        limit: usize,
        is_meant: impl Fn(&MessageRecord) -> bool,
    ) -> Result<Vec<TraceRow>, StoreError> {
        self.reading(|transaction| {
            let indexed = transaction.open_table(INDEX)?;
            let groups = transaction.open_table(GROUPS)?;
            let digests = transaction.open_table(DIGESTS)?;
            let mut rows = Vec::new();
            let mut open: Option<OpenDigest> = None;
            for entry in indexed.range(prefix..)? {
                let key = entry?.0;
                if rows.len() >= limit || !key.value().starts_with(prefix) {
                    break;
                }
                let place = index::place(key.value()).ok_or(BadRow("an index key of another form"))?;
                let row = if place.leaf == WHOLE_EVENT {
                    Some(self.whole_event(&groups, place)?)
                } else {
                    self.leaf(&digests, place, &mut open)?
                };
                rows.extend(row.filter(|row| is_meant(&row.record)));
            }
            Ok(rows)
        })
    }

    fn whole_event(&self, groups: &Groups, place: Place) -> Result<TraceRow, StoreError> {
        let event = self.events_in(groups, place.chain, place.seq, 1)?.pop();
        let record = event.as_deref().and_then(index::message_of);
        let record = record.ok_or_else(|| StoreError::read("the index names an event that is not a message"))?;
        Ok(TraceRow { record, seq: place.seq, inclusion: None })
    }

    /// A step in the row beside its event; none when that was deleted.
    fn leaf(
        &self,
        digests: &Groups,
        place: Place,
        open: &mut Option<OpenDigest>,
    ) -> Result<Option<TraceRow>, StoreError> {
        if open.as_ref().is_none_or(|digest| digest.row.seq != place.seq) {
            let key = numbered_key(place.chain, place.seq);
            let Some(value) = digests.get(&key[..])? else {
                // Looked at when it is missed: it may be deleted at this moment, and was said to be before.
                let was_pruned = place.seq < self.pruned_to(place.chain);
                return if was_pruned {
                    Ok(None)
                } else {
                    Err(StoreError::read("the index names a digest that is gone"))
                };
            };
            let body = self.row_body("digests", Kind::Digest, &key, value.value())?;
            let row: DigestRow = decode(body, BODY_BYTES_MAX).map_err(StoreError::read)?;
            let leaves = row.records.hashes();
            *open = Some(OpenDigest { row, leaves });
        }
        let digest = open.as_ref().expect("BUG: opened above");
        let record = digest.row.records.get(place.leaf as usize);
        let record =
            record.map(|leaf| MessageRecord::unpack(place.chain, leaf)).transpose().map_err(StoreError::read)?;
        let inclusion = prove_inclusion::<Blake3>(&digest.leaves, u64::from(place.leaf));
        let (Some(record), Some(inclusion)) = (record, inclusion) else {
            return Err(StoreError::read("the index names a leaf that is not in its digest"));
        };
        Ok(Some(TraceRow { record, seq: place.seq, inclusion: Some(inclusion) }))
    }
}

/// What an event of that kind says; on a chain that was verified it is nothing else.
fn rotation_of(bytes: &[u8]) -> Result<KeyRotation, StoreError> {
    let event = Event::decode(bytes).map_err(StoreError::read)?;
    match Fact::decode(&event.kind, &event.payload).map_err(StoreError::read)? {
        Fact::KeyRotated(rotation) => Ok(*rotation),
        _ => Err(StoreError::read("a rotation that is none")),
    }
}

/// The digest whose leaves were last asked for.
struct OpenDigest {
    row: DigestRow,
    leaves: Vec<Digest>,
}
