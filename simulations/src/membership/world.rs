//! Generated histories of members that write, tick, part, come back, and of some that lie; and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::{Fold, convicted};
use super::member::Member;
use super::rules::Rules;
use super::view::{Chain, Change, Commit, Head, Record, View};
use crate::dice::{Dice, Stream};

/// What may happen in a history.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Members at the beginning.
    pub members: u8,
    /// How many of them sign two histories of their chain.
    pub liars: u8,
    /// Whether liars write one history and break their ticks in it, in place of two histories.
    pub breaks_ticks: bool,
    /// Whether both histories of a liar endorse and grant. Safe while any two majorities share somebody honest.
    pub liars_vote: bool,
    /// Whether members are suspended, resumed, evicted and admitted.
    pub changes: bool,
    /// Whether members are restored from old copies.
    pub restores: bool,
    /// How much happens.
    pub steps: u32,
}

/// What a history came to.
#[derive(Debug, Default)]
pub struct Report {
    /// What was not true.
    pub failures: Vec<String>,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u32>,
}

/// Why `later` takes back something of `stable`, if it does.
#[must_use]
pub fn contradiction(stable: &[u64], held: &View, later: &Fold<'_>) -> Option<String> {
    let commits: BTreeMap<u64, &Commit> = held.commits.iter().map(|((_, hash), commit)| (*hash, &**commit)).collect();
    let mut now = later.order.iter().map(|placed| placed.hash);
    stable.iter().find_map(|before| match now.next() {
        Some(after) if after == *before => None,
        after => Some(format!(
            "{:?} was stable where now is {:?}",
            commits.get(before),
            after.map(|hash| later.linked[&hash])
        )),
    })
}

struct World {
    setting: Setting,
    dice: Dice,
    members: Vec<Member>,
    /// By member: whether it tells the truth, and its side of the partition.
    honest: Vec<bool>,
    side: Vec<u64>,
    copies: Vec<Member>,
    stable: Vec<Vec<u64>>,
    /// What was stable at members before they were restored.
    before: Vec<(View, Vec<u64>)>,
    /// To whom each fence was granted, as anybody ever saw it.
    holders: BTreeMap<u8, BTreeSet<u8>>,
    clock: u64,
    report: Report,
    /// The honest member that was judged last.
    seen: Option<usize>,
}

/// The history of this seed.
#[must_use]
pub fn play(setting: Setting, rules: Rules, seed: u64) -> Report {
    play_watched(setting, rules, seed, |_| {})
}

/// The same, with an honest member shown whenever it did or heard something.
pub fn play_watched(setting: Setting, rules: Rules, seed: u64, mut watch: impl FnMut(&Member)) -> Report {
    let chains = (0..setting.members).map(|node| Chain { node, incarnation: 0 });
    let members: Vec<Member> =
        chains.clone().map(|chain| Member::new(chain, View::new(chains.clone()), rules, None)).collect();
    let count = members.len();
    let mut world = World {
        setting,
        dice: Dice::new(seed, Stream::Membership),
        copies: members.clone(),
        members,
        honest: (0..setting.members).map(|node| node >= setting.liars).collect(),
        side: vec![0; count],
        stable: vec![Vec::new(); count],
        before: Vec::new(),
        holders: BTreeMap::new(),
        clock: 10,
        report: Report::default(),
        seen: None,
    };
    world.exchange();
    for _ in 0..setting.steps {
        world.step();
        world.seen.take().into_iter().for_each(|at| watch(&world.members[at]));
    }
    world.settle();
    world.judge_the_end();
    let honest = world.members.iter().zip(&world.honest).filter(|(_, honest)| **honest);
    honest.for_each(|(member, _)| watch(member));
    world.report
}

impl World {
    fn count(&mut self, what: &'static str) {
        *self.report.counts.entry(what).or_default() += 1;
    }

    /// Everybody hears everybody.
    fn exchange(&mut self) {
        let mut all = View::default();
        for member in &self.members {
            all.merge(&member.view);
        }
        for member in &mut self.members {
            member.hear(&all);
        }
    }

    fn step(&mut self) {
        self.clock += self.dice.between([0, 3]);
        let at = self.dice.index(self.members.len());
        let clock = self.clock + self.members[at].chain.node as u64 % 3;
        self.members[at].see(clock);
        match self.dice.below(100) {
            0..20 => {
                let anchors = self.dice.chance(500);
                let member = &mut self.members[at];
                if anchors {
                    member.write(Record::Other)
                } else {
                    member.append(Record::Other, BTreeSet::new())
                };
            }
            20..30 => self.members[at].tick(),
            30..45 => self.deliver(at),
            45..65 => self.gather(at),
            65..70 => self.part(),
            70..76 => self.claim(at),
            76..79 if self.setting.restores => self.copies[at] = self.members[at].clone(),
            79..82 if self.setting.restores && self.honest[at] => self.restore(at),
            82..85 => self.lie(at),
            85..95 if self.setting.changes => self.propose(at),
            _ => self.endorse(at),
        }
        self.judge(at);
    }

