//! All that a gate judges. An action nobody thought of does not compile: every match over this enum names each case.

#![deny(clippy::wildcard_enum_match_arm)]

mod named;

use std::sync::Arc;

use weft_protocol::{
    AgentName, CronId, DeferralId, GrantId, GrantTerms, MemberVerb, MessageId, NodeId, ResourcePath, Role, RuleId,
    ServiceName, SettingChange, TopicName, TopicPattern,
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
    /// Say on our chain what this node promises, proposes and endorses about who counts.
    Vote,
    /// Have a member suspended, resumed, evicted or readmitted.
    ChangeMember {
        /// Whom.
        node: NodeId,
        /// What.
        verb: MemberVerb,
    },
    /// Record that a start is complete.
    RecordBoot,
    /// Promise a member that nobody but it has a fence of an agent.
    GrantFence {
        /// Whose.
        agent: AgentName,
    },
    /// Hold a fence of an agent that more than half granted, or give it up.
    HoldFence {
        /// Whose.
        agent: AgentName,
    },
    /// Let somebody outside of the cluster hold a checkpoint of this chain.
    Anchor {
        /// Where: a file, or calendars.
        place: String,
    },
    /// Say where this chain stands, and what it has said by then.
    Snapshot,
    /// Delete rows beside events of this chain.
    Prune {
        /// Those of events below this place.
        to: u64,
    },
    /// Change settings of the running node.
    Configure {
        /// Their keys, with commas.
        keys: String,
        /// Whether one of them says how strict the gates are.
        gates: bool,
    },
    /// Let another ML-DSA-65 key sign for this node from here on.
    RotateKeys,
    /// Say how good a resource is.
    Score {
        /// Which.
        path: ResourcePath,
    },
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
    /// Start an agent that the configuration names.
    SpawnConfigured {
        /// Its name.
        agent: AgentName,
    },
    /// Approve an action that a rule deferred.
    Approve {
        /// Which.
        deferral: DeferralId,
    },
    /// Deny an action that a rule deferred.
    DenyDeferred {
        /// Which.
        deferral: DeferralId,
    },
    /// Propose to change a rule of the cluster.
    Amend {
        /// Which.
        rule: RuleId,
    },
    /// Endorse what another admin proposed.
    Endorse {
        /// Of which rule; none when there is no such proposal.
        rule: Option<RuleId>,
    },
}

/// The settings that say how strict the gates are, by key.
const GATE_SETTINGS: [&str; 3] = ["environment", "effects", "kernel.approval"];

/// Names each kind once, with the word by which decisions name it.
macro_rules! kinds {
    ($($kind:ident => $name:literal),* $(,)?) => {
        /// Which action it is, whoever does it to whatever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each stands for the case of `Action` that bears its name")]
        pub enum ActionKind {
            $($kind),*
        }

        impl ActionKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The word by which decisions name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name),*
                }
            }
        }
    };
}

kinds! {
    Send => "send",
    Call => "call",
    Receive => "receive",
    Publish => "publish",
    Subscribe => "subscribe",
    // By a pattern: it hears what nobody named to it.
    SubscribeWildcard => "subscribe",
    ReceivePublication => "receive-publication",
    ReadDeadLetters => "read-dead-letters",
    RetryDeadLetter => "retry-dead-letter",
    DropDeadLetter => "drop-dead-letter",
    Spawn => "spawn",
    Stop => "stop",
    CronAdd => "cron-add",
    CronRemove => "cron-remove",
    CronRun => "cron-run",
    CronList => "cron-list",
    Suspend => "suspend",
    Resume => "resume",
    Restart => "restart",
    Grant => "grant",
    Revoke => "revoke",
    Invite => "invite",
    RevokeInvite => "revoke-invite",
    Admit => "admit",
    RecordFork => "record-fork",
    RecordRepair => "record-repair",
    RecordTail => "record-tail",
    RecordBoot => "record-boot",
    GrantFence => "grant-fence",
    HoldFence => "hold-fence",
    Vote => "vote",
    ChangeMember => "change-member",
    Anchor => "anchor",
    Snapshot => "snapshot",
    Prune => "prune",
    Configure => "configure",
    // Of the environment, or of what else the gates go by.
    ConfigureGates => "configure",
    RotateKeys => "rotate-keys",
    Score => "score",
    Shutdown => "shutdown",
    Deliver => "deliver",
    RegisterService => "register-service",
    UnregisterService => "unregister-service",
    Inspect => "inspect",
    Link => "link",
    Unlink => "unlink",
    Monitor => "monitor",
    Demonitor => "demonitor",
    SpawnConfigured => "spawn-configured",
    Approve => "approve",
    DenyDeferred => "deny-deferred",
    Amend => "amend",
    Endorse => "endorse",
}

impl ActionKind {
    /// Whether each step of it has a record of its own that names the deciding rule.
    pub(crate) const fn is_message(self) -> bool {
        matches!(
            self,
            Self::Send | Self::Call | Self::Receive | Self::Deliver | Self::Publish | Self::ReceivePublication
        )
    }
}

impl Action {
    /// A change of these settings.
    #[must_use]
    pub fn configure(changes: &[SettingChange]) -> Self {
        let keys = changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>();
        let gates = keys.iter().any(|key| GATE_SETTINGS.contains(key));
        Self::Configure { keys: keys.join(","), gates }
    }

