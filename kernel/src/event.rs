//! What can happen to the kernel, and all that it can ask of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_protocol::{
    AgentName, Batch, ChainId, CommitRef, CronId, CronResult, DeadLetter, DeferralId, Envelope, ExitReason, Fact,
    GrantId, GrantIssued, GrantRef, Head, Hlc, Level, MessageId, NodeId, PartsProof, PartsTaken, Payload, PersonName,
    Principal, ProcessExited, ProcessId, Publication, Receipt, RecordRef, Refusal, ReplyPart, Resource, Role, Sender,
    ServiceAdvert, ServiceEntry, ServiceName, SignedTick, Signer, Timestamp, TopicPattern, TraceId, Watched,
};

use crate::action::Action;
use crate::config::KernelConfig;
use crate::cron::CronJob;
use crate::governance::{AdminTerm, ProposalState};
use crate::health::{ProbeAnswer, ProbeTarget};
use crate::syscall::Syscall;
use crate::topic::{Cursor, Gather, GatherId};

/// A question of somebody on this machine; the world numbers them and gives each number once, below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

impl AskId {
    /// From here on the numbers are the kernel's own.
    const OWN: u64 = 1 << 63;

    /// A question that the kernel itself asks.
    pub(crate) const fn own(number: u64) -> Self {
        Self(Self::OWN | number)
    }

    /// Whether the kernel itself asks: the answer is for nobody else.
    #[must_use]
    pub const fn is_own(self) -> bool {
        self.0 >= Self::OWN
    }
}

/// Correlates facts that another machine wants recorded with the answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Where the directory says that a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// On this node.
    Local,
    /// On that node.
    Remote(NodeId),
    /// Nowhere, or in too many places; the gate is asked first all the same.
    Nowhere(Box<Refusal>),
}

