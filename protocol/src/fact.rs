//! What events say: one enum of all kinds this version writes, with everything unknown carried as bytes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::amendment::{Amendment, Endorsement};
use crate::bond::{BondFired, Demonitored, Linked, Monitored, Unlinked};
use crate::boot::PhaseRecord;
use crate::capability::{Grant, GrantRef, Role};
use crate::codec::{decode, encode};
use crate::cron::{CronAdded, CronFired, CronId, CronMissed, CronRemoved};
use crate::deferral::{Decided, Deferral, DeferralEnded, Warned};
use crate::effect::Environment;
use crate::envelope::{Payload, Principal, Sender};
use crate::epoch::{EpochAsked, EpochEndorsed, EpochPromised, EpochProposed, MemberChangeWanted};
use crate::error::DecodeError;
use crate::failover::{FailoverDeclared, FenceGranted, FenceHeld, FenceReleased};
use crate::hash::Digest;
use crate::health::HealthChanged;
use crate::id::{
    AgentName, ChainId, GroupName, InviteId, MessageId, NodeId, NodeName, ProcessId, TopicPattern, TraceId,
};
use crate::limits::EVENT_BYTES_MAX;
use crate::membership::{Certificate, Genesis};
use crate::parts::PartsProof;
use crate::process::{AgentSpec, ExitReason, Resource};
use crate::record::Head;
use crate::rotation::KeyRotation;
use crate::service::{ContractRegistered, ServiceEnded, ServiceEntry};
use crate::signature::Signed;
use crate::snapshot::{Pruned, Snapshot};
use crate::time::{Hlc, Timestamp};
use crate::tree::ResourceScored;

/// Where in its journey a message was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The sender's gate permitted it and it is on its way.
    Sent,
    /// The receiver's gate permitted it and it is in the mailbox.
    Received,
    /// The agent answered.
    Answered,
    /// The sender holds the receipt.
    Acknowledged,
    /// It was refused, by the rule or for the reason named.
    Refused,
    /// A publication left its publisher.
    Published,
    /// A publication reached local subscribers.
    Delivered,
}

/// One step of one message, as one side saw it: an event of its own for durable messages, a leaf of a batch for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Which step.
    pub stage: Stage,
    /// Which message.
    pub message: MessageId,
    /// Which conversation.
    pub trace: TraceId,
    /// When, by the recorder's clock; of an event the same as the event's.
    pub hlc: Hlc,
    /// Who sent it.
    pub from: Sender,
    /// To what, as text.
    pub target: String,
    /// The node at the other end; the recorder itself for local messages.
    pub peer: NodeId,
    /// The deciding rule, or the refusal's code.
    pub rule: String,
    /// BLAKE3 of the body this step concerns.
    pub body_hash: Digest,
    /// Bytes of that body.
    pub body_bytes: u64,
    /// The body itself, in records of durable messages, up to 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Payload>,
    /// What stands for the parts of the answer, in the records of its end on both sides, when there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<PartsProof>,
}

/// An effect on the world that must be on disk before it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a fact holds it in a box")]
pub enum Effect {
    /// Start a process.
    Spawn {
        /// Which.
        process: ProcessId,
        /// How.
        spec: AgentSpec,
        /// The grants it will hold.
        grants: Vec<Grant>,
        /// Who asked.
        by: Principal,
        /// On which node; this one, without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<NodeId>,
    },
    /// Stop a process.
    Stop {
        /// Which.
        process: ProcessId,
        /// Its name.
        agent: AgentName,
        /// Who asked.
        by: Principal,
        /// On which node; this one, without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<NodeId>,
    },
    /// Send the message of a job.
    Fire {
        /// Which job.
        job: CronId,
        /// For which time; none when somebody asked for the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduled: Option<Timestamp>,
        /// Who made the job, or who asked for the run.
        by: Principal,
    },
    /// Stop a process and start its agent again at once, because somebody asked. Of an agent between two lives or given up
    /// the process is its last.
    Restart {
        /// Which.
        process: ProcessId,
        /// Its name.
        agent: AgentName,
        /// Who asked.
        by: Principal,
        /// On which node; this one, without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<NodeId>,
    },
    /// Stop a process because the node itself wants it; what follows for the agent is recorded as a restart or as given up.
    Terminate {
        /// Which.
        process: ProcessId,
        /// Its name.
        agent: AgentName,
        /// Why, at most 1,024 characters.
        reason: String,
    },
    /// Let a process stand still.
    Suspend {
        /// Which.
        process: ProcessId,
        /// Its name.
        agent: AgentName,
        /// Who asked.
        by: Principal,
        /// On which node; this one, without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<NodeId>,
    },
    /// Let a suspended process go on.
    Resume {
        /// Which.
        process: ProcessId,
        /// Its name.
        agent: AgentName,
        /// Who asked.
        by: Principal,
        /// On which node; this one, without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<NodeId>,
    },
}

