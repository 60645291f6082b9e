//! From a file to a store: begin one, or verify everything in one before anything of it is changed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use redb::{Database, StorageBackend};
use weft_protocol::{ChainId, Recovered, Reserved};

use crate::backend::{Shifted, StoreFile};
use crate::changes::{Changes, apply};
use crate::error::{OpenError, panic_text};
use crate::journal::{self, Journal, Journaled};
use crate::mark::{self, FRONT_BYTES, FirstPage, Mark, MarkPage, PAGE_BYTES, read_first_page, write_first_page};
use crate::recover::{self, Reading};
use crate::row::{self, Kind, Salt};
use crate::salvage;
use crate::store::{Store, Writer};
use crate::table::TABLES;

/// Memory for pages of the database, in bytes (guess): the working set of a node is its tails.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// The generation of a store that holds nothing.
const FIRST_GENERATION: u64 = 1;

/// Runs on another thread; a panic there is damage.
pub(crate) fn on_thread<T: Send + 'static>(
    open: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let opening = std::thread::Builder::new().name("open-store".into()).spawn(open)?;
    opening.join().unwrap_or_else(|panic| Err(OpenError::damaged(panic_text(&*panic))))
}

pub(crate) fn open_file_of_store(
    backend: Box<dyn StorageBackend>,
    create: Option<u32>,
    place: &str,
) -> Result<(Store, Recovered), OpenError> {
    let file = StoreFile::lock(backend)?.ok_or(OpenError::Busy)?;
    let opened = open_locked(&file, create, place);
    if opened.is_err() {
        file.silence();
    }
    opened
}

pub(crate) fn open_locked(
    file: &Arc<StoreFile>,
    create: Option<u32>,
    place: &str,
) -> Result<(Store, Recovered), OpenError> {
    let length = file.len()?;
    if length == 0 {
        let absent = || OpenError::Absent { place: place.to_owned() };
        return begin(file, create.ok_or_else(absent)?);
    }
    let front = read_front(file, length)?;
    let (salt, journal_bytes) = match front.first {
        FirstPage::Store { salt, journal_bytes } => (salt, journal_bytes),
        FirstPage::Other(found) => return Err(OpenError::Version { found, known: mark::LAYOUT_VERSION }),
        FirstPage::Unreadable => return begin_again(file, create, place, &front),
    };
    let (mark, marked_page) = front.newest().ok_or_else(|| OpenError::damaged("both marks are unreadable"))?;
    let database_at = FRONT_BYTES + u64::from(journal_bytes);
    if length <= database_at {
        return Err(OpenError::damaged("the file was cut off"));
    }
    file.hold();
    let database = open_database(file, database_at)?;
    let journaled = journal::read(file, &salt, journal_bytes, recover::generation_of(&database, &salt)?)?;
    repeat(&database, &salt, &journaled)?;
    let Reading { recovered, mut writer, orphans, pruned } = recover::read_all(&database, &salt)?;
    for mark in [Some(mark), journaled.mark.as_ref()].into_iter().flatten() {
        compare_with_mark(&writer, mark)?;
    }
    if writer.generation < journaled.synced {
        return Err(lost(journaled.synced, writer.generation, None));
    }
    file.release()?;
    (writer.journal, writer.marked_page) = (Journal::new(journal_bytes), marked_page);
    let store = Store::new(database, (Arc::clone(file), database_at), salt, writer, orphans, pruned);
    store.begin_run().map_err(|error| OpenError::Io(io::Error::other(error)))?;
    Ok((store, recovered))
}

/// Puts what the journal holds into the database.
fn repeat(database: &Database, salt: &Salt, journaled: &Journaled) -> Result<(), OpenError> {
    if journaled.frames.is_empty() {
        return Ok(());
    }
    let mut all = Vec::new();
    for (generation, entries) in &journaled.frames {
        let damaged = || OpenError::damaged(format!("transaction {generation} in the journal cannot be read"));
        all.push(Changes::repeat(*salt, entries).ok_or_else(damaged)?);
    }
    let transaction = database.begin_write().map_err(OpenError::damaged)?;
    apply(&transaction, &all).map_err(OpenError::damaged)?;
    transaction.commit().map_err(OpenError::damaged)
}

