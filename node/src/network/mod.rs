//! The mesh: authenticated connections between members, and nothing decided here. What the peer asks for is done, what
//! happens is told to it in its own words; libp2p is named in this folder (and for keys in `identity`) alone.
//!
//! A connection is authenticated inside the transport: a node that is no member never reaches the protocols below it, and a
//! joiner is answered there and then.
//!
//! Modules in reading order: `transport` (QUIC and TCP) with `secured` (TLS or Noise over TCP), `authenticate` (the handshake on the first substream) with
//! `frame`, `gate` (what it needs of the node), `offers` (which version of the wire is spoken to whom) and `refusals`; `behaviour` (what runs on a member's connection) with `codec`
//! and `topics`; `kept` (agent requests on one stream) and `swim`, both over `newest`, `watched` (who is alive), `lookup` (where a member is) and `mdns` (the same, asked of the LAN), `providers` (who serves what),
//! `relays` (who passes connections on) and `fence` (who may be dialled); `links`, `address` and `translate` (libp2p's events as the
//! peer's inputs) with `passing` (who passes gossip on); last what runs without a node: `join`, `fetch`, and `adversary` for the benchmark.

mod address;
mod adversary;
mod authenticate;
mod behaviour;
mod codec;
mod fence;
mod fetch;
mod frame;
mod gate;
mod join;
mod kept;
mod links;
mod lookup;
mod mdns;
mod newest;
mod offers;
mod passing;
mod providers;
mod refusals;
mod relays;
mod secured;
mod swim;
#[cfg(test)]
mod tests;
mod throttle;
mod topics;
mod translate;
mod transport;
mod watched;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::request_response::{OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, Swarm, gossipsub};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use weft_discovery::AdmissionView;
use weft_peer::{GossipTopic, InboundId, Input, OutboundId, Request, Response};
use weft_protocol::{
    A2aResponse, Admission, AuthRefusal, BlobResponse, Gossip, InviteId, Join, KeyPair, NodeId, PublicKeys,
    SyncResponse, TopicName, encode,
};

pub(crate) use self::adversary::{Rogue, callers_that_leave, half_open, strangers};
pub(crate) use self::fetch::{FetchError, Fetcher};
pub(crate) use self::join::{Attempt, JoinError, join};
pub(crate) use self::mdns::{Mdns, MdnsBoard};
pub(crate) use self::refusals::{RecentRefusal, Refusals};
pub(crate) use self::secured::TcpSecurity;

use self::behaviour::{Behaviour, topic_score};
use self::gate::{Gate, Knock};
use self::kept::Kept;
use self::links::Links;
use self::lookup::Lookups;
use self::mdns::Found;
use self::offers::Offers;
use self::providers::Providing;
use self::relays::Relays;
use self::swim::Packets;
use self::topics::Topics;
use self::watched::{Ended, Watches};
use crate::identity::{peer_id, transport_keys};

/// How long a connection to a member that says nothing is kept: for as long as the program runs.
const IDLE_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
/// How long listening may take to begin (guess: the operating system answers at once or not at all).
const LISTEN_TIME_MAX: Duration = Duration::from_secs(5);
/// How long open connections may take to close at the end.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_millis(500);
/// Handshakes that wait for the event loop; one more waits inside its own two seconds.
const KNOCKS_MAX: usize = 64;

/// With what a node joins the mesh.
#[derive(Debug)]
pub(crate) struct NetworkConfig {
    /// Its keys.
    pub(crate) keys: Arc<KeyPair>,
    /// Multiaddresses to listen on; port 0 takes a free one. None, for a node that only dials.
    pub(crate) listen: Vec<String>,
    /// Multiaddresses that others are told instead of those listened on; none: those.
    pub(crate) announce: Vec<String>,
    /// What those that come by TCP may be encrypted by.
    pub(crate) tcp_security: TcpSecurity,
    /// Who is a member, until [`Network::publish_view`] says otherwise.
    pub(crate) view: Arc<AdmissionView>,
    /// What asks the LAN where members are.
    pub(crate) mdns: Mdns,
}

