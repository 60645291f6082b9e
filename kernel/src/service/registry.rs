//! The tables of what is served here and of every contract that was ever registered, rebuilt from the own chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_protocol::limits::CONTRACTS_MAX;
use weft_protocol::{
    AuditLevel, Contract, ContractRef, ContractVersion, Digest, Fact, LocalTarget, PlacedFact, Principal, ProcessId,
    Refusal, ServiceAdvert, ServiceEntry, ServiceName,
};

use super::contract::{Bound, CheckedContract};
use crate::kernel::Kernel;
use crate::process::Life;

/// What the own chain says about services.
#[derive(Debug, Default)]
pub(crate) struct ServiceHistory {
    entries: BTreeMap<ServiceName, ServiceEntry>,
    contracts: BTreeMap<(ServiceName, ContractVersion), Kept>,
}

impl ServiceHistory {
    pub(crate) fn of<'a>(facts: impl Iterator<Item = &'a PlacedFact>) -> Self {
        let mut history = Self::default();
        for placed in facts {
            match &placed.fact {
                Fact::ServiceRegistered(entry) => drop(history.entries.insert(entry.name.clone(), entry.clone())),
                Fact::ServiceEnded(ended) => drop(history.entries.remove(&ended.name)),
                Fact::ContractRegistered(registered) => {
                    let contract = registered.contract.clone();
                    let kept = Kept { hash: registered.hash, contract };
                    history.contracts.insert((kept.contract.service.clone(), kept.contract.version.clone()), kept);
                }
                _ => {}
            }
        }
        history
    }
}

/// A contract whose text stands on the chain.
#[derive(Debug, Clone)]
struct Kept {
    contract: Contract,
    hash: Digest,
}

/// One service with its contract ready to check.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) entry: ServiceEntry,
    /// Why calls are refused, when the contract cannot be checked by this version of the program.
    checked: Result<Option<Arc<CheckedContract>>, String>,
}

/// Invariant: the contract of each entry is among `contracts`, which only grows.
#[derive(Debug, Default)]
pub(crate) struct Services {
    entries: BTreeMap<ServiceName, Served>,
    contracts: BTreeMap<(ServiceName, ContractVersion), Kept>,
    /// What the world was last told.
    pub(super) advertised: Vec<ServiceAdvert>,
}

/// One service as `services` and `inspect` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInfo {
    /// What was registered.
    pub entry: ServiceEntry,
    /// The process that answers; none while its agent does not live.
    pub process: Option<ProcessId>,
    /// Messages that wait for that process or are worked on.
    pub load: u64,
}

impl Services {
    pub(crate) fn restored(history: &ServiceHistory) -> Self {
        let mut services = Self { contracts: history.contracts.clone(), ..Self::default() };
        for entry in history.entries.values() {
            let contract = entry.contract.as_ref().map(|contract| services.contract(&entry.name, &contract.version));
            let checked = match contract {
                None => Ok(None),
                Some(None) => Err("its contract is not on the chain".to_owned()),
                Some(Some(contract)) => CheckedContract::new(contract)
                    .map(|checked| Some(Arc::new(checked)))
                    .map_err(|error| error.to_string()),
            };
            services.entries.insert(entry.name.clone(), Served { entry: entry.clone(), checked });
        }
        services
    }

