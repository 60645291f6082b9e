//! Rows on their way into one transaction, and the same once more for the journal: what a start puts into the database again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use redb::{ReadableTable as _, Table, WriteTransaction};
use weft_protocol::{ChainId, DigestRow, NewTraces, decode, names_of_leaf};

use crate::index::{self, Place, WHOLE_EVENT};
use crate::row::{self, BODY_BYTES_MAX, BadRow, GroupView, Kind, Salt};
use crate::table::{self, INDEX};

/// An entry of the journal that is followed by a row.
const PUT: u8 = 0;
/// An entry of the journal that is followed by a kind and a key, and a byte with its length before it.
const REMOVE: u8 = 1;

type Open<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Changes rows of one transaction. Keys of the index are made of the rows that they lead to, so the journal has none.
pub(crate) struct Rows<'t> {
    transaction: &'t WriteTransaction,
    salt: Salt,
    /// The open ones by the kind of their rows; the index has none.
    tables: BTreeMap<Option<Kind>, Open<'t>>,
    /// Entries for the journal; none once they are more than it has room for, or something was done that it cannot repeat.
    entries: Option<Vec<u8>>,
    room: usize,
}

impl<'t> Rows<'t> {
    /// None yet; the journal has room for so many bytes.
    pub(crate) const fn new(transaction: &'t WriteTransaction, salt: Salt, room: usize) -> Self {
        Self { transaction, salt, tables: BTreeMap::new(), entries: Some(Vec::new()), room }
    }

    /// What is mixed into the check of each row.
    pub(crate) const fn salt(&self) -> Salt {
        self.salt
    }

    /// Writes one row in the place of what has its key.
    pub(crate) fn put(&mut self, kind: Kind, key: &[u8], body: &[u8]) -> Result<(), redb::Error> {
        let row = row::write(&self.salt, kind, key, body);
        self.note(&[&[PUT], &row]);
        self.put_row(kind, key, &row)
    }

    /// Removes a row, when it is there.
    pub(crate) fn remove(&mut self, kind: Kind, key: &[u8]) -> Result<(), redb::Error> {
        let length = u8::try_from(key.len()).expect("BUG: a key of more than 255 bytes");
        self.note(&[&[REMOVE, kind as u8, length], key]);
        self.table(Some(kind))?.remove(key)?;
        Ok(())
    }

    /// Adds keys of the index.
    pub(crate) fn index(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<(), redb::Error> {
        let table = self.table(None)?;
        for key in keys {
            table.insert(&key[..], &[][..])?;
        }
        Ok(())
    }

    /// From here on nothing of this transaction is for the journal: what is done cannot be repeated from rows alone.
    pub(crate) fn pass_the_journal(&mut self) {
        self.entries = None;
    }

    /// Removes keys of the index.
    pub(crate) fn unindex(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<(), redb::Error> {
        let table = self.table(None)?;
        for key in keys {
            table.remove(&key[..])?;
        }
        Ok(())
    }

    /// The rows between two keys, these included.
    pub(crate) fn range(&mut self, kind: Kind, first: &[u8], last: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, redb::Error> {
        let rows = self.table(Some(kind))?.range(first..=last)?.map(|entry| {
            let (key, value) = entry?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        });
        rows.collect()
    }

    /// Does once more what these entries say; false when they do not say anything that can be done.
    pub(crate) fn repeat(&mut self, mut entries: &[u8]) -> Result<bool, redb::Error> {
        while let Some((entry, rest)) = Entry::split(&self.salt, entries) {
            match entry {
                Entry::Put { row, bytes } => {
                    let Ok(keys) = keys_to(row) else { return Ok(false) };
                    self.put_row(row.kind, row.key, bytes)?;
                    self.index(keys)?;
                }
                Entry::Remove { kind, key } => self.remove(kind, key)?,
            }
            entries = rest;
        }
        Ok(entries.is_empty())
    }

    /// Ends; what the journal is to repeat, when it has room for that and can.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        self.entries
    }

    fn note(&mut self, parts: &[&[u8]]) {
        let Some(entries) = &mut self.entries else { return };
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if entries.len() + bytes > self.room {
            self.entries = None;
        } else {
            parts.iter().for_each(|part| entries.extend_from_slice(part));
        }
    }

    fn put_row(&mut self, kind: Kind, key: &[u8], row: &[u8]) -> Result<(), redb::Error> {
        self.table(Some(kind))?.insert(key, row)?;
        Ok(())
    }

    fn table(&mut self, kind: Option<Kind>) -> Result<&mut Open<'t>, redb::Error> {
        Ok(match self.tables.entry(kind) {
            Occupied(open) => open.into_mut(),
            Vacant(place) => place.insert(self.transaction.open_table(kind.map_or(INDEX, table::of))?),
        })
    }
}

/// One entry of the journal.
enum Entry<'a> {
    Put { row: row::Row<'a>, bytes: &'a [u8] },
    Remove { kind: Kind, key: &'a [u8] },
}

impl<'a> Entry<'a> {
    fn split(salt: &Salt, entries: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, rest) = entries.split_first()?;
        match *tag {
            PUT => {
                let (bytes, rest) = rest.split_at_checked(row::claimed_bytes(rest)?)?;
                Some((Self::Put { row: row::read(salt, bytes).ok()?, bytes }, rest))
            }
            REMOVE => {
                let ([kind, length], rest) = rest.split_first_chunk()?;
                let (key, rest) = rest.split_at_checked(usize::from(*length))?;
                Some((Self::Remove { kind: Kind::from_byte(*kind)?, key }, rest))
            }
            _ => None,
        }
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
pub(crate) fn keys_of_digest(digest: &DigestRow) -> Vec<Vec<u8>> {
    let places = (0..).map(|leaf| Place { chain: digest.chain, seq: digest.seq, leaf });
    let named = digest.records.iter().map(|leaf| names_of_leaf(digest.chain, leaf));
    let keys = named.zip(places).filter_map(|(named, place)| named.map(|(message, trace)| (message, trace, place)));
    let mut new_traces = NewTraces::default();
    let mut keys: Vec<_> =
        keys.flat_map(|(message, trace, place)| index::keys(&mut new_traces, message, trace, place)).collect();
    keys.sort_unstable();
    keys
}