/// Why the mesh could not be entered. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// Not a multiaddress of a transport that is spoken here.
    #[error(
        "{address}: not an address to listen on ({problem}); write it as /ip4/0.0.0.0/udp/4001/quic-v1 or /ip4/0.0.0.0/tcp/4001"
    )]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody could dial it.
    #[error(
        "{address}: not an address to be told to others ({problem}); write it as /ip4/203.0.113.7/udp/4001/quic-v1 or /ip4/203.0.113.7/tcp/4001"
    )]
    Announce {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The operating system does not let us listen there.
    #[error("{address}: cannot listen there: {problem}; end what uses that port, or choose another")]
    Listen {
        /// As it was given.
        address: String,
        /// What the operating system said.
        problem: String,
    },
    /// Listening did not begin within five seconds.
    #[error("{address}: listening did not begin within {} s; is the network up?", LISTEN_TIME_MAX.as_secs())]
    ListenTimeout {
        /// The first address that is not served.
        address: String,
    },
    /// The operating system gave no random bytes, or no certificate could be made.
    #[error("the transport cannot start: {0}")]
    Transport(String),
}

/// Whether this can be an address to listen on, as far as its form goes.
///
/// # Errors
/// [`NetworkError::Address`].
pub(crate) fn check_address(address: &str) -> Result<(), NetworkError> {
    let bad = |problem: String| NetworkError::Address { address: address.to_owned(), problem };
    address.parse::<Multiaddr>().map(|_address| ()).map_err(|error| bad(error.to_string()))
}

/// Whether others could dial this address.
///
/// # Errors
/// [`NetworkError::Address`] when it has no form, [`NetworkError::Announce`] when nobody could.
pub(crate) fn check_announced(address: &str) -> Result<(), NetworkError> {
    check_address(address)?;
    let problem = match address.parse::<Multiaddr>() {
        Ok(parsed) => address::why_not_dialled(&parsed),
        Err(_) => None,
    };
    match problem {
        Some(problem) => Err(NetworkError::Announce { address: address.to_owned(), problem }),
        None => Ok(()),
    }
}

/// What the network has to say.
pub(crate) enum NetworkEvent {
    /// For the peer.
    Peer(Input),
    /// A joiner, its keys proven, waits inside the handshake for at most two seconds.
    JoinAttempt {
        /// Its keys.
        keys: PublicKeys,
        /// Which invite it names.
        invite: InviteId,
        /// What it says.
        join: Join,
        /// Where its answer goes.
        answer: oneshot::Sender<Result<Box<Admission>, AuthRefusal>>,
    },
}

impl fmt::Debug for NetworkEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(input) => formatter.debug_tuple("Peer").field(input).finish(),
            Self::JoinAttempt { keys, invite, .. } => formatter
                .debug_struct("JoinAttempt")
                .field("keys", keys)
                .field("invite", invite)
                .finish_non_exhaustive(),
        }
    }
}

/// Where the response to a member's request goes.
#[derive(Debug)]
enum Responder {
    A2a(ResponseChannel<A2aResponse>),
    Kept(kept::Reply),
    Sync(ResponseChannel<SyncResponse>),
    Blob(ResponseChannel<BlobResponse>),
}

/// The protocols of requests and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exchange {
    A2a,
    Sync,
    Blob,
}

impl Responder {
    fn is_open(&self) -> bool {
        match self {
            Self::A2a(channel) => channel.is_open(),
            Self::Kept(reply) => reply.is_open(),
            Self::Sync(channel) => channel.is_open(),
            Self::Blob(channel) => channel.is_open(),
        }
    }
}

/// One configured address and where it is served.
#[derive(Debug)]
struct Listener {
    id: ListenerId,
    configured: Multiaddr,
    bound: Option<Multiaddr>,
}

