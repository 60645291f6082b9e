//! The store: one transaction with one sync for each batch, opened only after everything in it was verified.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{Database, Durability, StorageBackend, TableDefinition, WriteTransaction};
use weft_protocol::{Batch, ChainId, CommitGroup, DigestRow, Evidence, Recovered, Reserved, chain_root_hash, encode};

use crate::backend::{Shifted, StoreFile};
use crate::error::{OpenError, StoreError, panic_text};
use crate::index::{self, Place, WHOLE_EVENT};
use crate::mark::{FRONT_BYTES, FirstPage, Mark, PAGE_BYTES, read_first_page, write_first_page};
use crate::poison::Poison;
use crate::recover::{self, Reading};
use crate::row::{self, Kind, Salt, StoredHead};
use crate::salvage;

pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub(crate) const GROUPS: Table = TableDefinition::new("groups");
pub(crate) const DIGESTS: Table = TableDefinition::new("digests");
pub(crate) const INDEX: Table = TableDefinition::new("index");
pub(crate) const OUTBOX: Table = TableDefinition::new("outbox");
pub(crate) const EVIDENCE: Table = TableDefinition::new("evidence");
pub(crate) const ADDRESSES: Table = TableDefinition::new("addresses");
pub(crate) const STATE: Table = TableDefinition::new("state");
const TABLES: [Table; 7] = [GROUPS, DIGESTS, INDEX, OUTBOX, EVIDENCE, ADDRESSES, STATE];

/// Memory for pages of the database, in bytes (guess): the working set of a node is its tails.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// The generation of a store that holds nothing.
const FIRST_GENERATION: u64 = 1;
/// How far each start moves the generation on, so that a transaction that a crash cut off is always older than those after it.
const GENERATION_SKIP: u64 = 1 << 20;

/// What the next commit continues from.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) generation: u64,
    pub(crate) reserved: Reserved,
    pub(crate) heads: BTreeMap<ChainId, StoredHead>,
    /// Whether the last mark may not be on the disk yet.
    unsettled: bool,
}

/// The chains on disk, and what stands beside them. Shared behind an `Arc`: writes take turns, reads do not wait for them.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
    file: Arc<StoreFile>,
    pub(crate) salt: Salt,
    poison: Poison,
    writer: Mutex<Writer>,
    orphans: u64,
}

impl Store {
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
        let heads = next_heads(&writer.heads, batch, generation)?;
        let reserved = batch.reserved.unwrap_or(writer.reserved);
        let mark = Mark { generation, salt: self.salt, reserved, heads: heads.into_iter().collect() };
        self.guarded(|| {
            let transaction = self.begin_write()?;
            write_batch(&transaction, &self.salt, batch, &mark).map_err(|error| error.to_string())?;
            transaction.commit().map_err(|error| error.to_string())?;
            self.file.write_now(mark.offset(), &mark.write()).map_err(|error| error.to_string())
        })?;
        writer.generation = generation;
        writer.reserved = reserved;
        writer.heads.extend(mark.heads);
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

    /// Moves the generation on and marks it, so that nothing that an earlier run left unfinished shares a generation with this
    /// one, and what was adopted is marked before anything is built on it.
    fn begin_run(&self, marked: u64) -> Result<(), StoreError> {
        let mut writer = self.writer();
        // The new mark must not be written over the newest one that is good: a torn write would leave none.
        let skipped = writer.generation + GENERATION_SKIP;
        let generation = if skipped % 2 == marked % 2 { skipped + 1 } else { skipped };
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

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Runs on another thread; a panic there is damage.
fn on_thread<T: Send + 'static>(open: impl FnOnce() -> Result<T, OpenError> + Send + 'static) -> Result<T, OpenError> {
    let opening = std::thread::Builder::new().name("open-store".into()).spawn(open)?;
    opening.join().unwrap_or_else(|panic| Err(OpenError::damaged(panic_text(&*panic))))
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure, and a mark that is not on the disk only makes the next start less sure.
        let _unsure = self.settle();
    }
}

