//! How nodes become members: invites are made, spent and taken back, and the admissions on all chains are folded.

mod invites;
mod joining;
mod members;
mod pending;
mod renewal;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_protocol::limits::{CERTIFICATE_US_MAX, CERTIFICATE_US_MIN, INVITE_US_MAX, INVITE_USES_MAX};
use weft_protocol::{
    AuthRefusal, Certificate, Fact, Hlc, InviteId, InviteIssued, InviteRevoked, KeyRotation, NodeId, Refusal, Role,
    Signed, Signer, Timestamp, Token, invite_id, secret_hash,
};

pub(crate) use self::invites::Invites;
pub(crate) use self::members::Members;
pub(crate) use self::pending::Pending;
pub(crate) use self::renewal::Ends;
pub(crate) use self::view::Judged;
pub use self::view::{AdmissionView, AdmittedMember};

use self::members::Folded;
use self::pending::{REQUESTS_MAX, Waiting};
use crate::address::worth_telling;
use crate::discovery::Discovery;
use crate::event::{Answer, AskId, Output, RecordAction, Ticket};

/// When an operator whose request found no room should try again, in microseconds (guess: some disk syncs).
const REQUEST_RETRY_US: u64 = 100_000;

/// What the operator wants an invite to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) role: Role,
    pub(crate) ttl_us: u64,
    pub(crate) uses: u32,
    pub(crate) secret: [u8; 16],
    /// How long the certificates last that it gives; until their nodes are evicted, without one.
    pub(crate) certificate_ttl_us: Option<u64>,
}

impl Discovery {
    pub(crate) fn on_invite_asked(&mut self, ask: AskId, wanted: Wanted, now: Timestamp, outputs: &mut Vec<Output>) {
        match self.prepare_invite(wanted, now) {
            Ok((token, fact)) => {
                let (invite, token) = (token.invite(), token.to_string());
                let waiting = Waiting::Invite { ask, invite, token };
                self.record(waiting, RecordAction::Invite { role: wanted.role }, vec![fact], outputs);
            }
            Err(refusal) => outputs.push(Output::Answer { ask, answer: Err(refusal) }),
        }
    }

    fn prepare_invite(&self, wanted: Wanted, now: Timestamp) -> Result<(Token, Fact), Refusal> {
        self.may_invite(now)?;
        check_wanted(wanted)?;
        let addresses = worth_telling(&self.listening);
        if addresses.is_empty() {
            return Err(invalid(
                "this node listens on no address, so nobody could use an invite; start it with --listen",
            ));
        }
        let secret_hash = secret_hash(&wanted.secret);
        let invite = invite_id(&secret_hash);
        if self.invites.get(&invite).is_some() || self.pending.is_inviting(&invite) {
            return Err(invalid("an invite with this secret exists; ask again with another secret"));
        }
        if let Some(until) = self.invites.full_until(self.pending.invites(), now) {
            return Err(Refusal::Busy { retry_after_us: until.since_us(now).max(REQUEST_RETRY_US) });
        }
        let expires = now.after_us(wanted.ttl_us);
        let token = Token {
            cluster: self.view.cluster,
            inviter: self.node,
            inviter_mldsa65_hash: *self.signer.public_keys().mldsa65_hash(),
            inviter_name: self.name.clone(),
            addresses,
            secret: wanted.secret.into(),
            role: wanted.role,
            expires,
        };
        let Wanted { role, uses, certificate_ttl_us, .. } = wanted;
        Ok((token, Fact::InviteIssued(InviteIssued { secret_hash, role, uses, expires, certificate_ttl_us })))
    }

    pub(crate) fn on_invite_revoke_asked(
        &mut self,
        ask: AskId,
        invite: InviteId,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let answer = match self.invites.get(&invite) {
            None => Err(invalid("this node has issued no such invite; weft invite ls shows those it has")),
            Some(found) if found.revoked => Ok(Answer::Revoked { invite }),
            Some(_) => match self.may_invite(now) {
                Ok(()) => {
                    let facts = vec![Fact::InviteRevoked(InviteRevoked { invite })];
                    self.record(Waiting::Revoke { ask, invite }, RecordAction::RevokeInvite, facts, outputs);
                    return;
                }
                Err(refusal) => Err(refusal),
            },
        };
        outputs.push(Output::Answer { ask, answer });
    }

    /// Certificates of a node that is no admin count nowhere, whatever its own gate permits.
    fn may_invite(&self, now: Timestamp) -> Result<(), Refusal> {
        if !self.may_admit(now) {
            return Err(invalid("only an admin can invite; ask on a node that is one (weft members shows roles)"));
        }
        if self.pending.requests() >= REQUESTS_MAX {
            return Err(Refusal::Busy { retry_after_us: REQUEST_RETRY_US });
        }
        Ok(())
    }

    fn may_admit(&self, now: Timestamp) -> bool {
        self.members.admits_until(&self.node).is_some_and(|end| now < end)
    }

    fn record(&mut self, waiting: Waiting, action: RecordAction, facts: Vec<Fact>, outputs: &mut Vec<Output>) {
        let ticket = self.pending.put(waiting, facts.clone());
        outputs.push(Output::Record { ticket, action, facts });
    }

