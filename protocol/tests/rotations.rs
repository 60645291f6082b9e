//! A chain goes on under new keys when the old ones hand it over in order, and under no others.

use proptest::prelude::*;
use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::limits::ROTATIONS_MAX;
use weft_protocol::{
    COMMIT_LABEL, ChainError, ChainId, ChainState, CommitGroup, Event, Fact, Incarnation, KeyPair, KeyRotation,
    RotationError, SignatureError, SignedCommit, Signer, follow_rotations, verify_commit_by,
};

use crate::chains::{Writer, begun, copied, fact};

/// New keys of the node with this seed: its Ed25519 key stays.
fn next_keys(seed: u8) -> KeyPair {
    KeyPair::generate([seed; 32])
}

fn rotated(writer: &Writer, next: &KeyPair) -> Fact {
    Fact::KeyRotated(Box::new(KeyRotation::new(writer.state.chain(), &writer.keys, next)))
}

/// The writer's chain with its keys rotated in order.
fn rotate(writer: &mut Writer) -> CommitGroup {
    let next = next_keys(1);
    let group = writer.append(&[fact(7), rotated(writer, &next)], true);
    writer.keys = next;
    group
}

fn refused(writer: &Writer, group: &CommitGroup) -> ChainError {
    let mut state = writer.state.clone();
    let error = state.extend(group).unwrap_err();
    assert_eq!(state, writer.state, "a refused group changes nothing");
    error
}

