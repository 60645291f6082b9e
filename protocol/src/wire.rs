//! Which versions of the wire a program speaks, and which of them two programs agree on.
//!
//! The dialer names one version in its hello. A listener that speaks it answers with the same one; any other listener refuses and
//! names its newest, and the dialer comes back with the newest that both may speak. Both hellos are under both proofs, so that
//! nobody between them can make them agree on less.

use crate::envelope::{Outcome, Receipt, Refusal};

/// The newest version of the wire that this program speaks.
pub const WIRE_VERSION: u16 = 2;
/// The oldest one. Its programs cannot read anything that later versions added, and refuse a hello that names those.
pub const WIRE_VERSION_MIN: u16 = 1;
/// The first one in which the answer to a message may come in parts.
pub const WIRE_VERSION_PARTS: u16 = 2;
/// The version of the wire that a publication sent straight to a member came with.
pub const WIRE_VERSION_PUBLICATIONS: u16 = 2;

/// The versions that one side speaks: all from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireVersions {
    oldest: u16,
    newest: u16,
}

impl Default for WireVersions {
    fn default() -> Self {
        Self { oldest: WIRE_VERSION_MIN, newest: WIRE_VERSION }
    }
}

impl WireVersions {
    /// From one version to another; none when there is nothing between them.
    #[must_use]
    pub const fn between(oldest: u16, newest: u16) -> Option<Self> {
        if oldest <= newest { Some(Self { oldest, newest }) } else { None }
    }

    /// The newest: what a dialer offers first.
    #[must_use]
    pub const fn newest(self) -> u16 {
        self.newest
    }

    /// Whether this side speaks that version.
    #[must_use]
    pub const fn contains(self, version: u16) -> bool {
        self.oldest <= version && version <= self.newest
    }

    /// What to offer after `offered` was refused by a side whose newest version is `theirs`; none when nothing else is left.
    #[must_use]
    pub fn after_refusal(self, offered: u16, theirs: u16) -> Option<u16> {
        let next = self.newest.min(theirs);
        (self.contains(next) && next != offered).then_some(next)
    }
}

impl Refusal {
    /// The same in the words of that version of the wire: a refusal that came later says there what it most nearly is.
    #[must_use]
    pub fn in_version(self, wire: u16) -> Self {
        let since = self.first_version();
        match self {
            later if since <= wire => later,
            Self::Cancelled { maybe_executed } => Self::Deadline { maybe_executed },
            later @ Self::BrokenOff { .. } => Self::AgentFailed { reason: later.to_string() },
            later => Self::Unsupported { what: later.to_string() },
        }
    }

    /// The first version of the wire that has it.
    const fn first_version(&self) -> u16 {
        match self {
            Self::Cancelled { .. } | Self::BrokenOff { .. } | Self::PeerTooOld { .. } => 2,
            Self::Denied { .. }
            | Self::Busy { .. }
            | Self::NoResponder { .. }
            | Self::Ambiguous { .. }
            | Self::Gone { .. }
            | Self::Deadline { .. }
            | Self::TooLarge { .. }
            | Self::Expired
            | Self::Quarantined
            | Self::AgentFailed { .. }
            | Self::Unsupported { .. }
            | Self::NoWitness
            | Self::NoMajority { .. }
            | Self::Damaged
            | Self::Restarting { .. }
            | Self::ShuttingDown
            | Self::Unreachable { .. }
            | Self::LimitReached { .. }
            | Self::Wider { .. }
            | Self::OutOfScope { .. }
            | Self::Unenforceable { .. }
            | Self::Invalid { .. }
            | Self::ContractViolated { .. }
            | Self::BackendNotAvailable { .. }
            | Self::NotWitnessed { .. }
            | Self::Deferred { .. } => 1,
        }
    }
}

impl Receipt {
    /// The same in the words of that version of the wire. What stands for parts is left to those who may have got some.
    #[must_use]
    pub fn in_version(self, wire: u16) -> Self {
        let outcome = match self.outcome {
            Outcome::Refused(refusal) => Outcome::Refused(refusal.in_version(wire)),
            other @ (Outcome::Received | Outcome::Executed { .. } | Outcome::Delivered { .. }) => other,
        };
        let parts = self.parts.filter(|_| wire >= WIRE_VERSION_PARTS);
        Self { outcome, parts, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash;
    use crate::id::{ChainId, Incarnation, MessageId, NodeId};
    use crate::parts::PartsProof;
    use crate::time::Hlc;

    #[test]
    fn after_a_refusal_the_newest_common_version_is_offered_and_no_version_twice() {
        let both = WireVersions::between(1, 2).expect("a range");
        let cases = [(2, 1, Some(1)), (2, 2, None), (2, 9, None), (1, 2, Some(2)), (1, 1, None), (2, 0, None)];
        for (offered, theirs, next) in cases {
            assert_eq!(both.after_refusal(offered, theirs), next, "offered {offered}, theirs {theirs}");
        }
        assert_eq!(WireVersions::between(2, 1), None);
        let only_new = WireVersions::between(2, 3).expect("a range");
        assert_eq!((only_new.after_refusal(3, 1), only_new.after_refusal(3, 2)), (None, Some(2)));
    }

    #[test]
    fn what_came_later_is_said_in_the_words_of_before() {
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };
        let parts = Some(PartsProof { count: 1, digest: hash("test", &[]) });
        let receipt = |refusal| {
            let outcome = Outcome::Refused(refusal);
            Receipt { message: MessageId { chain, counter: 1 }, hlc: Hlc(1), outcome, record: None, parts }
        };
        let cancelled = receipt(Refusal::Cancelled { maybe_executed: true });
        let deadline = Receipt { parts: None, ..receipt(Refusal::Deadline { maybe_executed: true }) };
        assert_eq!(cancelled.clone().in_version(1), deadline);
        assert_eq!(cancelled.clone().in_version(2), cancelled);
        let too_old = Refusal::PeerTooOld { node: chain.node, wire: 1, needed: 2 };
        assert_eq!(too_old.in_version(1).code(), "unsupported");
        assert_eq!(Refusal::BrokenOff { parts: 1, reason: "x".into() }.in_version(1).code(), "agent-failed");
        assert_eq!(Refusal::NoWitness.in_version(1), Refusal::NoWitness);
    }
}
