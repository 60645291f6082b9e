//! The mesh as nodes see it: connections that are authenticated by the real handshake, frames on them, gossip, pings.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use weft_discovery::{Handshake, HandshakeOutcome, Path, Step as Shake};
use weft_peer::{GossipTopic, InboundId, Input, OutboundId, Request, Response};
use weft_protocol::limits::{
    ADMISSION_FRAME_BYTES_MAX, AUTH_FRAME_BYTES_MAX, FRAME_BYTES_MAX, GOSSIP_BYTES_MAX, SWIM_PACKET_BYTES_MAX,
};
use weft_protocol::{
    A2aRequest, A2aResponse, AuthFrame, AuthRefusal, BlobRequest, BlobResponse, Gossip, NodeId, SyncRequest,
    SyncResponse, Timestamp, TopicName, WIRE_VERSION, WIRE_VERSION_MIN, decode, encode,
};

use crate::checks::Check;
use crate::faults::Fault;
use crate::mutation::Mutation;
use crate::node::{Inbound, Link, Outbound, Protocol, node_at};
use crate::world::{Event, World};

/// How long a request waits for its response, as over the real transport.
const REQUEST_US_MAX: u64 = 10_000_000;
/// How long a dial waits for somebody who does not answer, as over the real transport.
const DIAL_US_MAX: u64 = 3_000_000;
/// How often both ends of a connection look whether the other is there, as over the real transport.
const PING_US: u64 = 1_000_000;
/// How long they wait for it, as over the real transport.
const PING_US_MAX: u64 = 2_000_000;
/// What a frame without content, a ping or the first packet of a connection takes on the wire, in bytes (guess).
pub(crate) const SMALL_BYTES: usize = 64;
/// A connection over which nothing came back for this long is closed, as over the real transport.
const IDLE_US_MAX: u64 = 5_000_000;

/// What travels over one connection.
#[derive(Debug)]
pub(crate) struct Frame {
    from: usize,
    to: usize,
    connection: u64,
    content: Content,
    /// Whether a bit of it was flipped on the way.
    corrupted: bool,
}

impl Frame {
    /// Whom it is for.
    pub(crate) const fn to(&self) -> usize {
        self.to
    }
}

#[derive(Debug)]
enum Content {
    Request { request: OutboundId, protocol: Protocol, bytes: Vec<u8> },
    Response { request: OutboundId, protocol: Protocol, bytes: Vec<u8> },
    Gossip { author: usize, number: u64, topic: GossipTopic, bytes: Vec<u8> },
    Swim(Vec<u8>),
    WatchEnd,
    Close,
}

impl Content {
    /// What it is for, as reports name it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Request { protocol: Protocol::A2a, .. } | Self::Response { protocol: Protocol::A2a, .. } => {
                "messages"
            }
            Self::Request { protocol: Protocol::Sync, .. } | Self::Response { protocol: Protocol::Sync, .. } => "sync",
            Self::Request { protocol: Protocol::Blob, .. } | Self::Response { protocol: Protocol::Blob, .. } => {
                "bodies"
            }
            Self::Gossip { topic: GossipTopic::Heads, .. } => "heads",
            Self::Gossip { topic: GossipTopic::Directory, .. } => "directory",
            Self::Gossip { topic: GossipTopic::Agents(_) | GossipTopic::Wildcards, .. } => "publications",
            Self::Swim(_) | Self::WatchEnd => "liveness",
            Self::Close => "connections",
        }
    }

    /// How large it is on the wire.
    const fn bytes(&self) -> usize {
        match self {
            Self::Request { bytes, .. } | Self::Response { bytes, .. } | Self::Gossip { bytes, .. } => bytes.len(),
            Self::Swim(packet) => packet.len(),
            Self::WatchEnd | Self::Close => SMALL_BYTES,
        }
    }

    /// What a careless node in the middle may hand on with a flipped bit. The transport would notice a change on the link, so
    /// this strikes only what proves itself and may have been kept by somebody else meanwhile: commits of a range, chunks of
    /// bodies, and gossip that is signed.
    fn corruptible(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Response { protocol: Protocol::Sync, bytes, .. } => {
                let page = decode::<SyncResponse>(bytes, FRAME_BYTES_MAX);
                matches!(page, Ok(SyncResponse::Page { .. })).then_some(bytes)
            }
            Self::Response { protocol: Protocol::Blob, bytes, .. } => Some(bytes),
            Self::Gossip { topic: GossipTopic::Heads | GossipTopic::Directory, bytes, .. } => Some(bytes),
            Self::Response { protocol: Protocol::A2a, .. }
            | Self::Request { .. }
            | Self::Gossip { topic: GossipTopic::Agents(_) | GossipTopic::Wildcards, .. }
            | Self::Swim(_)
            | Self::WatchEnd
            | Self::Close => None,
        }
    }
}

