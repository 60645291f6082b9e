//! The seeded choice of what happens and when, and the search for the fewest steps that still make a run fail.

use crate::dice::{Dice, Stream};
use crate::disk::Unsynced;
use crate::malice::Lie;
use crate::scenario::{Scenario, Scripted, Weights};
use crate::transition::{AgentKind, Remembers, Step, Transition};

/// How long everything rests before a home is copied, in microseconds: until all that are up have heard everything (guess).
const SETTLED_US: u64 = 3_000_000;
/// How long those are away who could tell a restored node what it had said, in microseconds: longer than it waits for them.
const ALONE_US: [u64; 2] = [6_000_000, 12_000_000];
/// How long a restored node has until it must have decided, in microseconds: it waits for members, twice at most, and a little.
const RESTORED_US: u64 = 6_000_000;

/// Number of topics that users publish to.
pub(crate) const TOPICS: u64 = 2;
/// Furthest a clock jumps, in microseconds: within the 60 s in which stamps from the future are held, not refused.
const CLOCK_JUMP_US_MAX: u64 = 20_000_000;
/// How long what is undone lasts, in microseconds (guess: long enough for a ping, up to several rounds of anti-entropy).
const LASTS_US: [u64; 2] = [1_500_000, 12_000_000];
/// How long a node stays down, in microseconds (guess).
const DOWN_US: [u64; 2] = [50_000, 6_000_000];
/// How long a node that is to be struck while it writes, or that goes down in order, has for that and stays down, in
/// microseconds: above the two seconds that agents get to finish.
const GOES_DOWN_US: [u64; 2] = [3_000_000, 8_000_000];
/// How long a subscription takes at most, in microseconds: what members have to say how far publishers are, and a little more.
const SUBSCRIBED_US: u64 = 3_000_000;
/// How long nodes are apart, and together, when that comes and goes, in microseconds: around the time in which they notice.
const FLAPS_US: [u64; 2] = [200_000, 3_000_000];
/// How long a process is stopped, in microseconds: below and above the time in which others notice (guess).
const FREEZE_US: [u64; 2] = [300_000, 9_000_000];
/// How long a late node has to be admitted before it is counted upon, in microseconds (guess: two attempts).
const JOIN_US: u64 = 2_000_000;
/// Runs that the search for a smaller failing plan may take: it doubles as its bound in time (guess).
pub(crate) const SHRINK_RUNS_MAX: usize = 200;

/// One kind of thing that can be chosen, by its weight in the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Spawn,
    Stop,
    Send { durable: bool },
    Call { durable: bool },
    Publish,
    Subscribe,
    Invite,
    Shutdown,
    Restore,
    Crash { unsynced: Unsynced, writing: bool },
    DiskError,
    Partition,
    OneWay,
    Loss,
    Duplicate,
    Delay,
    Flap,
    Reorder,
    Corrupt,
    SlowLink,
    DiskFull,
    SlowDisk,
    Freeze,
    Churn,
    Lie,
    ClockForward,
    ClockBack,
    ClockFreeze,
}

fn choices(weights: &Weights) -> Vec<(u64, Choice)> {
    let crash = |unsynced, writing| Choice::Crash { unsynced, writing };
    let all = [
        (weights.spawn, Choice::Spawn),
        (weights.stop, Choice::Stop),
        (weights.send, Choice::Send { durable: false }),
        (weights.send_durable, Choice::Send { durable: true }),
        (weights.call, Choice::Call { durable: false }),
        (weights.call_durable, Choice::Call { durable: true }),
        (weights.publish, Choice::Publish),
        (weights.subscribe, Choice::Subscribe),
        (weights.invite, Choice::Invite),
        (weights.shutdown, Choice::Shutdown),
        (weights.restore, Choice::Restore),
        (weights.crash, crash(Unsynced::Lost, false)),
        (weights.kill, crash(Unsynced::Kept, true)),
        (weights.scattered, crash(Unsynced::Scattered, true)),
        (weights.torn, crash(Unsynced::Torn, true)),
        (weights.disk_error, Choice::DiskError),
        (weights.partition, Choice::Partition),
        (weights.one_way, Choice::OneWay),
        (weights.loss, Choice::Loss),
        (weights.duplicate, Choice::Duplicate),
        (weights.delay, Choice::Delay),
        (weights.flap, Choice::Flap),
        (weights.reorder, Choice::Reorder),
        (weights.corrupt, Choice::Corrupt),
        (weights.slow_link, Choice::SlowLink),
        (weights.disk_full, Choice::DiskFull),
        (weights.slow_disk, Choice::SlowDisk),
        (weights.freeze, Choice::Freeze),
        (weights.churn, Choice::Churn),
        (weights.lie, Choice::Lie),
        (weights.clock_forward, Choice::ClockForward),
        (weights.clock_back, Choice::ClockBack),
        (weights.clock_freeze, Choice::ClockFreeze),
    ];
    all.into_iter().filter(|(weight, _)| *weight > 0).collect()
}

