//! What this node says about who counts: what it wants, what it accepts of others, and when it is its turn.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    ChainId, CommitRef, EpochId, Fact, Head, Hlc, MemberChange, MemberChangeWanted, MemberVerb, NodeId, PlacedFact,
    Timestamp,
};

use crate::event::Output;
use crate::replication::Replication;
use crate::standing::{Policy, Standing, Step};

/// How long a ballot may stand still before the node that comes first among those connected begins another, the next one after
/// twice that, and so on, in microseconds (guess: some tens of round trips and syncs).
const PATIENCE_US: u64 = 3_000_000;
/// After how long a vote that is neither on our chain nor refused is given again, in microseconds (guess).
const VOTE_LOST_US: u64 = 10_000_000;
/// How long after an epoch began admissions alone begin no other, for each member that counts, in microseconds. An epoch costs each
/// of them two commits, which each other one verifies and stores in about 1.5 ms a commit (measured with 20 nodes on 2 cores): so
/// a crowd that joins takes no more than a sixtieth of their time, and shares a few epochs.
const ADMISSIONS_APART_US: u64 = 200_000;

/// What an operator wants a node to be.
#[derive(Debug, Clone, Copy)]
struct Wish {
    verb: MemberVerb,
    /// When it was said, of one that an earlier run recorded: whatever was decided about the node since then has answered it.
    recorded: Option<Hlc>,
}

/// How far the decision about this epoch has come here.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    /// What operators want, by node.
    wanted: BTreeMap<NodeId, Wish>,
    /// Since when a vote of ours is on its way to our chain.
    given: Option<Timestamp>,
    /// What was said about this epoch when something last moved, and when.
    moved: Option<(EpochId, u64, Timestamp)>,
    /// Whether something is to be decided.
    pub(crate) open: bool,
    /// When that is looked at again, if nothing happens before.
    next: Option<Timestamp>,
    /// Whether something changed that may call for a vote.
    pub(crate) look: bool,
    /// What the kernel was last told not to vouch for.
    withheld: BTreeMap<ChainId, u64>,
    /// The epoch that the world was last told of, and when.
    told: Option<(EpochId, Timestamp)>,
}

impl Votes {
    /// What was wanted on the own chains, in the order of these facts, and may not be so yet.
    pub(crate) fn recovered<'a>(own: impl IntoIterator<Item = &'a PlacedFact>) -> Self {
        let wish = |placed: &PlacedFact| match &placed.fact {
            Fact::MemberChangeWanted(wanted) => {
                Some((wanted.node, Wish { verb: wanted.verb, recorded: Some(placed.hlc) }))
            }
            _ => None,
        };
        let wanted: BTreeMap<_, _> = own.into_iter().filter_map(wish).collect();
        Self { look: !wanted.is_empty(), wanted, ..Self::default() }
    }
}

/// What this node goes by.
struct Going<'a> {
    replication: &'a Replication,
    leads: bool,
    impatient: bool,
}

impl Policy for Going<'_> {
    fn wishes(&self) -> Vec<MemberChange> {
        let node = self.replication;
        let asked = node.votes.wanted.iter().filter_map(|(of, wish)| node.asked_change(*of, wish.verb));
        let certified = node.members.keys().chain([&node.own.chain.node]);
        let due = certified.filter(|of| !node.votes.wanted.contains_key(*of)).filter_map(|of| node.due_change(*of));
        asked.chain(due).collect()
    }

    fn accepts(&self, by: ChainId, change: &MemberChange) -> bool {
        let node = self.replication;
        let of = change.node();
        let by_admin = node.admins.contains(&by.node);
        let welcome = node.is_certified(of) && (by_admin || !node.quarantined.contains(&of));
        match change {
            MemberChange::Admit(chain) | MemberChange::Readmit(_, chain) => {
                welcome && node.standing.counted(chain).is_some()
            }
            MemberChange::Suspend(_) | MemberChange::Evict(_) | MemberChange::Resume(_) => by_admin,
        }
    }

    fn leads(&self) -> bool {
        self.leads
    }

    fn is_impatient(&self) -> bool {
        self.impatient
    }
}

impl Replication {
    fn is_certified(&self, node: NodeId) -> bool {
        node == self.own.chain.node || self.members.contains_key(&node)
    }

    /// What an operator wants, as a change that is possible now.
    fn asked_change(&self, node: NodeId, verb: MemberVerb) -> Option<MemberChange> {
        let standing = &self.standing;
        let active = standing.active_of(node);
        let newest = standing.newest_of(node)?;
        let last = |chain: ChainId| standing.counted(&chain);
        match verb {
            MemberVerb::Suspend => active.and_then(last).map(MemberChange::Suspend),
            MemberVerb::Evict => last(active.unwrap_or(newest)).map(MemberChange::Evict),
            MemberVerb::Resume => {
                let spans = standing.epochs().spans();
                let known = spans.iter().filter(|(chain, _)| chain.node == node);
                let latest = known.max_by_key(|(_, spans)| spans.iter().map(|span| span.opening).max());
                latest.filter(|_| active.is_none()).map(|(chain, _)| MemberChange::Resume(*chain))
            }
            MemberVerb::Readmit => match active {
                Some(active) if active == newest => None,
                Some(active) => Some(MemberChange::Readmit(last(active)?, newest)),
                None => Some(MemberChange::Admit(newest)),
            },
        }
    }

