//! A disk in memory that forgets what was not synced: the storage backend under each simulated node's real store.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::dice::Dice;

/// What a disk writes at once or not at all, in bytes (the smallest sector still sold).
const SECTOR_BYTES: usize = 512;

/// What becomes of writes that were not synced when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsynced {
    /// All are gone.
    #[default]
    Lost,
    /// All are there, as after the death of the process alone.
    Kept,
    /// Each sector of each write is there or not, as if the disk had written them in any order.
    Scattered,
    /// The first are there, the next one is cut in the middle, the rest is gone.
    Torn,
}

/// What the disks of a run did that a good disk does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskCounts {
    /// Syncs that took effect.
    pub(crate) syncs: u64,
    /// Writes, or sectors of them, that a crash took back.
    pub(crate) lost: u64,
    /// Writes that a crash cut.
    pub(crate) torn: u64,
    /// Operations that failed on a disk that was to fail.
    pub(crate) errors: u64,
    /// Operations that failed because there was no room.
    pub(crate) refused: u64,
    /// Writes, syncs and changes of length that took effect.
    pub(crate) operations: u64,
}

#[derive(Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct Inner {
    /// What a crash cannot take.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    /// What lies between the two, in order.
    pending: Vec<Pending>,
    /// Operations that still succeed, and why none does after that. None for a good disk.
    ends: Option<(u64, End)>,
    /// Earlier durable images, oldest first, while somebody means to go back to one.
    earlier: Option<Vec<Vec<u8>>>,
    /// Whether there is no room.
    full: bool,
    /// Whether syncs only pretend.
    lies: bool,
    counts: DiskCounts,
}

/// Why a disk does nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is broken.
    Broken,
    /// Power is gone in the middle of a transaction: nobody is there to see an error.
    PowerLost,
    /// The same, at its sync at the latest.
    PowerLostUnsynced,
}

/// One node's disk; clones are the same disk. It outlives the node's runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this disk did so far.
    pub(crate) fn counts(&self) -> DiskCounts {
        self.inner().counts
    }

    /// Lets so many operations succeed and every later one fail with EIO, until the next crash.
    pub(crate) fn end_after(&self, operations: u64, end: End) {
        self.inner().ends = Some((operations, end));
    }

    /// Takes back [`Disk::end_after`].
    pub(crate) fn keep_on(&self) {
        self.inner().ends = None;
    }

    /// From now on there is room for what is written, or none.
    pub(crate) fn set_full(&self, full: bool) {
        self.inner().full = full;
    }

    /// Whether there is no room.
    pub(crate) fn is_full(&self) -> bool {
        self.inner().full
    }

    /// From now on a sync does nothing and says that it did.
    pub(crate) fn start_lying(&self) {
        self.inner().lies = true;
    }

    /// From now on remembers what it held at each sync, for [`Disk::roll_back`].
    pub(crate) fn remember(&self) {
        self.inner().earlier.get_or_insert_default();
    }

    /// Becomes what it was 16 syncs ago, or at the oldest one remembered.
    pub(crate) fn roll_back(&self) {
        let mut inner = self.inner();
        let earlier = inner.earlier.take().unwrap_or_default();
        if let Some(image) = earlier.get(earlier.len().saturating_sub(16)) {
            inner.durable.clone_from(image);
            inner.current.clone_from(image);
        }
        inner.earlier = Some(Vec::new());
    }

    /// The power goes: what was not synced becomes what `unsynced` says, and the disk works again.
    pub(crate) fn crash(&self, unsynced: Unsynced, dice: &mut Dice) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let pending = std::mem::take(&mut inner.pending);
        match unsynced {
            Unsynced::Lost => inner.counts.lost += pending.len() as u64,
            Unsynced::Kept => pending.iter().for_each(|operation| apply(&mut inner.durable, operation)),
            Unsynced::Scattered => scatter(&mut inner.durable, &pending, &mut inner.counts, dice),
            Unsynced::Torn => tear(&mut inner.durable, pending, &mut inner.counts, dice),
        }
        inner.current.clone_from(&inner.durable);
        inner.ends = None;
    }

    /// Becomes a disk with the content of another one.
    pub(crate) fn become_copy_of(&self, other: &Self) {
        let content = other.inner().durable.clone();
        let mut inner = self.inner();
        inner.durable.clone_from(&content);
        inner.current = content;
        inner.pending.clear();
        inner.ends = None;
    }

    /// A disk with exactly what a crash could not take from this one.
    pub(crate) fn durable_copy(&self) -> Self {
        let durable = self.inner().durable.clone();
        Self(Arc::new(Mutex::new(Inner { current: durable.clone(), durable, ..Inner::default() })))
    }
}

fn apply(image: &mut Vec<u8>, operation: &Pending) {
    match operation {
        Pending::Write { offset, bytes } => write_at(image, *offset, bytes),
        Pending::Length(length) => image.resize(*length, 0),
    }
}

fn write_at(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Keeps each sector of each write with even odds; lengths are kept, since the directory entry is synced apart.
fn scatter(image: &mut Vec<u8>, pending: &[Pending], counts: &mut DiskCounts, dice: &mut Dice) {
    for operation in pending {
        let Pending::Write { offset, bytes } = operation else {
            apply(image, operation);
            continue;
        };
        for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if dice.chance(500) {
                write_at(image, offset + number * SECTOR_BYTES, sector);
            } else {
                counts.lost += 1;
            }
        }
    }
}

