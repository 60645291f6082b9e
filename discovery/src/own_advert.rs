//! What this node says of itself, signed anew whenever it changes and before it expires.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_protocol::limits::{ADVERT_AGENTS_MAX, ADVERT_TOPICS_MAX, SERVICES_MAX};
use weft_protocol::{
    Advert, AdvertVersion, AgentName, Hlc, Incarnation, NodeId, NodeName, ProcessId, ServiceAdvert, SignedAdvert,
    Signer, Timestamp, TopicPattern, encode,
};

use crate::config::DiscoveryConfig;

/// Most bytes of our own advert, so that it fits one gossip message. Topics, then services, then agents that find no room are left out, last
/// names first: they can then be reached only by those who name this node.
const ADVERT_BYTES_MAX: usize = 56 * 1024;

/// Most wildcards that are told one by one (guess: four KiB of them).
const ADVERT_WILDCARDS_MAX: usize = 64;
/// Most patterns whose subscribers are counted; of further topics one is assumed.
const ADVERT_COUNTS_MAX: usize = 128;

/// What does not change while a node runs.
#[derive(Debug)]
pub(crate) struct Speaker {
    pub(crate) node: NodeId,
    pub(crate) name: NodeName,
    pub(crate) incarnation: Incarnation,
    pub(crate) started: Hlc,
    pub(crate) build: String,
    pub(crate) signer: Arc<dyn Signer>,
}

/// Invariant: `signed` says what `version` says, and nobody has seen another advert of that version.
#[derive(Debug)]
pub(crate) struct OwnAdvert {
    speaker: Speaker,
    agents: Vec<(AgentName, ProcessId)>,
    subscriptions: Vec<(TopicPattern, u32)>,
    services: Vec<ServiceAdvert>,
    addresses: Vec<String>,
    labels: BTreeMap<String, String>,
    version: u64,
    signed: SignedAdvert,
    expires: Timestamp,
    /// Whether `signed` no longer says what is so.
    stale: bool,
    /// Whether `signed` is right but for how busy the services are, which can wait.
    stale_load: bool,
    /// Whether somebody may not have heard `signed`.
    unheard: bool,
    last_sent: Option<Timestamp>,
}

impl OwnAdvert {
    pub(crate) fn new(speaker: Speaker, config: &DiscoveryConfig, now: Timestamp) -> Self {
        let expires = now.after_us(config.advert_ttl_us);
        let signed =
            SignedAdvert::new(&fitting(&speaker, &[], &[], &[], &[], &config.labels, 0, expires), &*speaker.signer);
        Self {
            speaker,
            agents: Vec::new(),
            subscriptions: Vec::new(),
            services: Vec::new(),
            addresses: Vec::new(),
            labels: config.labels.clone(),
            version: 0,
            signed,
            expires,
            stale: false,
            stale_load: false,
            unheard: false,
            last_sent: None,
        }
    }

    /// Signs with this from here on.
    pub(crate) fn sign_with(&mut self, signer: Arc<dyn Signer>) {
        self.speaker.signer = signer;
        self.stale = true;
    }

    pub(crate) fn set_agents(&mut self, mut agents: Vec<(AgentName, ProcessId)>) {
        agents.sort_unstable();
        self.stale |= self.agents != agents;
        self.agents = agents;
    }

    pub(crate) fn set_subscriptions(&mut self, mut subscriptions: Vec<(TopicPattern, u32)>) {
        subscriptions.sort_unstable();
        self.stale |= self.subscriptions != subscriptions;
        self.subscriptions = subscriptions;
    }

    pub(crate) fn set_services(&mut self, services: Vec<ServiceAdvert>) {
        let idle = |services: &[ServiceAdvert]| {
            services.iter().map(|service| ServiceAdvert { load: 0, ..service.clone() }).collect::<Vec<_>>()
        };
        self.stale |= idle(&self.services) != idle(&services);
        self.stale_load |= self.services != services;
        self.services = services;
    }

    pub(crate) fn set_addresses(&mut self, addresses: Vec<String>) {
        self.stale |= self.addresses != addresses;
        self.addresses = addresses;
    }

    pub(crate) fn set_labels(&mut self, labels: BTreeMap<String, String>) {
        self.stale |= self.labels != labels;
        self.labels = labels;
    }

    /// Says the same once more: somebody new listens.
    pub(crate) const fn repeat(&mut self) {
        self.unheard = true;
    }