    fn deliver(&mut self, from: usize) {
        let to = self.dice.index(self.members.len());
        if to == from || self.side[from] != self.side[to] {
            return;
        }
        let mut view = self.members[from].view.clone();
        if self.dice.chance(500) {
            let most = self.dice.index(view.commits.len()) + 1;
            let known = &self.members[to].view.commits;
            let keys: Vec<(u64, u64)> = view.commits.keys().filter(|key| !known.contains_key(key)).copied().collect();
            let keep: BTreeSet<(u64, u64)> = keys.into_iter().take(most).collect();
            view.commits.retain(|key, _| keep.contains(key));
            let ticks = self.dice.chance(500);
            view.ticks.retain(|_| ticks);
        }
        self.members[to].hear(&view);
        if self.dice.chance(300) {
            self.endorse(to);
        }
        self.members[to].tick();
        self.judge(to);
    }

    /// Most of one side of the network hear each other, a few times.
    fn gather(&mut self, at: usize) {
        let here: Vec<usize> = (0..self.members.len()).filter(|other| self.side[*other] == self.side[at]).collect();
        let here: Vec<usize> = here.into_iter().filter(|_| self.dice.chance(850)).collect();
        for _ in 0..3 {
            let mut all = View::default();
            for at in &here {
                all.merge(&self.members[*at].view);
            }
            for at in &here {
                self.members[*at].hear(&all);
                if self.dice.chance(600) {
                    self.endorse(*at);
                }
                self.members[*at].tick();
                self.judge(*at);
            }
        }
    }

    /// The network falls into two parts, or is whole again.
    fn part(&mut self) {
        let whole = self.dice.chance(300);
        for side in &mut self.side {
            *side = if whole { 0 } else { self.dice.below(2) };
        }
        self.count("partition");
    }

    fn claim(&mut self, at: usize) {
        let [fence, holder] = [self.dice.below(2) as u8, self.dice.below(3) as u8];
        if self.votes(at) && self.members[at].claim(0, fence, holder) {
            self.count("claim");
        }
    }

    /// The second history of a liar neither endorses nor grants, unless the setting says so.
    fn votes(&self, at: usize) -> bool {
        let twin = self.members[..at].iter().any(|member| member.chain == self.members[at].chain);
        !twin || self.setting.liars_vote
    }

    /// Promises, proposes in a ballot of its own that was promised, and endorses, as far as it may.
    fn endorse(&mut self, at: usize) {
        if !self.votes(at) {
            return;
        }
        if self.members[at].promise() {
            self.count("promise");
        }
        if self.members[at].leads() {
            self.propose(at);
        }
        if self.members[at].endorse() {
            self.count("endorsement");
            self.members[at].tick();
        }
    }

    fn restore(&mut self, at: usize) {
        let incarnation = self.members[at].chain.incarnation + 1;
        self.before.push((self.members[at].view.clone(), std::mem::take(&mut self.stable[at])));
        self.members[at] = self.copies[at].restored(incarnation);
        self.copies[at] = self.members[at].clone();
        self.count("restore");
    }

    /// A liar begins to go two ways, each of them as an honest member would, and shows each to others.
    fn lie(&mut self, at: usize) {
        let chain = self.members[at].chain;
        if self.setting.breaks_ticks {
            if !self.honest[at] {
                self.break_tick(at);
            }
            return;
        }
        if !self.honest[at] && self.members.iter().filter(|member| member.chain == chain).count() == 1 {
            self.members.push(self.members[at].clone());
            self.copies.push(self.members[at].clone());
            self.honest.push(false);
            self.side.push(self.side[at]);
            self.stable.push(Vec::new());
            self.count("fork");
        }
    }

    /// A liar writes with a clock that is set back to its last commit, whatever it promised since.
    fn break_tick(&mut self, at: usize) {
        let member = &mut self.members[at];
        let stamp = |head| member.view.commits.values().find(|commit| commit.head() == head).map(|commit| commit.hlc);
        let Some(last) = member.last.and_then(stamp) else { return };
        let broken = member.view.ticks.iter().any(|tick| Some(tick.head) == member.last && tick.hlc > last);
        let clock = std::mem::replace(&mut member.clock, last);
        member.append(Record::Other, BTreeSet::new());
        member.see(clock);
        if broken {
            self.count("broken tick");
        }
    }