    /// What becomes of a certified member by itself: it counts, with its newest chain, unless it was suspended or cut off.
    fn due_change(&self, node: NodeId) -> Option<MemberChange> {
        let standing = &self.standing;
        if self.quarantined.contains(&node) || standing.epochs().is_evicted(node) {
            return None;
        }
        let newest = standing.newest_of(node)?;
        standing.counted(&newest)?;
        match standing.active_of(node) {
            Some(active) if active == newest => None,
            Some(active) => Some(MemberChange::Readmit(standing.counted(&active)?, newest)),
            None => {
                let was_counted = standing.epochs().spans().keys().any(|chain| chain.node == node);
                (!was_counted).then_some(MemberChange::Admit(newest))
            }
        }
    }

    /// How many of those who count, and are connected, come before this node; none when it does not count.
    fn rank(&self) -> Option<u64> {
        let own = self.own.chain;
        let active = self.standing.epochs().active();
        active.contains_key(&own).then(|| {
            let before = active.keys().filter(|chain| chain.node < own.node && self.links.contains_key(&chain.node));
            before.count() as u64
        })
    }

    /// An operator wants a change of who counts.
    pub(crate) fn on_change_wanted(&mut self, wanted: &MemberChangeWanted) {
        self.votes.wanted.insert(wanted.node, Wish { verb: wanted.verb, recorded: None });
        self.votes.look = true;
    }

    /// A vote of ours may not go onto our chain now.
    pub(crate) const fn on_vote_refused(&mut self) {
        self.votes.given = None;
        self.votes.open = true;
    }

    /// Whether too few count to agree on this change without whom it ends.
    #[must_use]
    pub fn is_deadlocked(&self, node: NodeId, verb: MemberVerb) -> bool {
        let ends = match verb {
            MemberVerb::Suspend | MemberVerb::Evict => true,
            MemberVerb::Readmit => self.standing.newest_of(node) != self.standing.active_of(node),
            MemberVerb::Resume => false,
        };
        ends && self.standing.epochs().active().len() <= 2 && self.standing.active_of(node).is_some()
    }

    /// Whether a member is what an operator wanted it to be.
    #[must_use]
    pub fn is_decided(&self, node: NodeId, verb: MemberVerb) -> bool {
        is_so(&self.standing, node, verb)
    }

    /// Who counts and has endorsed nothing that is proposed in this epoch.
    #[must_use]
    pub fn waits_to_decide(&self) -> BTreeSet<NodeId> {
        let epochs = self.standing.epochs();
        epochs.active().keys().filter(|chain| !epochs.has_endorsed(**chain)).map(|chain| chain.node).collect()
    }

    /// When this node must look at an undecided epoch again.
    pub(crate) fn vote_wakeup(&self) -> Option<Timestamp> {
        self.votes.next.filter(|_| self.votes.open)
    }

    /// Says what is to be said, one word at a time.
    pub(crate) fn vote(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let due = self.vote_wakeup().is_some_and(|due| due <= now);
        if !std::mem::take(&mut self.votes.look) && !due {
            return;
        }
        self.note_movement(now);
        self.tell_epoch(now, outputs);
        let Some(rank) = self.rank().filter(|_| self.own.shown_head().is_some()) else {
            // Who does not count has nothing to say, and nothing to wake up for.
            self.votes.open = false;
            return;
        };
        let patience_us = PATIENCE_US.saturating_mul(1 + rank);
        self.votes.next = Some(now.after_us(patience_us));
        if self.votes.given.is_some_and(|since| since <= now && now < since.after_us(VOTE_LOST_US)) {
            return;
        }
        let since = self.votes.moved.map_or(now, |(_, _, since)| since);
        let impatient = now >= since.after_us(patience_us);
        // What an operator wants nobody else knows of.
        let leads = rank == 0 || !self.votes.wanted.is_empty();
        let mut going = Going { replication: self, leads, impatient };
        let wishes = going.wishes();
        let gathers_until =
            self.gathers_until(now).filter(|_| self.votes.wanted.is_empty() && wishes.iter().all(is_admission));
        going.leads &= gathers_until.is_none();
        let vote = self.standing.duty(&going);
        self.votes.open = self.standing.epochs().proposals().next().is_some() || !wishes.is_empty();
        if let Some(until) = gathers_until.filter(|_| leads) {
            self.votes.next = self.votes.next.map(|next| next.min(until));
        }
        let Some(vote) = vote else { return self.withhold(BTreeMap::new(), outputs) };
        self.votes.given = Some(now);
        self.withhold(vote.ends.into_iter().collect(), outputs);
        outputs.push(Output::Vote(Box::new(vote.fact)));
    }

