//! The provisional order of all events that are held: a pure function of what is held, never of when it arrived.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

use weft_protocol::{ChainId, Hlc, Incarnation, NodeId};

/// Where an event stands in the order: by stamp, then writer, incarnation and place on its chain.
///
/// Stamps strictly increase along a chain and exceed those of everything an event names as its cause or anchors, so the order
/// extends every chain and all causality. It is provisional: an event that arrives later may stand before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// Its stamp.
    pub hlc: Hlc,
    /// Its writer.
    pub node: NodeId,
    /// Which of the writer's chains.
    pub incarnation: Incarnation,
    /// Its place there.
    pub seq: u64,
}

impl OrderKey {
    /// The key of the event at `seq` of `chain`, stamped `hlc`.
    #[must_use]
    pub const fn new(chain: ChainId, seq: u64, hlc: Hlc) -> Self {
        Self { hlc, node: chain.node, incarnation: chain.incarnation, seq }
    }

    /// The chain of the event.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        ChainId { node: self.node, incarnation: self.incarnation }
    }
}

/// These events in order, each once, however they arrived.
#[must_use]
pub fn order(events: impl IntoIterator<Item = OrderKey>) -> Vec<OrderKey> {
    events.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The same order over whole chains without holding them: takes one event of each chain at a time. Each chain must yield
/// its events as they stand on it; that their stamps increase was checked when they were stored.
pub fn merge<T, I>(chains: impl IntoIterator<Item = I>) -> Merge<T, I::IntoIter>
where
    I: IntoIterator<Item = (OrderKey, T)>,
{
    let mut merge = Merge { chains: Vec::new(), next: BinaryHeap::new() };
    for chain in chains {
        let mut chain = chain.into_iter();
        if let Some((key, item)) = chain.next() {
            merge.next.push(Reverse(Front { key, place: merge.chains.len(), item }));
        }
        merge.chains.push(chain);
    }
    merge
}

/// The iterator of [`merge`].
pub struct Merge<T, I> {
    chains: Vec<I>,
    next: BinaryHeap<Reverse<Front<T>>>,
}

impl<T, I: Iterator<Item = (OrderKey, T)>> Iterator for Merge<T, I> {
    type Item = (OrderKey, T);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse(Front { key, place, item }) = self.next.pop()?;
        if let Some((key, item)) = self.chains[place].next() {
            self.next.push(Reverse(Front { key, place, item }));
        }
        Some((key, item))
    }
}

impl<T, I> fmt::Debug for Merge<T, I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Merge({} chains)", self.chains.len())
    }
}

/// The next event of one chain. Compared by key and chain alone.
struct Front<T> {
    key: OrderKey,
    place: usize,
    item: T,
}

impl<T> Front<T> {
    const fn rank(&self) -> (OrderKey, usize) {
        (self.key, self.place)
    }
}

impl<T> PartialEq for Front<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<T> Eq for Front<T> {}

impl<T> PartialOrd for Front<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Front<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}
