//! All that may be asked of the machine between two inputs; nothing here changes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_protocol::limits::{MEMBERS_MAX, PAGE_BYTES_MAX};
use weft_protocol::{
    Advert, AdvertVersion, AgentName, Hlc, Incarnation, InviteId, NodeId, NodeName, NodeRef, ProcessId, PublicKeys,
    Refusal, Role, ServiceAdvert, ServiceName, SignedAdvert, Timestamp, TopicName, TopicPattern, encode,
};

use crate::admission::AdmissionView;
use crate::directory::Held;
use crate::discovery::{Counters, Discovery};
use crate::event::{InviteState, Path};
use crate::liveness::MemberState;

/// Where an agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// On this node, and as far as is known on no other.
    Found(NodeId),
    /// On all of these.
    Ambiguous(Vec<NodeId>),
    /// On none that is known.
    Unknown {
        /// Whether every member that could run it has said what it runs: then nobody does, and waiting cannot help.
        complete: bool,
    },
}

/// One member as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Which.
    pub node: NodeId,
    /// The name it was admitted under.
    pub name: NodeName,
    /// As what it was admitted.
    pub role: Role,
    /// What is known of it; of this node itself that it is alive.
    pub state: MemberState,
    /// The open connection, if there is one.
    pub path: Option<Path>,
    /// The last ping's round trip on it, in microseconds.
    pub rtt_us: Option<u64>,
    /// Which chain it writes, by its advert.
    pub incarnation: Option<Incarnation>,
    /// What it says that it runs; nothing when no advert of it is held.
    pub agents: Vec<(AgentName, ProcessId)>,
    /// What it says that it has subscribers for, with their number.
    pub subscriptions: Vec<(TopicPattern, u32)>,
    /// What it says that it serves.
    pub services: Vec<ServiceAdvert>,
    /// The version of its program, by its advert.
    pub build: Option<String>,
    /// When it was last heard of on a connection of this run; of this node itself now.
    pub last_seen: Option<Timestamp>,
    /// Where it is dialled, best first.
    pub addresses: Vec<String>,
    /// What the transport said of the last dial, when that failed.
    pub last_failure: Option<String>,
    /// When its certificate ends, unless it is renewed before; never, without one.
    pub certificate_ends: Option<Timestamp>,
}

/// All that an advert says about subscribers.
fn subscriptions(advert: &Advert) -> Vec<(TopicPattern, u32)> {
    let counted = &advert.subscriptions;
    let topics = advert.topics.iter().map(|topic| TopicPattern::from(topic.clone()));
    let one_each = topics.filter(|topic| !counted.iter().any(|(pattern, _)| pattern == topic)).map(|topic| (topic, 1));
    counted.iter().cloned().chain(one_each).collect()
}

impl Discovery {
    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What the transport decides by, as last published.
    #[must_use]
    pub fn view(&self) -> Arc<AdmissionView> {
        Arc::clone(&self.view)
    }

    /// What was refused since this run began.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Admissions that wait until their issuer is known as an admin.
    #[must_use]
    pub fn held_admissions(&self) -> usize {
        self.members.held_count()
    }

    /// Where an agent of that name runs. Members that are dead, left or quarantined, and adverts that have expired, do not
    /// count: their agents cannot be reached.
    #[must_use]
    pub fn resolve(&self, agent: &AgentName) -> Resolution {
        let runs = |agents: &[(AgentName, ProcessId)]| agents.iter().any(|(name, _)| name == agent);
        let own = runs(self.own_advert.agents()).then_some(self.node);
        let others = self.believed().filter(|(_, held)| runs(&held.advert.agents)).map(|(node, _)| node);
        let mut found: Vec<NodeId> = own.into_iter().chain(others).collect();
        found.sort_unstable();
        match found.as_slice() {
            [] => Resolution::Unknown { complete: self.is_complete() },
            [node] => Resolution::Found(*node),
            _ => Resolution::Ambiguous(found),
        }
    }

    /// What another member says that it runs, by its last advert, whatever became of that member.
    #[must_use]
    pub fn agents_of(&self, node: &NodeId) -> &[(AgentName, ProcessId)] {
        self.directory.get(node).map_or(&[], |held| &held.advert.agents)
    }

    /// Members other than this one that say they serve that, and may be reached, with what they say of it.
    #[must_use]
    pub fn providers(&self, service: &ServiceName) -> Vec<(NodeId, &ServiceAdvert)> {
        self.believed()
            .filter_map(|(node, held)| {
                held.advert.services.iter().find(|advert| advert.service == *service).map(|advert| (node, advert))
            })
            .collect()
    }

    /// Everything that members other than this one say they serve, and may be reached.
    #[must_use]
    pub fn services_elsewhere(&self) -> BTreeSet<ServiceName> {
        let adverts = self.believed().flat_map(|(_, held)| &held.advert.services);
        adverts.map(|advert| advert.service.clone()).collect()
    }

