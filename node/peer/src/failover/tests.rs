//! Several machines in one hand, with clocks, disks and cuts between them: never do two of them run the agent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{
    AgentSpec, Backend, BuiltinKind, Failover as Terms, FenceGranted, Incarnation, LeaseAnswer, Principal, Role,
};

use super::*;
use crate::event::InboundId;

const SECOND_US: u64 = 1_000_000;
const STEP_US: u64 = 50_000;
const START_US: u64 = 1_704_067_200_000_000;

fn chain(number: u8) -> ChainId {
    ChainId { node: NodeId::from_bytes([number + 1; 32]), incarnation: Incarnation(1) }
}

fn roamer() -> AgentName {
    "roamer".parse().unwrap()
}

fn epoch(number: u8) -> EpochId {
    EpochId(weft_protocol::Digest::from_bytes([number; 32]))
}

fn declared() -> FailoverDeclared {
    let spec = AgentSpec::new(roamer(), Backend::Builtin(BuiltinKind::Counter));
    FailoverDeclared {
        spec: AgentSpec { failover: Some(Terms::default()), ..spec },
        by: Principal::Operator,
        first: None,
    }
}

struct One {
    machine: Failover,
    up: bool,
    runs: bool,
    /// Ahead of the true time by this much.
    ahead_us: u64,
    /// Places of chains that it holds.
    held: BTreeMap<usize, usize>,
    /// Whom it takes for dead.
    dead: BTreeSet<usize>,
}

/// What is on its way.
enum Post {
    To(usize, Input),
    Fact(usize, u64, Fact),
}

struct Hand {
    ones: Vec<One>,
    facts: Vec<Vec<PlacedFact>>,
    now_us: u64,
    epoch: EpochId,
    counting: usize,
    cut: BTreeSet<(usize, usize)>,
    post: VecDeque<Post>,
    requests: BTreeMap<u64, (usize, usize, u64)>,
    next_request: u64,
    /// Who ran the agent, from when until when.
    lives: Vec<(usize, u64, Option<u64>)>,
    placed: Vec<Output>,
}

impl Hand {
    fn new(count: usize) -> Self {
        let ones = (0..count).map(|number| One {
            machine: Failover::new(chain(number as u8), std::iter::empty(), Timestamp(START_US)),
            up: true,
            runs: false,
            ahead_us: 0,
            held: BTreeMap::new(),
            dead: BTreeSet::new(),
        });
        Self {
            ones: ones.collect(),
            facts: vec![Vec::new(); count],
            now_us: START_US,
            epoch: epoch(1),
            counting: count,
            cut: BTreeSet::new(),
            post: VecDeque::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            lives: Vec::new(),
            placed: Vec::new(),
        }
    }

    fn world(&self, at: usize) -> World {
        let member = |other: usize| {
            let alive = !self.ones[at].dead.contains(&other);
            (chain(other as u8).node, MemberSeen { role: Role::Admin, alive, labels: BTreeMap::new() })
        };
        World {
            now: Timestamp(self.now_us + self.ones[at].ahead_us),
            epoch: self.epoch,
            counting: (0..self.counting).map(|number| chain(number as u8)).collect(),
            members: (0..self.ones.len()).map(member).collect(),
            running: true,
        }
    }

    fn linked(&self, one: usize, other: usize) -> bool {
        let cut = self.cut.contains(&(one.min(other), one.max(other)));
        self.ones[one].up && self.ones[other].up && !cut
    }

