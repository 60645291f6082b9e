//! Ticks: how a node that writes nothing lets time pass for everybody, and what it hears of that from others.

use std::collections::BTreeMap;

use weft_protocol::limits::TICK_HEADS_MAX;
use weft_protocol::{ChainId, HeadGossip, Hlc, NodeId, SignedTick, StampVerdict, Timestamp, judge_stamp};

use crate::config::CHAINS_MAX;
use crate::event::Output;
use crate::replication::{Replication, everything_until};

/// Between two ticks of a node among up to [`CROWD`] that count, in microseconds; slower in proportion above.
const PERIOD_US: u64 = 1_000_000;
/// See [`PERIOD_US`].
const CROWD: u64 = 32;
/// Between two ticks while everything that is held is stable, in microseconds: what repairs a tick that got lost (guess).
const QUIET_PERIOD_US: u64 = 10_000_000;
/// No signature of a tick is looked at so soon after the last one of its chain, in microseconds: a fifth of what an honest node
/// keeps to.
const PAUSE_US: u64 = PERIOD_US / 5;

/// When this node ticks, and when it last heard others do.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    /// When the last one was begun.
    begun: Option<Timestamp>,
    /// Whether it is being signed.
    signing: bool,
    /// Up to where everything was covered by the last one.
    covered: Hlc,
    /// By chain: when the last one was believed, and its stamp.
    heard: BTreeMap<ChainId, (Timestamp, Hlc)>,
}

impl Ticks {
    /// Whoever is connected now has heard none: the next one comes soon.
    pub(crate) const fn hurry(&mut self) {
        self.covered = Hlc(0);
    }
}

impl Replication {
    /// When the next tick is due.
    pub(crate) fn tick_wakeup(&self) -> Option<Timestamp> {
        self.own.shown_head().filter(|_| !self.ticks.signing)?;
        let crowd = self.standing.epochs().active().len() as u64;
        let quiet = self.standing.newest() <= self.ticks.covered && !self.votes.open;
        let period_us = if quiet { QUIET_PERIOD_US } else { PERIOD_US }.max(PERIOD_US * crowd / CROWD);
        Some(self.ticks.begun.map_or(Timestamp(0), |begun| begun.after_us(period_us)))
    }

    /// Begins a tick that is due: the node's clock completes it.
    pub(crate) fn tick(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.ticks.begun.is_some_and(|begun| now < begun) {
            self.ticks.begun = Some(now);
        }
        if self.tick_wakeup().is_none_or(|due| now < due) {
            return;
        }
        let (heads, horizon) = self.standing.acknowledgeable(TICK_HEADS_MAX);
        // From here on nothing may be said that contradicts it.
        self.standing.told(&heads);
        self.ticks.begun = Some(now);
        self.ticks.signing = true;
        outputs.push(Output::Tick { heads, horizon });
    }

    /// Our own clock has signed a tick, or cannot now.
    pub(crate) fn on_own_tick(&mut self, signed: Option<SignedTick>, outputs: &mut Vec<Output>) {
        self.ticks.signing = false;
        let Some(signed) = signed else { return };
        let Ok(tick) = signed.peek() else { return };
        self.ticks.covered = tick.horizon.min(tick.hlc);
        if !self.links.is_empty() {
            outputs.push(Output::Gossip(Box::new(HeadGossip::Tick(Box::new(signed)))));
        }
        self.standing.ticked(tick);
        self.advance_tree();
    }

    /// What became stable moves into the stable tree.
    fn advance_tree(&mut self) {
        self.tree.advance(everything_until(self.standing.watermark()));
    }

    /// A tick of another node. Its signature is looked at only if it is news.
    pub(crate) fn on_tick(&mut self, from: NodeId, signed: &SignedTick, now: Timestamp) {
        let Ok(tick) = signed.peek() else {
            self.refused += 1;
            return;
        };
        let chain = tick.last.chain;
        let soon = |(at, hlc): &(Timestamp, Hlc)| *hlc >= tick.hlc || *at <= now && now < at.after_us(PAUSE_US);
        let old = self.ticks.heard.get(&chain).is_some_and(soon);
        let full = self.ticks.heard.len() >= CHAINS_MAX && !self.ticks.heard.contains_key(&chain);
        let ours = tick.cluster != self.cluster || chain.node == self.own.chain.node;
        if old || full || ours || self.quarantined.contains(&chain.node) {
            return;
        }
        let keys = self.member_keys(&chain.node);
        // The newest are the likeliest; one that was signed a moment before a rotation counts as well.
        let signed_by_member = keys.iter().rev().any(|keys| signed.verify(keys).is_ok());
        if !signed_by_member || judge_stamp(tick.hlc, now) == StampVerdict::Refused {
            self.refused += u64::from(!keys.is_empty());
            return;
        }
        self.ticks.heard.insert(chain, (now, tick.hlc));
        self.note_ahead(chain, from, tick.last.commit_no.saturating_add(1));
        self.standing.ticked(tick);
        self.advance_tree();
    }
}
