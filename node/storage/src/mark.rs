//! The first pages of the file: what it is, and the marks that say how much of it was synced.

use weft_protocol::{ChainId, Digest, Hlc, Reserved};

use crate::journal::JOURNAL_BYTES;
use crate::row::{Salt, StoredHead, short_check};

/// Bytes before the database: page 0 and two marks.
pub(crate) const FRONT_BYTES: u64 = 3 * PAGE_BYTES as u64;
/// Size of each of them: what disks write at once or not at all, at best; the checks do not rely on it.
pub(crate) const PAGE_BYTES: usize = 4096;
/// The layout this program writes.
pub(crate) const LAYOUT_VERSION: u32 = 4;
/// The one before, which this program reads and goes on with: it has no journal.
const LAYOUT_WITHOUT_JOURNAL: u32 = 3;
/// Heads in one mark: 80 bytes each beside 50 of its own and the check. A batch that moved more chains is still noticed
/// when it is lost; only which chains it moved is then not known.
const HEADS_MAX: usize = 49;

const STORE_MAGIC: [u8; 16] = *b"weft store\n\0\0\0\0\0";
const MARK_MAGIC: [u8; 8] = *b"weftmark";
const _: () = assert!(50 + HEADS_MAX * 80 + 16 <= PAGE_BYTES);

/// What page 0 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPage {
    /// A store that this program can open.
    Store { salt: Salt, journal_bytes: u32 },
    /// A store of another layout.
    Other(u32),
    /// Nothing that can be believed.
    Unreadable,
}

/// The bytes of page 0.
pub(crate) fn write_first_page(salt: &Salt, journal_bytes: u32) -> Vec<u8> {
    let mut page = [&STORE_MAGIC[..], &LAYOUT_VERSION.to_be_bytes(), salt].concat();
    // One check where every layout has it, so that every program can tell which layout this is, and one of all.
    page.extend_from_slice(&short_check(&[&page]));
    page.extend_from_slice(&journal_bytes.to_be_bytes());
    page.extend_from_slice(&short_check(&[&page]));
    page.resize(PAGE_BYTES, 0);
    page
}

/// Reads page 0.
pub(crate) fn read_first_page(page: &[u8]) -> FirstPage {
    let Some((head, check)) = page.get(..52).map(|part| part.split_at(36)) else { return FirstPage::Unreadable };
    if !head.starts_with(&STORE_MAGIC) || short_check(&[head]) != check {
        return FirstPage::Unreadable;
    }
    let (version, salt) = head[16..].split_at(4);
    match (version.try_into().map(u32::from_be_bytes), salt.try_into()) {
        (Ok(LAYOUT_VERSION), Ok(salt)) => match read_journal_bytes(page) {
            Some(journal_bytes) => FirstPage::Store { salt, journal_bytes },
            None => FirstPage::Unreadable,
        },
        (Ok(LAYOUT_WITHOUT_JOURNAL), Ok(salt)) => FirstPage::Store { salt, journal_bytes: 0 },
        (Ok(other), _) => FirstPage::Other(other),
        (Err(_), _) => FirstPage::Unreadable,
    }
}

fn read_journal_bytes(page: &[u8]) -> Option<u32> {
    let (head, check) = page.get(..72)?.split_at(56);
    let bytes = head[52..].try_into().map(u32::from_be_bytes).ok()?;
    (short_check(&[head]) == check && bytes <= JOURNAL_BYTES).then_some(bytes)
}

/// Whether this page 0 may be that of a store whose making was cut off: nothing, or a beginning of what would stand there.
pub(crate) fn is_unfinished(page: &[u8]) -> bool {
    page.iter().zip(STORE_MAGIC).all(|(byte, magic)| *byte == 0 || *byte == magic)
}

/// Where a mark of what is in the database's file stands: they take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MarkPage {
    #[default]
    First,
    Second,
}

impl MarkPage {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// From the beginning of the file.
    pub(crate) const fn offset(self) -> u64 {
        match self {
            Self::First => PAGE_BYTES as u64,
            Self::Second => 2 * PAGE_BYTES as u64,
        }
    }
}

/// What is known to have been synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) generation: u64,
    pub(crate) salt: Salt,
    pub(crate) reserved: Reserved,
    /// The chains that the batch moved, as far as there was room.
    pub(crate) heads: Vec<(ChainId, StoredHead)>,
}

impl Mark {
    /// The bytes of its page.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut page = self.bytes();
        page.resize(PAGE_BYTES, 0);
        page
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let heads = &self.heads[..self.heads.len().min(HEADS_MAX)];
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&MARK_MAGIC);
        page.extend_from_slice(&self.generation.to_be_bytes());
        page.extend_from_slice(&self.salt);
        page.extend_from_slice(&self.reserved.counter.to_be_bytes());
        page.extend_from_slice(&self.reserved.clock.0.to_be_bytes());
        page.extend_from_slice(&u16::try_from(heads.len()).expect("BUG: bounded above").to_be_bytes());
        for (chain, head) in heads {
            page.extend_from_slice(&chain.to_bytes());
            page.extend_from_slice(&head.commits.to_be_bytes());
            page.extend_from_slice(head.last_commit.as_bytes());
        }
        let check = short_check(&[&page]);
        page.extend_from_slice(&check);
        page
    }

    /// The mark in this page; `None` when it was torn, damaged or never written.
    pub(crate) fn read(page: &[u8]) -> Option<Self> {
        let mut rest = page.strip_prefix(&MARK_MAGIC)?;
        let generation = u64::from_be_bytes(take(&mut rest)?);
        let salt = take(&mut rest)?;
        let counter = u64::from_be_bytes(take(&mut rest)?);
        let clock = Hlc(u64::from_be_bytes(take(&mut rest)?));
        let count = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let mut heads = Vec::new();
        for _ in 0..count.min(HEADS_MAX) {
            let chain = ChainId::from_bytes(&take(&mut rest)?);
            let commits = u64::from_be_bytes(take(&mut rest)?);
            // The size is not part of a mark: only the database's own head rows need it.
            let last_commit = Digest::from_bytes(take(&mut rest)?);
            heads.push((chain, StoredHead { generation, commits, size: 0, last_commit }));
        }
        let before = page.len() - rest.len();
        let check: [u8; 16] = take(&mut rest)?;
        let mark = Self { generation, salt, reserved: Reserved { counter, clock }, heads };
        (short_check(&[&page[..before]]) == check).then_some(mark)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*part)
}
