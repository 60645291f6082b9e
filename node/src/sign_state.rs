//! What is remembered outside the home of how far the node's chain has come, so that a home that was put back from an old copy is
//! noticed: one small file in the user's state folder, written before the head of a new commit, or a stamp of a new reservation,
//! leaves the process.
//!
//! Two slots take turns, each with a count and a check, so that a write that was cut leaves the one before it. The file is not
//! synced with each write: the kernel keeps it when the process is killed. What a loss of power takes from it is at most the
//! last second, and then it only says less than is true; a home is not believed wrongly but for a copy of that very second.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use etcetera::BaseStrategy as _;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use weft_peer::Said;
use weft_protocol::{Batch, ChainId, Hlc, NodeId, content_address, decode, encode};

/// How each slot begins.
const MAGIC: [u8; 8] = *b"weftsign";
/// Bytes of a slot: a sector, which disks write at once or not at all.
const SLOT_BYTES: usize = 512;
/// Bytes before the record: magic, count, length, check.
const HEADER_BYTES: usize = 8 + 8 + 4 + 16;
/// How long a write waits for its sync at most, in a process that goes on.
pub(crate) const SYNC_AFTER: Duration = Duration::from_secs(1);
/// Longest machine id that is read, in characters; Linux has 32.
const MACHINE_ID_MAX: usize = 64;

/// One file as the operating system knows it: a copy is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileId {
    inode: u64,
    /// When it was made, in microseconds; none where the file system does not say.
    born_us: Option<u64>,
}

impl FileId {
    /// The file at this path; none when there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born_us = born.and_then(|since| u64::try_from(since.as_micros()).ok());
        Some(Self { inode: metadata.ino(), born_us })
    }
}

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    said: Said,
    machine: String,
    /// The store; none when what it holds is doubtful.
    store: Option<FileId>,
}

/// The file, kept open and locked by the one process that writes this node's chain.
#[derive(Debug)]
pub(crate) struct SignState {
    file: File,
    count: u64,
    now: Remembered,
    dirty_since: Option<Instant>,
}

/// Why there is no such file. Nothing was changed; the node can run without, and its next start will ask.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignStateError {
    /// Another process writes this node's chain, from another home.
    #[error("another process writes the chain of this node: a copy of its home is in use")]
    Busy,
    /// The state folder is not there and cannot be made, or the file cannot be written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Where the file of a node is: `NODE.sign-state` in `folder`, or in `$XDG_STATE_HOME/weft`.
pub(crate) fn path_of(node: NodeId, folder: Option<&Path>) -> Option<PathBuf> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => etcetera::base_strategy::Xdg::new().ok()?.state_dir()?.join("weft"),
    };
    Some(folder.join(format!("{node}.sign-state")))
}

impl SignState {
    /// Opens the file, and says what it remembers. From the first write on it remembers `chain` in the store `store`.
    ///
    /// # Errors
    /// [`SignStateError`].
    pub(crate) fn open(
        path: &Path,
        chain: ChainId,
        store: Option<FileId>,
    ) -> Result<(Self, Option<Remembered>), SignStateError> {
        let failed = |error| SignStateError::Io { path: path.display().to_string(), error };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SignStateError::Busy),
            Err(error) => return Err(failed(error.into())),
        }
        let length = 2 * SLOT_BYTES as u64;
        if file.metadata().map_err(failed)?.len() != length {
            file.set_len(length).map_err(failed)?;
        }
        let newest = [0, 1].into_iter().filter_map(|slot| read_slot(&file, slot)).max_by_key(|(count, _)| *count);
        let (count, remembered) = newest.map_or((0, None), |(count, remembered)| (count, Some(remembered)));
        let clock = remembered.as_ref().map_or(Hlc(0), |known: &Remembered| known.said.clock);
        let now = Remembered { said: Said { clock, ..Said::nothing(chain) }, machine: machine_id(), store };
        Ok((Self { file, count, now, dirty_since: None }, remembered))
    }

    /// A chain was chosen of which nothing has been written.
    ///
    /// # Errors
    /// What the operating system said: then the next start will ask.
    pub(crate) fn begin(&mut self, chain: ChainId) -> io::Result<()> {
        self.now.said = Said { clock: self.now.said.clock, ..Said::nothing(chain) };
        self.write()?;
        self.settle()
    }

    /// Stamps up to this one may have left a process of this node on this machine.
    pub(crate) const fn clock(&self) -> Hlc {
        self.now.said.clock
    }

    /// A batch is on disk and nothing of it has left the process. What came back of the chain while the start was not decided
    /// (`doubtful`) leaves it to the next start to ask.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) fn written(&mut self, batch: &Batch, doubtful: bool) -> io::Result<()> {
        let own = batch.groups.iter().rfind(|(chain, _)| *chain == self.now.said.chain).map(|(_, group)| &group.signed);
        if let Some(reserved) = batch.reserved {
            self.now.said.clock = reserved.clock;
        }
        let Some((signed, commit)) = own.and_then(|signed| Some((signed, signed.decode().ok()?))) else {
            // Before the first commit of this run there is nothing to say of the chain, and it has not ticked either.
            let ticks = batch.reserved.is_some() && self.now.said.commits > 0 && !doubtful;
            return if ticks { self.write() } else { Ok(()) };
        };
        (self.now.said.commits, self.now.said.last_commit) = (commit.commit_no + 1, signed.hash());
        if doubtful {
            let store = self.now.store.take();
            let written = self.write();
            self.now.store = store;
            return written;
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.count += 1;
        let body = encode(&self.now);
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&self.count.to_be_bytes());
        slot.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        slot.extend_from_slice(&check(self.count, &body));
        slot.extend_from_slice(&body);
        slot.resize(SLOT_BYTES, 0);
        self.file.write_all_at(&slot, (self.count % 2) * SLOT_BYTES as u64)?;
        self.dirty_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// How long the oldest write that is not synced may still wait; none when there is none.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        self.dirty_since.map(|since| SYNC_AFTER.saturating_sub(since.elapsed()))
    }

    /// Makes what was written survive a loss of power.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if self.dirty_since.take().is_some() {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