impl World {
    /// The node with this key.
    pub(crate) fn number_of(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id() == id)
    }

    pub(crate) fn connection(&self, node: usize, peer: usize) -> Option<u64> {
        let running = self.nodes[node].running.as_ref()?;
        running.links.get(&peer).map(|link| link.connection)
    }

    /// Sends a frame; the network decides whether and when it arrives.
    fn send_frame(&mut self, from: usize, to: usize, connection: u64, mut content: impl FnMut() -> Content) {
        let first = content();
        let bytes = first.bytes();
        self.ledger.sent(first.kind(), bytes);
        let arrivals = self.network.carry(from, to, self.now_us, bytes, &mut self.network_dice);
        let contents = std::iter::once(first).chain(std::iter::repeat_with(content));
        for (arrives_us, mut content) in arrivals.into_iter().zip(contents) {
            let corrupted = self.network.may_corrupt() && self.corrupt(&mut content);
            let frame = Frame { from, to, connection, content, corrupted };
            self.after(arrives_us - self.now_us, Event::Arrive(Box::new(frame)));
        }
    }

    /// Flips a bit of what is carried, if it is struck; whether it was.
    fn corrupt(&mut self, content: &mut Content) -> bool {
        let Some(bytes) = content.corruptible() else { return false };
        let Some((place, bit)) = self.network.corrupts(bytes.len()) else { return false };
        bytes[place] ^= bit;
        true
    }

    /// Tells the other end that nobody is here any more to whom its idle connection leads.
    pub(crate) fn send_watch_end(&mut self, from: usize, to: usize, connection: u64) {
        self.send_frame(from, to, connection, || Content::WatchEnd);
    }

    /// Tells the other end that a connection is over.
    pub(crate) fn send_close(&mut self, from: usize, to: usize, connection: u64) {
        self.send_frame(from, to, connection, || Content::Close);
    }

    /// Checks that a frame is within its limit.
    fn check_size(&mut self, bytes: &[u8], bytes_max: usize) {
        self.judge.book.check(Check::FramesAreCanonical, bytes.len() <= bytes_max, || {
            format!("a frame of {} bytes, at most {bytes_max} are accepted", bytes.len())
        });
    }

    /// Decodes what arrived; honest nodes send nothing that does not decode.
    fn decoded<T: Serialize + DeserializeOwned>(&mut self, bytes: &[u8], bytes_max: usize) -> Option<T> {
        self.decoded_if(false, bytes, bytes_max)
    }

    /// The same of what may have been corrupted on the way.
    fn decoded_if<T: Serialize + DeserializeOwned>(
        &mut self,
        corrupted: bool,
        bytes: &[u8],
        bytes_max: usize,
    ) -> Option<T> {
        match decode(bytes, bytes_max) {
            Ok(value) => Some(value),
            Err(_) if corrupted => None,
            Err(error) => {
                let name = std::any::type_name::<T>();
                self.judge.book.check(Check::FramesAreCanonical, false, || format!("{name}: {error}"));
                None
            }
        }
    }

    // Requests and responses.

    /// Carries out `Request`.
    pub(crate) fn request(&mut self, node: usize, request: OutboundId, to: NodeId, content: &Request) {
        let peer = self.number_of(to);
        let connection = peer.and_then(|peer| self.connection(node, peer));
        let (Some(peer), Some(connection)) = (peer, connection) else {
            let reason = "no connection is open".to_owned();
            self.tell_after(0, node, Input::RequestFailed { request, reason });
            return;
        };
        let replayed = self.replayed(node, content);
        let bent = self.bent_request(node, content);
        let content = bent.as_ref().unwrap_or(content);
        let (protocol, mut bytes) = match content {
            Request::A2a(request) => (Protocol::A2a, encode(request)),
            Request::Sync(request) => (Protocol::Sync, encode(request)),
            Request::Blob(request) => (Protocol::Blob, encode(request)),
        };
        if let Some(mutation) = self.mutation {
            mutation.garble(&mut bytes);
        }
        self.check_size(&bytes, FRAME_BYTES_MAX);
        if let Some(running) = self.nodes[node].running.as_mut() {
            running.outbound.insert(request, Outbound { to: peer, protocol });
        }
        for _ in 0..self.times_said(node) {
            self.send_frame(node, peer, connection, || Content::Request { request, protocol, bytes: bytes.clone() });
        }
        if let Some((request, Request::A2a(earlier))) = replayed {
            let (protocol, bytes) = (Protocol::A2a, encode(&earlier));
            self.send_frame(node, peer, connection, || Content::Request { request, protocol, bytes: bytes.clone() });
        }
        let run = self.nodes[node].run;
        self.after(REQUEST_US_MAX, Event::Expire { node, run, request });
    }

    /// Carries out `SendSwim`.
    pub(crate) fn send_swim(&mut self, node: usize, to: NodeId, packet: &[u8]) {
        let Some(peer) = self.number_of(to) else { return };
        if let Some(connection) = self.connection(node, peer) {
            self.check_size(packet, SWIM_PACKET_BYTES_MAX);
            self.send_frame(node, peer, connection, || Content::Swim(packet.to_vec()));
        }
    }

    /// A request waited long enough.
    pub(crate) fn expire(&mut self, node: usize, request: OutboundId) {
        let running = self.nodes[node].running.as_mut();
        if running.is_some_and(|running| running.outbound.remove(&request).is_some()) {
            self.tell(node, Input::RequestFailed { request, reason: "no response in time".to_owned() });
        }
    }

    /// Carries out `Respond`.
    pub(crate) fn respond(&mut self, node: usize, request: InboundId, content: &Response) {
        let running = self.nodes[node].running.as_mut();
        let Some(inbound) = running.and_then(|running| running.inbound.remove(&request)) else { return };
        let bent = self.bent_response(node, content);
        let content = bent.as_ref().unwrap_or(content);
        let (protocol, bytes) = match content {
            Response::A2a(response) => (Protocol::A2a, encode(response)),
            Response::Sync(response) => (Protocol::Sync, encode(response)),
            Response::Blob(response) => (Protocol::Blob, encode(response)),
        };
        if matches!(content, Response::Blob(BlobResponse::Chunk(_))) {
            self.faults.count(Fault::BodyApart);
        }
        self.check_size(&bytes, FRAME_BYTES_MAX);
        let Inbound { from, connection, request } = inbound;
        self.send_frame(node, from, connection, || Content::Response { request, protocol, bytes: bytes.clone() });
    }

    /// A frame reaches its end.
    pub(crate) fn arrive(&mut self, frame: Frame) {
        let Frame { from, to, connection, content, corrupted } = frame;
        if self.nodes[to].running.is_none() {
            return;
        }
        if self.connection(to, from) != Some(connection) {
            if !matches!(content, Content::Close) {
                self.send_close(to, from, connection);
            }
            return;
        }
        match content {
            Content::Request { request, protocol, bytes } => {
                self.request_arrived(from, to, connection, request, protocol, &bytes);
            }
            Content::Response { request, protocol, bytes } => {
                self.response_arrived(to, request, protocol, &bytes, corrupted);
            }
            Content::Gossip { author, number, topic, bytes } => {
                self.gossip_arrived(from, to, author, number, topic, &bytes, corrupted);
            }
            Content::Swim(packet) => {
                let from = self.nodes[from].id();
                self.tell(to, Input::SwimArrived { from, packet });
            }
            Content::WatchEnd => {
                let node = self.nodes[from].id();
                self.tell(to, Input::WatchEnded { node });
            }
            Content::Close => self.lose_link(to, from),
        }
    }

    fn request_arrived(
        &mut self,
        from: usize,
        to: usize,
        connection: u64,
        request: OutboundId,
        protocol: Protocol,
        bytes: &[u8],
    ) {
        if protocol == Protocol::Sync && self.mutation == Some(Mutation::DeafToSync) {
            return;
        }
        let repairs = |request: &SyncRequest| matches!(request, SyncRequest::Publications { .. });
        if self.mutation == Some(Mutation::RepairNothing)
            && protocol == Protocol::Sync
            && self.decoded::<SyncRequest>(bytes, FRAME_BYTES_MAX).as_ref().is_some_and(repairs)
        {
            return;
        }
        let content = match protocol {
            Protocol::A2a => self.decoded::<A2aRequest>(bytes, FRAME_BYTES_MAX).map(Request::A2a),
            Protocol::Sync => self.decoded::<SyncRequest>(bytes, FRAME_BYTES_MAX).map(Request::Sync),
            Protocol::Blob => self.decoded::<BlobRequest>(bytes, FRAME_BYTES_MAX).map(Request::Blob),
        };
        let Some(mut content) = content else { return };
        self.check_request_version(to, &content);
        if let (Some(mutation), Request::A2a(request)) = (self.mutation, &mut content) {
            mutation.skim(request);
        }
        let id = InboundId(self.next_inbound);
        self.next_inbound += 1;
        if let Some(running) = self.nodes[to].running.as_mut() {
            running.inbound.insert(id, Inbound { from, connection, request });
        }
        let from = self.nodes[from].id();
        self.tell(to, Input::RequestArrived { request: id, from, content });
    }

    fn response_arrived(&mut self, to: usize, request: OutboundId, protocol: Protocol, bytes: &[u8], corrupted: bool) {
        let running = self.nodes[to].running.as_mut();
        let waits = running.is_some_and(|running| {
            let waits = running.outbound.get(&request).is_some_and(|outbound| outbound.protocol == protocol);
            waits && running.outbound.remove(&request).is_some()
        });
        if !waits {
            return;
        }
        if corrupted {
            self.faults.count(Fault::Corrupted);
        }
        let content = match protocol {
            Protocol::A2a => self.decoded_if::<A2aResponse>(corrupted, bytes, FRAME_BYTES_MAX).map(Response::A2a),
            Protocol::Sync => self.decoded_if::<SyncResponse>(corrupted, bytes, FRAME_BYTES_MAX).map(Response::Sync),
            Protocol::Blob => self.decoded_if::<BlobResponse>(corrupted, bytes, FRAME_BYTES_MAX).map(Response::Blob),
        };
        match content {
            Some(content) => {
                self.check_response_version(to, &content);
                self.tell(to, Input::ResponseArrived { request, content });
            }
            // As the transport does with a response that cannot be read.
            None if corrupted => {
                self.tell(to, Input::RequestFailed { request, reason: "the response cannot be read".to_owned() });
            }
            None => {}
        }
    }

    // Gossip.

    /// Carries out `Gossip`: to every connected node that follows the topic.
    pub(crate) fn gossip(&mut self, node: usize, topic: &GossipTopic, content: &Gossip) {
        let promised = self.mutation.and_then(|mutation| mutation.promise(content, &*self.nodes[node].keys));
        if let Some((victim, sibling)) = self.sibling(node, topic, content) {
            let (number, bytes) = (self.gossip_number(), encode(&sibling));
            if let Some(connection) = self.connection(node, victim) {
                let content = || {
                    let topic = topic.clone();
                    Content::Gossip { author: node, number, topic, bytes: bytes.clone() }
                };
                self.send_frame(node, victim, connection, content);
            }
        }
        let bent = self.bent_gossip(node, content);
        let bytes = encode(promised.as_ref().or(bent.as_ref()).unwrap_or(content));
        self.check_size(&bytes, GOSSIP_BYTES_MAX);
        for _ in 0..self.times_said(node) {
            let number = self.gossip_number();
            self.mark_seen(node, node, number);
            self.pass_on(node, None, node, number, topic, &bytes);
        }
    }

    fn gossip_number(&mut self) -> u64 {
        let number = self.next_gossip;
        self.next_gossip += 1;
        number
    }

    fn pass_on(
        &mut self,
        node: usize,
        but: Option<usize>,
        author: usize,
        number: u64,
        topic: &GossipTopic,
        bytes: &[u8],
    ) {
        let Some(running) = self.nodes[node].running.as_ref() else { return };
        let links: Vec<(usize, u64)> = running.links.iter().map(|(peer, link)| (*peer, link.connection)).collect();
        for (peer, connection) in links {
            if Some(peer) != but && peer != author && self.follows(peer, topic) {
                let topic = topic.clone();
                let content = || Content::Gossip { author, number, topic: topic.clone(), bytes: bytes.to_vec() };
                self.send_frame(node, peer, connection, content);
            }
        }
    }

    fn follows(&self, node: usize, topic: &GossipTopic) -> bool {
        match topic {
            GossipTopic::Heads => self.mutation != Some(Mutation::DeafToSync),
            GossipTopic::Directory => true,
            GossipTopic::Agents(_) | GossipTopic::Wildcards => {
                let running = self.nodes[node].running.as_ref();
                running.is_some_and(|running| running.follows.contains(topic))
            }
        }
    }

    /// Whether that was new to the node.
    fn mark_seen(&mut self, node: usize, author: usize, number: u64) -> bool {
        let running = self.nodes[node].running.as_mut();
        running.is_some_and(|running| running.seen.insert((author, number)))
    }

    #[expect(clippy::too_many_arguments, reason = "a frame of gossip taken apart")]
    fn gossip_arrived(
        &mut self,
        from: usize,
        to: usize,
        author: usize,
        number: u64,
        topic: GossipTopic,
        bytes: &[u8],
        corrupted: bool,
    ) {
        if !self.follows(to, &topic) {
            return;
        }
        let new = self.mark_seen(to, author, number);
        self.ledger.heard(new);
        if !new {
            return;
        }
        if corrupted {
            self.faults.count(Fault::Corrupted);
        }
        let Some(content) = self.decoded_if::<Gossip>(corrupted, bytes, GOSSIP_BYTES_MAX) else { return };
        self.pass_on(to, Some(from), author, number, &topic, bytes);
        let (from, author) = (self.nodes[from].id(), self.nodes[author].id());
        self.tell(to, Input::Gossiped { from, author, content: Box::new(content) });
    }

    /// Carries out `Follow`.
    pub(crate) fn follow_topics(&mut self, node: usize, topics: Vec<TopicName>, wildcards: bool) {
        if let Some(running) = self.nodes[node].running.as_mut() {
            let topics = topics.into_iter().map(GossipTopic::Agents);
            running.follows = topics.chain(wildcards.then_some(GossipTopic::Wildcards)).collect();
        }
    }

    // Connections.

    /// Carries out `Dial`, once the first frames have been on their way.
    pub(crate) fn begin_dial(&mut self, node: usize, to: NodeId, addresses: Vec<String>) {
        let run = self.nodes[node].run;
        let latency_us = self.network.latency_us(node, self.number_of(to).unwrap_or(node));
        let delay_us = 2 * self.network_dice.between(latency_us);
        self.after(delay_us, Event::Dial { node, run, to, addresses });
    }

    /// Tries to reach a member at its addresses and to prove to each other who both are.
    pub(crate) fn dial(&mut self, node: usize, to: NodeId, addresses: &[String]) {
        let there = addresses
            .iter()
            .filter_map(|address| node_at(address))
            .find(|peer| self.nodes.get(*peer).is_some_and(|peer| peer.id() == to && peer.running.is_some()));
        let Some(peer) = there.filter(|peer| self.is_reached(node, *peer)) else {
            let run = self.nodes[node].run;
            self.after(DIAL_US_MAX, Event::GiveUp { node, run, to });
            return;
        };
        match self.authenticate(node, peer) {
            Ok(wire) => self.open_connection(node, peer, wire),
            Err(reason) => self.tell_after(0, node, Input::DialFailed { node: to, reason }),
        }
    }

    /// A dial waited long enough, which nobody is told who was reached meanwhile.
    pub(crate) fn give_up(&mut self, node: usize, to: NodeId) {
        let peer = self.number_of(to);
        if peer.and_then(|peer| self.connection(node, peer)).is_none() {
            self.tell(node, Input::DialFailed { node: to, reason: "nothing answers".to_owned() });
        }
    }

    /// Whether the first frames get through, there and back.
    pub(crate) fn is_reached(&mut self, node: usize, peer: usize) -> bool {
        let mut passes =
            |from, to| !self.network.carry(from, to, self.now_us, SMALL_BYTES, &mut self.network_dice).is_empty();
        self.nodes[peer].held.is_none() && passes(node, peer) && passes(peer, node)
    }

    /// Runs both sides of the handshake of members, once more in an older version when the listener speaks no other.
    fn authenticate(&mut self, dialer: usize, listener: usize) -> Result<u16, String> {
        let (ours, mut offered) = (self.wire_of(dialer), self.wire_of(dialer).newest());
        loop {
            let next = match self.authenticate_in(offered, dialer, listener)? {
                Ok(wire) => return Ok(wire),
                Err(AuthRefusal::WireVersion { ours: theirs, .. }) => ours.after_refusal(offered, theirs),
                Err(refusal) => return Err(refusal.to_string()),
            };
            offered = next.ok_or_else(|| "no version of the wire is spoken by both".to_owned())?;
        }
    }

    /// One handshake, in which the dialer offers that version; the refusal of one side, if that is what came of it.
    fn authenticate_in(
        &mut self,
        offered: u16,
        dialer: usize,
        listener: usize,
    ) -> Result<Result<u16, AuthRefusal>, String> {
        let nonces = [self.peer_dice.bytes(), self.peer_dice.bytes()];
        let view = |node: usize| {
            let running = self.nodes[node].running.as_ref();
            running.map(|running| Arc::clone(&running.view)).ok_or_else(|| "nobody is there".to_owned())
        };
        let (dialer_view, listener_view) = (view(dialer)?, view(listener)?);
        let (dialer_id, listener_id) = (self.nodes[dialer].id(), self.nodes[listener].id());
        let dialer_keys = Arc::clone(&self.nodes[dialer].keys);
        let listener_keys = Arc::clone(&self.nodes[listener].keys);
        let mut machines = Shaking {
            dialer: Handshake::dialer_member(dialer_view, dialer_keys, nonces[0], listener_id).offering(offered),
            listener: Handshake::listener(listener_view, listener_keys, nonces[1], dialer_id),
            frames: VecDeque::new(),
        };
        let frames = machines.dialer.start();
        machines.put(true, frames);
        match self.shake(&mut machines, dialer, listener) {
            Shaken::Both(outcomes) if proven(&outcomes) == [Some(listener_id), Some(dialer_id)] => {
                Ok(Ok(spoken(&outcomes)))
            }
            Shaken::Both(_) | Shaken::Asks(_) => Err("the handshake proved something else".to_owned()),
            Shaken::Refused(refusal) => Ok(Err(refusal)),
            Shaken::Lost => Err("the handshake was not completed in time".to_owned()),
        }
    }

    /// Passes frames to and fro until both sides are done, one refuses, a frame is lost, or an inviter must be asked.
    pub(crate) fn shake(&mut self, machines: &mut Shaking, dialer: usize, listener: usize) -> Shaken {
        let (mut dialer_outcome, mut listener_outcome) = (None, None);
        while let Some((to_listener, frame)) = machines.frames.pop_front() {
            let (from, to) = if to_listener { (dialer, listener) } else { (listener, dialer) };
            let bytes = encode(&frame).len();
            if self.network.carry(from, to, self.now_us, bytes, &mut self.network_dice).is_empty() {
                return Shaken::Lost;
            }
            let limit = match frame {
                AuthFrame::Admitted(_) => ADMISSION_FRAME_BYTES_MAX,
                _ => AUTH_FRAME_BYTES_MAX,
            };
            let Some(frame) = self.decoded(&encode(&frame), limit) else { return Shaken::Lost };
            let now = self.time_of(to);
            let machine = if to_listener { &mut machines.listener } else { &mut machines.dialer };
            match machine.frame_arrived(frame, now) {
                Shake::Send(frames) => machines.put(!to_listener, frames),
                Shake::Done { send, outcome } => {
                    machines.put(!to_listener, send);
                    *(if to_listener { &mut listener_outcome } else { &mut dialer_outcome }) = Some(outcome);
                }
                Shake::Ask { keys, invite, join } => return Shaken::Asks(Box::new((keys, invite, join))),
                Shake::Refuse { error, .. } | Shake::Refused(error) => return Shaken::Refused(error),
            }
        }
        match (dialer_outcome, listener_outcome) {
            (Some(dialer), Some(listener)) => Shaken::Both(Box::new([dialer, listener])),
            _ => Shaken::Lost,
        }
    }

    /// A node's time, for handshakes, which a node without a process has too.
    fn time_of(&self, node: usize) -> Timestamp {
        let node = &self.nodes[node];
        node.running.as_ref().map_or_else(|| node.wall(self.now_us), |running| running.reading.last())
    }

    /// Both sides have proven who they are. A connection of an earlier life of either is closed first; another one of the same
    /// lives changes nothing that anybody is told.
    fn open_connection(&mut self, dialer: usize, listener: usize, wire: u16) {
        let connection = self.next_connection;
        self.next_connection += 1;
        let wire = if self.mutation == Some(Mutation::SpeakNewest) { WIRE_VERSION } else { wire };
        for (node, peer, dialled) in [(dialer, listener, true), (listener, dialer, false)] {
            let run = self.nodes[peer].run;
            let known = self.nodes[node].running.as_ref().and_then(|running| running.links.get(&peer).copied());
            if known.is_some_and(|link| link.run != run) {
                self.lose_link(node, peer);
            }
            let link = Link { connection, run, heard_us: self.now_us };
            let Some(running) = self.nodes[node].running.as_mut() else { return };
            let first = running.links.insert(peer, link).is_none();
            if first {
                let path = Path { address: crate::node::address_of(peer), transport: "quic", dialled, wire };
                let peer = self.nodes[peer].id();
                self.tell_after(0, node, Input::Connected { node: peer, path });
            } else {
                self.fail_requests(node, peer);
            }
        }
        self.after(PING_US, Event::Ping { connection, ends: [dialer, listener] });
    }

    /// A connection is over on this side.
    pub(crate) fn lose_link(&mut self, node: usize, peer: usize) {
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        if running.links.remove(&peer).is_some() {
            self.fail_requests(node, peer);
            let peer = self.nodes[peer].id();
            self.tell_after(0, node, Input::Disconnected { node: peer });
        }
    }

    fn fail_requests(&mut self, node: usize, peer: usize) {
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let failed: Vec<OutboundId> =
            running.outbound.iter().filter(|(_, outbound)| outbound.to == peer).map(|(request, _)| *request).collect();
        running.outbound.retain(|_, outbound| outbound.to != peer);
        for request in failed {
            let reason = "the connection was closed".to_owned();
            self.tell_after(0, node, Input::RequestFailed { request, reason });
        }
    }

    /// Carries out `Disconnect`.
    pub(crate) fn disconnect(&mut self, node: usize, peer: NodeId) {
        let Some(peer) = self.number_of(peer) else { return };
        if let Some(connection) = self.connection(node, peer) {
            self.send_close(node, peer, connection);
            self.lose_link(node, peer);
        }
    }

    /// Each end that still has the connection pings the other, and closes what stayed silent for too long.
    pub(crate) fn ping(&mut self, connection: u64, ends: [usize; 2]) {
        let mut open = false;
        for [node, peer] in [ends, [ends[1], ends[0]]] {
            if self.connection(node, peer) == Some(connection) {
                open = true;
                self.ping_from(node, peer, connection);
            }
        }
        if open {
            self.after(PING_US, Event::Ping { connection, ends });
        }
    }

    fn ping_from(&mut self, node: usize, peer: usize, connection: u64) {
        if self.nodes[node].held.is_some() {
            return;
        }
        let there = self.connection(peer, node) == Some(connection) && self.nodes[peer].held.is_none();
        let dice = &mut self.network_dice;
        let out = self.network.carry(node, peer, self.now_us, SMALL_BYTES, dice).first().copied();
        let back = out
            .filter(|_| there)
            .and_then(|arrived_us| self.network.carry(peer, node, arrived_us, SMALL_BYTES, dice).first().copied());
        let id = self.nodes[peer].id();
        if let Some(back_us) = back {
            let rtt_us = back_us - self.now_us;
            if let Some(link) = self.nodes[node].running.as_mut().and_then(|running| running.links.get_mut(&peer)) {
                link.heard_us = back_us;
            }
            self.tell_after(rtt_us, node, Input::Pinged { node: id, rtt_us });
            return;
        }
        let heard_us =
            self.nodes[node].running.as_ref().and_then(|running| running.links.get(&peer)).map(|link| link.heard_us);
        if heard_us.is_some_and(|heard_us| self.now_us.saturating_sub(heard_us) >= IDLE_US_MAX) {
            self.lose_link(node, peer);
        } else {
            self.tell_after(PING_US_MAX, node, Input::PingFailed { node: id });
        }
    }
}