    pub(crate) fn agents(&self) -> &[(AgentName, ProcessId)] {
        &self.agents
    }

    pub(crate) fn subscriptions(&self) -> &[(TopicPattern, u32)] {
        &self.subscriptions
    }

    pub(crate) fn services(&self) -> &[ServiceAdvert] {
        &self.services
    }

    pub(crate) const fn incarnation(&self) -> Incarnation {
        self.speaker.incarnation
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) const fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    pub(crate) const fn signed(&self) -> &SignedAdvert {
        &self.signed
    }

    pub(crate) const fn version(&self) -> AdvertVersion {
        AdvertVersion { started: self.speaker.started, version: self.version }
    }

    /// When the advert is to be sent.
    pub(crate) fn next_due(&self, config: &DiscoveryConfig, now: Timestamp) -> Timestamp {
        let pause_over = self.last_sent.map_or(now, |sent| sent.after_us(config.advert_interval_us));
        let refresh = Timestamp(self.expires.0.saturating_sub(config.advert_ttl_us / 3 * 2));
        let load_due = self.last_sent.map_or(now, |sent| sent.after_us(config.load_interval_us)).max(pause_over);
        match (self.stale || self.unheard, self.stale_load) {
            (true, _) => pause_over,
            (false, true) => load_due.min(refresh.max(pause_over)),
            (false, false) => refresh.max(pause_over),
        }
    }

    /// The advert as it is to be sent now, if it is due.
    pub(crate) fn take_due(&mut self, config: &DiscoveryConfig, now: Timestamp) -> Option<SignedAdvert> {
        if now < self.next_due(config, now) {
            return None;
        }
        if self.stale || self.stale_load || !self.unheard {
            self.version += 1;
            self.expires = now.after_us(config.advert_ttl_us);
            let advert = fitting(
                &self.speaker,
                &self.agents,
                &self.subscriptions,
                &self.services,
                &self.addresses,
                &self.labels,
                self.version,
                self.expires,
            );
            self.signed = SignedAdvert::new(&advert, &*self.speaker.signer);
        }
        self.stale = false;
        self.stale_load = false;
        self.unheard = false;
        self.last_sent = Some(now);
        Some(self.signed.clone())
    }
}

/// An advert of all that fits.
#[expect(clippy::too_many_arguments, reason = "they are the fields of the advert")]
fn fitting(
    speaker: &Speaker,
    agents: &[(AgentName, ProcessId)],
    subscriptions: &[(TopicPattern, u32)],
    services: &[ServiceAdvert],
    addresses: &[String],
    labels: &BTreeMap<String, String>,
    version: u64,
    expires: Timestamp,
) -> Advert {
    let mut advert = Advert {
        node: speaker.node,
        name: speaker.name.clone(),
        incarnation: speaker.incarnation,
        version: AdvertVersion { started: speaker.started, version },
        build: speaker.build.clone(),
        agents: agents.iter().take(ADVERT_AGENTS_MAX).cloned().collect(),
        topics: subscriptions.iter().filter_map(|(topic, _)| topic.exact()).take(ADVERT_TOPICS_MAX).collect(),
        subscriptions: worth_counting(subscriptions),
        services: services.iter().take(SERVICES_MAX).cloned().collect(),
        addresses: addresses.to_vec(),
        expires,
        labels: labels.clone(),
    };
    let drop_one = |advert: &mut Advert| {
        advert.topics.pop().is_some() || advert.services.pop().is_some() || advert.agents.pop().is_some()
    };
    while encode(&advert).len() > ADVERT_BYTES_MAX && drop_one(&mut advert) {}
    advert
}

/// Wildcards, and topics with more than one subscriber. Too many wildcards are told as the one that means everything: who is
/// told too much is not harmed, who is told too little misses something.
fn worth_counting(subscriptions: &[(TopicPattern, u32)]) -> Vec<(TopicPattern, u32)> {
    let (wild, exact): (Vec<_>, Vec<_>) = subscriptions.iter().cloned().partition(|(pattern, _)| pattern.is_wildcard());
    let wild = if wild.len() > ADVERT_WILDCARDS_MAX {
        vec![(TopicPattern::everything(), wild.iter().fold(0, |sum, (_, count)| count.saturating_add(sum)))]
    } else {
        wild
    };
    let several = exact.into_iter().filter(|(_, count)| *count > 1);
    wild.into_iter().chain(several).take(ADVERT_COUNTS_MAX).collect()
}
