//! All that anybody on this machine can ask of the kernel; each case is judged as its own `Action`.

use weft_protocol::{
    AgentName, AgentSpec, AuditLevel, Branch, Contract, CronId, DeferralId, Digest, GrantId, GrantTerms, Level,
    MessageId, Payload, PersonName, ProcessId, RuleChange, ServiceName, Target, TopicName, TopicPattern, TraceId,
    Watched,
};

use crate::cron::CronSpec;
use crate::topic::Start;

/// Which process is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRef {
    /// Whatever runs under this name.
    Name(AgentName),
    /// This life of a process and no other.
    Process(ProcessId),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syscall {
    /// Send a message; with `wants_reply` it is a call.
    Send {
        /// As it was written; the route says which node that is.
        target: Target,
        /// What.
        payload: Payload,
        /// Whether an answer is expected.
        wants_reply: bool,
        /// When to answer whoever asked.
        level: Level,
        /// How long it may take, in microseconds.
        deadline_us: u64,
        /// The conversation it belongs to; a new one, without.
        trace: Option<TraceId>,
        /// Events that led to it; at most 8.
        cause: Vec<Digest>,
        /// Whether it may be executed twice, and so be tried at another provider of a service.
        idempotent: bool,
        /// Whether parts of the answer are taken, as `AnswerPart` with this ask.
        parts: bool,
    },
    /// Say a part of the answer to a message that an agent works on; answered when there is room for the next one.
    Stream {
        /// Which message.
        message: MessageId,
        /// What.
        part: Payload,
    },
    /// Publish to a topic.
    Publish {
        /// Where.
        topic: TopicName,
        /// What.
        payload: Payload,
        /// The conversation it belongs to; a new one, without.
        trace: Option<TraceId>,
    },
    /// Receive what is published to a topic, as `Notify` with this ask, or as `DeliverPublication` for an agent.
    Subscribe {
        /// Which.
        pattern: TopicPattern,
        /// From where on.
        start: Start,
    },
    /// No longer receive it.
    Unsubscribe {
        /// Which, as it was subscribed to.
        pattern: TopicPattern,
    },
    /// List the messages that were given up.
    ListDeadLetters,
    /// Send a message that was given up once more.
    RetryDeadLetter {
        /// Which.
        message: MessageId,
        /// How long it may take this time, in microseconds.
        deadline_us: u64,
    },
    /// Throw a message that was given up away.
    DropDeadLetter {
        /// Which.
        message: MessageId,
    },
    /// Run a tool. There are none yet: it is counted and answered `unsupported`.
    CallTool {
        /// Its name.
        name: String,
    },
    /// Start an agent.
    Spawn {
        /// How.
        spec: Box<AgentSpec>,
    },
    /// Stop a process.
    Stop {
        /// Which.
        agent: AgentRef,
    },
    /// Make a job that sends a message at certain times.
    CronAdd {
        /// Which.
        spec: Box<CronSpec>,
    },
    /// Take a job back.
    CronRemove {
        /// Which.
        job: CronId,
    },
    /// Let a job run now, besides its schedule.
    CronRun {
        /// Which.
        job: CronId,
    },
    /// Tell all jobs.
    CronList,
    /// Let an agent stand still: it is handed nothing, and what is for it waits.
    Suspend {
        /// Which.
        agent: AgentRef,
    },
    /// Let a suspended agent go on.
    Resume {
        /// Which.
        agent: AgentRef,
    },
    /// Stop an agent and start it again; one that waits for a restart, or was given up, is started at once.
    Restart {
        /// Which.
        agent: AgentRef,
    },
    /// Give an agent a right; an agent passes on what it holds.
    Grant {
        /// Whom, as it was written; the route says which node that is.
        to: Target,
        /// What, with an end that is a time.
        terms: GrantTerms,
        /// For how long instead, in microseconds.
        lasts_us: Option<u64>,
    },
    /// Take a right back, with all that was passed on from it.
    Revoke {
        /// Which.
        grant: GrantId,
    },
    /// Take the node down in order.
    Shutdown,
    /// Serve under a name.
    RegisterService(Box<Registration>),
    /// Serve under it no longer.
    UnregisterService {
        /// Which.
        service: ServiceName,
    },
    /// Link two processes of this node.
    Link {
        /// One of them; an agent that asks is it itself.
        agent: Option<AgentRef>,
        /// The other, as it was written; the route says which node that is.
        with: Target,
    },
    /// Undo a link.
    Unlink {
        /// One of them; an agent that asks is it itself.
        agent: Option<AgentRef>,
        /// The other.
        with: Target,
    },
    /// Let a process hear of the end of another.
    Monitor {
        /// Who; an agent that asks is it itself.
        watcher: Option<AgentRef>,
        /// Of whose end, as it was written; the route says which node that is.
        target: Target,
        /// The process that the directory has there under that name or number, when it is on another node.
        seen: Option<Watched>,
    },
    /// Let it hear of that no longer.
    Demonitor {
        /// Who; an agent that asks is it itself.
        watcher: Option<AgentRef>,
        /// Of whose end.
        target: Target,
    },
    /// Decide about an action that a rule deferred, in the name of a person.
    Decide {
        /// Which.
        deferral: DeferralId,
        /// Whether it may happen.
        approve: bool,
        /// Who decides.
        name: PersonName,
        /// Why; whoever denies says so.
        why: Option<String>,
    },
    /// Propose to change a rule of the cluster.
    Amend {
        /// Whose rule it is.
        branch: Branch,
        /// What.
        change: Box<RuleChange>,
    },
    /// Endorse what another admin proposed.
    Endorse {
        /// Which.
        amendment: Digest,
    },
}

/// What is to be served, by whom and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its name.
    pub service: ServiceName,
    /// The agent that answers; an agent that registers speaks for itself.
    pub agent: Option<AgentName>,
    /// What it promises.
    pub contract: Option<Contract>,
    /// How its calls are recorded.
    pub audit_level: AuditLevel,
}
