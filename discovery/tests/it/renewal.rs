//! Certificates that end: one admin after the other renews them at half of their life, and what ends closes its connections.

use weft_discovery::{Input, Output};
use weft_protocol::{
    AuthRefusal, Certificate, Fact, InviteIssued, NodeId, Recovered, Refusal, Role, Signed, Timestamp, secret_hash,
};

use crate::world::{
    Machine, SECOND_US, START, admitted, certificate, certificate_with, chain, connected, join_asked, node, ticket,
};

const LIFE_US: u64 = 64 * SECOND_US;
const HALF_US: u64 = LIFE_US / 2;
/// A thirty-second part of the life.
const TURN_US: u64 = 2 * SECOND_US;

fn after(us: u64) -> Timestamp {
    START.after_us(us)
}

/// `b` as a worker by `a`, issued so long after the start, for one life.
fn ending(issued_us: u64) -> Signed<Certificate> {
    certificate_with('a', 'b', Role::Worker, |certificate| {
        certificate.issued = after(issued_us);
        certificate.not_after = Some(after(issued_us + LIFE_US));
    })
}

/// The founder `a`, the admin `c`, and `b` whose certificate ends, as one of them knows it.
fn one_of_two_admins(letter: char) -> Machine {
    let own = certificate('a', letter, Role::Admin);
    let facts = ['a', 'c'].map(|admin| admitted(&certificate('a', admin, Role::Admin)));
    let facts = facts.into_iter().chain([admitted(&ending(0))]).collect();
    Machine::start(letter, own, &Recovered { chains: vec![chain('a', facts)], ..Recovered::default() })
}

/// The same with `b` alone beside the founder, or as the worker `c` knows it.
fn founder() -> Machine {
    let facts = vec![admitted(&certificate('a', 'a', Role::Admin)), admitted(&ending(0))];
    let recovered = Recovered { chains: vec![chain('a', facts)], ..Recovered::default() };
    Machine::start('a', certificate('a', 'a', Role::Admin), &recovered)
}

fn worker() -> Machine {
    let facts = vec![admitted(&certificate('a', 'a', Role::Admin)), admitted(&ending(0))];
    let recovered = Recovered { chains: vec![chain('a', facts)], ..Recovered::default() };
    Machine::start('c', certificate('a', 'c', Role::Worker), &recovered)
}

fn seen(certificate: &Signed<Certificate>) -> Input {
    let issuer: NodeId = certificate.peek().unwrap().issuer;
    Input::AdmissionSeen { issuer, certificate: Box::new(certificate.clone()), invite: None }
}

/// When lines with this in them came.
fn times(lines: &[(u64, String)], part: &str) -> Vec<u64> {
    lines.iter().filter(|(_, line)| line.contains(part)).map(|(at, _)| *at).collect()
}

fn ends(machine: &Machine, letter: char) -> Option<Timestamp> {
    machine.discovery.members().find(|member| member.node == node(letter)).unwrap().certificate_ends
}

/// Runs to where the certificate is renewed, and returns the output.
fn until_renewal(machine: &mut Machine, wait_us: u64) -> Output {
    let _before = machine.run(wait_us - 1);
    machine.wait(1);
    let outputs = machine.give(Input::Woken);
    outputs.into_iter().find(|output| matches!(output, Output::Record { .. })).expect("something is recorded")
}

#[test]
fn an_invite_says_how_long_the_certificates_last_that_it_gives_and_a_start_knows_it() {
    let mut machine = Machine::founder();
    let token = machine.invite_for(Role::Worker, 9, 1, Some(LIFE_US));
    let (admission, _) = machine.admit(1, &token, 'b');
    let given = admission.certificate.peek().unwrap();
    assert_eq!((given.issued, given.not_after), (START, Some(after(LIFE_US))));
    assert_eq!((ends(&machine, 'b'), ends(&machine, 'a')), (Some(after(LIFE_US)), None));

    let issued = InviteIssued {
        secret_hash: secret_hash(&[9; 16]),
        role: Role::Worker,
        uses: 1,
        expires: token.expires,
        certificate_ttl_us: Some(LIFE_US),
    };
    let recovered = Recovered { chains: vec![chain('a', vec![Fact::InviteIssued(issued)])], ..Recovered::default() };
    let mut machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
    let (admission, _) = machine.admit(1, &token, 'b');
    assert_eq!(admission.certificate.peek().unwrap().not_after, Some(after(LIFE_US)));
}

#[test]
fn a_life_below_a_minute_or_above_ten_years_is_refused() {
    let mut machine = Machine::founder();
    let mut asked = |ttl_us: u64| {
        let (ask, secret) = (weft_discovery::AskId(1), [1; 16].into());
        let certificate_ttl_us = Some(ttl_us);
        let asked = Input::InviteAsked { ask, role: Role::Worker, ttl_us: 1, uses: 1, secret, certificate_ttl_us };
        machine.lines(asked).iter().any(|line| line == "answer 1: invalid")
    };
    let years_us = 10 * 365 * 24 * 3_600 * SECOND_US;
    assert_eq!([60 * SECOND_US - 1, years_us + 1].map(&mut asked), [true, true]);
    assert_eq!([60 * SECOND_US].map(&mut asked), [false]);
}

