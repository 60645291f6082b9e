//! Broadcasts: one message to every living agent of one node but its sender, each delivery judged and recorded by itself.

use weft_protocol::{
    Delivery, Durability, Envelope, Level, LocalTarget, NodeId, Outcome, Principal, ProcessId, Receipt, Refusal, Role,
    Stage, Timestamp,
};

use super::record::Step;
use crate::action::Action;
use crate::kernel::{BUSY_RETRY_US, Kernel};
use crate::process::Life;

/// Whether a message of this kind can be a broadcast: it has no single answer, and no single record.
pub(super) fn check_broadcast(wants_reply: bool, level: Level) -> Result<(), Refusal> {
    if wants_reply || level.delivery == Delivery::Executed {
        let message = "a broadcast is not answered: send it, or call one agent".to_owned();
        return Err(Refusal::Invalid { message });
    }
    match level.durability {
        Durability::None => Ok(()),
        Durability::Durable | Durability::Witnessed { .. } => {
            Err(Refusal::Unsupported { what: "a durable broadcast; send to each agent".to_owned() })
        }
    }
}

impl Kernel {
    /// Hands a permitted broadcast out, and says to how many; `role` is the sending node's, none for this one.
    pub(super) fn receive_broadcast(
        &mut self,
        from: NodeId,
        role: Option<Role>,
        envelope: &Envelope,
        rule: &str,
        expires: Timestamp,
    ) -> Result<(), Refusal> {
        check_broadcast(envelope.wants_reply, envelope.level)?;
        let receivers = self.receivers(from, &envelope.from.principal);
        if !self.chain.has_message_ids(receivers.len() as u64) {
            return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        let (hlc, _) = self.record_step(&Step {
            stage: Stage::Received,
            message: envelope.id,
            trace: envelope.trace,
            from: &envelope.from,
            target: &envelope.target.to_string(),
            peer: from,
            rule,
            body: Some(&envelope.payload),
            durability: Durability::None,
            cause: &[],
            parts: None,
        });
        let handed = receivers.into_iter().filter(|process| self.hand_broadcast(*process, role, envelope, expires));
        let count = handed.count() as u64;
        let receipt =
            Receipt { message: envelope.id, hlc, outcome: Outcome::Delivered { count }, record: None, parts: None };
        self.release_receipt(from, receipt);
        Ok(())
    }

    fn receivers(&self, from: NodeId, sender: &Principal) -> Vec<ProcessId> {
        let own = match sender {
            Principal::Agent { process, .. } if from == self.identity.chain.node => Some(*process),
            Principal::Agent { .. } | Principal::Operator => None,
        };
        let living = self.processes.all_living().filter(|life| Life::accepts(life) && Some(life.process) != own);
        living.map(|life| life.process).collect()
    }

    /// One delivery, a message of its own in the same conversation; whether it is in the mailbox.
    fn hand_broadcast(
        &mut self,
        process: ProcessId,
        role: Option<Role>,
        envelope: &Envelope,
        expires: Timestamp,
    ) -> bool {
        let Some(agent) = self.processes.living(process).map(|life| life.spec.agent.clone()) else { return false };
        let id = self.chain.take_message_id();
        let target = LocalTarget::Agent(agent.clone());
        let one = self.local_resources(&target.to_string(), &target);
        let all = self.local_resources(&envelope.target.to_string(), &envelope.target);
        let resources = one.iter().chain(all.iter()).cloned().collect::<Vec<_>>();
        let action = Action::Deliver { role, agent };
        let judged = self.judge(&envelope.from, &action, &resources, envelope.grant.as_slice(), Some(id));
        let Ok(permit) = judged else { return false };
        if let Err(refusal) = self.check_room(process, &envelope.from, envelope.payload.size()) {
            self.record_step(&Step {
                stage: Stage::Refused,
                message: id,
                trace: envelope.trace,
                from: &envelope.from,
                target: &target.to_string(),
                peer: envelope.from.node,
                rule: refusal.code(),
                body: Some(&envelope.payload),
                durability: Durability::None,
                cause: &[],
                parts: None,
            });
            return false;
        }
        let level = Level { delivery: Delivery::Received, durability: Durability::None };
        let delivery = Envelope { id, target, level, ..envelope.clone() };
        let own = self.identity.chain.node;
        self.admit(own, delivery, process, expires, &permit.text(), super::Bound::default());
        true
    }
}
