//! How an honest member of the model behaves: what it writes, acknowledges, endorses and grants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fold::Fold;
use super::rules::Rules;
use super::view::{Ballot, Chain, Change, Commit, Head, Record, Tick, View};

/// One member and what it holds.
#[derive(Debug, Clone)]
pub struct Member {
    /// The chain it writes.
    pub chain: Chain,
    /// What it holds.
    pub view: View,
    /// What it goes by.
    pub rules: Rules,
    /// Its last commit.
    pub last: Option<Head>,
    /// The largest stamp it used or saw.
    pub clock: u64,
}

impl Member {
    /// A member with the first event of its chain.
    #[must_use]
    pub fn new(chain: Chain, view: View, rules: Rules, previous: Option<Head>) -> Self {
        let clock = view.commits.keys().map(|(hlc, _)| *hlc).max().unwrap_or(0);
        let mut member = Self { chain, view, rules, last: None, clock };
        member.append(Record::Genesis { previous }, previous.into_iter().collect());
        member
    }

    /// What its view means.
    #[must_use]
    pub fn fold(&self) -> Fold<'_> {
        Fold::new(&self.view, self.rules)
    }

    /// The wall clock stands here.
    pub fn see(&mut self, clock: u64) {
        self.clock = self.clock.max(clock);
    }

    /// Takes in all that another holds.
    pub fn hear(&mut self, other: &View) {
        self.view.merge(other);
        self.see(other.commits.keys().map(|(hlc, _)| *hlc).max().unwrap_or(0));
    }

    /// Writes a commit that anchors exactly these heads.
    pub fn append(&mut self, record: Record, anchors: BTreeSet<Head>) -> Head {
        self.clock += 1;
        let (commit_no, prev) = self.last.map_or((0, 0), |last| (last.commit_no + 1, last.hash));
        let commit = Commit { chain: self.chain, commit_no, prev, hlc: self.clock, anchors, record };
        let head = commit.head();
        self.view.add(commit);
        self.last = Some(head);
        head
    }

    /// Writes a commit that acknowledges all it may.
    pub fn write(&mut self, record: Record) -> Head {
        let about = if let Record::Change { change, .. } = record { Some(change) } else { None };
        let anchors = self.acknowledgeable(&self.fold(), about);
        self.append(record, anchors)
    }

    /// The changes it endorsed in this epoch, while that is not decided.
    fn endorsed(&self, fold: &Fold<'_>) -> Vec<Change> {
        let all = fold.endorsements();
        let mine = |hash: u64| all.iter().any(|((_, change), by)| *change == hash && by.contains(&self.chain));
        fold.undecided.iter().filter(|(hash, ..)| mine(*hash)).map(|(_, _, change)| *change).collect()
    }

    /// The last head of each chain that it may acknowledge: on the branch it acknowledged before, and of a chain whose end it
    /// endorses, or is about to, not beyond that end.
    fn acknowledgeable(&self, fold: &Fold<'_>, about: Option<Change>) -> BTreeSet<Head> {
        let endorsed: Vec<Change> = self.endorsed(fold).into_iter().chain(about).collect();
        let ends = endorsed.iter().filter_map(|change| change.closes()).filter(|_| self.rules.endorsers_withhold);
        let ends: BTreeMap<Chain, Head> = ends.map(|head| (head.chain, head)).collect();
        let last = |(chain, path): (&Chain, &Vec<u64>)| {
            let end = ends.get(chain).map_or(u32::MAX, |head| head.commit_no);
            let head = path.iter().rfind(|hash| fold.linked[*hash].commit_no <= end)?;
            let head = Head { chain: *chain, commit_no: fold.linked[head].commit_no, hash: *head };
            self.extends_acknowledged(fold, head).then_some(head)
        };
        fold.paths.iter().filter(|(chain, _)| chain.node != self.chain.node).filter_map(last).collect()
    }

    /// Whether everything of a chain that it acknowledged is at or below this head.
    fn extends_acknowledged(&self, fold: &Fold<'_>, head: Head) -> bool {
        let mut theirs = fold.linked.iter().filter(|(_, commit)| commit.chain == head.chain);
        theirs.all(|(hash, commit)| !fold.acknowledges(self.chain, *hash) || fold.descends(head.hash, commit))
    }

    /// Says that it will write nothing up to now, and what it holds.
    pub fn tick(&mut self) {
        let fold = self.fold();
        let heads = self.acknowledgeable(&fold, None);
        let hlc = self.clock + 1;
        let named = |commit: &Commit| {
            let covers = |head: &Head| head.chain == commit.chain && head.commit_no >= commit.commit_no;
            commit.chain.node == self.chain.node || heads.iter().any(covers)
        };
        let missed =
            fold.order.iter().filter(|placed| placed.acknowledged_as.is_some_and(|hash| !named(fold.linked[&hash])));
        let missed = missed.map(|placed| placed.place[0].0 - 1);
        let horizon = missed.chain([fold.heard_if(self.chain, hlc)]).min().unwrap_or(0);
        let Some(head) = self.last else { return };
        self.clock = hlc;
        self.view.ticks.insert(Arc::new(Tick { head, hlc, horizon, heads }));
    }

    /// The highest ballot of this epoch that it asked for, promised or endorsed in.
    fn pledged(&self, fold: &Fold<'_>) -> Option<Ballot> {
        let now = fold.now().begun_by;
        let candidate = |change: u64| fold.undecided.iter().any(|(hash, ..)| *hash == change);
        let mine = fold.linked.values().filter(|commit| commit.chain == self.chain);
        let ballots = mine.filter_map(|commit| match commit.record {
            Record::Ask { epoch, ballot }
            | Record::Promise { epoch, ballot }
            | Record::Change { epoch, ballot, .. } => (epoch == now).then_some(ballot),
            Record::Endorse { change, ballot } => candidate(change).then_some(ballot),
            _ => None,
        });
        ballots.max()
    }

    fn counts(&self, fold: &Fold<'_>) -> bool {
        fold.active().any(|chain| chain == self.chain)
    }

    /// Begins a ballot above all it knows of. True when it did.
    pub fn ask(&mut self) -> bool {
        let fold = self.fold();
        if !self.counts(&fold) {
            return false;
        }
        let number = fold.ballots().map(|ballot| ballot.number + 1).max().unwrap_or(0);
        let epoch = fold.now().begun_by;
        self.write(Record::Ask { epoch, ballot: Ballot { number, chain: self.chain } });
        true
    }

    /// Promises the highest ballot it knows of, unless it has. True when it did.
    pub fn promise(&mut self) -> bool {
        let fold = self.fold();
        let highest = fold.ballots().max().filter(|ballot| Some(*ballot) > self.pledged(&fold));
        let Some(ballot) = highest.filter(|_| self.counts(&fold)) else { return false };
        let epoch = fold.now().begun_by;
        self.write(Record::Promise { epoch, ballot });
        true
    }

    /// Its own ballot, when that was promised, not overruled, and nothing was proposed in it yet.
    fn led(&self, fold: &Fold<'_>) -> Option<Ballot> {
        let ballot = fold.ballots().filter(|ballot| ballot.chain == self.chain).max()?;
        let overruled = self.rules.promises_kept && self.pledged(fold) > Some(ballot);
        let spent = fold.endorsements().iter().any(|((of, _), by)| *of == ballot && by.contains(&self.chain));
        (self.counts(fold) && fold.carried(ballot) && !overruled && !spent).then_some(ballot)
    }

    /// Whether it may propose.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.led(&self.fold()).is_some()
    }

    /// Proposes in its own ballot, if it may: this change, or what it is bound to. True when it did.
    pub fn propose(&mut self, change: Change) -> bool {
        let fold = self.fold();
        let Some(ballot) = self.led(&fold) else { return false };
        match fold.bound(ballot).filter(|_| self.rules.ballots_bind) {
            Some(bound) => self.endorse_in(ballot, bound),
            None => {
                let epoch = fold.now().begun_by;
                let fits = self.may_end(&fold, change);
                fits && {
                    self.write(Record::Change { epoch, ballot, change });
                    true
                }
            }
        }
    }

    /// Whether it acknowledged nothing beyond the end that a change makes of a chain, and that is not its own.
    fn may_end(&self, fold: &Fold<'_>, change: Change) -> bool {
        let Some(head) = change.closes() else { return true };
        let kept = fold.paths.get(&head.chain).is_some_and(|path| path.contains(&head.hash));
        let no_more = self.extends_acknowledged(fold, head) || !self.rules.endorsers_withhold;
        head.chain != self.chain && kept && no_more
    }

    /// The head at which it would end a chain: the last that it acknowledges.
    #[must_use]
    pub fn known_head(&self, chain: Chain) -> Option<Head> {
        self.acknowledgeable(&self.fold(), None).into_iter().find(|head| head.chain == chain)
    }

    /// Endorses what is proposed in the highest ballot, if it may. True when it did.
    pub fn endorse(&mut self) -> bool {
        let fold = self.fold();
        let pledged = self.pledged(&fold).filter(|_| self.rules.promises_kept);
        let open = fold.ballots().filter(|ballot| Some(*ballot) >= pledged).collect::<BTreeSet<Ballot>>();
        let all = fold.endorsements();
        let done = |of: &(Ballot, u64)| all.get(of).is_some_and(|by| by.contains(&self.chain));
        let proposed = open.into_iter().rev().filter_map(|ballot| Some((ballot, fold.proposed(ballot)?)));
        let proposed = proposed.into_iter().find(|of| !done(of));
        let Some((ballot, change)) = proposed.filter(|_| self.counts(&fold)) else { return false };
        self.endorse_in(ballot, change)
    }

    fn endorse_in(&mut self, ballot: Ballot, hash: u64) -> bool {
        let fold = self.fold();
        let Some((_, _, change)) = fold.undecided.iter().find(|(candidate, ..)| *candidate == hash).copied() else {
            return false;
        };
        if !self.may_end(&fold, change) {
            return false;
        }
        let mut anchors = self.acknowledgeable(&fold, Some(change));
        if !self.rules.endorsements_name_heads {
            anchors.clear();
        }
        let proposed = fold.linked[&hash];
        if proposed.chain.node != self.chain.node {
            anchors.retain(|head| head.chain != proposed.chain);
            anchors.extend(self.known_head(proposed.chain).filter(|head| fold.descends(head.hash, proposed)));
        }
        self.append(Record::Endorse { change: hash, ballot }, anchors);
        true
    }

    /// Grants a fence to a holder if it may. True when it did.
    pub fn claim(&mut self, agent: u8, fence: u8, holder: u8) -> bool {
        let fold = self.fold();
        let now = fold.now().begun_by;
        let claims = fold.linked.values().filter_map(|commit| match commit.record {
            Record::Claim { agent: of, fence: number, epoch, .. } if (of, number) == (agent, fence) => {
                Some((commit.chain, epoch))
            }
            _ => None,
        });
        let within = self.rules.claims_within_epoch;
        let taken = claims.clone().any(|(chain, epoch)| chain == self.chain || within && epoch != now);
        let ended = within && !self.endorsed(&fold).is_empty();
        if taken || ended || !fold.active().any(|chain| chain == self.chain) {
            return false;
        }
        self.write(Record::Claim { agent, fence, holder, epoch: now });
        true
    }

    /// Goes on after its home came back from an old copy: a new incarnation that names the last head it knows.
    #[must_use]
    pub fn restored(&self, incarnation: u8) -> Self {
        Self::new(Chain { node: self.chain.node, incarnation }, self.view.clone(), self.rules, self.last)
    }
}
