//! A signed checkpoint as a file: the newest sealed head of a chain with both signatures, and what ties the keys to its node.

use std::path::Path;

use weft_protocol::control::CheckpointFile;
use weft_protocol::{
    Commit, Digest, EventProof, Fact, Head, Shake, decode, encode, follow_rotations, prove_consistency, root,
    verify_consistency, verify_event_proof,
};

/// What a checkpoint file says it is.
pub(crate) const CHECKPOINT_FORMAT: &str = "weft-checkpoint-1";
/// Most bytes of such a file: a genesis event, a path, a checkpoint and keys, in base64.
pub(crate) const CHECKPOINT_BYTES_MAX: usize = 256 * 1_024;

/// A checkpoint whose signatures, and whose binding of the keys, were verified.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    /// What it signs.
    pub(crate) head: Head,
    /// Its commit.
    pub(crate) commit: Commit,
    /// The file's bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Checkpoint {
    /// The file that shows the genesis event of a chain under its newest checkpoint.
    ///
    /// # Errors
    /// What does not hold, in words: a bug, or damage.
    pub(crate) fn of(proof: &EventProof) -> Result<Self, String> {
        let mut bytes = serde_json::to_vec_pretty(&file_of(proof)?).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        Self::read(&bytes)
    }

    /// Reads and verifies a file. Whose chain it is must be known from elsewhere: anybody can write one of their own.
    ///
    /// # Errors
    /// What does not hold, in words.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            return Err(format!("{} bytes, at most {CHECKPOINT_BYTES_MAX} are accepted", bytes.len()));
        }
        let file: CheckpointFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if file.format != CHECKPOINT_FORMAT {
            return Err(format!("its format is {}, not {CHECKPOINT_FORMAT}", file.format));
        }
        let encoded = data_encoding::BASE64.decode(file.proof.as_bytes());
        let encoded = encoded.map_err(|error| format!("its proof is no base64: {error}"))?;
        let proof: EventProof =
            decode(&encoded, encoded.len()).map_err(|error| format!("its proof cannot be read: {error}"))?;
        if file_of(&proof)? != file {
            return Err("what it says in words is not what is signed".to_owned());
        }
        let (_, commit) = verify_event_proof(&proof).map_err(|error| format!("it does not verify: {error}"))?;
        Ok(Self { head: commit.head(proof.checkpoint.hash()), commit, bytes: bytes.to_vec() })
    }

    /// SHA-256 of the file.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        use sha2::Digest as _;
        sha2::Sha256::digest(&self.bytes).into()
    }

    /// What a chain with these leaves is to this checkpoint.
    pub(crate) fn compare(&self, leaves: &[Digest]) -> Comparison {
        let (old, new) = (self.head.size, leaves.len() as u64);
        let Some(path) = usize::try_from(old).ok().and_then(|old| prove_consistency::<Shake>(leaves, old)) else {
            return Comparison::Shorter;
        };
        let extends = verify_consistency::<Shake>(old, &self.head.root, new, &root::<Shake>(leaves), &path);
        if extends { Comparison::Extends(path) } else { Comparison::Contradicts }
    }
}

/// What a chain is to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// It holds what was signed, and goes on from there, as this path of hashes proves (RFC 9162, section 2.1.4).
    Extends(Vec<Digest>),
    /// It ends before what was signed: the rest is missing.
    Shorter,
    /// It is another history.
    Contradicts,
}

/// The file about an event proof, which is verified apart from its signatures.
fn file_of(proof: &EventProof) -> Result<CheckpointFile, String> {
    let unreadable = |error: weft_protocol::DecodeError| format!("it cannot be read: {error}");
    let commit = proof.checkpoint.decode().map_err(unreadable)?;
    let event = weft_protocol::Event::decode(&proof.event).map_err(unreadable)?;
    let genesis = match Fact::decode(&event.kind, &event.payload) {
        Ok(Fact::Genesis(genesis)) if event.seq == 0 => genesis,
        _ => return Err("its event is not the first one of a chain".to_owned()),
    };
    let keys = follow_rotations(&genesis.keys, &proof.rotations);
    let keys = keys.map_err(|error| format!("the keys of the chain do not lead to those that signed: {error}"))?;
    if keys.last() != Some(&proof.keys) || genesis.cluster != commit.cluster {
        return Err("the first event of the chain binds other keys, or another cluster".to_owned());
    }
    Ok(CheckpointFile {
        format: CHECKPOINT_FORMAT.to_owned(),
        node: commit.chain.node.to_string(),
        cluster: commit.cluster.to_string(),
        incarnation: commit.chain.incarnation.to_string(),
        commit_no: commit.commit_no,
        events: commit.tree_size,
        root: commit.root.to_string(),
        commit: proof.checkpoint.hash().to_string(),
        proof: data_encoding::BASE64.encode(&encode(proof)),
    })
}

/// What became of a file that was to hold a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It holds it now.
    New,
    /// It held it already.
    Same,
}

/// Why a file was left as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeptError {
    /// It holds something that is no checkpoint.
    #[error("{path} holds something else than a checkpoint: {reason}; it was left as it is")]
    Other {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It holds a checkpoint of another chain.
    #[error("{path} holds a checkpoint of another chain, {chain}; it was left as it is")]
    OtherChain {
        /// Which file.
        path: String,
        /// Whose.
        chain: String,
    },
    /// It holds a later one.
    #[error("{path} holds a later checkpoint, over {held} events, and this one is over {new}; it was left as it is")]
    Later {
        /// Which file.
        path: String,
        /// Events under it.
        held: u64,
        /// Events under the new one.
        new: u64,
    },
    /// It holds one of another history.
    #[error("{path} holds a checkpoint that this chain contradicts; it was left as it is, as the proof of that")]
    Contradicted {
        /// Which file.
        path: String,
    },
    /// It cannot be read or written.
    #[error("{0}")]
    Io(String),
}

/// What a file holds that is there.
///
/// # Errors
/// [`KeptError`] when it is no checkpoint of this chain, or a later one than of so many events.
pub(crate) fn held(path: &Path, new: &Head) -> Result<Option<Checkpoint>, KeptError> {
    let name = || path.display().to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeptError::Io(format!("{}: {error}", path.display()))),
    };
    let held = Checkpoint::read(&bytes).map_err(|reason| KeptError::Other { path: name(), reason })?;
    if held.head.chain != new.chain {
        return Err(KeptError::OtherChain { path: name(), chain: held.head.chain.to_string() });
    }
    if held.head.size > new.size || held.head.commit_no > new.commit_no {
        return Err(KeptError::Later { path: name(), held: held.head.size, new: new.size });
    }
    Ok(Some(held))
}

/// Puts a checkpoint into a file: whole or not at all, and never in the place of a later one, or of one that `continues` does
/// not confirm.
///
/// # Errors
/// [`KeptError`]; the file is as it was.
pub(crate) fn write(
    path: &Path,
    checkpoint: &Checkpoint,
    continues: impl FnOnce(&Head) -> bool,
) -> Result<Written, KeptError> {
    if let Some(held) = held(path, &checkpoint.head)? {
        if held.head == checkpoint.head {
            return Ok(Written::Same);
        }
        if !continues(&held.head) {
            return Err(KeptError::Contradicted { path: path.display().to_string() });
        }
    }
    crate::home::write_private(path, &checkpoint.bytes).map_err(|error| KeptError::Io(error.to_string()))?;
    Ok(Written::New)
}
