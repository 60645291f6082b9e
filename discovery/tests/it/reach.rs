//! Who passes connections on to a node that others cannot dial.

use weft_discovery::{Input, Path};

use crate::world::{Machine, node, path};

fn dialled(letter: char) -> Input {
    Input::Connected { node: node(letter), path: path(letter, true) }
}

fn relayed(letter: char) -> Input {
    Input::Connected { node: node(letter), path: Path { transport: Path::RELAY, ..path(letter, true) } }
}

/// What is said about relays.
fn said(machine: &mut Machine, input: Input) -> Vec<String> {
    machine.lines(input).into_iter().filter(|line| line.starts_with("relays")).collect()
}

#[test]
fn two_members_that_this_node_dialled_pass_on_while_something_translates() {
    let mut machine = Machine::with_members(&['b', 'c', 'd', 'e']);
    assert_eq!(said(&mut machine, dialled('d')), [""; 0], "nobody translates");
    assert_eq!(said(&mut machine, Input::TranslationSeen { translated: true }), ["relays d"]);
    let inbound = Input::Connected { node: node('b'), path: path('b', false) };
    assert_eq!(said(&mut machine, inbound), [""; 0], "that b reached this node does not say that others reach b");
    assert_eq!(said(&mut machine, relayed('c')), [""; 0], "c is reached through somebody else");
    assert_eq!(said(&mut machine, dialled('e')), ["relays de"]);
    assert_eq!(said(&mut machine, dialled('c')), [""; 0], "two are enough");
    assert_eq!(said(&mut machine, Input::Disconnected { node: node('d') }), ["relays ec"]);
    assert_eq!(said(&mut machine, Input::ForkProven { node: node('e') }), [""; 0]);
    assert_eq!(
        said(&mut machine, Input::Disconnected { node: node('e') }),
        ["relays c"],
        "who is cut off is not asked again"
    );
    assert_eq!(said(&mut machine, Input::TranslationSeen { translated: false }), ["relays "]);
}
