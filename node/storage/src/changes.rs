//! What one transaction changes, in the form in which the journal keeps it and the database takes it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::ops::Range;

use redb::{Table, WriteTransaction};
use weft_protocol::{ChainId, DigestRow, NewTraces, decode, names_of_leaf};

use crate::index::{self, Place, WHOLE_EVENT};
use crate::journal::HEADER_BYTES;
use crate::row::{self, BODY_BYTES_MAX, BadRow, GroupView, Kind, Salt};
use crate::table::{self, INDEX};

/// An entry of the journal that is followed by a row.
const PUT: u8 = 0;
/// An entry of the journal that is followed by a kind and a key, and a byte with its length before it.
const REMOVE: u8 = 1;

/// Changes of rows, in order. Keys of the index are made of the rows that they lead to, when the database takes these: the journal has
/// none, and nobody waits for them.
#[derive(Debug)]
pub(crate) struct Changes {
    salt: Salt,
    /// Room for the header of a frame, and the entries of the journal.
    frame: Vec<u8>,
    steps: Vec<Step>,
    unindexed: Vec<Vec<u8>>,
    /// Whether the entries say all that is to be done.
    is_repeatable: bool,
}

/// One change, by the places of its parts in the frame.
#[derive(Debug)]
struct Step {
    kind: Kind,
    key: Range<usize>,
    /// None when the row goes.
    row: Option<Range<usize>>,
}

impl Changes {
    /// None yet, of a store with this salt.
    pub(crate) fn new(salt: Salt) -> Self {
        let frame = vec![0; HEADER_BYTES];
        Self { salt, frame, steps: Vec::new(), unindexed: Vec::new(), is_repeatable: true }
    }

    /// What is mixed into the check of each row.
    pub(crate) const fn salt(&self) -> Salt {
        self.salt
    }

    /// Bytes of all entries.
    pub(crate) const fn bytes(&self) -> usize {
        self.frame.len() - HEADER_BYTES
    }

    /// Writes one row in the place of what has its key.
    pub(crate) fn put(&mut self, kind: Kind, key: &[u8], body: &[u8]) {
        self.frame.push(PUT);
        let start = self.frame.len();
        row::append(&mut self.frame, &self.salt, kind, key, body);
        self.step(kind, key.len(), start);
    }

    /// The row that begins there is to be written.
    fn step(&mut self, kind: Kind, key_bytes: usize, start: usize) {
        let key = start + row::ROW_HEADER_BYTES..start + row::ROW_HEADER_BYTES + key_bytes;
        self.steps.push(Step { kind, key, row: Some(start..self.frame.len()) });
    }

    /// Removes a row, when it is there.
    pub(crate) fn remove(&mut self, kind: Kind, key: &[u8]) {
        let length = u8::try_from(key.len()).expect("BUG: a key of more than 255 bytes");
        self.frame.extend_from_slice(&[REMOVE, kind as u8, length]);
        let start = self.frame.len();
        self.frame.extend_from_slice(key);
        self.steps.push(Step { kind, key: start..self.frame.len(), row: None });
    }

    /// Removes keys of the index, before any is added. A journal cannot repeat that: the rows that led there are gone.
    pub(crate) fn unindex(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) {
        self.unindexed.extend(keys);
        self.is_repeatable = false;
    }

    /// The frame of the journal that repeats this, its header to be filled in; none when it cannot, or would have more entries
    /// than this many bytes.
    pub(crate) fn frame(&mut self, room: usize) -> Option<&mut [u8]> {
        (self.is_repeatable && self.bytes() <= room).then_some(&mut self.frame)
    }

    /// What these entries of a journal say; none when they do not say anything that can be done.
    pub(crate) fn repeat(salt: Salt, mut entries: &[u8]) -> Option<Self> {
        let mut changes = Self::new(salt);
        while let Some((tag, rest)) = entries.split_first() {
            entries = match *tag {
                PUT => {
                    let (bytes, rest) = rest.split_at_checked(row::claimed_bytes(rest)?)?;
                    let row = row::read(&salt, bytes).ok()?;
                    keys_to(row).ok()?;
                    changes.frame.push(PUT);
                    let start = changes.frame.len();
                    changes.frame.extend_from_slice(bytes);
                    changes.step(row.kind, row.key.len(), start);
                    rest
                }
                REMOVE => {
                    let ([kind, length], rest) = rest.split_first_chunk()?;
                    let (key, rest) = rest.split_at_checked(usize::from(*length))?;
                    changes.remove(Kind::from_byte(*kind)?, key);
                    rest
                }
                _ => return None,
            };
        }
        Some(changes)
    }
}

