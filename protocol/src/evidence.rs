//! What a node signed and cannot take back, in pairs that no single history makes true.

use serde::{Deserialize, Serialize};

use crate::chain::{ChainError, verify_commit};
use crate::epoch::{SignedTickClaim, TickClaim, TickError};
use crate::error::DecodeError;
use crate::hash::Digest;
use crate::id::{ChainId, ClusterId};
use crate::record::{Commit, SignedCommit};
use crate::rotation::KeyRotation;
use crate::signature::PublicKeys;

/// Two signed statements about one chain that no single history makes true; at most
/// [`EVIDENCE_BYTES_MAX`](crate::limits::EVIDENCE_BYTES_MAX) bytes, because each of them is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// One.
    pub first: Statement,
    /// The other.
    pub second: Statement,
    /// What made the keys that signed them the node's, for whoever knows those before them alone; at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<KeyRotation>,
}

/// Something that a node signed about a chain of its own. Either is told from the other by its fields, so that evidence of two
/// commits has the bytes that it always had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statement {
    /// That this commit is on the chain.
    Commit(SignedCommit),
    /// That a commit is on the chain, and that whatever follows it is stamped later than a tick says.
    Tick(SignedTickClaim),
}

/// What a [`Statement`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementBody {
    /// See [`Statement::Commit`].
    Commit(Commit),
    /// See [`Statement::Tick`].
    Tick(TickClaim),
}

/// Why a statement is not one of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A commit is malformed, of another node, or not signed by it.
    #[error("not a commit of this node: {0}")]
    Commit(ChainError),
    /// A tick is malformed, of another node, or not signed by it.
    #[error("not a tick of this node: {0}")]
    Tick(TickError),
}

impl Evidence {
    /// The chain that it is about, as it itself claims; none when it is malformed.
    #[must_use]
    pub fn chain(&self) -> Option<ChainId> {
        self.first.decode().ok().map(|body| body.chain())
    }
}

impl Statement {
    /// The hash under which it is signed: signatures are no part of it.
    #[must_use]
    pub fn hash(&self) -> Digest {
        match self {
            Self::Commit(signed) => signed.hash(),
            Self::Tick(signed) => signed.hash(),
        }
    }

    /// What it says, within all bounds; nothing is said about signatures.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are not canonical.
    pub fn decode(&self) -> Result<StatementBody, DecodeError> {
        match self {
            Self::Commit(signed) => signed.decode().map(StatementBody::Commit),
            Self::Tick(signed) => signed.decode().map(StatementBody::Tick),
        }
    }

    /// What it says, signed by the node of these keys.
    ///
    /// # Errors
    /// [`StatementError`] when it is malformed, of another node, or not signed by `keys`.
    pub fn verify(&self, keys: &PublicKeys) -> Result<StatementBody, StatementError> {
        match self {
            Self::Commit(signed) => {
                verify_commit(signed, keys).map(StatementBody::Commit).map_err(StatementError::Commit)
            }
            Self::Tick(signed) => signed.verify(keys).map(StatementBody::Tick).map_err(StatementError::Tick),
        }
    }

    /// The same when the node had several keys, of which any may have signed it.
    ///
    /// # Errors
    /// [`StatementError`] when none of them has, as [`Statement::verify`] says of the last one.
    pub fn verify_by(&self, keys: &[PublicKeys]) -> Result<StatementBody, StatementError> {
        let mut refused = StatementError::Commit(ChainError::Genesis);
        for keys in keys {
            match self.verify(keys) {
                Ok(body) => return Ok(body),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

impl StatementBody {
    /// Which chain it is about.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        match self {
            Self::Commit(commit) => commit.chain,
            Self::Tick(claim) => claim.last.chain,
        }
    }

    /// In which cluster.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        match self {
            Self::Commit(commit) => commit.cluster,
            Self::Tick(claim) => claim.cluster,
        }
    }

    /// The number of the commit that it is, or that it names.
    #[must_use]
    pub const fn commit_no(&self) -> u64 {
        match self {
            Self::Commit(commit) => commit.commit_no,
            Self::Tick(claim) => claim.last.commit_no,
        }
    }
}

impl From<SignedCommit> for Statement {
    fn from(signed: SignedCommit) -> Self {
        Self::Commit(signed)
    }
}

impl From<SignedTickClaim> for Statement {
    fn from(signed: SignedTickClaim) -> Self {
        Self::Tick(signed)
    }
}
