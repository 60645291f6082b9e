//! Finds rows in the bytes of a file, whatever became of the database around them.

use std::collections::BTreeMap;
use std::io;

use weft_protocol::{
    ChainId, DeadLetter, Digest, Evidence, Hlc, LoggedPublication, MessageId, NodeId, OutboxEntry, Reserved,
    content_address, decode,
};

use crate::backend::StoreFile;
use crate::mark::{FRONT_BYTES, Mark};
use crate::row::{self, BODY_BYTES_MAX, GroupView, Kind, ROW_HEADER_BYTES, ROW_MAGIC, Row, Salt, StoredHead};

/// How much is read at once, in bytes.
const WINDOW_BYTES: usize = 1024 * 1024;

/// Where a row stands in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    offset: u64,
    length: usize,
}

impl Spot {
    /// The bytes of the row.
    pub(crate) fn load(self, file: &StoreFile) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        file.read_now(self.offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// A group found in the file: it passed its row's check, nothing else yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) spot: Spot,
    pub(crate) hash: Digest,
    pub(crate) previous: Digest,
    pub(crate) generation: u64,
}

/// What the file says of one chain.
#[derive(Debug, Default)]
pub(crate) struct FoundChain {
    /// By commit number. More than one stands there when a group that was never acknowledged was overtaken by another.
    groups: BTreeMap<u64, Vec<Candidate>>,
    /// The newest head that is known to have been synced.
    head: Option<StoredHead>,
}

impl FoundChain {
    /// How many commits are known to have been synced: up to the head, and what was synced after it when the row of the head
    /// itself is among what is lost.
    pub(crate) fn expected_commits(&self, synced: u64) -> u64 {
        let (known, since) = self.head.map_or((0, 0), |head| (head.commits, head.generation));
        let promised = |candidate: &Candidate| since < candidate.generation && candidate.generation <= synced;
        let after = self.groups.iter().rev().find(|(_, candidates)| candidates.iter().any(promised));
        known.max(after.map_or(0, |(commit_no, _)| commit_no + 1))
    }

    /// Whether `hash` cannot be that of this commit, because the head says otherwise.
    pub(crate) fn contradicts(&self, commit_no: u64, hash: &Digest) -> bool {
        self.head.is_some_and(|head| head.commits == commit_no + 1 && head.last_commit != *hash)
    }

    /// Whether groups stand behind this commit, written in generation `since` or later, and none of them continues it. What is
    /// older than the commit itself is left from a transaction that it overtook.
    fn is_cut_after(&self, commit_no: u64, hash: &Digest, since: u64) -> bool {
        let behind = self.groups.get(&(commit_no + 1)).into_iter().flatten();
        let mut behind = behind.filter(|other| other.generation >= since).peekable();
        behind.peek().is_some() && behind.all(|other| other.previous != *hash)
    }

    /// Whether a fetched commit does not lead to what is promised behind it.
    pub(crate) fn is_cut_after_fetched(&self, commit_no: u64, hash: &Digest, synced: u64) -> bool {
        commit_no + 1 < self.expected_commits(synced) && self.is_cut_after(commit_no, hash, 0)
    }

    /// Whether any group of this number was found.
    pub(crate) fn has(&self, commit_no: u64) -> bool {
        self.groups.contains_key(&commit_no)
    }

