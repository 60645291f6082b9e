//! libp2p's events in the peer's words.

use std::error::Error;
use std::io;

use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::request_response::{self, InboundFailure, Message, OutboundFailure, ResponseChannel};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, TransportError, identify, ping, relay};
use weft_discovery::Path;
use weft_peer::{GossipTopic, InboundId, Input, OutboundId, Request, Response};
use weft_protocol::limits::GOSSIP_BYTES_MAX;
use weft_protocol::{Gossip, NodeId, decode};

use super::behaviour::BehaviourEvent;
use super::kept::Told;
use super::passing::passes_on;
use super::{Exchange, Network, Responder, address, lookup};
use crate::clock;
use crate::identity::node_id;

/// Most characters of a reason that are passed on.
const REASON_CHARACTERS_MAX: usize = 600;

/// What gossip is worth.
enum Judged {
    /// It is heard and passed on.
    Heard { author: NodeId, content: Box<Gossip> },
    /// Its author is nobody we know as a member; it is dropped, and whoever passed it on may not have known better.
    Unknown,
    /// Whoever passed it on should not have.
    Invalid,
}

impl Network {
    /// Takes in one event of libp2p.
    pub(super) fn happened(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaved(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.opened(&peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => self.closed(&peer_id, connection_id),
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => self.not_reached(&peer, &error),
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, reason = innermost(&error), "an incoming connection was dropped");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                if let Some(listener) = self.listeners.iter_mut().find(|listener| listener.id == listener_id) {
                    listener.bound.get_or_insert(address);
                }
                self.listening_changed();
            }
            SwarmEvent::ExpiredListenAddr { .. } => self.listening_changed(),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if self.relays.closed(listener_id) => {
                tracing::debug!(?reason, "a member passes nothing on any more");
                self.listening_changed();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::error!(?addresses, %error, "an address is not listened on any more");
                }
                self.listening_changed();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            other => tracing::trace!(event = ?other, "nothing to tell"),
        }
    }

    fn behaved(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Ping(event) => self.pinged(&event),
            BehaviourEvent::Gossip(event) => self.gossiped(event),
            BehaviourEvent::A2a(event) => {
                self.exchanged(Exchange::A2a, event, Request::A2a, Response::A2a, Responder::A2a);
            }
            BehaviourEvent::Sync(event) => {
                self.exchanged(Exchange::Sync, event, Request::Sync, Response::Sync, Responder::Sync);
            }
            BehaviourEvent::Blob(event) => {
                self.exchanged(Exchange::Blob, event, Request::Blob, Response::Blob, Responder::Blob);
            }
            BehaviourEvent::Relay(event) => tracing::debug!(?event, "connections of members are passed on"),
            BehaviourEvent::Relayed(event) => self.relay_told(&event),
            BehaviourEvent::Punch(event) => match event.result {
                Ok(_) => tracing::debug!(peer = %event.remote_peer_id, "there is a direct way now"),
                Err(error) => tracing::debug!(peer = %event.remote_peer_id, %error, "there is no direct way"),
            },
            BehaviourEvent::Kept(()) => {}
            BehaviourEvent::Table(event) => self.table_told(event),
            BehaviourEvent::Identify(event) => self.identified(event),
        }
    }

    /// A member that was asked to pass connections on says yes, or does so.
    fn relay_told(&mut self, event: &relay::client::Event) {
        tracing::debug!(?event, "a member passes connections on");
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } = event
            && let Some(node) = node_id(relay_peer_id)
        {
            self.relays.accepted(node);
            // By now it may not be wanted any more.
            self.reserve();
        }
    }

    fn opened(&mut self, peer: &PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(node) = node_id(peer) else { return };
        let opened = self.links.open(node, connection, endpoint.is_relayed());
        // Of one that another member passes on only this node's own end tells through whom.
        let remote = match endpoint {
            ConnectedPoint::Listener { local_addr, .. } if endpoint.is_relayed() => local_addr,
            ConnectedPoint::Dialer { .. } | ConnectedPoint::Listener { .. } => endpoint.get_remote_address(),
        };
        let path = Path {
            address: remote.to_string(),
            transport: match address::transport_name(remote) {
                "tcp" if self.links.is_by_noise(&node) => "tcp+noise",
                name => name,
            },
            dialled: endpoint.is_dialer(),
            wire: self.links.wire(&node),
        };
        tracing::debug!(%node, address = path.address, dialled = path.dialled, "a connection is open");
        for surplus in opened.surplus {
            self.swarm.close_connection(surplus);
        }
        if opened.upgraded || opened.lowered {
            self.tell(Input::PathChanged { node, path: path.clone() });
        }
        if path.dialled && path.transport != Path::RELAY {
            self.relays.reached(node, remote);
        }
        if path.dialled && path.transport == "quic" && self.keeps(&node) {
            self.watches.want(node);
        }
        if opened.first {
            self.kept.open(node);
            self.packets.open(node);
            self.tell(Input::Connected { node, path });
        }
    }

    fn closed(&mut self, peer: &PeerId, connection: ConnectionId) {
        let Some(node) = node_id(peer) else { return };
        self.responders.retain(|_, responder| responder.is_open());
        if self.links.close(node, connection) {
            for request in self.kept.close(node) {
                self.tell(Input::RequestFailed { request, reason: "the connection was lost".to_owned() });
            }
            self.packets.close(node);
            self.relays.lost(node);
            self.watches.close(node);
            self.tell(Input::Disconnected { node });
        }
    }

    fn not_reached(&mut self, peer: &PeerId, error: &DialError) {
        let Some(node) = node_id(peer) else { return };
        let again = self.offers.take_fresh(&node);
        if self.links.is_open(&node) {
            return;
        }
        match error {
            DialError::Transport(errors) if again => {
                tracing::debug!(%node, "it is dialled again, in an older version of the wire");
                self.dial(node, errors.iter().map(|(address, _)| address.to_string()).collect());
            }
            _ => self.dial_failed(node, dial_failure(error)),
        }
    }

    /// A member says where it listens: whoever asks for it is told so.
    fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        self.seen_at(&info.observed_addr);
        let listens = address::parse_all(&address::advertised(&info.listen_addrs));
        if let Some(node) = node_id(&peer_id).filter(|node| self.links.is_open(node)) {
            let over_tcp = listens.iter().filter(|address| address::transport_name(address) == "tcp");
            self.watches.know(node, over_tcp.cloned().collect());
        }
        // Whoever stands in the table is asked, and would be connected again for that.
        if node_id(&peer_id).is_some_and(|node| !self.keeps(&node)) {
            return;
        }
        lookup::enter(&mut self.swarm.behaviour_mut().table, peer_id, listens);
        self.providing.member_came();
    }

    /// A member says at which address it sees this node. One that this node does not listen at was put there on the way.
    pub(super) fn seen_at(&mut self, observed: &Multiaddr) {
        if address::transport_name(observed) == Path::RELAY {
            return;
        }
        let Some(seen) = address::ip(observed) else { return };
        let translated = !self.swarm.listeners().chain(&self.announce).filter_map(address::ip).any(|own| own == seen);
        if self.translated != Some(translated) {
            self.translated = Some(translated);
            self.tell(Input::TranslationSeen { translated });
        }
    }

    fn listening_changed(&mut self) {
        self.mdns.listen_at(self.swarm.listeners());
        let listeners = self.swarm.listeners();
        let addresses = if self.announce.is_empty() {
            address::advertised(listeners)
        } else {
            let relayed = listeners.filter(|address| address::transport_name(address) == Path::RELAY);
            address::advertised(self.announce.iter().chain(relayed))
        };
        if addresses != self.listening {
            // Whoever asks this node to pass connections on is told that it is found here.
            let direct = address::parse_all(&addresses);
            for address in direct.into_iter().filter(|address| address::transport_name(address) != Path::RELAY) {
                self.swarm.add_external_address(address);
            }
            self.listening.clone_from(&addresses);
            self.tell(Input::ListenChanged { addresses });
        }
    }

    fn pinged(&mut self, event: &ping::Event) {
        let Some(node) = node_id(&event.peer) else { return };
        match &event.result {
            Ok(rtt) => {
                // As good a time as any to look whether somebody passes nothing on any more who should.
                self.reserve();
                // And whether something is to be said again.
                self.providing.go_on(&mut self.swarm.behaviour_mut().table, clock::wall());
                let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
                self.tell(Input::Pinged { node, rtt_us });
            }
            Err(failure) => {
                tracing::debug!(%node, %failure, "a ping did not come back");
                self.tell(Input::PingFailed { node });
                // As QUIC does by itself: a connection on which nothing comes back is no connection. libp2p says so from
                // the second failure on.
                if matches!(failure, ping::Failure::Timeout) {
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn gossiped(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let judged = self.judge_gossip(&message);
                let from_author = message.source == Some(propagation_source);
                let acceptance = match &judged {
                    Judged::Heard { author, content } if from_author => self.acceptance(&message_id, *author, content),
                    Judged::Heard { .. } => MessageAcceptance::Accept,
                    Judged::Unknown => MessageAcceptance::Ignore,
                    Judged::Invalid => MessageAcceptance::Reject,
                };
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
                match (judged, node_id(&propagation_source)) {
                    (Judged::Heard { author, content }, Some(from)) => {
                        self.tell(Input::Gossiped { from, author, content });
                    }
                    _ => tracing::debug!(from = %propagation_source, topic = %message.topic, "gossip was not believed"),
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => tracing::debug!(peer = %peer_id, "gossip piles up"),
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::warn!(peer = %peer_id, "a member that does not gossip");
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    /// Whether what its author said to us itself is passed on: in a full mesh few pass on what everybody follows.
    fn acceptance(&self, id: &gossipsub::MessageId, author: NodeId, content: &Gossip) -> MessageAcceptance {
        let by_few = match content {
            Gossip::Head(_) | Gossip::Advert(_) => self.keeps.is_none(),
            // Who follows a topic is not known here.
            Gossip::Publication(_) => false,
        };
        let others = self.links.nodes().into_iter().filter(|node| *node != author);
        if by_few && !passes_on(&id.0, &self.node, others) {
            return MessageAcceptance::Ignore;
        }
        MessageAcceptance::Accept
    }

    /// Whether the content fits its topic and its author; the author's signature has been checked.
    fn judge_gossip(&self, message: &gossipsub::Message) -> Judged {
        let topic = self.topics.parse(&message.topic);
        let author = message.source.as_ref().and_then(node_id);
        let content = decode::<Gossip>(&message.data, GOSSIP_BYTES_MAX);
        let (Some(topic), Some(author), Ok(content)) = (topic, author, content) else { return Judged::Invalid };
        let fits = match (&topic, &content) {
            (GossipTopic::Heads, Gossip::Head(_)) | (GossipTopic::Directory, Gossip::Advert(_)) => true,
            (GossipTopic::Agents(topic), Gossip::Publication(publication)) => {
                publication.topic == *topic && publication.from.node == author
            }
            (GossipTopic::Wildcards, Gossip::Publication(publication)) => publication.from.node == author,
            (GossipTopic::Heads, Gossip::Advert(_) | Gossip::Publication(_))
            | (GossipTopic::Directory, Gossip::Head(_) | Gossip::Publication(_))
            | (GossipTopic::Agents(_) | GossipTopic::Wildcards, Gossip::Head(_) | Gossip::Advert(_)) => false,
        };
        let view = self.view.borrow();
        let member = view.members.contains_key(&author) && !view.quarantined.contains(&author);
        match (fits, member) {
            (false, _) => Judged::Invalid,
            (true, false) => Judged::Unknown,
            (true, true) => Judged::Heard { author, content: Box::new(content) },
        }
    }

    /// What became of a request or response of one protocol.
    fn exchanged<Q, R>(
        &mut self,
        exchange: Exchange,
        event: request_response::Event<Q, R>,
        request_of: fn(Q) -> Request,
        response_of: fn(R) -> Response,
        responder_of: fn(ResponseChannel<R>) -> Responder,
    ) {
        match event {
            request_response::Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                if let Some(from) = node_id(&peer) {
                    self.asked(from, request_of(request), responder_of(channel));
                }
            }
            request_response::Event::Message { message: Message::Response { request_id, response }, .. } => {
                let request = self.requests.remove(&(exchange, request_id));
                self.answered(request, response_of(response));
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                let request = self.requests.remove(&(exchange, request_id));
                self.failed(request, &error);
            }
            request_response::Event::InboundFailure { peer, error, .. } => self.unanswered(&peer, &error),
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    /// What kept streams brought.
    pub(super) fn told(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Asked { from, content, reply } => self.asked(from, Request::A2a(content), Responder::Kept(reply)),
                Told::Answered { request, content } => self.answered(Some(request), Response::A2a(content)),
                Told::Failed { request, reason } => {
                    self.tell(Input::RequestFailed { request, reason: shortened(reason) });
                }
            }
        }
    }

    fn asked(&mut self, from: NodeId, content: Request, responder: Responder) {
        let request = InboundId(self.next_inbound);
        self.next_inbound += 1;
        self.responders.insert(request, responder);
        self.tell(Input::RequestArrived { request, from, content });
    }

    fn answered(&mut self, request: Option<OutboundId>, content: Response) {
        if let Some(request) = request {
            self.tell(Input::ResponseArrived { request, content });
        }
    }

    fn failed(&mut self, request: Option<OutboundId>, error: &OutboundFailure) {
        if let Some(request) = request {
            self.tell(Input::RequestFailed { request, reason: shortened(error.to_string()) });
        }
    }

    fn unanswered(&mut self, peer: &PeerId, error: &InboundFailure) {
        tracing::debug!(%peer, %error, "a member's request was not answered");
        self.responders.retain(|_, responder| responder.is_open());
    }
}

/// Why a dial failed, for each address.
pub(super) fn dial_failure(error: &DialError) -> String {
    let reason = match error {
        DialError::NoAddresses => "no address of it is known".to_owned(),
        DialError::WrongPeerId { obtained, address } => format!("{address}: another node answers there: {obtained}"),
        DialError::LocalPeerId { address } => format!("{address}: this node itself answers there"),
        DialError::Transport(errors) => {
            let reasons =
                errors.iter().map(|(address, error)| format!("{}: {}", bare(address), transport_failure(error)));
            reasons.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    };
    shortened(reason)
}

/// Why one address was not reached.
pub(super) fn transport_failure(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "not an address of a transport that is spoken here".to_owned(),
        TransportError::Other(error) => innermost(error),
    }
}

/// What the innermost cause says: the layers around it only say that something failed.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The address without the peer id at its end.
fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect()
}

fn shortened(reason: String) -> String {
    match reason.char_indices().nth(REASON_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    }
}
