//! Which version of the wire is offered to a node that is dialled: the newest, unless the very process that answers there has
//! refused that and named an older one.
//!
//! A process never learns another version, so what one says of itself holds until its next start, and not longer. Each says the
//! number of its run before anything else: when another run answers than the one that refused, it is asked for the newest again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use weft_protocol::{NodeId, WireVersions};

use super::links::Run;

/// How many nodes are remembered: more than a full mesh has members. Of one more the others are dialled once in vain.
const OFFERS_MAX: usize = 1_024;

/// What one side offers in a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// The version of the wire.
    pub(super) wire: u16,
    /// The run that it is meant for; none: whichever answers.
    pub(super) run: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Spoken {
    run: Run,
    wire: u16,
    /// Refused a moment ago, and not asked again yet.
    fresh: bool,
}

/// What older nodes said of themselves, shared between all handshakes.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    spoken: Arc<Mutex<BTreeMap<NodeId, Spoken>>>,
}

impl Offers {
    /// What to offer to that node; nothing between a refusal and the dial that follows it: that one begins with the best address again.
    pub(super) fn to(&self, node: &NodeId, ours: WireVersions) -> Option<Offer> {
        match self.locked().get(node) {
            Some(Spoken { fresh: true, .. }) => None,
            Some(Spoken { run, wire, fresh: false }) => Some(Offer { wire: *wire, run: Some(*run) }),
            None => Some(Offer { wire: ours.newest(), run: None }),
        }
    }

    /// This run of a node refused what it was offered, and speaks at most `theirs`. Whether there is something else to offer. Whoever
    /// refuses what it has asked for itself is not asked a third time.
    pub(super) fn refused(&self, node: NodeId, run: Run, offer: Offer, theirs: u16, ours: WireVersions) -> bool {
        let mut spoken = self.locked();
        spoken.remove(&node);
        if offer.run.is_some() {
            return false;
        }
        let Some(wire) = ours.after_refusal(offer.wire, theirs) else { return false };
        if spoken.len() >= OFFERS_MAX {
            spoken.clear();
        }
        spoken.insert(node, Spoken { run, wire, fresh: true });
        true
    }

    /// Another run of that node answers than the one that an offer was meant for.
    pub(super) fn outlived(&self, node: &NodeId) {
        self.locked().remove(node);
    }

    /// Whether that node refused a version a moment ago, so that another dial is worth its while at once. It is only once.
    pub(super) fn take_fresh(&self, node: &NodeId) -> bool {
        self.locked().get_mut(node).is_some_and(|spoken| std::mem::take(&mut spoken.fresh))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Spoken>> {
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 32]);
    const NEWEST: Offer = Offer { wire: 2, run: None };

    #[test]
    fn what_a_run_refused_is_not_offered_to_it_again_and_to_the_next_run_it_is() {
        let (offers, ours) = (Offers::default(), WireVersions::default());
        assert_eq!((offers.to(&NODE, ours), offers.take_fresh(&NODE)), (Some(NEWEST), false));
        assert!(offers.refused(NODE, 7, NEWEST, 1, ours));
        assert_eq!(offers.to(&NODE, ours), None, "whatever is under way to it waits for the next dial");
        assert_eq!((offers.take_fresh(&NODE), offers.take_fresh(&NODE)), (true, false));
        assert_eq!(offers.to(&NODE, ours), Some(Offer { wire: 1, run: Some(7) }), "as long as it runs");
        offers.outlived(&NODE);
        assert_eq!(offers.to(&NODE, ours), Some(NEWEST));
    }

    #[test]
    fn a_node_without_a_common_version_is_not_dialled_again_at_once() {
        let (offers, ours) = (Offers::default(), WireVersions::default());
        for theirs in [0, 2, 9] {
            assert!(!offers.refused(NODE, 7, NEWEST, theirs, ours));
            assert!(!offers.take_fresh(&NODE));
        }
    }

    #[test]
    fn a_node_that_refuses_what_it_asked_for_is_dialled_no_faster_than_others() {
        let (offers, ours) = (Offers::default(), WireVersions::default());
        assert!(offers.refused(NODE, 7, NEWEST, 1, ours));
        assert!(offers.take_fresh(&NODE));
        let lower = offers.to(&NODE, ours).expect("an offer");
        assert!(!offers.refused(NODE, 7, lower, 9, ours));
        assert_eq!((offers.take_fresh(&NODE), offers.to(&NODE, ours)), (false, Some(NEWEST)));
    }

    #[test]
    fn no_more_are_remembered_than_the_bound() {
        let (offers, ours) = (Offers::default(), WireVersions::default());
        for number in 0..=OFFERS_MAX {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            assert!(offers.refused(NodeId::from_bytes(bytes), 7, NEWEST, 1, ours));
        }
        assert!(offers.locked().len() <= OFFERS_MAX);
    }
}
