//! The machine: owns every table, hands each input to the part that it concerns, and keeps one deadline.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use weft_protocol::{
    Certificate, Fact, Hlc, NodeId, NodeName, PublicKeys, Recovered, RecoveredChain, Signed, Signer, Timestamp,
};

use crate::address::worth_telling;
use crate::admission::{AdmissionView, Ends, Invites, Members, Pending, Wanted};
use crate::config::DiscoveryConfig;
use crate::directory::Directory;
use crate::event::{Identity, Input, Output};
use crate::own_advert::{OwnAdvert, Speaker};
use crate::peers::Peers;
use crate::reach::Reach;
use crate::standing::Standing;
use crate::swim::Swim;

/// What was refused since this run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Joiners that named no invite of ours, or showed another secret than its own.
    pub wrong_secrets: u64,
    /// Admissions that do not count, or found no room.
    pub admissions_refused: u64,
    /// Adverts that do not verify, or found no room.
    pub adverts_refused: u64,
    /// Packets of SWIM that are none, or not of the node that sent them.
    pub swim_refused: u64,
}

/// Who is in the cluster, who is alive, and who holds which agent. It has no clock, no entropy and no sockets.
#[derive(Debug)]
pub struct Discovery {
    pub(crate) config: DiscoveryConfig,
    pub(crate) node: NodeId,
    pub(crate) name: NodeName,
    pub(crate) build: String,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) generator: ChaCha8Rng,
    /// The time of the last input: what the reads go by.
    pub(crate) now: Timestamp,
    /// The deadline, as it is since the last input: nothing else changes anything.
    wakeup: Option<Timestamp>,
    pub(crate) members: Members,
    pub(crate) view: Arc<AdmissionView>,
    pub(crate) invites: Invites,
    pub(crate) pending: Pending,
    pub(crate) ends: Ends,
    pub(crate) listening: Vec<String>,
    /// Nodes whose addresses were told with a token; dialled before their admission is known.
    pub(crate) seeds: BTreeSet<NodeId>,
    pub(crate) peers: Peers,
    pub(crate) swim: Swim,
    pub(crate) reach: Reach,
    pub(crate) standing: Standing,
    pub(crate) directory: Directory,
    pub(crate) own_advert: OwnAdvert,
    /// When to ask again for adverts that never came; set while some are missing and somebody can be asked.
    pub(crate) inquire_at: Option<Timestamp>,
    /// How often that was done, so that everybody is asked in turn.
    pub(crate) inquiries: usize,
    pub(crate) counters: Counters,
    /// Since when this node has the keys that it has, when they are not those of its certificate.
    pub(crate) keys_since: Option<Hlc>,
}

impl Discovery {
    /// Continues from what was on disk. `told_addresses` are those that came with a token; `seed` drives the jitter of redials.
    /// The transport begins with [`Discovery::view`].
    ///
    /// # Panics
    /// When `identity` is not the signer's: whoever opens the home has to check that.
    #[must_use]
    pub fn new(
        config: DiscoveryConfig,
        identity: Identity,
        told_addresses: Vec<(NodeId, Vec<String>)>,
        recovered: &Recovered,
        signer: Arc<dyn Signer>,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let Identity { name, charter, certificate: signed, incarnation, build, started } = identity;
        let node = signer.public_keys().node();
        let certificate = signed.peek().expect("BUG: the home's own certificate was checked when it was opened");
        let mut members = Members::new(charter.cluster_id(), charter.founder.clone());
        members.trust(certificate, signed);
        let mut invites = Invites::default();
        for placed in recovered.chains_of(node).into_iter().flat_map(|chain| &chain.facts) {
            invites.fold(&placed.fact, now);
        }
        let admissions_refused = fold_admissions(&recovered.chains, &mut members);
        let own = members.all_keys(&node).contains(signer.public_keys());
        assert!(own, "BUG: a certificate of other keys");
        let counters = Counters { admissions_refused, ..Counters::default() };
        for evidence in &recovered.evidence {
            if let Some(chain) = evidence.chain() {
                members.quarantine(chain.node);
            }
        }
        let view = AdmissionView::new(node, &build, config.wire, &Arc::new(charter), &members, &signer)
            .expect("BUG: the node's own certificate was just trusted");
        let speaker = Speaker {
            node,
            name: name.clone(),
            incarnation,
            started,
            build: build.clone(),
            signer: Arc::clone(&signer),
        };
        let swim = Swim::new(node, started, &config, seed);
        let own_advert = OwnAdvert::new(speaker, &config, now);
        let mut discovery = Self {
            config,
            node,
            name,
            build,
            signer,
            generator: ChaCha8Rng::seed_from_u64(seed),
            now,
            wakeup: None,
            members,
            view: Arc::new(view),
            invites,
            pending: Pending::default(),
            ends: Ends::default(),
            listening: Vec::new(),
            seeds: told_addresses.iter().map(|(node, _)| *node).collect(),
            peers: Peers::default(),
            swim,
            reach: Reach::default(),
            standing: Standing::default(),
            directory: Directory::default(),
            own_advert,
            inquire_at: None,
            inquiries: 0,
            counters,
            keys_since: None,
        };
        discovery.keys_since = rotated_at(recovered, discovery.signer.public_keys());
        discovery.know_ways(recovered, told_addresses, now);
        discovery.wakeup = discovery.soonest();
        discovery
    }

