//! Who was refused lately, when and why: for the operator, who would otherwise see only that nothing happens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use weft_protocol::{AuthRefusal, NodeId, Timestamp};

use crate::clock;

/// How many are remembered; the oldest is forgotten first.
const REFUSALS_MAX: usize = 64;

/// One refusal inside the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecentRefusal {
    /// When, by our clock.
    pub(crate) at: Timestamp,
    /// The other side, as its key says.
    pub(crate) node: NodeId,
    /// Where from, or where to.
    pub(crate) address: String,
    /// Whether we refused; otherwise we were refused.
    pub(crate) by_us: bool,
    /// Why.
    pub(crate) refusal: AuthRefusal,
}

/// The last refusals, shared between the transport and whoever shows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals {
    recent: Arc<Mutex<VecDeque<RecentRefusal>>>,
}

impl Refusals {
    /// The last ones, the newest first.
    pub(crate) fn list(&self) -> Vec<RecentRefusal> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Remembers one and says it to the log.
    pub(super) fn note(&self, node: NodeId, address: String, by_us: bool, refusal: AuthRefusal) {
        let (code, who) = (refusal.code(), if by_us { "we refused" } else { "we were refused by" });
        tracing::warn!(%node, address, code, reason = %refusal, "{who} a node");
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == REFUSALS_MAX {
            recent.pop_front();
        }
        recent.push_back(RecentRefusal { at: clock::wall(), node, address, by_us, refusal });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let refusals = Refusals::default();
        for number in 0..=REFUSALS_MAX {
            let node = NodeId::from_bytes([u8::try_from(number).expect("small"); 32]);
            refusals.note(node, String::new(), true, AuthRefusal::NotAMember);
        }
        let list = refusals.list();
        assert_eq!(list.len(), REFUSALS_MAX);
        assert_eq!(list.first().map(|newest| newest.node), Some(NodeId::from_bytes([64; 32])));
        assert_eq!(list.last().map(|oldest| oldest.node), Some(NodeId::from_bytes([1; 32])));
    }
}
