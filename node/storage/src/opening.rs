//! From a file to a store: begin one, or verify everything in one before anything of it is changed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use redb::{Database, StorageBackend};
use weft_protocol::{Recovered, Reserved};

use crate::backend::{Shifted, StoreFile};
use crate::error::{OpenError, panic_text};
use crate::mark::{self, FRONT_BYTES, FirstPage, Mark, PAGE_BYTES, read_first_page, write_first_page};
use crate::recover::{self, Reading};
use crate::row::{self, Salt};
use crate::salvage;
use crate::store::{Store, Writer};
use crate::table::TABLES;
use crate::write::put_state;

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

pub(crate) fn open_locked(file: &Arc<StoreFile>, create: bool, place: &str) -> Result<(Store, Recovered), OpenError> {
    let length = file.len()?;
    if length == 0 {
        return if create { begin(file) } else { Err(OpenError::Absent { place: place.to_owned() }) };
    }
    let front = read_front(file, length)?;
    let salt = match front.first {
        FirstPage::Store(salt) => salt,
        FirstPage::Other(found) => return Err(OpenError::Version { found, known: mark::LAYOUT_VERSION }),
        FirstPage::Unreadable => return begin_again(file, create, place, &front),
    };
    let mark = front.newest().ok_or_else(|| OpenError::damaged("both marks are unreadable"))?.clone();
    if length <= FRONT_BYTES {
        return Err(OpenError::damaged("the file was cut off"));
    }
    file.hold();
    let database = open_database(file)?;
    let Reading { recovered, writer, orphans, pruned } = recover::read_all(&database, &salt)?;
    compare_with_mark(&writer, &mark)?;
    file.release()?;
    let store = Store::new(database, Arc::clone(file), salt, writer, orphans, pruned);
    store.begin_run(mark.generation).map_err(|error| OpenError::Io(io::Error::other(error)))?;
    Ok((store, recovered))
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
    if !mark::is_unfinished(&front.page) {
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
    let writer = Writer { generation, ..Writer::default() };
    Ok((Store::new(database, Arc::clone(file), salt, writer, 0, BTreeMap::new()), Recovered::default()))
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