    /// The word by which a decision names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Which action it is; of one for somebody of another node, what that one wants.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Send { .. } => ActionKind::Send,
            Self::Call { .. } => ActionKind::Call,
            Self::Receive { .. } => ActionKind::Receive,
            Self::Publish { .. } => ActionKind::Publish,
            Self::Subscribe { pattern } if pattern.is_wildcard() => ActionKind::SubscribeWildcard,
            Self::Subscribe { .. } => ActionKind::Subscribe,
            Self::ReceivePublication { .. } => ActionKind::ReceivePublication,
            Self::ReadDeadLetters => ActionKind::ReadDeadLetters,
            Self::RetryDeadLetter { .. } => ActionKind::RetryDeadLetter,
            Self::DropDeadLetter { .. } => ActionKind::DropDeadLetter,
            Self::Spawn { .. } => ActionKind::Spawn,
            Self::Stop { .. } => ActionKind::Stop,
            Self::CronAdd { .. } => ActionKind::CronAdd,
            Self::CronRemove { .. } => ActionKind::CronRemove,
            Self::CronRun { .. } => ActionKind::CronRun,
            Self::CronList => ActionKind::CronList,
            Self::Suspend { .. } => ActionKind::Suspend,
            Self::Resume { .. } => ActionKind::Resume,
            Self::Restart { .. } => ActionKind::Restart,
            Self::Grant { .. } => ActionKind::Grant,
            Self::Revoke { .. } => ActionKind::Revoke,
            Self::Invite { .. } => ActionKind::Invite,
            Self::RevokeInvite => ActionKind::RevokeInvite,
            Self::Admit { .. } => ActionKind::Admit,
            Self::RecordFork { .. } => ActionKind::RecordFork,
            Self::RecordRepair => ActionKind::RecordRepair,
            Self::RecordTail => ActionKind::RecordTail,
            Self::RecordBoot => ActionKind::RecordBoot,
            Self::GrantFence { .. } => ActionKind::GrantFence,
            Self::HoldFence { .. } => ActionKind::HoldFence,
            Self::Vote => ActionKind::Vote,
            Self::ChangeMember { .. } => ActionKind::ChangeMember,
            Self::Anchor { .. } => ActionKind::Anchor,
            Self::Snapshot => ActionKind::Snapshot,
            Self::Prune { .. } => ActionKind::Prune,
            Self::Configure { gates: false, .. } => ActionKind::Configure,
            Self::Configure { gates: true, .. } => ActionKind::ConfigureGates,
            Self::RotateKeys => ActionKind::RotateKeys,
            Self::Score { .. } => ActionKind::Score,
            Self::Shutdown => ActionKind::Shutdown,
            Self::Deliver { .. } => ActionKind::Deliver,
            Self::RegisterService { .. } => ActionKind::RegisterService,
            Self::UnregisterService { .. } => ActionKind::UnregisterService,
            Self::Inspect { .. } => ActionKind::Inspect,
            Self::Foreign { action, .. } => action.kind(),
            Self::Link { .. } => ActionKind::Link,
            Self::Unlink { .. } => ActionKind::Unlink,
            Self::Monitor { .. } => ActionKind::Monitor,
            Self::Demonitor { .. } => ActionKind::Demonitor,
            Self::SpawnConfigured { .. } => ActionKind::SpawnConfigured,
            Self::Approve { .. } => ActionKind::Approve,
            Self::DenyDeferred { .. } => ActionKind::DenyDeferred,
            Self::Amend { .. } => ActionKind::Amend,
            Self::Endorse { .. } => ActionKind::Endorse,
        }
    }

    /// The role that the acting node has as a member, where another one acts.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Receive { role, .. } | Self::ReceivePublication { role, .. } | Self::Foreign { role, .. } => {
                Some(*role)
            }
            Self::Deliver { role, .. } => *role,
            Self::Send { .. }
            | Self::Call { .. }
            | Self::Publish { .. }
            | Self::Subscribe { .. }
            | Self::ReadDeadLetters
            | Self::RetryDeadLetter { .. }
            | Self::DropDeadLetter { .. }
            | Self::Spawn { .. }
            | Self::Stop { .. }
            | Self::CronAdd { .. }
            | Self::CronRemove { .. }
            | Self::CronRun { .. }
            | Self::CronList
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::Restart { .. }
            | Self::Grant { .. }
            | Self::Revoke { .. }
            | Self::Invite { .. }
            | Self::RevokeInvite
            | Self::Admit { .. }
            | Self::RecordFork { .. }
            | Self::RecordRepair
            | Self::RecordTail
            | Self::RecordBoot
            | Self::GrantFence { .. }
            | Self::HoldFence { .. }
            | Self::Vote
            | Self::ChangeMember { .. }
            | Self::Anchor { .. }
            | Self::Snapshot
            | Self::Prune { .. }
            | Self::Configure { .. }
            | Self::RotateKeys
            | Self::Score { .. }
            | Self::Shutdown
            | Self::RegisterService { .. }
            | Self::UnregisterService { .. }
            | Self::Inspect { .. }
            | Self::Link { .. }
            | Self::Unlink { .. }
            | Self::Monitor { .. }
            | Self::Demonitor { .. }
            | Self::SpawnConfigured { .. }
            | Self::Approve { .. }
            | Self::DenyDeferred { .. }
            | Self::Amend { .. }
            | Self::Endorse { .. } => None,
        }
    }
}