fn open_file_of_store(
    backend: Box<dyn StorageBackend>,
    create: bool,
    place: &str,
) -> Result<(Store, Recovered), OpenError> {
    let file = StoreFile::lock(backend)?.ok_or(OpenError::Busy)?;
    let opened = open_locked(&file, create, place);
    if opened.is_err() {
        file.silence();
    }
    opened
}

fn open_locked(file: &Arc<StoreFile>, create: bool, place: &str) -> Result<(Store, Recovered), OpenError> {
    let length = file.len()?;
    if length == 0 {
        return if create { begin(file) } else { Err(OpenError::Absent { place: place.to_owned() }) };
    }
    let front = read_front(file, length)?;
    let salt = match front.first {
        FirstPage::Store(salt) => salt,
        FirstPage::Other(found) => return Err(OpenError::Version { found, known: crate::mark::LAYOUT_VERSION }),
        FirstPage::Unreadable => return begin_again(file, create, place, &front),
    };
    let mark = front.newest().ok_or_else(|| OpenError::damaged("both marks are unreadable"))?.clone();
    if length <= FRONT_BYTES {
        return Err(OpenError::damaged("the file was cut off"));
    }
    file.hold();
    let database = open_database(file)?;
    let Reading { recovered, writer, orphans } = recover::read_all(&database, &salt)?;
    compare_with_mark(&writer, &mark)?;
    file.release()?;
    let (poison, writer) = (Poison::default(), Mutex::new(writer));
    let store = Store { database, file: Arc::clone(file), salt, poison, writer, orphans };
    store.begin_run(mark.generation).map_err(|error| OpenError::Io(io::Error::other(error)))?;
    Ok((store, recovered))
}

/// Whether everything that was synced according to the mark is there.
fn compare_with_mark(writer: &Writer, mark: &Mark) -> Result<(), OpenError> {
    let short = mark.heads.iter().find(|(chain, promised)| {
        let held = writer.heads.get(chain).map_or(0, |head| head.commits);
        held < promised.commits
    });
    if writer.generation >= mark.generation && short.is_none() {
        return Ok(());
    }
    let (promised, found) = (mark.generation, writer.generation);
    let reason = format!("transaction {promised} was on the disk, the last one that can be read is {found}");
    let chain = short.map(|(chain, _)| *chain);
    let first_bad_commit = chain.map(|chain| writer.heads.get(&chain).map_or(0, |head| head.commits));
    Err(OpenError::Damaged { chain, first_bad_commit, reason })
}

/// Opens redb on the file: it verifies the checksum of every page, and whatever it writes is held back.
fn open_database(file: &Arc<StoreFile>) -> Result<Database, OpenError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(Shifted(Arc::clone(file)))?)
}

/// The pages before the database, as read.
pub(crate) struct Front {
    pub(crate) first: FirstPage,
    page: Vec<u8>,
    marks: [Option<Mark>; 2],
}

impl Front {
    /// The newest mark that can be read.
    pub(crate) fn newest(&self) -> Option<&Mark> {
        self.marks.iter().flatten().max_by_key(|mark| mark.generation)
    }
}

/// Reads the pages before the database; what lies beyond the end of the file reads as zeros.
pub(crate) fn read_front(file: &StoreFile, length: u64) -> io::Result<Front> {
    let mut pages = vec![0; 3 * PAGE_BYTES];
    let there = usize::try_from(length).unwrap_or(usize::MAX).min(pages.len());
    file.read_now(0, &mut pages[..there])?;
    let mut pages = pages.chunks(PAGE_BYTES);
    let page = pages.next().unwrap_or_default().to_vec();
    let mut mark = || Mark::read(pages.next().unwrap_or_default());
    Ok(Front { first: read_first_page(&page), page, marks: [mark(), mark()] })
}

