//! Which member runs which agent, by what they say themselves.

use weft_discovery::{Input, Resolution};
use weft_protocol::{Advert, NodeRef, Role, ServiceAdvert, SignedAdvert, Timestamp, TopicName, TopicPattern};

use crate::world::{
    Machine, SECOND_US, START, advert, agent, arrived, certificate, connected, keys, name, node, process,
};

fn resolve(machine: &Machine, text: &str) -> Resolution {
    machine.discovery.resolve(&agent(text))
}

fn unknown(complete: bool) -> Resolution {
    Resolution::Unknown { complete }
}

#[test]
fn an_agent_is_found_where_it_is_advertised() {
    let mut machine = Machine::with_members(&['b', 'c']);
    assert_eq!(resolve(&machine, "echo"), unknown(false));
    assert_eq!(
        machine.lines(arrived(&advert('b', 0, 1, &["echo"]))),
        ["remember b /sim/b", "directory changed", "dial b /sim/b"]
    );
    assert_eq!(resolve(&machine, "echo"), Resolution::Found(node('b')));
    assert_eq!(resolve(&machine, "other"), unknown(false), "`c` has not said what it runs");
    machine.give(arrived(&advert('c', 0, 1, &["counter"])));
    assert_eq!(resolve(&machine, "other"), unknown(true));
    let seen = machine.discovery.members().find(|member| member.node == node('b')).unwrap();
    assert_eq!((seen.agents, seen.build), (vec![(agent("echo"), process(1))], Some("weft 0.1.0".into())));
}

#[test]
fn an_agent_on_two_nodes_is_ambiguous_and_lists_both() {
    let mut machine = Machine::with_members(&['b', 'c']);
    machine.give(arrived(&advert('c', 0, 1, &["echo"])));
    machine.give(arrived(&advert('b', 0, 1, &["echo"])));
    assert_eq!(resolve(&machine, "echo"), Resolution::Ambiguous(vec![node('b'), node('c')]));
    machine.give(Input::AgentsChanged { agents: vec![(agent("echo"), process(1)), (agent("own"), process(2))] });
    assert_eq!(resolve(&machine, "echo"), Resolution::Ambiguous(vec![node('a'), node('b'), node('c')]));
    assert_eq!(resolve(&machine, "own"), Resolution::Found(node('a')));
}

#[test]
fn the_newest_advert_of_a_node_counts_whatever_the_order_of_arrival() {
    let (old, new, next_run) = (advert('b', 0, 1, &["old"]), advert('b', 0, 2, &["new"]), advert('b', 1, 1, &["next"]));
    let mut machine = Machine::with_members(&['b']);
    machine.give(arrived(&new));
    assert_eq!(machine.lines(arrived(&old)), [""; 0]);
    assert_eq!(machine.lines(arrived(&new)), [""; 0]);
    assert_eq!(resolve(&machine, "new"), Resolution::Found(node('b')));
    machine.give(arrived(&next_run));
    assert_eq!(
        machine.lines(arrived(&advert('b', 0, 99, &["old"]))),
        [""; 0],
        "a later run goes before a later version"
    );
    assert_eq!(resolve(&machine, "next"), Resolution::Found(node('b')));
    assert_eq!(resolve(&machine, "new"), unknown(true));
}

#[test]
fn an_advert_is_believed_until_it_expires() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(connected('b'));
    machine.give(arrived(&advert('b', 0, 1, &["echo"])));
    machine.run(300 * SECOND_US - 1);
    assert_eq!(resolve(&machine, "echo"), Resolution::Found(node('b')));
    machine.wait(1);
    assert!(machine.lines(Input::Woken).contains(&"directory changed".to_owned()));
    assert_eq!(resolve(&machine, "echo"), unknown(false), "an alive member without an advert may run anything");
    assert_eq!(machine.lines(arrived(&advert('b', 0, 1, &["echo"]))), [""; 0], "expired on arrival");
    let immortal = Advert { expires: Timestamp(u64::MAX), ..advert('b', 0, 2, &["echo"]) };
    machine.give(arrived(&immortal));
    machine.run(600 * SECOND_US);
    assert_eq!(resolve(&machine, "echo"), unknown(false), "and nobody is believed for ever");
}

