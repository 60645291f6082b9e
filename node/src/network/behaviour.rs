//! What runs on a connection once it is a member's: gossip, requests, kept streams, lookups, ping, identify, each with its limits.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, dcutr, identify, memory_connection_limits, ping, relay};
use weft_protocol::limits::{ADVERT_TOPICS_MAX, GOSSIP_BYTES_MAX, MEMBERS_MAX};
use weft_protocol::{A2aRequest, A2aResponse, BlobRequest, BlobResponse, ClusterId, SyncRequest, SyncResponse, hash};

use super::codec::FrameCodec;
use super::fence::Fence;
use super::lookup::{Table, table};
use super::topics::Topics;

/// How long a request may take before it has failed. An answer that takes longer comes as a request of its own.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Agent requests at once on one connection, both directions together; one more is refused by the other side and fails.
const A2A_STREAMS_MAX: usize = 32;
/// Sync requests at once on one connection, both directions together.
const SYNC_STREAMS_MAX: usize = 16;
/// Requests for chunks of bodies at once on one connection, both directions together.
const BLOB_STREAMS_MAX: usize = 32;
/// How often each member is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long that may take.
const PING_TIME_MAX: Duration = Duration::from_secs(2);
/// How often gossip looks after its mesh; half of libp2p's default, so that a change heals while somebody watches.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How many heartbeats back a message can be asked for again, and how many are told; 5 s and 3 s, libp2p's defaults.
const HISTORY: (usize, usize) = (10, 6);
/// To how many members everybody passes gossip on, at least, as a rule and at most; libp2p's defaults are 5, 6 and 12. Whoever says
/// something tells all that are connected, so in a full mesh each further copy is one more signature to verify in vain; three keep a
/// random graph in one piece where the mesh is partial, and what is missed all the same is asked for.
const MESH: (usize, usize, usize) = (2, 3, 6);
/// From which size on members are told that a message need not be passed on to them: to tell three of them costs as much as three
/// short messages, and a further copy of a commit comes once, if at all (guess).
const UNWANTED_BYTES_MIN: usize = 16 * 1024;
/// Connections that are not authenticated yet, each way; a further one is dropped unheard.
const PENDING_MAX: u32 = 32;
/// Connections of nodes that are not in the admission view; none passes authentication, so this bounds our own mistakes.
const STRANGERS_MAX: u32 = 128;
/// Reservations of one member: one for each of its connections.
const RESERVATIONS_MAX: usize = 4;
/// Connections that one node passes on at once (guess: a full mesh of 24 nodes that all stand behind translators).
const CIRCUITS_MAX: usize = 256;
/// Of these between one member and others (guess: each other member of a full mesh).
const CIRCUITS_OF_ONE_MAX: usize = 64;
/// How long one is passed on before both ends must make it anew.
const CIRCUIT_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The same for each direction.
const STRANGERS_EACH_WAY_MAX: u32 = 64;
/// The same for one node: one dialled by each side.
const STRANGERS_PER_PEER_MAX: u32 = 2;
/// How much of the machine's memory this process may have before no new connection is begun; those that are open go on (guess).
const MEMORY_SHARE_MAX: f64 = 0.9;
/// Heads, directory, what is told to wildcards, and the topics of agents.
const SUBSCRIPTIONS_MAX: usize = ADVERT_TOPICS_MAX + 3;

/// The protocol of agent messages.
pub(super) const A2A: StreamProtocol = StreamProtocol::new("/weft/a2a/1");
/// The protocol of chains and adverts.
pub(super) const SYNC: StreamProtocol = StreamProtocol::new("/weft/sync/1");

/// The protocol of large bodies.
pub(super) const BLOB: StreamProtocol = StreamProtocol::new("/weft/blob/1");

/// Gossip within the topics of one cluster.
pub(super) type Gossipsub = gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<Topics>>;

/// All protocols of a member's connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) fence: Fence,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) table: Table,
    pub(super) relay: relay::Behaviour,
    pub(super) relayed: relay::client::Behaviour,
    pub(super) punch: dcutr::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) gossip: Gossipsub,
    pub(super) kept: libp2p_stream::Behaviour,
    pub(super) a2a: request_response::Behaviour<FrameCodec<A2aRequest, A2aResponse>>,
    pub(super) sync: request_response::Behaviour<FrameCodec<SyncRequest, SyncResponse>>,
    pub(super) blob: request_response::Behaviour<FrameCodec<BlobRequest, BlobResponse>>,
}