    /// The one group of this number that continues the commit `previous`: one that the next commit names, else the one written
    /// last. None when what stands behind shows that the right one is lost.
    pub(crate) fn choose(&self, commit_no: u64, previous: &Digest) -> Option<Candidate> {
        let fits = |candidate: &&Candidate| {
            candidate.previous == *previous
                && !self.contradicts(commit_no, &candidate.hash)
                && !self.is_cut_after(commit_no, &candidate.hash, candidate.generation)
        };
        self.groups.get(&commit_no)?.iter().filter(fits).max_by_key(|candidate| candidate.generation).copied()
    }
}

/// Everything found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) chains: BTreeMap<ChainId, FoundChain>,
    pub(crate) digests: BTreeMap<(ChainId, u64), Spot>,
    pub(crate) bodies: BTreeMap<Digest, Spot>,
    /// With those that were delivered already and whose bytes are still there: their receivers know them.
    pub(crate) outbox: BTreeMap<MessageId, OutboxEntry>,
    /// With those that were dropped already and whose bytes are still there: the log has bounds of its own.
    pub(crate) topics: BTreeMap<Hlc, LoggedPublication>,
    /// With those that were dropped already and whose bytes are still there: a person decides about them again.
    pub(crate) dead_letters: BTreeMap<MessageId, DeadLetter>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) addresses: BTreeMap<NodeId, Vec<String>>,
    pub(crate) reserved: Reserved,
    /// The last generation that is known to have been synced.
    pub(crate) synced: u64,
}

/// Whether a group's row seems to stand anywhere in the file; checks are not done, because the salt may be lost.
pub(crate) fn holds_groups(file: &StoreFile) -> io::Result<bool> {
    let mut found = false;
    scan(file, |_, header| {
        found |= header.get(8) == Some(&(Kind::Group as u8)) && row::claimed_bytes(header).is_some();
        Ok(None)
    })?;
    Ok(found)
}

/// Collects all rows of the store whose newest readable marks these are, of the database's file and of the journal, and of which so
/// many transactions are known to have been synced besides.
pub(crate) fn collect(file: &StoreFile, salt: &Salt, marks: [Option<&Mark>; 2], synced: u64) -> io::Result<Found> {
    let mut found = Found::default();
    for mark in marks.into_iter().flatten() {
        found.reserved.counter = found.reserved.counter.max(mark.reserved.counter);
        found.reserved.clock = found.reserved.clock.max(mark.reserved.clock);
        for (chain, head) in &mark.heads {
            let known = &mut found.chains.entry(*chain).or_default().head;
            if known.is_none_or(|known| known.generation < head.generation) {
                *known = Some(*head);
            }
        }
    }
    // Without any mark, everything that is found counts as promised.
    let marked = marks.into_iter().flatten().map(|mark| mark.generation).max();
    found.synced = marked.map_or(u64::MAX, |marked| marked.max(synced));
    let end = file.len()?;
    scan(file, |offset, header| {
        let Some(length) = row::claimed_bytes(header) else { return Ok(None) };
        if offset + length as u64 > end {
            return Ok(None);
        }
        let spot = Spot { offset, length };
        let bytes = spot.load(file)?;
        let Ok(row) = row::read(salt, &bytes) else { return Ok(None) };
        found.take(row, spot);
        Ok(Some(length))
    })?;
    Ok(found)
}

impl Found {
    /// Sorts one row in; what does not decode is left aside, as no reader could use it either.
    fn take(&mut self, row: Row<'_>, spot: Spot) {
        match row.kind {
            Kind::Group => {
                let Ok((chain, commit_no)) = row::split_numbered_key(row.key) else { return };
                let Ok(view) = GroupView::parse(row.body) else { return };
                self.take_group(chain, commit_no, &view, spot);
            }
            Kind::Digest => {
                if let Ok(place) = row::split_numbered_key(row.key) {
                    self.digests.insert(place, spot);
                }
            }
            Kind::Body => {
                if let Ok(address) = row.key.try_into().map(Digest::from_bytes)
                    && content_address(row.body) == address
                {
                    self.bodies.insert(address, spot);
                }
            }
            Kind::Outbox => {
                if let Ok(entry) = decode::<OutboxEntry>(row.body, BODY_BYTES_MAX) {
                    self.outbox.insert(entry.envelope.id, entry);
                }
            }
            Kind::Topic => {
                if let Ok(logged) = decode::<LoggedPublication>(row.body, BODY_BYTES_MAX) {
                    self.topics.insert(logged.place, logged);
                }
            }
            Kind::DeadLetter => {
                if let Ok(letter) = decode::<DeadLetter>(row.body, BODY_BYTES_MAX) {
                    self.dead_letters.insert(letter.envelope.id, letter);
                }
            }
            Kind::Evidence => {
                if let Ok(evidence) = decode::<Evidence>(row.body, BODY_BYTES_MAX)
                    && !self.evidence.contains(&evidence)
                {
                    self.evidence.push(evidence);
                }
            }
            Kind::Addresses => {
                let addresses = decode::<Vec<String>>(row.body, BODY_BYTES_MAX);
                if let (Ok(node), Ok(addresses)) = (row.key.try_into(), addresses) {
                    self.addresses.insert(NodeId::from_bytes(node), addresses);
                }
            }
            // What did not count is evidence to look at, and not worth keeping a damaged file for.
            Kind::Cut => {}
            Kind::State => self.take_state(row),
        }
    }

