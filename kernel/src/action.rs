//! All that a gate judges. An action nobody thought of does not compile: every match over this enum names each case.

use std::sync::Arc;

use weft_protocol::{
    AgentName, CronId, GrantId, GrantTerms, MessageId, NodeId, Role, ServiceName, TopicName, TopicPattern,
};

/// One thing that somebody wants to do, with the resource it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message that wants no answer.
    Send {
        /// The target as text, with `@node` when it is on another one.
        target: Arc<str>,
    },
    /// Send a message and wait for its answer.
    Call {
        /// The target as text.
        target: Arc<str>,
    },
    /// Let a message of another node into a mailbox of this one.
    Receive {
        /// The sending node's role.
        role: Role,
        /// The target as text.
        target: String,
        /// Whether it wants an answer.
        wants_reply: bool,
    },
    /// Publish to a topic.
    Publish {
        /// Which.
        topic: TopicName,
    },
    /// Receive from every topic that a pattern means, and read what is remembered of them.
    Subscribe {
        /// Which.
        pattern: TopicPattern,
    },
    /// Let a publication of another node reach local subscribers.
    ReceivePublication {
        /// The publishing node's role.
        role: Role,
        /// Which topic.
        topic: TopicName,
    },
    /// Read the messages that were given up.
    ReadDeadLetters,
    /// Send a message that was given up once more; sending it is judged as well.
    RetryDeadLetter {
        /// Which.
        message: MessageId,
    },
    /// Throw a message that was given up away.
    DropDeadLetter {
        /// Which.
        message: MessageId,
    },
    /// Start an agent.
    Spawn {
        /// Its name.
        agent: AgentName,
    },
    /// Stop an agent.
    Stop {
        /// Its name, or one life of it, as text.
        target: String,
    },
    /// Make a job.
    CronAdd {
        /// The target of its messages as text.
        target: String,
    },
    /// Take a job back.
    CronRemove {
        /// Which.
        job: CronId,
    },
    /// Let a job run now.
    CronRun {
        /// Which.
        job: CronId,
    },
    /// See all jobs.
    CronList,
    /// Let an agent stand still.
    Suspend {
        /// Its name, or one life of it, as text.
        target: String,
    },
    /// Let a suspended agent go on.
    Resume {
        /// Its name, or one life of it, as text.
        target: String,
    },
    /// Stop an agent and start it again.
    Restart {
        /// Its name, or one life of it, as text.
        target: String,
    },
    /// Give an agent a right.
    Grant {
        /// Whom.
        to: AgentName,
        /// What.
        terms: GrantTerms,
    },
    /// Take a right back.
    Revoke {
        /// Which.
        grant: GrantId,
        /// What it was narrowed from.
        parents: Vec<GrantId>,
    },
    /// Make an invite.
    Invite {
        /// As what joiners will be admitted.
        role: Role,
    },
    /// Take an invite back.
    RevokeInvite,
    /// Admit a node that holds an invite.
    Admit {
        /// Which.
        node: NodeId,
    },
    /// Record that two histories of a chain were seen.
    RecordFork {
        /// Whose.
        node: NodeId,
    },
    /// Record that damage was repaired.
    RecordRepair,
    /// Record that what was lost of an earlier chain is back.
    RecordTail,
    /// Record that a start is complete.
    RecordBoot,
    /// Change settings of the running node.
    Configure,
    /// Take the node down.
    Shutdown,
    /// Let a broadcast into the mailbox of one agent.
    Deliver {
        /// The sending node's role; none when it is this one.
        role: Option<Role>,
        /// Whose mailbox.
        agent: AgentName,
    },
    /// Serve under a name.
    RegisterService {
        /// Which.
        service: ServiceName,
    },
    /// Serve under it no longer.
    UnregisterService {
        /// Which.
        service: ServiceName,
    },
    /// See everything about an agent.
    Inspect {
        /// Its name, or one life of it, as text.
        target: String,
    },
    /// Do for somebody of another node what could be asked here.
    Foreign {
        /// That node's role.
        role: Role,
        /// What.
        action: Box<Self>,
    },
    /// Link a process to another one, so that they end together.
    Link {
        /// An agent's name, or one life of it, as text.
        target: String,
    },
    /// Undo that.
    Unlink {
        /// An agent's name, or one life of it, as text.
        target: String,
    },
    /// Hear of a process's end.
    Monitor {
        /// An agent's name, or one life of it, as text, with `@node` when it is on another one.
        target: String,
    },
    /// Hear of it no longer.
    Demonitor {
        /// The same.
        target: String,
    },
}

impl Action {
    /// The word by which a denial names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Call { .. } => "call",
            Self::Receive { .. } => "receive",
            Self::Publish { .. } => "publish",
            Self::Subscribe { .. } => "subscribe",
            Self::ReceivePublication { .. } => "receive-publication",
            Self::ReadDeadLetters => "read-dead-letters",
            Self::RetryDeadLetter { .. } => "retry-dead-letter",
            Self::DropDeadLetter { .. } => "drop-dead-letter",
            Self::Spawn { .. } => "spawn",
            Self::Stop { .. } => "stop",
            Self::CronAdd { .. } => "cron-add",
            Self::CronRemove { .. } => "cron-remove",
            Self::CronRun { .. } => "cron-run",
            Self::CronList => "cron-list",
            Self::Suspend { .. } => "suspend",
            Self::Resume { .. } => "resume",
            Self::Restart { .. } => "restart",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
            Self::Invite { .. } => "invite",
            Self::RevokeInvite => "revoke-invite",
            Self::Admit { .. } => "admit",
            Self::RecordFork { .. } => "record-fork",
            Self::RecordRepair => "record-repair",
            Self::RecordTail => "record-tail",
            Self::RecordBoot => "record-boot",
            Self::Configure => "configure",
            Self::Shutdown => "shutdown",
            Self::Deliver { .. } => "deliver",
            Self::RegisterService { .. } => "register-service",
            Self::UnregisterService { .. } => "unregister-service",
            Self::Inspect { .. } => "inspect",
            Self::Foreign { action, .. } => action.name(),
            Self::Link { .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::Monitor { .. } => "monitor",
            Self::Demonitor { .. } => "demonitor",
        }
    }
}
