//! The journal in front of the database: a transaction is on the disk once its rows are here, and the database takes many at once.
//!
//! A frame stands at the beginning of a sector, its mark behind it at the beginning of another, and the next frame takes the
//! place of the mark. So a write never touches a sector with anything that was promised before (a sector is written whole or not
//! at all, as SQLite's "powersafe overwrite" has it), and a frame behind another one says that the other was synced.

use std::collections::BTreeMap;
use std::io;

use crate::backend::StoreFile;
use crate::mark::{FRONT_BYTES, Mark, PAGE_BYTES};
use crate::row::{Salt, short_check};

/// Bytes of the journal of a store in a file of its own (guess): some hundred small transactions, and read at once by a start.
pub(crate) const JOURNAL_BYTES: u32 = 1024 * 1024;
/// Bytes of the journal of a store in memory: small, so that simulations see it full.
pub(crate) const JOURNAL_BYTES_IN_MEMORY: u32 = 64 * 1024;
/// The smallest sector still sold.
const SECTOR_BYTES: u64 = 512;

const FRAME_MAGIC: [u8; 8] = *b"weftjrnl";
/// Magic, generation, length and check.
pub(crate) const HEADER_BYTES: usize = 8 + 8 + 4 + 16;

/// Where the journal stands, and where its next frame goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Journal {
    bytes: u64,
    /// Counted from the beginning of the journal.
    next: u64,
}

impl Journal {
    /// An empty one of so many bytes, behind the first pages; of none at all in a store that has none.
    pub(crate) const fn new(bytes: u32) -> Self {
        Self { bytes: bytes as u64, next: 0 }
    }

    /// Bytes of entries for which there is room, beside their header and their mark.
    pub(crate) fn room(&self) -> usize {
        let taken = self.next + (HEADER_BYTES + PAGE_BYTES) as u64 + SECTOR_BYTES;
        usize::try_from(self.bytes.saturating_sub(taken)).unwrap_or(usize::MAX)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Whether it is time to empty it when nothing else is to be done.
    pub(crate) const fn is_half_full(&self) -> bool {
        self.next * 2 > self.bytes
    }

    /// Removes whatever stands in it, so that what was left unfinished is not found beside what is written from here on.
    pub(crate) fn wipe(&mut self, file: &StoreFile) -> io::Result<()> {
        let bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        file.write_now(FRONT_BYTES, &bytes)?;
        self.empty();
        Ok(())
    }

    /// From here on everything that stands in it is in the database.
    pub(crate) const fn empty(&mut self) {
        self.next = 0;
    }

    /// Writes one frame and waits until it is on the disk.
    pub(crate) fn append(&mut self, file: &StoreFile, frame: &[u8]) -> io::Result<()> {
        file.write_now(FRONT_BYTES + self.next, frame)?;
        file.sync()?;
        self.next += sectors(frame.len());
        Ok(())
    }

    /// Says behind the last frame that it was synced; this itself is not.
    pub(crate) fn mark(&self, file: &StoreFile, mark: &Mark) -> io::Result<()> {
        file.write_now(FRONT_BYTES + self.next, &mark.bytes())
    }
}

/// Whole sectors that hold so many bytes, in bytes.
const fn sectors(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(SECTOR_BYTES)
}

/// Fills in the header of a frame whose entries stand behind it.
pub(crate) fn seal(frame: &mut [u8], salt: &Salt, generation: u64) {
    let (header, entries) = frame.split_at_mut(HEADER_BYTES);
    let length = u32::try_from(entries.len()).expect("BUG: more entries than a journal has room for");
    let check = check(salt, generation, entries);
    header.copy_from_slice(&[&FRAME_MAGIC[..], &generation.to_be_bytes(), &length.to_be_bytes(), &check].concat());
}

fn check(salt: &Salt, generation: u64, entries: &[u8]) -> [u8; 16] {
    short_check(&[salt, &generation.to_be_bytes(), entries])
}

/// The frame that begins here, when it is whole.
fn read_frame<'a>(salt: &Salt, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let rest = bytes.strip_prefix(&FRAME_MAGIC)?;
    let (generation, rest) = rest.split_first_chunk().map(|(number, rest)| (u64::from_be_bytes(*number), rest))?;
    let (length, rest) = rest.split_first_chunk().map(|(number, rest)| (u32::from_be_bytes(*number), rest))?;
    let (found, rest) = rest.split_first_chunk::<16>()?;
    let entries = rest.get(..length as usize)?;
    (check(salt, generation, entries) == *found).then_some((generation, entries))
}

/// What a journal holds beyond a generation of the database.
#[derive(Debug, Default)]
pub(crate) struct Journaled {
    /// Entries by generation, without a gap.
    pub(crate) frames: BTreeMap<u64, Vec<u8>>,
    /// The newest mark that stands in it, of whatever generation.
    pub(crate) mark: Option<Mark>,
    /// The last generation that its frames show to have been synced; the database may know of later ones.
    pub(crate) synced: u64,
}

/// Reads the journal of a store whose database is at this generation.
pub(crate) fn read(file: &StoreFile, salt: &Salt, bytes: u32, generation: u64) -> io::Result<Journaled> {
    let there = file.len()?.saturating_sub(FRONT_BYTES).min(u64::from(bytes));
    let mut region = vec![0; usize::try_from(there).unwrap_or(usize::MAX)];
    file.read_now(FRONT_BYTES, &mut region)?;
    let mut journaled = Journaled::default();
    let mut expected = generation.checked_add(1).map(|following| (0, following));
    let sector = usize::try_from(SECTOR_BYTES).unwrap_or(usize::MAX);
    for offset in (0..region.len()).step_by(sector) {
        let bytes = &region[offset..];
        if let Some((found, entries)) = read_frame(salt, bytes) {
            // What stood before it was synced before it was written.
            journaled.synced = journaled.synced.max(found.saturating_sub(1));
            if expected == Some((offset as u64, found)) {
                let next = offset as u64 + sectors(HEADER_BYTES + entries.len());
                expected = found.checked_add(1).map(|following| (next, following));
                journaled.frames.insert(found, entries.to_vec());
            }
        }
        let mark = Mark::read(&bytes[..bytes.len().min(PAGE_BYTES)]).filter(|mark| mark.salt == *salt);
        let is_newer = |mark: &Mark| journaled.mark.as_ref().is_none_or(|known| known.generation < mark.generation);
        if let Some(mark) = mark.filter(is_newer) {
            journaled.mark = Some(mark);
        }
    }
    Ok(journaled)
}
