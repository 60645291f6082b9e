//! A partial mesh: links to neighbours are kept, others are opened for what has to pass, and everybody watches everybody all the same.

use std::collections::BTreeSet;

use weft_discovery::{DiscoveryConfig, Input, MemberState, Mesh as Neighbours};
use weft_protocol::{NodeId, Role, SwimDetour, encode};

use crate::swim::{Mesh, member_with, sent};
use crate::world::{
    LETTERS, Machine, SECOND_US, admitted, advert, arrived, certificate, chain, connected, identity, letter, node, path,
};

fn config() -> DiscoveryConfig {
    DiscoveryConfig { full_mesh_max: 3, ..DiscoveryConfig::default() }
}

fn neighbours() -> Neighbours {
    Neighbours::of(&LETTERS.iter().map(|letter| node(*letter)).collect::<BTreeSet<NodeId>>())
}

fn near(one: char, other: char) -> bool {
    neighbours().are_neighbours(node(one), node(other))
}

/// One of those that are no neighbours of `a`, and a neighbour of both.
fn far_from_a() -> (char, char) {
    let far = LETTERS.into_iter().find(|letter| *letter != 'a' && !near('a', *letter)).expect("not all are neighbours");
    let between = LETTERS.into_iter().find(|letter| near('a', *letter) && near(far, *letter)).expect("one is of both");
    (far, between)
}

/// `a`, which knows where everybody else is.
fn a_in_a_partial_mesh() -> Machine {
    let others = &LETTERS[1..];
    let facts = others.iter().map(|member| admitted(&certificate('a', *member, Role::Worker))).collect();
    let addresses = others.iter().map(|member| (node(*member), vec![format!("/sim/{member}")])).collect();
    let recovered = weft_protocol::Recovered { chains: vec![chain('a', facts)], addresses, ..Default::default() };
    Machine::start_with(identity('a', certificate('a', 'a', Role::Admin)), &recovered, config())
}

fn wanted(letter: char) -> Input {
    Input::LinkWanted { node: node(letter) }
}

fn failed(letter: char) -> Input {
    Input::DialFailed { node: node(letter), reason: "refused".into() }
}

#[test]
fn neighbours_alone_are_dialled_until_something_has_to_go_elsewhere() {
    let mut machine = a_in_a_partial_mesh();
    let of_a = neighbours().neighbours(node('a'));
    let dials: Vec<String> =
        of_a.iter().map(|node| letter(*node)).map(|letter| format!("dial {letter} /sim/{letter}")).collect();
    let keep = format!("keep {}", of_a.iter().map(|node| letter(*node)).collect::<String>());
    let lines = machine.wake();
    assert_eq!((&lines[0], &lines[1..]), (&keep, dials.as_slice()));
    let (far, between) = far_from_a();
    machine.give(connected(between));
    assert!(machine.discovery.is_on_demand(&node(far)) && !machine.discovery.is_on_demand(&node(between)));
    assert_eq!(machine.lines(wanted(far)), [format!("dial {far} /sim/{far}")]);

    let connected = machine.lines(Input::Connected { node: node(far), path: path(far, true) });
    assert!(connected.contains(&format!("reachable {far} true")), "{connected:?}");
    assert!(!machine.discovery.is_on_demand(&node(far)), "it is connected");
    assert_eq!(machine.discovery.idle_us_max(&node(far)), Some(config().link_idle_us));
    assert_eq!(machine.discovery.idle_us_max(&node(between)), None, "a neighbour stays");

    let lost = machine.lines(Input::Disconnected { node: node(far) });
    assert!(!lost.iter().any(|line| line.starts_with("reachable")), "it can be reached as before: {lost:?}");
    assert!(machine.state(far).is_there(), "and nobody thinks that it is gone");
    let later = machine.run(3 * SECOND_US);
    assert!(!later.iter().any(|(_, line)| line.starts_with(&format!("dial {far}"))), "nothing waits for it: {later:?}");
    let lost = machine.lines(Input::Disconnected { node: node(between) });
    assert!(lost.contains(&format!("reachable {between} false")), "a neighbour that is lost is: {lost:?}");
}

