//! The reference model: what a view means, computed from scratch each time, with nothing remembered and nothing clever.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Acknowledged, Rules};
use super::view::{Ballot, Chain, Change, Commit, Head, Key, Record, Tick, View};

/// A stretch of time in which the same chains count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Hash of the record that began it; 0 for the first.
    pub begun_by: u64,
    /// The chains that count, each with the place of the record that let it count.
    pub active: BTreeMap<Chain, Key>,
}

impl Epoch {
    /// Who counts besides the writer of this commit, and did so before its stamp: what was said to others before does not bind
    /// whoever came later.
    fn others(&self, commit: &Commit) -> impl Iterator<Item = Chain> {
        let (node, key) = (commit.chain.node, commit.key());
        let counted = move |(chain, opening): &(&Chain, &Key)| chain.node != node && **opening < key;
        self.active.iter().filter(counted).map(|(chain, _)| *chain)
    }
}

/// One event in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Its own key, or the key of the event that it follows directly and then its own.
    pub place: Vec<Key>,
    /// Which.
    pub hash: u64,
    /// Whose acknowledgement stands for its own; none when a change decided that it stays.
    pub acknowledged_as: Option<u64>,
}

/// What a view means.
#[derive(Debug)]
pub struct Fold<'a> {
    rules: Rules,
    /// Commits that stand on a chain, with all they build on held.
    pub linked: BTreeMap<u64, &'a Commit>,
    /// In order of their stamps.
    sorted: Vec<(u64, &'a Commit)>,
    ticks: Vec<&'a Tick>,
    /// By chain: up to where it was heard.
    heard: BTreeMap<Chain, u64>,
    /// By chain: up to where it said that nothing is missing there.
    horizons: BTreeMap<Chain, u64>,
    /// By commit: the chains that acknowledged it, in signed words.
    acknowledged: BTreeMap<u64, BTreeSet<Chain>>,
    /// By chain: where it is cut when nobody acknowledged more: at the lowest fork or broken tick.
    pub broken: BTreeMap<Chain, u32>,
    /// By chain: the stretches that count, from the record that opened each to its last head.
    spans: BTreeMap<Chain, Vec<(Key, Option<Head>)>>,
    evicted: BTreeSet<u8>,
    /// All epochs, the last one being now.
    pub epochs: Vec<Epoch>,
    /// By chain: what of it is in the order or waits for it.
    pub paths: BTreeMap<Chain, Vec<u64>>,
    /// Changes proposed for the end of the last epoch.
    pub undecided: Vec<(u64, Key, Change)>,
    /// Of each chain with two histories that counts, the first commits left out that may still be taken in, by stamp.
    pub left_out: BTreeMap<Chain, u64>,
    /// All placed events, in order.
    pub order: Vec<Placed>,
    /// Events of chains that do not count, which wait behind the order.
    pub waiting: Vec<u64>,
}

impl<'a> Fold<'a> {
    /// The meaning of `view` under `rules`.
    #[must_use]
    pub fn new(view: &'a View, rules: Rules) -> Self {
        let mut fold = Self {
            rules,
            linked: BTreeMap::new(),
            sorted: Vec::new(),
            ticks: Vec::new(),
            heard: BTreeMap::new(),
            horizons: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            broken: BTreeMap::new(),
            spans: BTreeMap::new(),
            evicted: BTreeSet::new(),
            epochs: Vec::new(),
            paths: BTreeMap::new(),
            undecided: Vec::new(),
            left_out: BTreeMap::new(),
            order: Vec::new(),
            waiting: Vec::new(),
        };
        fold.link(view);
        fold.acknowledge();
        fold.find_forks(view);
        fold.find_epochs(view);
        fold.follow_paths();
        fold.find_undecided();
        fold.find_left_out();
        fold.place();
        fold
    }

    /// A commit counts when it extends its chain in number and time, and everything it anchors is held and earlier.
    fn link(&mut self, view: &'a View) {
        for ((hlc, hash), commit) in &view.commits {
            let earlier =
                |head: &Head| self.linked.get(&head.hash).is_some_and(|other| names(head, other) && other.hlc < *hlc);
            let before = self.linked.get(&commit.prev);
            let extends = before.is_some_and(|before| {
                before.chain == commit.chain && before.commit_no + 1 == commit.commit_no && before.hlc < *hlc
            });
            if (extends || commit.commit_no == 0 && commit.prev == 0) && commit.anchors.iter().all(earlier) {
                self.linked.insert(*hash, commit);
                self.sorted.push((*hash, commit));
            }
        }
        let held = |head: &Head| self.linked.get(&head.hash).is_some_and(|commit| names(head, commit));
        let counts = |tick: &&Tick| held(&tick.head) && tick.heads.iter().all(held);
        self.ticks = view.ticks.iter().map(|tick| &**tick).filter(counts).collect();
        let commits = self.sorted.iter().map(|(_, commit)| (commit.chain, commit.hlc, 0));
        let ticks = self.ticks.iter().map(|tick| (tick.head.chain, tick.hlc, tick.horizon));
        for (chain, heard, horizon) in commits.chain(ticks) {
            let largest = self.heard.entry(chain).or_default();
            *largest = heard.max(*largest);
            let largest = self.horizons.entry(chain).or_default();
            *largest = horizon.max(*largest);
        }
    }