/// Page 0 cannot be read: either a store was never finished here, or this is something else, or it is damaged. Only the first
/// may be begun again, and only when no chain was ever in it.
fn begin_again(
    file: &Arc<StoreFile>,
    create: bool,
    place: &str,
    front: &Front,
) -> Result<(Store, Recovered), OpenError> {
    let used = front.newest().is_some_and(|mark| mark.generation > FIRST_GENERATION);
    if used || salvage::holds_groups(file)? {
        return Err(OpenError::damaged("the first page is unreadable"));
    }
    if !crate::mark::is_unfinished(&front.page) {
        return Err(OpenError::NotAStore);
    }
    if !create {
        return Err(OpenError::Absent { place: place.to_owned() });
    }
    file.set_len_now(0)?;
    file.sync()?;
    begin(file)
}

/// Begins a store in an empty file. Page 0 is written last: until then the next start begins again.
fn begin(file: &Arc<StoreFile>) -> Result<(Store, Recovered), OpenError> {
    let salt = random_salt();
    let generation = FIRST_GENERATION;
    file.set_len_now(FRONT_BYTES)?;
    let database = open_database(file)?;
    write_first_transaction(&database, &salt).map_err(|reason| OpenError::Io(io::Error::other(reason)))?;
    let mark = Mark { generation, salt, reserved: Reserved::default(), heads: Vec::new() };
    file.write_now(mark.offset(), &mark.write())?;
    file.sync()?;
    file.write_now(0, &write_first_page(&salt))?;
    file.sync()?;
    let writer = Mutex::new(Writer { generation, ..Writer::default() });
    let (poison, orphans) = (Poison::default(), 0);
    Ok((Store { database, file: Arc::clone(file), salt, poison, writer, orphans }, Recovered::default()))
}

fn write_first_transaction(database: &Database, salt: &Salt) -> Result<(), String> {
    let transaction = database.begin_write().map_err(|error| error.to_string())?;
    for table in TABLES {
        transaction.open_table(table).map_err(|error| error.to_string())?;
    }
    put_state(&transaction, salt, row::GENERATION_KEY, &FIRST_GENERATION.to_be_bytes())
        .map_err(|error| error.to_string())?;
    transaction.commit().map_err(|error| error.to_string())
}

/// Random enough that nobody outside can guess it: the keys of the standard library's hash maps come from the system.
fn random_salt() -> Salt {
    let half = || RandomState::new().hash_one(0_u8).to_be_bytes();
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&half());
    salt[8..].copy_from_slice(&half());
    salt
}

/// Where the chains of `batch` stand after it, when each of its groups continues what is stored.
fn next_heads(
    stored: &BTreeMap<ChainId, StoredHead>,
    batch: &Batch,
    generation: u64,
) -> Result<BTreeMap<ChainId, StoredHead>, StoreError> {
    let mut next = BTreeMap::new();
    for (chain, group) in &batch.groups {
        let head = next.get(chain).or_else(|| stored.get(chain)).copied();
        next.insert(*chain, continue_head(*chain, head, group, generation)?);
    }
    Ok(next)
}

fn continue_head(
    chain: ChainId,
    head: Option<StoredHead>,
    group: &CommitGroup,
    generation: u64,
) -> Result<StoredHead, StoreError> {
    let refuse = |reason: String| StoreError::Discontinuous { chain, reason };
    let commit = group.signed.decode().map_err(|error| refuse(error.to_string()))?;
    let head = head.unwrap_or(StoredHead { generation, commits: 0, size: 0, last_commit: chain_root_hash(&chain) });
    let count = group.events.len() as u64;
    let checks = [
        ("chain", commit.chain == chain),
        ("commit_no", commit.commit_no == head.commits),
        ("prev_commit", commit.prev_commit == head.last_commit),
        ("first_seq", commit.first_seq == head.size),
        ("count", commit.count == count),
        ("tree_size", commit.tree_size == head.size + count),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        Some((field, _)) => Err(refuse(format!("{field} of commit {}, {} are stored", commit.commit_no, head.commits))),
        None => Ok(StoredHead::after(generation, &commit, group.signed.hash())),
    }
}

