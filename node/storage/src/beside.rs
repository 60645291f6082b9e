//! Reads what is on the disk as of one moment, past the pages that the database keeps in memory.
//!
//! A page that was read once is served from memory for as long as it stays there, whatever becomes of the disk under it. So the
//! scrub opens the file a second time beside the database that writes, as a reader that redb lets follow a writer of another
//! process. Their locks are for processes; here the store's own lock keeps writes away while a reader begins, and a read
//! transaction of the writing database keeps the pages that it sees from being written over.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, ConcurrencyMode, Database, ReadTransaction, ReadableDatabase, StorageBackend};

use crate::backend::StoreFile;
use crate::error::{StoreError, panic_text};
use crate::mark::FirstPage;
use crate::opening::read_front;
use crate::store::Store;

/// Memory for pages of one such reading, in bytes (guess): the way down to where it reads, and little more, since what is kept
/// is not read from the disk.
const CACHE_BYTES: usize = 1024 * 1024;

/// Why nothing could be read beside the database.
pub(crate) enum BesideError {
    /// The store writes nothing any more, so that what is on the disk may be half of something.
    Poisoned(StoreError),
    /// Not even the beginning could be read.
    Closed(String),
    /// It was begun, and failed.
    Failed(String),
}

impl Store {
    /// Runs one read of what is on the disk; a panic of the database becomes an error. No write waits for it but while it begins,
    /// which reads the header.
    pub(crate) fn read_disk<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, BesideError> {
        let begun = AtomicBool::new(false);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (_kept, transaction) = {
                let mut no_write_meanwhile = self.writer();
                self.check_poison()?;
                // What is read is the file; what the journal holds is not in it yet.
                self.flush(&mut no_write_meanwhile)?;
                // First what keeps the pages, then what reads them.
                let kept = self.database.begin_read()?;
                let backend = Beside {
                    file: Arc::clone(self.file()),
                    start: self.database_at,
                    header_is_held: AtomicBool::new(false),
                };
                let mut builder = Database::builder();
                builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::SingleWriter);
                let beside = builder.open_read_only_with_backend(backend).map_err(StoreError::read)?;
                (kept, beside.begin_read()?)
            };
            begun.store(true, Ordering::Relaxed);
            read(&transaction)
        }));
        match outcome.unwrap_or_else(|panic| Err(StoreError::read(panic_text(&*panic)))) {
            Ok(value) => Ok(value),
            Err(error @ StoreError::Poisoned { .. }) => Err(BesideError::Poisoned(error)),
            Err(error) if begun.into_inner() => Err(BesideError::Failed(reason_of(error))),
            Err(error) => Err(BesideError::Closed(reason_of(error))),
        }
    }

    /// What is wrong with the pages before the database; none when they are as they were written. The older of the two marks is
    /// not looked at: the next commit writes it anew.
    pub(crate) fn front_fault(&self) -> Result<Option<String>, StoreError> {
        let writer = self.writer();
        self.check_poison()?;
        let front = self.file().len().and_then(|length| read_front(self.file(), length));
        Ok(match front {
            Err(error) => Some(error.to_string()),
            Ok(front) if !matches!(front.first, FirstPage::Store { salt, .. } if salt == self.salt) => {
                Some("the first page is unreadable".to_owned())
            }
            Ok(front) if front.newest().is_none_or(|(mark, _)| mark.generation < writer.marked) => {
                Some("the mark of the last transaction is unreadable".to_owned())
            }
            Ok(_) => None,
        })
    }
}

fn reason_of(error: StoreError) -> String {
    match error {
        StoreError::Read { reason } => reason,
        error => error.to_string(),
    }
}

/// The file, for a reader beside the database.
#[derive(Debug)]
struct Beside {
    file: Arc<StoreFile>,
    start: u64,
    /// Whether the reader believes to hold the header, and asks whether somebody else writes.
    header_is_held: AtomicBool,
}

impl StorageBackend for Beside {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len()?.saturating_sub(self.start))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_now(self.start + offset, out)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        self.header_is_held.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        self.header_is_held.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Only whether a writer is alive is asked for while the header is held, and one is; nobody else is there.
    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(self.header_is_held.load(Ordering::Relaxed))
    }
}
