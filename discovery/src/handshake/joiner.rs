//! The side of a joiner: it tells its secret only to the inviter that the token pins, and checks what it is given.

use std::sync::Arc;

use serde_bytes::ByteArray;
use weft_protocol::limits::ROTATIONS_MAX;
use weft_protocol::{
    Admission, AuthFrame, AuthRefusal, Certificate, Credential, Digest, Hello, Join, NodeId, NodeName, PublicKeys,
    RotationFault, Signed, Signer, Timestamp, Token, WireVersions, check_proof, follow_rotations, prove, statement,
};

use super::{HandshakeOutcome, Moved, Step, check_answer, check_cluster};
use crate::admission::Members;

/// Most certificates an inviter sends along.
const MEMBERS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Joiner {
    token: Token,
    signer: Arc<dyn Signer>,
    name: NodeName,
    remote: NodeId,
    hello: Hello,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Our hello is on its way.
    Called,
    /// Its hello is the inviter's; its proof is due.
    Greeted { theirs: Box<Hello>, keys: PublicKeys, rules: Digest },
    /// It was told the secret; its verdict is due.
    Proved { rules: Digest },
}

impl Joiner {
    pub(super) fn new(
        token: Token,
        signer: Arc<dyn Signer>,
        name: NodeName,
        build: String,
        nonce: [u8; 32],
        remote: NodeId,
    ) -> Self {
        let keys = signer.public_keys().clone();
        let hello = Hello {
            wire: WireVersions::default().newest(),
            build,
            cluster: token.cluster,
            rules: None,
            nonce: ByteArray::new(nonce),
            credential: Credential::Joiner { invite: token.invite(), keys },
            rotations: Vec::new(),
        };
        Self { token, signer, name, remote, hello, state: State::Called }
    }

    pub(super) const fn offer(&mut self, wire: u16) {
        self.hello.wire = wire;
    }

    pub(super) const fn hello(&self) -> &Hello {
        &self.hello
    }

    pub(super) fn frame_arrived(mut self, frame: AuthFrame, now: Timestamp) -> Moved<Self> {
        match (self.state, frame) {
            (State::Called, AuthFrame::Hello(theirs)) => {
                check_answer(&theirs, &self.hello)?;
                check_cluster(&theirs, self.token.cluster)?;
                let keys = pinned_keys(&self.token, self.remote, &theirs)?;
                let rules = theirs.rules.ok_or(AuthRefusal::NoRules)?;
                self.state = State::Greeted { theirs, keys, rules };
                Ok((Some(self), Step::Send(Vec::new())))
            }
            (State::Greeted { theirs, keys, rules }, AuthFrame::Proof(proof)) => {
                let node = self.signer.public_keys().node();
                let said = |prover| statement(&self.token.cluster, (node, &self.hello), (self.remote, &theirs), prover);
                check_proof(&proof, &keys, &said(self.remote)).map_err(AuthRefusal::of_proof)?;
                let join = Join { secret: self.token.secret, name: self.name.clone() };
                let send = vec![prove(&*self.signer, &said(node)), AuthFrame::Join(join)];
                self.state = State::Proved { rules };
                Ok((Some(self), Step::Send(send)))
            }
            (State::Proved { rules }, AuthFrame::Admitted(admission)) => {
                check_admission(&self.token, self.signer.public_keys(), &rules, &admission, now)?;
                Ok((None, Step::Done { send: Vec::new(), outcome: HandshakeOutcome::Admitted(admission) }))
            }
            (State::Called | State::Greeted { .. } | State::Proved { .. }, _) => Err(AuthRefusal::Protocol),
        }
    }
}

/// The listener's keys, when they are both the ones the token pins, or follow those by the rotations that it shows.
fn pinned_keys(token: &Token, remote: NodeId, theirs: &Hello) -> Result<PublicKeys, AuthRefusal> {
    if theirs.rotations.len() > ROTATIONS_MAX {
        return Err(AuthRefusal::TooManyRotations);
    }
    let Credential::Member(signed) = &theirs.credential else { return Err(AuthRefusal::NotAMember) };
    let Certificate { keys, cluster, .. } = signed.peek().map_err(|_| AuthRefusal::UnreadableCertificate)?;
    if cluster != token.cluster {
        return Err(AuthRefusal::WrongCluster { ours: token.cluster, theirs: cluster });
    }
    if keys.node() != remote {
        return Err(AuthRefusal::ForeignCertificate { of: keys.node() });
    }
    if remote != token.inviter {
        return Err(AuthRefusal::NotTheInviter);
    }
    let shown = follow_rotations(&keys, &theirs.rotations)
        .map_err(|error| AuthRefusal::BadRotation { fault: RotationFault::from(&error) })?;
    let pinned = shown.iter().any(|keys| *keys.mldsa65_hash() == token.inviter_mldsa65_hash);
    shown.into_iter().next_back().filter(|_| pinned).ok_or(AuthRefusal::NotTheInvitersKey)
}

/// Whether the admission makes the holder of `keys` a member of the token's cluster, by signatures up to its founder.
fn check_admission(
    token: &Token,
    keys: &PublicKeys,
    rules: &Digest,
    admission: &Admission,
    now: Timestamp,
) -> Result<(), AuthRefusal> {
    let Admission { certificate: signed, charter, members: told, rotations } = admission;
    let cluster = charter.cluster_id();
    if cluster != token.cluster {
        return Err(AuthRefusal::WrongCluster { ours: token.cluster, theirs: cluster });
    }
    if charter.rules_hash() != *rules {
        return Err(AuthRefusal::WrongRules { ours: *rules, theirs: charter.rules_hash() });
    }
    let certificate = signed.peek().map_err(|_| AuthRefusal::UnreadableCertificate)?;
    if certificate.keys != *keys {
        return Err(AuthRefusal::AdmissionOfAnother);
    }
    if told.len() > MEMBERS_MAX || rotations.len() > MEMBERS_MAX {
        return Err(AuthRefusal::AdmissionTooLarge);
    }
    let mut members = Members::new(cluster, charter.founder.clone());
    // Whom a member admitted with later keys counts once these are known to follow: as long as there was news all is read again.
    loop {
        let issuers = told.iter().filter_map(|signed: &Signed<Certificate>| Some((signed.peek().ok()?.issuer, signed)));
        for (issuer, signed) in issuers {
            let _others = members.admit(issuer, signed.clone());
        }
        let rotated = rotations.iter().filter(|rotation| members.rotate_any(rotation)).count();
        if rotated == 0 {
            break;
        }
    }
    let own = members.admit(certificate.issuer, signed.clone());
    if !members.digests(&keys.node()).contains(&signed.digest()) {
        return Err(if own.refused > 0 { AuthRefusal::ForgedCertificate } else { AuthRefusal::UnknownIssuer });
    }
    if certificate.not_after.is_some_and(|end| now >= end) {
        return Err(AuthRefusal::CertificateExpired);
    }
    Ok(())
}