impl Behaviour {
    /// All protocols, with their limits. With `told`, members are told where this node listens, and not only what it announces.
    pub(super) fn new(
        keys: &Keypair,
        relayed: relay::client::Behaviour,
        cluster: ClusterId,
        build: &str,
        told: bool,
    ) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING_MAX))
            .with_max_pending_outgoing(Some(PENDING_MAX))
            .with_max_established_incoming(Some(STRANGERS_EACH_WAY_MAX))
            .with_max_established_outgoing(Some(STRANGERS_EACH_WAY_MAX))
            .with_max_established(Some(STRANGERS_MAX))
            .with_max_established_per_peer(Some(STRANGERS_PER_PEER_MAX));
        let identity = identify::Config::new("weft/1".to_owned(), keys.public())
            .with_agent_version(format!("weft/{build}"))
            .with_hide_listen_addrs(!told)
            .with_cache_size(0);
        Self {
            fence: Fence::default(),
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_percentage(MEMORY_SHARE_MAX),
            table: table(keys.public().to_peer_id(), cluster),
            relay: relay::Behaviour::new(keys.public().to_peer_id(), relaying()),
            relayed,
            punch: dcutr::Behaviour::new(keys.public().to_peer_id()),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIME_MAX)),
            identify: identify::Behaviour::new(identity),
            gossip: gossip(keys, cluster),
            kept: libp2p_stream::Behaviour::new(),
            a2a: requests(A2A, A2A_STREAMS_MAX),
            sync: requests(SYNC, SYNC_STREAMS_MAX),
            blob: requests(BLOB, BLOB_STREAMS_MAX),
        }
    }
}

/// What this node passes on for others. It is for members alone, so their number is the bound; that a connection between two of
/// them lasts as long as they want it.
fn relaying() -> relay::Config {
    relay::Config {
        max_reservations: MEMBERS_MAX,
        max_reservations_per_peer: RESERVATIONS_MAX,
        reservation_rate_limiters: Vec::new(),
        max_circuits: CIRCUITS_MAX,
        max_circuits_per_peer: CIRCUITS_OF_ONE_MAX,
        max_circuit_duration: CIRCUIT_TIME_MAX,
        // None: what runs over it is bounded by the two ends.
        max_circuit_bytes: 0,
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
}

fn requests<C: request_response::Codec<Protocol = StreamProtocol> + Default + Clone + Send + 'static>(
    protocol: StreamProtocol,
    streams_max: usize,
) -> request_response::Behaviour<C> {
    let config = request_response::Config::default()
        .with_request_timeout(REQUEST_TIME_MAX)
        .with_max_concurrent_streams(streams_max);
    request_response::Behaviour::new([(protocol, ProtocolSupport::Full)], config)
}

fn gossip(keys: &Keypair, cluster: ClusterId) -> Gossipsub {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(GOSSIP_BYTES_MAX)
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_initial_delay(Duration::ZERO)
        .history_length(HISTORY.0)
        .history_gossip(HISTORY.1)
        .flood_publish(true)
        .idontwant_message_size_threshold(UNWANTED_BYTES_MIN)
        .mesh_n(MESH.1)
        .mesh_n_low(MESH.0)
        .mesh_n_high(MESH.2)
        .mesh_outbound_min(1)
        .build()
        .expect("BUG: these settings fit together");
    let filter = MaxCountSubscriptionFilter {
        filter: Topics::new(cluster),
        max_subscribed_topics: SUBSCRIPTIONS_MAX,
        max_subscriptions_per_request: 2 * SUBSCRIPTIONS_MAX,
    };
    let author = MessageAuthenticity::Signed(keys.clone());
    let mut gossip = Gossipsub::new_with_subscription_filter(author, config, filter)
        .expect("BUG: strict validation fits signed messages");
    gossip.with_peer_score(peer_score(), PeerScoreThresholds::default()).expect("BUG: these parameters are valid");
    gossip
}

/// The hash of author, topic and content. With the author, so that nobody can make a member's words a duplicate by saying
/// them first; without the sequence number, so that the same words again are one.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let author = message.source.map(|peer| peer.to_bytes()).unwrap_or_default();
    let id = hash("gossip-id", &[&author, message.topic.as_str().as_bytes(), &message.data]);
    gossipsub::MessageId::new(id.as_bytes())
}

/// Nothing counts but messages that were rejected: nine in short succession and a member is not listened to for a while.
/// Silence is no fault (that is for anti-entropy to repair), and neighbours on one machine are none either.
fn peer_score() -> PeerScoreParams {
    PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        app_specific_weight: 0.0,
        retain_score: Duration::from_secs(60),
        ..PeerScoreParams::default()
    }
}

/// What counts within one topic; see [`peer_score`].
pub(super) fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    }
}
