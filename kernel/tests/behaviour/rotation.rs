//! Another ML-DSA-65 key: the record ends a checkpoint of the old one, and nothing is signed by the new one before that is on disk.

use std::sync::Arc;

use weft_kernel::{Action, Input, Ticket};
use weft_protocol::{Event, Fact, InviteId, InviteRevoked, KeyPair, Principal, ProcessId, Signer, hash, verify_commit};

use crate::node::{Node, lines, name};

fn next_of(node: &str) -> Arc<KeyPair> {
    Arc::new(KeyPair::generate(*hash("test-key", &[node.as_bytes()]).as_bytes()))
}

fn rotation(next: &Arc<KeyPair>) -> Input {
    Input::RotationAsked { ticket: Ticket(9), by: Principal::Operator, next: Arc::clone(next) as _ }
}

fn revoked(number: u64) -> Input {
    let facts = vec![Fact::InviteRevoked(InviteRevoked { invite: InviteId::from_bytes([1; 8]) })];
    Input::FactsGiven { ticket: Ticket(number), by: Principal::Operator, action: Action::RevokeInvite, facts }
}

/// The kinds of each commit, whether it is a checkpoint, and whether the first keys signed it.
fn commits(node: &Node) -> Vec<(Vec<String>, bool, bool)> {
    let first = node.signer.public_keys();
    let commit = |group: &weft_protocol::CommitGroup| {
        let kinds = group.events.iter().map(|bytes| Event::decode(bytes).expect("an event").kind).collect();
        (kinds, group.signed.is_checkpoint(), verify_commit(&group.signed, first).is_ok())
    };
    node.disk.groups.iter().map(commit).collect()
}

#[test]
fn whatever_is_on_its_way_the_record_ends_a_checkpoint_of_the_old_keys() {
    let mut node = Node::new("alpha");
    let next = next_of("alpha");
    node.give(revoked(1));
    // While that is written: something before, the rotation, something after, and one more rotation that is too early.
    node.give(revoked(2));
    assert_eq!(lines(&node.give(rotation(&next))), Vec::<String>::new());
    node.give(revoked(3));
    let early = lines(&node.give(rotation(&next_of("alpha")))).join("; ");
    assert!(early.starts_with("facts-refused 9 busy"), "{early}");
    let mut told = Vec::new();
    while node.writing.is_some() {
        told.extend(lines(&node.persist()));
    }
    let confirmed = told.iter().filter(|line| line.starts_with("facts-recorded 9")).count();
    assert_eq!(confirmed, 1, "{told:?}");
    let kinds = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let rest = commits(&node).split_off(1);
    assert_eq!(rest[0].0, kinds(&["invite.revoked"]));
    assert_eq!(rest[1], (kinds(&["invite.revoked", "keys.rotated"]), true, true));
    assert_eq!((&rest[2].0, rest[2].2), (&kinds(&["invite.revoked"]), false), "signed by the new keys alone");
    assert_eq!(node.kernel.chain_state().keys(), next.public_keys());
    assert_eq!(node.kernel.chain_state().all_keys().count(), 2);
}

#[test]
fn no_commit_is_signed_ahead_across_a_rotation() {
    let mut node = Node::new("alpha");
    let next = next_of("alpha");
    node.give(rotation(&next));
    // Enough for more than one whole group while the record is being written.
    (100..200).for_each(|number| drop(node.give(revoked(number))));
    while node.writing.is_some() {
        node.persist();
    }
    let after = node.disk.groups.iter().skip_while(|group| group.signed.decode().expect("canonical").commit_no < 2);
    let by_next = after.map(|group| verify_commit(&group.signed, next.public_keys()).is_ok()).collect::<Vec<_>>();
    assert!(by_next.len() > 2 && by_next.iter().all(|signed| *signed), "{by_next:?}");
    node.recovered();
}

#[test]
fn a_crash_before_the_record_is_on_disk_leaves_the_old_keys() {
    let mut node = Node::new("alpha");
    let next = next_of("alpha");
    assert_eq!(lines(&node.give(rotation(&next))), ["persist [keys.rotated]!"]);
    assert_eq!(node.kernel.chain_state().keys(), node.signer.public_keys(), "not yet");
    node.crash();
    node.run(Input::Woken);
    assert!(!node.kinds().contains(&"keys.rotated".to_owned()));
    node.run(revoked(1));
    assert!(commits(&node).iter().all(|(_, _, first)| *first));
}

#[test]
fn only_new_keys_of_this_node_and_only_for_the_operator() {
    let mut node = Node::with_agents("alpha", &["echo"]);
    let own = Arc::clone(&node.signer);
    for wrong in [own, next_of("beta")] {
        let told = lines(&node.run(rotation(&wrong)));
        assert_eq!(told, ["facts-refused 9 these are not new keys of this node"]);
    }
    let by = Principal::Agent { agent: name("echo"), process: ProcessId { index: 0, generation: 0 } };
    let told = lines(&node.run(Input::RotationAsked { ticket: Ticket(9), by, next: next_of("alpha") }));
    assert!(told.iter().any(|line| line.starts_with("facts-refused 9 denied")), "{told:?}");
    assert!(!node.kinds().contains(&"keys.rotated".to_owned()));
}
