//! A disk in memory that can lose, tear, scatter and refuse writes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What becomes of what was not synced when the power goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unsynced {
    Lost,
    Kept,
    /// The first half of the operations, and so many bytes of the next one.
    Torn(usize),
    /// Each sector of 512 bytes on its own, by this seed.
    Scattered(u64),
}

pub(crate) const ALL_UNSYNCED: [Unsynced; 7] = [
    Unsynced::Lost,
    Unsynced::Kept,
    Unsynced::Torn(40),
    Unsynced::Torn(2048),
    Unsynced::Scattered(1),
    Unsynced::Scattered(2),
    Unsynced::Scattered(3),
];

/// Where the database of a store in memory begins: behind the first pages and the journal.
pub(crate) const DATABASE_AT: usize = 12_288 + 65_536;

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Default)]
struct Inner {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Pending>,
    operations: u64,
    fail_at: Option<(u64, io::ErrorKind, bool)>,
    writes_after_failure: u64,
    failed: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(crate) fn with(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.inner().durable.clone_from(&bytes);
        disk.inner().current = bytes;
        disk
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.inner().current.clone()
    }

    /// Changes what is stored under whoever has it open.
    pub(crate) fn flip(&self, place: usize, bit: u8) {
        self.inner().current[place] ^= 1 << bit;
    }

    /// The n-th write, sync or resize from now on fails, and when `for_good` all after it.
    pub(crate) fn fail_at(&self, operation: u64, kind: io::ErrorKind, for_good: bool) {
        let mut inner = self.inner();
        inner.fail_at = Some((inner.operations + operation, kind, for_good));
    }

    /// Operations that reached the disk after the first that failed.
    pub(crate) fn writes_after_failure(&self) -> u64 {
        self.inner().writes_after_failure
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.inner().failed
    }

    /// What a start finds after the power went now.
    pub(crate) fn after_crash(&self, unsynced: Unsynced) -> Self {
        let inner = self.inner();
        let mut image = inner.durable.clone();
        let half = inner.pending.len() / 2;
        for (number, operation) in inner.pending.iter().enumerate() {
            match (unsynced, operation) {
                (Unsynced::Lost, _) => {}
                (Unsynced::Kept, operation) => apply(&mut image, operation),
                (Unsynced::Torn(_), operation) if number < half => apply(&mut image, operation),
                (Unsynced::Torn(cut), Pending::Write(offset, bytes)) if number == half => {
                    apply(&mut image, &Pending::Write(*offset, bytes[..bytes.len().min(cut)].to_vec()));
                }
                (Unsynced::Torn(_), _) => {}
                (Unsynced::Scattered(_), Pending::Length(_)) => apply(&mut image, operation),
                (Unsynced::Scattered(seed), Pending::Write(offset, bytes)) => {
                    for (sector, part) in bytes.chunks(512).enumerate() {
                        let dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((number * 4096 + sector) as u64);
                        if dice.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 63 == 1 {
                            apply(&mut image, &Pending::Write(offset + sector * 512, part.to_vec()));
                        }
                    }
                }
            }
        }
        Self::with(image)
    }
}

fn apply(image: &mut Vec<u8>, operation: &Pending) {
    match operation {
        Pending::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*offset..end].copy_from_slice(bytes);
        }
        Pending::Length(length) => image.resize(*length, 0),
    }
}

impl Inner {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        if let Some((at, kind, for_good)) = self.fail_at
            && (self.operations == at || for_good && self.operations > at)
        {
            self.failed = true;
            return Err(kind.into());
        }
        self.writes_after_failure += u64::from(self.failed);
        Ok(())
    }

    fn change(&mut self, operation: Pending) -> io::Result<()> {
        self.operate()?;
        apply(&mut self.current, &operation);
        self.pending.push(operation);
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner();
        let bytes = inner.current.get(place(offset)..place(offset) + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner().change(Pending::Length(place(length)))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operate()?;
        for operation in std::mem::take(&mut inner.pending) {
            apply(&mut inner.durable, &operation);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner().change(Pending::Write(place(offset), bytes.to_vec()))
    }
}
