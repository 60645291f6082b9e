//! What can happen to discovery, and all that it can ask of the world.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_bytes::ByteArray;
use weft_protocol::{
    Admission, AdvertVersion, AgentName, AuthRefusal, Certificate, Charter, Fact, Hlc, Incarnation, InviteId, Join,
    KeyRotation, NodeId, NodeName, ProcessId, PublicKeys, Refusal, Role, ServiceAdvert, Signed, SignedAdvert, Signer,
    Timestamp, TopicPattern,
};

use crate::admission::AdmissionView;
use crate::config::DiscoveryConfig;

/// A question whose answer goes back to somebody outside; the world numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Facts that must be on our chain before discovery goes on; discovery numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a connection runs, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The remote multiaddress.
    pub address: String,
    /// `quic`, `tcp`, `tcp+noise` when Noise encrypts it and not TLS, or `relay` through another member.
    pub transport: &'static str,
    /// Whether we dialled.
    pub dialled: bool,
    /// The version of the wire that was agreed on; of several connections to one member the lowest.
    pub wire: u16,
}

impl Path {
    /// What the transport is called when another member passes the connection on.
    pub const RELAY: &str = "relay";

    /// Whether another member passes it on.
    #[must_use]
    pub fn relayed(&self) -> bool {
        self.transport == Self::RELAY
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// An authenticated connection to a member is open.
    Connected {
        /// Which member.
        node: NodeId,
        /// How.
        path: Path,
    },
    /// No connection to that member is open any more.
    Disconnected {
        /// Which member.
        node: NodeId,
    },
    /// Nothing answered at any address of that member, or it refused us.
    DialFailed {
        /// Which member.
        node: NodeId,
        /// What the transport said.
        reason: String,
    },
    /// Members say that this one is at these addresses: a hint.
    AddressesFound {
        /// Which member.
        node: NodeId,
        /// Where, best first.
        addresses: Vec<String>,
    },
    /// Members say that this one serves what nobody known here advertises: a hint.
    ProviderNamed {
        /// Whoever that is.
        node: NodeId,
    },
    /// A ping came back.
    Pinged {
        /// From which member.
        node: NodeId,
        /// After how long, in microseconds.
        rtt_us: u64,
    },
    /// A ping did not come back.
    PingFailed {
        /// From which member.
        node: NodeId,
    },
    /// A packet of SWIM came on a connection to that node.
    SwimArrived {
        /// From whom.
        from: NodeId,
        /// As it was sent.
        packet: Vec<u8>,
    },
    /// Something has to go to that member, to which no connection is open; `NotReached` says when it cannot.
    LinkWanted {
        /// Which member.
        node: NodeId,
    },
    /// The other end of the connection that is kept for nothing else ended it, or ceased to be.
    WatchEnded {
        /// Whose.
        node: NodeId,
    },
    /// A member told at which address it sees this node: whether it is one that this node does not have.
    TranslationSeen {
        /// Whether something between them translates addresses.
        translated: bool,
    },
    /// We listen on these addresses now.
    ListenChanged {
        /// All of them.
        addresses: Vec<String>,
    },
    /// A member's chain admits a node.
    AdmissionSeen {
        /// Whose chain.
        issuer: NodeId,
        /// The certificate as it stands there.
        certificate: Box<Signed<Certificate>>,
        /// For which invite.
        invite: Option<InviteId>,
    },
    /// An advert came by gossip or in answer to a request.
    AdvertArrived {
        /// As its node signed it.
        advert: Box<SignedAdvert>,
    },
    /// Our living agents are these now.
    AgentsChanged {
        /// All of them.
        agents: Vec<(AgentName, ProcessId)>,
    },
    /// Our topics with local subscribers are these now.
    TopicsChanged {
        /// All of them.
        subscriptions: Vec<(TopicPattern, u32)>,
    },
    /// What this node serves is now this.
    ServicesChanged {
        /// All of it.
        services: Vec<ServiceAdvert>,
    },
    /// The operator wants an invite.
    InviteAsked {
        /// To answer to.
        ask: AskId,
        /// As what.
        role: Role,
        /// For how long, in microseconds.
        ttl_us: u64,
        /// For how many nodes.
        uses: u32,
        /// 128 random bits of the world's entropy.
        secret: ByteArray<16>,
        /// How long the certificates last that it gives, in microseconds; until their nodes are evicted, without one.
        certificate_ttl_us: Option<u64>,
    },
    /// The operator takes an invite back.
    InviteRevokeAsked {
        /// To answer to.
        ask: AskId,
        /// Which.
        invite: InviteId,
    },
    /// A joiner that holds both keys it claims asks to be admitted, inside the transport's handshake.
    JoinAsked {
        /// To answer to.
        ask: AskId,
        /// Its keys, proven.
        keys: PublicKeys,
        /// Which invite it names.
        invite: InviteId,
        /// What it says.
        join: Join,
    },
    /// The facts of a `Record` are on disk.
    Recorded {
        /// Which.
        ticket: Ticket,
    },
    /// The facts of a `Record` were refused.
    RecordRefused {
        /// Which.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// A member's chain says that it went down in order.
    ShutdownSeen {
        /// Which member.
        node: NodeId,
        /// The stamp of that fact.
        hlc: Hlc,
    },
    /// A node was proven to have forked its chain.
    ForkProven {
        /// Which.
        node: NodeId,
    },
    /// These nodes are members no longer.
    MembersEvicted {
        /// All of them.
        nodes: BTreeSet<NodeId>,
    },
    /// An admin takes a node back that was cut off for a fork.
    MemberPardoned {
        /// Which.
        node: NodeId,
    },
    /// The chain of a member says that its keys gave way to others.
    KeysRotated {
        /// Which member.
        node: NodeId,
        /// How.
        rotation: Box<KeyRotation>,
    },
    /// This node's own keys gave way to others, and that is on disk.
    OwnKeysRotated {
        /// How.
        rotation: Box<KeyRotation>,
        /// What signs from here on.
        signer: Arc<dyn Signer>,
        /// The stamp of the record.
        hlc: Hlc,
    },
    /// Other times count from now on.
    Configured {
        /// All of them.
        config: Box<DiscoveryConfig>,
    },
    /// The time of `next_wakeup` has come.
    Woken,
}

/// An invite as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteState {
    /// Its id.
    pub invite: InviteId,
    /// As what.
    pub role: Role,
    /// For how many nodes in all.
    pub uses: u32,
    /// Nodes it was spent on.
    pub burnt: Vec<NodeId>,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The invite is on the chain; this is its token.
    Invited {
        /// The word to pass on.
        token: String,
        /// What it is.
        invite: InviteState,
    },
    /// The invite is revoked on the chain.
    Revoked {
        /// Which.
        invite: InviteId,
    },
}

/// What the world must do, in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Dial that member; give `Connected` or `DialFailed`.
    Dial {
        /// Which member.
        node: NodeId,
        /// Where, best first.
        addresses: Vec<String>,
    },
    /// From now on connections to these members are kept when nothing passes, and no others; without any set, those to all.
    KeepLinks {
        /// All of them.
        to: Option<BTreeSet<NodeId>>,
    },
    /// What waits for a connection to that member waits in vain.
    NotReached {
        /// Which member.
        node: NodeId,
    },
    /// Ask other members where this one is; give `AddressesFound` when one of them knows.
    LookUp {
        /// Which member.
        node: NodeId,
    },
    /// Send that node a packet of SWIM, if a connection to it is open; it may be lost.
    SendSwim {
        /// To whom.
        to: NodeId,
        /// What.
        packet: Vec<u8>,
    },
    /// From now on these members pass connections on to this node, and no others.
    UseRelays {
        /// All of them.
        nodes: Vec<NodeId>,
    },
    /// Close all connections to that node.
    Disconnect {
        /// Which.
        node: NodeId,
    },
    /// Ask that member for adverts newer than these; each one that comes back is an `AdvertArrived`.
    RequestAdverts {
        /// Whom.
        to: NodeId,
        /// What is held.
        held: Vec<(NodeId, AdvertVersion)>,
    },
    /// Pass this advert to everybody.
    GossipAdvert(Box<SignedAdvert>),
    /// Put these facts on our chain, all or none, under the gate; give `Recorded` or `RecordRefused`.
    Record {
        /// To answer to.
        ticket: Ticket,
        /// What the gate must permit.
        action: RecordAction,
        /// What.
        facts: Vec<Fact>,
    },
    /// Tell the operator.
    Answer {
        /// Which question.
        ask: AskId,
        /// What became of it.
        answer: Result<Answer, Refusal>,
    },
    /// Tell the joiner, inside the handshake. The burnt use and the admission are on disk.
    AnswerJoin {
        /// Which question.
        ask: AskId,
        /// Its admission, or why not.
        answer: Result<Box<Admission>, AuthRefusal>,
    },
    /// From now on the transport decides by this.
    PublishView(Arc<AdmissionView>),
    /// A node is a member, with these keys.
    LearnMember {
        /// Its keys.
        keys: PublicKeys,
    },
    /// A node is cut off.
    Quarantine {
        /// Which.
        node: NodeId,
    },
    /// The directory knows more or other agents than before: what waited for a name may be tried again.
    DirectoryChanged,
    /// Whether that member can be reached has changed.
    ReportReachability {
        /// Which.
        node: NodeId,
        /// Whether a connection is open.
        reachable: bool,
    },
    /// Keep these addresses for the next start.
    RememberAddresses {
        /// Whose.
        node: NodeId,
        /// All that are known to work, best first.
        addresses: Vec<String>,
    },
}

/// Under which action of the gate facts are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordAction {
    /// An operator's invite.
    Invite {
        /// As what.
        role: Role,
    },
    /// An operator takes an invite back.
    RevokeInvite,
    /// A joiner's admission.
    Admit {
        /// Whom.
        node: NodeId,
    },
    /// A member's certificate is followed by one that ends later.
    Renew {
        /// Whose.
        node: NodeId,
    },
}

/// Who this node is, as a constructor argument.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name it goes by.
    pub name: NodeName,
    /// What its cluster's id is the hash of.
    pub charter: Charter,
    /// Its own certificate.
    pub certificate: Signed<Certificate>,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The program's version.
    pub build: String,
    /// When this run began.
    pub started: Hlc,
}
