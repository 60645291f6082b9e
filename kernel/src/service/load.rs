//! What the world is told of the services here: which are served, by whom, and roughly how busy they are.

use weft_protocol::{ServiceAdvert, ServiceEntry};

use crate::kernel::Kernel;
use crate::status::ProcessState;

/// Loads below this are told as none: so many messages one agent works on without anybody noticing (guess).
const LOAD_MIN: u64 = 8;

/// The load as it is told: rounded down to a power of two, so that it changes with its order of magnitude alone.
const fn told(load: u64) -> u64 {
    if load < LOAD_MIN { 0 } else { 1 << load.ilog2() }
}

impl Kernel {
    /// Tells the world what is served here, when that changed.
    pub(crate) fn advertise_services(&mut self) {
        if self.services.count() == 0 && self.services.advertised.is_empty() {
            return;
        }
        self.end_orphaned_services();
        // Like its agent, a service is not forgotten for the moment that a restart takes.
        let is_there = |agent| self.advertised.binary_search_by(|(name, _)| name.cmp(agent)).is_ok();
        let served = self.services.all().filter(|entry| is_there(entry.endpoint.agent()));
        let services = served.map(|entry| ServiceAdvert {
            service: entry.name.clone(),
            agent: entry.endpoint.agent().clone(),
            contract: entry.contract.clone(),
            load: told(self.load_of(entry)),
        });
        let services = services.collect::<Vec<_>>();
        if services != self.services.advertised {
            self.services.advertised.clone_from(&services);
            self.effects.advertise_services(services);
        }
    }

    fn is_answered(&self, entry: &ServiceEntry) -> bool {
        let process = self.processes.named(entry.endpoint.agent());
        let life = process.and_then(|process| self.processes.living(process));
        life.is_some_and(|life| *life.state() == ProcessState::Running)
    }

    /// Whether somebody here answers for that service now.
    pub(super) fn is_served_here(&self, service: &weft_protocol::ServiceName) -> bool {
        self.services.get(service).is_some_and(|entry| self.is_answered(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_changes_with_its_order_of_magnitude() {
        let loads = [0, 7, 8, 15, 16, 31, 1_024, 1_500];
        assert_eq!(loads.map(told), [0, 0, 8, 8, 16, 16, 1_024, 1_024]);
    }
}
