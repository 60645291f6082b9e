//! Two admins who admit and evict at once: in every order of what they do, and of when anybody hears of it, all members end equal.

use std::collections::BTreeSet;

use weft_simulations::membership::{Chain, Change, Member, Rules, View};

use crate::same::same;

/// A and B are the admins who act, C and D vote with them, X comes from outside.
const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const D: u8 = 3;
const X: u8 = 4;
/// Rounds in which both go on: a ballot of each takes three, and one may overrule the other.
const ROUNDS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Admit(u8),
    Evict(u8),
}

const fn chain(node: u8) -> Chain {
    Chain { node, incarnation: 0 }
}

struct World {
    members: Vec<Member>,
}

impl World {
    fn new() -> Self {
        let founders = || [A, B, C, D].into_iter().map(chain);
        let member = |node| Member::new(chain(node), View::new(founders()), Rules::default(), None);
        let mut world = Self { members: [A, B, C, D, X].into_iter().map(member).collect() };
        world.meet();
        world
    }

    fn of(&mut self, node: u8) -> &mut Member {
        &mut self.members[usize::from(node)]
    }

    fn meet(&mut self) {
        for _ in 0..2 {
            let mut all = View::default();
            self.members.iter().for_each(|member| all.merge(&member.view));
            for member in &mut self.members {
                member.hear(&all);
                member.tick();
            }
        }
    }

    /// Everybody hears everybody, and answers what is asked.
    fn round(&mut self) {
        self.meet();
        self.members.iter_mut().for_each(|member| _ = member.promise());
        self.meet();
        self.members.iter_mut().for_each(|member| _ = member.endorse());
        self.meet();
    }

    fn is_done(&mut self, by: u8, wish: Wish) -> bool {
        let fold = self.of(by).fold();
        match wish {
            // Whoever was evicted stays out, whatever anybody admits.
            Wish::Admit(node) => fold.active().any(|chain| chain.node == node) || fold.evicted().contains(&node),
            Wish::Evict(node) => fold.evicted().contains(&node),
        }
    }

    fn propose(&mut self, by: u8, wish: Wish) {
        let member = self.of(by);
        let change = match wish {
            Wish::Admit(node) => Some(Change::Admit(chain(node))),
            // Whom it has not heard of it cannot evict yet.
            Wish::Evict(node) => member.known_head(chain(node)).map(Change::Evict),
        };
        if let Some(change) = change {
            member.propose(change);
        }
    }

    /// Both go on until what they want has come about, or cannot any more.
    fn settle(&mut self, wishes: [(u8, Wish); 2]) {
        for round in 0..ROUNDS {
            self.round();
            if wishes.into_iter().all(|(by, wish)| self.is_done(by, wish)) {
                break;
            }
            for (by, wish) in wishes {
                if self.is_done(by, wish) {
                    continue;
                }
                if self.of(by).leads() {
                    self.propose(by, wish);
                } else if round % 4 == usize::from(by) * 2 {
                    self.of(by).ask();
                }
            }
        }
        self.round();
    }
}

/// Every order of two lists, each kept in its own order; true stands for the first.
fn interleavings(first: usize, second: usize) -> Vec<Vec<bool>> {
    if first == 0 || second == 0 {
        return vec![[vec![true; first], vec![false; second]].concat()];
    }
    let begun = |with: bool, rest: Vec<Vec<bool>>| {
        rest.into_iter().map(move |rest| [vec![with], rest].concat()).collect::<Vec<_>>()
    };
    [begun(true, interleavings(first - 1, second)), begun(false, interleavings(first, second - 1))].concat()
}

/// Plays all orders; who counts in the end, each outcome once. That something is decided within some rounds is not promised (two who
/// overrule each other may go on for long), so an outcome in which nothing was is one as well.
fn outcomes(first: Wish, second: Wish) -> BTreeSet<BTreeSet<u8>> {
    let mut outcomes = BTreeSet::new();
    let wishes = [(A, first), (B, second)];
    let mut histories = 0;
    for order in interleavings(2, 2) {
        // Before, between and after the four steps everybody hears of everything, or nobody does.
        for heard in 0_u32..32 {
            let mut world = World::new();
            let mut asked = [false; 2];
            for (place, first) in order.iter().enumerate() {
                if heard & 1 << place != 0 {
                    world.round();
                }
                let (by, wish) = wishes[usize::from(!first)];
                if std::mem::replace(&mut asked[usize::from(!first)], true) {
                    world.propose(by, wish);
                } else {
                    world.of(by).ask();
                }
            }
            if heard & 16 != 0 {
                world.round();
            }
            world.settle(wishes);
            histories += 1;
            let ends: Vec<_> = world
                .members
                .iter()
                .map(|member| {
                    let fold = member.fold();
                    (
                        fold.now().begun_by,
                        fold.active().collect::<BTreeSet<_>>(),
                        fold.members(),
                        fold.evicted().clone(),
                    )
                })
                .collect();
            assert!(
                ends.windows(2).all(|pair| pair[0] == pair[1]),
                "{first:?} {second:?} {order:?} {heard:b}: {ends:?}"
            );
            let (_, active, _, evicted) = &ends[0];
            let counting: BTreeSet<u8> = active.iter().map(|chain| chain.node).collect();
            assert!(counting.is_disjoint(evicted), "{order:?} {heard:b}: an eviction wins over any admission");
            // And replication, which takes the same records in in another order at each member, says the same.
            for (turn, member) in world.members.iter().enumerate() {
                same(member, turn + histories);
            }
            outcomes.insert(counting);
        }
    }
    assert_eq!(histories, 6 * 32);
    outcomes
}

fn set<const COUNT: usize>(nodes: [u8; COUNT]) -> BTreeSet<u8> {
    BTreeSet::from(nodes)
}

/// Each of these came about, and nothing else but that nothing was decided.
fn assert_decides(outcomes: &BTreeSet<BTreeSet<u8>>, decided: &[BTreeSet<u8>]) {
    let nothing = set([A, B, C, D]);
    let others: BTreeSet<_> = outcomes.iter().filter(|outcome| **outcome != nothing).cloned().collect();
    assert_eq!(others, decided.iter().cloned().collect());
}

#[test]
fn an_eviction_wins_over_the_admission_of_the_same_node() {
    assert_eq!(outcomes(Wish::Admit(X), Wish::Evict(X)), BTreeSet::from([set([A, B, C, D])]));
}

#[test]
fn an_admission_and_the_eviction_of_another_both_come_about() {
    assert_eq!(outcomes(Wish::Admit(X), Wish::Evict(C)), BTreeSet::from([set([A, B, D, X])]));
}

#[test]
fn two_admissions_and_two_evictions_of_one_node_are_one() {
    assert_eq!(outcomes(Wish::Admit(X), Wish::Admit(X)), BTreeSet::from([set([A, B, C, D, X])]));
    assert_decides(&outcomes(Wish::Evict(C), Wish::Evict(C)), &[set([A, B, D])]);
}

#[test]
fn of_two_admins_who_evict_each_other_one_falls() {
    // By more than half, and never both.
    assert_decides(&outcomes(Wish::Evict(B), Wish::Evict(A)), &[set([A, C, D]), set([B, C, D])]);
}