/// Does all of this in one transaction, in order.
pub(crate) fn apply<'a>(
    transaction: &WriteTransaction,
    all: impl IntoIterator<Item = &'a Changes>,
) -> Result<(), redb::Error> {
    let mut tables = Tables { transaction, open: BTreeMap::new() };
    for changes in all {
        let Changes { frame, steps, unindexed, .. } = changes;
        for key in unindexed {
            tables.of(None)?.remove(&key[..])?;
        }
        for Step { kind, key, row } in steps {
            let Some(row) = row else {
                tables.of(Some(*kind))?.remove(&frame[key.clone()])?;
                continue;
            };
            tables.of(Some(*kind))?.insert(&frame[key.clone()], &frame[row.clone()])?;
            let (key, body) = (&frame[key.clone()], &frame[key.end..row.end]);
            let leading = keys_to(row::Row { kind: *kind, key, body });
            for key in leading.map_err(|error| redb::Error::Corrupted(error.to_string()))? {
                tables.of(None)?.insert(&key[..], &[][..])?;
            }
        }
    }
    Ok(())
}

/// The tables of one transaction that are open, by the kind of their rows; the index has none.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    open: BTreeMap<Option<Kind>, Table<'t, &'static [u8], &'static [u8]>>,
}

impl<'t> Tables<'t> {
    fn of(&mut self, kind: Option<Kind>) -> Result<&mut Table<'t, &'static [u8], &'static [u8]>, redb::Error> {
        Ok(match self.open.entry(kind) {
            Occupied(open) => open.into_mut(),
            Vacant(place) => place.insert(self.transaction.open_table(kind.map_or(INDEX, table::of))?),
        })
    }
}

/// The keys of the index that lead to this row.
fn keys_to(row: row::Row<'_>) -> Result<Vec<Vec<u8>>, BadRow> {
    match row.kind {
        Kind::Group => {
            let (chain, _) = row::split_numbered_key(row.key)?;
            let view = GroupView::parse(row.body)?;
            let events = view.events().collect::<Result<Vec<_>, _>>()?;
            Ok(keys_of_events(chain, view.first_seq, events))
        }
        Kind::Digest => {
            let digest = decode::<DigestRow>(row.body, BODY_BYTES_MAX).map_err(|_| BadRow("not a digest"))?;
            Ok(keys_of_digest(&digest))
        }
        Kind::Outbox
        | Kind::Evidence
        | Kind::Addresses
        | Kind::State
        | Kind::Body
        | Kind::Topic
        | Kind::DeadLetter
        | Kind::Cut => Ok(Vec::new()),
    }
}

/// The keys of the index that lead to durable messages among these events of a chain.
pub(crate) fn keys_of_events<'a>(
    chain: ChainId,
    first_seq: u64,
    events: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Vec<u8>> {
    let records = (first_seq..).zip(events).filter_map(|(seq, event)| Some((seq, index::message_of(event)?)));
    let keys = records.flat_map(|(seq, record)| {
        let place = Place { chain, seq, leaf: WHOLE_EVENT };
        index::keys(&mut NewTraces::default(), record.message, record.trace, place)
    });
    keys.collect()
}

/// The keys of the index that lead to the leaves of a digest, in order, so that neighbours share a page.
fn keys_of_digest(digest: &DigestRow) -> Vec<Vec<u8>> {
    let places = (0..).map(|leaf| Place { chain: digest.chain, seq: digest.seq, leaf });
    let named = digest.records.iter().map(|leaf| names_of_leaf(digest.chain, leaf));
    let keys = named.zip(places).filter_map(|(named, place)| named.map(|(message, trace)| (message, trace, place)));
    let mut new_traces = NewTraces::default();
    let mut keys: Vec<_> =
        keys.flat_map(|(message, trace, place)| index::keys(&mut new_traces, message, trace, place)).collect();
    keys.sort_unstable();
    keys
}
