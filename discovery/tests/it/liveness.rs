//! What connections and pings say about a member.

use weft_discovery::{Input, MemberState};
use weft_protocol::{Fact, Hlc, Recovered, Role, Shutdown};

use crate::world::{Machine, SECOND_US, START, admitted, advert, arrived, certificate, chain, connected, node, path};

#[test]
fn a_member_is_suspect_until_it_is_met_then_alive_then_suspect_then_dead() {
    let mut machine = Machine::with_members(&['b']);
    assert_eq!(machine.state('b'), MemberState::Suspect, "nobody has looked yet");
    let lines = machine.lines(connected('b'));
    assert_eq!(lines, ["reachable b true", "request adverts of b, hold a0", "directory changed", "gossip a0"]);
    assert_eq!(machine.state('b'), MemberState::Alive);
    assert!(machine.discovery.is_reachable(node('b')));

    assert_eq!(machine.lines(Input::Disconnected { node: node('b') }), ["reachable b false"]);
    assert_eq!(machine.state('b'), MemberState::Suspect);
    machine.wait(5 * SECOND_US - 1);
    machine.give(Input::Woken);
    assert_eq!(machine.state('b'), MemberState::Suspect);
    assert_eq!(machine.discovery.next_wakeup(), Some(START.after_us(5 * SECOND_US)), "it is woken to see the death");
    machine.wake();
    assert_eq!(machine.state('b'), MemberState::Dead);
    machine.give(connected('b'));
    assert_eq!(machine.state('b'), MemberState::Alive, "a false death ends like any other");
}

#[test]
fn a_member_that_is_never_met_is_dead_after_the_same_time() {
    let mut machine = Machine::with_members(&['b']);
    machine.wait(5 * SECOND_US);
    machine.give(Input::Woken);
    assert_eq!(machine.state('b'), MemberState::Dead);
    assert_eq!(machine.state('c'), MemberState::Dead, "of somebody unknown nothing better can be said");
    assert_eq!(machine.state('a'), MemberState::Alive, "it is we who say so");
}

#[test]
fn a_missed_ping_makes_suspect_and_the_next_one_alive() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(connected('b'));
    machine.wait(SECOND_US);
    machine.give(Input::Pinged { node: node('b'), rtt_us: 321 });
    let seen = |machine: &Machine| machine.discovery.members().find(|member| member.node == node('b')).unwrap();
    assert_eq!((seen(&machine).rtt_us, seen(&machine).last_seen), (Some(321), Some(machine.now)));
    assert_eq!(seen(&machine).path, Some(path('b', false)));
    machine.give(Input::PingFailed { node: node('b') });
    assert_eq!(machine.state('b'), MemberState::Suspect);
    machine.wait(60 * SECOND_US);
    machine.give(Input::Woken);
    assert_eq!(machine.state('b'), MemberState::Suspect, "an open connection is never dead");
    machine.give(Input::Pinged { node: node('b'), rtt_us: 400 });
    assert_eq!(machine.state('b'), MemberState::Alive);
    machine.give(Input::Disconnected { node: node('b') });
    assert_eq!((seen(&machine).rtt_us, seen(&machine).path), (None, None));
}

#[test]
fn pings_and_disconnections_without_a_connection_change_nothing() {
    let mut machine = Machine::with_members(&['b']);
    for input in [
        Input::Pinged { node: node('b'), rtt_us: 1 },
        Input::PingFailed { node: node('b') },
        Input::Disconnected { node: node('b') },
        Input::Disconnected { node: node('c') },
        Input::DialFailed { node: node('b'), reason: "late".into() },
    ] {
        assert_eq!(machine.lines(input), [""; 0]);
        assert_eq!(machine.state('b'), MemberState::Suspect);
    }
}

#[test]
fn another_connection_to_the_same_member_is_no_news() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(connected('b'));
    machine.wait(SECOND_US / 10);
    assert_eq!(machine.lines(connected('b')), [""; 0]);
}

#[test]
fn an_advert_that_never_came_is_asked_for_again_until_it_does() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(connected('b'));
    for _ in 0..3 {
        machine.wait(SECOND_US);
        assert_eq!(machine.lines(Input::Woken), ["request adverts of b, hold a0"]);
    }
}

#[test]
fn a_node_that_is_let_in_before_its_admission_arrives_is_alive_when_it_does() {
    let mut machine = Machine::founder();
    machine.wait(SECOND_US);
    let lines = machine.lines(connected('b'));
    assert_eq!(lines, ["reachable b true", "request adverts of b, hold a1", "directory changed", "gossip a1"]);
    assert_eq!(machine.discovery.members().count(), 1);
    let seen = Input::AdmissionSeen {
        issuer: node('a'),
        certificate: Box::new(certificate('a', 'b', Role::Worker)),
        invite: None,
    };
    assert_eq!(machine.lines(seen), ["learn b", "view ab", "request adverts of b, hold a1"]);
    assert_eq!(machine.state('b'), MemberState::Alive);
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let mut machine = Machine::with_members(&['b']);
    assert_eq!(machine.lines(connected('a')), ["disconnect a"]);
}

fn shut_down_at(second: u64) -> Input {
    Input::ShutdownSeen { node: node('b'), hlc: Hlc::from_wall(START.after_us(second * SECOND_US)) }
}

#[test]
fn a_member_that_went_down_in_order_has_left_until_it_returns() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(connected('b'));
    machine.give(arrived(&advert('b', 0, 1, &[])));
    machine.give(shut_down_at(3));
    assert_eq!(machine.state('b'), MemberState::Alive, "while it is connected it is there");
    machine.give(Input::Disconnected { node: node('b') });
    assert_eq!(machine.state('b'), MemberState::Left);

    // An advert of its next run, relayed by somebody who sees it.
    machine.give(arrived(&advert('b', 4, 1, &[])));
    assert_eq!(machine.state('b'), MemberState::Suspect);
    machine.give(shut_down_at(3));
    assert_eq!(machine.state('b'), MemberState::Suspect, "the old shutdown, read again, says nothing of the new run");
}

#[test]
fn a_stored_chain_that_ends_with_a_shutdown_says_so_at_the_start() {
    let start = |facts| {
        let own = certificate('a', 'a', Role::Admin);
        let of_founder = chain('a', vec![admitted(&certificate('a', 'b', Role::Worker))]);
        let recovered = Recovered { chains: vec![of_founder, chain('b', facts)], ..Recovered::default() };
        Machine::start('a', own, &recovered).state('b')
    };
    let down = Fact::Shutdown(Shutdown { stopped: 0 });
    let boot = Fact::Boot(weft_protocol::Boot {
        version: "weft 0.1.0".into(),
        name: "node-b".parse().unwrap(),
        counter: None,
        environment: None,
    });
    assert_eq!(start(vec![boot.clone(), down.clone()]), MemberState::Left);
    assert_eq!(start(vec![down, boot]), MemberState::Suspect);
}

#[test]
fn states_are_written_as_people_read_them() {
    let all =
        [MemberState::Alive, MemberState::Suspect, MemberState::Dead, MemberState::Left, MemberState::Quarantined];
    assert_eq!(all.map(|state| state.to_string()), ["alive", "suspect", "dead", "left", "quarantined"]);
}
