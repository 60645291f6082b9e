//! The gate of roles and grants: four rules, tried in order, the last of which permits nothing.

use weft_protocol::{Grant, GrantId, GrantTerms, NodeId, Principal, Right, Role, Timestamp};

use super::rules::{DEFAULT_CLOSED, GRANT, MEMBER_ROLE, OPERATOR_LOCAL};
use super::{Decision, Gate, Request};
use crate::action::Action;

/// Decides by the operator's place, the member's role and the agent's grants.
#[derive(Debug, Clone)]
pub struct CapabilityGate {
    node: NodeId,
}

/// What an action needs besides a principal that may act at all.
enum Need {
    /// A grant, unless the own operator acts.
    Grant(Right),
    /// A role that may act on other nodes, and for an agent a grant too.
    RoleAndGrant(Role, Right),
    /// A grant that may be passed on like this, unless the own operator acts.
    Wider(GrantTerms),
    /// One of these grants, unless the own operator acts.
    Held(Vec<GrantId>),
    /// The own operator and nobody else.
    Operator,
    /// Nothing is enough.
    Nobody,
    /// From another node: the operator of one that may act on others, or an agent with a grant that such a node, or this one,
    /// gave.
    FromAbroad(Role, Right),
    /// From another node: the operator of one that may act on others.
    OperatorFromAbroad(Role),
}

impl CapabilityGate {
    /// The gate of `node` under rules that were checked.
    pub(super) const fn of(node: NodeId) -> Self {
        Self { node }
    }
}

impl Gate for CapabilityGate {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let own = request.by.node == self.node;
        match need(request.action) {
            Need::Grant(right) => match &request.by.principal {
                Principal::Operator if own => permit(OPERATOR_LOCAL),
                Principal::Operator => deny(DEFAULT_CLOSED),
                Principal::Agent { .. } if own => by_grant(request, right),
                Principal::Agent { .. } => deny(DEFAULT_CLOSED),
            },
            Need::RoleAndGrant(role, right) => match role {
                Role::Observer => deny(MEMBER_ROLE),
                Role::Admin | Role::Worker => match &request.by.principal {
                    Principal::Operator => permit(MEMBER_ROLE),
                    Principal::Agent { .. } => by_grant(request, right),
                },
            },
            Need::Wider(terms) => self.own_or(request, |grant| grant.includes(&terms) && is_open(grant, request.now)),
            Need::Held(any) => self.own_or(request, |grant| any.contains(&grant.id)),
            Need::Operator => match &request.by.principal {
                Principal::Operator if own => permit(OPERATOR_LOCAL),
                Principal::Operator | Principal::Agent { .. } => deny(DEFAULT_CLOSED),
            },
            Need::Nobody => deny(DEFAULT_CLOSED),
            Need::FromAbroad(role, right) => self.judge_abroad(request, role, |given| by_grant(given, right)),
            Need::OperatorFromAbroad(role) => self.judge_abroad(request, role, |_| deny(DEFAULT_CLOSED)),
        }
    }
}

