//! The gate of roles and grants: four rules, tried in order, the last of which permits nothing.

use weft_protocol::{Digest, Grant, GrantId, GrantTerms, NodeId, Principal, Right, Role, Timestamp};

use super::rules::{self, DEFAULT_CLOSED, GRANT, GateError, MEMBER_ROLE, OPERATOR_LOCAL};
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
}

impl CapabilityGate {
    /// The gate of `node` under these genesis rules.
    ///
    /// # Errors
    /// [`GateError`] when the rules are not those of `governance_hash`, or of another version: the node must not start.
    pub fn new(node: NodeId, rules: &[u8], governance_hash: &Digest) -> Result<Self, GateError> {
        rules::check(rules, governance_hash)?;
        Ok(Self { node })
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
        }
    }
}

impl CapabilityGate {
    /// The own operator may; an own agent when one of its grants is as it must be.
    fn own_or(&self, request: &Request<'_>, is_enough: impl Fn(&Grant) -> bool) -> Decision {
        let own = request.by.node == self.node;
        match &request.by.principal {
            Principal::Operator if own => permit(OPERATOR_LOCAL),
            Principal::Agent { .. } if own => match request.grants.iter().find(|grant| is_enough(grant)) {
                Some(grant) => Decision::Permit { rule: GRANT.to_owned(), grant: Some(grant.clone()) },
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
        Action::Grant { terms, .. } => Need::Wider(terms.clone()),
        Action::Revoke { parents, .. } => Need::Held(parents.clone()),
        Action::Invite { .. }
        | Action::ReadDeadLetters
        | Action::RetryDeadLetter { .. }
        | Action::DropDeadLetter { .. }
        | Action::RevokeInvite
        | Action::Admit { .. }
        | Action::RecordFork { .. }
        | Action::RecordRepair
        | Action::RecordBoot
        | Action::Configure
        | Action::Shutdown => Need::Operator,
    }
}

fn by_grant(request: &Request<'_>, right: Right) -> Decision {
    let allows = |grant: &&Grant| request.resources.iter().any(|text| grant.allows(right, text, request.now));
    match request.grants.iter().find(allows) {
        Some(grant) => Decision::Permit { rule: GRANT.to_owned(), grant: Some(grant.clone()) },
        None => deny(DEFAULT_CLOSED),
    }
}

fn permit(rule: &str) -> Decision {
    Decision::Permit { rule: rule.to_owned(), grant: None }
}

fn deny(rule: &str) -> Decision {
    Decision::Deny { rule: rule.to_owned() }
}