#[test]
fn it_is_renewed_at_half_of_its_life_and_again_at_half_of_the_next() {
    let mut machine = founder();
    let Output::Record { ticket, facts, .. } = until_renewal(&mut machine, HALF_US) else { panic!("a record") };
    let [Fact::Admitted(renewed)] = facts.as_slice() else { panic!("{facts:?}") };
    assert_eq!(renewed.invite, None);
    let (last, next) = (ending(0).peek().unwrap(), renewed.certificate.peek().unwrap());
    let expected = Certificate { issued: after(HALF_US), not_after: Some(after(HALF_US + LIFE_US)), ..last };
    assert_eq!(next, expected);
    assert_eq!(ends(&machine, 'b'), Some(after(LIFE_US)), "not before it is on disk");
    machine.give(Input::Recorded { ticket });
    assert_eq!(ends(&machine, 'b'), Some(after(HALF_US + LIFE_US)));
    assert_eq!(times(&machine.run(HALF_US), "renew b"), [HALF_US]);
}

#[test]
fn what_was_refused_is_tried_again_after_a_turn() {
    let mut machine = founder();
    let Output::Record { ticket, .. } = until_renewal(&mut machine, HALF_US) else { panic!("a record") };
    machine.give(Input::RecordRefused { ticket, refusal: Refusal::Quarantined });
    assert_eq!(times(&machine.run(2 * TURN_US), "renew b"), [TURN_US]);
}

#[test]
fn one_admin_renews_and_the_other_when_that_one_is_silent() {
    let firsts = [('a', 'c'), ('c', 'a')].map(|(own, other)| {
        let mut machine = one_of_two_admins(own);
        let _before = machine.run(HALF_US - 1);
        machine.give(connected(other));
        let lines = machine.run(TURN_US + 2);
        times(&lines, "renew b")
    });
    let mut sorted = firsts.clone();
    sorted.sort();
    assert_eq!(sorted, [vec![1], vec![TURN_US + 1]], "one at once, the other a turn later: {firsts:?}");
}

#[test]
fn an_admin_that_is_not_there_is_not_waited_for() {
    let firsts = ['a', 'c'].map(|own| times(&one_of_two_admins(own).run(HALF_US), "renew b"));
    assert_eq!(firsts, [vec![HALF_US], vec![HALF_US]]);
}

#[test]
fn whoever_hears_that_another_renewed_it_does_not() {
    for (own, other) in [('a', 'c'), ('c', 'a')] {
        let mut machine = one_of_two_admins(own);
        let _before = machine.run(HALF_US - 1);
        machine.give(connected(other));
        machine.give(seen(&ending(HALF_US - 1)));
        assert_eq!(times(&machine.run(HALF_US - 1), "renew b"), [0; 0], "{own}");
    }
}

#[test]
fn who_is_cut_off_or_has_ended_is_not_renewed_and_no_worker_renews() {
    let mut forked = founder();
    forked.give(Input::ForkProven { node: node('b') });
    assert_eq!(times(&forked.run(LIFE_US), "renew"), [0; 0]);
    let mut evicted = founder();
    evicted.give(Input::MembersEvicted { nodes: [node('b')].into() });
    assert_eq!(times(&evicted.run(LIFE_US), "renew"), [0; 0]);
    let mut late = founder();
    late.wait(LIFE_US);
    assert_eq!(times(&late.run(LIFE_US), "renew"), [0; 0]);
    assert_eq!(times(&worker().run(LIFE_US), "renew"), [0; 0]);
}

#[test]
fn a_connection_is_closed_when_its_certificate_ends_unless_it_was_renewed() {
    let mut machine = worker();
    machine.give(connected('b'));
    assert_eq!(times(&machine.run(LIFE_US + SECOND_US), "disconnect b"), [LIFE_US], "once");
    machine.give(Input::Disconnected { node: node('b') });
    let again = machine.lines(connected('b'));
    assert!(again.contains(&"disconnect b".into()), "{again:?}");

    let mut renewed = worker();
    renewed.give(connected('b'));
    renewed.give(seen(&ending(HALF_US)));
    assert_eq!(times(&renewed.run(LIFE_US + HALF_US), "disconnect b"), [LIFE_US + HALF_US]);
}

#[test]
fn what_ended_is_refused_unless_a_later_one_is_known() {
    let mut machine = worker();
    let judge = |machine: &Machine, at| machine.discovery.view().judge_member(node('b'), &ending(0), at).err();
    assert_eq!(judge(&machine, after(LIFE_US - 1)), None);
    assert_eq!(judge(&machine, after(LIFE_US)), Some(AuthRefusal::CertificateExpired));
    machine.give(seen(&ending(HALF_US)));
    assert_eq!(judge(&machine, after(LIFE_US)), None, "it may not have heard that it was renewed");
    assert_eq!(judge(&machine, after(HALF_US + LIFE_US)), Some(AuthRefusal::CertificateExpired));
}

#[test]
fn a_node_whose_certificate_ended_joins_again_and_gets_another() {
    let mut machine = founder();
    machine.wait(LIFE_US);
    machine.give(crate::world::listening());
    let token = machine.invite(9, 1);
    let asked = machine.give(join_asked(1, &token, 'b'));
    machine.give(Input::Recorded { ticket: ticket(&asked) });
    assert_eq!(ends(&machine, 'b'), None);
}

#[test]
fn renewals_make_room_for_each_other_and_count_in_any_order() {
    let renewals: Vec<Signed<Certificate>> = (0..20).map(|number| ending(number * HALF_US)).collect();
    let fold = |renewals: Vec<Signed<Certificate>>| {
        let mut machine = worker();
        for certificate in &renewals {
            machine.give(seen(certificate));
        }
        assert_eq!(machine.discovery.counters().admissions_refused, 0);
        assert_eq!(ends(&machine, 'b'), Some(after(19 * HALF_US + LIFE_US)));
        machine.discovery.view().members[&node('b')].certificates.clone()
    };
    let in_order = fold(renewals.clone());
    assert_eq!(in_order.len(), 3, "the first and the latest two");
    assert_eq!(fold(renewals.into_iter().rev().collect()), in_order);
}
