//! The store: one transaction with one sync for each batch, opened only after everything in it was verified.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase as _, StorageBackend};
use weft_protocol::{Batch, ChainId, Digest, Recovered, Reserved};

use crate::backend::{StoreFile, file_backend, open_file, sync_folder_of};
use crate::changes::{Changes, apply};
use crate::cut::write_cut;
use crate::error::{OpenError, StoreError, panic_text};
use crate::journal::{JOURNAL_BYTES, JOURNAL_BYTES_IN_MEMORY, Journal, seal};
use crate::mark::{Mark, MarkPage};
use crate::noted::{Noted, Notes};
use crate::opening::{on_thread, open_file_of_store, open_locked};
use crate::poison::Poison;
use crate::recover::read_all;
use crate::row::{self, Kind, Salt, StoredHead};
use crate::write::{next_heads, write_batch};

/// Most bytes that wait for the database after a commit (guess): so many that neighbours share pages, and so few that a read does
/// not wait for long.
const WAITING_BYTES_MAX: usize = 128 * 1024;

/// What the next commit continues from.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) generation: u64,
    pub(crate) reserved: Reserved,
    pub(crate) heads: BTreeMap<ChainId, StoredHead>,
    /// The transaction that last wrote each body since the start: 32 bytes for each of more than 64 KiB.
    pub(crate) bodies_written: BTreeMap<Digest, u64>,
    /// What is on the disk and not in the database's file yet.
    pub(crate) journal: Journal,
    /// Which of the two pages holds the newest mark of what is in the database's file.
    pub(crate) marked_page: MarkPage,
    /// The generation of that mark.
    pub(crate) marked: u64,
    /// The chains that moved since then.
    pub(crate) moved: BTreeMap<ChainId, StoredHead>,
    /// Whether the last mark may not be on the disk yet.
    pub(crate) unsettled: bool,
}

/// The chains on disk, and what stands beside them. Shared behind an `Arc`: writes take turns, reads do not wait for them.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
    file: Arc<StoreFile>,
    /// Where the database begins in the file.
    pub(crate) database_at: u64,
    pub(crate) salt: Salt,
    poison: Poison,
    pub(crate) notes: Notes,
    writer: Mutex<Writer>,
    /// What is in the journal and not in the database yet, in order. Whoever holds both locks takes the writer's first.
    waiting: Mutex<Vec<Changes>>,
    /// Below which place rows of each chain may be gone, because the chain says so.
    pruned: Mutex<BTreeMap<ChainId, u64>>,
    orphans: u64,
}

impl Store {
    /// The store around what was opened.
    pub(crate) fn new(
        database: Database,
        (file, database_at): (Arc<StoreFile>, u64),
        salt: Salt,
        writer: Writer,
        orphans: u64,
        pruned: BTreeMap<ChainId, u64>,
    ) -> Self {
        let (poison, writer, pruned) = (Poison::default(), Mutex::new(writer), Mutex::new(pruned));
        let waiting = Mutex::default();
        Self { database, file, database_at, salt, poison, notes: Notes::default(), writer, waiting, pruned, orphans }
    }