    /// Whether an advert of every member that could be reached is held: whoever is not found then is nowhere.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.members.iter().all(|(node, _)| {
            let gone = match self.state_of(&node) {
                MemberState::Dead | MemberState::Left | MemberState::Quarantined | MemberState::Evicted => true,
                MemberState::Alive | MemberState::Suspect => false,
            };
            gone || node == self.node || self.directory.get(&node).is_some_and(|held| self.now < held.until)
        })
    }

    /// Unexpired adverts of other members that may be reached.
    fn believed(&self) -> impl Iterator<Item = (NodeId, &Held)> {
        let unexpired = self.directory.iter().filter(|(_, held)| self.now < held.until);
        unexpired.map(|(node, held)| (*node, held)).filter(|(node, _)| match self.state_of(node) {
            MemberState::Alive | MemberState::Suspect => true,
            MemberState::Dead | MemberState::Left | MemberState::Quarantined | MemberState::Evicted => false,
        })
    }

    /// The member of that name or id.
    ///
    /// # Errors
    /// `no-responder` when there is none, `ambiguous` when two admins gave the same name to two members, `quarantined` when it
    /// is cut off. Nothing was changed.
    pub fn node_by_ref(&self, node: &NodeRef) -> Result<NodeId, Refusal> {
        let found: Vec<NodeId> = match node {
            NodeRef::Id(id) => self.members.contains(id).then_some(*id).into_iter().collect(),
            NodeRef::Name(name) => self.members.named(name),
        };
        match found.as_slice() {
            [] => Err(Refusal::NoResponder { target: format!("no member {node}") }),
            [id] if self.members.is_cut_off(id) => Err(Refusal::Quarantined),
            [id] => Ok(*id),
            _ => Err(Refusal::Ambiguous { targets: found.iter().map(ToString::to_string).collect() }),
        }
    }

    /// All members, this node among them, by id.
    pub fn members(&self) -> impl Iterator<Item = MemberView> {
        self.members.iter().map(|(node, member)| {
            let own = node == self.node;
            let peer = self.peers.get(&node);
            let advert = self.directory.get(&node).map(|held| &held.advert);
            MemberView {
                node,
                name: member.name.clone(),
                role: member.role,
                state: self.state_of(&node),
                path: peer.and_then(|peer| peer.link.clone()),
                rtt_us: peer.and_then(|peer| peer.rtt_us),
                incarnation: if own {
                    Some(self.own_advert.incarnation())
                } else {
                    advert.map(|advert| advert.incarnation)
                },
                agents: if own {
                    self.own_advert.agents().to_vec()
                } else {
                    advert.map(|advert| advert.agents.clone()).unwrap_or_default()
                },
                subscriptions: if own {
                    self.own_advert.subscriptions().to_vec()
                } else {
                    advert.map(subscriptions).unwrap_or_default()
                },
                services: if own {
                    self.own_advert.services().to_vec()
                } else {
                    advert.map(|advert| advert.services.clone()).unwrap_or_default()
                },
                build: if own { Some(self.build.clone()) } else { advert.map(|advert| advert.build.clone()) },
                last_seen: if own { Some(self.now) } else { peer.and_then(|peer| peer.last_seen) },
                addresses: if own {
                    self.own_advert.addresses().to_vec()
                } else {
                    peer.map(|peer| peer.addresses.clone()).unwrap_or_default()
                },
                last_failure: peer.and_then(|peer| peer.last_failure.clone()),
                certificate_ends: member.not_after,
            }
        })
    }

    /// What is known of a node; `Dead` for one that is not known.
    #[must_use]
    pub fn state_of(&self, node: &NodeId) -> MemberState {
        if self.members.is_evicted(node) {
            return MemberState::Evicted;
        }
        if self.members.is_cut_off(node) {
            return MemberState::Quarantined;
        }
        if *node == self.node {
            return MemberState::Alive;
        }
        self.peers.get(node).map_or(MemberState::Dead, |peer| self.judged(node, peer))
    }

    /// Adverts that are newer than those held, our own first, as many as fit one answer; the rest comes by gossip.
    #[must_use]
    pub fn adverts_newer_than(&self, held: &[(NodeId, AdvertVersion)], now: Timestamp) -> Vec<SignedAdvert> {
        let held: std::collections::BTreeMap<NodeId, AdvertVersion> = held.iter().take(MEMBERS_MAX).copied().collect();
        let newer = |node: &NodeId, version| held.get(node).is_none_or(|held| version > *held);
        let own = newer(&self.node, self.own_advert.version()).then(|| self.own_advert.signed());
        let others =
            self.directory.iter().filter(|(node, known)| now < known.until && newer(node, known.advert.version));
        let mut bytes = 0;
        let fits = |advert: &&SignedAdvert| {
            bytes += encode(*advert).len();
            bytes <= PAGE_BYTES_MAX
        };
        own.into_iter().chain(others.map(|(_, known)| &known.signed)).take_while(fits).cloned().collect()
    }

    /// All other members that are not cut off, by id.
    pub fn active_others(&self) -> impl Iterator<Item = NodeId> {
        let others = self.members.iter().map(|(node, _)| node).filter(|node| *node != self.node);
        others.filter(|node| !self.members.is_cut_off(node))
    }

    /// What a node says of itself for those who look for a place; nothing of one whose advert is not held.
    #[must_use]
    pub fn labels_of(&self, node: &NodeId) -> std::collections::BTreeMap<String, String> {
        if *node == self.node {
            return self.own_advert.labels().clone();
        }
        self.directory.get(node).map(|held| held.advert.labels.clone()).unwrap_or_default()
    }

    /// Where something is started that wants a member with these labels: of those that are there this node, then the first by name;
    /// or the one that says it runs the fewest agents, when the least loaded is wanted.
    #[must_use]
    pub fn place(&self, labels: &std::collections::BTreeMap<String, String>, least_loaded: bool) -> Option<NodeId> {
        let fits = |node: &NodeId| {
            let told = self.labels_of(node);
            labels.iter().all(|(label, value)| told.get(label) == Some(value))
        };
        let there = self.members().filter(|member| member.state.is_there() && fits(&member.node));
        let load = |member: &MemberView| if least_loaded { member.agents.len() } else { 0 };
        there.min_by_key(|it| (load(it), it.node != self.node, it.name.to_string())).map(|member| member.node)
    }

    /// As what a member was admitted; none when it is no member or cut off.
    #[must_use]
    pub fn role_of(&self, node: NodeId) -> Option<Role> {
        self.members.get(&node).filter(|_| !self.members.is_cut_off(&node)).map(|member| member.role)
    }

    /// Every member that is an admin, and not cut off.
    pub fn admins_now(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().map(|(node, _)| node).filter(|node| self.role_of(*node) == Some(Role::Admin))
    }

    /// Every member that is or was an admin: from when on, by its certificate, and until when.
    pub fn admins(&self) -> impl Iterator<Item = (NodeId, Timestamp, Timestamp)> {
        self.members.admins()
    }

    /// The keys of a member, cut off or not: the newest that are known.
    #[must_use]
    pub fn keys_of(&self, node: NodeId) -> Option<&PublicKeys> {
        self.all_keys_of(node).last()
    }

    /// All keys that a member is known to have or to have had, those of its certificate first; none of a stranger.
    #[must_use]
    pub fn all_keys_of(&self, node: NodeId) -> &[PublicKeys] {
        if self.members.contains(&node) { self.members.all_keys(&node) } else { &[] }
    }

    /// How often the keys of this node gave way to others, those of a renewed certificate among them: whoever follows its chain
    /// keeps all its keys.
    #[must_use]
    pub fn own_rotations(&self) -> usize {
        self.members.all_keys(&self.node).len().saturating_sub(1)
    }

    /// Since when this node has the keys that it has; none when they are those of its certificate.
    #[must_use]
    pub const fn keys_since(&self) -> Option<Hlc> {
        self.keys_since
    }

    /// The keys of all members' certificates, this node's among them, by id.
    #[must_use]
    pub fn member_keys(&self) -> Vec<PublicKeys> {
        self.members.iter().map(|(_, member)| member.keys.clone()).collect()
    }

    /// The name of a member, or the id of a node that is none.
    #[must_use]
    pub fn display_name(&self, node: NodeId) -> String {
        self.members.get(&node).map_or_else(|| node.to_string(), |member| member.name.to_string())
    }

    /// Whether a connection to that node is open.
    #[must_use]
    pub fn is_reachable(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.link.is_some())
    }

    /// Other members that say they have subscribers of that topic, and may be reached, each with the number of these.
    #[must_use]
    pub fn subscribers(&self, topic: &TopicName) -> Vec<(NodeId, u64)> {
        let count = |advert: &Advert| {
            let meant = subscriptions(advert).into_iter().filter(|(pattern, _)| pattern.matches(topic));
            meant.map(|(_, count)| u64::from(count)).sum::<u64>()
        };
        let counted = self.believed().map(|(node, held)| (node, count(&held.advert)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether another member that may be reached listens to that topic by a wildcard.
    #[must_use]
    pub fn is_heard_by_wildcard(&self, topic: &TopicName) -> bool {
        let meant = |(pattern, _): &(TopicPattern, u32)| pattern.is_wildcard() && pattern.matches(topic);
        self.believed().any(|(_, held)| held.advert.subscriptions.iter().any(meant))
    }

    /// All invites of this node that are remembered, by id.
    pub fn invites(&self) -> impl Iterator<Item = InviteState> {
        self.invites.iter()
    }

    /// One invite of this node.
    #[must_use]
    pub fn invite(&self, invite: &InviteId) -> Option<InviteState> {
        self.invites.get(invite)
    }
}
