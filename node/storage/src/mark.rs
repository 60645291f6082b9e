//! The first pages of the file: what it is, and the marks that say how much of it was synced.

use weft_protocol::{ChainId, Digest, Hlc, Reserved};

use crate::row::{Salt, StoredHead, short_check};

/// Bytes before the database: page 0 and two marks.
pub(crate) const FRONT_BYTES: u64 = 3 * PAGE_BYTES as u64;
/// Size of each of them: what disks write at once or not at all, at best; the checks do not rely on it.
pub(crate) const PAGE_BYTES: usize = 4096;
/// The layout this program reads and writes.
pub(crate) const LAYOUT_VERSION: u32 = 3;
/// Heads in one mark: 80 bytes each beside 50 of its own and the check. A batch that moved more chains is still noticed
/// when it is lost; only which chains it moved is then not known.
const HEADS_MAX: usize = 49;

const STORE_MAGIC: [u8; 16] = *b"weft store\n\0\0\0\0\0";
const MARK_MAGIC: [u8; 8] = *b"weftmark";
const _: () = assert!(50 + HEADS_MAX * 80 + 16 <= PAGE_BYTES);

/// What page 0 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPage {
    /// A store of this layout.
    Store(Salt),
    /// A store of another layout.
    Other(u32),
    /// Nothing that can be believed.
    Unreadable,
}

/// The bytes of page 0.
pub(crate) fn write_first_page(salt: &Salt) -> Vec<u8> {
    let mut page = [&STORE_MAGIC[..], &LAYOUT_VERSION.to_be_bytes(), salt].concat();
    finish(&mut page);
    page
}

/// Reads page 0.
pub(crate) fn read_first_page(page: &[u8]) -> FirstPage {
    let Some((head, check)) = page.get(..52).map(|part| part.split_at(36)) else { return FirstPage::Unreadable };
    if !head.starts_with(&STORE_MAGIC) || short_check(head) != check {
        return FirstPage::Unreadable;
    }
    let (version, salt) = head[16..].split_at(4);
    match (version.try_into().map(u32::from_be_bytes), salt.try_into()) {
        (Ok(LAYOUT_VERSION), Ok(salt)) => FirstPage::Store(salt),
        (Ok(other), _) => FirstPage::Other(other),
        (Err(_), _) => FirstPage::Unreadable,
    }
}

/// Whether this page 0 may be that of a store whose making was cut off: nothing, or a beginning of what would stand there.
pub(crate) fn is_unfinished(page: &[u8]) -> bool {
    page.iter().zip(STORE_MAGIC).all(|(byte, magic)| *byte == 0 || *byte == magic)
}

fn finish(page: &mut Vec<u8>) {
    let check = short_check(page);
    page.extend_from_slice(&check);
    page.resize(PAGE_BYTES, 0);
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
    /// Where this mark stands in the file: neighbours take turns, so that a torn one leaves the one before.
    pub(crate) const fn offset(&self) -> u64 {
        (1 + self.generation % 2) * PAGE_BYTES as u64
    }

    pub(crate) fn write(&self) -> Vec<u8> {
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
        finish(&mut page);
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
        (short_check(&page[..before]) == check).then_some(mark)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*part)
}
