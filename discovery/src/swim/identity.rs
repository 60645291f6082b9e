//! Who takes part in SWIM: one run of a node, since a run that was declared dead is dead for ever.

use serde::{Deserialize, Serialize};
use weft_protocol::{Hlc, NodeId};

/// One run of a node, and how often it had to come back in it. Ordered: of two of one node the later counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SwimIdentity {
    /// Which node.
    pub(crate) node: NodeId,
    /// When the run began.
    pub(crate) started: Hlc,
    /// How often it was taken for dead in this run and was not.
    pub(crate) renewed: u32,
}

impl SwimIdentity {
    /// A node whose run is not known: it takes what is addressed so for its own.
    pub(crate) const fn unknown_run(node: NodeId) -> Self {
        Self { node, started: Hlc(0), renewed: 0 }
    }

    /// The same run after it was taken for dead.
    pub(crate) const fn next(self) -> Self {
        Self { renewed: self.renewed.saturating_add(1), ..self }
    }
}

impl foca::Identity for SwimIdentity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(self.next()).filter(|next| next != self)
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}
