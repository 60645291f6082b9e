//! Which member says that it runs what: the newest believed advert of each.

use std::collections::BTreeMap;

use weft_protocol::{Advert, AdvertVersion, NodeId, SignedAdvert, Timestamp};

use crate::address::without_peer;
use crate::discovery::Discovery;
use crate::event::Output;

/// Most adverts kept of nodes whose admission has not arrived yet, one per node; one more is dropped and asked for again when
/// its node connects (guess: a rack that joins at once).
const EARLY_MAX: usize = 64;
/// Longest time an advert is believed, whatever it says, in microseconds (guess: twice what this version asks for).
const BELIEVED_US_MAX: u64 = 600_000_000;

/// One advert that was verified.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) signed: SignedAdvert,
    pub(crate) advert: Advert,
    pub(crate) until: Timestamp,
}

/// Adverts by node; never of nodes that are not members.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    held: BTreeMap<NodeId, Held>,
    early: BTreeMap<NodeId, SignedAdvert>,
}

impl Directory {
    pub(crate) fn get(&self, node: &NodeId) -> Option<&Held> {
        self.held.get(node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Held)> {
        self.held.iter()
    }

    /// Keeps an advert whose node may become a member soon.
    fn put_early(&mut self, advert: SignedAdvert) -> bool {
        let room = self.early.len() < EARLY_MAX || self.early.contains_key(&advert.node);
        if room {
            self.early.insert(advert.node, advert);
        }
        room
    }

    pub(crate) fn take_early(&mut self, node: &NodeId) -> Option<SignedAdvert> {
        self.early.remove(node)
    }

    /// Forgets adverts whose time is over; whether there were any.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.held.len();
        self.held.retain(|_, held| now < held.until);
        self.held.len() != before
    }

    /// When the next advert's time is over.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.held.values().map(|held| held.until).min()
    }
}

impl Discovery {
    pub(crate) fn on_advert_arrived(&mut self, signed: SignedAdvert, now: Timestamp, outputs: &mut Vec<Output>) {
        let node = signed.node;
        if node == self.node || self.members.is_cut_off(&node) {
            return;
        }
        if !self.members.contains(&node) {
            if !self.directory.put_early(signed) {
                self.counters.adverts_refused += 1;
            }
            return;
        }
        // One that was signed a moment before its keys changed counts as well.
        let keys = self.members.all_keys(&node).iter().rev();
        let Some(advert) = keys.into_iter().find_map(|keys| signed.verify(keys).ok()) else {
            self.counters.adverts_refused += 1;
            return;
        };
        let until = advert.expires.min(now.after_us(BELIEVED_US_MAX));
        let before = self.directory.get(&node).map(|held| held.advert.version);
        if now >= until || before.is_some_and(|before| advert.version <= before) {
            return;
        }
        let new_run = before.is_none_or(|before| advert.version.started > before.started);
        self.learn_way(&advert, new_run, now, outputs);
        self.directory.held.insert(node, Held { signed, advert, until });
        outputs.push(Output::DirectoryChanged);
    }

    /// The addresses of an advert, and the news that its node runs.
    fn learn_way(&mut self, advert: &Advert, new_run: bool, now: Timestamp, outputs: &mut Vec<Output>) {
        let node = advert.node;
        let Some(peer) = self.peers.entry(node, now) else { return };
        let dialled = peer.link.as_ref().filter(|path| path.dialled);
        let working = dialled.map(|path| without_peer(&path.address, node));
        let moved = peer.learn_addresses(working.into_iter().chain(advert.addresses.iter().cloned()));
        peer.run_started = peer.run_started.max(Some(advert.version.started));
        if moved {
            outputs.push(Output::RememberAddresses { node, addresses: peer.addresses.clone() });
        }
        if peer.link.is_none() && (moved || new_run) {
            peer.dial_soon(now);
        }
    }

    /// Versions of all adverts that are held, our own among them.
    pub(crate) fn held_adverts(&self) -> Vec<(NodeId, AdvertVersion)> {
        let own = (self.node, self.own_advert.version());
        let others = self.directory.iter().map(|(node, held)| (*node, held.advert.version));
        std::iter::once(own).chain(others).collect()
    }
}