/// How an intent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectResult {
    /// As intended.
    Done,
    /// It did not happen; the text says why, at most 1,024 characters.
    Failed {
        /// Why.
        reason: String,
    },
    /// The node went down between intent and outcome; nobody can tell.
    Indeterminate,
}

/// Everything this version records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The first event of a chain.
    Genesis(Box<Genesis>),
    /// The node started.
    Boot(Boot),
    /// The node went down in order; the last event of that run.
    Shutdown(Shutdown),
    /// An effect is about to happen.
    Intent(Box<Effect>),
    /// The effect of an intent ended.
    Outcome(EffectOutcome),
    /// A process ended.
    Exited(ProcessExited),
    /// One step of a durable message.
    Message(Box<MessageRecord>),
    /// The root over the steps of plain messages since the last batch.
    Batch(MessageBatch),
    /// The gate said no.
    Denied(Denial),
    /// An invite was made.
    InviteIssued(InviteIssued),
    /// One use of an invite is spent on one node.
    InviteBurnt(InviteBurnt),
    /// An invite may not be used any more.
    InviteRevoked(InviteRevoked),
    /// A node is a member from here on.
    Admitted(Box<Admitted>),
    /// Two histories of one chain were seen.
    ForkSeen(ForkSeen),
    /// Damaged records were fetched back from a peer.
    Repaired(Repaired),
    /// A process uses four fifths of what it may.
    ResourceWarned(ResourceUse),
    /// A process uses more than it may, and is ended for that.
    ResourceExceeded(ResourceUse),
    /// A job was made.
    CronAdded(Box<CronAdded>),
    /// A job was taken back.
    CronRemoved(CronRemoved),
    /// A run of a job ended.
    CronFired(CronFired),
    /// A job could not run in time.
    CronMissed(CronMissed),
    /// Agents will be started again.
    RestartPlanned(RestartPlanned),
    /// A group made as many restarts as it may; the failure is one of the group above it.
    Escalated(Escalated),
    /// Agents will not be started again by themselves.
    GaveUp(GaveUp),
    /// Something is healthy, or no longer.
    HealthChanged(HealthChanged),
    /// A message was given up and put among the dead letters.
    DeadLettered(DeadLettered),
    /// A dead letter was sent once more.
    DeadLetterRetried(DeadLetterRetried),
    /// A dead letter was thrown away.
    DeadLetterRemoved(DeadLetterRemoved),
    /// An agent was given a right.
    GrantIssued(Box<GrantIssued>),
    /// A right was taken back, and all that was passed on from it.
    GrantRevoked(GrantRevoked),
    /// A right with a budget was used.
    GrantUsed(GrantUsed),
    /// A start is complete: once in each run, after everything of it has ended.
    Booted(Booted),
    /// Settings changed while the node ran.
    Configured(Configured),
    /// A contract is fixed for ever, and this is its text.
    ContractRegistered(Box<ContractRegistered>),
    /// Something is served here from now on.
    ServiceRegistered(ServiceEntry),
    /// It no longer is.
    ServiceEnded(ServiceEnded),
    /// An agent listens to topics from here on, until it leaves them or ends.
    TopicSubscribed(TopicSubscribed),
    /// It no longer does.
    TopicUnsubscribed(TopicUnsubscribed),
    /// Two processes end together from here on.
    Linked(Linked),
    /// They no longer do.
    Unlinked(Unlinked),
    /// A process hears of another's end, once.
    Monitored(Monitored),
    /// It no longer does.
    Demonitored(Demonitored),
    /// A process is told of another's end.
    BondFired(Box<BondFired>),
    /// What a member still held of an earlier chain of this node is back.
    TailReturned(TailReturned),
    /// A checkpoint of this chain is to be, or is, held by somebody outside of the cluster.
    Anchored(Box<Anchored>),
    /// An action was deferred to a person.
    Deferred(Box<Deferral>),
    /// A person approved a deferred action: whoever asked may repeat it once.
    Approved(Decided),
    /// A person denied a deferred action.
    DeniedBy(Decided),
    /// What was approved happened.
    ApprovalSpent(DeferralEnded),
    /// Nobody decided about a deferred action in time, or what was approved was not repeated in time.
    DeferralExpired(DeferralEnded),
    /// Something was permitted of which a rule warns.
    Warned(Box<Warned>),
    /// An admin proposes to change a rule, and wants it.
    Amendment(Box<Amendment>),
    /// An admin wants what another one proposed.
    Endorsed(Endorsement),
    /// This node asks for promises to a ballot about who counts, and gives its own by that.
    EpochAsked(EpochAsked),
    /// This node endorses nothing in a lower ballot of that epoch any more.
    EpochPromised(EpochPromised),
    /// This node proposes who counts next, and endorses it.
    EpochProposed(Box<EpochProposed>),
    /// This node endorses what another proposed, or proposes it again in a ballot of its own.
    EpochEndorsed(Box<EpochEndorsed>),
    /// An operator of this node wants a change of who counts: it is proposed as soon as that is possible.
    MemberChangeWanted(MemberChangeWanted),
    /// A resource was observed, and its scores changed.
    ResourceScored(Box<ResourceScored>),
    /// Where this chain stood, and one hash over what it had said by then.
    Snapshot(Box<Snapshot>),
    /// Rows beside events of this chain are deleted from here on; the events stay.
    Pruned(Pruned),
    /// The ML-DSA-65 key of this node gives way to a new one, from the next commit on.
    KeyRotated(Box<KeyRotation>),
    /// An agent is to run on one node or another from here on, until it is stopped or ends for good.
    FailoverDeclared(Box<FailoverDeclared>),
    /// This node promised that nobody but this holder has this fence of an agent.
    FenceGranted(FenceGranted),
    /// More than half granted this fence to this node: the agent runs here while its lease lasts.
    FenceHeld(FenceHeld),
    /// This node runs the agent under this fence no longer, and never again.
    FenceReleased(FenceReleased),
    /// A kind this version does not know; carried, hashed and shown, never interpreted.
    Opaque {
        /// Its kind.
        kind: String,
        /// Its bytes.
        payload: ByteBuf,
    },
}