    pub(crate) fn on_recorded(&mut self, ticket: Ticket, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some((waiting, facts)) = self.pending.take(ticket) else { return };
        for fact in facts {
            self.invites.fold(&fact, now);
            if let Fact::Admitted(admitted) = fact {
                self.fold_admission(self.node, admitted.certificate, now, outputs);
            }
        }
        match waiting {
            Waiting::Invite { ask, invite, token } => {
                if let Some(invite) = self.invites.get(&invite) {
                    outputs.push(Output::Answer { ask, answer: Ok(Answer::Invited { token, invite }) });
                }
            }
            Waiting::Revoke { ask, invite } => {
                outputs.push(Output::Answer { ask, answer: Ok(Answer::Revoked { invite }) });
            }
            Waiting::Join(join) => self.answer_join(&join.asks, &join.certificate, outputs),
            Waiting::Renewal { node } => self.on_renewed(&node),
        }
    }

    pub(crate) fn on_record_refused(&mut self, ticket: Ticket, refusal: Refusal, outputs: &mut Vec<Output>) {
        match self.pending.take(ticket) {
            Some((Waiting::Invite { ask, .. } | Waiting::Revoke { ask, .. }, _)) => {
                outputs.push(Output::Answer { ask, answer: Err(refusal) });
            }
            Some((Waiting::Join(join), _)) => {
                let refuse = |ask| Output::AnswerJoin { ask, answer: Err(AuthRefusal::NotReady) };
                outputs.extend(join.asks.into_iter().map(refuse));
            }
            Some((Waiting::Renewal { node }, _)) => self.on_renewal_refused(node),
            None => {}
        }
    }

    pub(crate) fn fold_admission(
        &mut self,
        issuer: NodeId,
        certificate: Signed<Certificate>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let Folded { joined, changed, refused } = self.members.admit(issuer, certificate);
        self.counters.admissions_refused += refused;
        if joined.is_empty() && changed.is_empty() {
            return;
        }
        for node in &joined {
            if let Some(member) = self.members.get(node) {
                outputs.push(Output::LearnMember { keys: member.keys.clone() });
            }
        }
        self.publish_view(outputs);
        for node in joined {
            self.on_member_joined(node, now, outputs);
        }
    }

    /// The keys of a member gave way to others, as its verified chain says.
    pub(crate) fn on_keys_rotated(&mut self, node: NodeId, rotation: &KeyRotation, outputs: &mut Vec<Output>) {
        if self.members.rotate(node, rotation) {
            self.publish_view(outputs);
        }
    }

    /// Our own keys gave way to those of `signer`, and that is on disk: what is shown and what signs change together.
    pub(crate) fn on_own_keys_rotated(
        &mut self,
        rotation: &KeyRotation,
        signer: Arc<dyn Signer>,
        hlc: Hlc,
        outputs: &mut Vec<Output>,
    ) {
        self.members.rotate(self.node, rotation);
        self.own_advert.sign_with(Arc::clone(&signer));
        self.signer = signer;
        self.keys_since = Some(hlc);
        self.publish_view(outputs);
    }

    pub(crate) fn on_fork_proven(&mut self, node: NodeId, outputs: &mut Vec<Output>) {
        if !self.members.quarantine(node) {
            return;
        }
        self.publish_view(outputs);
        outputs.push(Output::Quarantine { node });
        if node != self.node {
            outputs.push(Output::Disconnect { node });
        }
        outputs.push(Output::DirectoryChanged);
    }

    /// Nodes are members no longer, as more than half of those who count decided.
    pub(crate) fn on_evicted(&mut self, nodes: BTreeSet<NodeId>, outputs: &mut Vec<Output>) {
        let new = self.members.evict(nodes);
        if new.is_empty() {
            return;
        }
        self.publish_view(outputs);
        for node in new {
            outputs.push(Output::Quarantine { node });
            if node != self.node {
                outputs.push(Output::Disconnect { node });
            }
        }
        outputs.push(Output::DirectoryChanged);
    }

    /// An admin takes a node back that was cut off.
    pub(crate) fn on_pardoned(&mut self, node: NodeId, outputs: &mut Vec<Output>) {
        if self.members.pardon(&node) {
            self.publish_view(outputs);
            outputs.push(Output::DirectoryChanged);
        }
    }

    fn publish_view(&mut self, outputs: &mut Vec<Output>) {
        let view =
            AdmissionView::new(self.node, &self.build, self.view.wire, &self.view.charter, &self.members, &self.signer);
        let Some(view) = view else { return };
        self.view = Arc::new(view);
        outputs.push(Output::PublishView(Arc::clone(&self.view)));
    }
}

fn check_wanted(wanted: Wanted) -> Result<(), Refusal> {
    if wanted.ttl_us == 0 || wanted.ttl_us > INVITE_US_MAX {
        return Err(invalid("an invite lives for at most one week, and longer than no time; ask with another --ttl"));
    }
    if wanted.uses == 0 || wanted.uses > INVITE_USES_MAX {
        return Err(invalid("an invite has 1 to 1024 uses; ask with another --uses"));
    }
    if wanted.certificate_ttl_us.is_some_and(|ttl_us| !(CERTIFICATE_US_MIN..=CERTIFICATE_US_MAX).contains(&ttl_us)) {
        return Err(invalid(
            "a certificate that ends lasts one minute to ten years; ask with another --certificate-ttl",
        ));
    }
    Ok(())
}

fn invalid(message: &str) -> Refusal {
    Refusal::Invalid { message: message.to_owned() }
}
