//! A pass over everything that is stored, in slices: each reads a bounded part of what is on the disk, as of one moment, and the
//! next goes on behind it.
//!
//! It reads past the memory of the database (`beside`), since what rots is the disk. Chains are verified by the same steps as at a
//! start, each digest against its event, each key of the index that an event or a leaf asks for; of everything else the row's own
//! check is done. Between two slices anything may be written: what was cut off behind the place of a pass is verified anew.
//!
//! Modules: `chain` (one chain), `tables` (rows that belong to none).

mod chain;
mod tables;

use redb::{ReadTransaction, ReadableTableMetadata, TableError, TableHandle};
use weft_protocol::{ChainId, ChainState};

use self::chain::ChainPass;
use self::tables::ROWS;
use crate::beside::BesideError;
use crate::error::StoreError;
use crate::recover::Stored;
use crate::row;
use crate::store::Store;
use crate::table::{GROUPS, TABLES, Table};

/// Most finds of one slice; what is beyond is found by the next pass (guess: a whole rotten block holds fewer rows).
const FINDS_MAX: usize = 64;

/// How much one slice reads; at least one row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubBounds {
    /// Rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something stored that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// In which table; `file` when it is before or in all of them.
    pub table: &'static str,
    /// The chain that it belongs to, when it belongs to one.
    pub chain: Option<ChainId>,
    /// The commit of it, when that is known.
    pub commit: Option<u64>,
    /// What was found.
    pub reason: String,
    /// The chain as it is verified up to that commit, when it is a group that can be put back ([`Store::mend`]).
    pub before: Option<Box<ChainState>>,
}

/// What one slice came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubSlice {
    /// Rows that were read and checked.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is not as it was written.
    pub finds: Vec<Damage>,
    /// How much of the pass is done, in millionths, by the rows that there are now.
    pub done_millionths: u64,
    /// Whether the pass has ended.
    pub ended: bool,
}

/// Where a pass stands. It holds the state of one chain, and nothing that grows with what is stored.
#[derive(Debug, Clone, Default)]
pub struct ScrubCursor {
    place: Place,
    /// Rows passed, by their weight.
    passed: u64,
    /// Whether it ends with its chain.
    one_chain: bool,
}

#[derive(Debug, Clone, Default)]
enum Place {
    /// The pages before the database.
    #[default]
    Front,
    /// Behind this chain, or before the first.
    Behind(Option<ChainId>),
    /// In a chain.
    Chain(Box<ChainPass>),
    /// In a table of single rows, behind this key.
    Rows(usize, Vec<u8>),
    Ended,
}

impl ScrubCursor {
    /// The beginning of a pass over this chain alone.
    #[must_use]
    pub fn of_chain(chain: ChainId) -> Self {
        Self { place: Place::Chain(Box::new(ChainPass::new(chain))), passed: 0, one_chain: true }
    }

    /// Whether there is nothing more to read.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }

    fn behind_chain(&mut self, chain: ChainId) {
        self.place = if self.one_chain { Place::Ended } else { Place::Behind(Some(chain)) };
    }

    fn behind_table(&mut self, table: usize) {
        self.place = if table + 1 < ROWS.len() { Place::Rows(table + 1, Vec::new()) } else { Place::Ended };
    }

    /// What is said of a place at which the database itself fails, and the next place behind it.
    fn pass_over(&mut self, reason: String) -> Damage {
        let (table, chain, commit) = match &self.place {
            Place::Front | Place::Ended => ("file", None, None),
            Place::Behind(_) => ("groups", None, None),
            Place::Chain(pass) => ("groups", Some(pass.chain()), Some(pass.next_commit())),
            Place::Rows(table, _) => (ROWS[*table].name, None, None),
        };
        match &self.place {
            Place::Front | Place::Ended => self.place = Place::Ended,
            Place::Behind(_) => self.place = Place::Rows(0, Vec::new()),
            Place::Chain(pass) => self.behind_chain(pass.chain()),
            Place::Rows(table, _) => self.behind_table(*table),
        }
        Damage { table, chain, commit, reason, before: None }
    }
}

/// What one slice may still read, and what it has come to.
pub(crate) struct Running {
    bounds: ScrubBounds,
    rows: u64,
    bytes: u64,
    weight: u64,
    finds: Vec<Damage>,
}

impl Running {
    const fn is_full(&self) -> bool {
        self.rows >= self.bounds.rows || self.bytes >= self.bounds.bytes || self.finds.len() >= FINDS_MAX
    }

    /// One more row of so many bytes was read.
    const fn read(&mut self, bytes: usize, weight: u64) {
        self.rows += 1;
        self.bytes += bytes as u64;
        self.weight += weight;
    }

