//! The invites of this node: a fold of what its own chain says about them.

use std::collections::BTreeMap;

use weft_protocol::limits::MEMBERS_MAX;
use weft_protocol::{
    AuthRefusal, Certificate, Digest, Fact, InviteId, InviteIssued, NodeId, Signed, Timestamp, invite_id, secret_hash,
};

use crate::event::InviteState;

/// Most invites that somebody could still use; one more is refused until one of them ends (guess: one per possible member).
const LIVING_MAX: usize = MEMBERS_MAX;
/// Most ended invites that nobody used, remembered so that a late joiner hears why; the oldest is forgotten (guess).
const ENDED_MAX: usize = 1_024;

#[derive(Debug)]
struct Invite {
    issued: InviteIssued,
    revoked: bool,
    /// Nodes it was spent on, each with the certificate it was given.
    burnt: BTreeMap<NodeId, Option<Signed<Certificate>>>,
}

impl Invite {
    const fn expired(&self, now: Timestamp) -> bool {
        now.0 >= self.issued.expires.0
    }

    fn living(&self, now: Timestamp) -> bool {
        !self.revoked && !self.expired(now) && self.uses_left() > 0
    }

    fn uses_left(&self) -> usize {
        (self.issued.uses as usize).saturating_sub(self.burnt.len())
    }
}

/// Every invite by its id.
#[derive(Debug, Default)]
pub(crate) struct Invites {
    invites: BTreeMap<InviteId, Invite>,
}

/// What a joiner's invite entitles it to.
#[derive(Debug)]
pub(crate) enum Entitled<'a> {
    /// The certificate it was given before.
    Again(&'a Signed<Certificate>),
    /// A new one.
    Anew(&'a InviteIssued),
}

impl Invites {
    /// Folds one fact of our own chain; those about other things change nothing.
    pub(crate) fn fold(&mut self, fact: &Fact, now: Timestamp) {
        match fact {
            Fact::InviteIssued(issued) => self.issue(issued.clone(), now),
            Fact::InviteBurnt(burnt) => {
                if let Some(invite) = self.invites.get_mut(&burnt.invite) {
                    invite.burnt.entry(burnt.node).or_default();
                }
            }
            Fact::InviteRevoked(revoked) => {
                if let Some(invite) = self.invites.get_mut(&revoked.invite) {
                    invite.revoked = true;
                }
            }
            Fact::Admitted(admitted) => {
                let invite = admitted.invite.and_then(|invite| self.invites.get_mut(&invite));
                if let (Some(invite), Ok(certificate)) = (invite, admitted.certificate.peek()) {
                    invite.burnt.insert(certificate.keys.node(), Some(admitted.certificate.clone()));
                }
            }
            _ => {}
        }
    }

    fn issue(&mut self, issued: InviteIssued, now: Timestamp) {
        let fresh = Invite { issued, revoked: false, burnt: BTreeMap::new() };
        self.invites.entry(invite_id(&fresh.issued.secret_hash)).or_insert(fresh);
        let forgettable = |invite: &Invite| !invite.living(now) && invite.burnt.is_empty();
        if self.invites.values().filter(|invite| forgettable(invite)).count() > ENDED_MAX {
            let ended = self.invites.iter().filter(|(_, invite)| forgettable(invite));
            if let Some(oldest) = ended.min_by_key(|(_, invite)| invite.issued.expires).map(|(id, _)| *id) {
                self.invites.remove(&oldest);
            }
        }
    }

    pub(crate) fn get(&self, invite: &InviteId) -> Option<InviteState> {
        self.invites.get(invite).map(|found| state(*invite, found))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = InviteState> {
        self.invites.iter().map(|(id, invite)| state(*id, invite))
    }

    /// When the first living invite ends, if there is no room for another one beside `in_flight` more.
    pub(crate) fn full_until(&self, in_flight: usize, now: Timestamp) -> Option<Timestamp> {
        let living = self.invites.values().filter(|invite| invite.living(now));
        let full = living.clone().count() + in_flight >= LIVING_MAX;
        full.then(|| living.map(|invite| invite.issued.expires).min().unwrap_or(now))
    }

    /// Whether this secret opens this invite. Compared in constant time, so that nothing is learned by trying.
    ///
    /// # Errors
    /// `UnknownInvite` without such an invite, `WrongSecret` for another secret.
    pub(crate) fn check_secret(&self, invite: &InviteId, secret: &[u8; 16]) -> Result<(), AuthRefusal> {
        let found = self.invites.get(invite).ok_or(AuthRefusal::UnknownInvite)?;
        let same = equal_in_constant_time(&found.issued.secret_hash, &secret_hash(secret));
        if same { Ok(()) } else { Err(AuthRefusal::WrongSecret) }
    }

    /// What the invite gives this node, when `reserved` of its uses are about to be spent on others. A node it was spent on
    /// has a right to the same certificate whatever happened to the invite since.
    ///
    /// # Errors
    /// [`AuthRefusal`] of a node that was not admitted by it: unknown, revoked, expired or used up, in this order.
    pub(crate) fn entitle(
        &self,
        invite: &InviteId,
        node: &NodeId,
        reserved: usize,
        now: Timestamp,
    ) -> Result<Entitled<'_>, AuthRefusal> {
        let found = self.invites.get(invite).ok_or(AuthRefusal::UnknownInvite)?;
        match found.burnt.get(node) {
            Some(Some(certificate)) => return Ok(Entitled::Again(certificate)),
            Some(None) => return Ok(Entitled::Anew(&found.issued)),
            None => {}
        }
        if found.revoked {
            Err(AuthRefusal::InviteRevoked)
        } else if found.expired(now) {
            Err(AuthRefusal::InviteExpired)
        } else if found.uses_left() <= reserved {
            Err(AuthRefusal::InviteUsedUp)
        } else {
            Ok(Entitled::Anew(&found.issued))
        }
    }
}

fn state(invite: InviteId, found: &Invite) -> InviteState {
    InviteState {
        invite,
        role: found.issued.role,
        uses: found.issued.uses,
        burnt: found.burnt.keys().copied().collect(),
        expires: found.issued.expires,
        revoked: found.revoked,
    }
}

fn equal_in_constant_time(left: &Digest, right: &Digest) -> bool {
    let difference = left.as_bytes().iter().zip(right.as_bytes()).fold(0, |sum, (left, right)| sum | (left ^ right));
    std::hint::black_box(difference) == 0
}
