//! A, B and C by hand: for each rule a history that contradicts itself without the rule and holds with it.

use weft_simulations::membership::{
    Acknowledged, Ballot, Chain, Change, Commit, Member, Record, Rules, View, contradiction, convicted,
};

/// The first incarnation of a node.
const fn chain(node: u8) -> Chain {
    Chain { node, incarnation: 0 }
}

/// So many founders who have heard and acknowledged each other.
fn founders<const COUNT: usize>(rules: Rules) -> [Member; COUNT] {
    let chains = || (0..COUNT as u8).map(chain);
    let mut members = std::array::from_fn(|node| Member::new(chain(node as u8), View::new(chains()), rules, None));
    meet(&mut members.each_mut());
    members
}

/// These hear each other and say so, until nothing is left to say.
fn meet(members: &mut [&mut Member]) {
    for _ in 0..3 {
        let mut all = View::default();
        for member in &*members {
            all.merge(&member.view);
        }
        for member in &mut *members {
            member.hear(&all);
            member.tick();
        }
    }
    let all: Vec<View> = members.iter().map(|member| member.view.clone()).collect();
    for member in &mut *members {
        all.iter().for_each(|view| member.hear(view));
    }
}

/// The first gets the promises that it needs to propose something.
fn ballot(members: &mut [&mut Member]) {
    assert!(members[0].ask(), "it counts");
    meet(members);
    members[1..].iter_mut().for_each(|member| _ = member.promise());
    meet(members);
}

/// The first proposes a change and all endorse it.
fn change(change: Change, members: &mut [&mut Member]) {
    ballot(members);
    assert!(members[0].propose(change), "nothing else is proposed");
    meet(members);
    for member in &mut *members {
        member.endorse();
    }
    meet(members);
}

/// What is stable at a member, to be compared with what comes later.
struct Stable(View, Vec<u64>);

fn stable(member: &Member) -> Stable {
    Stable(member.view.clone(), member.fold().stable())
}

impl Stable {
    /// What `later` takes back of it.
    fn broken_by(&self, later: &Member) -> Result<(), String> {
        contradiction(&self.1, &self.0, &later.fold()).map_or(Ok(()), Err)
    }
}

/// The history holds under the rules, and contradicts itself without this one.
fn needs(without: Rules, history: fn(Rules) -> Result<(), String>) {
    assert_eq!(history(Rules::default()), Ok(()));
    let broken = history(without);
    assert!(broken.is_err(), "the history shows nothing");
}

const NOW: fn() -> Rules = Rules::default;

/// C hears A and B, who do not hear C and end its chain before its last event.
fn unheard_and_suspended(rules: Rules) -> Result<(), String> {
    let [mut a, mut b, mut c] = founders(rules);
    c.write(Record::Other);
    for member in [&mut a, &mut b] {
        member.see(100);
        member.tick();
    }
    c.hear(&a.view);
    c.hear(&b.view);
    c.tick();
    let before = stable(&c);
    let head = a.known_head(chain(2)).expect("A knows the first event of C");
    change(Change::Suspend(head), &mut [&mut a, &mut b]);
    a.write(Record::Other);
    meet(&mut [&mut a, &mut b]);
    assert!(a.fold().stable().contains(&a.last.expect("written").hash), "A and B go on without C");
    c.hear(&a.view);
    change(Change::Resume(chain(2)), &mut [&mut a, &mut b]);
    meet(&mut [&mut a, &mut b, &mut c]);
    before.broken_by(&c)
}

#[test]
fn what_only_the_suspended_held_is_not_stable() {
    needs(Rules { acknowledged: Acknowledged::Nobody, horizons: false, ..NOW() }, unheard_and_suspended);
}

