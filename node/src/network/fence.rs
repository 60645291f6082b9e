//! Keeps this node from dialling anybody but members and whom the node itself wants to reach, since a name in a table is no reason;
//! and from spending more on whoever comes than it can afford.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use weft_peer::{Bucket, Rate};

use crate::clock;

/// Connections that are taken in, whoever they are of: the handshake of one costs 1 to 3 ms of a processor, so that a flood of
/// strangers costs a tenth of one. One more is dropped unheard, and a member dials again (guess).
pub(super) const ARRIVALS: Rate = Rate { per_s: 25, burst: 128 };

/// Somebody is not dialled because nobody here knows it as a member.
#[derive(Debug, thiserror::Error)]
#[error("not a member that is known here")]
struct NoMember;

/// More come than are taken in.
#[derive(Debug, thiserror::Error)]
#[error("more connections come than are taken in")]
struct TooManyArrivals;

/// Who may be dialled, and how many may come. Who comes is judged by the handshake.
#[derive(Debug)]
pub(super) struct Fence {
    arrivals: Bucket,
    members: BTreeSet<PeerId>,
    /// Whom the node itself dials now.
    wanted: Option<PeerId>,
}

impl Default for Fence {
    fn default() -> Self {
        Self { arrivals: Bucket::new(ARRIVALS, clock::wall()), members: BTreeSet::new(), wanted: None }
    }
}

impl Fence {
    /// From now on these are members.
    pub(super) fn admit(&mut self, members: BTreeSet<PeerId>) {
        self.members = members;
    }

    /// The node itself dials this one, until it is called with none.
    pub(super) const fn want(&mut self, peer: Option<PeerId>) {
        self.wanted = peer;
    }
}

impl NetworkBehaviour for Fence {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.arrivals.take(ARRIVALS, 1, clock::wall()).map_err(|_| ConnectionDenied::new(TooManyArrivals))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match peer {
            Some(peer) if self.members.contains(&peer) || self.wanted == Some(peer) => Ok(Vec::new()),
            Some(_) | None => Err(ConnectionDenied::new(NoMember)),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
