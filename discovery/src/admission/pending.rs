//! What waits for its facts to be on disk: invites being made or revoked, and joiners being admitted.

use std::collections::BTreeMap;

use weft_protocol::{Certificate, Fact, InviteId, NodeId, NodeName, PublicKeys, Signed};

use crate::event::{AskId, Ticket};

/// Most operator's requests in flight; one more is answered `busy` (guess: one operator types, a script has few at once).
pub(super) const REQUESTS_MAX: usize = 64;
/// Most joins in flight; one more is answered `not-ready` (guess: a whole rack at once, each held for one disk sync).
pub(super) const JOINS_MAX: usize = 64;
/// Most renewals in flight; what is due beside them waits for the next disk sync (guess).
pub(super) const RENEWALS_MAX: usize = 16;
/// Most repeated attempts of one joiner that wait for the same admission (guess: it dials few addresses at once).
pub(super) const ASKS_PER_JOIN_MAX: usize = 16;

/// Who waits for what.
#[derive(Debug)]
pub(super) enum Waiting {
    /// An operator for its token.
    Invite { ask: AskId, invite: InviteId, token: String },
    /// An operator for the end of an invite.
    Revoke { ask: AskId, invite: InviteId },
    /// A joiner for its admission.
    Join(Box<Join>),
    /// Nobody outside: the certificate of that node is renewed.
    Renewal { node: NodeId },
}

/// An admission on its way to the disk.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) asks: Vec<AskId>,
    pub(super) invite: InviteId,
    pub(super) keys: PublicKeys,
    pub(super) name: NodeName,
    pub(super) certificate: Signed<Certificate>,
}

/// All that waits, with the facts it waits for, by ticket.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    next: u64,
    waiting: BTreeMap<Ticket, (Waiting, Vec<Fact>)>,
}

impl Pending {
    pub(super) fn put(&mut self, waiting: Waiting, facts: Vec<Fact>) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, (waiting, facts));
        ticket
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<(Waiting, Vec<Fact>)> {
        self.waiting.remove(&ticket)
    }

    pub(super) fn requests(&self) -> usize {
        self.waiting.len() - self.joins().count() - self.renewals().count()
    }

    pub(super) fn invites(&self) -> usize {
        self.waiting.values().filter(|(waiting, _)| matches!(waiting, Waiting::Invite { .. })).count()
    }

    pub(super) fn is_inviting(&self, invite: &InviteId) -> bool {
        self.waiting
            .values()
            .any(|(waiting, _)| matches!(waiting, Waiting::Invite { invite: other, .. } if other == invite))
    }

    pub(super) fn joins(&self) -> impl Iterator<Item = &Join> {
        self.waiting.values().filter_map(|(waiting, _)| match waiting {
            Waiting::Join(join) => Some(&**join),
            Waiting::Invite { .. } | Waiting::Revoke { .. } | Waiting::Renewal { .. } => None,
        })
    }

    /// Whose certificates are being renewed.
    pub(super) fn renewals(&self) -> impl Iterator<Item = NodeId> {
        self.waiting.values().filter_map(|(waiting, _)| match waiting {
            Waiting::Renewal { node } => Some(*node),
            Waiting::Invite { .. } | Waiting::Revoke { .. } | Waiting::Join(_) => None,
        })
    }

    /// The admission of that node that is on its way.
    pub(super) fn join_of(&mut self, node: &NodeId) -> Option<&mut Join> {
        self.waiting.values_mut().find_map(|(waiting, _)| match waiting {
            Waiting::Join(join) if join.keys.node() == *node => Some(&mut **join),
            Waiting::Join(_) | Waiting::Invite { .. } | Waiting::Revoke { .. } | Waiting::Renewal { .. } => None,
        })
    }
}
