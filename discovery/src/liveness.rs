//! Who is alive: SWIM decides, of whom it does not know connections and pings; and whoever is missing is dialled again for ever.

use std::fmt;

use foca::State;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use weft_protocol::{Hlc, NodeId, Timestamp};

use crate::address::without_peer;
use crate::config::DiscoveryConfig;
use crate::discovery::Discovery;
use crate::event::{Output, Path};
use crate::peers::Peer;
use crate::swim::Verdict;

/// Most dials in flight: the transport's own limit of pending connections. Whoever waits longest is dialled next.
const DIALS_MAX: usize = 32;

/// After so many dials that failed in a row members are asked where a node is: one may fail for any reason.
const LOOKUP_FAILURES: u32 = 2;
/// And again after this, in microseconds: about as often as a member that is long gone is dialled four times (guess).
const LOOKUP_PAUSE_US: u64 = 60_000_000;

/// What is known of a member. To be known means not to be alive: a state is this node's view, not a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It answers: this node, or others.
    Alive,
    /// It did not answer, or a connection to it was lost a moment ago, or none was made yet since this node started.
    Suspect,
    /// It was suspect for long, and did not say that it is not.
    Dead,
    /// No connection, and its chain ends with an orderly shutdown.
    Left,
    /// It was proven to have forked its chain.
    Quarantined,
    /// It is a member no longer, for ever.
    Evicted,
}

impl MemberState {
    /// Whether a member is there, as far as this node knows.
    #[must_use]
    pub const fn is_there(self) -> bool {
        match self {
            Self::Alive | Self::Suspect => true,
            Self::Dead | Self::Left | Self::Quarantined | Self::Evicted => false,
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Quarantined => "quarantined",
            Self::Evicted => "evicted",
        })
    }
}

const fn dies_at(peer: &Peer, config: &DiscoveryConfig) -> Timestamp {
    peer.down_since.after_us(config.dead_after_us)
}

impl Discovery {
    /// The state of a node that is not quarantined. What the cluster says of it counts, unless that is older than a connection
    /// that it proved itself on; of a node that takes no part in SWIM the connection and its pings tell.
    pub(crate) fn judged(&self, node: &NodeId, peer: &Peer) -> MemberState {
        self.judged_by(peer, self.swim.verdict(node))
    }

    /// The same by what the cluster says.
    pub(crate) fn judged_by(&self, peer: &Peer, verdict: Option<Verdict>) -> MemberState {
        if peer.link.is_none() && peer.has_left() {
            return MemberState::Left;
        }
        let refuted = peer.link.is_some() && peer.refuted.is_some() && verdict == peer.refuted;
        match verdict.map(|verdict| verdict.state()) {
            Some(_) if refuted => MemberState::Alive,
            Some(State::Alive) => MemberState::Alive,
            Some(State::Suspect) => MemberState::Suspect,
            Some(State::Down) => MemberState::Dead,
            None if peer.link.is_some() && !peer.ping_failed => MemberState::Alive,
            None if peer.link.is_some() || self.now < dies_at(peer, &self.config) => MemberState::Suspect,
            None => MemberState::Dead,
        }
    }

    pub(crate) fn on_connected(&mut self, node: NodeId, path: Path, now: Timestamp, outputs: &mut Vec<Output>) {
        let refused = node == self.node || self.members.is_cut_off(&node);
        let verdict = self.swim.verdict(&node);
        let peer = if refused { None } else { self.peers.entry(node, now) };
        let Some(peer) = peer else {
            outputs.push(Output::Disconnect { node });
            return;
        };
        let was_down = peer.link.is_none();
        let worked = path.dialled.then(|| without_peer(&path.address, node));
        peer.connected(path, verdict, now);
        if peer.learn_addresses(worked) {
            outputs.push(Output::RememberAddresses { node, addresses: peer.addresses.clone() });
        }
        if was_down {
            self.standing.reported(node, true);
            outputs.push(Output::ReportReachability { node, reachable: true });
            outputs.push(Output::RequestAdverts { to: node, held: self.held_adverts() });
            self.own_advert.repeat();
            outputs.push(Output::DirectoryChanged);
            self.swim.greet(node, now, outputs);
        }
        self.choose_relays(outputs);
    }