/// What happens in a run of `scenario` under `seed`, in order of time: first every node's echo agent, then at least one of
/// each kind that has a weight (unless that is promised over many seeds), mixed with others by weight, each with what undoes it later. What is scripted happens as it is
/// written, whatever the seed.
pub(crate) fn plan(scenario: &Scenario, seed: u64) -> Vec<Step> {
    if !scenario.script.is_empty() {
        let mut steps: Vec<Step> = scenario.script.iter().flat_map(Scripted::steps).collect();
        steps.sort_by_key(|step| step.at_us);
        return steps;
    }
    let mut plan = Plan {
        dice: Dice::new(seed, Stream::Plan),
        scenario,
        steps: Vec::new(),
        now_us: 0,
        up_from_us: vec![0; scenario.nodes],
        network_whole_us: 0,
        copies: vec![0; scenario.nodes],
    };
    plan.begin();
    for choice in plan.draw() {
        plan.now_us += plan.dice.between(scenario.pause_us);
        plan.choose(choice);
    }
    plan.end();
    plan.steps.sort_by_key(|step| step.at_us);
    plan.steps
}

struct Plan<'a> {
    dice: Dice,
    scenario: &'a Scenario,
    steps: Vec<Step>,
    now_us: u64,
    /// By node: from when on it is up, as far as the plan knows.
    up_from_us: Vec<u64>,
    /// From when on the network is whole: its faults come one after another, since one remedy mends them all.
    network_whole_us: u64,
    /// By node: how many copies of its home were taken.
    copies: Vec<usize>,
}

