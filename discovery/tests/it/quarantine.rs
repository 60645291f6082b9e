//! A node that forked its chain is cut off, and stays so.

use weft_discovery::{Input, MemberState};

use crate::world::{Machine, advert, arrived, connected, node};

#[test]
fn a_forked_member_is_cut_off_everywhere_at_once() {
    let mut machine = Machine::with_members(&['b', 'c']);
    machine.give(connected('b'));
    let lines = machine.lines(Input::ForkProven { node: node('b') });
    assert_eq!(lines, ["view abc without b", "quarantine b", "disconnect b", "directory changed"]);
    assert_eq!(machine.state('b'), MemberState::Quarantined);
    assert_eq!(machine.discovery.role_of(node('b')), None, "it may do nothing");
    assert!(machine.discovery.keys_of(node('b')).is_some(), "but its old signatures can still be checked");
    assert_eq!(machine.lines(Input::ForkProven { node: node('b') }), [""; 0], "once is enough");
}

#[test]
fn a_quarantined_member_is_neither_heard_nor_dialled() {
    let mut machine = Machine::with_members(&['b']);
    machine.give(arrived(&advert('b', 0, 1, &[])));
    machine.give(Input::DialFailed { node: node('b'), reason: "refused".into() });
    machine.give(Input::ForkProven { node: node('b') });
    assert_eq!(machine.lines(connected('b')), ["disconnect b"]);
    assert_eq!(machine.lines(arrived(&advert('b', 0, 2, &[]))), [""; 0]);
    let lines = machine.run(60_000_000);
    assert!(!lines.iter().any(|(_, line)| line.starts_with("dial")), "{lines:?}");
}

#[test]
fn our_own_fork_is_said_but_we_do_not_disconnect_from_ourselves() {
    let mut machine = Machine::with_members(&['b']);
    let lines = machine.lines(Input::ForkProven { node: node('a') });
    assert_eq!(lines, ["view ab without a", "quarantine a", "directory changed"]);
}