    fn acknowledge(&mut self) {
        let anchors = self.sorted.iter().flat_map(|(_, commit)| commit.anchors.iter().map(|head| (commit.chain, head)));
        let heads = self.ticks.iter().flat_map(|tick| tick.heads.iter().map(|head| (tick.head.chain, head)));
        for (chain, head) in anchors.chain(heads) {
            let mut next = head.hash;
            while let Some(commit) = self.linked.get(&next) {
                if !self.acknowledged.entry(next).or_default().insert(chain) {
                    break;
                }
                next = commit.prev;
            }
        }
    }

    /// The lowest sibling pair, or commit that breaks a tick, of each chain.
    fn find_forks(&mut self, view: &View) {
        let mut silent: BTreeMap<(Chain, u64), u64> = BTreeMap::new();
        for tick in &view.ticks {
            let until = silent.entry((tick.head.chain, tick.head.hash)).or_default();
            *until = tick.hlc.max(*until);
        }
        let mut siblings: BTreeSet<(Chain, u64)> = BTreeSet::new();
        for (_, commit) in &self.sorted {
            let place = (commit.chain, commit.prev);
            let breaks = silent.get(&place).is_some_and(|until| commit.hlc <= *until);
            if !siblings.insert(place) || breaks {
                let lowest = self.broken.entry(commit.chain).or_insert(commit.commit_no);
                *lowest = commit.commit_no.min(*lowest);
            }
        }
    }

    fn find_epochs(&mut self, view: &View) {
        let mut active: BTreeMap<Chain, Key> = view.founders.iter().map(|chain| (*chain, Key::default())).collect();
        self.spans = active.iter().map(|(chain, opening)| (*chain, vec![(*opening, None)])).collect();
        self.epochs.push(Epoch { begun_by: 0, active: active.clone() });
        while let Some((hash, key, change)) = self.candidates().into_iter().find(|candidate| self.effective(candidate))
        {
            if let Some(head) = change.closes() {
                active.remove(&head.chain);
                self.end_span(head);
            }
            if let Change::Evict(head) = change {
                self.evicted.insert(head.chain.node);
            }
            if let Some(chain) = change.opens() {
                active.insert(chain, key);
                self.spans.entry(chain).or_default().push((key, None));
            }
            self.epochs.push(Epoch { begun_by: hash, active: active.clone() });
        }
        if !self.rules.incarnations_endorsed {
            self.replace_incarnations(&mut active);
        }
        if !self.rules.evidence_moves_nobody {
            active.retain(|chain, _| convicted(view, *chain).is_none());
        }
        if let Some(now) = self.epochs.last_mut() {
            now.active = active;
        }
    }

    fn end_span(&mut self, head: Head) {
        if let Some((_, last)) = self.spans.get_mut(&head.chain).and_then(|spans| spans.last_mut()) {
            *last = Some(head);
        }
    }

    fn replace_incarnations(&mut self, active: &mut BTreeMap<Chain, Key>) {
        for (_, commit) in self.sorted.clone() {
            let Record::Genesis { previous: Some(head) } = commit.record else { continue };
            if active.remove(&head.chain).is_some() {
                self.end_span(head);
                active.insert(commit.chain, commit.key());
                self.spans.entry(commit.chain).or_default().push((commit.key(), None));
            }
        }
    }

    /// Changes that could end the last epoch found so far, in order of their stamps.
    fn candidates(&self) -> Vec<(u64, Key, Change)> {
        let now = self.now();
        let of = |(hash, commit): &(u64, &Commit)| match commit.record {
            Record::Change { epoch, ballot, change }
                if ballot.chain == commit.chain
                    && epoch == now.begun_by
                    && now.active.contains_key(&commit.chain)
                    && self.possible(change) =>
            {
                Some((*hash, commit.key(), change))
            }
            _ => None,
        };
        self.sorted.iter().filter_map(of).collect()
    }

