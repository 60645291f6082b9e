//! The numbers of what this node publishes, one row for each topic: they never repeat, and each names the one before it.

use std::collections::BTreeMap;

use weft_protocol::TopicName;

/// Most topics whose numbers are remembered; of one that was forgotten the numbers go on above all that were given (guess).
const NUMBERED_MAX: usize = 65_536;

/// Where one topic stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) seq: u64,
    pub(super) prev: u64,
    /// Whether numbers between both may have been given and forgotten.
    pub(super) forgetful: bool,
}

/// Invariant: a topic of `last` was numbered in this run; one of `before` in an earlier one and not yet in this.
#[derive(Debug)]
pub(super) struct Numbers {
    last: BTreeMap<TopicName, u64>,
    before: BTreeMap<TopicName, u64>,
    /// The number after which a topic's begin in this run: message numbers are reserved on disk in blocks, and each
    /// publication uses one, so this run's first is greater than any number an earlier run gave in any topic.
    floor: u64,
    /// Whether everything that was given is in `last` or `before`, or so old that nobody keeps it.
    orderly: bool,
}

impl Numbers {
    pub(super) const fn restored(floor: u64, orderly: bool, before: BTreeMap<TopicName, u64>) -> Self {
        Self { last: BTreeMap::new(), before, floor, orderly }
    }

    /// Gives the next number.
    pub(super) fn next(&mut self, topic: &TopicName) -> Number {
        if let Some(last) = self.last.get_mut(topic) {
            let prev = *last;
            *last += 1;
            return Number { seq: *last, prev, forgetful: false };
        }
        if self.last.len() >= NUMBERED_MAX {
            let forgotten = self.last.pop_first().map_or(0, |(_, number)| number);
            self.floor = self.floor.max(forgotten);
            // What is forgotten here must be asked for there, as after a kill.
            self.orderly = false;
        }
        let prev = self.before.remove(topic).unwrap_or(0);
        self.last.insert(topic.clone(), self.floor + 1);
        Number { seq: self.floor + 1, prev, forgetful: !self.orderly && self.floor > 0 }
    }

    /// The last number given in a topic, in this run or an earlier one.
    pub(super) fn last(&self, topic: &TopicName) -> Option<u64> {
        self.last.get(topic).or_else(|| self.before.get(topic)).copied()
    }

    /// Every topic with a number.
    pub(super) fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.last.keys().chain(self.before.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        name.parse().expect("a topic")
    }

    #[test]
    fn each_number_names_the_one_before_it_in_its_topic_and_no_other() {
        let mut numbers = Numbers::restored(0, true, BTreeMap::new());
        let mut next = |name| numbers.next(&topic(name));
        assert_eq!(next("a"), Number { seq: 1, prev: 0, forgetful: false });
        assert_eq!(next("b"), Number { seq: 1, prev: 0, forgetful: false });
        assert_eq!(next("a"), Number { seq: 2, prev: 1, forgetful: false });
    }

    #[test]
    fn a_restart_goes_on_above_the_reserved_block_and_says_what_was_skipped() {
        let before = BTreeMap::from([(topic("a"), 4)]);
        let mut numbers = Numbers::restored(65_536, true, before.clone());
        assert_eq!(numbers.next(&topic("a")), Number { seq: 65_537, prev: 4, forgetful: false });
        assert_eq!(numbers.next(&topic("a")), Number { seq: 65_538, prev: 65_537, forgetful: false });
        let mut killed = Numbers::restored(65_536, false, before);
        assert_eq!(killed.next(&topic("a")), Number { seq: 65_537, prev: 4, forgetful: true });
        assert_eq!(killed.next(&topic("a")), Number { seq: 65_538, prev: 65_537, forgetful: false });
        assert_eq!(killed.next(&topic("new")), Number { seq: 65_537, prev: 0, forgetful: true });
    }
}