/// See [`Fact::Boot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The program's version.
    pub version: String,
    /// The name the node goes by.
    pub name: NodeName,
    /// Below this number are the messages of earlier runs; none when there can be no such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<u64>,
    /// How strict its gates are; not said by earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

/// See [`Fact::Shutdown`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Processes that were still alive and were stopped.
    pub stopped: u64,
}

/// See [`Fact::Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectOutcome {
    /// Place of the intent on this chain.
    pub intent: u64,
    /// How it ended.
    pub result: EffectResult,
}

/// See [`Fact::Exited`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExited {
    /// Which.
    pub process: ProcessId,
    /// Its name.
    pub agent: AgentName,
    /// Why.
    pub reason: ExitReason,
}

/// See [`Fact::Batch`]. The leaves are stored as one row beside the event and may be pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBatch {
    /// Root of the BLAKE3 tree over the leaves.
    pub root: Digest,
    /// Number of leaves.
    pub count: u64,
}

/// See [`Fact::Denied`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Who asked.
    pub by: Sender,
    /// What for.
    pub action: String,
    /// On what.
    pub resource: String,
    /// The deciding rule.
    pub rule: String,
    /// The message, when it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
}

/// See [`Fact::InviteIssued`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteIssued {
    /// Hash of the secret; the invite's id is its beginning.
    pub secret_hash: Digest,
    /// As what joiners are admitted.
    pub role: Role,
    /// How many nodes may use it.
    pub uses: u32,
    /// When it ends, by this node's clock.
    pub expires: Timestamp,
    /// How long the certificates last that it gives, in microseconds; until their nodes are evicted, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ttl_us: Option<u64>,
}

/// See [`Fact::InviteBurnt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteBurnt {
    /// Which.
    pub invite: InviteId,
    /// On whom.
    pub node: NodeId,
}

/// See [`Fact::InviteRevoked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevoked {
    /// Which.
    pub invite: InviteId,
}

/// See [`Fact::Admitted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The certificate, signed by the node whose chain this is.
    pub certificate: Signed<Certificate>,
    /// The invite it was given for; none for the founder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteId>,
}

/// See [`Fact::ForkSeen`]. The two signed commits are stored beside the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkSeen {
    /// Whose.
    pub chain: ChainId,
    /// The commit number both claim.
    pub commit_no: u64,
    /// One commit.
    pub first: Digest,
    /// The other.
    pub second: Digest,
}

