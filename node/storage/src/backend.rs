//! The file under the database: shifted by its own first pages, counted, silenced after a failure, and held back while a
//! start has not verified everything.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::error::OpenError;

/// One thing that would have been done to the file.
#[derive(Debug)]
enum Operation {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
    Sync,
}

/// The file of one store. The database sees what lies behind the first pages.
pub(crate) struct StoreFile {
    inner: Box<dyn StorageBackend>,
    syncs: AtomicU64,
    /// Set by the first failed write, sync or resize, and when the store is given up: nothing reaches the file any more.
    silenced: AtomicBool,
    /// While `Some`, what would be written is kept here, in order, and reads see it.
    held: Mutex<Option<Vec<Operation>>>,
}

impl fmt::Debug for StoreFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoreFile").field("syncs", &self.syncs).field("silenced", &self.silenced).finish()
    }
}

impl StoreFile {
    /// Takes the file over; `None` when another process holds it.
    pub(crate) fn lock(inner: Box<dyn StorageBackend>) -> io::Result<Option<Arc<Self>>> {
        match inner.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) | Err(BackendError::Unsupported) => {}
            Ok(false) => return Ok(None),
            Err(BackendError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        let (syncs, silenced, held) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
        Ok(Some(Arc::new(Self { inner, syncs, silenced, held })))
    }

    /// Bytes of the whole file.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    /// Syncs that were done.
    pub(crate) fn sync_count(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// From here on nothing is written any more.
    pub(crate) fn silence(&self) {
        self.silenced.store(true, Ordering::SeqCst);
    }

    /// From here on writes are only remembered.
    pub(crate) fn hold(&self) {
        *self.held() = Some(Vec::new());
    }

    /// Does what was remembered, in its order with its syncs, and goes on directly.
    pub(crate) fn release(&self) -> io::Result<()> {
        let operations = self.held().take();
        for operation in operations.into_iter().flatten() {
            match operation {
                Operation::Write { offset, bytes } => self.write_now(offset, &bytes)?,
                Operation::Length(length) => self.set_len_now(length)?,
                Operation::Sync => self.sync()?,
            }
        }
        Ok(())
    }

    /// Reads bytes of the file itself, whatever is held back.
    pub(crate) fn read_now(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    /// Writes to the file itself.
    pub(crate) fn write_now(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.attempt(|inner| inner.write(offset, bytes))
    }

    /// Sets the length of the file itself.
    pub(crate) fn set_len_now(&self, length: u64) -> io::Result<()> {
        self.attempt(|inner| inner.set_len(length))
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.attempt(|inner| inner.sync_data())?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn attempt(&self, act: impl FnOnce(&dyn StorageBackend) -> io::Result<()>) -> io::Result<()> {
        if self.silenced.load(Ordering::SeqCst) {
            return Err(io::Error::other("nothing is written any more after an earlier failure"));
        }
        act(&*self.inner).inspect_err(|_| self.silence())
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Operation>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What redb is given: the file from a place on.
#[derive(Debug)]
pub(crate) struct Shifted {
    pub(crate) file: Arc<StoreFile>,
    pub(crate) start: u64,
}

impl StorageBackend for Shifted {
    fn len(&self) -> io::Result<u64> {
        let last = self.file.held().iter().flatten().rev().find_map(|operation| match operation {
            Operation::Length(length) => Some(*length),
            Operation::Write { .. } | Operation::Sync => None,
        });
        match last {
            Some(length) => Ok(length.saturating_sub(self.start)),
            None => Ok(self.file.inner.len()?.saturating_sub(self.start)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.file.held();
        let Some(operations) = &*held else {
            drop(held);
            return self.file.inner.read(self.start + offset, out);
        };
        let below = self.file.inner.len()?.saturating_sub(self.start + offset);
        let there = usize::try_from(below).unwrap_or(usize::MAX).min(out.len());
        self.file.inner.read(self.start + offset, &mut out[..there])?;
        out[there..].fill(0);
        for operation in operations {
            if let Operation::Write { offset: start, bytes } = operation {
                lay_over(out, self.start + offset, bytes, *start);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if let Some(operations) = &mut *self.file.held() {
            operations.push(Operation::Length(self.start + length));
            return Ok(());
        }
        self.file.set_len_now(self.start + length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(operations) = &mut *self.file.held() {
            operations.push(Operation::Sync);
            return Ok(());
        }
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(operations) = &mut *self.file.held() {
            operations.push(Operation::Write { offset: self.start + offset, bytes: data.to_vec() });
            return Ok(());
        }
        self.file.write_now(self.start + offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.inner.close()
    }

    // The whole file was locked before the database was asked.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Copies the part of `bytes` at `start` that overlaps `out` at `offset`.
fn lay_over(out: &mut [u8], offset: u64, bytes: &[u8], start: u64) {
    let from = start.max(offset);
    let to = (start + bytes.len() as u64).min(offset + out.len() as u64);
    if from < to {
        let place = |position: u64, base: u64| usize::try_from(position - base).expect("BUG: inside a slice");
        out[place(from, offset)..place(to, offset)].copy_from_slice(&bytes[place(from, start)..place(to, start)]);
    }
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