    fn possible(&self, change: Change) -> bool {
        let active = &self.now().active;
        let absent = |node| !active.keys().any(|chain| chain.node == node) && !self.evicted.contains(&node);
        match change {
            Change::Admit(chain) => absent(chain.node) && !self.spans.contains_key(&chain),
            Change::Resume(chain) => absent(chain.node) && self.spans.contains_key(&chain),
            Change::Suspend(head) | Change::Evict(head) => active.contains_key(&head.chain),
            Change::Readmit(head, chain) => {
                active.contains_key(&head.chain)
                    && head.chain.node == chain.node
                    && head.chain.incarnation < chain.incarnation
            }
            Change::Nothing => true,
        }
    }

    /// More than half of those who count endorsed it in one ballot, not counting whom it closes.
    fn effective(&self, (hash, key, change): &(u64, Key, Change)) -> bool {
        let active = &self.now().active;
        let closed = change.closes().map(|head| head.chain);
        let alone = !self.rules.admissions_endorsed && matches!(change, Change::Admit(_));
        let enough = |voters: &BTreeSet<Chain>| {
            voters.iter().filter(|chain| active.contains_key(chain) && Some(**chain) != closed).count() * 2
                > active.len()
        };
        if self.rules.endorsed {
            let mut ballots: BTreeMap<Ballot, BTreeSet<Chain>> = BTreeMap::new();
            for (own, commit) in &self.sorted {
                let cut = self.cut(commit.chain).is_some_and(|lowest| lowest <= commit.commit_no);
                let ballot = match commit.record {
                    Record::Endorse { change, ballot } if change == *hash => ballot,
                    Record::Change { ballot, .. } if own == hash => ballot,
                    _ => continue,
                };
                if self.rules.votes_survive_cuts || !cut {
                    ballots.entry(ballot).or_default().insert(commit.chain);
                }
            }
            return alone || ballots.values().any(enough);
        }
        let mut voters: BTreeSet<Chain> = self.acknowledged.get(hash).cloned().unwrap_or_default();
        voters.extend(active.keys().filter(|chain| (chain.node, chain.incarnation) == (key.1, key.2)));
        alone || enough(&voters)
    }