impl Plan<'_> {
    fn begin(&mut self) {
        for node in 0..self.scenario.nodes - self.scenario.late {
            self.push(Transition::Spawn { node, agent: AgentKind::Echo });
        }
        let late: Vec<usize> = (self.scenario.nodes - self.scenario.late..self.scenario.nodes).collect();
        // Where not every run must have everything, every other one has it.
        if self.scenario.weights.join_storm > 0 && (!self.scenario.over_seeds || self.dice.chance(500)) {
            self.storm(late);
            return;
        }
        for node in late {
            let span_us = self.scenario.pause_us[1].saturating_mul(self.scenario.steps as u64) / 2;
            let (at_us, agent) = (self.dice.below(span_us), AgentKind::Echo);
            self.up_from_us[node] = at_us + JOIN_US;
            self.steps.push(Step { at_us, transition: Transition::Join { node } });
            self.steps.push(Step { at_us: at_us + JOIN_US, transition: Transition::Spawn { node, agent } });
        }
    }

    /// All that are late come at one moment.
    fn storm(&mut self, late: Vec<usize>) {
        let at_us = self.dice.below(self.scenario.pause_us[1].saturating_mul(self.scenario.steps as u64) / 4);
        let admitted_us = at_us + JOIN_US * 2;
        for node in late.iter().copied() {
            self.up_from_us[node] = admitted_us;
            let spawn = Transition::Spawn { node, agent: AgentKind::Echo };
            self.steps.push(Step { at_us: admitted_us, transition: spawn });
        }
        self.steps.push(Step { at_us, transition: Transition::JoinStorm { joiners: late } });
    }

    /// Where topics matter, somebody listens to all of them from the beginning, and is told something at the end.
    fn end(&mut self) {
        if self.scenario.weights.publish == 0 {
            return;
        }
        self.steps.push(Step { at_us: 1_000_000, transition: Transition::Subscribe { node: 1, topic: TOPICS } });
        let listener = self.node_up();
        self.push(Transition::Subscribe { node: listener, topic: TOPICS });
        self.now_us += SUBSCRIBED_US;
        for topic in 0..TOPICS {
            let node = self.node_up();
            self.push(Transition::Publish { node, topic });
            self.push(Transition::Publish { node: listener, topic });
        }
    }

    /// The kinds in the order in which they happen.
    fn draw(&mut self) -> Vec<Choice> {
        let choices = choices(&self.scenario.weights);
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let each_once = choices.iter().filter(|_| !self.scenario.over_seeds);
        let mut drawn: Vec<Choice> = each_once.map(|(_, choice)| *choice).collect();
        while drawn.len() < self.scenario.steps {
            let mut ticket = self.dice.below(total);
            let chosen = choices.iter().find(|(weight, _)| {
                let hit = ticket < *weight;
                ticket = ticket.saturating_sub(*weight);
                hit
            });
            drawn.extend(chosen.map(|(_, choice)| *choice));
        }
        for last in (1..drawn.len()).rev() {
            let other = self.dice.index(last + 1);
            drawn.swap(last, other);
        }
        drawn
    }

    fn push(&mut self, transition: Transition) {
        self.steps.push(Step { at_us: self.now_us, transition });
    }

    fn node(&mut self) -> usize {
        self.dice.index(self.scenario.nodes)
    }

    /// A node that is up, as far as the plan knows; while none is, time passes until one is.
    fn node_up(&mut self) -> usize {
        let first_us = self.up_from_us.iter().copied().min().unwrap_or_default();
        self.now_us = self.now_us.max(first_us);
        let up: Vec<usize> = (0..self.scenario.nodes).filter(|node| self.up_from_us[*node] <= self.now_us).collect();
        up.get(self.dice.index(up.len())).copied().unwrap_or_default()
    }

    /// Two nodes that are up, as far as the plan knows; while there are not two, time passes.
    fn two_up(&mut self) -> (usize, usize) {
        let mut times = self.up_from_us.clone();
        times.sort_unstable();
        self.now_us = self.now_us.max(times[1]);
        let mut up: Vec<usize> =
            (0..self.scenario.nodes).filter(|node| self.up_from_us[*node] <= self.now_us).collect();
        let one = up.swap_remove(self.dice.index(up.len()));
        (one, up[self.dice.index(up.len())])
    }

    fn agent(&mut self) -> AgentKind {
        AgentKind::ALL[self.dice.index(AgentKind::ALL.len())]
    }

    /// Mostly the agent that runs everywhere, so that most messages find somebody.
    fn callee(&mut self) -> AgentKind {
        if self.dice.chance(600) { AgentKind::Echo } else { self.agent() }
    }

    fn choose(&mut self, choice: Choice) {
        let node = self.node_up();
        match choice {
            Choice::Spawn => {
                let agent = self.agent();
                self.push(Transition::Spawn { node, agent });
            }
            Choice::Stop => {
                let agent = self.agent();
                self.push(Transition::Stop { node, agent });
            }
            Choice::Send { durable } => {
                let (to, agent) = (self.node(), self.callee());
                self.push(Transition::Send { node, to, agent, durable });
            }
            Choice::Call { durable } => {
                let (to, agent) = (self.node(), self.callee());
                let to = (!self.dice.chance(200)).then_some(to);
                self.push(Transition::Call { node, to, agent, durable });
            }
            Choice::Publish => {
                let topic = self.dice.below(TOPICS);
                self.push(Transition::Publish { node, topic });
            }
            Choice::Subscribe => {
                let topic = self.dice.below(TOPICS + 1);
                self.push(Transition::Subscribe { node, topic });
            }
            Choice::Invite => self.push(Transition::Invite { node }),
            Choice::Shutdown => self.down(node, GOES_DOWN_US, Transition::Shutdown { node }),
            Choice::Restore => self.restore(),
            Choice::Crash { unsynced, writing: false } => {
                self.down(node, DOWN_US, Transition::Crash { node, unsynced, writing: false });
            }
            Choice::Crash { unsynced, writing: true } => {
                self.strike(node, Transition::Crash { node, unsynced, writing: true });
            }
            Choice::DiskError => self.strike(node, Transition::DiskError { node }),
            Choice::Partition => {
                self.await_network();
                let side = self.side();
                self.disturb(Transition::Partition { side });
            }
            Choice::OneWay => {
                self.await_network();
                let (from, to) = self.two_up();
                self.disturb(Transition::CutOneWay { from, to });
            }
            Choice::Loss => {
                let per_mille = self.dice.between([50, 400]);
                self.disturb(Transition::Loss { per_mille });
            }
            Choice::Duplicate => {
                let per_mille = self.dice.between([100, 500]);
                self.disturb(Transition::Duplicate { per_mille });
            }
            Choice::Delay => {
                let up_to_us = self.dice.between([50_000, 1_500_000]);
                self.disturb(Transition::DelaySpike { up_to_us });
            }
            Choice::Flap => {
                self.await_network();
                let side = self.side();
                let [apart_us, together_us] = [(); 2].map(|()| self.dice.between(FLAPS_US));
                self.disturb(Transition::Flap { side, apart_us, together_us });
            }
            Choice::Reorder => {
                let (per_mille, by_us) = (self.dice.between([100, 400]), self.dice.between([20_000, 500_000]));
                self.disturb(Transition::Reorder { per_mille, by_us });
            }
            Choice::Corrupt => {
                let per_mille = self.dice.between([100, 400]);
                self.disturb(Transition::Corrupt { per_mille });
            }
            Choice::SlowLink => {
                let bytes_per_s = self.dice.between([8_000, 60_000]);
                self.disturb(Transition::SlowLink { node, bytes_per_s });
            }
            Choice::DiskFull => {
                self.strike(node, Transition::DiskFull { node });
                let at_us = self.up_from_us[node] - 2;
                self.steps.push(Step { at_us, transition: Transition::DiskRoom { node } });
            }
            Choice::SlowDisk => {
                let by_us = self.dice.between([20_000, 600_000]);
                self.push(Transition::SlowDisk { node, by_us });
                let at_us = self.now_us + self.dice.between(LASTS_US);
                self.steps.push(Step { at_us, transition: Transition::SlowDisk { node, by_us: 0 } });
                let call = Transition::Call { node, to: Some(node), agent: AgentKind::Echo, durable: true };
                self.push(call);
            }
            Choice::Freeze => {
                self.push(Transition::Freeze { node });
                let at_us = self.now_us + self.dice.between(FREEZE_US);
                self.steps.push(Step { at_us, transition: Transition::Thaw { node } });
            }
            Choice::Churn => {
                let times = self.dice.between([2, 5]);
                let (down_us, up_us) =
                    (self.dice.between([50_000, 2_000_000]), self.dice.between([200_000, 3_000_000]));
                self.push(Transition::Churn { node, times, down_us, up_us });
                self.up_from_us[node] = self.now_us + times * (down_us + up_us) + 1;
            }
            Choice::Lie => {
                let liar = self.scenario.nodes - 1 - self.dice.index(self.scenario.liars);
                let how = Lie::HARMLESS[self.dice.index(Lie::HARMLESS.len())];
                self.push(Transition::Lie { node: liar, how });
                let at_us = self.now_us + self.dice.between(LASTS_US);
                self.steps.push(Step { at_us, transition: Transition::Truth { node: liar } });
            }
            Choice::ClockForward => self.step_clock(node, 1),
            Choice::ClockBack => {
                self.step_clock(node, -1);
                self.crash_soon(node);
            }
            Choice::ClockFreeze => {
                self.push(Transition::ClockFreeze { node });
                let at_us = self.now_us + self.dice.between(LASTS_US);
                self.steps.push(Step { at_us, transition: Transition::ClockThaw { node } });
                self.crash_soon(node);
            }
        }
    }

    /// Lets a node go down, and start again after a time within `down_us`.
    fn down(&mut self, node: usize, down_us: [u64; 2], transition: Transition) {
        self.push(transition);
        let at_us = self.now_us + self.dice.between(down_us);
        self.up_from_us[node] = at_us + 1;
        self.steps.push(Step { at_us, transition: Transition::Restart { node } });
    }

    /// Takes a copy of a home, lets its node go on, and puts the copy back in one of the ways that can be bad.
    fn restore(&mut self) {
        self.await_network();
        let all = 0..self.scenario.nodes;
        // What went before is over: who is there is what matters.
        self.now_us = self.now_us.max(self.up_from_us.iter().copied().max().unwrap_or_default()) + SETTLED_US;
        let node = self.node();
        let others: Vec<usize> = all.clone().filter(|other| *other != node).collect();
        match self.dice.below(6) {
            // Everybody is there.
            0 => {
                let copy = self.copy_and_go_on(&[node]);
                self.put_back(&[(node, copy[0])], [1_000, 500_000]);
            }
            // Nobody is.
            1 => {
                let copy = self.copy_and_go_on(&[node]);
                others.iter().for_each(|other| self.away(*other, ALONE_US));
                self.put_back(&[(node, copy[0])], [1_000, 500_000]);
            }
            // One that lags behind is there, those who know more are not.
            2 => {
                let lagging = others[self.dice.index(others.len())];
                self.push(Transition::Partition { side: vec![lagging] });
                let copy = self.copy_and_go_on(&[node]);
                let up_to_date = others.iter().filter(|other| **other != lagging);
                up_to_date.for_each(|other| self.away(*other, ALONE_US));
                self.push(Transition::Heal);
                self.put_back(&[(node, copy[0])], [1_000, 500_000]);
            }
            // Twice from one copy, with everybody or nobody there the second time.
            3 => {
                let copy = self.copy_and_go_on(&[node]);
                self.put_back(&[(node, copy[0])], [1_000, 500_000]);
                self.go_on(&[node]);
                if self.dice.chance(400) {
                    others.iter().for_each(|other| self.away(*other, ALONE_US));
                }
                self.put_back(&[(node, copy[0])], [1_000, 500_000]);
            }
            // A member that joined the others while this node was away is there: two homes at once.
            4 => {
                let pair = [node, others[0]];
                let copies = self.copy_and_go_on(&pair);
                self.put_back(&[(pair[0], copies[0]), (pair[1], copies[1])], [1_000, 3_000_000]);
            }
            // All at once.
            _ => {
                let nodes: Vec<usize> = all.collect();
                let copies = self.copy_and_go_on(&nodes);
                let restored: Vec<(usize, usize)> = nodes.into_iter().zip(copies).collect();
                self.put_back(&restored, [1_000, 1_500_000]);
            }
        }
        self.go_on(&[node]);
    }

    /// Copies these homes, each at its own time, while their nodes go on; the numbers of the copies.
    fn copy_and_go_on(&mut self, nodes: &[usize]) -> Vec<usize> {
        let copy = |plan: &mut Self, node: usize| {
            plan.push(Transition::CopyHome { node });
            plan.copies[node] += 1;
            plan.go_on(&[node]);
            plan.copies[node] - 1
        };
        let copies = nodes.iter().map(|node| copy(self, *node)).collect();
        self.go_on(nodes);
        copies
    }

    /// These nodes are asked for durable things for a while.
    fn go_on(&mut self, nodes: &[usize]) {
        for node in nodes {
            for _ in 0..1 + self.dice.below(4) {
                let (node, to) = if self.dice.chance(700) { (*node, self.node()) } else { (self.node(), *node) };
                let durable = self.dice.chance(700);
                self.push(Transition::Call { node, to: Some(to), agent: AgentKind::Echo, durable });
                self.now_us += self.dice.between([1_000, 400_000]);
            }
        }
    }

    /// A node is away for a time.
    fn away(&mut self, node: usize, down_us: [u64; 2]) {
        self.down(node, down_us, Transition::Crash { node, unsynced: Unsynced::Kept, writing: false });
    }

    /// Puts these copies back, and starts their nodes within a time.
    fn put_back(&mut self, homes: &[(usize, usize)], down_us: [u64; 2]) {
        let memory = [Remembers::Kept, Remembers::Kept, Remembers::Gone, Remembers::RolledBack][self.dice.index(4)];
        for (node, copy) in homes.iter().copied() {
            self.down(node, down_us, Transition::RestoreHome { node, copy, memory });
        }
        self.now_us += down_us[1] + RESTORED_US;
    }

    /// Lets something strike a node in the middle of its next write, and sees to it that it writes.
    fn strike(&mut self, node: usize, transition: Transition) {
        self.down(node, GOES_DOWN_US, transition);
        for after_us in [1_000, 400_000, 900_000] {
            let call = Transition::Call { node, to: Some(node), agent: AgentKind::Echo, durable: true };
            self.steps.push(Step { at_us: self.now_us + after_us, transition: call });
        }
    }

    /// Only a start shows that a clock went back or stands still, so half the time there is one, where starts are wanted.
    fn crash_soon(&mut self, node: usize) {
        if self.scenario.weights.crash > 0 && self.dice.chance(500) {
            self.now_us += self.dice.between([1_000, 400_000]);
            self.down(node, DOWN_US, Transition::Crash { node, unsynced: Unsynced::Lost, writing: false });
        }
    }

    /// Waits until the network is whole.
    fn await_network(&mut self) {
        self.now_us = self.now_us.max(self.network_whole_us);
    }

    /// Disturbs the network when it is whole, for a time.
    fn disturb(&mut self, transition: Transition) {
        self.await_network();
        self.push(transition);
        self.network_whole_us = self.now_us + self.dice.between(LASTS_US);
        self.steps.push(Step { at_us: self.network_whole_us, transition: Transition::Heal });
    }

    /// One side of a division, with a node that is up on each.
    fn side(&mut self) -> Vec<usize> {
        let (here, there) = self.two_up();
        let rest = (0..self.scenario.nodes).filter(|node| *node != here && *node != there).collect::<Vec<_>>();
        let mut side = vec![here];
        side.extend(rest.into_iter().filter(|_| self.dice.chance(400)));
        side.sort_unstable();
        side
    }

    /// Jumps are as often within half a second, where stamps are merged, as beyond it.
    fn step_clock(&mut self, node: usize, direction: i64) {
        let most_us = if self.dice.chance(500) { 500_000 } else { CLOCK_JUMP_US_MAX };
        let by_us = self.dice.between([1_000, most_us]).cast_signed() * direction;
        self.push(Transition::ClockStep { node, by_us });
    }
}