    fn take_group(&mut self, chain: ChainId, commit_no: u64, view: &GroupView<'_>, spot: Spot) {
        let signed = view.signed();
        let Ok(commit) = signed.decode() else { return };
        let candidates = self.chains.entry(chain).or_default().groups.entry(commit_no).or_default();
        let (hash, previous, generation) = (signed.hash(), commit.prev_commit, view.generation);
        let candidate = Candidate { spot, hash, previous, generation };
        if candidates.iter().all(|other| other.hash != candidate.hash) {
            candidates.push(candidate);
        }
    }

    fn take_state(&mut self, row: Row<'_>) {
        if row.key == row::RESERVED_KEY {
            if let Ok(reserved) = decode::<Reserved>(row.body, BODY_BYTES_MAX) {
                self.reserved.counter = self.reserved.counter.max(reserved.counter);
                self.reserved.clock = self.reserved.clock.max(reserved.clock);
            }
            return;
        }
        let (Some(chain), Ok(head)) = (row::split_head_key(row.key), StoredHead::parse(row.body)) else { return };
        let known = &mut self.chains.entry(chain).or_default().head;
        // A head of a later generation may be of a transaction that never was synced: nothing was promised with it.
        if head.generation <= self.synced && known.is_none_or(|known| known.generation < head.generation) {
            *known = Some(head);
        }
    }
}

/// Calls `at` wherever the magic of a row stands behind the first pages, with up to a header's bytes from there on. It says how
/// many bytes to skip when a whole row stands there.
fn scan(file: &StoreFile, mut at: impl FnMut(u64, &[u8]) -> io::Result<Option<usize>>) -> io::Result<()> {
    let end = file.len()?;
    let mut position = FRONT_BYTES;
    let mut window = vec![0; WINDOW_BYTES];
    while position < end {
        let there = usize::try_from(end - position).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        let bytes = &mut window[..there];
        file.read_now(position, bytes)?;
        let last_window = position + there as u64 == end;
        // A header that the window cuts is looked at again at the beginning of the next one.
        let usable = if last_window { there } else { there - ROW_HEADER_BYTES };
        let mut offset = 0;
        while offset < usable {
            let Some(hit) = find(&bytes[offset..], usable - offset) else {
                offset = usable;
                break;
            };
            offset += hit;
            let header = &bytes[offset..there.min(offset + ROW_HEADER_BYTES)];
            offset += at(position + offset as u64, header)?.unwrap_or(1);
        }
        position += offset as u64;
    }
    Ok(())
}

/// The first place below `limit` at which the magic stands.
fn find(bytes: &[u8], limit: usize) -> Option<usize> {
    let [first, ..] = ROW_MAGIC;
    let mut from = 0;
    while let Some(hit) = bytes.get(from..limit)?.iter().position(|byte| *byte == first) {
        if bytes[from + hit..].starts_with(&ROW_MAGIC) {
            return Some(from + hit);
        }
        from += hit + 1;
    }
    None
}
