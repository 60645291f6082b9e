//! Why a store could not be opened, written, read, repaired or exported; each says whether anything changed.

use std::any::Any;
use std::io;

use weft_protocol::{ChainError, ChainId};

/// Why a commit or a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// This commit failed while it was written. Whether it is on disk is known after the next start; nothing may be promised
    /// until then.
    #[error("the store cannot be written ({reason}); nothing is promised any more: check the disk and start again")]
    Write {
        /// What the disk or the database said.
        reason: String,
    },
    /// An earlier commit failed, so this one was not tried and changed nothing.
    #[error("the store refuses to write after an earlier failure ({reason}): check the disk and start again")]
    Poisoned {
        /// What failed then.
        reason: String,
    },
    /// A group does not continue what is stored: a bug of the caller. Nothing was changed, and the store goes on.
    #[error("BUG: a group does not continue {chain}: {reason}; nothing was written")]
    Discontinuous {
        /// Which chain.
        chain: ChainId,
        /// What does not fit.
        reason: String,
    },
    /// A stored record cannot be read. Nothing was changed; starting again tells damage from a passing failure.
    #[error("a stored record cannot be read ({reason}): start again, which checks the whole store")]
    Read {
        /// What the disk, the database or the record's check said.
        reason: String,
    },
}

/// Why a store could not be opened. Nothing was changed in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no store here.
    #[error("no store at {place}; nothing was created")]
    Absent {
        /// Where it was looked for.
        place: String,
    },
    /// Another process has it open.
    #[error("the store is open in another process; stop that one first")]
    Busy,
    /// The file is something else.
    #[error("this is not a store of this program; nothing was changed")]
    NotAStore,
    /// A later or earlier program wrote it.
    #[error(
        "the store has layout {found}, this program reads layout {known}; nothing was changed, use the program that wrote it"
    )]
    Version {
        /// The layout of the file.
        found: u32,
        /// The layout this program reads.
        known: u32,
    },
    /// What is stored is not what was written. It was left as it is; see [`DamagedStore`](crate::DamagedStore).
    #[error("the store is damaged{}: {reason}; nothing was changed, repair it with the help of a peer", place(.chain.as_ref(), *.first_bad_commit))]
    Damaged {
        /// The chain, when the damage is in one.
        chain: Option<ChainId>,
        /// The first commit of it that is not good, when known.
        first_bad_commit: Option<u64>,
        /// What was found.
        reason: String,
    },
    /// The operating system could not read or write the file.
    #[error("the store cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Why a repair could not be made. The damaged store was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// No damage is known in this chain.
    #[error("{chain} is not damaged")]
    NotDamaged {
        /// Which chain was named.
        chain: ChainId,
    },
    /// The groups offered do not continue the intact ones before them, or are not signed by the writer: the giver's fault.
    /// None of them was taken.
    #[error("the groups offered for {chain} do not fit: {error}; ask another peer")]
    Refused {
        /// Which chain.
        chain: ChainId,
        /// The first check that failed.
        error: ChainError,
    },
    /// The group offered is validly signed, but an intact commit of this store says that another one stood there. Ask another
    /// peer; when all say the same, the chain has two histories.
    #[error("commit {commit_no} offered for {chain} is not the one that stood there; ask another peer")]
    Conflict {
        /// Which chain.
        chain: ChainId,
        /// Number of the commit offered.
        commit_no: u64,
    },
    /// The groups offered fit, and end before anything that is intact: none of them was taken.
    #[error("the groups offered for {chain} from commit {from_commit} on end within what is damaged")]
    TooFew {
        /// Which chain.
        chain: ChainId,
        /// The first damaged commit.
        from_commit: u64,
    },
    /// Not everything is repaired yet.
    #[error("{ranges} damaged ranges are not repaired yet")]
    Incomplete {
        /// How many.
        ranges: usize,
    },
    /// The repaired copy could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repaired copy could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why an export could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file of the export; for a write, what was written so far is incomplete and should be deleted.
    #[error("{file}: {error}")]
    Io {
        /// Which file.
        file: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// The folder holds files already; nothing was written.
    #[error("{folder} is not empty; nothing was written, name a new folder")]
    NotEmpty {
        /// Which folder.
        folder: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn place(chain: Option<&ChainId>, commit_no: Option<u64>) -> String {
    match (chain, commit_no) {
        (Some(chain), Some(commit_no)) => format!(" in {chain} from commit {commit_no}"),
        (Some(chain), None) => format!(" in {chain}"),
        (None, _) => String::new(),
    }
}

impl OpenError {
    /// Damage that cannot be attributed to a chain.
    pub(crate) fn damaged(reason: impl ToString) -> Self {
        Self::Damaged { chain: None, first_bad_commit: None, reason: reason.to_string() }
    }
}

impl StoreError {
    pub(crate) fn read(reason: impl ToString) -> Self {
        Self::Read { reason: reason.to_string() }
    }
}

macro_rules! from_redb_while_reading {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::read(error)
            }
        })*
    };
}
from_redb_while_reading!(redb::TransactionError, redb::TableError, redb::StorageError);

impl From<redb::DatabaseError> for OpenError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::Busy,
            // So redb says that the file does not begin as its own.
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                Self::damaged(error)
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(error)) => error.into(),
            error => Self::damaged(error),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    format!("the database panicked: {}", text.unwrap_or("without a word"))
}
