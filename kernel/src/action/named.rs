//! Actions as people name them: a word, what it touches, and the role of the node that it comes from.

use weft_protocol::{AgentName, CronId, DeferralId, GrantTerms, LocalTarget, NodeId, ParseError, Role, Target};

use super::{Action, ActionKind, GATE_SETTINGS};

impl Action {
    /// The action of this name on this resource; with a role it comes from another node that is such a member.
    ///
    /// # Errors
    /// [`ParseError`] for a name that no action has, for a resource that is none of it, and for what comes from other nodes
    /// alone without a role. Nothing is changed.
    pub fn named(name: &str, resource: &str, role: Option<Role>) -> Result<Self, ParseError> {
        let kind = ActionKind::ALL.iter().find(|kind| kind.name() == name);
        let kind = *kind.ok_or_else(|| ParseError::new(name, "an action (weft gate explain --help lists them)"))?;
        let from_another = || role.ok_or_else(|| ParseError::new(name, "an action of this node: say --role"));
        let text = || resource.to_owned();
        let action = match kind {
            ActionKind::Send => Self::Send { target: resource.into() },
            ActionKind::Call => Self::Call { target: resource.into() },
            ActionKind::Receive => {
                return Ok(Self::Receive { role: from_another()?, target: text(), wants_reply: false });
            }
            ActionKind::Publish => Self::Publish { topic: resource.parse()? },
            ActionKind::Subscribe | ActionKind::SubscribeWildcard => Self::Subscribe { pattern: resource.parse()? },
            ActionKind::ReceivePublication => {
                return Ok(Self::ReceivePublication { role: from_another()?, topic: resource.parse()? });
            }
            ActionKind::ReadDeadLetters => Self::ReadDeadLetters,
            ActionKind::RetryDeadLetter => Self::RetryDeadLetter { message: resource.parse()? },
            ActionKind::DropDeadLetter => Self::DropDeadLetter { message: resource.parse()? },
            ActionKind::Spawn => Self::Spawn { agent: resource.parse()? },
            ActionKind::Stop => Self::Stop { target: agent(resource)? },
            ActionKind::CronAdd => Self::CronAdd { target: text() },
            ActionKind::CronRemove => Self::CronRemove { job: resource.parse::<CronId>()? },
            ActionKind::CronRun => Self::CronRun { job: resource.parse::<CronId>()? },
            ActionKind::CronList => Self::CronList,
            ActionKind::Suspend => Self::Suspend { target: agent(resource)? },
            ActionKind::Resume => Self::Resume { target: agent(resource)? },
            ActionKind::Restart => Self::Restart { target: agent(resource)? },
            ActionKind::Grant => grant(resource)?,
            ActionKind::Revoke => Self::Revoke { grant: resource.parse()?, parents: Vec::new() },
            ActionKind::Invite => Self::Invite { role: resource.parse()? },
            ActionKind::RevokeInvite => Self::RevokeInvite,
            ActionKind::Admit => Self::Admit { node: resource.parse::<NodeId>()? },
            ActionKind::RecordFork => Self::RecordFork { node: resource.parse::<NodeId>()? },
            ActionKind::RecordRepair => Self::RecordRepair,
            ActionKind::RecordTail => Self::RecordTail,
            ActionKind::RecordBoot => Self::RecordBoot,
            ActionKind::GrantFence => Self::GrantFence { agent: resource.parse()? },
            ActionKind::HoldFence => Self::HoldFence { agent: resource.parse()? },
            ActionKind::Vote => Self::Vote,
            ActionKind::ChangeMember => {
                let (verb, node) = resource.split_once('/').ok_or_else(|| {
                    ParseError::new(resource, "a change (suspend/NODE, resume/NODE, evict/NODE or readmit/NODE)")
                })?;
                Self::ChangeMember { verb: verb.parse()?, node: node.parse()? }
            }
            ActionKind::Anchor => Self::Anchor { place: text() },
            ActionKind::Snapshot => Self::Snapshot,
            ActionKind::Prune => {
                let invalid = |_| ParseError::new(resource, "a place on a chain (1200)");
                Self::Prune { to: resource.parse().map_err(invalid)? }
            }
            ActionKind::Configure | ActionKind::ConfigureGates => {
                Self::Configure { keys: text(), gates: resource.split(',').any(|key| GATE_SETTINGS.contains(&key)) }
            }
            ActionKind::RotateKeys => Self::RotateKeys,
            ActionKind::Score => Self::Score { path: resource.parse()? },
            ActionKind::Shutdown => Self::Shutdown,
            ActionKind::Deliver => return Ok(Self::Deliver { role, agent: resource.parse()? }),
            ActionKind::RegisterService => Self::RegisterService { service: resource.parse()? },
            ActionKind::UnregisterService => Self::UnregisterService { service: resource.parse()? },
            ActionKind::Inspect => Self::Inspect { target: agent(resource)? },
            ActionKind::Link => Self::Link { target: text() },
            ActionKind::Unlink => Self::Unlink { target: text() },
            ActionKind::Monitor => Self::Monitor { target: text() },
            ActionKind::Demonitor => Self::Demonitor { target: text() },
            ActionKind::SpawnConfigured => Self::SpawnConfigured { agent: resource.parse()? },
            ActionKind::Approve => Self::Approve { deferral: resource.parse::<DeferralId>()? },
            ActionKind::DenyDeferred => Self::DenyDeferred { deferral: resource.parse::<DeferralId>()? },
            ActionKind::Amend => Self::Amend { rule: resource.parse()? },
            ActionKind::Endorse => Self::Endorse { rule: Some(resource.parse()?) },
        };
        Ok(match role {
            None => action,
            Some(role) => Self::Foreign { role, action: Box::new(action) },
        })
    }
}

/// An agent's name, or one life of it.
fn agent(resource: &str) -> Result<String, ParseError> {
    match resource.parse::<Target>()? {
        Target { local: LocalTarget::Agent(_) | LocalTarget::Process(_), .. } => Ok(resource.to_owned()),
        Target { .. } => Err(ParseError::new(resource, "an agent (echo, or one life of it: #12.3)")),
    }
}

/// `call:echo for words`.
fn grant(resource: &str) -> Result<Action, ParseError> {
    let (spec, to) = resource.split_once(" for ").unwrap_or((resource, "anybody"));
    let terms = GrantTerms { spec: spec.parse()?, expires: None, uses: None };
    Ok(Action::Grant { to: to.parse::<AgentName>()?, terms })
}