    pub(super) fn get(&self, service: &ServiceName) -> Option<&ServiceEntry> {
        self.entries.get(service).map(|served| &served.entry)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ServiceEntry> {
        self.entries.values().map(|served| &served.entry)
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, entry: ServiceEntry, checked: Option<CheckedContract>) {
        self.entries.insert(entry.name.clone(), Served { entry, checked: Ok(checked.map(Arc::new)) });
    }

    pub(super) fn remove(&mut self, service: &ServiceName) -> Option<ServiceEntry> {
        self.entries.remove(service).map(|served| served.entry)
    }

    /// The text of a contract, in use or not.
    pub(crate) fn contract(&self, service: &ServiceName, version: &ContractVersion) -> Option<&Contract> {
        self.contracts.get(&(service.clone(), version.clone())).map(|kept| &kept.contract)
    }

    /// Whether the contract must still be put on the chain.
    ///
    /// # Errors
    /// `invalid` when that version has another content, or too many are remembered.
    pub(super) fn check_new(&self, contract: &Contract, hash: &Digest) -> Result<bool, Refusal> {
        let key = (contract.service.clone(), contract.version.clone());
        match self.contracts.get(&key) {
            Some(kept) if kept.hash == *hash => Ok(false),
            Some(kept) => Err(Refusal::Invalid {
                message: format!(
                    "{} {} is registered with another content, {}: a changed contract needs a new version",
                    contract.service, contract.version, kept.hash
                ),
            }),
            None if self.contracts.len() >= CONTRACTS_MAX => Err(Refusal::Invalid {
                message: format!("{CONTRACTS_MAX} contracts are registered on this node, which is the most"),
            }),
            None => Ok(true),
        }
    }

    pub(super) fn keep(&mut self, contract: Contract, reference: &ContractRef) {
        let kept = Kept { contract, hash: reference.hash };
        self.contracts.insert((kept.contract.service.clone(), kept.contract.version.clone()), kept);
    }

    /// Whether steps of messages to this target are events of their own.
    pub(crate) fn audits_in_full(&self, target: &LocalTarget) -> bool {
        let entry = target.service().and_then(|service| self.get(service));
        entry.is_some_and(|entry| entry.audit_level == AuditLevel::Full)
    }

    /// What a message to this target is held to.
    ///
    /// # Errors
    /// `invalid` for a method that the contract does not have, and for none where it has some; `unsupported` when this version
    /// cannot check the contract.
    pub(crate) fn bind(&self, target: &LocalTarget) -> Result<Bound, Refusal> {
        let Some(served) = target.service().and_then(|service| self.entries.get(service)) else {
            return Ok(Bound::default());
        };
        let in_full = served.entry.audit_level == AuditLevel::Full;
        let name = &served.entry.name;
        let checked = served
            .checked
            .as_ref()
            .map_err(|reason| Refusal::Unsupported { what: format!("the contract of svc:{name}: {reason}") })?;
        let Some(checked) = checked else { return Ok(Bound { method: None, in_full }) };
        let wrong = |what: String| Refusal::Invalid { message: format!("{what}; it has {}", checked.names()) };
        match target {
            LocalTarget::ServiceMethod { method, .. } => match checked.method(method) {
                Some(method) => Ok(Bound { method: Some(Arc::clone(method)), in_full }),
                None => Err(wrong(format!("the contract of svc:{name} has no method {method}"))),
            },
            LocalTarget::Process(_)
            | LocalTarget::Agent(_)
            | LocalTarget::Topic(_)
            | LocalTarget::Service(_)
            | LocalTarget::Broadcast
            | LocalTarget::Kernel => Err(wrong(format!("svc:{name} has a contract, so a call must name a method"))),
        }
    }
}

impl Kernel {
    /// Everything that is registered here, by name.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceInfo> {
        self.services.all().map(|entry| self.service_info(entry)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn service(&self, service: &ServiceName) -> Option<ServiceInfo> {
        self.services.get(service).map(|entry| self.service_info(entry))
    }

    /// A contract that was registered here, in use or not.
    #[must_use]
    pub fn contract(&self, service: &ServiceName, version: &ContractVersion) -> Option<&Contract> {
        self.services.contract(service, version)
    }

    /// Whether a message to that service would find a process here.
    #[must_use]
    pub fn has_service(&self, service: &ServiceName) -> bool {
        self.services.get(service).is_some_and(|entry| self.has_agent(entry.endpoint.agent()))
    }

    /// Messages that wait for the process behind a service or are worked on.
    #[must_use]
    pub fn service_load(&self, service: &ServiceName) -> u64 {
        self.services.get(service).map_or(0, |entry| self.load_of(entry))
    }

    pub(super) fn load_of(&self, entry: &ServiceEntry) -> u64 {
        let process = self.processes.named(entry.endpoint.agent());
        let life = process.and_then(|process| self.processes.living(process));
        life.map_or(0, |life| (life.mailbox.waiting() + life.mailbox.in_flight()) as u64)
    }

    fn service_info(&self, entry: &ServiceEntry) -> ServiceInfo {
        let process = self.processes.named(entry.endpoint.agent());
        let process = process.filter(|process| self.processes.living(*process).is_some_and(Life::accepts));
        ServiceInfo { entry: entry.clone(), process, load: self.load_of(entry) }
    }

    /// Whether this agent registered that service.
    pub(super) fn owns(owner: &Principal, by: &Principal) -> bool {
        match (owner, by) {
            (Principal::Operator, Principal::Operator) => true,
            (Principal::Agent { agent: owner, .. }, Principal::Agent { agent, .. }) => owner == agent,
            (Principal::Operator, Principal::Agent { .. }) | (Principal::Agent { .. }, Principal::Operator) => false,
        }
    }
}