#[test]
fn agents_of_a_member_that_cannot_be_reached_are_not_found() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(connected('b'));
    machine.give(arrived(&advert('b', 0, 1, &["echo"])));
    machine.give(Input::Disconnected { node: node('b') });
    assert_eq!(resolve(&machine, "echo"), Resolution::Found(node('b')), "suspect may be a moment");
    machine.wait(5 * SECOND_US);
    machine.give(Input::Woken);
    assert_eq!(resolve(&machine, "echo"), unknown(true), "dead is not: nothing is gained by waiting");
    let lines = machine.lines(connected('b'));
    assert!(lines.contains(&"directory changed".to_owned()), "who waits for the name may try again: {lines:?}");
    assert_eq!(resolve(&machine, "echo"), Resolution::Found(node('b')));
    machine.give(Input::ForkProven { node: node('b') });
    assert_eq!(resolve(&machine, "echo"), unknown(true));
}

#[test]
fn an_advert_counts_only_with_the_signature_of_its_node() {
    let mut machine = Machine::with_members(&['b', 'c']);
    let forged = SignedAdvert::new(&advert('b', 0, 1, &["echo"]), &*keys('c'));
    assert_eq!(machine.lines(Input::AdvertArrived { advert: Box::new(forged) }), [""; 0]);
    assert_eq!(machine.discovery.counters().adverts_refused, 1);
    assert_eq!(resolve(&machine, "echo"), unknown(false));
    machine.give(arrived(&advert('a', 9, 9, &["echo"])));
    assert_eq!(resolve(&machine, "echo"), unknown(false), "nobody tells us what we run, not even we ourselves of old");
}

#[test]
fn an_advert_that_comes_before_the_admission_is_believed_after_it() {
    let mut machine = Machine::founder();
    assert_eq!(machine.lines(arrived(&advert('b', 0, 1, &["echo"]))), [""; 0]);
    assert_eq!(resolve(&machine, "echo"), unknown(true));
    let seen = Input::AdmissionSeen {
        issuer: node('a'),
        certificate: Box::new(certificate('a', 'b', Role::Worker)),
        invite: None,
    };
    let lines = machine.lines(seen);
    assert_eq!(lines, ["learn b", "view ab", "remember b /sim/b", "directory changed", "dial b /sim/b"]);
    assert_eq!(resolve(&machine, "echo"), Resolution::Found(node('b')));
}

#[test]
fn adverts_of_strangers_are_bounded() {
    let mut machine = Machine::founder();
    for number in 0..70_u8 {
        let stranger = Advert { node: weft_protocol::NodeId::from_bytes([number; 32]), ..advert('b', 0, 1, &[]) };
        machine.give(Input::AdvertArrived { advert: Box::new(SignedAdvert::new(&stranger, &*keys('b'))) });
    }
    assert_eq!(machine.discovery.counters().adverts_refused, 6);
}

#[test]
fn subscribers_are_those_who_say_so_and_can_be_reached() {
    let topic: TopicName = "jobs.new".parse().unwrap();
    let mut machine = Machine::with_members(&['b', 'c', 'd']);
    for letter in ['b', 'c'] {
        let told = Advert { topics: vec![topic.clone()], ..advert(letter, 0, 1, &[]) };
        machine.give(arrived(&told));
    }
    assert!(!machine.discovery.is_heard_by_wildcard(&topic));
    let pattern = |text: &str| text.parse::<TopicPattern>().unwrap();
    let subscriptions = vec![(pattern("jobs.new"), 2), (pattern("jobs.*"), 3), (pattern("other.>"), 9)];
    let told = Advert { topics: vec![topic.clone()], subscriptions, ..advert('c', 0, 2, &[]) };
    machine.give(arrived(&told));
    machine.give(arrived(&advert('d', 0, 1, &[])));
    machine.give(connected('b'));
    assert_eq!(machine.discovery.subscribers(&topic), [(node('b'), 1), (node('c'), 5)]);
    assert!(machine.discovery.is_heard_by_wildcard(&topic));
    machine.wait(5 * SECOND_US);
    machine.give(Input::Woken);
    assert_eq!(machine.discovery.subscribers(&topic), [(node('b'), 1)]);
    assert!(!machine.discovery.is_heard_by_wildcard(&topic), "it cannot be reached");
}

