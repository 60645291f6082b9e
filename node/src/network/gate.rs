//! What the handshakes inside the transport need of the node: the view of who it and others are, and its event loop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use weft_discovery::{AdmissionView, Handshake, HandshakeOutcome};
use weft_protocol::limits::{AUTH_FRAME_BYTES_MAX, AUTH_US_MAX};
use weft_protocol::{Admission, AuthRefusal, InviteId, Join, NodeId, PublicKeys, WireVersions};

use super::authenticate::{AuthFailure, Bounds, Side, exchange};
use super::links::{Life, Run};
use super::offers::{Offer, Offers};
use super::refusals::Refusals;
use super::secured::Security;
use crate::identity::{node_id, random};

/// What a handshake wants of the event loop.
#[derive(Debug)]
pub(super) enum Knock {
    /// A joiner asks to be admitted.
    Join {
        keys: PublicKeys,
        invite: InviteId,
        join: Join,
        answer: oneshot::Sender<Result<Box<Admission>, AuthRefusal>>,
    },
    /// A member was authenticated. Its connection begins when `ready` is told; it is closed when `ready` is dropped.
    Enter { node: NodeId, life: Life, ready: oneshot::Sender<()> },
    /// A member wants this connection kept for nothing but its end.
    Watched { node: NodeId, muxer: StreamMuxerBox },
}

