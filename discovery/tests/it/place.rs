//! On which member something is started that says what it wants of one.

use std::collections::BTreeMap;

use weft_discovery::{DiscoveryConfig, Input};

use crate::world::{Machine, advert, arrived, connected, node};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn labels_first_then_load_then_this_node_then_names_and_only_who_is_there() {
    let mut machine = Machine::with_members(&['b', 'c', 'd']);
    for letter in ['b', 'c'] {
        machine.give(connected(letter));
    }
    let told = |letter, agents: &[&str], role| {
        let mut advert = advert(letter, 0, 1, agents);
        advert.labels = labels(&[("role", role)]);
        arrived(&advert)
    };
    machine.give(told('b', &["one", "two"], "gpu"));
    machine.give(told('c', &["three"], "gpu"));
    machine.give(told('d', &[], "tpu"));
    let place = |machine: &Machine, wanted: &[(&str, &str)], least| machine.discovery.place(&labels(wanted), least);
    assert_eq!(place(&machine, &[], false), Some(node('a')));
    assert_eq!(place(&machine, &[("role", "gpu")], false), Some(node('b')), "the first by name");
    assert_eq!(place(&machine, &[("role", "gpu")], true), Some(node('c')), "which runs fewer");
    assert_eq!(place(&machine, &[("role", "gpu"), ("zone", "1")], false), None);
    assert_eq!(place(&machine, &[("role", "tpu")], false), Some(node('d')), "it may still come");
    machine.wait(DiscoveryConfig::default().dead_after_us);
    machine.give(Input::Woken);
    assert_eq!(place(&machine, &[("role", "tpu")], false), None, "it is dead");
}
