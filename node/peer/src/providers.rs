//! Services that nobody known here advertises, while the directory is not complete: members are asked once who serves them.
//!
//! What they say is a hint. Whoever is named is asked for its advert, and only what that says, signed, is called.

use std::collections::{BTreeMap, BTreeSet};

use weft_discovery as discovery;
use weft_protocol::{NodeId, ServiceAdvert, ServiceName, Timestamp};

use crate::config::{PARKED_MAX, PARKED_US_MAX, PROVIDERS_NAMED_MAX};
use crate::event::Output;
use crate::peer::Peer;

/// What this node serves, as it was last said, and what was asked of others lately.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    provided: BTreeSet<ServiceName>,
    sought: BTreeMap<ServiceName, Timestamp>,
}

impl Providers {
    /// Whether members are to be asked now: not again while what waits for the last answer may still wait.
    fn begin(&mut self, service: &ServiceName, now: Timestamp) -> bool {
        let lately = |at: Timestamp| at <= now && now < at.after_us(PARKED_US_MAX);
        self.sought.retain(|_, at| lately(*at));
        if self.sought.len() >= PARKED_MAX || self.sought.contains_key(service) {
            return false;
        }
        self.sought.insert(service.clone(), now);
        true
    }
}

impl Peer {
    /// A call waits for somebody to serve it.
    pub(crate) fn seek_providers(&mut self, service: &ServiceName, now: Timestamp, out: &mut Vec<Output>) {
        if self.providers.begin(service, now) {
            out.push(Output::SeekProviders { service: service.clone() });
        }
    }

    /// Members name these. Of what nobody here asked, nothing is believed.
    pub(crate) fn providers_found(&mut self, service: &ServiceName, nodes: Vec<NodeId>) {
        if !self.providers.sought.contains_key(service) {
            return;
        }
        for node in nodes.into_iter().take(PROVIDERS_NAMED_MAX) {
            self.tell_discovery(discovery::Input::ProviderNamed { node });
        }
    }

    /// This node serves these from now on.
    pub(crate) fn provide(&mut self, services: &[ServiceAdvert], out: &mut Vec<Output>) {
        let names: BTreeSet<ServiceName> = services.iter().map(|advert| advert.service.clone()).collect();
        if names != self.providers.provided {
            self.providers.provided.clone_from(&names);
            out.push(Output::Provide { services: names.into_iter().collect() });
        }
    }
}
