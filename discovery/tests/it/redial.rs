//! Who is missing is dialled again for ever, and nobody who is dead delays anybody else.

use weft_discovery::{Discovery, DiscoveryConfig, Input, Path};
use weft_protocol::{NodeId, Recovered, Role};

use crate::world::{
    Machine, SECOND_US, START, admitted, advert, arrived, certificate, chain, connected, identity, keys, line, node,
    path,
};

/// The founder with members that were found at an address in an earlier run.
fn found_before(members: &[char]) -> Machine {
    let facts = members.iter().map(|member| admitted(&certificate('a', *member, Role::Worker))).collect();
    let addresses = members.iter().map(|member| (node(*member), vec![format!("/sim/{member}")])).collect();
    let recovered = Recovered { chains: vec![chain('a', facts)], addresses, ..Recovered::default() };
    Machine::start('a', certificate('a', 'a', Role::Admin), &recovered)
}

fn failed(letter: char) -> Input {
    Input::DialFailed { node: node(letter), reason: "refused".into() }
}

#[test]
fn everybody_is_dialled_at_once_at_the_start() {
    let mut machine = found_before(&['b', 'c', 'd']);
    assert_eq!(machine.discovery.next_wakeup(), Some(START));
    assert_eq!(machine.wake(), ["dial b /sim/b", "dial c /sim/c", "dial d /sim/d"]);
    assert_eq!(machine.lines(Input::Woken), [""; 0], "one dial at a time for each");
}

#[test]
fn a_joiner_dials_its_inviter_where_the_token_said() {
    let told = vec![(node('a'), vec!["/sim/a".to_owned()])];
    let identity = identity('b', certificate('a', 'b', Role::Worker));
    let config = DiscoveryConfig::default();
    let mut discovery = Discovery::new(config, identity, told, &Recovered::default(), keys('b'), 1, START);
    let mut outputs = Vec::new();
    discovery.handle(Input::Woken, START, &mut outputs);
    assert_eq!(outputs.iter().map(line).collect::<Vec<_>>(), ["dial a /sim/a"]);
}

/// Times of the dials of `b`, when each fails at once, in milliseconds since the start.
fn dials_ms(machine: &mut Machine, seconds: u64) -> Vec<u64> {
    let mut dials = Vec::new();
    let end = START.after_us(seconds * SECOND_US);
    while machine.discovery.next_wakeup().is_some_and(|next| next <= end) {
        if machine.wake().contains(&"dial b /sim/b".to_owned()) {
            dials.push(machine.now.since_us(START) / 1_000);
            machine.give(failed('b'));
        }
    }
    dials
}

#[test]
fn the_wait_doubles_to_two_seconds_in_the_first_minute_then_to_fifteen() {
    let mut machine = found_before(&['b']);
    let dials = dials_ms(&mut machine, 600);
    let waits: Vec<u64> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let longest = |at: u64, index: usize| {
        if at < 60_000 { [400, 800, 1_600][..].get(index).copied().unwrap_or(2_000) } else { 15_000 }
    };
    for (index, (at, wait)) in dials.iter().zip(&waits).enumerate() {
        let longest = longest(*at, index);
        assert!((longest / 2..=longest).contains(wait), "dial {index} at {at} ms, then {wait} ms");
    }
    assert!(dials.iter().any(|at| *at > 585_000), "for ever: {dials:?}");
    assert!(waits.iter().collect::<std::collections::BTreeSet<_>>().len() > waits.len() / 2, "jitter: {waits:?}");
    let again = dials_ms(&mut found_before(&['b']), 600);
    assert_eq!(dials, again, "the same seed gives the same waits");
}

#[test]
fn a_lost_connection_is_dialled_again_soon() {
    let mut machine = found_before(&['b']);
    machine.wake();
    let path = Path { address: format!("/sim/b/p2p/{}", node('b')), ..path('b', true) };
    machine.give(Input::Connected { node: node('b'), path });
    machine.wait(600 * SECOND_US);
    machine.give(Input::Disconnected { node: node('b') });
    let lines = machine.run(200_000);
    let dial = lines.iter().find(|(_, line)| line == "dial b /sim/b").unwrap();
    assert!((100_000..=200_000).contains(&dial.0), "{lines:?}");
}

#[test]
fn one_dead_peer_delays_nobody() {
    let mut machine = found_before(&['b', 'c']);
    machine.wake();
    machine.give(failed('c'));
    // `b` is dialled and never reported on; `c` is dialled again all the same, and in the end so is `b`.
    let lines = machine.run(12 * SECOND_US);
    let first = |wanted: &str| lines.iter().find(|(_, line)| line.starts_with(wanted)).unwrap().0;
    assert!(first("dial c") <= 400_000, "{lines:?}");
    assert!((10 * SECOND_US..11 * SECOND_US).contains(&first("dial b")), "{lines:?}");
}

#[test]
fn dials_in_flight_are_bounded_and_those_who_wait_come_next() {
    let nodes: Vec<NodeId> = (0..40).map(|number| NodeId::from_bytes([number; 32])).collect();
    let addresses = nodes.iter().map(|node| (*node, vec!["/sim/x".to_owned()])).collect();
    let recovered = Recovered { addresses, ..Recovered::default() };
    let mut machine = Machine::start('a', certificate('a', 'a', Role::Admin), &recovered);
    assert_eq!(machine.wake().len(), 32);
    let failed = Input::DialFailed { node: nodes[0], reason: "refused".into() };
    assert_eq!(machine.lines(failed), ["dial ? /sim/x"], "the next one that has not been tried yet");
}