impl Route {
    /// Nowhere, for this reason.
    #[must_use]
    pub fn nowhere(refusal: Refusal) -> Self {
        Self::Nowhere(Box::new(refusal))
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Somebody on this machine asked for something.
    Asked {
        /// Under which number the answer goes back.
        ask: AskId,
        /// Who.
        by: Principal,
        /// What.
        syscall: Box<Syscall>,
        /// Where its target is; `Local` for a syscall without one.
        route: Route,
    },
    /// Whoever asked is gone; its answer would reach nobody. Subscriptions of the ask end.
    Withdrawn {
        /// Which question.
        ask: AskId,
    },
    /// A member sent a message.
    EnvelopeArrived {
        /// Which member, authenticated by the transport.
        from: NodeId,
        /// Its role.
        role: Role,
        /// The message.
        envelope: Box<Envelope>,
    },
    /// A member answered a message of ours.
    ReceiptArrived {
        /// Which member.
        from: NodeId,
        /// The receipt.
        receipt: Box<Receipt>,
    },
    /// A member no longer waits for an answer.
    CancelArrived {
        /// Which member.
        from: NodeId,
        /// Which of its messages.
        message: MessageId,
    },
    /// A message, or parts of its answer, did not reach its member, as far as anybody can tell.
    TransmitFailed {
        /// Which member.
        to: NodeId,
        /// Which message.
        message: MessageId,
    },
    /// A member can be reached, or no longer.
    ReachabilityChanged {
        /// Which member.
        node: NodeId,
        /// Whether a connection to it is open.
        reachable: bool,
    },
    /// A member published something.
    PublicationArrived {
        /// Which member; the transport proved that it is the publisher.
        from: NodeId,
        /// Its role.
        role: Role,
        /// What, in its place among the publications of that member in its topic.
        publication: Box<Publication>,
        /// Whether it was fetched as history: it is remembered, and handed to nobody who listens already.
        fetched: bool,
    },
    /// What members have of a subscription's history has arrived, or they had time enough.
    Gathered {
        /// Which.
        gather: GatherId,
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
    /// A process goes on; after an order to let it stand still: that could not be done.
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
    /// A member sent a part of the answer to a message of ours.
    PartArrived {
        /// Which member.
        from: NodeId,
        /// The part.
        part: Box<ReplyPart>,
    },
    /// A member's caller has taken parts of an answer from here.
    PartsTakenArrived {
        /// Which member.
        from: NodeId,
        /// How many, of which answer.
        taken: PartsTaken,
    },
    /// Whoever asked has taken so many parts, from the first on, and as many more may be handed over.
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
    /// What was probed answered, or the world knows already that it will not.
    ProbeAnswered {
        /// Which probe.
        number: u64,
        /// What it found.
        answer: ProbeAnswer,
    },
    /// Another machine of this node wants facts on the chain.
    FactsGiven {
        /// To answer to.
        ticket: Ticket,
        /// Who causes them.
        by: Principal,
        /// What the gate must permit.
        action: Action,
        /// What to record, in order, in one commit.
        facts: Vec<Fact>,
    },
    /// Another ML-DSA-65 key is to sign for this node; answered like facts.
    RotationAsked {
        /// To answer to.
        ticket: Ticket,
        /// Who wants it.
        by: Principal,
        /// What signs from the commit after the record on: the same Ed25519 key, and the new one.
        next: Arc<dyn Signer>,
    },
    /// A member that may act on others gave a right to an agent of another node; that is on its verified chain.
    GrantLearned {
        /// Which member.
        issuer: NodeId,
        /// What.
        issued: Box<GrantIssued>,
    },
    /// A member took one of its grants back; that is on its verified chain.
    RevocationLearned {
        /// Which member.
        issuer: NodeId,
        /// Which grant.
        grant: GrantRef,
    },
    /// A member's verified chain says that one of its processes has ended.
    ExitLearned {
        /// Which member.
        node: NodeId,
        /// Which process, and why.
        exited: Box<ProcessExited>,
    },
    /// A member is dead or cut off; told when a process of it is monitored here.
    NodeLost {
        /// Which member.
        node: NodeId,
    },
    /// More than half granted this node the fence of an agent: it may run here until `LeaseLost`.
    LeaseGained(Box<Leased>),
    /// The agent may not run here any longer.
    LeaseLost {
        /// Which.
        agent: AgentName,
        /// Why, in words.
        reason: String,
        /// Whether it gets no time to finish.
        at_once: bool,
    },
    /// What was held may be appended from now on.
    Released,
    /// The operator's settings are other ones from now on; the change is on the chain.
    Configured {
        /// All of them. Agents to start at boot are those of the next start.
        config: Box<KernelConfig>,
    },
    /// An admin said something about rules; that is on its verified chain.
    RulesSaid {
        /// Which member.
        node: NodeId,
        /// When, by its chain.
        hlc: Hlc,
        /// What.
        fact: Box<Fact>,
    },
    /// Those who may propose and endorse amendments are now these.
    AdminsKnown {
        /// All of them.
        admins: Vec<AdminTerm>,
    },
    /// What the directory says that other nodes serve is now this.
    ServicesElsewhere {
        /// All of it.
        services: BTreeSet<ServiceName>,
    },
    /// What another member wrote is verified and on our disk.
    HeadStored {
        /// Where its chain stands.
        head: Box<Head>,
        /// Its last stamp.
        hlc: Hlc,
    },
    /// Those who may write chains that count are now these, this node among them.
    MembersKnown {
        /// All of them.
        members: BTreeSet<NodeId>,
    },
    /// So many members vouch for the records of this message, in commits of theirs that are on our disk.
    Witnessed {
        /// Which message.
        message: MessageId,
        /// Who, in the order of their ids.
        vouching: Vec<NodeId>,
    },
    /// A member waits for a commit of ours that vouches for this chain as far as we hold it.
    AnchorWanted {
        /// Which.
        chain: ChainId,
    },
    /// Another member's chain has two histories: it is vouched for no longer.
    ChainForked {
        /// Which.
        chain: ChainId,
    },
    /// A tick with these words is to be signed: give `Ticked`.
    TickAsked {
        /// What is acknowledged.
        heads: Vec<CommitRef>,
        /// Up to where nothing of others is missing.
        horizon: Hlc,
    },
    /// Nothing beyond these commits of these chains may be vouched for; until now the same held for another set.
    Withheld {
        /// The last commit of each.
        ends: BTreeMap<ChainId, u64>,
    },
    /// The batch of the last `Persist` is on disk.
    Persisted,
    /// The batch could not be written: nothing may be promised any more.
    PersistFailed,
    /// The time of `next_wakeup` has come.
    Woken,
}

/// An agent that may run here for as long as its lease lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// What runs.
    pub spec: weft_protocol::AgentSpec,
    /// Under which fence.
    pub fence: u64,
    /// Who declared it.
    pub by: Sender,
    /// The role of that one's node; none when it is this one.
    pub role: Option<Role>,
    /// Who waits for it to run.
    pub ask: Option<AskId>,
}

/// What a process, with all it started, uses at one moment; none where that was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time since it started, in microseconds.
    pub cpu_us: Option<u64>,
    /// What lies in its own folder, in bytes.
    pub disk_bytes: Option<u64>,
}