    fn tell(&mut self, at: usize, input: Input) {
        if !self.ones[at].up {
            return;
        }
        let (world, mut out) = (self.world(at), Vec::new());
        self.ones[at].machine.handle(input, &world, &mut out);
        for output in out {
            self.carry_out(at, output);
        }
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Record { ticket, fact, .. } => self.post.push_back(Post::Fact(at, ticket, fact)),
            Output::Ask { to, round, fences } => {
                let to = (0..self.ones.len()).find(|other| chain(*other as u8).node == to).unwrap();
                if !self.linked(at, to) {
                    return self.post.push_back(Post::To(at, Input::LeaseAnswered { round, answers: None }));
                }
                self.next_request += 1;
                self.requests.insert(self.next_request, (at, to, round));
                let (request, own) = (InboundId(self.next_request), chain(at as u8));
                let asked = Input::LeaseAsked { request, from: own.node, holder: own, epoch: self.epoch, fences };
                self.post.push_back(Post::To(to, asked));
            }
            Output::Respond { request, answers } => {
                let (asker, from, round) = self.requests[&request.0];
                if self.linked(asker, from) {
                    self.post.push_back(Post::To(asker, Input::LeaseAnswered { round, answers: Some(answers) }));
                }
            }
            Output::Start(_) => {
                let running: Vec<_> = (0..self.ones.len()).filter(|one| self.ones[*one].runs).collect();
                assert!(running.is_empty(), "{at} starts while {running:?} run");
                self.ones[at].runs = true;
                self.lives.push((at, self.now_us, None));
                self.post.push_back(Post::To(at, Input::Here { agent: roamer() }));
            }
            Output::Stop { .. } => {
                self.end(at);
                self.post.push_back(Post::To(at, Input::Gone { agent: roamer(), never_ran: None }));
            }
            other => self.placed.push(other),
        }
    }

    fn end(&mut self, at: usize) {
        if std::mem::take(&mut self.ones[at].runs) {
            let now_us = self.now_us;
            let life = self.lives.iter_mut().rfind(|(one, _, end)| *one == at && end.is_none());
            life.unwrap().2 = Some(now_us);
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            match self.post.pop_front() {
                Some(Post::To(at, input)) => self.tell(at, input),
                Some(Post::Fact(at, ticket, fact)) if self.ones[at].up => {
                    let seq = self.facts[at].len() as u64;
                    let hlc = Hlc::from_wall(Timestamp(self.now_us + seq));
                    self.facts[at].push(PlacedFact { seq, hlc, fact });
                    self.tell(at, Input::Recorded { ticket });
                }
                // Its disk went with it.
                Some(Post::Fact(..)) => {}
                None if !self.replicate() => return,
                None => {}
            }
        }
        panic!("it never rests");
    }

    /// Everybody learns what those have that it can reach. Says whether anything was new.
    fn replicate(&mut self) -> bool {
        let mut new = false;
        for at in 0..self.ones.len() {
            for of in 0..self.ones.len() {
                let best = (0..self.ones.len()).filter(|from| *from == at || self.linked(at, *from));
                let best = best.map(|from| {
                    if from == of { self.facts[of].len() } else { self.ones[from].held.get(&of).copied().unwrap_or(0) }
                });
                let (known, best) = (self.ones[at].held.get(&of).copied().unwrap_or(0), best.max().unwrap_or(0));
                if !self.ones[at].up || best <= known {
                    continue;
                }
                new = true;
                self.ones[at].held.insert(of, best);
                let told = self.facts[of][known..best].to_vec();
                for placed in told {
                    self.tell(at, Input::Learned { chain: chain(of as u8), placed: Box::new(placed) });
                }
            }
        }
        new
    }

    fn run(&mut self, for_us: u64) {
        let until_us = self.now_us + for_us;
        while self.now_us < until_us {
            self.now_us += STEP_US;
            for at in 0..self.ones.len() {
                self.tell(at, Input::Woken);
            }
            self.settle();
        }
    }

    fn declare(&mut self, at: usize) {
        self.tell(at, Input::Asked { ask: AskId(1), declared: Box::new(declared()) });
        self.settle();
        self.run(SECOND_US);
    }

    fn kill(&mut self, at: usize) {
        self.end(at);
        self.ones[at].up = false;
        self.ones.iter_mut().for_each(|one| _ = one.dead.insert(at));
    }

    /// It begins anew with what it holds on its disk.
    fn restart(&mut self, at: usize) {
        self.end(at);
        let held = self.ones[at].held.clone();
        let facts =
            held.iter().flat_map(|(of, count)| self.facts[*of][..*count].iter().map(|fact| (chain(*of as u8), fact)));
        let machine = Failover::new(chain(at as u8), facts, Timestamp(self.now_us));
        self.ones[at].machine = machine;
        self.ones[at].up = true;
        self.ones.iter_mut().for_each(|one| _ = one.dead.remove(&at));
        self.tell(at, Input::Woken);
        self.settle();
    }

    fn isolate(&mut self, at: usize) {
        let others: Vec<_> = (0..self.ones.len()).filter(|other| *other != at).collect();
        self.ones[at].dead.extend(others.iter().copied());
        self.cut.extend(others.iter().map(|other| (at.min(*other), at.max(*other))));
    }

    fn runner(&self) -> Option<usize> {
        (0..self.ones.len()).find(|one| self.ones[*one].runs)
    }

    fn ends(&self, at: usize) -> Vec<FenceEnd> {
        let released = self.facts[at].iter().filter_map(|placed| match &placed.fact {
            Fact::FenceReleased(released) => Some(released.end.clone()),
            _ => None,
        });
        released.collect()
    }

    fn fence(&self) -> u64 {
        let held = self.facts.iter().flatten().filter_map(|placed| match &placed.fact {
            Fact::FenceHeld(held) => Some(held.fence),
            _ => None,
        });
        held.max().unwrap_or(0)
    }

    fn grants(&self) -> Vec<(usize, FenceGranted)> {
        let all = self.facts.iter().enumerate().flat_map(|(at, facts)| facts.iter().map(move |placed| (at, placed)));
        let grants = all.filter_map(|(at, placed)| match &placed.fact {
            Fact::FenceGranted(granted) => Some((at, granted.clone())),
            _ => None,
        });
        grants.collect()
    }
}