#[test]
fn newer_adverts_are_told_to_whoever_asks() {
    let mut machine = Machine::with_members(&['b', 'c']);
    machine.give(arrived(&advert('b', 0, 3, &["echo"])));
    machine.give(arrived(&advert('c', 0, 5, &[])));
    let told = |held: &[(char, u64)], now| {
        let held = held.iter().map(|(letter, version)| (node(*letter), advert(*letter, 0, *version, &[]).version));
        let adverts = machine.discovery.adverts_newer_than(&held.collect::<Vec<_>>(), now);
        adverts.iter().map(|advert| crate::world::letter(advert.node)).collect::<String>()
    };
    assert_eq!(told(&[], START), "abc");
    assert_eq!(told(&[('b', 3), ('c', 4)], START), "ac");
    assert_eq!(told(&[('a', 0), ('b', 9)], START), "c");
    assert_eq!(told(&[], START.after_us(300 * SECOND_US)), "a", "what has expired is not passed on");
}

#[test]
fn a_node_is_named_by_its_name_or_id() {
    let mut machine = Machine::with_members(&['b']);
    let by = |machine: &Machine, text: &str| machine.discovery.node_by_ref(&text.parse::<NodeRef>().unwrap());
    assert_eq!(by(&machine, "node-b"), Ok(node('b')));
    assert_eq!(by(&machine, &node('b').to_string()), Ok(node('b')));
    assert_eq!(by(&machine, "node-c").unwrap_err().code(), "no-responder");
    assert_eq!(by(&machine, &node('c').to_string()).unwrap_err().code(), "no-responder");
    let twin = crate::world::certificate_with('a', 'c', Role::Worker, |certificate| certificate.name = name('b'));
    machine.give(Input::AdmissionSeen { issuer: node('a'), certificate: Box::new(twin), invite: None });
    assert_eq!(by(&machine, "node-b").unwrap_err().code(), "ambiguous");
    machine.give(Input::ForkProven { node: node('b') });
    assert_eq!(by(&machine, &node('b').to_string()).unwrap_err().code(), "quarantined");
    assert_eq!(machine.discovery.display_name(node('c')), "node-b");
    assert_eq!(machine.discovery.display_name(node('d')), node('d').to_string());
}

#[test]
fn a_member_that_was_given_another_name_goes_by_that_alone() {
    let mut machine = Machine::with_members(&['b']);
    let renamed = crate::world::certificate_with('a', 'b', Role::Worker, |certificate| {
        certificate.issued = START.after_us(1);
        certificate.name = name('d');
    });
    machine.give(Input::AdmissionSeen { issuer: node('a'), certificate: Box::new(renamed), invite: None });
    let by = |text: &str| machine.discovery.node_by_ref(&text.parse::<NodeRef>().unwrap());
    assert_eq!(by("node-d"), Ok(node('b')));
    assert_eq!(by("node-b").unwrap_err().code(), "no-responder");
}

fn served(load: u64) -> ServiceAdvert {
    ServiceAdvert { service: "sum".parse().unwrap(), agent: agent("adder"), contract: None, load }
}

#[test]
fn services_are_found_with_all_members_that_serve_them_and_may_be_reached() {
    let mut machine = Machine::with_members(&['b', 'c', 'd']);
    let sum = "sum".parse().unwrap();
    for (letter, load) in [('b', 0), ('c', 8)] {
        machine.give(connected(letter));
        machine.give(arrived(&Advert { services: vec![served(load)], ..advert(letter, 0, 1, &["adder"]) }));
    }
    let found = |machine: &Machine| -> Vec<_> {
        machine.discovery.providers(&sum).into_iter().map(|(node, advert)| (node, advert.load)).collect()
    };
    assert_eq!(found(&machine), [(node('b'), 0), (node('c'), 8)]);
    assert_eq!(machine.discovery.services_elsewhere().len(), 1);
    assert!(!machine.discovery.is_complete(), "`d` has not said what it serves");
    machine.give(Input::Disconnected { node: node('b') });
    machine.run(5 * SECOND_US);
    assert_eq!(found(&machine), [(node('c'), 8)], "`b` is dead");
    machine.give(arrived(&advert('c', 0, 2, &["adder"])));
    assert_eq!(found(&machine), [], "`c` no longer serves it");
    assert!(machine.discovery.services_elsewhere().is_empty());
}
