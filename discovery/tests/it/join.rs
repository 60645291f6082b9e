//! How a joiner is admitted, and each way in which it is not.

use weft_discovery::{AskId, Input, Output, RecordAction, Ticket};
use weft_protocol::{Admission, AuthRefusal, Fact, InviteBurnt, Join, Refusal, Role, Token};

use crate::world::{Machine, SECOND_US, admitted, certificate, join_asked, name, node, public};

#[test]
fn a_joiner_is_admitted_once_burn_and_admission_are_on_disk() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    let outputs = machine.give(join_asked(1, &token, 'b'));
    let [Output::Record { ticket, action, facts }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!((*ticket, *action), (Ticket(1), RecordAction::Admit { node: node('b') }));
    let [Fact::InviteBurnt(burnt), Fact::Admitted(admitted)] = facts.as_slice() else { panic!("{facts:?}") };
    assert_eq!(*burnt, InviteBurnt { invite: token.invite(), node: node('b') });
    assert_eq!(admitted.invite, Some(token.invite()));
    let certificate = admitted.certificate.verify(&public('a')).unwrap();
    assert_eq!((&certificate.keys, &certificate.name, certificate.role), (&public('b'), &name('b'), Role::Worker));
    assert_eq!((certificate.issuer, certificate.issued, certificate.not_after), (node('a'), machine.now, None));
    assert_eq!(machine.discovery.role_of(node('b')), None, "not before it is on disk");

    let outputs = machine.give(Input::Recorded { ticket: Ticket(1) });
    let lines: Vec<String> = outputs.iter().map(crate::world::line).collect();
    assert_eq!(lines, ["learn b", "view ab", "join 1: node-b as worker, told ab"]);
    let Admission { certificate, charter, .. } = *crate::world::admission(&outputs);
    assert_eq!((certificate, charter), (admitted.certificate.clone(), crate::world::charter()));
    assert_eq!(machine.discovery.invite(&token.invite()).unwrap().burnt, [node('b')]);
}

fn check(machine: &mut Machine, input: Input, code: &str) {
    assert_eq!(machine.lines(input), [format!("join 1: {code}")]);
}

#[test]
fn a_wrong_secret_and_an_unknown_invite_are_told_apart_and_counted() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    let join = Join { secret: [8; 16].into(), name: name('b') };
    let guessed = Input::JoinAsked { ask: AskId(1), keys: public('b'), invite: token.invite(), join };
    check(&mut machine, guessed, "wrong-secret");
    let foreign = Token { secret: [8; 16].into(), ..token.clone() };
    check(&mut machine, join_asked(1, &foreign, 'b'), "unknown-invite");
    assert_eq!(machine.discovery.counters().wrong_secrets, 2);
    assert_eq!(machine.discovery.invite(&token.invite()).unwrap().burnt, []);
}

#[test]
fn an_invite_ends_with_its_time() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    machine.wait(3_600 * SECOND_US - 1);
    assert_eq!(machine.give(join_asked(1, &token, 'b')).len(), 2, "admitted, and an advert");
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    machine.wait(3_600 * SECOND_US);
    machine.give(Input::Woken);
    check(&mut machine, join_asked(1, &token, 'b'), "invite-expired");
}

#[test]
fn an_invite_ends_with_its_uses() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 2);
    machine.admit(1, &token, 'b');
    machine.admit(1, &token, 'c');
    check(&mut machine, join_asked(1, &token, 'd'), "invite-used-up");
}

#[test]
fn an_invite_ends_when_it_is_revoked() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 2);
    machine.give(Input::InviteRevokeAsked { ask: AskId(2), invite: token.invite() });
    machine.give(Input::Recorded { ticket: Ticket(1) });
    check(&mut machine, join_asked(1, &token, 'b'), "invite-revoked");
}

#[test]
fn two_joiners_do_not_share_the_last_use_while_it_is_being_spent() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1);
    machine.give(join_asked(2, &token, 'b'));
    check(&mut machine, join_asked(1, &token, 'c'), "invite-used-up");
    let refusal = Refusal::Busy { retry_after_us: 1 };
    assert_eq!(machine.lines(Input::RecordRefused { ticket: Ticket(1), refusal }), ["join 2: not-ready"]);
    let lines = machine.lines(join_asked(1, &token, 'c'));
    assert_eq!(lines, ["record 2 admit c: burnt on c, admitted c as worker"], "what was not recorded is not spent");
}

#[test]
fn a_name_belongs_to_one_member() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 3);
    let named = |letter, wanted| {
        let join = Join { secret: [9; 16].into(), name: name(wanted) };
        Input::JoinAsked { ask: AskId(1), keys: public(letter), invite: token.invite(), join }
    };
    let taken = AuthRefusal::NameTaken { name: name('a') };
    let outputs = machine.give(named('b', 'a'));
    assert!(matches!(&outputs[..], [Output::AnswerJoin { answer: Err(refusal), .. }] if *refusal == taken));
    machine.give(named('b', 'b'));
    check(&mut machine, named('c', 'b'), "name-taken");
    machine.give(Input::Recorded { ticket: Ticket(1) });
    check(&mut machine, named('c', 'b'), "name-taken");
    assert_eq!(machine.give(named('c', 'c')).len(), 1);
}

#[test]
fn a_node_id_comes_with_one_mldsa_key() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 2);
    machine.admit(1, &token, 'b');
    let keys = weft_protocol::PublicKeys::new(node('b'), public('c').mldsa65().to_vec()).unwrap();
    let join = Join { secret: token.secret, name: name('b') };
    check(&mut machine, Input::JoinAsked { ask: AskId(1), keys, invite: token.invite(), join }, "other-keys");
}

#[test]
fn joins_in_flight_are_bounded() {
    let mut machine = Machine::founder();
    let token = machine.invite(9, 1_024);
    // 64 different node ids with one ML-DSA key: discovery takes them as proven.
    for number in 0..64_u8 {
        let keys = weft_protocol::PublicKeys::new(
            weft_protocol::NodeId::from_bytes([number; 32]),
            public('b').mldsa65().to_vec(),
        );
        let join = Join { secret: token.secret, name: format!("n{number}").parse().unwrap() };
        let asked = Input::JoinAsked { ask: AskId(1), keys: keys.unwrap(), invite: token.invite(), join };
        assert!(machine.lines(asked)[0].starts_with("record"));
    }
    check(&mut machine, join_asked(1, &token, 'c'), "not-ready");
    machine.give(Input::Recorded { ticket: Ticket(1) });
    assert!(machine.lines(join_asked(1, &token, 'c'))[0].starts_with("record"));
}

#[test]
fn an_admin_that_was_admitted_tells_how_it_came_to_be_one() {
    let recovered = weft_protocol::Recovered {
        chains: vec![crate::world::chain(
            'a',
            vec![
                admitted(&certificate('a', 'a', Role::Admin)),
                admitted(&certificate('a', 'b', Role::Admin)),
                admitted(&certificate('a', 'c', Role::Worker)),
            ],
        )],
        ..weft_protocol::Recovered::default()
    };
    let mut machine = Machine::start('b', certificate('a', 'b', Role::Admin), &recovered);
    machine.give(crate::world::listening());
    let token = machine.invite(9, 1);
    let ticket = crate::world::ticket(&machine.give(join_asked(1, &token, 'd')));
    let lines = machine.lines(Input::Recorded { ticket });
    assert!(lines.contains(&"join 1: node-d as worker, told bacd".into()), "{lines:?}");
}
