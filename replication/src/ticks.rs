//! Ticks: how a node that writes nothing lets time pass for everybody, and what it hears of that from others.

use std::collections::BTreeMap;

use weft_protocol::limits::TICK_HEADS_MAX;
use weft_protocol::{
    ChainId, Evidence, HeadGossip, Hlc, NodeId, SignedTick, SignedTickClaim, StampVerdict, Statement, StatementBody,
    TickClaim, Timestamp, judge_stamp,
};

use crate::config::CHAINS_MAX;
use crate::copy::ChainCopy;
use crate::event::Output;
use crate::fork::{ForkVerdict, weigh_evidence};
use crate::replication::{Replication, everything_until};
use crate::verify::Verdict;

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
    /// By chain: what was believed. Invariant: at most [`CHAINS_MAX`] chains.
    heard: BTreeMap<ChainId, Heard>,
}

/// What was believed of one chain.
#[derive(Debug)]
struct Heard {
    /// When the last one was believed.
    at: Timestamp,
    last: Claim,
    /// An earlier one of an earlier commit: what follows that commit is not here yet, and the last one does not speak of it.
    open: Option<Claim>,
}

/// What a believed tick says of its writer's own chain.
#[derive(Debug, Clone)]
struct Claim {
    says: TickClaim,
    signed: SignedTickClaim,
    /// Who passed it on.
    from: NodeId,
    /// Whether what follows its commit is here and was compared with it: then nothing of that history can break it any more.
    kept: bool,
}

impl Claim {
    /// The number of the first commit of which it says something.
    const fn next(&self) -> u64 {
        self.says.last.commit_no.saturating_add(1)
    }

    /// Whether the two name one number and two commits.
    fn names_another(&self, other: &TickClaim) -> bool {
        let (ours, theirs) = (&self.says.last, &other.last);
        ours.commit_no == theirs.commit_no && ours.commit_hash != theirs.commit_hash
    }
}

impl Heard {
    /// Takes a later tick. Of two that nothing was compared with yet the earlier one stays beside the last: further ones between
    /// them are let go.
    fn take(&mut self, at: Timestamp, claim: Claim) {
        self.at = at;
        let before = std::mem::replace(&mut self.last, claim);
        if self.open.as_ref().is_none_or(|open| open.kept) {
            let open = !before.kept && before.next() < self.last.next();
            self.open = open.then_some(before);
        }
    }

    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.open.iter().chain([&self.last])
    }

    fn claims_mut(&mut self) -> impl Iterator<Item = &mut Claim> {
        self.open.iter_mut().chain([&mut self.last])
    }
}

