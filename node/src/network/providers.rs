//! Which services this node serves and who serves others, in the table of members (Kademlia): hints for whoever's directory is not
//! complete, never truth.
//!
//! The key of a service is a hash of cluster and name. A member says it of itself alone, libp2p sees to that; what it says is kept
//! for a while, as much of each as a node says itself. Of what this node serves members are told anew whenever one more has come,
//! and again before they forget it, a few services at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore as _};
use libp2p::kad::{GetProvidersOk, ProviderRecord, QueryId, QueryResult, RecordKey};
use libp2p::{PeerId, kad};
use weft_peer::Input;
use weft_protocol::{ClusterId, NodeId, ServiceName, Timestamp, hash};

use super::Network;
use super::lookup::Table;
use crate::clock;
use crate::identity::{node_id, peer_id};

/// Services that one node says it serves, the first in the order of their names; the signed advert says all (guess).
const PROVIDED_MAX: usize = 64;
/// What others said that is kept (guess: a cluster of 64 that all serve as much as they may say).
const RECORDS_MAX: usize = 4_096;
/// How long it is kept.
pub(super) const RECORD_TTL: Duration = Duration::from_secs(30 * 60);
/// How often it is said again: it may be lost twice, in microseconds.
const SAID_AGAIN_US: u64 = 10 * 60 * 1_000_000;
/// Least time between two rounds of saying it because another member has come, in microseconds (guess).
const ROUND_PAUSE_US: u64 = 10_000_000;
/// How often it is looked for what others have not said again, in microseconds (guess: every ping would be a pass over all).
const LOOK_PAUSE_US: u64 = 60_000_000;
/// Services that are said at once; each goes to twenty members (guess).
const SAID_AT_ONCE: usize = 4;
/// Services sought at once; of a further one nobody is asked (guess).
const SOUGHT_MAX: usize = 16;
/// Nodes that are told of as providers, of one answer (guess).
const NAMED_MAX: usize = 8;

/// Where the records are.
pub(super) fn store(local: PeerId) -> MemoryStore {
    let config = MemoryStoreConfig {
        // Nothing but providers is ever put into it.
        max_records: 0,
        max_provided_keys: RECORDS_MAX + PROVIDED_MAX,
        ..MemoryStoreConfig::default()
    };
    MemoryStore::with_config(local, config)
}

/// What is said, kept and asked.
#[derive(Debug)]
pub(super) struct Providing {
    cluster: ClusterId,
    provided: BTreeSet<ServiceName>,
    unsaid: VecDeque<ServiceName>,
    said_at: Option<Timestamp>,
    /// Whether a member has come since the last round.
    stale: bool,
    kept: BTreeMap<NodeId, BTreeMap<Vec<u8>, Timestamp>>,
    /// When it was last looked for what is over.
    looked_at: Option<Timestamp>,
    sought: Vec<(QueryId, ServiceName)>,
}

