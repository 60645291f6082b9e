//! How a joiner with an invite becomes a member: judged, recorded, then told.

use std::collections::BTreeSet;

use weft_protocol::limits::{ADMISSION_FRAME_BYTES_MAX, MEMBERS_MAX, ROTATIONS_MAX};
use weft_protocol::{
    Admission, Admitted, AuthRefusal, Certificate, Fact, InviteBurnt, InviteId, Join, KeyRotation, NodeId, PublicKeys,
    Role, Signed, Timestamp, encode,
};

use super::invites::Entitled;
use super::members::Member;
use super::pending::{self, ASKS_PER_JOIN_MAX, JOINS_MAX, Waiting};
use crate::discovery::Discovery;
use crate::event::{AskId, Output, RecordAction};

/// Most certificates that travel with an admission; the rest comes with the chains.
const ADMISSION_MEMBERS_MAX: usize = 64;
/// Most bytes of them: a charter and the joiner's own certificate fit beside them in one frame.
const ADMISSION_MEMBERS_BYTES_MAX: usize = ADMISSION_FRAME_BYTES_MAX * 3 / 4;
/// Most rotations that travel with an admission, of 9 KiB each: they fit beside the certificates; the rest comes with the chains.
const ADMISSION_ROTATIONS_MAX: usize = 2 * ROTATIONS_MAX - 4;
/// What a joiner that showed the right secret gets.
enum Joining {
    /// A certificate that is on our disk already.
    Known(Signed<Certificate>),
    /// The one that is on its way there.
    UnderWay,
    /// A new one, as what, and for how long.
    New(Role, Option<u64>),
}

impl Discovery {
    pub(crate) fn on_join_asked(
        &mut self,
        ask: AskId,
        keys: PublicKeys,
        invite: InviteId,
        join: Join,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let node = keys.node();
        match self.judge_join(&keys, invite, &join, now) {
            Ok(Joining::Known(certificate)) => self.answer_join(&[ask], &certificate, outputs),
            Ok(Joining::UnderWay) => {
                if let Some(join) = self.pending.join_of(&node) {
                    join.asks.push(ask);
                }
            }
            Ok(Joining::New(role, ttl_us)) => {
                let (join, facts) = self.prepare_admission(ask, keys, invite, join, (role, ttl_us), now);
                self.record(Waiting::Join(Box::new(join)), RecordAction::Admit { node }, facts, outputs);
            }
            Err(refusal) => outputs.push(Output::AnswerJoin { ask, answer: Err(refusal) }),
        }
    }

