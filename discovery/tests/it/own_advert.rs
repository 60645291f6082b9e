//! What this node says of itself: soon, seldom, bounded, and again before it expires.

use weft_discovery::{Input, Output};
use weft_protocol::{Advert, ServiceAdvert, TopicPattern};

use crate::world::{Machine, SECOND_US, START, agent, connected, listening, process, public};

fn agents(names: &[&str]) -> Input {
    Input::AgentsChanged { agents: (1..).zip(names).map(|(index, name)| (agent(name), process(index))).collect() }
}

#[test]
fn a_change_is_told_at_once_and_those_within_twenty_milliseconds_together() {
    let mut machine = Machine::founder_silent();
    assert_eq!(machine.lines(Input::Woken), [""; 0], "nothing to say yet");
    assert_eq!(machine.lines(listening()), ["gossip a1"]);
    assert_eq!(machine.lines(agents(&["echo"])), [""; 0]);
    machine.wait(10_000);
    assert_eq!(machine.lines(agents(&["echo", "counter"])), [""; 0]);
    assert_eq!(machine.discovery.next_wakeup(), Some(START.after_us(20_000)));
    assert_eq!(machine.wake(), ["gossip a2 counter echo"]);
    machine.wait(SECOND_US);
    assert_eq!(machine.lines(agents(&["counter", "echo"])), ["gossip a3 counter echo"], "other process ids");
    machine.wait(SECOND_US);
    assert_eq!(machine.lines(agents(&["counter", "echo"])), [""; 0], "the same again");
}

#[test]
fn it_is_told_again_long_before_it_expires() {
    let mut machine = Machine::founder();
    let lines = machine.run(300 * SECOND_US);
    let gossip = |version, at| (at * SECOND_US, format!("gossip a{version}"));
    assert_eq!(lines, [gossip(2, 100), gossip(3, 200), gossip(4, 300)]);
}

#[test]
fn whoever_connects_hears_it_without_a_new_version() {
    let mut machine = Machine::with_members(&['b', 'c', 'd']);
    machine.give(listening());
    machine.wait(SECOND_US);
    assert!(machine.lines(connected('b')).contains(&"gossip a1".to_owned()));
    assert!(!machine.lines(connected('c')).contains(&"gossip a1".to_owned()));
    assert!(!machine.lines(connected('d')).contains(&"gossip a1".to_owned()));
    assert_eq!(machine.run(20_000), [(20_000, "gossip a1".to_owned())], "once for both");
}

fn told(outputs: &[Output]) -> Advert {
    let gossiped = outputs.iter().find_map(|output| match output {
        Output::GossipAdvert(signed) => Some(signed),
        _ => None,
    });
    gossiped.unwrap().verify(&public('a')).unwrap()
}

#[test]
fn it_always_fits_one_gossip_message() {
    let long = |number: u32| format!("{number:0>63}");
    let mut machine = Machine::founder_silent();
    let many = (0..600).map(|number| (agent(&long(number)), process(number))).collect();
    machine.give(Input::AgentsChanged { agents: many });
    machine.wait(SECOND_US);
    let subscriptions = (0..600).map(|number| (format!("{number:0>128}").parse().unwrap(), 1)).collect();
    let advert = told(&machine.give(Input::TopicsChanged { subscriptions }));
    assert_eq!(advert.agents.len(), 512);
    assert_eq!(advert.agents[511].0, agent(&long(511)), "the first ones by name");
    assert!((50..512).contains(&advert.topics.len()), "{} topics", advert.topics.len());
    let bytes = weft_protocol::encode(&advert).len();
    assert!((55 * 1024..=56 * 1024).contains(&bytes), "{bytes} bytes");
}

#[test]
fn it_counts_subscribers_and_tells_too_many_wildcards_as_everything() {
    let mut machine = Machine::founder_silent();
    let pattern = |text: &str| text.parse::<TopicPattern>().unwrap();
    let subscriptions = vec![(pattern("jobs"), 1), (pattern("news"), 3), (pattern("jobs.*"), 2)];
    let advert = told(&machine.give(Input::TopicsChanged { subscriptions }));
    assert_eq!(advert.topics.iter().map(ToString::to_string).collect::<Vec<_>>(), ["jobs", "news"]);
    assert_eq!(advert.subscriptions, [(pattern("jobs.*"), 2), (pattern("news"), 3)]);
    machine.wait(SECOND_US);
    let subscriptions = (0..65).map(|number| (pattern(&format!("t{number}.*")), 1)).collect();
    let advert = told(&machine.give(Input::TopicsChanged { subscriptions }));
    assert_eq!(advert.subscriptions, [(TopicPattern::everything(), 65)]);
}

#[test]
fn it_says_where_we_can_be_dialled() {
    let mut machine = Machine::founder_silent();
    let advert = told(&machine.give(listening()));
    assert_eq!(advert.addresses, ["/ip4/10.0.0.1/tcp/1"]);
    assert_eq!(advert.expires, START.after_us(300 * SECOND_US));
    let own = machine.discovery.members().next().unwrap();
    assert_eq!((own.addresses, own.build), (advert.addresses, Some(advert.build)));
}

#[test]
fn what_is_served_is_told_at_once_and_how_busy_it_is_at_most_once_a_second() {
    let served = |load| Input::ServicesChanged {
        services: vec![ServiceAdvert { service: "sum".parse().unwrap(), agent: agent("adder"), contract: None, load }],
    };
    let mut machine = Machine::founder_silent();
    let advert = told(&machine.give(served(0)));
    assert_eq!(advert.services.len(), 1);
    machine.wait(20_000);
    assert_eq!(machine.lines(served(8)), [""; 0]);
    assert_eq!(machine.lines(served(64)), [""; 0]);
    assert_eq!(machine.run(SECOND_US), [(980_000, "gossip a2".to_owned())]);
    machine.wait(SECOND_US);
    assert_eq!(told(&machine.give(served(8))).services[0].load, 8);
    machine.wait(20_000);
    let nothing = Input::ServicesChanged { services: Vec::new() };
    assert_eq!(told(&machine.give(nothing)).services, [], "not a matter of load");
}