/// A message handed to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which message.
    pub message: MessageId,
    /// Who sent it.
    pub from: Sender,
    /// What was addressed, as text.
    pub target: Arc<str>,
    /// What it carries.
    pub payload: Payload,
    /// Whether somebody waits for the answer.
    pub wants_reply: bool,
    /// Until when.
    pub deadline: Timestamp,
    /// The conversation.
    pub trace: TraceId,
    /// Whether whoever waits takes parts of the answer.
    pub parts: bool,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A message reached the level it was sent with.
    Sent(Box<SendReport>),
    /// A publication left.
    Published {
        /// Its id.
        id: MessageId,
        /// Its conversation.
        trace: TraceId,
        /// Its number within the topic.
        seq: u64,
        /// Local subscribers that were handed it.
        delivered: u64,
    },
    /// A part of an answer left, or needs not.
    Streamed {
        /// Which it is, from zero.
        number: u32,
    },
    /// Publications will be handed out from now on.
    Subscribed,
    /// They no longer are.
    Unsubscribed,
    /// Messages that were given up, the oldest first.
    DeadLetters(Vec<DeadLetter>),
    /// A message that was given up is kept no longer, and that is recorded.
    DeadLetterDropped {
        /// Which.
        message: MessageId,
    },
    /// A process runs.
    Spawned {
        /// Which.
        process: ProcessId,
    },
    /// A process ended.
    Stopped {
        /// Which.
        process: ProcessId,
        /// Why.
        reason: ExitReason,
    },
    /// A job was made.
    CronAdded(Box<CronJob>),
    /// A job was taken back.
    CronRemoved {
        /// Which.
        job: CronId,
    },
    /// A job ran because somebody asked.
    CronRan {
        /// Which.
        job: CronId,
        /// Its message, when one left.
        message: Option<MessageId>,
        /// How it ended.
        result: CronResult,
    },
    /// All jobs, by id.
    CronJobs(Vec<CronJob>),
    /// A process stands still.
    Suspended {
        /// Which.
        process: ProcessId,
    },
    /// A process goes on.
    Resumed {
        /// Which.
        process: ProcessId,
    },
    /// A right is given, and that is on disk.
    Granted(Box<GrantIssued>),
    /// A right is taken back, and that is on disk.
    Revoked {
        /// Which.
        grant: GrantId,
    },
    /// The node is going down; `Halt` follows when everything is on disk.
    ShuttingDown {
        /// The processes that were alive and were stopped, in the order in which that was asked of them.
        stopped: Vec<(AgentName, ProcessId)>,
    },
    /// Something is served from now on, or was already in the same way.
    ServiceRegistered(Box<ServiceEntry>),
    /// It no longer is.
    ServiceUnregistered {
        /// Which.
        service: ServiceName,
    },
    /// Two processes are linked.
    Linked {
        /// One of them.
        one: ProcessId,
        /// The other.
        other: ProcessId,
    },
    /// They no longer are.
    Unlinked {
        /// One of them.
        one: ProcessId,
        /// The other.
        other: ProcessId,
    },
    /// A process hears of another's end; of one that is gone already it is told at once.
    Monitored {
        /// Who.
        watcher: ProcessId,
        /// Of whose.
        target: Watched,
    },
    /// It no longer does.
    Demonitored {
        /// Who.
        watcher: ProcessId,
        /// Of whose.
        target: Watched,
    },
    /// A person decided about a deferred action.
    Decided {
        /// Which.
        deferral: DeferralId,
        /// Whether it may happen.
        approved: bool,
        /// Who.
        name: PersonName,
    },
    /// This node wants an amendment.
    Amended {
        /// How it stands with this voice.
        state: Box<ProposalState>,
        /// Which version of the rules is in force now.
        version: u32,
    },
}

/// See [`Answer::Sent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReport {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub trace: TraceId,
    /// Who received it.
    pub node: NodeId,
    /// What was reached.
    pub level: Level,
    /// The agent's answer.
    pub reply: Option<Payload>,
    /// Of a broadcast, in how many mailboxes it is.
    pub delivered: Option<u64>,
    /// From question to answer, in microseconds.
    pub latency_us: u64,
    /// The sender's record, on disk, when durability was asked.
    pub record: Option<RecordRef>,
    /// The receiver's.
    pub remote_record: Option<RecordRef>,
    /// Members that vouch for both, when that was asked.
    pub witnesses: Vec<NodeId>,
    /// What stands for the parts that came before the answer.
    pub parts: Option<PartsProof>,
}