impl Ticks {
    fn claims_of(&self, chain: &ChainId) -> impl Iterator<Item = &Claim> + use<'_> {
        self.heard.get(chain).into_iter().flat_map(Heard::claims)
    }

    /// What the last tick that was believed of this chain says of it.
    pub(crate) fn last_of(&self, chain: &ChainId) -> Option<&SignedTickClaim> {
        self.heard.get(chain).map(|heard| &heard.last.signed)
    }

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

    /// A tick of another node. Its signature is looked at only if it is news, or contradicts what its node said before.
    pub(crate) fn on_tick(&mut self, from: NodeId, signed: &SignedTick, now: Timestamp, outputs: &mut Vec<Output>) {
        let Ok(tick) = signed.peek() else {
            self.refused += 1;
            return;
        };
        let chain = tick.last.chain;
        let says = tick.claim();
        let other = self.ticks.claims_of(&chain).find(|claim| claim.names_another(&says)).cloned();
        let other = other.filter(|_| !self.forks.contains(&chain));
        let soon =
            |heard: &Heard| heard.last.says.hlc >= tick.hlc || heard.at <= now && now < heard.at.after_us(PAUSE_US);
        let old = other.is_none() && self.ticks.heard.get(&chain).is_some_and(soon);
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
        let claim = Claim { says, signed: signed.claim(&tick), from, kept: false };
        if let Some(other) = other {
            return self.convict_by_tick(chain, claim, other.signed.into(), outputs);
        }
        match self.ticks.heard.get_mut(&chain) {
            Some(heard) => heard.take(now, claim),
            None => _ = self.ticks.heard.insert(chain, Heard { at: now, last: claim, open: None }),
        }
        self.note_ahead(chain, from, tick.last.commit_no.saturating_add(1));
        self.standing.ticked(tick);
        self.advance_tree();
        self.compare_ticks(chain, outputs);
    }

    /// Has read what is on disk of this chain and was not compared with its ticks yet: the commit that follows a tick's, which names
    /// its predecessor; or, of the last commit, that one when the tick names another.
    pub(crate) fn compare_ticks(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        // Where a chain is cut already, nothing is left to find.
        let parted = self.forks.get(&chain).is_some_and(|proof| proof.verdict.shared_commits().is_some());
        let Some(state) = self.copies.get(&chain).map(ChainCopy::durable).filter(|_| !parted) else { return };
        let (commits, last) = (state.commits(), state.last_commit());
        let due = |claim: &&Claim| {
            let follows = claim.next() < commits;
            let differs = claim.next() == commits && claim.says.last.commit_hash != last;
            !claim.kept && (follows || differs) && !self.suspicions.contains_key(&(chain, claim.signed.hash()))
        };
        let claims: Vec<Claim> = self.ticks.claims_of(&chain).filter(due).cloned().collect();
        for claim in claims {
            let commit_no = claim.next().min(commits - 1);
            self.suspect(chain, commit_no, claim.from, claim.signed.into(), outputs);
        }
    }

    /// A stored commit of this chain fits to this tick.
    pub(crate) fn keeps_tick(&mut self, chain: &ChainId, tick: &SignedTickClaim, commit_no: u64) {
        let heard = self.ticks.heard.get_mut(chain);
        let claims = heard.into_iter().flat_map(Heard::claims_mut);
        claims.filter(|claim| claim.signed == *tick && claim.next() == commit_no).for_each(|claim| claim.kept = true);
    }

    /// Whether one of the good commits of this verdict breaks a tick that was believed: with what proves it, and who passed the
    /// tick on. Both are verified.
    pub(crate) fn broken_tick(&mut self, verdict: &Verdict) -> Option<(ForkVerdict, Evidence)> {
        let chain = verdict.chain();
        let begun = verdict.state().commits() - verdict.good() as u64;
        let groups = verdict.groups();
        let heard = self.ticks.heard.get_mut(&chain)?;
        let mut found = None;
        for claim in heard.claims_mut().filter(|claim| !claim.kept) {
            for commit_no in [claim.says.last.commit_no, claim.next()] {
                let place = commit_no.checked_sub(begun).and_then(|place| usize::try_from(place).ok());
                let Some(group) = place.and_then(|place| groups.get(place)) else { continue };
                let (first, second) = (Statement::Tick(claim.signed.clone()), Statement::Commit(group.signed.clone()));
                let evidence = Evidence { first, second, rotations: Vec::new() };
                let weighed = weigh_evidence(&evidence, |statement| match statement {
                    Statement::Tick(_) => Ok(StatementBody::Tick(claim.says)),
                    Statement::Commit(_) => Ok(statement.decode()?),
                });
                match weighed {
                    Ok(verdict) => found = found.or(Some((verdict, evidence))),
                    Err(_) => claim.kept |= commit_no == claim.next(),
                }
            }
        }
        found
    }

    /// A tick contradicts another signed word of its writer.
    fn convict_by_tick(&mut self, chain: ChainId, tick: Claim, other: Statement, outputs: &mut Vec<Output>) {
        let from = tick.from;
        let evidence = self.with_rotations(&chain, tick.signed.into(), other);
        self.convict(chain, evidence, from, None, outputs);
    }
}