/// Keeps a beginning of the writes and cuts the next one, at a sector's end or, as bad disks do, at any byte.
fn tear(image: &mut Vec<u8>, pending: Vec<Pending>, counts: &mut DiskCounts, dice: &mut Dice) {
    let writes: Vec<usize> =
        (0..pending.len()).filter(|number| matches!(pending[*number], Pending::Write { .. })).collect();
    let Some(whole) = writes.get(dice.index(writes.len())).copied() else {
        counts.lost += pending.len() as u64;
        return;
    };
    for (number, operation) in pending.into_iter().enumerate() {
        match operation {
            operation if number < whole => apply(image, &operation),
            Pending::Write { offset, bytes } if number == whole => {
                let at_byte = dice.index(bytes.len());
                let cut = if dice.chance(500) { at_byte } else { at_byte - at_byte % SECTOR_BYTES };
                write_at(image, offset, &bytes[..cut]);
                counts.torn += 1;
            }
            Pending::Write { .. } | Pending::Length(_) => counts.lost += 1,
        }
    }
}

impl Inner {
    /// Counts one operation; fails when the disk does nothing any more.
    fn operate(&mut self) -> io::Result<()> {
        if self.full {
            self.counts.refused += 1;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        match &mut self.ends {
            Some((0, end)) => {
                self.counts.errors += u64::from(*end == End::Broken);
                return Err(io::Error::other("simulated input/output error"));
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.counts.operations += 1;
        Ok(())
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::other("an offset beyond this machine"))
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = position(offset)?;
        let inner = self.inner();
        let bytes = inner.current.get(offset..offset.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let operation = Pending::Length(position(length)?);
        let mut inner = self.inner();
        inner.operate()?;
        apply(&mut inner.current, &operation);
        inner.pending.push(operation);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        if let Some((left, End::PowerLostUnsynced)) = &mut inner.ends {
            *left = 0;
        }
        inner.operate()?;
        if inner.lies {
            return Ok(());
        }
        inner.counts.syncs += 1;
        if let Some(earlier) = &mut inner.earlier {
            earlier.push(inner.durable.clone());
        }
        for operation in std::mem::take(&mut inner.pending) {
            apply(&mut inner.durable, &operation);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let operation = Pending::Write { offset: position(offset)?, bytes: bytes.to_vec() };
        let mut inner = self.inner();
        inner.operate()?;
        apply(&mut inner.current, &operation);
        inner.pending.push(operation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream;

    fn dice() -> Dice {
        Dice::new(1, Stream::Disk)
    }

    /// A disk with 2,048 synced bytes of 1 and, over them, two unsynced writes of 1,024 bytes of 2.
    fn disk() -> Disk {
        let disk = Disk::default();
        disk.write(0, &[1; 2_048]).expect("good");
        disk.sync_data().expect("good");
        disk.write(0, &[2; 1_024]).expect("good");
        disk.write(1_024, &[2; 1_024]).expect("good");
        disk
    }

    fn content(disk: &Disk) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(disk.len().expect("good")).expect("small")];
        disk.read(0, &mut bytes).expect("good");
        bytes
    }

    #[test]
    fn reads_see_what_was_written_and_a_crash_takes_what_was_not_synced() {
        let disk = disk();
        assert_eq!(content(&disk), [2; 2_048]);
        disk.crash(Unsynced::Lost, &mut dice());
        assert_eq!(content(&disk), [1; 2_048]);
        assert_eq!(disk.counts(), DiskCounts { syncs: 1, lost: 2, torn: 0, errors: 0, refused: 0, operations: 4 });
    }

    #[test]
    fn the_death_of_a_process_takes_nothing() {
        let disk = disk();
        disk.crash(Unsynced::Kept, &mut dice());
        assert_eq!(content(&disk), [2; 2_048]);
    }

    #[test]
    fn scattered_writes_lose_whole_sectors() {
        let disk = disk();
        disk.crash(Unsynced::Scattered, &mut dice());
        let sectors: Vec<Vec<u8>> = content(&disk).chunks(SECTOR_BYTES).map(<[u8]>::to_vec).collect();
        assert!(sectors.iter().all(|sector| *sector == [1; SECTOR_BYTES] || *sector == [2; SECTOR_BYTES]));
        assert_eq!(disk.counts().lost, sectors.iter().filter(|sector| sector[0] == 1).count() as u64);
    }

    #[test]
    fn a_torn_write_is_a_beginning_of_the_writes() {
        let disk = disk();
        disk.crash(Unsynced::Torn, &mut dice());
        let content = content(&disk);
        let kept = content.iter().take_while(|byte| **byte == 2).count();
        assert!(kept < 2_048 && content[kept..].iter().all(|byte| *byte == 1));
        assert_eq!(disk.counts().torn, 1);
    }

    #[test]
    fn a_dead_disk_fails_every_operation_until_the_power_goes() {
        let disk = disk();
        disk.end_after(1, End::Broken);
        disk.write(0, &[3]).expect("the last good one");
        assert!(disk.write(0, &[4]).is_err());
        assert!(disk.sync_data().is_err());
        disk.crash(Unsynced::Lost, &mut dice());
        disk.write(0, &[5]).expect("good again");
        assert_eq!(disk.counts().errors, 2);
    }

    #[test]
    fn a_full_disk_refuses_until_there_is_room() {
        let disk = disk();
        disk.set_full(true);
        let error = disk.write(0, &[3]).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.set_full(false);
        disk.write(0, &[3]).expect("room again");
        assert_eq!(disk.counts().refused, 1);
    }

    #[test]
    fn a_lying_disk_says_synced_and_loses_everything() {
        let disk = disk();
        disk.start_lying();
        disk.sync_data().expect("it says so");
        disk.crash(Unsynced::Lost, &mut dice());
        assert_eq!(content(&disk), [1; 2_048]);
    }

    #[test]
    fn a_copy_holds_what_a_crash_cannot_take() {
        let copy = disk().durable_copy();
        assert_eq!(content(&copy), [1; 2_048]);
    }
}
