//! A member that lies: its peer is sound, and what leaves it is bent on the way out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weft_peer::{GossipTopic, OutboundId, Request, Response};
use weft_protocol::{
    A2aItem, A2aRequest, COMMIT_LABEL, CommitGroup, Gossip, HeadGossip, Hlc, Signer, SyncResponse, commit_hash, encode,
};

use crate::faults::Fault;
use crate::world::World;

/// How often a member that floods says everything (guess: far more than anybody needs to hear).
const FLOOD_TIMES: usize = 30;
/// How far ahead stamps of the future are, in microseconds: beyond the minute for which they would be held.
const FUTURE_US: u64 = 3_600_000_000;

/// One way to lie. A member may lie in several at once, until it is told to stop or everything is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// Signs a second history of its chain, and shows it to one member while the others see the first.
    Fork,
    /// Sends old messages again, to whomever it talks to.
    Replay,
    /// Says everything many times.
    Flood,
    /// Says to whoever compares that both hold the same.
    StaleSync,
    /// Stamps messages and receipts an hour ahead.
    FutureClock,
    /// Hands on commits, its own and those of others, under a signature that is none.
    ForgedEntry,
}

impl Lie {
    /// Those after which the liar's chain is still one.
    pub(crate) const HARMLESS: [Self; 5] =
        [Self::Replay, Self::Flood, Self::StaleSync, Self::FutureClock, Self::ForgedEntry];

    const fn fault(self) -> Fault {
        match self {
            Self::Fork => Fault::LieForked,
            Self::Replay => Fault::LieReplayed,
            Self::Flood => Fault::LieFlooded,
            Self::StaleSync => Fault::LieStale,
            Self::FutureClock => Fault::LieFuture,
            Self::ForgedEntry => Fault::LieForged,
        }
    }
}

/// Who lies how, and what they have to lie with.
#[derive(Debug, Default)]
pub(crate) struct Lies {
    ways: BTreeMap<usize, BTreeSet<Lie>>,
    /// The first message that each sent since it began to replay.
    earlier: BTreeMap<usize, A2aRequest>,
    replays: u64,
}

impl World {
    /// A member lies in one more way from now on.
    pub(crate) fn begin_lie(&mut self, node: usize, how: Lie) {
        self.lies.ways.entry(node).or_default().insert(how);
    }

    /// A member says what its peer does again.
    pub(crate) fn stop_lies(&mut self, node: usize) {
        self.lies.ways.remove(&node);
        self.lies.earlier.remove(&node);
    }

    fn lies(&self, node: usize, how: Lie) -> bool {
        self.lies.ways.get(&node).is_some_and(|ways| ways.contains(&how))
    }

    fn lied(&mut self, node: usize, how: Lie) {
        self.trace.add(self.now_us, Some(node), format_args!("lies: {how:?}"));
        self.faults.count(how.fault());
        self.faults.count(Fault::Lied);
    }

    /// How often a frame is sent.
    pub(crate) fn times_said(&mut self, node: usize) -> usize {
        if !self.lies(node, Lie::Flood) {
            return 1;
        }
        self.lied(node, Lie::Flood);
        FLOOD_TIMES
    }

    /// What a liar asks in place of this.
    pub(crate) fn bent_request(&mut self, node: usize, content: &Request) -> Option<Request> {
        let Request::A2a(request) = content else { return None };
        if !self.lies(node, Lie::FutureClock) {
            return None;
        }
        let mut request = request.clone();
        let mut bent = false;
        for item in &mut request.items {
            let hlc = match item {
                A2aItem::Envelope(envelope) => &mut envelope.hlc,
                A2aItem::Receipt(receipt) => &mut receipt.hlc,
                A2aItem::LargeEnvelope(large) => &mut large.envelope.hlc,
                A2aItem::LargeReceipt(large) => &mut large.receipt.hlc,
                A2aItem::Cancel(_) | A2aItem::Part(_) | A2aItem::PartsTaken(_) | A2aItem::Publication(_) => continue,
            };
            *hlc = ahead(*hlc);
            bent = true;
        }
        if bent {
            self.lied(node, Lie::FutureClock);
        }
        bent.then_some(Request::A2a(request))
    }