/// B acknowledges an event of C, so that two of three hold it, and then endorses that C ended before.
#[test]
fn more_than_half_is_too_few_when_one_of_them_lies() {
    needs(Rules { acknowledged: Acknowledged::MoreThanHalf, horizons: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        b.rules.endorsers_withhold = false;
        ballot(&mut [&mut a, &mut b]);
        let head = a.known_head(chain(2)).expect("A knows the first event of C");
        c.write(Record::Other);
        a.see(100);
        a.tick();
        b.hear(&c.view);
        b.hear(&a.view);
        b.tick();
        c.hear(&b.view);
        c.tick();
        let before = stable(&c);
        a.propose(Change::Suspend(head));
        a.endorse();
        b.hear(&a.view);
        b.endorse();
        meet(&mut [&mut a, &mut b, &mut c]);
        before.broken_by(&c)
    });
}

/// These promise a second ballot of A.
fn second_ballot(a: &mut Member, promising: &mut [&mut Member]) {
    a.see(50);
    a.ask();
    a.ask();
    for member in promising {
        member.hear(&a.view);
        member.promise();
        a.hear(&member.view);
    }
}

/// A proposes in it that the chain of E ends, unless it must propose something else, and this one endorses it.
fn end_the_last(a: &mut Member, b: &mut Member) {
    let head = a.known_head(chain(4)).expect("heard");
    a.propose(Change::Suspend(head));
    b.hear(&a.view);
    b.endorse();
}

/// C and E endorse that nothing changes, in the first ballot.
fn first_ballot(c: &mut Member, b: &mut Member, e: &mut Member) {
    ballot(&mut [&mut *c, b, &mut *e]);
    c.propose(Change::Nothing);
    e.hear(&c.view);
    e.endorse();
    e.write(Record::Other);
}

/// D endorses too and A writes on; what is stable then is looked at again when E, whom the others did not hear, tells of its vote.
fn then_the_last_is_heard([mut a, mut b, mut c, mut d, mut e]: [Member; 5]) -> Result<(), String> {
    d.hear(&a.view);
    d.endorse();
    a.hear(&d.view);
    a.write(Record::Other);
    meet(&mut [&mut a, &mut b, &mut c, &mut d]);
    let before = stable(&a);
    meet(&mut [&mut a, &mut b, &mut c, &mut d, &mut e]);
    before.broken_by(&a)
}

/// B, C and E decide in the first ballot that nothing changes; in the second A, B and D end the chain of E, though B tells
/// of what it endorsed.
#[test]
fn a_later_ballot_proposes_what_may_have_been_decided() {
    needs(Rules { ballots_bind: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c, mut d, mut e] = founders(rules);
        first_ballot(&mut c, &mut b, &mut e);
        b.hear(&c.view);
        b.endorse();
        second_ballot(&mut a, &mut [&mut b, &mut d]);
        end_the_last(&mut a, &mut b);
        a.hear(&b.view);
        then_the_last_is_heard([a, b, c, d, e])
    });
}

/// B promises the second ballot and then endorses in the first.
#[test]
fn a_promise_is_kept() {
    needs(Rules { promises_kept: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c, mut d, mut e] = founders(rules);
        first_ballot(&mut c, &mut b, &mut e);
        second_ballot(&mut a, &mut [&mut b, &mut d]);
        end_the_last(&mut a, &mut b);
        a.hear(&b.view);
        b.hear(&c.view);
        b.endorse();
        then_the_last_is_heard([a, b, c, d, e])
    });
}

/// C writes while it is suspended; A and B go on; C is resumed.
#[test]
fn what_the_suspended_wrote_follows_its_resumption() {
    needs(Rules { late_events_after_opening: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let head = a.known_head(chain(2)).expect("heard");
        change(Change::Suspend(head), &mut [&mut a, &mut b]);
        c.write(Record::Other);
        a.see(100);
        a.write(Record::Other);
        meet(&mut [&mut a, &mut b]);
        let before = stable(&a);
        change(Change::Resume(chain(2)), &mut [&mut a, &mut b]);
        meet(&mut [&mut a, &mut b, &mut c]);
        before.broken_by(&a)
    });
}