/// Whether everything that was synced according to the mark is there.
fn compare_with_mark(writer: &Writer, mark: &Mark) -> Result<(), OpenError> {
    let short = mark.heads.iter().find(|(chain, promised)| {
        let held = writer.heads.get(chain);
        // A head that was moved after the mark may be one that a cut moved back.
        let is_newer = held.is_some_and(|head| head.generation > mark.generation);
        !is_newer && held.map_or(0, |head| head.commits) < promised.commits
    });
    if writer.generation >= mark.generation && short.is_none() {
        return Ok(());
    }
    let chain = short.map(|(chain, _)| (*chain, writer.heads.get(chain).map_or(0, |head| head.commits)));
    Err(lost(mark.generation, writer.generation, chain))
}

fn lost(promised: u64, found: u64, chain: Option<(ChainId, u64)>) -> OpenError {
    let reason = format!("transaction {promised} was on the disk, the last one that can be read is {found}");
    let (chain, first_bad_commit) = chain.unzip();
    OpenError::Damaged { chain, first_bad_commit, reason }
}

/// Opens redb on the file: it verifies the checksum of every page, and whatever it writes is held back.
fn open_database(file: &Arc<StoreFile>, start: u64) -> Result<Database, OpenError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(Shifted { file: Arc::clone(file), start })?)
}

/// The pages before the database, as read.
pub(crate) struct Front {
    pub(crate) first: FirstPage,
    page: Vec<u8>,
    marks: [Option<Mark>; 2],
}

impl Front {
    /// The newest mark that can be read, and where it stands.
    pub(crate) fn newest(&self) -> Option<(&Mark, MarkPage)> {
        let marks = self.marks.iter().zip([MarkPage::First, MarkPage::Second]);
        marks.filter_map(|(mark, page)| Some((mark.as_ref()?, page))).max_by_key(|(mark, _)| mark.generation)
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
    create: Option<u32>,
    place: &str,
    front: &Front,
) -> Result<(Store, Recovered), OpenError> {
    let used = front.newest().is_some_and(|(mark, _)| mark.generation > FIRST_GENERATION);
    if used || salvage::holds_groups(file)? {
        return Err(OpenError::damaged("the first page is unreadable"));
    }
    if !mark::is_unfinished(&front.page) {
        return Err(OpenError::NotAStore);
    }
    let Some(journal_bytes) = create else { return Err(OpenError::Absent { place: place.to_owned() }) };
    file.set_len_now(0)?;
    file.sync()?;
    begin(file, journal_bytes)
}

/// Begins a store in an empty file. Page 0 is written last: until then the next start begins again.
fn begin(file: &Arc<StoreFile>, journal_bytes: u32) -> Result<(Store, Recovered), OpenError> {
    let salt = random_salt();
    let generation = FIRST_GENERATION;
    let database_at = FRONT_BYTES + u64::from(journal_bytes);
    file.set_len_now(database_at)?;
    // A file system makes the first bytes of a place durable more slowly than later ones.
    Journal::new(journal_bytes).wipe(file)?;
    let database = open_database(file, database_at)?;
    write_first_transaction(&database, &salt).map_err(|reason| OpenError::Io(io::Error::other(reason)))?;
    let mark = Mark { generation, salt, reserved: Reserved::default(), heads: Vec::new() };
    file.write_now(MarkPage::First.offset(), &mark.page())?;
    file.sync()?;
    file.write_now(0, &write_first_page(&salt, journal_bytes))?;
    file.sync()?;
    let writer = Writer { generation, journal: Journal::new(journal_bytes), ..Writer::default() };
    Ok((Store::new(database, (Arc::clone(file), database_at), salt, writer, 0, BTreeMap::new()), Recovered::default()))
}

fn write_first_transaction(database: &Database, salt: &Salt) -> Result<(), String> {
    let transaction = database.begin_write().map_err(|error| error.to_string())?;
    for table in TABLES {
        transaction.open_table(table).map_err(|error| error.to_string())?;
    }
    let mut changes = Changes::new(*salt);
    changes.put(Kind::State, row::GENERATION_KEY, &FIRST_GENERATION.to_be_bytes());
    apply(&transaction, [&changes]).map_err(|error| error.to_string())?;
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