/// What the world must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write this, sync, then give `Persisted`. At most one is out at a time.
    Persist(Box<Batch>),
    /// Our commit is on disk and may be shown: announce it. Follows the `Persisted` of its batch.
    Announce(Box<weft_protocol::CommitGroup>),
    /// Tell whoever asked.
    Answer {
        /// Which question.
        ask: AskId,
        /// What became of it.
        answer: Result<Answer, Refusal>,
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
    /// Send this part of an answer to that member; give `TransmitFailed` for its message when that fails.
    SendPart {
        /// Where to.
        to: NodeId,
        /// What.
        part: Box<ReplyPart>,
    },
    /// Tell that member how many parts of an answer were taken.
    SayPartsTaken {
        /// Where to.
        to: NodeId,
        /// How many, of which answer.
        taken: PartsTaken,
    },
    /// The kernel itself asks this; route it and give it back as `Asked`. Its answer stays inside.
    Ask {
        /// Under which number.
        ask: AskId,
        /// In whose name.
        by: Principal,
        /// What.
        syscall: Box<Syscall>,
    },
    /// Send this message to that member; give `ReceiptArrived` or `TransmitFailed`.
    Transmit {
        /// Where to.
        to: NodeId,
        /// What.
        envelope: Box<Envelope>,
    },
    /// Send this receipt to that member.
    Acknowledge {
        /// Where to.
        to: NodeId,
        /// What.
        receipt: Box<Receipt>,
    },
    /// Let members vouch for records of this message, and give `Witnessed` whenever there are more of them who do.
    SeekWitnesses {
        /// Which message.
        message: MessageId,
        /// What a member vouches for that counts: each of these chains, as far as so many events.
        places: Vec<(ChainId, u64)>,
        /// Who does not count.
        except: [NodeId; 2],
        /// How many are wanted.
        members: u8,
    },
    /// No more of them are needed.
    SeekNoWitnesses {
        /// Which message.
        message: MessageId,
    },
    /// Tell that member that nobody waits for the answer any more.
    Cancel {
        /// Where to.
        to: NodeId,
        /// Which message.
        message: MessageId,
    },
    /// Publish this on the mesh.
    Publish(Box<Publication>),
    /// The set of patterns with local subscribers is now this.
    Follow {
        /// All of them, sorted, with the number of their subscriptions.
        subscriptions: Vec<(TopicPattern, u32)>,
        /// Our stamp of now: what publishers stamp later is wanted, whoever they are.
        since: Hlc,
    },
    /// Ask members how far each publisher of the pattern has come, fetch what is wanted of it, then give `Gathered`.
    Gather {
        /// Under which number.
        gather: GatherId,
        /// Which topics; followed already.
        pattern: TopicPattern,
        /// What is wanted.
        what: Gather,
    },
    /// The set of living agents is now this.
    Advertise {
        /// All of them, sorted by name.
        agents: Vec<(AgentName, ProcessId)>,
    },
    /// What running agents of this node serve is now this.
    AdvertiseServices {
        /// All of it, sorted by name.
        services: Vec<ServiceAdvert>,
    },
    /// Hand a publication to an operator's subscription.
    Notify {
        /// The ask that subscribed.
        ask: AskId,
        /// How far the subscription has come with it.
        cursor: Cursor,
        /// What; on disk.
        publication: Box<Publication>,
    },
    /// Start this process; give `AgentStarted` or `AgentExited`. Its intent is on disk.
    Start {
        /// Which.
        process: ProcessId,
        /// How.
        spec: Box<weft_protocol::AgentSpec>,
    },
    /// Hand a message to a process; give `AgentAnswered`.
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
        /// What.
        target: ProbeTarget,
    },
    /// Let this process and all it started stand still; give `AgentSuspended`, or `AgentResumed` when that cannot be done. Its
    /// intent is on disk.
    Suspend {
        /// Which.
        process: ProcessId,
    },
    /// Let it go on; give `AgentResumed`. Its intent is on disk.
    Resume {
        /// Which.
        process: ProcessId,
    },
    /// Tell a process; one that has no ear for it, such as a built-in agent, is none the worse.
    Signal {
        /// Which process.
        process: ProcessId,
        /// What.
        signal: Box<weft_protocol::Signal>,
        /// Who says so; the kernel itself, without one.
        from: Option<Sender>,
    },
    /// Stop this process within the grace time, then end its group, at once when there is none; give `AgentExited`. Its
    /// intent is on disk.
    Stop {
        /// Which.
        process: ProcessId,
        /// Time to finish, in microseconds.
        grace_us: u64,
    },
    /// An agent that a lease was gained for does not run here.
    LeaseUnused {
        /// Which.
        agent: AgentName,
        /// Under which fence it would have.
        fence: u64,
        /// Why.
        refusal: Refusal,
    },
    /// What a `TickAsked` asked for; none when nothing may be signed now.
    Ticked {
        /// Signed.
        tick: Option<Box<SignedTick>>,
    },
    /// The facts are on disk.
    FactsRecorded {
        /// Whose.
        ticket: Ticket,
        /// Where: place of the first fact on our chain.
        first_seq: u64,
    },
    /// The facts were not recorded.
    FactsRefused {
        /// Whose.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// Everything is recorded, sealed and on disk: the node may end.
    Halt,
}