use weft_protocol::FenceEnd;

#[test]
fn an_agent_whose_node_dies_goes_on_elsewhere_and_the_old_node_is_told_why_it_may_not() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    assert_eq!((hand.runner(), hand.fence()), (Some(0), 1), "it begins where it was declared");
    hand.run(20 * SECOND_US);
    assert_eq!(hand.lives.len(), 1, "and stays there");
    hand.kill(0);
    hand.run(8 * SECOND_US);
    let next = hand.runner().expect("it goes on");
    assert!(next != 0 && hand.fence() == 2, "on {next} under fence {}", hand.fence());
    let (died, began) = (hand.lives[0].2.unwrap(), hand.lives[1].1);
    assert!((5 * SECOND_US..=8 * SECOND_US).contains(&(began - died)), "after {} us", began - died);
    hand.restart(0);
    hand.run(10 * SECOND_US);
    assert_eq!(hand.runner(), Some(next));
    let refused = FenceEnd::Superseded { fence: 2, holder: chain(next as u8) };
    assert_eq!(hand.ends(0).iter().filter(|end| **end == refused).count(), 1, "{:?}", hand.ends(0));
}

#[test]
fn a_node_that_nobody_hears_ends_its_agent_before_another_one_begins() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.run(5 * SECOND_US);
    hand.isolate(0);
    let cut_us = hand.now_us;
    // They take it for dead at once: it does not depend on that.
    hand.ones[1].dead.insert(0);
    hand.ones[2].dead.insert(0);
    hand.run(9 * SECOND_US);
    let (ended, began) = (hand.lives[0].2.expect("it ended"), hand.lives[1].1);
    assert!(ended - cut_us <= LEASE_US - MARGIN_US && began >= ended + MARGIN_US, "{ended} {began}");
    hand.cut.clear();
    hand.ones.iter_mut().for_each(|one| one.dead.clear());
    hand.run(9 * SECOND_US);
    assert_eq!(hand.lives.len(), 2, "it stays where it is");
    let refused = |end: &&FenceEnd| matches!(end, FenceEnd::Superseded { fence: 2, .. });
    assert_eq!(hand.ends(0).iter().filter(refused).count(), 1, "{:?}", hand.ends(0));
}

