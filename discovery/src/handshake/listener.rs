//! The side that was dialled: judges a member by the view, proves itself, and hands a joiner's request to discovery.

use std::sync::Arc;

use weft_protocol::{
    Admission, AuthFrame, AuthRefusal, Certificate, Credential, Hello, InviteId, NodeId, PublicKeys, Signed, Signer,
    Timestamp, check_proof, prove, statement,
};

use super::{HandshakeOutcome, Moved, Step, check_cluster, check_offer, check_rules, member_hello, member_outcome};
use crate::admission::{AdmissionView, Judged};

#[derive(Debug)]
pub(super) struct Listener {
    view: Arc<AdmissionView>,
    signer: Arc<dyn Signer>,
    remote: NodeId,
    hello: Hello,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has arrived.
    Listening,
    /// Its hello is acceptable and it has our proof; its own is due.
    Greeted { theirs: Box<Hello>, claim: Claim },
    /// A joiner holds its keys; its request is due.
    Proved { keys: PublicKeys, invite: InviteId },
    /// Discovery is asked.
    Deciding,
}

/// As what the dialer asks to be let in.
#[derive(Debug)]
enum Claim {
    Member { signed: Signed<Certificate>, judged: Box<Judged> },
    Joiner { keys: PublicKeys, invite: InviteId },
}

impl Listener {
    pub(super) fn new(view: Arc<AdmissionView>, signer: Arc<dyn Signer>, nonce: [u8; 32], remote: NodeId) -> Self {
        let hello = member_hello(&view, nonce);
        Self { view, signer, remote, hello, state: State::Listening }
    }

    pub(super) fn frame_arrived(mut self, frame: AuthFrame, now: Timestamp) -> Moved<Self> {
        match (self.state, frame) {
            (State::Listening, AuthFrame::Hello(theirs)) => {
                self.hello.wire = check_offer(&theirs, self.view.wire)?;
                let claim = judge_claim(&self.view, self.remote, &theirs, now)?;
                let (dialer, own) = ((self.remote, &*theirs), (self.view.node, &self.hello));
                let said = statement(&self.view.cluster, dialer, own, self.view.node);
                let send = vec![AuthFrame::Hello(Box::new(self.hello.clone())), prove(&*self.signer, &said)];
                self.state = State::Greeted { theirs, claim };
                Ok((Some(self), Step::Send(send)))
            }
            (State::Greeted { theirs, claim }, AuthFrame::Proof(proof)) => {
                let (dialer, own) = ((self.remote, &*theirs), (self.view.node, &self.hello));
                let said = statement(&self.view.cluster, dialer, own, self.remote);
                let keys = match &claim {
                    Claim::Member { judged, .. } => &judged.keys,
                    Claim::Joiner { keys, .. } => keys,
                };
                check_proof(&proof, keys, &said).map_err(AuthRefusal::of_proof)?;
                match claim {
                    Claim::Member { signed, judged } => {
                        let outcome = member_outcome(&self.view, *judged, signed, self.hello.wire);
                        Ok((None, Step::Done { send: vec![AuthFrame::Accepted], outcome }))
                    }
                    Claim::Joiner { keys, invite } => {
                        self.state = State::Proved { keys, invite };
                        Ok((Some(self), Step::Send(Vec::new())))
                    }
                }
            }
            (State::Proved { keys, invite }, AuthFrame::Join(join)) => {
                self.state = State::Deciding;
                Ok((Some(self), Step::Ask { keys, invite, join }))
            }
            (State::Listening | State::Greeted { .. } | State::Proved { .. } | State::Deciding, _) => {
                Err(AuthRefusal::Protocol)
            }
        }
    }

    pub(super) fn admission_decided(self, decision: Result<Admission, AuthRefusal>) -> Moved<Self> {
        match self.state {
            State::Deciding => {
                let admission = Box::new(decision?);
                let send = vec![AuthFrame::Admitted(admission.clone())];
                Ok((None, Step::Done { send, outcome: HandshakeOutcome::Admitted(admission) }))
            }
            State::Listening | State::Greeted { .. } | State::Proved { .. } => Err(AuthRefusal::Protocol),
        }
    }
}

fn judge_claim(view: &AdmissionView, remote: NodeId, theirs: &Hello, now: Timestamp) -> Result<Claim, AuthRefusal> {
    check_cluster(theirs, view.cluster)?;
    match &theirs.credential {
        Credential::Member(signed) => {
            check_rules(theirs, view)?;
            let judged = Box::new(view.judge(remote, signed, &theirs.rotations, now)?);
            Ok(Claim::Member { signed: signed.clone(), judged })
        }
        Credential::Joiner { keys, .. } if keys.node() != remote => Err(AuthRefusal::ForeignKeys { of: keys.node() }),
        Credential::Joiner { .. } if remote == view.node => Err(AuthRefusal::OwnKey),
        Credential::Joiner { invite, keys } => {
            view.check_cut_off(&remote)?;
            Ok(Claim::Joiner { keys: keys.clone(), invite: *invite })
        }
    }
}