    pub(crate) fn on_disconnected(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.link.is_some()) else { return };
        peer.disconnected(now);
        peer.next_dial = now.after_us(redial_us(peer, &self.config, now, &mut self.generator));
        let left = peer.has_left();
        let kept = self.is_kept(&node);
        // Whoever is no neighbour is linked to again when something has to go to it, and watched by its own.
        if kept || left {
            self.standing.reported(node, false);
            outputs.push(Output::ReportReachability { node, reachable: false });
        }
        if kept && !left {
            self.swim.suspect(node, now, outputs);
        }
        self.forget_stranger(node);
        self.choose_relays(outputs);
    }

    /// The end of a connection that exists to end with its process.
    pub(crate) fn on_watch_ended(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.peers.get(&node).is_some_and(|peer| peer.link.is_some()) {
            self.swim.suspect(node, now, outputs);
        }
    }

    pub(crate) fn on_configured(&mut self, config: DiscoveryConfig, now: Timestamp, outputs: &mut Vec<Output>) {
        let connected = self.peers.iter().filter(|(_, peer)| peer.link.is_some()).map(|(node, _)| *node);
        self.swim.configure(&config, connected, now, outputs);
        self.own_advert.set_labels(config.labels.clone());
        self.config = config;
    }

    pub(crate) fn on_dial_failed(&mut self, node: NodeId, reason: &str, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.dialling_since.is_some()) else { return };
        peer.dial_failed(reason);
        peer.next_dial = now.after_us(redial_us(peer, &self.config, now, &mut self.generator));
        let lately = |at: Timestamp| at <= now && now < at.after_us(LOOKUP_PAUSE_US);
        if peer.failures >= LOOKUP_FAILURES && !peer.looked_up.is_some_and(lately) {
            peer.looked_up = Some(now);
            outputs.push(Output::LookUp { node });
        }
        self.not_reached(node, now, outputs);
    }

    /// Members say where one is that is missed. If it is not there, what worked before is still known.
    pub(crate) fn on_addresses_found(&mut self, node: NodeId, addresses: Vec<String>, now: Timestamp) {
        let missed = self.peers.get_mut(&node).filter(|peer| peer.link.is_none());
        let Some(peer) = missed.filter(|_| !self.members.is_cut_off(&node)) else { return };
        if peer.take_hints(addresses) {
            peer.dial_soon(now);
        }
    }

    pub(crate) fn on_pinged(&mut self, node: NodeId, rtt_us: u64, now: Timestamp) {
        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.link.is_some()) {
            peer.rtt_us = Some(rtt_us);
            peer.ping_failed = false;
            peer.last_seen = Some(now);
        }
    }

    pub(crate) fn on_ping_failed(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.link.is_some()) {
            peer.ping_failed = true;
        }
    }

    pub(crate) fn on_shutdown_seen(&mut self, node: NodeId, hlc: Hlc) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.shut_down = peer.shut_down.max(Some(hlc));
        }
    }

    /// A node became a member: it is watched from now on, and what came before its admission is believed now.
    pub(crate) fn on_member_joined(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        if node == self.node {
            return;
        }
        let connected = self.peers.entry(node, now).is_some_and(|peer| peer.link.is_some());
        if let Some(advert) = self.directory.take_early(&node) {
            self.on_advert_arrived(advert, now, outputs);
        }
        if connected {
            outputs.push(Output::RequestAdverts { to: node, held: self.held_adverts() });
        }
    }

    /// Drops the entry of a node without a connection that nobody has a reason to dial.
    fn forget_stranger(&mut self, node: NodeId) {
        if !self.members.contains(&node) && !self.seeds.contains(&node) {
            self.peers.remove(&node);
        }
    }

    /// Gives up dials that nobody reported on and dials whoever is due, longest first.
    pub(crate) fn dial_due(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let overdue = |since: Timestamp| now >= since.after_us(self.config.dial_us_max);
        let mut given_up = Vec::new();
        for (node, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.dialling_since.is_some_and(overdue)) {
            peer.dial_failed("the transport did not report in time");
            peer.next_dial = now.after_us(redial_us(peer, &self.config, now, &mut self.generator));
            given_up.push(*node);
        }
        given_up.into_iter().for_each(|node| self.not_reached(node, now, outputs));
        self.let_wanted_go(outputs);
        let dialling = self.peers.iter().filter(|(_, peer)| peer.dialling_since.is_some()).count();
        // Whom something waits for goes first.
        let mut due: Vec<(bool, Timestamp, NodeId)> = self
            .dials()
            .filter(|(when, _)| *when <= now)
            .map(|(when, node)| (!self.standing.is_wanted(&node), when, node))
            .collect();
        due.sort_unstable();
        for (_, _, node) in due.into_iter().take(DIALS_MAX.saturating_sub(dialling)) {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.dialling_since = Some(now);
                outputs.push(Output::Dial { node, addresses: peer.ways() });
            }
        }
    }

    /// Who is to be dialled, and when.
    fn dials(&self) -> impl Iterator<Item = (Timestamp, NodeId)> {
        let missing = self.peers.iter().filter(|(node, peer)| {
            let idle = peer.link.is_none()
                && peer.dialling_since.is_none()
                && !(peer.addresses.is_empty() && peer.hints.is_empty());
            let wanted = self.is_kept(node) || self.standing.is_wanted(node);
            idle && wanted && **node != self.node && !self.members.is_cut_off(node)
        });
        missing.map(|(node, peer)| (peer.next_dial, *node))
    }

    /// When a dial is due or over, or somebody's state changes.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let dialling = self.peers.iter().filter_map(|(_, peer)| peer.dialling_since).collect::<Vec<_>>();
        let dial = self.dials().map(|(when, _)| when).min().filter(|_| dialling.len() < DIALS_MAX);
        let given_up = dialling.into_iter().map(|since| since.after_us(self.config.dial_us_max)).min();
        let down = self.peers.iter().filter(|(_, peer)| peer.link.is_none() && !peer.has_left());
        let death = down.map(|(_, peer)| dies_at(peer, &self.config)).filter(|when| *when > now).min();
        dial.into_iter().chain(given_up).chain(death).min()
    }
}

/// How long to wait before the next dial: doubling from the shortest wait, up to a limit that is lower while the outage is
/// young; between half and the whole of it, so that many nodes do not dial at once.
fn redial_us(peer: &Peer, config: &DiscoveryConfig, now: Timestamp, generator: &mut ChaCha8Rng) -> u64 {
    let young = now.since_us(peer.down_since) < config.redial_patience_us;
    let longest_us = if young { config.redial_us_max } else { config.redial_late_us_max };
    let doubled_us = config.redial_us_min.saturating_mul(1 << peer.failures.min(20));
    let wait_us = doubled_us.min(longest_us);
    wait_us / 2 + generator.next_u64() % (wait_us / 2 + 1)
}