    /// What it goes by.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        self.rules
    }

    /// The epoch that is now.
    ///
    /// # Panics
    /// Never: the first epoch is there from the beginning.
    #[must_use]
    pub fn now(&self) -> &Epoch {
        self.epochs.last().expect("BUG: there is a first epoch")
    }

    /// The chains that count.
    pub fn active(&self) -> impl Iterator<Item = Chain> + Clone {
        self.now().active.keys().copied()
    }

    /// Whom a change that counts evicted.
    #[must_use]
    pub const fn evicted(&self) -> &BTreeSet<u8> {
        &self.evicted
    }

    /// The nodes that count or may count again.
    #[must_use]
    pub fn members(&self) -> BTreeSet<u8> {
        self.spans.keys().map(|chain| chain.node).filter(|node| !self.evicted.contains(node)).collect()
    }

    /// The highest commit of a chain that more than half of the others who counted in one epoch acknowledged, or that a
    /// change named as the last, while the chain is ended.
    #[must_use]
    pub fn floor(&self, chain: Chain) -> Option<(u64, &'a Commit)> {
        let decided = |hash| {
            self.spans.get(&chain).into_iter().flatten().any(|(_, last)| last.is_some_and(|head| head.hash == hash))
        };
        let held = |(hash, commit): &&(u64, &'a Commit)| {
            let Some(by) = self.acknowledged.get(hash) else { return false };
            self.epochs.iter().any(|epoch| {
                let others: Vec<Chain> = epoch.others(commit).collect();
                others.iter().filter(|other| by.contains(other)).count() * 2 > others.len()
            })
        };
        let mut commits = self.sorted.iter().filter(|(_, commit)| commit.chain == chain);
        let highest = commits.clone().filter(held).max_by_key(|(hash, commit)| (commit.commit_no, *hash));
        let last = commits.rfind(|(hash, _)| decided(*hash));
        let ended = !self.now().active.contains_key(&chain);
        if ended { last.or(highest) } else { highest.or(last) }.filter(|_| self.rules.floor).copied()
    }

    /// The lowest commit number of a chain with two histories that is out of the order.
    #[must_use]
    pub fn cut(&self, chain: Chain) -> Option<u32> {
        let lowest = *self.broken.get(&chain)?;
        Some(self.floor(chain).map_or(lowest, |(_, floor)| lowest.max(floor.commit_no + 1)))
    }

    fn follow_paths(&mut self) {
        for (hash, commit) in &self.sorted {
            let kept = self.cut(commit.chain).is_none_or(|cut| {
                // On the branch of the floor, below it or above.
                let beside =
                    |(floor, held): (u64, &Commit)| !self.descends(floor, commit) && !self.descends(*hash, held);
                commit.commit_no < cut && !self.floor(commit.chain).is_some_and(beside)
            });
            if kept {
                self.paths.entry(commit.chain).or_default().push(*hash);
            }
        }
    }

    /// Whether the chain up to the commit of this hash contains `commit`.
    #[must_use]
    pub fn descends(&self, hash: u64, commit: &Commit) -> bool {
        let mut next = self.linked.get(&hash);
        while let Some(later) = next.filter(|later| later.commit_no > commit.commit_no) {
            next = self.linked.get(&later.prev);
        }
        next.is_some_and(|found| *found == commit)
    }

    fn find_undecided(&mut self) {
        let kept = |(hash, ..): &(u64, Key, Change)| self.in_path(*hash);
        self.undecided = self.candidates().into_iter().filter(kept).collect();
    }

    /// A commit beside the path can be taken in as long as not half of the others said that it is missing nowhere before them.
    fn find_left_out(&mut self) {
        for (hash, commit) in &self.sorted {
            if self.in_path(*hash) || !self.now().active.contains_key(&commit.chain) {
                continue;
            }
            let beside = self.floor(commit.chain).is_some_and(|(_, floor)| !self.descends(*hash, floor));
            let others: Vec<Chain> = self.now().others(commit).collect();
            let refuse = |other: &&Chain| self.horizon_of(**other) >= commit.hlc && !self.acknowledges(**other, *hash);
            if !beside && others.iter().filter(refuse).count() * 2 < others.len() {
                self.left_out.entry(commit.chain).or_insert(commit.hlc);
            }
        }
    }

    fn in_path(&self, hash: u64) -> bool {
        self.linked.get(&hash).and_then(|commit| self.paths.get(&commit.chain)).is_some_and(|path| path.contains(&hash))
    }

    fn place(&mut self) {
        let mut rest = Vec::new();
        for hash in self.paths.values().flatten() {
            let commit = self.linked[hash];
            let spans = self.spans.get(&commit.chain).map_or(&[][..], Vec::as_slice);
            let span = spans.iter().find(|(_, last)| last.is_none_or(|last| commit.commit_no <= last.commit_no));
            let Some((opening, last)) = span else {
                rest.push((*hash, commit));
                continue;
            };
            let late = self.rules.late_events_after_opening && commit.key() < *opening;
            let place = if late { vec![*opening, commit.key()] } else { vec![commit.key()] };
            self.order.push(Placed { place, hash: *hash, acknowledged_as: last.is_none().then_some(*hash) });
        }
        let placed = self.order.clone();
        for (hash, commit) in rest {
            let returned = placed.iter().filter(|placed| match self.linked[&placed.hash].record {
                Record::TailReturned { tail } => tail.chain == commit.chain && self.descends(tail.hash, commit),
                _ => false,
            });
            match returned.min() {
                Some(record) => {
                    let place = record.place.iter().copied().chain([commit.key()]).collect();
                    let acknowledged_as = Some(record.hash);
                    self.order.push(Placed { place, hash, acknowledged_as });
                }
                None => self.waiting.push(hash),
            }
        }
        self.order.sort();
    }

    fn heard_of(&self, chain: Chain) -> u64 {
        self.heard.get(&chain).copied().unwrap_or(0)
    }

    fn horizon_of(&self, chain: Chain) -> u64 {
        self.horizons.get(&chain).copied().unwrap_or(0)
    }

    fn least(&self, of: impl Fn(Chain) -> u64) -> u64 {
        let unheard = u64::from(self.rules.opened_is_heard);
        let active = self.now().active.iter().map(|(chain, opening)| of(*chain).max(opening.0.saturating_sub(unheard)));
        let changes = self.undecided.iter().filter(|_| self.rules.changes_hold).map(|(_, key, _)| key.0 - 1);
        let forks = self.left_out.values().filter(|_| self.rules.forks_hold).map(|hlc| hlc - 1);
        active.chain(changes).chain(forks).min().unwrap_or(0)
    }

    /// Up to where nothing can be missing here: everybody who counts was heard beyond it.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.least(|chain| self.heard_of(chain))
    }

    /// The same if `chain` were heard up to `hlc`.
    #[must_use]
    pub fn heard_if(&self, chain: Chain, hlc: u64) -> u64 {
        self.least(|of| if of == chain { hlc } else { self.heard_of(of) })
    }

    /// W: up to where nothing can be missing anywhere.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        if self.rules.horizons {
            self.least(|chain| self.heard_of(chain).min(self.horizon_of(chain)))
        } else {
            self.heard()
        }
    }

    /// Whether this chain acknowledged the commit of this hash.
    #[must_use]
    pub fn acknowledges(&self, chain: Chain, hash: u64) -> bool {
        self.acknowledged.get(&hash).is_some_and(|by| by.contains(&chain))
    }

    fn is_stable(&self, placed: &Placed) -> bool {
        let level = placed.place[0].0;
        if self.rules.changes_hold && self.undecided.iter().any(|(_, key, _)| [*key][..] <= placed.place[..]) {
            return false;
        }
        if self.rules.forks_hold && self.left_out.values().any(|hlc| *hlc <= level) {
            return false;
        }
        let active = &self.now().active;
        let concerned = active.iter().filter(|(_, opening)| [**opening][..] < placed.place[..]);
        let reached = concerned.clone().all(|(chain, opening)| {
            let known = if self.rules.opened_is_heard { 0 } else { opening.0 };
            let horizon = if self.rules.horizons { self.horizon_of(*chain) } else { u64::MAX };
            self.heard_of(*chain).min(horizon).max(known) >= level
        });
        if !reached {
            return false;
        }
        let Some(hash) = placed.acknowledged_as else { return true };
        let writer = self.linked[&hash].chain.node;
        let holds = |chain: &Chain| chain.node == writer || self.acknowledges(*chain, hash);
        match self.rules.acknowledged {
            Acknowledged::Nobody => true,
            Acknowledged::MoreThanHalf => active.keys().filter(|chain| holds(chain)).count() * 2 > active.len(),
            Acknowledged::Everybody => concerned.map(|(chain, _)| chain).all(holds),
        }
    }

    /// The events whose place nothing can change any more, in order.
    #[must_use]
    pub fn stable(&self) -> Vec<u64> {
        self.order.iter().take_while(|placed| self.is_stable(placed)).map(|placed| placed.hash).collect()
    }

    /// To whom more than half of those who counted in one epoch granted a fence. More than one is a contradiction.
    #[must_use]
    pub fn holders(&self, agent: u8, fence: u8) -> BTreeSet<u8> {
        let mut holders = BTreeSet::new();
        let epochs =
            if self.rules.claims_within_epoch { &self.epochs[..] } else { &self.epochs[self.epochs.len() - 1..] };
        for Epoch { begun_by, active } in epochs {
            let mut claims: BTreeMap<u8, BTreeSet<Chain>> = BTreeMap::new();
            for (_, commit) in &self.sorted {
                let Record::Claim { agent: of, fence: number, holder, epoch } = commit.record else { continue };
                let counts = epoch == *begun_by || !self.rules.claims_within_epoch;
                if (of, number) == (agent, fence) && counts && active.contains_key(&commit.chain) {
                    claims.entry(holder).or_default().insert(commit.chain);
                }
            }
            holders.extend(claims.into_iter().filter(|(_, by)| by.len() * 2 > active.len()).map(|(holder, _)| holder));
        }
        holders
    }
}

/// Whether a head with the hash of this commit names it rightly.
fn names(head: &Head, commit: &Commit) -> bool {
    (head.chain, head.commit_no) == (commit.chain, commit.commit_no)
}

/// Two signed words of a chain that no single history makes true, as the commit numbers at which they stand.
#[must_use]
pub fn convicted(view: &View, chain: Chain) -> Option<(u32, u32)> {
    let commits =
        view.commits.values().filter(|commit| commit.chain == chain).map(|commit| (commit.head(), commit.hlc, true));
    let ticks = view.ticks.iter().filter(|tick| tick.head.chain == chain).map(|tick| (tick.head, tick.hlc, false));
    let mut words: Vec<(Head, u64, bool)> = commits.chain(ticks).collect();
    words.sort();
    let contradict = |(a, until, _): &(Head, u64, bool), (b, from, commit): &(Head, u64, bool)| {
        a.commit_no == b.commit_no && a.hash != b.hash || a.commit_no < b.commit_no && *commit && from <= until
    };
    let pairs = words.iter().flat_map(|first| words.iter().map(move |second| (first, second)));
    let mut guilty = pairs.filter(|(first, second)| contradict(first, second));
    guilty.next().map(|(first, second)| (first.0.commit_no, second.0.commit_no))
}