fn write_batch(transaction: &WriteTransaction, salt: &Salt, batch: &Batch, mark: &Mark) -> Result<(), redb::Error> {
    write_groups(transaction, salt, &batch.groups, mark.generation)?;
    write_digests(transaction, salt, &batch.digests)?;
    if !batch.outbox_put.is_empty() || !batch.outbox_drop.is_empty() {
        let mut outbox = transaction.open_table(OUTBOX)?;
        for entry in &batch.outbox_put {
            let key = entry.envelope.id.to_bytes();
            outbox.insert(&key[..], &row::write(salt, Kind::Outbox, &key, &encode(entry))[..])?;
        }
        for message in &batch.outbox_drop {
            outbox.remove(&message.to_bytes()[..])?;
        }
    }
    for evidence in &batch.evidence {
        let key = evidence_key(evidence);
        let value = row::write(salt, Kind::Evidence, &key, &encode(evidence));
        transaction.open_table(EVIDENCE)?.insert(&key[..], &value[..])?;
    }
    for (node, addresses) in &batch.addresses {
        let value = row::write(salt, Kind::Addresses, node.as_bytes(), &encode(addresses));
        transaction.open_table(ADDRESSES)?.insert(&node.as_bytes()[..], &value[..])?;
    }
    for (chain, head) in &mark.heads {
        put_state(transaction, salt, &row::head_key(*chain), &head.write())?;
    }
    if batch.reserved.is_some() {
        put_state(transaction, salt, row::RESERVED_KEY, &encode(&mark.reserved))?;
    }
    put_state(transaction, salt, row::GENERATION_KEY, &mark.generation.to_be_bytes())
}

fn write_groups(
    transaction: &WriteTransaction,
    salt: &Salt,
    groups: &[(ChainId, CommitGroup)],
    generation: u64,
) -> Result<(), redb::Error> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut stored = transaction.open_table(GROUPS)?;
    let mut indexed = transaction.open_table(INDEX)?;
    for (chain, group) in groups {
        let commit = group.signed.decode().expect("BUG: decoded when the heads were compared");
        let key = row::numbered_key(*chain, commit.commit_no);
        let value = row::write(salt, Kind::Group, &key, &row::write_group(generation, commit.first_seq, group));
        stored.insert(&key[..], &value[..])?;
        for (seq, event) in (commit.first_seq..).zip(&group.events) {
            if let Some(record) = index::message_of(event) {
                for key in index::keys(&record, Place { chain: *chain, seq, leaf: WHOLE_EVENT }) {
                    indexed.insert(&key[..], &[][..])?;
                }
            }
        }
    }
    Ok(())
}

fn write_digests(transaction: &WriteTransaction, salt: &Salt, digests: &[DigestRow]) -> Result<(), redb::Error> {
    if digests.is_empty() {
        return Ok(());
    }
    let mut stored = transaction.open_table(DIGESTS)?;
    let mut indexed = transaction.open_table(INDEX)?;
    for digest in digests {
        let key = row::numbered_key(digest.chain, digest.seq);
        stored.insert(&key[..], &row::write(salt, Kind::Digest, &key, &encode(digest))[..])?;
        for (leaf, record) in (0..).zip(&digest.records) {
            for key in index::keys(record, Place { chain: digest.chain, seq: digest.seq, leaf }) {
                indexed.insert(&key[..], &[][..])?;
            }
        }
    }
    Ok(())
}

fn put_state(transaction: &WriteTransaction, salt: &Salt, key: &[u8], body: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(STATE)?.insert(key, &row::write(salt, Kind::State, key, body)[..])?;
    Ok(())
}

/// The key of one piece of evidence: the hashes of both commits.
pub(crate) fn evidence_key(evidence: &Evidence) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(evidence.first.hash().as_bytes());
    key[32..].copy_from_slice(evidence.second.hash().as_bytes());
    key
}

/// The file of an existing store.
pub(crate) fn open_file(path: &Path) -> Result<Box<dyn StorageBackend>, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Absent { place: path.display().to_string() },
        _ => error.into(),
    })?;
    file_backend(file)
}

/// Redb's own backend on a file.
pub(crate) fn file_backend(file: File) -> Result<Box<dyn StorageBackend>, OpenError> {
    Ok(Box::new(FileBackend::new(file)?))
}

/// Makes the name of `path` in its folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