/// A writes after the record that lets C come back, before it endorses it.
#[test]
fn nothing_after_a_proposed_change_is_stable() {
    needs(Rules { changes_hold: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let head = a.known_head(chain(2)).expect("heard");
        change(Change::Suspend(head), &mut [&mut a, &mut b]);
        c.write(Record::Other);
        ballot(&mut [&mut b, &mut a]);
        b.propose(Change::Resume(chain(2)));
        a.hear(&b.view);
        a.write(Record::Other);
        meet(&mut [&mut a, &mut b]);
        let before = stable(&a);
        a.endorse();
        b.endorse();
        meet(&mut [&mut a, &mut b, &mut c]);
        before.broken_by(&a)
    });
}

/// C is resumed, and what it wrote meanwhile arrives after an event of B with the stamp of the resumption.
fn late_beside_another(rules: Rules) -> Result<(), String> {
    let [mut a, mut b, mut c] = founders(rules);
    let head = a.known_head(chain(2)).expect("heard");
    change(Change::Suspend(head), &mut [&mut a, &mut b]);
    c.write(Record::Other);
    ballot(&mut [&mut a, &mut b]);
    a.see(200);
    b.see(200);
    b.write(Record::Other);
    a.propose(Change::Resume(chain(2)));
    meet(&mut [&mut a, &mut b]);
    b.endorse();
    meet(&mut [&mut a, &mut b]);
    let before = stable(&a);
    meet(&mut [&mut a, &mut b, &mut c]);
    before.broken_by(&a)
}

#[test]
fn nothing_after_a_resumption_is_stable_before_the_resumed_is_heard() {
    let half = Rules { acknowledged: Acknowledged::MoreThanHalf, horizons: false, ..NOW() };
    assert_eq!(late_beside_another(half), Ok(()));
    assert!(late_beside_another(Rules { opened_is_heard: false, ..half }).is_err());
    needs(Rules { opened_is_heard: false, ..half }, late_beside_another);
}

/// A alone admits four others and then outvotes B and C, who end A's chain.
#[test]
fn nobody_admits_a_majority_alone() {
    needs(Rules { admissions_endorsed: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let [mut d, mut e, mut f] =
            [3, 4, 5].map(|node| Member::new(chain(node), View::new([0, 1, 2].map(chain)), rules, None));
        for newcomer in [&mut d, &mut e, &mut f] {
            a.hear(&newcomer.view);
            let (epoch, ballot) = (a.fold().now().begun_by, Ballot { number: 0, chain: a.chain });
            a.write(Record::Change { epoch, ballot, change: Change::Admit(newcomer.chain) });
        }
        let mut here = [&mut a, &mut d, &mut e, &mut f];
        meet(&mut here);
        for node in [1, 2] {
            ballot(&mut here);
            if let Some(head) = here[0].known_head(chain(node)) {
                here[0].propose(Change::Suspend(head));
            }
            meet(&mut here);
            here.iter_mut().for_each(|member| _ = member.endorse());
            meet(&mut here);
        }
        here[0].write(Record::Other);
        meet(&mut here);
        let head = b.known_head(chain(0)).expect("heard");
        change(Change::Suspend(head), &mut [&mut b, &mut c]);
        b.write(Record::Other);
        meet(&mut [&mut b, &mut c]);
        let before = stable(&b);
        meet(&mut [&mut a, &mut b, &mut c, &mut d, &mut e, &mut f]);
        before.broken_by(&b)
    });
}

/// C is restored from a copy older than an event that everybody holds.
#[test]
fn a_new_incarnation_does_not_end_the_old_chain_by_itself() {
    needs(Rules { incarnations_endorsed: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let copy = c.clone();
        c.write(Record::Other);
        meet(&mut [&mut a, &mut b, &mut c]);
        let before = stable(&a);
        let mut c = copy.restored(1);
        meet(&mut [&mut a, &mut b, &mut c]);
        before.broken_by(&a)?;
        let head = a.known_head(chain(2)).expect("heard");
        change(Change::Readmit(head, c.chain), &mut [&mut a, &mut b, &mut c]);
        let stable = a.fold().stable();
        assert!(stable.contains(&c.last.expect("written").hash), "the new chain counts");
        before.broken_by(&a)
    });
}