#[test]
fn by_peer_exchange_a_member_that_moved_is_found() {
    let mut machine = a_in_a_partial_mesh();
    machine.wake();
    let (far, between) = far_from_a();
    machine.give(connected(between));
    machine.give(wanted(far));
    let lines = machine.lines(failed(far));
    assert_eq!(lines[0], format!("not reached {far}"), "what waited is told");
    assert!(lines[1].starts_with(&format!("request adverts of {between},")), "its neighbour is asked: {lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let mut moved = advert(far, 0, 2, &[]);
    moved.addresses = vec!["/sim/moved".into()];
    machine.give(arrived(&moved));
    assert_eq!(machine.lines(wanted(far)), [format!("dial {far} /sim/moved /sim/{far}")]);
}

#[test]
fn nobody_waits_for_whom_there_is_no_way_to() {
    let mut machine = a_in_a_partial_mesh();
    machine.wake();
    let (far, _) = far_from_a();
    machine.give(wanted(far));
    let lines = machine.lines(Input::ForkProven { node: node(far) });
    assert!(lines.contains(&format!("not reached {far}")), "it is cut off: {lines:?}");
    assert_eq!(machine.lines(wanted(far)), [format!("not reached {far}")], "and is dialled no more");
}

#[test]
fn everybody_watches_everybody_over_common_neighbours() {
    let mut mesh = Mesh::linked(8, &config(), near);
    let all_say = |mesh: &Mesh, state| LETTERS.iter().all(|letter| mesh.all_say(*letter, state));
    mesh.run(5 * SECOND_US);
    for _ in 0..60 {
        assert!(all_say(&mesh, MemberState::Alive));
        mesh.run(SECOND_US);
    }
    assert_eq!(mesh.refused(), 0);

    let (far, _) = far_from_a();
    mesh.stopped = BTreeSet::from([far]);
    mesh.run(15 * SECOND_US);
    assert!(mesh.all_say(far, MemberState::Dead), "also those that were never connected to it");
    let others = LETTERS.into_iter().filter(|letter| *letter != far);
    assert!(others.clone().all(|letter| mesh.all_say(letter, MemberState::Alive)), "and nobody else is");
}

#[test]
fn a_packet_goes_over_one_member_and_for_its_sender_alone() {
    let (far, between) = far_from_a();
    let mut machine = member_with(between, &LETTERS, config());
    machine.give(connected('a'));
    machine.give(connected(far));
    let detour = |from, to| {
        let packet = vec![7; 20].into();
        encode(&SwimDetour { from: node(from), to: node(to), packet })
    };
    let arrives = |from, packet: Vec<u8>| Input::SwimArrived { from: node(from), packet };
    let passed = detour('a', far);
    assert_eq!(sent(&mut machine, arrives('a', passed.clone())), [(far, passed.clone())]);
    assert_eq!(sent(&mut machine, arrives(far, passed.clone())), [], "it is not a that brings it");
    assert_eq!(machine.discovery.counters().swim_refused, 1);
    let stranger = encode(&SwimDetour { from: node('a'), to: NodeId::from_bytes([9; 32]), packet: vec![7].into() });
    assert_eq!(sent(&mut machine, arrives('a', stranger)), [], "nobody knows whom it is for");
    assert_eq!(machine.discovery.counters().swim_refused, 2);
    let many: usize = (0..100).map(|_| sent(&mut machine, arrives('a', passed.clone())).len()).sum();
    assert!(many < 64, "so many in one period of probes: {many}");
    machine.wait(SECOND_US);
    assert_eq!(
        sent(&mut machine, arrives('a', passed.clone())).last(),
        Some(&(far, passed)),
        "the next one is another"
    );
}

#[test]
fn whoever_passes_a_packet_on_cannot_begin_a_run_of_its_sender() {
    let (far, between) = far_from_a();
    let mut honest = member_with('a', &LETTERS, config());
    honest.give(connected(between));
    honest.give(arrived(&advert(far, 0, 1, &[])));
    let run_of_far = |second: u64| {
        let started = weft_protocol::Hlc::from_wall(crate::world::START.after_us(second * SECOND_US));
        let identity = weft_discovery::Identity { started, ..identity(far, certificate('a', far, Role::Worker)) };
        let facts = LETTERS[1..].iter().map(|member| admitted(&certificate('a', *member, Role::Worker))).collect();
        let recovered = weft_protocol::Recovered { chains: vec![chain('a', facts)], ..Default::default() };
        let mut machine = Machine::start_with(identity, &recovered, DiscoveryConfig::default());
        sent(&mut machine, connected('a')).remove(0).1
    };
    let brought = |packet: Vec<u8>| {
        let bytes = encode(&SwimDetour { from: node(far), to: node('a'), packet: packet.into() });
        Input::SwimArrived { from: node(between), packet: bytes }
    };
    honest.give(brought(run_of_far(100)));
    assert_eq!(honest.discovery.counters().swim_refused, 1, "{far} never said that it runs since then");
    let answers = sent(&mut honest, brought(run_of_far(0)));
    assert_eq!(honest.discovery.counters().swim_refused, 1);
    assert!(answers.iter().any(|(to, _)| *to == between), "it is answered by the same way: {answers:?}");
}

#[test]
fn with_few_members_everybody_is_a_neighbour() {
    let mut machine = a_in_a_partial_mesh();
    machine.wake();
    let (far, _) = far_from_a();
    let wide = DiscoveryConfig { full_mesh_max: 8, ..config() };
    let lines = machine.lines(Input::Configured { config: Box::new(wide) });
    assert_eq!(lines[0], "keep all");
    assert!(lines.contains(&format!("dial {far} /sim/{far}")), "{lines:?}");
    assert!(machine.discovery.is_kept(&node(far)) && !machine.discovery.is_partial());
}