impl CapabilityGate {
    /// A node with the role to act on others speaks for its operator, and for its agents as far as it gave them grants. Any
    /// agent may do what this node itself gave it; what a third node gave counts for nothing.
    fn judge_abroad(
        &self,
        request: &Request<'_>,
        role: Role,
        by_grants: impl Fn(&Request<'_>) -> Decision,
    ) -> Decision {
        let by = request.by.node;
        if by == self.node {
            return deny(DEFAULT_CLOSED);
        }
        let counts = |giver: NodeId| giver == self.node || role == Role::Admin && giver == by;
        match (role, &request.by.principal) {
            (Role::Observer, _) | (Role::Worker, Principal::Operator) => deny(MEMBER_ROLE),
            (Role::Admin, Principal::Operator) => permit(MEMBER_ROLE),
            (Role::Admin | Role::Worker, Principal::Agent { .. }) => {
                let given =
                    request.grants.iter().filter(|grant| grant.line(by).next().is_some_and(|one| counts(one.node)));
                let grants: Vec<&Grant> = given.copied().collect();
                by_grants(&Request { grants: &grants, ..request.clone() })
            }
        }
    }

    /// The own operator may; an own agent when one of its grants is as it must be.
    fn own_or(&self, request: &Request<'_>, is_enough: impl Fn(&Grant) -> bool) -> Decision {
        let own = request.by.node == self.node;
        match &request.by.principal {
            Principal::Operator if own => permit(OPERATOR_LOCAL),
            Principal::Agent { .. } if own => match request.grants.iter().find(|grant| is_enough(grant)) {
                Some(grant) => Decision::Permit { rule: GRANT.into(), grant: Some((*grant).clone()), notes: None },
                None => deny(GRANT),
            },
            Principal::Operator | Principal::Agent { .. } => deny(DEFAULT_CLOSED),
        }
    }
}

fn is_open(grant: &Grant, now: Timestamp) -> bool {
    grant.expires.is_none_or(|expires| now < expires)
}

fn need(action: &Action) -> Need {
    match action {
        Action::Send { .. } => Need::Grant(Right::Send),
        Action::Call { .. } => Need::Grant(Right::Call),
        Action::Receive { role, wants_reply: false, .. } => Need::RoleAndGrant(*role, Right::Send),
        Action::Receive { role, wants_reply: true, .. } => Need::RoleAndGrant(*role, Right::Call),
        Action::Publish { .. } => Need::Grant(Right::Publish),
        Action::Subscribe { .. } => Need::Grant(Right::Subscribe),
        Action::ReceivePublication { role, .. } => Need::RoleAndGrant(*role, Right::Publish),
        Action::Deliver { role: None, .. } => Need::Grant(Right::Send),
        Action::Deliver { role: Some(role), .. } => Need::RoleAndGrant(*role, Right::Send),
        Action::RegisterService { .. } | Action::UnregisterService { .. } => Need::Grant(Right::Serve),
        Action::Spawn { .. } => Need::Grant(Right::Spawn),
        Action::Stop { .. } => Need::Grant(Right::Stop),
        Action::CronAdd { .. } => Need::Grant(Right::CronAdd),
        Action::CronRemove { .. } => Need::Grant(Right::CronRemove),
        Action::CronRun { .. } => Need::Grant(Right::CronRun),
        Action::CronList => Need::Grant(Right::CronList),
        Action::Suspend { .. } => Need::Grant(Right::Suspend),
        Action::Resume { .. } => Need::Grant(Right::Resume),
        Action::Restart { .. } => Need::Grant(Right::Restart),
        Action::Link { .. } | Action::Unlink { .. } => Need::Grant(Right::Link),
        Action::Monitor { .. } | Action::Demonitor { .. } => Need::Grant(Right::Monitor),
        Action::Grant { terms, .. } => Need::Wider(terms.clone()),
        Action::Revoke { parents, .. } => Need::Held(parents.clone()),
        Action::Inspect { .. } => Need::Grant(Right::Inspect),
        Action::Foreign { role, action } => need_of_foreign(*role, action),
        Action::Invite { .. }
        | Action::ReadDeadLetters
        | Action::RetryDeadLetter { .. }
        | Action::DropDeadLetter { .. }
        | Action::RevokeInvite
        | Action::Admit { .. }
        | Action::RecordFork { .. }
        | Action::RecordRepair
        | Action::RecordTail
        | Action::RecordBoot
        | Action::GrantFence { .. }
        | Action::HoldFence { .. }
        | Action::Vote
        | Action::ChangeMember { .. }
        | Action::Anchor { .. }
        | Action::Snapshot
        | Action::Prune { .. }
        | Action::Configure { .. }
        | Action::RotateKeys
        | Action::Score { .. }
        | Action::SpawnConfigured { .. }
        | Action::Approve { .. }
        | Action::DenyDeferred { .. }
        | Action::Amend { .. }
        | Action::Endorse { .. }
        | Action::Shutdown => Need::Operator,
    }
}

/// Of all that can be asked here, somebody of another node may ask to start, see and change the lives of agents.
fn need_of_foreign(role: Role, action: &Action) -> Need {
    match action {
        Action::Spawn { .. } => Need::FromAbroad(role, Right::Spawn),
        Action::Stop { .. } => Need::FromAbroad(role, Right::Stop),
        Action::Suspend { .. } => Need::FromAbroad(role, Right::Suspend),
        Action::Resume { .. } => Need::FromAbroad(role, Right::Resume),
        Action::Restart { .. } => Need::FromAbroad(role, Right::Restart),
        Action::Inspect { .. } => Need::RoleAndGrant(role, Right::Inspect),
        // What a spawned agent is to hold; what its spawner holds counts on its own node.
        Action::Grant { .. } => Need::OperatorFromAbroad(role),
        Action::Send { .. }
        | Action::Call { .. }
        | Action::Receive { .. }
        | Action::Publish { .. }
        | Action::Subscribe { .. }
        | Action::ReceivePublication { .. }
        | Action::Deliver { .. }
        | Action::RegisterService { .. }
        | Action::UnregisterService { .. }
        | Action::CronAdd { .. }
        | Action::CronRemove { .. }
        | Action::CronRun { .. }
        | Action::CronList
        | Action::Revoke { .. }
        | Action::Invite { .. }
        | Action::ReadDeadLetters
        | Action::RetryDeadLetter { .. }
        | Action::DropDeadLetter { .. }
        | Action::RevokeInvite
        | Action::Admit { .. }
        | Action::RecordFork { .. }
        | Action::RecordRepair
        | Action::RecordTail
        | Action::RecordBoot
        | Action::GrantFence { .. }
        | Action::HoldFence { .. }
        | Action::Vote
        | Action::ChangeMember { .. }
        | Action::Anchor { .. }
        | Action::Snapshot
        | Action::Prune { .. }
        | Action::Configure { .. }
        | Action::RotateKeys
        | Action::Score { .. }
        | Action::Shutdown
        | Action::Link { .. }
        | Action::Unlink { .. }
        | Action::Monitor { .. }
        | Action::Demonitor { .. }
        | Action::SpawnConfigured { .. }
        | Action::Approve { .. }
        | Action::DenyDeferred { .. }
        | Action::Amend { .. }
        | Action::Endorse { .. }
        | Action::Foreign { .. } => Need::Nobody,
    }
}

fn by_grant(request: &Request<'_>, right: Right) -> Decision {
    let allows = |grant: &&&Grant| request.resources.iter().any(|text| grant.allows(right, text, request.now));
    match request.grants.iter().find(allows) {
        Some(grant) => Decision::Permit { rule: GRANT.into(), grant: Some((*grant).clone()), notes: None },
        None => deny(DEFAULT_CLOSED),
    }
}

fn permit(rule: &'static str) -> Decision {
    Decision::Permit { rule: rule.into(), grant: None, notes: None }
}

fn deny(rule: &'static str) -> Decision {
    Decision::Deny { rule: rule.into() }
}