    fn judge_join(
        &mut self,
        keys: &PublicKeys,
        invite: InviteId,
        join: &Join,
        now: Timestamp,
    ) -> Result<Joining, AuthRefusal> {
        let node = keys.node();
        if let Err(refusal) = self.invites.check_secret(&invite, &join.secret) {
            self.counters.wrong_secrets += 1;
            return Err(refusal);
        }
        self.view.check_cut_off(&node)?;
        let member = self.members.get(&node);
        let founder = &self.view.charter.founder;
        let replaced = self.members.all_keys(&node).last().is_some_and(|today| today != keys);
        if replaced || (founder.node() == node && founder != keys) {
            return Err(AuthRefusal::OtherKeys);
        }
        let others = self.pending.joins().filter(|other| other.keys.node() != node);
        let reserved = others.filter(|other| other.invite == invite).count();
        // A member is given what counts today, unless that has ended or names keys that gave way to these.
        let lasts = |member: &Member<'_>| {
            let same = member.signed.peek().is_ok_and(|certificate| certificate.keys == *keys);
            same && member.not_after.is_none_or(|end| now < end)
        };
        let (role, ttl_us) = match self.invites.entitle(&invite, &node, reserved, now)? {
            Entitled::Again(certificate) => {
                let latest = member.filter(lasts).map(|member| member.signed);
                return Ok(Joining::Known(latest.unwrap_or(certificate).clone()));
            }
            Entitled::Anew(issued) => (issued.role, issued.certificate_ttl_us),
        };
        if let Some(member) = member.filter(|member| member.role == role && lasts(member)) {
            return Ok(Joining::Known(member.signed.clone()));
        }
        if self.is_name_taken(join, &node) {
            return Err(AuthRefusal::NameTaken { name: join.name.clone() });
        }
        let joins = self.pending.joins().count();
        if let Some(under_way) = self.pending.join_of(&node) {
            let same = under_way.invite == invite && under_way.keys == *keys;
            let room = under_way.asks.len() < ASKS_PER_JOIN_MAX;
            return if same && room { Ok(Joining::UnderWay) } else { Err(AuthRefusal::NotReady) };
        }
        let full = joins >= JOINS_MAX || self.members.len() + joins >= MEMBERS_MAX;
        if full || !self.may_admit(now) {
            return Err(AuthRefusal::NotReady);
        }
        Ok(Joining::New(role, ttl_us))
    }

    fn is_name_taken(&self, join: &Join, node: &NodeId) -> bool {
        let by_member = self.members.iter().any(|(other, member)| other != *node && *member.name == join.name);
        by_member || self.pending.joins().any(|other| other.keys.node() != *node && other.name == join.name)
    }

    fn prepare_admission(
        &self,
        ask: AskId,
        keys: PublicKeys,
        invite: InviteId,
        join: Join,
        (role, ttl_us): (Role, Option<u64>),
        now: Timestamp,
    ) -> (pending::Join, Vec<Fact>) {
        let node = keys.node();
        let issued = self.next_issued(&node, now);
        let certificate = Certificate {
            cluster: self.view.cluster,
            keys: keys.clone(),
            name: join.name.clone(),
            role,
            grants: Vec::new(),
            issuer: self.node,
            issued,
            not_after: ttl_us.map(|ttl_us| issued.after_us(ttl_us)),
        };
        let certificate = Signed::new(&certificate, &*self.signer);
        let admitted = Admitted { certificate: certificate.clone(), invite: Some(invite) };
        let facts = vec![Fact::InviteBurnt(InviteBurnt { invite, node }), Fact::Admitted(Box::new(admitted))];
        (pending::Join { asks: vec![ask], invite, keys, name: join.name, certificate }, facts)
    }

    /// When a further certificate of a node is issued. The latest decides; a clock that was set back must not make an older one
    /// the latest.
    pub(super) fn next_issued(&self, node: &NodeId, now: Timestamp) -> Timestamp {
        self.members.last_issued(node).map_or(now, |last| now.max(last.after_us(1)))
    }

    pub(super) fn answer_join(&self, asks: &[AskId], certificate: &Signed<Certificate>, outputs: &mut Vec<Output>) {
        let admission = Admission {
            certificate: certificate.clone(),
            charter: (*self.view.charter).clone(),
            members: self.members_to_tell(certificate),
            rotations: self.rotations_to_tell(certificate),
        };
        for ask in asks {
            outputs.push(Output::AnswerJoin { ask: *ask, answer: Ok(Box::new(admission.clone())) });
        }
    }

    /// Why the keys of those by whom the joiner traces its issuer and us to the founder are the ones that signed.
    fn rotations_to_tell(&self, certificate: &Signed<Certificate>) -> Vec<KeyRotation> {
        let issuer = certificate.peek().ok().map(|certificate| certificate.issuer);
        let lineage = issuer.into_iter().chain([self.node]).flat_map(|node| self.members.lineage(node));
        let issuers = lineage.filter_map(|signed| signed.peek().ok()).map(|certificate| certificate.issuer);
        let nodes: BTreeSet<NodeId> = issuers.chain(issuer).chain([self.node]).collect();
        let known = nodes.iter().flat_map(|node| self.members.rotations_of(node));
        known.take(ADMISSION_ROTATIONS_MAX).cloned().collect()
    }

    /// What the joiner needs to trace its issuer and us to the founder, then as many others as fit.
    fn members_to_tell(&self, certificate: &Signed<Certificate>) -> Vec<Signed<Certificate>> {
        let issuer = certificate.peek().ok().map(|certificate| certificate.issuer);
        let needed = issuer.into_iter().chain([self.node]).flat_map(|node| self.members.lineage(node));
        let others = self.members.iter().map(|(_, member)| member.signed);
        let mut told: Vec<Signed<Certificate>> = Vec::new();
        let mut bytes = 0;
        for signed in needed.chain(others) {
            if told.len() == ADMISSION_MEMBERS_MAX {
                break;
            }
            let size = encode(signed).len();
            if bytes + size <= ADMISSION_MEMBERS_BYTES_MAX && !told.contains(signed) {
                bytes += size;
                told.push(signed.clone());
            }
        }
        told
    }
}