    /// Tells the kernel beyond which commits it must not vouch, these among them.
    fn withhold(&mut self, more: BTreeMap<ChainId, u64>, outputs: &mut Vec<Output>) {
        let mut ends = self.standing.withheld();
        for (chain, commit_no) in more {
            let end = ends.entry(chain).or_insert(commit_no);
            *end = commit_no.min(*end);
        }
        if ends != self.votes.withheld {
            self.votes.withheld.clone_from(&ends);
            outputs.push(Output::Withhold { ends });
        }
    }

    fn note_movement(&mut self, now: Timestamp) {
        let epochs = self.standing.epochs();
        let said = (epochs.now(), self.standing.revision());
        if self.votes.moved.is_none_or(|(epoch, count, since)| (epoch, count) != said || now < since) {
            self.votes.moved = Some((said.0, said.1, now));
        }
    }

    /// Until when admissions alone begin no epoch, so that more of them share the next one.
    fn gathers_until(&self, now: Timestamp) -> Option<Timestamp> {
        let (_, began) = self.votes.told.filter(|(_, began)| *began <= now)?;
        let count = self.standing.epochs().active().len() as u64;
        Some(began.after_us(ADMISSIONS_APART_US.saturating_mul(count))).filter(|until| now < *until)
    }

    /// The world hears of each new epoch, and what was wanted and is so now is forgotten.
    fn tell_epoch(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let epoch = self.standing.epoch();
        if self.votes.told.is_some_and(|(told, _)| told == epoch) {
            return;
        }
        self.votes.told = Some((epoch, now));
        let standing = &self.standing;
        self.votes.wanted.retain(|node, wish| {
            let answered = wish.recorded.is_some_and(|hlc| standing.epochs().is_changed_since(*node, hlc));
            !answered && !is_so(standing, *node, wish.verb)
        });
        let epochs = standing.epochs();
        let counting = epochs.active().keys().copied().collect();
        outputs.push(Output::EpochBegan { counting, evicted: epochs.evicted().clone() });
    }

    /// What is on our own disk of a chain counts for who counts and for the order.
    pub(crate) fn stand(&mut self, head: &Head, stamps: [Hlc; 2], anchors: Vec<(ChainId, u64)>, facts: &[PlacedFact]) {
        if head.chain == self.own.chain && facts.iter().any(|placed| placed.fact.is_of_epoch()) {
            self.votes.given = None;
        }
        let before = self.standing.revision();
        self.standing.stored(step_of(head, stamps, anchors, facts));
        self.votes.look |= self.standing.revision() != before;
    }
}

/// Whether nobody waits for this change: a newcomer is served and heard before it counts.
const fn is_admission(change: &MemberChange) -> bool {
    match change {
        MemberChange::Admit(_) => true,
        MemberChange::Suspend(_) | MemberChange::Evict(_) | MemberChange::Resume(_) | MemberChange::Readmit(..) => {
            false
        }
    }
}

/// Whether a member is what an operator wanted it to be.
fn is_so(standing: &Standing, node: NodeId, verb: MemberVerb) -> bool {
    let active = standing.active_of(node);
    match verb {
        MemberVerb::Suspend => active.is_none(),
        MemberVerb::Evict => standing.epochs().is_evicted(node),
        MemberVerb::Resume => active.is_some(),
        MemberVerb::Readmit => active.is_some() && active == standing.newest_of(node),
    }
}

/// A stretch of a chain, with all that must be held before it counts.
pub(crate) fn step_of(
    head: &Head,
    [first, hlc]: [Hlc; 2],
    mut anchors: Vec<(ChainId, u64)>,
    facts: &[PlacedFact],
) -> Step {
    let mut kept = Vec::new();
    for placed in facts {
        match &placed.fact {
            Fact::Genesis(_) | Fact::EpochAsked(_) | Fact::EpochPromised(_) => {}
            Fact::TailReturned(returned) => anchors.push((returned.head.chain, returned.head.commit_no)),
            Fact::EpochProposed(proposed) => {
                anchors.extend(&proposed.heads);
                let ends = proposed.changes.iter().filter_map(MemberChange::closes);
                anchors.extend(ends.map(|last| (last.chain, last.commit_no)));
            }
            Fact::EpochEndorsed(endorsed) => anchors.extend(&endorsed.heads),
            _ => continue,
        }
        kept.push(placed.clone());
    }
    let last = CommitRef { chain: head.chain, commit_no: head.commit_no, commit_hash: head.commit_hash };
    Step { last, first, hlc, anchors, facts: kept }
}