/// See [`Fact::Repaired`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// Which chain was damaged.
    pub chain: ChainId,
    /// First damaged commit.
    pub first_commit: u64,
    /// Commits fetched.
    pub count: u64,
    /// Who had them.
    pub from: NodeId,
}

/// See [`Fact::ResourceWarned`] and [`Fact::ResourceExceeded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUse {
    /// Which process.
    pub process: ProcessId,
    /// Its name.
    pub agent: AgentName,
    /// Of what.
    pub resource: Resource,
    /// How much it was seen to use, in the resource's unit.
    pub measured: u64,
    /// How much it may use.
    pub limit: u64,
}

/// See [`Fact::RestartPlanned`]. The wait begins with the event; whoever of them still runs then is ended first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPlanned {
    /// Whose failure it is.
    pub agent: AgentName,
    /// The process that failed.
    pub process: ProcessId,
    /// The group that restarts; the root, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Who is started again, in this order; at most 256.
    pub agents: Vec<AgentName>,
    /// The how many-th restart of a row it is, from one.
    pub number: u32,
    /// The wait, in microseconds.
    pub delay_us: u64,
}

/// See [`Fact::Escalated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalated {
    /// Which.
    pub group: GroupName,
    /// The group above; the root, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<GroupName>,
    /// Whose failure it was.
    pub process: ProcessId,
}

/// See [`Fact::GaveUp`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveUp {
    /// Who; at most 256.
    pub agents: Vec<AgentName>,
    /// Whose failure it was.
    pub process: ProcessId,
    /// Why, at most 1,024 characters.
    pub reason: String,
}

/// See [`Fact::DeadLettered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettered {
    /// Which message.
    pub message: MessageId,
    /// Where it was to go.
    pub to: NodeId,
    /// Its target as it was written.
    pub target: String,
    /// Why: a refusal's code, or `mailbox` for one whose process ended before it was read.
    pub reason: String,
}

/// See [`Fact::DeadLetterRetried`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRetried {
    /// Which message was given up.
    pub message: MessageId,
    /// The message that carries its content now.
    pub again: MessageId,
}

/// See [`Fact::DeadLetterRemoved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRemoved {
    /// Which message was given up.
    pub message: MessageId,
    /// Why: `operator`, or `full` when a newer one needed its place.
    pub reason: String,
}

/// Who holds a right that was given outside a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantHolder {
    /// On which node.
    pub node: NodeId,
    /// The agent.
    pub agent: AgentName,
    /// Its process, on the giving node; on another node whichever goes by the name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
}

/// See [`Fact::GrantIssued`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantIssued {
    /// What.
    pub grant: Grant,
    /// To whom.
    pub to: GrantHolder,
    /// Who gave it.
    pub by: Principal,
}

/// See [`Fact::GrantRevoked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRevoked {
    /// Which. Of another node's grant it concerns this node alone.
    pub grant: GrantRef,
    /// Who took it back.
    pub by: Principal,
}

/// See [`Fact::GrantUsed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantUsed {
    /// Which.
    pub grant: GrantRef,
    /// How often by now, as far as this node has seen.
    pub used: u64,
}
/// See [`Fact::Booted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booted {
    /// Its phases in order, at most one of each.
    pub phases: Vec<PhaseRecord>,
}

/// See [`Fact::Configured`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// What is different from here on, by key.
    pub changes: Vec<SettingChange>,
}

/// One setting that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Its key, as the configuration file writes it.
    pub key: String,
    /// What it was, as `weft config show` prints it.
    pub from: String,
    /// What it is.
    pub to: String,
}

/// See [`Fact::TopicSubscribed`]. An operator's subscription lasts as long as the request that reads it, and is no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSubscribed {
    /// Who.
    pub by: Principal,
    /// To what.
    pub pattern: TopicPattern,
}

/// See [`Fact::TopicUnsubscribed`]. That a process ended says it too, of all its subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicUnsubscribed {
    /// Who listened.
    pub by: Principal,
    /// To what.
    pub pattern: TopicPattern,
}

/// See [`Fact::TailReturned`]. From here on what was lost has its place in the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailReturned {
    /// Which chain.
    pub chain: ChainId,
    /// Where it ends now.
    pub head: Head,
}

/// See [`Fact::Anchored`]: once before anything leaves, and once more for each thing that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchored {
    /// Who is to hold it.
    pub backend: AnchorBackend,
    /// SHA-256 of the checkpoint file's bytes.
    pub sha256: Digest,
    /// What the checkpoint signs.
    pub head: Head,
    /// What is to happen, or happened.
    pub step: AnchorStep,
    /// The file's path, or the calendars' addresses; at most 1,024 characters.
    pub place: String,
}