#[test]
fn addresses_that_worked_are_remembered_first() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(Input::Woken);
    let learned = machine.lines(arrived(&advert('b', 0, 1, &[])));
    assert_eq!(learned, ["remember b /sim/b", "directory changed", "dial b /sim/b"]);
    let worked = Path { address: "/sim/other".into(), ..path('b', true) };
    let lines = machine.lines(Input::Connected { node: node('b'), path: worked });
    assert_eq!(lines[..2], ["remember b /sim/other /sim/b", "reachable b true"]);
    let lines = machine.lines(arrived(&advert('b', 0, 2, &[])));
    assert_eq!(lines, ["directory changed"], "an advert does not push the one in use back");
}

#[test]
fn the_port_from_which_somebody_dialled_us_is_not_remembered() {
    let mut machine = Machine::with_members(&['b']);
    assert!(!machine.lines(connected('b')).iter().any(|line| line.starts_with("remember")));
}

#[test]
fn news_of_a_new_run_ends_the_wait() {
    let mut machine = found_before(&['b']);
    machine.give(arrived(&advert('b', 0, 1, &[])));
    machine.run(100_000);
    for _ in 0..8 {
        machine.give(failed('b'));
        while !machine.wake().contains(&"dial b /sim/b".to_owned()) {}
    }
    machine.give(failed('b'));
    assert_eq!(machine.lines(arrived(&advert('b', 0, 2, &[]))), ["directory changed"], "an advert of the same run");
    let lines = machine.lines(arrived(&advert('b', 9, 1, &[])));
    assert_eq!(lines, ["directory changed", "dial b /sim/b"]);
}

#[test]
fn at_most_sixteen_addresses_of_a_node_are_kept() {
    let mut machine = Machine::with_members(&['b']);
    for run in 0..3 {
        let mut told = advert('b', run, 1, &[]);
        told.addresses = (0..16).map(|port| format!("/sim/{run}/{port}")).collect();
        machine.give(arrived(&told));
    }
    let member = machine.discovery.members().find(|member| member.node == node('b')).unwrap();
    assert_eq!(member.addresses, (0..16).map(|port| format!("/sim/2/{port}")).collect::<Vec<_>>());
}

#[test]
fn members_are_asked_where_one_is_that_is_not_found_again_and_again() {
    let mut machine = found_before(&['b']);
    machine.wake();
    let lookups = |lines: &[String]| lines.iter().filter(|line| *line == "look-up b").count();
    assert_eq!(lookups(&machine.lines(failed('b'))), 0, "one dial may fail for any reason");
    let (mut asked_ms, end) = (Vec::new(), START.after_us(200 * SECOND_US));
    while machine.discovery.next_wakeup().is_some_and(|next| next <= end) {
        if machine.wake().contains(&"dial b /sim/b".to_owned()) && lookups(&machine.lines(failed('b'))) == 1 {
            asked_ms.push(machine.now.since_us(START) / 1_000);
        }
    }
    assert!(asked_ms[0] < 1_000, "{asked_ms:?}");
    assert!((3..=4).contains(&asked_ms.len()), "{asked_ms:?}");
    assert!(asked_ms.windows(2).all(|pair| pair[1] - pair[0] >= 60_000), "{asked_ms:?}");
}

#[test]
fn what_members_say_is_tried_first_and_what_worked_is_not_forgotten() {
    let found = |letter, address: &str| Input::AddressesFound { node: node(letter), addresses: vec![address.into()] };
    let mut machine = found_before(&['b']);
    machine.wake();
    machine.give(failed('b'));
    assert_eq!(machine.lines(found('b', "/sim/moved")), ["dial b /sim/moved /sim/b"], "at once");
    machine.give(failed('b'));
    assert_eq!(machine.lines(found('b', "/sim/moved")), [""; 0], "it is no news");
    assert_eq!(machine.lines(found('d', "/sim/d")), [""; 0], "nobody looks for a stranger");
    let lies: Vec<String> = (0..16).map(|port| format!("/sim/lie/{port}")).collect();
    let told = machine.lines(Input::AddressesFound { node: node('b'), addresses: lies.clone() });
    assert_eq!(
        told,
        [format!("dial b {} /sim/b", lies[..8].join(" "))],
        "a lie takes the place of what was said before"
    );
    machine.give(connected('b'));
    assert_eq!(machine.lines(found('b', "/sim/other")), [""; 0]);
    machine.give(Input::Disconnected { node: node('b') });
    let lines = machine.wake();
    assert!(lines.iter().all(|line| !line.contains("/sim/other")), "it is connected, so it is where it is: {lines:?}");
}

#[test]
fn a_member_that_is_named_as_a_provider_is_dialled_or_asked_and_nobody_else_is() {
    let named = |letter| Input::ProviderNamed { node: node(letter) };
    let mut machine = found_before(&['b']);
    machine.wake();
    machine.give(failed('b'));
    assert_eq!(machine.lines(named('b')), ["dial b /sim/b"], "before its time");
    assert_eq!(machine.lines(named('b')), [""; 0], "it is on its way");
    assert_eq!(machine.lines(named('d')), [""; 0], "a stranger");
    assert_eq!(machine.lines(named('a')), [""; 0], "this node itself");
    machine.give(connected('b'));
    assert_eq!(machine.lines(named('b')), ["request adverts of b, hold a0"]);
    machine.give(arrived(&advert('b', 0, 1, &[])));
    assert_eq!(machine.lines(named('b')), [""; 0], "it has said what it runs");
}
