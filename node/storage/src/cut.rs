//! Takes the commits of a forked chain that do not count out of it, and keeps them aside.

use weft_protocol::{ChainId, ChainState, Cut, Digest, Fact, PlacedFact, SignedCommit, chain_root_hash};

use crate::changes::{Changes, keys_of_events};
use crate::error::StoreError;
use crate::recover::{Stored, placed_fact};
use crate::row::{self, GroupView, Kind, StoredHead, numbered_key};
use crate::store::Store;
use crate::table::GROUPS;

impl Store {
    /// What is stored of a chain, verified from its first event, with all its facts but messages, batches and opaque ones; none
    /// when that is nothing.
    ///
    /// # Errors
    /// [`StoreError::Read`] when it is damaged.
    pub fn chain_left(&self, chain: ChainId) -> Result<Option<(ChainState, Vec<PlacedFact>)>, StoreError> {
        self.reading(|transaction| {
            let stored = Stored { transaction, salt: &self.salt };
            let mut facts = Vec::new();
            let walked = stored.walk(chain, |_, checked| {
                for event in checked.events {
                    match placed_fact(&event) {
                        Some(Fact::Message(_) | Fact::Batch(_) | Fact::Opaque { .. }) | None => {}
                        Some(fact) => facts.push(PlacedFact { seq: event.seq, hlc: event.hlc, fact }),
                    }
                }
                Ok(())
            });
            Ok(walked.map_err(|fault| StoreError::read(fault.reason))?.map(|state| (state, facts)))
        })
    }

    /// Number and hash of those of these commits that are stored.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn commit_hashes(&self, chain: ChainId, commit_nos: &[u64]) -> Result<Vec<(u64, Digest)>, StoreError> {
        let mut hashes = Vec::new();
        for commit_no in commit_nos {
            hashes.extend(self.commit_header(chain, *commit_no)?.map(|signed| (*commit_no, signed.hash())));
        }
        Ok(hashes)
    }

    /// The rows of the groups behind a cut, by their keys.
    pub(crate) fn groups_behind(&self, cut: &Cut) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.reading(|transaction| {
            let (first, last) = (numbered_key(cut.chain, cut.from_commit), numbered_key(cut.chain, u64::MAX));
            let groups = transaction.open_table(GROUPS)?;
            let rows = groups.range(&first[..]..=&last[..])?.map(|entry| {
                let (key, value) = entry?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            });
            rows.collect()
        })
    }

    /// Where the chain stands after the cut; none when it does not reach that far.
    pub(crate) fn head_after(
        &self,
        cut: &Cut,
        stored: Option<&StoredHead>,
        generation: u64,
    ) -> Result<Option<StoredHead>, StoreError> {
        if stored.is_none_or(|head| head.commits <= cut.from_commit) {
            return Ok(None);
        }
        let Some(last) = cut.from_commit.checked_sub(1) else {
            let last_commit = chain_root_hash(&cut.chain);
            return Ok(Some(StoredHead { generation, commits: 0, size: 0, last_commit }));
        };
        let signed: Option<SignedCommit> = self.commit_header(cut.chain, last)?;
        let signed = signed.ok_or_else(|| StoreError::read("the commit before a cut is missing"))?;
        let commit = signed.decode().map_err(StoreError::read)?;
        Ok(Some(StoredHead::after(generation, &commit, signed.hash())))
    }
}

/// Moves the groups behind the cut, which are these rows, into a table of their own, where nothing finds them that asks for the
/// chain.
pub(crate) fn write_cut(changes: &mut Changes, cut: &Cut, rows: &[(Vec<u8>, Vec<u8>)]) {
    // Even of none: what it leads to is not in rows alone.
    changes.unindex([]);
    for (key, value) in rows {
        changes.remove(Kind::Group, key);
        // A row that fails its check is worth nothing as evidence.
        let Ok(body) = row::body(&changes.salt(), Kind::Group, key, value) else { continue };
        let Ok(view) = GroupView::parse(body) else { continue };
        changes.unindex(keys_of_events(cut.chain, view.first_seq, view.events().map_while(Result::ok)));
        changes.put(Kind::Cut, &[&key[..], view.signed().hash().as_bytes()].concat(), body);
    }
}