/// One for all connections of a node; a clone is the same gate.
#[derive(Clone)]
pub(super) struct Gate {
    run: Run,
    view: watch::Receiver<Arc<AdmissionView>>,
    knocks: mpsc::Sender<Knock>,
    refusals: Refusals,
    offers: Offers,
    dials: Arc<Mutex<BTreeMap<NodeId, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Gate {
    /// The gate of one life of a node.
    ///
    /// # Errors
    /// [`AuthFailure::Entropy`] when the operating system gives no random bytes.
    pub(super) fn new(
        view: watch::Receiver<Arc<AdmissionView>>,
        knocks: mpsc::Sender<Knock>,
        refusals: Refusals,
        offers: Offers,
    ) -> Result<Self, AuthFailure> {
        let run = Run::from_be_bytes(random().map_err(AuthFailure::Entropy)?);
        Ok(Self { run, view, knocks, refusals, offers, dials: Arc::default() })
    }

    /// Authenticates a new connection. It is heard of only when the other end is a member.
    ///
    /// # Errors
    /// [`AuthFailure`]; the connection is closed when the muxer is dropped with it.
    pub(super) async fn authenticate(
        self,
        peer: PeerId,
        security: Security,
        mut muxer: StreamMuxerBox,
        point: ConnectedPoint,
    ) -> Result<(PeerId, StreamMuxerBox), AuthFailure> {
        let node = node_id(&peer).ok_or(AuthFailure::UnknownKey)?;
        check_expected(&point, peer)?;
        let result = self.run_handshake(node, security, &mut muxer, &point).await;
        let address = point.get_remote_address().to_string();
        match result {
            Ok(()) => Ok((peer, muxer)),
            Err(AuthFailure::RefusedThem(refusal)) => {
                self.refusals.note(node, address, true, refusal.clone());
                Err(AuthFailure::RefusedThem(refusal))
            }
            Err(AuthFailure::RefusedUs(refusal)) => {
                self.refusals.note(node, address, false, refusal.clone());
                Err(AuthFailure::RefusedUs(refusal))
            }
            Err(AuthFailure::Watched) => {
                self.knock(Knock::Watched { node, muxer }).await?;
                Err(AuthFailure::Watched)
            }
            Err(other) => Err(other),
        }
    }

    async fn run_handshake(
        &self,
        node: NodeId,
        security: Security,
        muxer: &mut StreamMuxerBox,
        point: &ConnectedPoint,
    ) -> Result<(), AuthFailure> {
        let view = Arc::clone(&self.view.borrow());
        let signer = Arc::clone(&view.signer);
        let nonce = random().map_err(AuthFailure::Entropy)?;
        let turn = self.turn(node);
        let ours = view.wire;
        let (side, handshake, offer, _turn) = match acts_as(point) {
            Endpoint::Dialer => {
                // What was refused while this one waited for its turn is known then.
                let turn = turn.lock().await;
                let offer = self.offers.to(&node, ours).ok_or(AuthFailure::DialledAnew)?;
                let handshake = Handshake::dialer_member(view, signer, nonce, node).offering(offer.wire);
                (Side::Dialer, handshake, Some(offer), Some(turn))
            }
            Endpoint::Listener => (Side::Listener, Handshake::listener(view, signer, nonce, node), None, None),
        };
        let talk = self.exchange(muxer, side, handshake, offer, node).await;
        let (outcome, run) = talk.map_err(|failure| self.remembered(node, failure, ours))?;
        match outcome {
            HandshakeOutcome::Member { node, wire, .. } => {
                let (ready, is_ready) = oneshot::channel();
                let life = Life { run, wire, security };
                self.knock(Knock::Enter { node, life, ready }).await?;
                let entered = timeout(Duration::from_micros(AUTH_US_MAX), is_ready).await;
                entered.map_err(|_| AuthFailure::TimedOut)?.map_err(|_| AuthFailure::Closing)
            }
            HandshakeOutcome::Admitted(_) => Err(AuthFailure::Admitted),
        }
    }

    /// What a failure says of the versions that a node speaks is remembered for the next dial. One that leaves nothing to offer is a
    /// refusal like others.
    fn remembered(&self, node: NodeId, failure: AuthFailure, ours: WireVersions) -> AuthFailure {
        match failure {
            AuthFailure::OlderWire { offer, theirs, run } => {
                if self.offers.refused(node, run, offer, theirs, ours) {
                    return AuthFailure::OlderWire { offer, theirs, run };
                }
                AuthFailure::RefusedUs(AuthRefusal::WireVersion { ours: theirs, theirs: offer.wire })
            }
            AuthFailure::OtherRun => {
                self.offers.outlived(&node);
                AuthFailure::OtherRun
            }
            other => other,
        }
    }

    async fn exchange(
        &self,
        muxer: &mut StreamMuxerBox,
        side: Side,
        handshake: Handshake,
        offer: Option<Offer>,
        node: NodeId,
    ) -> Result<(HandshakeOutcome, Run), AuthFailure> {
        let ask = async |keys, invite, join| {
            let (answer, answered) = oneshot::channel();
            let knock = Knock::Join { keys, invite, join, answer };
            self.knock(knock).await.map_err(|_| AuthRefusal::NotReady)?;
            answered.await.map_err(|_| AuthRefusal::NotReady)?.map(|admission| *admission)
        };
        let member = self.view.borrow().is_active(&node);
        let bounds = Bounds { frame_bytes_max: AUTH_FRAME_BYTES_MAX, may_be_watched: side == Side::Listener && member };
        exchange(muxer, side, handshake, self.run, offer, bounds, ask).await
    }

    async fn knock(&self, knock: Knock) -> Result<(), AuthFailure> {
        self.knocks.send(knock).await.map_err(|_| AuthFailure::Closing)
    }

    /// Of several dials to one node the first that connects authenticates, and the others wait for what becomes of it:
    /// otherwise the other side would let in connections that we drop.
    fn turn(&self, node: NodeId) -> Arc<tokio::sync::Mutex<()>> {
        let mut dials = self.dials.lock().unwrap_or_else(PoisonError::into_inner);
        dials.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(dials.entry(node).or_default())
    }
}

/// Which end this node plays: two that dial each other at once, to get through what translates addresses, have agreed on one
/// listener.
pub(super) const fn acts_as(point: &ConnectedPoint) -> Endpoint {
    match point {
        ConnectedPoint::Dialer { role_override, .. } => *role_override,
        ConnectedPoint::Listener { .. } => Endpoint::Listener,
    }
}

/// Whether the node that was to be reached is the one that answered.
fn check_expected(point: &ConnectedPoint, found: PeerId) -> Result<(), AuthFailure> {
    let ConnectedPoint::Dialer { address, .. } = point else { return Ok(()) };
    // Behind the address of whoever passes the connection on.
    let expected = address.iter().filter_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let expected = expected.last();
    match expected {
        Some(expected) if expected != found => Err(AuthFailure::OtherNode { found }),
        _ => Ok(()),
    }
}