fn rotation_error(writer: &Writer, group: &CommitGroup) -> RotationError {
    match refused(writer, group) {
        ChainError::Rotation { commit_no, error } if commit_no == writer.state.commits() => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_rotation_hands_the_chain_over_from_the_next_commit_on() {
    let mut writer = begun();
    let first = writer.keys.public_keys().clone();
    let group = rotate(&mut writer);
    assert_eq!(writer.state.keys(), writer.keys.public_keys());
    assert_eq!(writer.state.all_keys().collect::<Vec<_>>(), [&first, writer.keys.public_keys()]);
    assert!(verify_commit_by(&group.signed, [&first]).is_ok(), "the rotation itself is the old keys' last word");
    let after = writer.append(&[fact(8)], true);
    assert!(verify_commit_by(&after.signed, [&first]).is_err());
    assert!(verify_commit_by(&after.signed, writer.state.all_keys()).is_ok());
}

#[test]
fn the_old_keys_sign_nothing_after_and_the_new_ones_nothing_before() {
    let mut writer = begun();
    let new = next_keys(1);
    let early = Writer { keys: copied(&new), ..writer.copy() }.group(&[fact(1)], true, |_, _| {});
    let ed25519 = SignatureError::Ed25519;
    assert_eq!(refused(&writer, &early), ChainError::Signature { commit_no: 1, error: ed25519 });

    writer.append(&[rotated(&writer, &new)], true);
    let late = writer.group(&[fact(1)], true, |_, _| {});
    assert_eq!(refused(&writer, &late), ChainError::Signature { commit_no: 2, error: ed25519 });
    writer.keys = new;
    writer.append(&[fact(1)], false);
}

#[test]
fn a_rotation_is_the_last_event_of_a_checkpoint() {
    let writer = begun();
    let next = next_keys(1);
    let middle = writer.group(&[rotated(&writer, &next), fact(1)], true, |_, _| {});
    assert_eq!(rotation_error(&writer, &middle), RotationError::NotLast);
    let twice = writer.group(&[rotated(&writer, &next), rotated(&writer, &next)], true, |_, _| {});
    assert_eq!(rotation_error(&writer, &twice), RotationError::NotLast);
    let unsealed = writer.group(&[rotated(&writer, &next)], false, |_, _| {});
    assert_eq!(rotation_error(&writer, &unsealed), RotationError::NotSealed);
}

#[test]
fn a_rotation_is_signed_by_the_old_keys_and_the_new_ones() {
    let writer = begun();
    let chain = writer.state.chain();
    let group_of = |rotation| writer.group(&[Fact::KeyRotated(Box::new(rotation))], true, |_, _| {});
    let (next, third) = (next_keys(1), next_keys(1));

    let by_third = KeyRotation::new(chain, &third, &next);
    assert_eq!(rotation_error(&writer, &group_of(by_third)), RotationError::OtherKeys);

    let good = KeyRotation::new(chain, &writer.keys, &next);
    let mut unsigned = weft_protocol::encode(&good.rotation);
    // The signature stands at the end of what is signed.
    *unsigned.last_mut().unwrap() ^= 1;
    let unsigned = weft_protocol::decode(&unsigned, 64 * 1024).unwrap();
    let unsigned = KeyRotation { rotation: unsigned, accepted: good.accepted.clone() };
    assert!(matches!(rotation_error(&writer, &group_of(unsigned)), RotationError::Old(_)));

    let mut other = good.clone();
    other.accepted = KeyRotation::new(chain, &writer.keys, &third).accepted;
    assert!(matches!(rotation_error(&writer, &group_of(other)), RotationError::New(_)), "somebody else's key is named");
    let mut other = good.clone();
    other.accepted.mldsa65[9] ^= 1;
    let mldsa65 = SignatureError::MlDsa65;
    assert_eq!(rotation_error(&writer, &group_of(other)), RotationError::New(mldsa65));

    let same = KeyRotation::new(chain, &writer.keys, &writer.keys);
    assert_eq!(rotation_error(&writer, &group_of(same)), RotationError::NotNew);
    let stranger = KeyRotation::new(chain, &writer.keys, &next_keys(2));
    assert_eq!(rotation_error(&writer, &group_of(stranger)), RotationError::NotNew);
}

#[test]
fn a_rotation_counts_on_its_own_chain_alone_and_once() {
    let mut writer = begun();
    let next = next_keys(1);
    let elsewhere = ChainId { incarnation: Incarnation(2), ..writer.state.chain() };
    let replayed = Fact::KeyRotated(Box::new(KeyRotation::new(elsewhere, &writer.keys, &next)));
    let group = writer.group(&[replayed], true, |_, _| {});
    assert_eq!(rotation_error(&writer, &group), RotationError::OtherChain);

    let once = rotated(&writer, &next);
    writer.append(std::slice::from_ref(&once), true);
    writer.keys = next;
    let again = writer.group(&[once], true, |_, _| {});
    assert_eq!(rotation_error(&writer, &again), RotationError::OtherKeys);
}

#[test]
fn a_chain_is_handed_over_so_many_times_and_no_more() {
    let mut writer = begun();
    for _ in 0..ROTATIONS_MAX {
        rotate(&mut writer);
    }
    let once_more = writer.group(&[rotated(&writer, &next_keys(1))], true, |_, _| {});
    assert_eq!(rotation_error(&writer, &once_more), RotationError::TooMany);
    writer.append(&[fact(1)], true);
}

#[test]
fn what_is_no_rotation_does_not_stand_under_its_name() {
    let writer = begun();
    let broken =
        writer.group(&[Fact::Opaque { kind: KeyRotation::KIND.into(), payload: ByteBuf::from(b"x") }], true, |_, _| {});
    assert!(matches!(rotation_error(&writer, &broken), RotationError::Decode(_)));
}

#[test]
fn a_later_chain_begins_with_any_keys_its_node_has_had_and_no_others() {
    let first = Writer::new();
    let (next, third) = (next_keys(1), next_keys(1));
    let chain = ChainId { incarnation: Incarnation(2), ..first.state.chain() };
    let known = [first.keys.public_keys().clone(), next.public_keys().clone()];
    let state = ChainState::succeeding(chain, first.cluster, known[1].clone(), vec![known[0].clone()]);
    for (keys, welcome) in [(first.keys, true), (next, true), (third, false)] {
        let begun = Writer { keys, cluster: first.cluster, state: state.clone() };
        let group = begun.group(&[begun.genesis()], true, |_, _| {});
        let mut state = state.clone();
        let found = state.extend(&group);
        assert_eq!(found.is_ok(), welcome, "{:?}", found.err());
        if welcome {
            assert_eq!(state.all_keys().collect::<Vec<_>>(), [begun.keys.public_keys()]);
        }
    }
}

#[test]
fn the_proof_of_a_row_of_rotations_is_the_row() {
    let chain = begun().state.chain();
    let pairs = [next_keys(1), next_keys(1), next_keys(1)];
    let row = [KeyRotation::new(chain, &pairs[0], &pairs[1]), KeyRotation::new(chain, &pairs[1], &pairs[2])];
    let all = follow_rotations(pairs[0].public_keys(), &row).unwrap();
    assert_eq!(all.iter().collect::<Vec<_>>(), pairs.iter().map(Signer::public_keys).collect::<Vec<_>>());
    assert_eq!(follow_rotations(pairs[0].public_keys(), &row[1..]), Err(RotationError::OtherKeys));
    assert!(weft_protocol::encode(&row[0]).len() < 9 * 1024 + 256);
}

fn signed_by(keys: &KeyPair, group: &CommitGroup) -> SignedCommit {
    let digest = group.signed.hash();
    SignedCommit {
        commit: group.signed.commit.clone(),
        ed25519: ByteArray::new(keys.sign_ed25519(COMMIT_LABEL, &digest)),
        mldsa65: group.signed.mldsa65.as_ref().map(|_| ByteBuf::from(keys.sign_mldsa65(COMMIT_LABEL, &digest))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever a chain is made of, it verifies, and each commit of it under the keys of its place alone.
    #[test]
    fn a_chain_with_rotations_verifies_and_each_commit_under_its_own_keys(steps in prop::collection::vec(0_u8..4, 1..10)) {
        let mut writer = begun();
        let mut pairs = vec![copied(&writer.keys)];
        let mut groups = Vec::new();
        for step in steps {
            let before = writer.state.clone();
            let keys = pairs.len() - 1;
            let group = match step {
                0 => {
                    let next = next_keys(1);
                    pairs.push(copied(&next));
                    let group = writer.append(&[rotated(&writer, &next)], true);
                    writer.keys = next;
                    group
                }
                1 => writer.append(&[], true),
                sealed => writer.append(&[fact(u64::from(sealed))], sealed == 2),
            };
            groups.push((before, keys, group));
        }
        for (before, keys, group) in groups {
            for (other, pair) in pairs.iter().enumerate() {
                let mut signed = group.clone();
                signed.signed = signed_by(pair, &group);
                prop_assert_eq!(before.clone().extend(&signed).is_ok(), other == keys);
            }
        }
        prop_assert_eq!(writer.state.all_keys().count(), pairs.len());
    }
}

#[test]
fn an_event_of_that_kind_is_told_by_its_kind() {
    let writer = begun();
    let group = writer.group(&[rotated(&writer, &next_keys(1))], true, |_, _| {});
    assert_eq!(Event::kind_of(&group.events[0]), Some(KeyRotation::KIND));
}
