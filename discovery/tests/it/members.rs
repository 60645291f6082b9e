//! The fold of admissions: who counts as a member, in whatever order the chains arrive.

use proptest::prelude::*;
use proptest::sample::subsequence;
use weft_discovery::Input;
use weft_protocol::{Certificate, Recovered, Role, Signed, Timestamp};

use crate::world::{LETTERS, Machine, START, certificate, certificate_with, charter_of, letter, name, node, public};

fn seen(issuer: char, certificate: &Signed<Certificate>) -> Input {
    Input::AdmissionSeen { issuer: node(issuer), certificate: Box::new(certificate.clone()), invite: None }
}

fn members(machine: &Machine) -> Vec<(char, String, Role)> {
    let all = machine.discovery.members();
    all.map(|member| (letter(member.node), member.name.to_string(), member.role)).collect()
}

#[test]
fn an_admission_by_the_founder_makes_a_member() {
    let mut machine = Machine::founder();
    let lines = machine.lines(seen('a', &certificate('a', 'b', Role::Worker)));
    assert_eq!(lines, ["learn b", "view ab"]);
    assert_eq!(machine.discovery.role_of(node('b')), Some(Role::Worker));
    assert_eq!(machine.discovery.keys_of(node('b')), Some(&public('b')));
    assert_eq!(machine.lines(seen('a', &certificate('a', 'b', Role::Worker))), [""; 0], "the same again is no news");
}

#[test]
fn an_admission_waits_until_its_issuer_is_known_as_an_admin() {
    let mut machine = Machine::founder();
    assert_eq!(machine.lines(seen('c', &certificate('c', 'd', Role::Worker))), [""; 0]);
    assert_eq!(machine.lines(seen('b', &certificate('b', 'c', Role::Admin))), [""; 0]);
    assert_eq!(machine.discovery.held_admissions(), 2);
    let lines = machine.lines(seen('a', &certificate('a', 'b', Role::Admin)));
    assert_eq!(lines, ["learn b", "learn c", "learn d", "view abcd"]);
    assert_eq!(machine.discovery.held_admissions(), 0);
}

#[test]
fn a_worker_admits_nobody_until_it_becomes_an_admin() {
    let mut machine = Machine::founder();
    machine.give(seen('a', &certificate('a', 'b', Role::Worker)));
    assert_eq!(machine.lines(seen('b', &certificate('b', 'c', Role::Worker))), [""; 0]);
    assert_eq!(machine.discovery.role_of(node('c')), None);
    let promoted = certificate_with('a', 'b', Role::Admin, |certificate| certificate.issued = Timestamp(START.0 + 1));
    assert_eq!(machine.lines(seen('a', &promoted)), ["learn c", "view abc"]);
    assert_eq!(machine.discovery.role_of(node('b')), Some(Role::Admin));
}

fn check_refused(issuer: char, certificate: &Signed<Certificate>) {
    let mut machine = Machine::founder();
    assert_eq!(machine.lines(seen(issuer, certificate)), [""; 0]);
    assert_eq!(machine.discovery.counters().admissions_refused, 1);
    assert_eq!(machine.discovery.held_admissions(), 0);
}

#[test]
fn what_can_never_count_is_refused() {
    let other_cluster = charter_of('a', 1).cluster_id();
    check_refused('a', &certificate_with('a', 'b', Role::Worker, |certificate| certificate.cluster = other_cluster));
    // It names the founder and is signed by somebody else.
    check_refused('a', &certificate_with('b', 'b', Role::Admin, |certificate| certificate.issuer = node('a')));
    // It stands on the chain of somebody else than it names.
    check_refused('b', &certificate('a', 'b', Role::Admin));
    // It gives the founder's id to another ML-DSA key: of `b`'s Ed25519 key nothing is left.
    let stolen = weft_protocol::PublicKeys::new(node('a'), public('b').mldsa65().to_vec()).unwrap();
    check_refused('a', &certificate_with('a', 'a', Role::Admin, |certificate| certificate.keys = stolen));
}

#[test]
fn an_admin_whose_time_was_over_admits_nobody() {
    let mut machine = Machine::founder();
    let short = certificate_with('a', 'b', Role::Admin, |certificate| certificate.not_after = Some(START));
    machine.give(seen('a', &short));
    machine.give(seen('b', &certificate('b', 'c', Role::Worker)));
    assert_eq!(machine.discovery.role_of(node('c')), None);
}

#[test]
fn one_issuer_cannot_fill_the_place_of_those_who_wait() {
    let mut machine = Machine::founder();
    for number in 0..300 {
        let later = |certificate: &mut Certificate| certificate.issued = Timestamp(START.0 + number);
        machine.give(seen('b', &certificate_with('b', 'c', Role::Worker, later)));
    }
    assert_eq!(machine.discovery.held_admissions(), 256);
    assert_eq!(machine.discovery.counters().admissions_refused, 44);
}

/// Who is admitted by whom, as what, and when: a founder, two generations of admins, a promotion, a renaming, somebody whose
/// issuer is never admitted, and a worker that admits.
fn admissions() -> Vec<(char, Signed<Certificate>)> {
    let at = |after: u64| move |certificate: &mut Certificate| certificate.issued = Timestamp(START.0 + after);
    vec![
        ('a', certificate('a', 'a', Role::Admin)),
        ('a', certificate('a', 'b', Role::Admin)),
        ('b', certificate('b', 'c', Role::Worker)),
        ('a', certificate_with('a', 'c', Role::Admin, at(5))),
        ('c', certificate('c', 'd', Role::Observer)),
        ('c', certificate_with('c', 'd', Role::Worker, at(9))),
        ('b', certificate_with('b', 'e', Role::Worker, |certificate| certificate.name = name('f'))),
        ('a', certificate_with('a', 'e', Role::Worker, at(1))),
        ('e', certificate('e', 'f', Role::Worker)),
        ('g', certificate('g', 'h', Role::Admin)),
    ]
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(order in Just(admissions()).prop_shuffle()) {
        let mut machine = Machine::start('a', certificate('a', 'a', Role::Admin), &Recovered::default());
        for (issuer, certificate) in &order {
            machine.give(seen(*issuer, certificate));
        }
        let expected = [
            ('a', "node-a".to_owned(), Role::Admin),
            ('b', "node-b".to_owned(), Role::Admin),
            ('c', "node-c".to_owned(), Role::Admin),
            ('d', "node-d".to_owned(), Role::Worker),
            ('e', "node-e".to_owned(), Role::Worker),
        ];
        prop_assert_eq!(members(&machine), expected);
        prop_assert_eq!(machine.discovery.held_admissions(), 2);
    }

    #[test]
    fn more_admissions_never_make_anybody_less_of_a_member(
        some in subsequence(admissions(), 0..10),
        rest in Just(admissions()).prop_shuffle(),
    ) {
        let mut machine = Machine::founder();
        for (issuer, certificate) in &some {
            machine.give(seen(*issuer, certificate));
        }
        let before: Vec<char> = LETTERS.into_iter().filter(|one| machine.discovery.role_of(node(*one)).is_some()).collect();
        for (issuer, certificate) in &rest {
            machine.give(seen(*issuer, certificate));
        }
        for one in before {
            prop_assert!(machine.discovery.role_of(node(one)).is_some());
        }
    }
}