    /// Opens the store in this file and verifies everything in it: on another thread, where a panic of the database ends as
    /// [`OpenError::Damaged`].
    ///
    /// # Errors
    /// [`OpenError`]; the file is then byte for byte what it was.
    pub fn open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        Self::open_at(open_file(path)?, None, &path.display().to_string())
    }

    /// Opens the store in this file, or begins one where no file or an empty one is.
    ///
    /// # Errors
    /// [`OpenError`]; a file that holds anything is never replaced.
    pub fn create_or_open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let opened = Self::open_at(file_backend(file)?, Some(JOURNAL_BYTES), &path.display().to_string())?;
        sync_folder_of(path)?;
        Ok(opened)
    }

    /// Opens the store in this backend, or begins one when the backend is empty: where the simulator puts a bad disk.
    ///
    /// # Errors
    /// [`OpenError`]; a backend that holds anything is never replaced.
    pub fn open_backend(backend: impl StorageBackend) -> Result<(Self, Recovered), OpenError> {
        Self::open_at(Box::new(backend), Some(JOURNAL_BYTES_IN_MEMORY), "the backend")
    }

    /// Verifies everything that is stored once more, and gives what a start would continue from.
    ///
    /// # Errors
    /// [`OpenError::Damaged`].
    pub fn recovered(&self) -> Result<Recovered, OpenError> {
        let _no_write_meanwhile = self.writer();
        self.apply_waiting()?;
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
        let heads = mark.heads.clone();
        let mut changes = Changes::new(self.salt);
        for cut in &batch.cuts {
            write_cut(&mut changes, cut, &self.groups_behind(cut)?);
        }
        write_batch(&mut changes, batch, &pruned, &mark);
        self.write_marked(&mut writer, mark, changes)?;
        writer.reserved = reserved;
        writer.heads.extend(heads);
        writer.bodies_written.extend(batch.bodies.iter().map(|(address, _)| (*address, generation)));
        Ok(())
    }

    /// One transaction of the generation that this mark names, and the mark: in the journal when it has room, and otherwise in the
    /// database's file, with all that was in the journal. A failure poisons the store.
    pub(crate) fn write_marked(&self, writer: &mut Writer, mark: Mark, mut changes: Changes) -> Result<(), StoreError> {
        changes.put(Kind::State, row::GENERATION_KEY, &mark.generation.to_be_bytes());
        let journal = &mut writer.journal;
        let journaled = match changes.frame(journal.room()) {
            Some(frame) => {
                seal(frame, &self.salt, mark.generation);
                self.guarded(|| {
                    journal.append(&self.file, frame)?;
                    Ok(journal.mark(&self.file, &mark)?)
                })?;
                self.wait(changes)?;
                true
            }
            None => {
                self.apply(&mut self.waiting(), Some(&changes), Durability::Immediate)?;
                false
            }
        };
        writer.generation = mark.generation;
        writer.unsettled = true;
        writer.moved.extend(mark.heads);
        if journaled { Ok(()) } else { self.mark_database(writer, mark.reserved) }
    }

    /// Keeps what is in the journal for the database: until somebody reads, the disk is idle, or it is much.
    fn wait(&self, changes: Changes) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        waiting.push(changes);
        let bytes: usize = waiting.iter().map(Changes::bytes).sum();
        if bytes > WAITING_BYTES_MAX { self.apply(&mut waiting, None, Durability::None) } else { Ok(()) }
    }

    /// Gives the database what waits, and `more`, in one transaction.
    fn apply(
        &self,
        waiting: &mut Vec<Changes>,
        more: Option<&Changes>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.guarded(|| {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            apply(&transaction, waiting.iter().chain(more))?;
            Ok(transaction.commit()?)
        })?;
        waiting.clear();
        Ok(())
    }

    fn apply_waiting(&self) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.is_empty() { Ok(()) } else { self.apply(&mut waiting, None, Durability::None) }
    }

    /// A view of everything that was committed.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.apply_waiting()?;
        Ok(self.database.begin_read()?)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Changes>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what is in the journal into the database's file.
    pub(crate) fn flush(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if writer.journal.is_empty() {
            return Ok(());
        }
        // A transaction that changes nothing makes nothing durable either.
        let mut changes = Changes::new(self.salt);
        changes.put(Kind::State, row::GENERATION_KEY, &writer.generation.to_be_bytes());
        self.apply(&mut self.waiting(), Some(&changes), Durability::Immediate)?;
        self.mark_database(writer, writer.reserved)
    }

    /// Marks that everything written is in the database's file: in the page that does not hold the newest mark, so that a torn
    /// write leaves that one.
    fn mark_database(&self, writer: &mut Writer, reserved: Reserved) -> Result<(), StoreError> {
        let heads = std::mem::take(&mut writer.moved).into_iter().collect();
        let mark = Mark { generation: writer.generation, salt: self.salt, reserved, heads };
        let page = writer.marked_page.other();
        self.guarded(|| Ok(self.file.write_now(page.offset(), &mark.page())?))?;
        (writer.marked_page, writer.marked) = (page, writer.generation);
        writer.journal.empty();
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
        if writer.journal.is_half_full() {
            self.flush(&mut writer)?;
        }
        self.apply_waiting()?;
        self.sync_mark(&mut writer)
    }

    fn sync_mark(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if writer.unsettled {
            self.guarded(|| Ok(self.file.sync()?))?;
            writer.unsettled = false;
        }
        Ok(())
    }

    /// Leaves nothing in the journal.
    fn finish(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.poison.check()?;
        self.flush(&mut writer)?;
        self.sync_mark(&mut writer)
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

    /// Empties the journal, moves the generation on and marks it, so that the rows of this run are all of later generations than what the one before
    /// left unfinished, and what was adopted is marked before anything is built on it.
    pub(crate) fn begin_run(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        writer.generation += 1;
        writer.moved = writer.heads.clone();
        let mut changes = Changes::new(self.salt);
        changes.put(Kind::State, row::GENERATION_KEY, &writer.generation.to_be_bytes());
        self.apply(&mut self.waiting(), Some(&changes), Durability::Immediate)?;
        let reserved = writer.reserved;
        self.mark_database(&mut writer, reserved)?;
        let Writer { journal, .. } = &mut *writer;
        self.guarded(|| Ok(journal.wipe(&self.file)?))?;
        self.sync_mark(&mut writer)
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

    /// Writes; an error or a panic poisons the store and silences the file.
    fn guarded<T>(&self, write: impl FnOnce() -> Result<T, WriteFault>) -> Result<T, StoreError> {
        let outcome =
            catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| Err(WriteFault(panic_text(&*panic))));
        outcome.map_err(|WriteFault(reason)| {
            self.poison.set(&reason);
            self.file.silence();
            StoreError::Write { reason }
        })
    }

    /// Closes the store and opens it again from the same backend.
    pub(crate) fn reopen(self) -> Result<(Self, Recovered), OpenError> {
        let file = Arc::clone(&self.file);
        drop(self);
        on_thread(move || open_locked(&file, None, "the backend"))
    }

    /// Opens a store on a thread of its own, or begins one with a journal of so many bytes.
    pub(crate) fn open_at(
        backend: Box<dyn StorageBackend>,
        create: Option<u32>,
        place: &str,
    ) -> Result<(Self, Recovered), OpenError> {
        let place = place.to_owned();
        on_thread(move || open_file_of_store(backend, create, &place))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure, and everything that was promised is in the journal.
        let _unsure = self.finish();
    }
}

/// Why something could not be written, in words.
struct WriteFault(String);

impl<E: std::error::Error> From<E> for WriteFault {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
