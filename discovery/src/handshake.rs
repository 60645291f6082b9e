//! The handshake that decides inside the transport who is let in: one machine per connection, without IO.
//!
//! ```text
//! dialer → listener   Hello (credential, nonce)
//! listener → dialer   Hello (certificate, nonce), Proof
//! dialer → listener   Proof                              a member
//!                     Proof, Join                        a joiner
//! listener → dialer   Accepted | Admitted | Refused
//! ```
//! The dialer offers one version of the wire, and the listener answers with the same one or refuses and names its newest.
//! Every frame out of order, and every check that fails, ends it with a typed refusal that the other side is told. The
//! transport encrypts, proves the peer ids, limits frame sizes and time; this machine trusts it for nothing else.

mod dialer;
mod joiner;
mod listener;

use std::sync::Arc;

use serde_bytes::ByteArray;
use weft_protocol::{
    Admission, AuthFrame, AuthRefusal, Certificate, ClusterId, Hello, InviteId, Join, NodeId, NodeName, PublicKeys,
    Role, Signed, Signer, Timestamp, Token, WireVersions,
};

use self::dialer::Dialer;
use self::joiner::Joiner;
use self::listener::Listener;
use crate::admission::{AdmissionView, Judged};

/// What to do after a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these, in order (possibly none), and give the next frame that arrives.
    Send(Vec<AuthFrame>),
    /// Ask the inviter's discovery (`JoinAsked`), then call [`Handshake::admission_decided`]. No frame may arrive meanwhile.
    Ask {
        /// The joiner's keys, both proven.
        keys: PublicKeys,
        /// Which invite it names.
        invite: InviteId,
        /// What it says.
        join: Join,
    },
    /// Send these, in order (possibly none); then the handshake is over and this is what it proved.
    Done {
        /// The last frames.
        send: Vec<AuthFrame>,
        /// Who is at the other end.
        outcome: HandshakeOutcome,
    },
    /// Send this, then close: we let nobody in.
    Refuse {
        /// The refusal as the other side is told.
        send: AuthFrame,
        /// Why.
        error: AuthRefusal,
    },
    /// Close: the other side does not let us in.
    Refused(AuthRefusal),
}

/// What a completed handshake proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// The other end is this member.
    Member {
        /// Which.
        node: NodeId,
        /// Its keys, both proven.
        keys: PublicKeys,
        /// As what it takes part.
        role: Role,
        /// The version of the wire that both agreed on, under both proofs.
        wire: u16,
        /// The certificate it showed.
        certificate: Box<Signed<Certificate>>,
    },
    /// At the joiner: it is admitted, and every signature of this was checked. At the inviter: the joiner was told this; it
    /// comes back as a member, on another connection.
    Admitted(Box<Admission>),
}

/// One side of one handshake.
#[derive(Debug)]
pub struct Handshake {
    role: Side,
}

#[derive(Debug)]
enum Side {
    Dialer(Dialer),
    Joiner(Joiner),
    Listener(Listener),
    /// It is over; whatever still arrives is refused.
    Over,
}

/// What a side does with a frame: its next state, if there is one, and a step.
type Moved<S> = Result<(Option<S>, Step), AuthRefusal>;

impl Handshake {
    /// The side of a member that dialled `remote`. `nonce` is 32 fresh random bytes.
    #[must_use]
    pub fn dialer_member(view: Arc<AdmissionView>, signer: Arc<dyn Signer>, nonce: [u8; 32], remote: NodeId) -> Self {
        Self { role: Side::Dialer(Dialer::new(view, signer, nonce, remote)) }
    }

    /// The side of a joiner that dialled `remote` with a token and asks for a name. `build` is the program's version, `nonce`
    /// 32 fresh random bytes.
    #[must_use]
    pub fn dialer_joiner(
        token: Token,
        signer: Arc<dyn Signer>,
        name: NodeName,
        build: String,
        nonce: [u8; 32],
        remote: NodeId,
    ) -> Self {
        Self { role: Side::Joiner(Joiner::new(token, signer, name, build, nonce, remote)) }
    }

    /// The side of a member that was dialled by `remote`. `nonce` is 32 fresh random bytes.
    #[must_use]
    pub fn listener(view: Arc<AdmissionView>, signer: Arc<dyn Signer>, nonce: [u8; 32], remote: NodeId) -> Self {
        Self { role: Side::Listener(Listener::new(view, signer, nonce, remote)) }
    }

    /// The same side, offering this version of the wire and not its newest: that one was refused by a node that speaks this one.
    #[must_use]
    pub fn offering(mut self, wire: u16) -> Self {
        match &mut self.role {
            Side::Dialer(dialer) => dialer.offer(wire),
            Side::Joiner(joiner) => joiner.offer(wire),
            Side::Listener(_) | Side::Over => {}
        }
        self
    }

