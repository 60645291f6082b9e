//! The repair of a damaged store: what is intact is copied, what is missing is fetched by the caller, and the damaged file
//! gives way only to a whole one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;
use weft_protocol::{
    Batch, Blake3, ChainId, ChainState, CommitGroup, Digest, DigestRow, Event, Fact, PlacedFact, Recovered,
    RecoveredChain, chain_root_hash, decode, root,
};

use crate::backend::{StoreFile, file_backend, open_file, sync_folder_of};
use crate::error::{OpenError, RepairError, StoreError};
use crate::journal::{self, JOURNAL_BYTES, JOURNAL_BYTES_IN_MEMORY};
use crate::mark::FirstPage;
use crate::opening::read_front;
use crate::recover::{empty_state, placed_fact};
use crate::row::{self, BODY_BYTES_MAX, GroupView, Salt};
use crate::salvage::{self, Found, FoundChain};
use crate::store::Store;

/// Events read at once while looking for facts (guess).
const EVENTS_AT_ONCE: usize = 1_024;
/// Bytes of groups copied in one transaction (guess): few syncs, little memory.
const COPY_BYTES: usize = 1024 * 1024;

/// Commits of one chain that cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedRange {
    /// Which chain.
    pub chain: ChainId,
    /// The first that is missing.
    pub from_commit: u64,
    /// The last that is missing.
    pub to_commit: u64,
}

/// A damaged store on its way to a whole one. The damaged file is only read.
#[derive(Debug)]
pub struct DamagedStore {
    source: Arc<StoreFile>,
    salt: Salt,
    found: Found,
    states: BTreeMap<ChainId, ChainState>,
    fresh: Store,
    target: Target,
}

/// Where the whole store goes.
#[derive(Debug)]
enum Target {
    /// It takes the place of the damaged file.
    Replace { damaged: PathBuf, fresh: Unfinished },
    /// It stays where it was written.
    Stay,
}

/// A file that is removed with this, unless it has been given another name: what was not repaired leaves nothing behind.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _has_another_name = fs::remove_file(&self.0);
    }
}

impl Store {
    /// Looks through a damaged store for what is intact, and copies it into a new file beside it.
    ///
    /// # Errors
    /// [`OpenError`]; the damaged file is left as it is.
    pub fn open_damaged(path: &Path) -> Result<DamagedStore, RepairError> {
        let source = open_file(path)?;
        let unfinished = Unfinished(with_suffix(path, ".repair"));
        let fresh = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished.0);
        let fresh = (file_backend(fresh.map_err(OpenError::Io)?)?, JOURNAL_BYTES);
        let target = Target::Replace { damaged: path.to_owned(), fresh: unfinished };
        DamagedStore::salvage(source, fresh, target)
    }

    /// The same for backends: the whole store is written to `fresh`, which must be empty.
    ///
    /// # Errors
    /// [`OpenError`]; `damaged` is only read.
    pub fn open_damaged_backend(
        damaged: impl StorageBackend,
        fresh: impl StorageBackend,
    ) -> Result<DamagedStore, RepairError> {
        DamagedStore::salvage(Box::new(damaged), (Box::new(fresh), JOURNAL_BYTES_IN_MEMORY), Target::Stay)
    }
}

impl DamagedStore {
    fn salvage(
        source: Box<dyn StorageBackend>,
        (fresh, journal_bytes): (Box<dyn StorageBackend>, u32),
        target: Target,
    ) -> Result<Self, RepairError> {
        let source = StoreFile::lock(source).map_err(OpenError::Io)?.ok_or(OpenError::Busy)?;
        source.silence();
        let length = source.len().map_err(OpenError::Io)?;
        let front = read_front(&source, length).map_err(OpenError::Io)?;
        let salt = match (front.first, front.newest()) {
            (FirstPage::Store { salt, .. }, _) => salt,
            (FirstPage::Other(found), _) => {
                return Err(OpenError::Version { found, known: crate::mark::LAYOUT_VERSION }.into());
            }
            (FirstPage::Unreadable, Some((mark, _))) => mark.salt,
            (FirstPage::Unreadable, None) => {
                let reason = "its first three pages are all unreadable, so nothing in it can be told from noise";
                return Err(OpenError::damaged(reason).into());
            }
        };
        // Where nothing says how large the journal is, it is at most so large; what stands behind it is not taken for a part of it.
        let journaled = journal::read(&source, &salt, JOURNAL_BYTES, u64::MAX).map_err(OpenError::Io)?;
        let marks = [front.newest().map(|(mark, _)| mark), journaled.mark.as_ref()];
        let found = salvage::collect(&source, &salt, marks, journaled.synced).map_err(OpenError::Io)?;
        let (fresh, _) = Store::open_at(fresh, Some(journal_bytes), "the repaired copy")?;
        let mut damaged = Self { source, salt, found, states: BTreeMap::new(), fresh, target };
        let chains: Vec<ChainId> = damaged.found.chains.keys().copied().collect();
        for chain in chains {
            damaged.copy_intact(chain)?;
        }
        Ok(damaged)
    }