/// Which members a handshake proved to each side.
fn proven(outcomes: &[HandshakeOutcome; 2]) -> [Option<NodeId>; 2] {
    outcomes.each_ref().map(|outcome| match outcome {
        HandshakeOutcome::Member { node, .. } => Some(*node),
        HandshakeOutcome::Admitted(_) => None,
    })
}

/// The version of the wire that both sides agreed on.
fn spoken(outcomes: &[HandshakeOutcome; 2]) -> u16 {
    let wires = outcomes.iter().filter_map(|outcome| match outcome {
        HandshakeOutcome::Member { wire, .. } => Some(*wire),
        HandshakeOutcome::Admitted(_) => None,
    });
    wires.min().unwrap_or(WIRE_VERSION_MIN)
}

/// Two sides of one handshake and the frames between them.
#[derive(Debug)]
pub(crate) struct Shaking {
    /// Who dialled.
    pub(crate) dialer: Handshake,
    /// Who was dialled.
    pub(crate) listener: Handshake,
    /// Frames on their way, and whether to the listener.
    pub(crate) frames: VecDeque<(bool, AuthFrame)>,
}

impl Shaking {
    /// Puts frames on their way.
    pub(crate) fn put(&mut self, to_listener: bool, frames: Vec<AuthFrame>) {
        self.frames.extend(frames.into_iter().map(|frame| (to_listener, frame)));
    }
}

/// How far a handshake came.
#[derive(Debug)]
pub(crate) enum Shaken {
    /// To its end: what it proved to the dialer and to the listener.
    Both(Box<[HandshakeOutcome; 2]>),
    /// The listener must ask whether it admits a joiner.
    Asks(Box<(weft_protocol::PublicKeys, weft_protocol::InviteId, weft_protocol::Join)>),
    /// One side lets the other not in.
    Refused(AuthRefusal),
    /// A frame was lost.
    Lost,
}