impl Providing {
    /// Nothing is served yet.
    pub(super) fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            provided: BTreeSet::new(),
            unsaid: VecDeque::new(),
            said_at: None,
            stale: false,
            kept: BTreeMap::new(),
            looked_at: None,
            sought: Vec::new(),
        }
    }

    fn key(&self, service: &ServiceName) -> RecordKey {
        RecordKey::new(&hash("service-key", &[self.cluster.as_bytes(), service.as_str().as_bytes()]).as_bytes())
    }

    /// These and no others are served from now on.
    fn provide(&mut self, table: &mut Table, services: Vec<ServiceName>) {
        let wanted: BTreeSet<ServiceName> = services.into_iter().take(PROVIDED_MAX).collect();
        for gone in self.provided.difference(&wanted) {
            table.stop_providing(&self.key(gone));
        }
        self.unsaid.retain(|service| wanted.contains(service));
        self.unsaid.extend(wanted.difference(&self.provided).cloned());
        self.provided = wanted;
        self.say(table);
    }

    /// A member can be told.
    pub(super) const fn member_came(&mut self) {
        self.stale = true;
    }

    /// Begins a round when it is time, goes on with the one that is on its way, and forgets what others have not said again.
    pub(super) fn go_on(&mut self, table: &mut Table, now: Timestamp) {
        let since = self.said_at.filter(|at| *at <= now).map(|at| now.since_us(at));
        let due = since.is_none_or(|since| since >= SAID_AGAIN_US || self.stale && since >= ROUND_PAUSE_US);
        if due && self.unsaid.is_empty() {
            (self.said_at, self.stale) = (Some(now), false);
            self.unsaid.extend(self.provided.iter().cloned());
        }
        self.say(table);
        if self.looked_at.is_none_or(|at| now < at || now.since_us(at) >= LOOK_PAUSE_US) {
            self.looked_at = Some(now);
            self.forget(table, |_, until| until <= now);
        }
    }

    fn say(&mut self, table: &mut Table) {
        for service in self.unsaid.drain(..self.unsaid.len().min(SAID_AT_ONCE)).collect::<Vec<_>>() {
            if let Err(error) = table.start_providing(self.key(&service)) {
                tracing::debug!(%service, %error, "members are not told who serves this");
            }
        }
    }

    /// A member says that it serves something: kept, when it has not said too much.
    fn keep(&mut self, table: &mut Table, record: ProviderRecord, node: NodeId, now: Timestamp) {
        let all: usize = self.kept.values().map(BTreeMap::len).sum();
        let (kept, key) = (self.kept.entry(node).or_default(), record.key.to_vec());
        if !kept.contains_key(&key) && (kept.len() >= PROVIDED_MAX || all >= RECORDS_MAX) {
            tracing::debug!(%node, "it says of too many services that it serves them");
            return;
        }
        kept.insert(key, now.after_us(u64::try_from(RECORD_TTL.as_micros()).unwrap_or(u64::MAX)));
        if let Err(error) = table.store_mut().add_provider(record) {
            tracing::debug!(%node, %error, "that it serves something is not kept");
        }
    }

    /// Forgets what a node said that is cut off.
    pub(super) fn cut_off(&mut self, table: &mut Table, gone: NodeId) {
        self.forget(table, |node, _| node == gone);
    }

    fn forget(&mut self, table: &mut Table, is_over: impl Fn(NodeId, Timestamp) -> bool) {
        for (node, kept) in &mut self.kept {
            kept.retain(|key, until| {
                let over = is_over(*node, *until);
                if over {
                    table.store_mut().remove_provider(&RecordKey::new(key), &peer_id(*node));
                }
                !over
            });
        }
        self.kept.retain(|_, kept| !kept.is_empty());
    }

    /// Asks members who serves it.
    fn seek(&mut self, table: &mut Table, service: ServiceName) {
        if self.sought.len() < SOUGHT_MAX && !self.sought.iter().any(|(_, sought)| *sought == service) {
            self.sought.push((table.get_providers(self.key(&service)), service));
        }
    }

    /// What one of the questions brought: a service, and who is said to serve it.
    fn answered(&mut self, query: QueryId, result: &QueryResult, last: bool) -> Option<(ServiceName, Vec<NodeId>)> {
        let place = self.sought.iter().position(|(sought, _)| *sought == query)?;
        let service = if last { self.sought.swap_remove(place).1 } else { self.sought[place].1.clone() };
        let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = result else {
            return None;
        };
        // In an order that does not depend on the hashing of a set.
        let nodes: BTreeSet<NodeId> = providers.iter().filter_map(node_id).collect();
        Some((service, nodes.into_iter().collect()))
    }

    /// How much is kept of what a node said.
    #[cfg(test)]
    pub(super) fn kept(&self, node: &NodeId) -> usize {
        self.kept.get(node).map_or(0, BTreeMap::len)
    }

    /// How many questions are out.
    #[cfg(test)]
    pub(super) const fn sought(&self) -> usize {
        self.sought.len()
    }
}

impl Network {
    /// From now on members that ask are told that this node serves these, and no others.
    pub(crate) fn provide(&mut self, services: Vec<ServiceName>) {
        self.providing.provide(&mut self.swarm.behaviour_mut().table, services);
    }

    /// Asks members who serves this; `ProvidersFound` follows when one of them names somebody.
    pub(crate) fn seek_providers(&mut self, service: ServiceName) {
        self.providing.seek(&mut self.swarm.behaviour_mut().table, service);
    }

