//! The side of a member that dialled: hello, check the listener, prove, wait to be let in.

use std::sync::Arc;

use weft_protocol::{
    AuthFrame, AuthRefusal, Certificate, Credential, Hello, NodeId, Signed, Signer, Timestamp, check_proof, prove,
    statement,
};

use super::{Moved, Step, check_answer, check_cluster, check_rules, member_hello, member_outcome};
use crate::admission::{AdmissionView, Judged};

#[derive(Debug)]
pub(super) struct Dialer {
    view: Arc<AdmissionView>,
    signer: Arc<dyn Signer>,
    remote: NodeId,
    hello: Hello,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Our hello is on its way.
    Called,
    /// Its hello is acceptable; its proof is due.
    Greeted(Listener),
    /// Both have proven themselves; its verdict is due.
    Proved(Listener),
}

/// The other side, as its hello says and the view confirms.
#[derive(Debug)]
struct Listener {
    hello: Box<Hello>,
    signed: Signed<Certificate>,
    judged: Judged,
}

impl Dialer {
    pub(super) fn new(view: Arc<AdmissionView>, signer: Arc<dyn Signer>, nonce: [u8; 32], remote: NodeId) -> Self {
        let hello = member_hello(&view, nonce);
        Self { view, signer, remote, hello, state: State::Called }
    }

    pub(super) const fn offer(&mut self, wire: u16) {
        self.hello.wire = wire;
    }

    pub(super) const fn hello(&self) -> &Hello {
        &self.hello
    }

    pub(super) fn frame_arrived(mut self, frame: AuthFrame, now: Timestamp) -> Moved<Self> {
        match (self.state, frame) {
            (State::Called, AuthFrame::Hello(hello)) => {
                check_answer(&hello, &self.hello)?;
                check_cluster(&hello, self.view.cluster)?;
                check_rules(&hello, &self.view)?;
                let Credential::Member(signed) = hello.credential.clone() else { return Err(AuthRefusal::NotAMember) };
                let judged = self.view.judge(self.remote, &signed, &hello.rotations, now)?;
                self.state = State::Greeted(Listener { hello, signed, judged });
                Ok((Some(self), Step::Send(Vec::new())))
            }
            (State::Greeted(listener), AuthFrame::Proof(proof)) => {
                let (dialer, remote) = ((self.view.node, &self.hello), (self.remote, &*listener.hello));
                let said = |prover| statement(&self.view.cluster, dialer, remote, prover);
                let keys = &listener.judged.keys;
                check_proof(&proof, keys, &said(self.remote)).map_err(AuthRefusal::of_proof)?;
                let proof = prove(&*self.signer, &said(self.view.node));
                self.state = State::Proved(listener);
                Ok((Some(self), Step::Send(vec![proof])))
            }
            (State::Proved(listener), AuthFrame::Accepted) => {
                let outcome = member_outcome(&self.view, listener.judged, listener.signed, self.hello.wire);
                Ok((None, Step::Done { send: Vec::new(), outcome }))
            }
            (State::Called | State::Greeted(_) | State::Proved(_), _) => Err(AuthRefusal::Protocol),
        }
    }
}