/// A and B hold two contradicting words of C that are no siblings, and go on; C goes on too.
#[test]
fn evidence_alone_moves_nobody() {
    needs(Rules { evidence_moves_nobody: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let mut other = c.clone();
        other.see(50);
        other.append(Record::Other, Default::default());
        let first = other.append(Record::Other, Default::default());
        let word = other.view.commits.values().find(|commit| commit.head() == first).cloned().expect("written");
        let mut another = Commit::clone(&word);
        another.hlc += 1;
        for member in [&mut a, &mut b] {
            member.view.add(Commit::clone(&word));
            member.view.add(another.clone());
            assert!(convicted(&member.view, chain(2)).is_some());
            assert!(member.fold().cut(chain(2)).is_none(), "no siblings, no cut");
        }
        c.append(Record::Other, Default::default());
        a.see(100);
        a.write(Record::Other);
        meet(&mut [&mut a, &mut b]);
        let before = stable(&a);
        meet(&mut [&mut a, &mut b, &mut c]);
        before.broken_by(&a)
    });
}

/// With a stolen key of C somebody signs another event in place of one that A and B hold.
#[test]
fn what_more_than_half_acknowledged_is_never_cut() {
    needs(Rules { floor: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let mut thief = c.clone();
        c.write(Record::Other);
        meet(&mut [&mut a, &mut b, &mut c]);
        let before = stable(&a);
        thief.see(50);
        thief.write(Record::Other);
        a.hear(&thief.view);
        assert_eq!(a.fold().broken[&chain(2)], 1, "the fork is seen");
        before.broken_by(&a)
    });
}

/// A and B end the chain of C; then it turns out that B signed another event in place of its endorsement.
#[test]
fn an_endorsement_counts_on_whatever_branch() {
    needs(Rules { votes_survive_cuts: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let mut twin = b.clone();
        let head = a.known_head(chain(2)).expect("heard");
        c.write(Record::Other);
        change(Change::Suspend(head), &mut [&mut a, &mut b]);
        a.write(Record::Other);
        meet(&mut [&mut a, &mut b]);
        let before = stable(&a);
        twin.write(Record::Other);
        a.hear(&twin.view);
        a.hear(&c.view);
        before.broken_by(&a)
    });
}

/// A and B grant a fence; newcomers, who are more, grant it to somebody else.
#[test]
fn a_fence_is_granted_within_one_epoch() {
    needs(Rules { claims_within_epoch: false, ..NOW() }, |rules| {
        let [mut a, mut b, mut c] = founders(rules);
        let mut newcomers = [3, 4].map(|node| Member::new(chain(node), View::new([0, 1, 2].map(chain)), rules, None));
        a.claim(0, 1, 7);
        b.claim(0, 1, 7);
        meet(&mut [&mut a, &mut b, &mut c]);
        let mut holders = a.fold().holders(0, 1);
        for newcomer in &mut newcomers {
            a.hear(&newcomer.view);
            change(Change::Admit(newcomer.chain), &mut [&mut a, &mut b, &mut c]);
            newcomer.hear(&a.view);
            meet(&mut [&mut a, &mut b, &mut c, newcomer]);
        }
        let [d, e] = &mut newcomers;
        meet(&mut [&mut a, &mut b, &mut c, d, e]);
        for member in [&mut c, d, e] {
            member.claim(0, 1, 8);
        }
        a.hear(&c.view);
        newcomers.iter().for_each(|newcomer| a.hear(&newcomer.view));
        holders.extend(a.fold().holders(0, 1));
        if holders.len() > 1 { Err(format!("{holders:?}")) } else { Ok(()) }
    });
}