/// All connections of this node.
pub(crate) struct Network {
    swarm: Swarm<Behaviour>,
    node: NodeId,
    topics: Topics,
    view: watch::Sender<Arc<AdmissionView>>,
    knocks: mpsc::Receiver<Knock>,
    refusals: Refusals,
    offers: Offers,
    links: Links,
    kept: Kept,
    packets: Packets,
    watches: Watches,
    /// To whom connections are kept; none in a full mesh.
    keeps: Option<BTreeSet<NodeId>>,
    lookups: Lookups,
    mdns: Mdns,
    providing: Providing,
    listeners: Vec<Listener>,
    relays: Relays,
    /// Whether this node was last seen at an address that it does not have.
    translated: Option<bool>,
    /// What others are told instead of where this node listens; none: that.
    announce: Vec<Multiaddr>,
    listening: Vec<String>,
    followed: BTreeSet<GossipTopic>,
    bypassed: BTreeSet<NodeId>,
    requests: BTreeMap<(Exchange, OutboundRequestId), OutboundId>,
    responders: BTreeMap<InboundId, Responder>,
    next_inbound: u64,
    events: VecDeque<NetworkEvent>,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Network").field("node", &self.node).field("links", &self.links).finish_non_exhaustive()
    }
}

impl Network {
    /// Enters the mesh; when this returns, every address is listened on.
    ///
    /// # Errors
    /// [`NetworkError`] with the first address that cannot be served.
    pub(crate) async fn new(config: NetworkConfig) -> Result<Self, NetworkError> {
        let NetworkConfig { keys, listen, announce, tcp_security, view, mdns } = config;
        let transport_keys = transport_keys(&keys);
        let local = transport_keys.public().to_peer_id();
        let (view_sender, view_receiver) = watch::channel(Arc::clone(&view));
        let (knock_sender, knocks) = mpsc::channel(KNOCKS_MAX);
        let refusals = Refusals::default();
        let node = view.node;
        let offers = Offers::default();
        let gate = Gate::new(view_receiver, knock_sender, refusals.clone(), offers.clone())
            .map_err(|error| NetworkError::Transport(error.to_string()))?;
        let (transport, relayed) = transport::authenticated(&transport_keys, tcp_security, gate)
            .map_err(|error| NetworkError::Transport(error.to_string()))?;
        let topics = Topics::new(view.cluster);
        let providing = Providing::new(view.cluster);
        let behaviour = Behaviour::new(&transport_keys, relayed, view.cluster, &view.build, announce.is_empty());
        let settings = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE_TIME_MAX)
            .with_max_negotiating_inbound_streams(transport::STREAMS_MAX as usize)
            .with_smart_dial();
        let kept = Kept::new(behaviour.kept.new_control());
        let packets = Packets::new(behaviour.kept.new_control());
        let idle = transport::bare_tcp(&transport_keys).map_err(|error| NetworkError::Transport(error.to_string()))?;
        let watches = Watches::new(idle);
        let mut network = Self {
            swarm: Swarm::new(transport, behaviour, local, settings),
            node,
            topics,
            view: view_sender,
            knocks,
            refusals,
            offers,
            links: Links::default(),
            kept,
            packets,
            watches,
            keeps: None,
            lookups: Lookups::default(),
            mdns,
            providing,
            listeners: Vec::new(),
            relays: Relays::default(),
            translated: None,
            announce: address::parse_all(&announce),
            listening: Vec::new(),
            followed: BTreeSet::new(),
            bypassed: BTreeSet::new(),
            requests: BTreeMap::new(),
            responders: BTreeMap::new(),
            next_inbound: 0,
            events: VecDeque::new(),
        };
        network.publish_view(view);
        network.subscribe(&GossipTopic::Heads);
        network.subscribe(&GossipTopic::Directory);
        network.listen(listen).await?;
        Ok(network)
    }

    async fn listen(&mut self, addresses: Vec<String>) -> Result<(), NetworkError> {
        for address in addresses {
            let bad = |problem: String| NetworkError::Address { address: address.clone(), problem };
            let configured: Multiaddr = address.parse().map_err(|error| bad(format!("{error}")))?;
            let id = self.swarm.listen_on(configured.clone()).map_err(|error| match error {
                libp2p::TransportError::MultiaddrNotSupported(_) => bad("this transport is not spoken here".into()),
                libp2p::TransportError::Other(error) => {
                    NetworkError::Listen { address: address.clone(), problem: translate::innermost(&error) }
                }
            })?;
            self.listeners.push(Listener { id, configured, bound: None });
        }
        let all_bound = async {
            while let Some(waiting) = self.listeners.iter().find(|listener| listener.bound.is_none()) {
                let configured = waiting.configured.to_string();
                match self.swarm.select_next_some().await {
                    SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                        let problem = translate::innermost(&error);
                        return Err(NetworkError::Listen { address: configured, problem });
                    }
                    event => self.happened(event),
                }
            }
            Ok(())
        };
        match timeout(LISTEN_TIME_MAX, all_bound).await {
            Ok(result) => result,
            Err(_) => {
                let unbound = self.listeners.iter().find(|listener| listener.bound.is_none());
                let address = unbound.map(|listener| listener.configured.to_string()).unwrap_or_default();
                Err(NetworkError::ListenTimeout { address })
            }
        }
    }

    /// The next thing that happened. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> NetworkEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            tokio::select! {
                Some(knock) = self.knocks.recv() => self.knocked(knock),
                told = self.kept.next() => self.told(told),
                (from, packet) = self.packets.next() => self.tell(Input::SwimArrived { from, packet }),
                ended = self.watches.next() => self.watch_ended(ended),
                Some(found) = self.mdns.next() => self.found_near(found),
                event = self.swarm.select_next_some() => self.happened(event),
            }
        }
    }

    /// What has happened while listening began: where this node can be reached is known before anybody hears of it.
    pub(crate) fn take_begun(&mut self) -> Option<NetworkEvent> {
        self.events.pop_front()
    }

    /// Dials a member at all these addresses. `Connected` or `DialFailed` follows, unless a connection is open or a dial of
    /// the same node is under way.
    pub(crate) fn dial(&mut self, node: NodeId, addresses: Vec<String>) {
        if node == self.node {
            return self.dial_failed(node, "this is the node itself".into());
        }
        let peer = peer_id(node);
        let options = DialOpts::peer_id(peer).addresses(address::parse_all(&addresses)).build();
        self.swarm.behaviour_mut().fence.want(Some(peer));
        let dialled = self.swarm.dial(options);
        self.swarm.behaviour_mut().fence.want(None);
        match dialled {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.dial_failed(node, translate::dial_failure(&error)),
        }
    }

    /// From now on connections to these members are kept when nothing passes, and no others; without any set, those to all.
    pub(crate) fn keep_links(&mut self, to: Option<BTreeSet<NodeId>>) {
        self.keeps = to;
    }

    /// Whether a connection to that member lasts. The end of another one tells nothing, and where such a member is its neighbours know.
    fn keeps(&self, node: &NodeId) -> bool {
        self.keeps.as_ref().is_none_or(|kept| kept.contains(node))
    }

    /// Sends a member a packet of SWIM, which may be lost.
    pub(crate) fn send_swim(&self, to: NodeId, packet: Vec<u8>) {
        self.packets.send(to, packet);
    }

    /// From now on these members pass connections on to this node, and no others.
    pub(crate) fn use_relays(&mut self, nodes: Vec<NodeId>) {
        self.relays.want(nodes);
        self.reserve();
    }

    /// Asks every relay that does not pass connections on yet to do so.
    fn reserve(&mut self) {
        for listener in self.relays.take_unwanted() {
            self.swarm.remove_listener(listener);
        }
        for (node, address) in self.relays.missing() {
            match self.swarm.listen_on(address) {
                Ok(listener) => self.relays.reserved(node, listener),
                Err(error) => tracing::debug!(%node, %error, "that member cannot be asked to pass connections on"),
            }
        }
    }

    /// Asks members, and the LAN, where another one is; `AddressesFound` follows when one of them knows.
    pub(crate) fn look_up(&mut self, node: NodeId) {
        self.lookups.begin(&mut self.swarm.behaviour_mut().table, node);
        if self.is_missed(&node) {
            self.mdns.seek(node);
        }
    }

    /// Whether this is a member in good standing to whom no connection is open.
    fn is_missed(&self, node: &NodeId) -> bool {
        self.is_in_standing(node) && !self.links.is_open(node)
    }

    /// The LAN says where a member is; meanwhile it may be none any more, or be connected.
    fn found_near(&mut self, found: Found) {
        let Found { node, addresses } = found;
        if self.is_missed(&node) {
            self.tell(Input::AddressesFound { node, addresses });
        }
    }

    /// Closes all connections to a node; `Disconnected` follows when there were any.
    pub(crate) fn disconnect(&mut self, node: NodeId) {
        let _none_was_open = self.swarm.disconnect_peer_id(peer_id(node));
    }

    /// Asks a member; `ResponseArrived` or `RequestFailed` follows, the latter at once when no connection is open.
    pub(crate) fn request(&mut self, request: OutboundId, to: NodeId, content: Request) {
        if !self.links.is_open(&to) {
            return self.tell(Input::RequestFailed { request, reason: "no connection to that member is open".into() });
        }
        let (peer, behaviour) = (peer_id(to), self.swarm.behaviour_mut());
        let sent = match content {
            Request::A2a(content) => match self.kept.ask(request, to, content) {
                Ok(()) => return,
                Err(content) => (Exchange::A2a, behaviour.a2a.send_request(&peer, content)),
            },
            Request::Sync(content) => (Exchange::Sync, behaviour.sync.send_request(&peer, content)),
            Request::Blob(content) => (Exchange::Blob, behaviour.blob.send_request(&peer, content)),
        };
        self.requests.insert(sent, request);
    }

    /// Responds to a member's request. It learns nothing when its connection is gone, or when it waited too long.
    pub(crate) fn respond(&mut self, request: InboundId, content: Response) {
        let behaviour = self.swarm.behaviour_mut();
        let delivered = match (self.responders.remove(&request), content) {
            (Some(Responder::A2a(channel)), Response::A2a(content)) => {
                behaviour.a2a.send_response(channel, content).is_ok()
            }
            (Some(Responder::Kept(reply)), Response::A2a(content)) => reply.send(content),
            (Some(Responder::Sync(channel)), Response::Sync(content)) => {
                behaviour.sync.send_response(channel, content).is_ok()
            }
            (Some(Responder::Blob(channel)), Response::Blob(content)) => {
                behaviour.blob.send_response(channel, content).is_ok()
            }
            (None, _) => false,
            (Some(_), _) => {
                tracing::error!(?request, "BUG: a response of another protocol than its request");
                false
            }
        };
        if !delivered {
            tracing::debug!(?request, "nobody waits for this response any more");
        }
    }

    /// Tells all members that follow the topic. Whoever misses it finds out by comparing heads and adverts.
    pub(crate) fn gossip(&mut self, topic: &GossipTopic, content: &Gossip) {
        let name = gossipsub::TopicHash::from_raw(self.topics.name(topic));
        match self.swarm.behaviour_mut().gossip.publish(name, encode(content)) {
            Ok(_) => {}
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic | gossipsub::PublishError::Duplicate) => {
                tracing::trace!(?topic, "there is nobody to tell, or nothing new");
            }
            Err(error) => tracing::warn!(?topic, %error, "gossip was not sent"),
        }
    }

    /// Follows these agents' topics from now on, and no other; and what is told to wildcards or not.
    pub(crate) fn follow(&mut self, topics: Vec<TopicName>, wildcards: bool) {
        let topics = topics.into_iter().map(GossipTopic::Agents);
        let wanted: BTreeSet<GossipTopic> = topics.chain(wildcards.then_some(GossipTopic::Wildcards)).collect();
        for topic in self.followed.difference(&wanted).cloned().collect::<Vec<_>>() {
            let name = self.topics.name(&topic);
            self.swarm.behaviour_mut().gossip.unsubscribe(&gossipsub::IdentTopic::new(name));
        }
        for topic in wanted.difference(&self.followed).cloned().collect::<Vec<_>>() {
            self.subscribe(&topic);
        }
        self.followed = wanted;
    }

    fn subscribe(&mut self, topic: &GossipTopic) {
        let name = gossipsub::IdentTopic::new(self.topics.name(topic));
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if let Err(error) = gossip.subscribe(&name) {
            tracing::error!(?topic, %error, "BUG: a topic of this cluster was refused");
        }
        if let Err(error) = gossip.set_topic_params(name, topic_score()) {
            tracing::error!(?topic, error, "BUG: these parameters are valid");
        }
    }

    /// From now on connections are judged by this view. Open ones stay; closing them is for the peer to ask.
    pub(crate) fn publish_view(&mut self, view: Arc<AdmissionView>) {
        let members: BTreeSet<NodeId> = view.members.keys().copied().collect();
        let Behaviour { limits, table, fence, .. } = self.swarm.behaviour_mut();
        for gone in self.bypassed.difference(&members) {
            limits.remove_peer_id(&peer_id(*gone));
        }
        for new in members.difference(&self.bypassed) {
            limits.bypass_peer_id(&peer_id(*new));
        }
        let cut_off = |node: &NodeId| view.quarantined.contains(node) || !members.contains(node);
        for node in self.bypassed.iter().filter(|node| cut_off(node)) {
            table.remove_peer(&peer_id(*node));
            self.providing.cut_off(table, *node);
        }
        fence.admit(members.iter().filter(|node| !cut_off(node)).map(|node| peer_id(*node)).collect());
        self.bypassed = members;
        self.view.send_replace(view);
    }

    /// The configured addresses with the ports that were chosen, to be used again at the next start.
    pub(crate) fn bound_addresses(&self) -> Vec<String> {
        let with_ports = self.listeners.iter().map(|listener| {
            let Listener { configured, bound, .. } = listener;
            bound.as_ref().map_or_else(|| configured.clone(), |bound| address::with_port_of(configured, bound))
        });
        with_ports.map(|address| address.to_string()).collect()
    }

    /// The last nodes that were refused, or that refused us: a handle that outlives the borrow.
    pub(crate) fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// Closes all connections, so that the other sides know at once, and stops listening.
    pub(crate) async fn shutdown(mut self) {
        for listener in &self.listeners {
            self.swarm.remove_listener(listener.id);
        }
        self.close_all().await;
    }

    /// Closes all connections and forgets what had not been told of them. It goes on listening, and still tells where.
    pub(crate) async fn close_all(&mut self) {
        for node in self.links.nodes() {
            self.disconnect(node);
        }
        let all_closed = async {
            while !self.links.nodes().is_empty() {
                let event = self.swarm.select_next_some().await;
                self.happened(event);
            }
        };
        if timeout(SHUTDOWN_TIME_MAX, all_closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        self.events.retain(|event| matches!(event, NetworkEvent::Peer(Input::ListenChanged { .. })));
    }

    fn knocked(&mut self, knock: Knock) {
        match knock {
            Knock::Join { keys, invite, join, answer } => {
                self.events.push_back(NetworkEvent::JoinAttempt { keys, invite, join, answer });
            }
            Knock::Watched { node, muxer } => {
                // Without another connection there is nothing that its end could tell.
                if self.links.is_open(&node) {
                    self.watches.take(node, muxer);
                }
            }
            Knock::Enter { node, life, ready } => {
                let cut_off_meanwhile = self.view.borrow().quarantined.contains(&node);
                if !cut_off_meanwhile && self.links.enter(node, life, ready) {
                    self.disconnect(node);
                }
            }
        }
    }

    fn watch_ended(&mut self, ended: Ended) {
        match ended {
            Ended::Connection(node) if self.links.is_open(&node) => self.tell(Input::WatchEnded { node }),
            // QUIC would find out as well, seconds later.
            Ended::Listener(node) => self.disconnect(node),
            Ended::Connection(_) => {}
        }
    }

    fn tell(&mut self, input: Input) {
        self.events.push_back(NetworkEvent::Peer(input));
    }

    fn dial_failed(&mut self, node: NodeId, reason: String) {
        self.tell(Input::DialFailed { node, reason });
    }
}