    /// Enters all members, and the addresses under which they and the told nodes may be found.
    fn know_ways(&mut self, recovered: &Recovered, told: Vec<(NodeId, Vec<String>)>, now: Timestamp) {
        let known: Vec<NodeId> = self.members.iter().map(|(node, _)| node).filter(|node| *node != self.node).collect();
        for node in known {
            let _made = self.peers.entry(node, now);
        }
        // What worked in an earlier run goes before what a token said once.
        for (node, addresses) in told.into_iter().chain(recovered.addresses.iter().cloned()) {
            if node != self.node
                && let Some(peer) = self.peers.entry(node, now)
            {
                peer.learn_addresses(addresses);
            }
        }
        for (node, hlc) in shut_down(&recovered.chains) {
            self.on_shutdown_seen(node, hlc);
        }
    }

    /// Takes one input; what the world must do about it is added to `outputs`, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        self.now = now;
        let begin = outputs.len();
        match input {
            Input::Connected { node, path } => self.on_connected(node, path, now, outputs),
            Input::Disconnected { node } => self.on_disconnected(node, now, outputs),
            Input::DialFailed { node, reason } => self.on_dial_failed(node, &reason, now, outputs),
            Input::AddressesFound { node, addresses } => self.on_addresses_found(node, addresses, now),
            Input::ProviderNamed { node } => self.on_provider_named(node, now, outputs),
            Input::Pinged { node, rtt_us } => self.on_pinged(node, rtt_us, now),
            Input::PingFailed { node } => self.on_ping_failed(node),
            Input::SwimArrived { from, packet } => self.on_swim_arrived(from, &packet, now, outputs),
            Input::LinkWanted { node } => self.on_link_wanted(node, now, outputs),
            Input::WatchEnded { node } => self.on_watch_ended(node, now, outputs),
            Input::TranslationSeen { translated } => self.on_translation_seen(translated, outputs),
            Input::ListenChanged { addresses } => self.on_listen_changed(addresses),
            Input::AdmissionSeen { issuer, certificate, .. } => {
                self.fold_admission(issuer, *certificate, now, outputs);
            }
            Input::AdvertArrived { advert } => self.on_advert_arrived(*advert, now, outputs),
            Input::AgentsChanged { agents } => self.own_advert.set_agents(agents),
            Input::TopicsChanged { subscriptions } => self.own_advert.set_subscriptions(subscriptions),
            Input::ServicesChanged { services } => self.own_advert.set_services(services),
            Input::InviteAsked { ask, role, ttl_us, uses, secret, certificate_ttl_us } => {
                let wanted = Wanted { role, ttl_us, uses, secret: secret.into_array(), certificate_ttl_us };
                self.on_invite_asked(ask, wanted, now, outputs);
            }
            Input::InviteRevokeAsked { ask, invite } => self.on_invite_revoke_asked(ask, invite, now, outputs),
            Input::JoinAsked { ask, keys, invite, join } => self.on_join_asked(ask, keys, invite, join, now, outputs),
            Input::Recorded { ticket } => self.on_recorded(ticket, now, outputs),
            Input::RecordRefused { ticket, refusal } => self.on_record_refused(ticket, refusal, outputs),
            Input::ShutdownSeen { node, hlc } => self.on_shutdown_seen(node, hlc),
            Input::ForkProven { node } => self.on_fork_proven(node, outputs),
            Input::MembersEvicted { nodes } => self.on_evicted(nodes, outputs),
            Input::MemberPardoned { node } => self.on_pardoned(node, outputs),
            Input::KeysRotated { node, rotation } => self.on_keys_rotated(node, &rotation, outputs),
            Input::OwnKeysRotated { rotation, signer, hlc } => {
                self.on_own_keys_rotated(&rotation, signer, hlc, outputs);
            }
            Input::Configured { config } => self.on_configured(*config, now, outputs),
            Input::Woken => {}
        }
        self.do_due(now, outputs);
        self.take_detours(begin, outputs);
        self.wakeup = self.soonest();
    }

    /// Everything whose time has come.
    fn do_due(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.directory.expire(now) {
            outputs.push(Output::DirectoryChanged);
        }
        self.close_ended(now, outputs);
        self.renew_due(now, outputs);
        self.swim.do_due(now, outputs);
        self.look_at_mesh(outputs);
        self.dial_due(now, outputs);
        self.inquire(now, outputs);
        if let Some(advert) = self.own_advert.take_due(&self.config, now) {
            outputs.push(Output::GossipAdvert(Box::new(advert)));
        }
    }

    /// When `Woken` is wanted, at the latest. The world asks at every event of its own, and most of them are of no concern here.
    #[must_use]
    pub const fn next_wakeup(&self) -> Option<Timestamp> {
        self.wakeup
    }

    fn soonest(&self) -> Option<Timestamp> {
        let advert = self.own_advert.next_due(&self.config, self.now);
        let expiry = self.directory.next_expiry();
        let (end, renewal) = (self.next_end(self.now), self.next_renewal(self.now));
        [Some(advert), expiry, self.inquire_at, self.swim.next_due(), self.next_change(self.now), end, renewal]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_listen_changed(&mut self, addresses: Vec<String>) {
        self.own_advert.set_addresses(worth_telling(&addresses));
        self.listening = addresses;
    }
}

