//! The store: one transaction with one sync for each batch, opened only after everything in it was verified.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, Durability, StorageBackend, WriteTransaction};
use weft_protocol::{Batch, ChainId, Digest, Recovered, Reserved};

use crate::backend::{StoreFile, file_backend, open_file, sync_folder_of};
use crate::error::{OpenError, StoreError, panic_text};
use crate::mark::Mark;
use crate::noted::{Noted, Notes};
use crate::opening::{on_thread, open_file_of_store, open_locked};
use crate::poison::Poison;
use crate::recover::read_all;
use crate::row::{self, Salt, StoredHead};
use crate::write::{next_heads, put_state, write_batch};

/// What the next commit continues from.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) generation: u64,
    pub(crate) reserved: Reserved,
    pub(crate) heads: BTreeMap<ChainId, StoredHead>,
    /// The transaction that last wrote each body since the start: 32 bytes for each of more than 64 KiB.
    pub(crate) bodies_written: BTreeMap<Digest, u64>,
    /// Whether the last mark may not be on the disk yet.
    pub(crate) unsettled: bool,
}

/// The chains on disk, and what stands beside them. Shared behind an `Arc`: writes take turns, reads do not wait for them.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
    file: Arc<StoreFile>,
    pub(crate) salt: Salt,
    poison: Poison,
    pub(crate) notes: Notes,
    writer: Mutex<Writer>,
    /// Below which place rows of each chain may be gone, because the chain says so.
    pruned: Mutex<BTreeMap<ChainId, u64>>,
    orphans: u64,
}

impl Store {
    /// The store around what was opened.
    pub(crate) fn new(
        database: Database,
        file: Arc<StoreFile>,
        salt: Salt,
        writer: Writer,
        orphans: u64,
        pruned: BTreeMap<ChainId, u64>,
    ) -> Self {
        let (poison, writer, pruned) = (Poison::default(), Mutex::new(writer), Mutex::new(pruned));
        Self { database, file, salt, poison, notes: Notes::default(), writer, pruned, orphans }
    }

