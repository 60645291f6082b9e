//! The order of everything held, one key at a time: a merge of chains that are each already in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use redb::ReadTransaction;
use weft_protocol::{ChainId, Event, Hlc};

use crate::error::StoreError;
use crate::row::numbered_key;
use crate::store::Store;
use crate::table::GROUPS;

/// The place of one event in the order of the cluster. Sorts as the order does: stamp, node, incarnation, place on the chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// Its stamp.
    pub hlc: Hlc,
    /// Its chain.
    pub chain: ChainId,
    /// Its place there.
    pub seq: u64,
    /// What it is.
    pub kind: String,
}

/// All keys in order, as of one moment; holds one group of each chain in memory.
pub struct OrderKeys<'a, P, F> {
    store: &'a Store,
    place: F,
    transaction: ReadTransaction,
    cursors: Vec<Cursor>,
    next: BinaryHeap<Reverse<(P, OrderKey, usize)>>,
    failed: Option<StoreError>,
}

impl<P, F> std::fmt::Debug for OrderKeys<'_, P, F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OrderKeys").field("chains", &self.cursors.len()).finish_non_exhaustive()
    }
}

struct Cursor {
    chain: ChainId,
    next_commit: u64,
    keys: VecDeque<(OrderKey, u64)>,
}

impl Store {
    /// The keys of all events that are held now, each with its place, in the order of these. What is committed later is not among
    /// them. A place is made of the key and the number of the commit that holds it; along a chain places must rise.
    ///
    /// # Errors
    /// [`StoreError::Read`]; the iterator's items say the same of what it reads later, and it ends after that.
    pub fn order_keys<P, F>(&self, place: F) -> Result<OrderKeys<'_, P, F>, StoreError>
    where
        P: Ord,
        F: Fn(&OrderKey, u64) -> P,
    {
        let chains = self.chains()?;
        let transaction = self.begin_read()?;
        let cursor = |chain| Cursor { chain, next_commit: 0, keys: VecDeque::new() };
        let cursors: Vec<Cursor> = chains.into_iter().map(cursor).collect();
        let mut keys = OrderKeys { store: self, place, transaction, cursors, next: BinaryHeap::new(), failed: None };
        for position in 0..keys.cursors.len() {
            keys.advance(position)?;
        }
        Ok(keys)
    }
}

impl<P: Ord, F: Fn(&OrderKey, u64) -> P> OrderKeys<'_, P, F> {
    /// Puts the next key of one chain among the candidates.
    fn advance(&mut self, position: usize) -> Result<(), StoreError> {
        let cursor = &mut self.cursors[position];
        while cursor.keys.is_empty() {
            let groups = self.transaction.open_table(GROUPS)?;
            let key = numbered_key(cursor.chain, cursor.next_commit);
            let Some(value) = groups.get(&key[..])? else { return Ok(()) };
            let view = self.store.view(&key, value.value())?;
            for event in view.events() {
                let event = Event::decode(event?).map_err(StoreError::read)?;
                let Event { hlc, seq, kind, .. } = event;
                cursor.keys.push_back((OrderKey { hlc, chain: cursor.chain, seq, kind }, cursor.next_commit));
            }
            cursor.next_commit += 1;
        }
        let next = cursor.keys.pop_front().map(|(key, commit_no)| ((self.place)(&key, commit_no), key, position));
        self.next.extend(next.map(Reverse));
        Ok(())
    }
}

impl<P: Ord, F: Fn(&OrderKey, u64) -> P> Iterator for OrderKeys<'_, P, F> {
    type Item = Result<(P, OrderKey), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.next.clear();
            return Some(Err(error));
        }
        let Reverse((place, key, position)) = self.next.pop()?;
        self.failed = self.advance(position).err();
        Some(Ok((place, key)))
    }
}
