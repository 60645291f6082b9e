//! The table of nodes that may be connected to: members, nodes told of by a token, and peers the transport let in before
//! their admission reached us.

use std::collections::BTreeMap;

use weft_protocol::limits::{ADDRESSES_MAX, MEMBERS_MAX};
use weft_protocol::{Hlc, NodeId, Timestamp};

use crate::address::merged;
use crate::event::Path;
use crate::swim::Verdict;

/// Most nodes in the table: every member once, and as many that are not known as members yet. One more is disconnected.
const PEERS_MAX: usize = 2 * MEMBERS_MAX;
/// Addresses at which others say a node is: half of those that are dialled, so that whatever is said, what worked before is tried.
const HINTS_MAX: usize = ADDRESSES_MAX / 2;
/// Longest kept reason of a failed dial, in characters (guess: a line).
const REASON_CHARACTERS_MAX: usize = 200;

/// What is known of the way to one node.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Best first, at most 16.
    pub(crate) addresses: Vec<String>,
    /// Where others said that it is, while it is missed; at most [`HINTS_MAX`].
    pub(crate) hints: Vec<String>,
    /// The open connection.
    pub(crate) link: Option<Path>,
    /// Of the last ping on this connection.
    pub(crate) rtt_us: Option<u64>,
    /// What the cluster said of it when this connection was opened: that is the older news.
    pub(crate) refuted: Option<Verdict>,
    /// Whether the last ping on this connection came back.
    pub(crate) ping_failed: bool,
    /// Since when there is no connection.
    pub(crate) down_since: Timestamp,
    /// When it was last heard of on a connection, in this run.
    pub(crate) last_seen: Option<Timestamp>,
    /// The last orderly shutdown on its chain since it was connected.
    pub(crate) shut_down: Option<Hlc>,
    /// When its latest known run began, by its own clock.
    pub(crate) run_started: Option<Hlc>,
    /// Since when a dial is out.
    pub(crate) dialling_since: Option<Timestamp>,
    /// Dials that failed since the connection was lost.
    pub(crate) failures: u32,
    /// When to dial next.
    pub(crate) next_dial: Timestamp,
    /// When members were last asked where it is.
    pub(crate) looked_up: Option<Timestamp>,
    /// When a neighbour of it was last asked for its advert.
    pub(crate) exchanged: Option<Timestamp>,
    /// What the transport said of the last dial.
    pub(crate) last_failure: Option<String>,
}

impl Peer {
    const fn new(now: Timestamp) -> Self {
        Self {
            addresses: Vec::new(),
            hints: Vec::new(),
            link: None,
            rtt_us: None,
            refuted: None,
            ping_failed: false,
            down_since: now,
            last_seen: None,
            shut_down: None,
            run_started: None,
            dialling_since: None,
            failures: 0,
            next_dial: now,
            looked_up: None,
            exchanged: None,
            last_failure: None,
        }
    }

    /// Puts these addresses first, what was known before behind them; whether that changed anything.
    pub(crate) fn learn_addresses(&mut self, addresses: impl IntoIterator<Item = String>) -> bool {
        let known = merged(addresses, self.addresses.iter().cloned());
        let changed = known != self.addresses;
        self.addresses = known;
        changed
    }

    /// Takes what others say in place of what they said before; whether that is news.
    pub(crate) fn take_hints(&mut self, addresses: Vec<String>) -> bool {
        let mut hints = merged(addresses, []);
        hints.truncate(HINTS_MAX);
        let news = hints != self.hints;
        self.hints = hints;
        news
    }

    /// Where to dial it, what others say first.
    pub(crate) fn ways(&self) -> Vec<String> {
        merged(self.hints.iter().cloned(), self.addresses.iter().cloned())
    }

    /// Whether it went down in order and no later run of it is known.
    pub(crate) fn has_left(&self) -> bool {
        self.shut_down.is_some_and(|at| self.run_started.is_none_or(|started| at > started))
    }

    pub(crate) fn connected(&mut self, path: Path, verdict: Option<Verdict>, now: Timestamp) {
        self.link = Some(path);
        self.hints.clear();
        self.refuted = verdict;
        self.ping_failed = false;
        self.rtt_us = None;
        self.last_seen = Some(now);
        self.shut_down = None;
        self.looked_up = None;
        self.dialling_since = None;
        self.failures = 0;
        self.last_failure = None;
    }

    pub(crate) fn disconnected(&mut self, now: Timestamp) {
        self.link = None;
        self.rtt_us = None;
        self.down_since = now;
        self.last_seen = Some(now);
        self.failures = 0;
    }

    pub(crate) fn dial_failed(&mut self, reason: &str) {
        self.dialling_since = None;
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(reason.chars().take(REASON_CHARACTERS_MAX).collect());
    }

    /// Forgets how often it failed: there is news of it.
    pub(crate) const fn dial_soon(&mut self, now: Timestamp) {
        self.failures = 0;
        self.next_dial = now;
    }
}

/// All of them, by node.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
}

impl Peers {
    /// The entry of a node, made when there is room.
    pub(crate) fn entry(&mut self, node: NodeId, now: Timestamp) -> Option<&mut Peer> {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&node) {
            return None;
        }
        Some(self.peers.entry(node).or_insert_with(|| Peer::new(now)))
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node)
    }

    pub(crate) fn get_mut(&mut self, node: &NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(node)
    }

    pub(crate) fn remove(&mut self, node: &NodeId) {
        self.peers.remove(node);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.peers.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut Peer)> {
        self.peers.iter_mut()
    }
}