fn check(count: u64, body: &[u8]) -> [u8; 16] {
    let digest = content_address(&[&count.to_be_bytes(), body].concat());
    let mut short = [0; 16];
    short.copy_from_slice(&digest.as_bytes()[..16]);
    short
}

/// What a slot holds; none when it was never written, or not whole.
fn read_slot(file: &File, slot: u64) -> Option<(u64, Remembered)> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64).ok()?;
    let (header, body) = bytes.split_at(HEADER_BYTES);
    if !header.starts_with(&MAGIC) {
        return None;
    }
    let count = u64::from_be_bytes(header[8..16].try_into().ok()?);
    let length = usize::try_from(u32::from_be_bytes(header[16..20].try_into().ok()?)).ok()?;
    let body = body.get(..length)?;
    (header[20..] == check(count, body)).then_some(())?;
    Some((count, decode(body, SLOT_BYTES).ok()?))
}

/// What tells this machine from others; empty where there is no such file.
fn machine_id() -> String {
    let text = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    text.trim().chars().take(MACHINE_ID_MAX).collect()
}

/// What was said of the chain, and why the home may be a copy of the one in which it was written, as its store was `store` before it
/// was opened.
pub(crate) fn whereabouts(remembered: &Remembered, store: Option<FileId>) -> (&Said, Option<&'static str>) {
    let elsewhere = if remembered.machine != machine_id() {
        Some("its chain was last written on another machine")
    } else if remembered.store.is_none() || remembered.store != store {
        Some("its store is not the file that was last written")
    } else {
        None
    };
    (&remembered.said, elsewhere)
}

#[cfg(test)]
mod tests {
    use weft_protocol::{Digest, Incarnation};

    use super::*;

    fn chain(incarnation: u64) -> ChainId {
        ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(incarnation) }
    }

    fn note(state: &mut SignState, commits: u64) {
        (state.now.said.commits, state.now.said.last_commit) = (commits, Digest::from_bytes([9; 32]));
        state.write().expect("written");
    }

    #[test]
    fn the_last_whole_write_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(chain(1).node, Some(folder.path())).expect("a path");
        let (mut state, before) = SignState::open(&path, chain(1), None).expect("opened");
        assert_eq!(before, None);
        state.begin(chain(1)).expect("begun");
        note(&mut state, 4);
        note(&mut state, 5);
        assert!(matches!(SignState::open(&path, chain(1), None), Err(SignStateError::Busy)));
        drop(state);
        let commits =
            |path: &Path| SignState::open(path, chain(1), None).expect("opened").1.map(|known| known.said.commits);
        assert_eq!(commits(&path), Some(5));
        // The last write was the third, into slot 1; it was cut.
        let file = OpenOptions::new().write(true).open(&path).expect("there");
        file.write_all_at(&[0; 4], SLOT_BYTES as u64 + 60).expect("written");
        assert_eq!(commits(&path), Some(4));
    }

    #[test]
    fn stamps_that_were_reserved_are_remembered_and_what_an_earlier_version_wrote_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(chain(1).node, Some(folder.path())).expect("a path");
        let reserved = |clock: u64| {
            let reserved = Some(weft_protocol::Reserved { counter: 1, clock: Hlc(clock) });
            Batch { reserved, ..Batch::default() }
        };
        let open = || SignState::open(&path, chain(1), None).expect("opened");
        let (mut state, _) = open();
        state.begin(chain(1)).expect("begun");
        state.written(&reserved(7), false).expect("nothing to write");
        drop(state);
        let (mut state, known) = open();
        let known = known.expect("remembered").said;
        assert_eq!((known.commits, known.clock), (0, Hlc(0)), "before the first commit nothing was promised");
        // As a version wrote it that knew of no clock.
        assert!(!encode(&state.now).windows(5).any(|word| word == b"clock"));
        note(&mut state, 4);
        state.written(&reserved(9), false).expect("written");
        drop(state);
        let (mut state, known) = open();
        assert_eq!(known.map(|known| (known.said.commits, known.said.clock)), Some((4, Hlc(9))));
        assert_eq!(state.clock(), Hlc(9), "until more is reserved");
        state.begin(chain(2)).expect("another chain");
        drop(state);
        let (mut state, _) = open();
        assert_eq!(state.clock(), Hlc(9), "of whatever chain");
        note(&mut state, 1);
        state.written(&reserved(12), true).expect("doubtful");
        drop(state);
        assert_eq!(open().0.clock(), Hlc(9), "what is doubtful says nothing alone");
    }

    #[test]
    fn a_copy_of_the_store_and_another_machine_are_told_from_the_original() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
        std::fs::write(&path, b"").expect("written");
        std::fs::copy(&path, &copy).expect("copied");
        let (said, store) = (Said::nothing(chain(1)), FileId::of(&path));
        let known = Remembered { said, machine: machine_id(), store };
        assert_eq!(whereabouts(&known, store).1, None);
        assert!(whereabouts(&known, FileId::of(&copy)).1.is_some());
        assert!(whereabouts(&known, None).1.is_some());
        let elsewhere = Remembered { machine: "another".to_owned(), ..known.clone() };
        assert!(whereabouts(&elsewhere, store).1.is_some());
        let doubtful = Remembered { store: None, ..known };
        assert!(whereabouts(&doubtful, store).1.is_some());
    }
}
