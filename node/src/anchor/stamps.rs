//! What was asked of calendars: one checkpoint, one state and, once one answered, one proof for each, in files that survive a kill.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use weft_protocol::Timestamp as Time;
use weft_protocol::control::{StampBlockRow, StampCalendarRow, StampRow};

use super::checkpoint::Checkpoint;
use super::proof::{Attestation, Operation, Proof, Timestamp};
use crate::home::{HomeError, write_private};

/// Most stamps of one node: of one a day, three years (guess). One more is refused.
pub(crate) const STAMPS_MAX: usize = 1_024;
const STATE_FORMAT: &str = "weft-stamp-1";

/// One checkpoint on its way into blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    format: String,
    /// SHA-256 of the checkpoint file, in hexadecimal digits.
    pub(super) sha256: String,
    pub(super) commit_no: u64,
    pub(super) events: u64,
    /// When it was made, by the node's clock, in microseconds.
    pub(super) made_at: u64,
    /// What keeps calendars from knowing the file by its hash, in hexadecimal digits.
    nonce: String,
    pub(super) calendars: Vec<Asked>,
}

/// What one calendar was asked, and said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) calendar: String,
    /// What it said last, in base64.
    said: Option<String>,
    /// Whether a block is named in it.
    pub(super) attested: bool,
    pub(super) error: Option<String>,
    pub(super) tries: u32,
    /// Not before this time is it asked again, in microseconds.
    pub(super) next_at: u64,
}

impl Asked {
    /// What it said, as far as that can be read.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        let said = BASE64.decode(self.said.as_deref()?.as_bytes()).ok()?;
        Timestamp::decode(&said, 32).ok()
    }

    /// It said this.
    pub(super) fn heard(&mut self, timestamp: &Timestamp, digest: &[u8; 32]) {
        let encoded = timestamp.encode();
        if let Err(error) = Timestamp::decode(&encoded, digest.len()) {
            // Two answers that are within their bounds alone, and not together.
            self.error = Some(error.to_string());
            return;
        }
        self.said = Some(BASE64.encode(&encoded));
        let mut attested = false;
        timestamp.visit(digest, &mut |_, attestation| attested |= matches!(attestation, Attestation::Bitcoin(_)));
        (self.attested, self.error, self.tries) = (attested, None, 0);
    }

    const fn state(&self) -> &'static str {
        match (&self.said, self.attested) {
            (_, true) => "attested",
            (Some(_), false) => "pending",
            (None, false) => "wanted",
        }
    }
}

impl Stamp {
    pub(super) fn new(checkpoint: &Checkpoint, nonce: [u8; 16], calendars: &[String], now: Time) -> Self {
        let asked = |calendar: &String| Asked {
            calendar: calendar.clone(),
            said: None,
            attested: false,
            error: None,
            tries: 0,
            next_at: now.0,
        };
        Self {
            format: STATE_FORMAT.to_owned(),
            sha256: HEXLOWER.encode(&checkpoint.sha256()),
            commit_no: checkpoint.head.commit_no,
            events: checkpoint.head.size,
            made_at: now.0,
            nonce: HEXLOWER.encode(&nonce),
            calendars: calendars.iter().map(asked).collect(),
        }
    }

    /// The same as if only this calendar had been asked.
    pub(super) fn with_only(&self, asked: Asked) -> Self {
        Self { calendars: vec![asked], ..self.clone() }
    }

    fn file_digest(&self) -> Option<[u8; 32]> {
        HEXLOWER.decode(self.sha256.as_bytes()).ok()?.try_into().ok()
    }

    fn nonce(&self) -> Option<Vec<u8>> {
        HEXLOWER.decode(self.nonce.as_bytes()).ok()
    }

    /// What calendars are handed: a hash of the file's hash and the nonce, so that they do not learn even that.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        let message = [&self.file_digest()?[..], &self.nonce()?].concat();
        Some(Sha256::digest(message).into())
    }

    /// Everything that was said, as one proof about the file; none while nothing was.
    pub(super) fn proof(&self) -> Option<Proof> {
        let mut said: Option<Timestamp> = None;
        for timestamp in self.calendars.iter().filter_map(Asked::timestamp) {
            match &mut said {
                Some(said) => said.merge(timestamp),
                None => said = Some(timestamp),
            }
        }
        let hashed = Timestamp { attestations: Vec::new(), steps: vec![(Operation::Sha256, said?)] };
        let steps = vec![(Operation::Append(self.nonce()?), hashed)];
        Some(Proof { digest: self.file_digest()?, timestamp: Timestamp { attestations: Vec::new(), steps } })
    }
}

/// A block of Bitcoin that a proof names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block {
    pub(crate) height: u64,
    /// As it stands in its header.
    pub(crate) merkle_root: [u8; 32],
}