    /// Opens the store in this file and verifies everything in it: on another thread, where a panic of the database ends as
    /// [`OpenError::Damaged`].
    ///
    /// # Errors
    /// [`OpenError`]; the file is then byte for byte what it was.
    pub fn open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        Self::open_at(open_file(path)?, false, &path.display().to_string())
    }

    /// Opens the store in this file, or begins one where no file or an empty one is.
    ///
    /// # Errors
    /// [`OpenError`]; a file that holds anything is never replaced.
    pub fn create_or_open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let opened = Self::open_at(file_backend(file)?, true, &path.display().to_string())?;
        sync_folder_of(path)?;
        Ok(opened)
    }

    /// Opens the store in this backend, or begins one when the backend is empty: where the simulator puts a bad disk.
    ///
    /// # Errors
    /// [`OpenError`]; a backend that holds anything is never replaced.
    pub fn open_backend(backend: impl StorageBackend) -> Result<(Self, Recovered), OpenError> {
        Self::open_at(Box::new(backend), true, "the backend")
    }

    /// Verifies everything that is stored once more, and gives what a start would continue from.
    ///
    /// # Errors
    /// [`OpenError::Damaged`].
    pub fn recovered(&self) -> Result<Recovered, OpenError> {
        let _no_write_meanwhile = self.writer();
        read_all(&self.database, &self.salt).map(|reading| reading.recovered)
    }

    /// Makes everything in `batch` durable, or says that it may not be. Blocks until the disk has synced.
    ///
    /// # Errors
    /// [`StoreError::Discontinuous`] when a group does not continue its chain: nothing was written. Any other error poisons
    /// the store: this batch must not be acknowledged, and every later commit is refused.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.poison.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let generation = writer.generation + 1;
        let mut before = Cow::Borrowed(&writer.heads);
        let mut heads = BTreeMap::new();
        for cut in &batch.cuts {
            if let Some(head) = self.head_after(cut, before.get(&cut.chain), generation)? {
                before.to_mut().insert(cut.chain, head);
                heads.insert(cut.chain, head);
            }
        }
        heads.extend(next_heads(&before, batch, generation)?);
        let reserved = batch.reserved.unwrap_or(writer.reserved);
        let mark = Mark { generation, salt: self.salt, reserved, heads: heads.into_iter().collect() };
        let pruned: Vec<_> = batch.pruned.iter().map(|rows| writer.still_prunable(rows, &batch.bodies)).collect();
        // Before the rows are gone, so that whoever misses one knows why.
        pruned.iter().for_each(|rows| self.set_pruned(rows.chain, rows.to));
        self.write_marked(&mut writer, &mark, |transaction| {
            write_batch(transaction, &self.salt, batch, &pruned, &mark)
        })?;
        writer.reserved = reserved;
        writer.heads.extend(mark.heads);
        writer.bodies_written.extend(batch.bodies.iter().map(|(address, _)| (*address, generation)));
        Ok(())
    }

    /// One transaction of the generation that this mark names, and the mark. A failure poisons the store.
    pub(crate) fn write_marked(
        &self,
        writer: &mut Writer,
        mark: &Mark,
        write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        self.guarded(|| {
            let transaction = self.begin_write()?;
            write(&transaction).map_err(|error| error.to_string())?;
            put_state(&transaction, &self.salt, row::GENERATION_KEY, &mark.generation.to_be_bytes())
                .map_err(|error| error.to_string())?;
            transaction.commit().map_err(|error| error.to_string())?;
            self.file.write_now(mark.offset(), &mark.write()).map_err(|error| error.to_string())
        })?;
        writer.generation = mark.generation;
        writer.unsettled = true;
        Ok(())
    }

    /// Makes durable that the last commit was durable: one more sync, none when nothing was committed since the last time.
    /// Worth calling when nothing else waits to be written; the next commit does the same in passing.
    ///
    /// # Errors
    /// As of [`Store::commit`].
    pub fn settle(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.poison.check()?;
        if writer.unsettled {
            self.guarded(|| self.file.sync().map_err(|error| error.to_string()))?;
            writer.unsettled = false;
        }
        Ok(())
    }

    /// Writes nothing more from here on, because what is stored is not what was written: as after a failed write, nothing may be
    /// promised.
    pub fn distrust(&self, reason: &str) {
        self.poison.set(reason);
    }

    /// What reads found damaged since the last time that somebody asked.
    pub fn take_noted(&self) -> Option<Noted> {
        self.notes.take()
    }

    /// Ends without writing anything more, as if the process had been killed: for tests and simulations.
    pub fn abandon(self) {
        self.file.silence();
    }

    /// Disk syncs done since this store was opened, those of opening included.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        self.file.sync_count()
    }

    /// Rows found at the start that belong to no event: they were left as they are.
    #[must_use]
    pub const fn orphans(&self) -> u64 {
        self.orphans
    }

    /// Moves the generation on and marks it, so that the rows of this run are all of later generations than what the one before
    /// left unfinished, and what was adopted is marked before anything is built on it.
    pub(crate) fn begin_run(&self, marked: u64) -> Result<(), StoreError> {
        let mut writer = self.writer();
        // The new mark must not be written over the newest one that is good: a torn write would leave none.
        let next = writer.generation + 1;
        let generation = if next % 2 == marked % 2 { next + 1 } else { next };
        let heads = writer.heads.iter().map(|(chain, head)| (*chain, *head)).collect();
        let mark = Mark { generation, salt: self.salt, reserved: writer.reserved, heads };
        self.guarded(|| {
            let transaction = self.begin_write()?;
            put_state(&transaction, &self.salt, row::GENERATION_KEY, &generation.to_be_bytes())
                .map_err(|error| error.to_string())?;
            transaction.commit().map_err(|error| error.to_string())?;
            self.file.write_now(mark.offset(), &mark.write()).map_err(|error| error.to_string())?;
            self.file.sync().map_err(|error| error.to_string())
        })?;
        writer.generation = generation;
        Ok(())
    }

    /// Rows of events of this chain below this place may be gone, because the chain says so.
    #[must_use]
    pub fn pruned_to(&self, chain: ChainId) -> u64 {
        let pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        pruned.get(&chain).copied().unwrap_or(0)
    }

    fn set_pruned(&self, chain: ChainId, to: u64) {
        let mut pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pruned.entry(chain).or_insert(0);
        *known = to.max(*known);
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn file(&self) -> &Arc<StoreFile> {
        &self.file
    }

    pub(crate) fn check_poison(&self) -> Result<(), StoreError> {
        self.poison.check()
    }

    fn begin_write(&self) -> Result<WriteTransaction, String> {
        let mut transaction = self.database.begin_write().map_err(|error| error.to_string())?;
        transaction.set_durability(Durability::Immediate).map_err(|error| error.to_string())?;
        Ok(transaction)
    }

    /// Writes; an error or a panic poisons the store and silences the file.
    fn guarded(&self, write: impl FnOnce() -> Result<(), String>) -> Result<(), StoreError> {
        let outcome = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| Err(panic_text(&*panic)));
        outcome.map_err(|reason| {
            self.poison.set(&reason);
            self.file.silence();
            StoreError::Write { reason }
        })
    }

    /// Closes the store and opens it again from the same backend.
    pub(crate) fn reopen(self) -> Result<(Self, Recovered), OpenError> {
        let file = Arc::clone(&self.file);
        drop(self);
        on_thread(move || open_locked(&file, false, "the backend"))
    }

    /// Opens or begins a store on a thread of its own.
    pub(crate) fn open_at(
        backend: Box<dyn StorageBackend>,
        create: bool,
        place: &str,
    ) -> Result<(Self, Recovered), OpenError> {
        let place = place.to_owned();
        on_thread(move || open_file_of_store(backend, create, &place))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure, and a mark that is not on the disk only makes the next start less sure.
        let _unsure = self.settle();
    }
}
