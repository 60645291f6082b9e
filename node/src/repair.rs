//! What happens when the store is damaged: the missing commits are fetched from members, proven, and put back, or the start
//! is refused; never a shorter or a new chain.

use std::path::Path;
use std::sync::Arc;

use weft_discovery::AdmissionView;
use weft_protocol::{KeyPair, NodeId, Recovered, Repaired};
use weft_storage::{DamagedRange, DamagedStore, RepairError, Store};

use crate::network::{FetchError, Fetcher};

/// Why the store stays damaged. It was left as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairFailure {
    /// The store itself, or what members gave.
    #[error(transparent)]
    Store(#[from] RepairError),
    /// Nobody could be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The members that were reached do not hold what is missing.
    #[error("no member that was reached holds {} from commit {}", range.chain, range.from_commit)]
    NotHeld {
        /// What is missing.
        range: DamagedRange,
    },
}

/// A store that was looked through: what is intact in it, and what is missing.
pub(crate) struct Repair {
    damaged: DamagedStore,
}

impl Repair {
    /// Looks through the damaged store at `path`.
    pub(crate) fn begin(path: &Path) -> Result<Self, RepairFailure> {
        Ok(Self { damaged: Store::open_damaged(path)? })
    }

    /// What of it is intact, to find out who is a member and where.
    pub(crate) fn salvaged(&self) -> Result<Recovered, RepairFailure> {
        Ok(self.damaged.salvaged()?)
    }

    /// Fetches everything that is missing and puts the whole store in its place. Members are dialled where they are known to be,
    /// and heard at `listen`.
    pub(crate) async fn run(
        mut self,
        keys: Arc<KeyPair>,
        view: Arc<AdmissionView>,
        listen: Vec<String>,
        addresses: Vec<(NodeId, Vec<String>)>,
    ) -> Result<Vec<Repaired>, RepairFailure> {
        let mut repaired = Vec::new();
        if !self.damaged.ranges().is_empty() {
            let mut fetcher = Fetcher::connect(keys, view, listen, addresses).await?;
            let fetched = self.fetch_all(&mut fetcher, &mut repaired).await;
            fetcher.close().await;
            fetched?;
        }
        self.damaged.into_store()?;
        Ok(repaired)
    }

    async fn fetch_all(&mut self, fetcher: &mut Fetcher, repaired: &mut Vec<Repaired>) -> Result<(), RepairFailure> {
        while let Some(range) = self.damaged.ranges().first().copied() {
            let page = fetcher.page(range.chain, range.from_commit).await?;
            let (from, mut groups) = page.ok_or(RepairFailure::NotHeld { range })?;
            let missing = range.to_commit.saturating_sub(range.from_commit).saturating_add(1);
            groups.truncate(usize::try_from(missing).unwrap_or(usize::MAX));
            match self.damaged.replace(range.chain, &groups) {
                Ok(()) => {
                    let (chain, first_commit) = (range.chain, range.from_commit);
                    repaired.push(Repaired { chain, first_commit, count: groups.len() as u64, from });
                }
                Err(RepairError::Refused { .. } | RepairError::Conflict { .. }) => {
                    tracing::warn!(%from, "what this member gave does not fit and was not taken");
                    fetcher.distrust(from);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