impl Block {
    /// As people are shown it; blocks are written with their hashes turned around.
    pub(crate) fn row(&self, verified: bool) -> StampBlockRow {
        let mut root = self.merkle_root;
        root.reverse();
        StampBlockRow { height: self.height, merkle_root: HEXLOWER.encode(&root), verified }
    }
}

/// The blocks and the calendars that a proof names.
pub(crate) fn blocks_of(proof: &Proof) -> (Vec<Block>, Vec<String>) {
    let (mut blocks, mut pending) = (Vec::new(), Vec::new());
    proof.timestamp.visit(&proof.digest, &mut |message, attestation| match attestation {
        Attestation::Bitcoin(height) => {
            if let Ok(merkle_root) = message.try_into() {
                blocks.push(Block { height: *height, merkle_root });
            }
        }
        Attestation::Pending(calendar) => pending.push(calendar.clone()),
        Attestation::Unknown(..) => {}
    });
    blocks.sort_unstable();
    blocks.dedup();
    (blocks, pending)
}

/// All stamps of a home, by the hash of their file.
#[derive(Debug)]
pub(super) struct Stamps {
    folder: PathBuf,
    stamps: BTreeMap<String, Stamp>,
}

impl Stamps {
    /// Those that earlier runs left. What cannot be read is left where it is and named in `wrong`.
    pub(super) fn open(home: &Path, wrong: &mut Vec<String>) -> Self {
        let folder = home.join("anchors");
        let mut stamps = BTreeMap::new();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|kind| kind != "json") {
                continue;
            }
            let stamp = fs::read(&path).map_err(|error| error.to_string());
            let stamp =
                stamp.and_then(|bytes| serde_json::from_slice::<Stamp>(&bytes).map_err(|error| error.to_string()));
            match stamp {
                Ok(stamp) if stamp.format == STATE_FORMAT && stamp.digest().is_some() => {
                    stamps.insert(stamp.sha256.clone(), stamp);
                }
                Ok(_) => wrong.push(format!("{}: of another format", path.display())),
                Err(error) => wrong.push(format!("{}: {error}", path.display())),
            }
        }
        Self { folder, stamps }
    }

    pub(super) fn is_full(&self) -> bool {
        self.stamps.len() >= STAMPS_MAX
    }

    pub(super) fn get(&self, sha256: &str) -> Option<&Stamp> {
        self.stamps.get(sha256)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Stamp> {
        self.stamps.values()
    }

    /// Keeps the checkpoint of a new stamp, and the stamp.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn begin(&mut self, stamp: Stamp, checkpoint: &Checkpoint) -> Result<(), HomeError> {
        fs::create_dir_all(&self.folder).map_err(|error| HomeError::io(&self.folder, error))?;
        write_private(&self.path(&stamp, "checkpoint"), &checkpoint.bytes)?;
        self.keep(stamp)
    }

    /// Keeps what became of a stamp: its proof first, so that what is said to be there is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&mut self, stamp: Stamp) -> Result<(), HomeError> {
        if let Some(proof) = stamp.proof() {
            write_private(&self.path(&stamp, "ots"), &proof.encode())?;
        }
        let bytes = serde_json::to_vec_pretty(&stamp).unwrap_or_default();
        write_private(&self.path(&stamp, "json"), &bytes)?;
        self.stamps.insert(stamp.sha256.clone(), stamp);
        Ok(())
    }

    /// What was stamped.
    ///
    /// # Errors
    /// When its file is not there, or is another one, in words.
    pub(super) fn checkpoint(&self, stamp: &Stamp) -> Result<Checkpoint, String> {
        let path = self.path(stamp, "checkpoint");
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let checkpoint = Checkpoint::read(&bytes).map_err(|problem| format!("{}: {problem}", path.display()))?;
        if Some(checkpoint.sha256()) == stamp.file_digest() {
            Ok(checkpoint)
        } else {
            Err(format!("{}: it is another file", path.display()))
        }
    }

    fn path(&self, stamp: &Stamp, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", stamp.sha256))
    }

    /// As people are shown it.
    pub(super) fn row(&self, stamp: &Stamp) -> StampRow {
        let calendar = |asked: &Asked| StampCalendarRow {
            calendar: asked.calendar.clone(),
            state: asked.state().to_owned(),
            error: asked.error.clone(),
            tries: asked.tries,
        };
        let proof = stamp.proof();
        let blocks = proof.as_ref().map(|proof| blocks_of(proof).0).unwrap_or_default();
        StampRow {
            sha256: stamp.sha256.clone(),
            commit_no: stamp.commit_no,
            events: stamp.events,
            at: weft_kernel::time_text(Time(stamp.made_at)),
            checkpoint: self.path(stamp, "checkpoint").display().to_string(),
            proof: proof.map(|_| self.path(stamp, "ots").display().to_string()),
            calendars: stamp.calendars.iter().map(calendar).collect(),
            blocks: blocks.iter().map(|block| block.row(false)).collect(),
        }
    }
}
