//! What can happen to a node, and all that it can ask of the world: the one face that the event loop and the simulator share.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_discovery::{AdmissionView, Path};
use weft_kernel::{Answer, Cursor, Delivery, Measured, ProbeAnswer, ProbeTarget, Syscall};
use weft_protocol::{
    A2aRequest, A2aResponse, Admission, AgentSpec, Anchored, AuthRefusal, Batch, BlobRequest, BlobResponse, ChainId,
    ChainState, CommitGroup, Digest, EventPlace, ExitReason, Gossip, Hlc, InviteId, Join, MemberVerb, MessageId,
    NodeId, Payload, PhaseRecord, PlacedFact, Principal, ProcessId, Pruned, PrunedRows, PublicKeys, Publication,
    Refusal, Repaired, Resource, ResourceScored, Role, ServiceName, SettingChange, SignedCommit, Signer, Statement,
    SyncRequest, SyncResponse, TopicName,
};
use weft_replication::{Job, Verdict};

use crate::config::PeerConfig;
use crate::mending::MendOutcome;

/// A question of somebody on this machine or of a joiner; the world gives each number once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A request of another member that waits for our response; the world gives each number once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// A request of ours that waits for another member's response; the peer gives each number once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundId(pub u64);

/// What travels by request and response, by protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `/weft/a2a/1`.
    A2a(A2aRequest),
    /// `/weft/sync/1`.
    Sync(SyncRequest),
    /// `/weft/blob/1`.
    Blob(BlobRequest),
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `/weft/a2a/1`.
    A2a(A2aResponse),
    /// `/weft/sync/1`.
    Sync(SyncResponse),
    /// `/weft/blob/1`.
    Blob(BlobResponse),
}

/// On which gossip topic something travels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GossipTopic {
    /// New commits.
    Heads,
    /// Adverts.
    Directory,
    /// What agents publish.
    Agents(TopicName),
    /// The same once more, for members that listen by a wildcard: they cannot follow a topic before they know of it.
    Wildcards,
}

/// What somebody on this machine asks.
#[derive(Debug, Clone)]
pub enum Question {
    /// Of the kernel. A `Send` or `Spawn` is routed first.
    Kernel(Box<Syscall>),
    /// An invite.
    Invite {
        /// As what.
        role: Role,
        /// For how long, in microseconds.
        ttl_us: u64,
        /// For how many nodes.
        uses: u32,
        /// 128 random bits of the world's entropy.
        secret: [u8; 16],
        /// How long the certificates last that it gives, in microseconds; until their nodes are evicted, without one.
        certificate_ttl_us: Option<u64>,
    },
    /// An invite is to be taken back.
    RevokeInvite {
        /// Which.
        invite: InviteId,
    },
    /// What that member recorded of a conversation.
    Trace {
        /// Which member.
        node: NodeId,
        /// Which conversation.
        trace: weft_protocol::TraceId,
    },
    /// The store was repaired from members before this start: put that on the chain.
    RecordRepair {
        /// Each repaired stretch.
        repaired: Vec<Repaired>,
    },
    /// The start is complete: put that on the chain.
    RecordBoot {
        /// Its phases, at most one of each.
        phases: Vec<PhaseRecord>,
    },
    /// A member is to count or not, from here on or for ever: put that on the chain and propose it.
    ChangeMember {
        /// Whom.
        node: NodeId,
        /// What.
        verb: MemberVerb,
    },
    /// Another ML-DSA-65 key is to sign for this node: put that on the chain, and sign by it from then on.
    RotateKeys {
        /// The same Ed25519 key, and the new one; it is on disk already.
        next: Arc<dyn Signer>,
    },
    /// A resource is as good as this says: put that on the chain.
    Score {
        /// Which, and what was seen.
        scored: Box<ResourceScored>,
    },
    /// A checkpoint of this chain is to be held elsewhere, or is: put that on the chain.
    RecordAnchor {
        /// What, where, and how far it has come.
        anchored: Box<Anchored>,
    },
    /// Rows beside events of this chain are to go, once that is on the chain.
    Prune {
        /// Which.
        prune: Box<Prune>,
    },
    /// Where this chain stands is to be said on it, with one hash over what it has said so far.
    TakeSnapshot,
    /// An agent is to outlive its node: put that on the chain, and run it here or where it fits.
    Failover {
        /// What, and where first.
        declared: Box<weft_protocol::FailoverDeclared>,
    },
    /// This node goes away: its agents that outlive it are to run on others.
    Drain,
    /// Other settings are to count from now on, once that is on the chain.
    Configure {
        /// All of them.
        config: Box<PeerConfig>,
        /// Those that differ.
        changes: Vec<SettingChange>,
    },
}

