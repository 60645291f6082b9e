//! The rows of a pass that stand for themselves: their own check is all there is to do, or they must lead somewhere.

use redb::TableError;
use weft_protocol::{Digest, content_address};

use super::{Damage, Running, weight_of};
use crate::error::StoreError;
use crate::index::{self, WHOLE_EVENT};
use crate::recover::Stored;
use crate::row::{self, Kind, StoredHead, numbered_key, split_head_key, split_numbered_key};
use crate::store::Store;
use crate::table::{
    ADDRESSES, BODIES, CUTS, DEAD_LETTERS, DIGESTS, EVIDENCE, GROUPS, INDEX, OUTBOX, STATE, TOPICS, Table,
};

/// One such table.
pub(super) struct RowTable {
    pub(super) name: &'static str,
    table: Table,
    /// None: its rows are keys alone.
    kind: Option<Kind>,
}

const fn rows(name: &'static str, table: Table, kind: Kind) -> RowTable {
    RowTable { name, table, kind: Some(kind) }
}

/// All of them, in the order of a pass.
pub(super) const ROWS: [RowTable; 10] = [
    rows("state", STATE, Kind::State),
    rows("digests", DIGESTS, Kind::Digest),
    rows("bodies", BODIES, Kind::Body),
    RowTable { name: "index", table: INDEX, kind: None },
    rows("outbox", OUTBOX, Kind::Outbox),
    rows("topics", TOPICS, Kind::Topic),
    rows("dead-letters", DEAD_LETTERS, Kind::DeadLetter),
    rows("evidence", EVIDENCE, Kind::Evidence),
    rows("addresses", ADDRESSES, Kind::Addresses),
    rows("cuts", CUTS, Kind::Cut),
];

impl Store {
    /// Reads on behind this key; whether the table has ended.
    pub(super) fn scrub_rows(
        &self,
        stored: &Stored<'_>,
        of: &RowTable,
        behind: &mut Vec<u8>,
        running: &mut Running,
    ) -> Result<bool, StoreError> {
        let table = match stored.transaction.open_table(of.table) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(true),
            opened => opened?,
        };
        loop {
            // The next key in the order of bytes is the same one and a zero.
            let mut from = behind.clone();
            if !from.is_empty() {
                from.push(0);
            }
            let mut skipped = false;
            for entry in table.range(&from[..]..)? {
                if running.is_full() {
                    return Ok(false);
                }
                let (key, value) = entry?;
                if !behind.is_empty() && key.value() <= &behind[..] {
                    return Err(StoreError::read("its keys are out of order"));
                }
                *behind = key.value().to_vec();
                if let Some(end) =
                    of.kind.filter(|kind| *kind == Kind::Digest).and_then(|_| stored.digests_seen(behind))
                {
                    *behind = end;
                    skipped = true;
                    break;
                }
                running.read(key.value().len() + value.value().len(), weight_of(of.table));
                if let Err(reason) = self.check_row(stored, of, key.value(), value.value())? {
                    let chain = of.kind.is_none().then(|| index::place(behind).map(|place| place.chain)).flatten();
                    running.find(Damage { table: of.name, chain, commit: None, reason, before: None });
                }
            }
            if !skipped {
                return Ok(true);
            }
        }
    }

    /// What is wrong with one row.
    fn check_row(
        &self,
        stored: &Stored<'_>,
        of: &RowTable,
        key: &[u8],
        value: &[u8],
    ) -> Result<Result<(), String>, StoreError> {
        let Some(kind) = of.kind else { return self.check_index_key(stored, key) };
        let body = match row::body(stored.salt, kind, key, value) {
            Ok(body) => body,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let wrong = |wrong: bool, reason: &str| Ok(if wrong { Err(reason.to_owned()) } else { Ok(()) });
        match kind {
            Kind::Body => {
                let named = key.try_into().map(Digest::from_bytes);
                wrong(named.ok() != Some(content_address(body)), "a body of another hash")
            }
            Kind::State => {
                let Some(chain) = split_head_key(key) else { return Ok(Ok(())) };
                let is_empty = StoredHead::parse(body)?.commits == 0;
                let first = numbered_key(chain, 0);
                let is_there = is_empty || stored.transaction.open_table(GROUPS)?.get(&first[..])?.is_some();
                wrong(!is_there, "the groups of a chain are gone")
            }
            _ => Ok(Ok(())),
        }
    }

    /// A key that names a row with leaves must lead to one, unless that was deleted.
    fn check_index_key(&self, stored: &Stored<'_>, key: &[u8]) -> Result<Result<(), String>, StoreError> {
        let Some(place) = index::place(key) else { return Ok(Err("a key of another form".to_owned())) };
        let held = stored.head(place.chain)?.is_some_and(|head| place.seq < head.size);
        // What a chain does not hold any more is looked for by nobody.
        if place.leaf == WHOLE_EVENT || !held {
            return Ok(Ok(()));
        }
        let row = numbered_key(place.chain, place.seq);
        let is_there = stored.transaction.open_table(DIGESTS)?.get(&row[..])?.is_some();
        // Looked at when it is missed: it may be deleted at this moment, and was said to be before.
        if is_there || place.seq < self.pruned_to(place.chain) {
            return Ok(Ok(()));
        }
        Ok(Err("it names a digest that is gone".to_owned()))
    }
}

impl Stored<'_> {
    /// The end of what the pass over the chain of this row has read; none when it belongs to no event.
    fn digests_seen(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (chain, seq) = split_numbered_key(key).ok()?;
        // A head that cannot be read is found where it stands.
        let head = self.head(chain).ok()??;
        (seq < head.size).then(|| numbered_key(chain, head.size - 1).to_vec())
    }
}