    fn find(&mut self, damage: Damage) {
        if self.finds.len() < FINDS_MAX {
            self.finds.push(damage);
        }
    }
}

impl Store {
    /// Reads and verifies the next slice of what is on the disk; the cursor has then moved past it. It never waits for more than
    /// one write, nor does a write for more than its beginning.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] when a write failed before: what is on the disk may be half of something.
    pub fn scrub(&self, cursor: &mut ScrubCursor, bounds: ScrubBounds) -> Result<ScrubSlice, StoreError> {
        let mut running = Running { bounds, rows: 0, bytes: 0, weight: 0, finds: Vec::new() };
        if matches!(cursor.place, Place::Front) {
            if let Some(reason) = self.front_fault()? {
                running.find(Damage { table: "file", chain: None, commit: None, reason, before: None });
            }
            cursor.place = Place::Behind(None);
        }
        let mut total = 0;
        let outcome = self.read_disk(|transaction| {
            total = weight_of_all(transaction)?;
            let stored = Stored { transaction, salt: &self.salt };
            self.scrub_slice(&stored, cursor, &mut running)
        });
        match outcome {
            Ok(()) => {}
            Err(BesideError::Poisoned(error)) => return Err(error),
            Err(BesideError::Failed(reason)) => {
                let damage = cursor.pass_over(reason);
                running.find(damage);
            }
            // Nothing can be read anywhere.
            Err(BesideError::Closed(reason)) => {
                running.find(Damage { table: "file", chain: None, commit: None, reason, before: None });
                cursor.place = Place::Ended;
            }
        }
        cursor.passed += running.weight;
        let ended = cursor.is_ended();
        let done = cursor.passed.saturating_mul(1_000_000).checked_div(total).unwrap_or(1_000_000);
        Ok(ScrubSlice {
            rows: running.rows,
            bytes: running.bytes,
            finds: running.finds,
            done_millionths: if ended { 1_000_000 } else { done.min(1_000_000) },
            ended,
        })
    }

    fn scrub_slice(
        &self,
        stored: &Stored<'_>,
        cursor: &mut ScrubCursor,
        running: &mut Running,
    ) -> Result<(), StoreError> {
        while !running.is_full() {
            match &mut cursor.place {
                Place::Front => cursor.place = Place::Behind(None),
                Place::Behind(chain) => {
                    cursor.place = match stored.chain_behind(*chain)? {
                        Some(chain) => Place::Chain(Box::new(ChainPass::new(chain))),
                        None => Place::Rows(0, Vec::new()),
                    };
                }
                Place::Chain(pass) => {
                    if pass.advance(stored, running)? {
                        let chain = pass.chain();
                        cursor.behind_chain(chain);
                    }
                }
                Place::Rows(table, behind) => {
                    if self.scrub_rows(stored, &ROWS[*table], behind, running)? {
                        let table = *table;
                        cursor.behind_table(table);
                    }
                }
                Place::Ended => break,
            }
        }
        Ok(())
    }
}

impl Stored<'_> {
    /// The first chain that has a group, behind this one.
    fn chain_behind(&self, chain: Option<ChainId>) -> Result<Option<ChainId>, StoreError> {
        let groups = self.transaction.open_table(GROUPS)?;
        let from = chain.map_or([0; 48], |chain| row::numbered_key(chain, u64::MAX));
        let Some(entry) = groups.range(&from[..]..)?.next() else { return Ok(None) };
        let (found, _) = row::split_numbered_key(entry?.0.value())?;
        match chain {
            // The chain's own last key is never taken by a commit.
            Some(before) if found <= before => Err(StoreError::read("a commit of an impossible number")),
            Some(_) | None => Ok(Some(found)),
        }
    }
}

/// Of a row of a chain: about how much longer it takes than one of the index (guess).
const CHAIN_WEIGHT: u64 = 64;
/// Of a body.
const BODY_WEIGHT: u64 = 16;

/// Of a row of this table.
fn weight_of(table: Table) -> u64 {
    match table.name() {
        "groups" | "digests" => CHAIN_WEIGHT,
        "bodies" => BODY_WEIGHT,
        _ => 1,
    }
}

/// The weight of all rows that there are.
fn weight_of_all(transaction: &ReadTransaction) -> Result<u64, StoreError> {
    let mut total = 0;
    for table in TABLES {
        let rows = match transaction.open_table(table) {
            Err(TableError::TableDoesNotExist(_)) => 0,
            opened => opened?.len()?,
        };
        total += rows.saturating_mul(weight_of(table));
    }
    Ok(total)
}