/// Folds the admissions of all stored chains; how many do not count. Those of known admins come first, so that what must wait
/// for its issuer is only what no stored chain can explain, however the chains are ordered.
fn fold_admissions(chains: &[RecoveredChain], members: &mut Members) -> u64 {
    let facts =
        chains.iter().flat_map(|chain| chain.facts.iter().map(|placed| (chain.state.chain().node, &placed.fact)));
    let mut waiting: Vec<(NodeId, &Signed<Certificate>)> = facts
        .filter_map(|(issuer, fact)| match fact {
            Fact::Admitted(admitted) => Some((issuer, &admitted.certificate)),
            _ => None,
        })
        .collect();
    let mut refused = 0;
    loop {
        // Whoever admits with later keys is believed once these are known to follow.
        fold_rotations(chains, members);
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(issuer, _)| members.knows_admin(issuer));
        let stuck = ready.is_empty();
        for (issuer, signed) in if stuck { &rest } else { &ready } {
            refused += members.admit(*issuer, (*signed).clone()).refused;
        }
        if stuck {
            fold_rotations(chains, members);
            return refused;
        }
        waiting = rest;
    }
}

/// Learns from all stored chains which keys gave way to others. One may follow from another chain's: as long as there was news all
/// is looked at again.
fn fold_rotations(chains: &[RecoveredChain], members: &mut Members) {
    let rotations = |chain: &RecoveredChain, members: &mut Members| {
        let node = chain.state.chain().node;
        let news = chain.facts.iter().filter(|placed| match &placed.fact {
            Fact::KeyRotated(rotation) => members.rotate(node, rotation),
            _ => false,
        });
        news.count()
    };
    while chains.iter().map(|chain| rotations(chain, members)).sum::<usize>() > 0 {}
}

/// When these keys became those of their node, by its own chains.
fn rotated_at(recovered: &Recovered, keys: &PublicKeys) -> Option<Hlc> {
    let chains = recovered.chains_of(keys.node());
    let made = |fact: &Fact| match fact {
        Fact::KeyRotated(rotation) => rotation.rotation.peek().is_ok_and(|claimed| claimed.new == *keys),
        _ => false,
    };
    chains.iter().flat_map(|chain| &chain.facts).find(|placed| made(&placed.fact)).map(|placed| placed.hlc)
}

/// Nodes whose latest recorded fact says that they went down in order, with its stamp.
fn shut_down(chains: &[RecoveredChain]) -> impl Iterator<Item = (NodeId, Hlc)> {
    let last = |chain: &RecoveredChain| chain.facts.last().map(|placed| placed.hlc);
    chains.iter().filter_map(move |chain| {
        let node = chain.state.chain().node;
        let of_node = chains.iter().filter(|other| other.state.chain().node == node);
        let latest = of_node.map(last).max() == Some(last(chain));
        match chain.facts.last() {
            Some(placed) if latest && matches!(placed.fact, Fact::Shutdown(_)) => Some((node, placed.hlc)),
            Some(_) | None => None,
        }
    })
}