    /// The frames to begin with: the dialer's hello, or none.
    #[must_use]
    pub fn start(&self) -> Vec<AuthFrame> {
        let hello = match &self.role {
            Side::Dialer(dialer) => dialer.hello(),
            Side::Joiner(joiner) => joiner.hello(),
            Side::Listener(_) | Side::Over => return Vec::new(),
        };
        vec![AuthFrame::Hello(Box::new(hello.clone()))]
    }

    /// Takes the next frame of the other side.
    pub fn frame_arrived(&mut self, frame: AuthFrame, now: Timestamp) -> Step {
        let side = std::mem::replace(&mut self.role, Side::Over);
        if let AuthFrame::Refused(refusal) = frame {
            return Step::Refused(refusal);
        }
        let moved = match side {
            Side::Dialer(dialer) => wrapped(dialer.frame_arrived(frame, now), Side::Dialer),
            Side::Joiner(joiner) => wrapped(joiner.frame_arrived(frame, now), Side::Joiner),
            Side::Listener(listener) => wrapped(listener.frame_arrived(frame, now), Side::Listener),
            Side::Over => Err(AuthRefusal::Protocol),
        };
        self.finish(moved)
    }

    /// Takes discovery's answer to [`Step::Ask`].
    pub fn admission_decided(&mut self, decision: Result<Admission, AuthRefusal>) -> Step {
        let moved = match std::mem::replace(&mut self.role, Side::Over) {
            Side::Listener(listener) => wrapped(listener.admission_decided(decision), Side::Listener),
            Side::Dialer(_) | Side::Joiner(_) | Side::Over => Err(AuthRefusal::Protocol),
        };
        self.finish(moved)
    }

    fn finish(&mut self, moved: Moved<Side>) -> Step {
        match moved {
            Ok((next, step)) => {
                self.role = next.unwrap_or(Side::Over);
                step
            }
            Err(error) => Step::Refuse { send: AuthFrame::Refused(error.clone()), error },
        }
    }
}

fn wrapped<S>(moved: Moved<S>, side: fn(S) -> Side) -> Moved<Side> {
    moved.map(|(next, step)| (next.map(side), step))
}

/// What a member says first.
fn member_hello(view: &AdmissionView, nonce: [u8; 32]) -> Hello {
    Hello {
        wire: view.wire.newest(),
        build: view.build.clone(),
        cluster: view.cluster,
        rules: Some(view.rules_hash),
        nonce: ByteArray::new(nonce),
        credential: weft_protocol::Credential::Member((*view.certificate).clone()),
        rotations: (*view.rotations).clone(),
    }
}

/// Whether a listener speaks the version of the wire that the dialer offers.
const fn check_offer(hello: &Hello, spoken: WireVersions) -> Result<u16, AuthRefusal> {
    if spoken.contains(hello.wire) {
        Ok(hello.wire)
    } else {
        Err(AuthRefusal::WireVersion { ours: spoken.newest(), theirs: hello.wire })
    }
}

/// Whether a listener's hello answers the one that it was sent, in the same version of the wire, and not another one that somebody put in
/// its place.
const fn check_answer(hello: &Hello, offered: &Hello) -> Result<(), AuthRefusal> {
    if hello.wire == offered.wire {
        Ok(())
    } else {
        Err(AuthRefusal::WireVersion { ours: offered.wire, theirs: hello.wire })
    }
}

/// Whether both mean one cluster.
fn check_cluster(hello: &Hello, cluster: ClusterId) -> Result<(), AuthRefusal> {
    if hello.cluster != cluster {
        return Err(AuthRefusal::WrongCluster { ours: cluster, theirs: hello.cluster });
    }
    Ok(())
}

/// Whether the other side, which says it is a member, follows the same genesis rules.
fn check_rules(hello: &Hello, view: &AdmissionView) -> Result<(), AuthRefusal> {
    match hello.rules {
        Some(rules) if rules == view.rules_hash => Ok(()),
        Some(rules) => Err(AuthRefusal::WrongRules { ours: view.rules_hash, theirs: rules }),
        None => Err(AuthRefusal::NoRules),
    }
}

/// The keys and the certificate of a member that the view accepts, and as what it takes part.
fn member_outcome(view: &AdmissionView, judged: Judged, signed: Signed<Certificate>, wire: u16) -> HandshakeOutcome {
    HandshakeOutcome::Member {
        node: judged.keys.node(),
        role: view.role(&judged.certificate),
        keys: judged.keys,
        wire,
        certificate: Box::new(signed),
    }
}
