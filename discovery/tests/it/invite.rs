//! Invites as the operator makes and revokes them.

use weft_discovery::{Answer, AskId, Input, InviteState, Output, RecordAction, Ticket};
use weft_protocol::limits::{INVITE_US_MAX, INVITE_USES_MAX};
use weft_protocol::{Fact, InviteIssued, Recovered, Refusal, Role, Token, invite_id, secret_hash};

use crate::world::{
    Machine, SECOND_US, START, admitted, certificate, chain, charter, listening, name, node, public, ticket,
};

fn asked(ask: u64, ttl_us: u64, uses: u32, secret: u8) -> Input {
    Input::InviteAsked {
        ask: AskId(ask),
        role: Role::Worker,
        ttl_us,
        uses,
        secret: [secret; 16].into(),
        certificate_ttl_us: None,
    }
}

#[test]
fn an_invite_is_given_once_it_is_on_the_chain() {
    let mut machine = Machine::founder();
    let outputs = machine.give(asked(1, 60 * SECOND_US, 2, 9));
    let expires = START.after_us(60 * SECOND_US);
    let issued = InviteIssued {
        secret_hash: secret_hash(&[9; 16]),
        role: Role::Worker,
        uses: 2,
        expires,
        certificate_ttl_us: None,
    };
    let [Output::Record { ticket, action, facts }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!((*ticket, *action), (Ticket(0), RecordAction::Invite { role: Role::Worker }));
    assert_eq!(facts, &[Fact::InviteIssued(issued)]);
    assert_eq!(machine.discovery.invites().count(), 0, "nothing is promised before it is on disk");

    let outputs = machine.give(Input::Recorded { ticket: *ticket });
    let [Output::Answer { ask: AskId(1), answer: Ok(Answer::Invited { token, invite }) }] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    let token: Token = token.parse().unwrap();
    let expected = Token {
        cluster: charter().cluster_id(),
        inviter: node('a'),
        inviter_mldsa65_hash: *public('a').mldsa65_hash(),
        inviter_name: name('a'),
        addresses: vec!["/ip4/10.0.0.1/tcp/1".into()],
        secret: [9; 16].into(),
        role: Role::Worker,
        expires,
    };
    assert!(token == expected);
    let id = invite_id(&secret_hash(&[9; 16]));
    let state = InviteState { invite: id, role: Role::Worker, uses: 2, burnt: Vec::new(), expires, revoked: false };
    assert_eq!(*invite, state);
    assert_eq!(machine.discovery.invites().collect::<Vec<_>>(), [state]);
    assert_eq!(machine.lines(Input::Recorded { ticket: Ticket(0) }), [""; 0], "a ticket counts once");
}

#[test]
fn an_invite_that_the_gate_refuses_does_not_exist() {
    let mut machine = Machine::founder();
    let ticket = ticket(&machine.give(asked(1, SECOND_US, 1, 9)));
    let refusal = Refusal::Denied { rule: "no".into() };
    assert_eq!(machine.lines(Input::RecordRefused { ticket, refusal }), ["answer 1: denied"]);
    assert_eq!(machine.discovery.invites().count(), 0);
}

fn check_refused(machine: &mut Machine, input: Input, code: &str) {
    assert_eq!(machine.lines(input), [format!("answer 1: {code}")]);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_recorded() {
    let mut machine = Machine::founder();
    check_refused(&mut machine, asked(1, 0, 1, 9), "invalid");
    check_refused(&mut machine, asked(1, INVITE_US_MAX + 1, 1, 9), "invalid");
    check_refused(&mut machine, asked(1, SECOND_US, 0, 9), "invalid");
    check_refused(&mut machine, asked(1, SECOND_US, INVITE_USES_MAX + 1, 9), "invalid");
    machine.invite(9, 1);
    check_refused(&mut machine, asked(1, SECOND_US, 1, 9), "invalid");
    let unknown = invite_id(&secret_hash(&[8; 16]));
    check_refused(&mut machine, Input::InviteRevokeAsked { ask: AskId(1), invite: unknown }, "invalid");
}

#[test]
fn a_node_that_listens_nowhere_does_not_invite() {
    let mut machine = Machine::founder_silent();
    check_refused(&mut machine, asked(1, SECOND_US, 1, 9), "invalid");
    machine.give(listening());
    assert_eq!(machine.lines(asked(1, SECOND_US, 1, 9)), ["record 0 invite worker: issued worker uses 1"]);
}

#[test]
fn only_an_admin_invites() {
    let certificate = certificate('a', 'b', Role::Worker);
    let recovered = Recovered { chains: vec![chain('a', vec![admitted(&certificate)])], ..Recovered::default() };
    let mut machine = Machine::start('b', certificate, &recovered);
    machine.give(listening());
    check_refused(&mut machine, asked(1, SECOND_US, 1, 9), "invalid");
}

#[test]
fn a_revoked_invite_stays_revoked() {
    let mut machine = Machine::founder();
    let invite = machine.invite(9, 1).invite();
    let revoke = |ask| Input::InviteRevokeAsked { ask: AskId(ask), invite };
    assert_eq!(machine.lines(revoke(2)), ["record 1 revoke: revoked"]);
    assert!(!machine.discovery.invite(&invite).unwrap().revoked);
    assert_eq!(machine.lines(Input::Recorded { ticket: Ticket(1) }), ["answer 2: revoked"]);
    assert!(machine.discovery.invite(&invite).unwrap().revoked);
    assert_eq!(machine.lines(revoke(3)), ["answer 3: revoked"], "once more changes nothing");
}

#[test]
fn requests_in_flight_and_living_invites_are_bounded() {
    let mut machine = Machine::founder();
    for number in 0..64 {
        assert_eq!(machine.give(asked(1, SECOND_US, 1, number)).len(), 1);
    }
    check_refused(&mut machine, asked(1, SECOND_US, 1, 64), "busy");

    let mut machine = Machine::founder();
    for number in 0..1_024_u16 {
        let secret = [number.to_be_bytes(); 8].concat().try_into().unwrap();
        let secret = serde_bytes::ByteArray::new(secret);
        let asked = Input::InviteAsked {
            ask: AskId(1),
            role: Role::Worker,
            ttl_us: SECOND_US,
            uses: 1,
            secret,
            certificate_ttl_us: None,
        };
        let ticket = ticket(&machine.give(asked));
        assert_eq!(machine.lines(Input::Recorded { ticket }), ["answer 1: invited worker"]);
    }
    let outputs = machine.give(asked(1, SECOND_US, 1, 7));
    let [Output::Answer { answer: Err(Refusal::Busy { retry_after_us }), .. }] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    machine.wait(*retry_after_us);
    assert_eq!(machine.give(asked(1, SECOND_US, 1, 7)).len(), 1, "when they have ended there is room");
}
