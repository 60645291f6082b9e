//! The same node with the same secret gets the same certificate, whatever went wrong in between.

use weft_discovery::{AskId, Input, Ticket};
use weft_protocol::{Certificate, Fact, InviteIssued, Recovered, Role, Signed, Timestamp, Token, secret_hash};

use crate::world::{Machine, SECOND_US, START, admission, certificate, chain, join_asked, line, listening, node};

/// The certificate that a join is answered with at once, without anything being recorded.
fn again(machine: &mut Machine, token: &Token) -> Signed<Certificate> {
    let outputs = machine.give(join_asked(5, token, 'b'));
    let lines: Vec<String> = outputs.iter().map(line).collect();
    assert!(!lines.iter().any(|line| line.starts_with("record")), "{lines:?}");
    admission(&outputs).certificate
}

#[test]
fn a_repeated_join_gets_the_same_certificate() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    let (first, _) = machine.admit(1, &token, 'b');
    assert_eq!(again(&mut machine, &token), first.certificate);
    assert_eq!(machine.discovery.invite(&token.invite()).unwrap().burnt, [node('b')], "one use, not two");
}

#[test]
fn also_when_the_invite_is_over_meanwhile() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    let (first, _) = machine.admit(1, &token, 'b');
    machine.wait(3_600 * SECOND_US);
    machine.give(Input::Woken);
    assert_eq!(machine.lines(join_asked(1, &token, 'c')), ["join 1: invite-expired"]);
    assert_eq!(again(&mut machine, &token), first.certificate, "expired and used up");
    machine.give(Input::InviteRevokeAsked { ask: AskId(3), invite: token.invite() });
    machine.give(Input::Recorded { ticket: Ticket(2) });
    assert_eq!(again(&mut machine, &token), first.certificate, "and revoked");
}

#[test]
fn but_not_with_another_secret() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    machine.admit(1, &token, 'b');
    let other = Token { secret: [8; 16].into(), ..token };
    assert_eq!(machine.lines(join_asked(1, &other, 'b')), ["join 1: unknown-invite"]);
}

#[test]
fn attempts_that_overlap_get_one_admission() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 2);
    machine.give(join_asked(1, &token, 'b'));
    for ask in 2..=16 {
        assert_eq!(machine.lines(join_asked(ask, &token, 'b')), [""; 0]);
    }
    assert_eq!(machine.lines(join_asked(17, &token, 'b')), ["join 17: not-ready"], "attempts are bounded too");
    let lines = machine.lines(Input::Recorded { ticket: Ticket(1) });
    assert_eq!(lines.iter().filter(|line| line.starts_with("join")).count(), 16);
    assert_eq!(machine.discovery.invite(&token.invite()).unwrap().burnt, [node('b')]);
}

/// The inviter as it starts again with these facts about the invite on its chain.
fn restarted(facts: Vec<Fact>) -> Machine {
    let recovered = Recovered { chains: vec![chain('a', facts)], ..Recovered::default() };
    let mut machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
    machine.give(listening());
    machine
}

fn issued(secret: u8, uses: u32) -> Fact {
    let expires = START.after_us(3_600 * SECOND_US);
    Fact::InviteIssued(InviteIssued {
        secret_hash: secret_hash(&[secret; 16]),
        role: Role::Worker,
        uses,
        expires,
        certificate_ttl_us: None,
    })
}

#[test]
fn an_inviter_that_crashed_after_the_commit_gives_the_same_certificate() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    let (first, facts) = machine.admit(1, &token, 'b');
    let mut machine = restarted([vec![issued(9, 1)], facts].concat());
    assert_eq!(machine.discovery.role_of(node('b')), Some(Role::Worker));
    assert_eq!(again(&mut machine, &token), first.certificate);
    assert_eq!(machine.lines(join_asked(1, &token, 'c')), ["join 1: invite-used-up"]);
}

#[test]
fn an_inviter_that_crashed_before_the_commit_admits_anew() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    machine.give(join_asked(1, &token, 'b'));
    let mut machine = restarted(vec![issued(9, 1)]);
    let lines = machine.lines(join_asked(1, &token, 'b'));
    assert_eq!(lines, ["record 0 admit b: burnt on b, admitted b as worker"]);
}

#[test]
fn a_member_with_another_invite_for_the_same_role_spends_nothing() {
    let mut machine = Machine::founder();
    let first = machine.invite(9, 1);
    let (admitted, _) = machine.admit(1, &first, 'b');
    let second = machine.invite(8, 1);
    assert_eq!(again(&mut machine, &second), admitted.certificate);
    assert_eq!(machine.discovery.invite(&second.invite()).unwrap().burnt, []);
}

#[test]
fn a_member_with_an_invite_for_another_role_is_admitted_as_that() {
    let mut machine = Machine::founder();
    let first = machine.invite(9, 1);
    machine.admit(1, &first, 'b');
    let second = machine.invite_as(Role::Admin, 8, 1);
    machine.now = Timestamp(START.0 - SECOND_US);
    machine.admit(2, &second, 'b');
    assert_eq!(machine.discovery.role_of(node('b')), Some(Role::Admin), "although the clock was set back meanwhile");
}
