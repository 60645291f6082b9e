//! Which messages of a chain were let into a mailbox before: a sliding window over the numbers their sender gave them.

use std::collections::BTreeMap;

use weft_protocol::limits::{DEDUPLICATION_WINDOW, MEMBERS_MAX};
use weft_protocol::{ChainId, MessageId, Timestamp};

const WORDS: usize = (DEDUPLICATION_WINDOW / 64) as usize;
/// Most chains that are watched, 8 KiB each: every member and as many earlier incarnations. With more, the one that was
/// silent for longest is forgotten.
const CHAINS_MAX: usize = 2 * MEMBERS_MAX;

/// What is known about a message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was never let in.
    Never,
    /// It was.
    Before,
    /// It is so old that nobody can tell.
    Expired,
}

/// Invariant: a bit is set for each number in `(high − 65,536, high]` that was let in; below that nobody can tell.
#[derive(Debug)]
struct Window {
    high: u64,
    bits: Box<[u64]>,
    touched: Timestamp,
}

impl Window {
    fn new(counter: u64) -> Self {
        Self { high: counter, bits: vec![0; WORDS].into_boxed_slice(), touched: Timestamp(0) }
    }

    fn place(counter: u64) -> (usize, u64) {
        let bit = counter % DEDUPLICATION_WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn look(&self, counter: u64) -> Seen {
        if counter > self.high {
            return Seen::Never;
        }
        if self.high - counter >= DEDUPLICATION_WINDOW {
            return Seen::Expired;
        }
        let (word, mask) = Self::place(counter);
        if self.bits[word] & mask == 0 { Seen::Never } else { Seen::Before }
    }

    fn mark(&mut self, counter: u64) {
        if counter > self.high {
            if counter - self.high >= DEDUPLICATION_WINDOW {
                self.bits.fill(0);
            } else {
                for skipped in self.high + 1..=counter {
                    let (word, mask) = Self::place(skipped);
                    self.bits[word] &= !mask;
                }
            }
            self.high = counter;
        }
        if self.high - counter < DEDUPLICATION_WINDOW {
            let (word, mask) = Self::place(counter);
            self.bits[word] |= mask;
        }
    }
}

/// The windows of all chains that sent something.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    chains: BTreeMap<ChainId, Window>,
}

impl Windows {
    pub(crate) fn look(&self, message: &MessageId) -> Seen {
        self.chains.get(&message.chain).map_or(Seen::Never, |window| window.look(message.counter))
    }

    /// Remembers that a message was let in.
    pub(crate) fn mark(&mut self, message: &MessageId, now: Timestamp) {
        if !self.chains.contains_key(&message.chain) && self.chains.len() >= CHAINS_MAX {
            let silent = self.chains.iter().min_by_key(|(_, window)| window.touched).map(|(chain, _)| *chain);
            silent.map(|chain| self.chains.remove(&chain));
        }
        let window = self.chains.entry(message.chain).or_insert_with(|| Window::new(message.counter));
        window.mark(message.counter);
        window.touched = now;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Any number, or one near an edge of the window.
    fn counter() -> impl Strategy<Value = u64> {
        prop_oneof![
            0_u64..200_000,
            (0_u64..4, 0_u64..3).prop_map(|(window, more)| window * DEDUPLICATION_WINDOW + more)
        ]
    }

    proptest! {
        #[test]
        fn a_window_agrees_with_a_plain_set(counters in prop::collection::vec(counter(), 1..400)) {
            let mut window = Window::new(counters[0]);
            let mut marked = BTreeSet::new();
            let mut high = counters[0];
            for counter in counters {
                let expected = if counter <= high && high - counter >= DEDUPLICATION_WINDOW {
                    Seen::Expired
                } else if marked.contains(&counter) {
                    Seen::Before
                } else {
                    Seen::Never
                };
                prop_assert_eq!(window.look(counter), expected);
                window.mark(counter);
                if expected != Seen::Expired {
                    marked.insert(counter);
                }
                high = high.max(counter);
            }
        }
    }
}