/// Rows that may go, as whoever read them in the store found.
#[derive(Debug, Clone)]
pub struct Prune {
    /// What is said of them on the chain.
    pub pruned: Pruned,
    /// The last event of which something goes: what may go of it may go of all before it.
    pub last: EventPlace,
    /// Whatever is stamped later stays.
    pub until: Hlc,
    /// Members whose commits name another history than the store holds.
    pub refuted: Vec<NodeId>,
    /// What goes.
    pub rows: PrunedRows,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Somebody on this machine asked.
    Asked {
        /// To answer to.
        ask: AskId,
        /// Who.
        by: Principal,
        /// What.
        question: Question,
    },
    /// Whoever asked is gone.
    Withdrawn {
        /// Which question.
        ask: AskId,
    },
    /// A joiner asks to be admitted, inside the transport's handshake, its keys proven.
    JoinAsked {
        /// To answer to.
        ask: AskId,
        /// Its keys.
        keys: PublicKeys,
        /// Which invite it names.
        invite: InviteId,
        /// What it says.
        join: Join,
    },
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
    /// A dial failed at every address.
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
        /// Where, best first; at most 16.
        addresses: Vec<String>,
    },
    /// Members name these as providers of a service that was sought: a hint.
    ProvidersFound {
        /// Which service.
        service: ServiceName,
        /// Who; at most 8 are looked at.
        nodes: Vec<NodeId>,
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
    /// An open connection to a member runs another way than before.
    PathChanged {
        /// Which member.
        node: NodeId,
        /// How.
        path: Path,
    },
    /// The idle connection to that member ended, or its process did.
    WatchEnded {
        /// Which member.
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
    /// A member asks.
    RequestArrived {
        /// To respond to.
        request: InboundId,
        /// Who.
        from: NodeId,
        /// What.
        content: Request,
    },
    /// A member responded.
    ResponseArrived {
        /// To which request.
        request: OutboundId,
        /// With what.
        content: Response,
    },
    /// A request of ours got no response.
    RequestFailed {
        /// Which.
        request: OutboundId,
        /// What the transport said.
        reason: String,
    },
    /// Gossip arrived, decoded and fitting its topic.
    Gossiped {
        /// Who passed it on.
        from: NodeId,
        /// Who signed it for the mesh.
        author: NodeId,
        /// What.
        content: Box<Gossip>,
    },
    /// A process that was to be started runs.
    AgentStarted {
        /// Which.
        process: ProcessId,
        /// The operating system's number of it, when it has one.
        pid: Option<u32>,
    },
    /// A process stands still.
    AgentSuspended {
        /// Which.
        process: ProcessId,
    },
    /// A process goes on, also when it could not be made to stand still.
    AgentResumed {
        /// Which.
        process: ProcessId,
    },
    /// A process ended, or never started.
    AgentExited {
        /// Which.
        process: ProcessId,
        /// Why.
        reason: ExitReason,
    },
    /// Whoever runs a process measured what it uses.
    ResourcesMeasured {
        /// Which.
        process: ProcessId,
        /// How much.
        measured: Measured,
    },
    /// Whoever asked has taken so many parts of the answer, from the first on, and as many more may be handed over.
    PartsTaken {
        /// Which question.
        ask: AskId,
        /// How many.
        count: u32,
    },
    /// A process is done with a message.
    AgentAnswered {
        /// Which process.
        process: ProcessId,
        /// Which message.
        message: MessageId,
        /// Its answer, or what it says went wrong.
        answer: Result<Option<Payload>, String>,
    },
    /// What was probed answered, or will not.
    ProbeAnswered {
        /// Which probe.
        number: u64,
        /// What it found.
        answer: ProbeAnswer,
    },
    /// The batch of the last `Persist` is on disk.
    Persisted,
    /// It could not be written.
    PersistFailed,
    /// What is stored of a foreign chain is not what was written, from this commit on: it is not served any more, and members are
    /// asked for it.
    ChainDamaged {
        /// Which.
        chain: ChainId,
        /// The first commit that is not good.
        from_commit: u64,
    },
    /// What became of a `Mend`.
    Mended {
        /// Which chain.
        chain: ChainId,
        /// Who gave the groups.
        from: NodeId,
        /// What.
        outcome: MendOutcome,
    },
    /// Groups were read.
    RangeRead {
        /// For which request.
        request: InboundId,
        /// Which chain.
        chain: ChainId,
        /// Whole groups, in order.
        groups: Vec<CommitGroup>,
    },
    /// A commit header was read.
    CommitRead {
        /// Which chain.
        chain: ChainId,
        /// The commit we hold under that number.
        held: Option<Box<SignedCommit>>,
        /// The commit or tick it is to be compared with.
        other: Box<Statement>,
    },
    /// Hashes of commits were read.
    HashesRead {
        /// Which chain.
        chain: ChainId,
        /// Number and hash of those that are held.
        hashes: Vec<(u64, Digest)>,
    },
    /// A chain was verified from its first event.
    ChainRead {
        /// Which.
        chain: ChainId,
        /// Where it stands; none when nothing of it is stored.
        state: Option<Box<ChainState>>,
        /// Its facts but messages, batches and opaque ones, in order.
        facts: Vec<PlacedFact>,
    },
    /// Steps of a conversation were read.
    TraceRead {
        /// For which request.
        request: InboundId,
        /// At most 256.
        rows: Vec<weft_protocol::TraceRow>,
        /// Steps of which only that they were is left.
        pruned: Vec<weft_protocol::PrunedStep>,
    },
    /// A verification is done.
    Verified(Box<Verdict>),
    /// The time of `next_wakeup` has come.
    Woken,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Of the kernel.
    Kernel(Answer),
    /// Of discovery.
    Discovery(weft_discovery::Answer),
    /// Steps that a member recorded, each proven against a chain we hold, or not yet provable.
    Trace {
        /// Those that are left.
        rows: Vec<weft_protocol::TraceRow>,
        /// Those that it says it deleted.
        pruned: Vec<weft_protocol::PrunedStep>,
    },
    /// What was to be recorded is on the chain, and counts.
    Recorded,
    /// An agent that outlives its node runs on another one.
    Placed {
        /// Which.
        agent: weft_protocol::AgentName,
        /// Under which fence.
        fence: u64,
        /// Where.
        node: NodeId,
    },
    /// Nothing that outlives its node runs on this one any longer.
    Drained {
        /// What ran here, each with the node that holds it now, if one does.
        agents: Vec<(weft_protocol::AgentName, Option<NodeId>)>,
    },
}

/// What the world must do, in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Write all of this in one transaction, sync, then give `Persisted`. At most one is out at a time.
    Persist(Box<Batch>),
    /// Tell whoever asked.
    Answer {
        /// Which question.
        ask: AskId,
        /// What became of it.
        answer: Result<Reply, Refusal>,
    },
    /// Tell the joiner, inside the handshake.
    AnswerJoin {
        /// Which question.
        ask: AskId,
        /// Its admission, or why not.
        answer: Result<Box<Admission>, AuthRefusal>,
    },
    /// Hand a part of the answer to whoever asked; give `PartsTaken` as they are taken.
    AnswerPart {
        /// Which question.
        ask: AskId,
        /// Which part it is, from zero.
        number: u32,
        /// What it says.
        payload: Payload,
    },
    /// Hand a publication to an operator's subscription.
    Notify {
        /// The ask that subscribed.
        ask: AskId,
        /// How far the subscription has come with it.
        cursor: Cursor,
        /// What.
        publication: Box<Publication>,
    },
    /// From now on connections to these members are kept when nothing passes, and no others; without any set, those to all.
    KeepLinks {
        /// All of them.
        to: Option<BTreeSet<NodeId>>,
    },
    /// Dial that member.
    Dial {
        /// Which.
        node: NodeId,
        /// Where, best first.
        addresses: Vec<String>,
    },
    /// Ask other members where this one is; give `AddressesFound` when one of them knows.
    LookUp {
        /// Which member.
        node: NodeId,
    },
    /// Ask other members who serves this; give `ProvidersFound` when one of them names somebody.
    SeekProviders {
        /// Which service.
        service: ServiceName,
    },
    /// From now on members that ask are told that this node serves these, and no others.
    Provide {
        /// All of them.
        services: Vec<ServiceName>,
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
    /// Ask that member; give `ResponseArrived` or `RequestFailed`.
    Request {
        /// Under which number.
        request: OutboundId,
        /// Whom.
        to: NodeId,
        /// What.
        content: Request,
    },
    /// Respond.
    Respond {
        /// To which request.
        request: InboundId,
        /// With what.
        content: Response,
    },
    /// Send this by gossip.
    Gossip {
        /// On which topic.
        topic: GossipTopic,
        /// What.
        content: Box<Gossip>,
    },
    /// The gossip topics to follow, besides heads and directory, are now these.
    Follow {
        /// All topics of agents.
        topics: Vec<TopicName>,
        /// Whether what members publish for listeners by wildcard is followed.
        wildcards: bool,
    },
    /// Start this process.
    Start {
        /// Which.
        process: ProcessId,
        /// How.
        spec: Box<AgentSpec>,
    },
    /// Hand a message to a process.
    Deliver {
        /// Which process.
        process: ProcessId,
        /// What.
        delivery: Box<Delivery>,
    },
    /// Hand a publication to a process.
    DeliverPublication {
        /// Which process.
        process: ProcessId,
        /// What.
        publication: Box<Publication>,
    },
    /// Nobody waits for this answer any more.
    CancelDelivery {
        /// Which process.
        process: ProcessId,
        /// Which message.
        message: MessageId,
    },
    /// Tell a process that it uses four fifths of what it may.
    Warn {
        /// Which process.
        process: ProcessId,
        /// Of what.
        resource: Resource,
        /// How much it uses, in the resource's unit.
        measured: u64,
        /// How much it may use.
        limit: u64,
    },
    /// Find out how this is, without waiting for it; give `ProbeAnswered`. A probe that gets no answer needs none.
    Probe {
        /// Under which number.
        number: u64,
        /// What; never the network, which the peer itself knows about.
        target: ProbeTarget,
    },
    /// Let this process and all it started stand still; give `AgentSuspended` or `AgentResumed`.
    Suspend {
        /// Which.
        process: ProcessId,
    },
    /// Let it go on; give `AgentResumed`.
    Resume {
        /// Which.
        process: ProcessId,
    },
    /// Tell a process.
    Signal {
        /// Which process.
        process: ProcessId,
        /// What.
        signal: Box<weft_protocol::Signal>,
        /// Who says so; the kernel itself, without one.
        from: Option<weft_protocol::Sender>,
    },
    /// Stop this process within the grace time, then end its group; at once when there is none.
    Stop {
        /// Which.
        process: ProcessId,
        /// Time to finish, in microseconds.
        grace_us: u64,
    },
    /// Read stored groups; give `RangeRead`.
    ReadRange {
        /// For which request.
        request: InboundId,
        /// Which chain.
        chain: ChainId,
        /// First commit.
        from_commit: u64,
        /// Most bytes, but at least one group.
        bytes_max: u64,
    },
    /// Read one stored commit header; give `CommitRead`.
    ReadCommit {
        /// Which chain.
        chain: ChainId,
        /// Which commit.
        commit_no: u64,
        /// Given back with the answer.
        other: Box<Statement>,
    },
    /// Read the hashes of stored commits; give `HashesRead`.
    ReadHashes {
        /// Which chain.
        chain: ChainId,
        /// Which commits.
        commit_nos: Vec<u64>,
    },
    /// Prove these groups and put them in the place of damaged ones; give `Mended`.
    Mend {
        /// Which chain.
        chain: ChainId,
        /// Who gave them.
        from: NodeId,
        /// Whole groups, from the first damaged one on.
        groups: Vec<CommitGroup>,
    },
    /// Verify what is stored of a chain from its first event; give `ChainRead`.
    ReadChain {
        /// Which.
        chain: ChainId,
    },
    /// Read the recorded steps of a conversation on our own chain; give `TraceRead`.
    ReadTrace {
        /// For which request.
        request: InboundId,
        /// Which.
        trace: weft_protocol::TraceId,
    },
    /// Run this outside the machine; give `Verified`.
    Verify(Box<Job>),
    /// From now on the transport decides by this.
    PublishView(Arc<AdmissionView>),
    /// Everything is recorded, sealed and on disk: the node may end.
    Halt,
    /// End this peer, of which nothing was said yet, and build the next one as this says, from what the disk holds then.
    StartOver(StartOver),
}

/// Why a peer is ended before it went on with its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartOver {
    /// What the home lacked of its chain is on the disk again.
    Fetched {
        /// How many commits.
        commits: u64,
        /// From whom the last of them came.
        from: NodeId,
    },
    /// A chain of a new incarnation is to be begun: this one may have gone on without this home.
    Reincarnate {
        /// Why.
        reason: String,
        /// Whether the home's copy of the old chain contradicts what members hold, so that nobody may be told of it.
        disown: bool,
    },
    /// Members heard a tick of this node at or above the stamps that it would give: it goes on above that.
    Behind {
        /// The stamp of the tick.
        clock: Hlc,
    },
}
