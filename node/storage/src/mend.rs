//! Puts groups of a chain back in the place of damaged ones, while the store is open: proven before one transaction writes them.

use weft_protocol::{ChainId, ChainState, CommitGroup};

use crate::changes::Changes;
use crate::error::{RepairError, StoreError};
use crate::mark::Mark;
use crate::recover::Stored;
use crate::row::{self, GroupView, Kind, StoredHead, numbered_key};
use crate::store::{Store, Writer};
use crate::table::GROUPS;
use crate::write::write_groups;

impl Store {
    /// Writes those of these groups that stand between `before`, which is the chain as it is verified up to the first damaged
    /// commit, and the next commit that is intact, in the place of what stands there; how many those were. They are proven as in
    /// [`DamagedStore::replace`](crate::DamagedStore::replace): links, root, both signatures, clock, and that they lead to what
    /// stands behind them, or to the head. More than these is fine.
    ///
    /// # Errors
    /// [`RepairError`]: [`NotDamaged`](RepairError::NotDamaged) when the chain does not begin like that any more,
    /// [`TooFew`](RepairError::TooFew) when they do not reach anything intact; then nothing was written. What writing may say
    /// poisons the store.
    pub fn mend(&self, before: &ChainState, groups: &[CommitGroup]) -> Result<u64, RepairError> {
        let chain = before.chain();
        let mut writer = self.writer();
        self.check_poison()?;
        let head = writer.heads.get(&chain).copied().filter(|head| head.commits > before.commits());
        let head = head.ok_or(RepairError::NotDamaged { chain })?;
        let proven = self
            .reading(|transaction| Ok(Stored { transaction, salt: &self.salt }.prove_place(before, groups, &head)))??;
        self.put_back(&mut writer, chain, &groups[..proven])?;
        Ok(proven as u64)
    }

    fn put_back(&self, writer: &mut Writer, chain: ChainId, groups: &[CommitGroup]) -> Result<(), StoreError> {
        let generation = writer.generation + 1;
        let mark = Mark { generation, salt: self.salt, reserved: writer.reserved, heads: Vec::new() };
        let groups: Vec<_> = groups.iter().map(|group| (chain, group.clone())).collect();
        let mut changes = Changes::new(self.salt);
        write_groups(&mut changes, &groups, generation);
        self.write_marked(writer, mark, changes)
    }
}

impl Stored<'_> {
    /// How many of these groups fill the gap behind `before`.
    fn prove_place(
        &self,
        before: &ChainState,
        groups: &[CommitGroup],
        head: &StoredHead,
    ) -> Result<usize, RepairError> {
        let chain = before.chain();
        let table = self.transaction.open_table(GROUPS).map_err(StoreError::from)?;
        let signed = |commit_no| {
            let key = numbered_key(chain, commit_no);
            let value = table.get(&key[..]).ok().flatten()?;
            let body = row::body(self.salt, Kind::Group, &key, value.value()).ok()?;
            Some(GroupView::parse(body).ok()?.signed())
        };
        let last = before.commits().checked_sub(1);
        if last.is_some_and(|last| signed(last).is_none_or(|signed| signed.hash() != before.last_commit())) {
            return Err(RepairError::NotDamaged { chain });
        }
        let mut state = before.clone();
        for (number, group) in groups.iter().enumerate() {
            state.extend(group).map_err(|error| RepairError::Refused { chain, error })?;
            let expected = if state.commits() == head.commits {
                Some(head.last_commit)
            } else {
                signed(state.commits()).and_then(|signed| signed.decode().ok()).map(|commit| commit.prev_commit)
            };
            match expected {
                Some(expected) if expected == state.last_commit() => return Ok(number + 1),
                Some(_) => return Err(RepairError::Conflict { chain, commit_no: state.commits() - 1 }),
                None => {}
            }
        }
        Err(RepairError::TooFew { chain, from_commit: before.commits() })
    }
}