#[test]
fn one_that_only_its_successor_does_not_hear_is_left_alone() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.cut.insert((0, 1));
    hand.ones[1].dead.insert(0);
    hand.run(60 * SECOND_US);
    assert_eq!(hand.lives, [(0, hand.lives[0].1, None)], "the third renews its lease");
}

#[test]
fn a_granter_that_starts_anew_waits_as_long_as_a_lease_may_last() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.cut.insert((0, 1));
    hand.ones[1].dead.insert(0);
    hand.run(10 * SECOND_US);
    hand.restart(2);
    hand.ones[2].dead.insert(0);
    hand.cut.insert((0, 2));
    hand.run(10 * SECOND_US);
    assert_eq!(hand.lives.len(), 2);
    assert!(hand.lives[1].1 > hand.lives[0].2.unwrap());
}

#[test]
fn a_clock_that_jumps_does_not_make_a_lease_run_out_for_its_granter() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.run(SECOND_US);
    hand.isolate(0);
    for other in [1, 2] {
        hand.ones[other].dead.insert(0);
        hand.ones[other].ahead_us = 60 * SECOND_US;
    }
    hand.run(10 * SECOND_US);
    assert!(hand.lives[1].1 > hand.lives[0].2.unwrap());
}

#[test]
fn of_each_number_a_member_promises_one_holder() {
    let mut hand = Hand::new(3);
    let ask = |hand: &mut Hand, holder: usize, fence: u64| {
        hand.next_request += 1;
        hand.requests.insert(hand.next_request, (holder, 2, 0));
        let (request, holder) = (InboundId(hand.next_request), chain(holder as u8));
        let fences = vec![(roamer(), fence)];
        let (world, mut out) = (hand.world(2), Vec::new());
        let asked = Input::LeaseAsked { request, from: holder.node, holder, epoch: hand.epoch, fences };
        hand.ones[2].machine.handle(asked, &world, &mut out);
        let answers = out.iter().find_map(|output| match output {
            Output::Respond { answers, .. } => Some(answers.clone()),
            _ => None,
        });
        out.into_iter().for_each(|output| hand.carry_out(2, output));
        hand.post.retain(|post| !matches!(post, Post::To(..)));
        hand.settle();
        answers
    };
    assert_eq!(ask(&mut hand, 0, 1), None, "not before it is on disk");
    assert_eq!(ask(&mut hand, 0, 1), Some(vec![LeaseAnswer::Granted]), "and then again and again");
    let taken = LeaseAnswer::Taken { fence: 1, holder: chain(0) };
    assert_eq!(ask(&mut hand, 1, 1), Some(vec![taken]));
    let answer = ask(&mut hand, 1, 2).expect("at once");
    assert!(matches!(answer[..], [LeaseAnswer::NotYet { wait_us }] if wait_us > LEASE_US), "{answer:?}");
    assert_eq!(ask(&mut hand, 0, 5_000), Some(vec![LeaseAnswer::Unknown]), "numbers are not used up");
    assert_eq!(hand.grants().len(), 1);
}

#[test]
fn a_fence_is_granted_within_one_epoch_and_the_agent_does_not_notice() {
    let mut hand = Hand::new(4);
    hand.counting = 3;
    hand.declare(0);
    for at in 0..3 {
        hand.tell(at, Input::EndEndorsed { epoch: epoch(1) });
    }
    hand.run(SECOND_US);
    (hand.epoch, hand.counting) = (epoch(2), 4);
    hand.run(20 * SECOND_US);
    assert_eq!((hand.runner(), hand.lives.len(), hand.fence()), (Some(0), 1, 2));
    let of = |fence: u64| {
        hand.grants().into_iter().filter(|(_, it)| it.fence == fence).map(|(_, it)| it.epoch).collect::<BTreeSet<_>>()
    };
    assert_eq!((of(1), of(2)), ([epoch(1)].into(), [epoch(2)].into()));
}