    /// What is missing, in the order of the chain ids; empty when everything can be had without help.
    #[must_use]
    pub fn ranges(&self) -> Vec<DamagedRange> {
        self.found.chains.iter().flat_map(|(chain, found)| self.ranges_of(*chain, found)).collect()
    }

    /// What is intact, as far as each chain can be followed from its first event: to find out who is a member and where to ask.
    ///
    /// # Errors
    /// [`RepairError`] when the copy cannot be read.
    pub fn salvaged(&self) -> Result<Recovered, RepairError> {
        let mut chains = Vec::new();
        for (chain, state) in &self.states {
            let mut facts = Vec::new();
            let mut from_seq = 0;
            while from_seq < state.size() {
                let events = self.fresh.events(*chain, from_seq, EVENTS_AT_ONCE)?;
                from_seq += events.len().max(1) as u64;
                for event in events.iter().filter_map(|bytes| Event::decode(bytes).ok()) {
                    match placed_fact(&event) {
                        Some(Fact::Message(_) | Fact::Batch(_) | Fact::Opaque { .. }) | None => {}
                        Some(fact) => facts.push(PlacedFact { seq: event.seq, hlc: event.hlc, fact }),
                    }
                }
            }
            chains.push(RecoveredChain { state: state.clone(), facts, anchors: Vec::new() });
        }
        let evidence = self.found.evidence.clone();
        let addresses = self.found.addresses.clone().into_iter().collect();
        Ok(Recovered { chains, evidence, addresses, ..Recovered::default() })
    }

    /// Takes groups that a peer gave for the first missing range of a chain, from its first commit on, verified like any other:
    /// links, root, both signatures, clock, and that they lead to the intact commits behind them. More than the range is fine.
    ///
    /// # Errors
    /// [`RepairError`]; then none of these groups was taken.
    pub fn replace(&mut self, chain: ChainId, groups: &[CommitGroup]) -> Result<(), RepairError> {
        let found = self.found.chains.get(&chain).ok_or(RepairError::NotDamaged { chain })?;
        if self.ranges_of(chain, found).is_empty() {
            return Err(RepairError::NotDamaged { chain });
        }
        let Some(first) = groups.first() else { return Ok(()) };
        let refuse = |error| RepairError::Refused { chain, error };
        let mut state = match self.states.get(&chain) {
            Some(state) => state.clone(),
            None => empty_state(chain, first).map_err(refuse)?,
        };
        let mut last = (0, Digest::from_bytes([0; 32]));
        for group in groups {
            let checked = state.extend(group).map_err(refuse)?;
            last = (checked.commit.commit_no, checked.commit_hash);
            if found.contradicts(last.0, &last.1) {
                return Err(RepairError::Conflict { chain, commit_no: last.0 });
            }
        }
        if found.is_cut_after_fetched(last.0, &last.1, self.found.synced) {
            return Err(RepairError::Conflict { chain, commit_no: last.0 });
        }
        self.write(chain, groups.to_vec())?;
        self.states.insert(chain, state);
        self.copy_intact(chain)
    }

    /// Puts the whole store in the place of the damaged one, which is kept beside it as `….damaged-1`, and opens it: everything is
    /// verified once more.
    ///
    /// # Errors
    /// [`RepairError::Incomplete`] while something is missing, and what copying and opening may say. Until the last moment the
    /// damaged store is in its place.
    pub fn into_store(self) -> Result<(Store, Recovered), RepairError> {
        let ranges = self.ranges().len();
        if ranges > 0 {
            return Err(RepairError::Incomplete { ranges });
        }
        self.copy_rest()?;
        let Self { source, fresh, target, .. } = self;
        let reopened = match target {
            Target::Stay => fresh.reopen()?,
            Target::Replace { damaged, fresh: path } => {
                fresh.settle()?;
                drop(fresh);
                give_place(&damaged, &path.0).map_err(OpenError::Io)?;
                drop(source);
                Store::open(&damaged)?
            }
        };
        Ok(reopened)
    }

    fn held(&self, chain: ChainId) -> u64 {
        self.states.get(&chain).map_or(0, ChainState::commits)
    }