/// Who holds a checkpoint outside of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorBackend {
    /// A file, for its reader to carry elsewhere.
    File,
    /// Calendars of OpenTimestamps, and Bitcoin behind them; they see a hash.
    OpenTimestamps,
}

/// How far an anchor has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorStep {
    /// It is to be made.
    Intended,
    /// It is held there.
    Done,
    /// A block of Bitcoin is said to hold it.
    Attested {
        /// The block's height.
        height: u64,
    },
    /// It could not be made; at most 1,024 characters.
    Failed(String),
}

/// Lists each kind once: its name on the chain and its variant.
macro_rules! kinds {
    ($($name:literal => $variant:ident),* $(,)?) => {
        impl Fact {
            /// The kind under which it stands on the chain.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Opaque { kind, .. } => kind,
                }
            }

            /// The canonical payload bytes.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(fact) => encode(fact),)*
                    Self::Opaque { payload, .. } => payload.to_vec(),
                }
            }

            /// What an event of this kind says; of an unknown kind [`Fact::Opaque`].
            ///
            /// # Errors
            /// [`DecodeError`] when the kind is known and the payload is not its canonical encoding.
            pub fn decode(kind: &str, payload: &[u8]) -> Result<Self, DecodeError> {
                match kind {
                    $($name => decode(payload, EVENT_BYTES_MAX).map(Self::$variant),)*
                    _ => Ok(Self::Opaque { kind: kind.to_owned(), payload: ByteBuf::from(payload) }),
                }
            }
        }
    };
}

kinds! {
    "genesis" => Genesis,
    "node.boot" => Boot,
    "node.shutdown" => Shutdown,
    "effect.intent" => Intent,
    "effect.outcome" => Outcome,
    "process.exited" => Exited,
    "ipc.message" => Message,
    "ipc.batch" => Batch,
    "gate.denied" => Denied,
    "invite.issued" => InviteIssued,
    "invite.burnt" => InviteBurnt,
    "invite.revoked" => InviteRevoked,
    "member.admitted" => Admitted,
    "chain.fork-seen" => ForkSeen,
    "chain.repaired" => Repaired,
    "resource.warned" => ResourceWarned,
    "resource.exceeded" => ResourceExceeded,
    "cron.added" => CronAdded,
    "cron.removed" => CronRemoved,
    "cron.fired" => CronFired,
    "cron.missed" => CronMissed,
    "supervisor.restart-planned" => RestartPlanned,
    "supervisor.escalated" => Escalated,
    "supervisor.gave-up" => GaveUp,
    "health.changed" => HealthChanged,
    "ipc.dead-lettered" => DeadLettered,
    "ipc.dead-letter-retried" => DeadLetterRetried,
    "ipc.dead-letter-removed" => DeadLetterRemoved,
    "grant.issued" => GrantIssued,
    "grant.revoked" => GrantRevoked,
    "grant.used" => GrantUsed,
    "node.booted" => Booted,
    "node.configured" => Configured,
    "service.contract.registered" => ContractRegistered,
    "service.registered" => ServiceRegistered,
    "service.ended" => ServiceEnded,
    "topic.subscribed" => TopicSubscribed,
    "topic.unsubscribed" => TopicUnsubscribed,
    "bond.linked" => Linked,
    "bond.unlinked" => Unlinked,
    "bond.monitored" => Monitored,
    "bond.demonitored" => Demonitored,
    "bond.fired" => BondFired,
    "chain.tail-returned" => TailReturned,
    "chain.anchored" => Anchored,
    "gate.deferred" => Deferred,
    "gate.approved" => Approved,
    "gate.denied-by" => DeniedBy,
    "gate.approval-spent" => ApprovalSpent,
    "gate.deferral-expired" => DeferralExpired,
    "gate.warned" => Warned,
    "governance.amendment" => Amendment,
    "governance.endorsed" => Endorsed,
    "epoch.asked" => EpochAsked,
    "epoch.promised" => EpochPromised,
    "epoch.proposed" => EpochProposed,
    "epoch.endorsed" => EpochEndorsed,
    "member.change-wanted" => MemberChangeWanted,
    "resource.scored" => ResourceScored,
    "chain.snapshot" => Snapshot,
    "chain.pruned" => Pruned,
    "keys.rotated" => KeyRotated,
    "failover.declared" => FailoverDeclared,
    "fence.granted" => FenceGranted,
    "fence.held" => FenceHeld,
    "fence.released" => FenceReleased,
}
