//! Facts that other machines of this node want on the chain: judged, checked against their action, recorded together.

use weft_protocol::limits::SETTING_CHANGES_MAX;
use weft_protocol::{BootPhase, Fact, Principal, Refusal};

use crate::action::Action;
use crate::chain::{Promise, Writer};
use crate::event::Ticket;
use crate::kernel::Kernel;

/// When a vote that came too late may be thought over again, in microseconds: after one commit (guess).
const VOTE_RETRY_US: u64 = 100_000;

impl Kernel {
    /// Records all of the facts in one commit or none, and says so when they are on disk.
    pub(crate) fn on_facts(&mut self, ticket: Ticket, by: &Principal, action: &Action, facts: &[Fact]) {
        if let Err(refusal) = self.record_facts(ticket, by, action, facts) {
            self.effects.refuse_facts(ticket, refusal);
        }
    }

    fn record_facts(&mut self, ticket: Ticket, by: &Principal, action: &Action, facts: &[Fact]) -> Result<(), Refusal> {
        let asker = self.asker(by)?;
        self.judge(&asker.sender, action, &[resource(action)], &asker.grants, None)?;
        if facts.is_empty() || !facts.iter().all(|fact| belongs(action, fact)) {
            let message = format!("these facts are not what `{}` records", action.name());
            return Err(Refusal::Invalid { message });
        }
        let source = by.to_string();
        if matches!(action, Action::Vote) && !self.chain.keeps_back() {
            // What was vouched for in between comes back with our own commit, and then decides.
            return Err(Refusal::Busy { retry_after_us: VOTE_RETRY_US });
        }
        if !Writer::fits(&source, facts) {
            let message = "these facts do not fit into one commit".to_owned();
            return Err(Refusal::Invalid { message });
        }
        if let Some((first_seq, last_seq)) = self.chain.append_together(&source, facts, self.now) {
            self.chain.hold(last_seq, Promise::FactsRecorded { ticket, first_seq });
        }
        Ok(())
    }
}

/// Whether a fact is one that the action records. What the kernel records of its own accord nobody else may.
fn belongs(action: &Action, fact: &Fact) -> bool {
    match action {
        Action::Invite { .. } => matches!(fact, Fact::InviteIssued(_)),
        Action::RevokeInvite => matches!(fact, Fact::InviteRevoked(_)),
        Action::Admit { .. } => matches!(fact, Fact::InviteBurnt(_) | Fact::Admitted(_)),
        Action::RecordFork { .. } => matches!(fact, Fact::ForkSeen(_)),
        Action::RecordRepair => matches!(fact, Fact::Repaired(_)),
        Action::RecordTail => matches!(fact, Fact::TailReturned(_)),
        Action::Vote => fact.is_of_epoch(),
        Action::ChangeMember { node, verb } => match fact {
            Fact::MemberChangeWanted(wanted) => (wanted.node, wanted.verb) == (*node, *verb),
            _ => false,
        },
        Action::Anchor { place } => matches!(fact, Fact::Anchored(anchored) if anchored.place == *place),
        Action::Snapshot => matches!(fact, Fact::Snapshot(_)),
        Action::Spawn { agent } => {
            matches!(fact, Fact::FailoverDeclared(declared) if declared.spec.agent == *agent)
        }
        Action::GrantFence { agent } => matches!(fact, Fact::FenceGranted(granted) if granted.agent == *agent),
        Action::HoldFence { agent } => match fact {
            Fact::FenceHeld(held) => held.agent == *agent,
            Fact::FenceReleased(released) => released.agent == *agent,
            _ => false,
        },
        Action::Prune { to } => matches!(fact, Fact::Pruned(pruned) if pruned.to == *to),
        Action::RecordBoot => match fact {
            Fact::Booted(booted) => booted.phases.len() <= BootPhase::ALL.len(),
            _ => false,
        },
        Action::Configure { .. } => match fact {
            Fact::Configured(configured) => {
                configured.changes.len() <= SETTING_CHANGES_MAX && *action == Action::configure(&configured.changes)
            }
            _ => false,
        },
        Action::Score { path } => match fact {
            Fact::ResourceScored(scored) => {
                scored.path == *path && !scored.seen.is_empty() && scored.by == Some(Principal::Operator)
            }
            _ => false,
        },
        Action::Send { .. }
        | Action::Call { .. }
        | Action::Receive { .. }
        | Action::Publish { .. }
        | Action::Subscribe { .. }
        | Action::ReceivePublication { .. }
        | Action::ReadDeadLetters
        | Action::RetryDeadLetter { .. }
        | Action::DropDeadLetter { .. }
        | Action::Stop { .. }
        | Action::CronAdd { .. }
        | Action::CronRemove { .. }
        | Action::CronRun { .. }
        | Action::CronList
        | Action::Suspend { .. }
        | Action::Resume { .. }
        | Action::Restart { .. }
        | Action::Grant { .. }
        | Action::Revoke { .. }
        | Action::Shutdown
        | Action::Deliver { .. }
        | Action::RegisterService { .. }
        | Action::UnregisterService { .. }
        | Action::Inspect { .. }
        | Action::Foreign { .. } => false,
        Action::Link { .. } | Action::Unlink { .. } | Action::Monitor { .. } | Action::Demonitor { .. } => false,
        Action::SpawnConfigured { .. } | Action::Approve { .. } | Action::DenyDeferred { .. } => false,
        Action::Amend { .. } | Action::Endorse { .. } | Action::RotateKeys => false,
    }
}

