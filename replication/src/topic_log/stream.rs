//! One publisher in one topic: what was passed on, what waits because something before it is missing, and who was asked for it.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{NodeId, Publication, Timestamp};

use super::{FORGOTTEN_US_MAX, HELD_US_MAX};
use crate::event::FetchId;

/// The search for what is missing.
#[derive(Debug)]
pub(super) struct Repair {
    /// The request that is out.
    pub(super) asked: Option<FetchId>,
    /// Members that were asked, whatever came of it.
    pub(super) tried: BTreeSet<NodeId>,
    /// Those of them that answered.
    pub(super) answered: BTreeSet<NodeId>,
    /// Since when something is missing.
    begun: Timestamp,
    /// Not before this is anybody asked.
    pub(super) retry_at: Timestamp,
}

/// Invariant: nothing in `held` has a number at or below `last`, once `advance` was called.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The last number that was passed on, or before which nothing is wanted; none until that is known.
    pub(super) last: Option<u64>,
    /// The last number that somebody says to have.
    pub(super) listed: u64,
    held: BTreeMap<u64, Publication>,
    pub(super) repair: Option<Repair>,
}

impl Stream {
    /// A stream of which everything after this number is wanted.
    pub(super) fn after(last: u64) -> Self {
        Self { last: Some(last), ..Self::default() }
    }

    pub(super) fn hold(&mut self, publication: Publication) {
        if self.last.is_none_or(|last| publication.seq > last) {
            self.listed = self.listed.max(publication.seq);
            self.held.insert(publication.seq, publication);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether this one is what comes next.
    pub(super) fn is_next(&self, publication: &Publication) -> bool {
        let next = |last| publication.seq > last && publication.prev <= last && !publication.forgetful;
        self.held.is_empty() && self.last.is_some_and(next)
    }

    /// Sets where the stream begins: behind what is listed, or before the first that waits, if that is earlier.
    pub(super) fn begin(&mut self, listed: u64) {
        if self.last.is_none() {
            let first = self.held.first_key_value().map(|(_, publication)| publication.prev);
            self.last = Some(first.map_or(listed, |first| first.min(listed)));
        }
    }

    /// Takes the next one in order, if nothing before it is missing or that is excused.
    pub(super) fn advance(&mut self, excused: bool) -> Option<Publication> {
        let last = self.last?;
        while self.held.first_key_value().is_some_and(|(seq, _)| *seq <= last) {
            self.held.pop_first();
        }
        let first = self.held.first_entry()?;
        let next = first.get().prev <= last && !first.get().forgetful;
        if !next && !excused {
            return None;
        }
        let publication = first.remove();
        self.last = Some(publication.seq);
        Some(publication)
    }

    /// Whether something is known to be there that was not passed on.
    pub(super) fn is_broken(&self) -> bool {
        !self.held.is_empty() || self.last.is_none_or(|last| self.listed > last)
    }

    /// How many numbers are passed over when the first that waits is let go: at least that many were lost, if any.
    pub(super) fn hole(&self) -> u64 {
        let first = self.held.first_key_value().map(|(_, publication)| publication.prev);
        u64::from(first.zip(self.last).is_some_and(|(prev, last)| prev > last))
    }

    pub(super) fn repair(&mut self, now: Timestamp) -> &mut Repair {
        let (tried, answered) = (BTreeSet::new(), BTreeSet::new());
        self.repair.get_or_insert(Repair { asked: None, tried, answered, begun: now, retry_at: now })
    }

    /// Whether what waits has waited long enough.
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        let Some(repair) = &self.repair else { return false };
        let bound_us = if self.hole() > 0 || self.held.is_empty() { HELD_US_MAX } else { FORGOTTEN_US_MAX };
        now.since_us(repair.begun) >= bound_us
    }

    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        self.repair.as_ref().filter(|repair| repair.asked.is_none()).map(|repair| repair.retry_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weft_protocol::{ChainId, Hlc, Incarnation, MessageId, Payload, Principal, Sender, TraceId};

    use super::*;

    fn publication(seq: u64, prev: u64) -> Publication {
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };
        Publication {
            id: MessageId { chain, counter: seq },
            hlc: Hlc(seq),
            trace: TraceId(1),
            from: Sender { node: chain.node, principal: Principal::Operator },
            topic: "a".parse().expect("a topic"),
            seq,
            prev,
            forgetful: false,
            payload: Payload::Text("x".into()),
            grant: None,
            ed25519: None,
        }
    }

    fn advance(stream: &mut Stream, excused: bool) -> Vec<u64> {
        std::iter::from_fn(|| stream.advance(excused)).map(|publication| publication.seq).collect()
    }

    #[test]
    fn what_follows_a_hole_waits_and_a_number_that_was_never_given_is_no_hole() {
        let mut stream = Stream::after(4);
        stream.hold(publication(9, 7));
        assert_eq!(advance(&mut stream, false), [0_u64; 0]);
        stream.hold(publication(7, 4));
        assert_eq!(advance(&mut stream, false), [7, 9]);
        stream.hold(publication(8, 7));
        assert_eq!(advance(&mut stream, false), [0_u64; 0], "it comes too late");
        assert!(!stream.is_broken());
        stream.listed = 10;
        assert!(stream.is_broken(), "somebody has a later one");
    }

    #[test]
    fn a_stream_begins_behind_what_is_listed_or_with_what_waits() {
        let mut stream = Stream::default();
        stream.hold(publication(6, 5));
        stream.begin(6);
        assert_eq!(advance(&mut stream, false), [6], "it was heard while members were asked");
        let mut stream = Stream::default();
        stream.hold(publication(8, 7));
        stream.begin(6);
        assert_eq!(advance(&mut stream, false), [0_u64; 0], "7 was published after 6 was listed");
        assert_eq!(stream.hole(), 1);
        assert_eq!(advance(&mut stream, true), [8], "nobody has 7");
    }

    #[test]
    fn what_a_killed_publisher_may_have_forgotten_is_asked_for_once() {
        let mut stream = Stream::after(4);
        stream.hold(Publication { forgetful: true, ..publication(65_537, 4) });
        assert_eq!(advance(&mut stream, false), [0_u64; 0]);
        stream.hold(publication(5, 4));
        assert_eq!(advance(&mut stream, false), [5], "somebody else had it");
        assert_eq!(advance(&mut stream, true), [65_537]);
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_arrival_all_are_passed_on_once_and_in_order(
            order in Just((1..=12_u64).collect::<Vec<_>>()).prop_shuffle(),
            doubled in prop::collection::vec(1..=12_u64, 0..6),
        ) {
            let mut stream = Stream::after(0);
            let mut passed = Vec::new();
            for number in order.into_iter().chain(doubled) {
                stream.hold(publication(10 * number, 10 * (number - 1)));
                passed.extend(advance(&mut stream, false));
            }
            prop_assert_eq!(passed, (1..=12).map(|number| 10 * number).collect::<Vec<_>>());
        }
    }
}