#[test]
fn who_said_that_an_epoch_ends_grants_nothing_more_in_it() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.run(5 * SECOND_US);
    for at in 1..3 {
        hand.tell(at, Input::EndEndorsed { epoch: epoch(1) });
    }
    let said_us = hand.now_us;
    hand.run(10 * SECOND_US);
    assert_eq!(hand.runner(), None, "nobody renews");
    assert!(hand.lives[0].2.unwrap() <= said_us + LEASE_US);
}

#[test]
fn a_node_that_leaves_hands_over_at_once() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.run(5 * SECOND_US);
    hand.tell(0, Input::DrainAsked { ask: AskId(7) });
    hand.settle();
    hand.run(SECOND_US);
    let next = hand.runner().expect("it goes on");
    assert!(next != 0 && hand.lives[1].1 - hand.lives[0].2.unwrap() < SECOND_US);
    let drained = Output::Drained { ask: AskId(7), agents: vec![(roamer(), Some(chain(next as u8).node))] };
    assert!(hand.placed.contains(&drained), "{:?}", hand.placed);
}

#[test]
fn claims_that_split_are_given_up_in_writing_and_the_next_number_is_tried() {
    let mut hand = Hand::new(4);
    hand.declare(0);
    hand.run(2 * SECOND_US);
    hand.kill(0);
    hand.run(7 * SECOND_US);
    // Now two ask for the same number at the same moment, each with its own promise: neither gets three of four.
    hand.kill(hand.runner().unwrap());
    let left: Vec<_> = (0..4).filter(|one| hand.ones[*one].up).collect();
    assert_eq!(left.len(), 2, "two of four cannot agree");
    hand.run(20 * SECOND_US);
    assert_eq!(hand.runner(), None);
    hand.restart(0);
    for at in left.iter().copied().chain([0]) {
        let (world, mut out) = (hand.world(at), Vec::new());
        hand.ones[at].machine.claim(&roamer(), &world, &mut out);
        out.into_iter().for_each(|output| hand.carry_out(at, output));
    }
    hand.settle();
    hand.run(20 * SECOND_US);
    assert!(hand.runner().is_some(), "one of the three that are left runs it");
    let abandoned = (0..4).flat_map(|at| hand.ends(at)).filter(|end| *end == FenceEnd::Abandoned).count();
    assert!(abandoned > 0);
}

#[test]
fn two_members_are_too_few() {
    let mut hand = Hand::new(2);
    hand.declare(0);
    assert_eq!(hand.placed, [Output::Refused { ask: AskId(1), refusal: Refusal::NoMajority { counting: 2 } }]);
}

#[test]
fn what_was_stopped_is_started_by_nobody_until_it_is_declared_anew() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.end(0);
    hand.tell(0, Input::Gone { agent: roamer(), never_ran: None });
    hand.settle();
    hand.run(20 * SECOND_US);
    assert_eq!((hand.runner(), hand.ends(0)), (None, vec![FenceEnd::Ended]));
    hand.declare(1);
    assert_eq!((hand.runner(), hand.fence()), (Some(1), 2));
}

#[test]
fn who_cannot_run_it_lets_the_next_one_try() {
    let mut hand = Hand::new(3);
    hand.declare(0);
    hand.kill(0);
    hand.run(8 * SECOND_US);
    let first = hand.runner().unwrap();
    hand.end(first);
    hand.tell(first, Input::Gone { agent: roamer(), never_ran: Some("no such program".into()) });
    hand.settle();
    hand.run(4 * SECOND_US);
    let second = hand.runner().expect("another one");
    assert!(second != first && second != 0);
}