fn resource(action: &Action) -> String {
    match action {
        Action::Send { target } | Action::Call { target } => target.to_string(),
        Action::CronAdd { target }
        | Action::Receive { target, .. }
        | Action::Stop { target }
        | Action::Suspend { target }
        | Action::Resume { target }
        | Action::Restart { target }
        | Action::Inspect { target } => target.clone(),
        Action::Foreign { action, .. } => resource(action),
        Action::Link { target }
        | Action::Unlink { target }
        | Action::Monitor { target }
        | Action::Demonitor { target } => target.clone(),
        Action::CronRemove { job } | Action::CronRun { job } => job.to_string(),
        Action::CronList => "jobs".to_owned(),
        Action::Publish { topic } | Action::ReceivePublication { topic, .. } => topic.to_string(),
        Action::Subscribe { pattern } => pattern.to_string(),
        Action::Grant { terms, .. } => terms.spec.to_string(),
        Action::Revoke { grant, .. } => grant.to_string(),
        Action::Spawn { agent }
        | Action::GrantFence { agent }
        | Action::HoldFence { agent }
        | Action::SpawnConfigured { agent }
        | Action::Deliver { agent, .. } => agent.to_string(),
        Action::Approve { deferral } | Action::DenyDeferred { deferral } => deferral.to_string(),
        Action::Amend { rule } => rule.to_string(),
        Action::Endorse { rule } => rule.as_ref().map_or_else(|| "node".to_owned(), ToString::to_string),
        Action::RegisterService { service } | Action::UnregisterService { service } => service.to_string(),
        Action::Invite { role } => role.to_string(),
        Action::ChangeMember { node, verb } => format!("{}/{node}", verb.name()),
        Action::Admit { node } | Action::RecordFork { node } => node.to_string(),
        Action::RetryDeadLetter { message } | Action::DropDeadLetter { message } => message.to_string(),
        Action::RevokeInvite
        | Action::RecordRepair
        | Action::RecordTail
        | Action::Vote
        | Action::RecordBoot
        | Action::ReadDeadLetters
        | Action::RotateKeys
        | Action::Shutdown => "node".to_owned(),
        Action::Configure { keys, .. } => keys.clone(),
        Action::Score { path } => path.to_string(),
        Action::Anchor { place } => place.clone(),
        Action::Snapshot => "chain".to_owned(),
        Action::Prune { to } => to.to_string(),
    }
}