    /// What this member would have change, given what it sees.
    fn propose(&mut self, at: usize) {
        let member = &self.members[at];
        let fold = member.fold();
        let other = self.dice.index(usize::from(self.setting.members) + 2) as u8;
        let incarnation = fold
            .linked
            .values()
            .filter(|commit| commit.chain.node == other)
            .map(|commit| commit.chain.incarnation)
            .max();
        let counting = fold.active().find(|chain| chain.node == other);
        let change = match (counting, incarnation) {
            _ if other == member.chain.node => None,
            (Some(chain), Some(newest)) if newest > chain.incarnation => {
                member.known_head(chain).map(|head| Change::Readmit(head, Chain { node: other, incarnation: newest }))
            }
            (Some(chain), _) if self.leaves_liars_a_minority(&fold, chain) => member
                .known_head(chain)
                .map(|head| if self.dice.chance(100) { Change::Evict(head) } else { Change::Suspend(head) }),
            (None, Some(incarnation)) => {
                let chain = Chain { node: other, incarnation };
                let known = fold.epochs.iter().any(|epoch| epoch.active.contains_key(&chain));
                Some(if known { Change::Resume(chain) } else { Change::Admit(chain) })
            }
            _ => None,
        };
        if let Some(change) = change.or_else(|| self.dice.chance(100).then_some(Change::Nothing)) {
            if !self.votes(at) {
                return;
            }
            if self.members[at].propose(change) {
                self.count(match change {
                    Change::Admit(_) => "admit",
                    Change::Suspend(_) => "suspend",
                    Change::Evict(_) => "evict",
                    Change::Resume(_) => "resume",
                    Change::Readmit(..) => "readmit",
                    Change::Nothing => "nothing",
                });
            } else if (!self.members[at].fold().ballots().any(|_| true) || self.dice.chance(300))
                && self.members[at].ask()
            {
                self.count("ballot");
            }
        } else if self.members.iter().all(|member| member.chain.node != other) {
            self.join(other);
        } else {
            self.return_tail(at);
        }
    }

    /// Whether liars are fewer than half of those who count without this chain.
    fn leaves_liars_a_minority(&self, fold: &Fold<'_>, without: Chain) -> bool {
        let rest: Vec<Chain> = fold.active().filter(|chain| *chain != without).collect();
        rest.iter().filter(|chain| chain.node < self.setting.liars).count() * 2 < rest.len()
    }

    /// Somebody new writes its first event.
    fn join(&mut self, node: u8) {
        let founders = self.members[0].view.founders.clone();
        let view = View::new(founders);
        let joiner = Member::new(Chain { node, incarnation: 0 }, view, self.members[0].rules, None);
        self.copies.push(joiner.clone());
        self.members.push(joiner);
        self.honest.push(true);
        self.side.push(0);
        self.stable.push(Vec::new());
        self.count("join");
    }

    /// A member records what turned up of its earlier chain.
    fn return_tail(&mut self, at: usize) {
        let member = &self.members[at];
        let fold = member.fold();
        let recorded =
            |head: Head| fold.linked.values().any(|commit| commit.record == Record::TailReturned { tail: head });
        let tail = fold.waiting.iter().map(|hash| fold.linked[hash].head()).filter(|head| {
            head.chain.node == member.chain.node
                && head.chain.incarnation < member.chain.incarnation
                && !recorded(*head)
        });
        let counts = fold.active().any(|chain| chain == member.chain);
        let tail = tail.max_by_key(|head| head.commit_no).filter(|_| counts);
        if let Some(tail) = tail {
            self.members[at].append(Record::TailReturned { tail }, BTreeSet::from([tail]));
            self.count("tail returned");
        }
    }

    fn fail(&mut self, what: String) {
        self.report.failures.push(what);
    }

    /// What was stable at a member stays, and agrees with what is stable at the others.
    fn judge(&mut self, at: usize) {
        if !self.honest[at] {
            return;
        }
        self.seen = Some(at);
        let fold = self.members[at].fold();
        let stable = fold.stable();
        for fence in 0..2 {
            self.holders.entry(fence).or_default().extend(fold.holders(0, fence));
        }
        let mut wrong: Vec<String> =
            contradiction(&self.stable[at], &self.members[at].view, &fold).into_iter().collect();
        if self.stable[at].len() > stable.len() {
            wrong.push(format!("{} events were stable, now {}", self.stable[at].len(), stable.len()));
        }
        wrong.extend(
            self.holders.iter().find(|(_, by)| by.len() > 1).map(|held| format!("fence and holders: {held:?}")),
        );
        let wrong: Vec<String> = wrong.into_iter().map(|what| format!("stability at {at}: {what}")).collect();
        self.report.failures.extend(wrong);
        if stable.len() > self.stable[at].len() {
            *self.report.counts.entry("stable").or_default() += 1;
        }
        self.stable[at] = stable;
    }