/// The smallest plan found by leaving out steps, in halves, then quarters and so on, as long as `fails` still says so.
/// At most [`SHRINK_RUNS_MAX`] runs are tried; `plan` itself must fail.
pub(crate) fn shrink(plan: Vec<Step>, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut smallest = plan;
    let mut runs = 0;
    let mut size = smallest.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut shrunk = false;
        while from < smallest.len() && runs < SHRINK_RUNS_MAX {
            let mut candidate = smallest.clone();
            candidate.drain(from..(from + size).min(smallest.len()));
            runs += 1;
            if fails(&candidate) {
                smallest = candidate;
                shrunk = true;
            } else {
                from += size;
            }
        }
        if runs >= SHRINK_RUNS_MAX || (size == 1 && !shrunk) {
            break;
        }
        size = if size == 1 { 1 } else { size.div_ceil(2) };
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{scenario, weight_names};

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let chaos = scenario("chaos").expect("shipped");
        assert_eq!(plan(&chaos, 1), plan(&chaos, 1));
        assert_ne!(plan(&chaos, 1), plan(&chaos, 2));
    }

    #[test]
    fn a_plan_is_in_order_and_holds_each_kind_that_has_a_weight() {
        let chaos = scenario("chaos").expect("shipped");
        for seed in 0..20 {
            let plan = plan(&chaos, seed);
            assert!(plan.is_sorted_by_key(|step| step.at_us));
            let has = |found: &dyn Fn(&Transition) -> bool| plan.iter().any(|step| found(&step.transition));
            assert!(has(&|it| matches!(it, Transition::Crash { unsynced: Unsynced::Torn, writing: true, .. })));
            assert!(has(&|it| matches!(it, Transition::ClockStep { by_us, .. } if *by_us < 0)));
            assert!(has(&|it| matches!(it, Transition::Partition { side } if side.len() < chaos.nodes)));
            assert!(has(&|it| matches!(it, Transition::DiskError { .. })));
        }
    }

    #[test]
    fn every_weight_changes_what_happens() {
        let calm = Scenario { late: 2, liars: 1, nodes: 5, ..scenario("calm").expect("shipped") };
        let usual = plan(&calm, 1);
        for name in weight_names() {
            let mut weights = serde_json::to_value(calm.weights).expect("numbers");
            weights[&name] = serde_json::json!(50);
            let weights = serde_json::from_value(weights).expect("weights");
            assert_ne!(plan(&Scenario { weights, ..calm.clone() }, 1), usual, "{name}");
        }
    }

    #[test]
    fn shrinking_finds_the_two_steps_that_matter() {
        let chaos = scenario("chaos").expect("shipped");
        let plan = plan(&chaos, 5);
        let (first, last) = (plan[3].clone(), plan[plan.len() - 4].clone());
        let smallest = shrink(plan, |steps| steps.contains(&first) && steps.contains(&last));
        assert_eq!(smallest, [first, last]);
    }
}