    /// What a liar asks besides: something that it asked before, under a number that nobody waits for.
    pub(crate) fn replayed(&mut self, node: usize, content: &Request) -> Option<(OutboundId, Request)> {
        let Request::A2a(request) = content else { return None };
        if !self.lies(node, Lie::Replay) || !request.items.iter().any(|item| matches!(item, A2aItem::Envelope(_))) {
            return None;
        }
        let Some(earlier) = self.lies.earlier.get(&node).cloned() else {
            self.lies.earlier.insert(node, request.clone());
            return None;
        };
        self.lies.replays += 1;
        let number = OutboundId(u64::MAX - self.lies.replays);
        self.lied(node, Lie::Replay);
        Some((number, Request::A2a(earlier)))
    }

    /// What a liar answers in place of this.
    pub(crate) fn bent_response(&mut self, node: usize, content: &Response) -> Option<Response> {
        match content {
            Response::Sync(SyncResponse::Heads(_)) if self.lies(node, Lie::StaleSync) => {
                self.lied(node, Lie::StaleSync);
                Some(Response::Sync(SyncResponse::Same))
            }
            Response::Sync(SyncResponse::Page { chain, groups })
                if self.lies(node, Lie::ForgedEntry) && !groups.is_empty() =>
            {
                self.lied(node, Lie::ForgedEntry);
                let mut groups = groups.clone();
                groups.iter_mut().for_each(forge);
                Some(Response::Sync(SyncResponse::Page { chain: *chain, groups }))
            }
            Response::A2a(response) if self.lies(node, Lie::FutureClock) && !response.receipts.is_empty() => {
                self.lied(node, Lie::FutureClock);
                let mut response = response.clone();
                response.receipts.iter_mut().for_each(|receipt| receipt.hlc = ahead(receipt.hlc));
                Some(Response::A2a(response))
            }
            Response::Sync(_) | Response::A2a(_) | Response::Blob(_) => None,
        }
    }

    /// What a liar gossips in place of this.
    pub(crate) fn bent_gossip(&mut self, node: usize, content: &Gossip) -> Option<Gossip> {
        let Gossip::Head(HeadGossip::Group(group)) = content else { return None };
        if !self.lies(node, Lie::ForgedEntry) {
            return None;
        }
        self.lied(node, Lie::ForgedEntry);
        let mut group = group.clone();
        forge(&mut group);
        Some(Gossip::Head(HeadGossip::Group(group)))
    }

    /// A second history to show to one member, of the same commit as this gossip, and whom it is shown to.
    pub(crate) fn sibling(&mut self, node: usize, topic: &GossipTopic, content: &Gossip) -> Option<(usize, Gossip)> {
        let (GossipTopic::Heads, Gossip::Head(HeadGossip::Group(group))) = (topic, content) else { return None };
        // Until somebody holds the proof: a member that lags behind does not compare what it is shown.
        let proven = (0..self.nodes.len()).any(|other| self.convicted_by(other).contains(&node));
        if !self.lies(node, Lie::Fork) || proven {
            return None;
        }
        let victim = self.nodes[node].running.as_ref()?.links.keys().next().copied()?;
        let sibling = sibling_of(group, &*self.nodes[node].keys)?;
        self.judge.liar = Some(node);
        self.lied(node, Lie::Fork);
        Some((victim, Gossip::Head(HeadGossip::Group(sibling))))
    }
}

fn ahead(hlc: Hlc) -> Hlc {
    Hlc::from_wall(hlc.to_wall().after_us(FUTURE_US))
}

fn forge(group: &mut CommitGroup) {
    group.signed.ed25519[0] ^= 1;
}

/// The same commit without the last of what it vouches for, signed anew: a second history of one chain. None of one that vouches
/// for nothing.
fn sibling_of(group: &CommitGroup, signer: &dyn Signer) -> Option<CommitGroup> {
    let mut group = group.clone();
    let mut commit = group.signed.decode().ok()?;
    if commit.chain.node != signer.public_keys().node() {
        return None;
    }
    commit.anchors.pop()?;
    let bytes = encode(&commit);
    let signature = signer.sign(COMMIT_LABEL, &commit_hash(&bytes));
    group.signed.commit = bytes.into();
    group.signed.ed25519 = signature.ed25519;
    group.signed.mldsa65 = group.signed.mldsa65.is_some().then_some(signature.mldsa65);
    Some(group)
}