    /// Everybody is connected and at rest, and what was lost in restores turns up.
    fn settle(&mut self) {
        for (lost, _) in &self.before {
            self.members[0].hear(lost);
        }
        for round in 0..24 {
            if round >= 8 && self.members.iter().all(|member| member.fold().undecided.is_empty()) {
                break;
            }
            self.exchange();
            self.clock += 20;
            self.decide(round);
            for at in 0..self.members.len() {
                self.members[at].see(self.clock);
                if self.votes(at) {
                    self.members[at].promise();
                    self.members[at].endorse();
                }
                if round == 2 {
                    self.return_tail(at);
                }
                self.members[at].tick();
            }
        }
        self.exchange();
    }

    /// While an epoch is undecided, one after the other begins a ballot, and proposes in it a round later.
    fn decide(&mut self, round: usize) {
        let at = (round / 3) % self.members.len();
        if !self.honest[at] || self.members[at].fold().undecided.is_empty() {
            return;
        }
        match round % 3 {
            0 => _ = self.members[at].ask(),
            2 => _ = self.members[at].propose(Change::Nothing),
            _ => {}
        }
    }

    fn judge_the_end(&mut self) {
        let honest: Vec<usize> = (0..self.members.len()).filter(|at| self.honest[*at]).collect();
        for at in honest.clone() {
            self.judge(at);
        }
        let Some(first) = honest.first().copied() else { return };
        let view = self.members[first].view.clone();
        let fold = Fold::new(&view, self.members[first].rules);
        for at in honest.clone() {
            let same = self.members[at].view == view && self.members[at].fold().order == fold.order;
            if !same {
                self.fail(format!("{at} orders otherwise than {first}"));
            }
            for incarnation in 0..=self.members[at].chain.incarnation {
                if let Some(pair) = convicted(&view, Chain { incarnation, ..self.members[at].chain }) {
                    self.fail(format!("{at} is convicted without guilt: {pair:?}"));
                }
            }
        }
        let broken = self.before.iter().find_map(|(held, stable)| contradiction(stable, held, &fold));
        if let Some(what) = broken {
            self.fail(format!("stability before a restore: {what}"));
        }
        self.judge_causality(&fold);
        let forks = fold.broken.len();
        let undecided = fold.undecided.len();
        let stuck = fold.stable().len();
        if undecided == 0 && self.setting.liars == 0 && !self.all_present(&fold) {
            self.count("absent");
        } else if undecided == 0 && self.setting.liars == 0 {
            if stuck < fold.order.len() {
                self.fail(format!("{stuck} of {} are stable at the end", fold.order.len()));
            }
            self.count("whole");
        }
        if undecided > 0 {
            self.count("undecided");
            if self.setting.liars == 0 && self.all_present(&fold) {
                self.fail(format!("who counts is undecided for good: {:?}", fold.undecided));
            }
        }
        if forks > 0 {
            self.count("cut");
        }
    }

    /// Whether each chain that counts is written by somebody.
    fn all_present(&self, fold: &Fold<'_>) -> bool {
        fold.active().all(|chain| self.members.iter().any(|member| member.chain == chain))
    }

    /// Nothing stands before what it anchors, unless a change or a cut took that out of its place.
    fn judge_causality(&mut self, fold: &Fold<'_>) {
        let mut seen = BTreeSet::new();
        let mut late: Vec<&Head> = Vec::new();
        let moved: BTreeSet<u64> =
            fold.order.iter().filter(|placed| placed.place.len() > 1).map(|placed| placed.hash).collect();
        for placed in &fold.order {
            let anchors = fold.linked[&placed.hash].anchors.iter();
            let ordered = |head: &&Head| fold.order.iter().any(|other| other.hash == head.hash);
            late.extend(
                anchors.filter(ordered).filter(|head| !seen.contains(&head.hash) && !moved.contains(&head.hash)),
            );
            seen.insert(placed.hash);
        }
        if !late.is_empty() {
            self.fail(format!("causes after their effects: {late:?}"));
        }
    }
}
