//! How services begin and end: judged, checked, recorded, and answered when the record is on disk.

use weft_protocol::limits::SERVICES_MAX;
use weft_protocol::{
    AgentName, AuditLevel, Contract, ContractRegistered, Endpoint, ExitReason, Fact, Principal, Refusal, ServiceEnd,
    ServiceEnded, ServiceEntry, ServiceName,
};

use super::contract::CheckedContract;
use crate::action::Action;
use crate::chain::{Promise, Writer};
use crate::event::{Answer, AskId, Route};
use crate::kernel::{Asker, Kernel};
use crate::process::Life;
use crate::status::{NodeState, ProcessState};
use crate::syscall::Registration;

impl Kernel {
    /// Serves under a name; the answer follows when that is recorded.
    pub(crate) fn on_register_service(&mut self, ask: AskId, by: &Asker, wanted: Registration, route: Route) {
        if let Err(refusal) = self.register_service(ask, by, wanted, route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn register_service(&mut self, ask: AskId, by: &Asker, wanted: Registration, route: Route) -> Result<(), Refusal> {
        let Registration { service, agent, contract, audit_level } = wanted;
        let action = Action::RegisterService { service: service.clone() };
        self.judge(&by.sender, &action, &[service.to_string()], &by.grants, None)?;
        if let Route::Nowhere(refusal) = route {
            return Err(*refusal);
        }
        let agent = self.endpoint_of(by, agent)?;
        let owner = by.sender.principal.clone();
        if self.is_registered_alike(&service, &owner, &agent, contract.as_ref(), audit_level)? {
            let entry = self.services.get(&service).cloned();
            if let Some(entry) = entry {
                self.effects.answer(ask, Ok(Answer::ServiceRegistered(Box::new(entry))));
            }
            return Ok(());
        }
        let checked = contract.as_ref().map(CheckedContract::new).transpose()?;
        let reference = contract.as_ref().map(Contract::reference);
        let entry = ServiceEntry {
            name: service.clone(),
            owner: owner.clone(),
            endpoint: Endpoint::Agent(agent.clone()),
            contract: reference.clone(),
            audit_level,
            registered_at: self.now,
        };
        self.check_circle_through(&service, &agent)?;
        let mut facts = Vec::new();
        if let (Some(contract), Some(reference)) = (contract, &reference)
            && self.services.check_new(&contract, &reference.hash)?
        {
            let registered = ContractRegistered { contract, hash: reference.hash, by: owner };
            facts.push(Fact::ContractRegistered(Box::new(registered)));
        }
        facts.push(Fact::ServiceRegistered(entry.clone()));
        let source = by.sender.principal.to_string();
        if !Writer::fits(&source, &facts) {
            let message = "the contract does not fit into one record of 64 KiB".to_owned();
            return Err(Refusal::Invalid { message });
        }
        let placed = self.chain.append_together(&source, &facts, self.now);
        if let Some(Fact::ContractRegistered(registered)) = facts.into_iter().next()
            && let Some(reference) = &reference
        {
            self.services.keep(registered.contract, reference);
        }
        self.services.insert(entry.clone(), checked);
        if let Some((_, seq)) = placed {
            self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::ServiceRegistered(Box::new(entry))) });
        }
        self.start_waiting();
        Ok(())
    }

    /// Which agent answers: an agent speaks for itself alone, an operator names one that lives.
    fn endpoint_of(&self, by: &Asker, agent: Option<AgentName>) -> Result<AgentName, Refusal> {
        match (&by.sender.principal, agent) {
            (Principal::Agent { agent: own, .. }, None) => Ok(own.clone()),
            (Principal::Agent { agent: own, .. }, Some(agent)) if *own == agent => Ok(agent),
            (Principal::Agent { .. }, Some(agent)) => {
                let message = format!("an agent serves by itself, not by {agent}");
                Err(Refusal::Invalid { message })
            }
            (Principal::Operator, Some(agent)) if self.has_agent(&agent) => Ok(agent),
            (Principal::Operator, Some(agent)) => Err(Refusal::NoResponder { target: agent.to_string() }),
            (Principal::Operator, None) => {
                let message = "it must be said which agent answers".to_owned();
                Err(Refusal::Invalid { message })
            }
        }
    }

    /// Whether an agent says once more what it said before, which a restarted one does.
    fn is_registered_alike(
        &self,
        service: &ServiceName,
        owner: &Principal,
        agent: &AgentName,
        contract: Option<&Contract>,
        audit_level: AuditLevel,
    ) -> Result<bool, Refusal> {
        let Some(entry) = self.services.get(service) else {
            if self.services.count() >= SERVICES_MAX {
                let message = format!("{SERVICES_MAX} services are registered on this node, which is the most");
                return Err(Refusal::Invalid { message });
            }
            return Ok(false);
        };
        if !matches!(owner, Principal::Agent { .. }) || !Self::owns(&entry.owner, owner) {
            let message = format!(
                "{service} is registered on this node already, by {} for agent {}: unregister it first, or choose another name",
                entry.owner,
                entry.endpoint.agent()
            );
            return Err(Refusal::Invalid { message });
        }
        let same = entry.contract == contract.map(Contract::reference) && entry.audit_level == audit_level;
        Ok(same && entry.endpoint.agent() == agent)
    }

    /// Serves under a name no longer; the answer follows when that is recorded.
    pub(crate) fn on_unregister_service(&mut self, ask: AskId, by: &Asker, service: &ServiceName) {
        if let Err(refusal) = self.unregister_service(ask, by, service) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn unregister_service(&mut self, ask: AskId, by: &Asker, service: &ServiceName) -> Result<(), Refusal> {
        let action = Action::UnregisterService { service: service.clone() };
        self.judge(&by.sender, &action, &[service.to_string()], &by.grants, None)?;
        let by = &by.sender.principal;
        let Some(entry) = self.services.get(service) else {
            return Err(Refusal::NoResponder { target: format!("svc:{service}") });
        };
        if *by != Principal::Operator && !Self::owns(&entry.owner, by) {
            let message = format!("{service} was registered by {}, who alone and the operator may end it", entry.owner);
            return Err(Refusal::Invalid { message });
        }
        let seq = self.end_service(service, &by.to_string(), ServiceEnd::Unregistered { by: by.clone() });
        let answer = Ok(Answer::ServiceUnregistered { service: service.clone() });
        self.chain.hold(seq, Promise::Answer { ask, answer });
        Ok(())
    }

    fn end_service(&mut self, service: &ServiceName, source: &str, end: ServiceEnd) -> u64 {
        self.services.remove(service);
        let ended = ServiceEnded { name: service.clone(), end };
        self.chain.append(source, &Fact::ServiceEnded(ended), self.now).seq
    }

    /// Ends what agents registered that are no more and will not be started again by themselves. An operator's services stay.
    pub(crate) fn end_orphaned_services(&mut self) {
        if self.ending || self.state == NodeState::Damaged {
            return;
        }
        let orphaned = self.services.all().filter_map(|entry| match &entry.owner {
            Principal::Agent { agent, .. } if self.is_gone_for_good(agent) => Some((entry.name.clone(), agent.clone())),
            Principal::Agent { .. } | Principal::Operator => None,
        });
        for (service, agent) in orphaned.collect::<Vec<_>>() {
            let last = self.processes.all().filter(|life| life.spec.agent == agent).last();
            let reason = match last.map(Life::state) {
                Some(ProcessState::Exited(reason)) => reason.clone(),
                Some(_) | None => ExitReason::Stopped,
            };
            self.end_service(&service, "kernel", ServiceEnd::OwnerEnded { reason });
        }
    }

    fn is_gone_for_good(&self, agent: &AgentName) -> bool {
        self.processes.named(agent).is_none() && self.restarting(agent).is_none()
    }

    /// What agents of an earlier run registered ended with that run; those that run again register again.
    pub(crate) fn end_services_of_agents(&mut self) {
        let by_agent = |entry: &&ServiceEntry| matches!(entry.owner, Principal::Agent { .. });
        let ended = self.services.all().filter(by_agent).map(|entry| entry.name.clone()).collect::<Vec<_>>();
        for service in ended {
            self.end_service(&service, "kernel", ServiceEnd::OwnerEnded { reason: ExitReason::NodeStopped });
        }
    }
}