    fn ranges_of(&self, chain: ChainId, found: &FoundChain) -> Vec<DamagedRange> {
        let held = self.held(chain);
        let mut ranges: Vec<DamagedRange> = Vec::new();
        for commit_no in held..found.expected_commits(self.found.synced) {
            // What stands at `held` itself was not taken, so it is not the right one.
            if found.has(commit_no) && commit_no > held {
                continue;
            }
            match ranges.last_mut() {
                Some(range) if range.to_commit + 1 == commit_no => range.to_commit = commit_no,
                _ => ranges.push(DamagedRange { chain, from_commit: commit_no, to_commit: commit_no }),
            }
        }
        ranges
    }

    /// Copies what is intact behind what is held already, until something is missing.
    fn copy_intact(&mut self, chain: ChainId) -> Result<(), RepairError> {
        let mut groups = Vec::new();
        let mut bytes = 0;
        while let Some(group) = self.next_intact(chain)? {
            bytes += group.size();
            groups.push(group);
            if bytes >= COPY_BYTES {
                self.write(chain, std::mem::take(&mut groups))?;
                bytes = 0;
            }
        }
        self.write(chain, groups)
    }

    /// The intact group that continues a chain; its state has then moved past it.
    fn next_intact(&mut self, chain: ChainId) -> Result<Option<CommitGroup>, RepairError> {
        let Some(found) = self.found.chains.get(&chain) else { return Ok(None) };
        let state = self.states.get(&chain);
        let previous = state.map_or_else(|| chain_root_hash(&chain), ChainState::last_commit);
        let Some(candidate) = found.choose(self.held(chain), &previous) else { return Ok(None) };
        let bytes = candidate.spot.load(&self.source).map_err(OpenError::Io)?;
        let group = row::read(&self.salt, &bytes).and_then(|row| GroupView::parse(row.body)?.group());
        let Ok(group) = group else { return Ok(None) };
        let Ok(mut state) = state.cloned().map_or_else(|| empty_state(chain, &group), Ok) else { return Ok(None) };
        if state.extend(&group).is_err() {
            return Ok(None);
        }
        self.states.insert(chain, state);
        Ok(Some(group))
    }

    fn write(&self, chain: ChainId, groups: Vec<CommitGroup>) -> Result<(), RepairError> {
        let groups = groups.into_iter().map(|group| (chain, group)).collect();
        Ok(self.fresh.commit(&Batch { groups, ..Batch::default() })?)
    }

    /// Copies what stands beside the chains. A digest is taken when it matches its event; one that is lost was prunable.
    fn copy_rest(&self) -> Result<(), RepairError> {
        for ((chain, seq), spot) in &self.found.digests {
            let bytes = spot.load(&self.source).map_err(OpenError::Io)?;
            let Ok(body) = row::read(&self.salt, &bytes).map(|row| row.body) else { continue };
            let Ok(digest) = decode::<DigestRow>(body, BODY_BYTES_MAX) else { continue };
            if digest.chain == *chain && digest.seq == *seq && self.matches_event(&digest)? {
                self.fresh.commit(&Batch { digests: vec![digest], ..Batch::default() })?;
            }
        }
        for (address, spot) in &self.found.bodies {
            let bytes = spot.load(&self.source).map_err(OpenError::Io)?;
            let Ok(body) = row::read(&self.salt, &bytes).map(|row| row.body.to_vec()) else { continue };
            self.fresh.commit(&Batch { bodies: vec![(*address, body.into())], ..Batch::default() })?;
        }
        let rest = Batch {
            outbox_put: self.found.outbox.values().cloned().collect(),
            topic_put: self.found.topics.values().cloned().collect(),
            dead_put: self.found.dead_letters.values().cloned().collect(),
            evidence: self.found.evidence.clone(),
            addresses: self.found.addresses.clone().into_iter().collect(),
            reserved: Some(self.found.reserved),
            ..Batch::default()
        };
        Ok(self.fresh.commit(&rest)?)
    }

    fn matches_event(&self, digest: &DigestRow) -> Result<bool, StoreError> {
        let Some(bytes) = self.fresh.event(digest.chain, digest.seq)? else { return Ok(false) };
        let Some(Fact::Batch(batch)) = Event::decode(&bytes).ok().as_ref().and_then(placed_fact) else {
            return Ok(false);
        };
        let leaves = digest.records.hashes();
        Ok(batch.count == leaves.len() as u64 && batch.root == root::<Blake3>(&leaves))
    }
}

/// Puts `fresh` in the place of `damaged`, which keeps another name. At every moment a store stands in that place.
fn give_place(damaged: &Path, fresh: &Path) -> io::Result<()> {
    for number in 1_u32.. {
        match fs::hard_link(damaged, with_suffix(damaged, &format!(".damaged-{number}"))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => {
                linked?;
                break;
            }
        }
    }
    fs::rename(fresh, damaged)?;
    sync_folder_of(damaged)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