    /// What the table of members brought.
    pub(super) fn table_told(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(record) } } => {
                let node = node_id(&record.provider).filter(|node| self.is_in_standing(node));
                if let Some(node) = node {
                    self.providing.keep(&mut self.swarm.behaviour_mut().table, record, node, clock::wall());
                }
            }
            kad::Event::OutboundQueryProgressed { id, ref result, ref step, .. } => {
                if let Some((service, mut nodes)) = self.providing.answered(id, result, step.last) {
                    nodes.retain(|node| self.is_in_standing(node) && *node != self.node);
                    nodes.truncate(NAMED_MAX);
                    tracing::debug!(%service, ?nodes, "members were asked who serves this");
                    if !nodes.is_empty() {
                        self.tell(Input::ProvidersFound { service, nodes });
                    }
                    return;
                }
                let found = self.lookups.happened(&mut self.swarm.behaviour_mut().table, event);
                found.into_iter().for_each(|found| self.tell(found));
            }
            event => tracing::trace!(?event, "the table of members changed"),
        }
    }

    /// Whether this is a member that is not cut off.
    pub(super) fn is_in_standing(&self, node: &NodeId) -> bool {
        let view = self.view.borrow();
        view.members.contains_key(node) && !view.quarantined.contains(node)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use weft_protocol::{KeyPair, Signer as _};

    use super::*;
    use crate::network::lookup::table;

    fn services(count: usize) -> Vec<ServiceName> {
        (0..count).map(|number| format!("service-{number}").parse().unwrap()).collect()
    }

    fn new() -> (Providing, Table) {
        let cluster = ClusterId::from_bytes([1; 32]);
        (Providing::new(cluster), table(PeerId::random(), cluster))
    }

    #[test]
    fn it_is_said_a_few_at_a_time_again_when_somebody_came_and_before_it_is_forgotten() {
        let (mut providing, mut table) = new();
        let start = Timestamp(1_000_000_000_000);
        providing.provide(&mut table, services(6));
        let mut unsaid_at = |came: bool, after_us: u64| {
            if came {
                providing.member_came();
            }
            providing.go_on(&mut table, start.after_us(after_us));
            providing.unsaid.len()
        };
        assert_eq!([unsaid_at(false, 0), unsaid_at(false, 1), unsaid_at(false, 2)], [0, 2, 0], "the first round");
        assert_eq!(unsaid_at(true, ROUND_PAUSE_US), 0, "not so soon again");
        assert_eq!([unsaid_at(false, ROUND_PAUSE_US + 1), unsaid_at(false, ROUND_PAUSE_US + 2)], [2, 0]);
        assert_eq!(unsaid_at(false, SAID_AGAIN_US), 0, "nobody came");
        let again = ROUND_PAUSE_US + 1 + SAID_AGAIN_US;
        assert_eq!([unsaid_at(false, again), unsaid_at(false, again + 1), unsaid_at(false, again + 2)], [2, 0, 0]);
    }

    #[test]
    fn what_is_said_and_what_is_kept_have_bounds_and_an_end() {
        let (mut providing, mut table) = new();
        let start = Timestamp(1_000_000_000_000);
        providing.provide(&mut table, services(PROVIDED_MAX + 1));
        assert_eq!(providing.provided.len(), PROVIDED_MAX);
        providing.provide(&mut table, services(1));
        assert_eq!(table.store_mut().provided().count(), 1, "and nothing that is served no more");
        for node in 0..=u8::try_from(RECORDS_MAX / PROVIDED_MAX).unwrap() {
            let node = KeyPair::generate([node; 32]).public_keys().node();
            for number in 0..PROVIDED_MAX {
                let key = RecordKey::new(&[node.as_bytes().as_slice(), &number.to_be_bytes()].concat());
                let record = ProviderRecord::new(key, peer_id(node), Vec::new());
                providing.keep(&mut table, record, node, start);
            }
        }
        let kept: usize = providing.kept.values().map(BTreeMap::len).sum();
        assert_eq!(kept, RECORDS_MAX);
        let ttl_us = u64::try_from(RECORD_TTL.as_micros()).unwrap();
        providing.go_on(&mut table, start.after_us(ttl_us - 1));
        assert_eq!(providing.kept.values().map(BTreeMap::len).sum::<usize>(), RECORDS_MAX);
        providing.go_on(&mut table, start.after_us(ttl_us - 1 + LOOK_PAUSE_US));
        assert!(providing.kept.is_empty());
    }
}
