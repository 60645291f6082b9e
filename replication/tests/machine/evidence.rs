//! Evidence implies guilt: crafted contradictions convict, and no two commits of an honest history do.

use proptest::prelude::*;
use weft_protocol::{Commit, Digest, Evidence, Hlc, SignedCommit, SignedTick, Tick, Timestamp, commit_hash};
use weft_replication::{EvidenceError, ForkKind, check_evidence};

use crate::world::START;
use crate::writer::Writer;

fn pair(first: &SignedCommit, second: &SignedCommit) -> Evidence {
    Evidence { first: first.clone().into(), second: second.clone().into(), rotations: Vec::new() }
}

/// Both orders of the pair prove the same.
fn check(writer: &Writer, first: &SignedCommit, second: &SignedCommit) -> Result<(u64, ForkKind), EvidenceError> {
    let keys = writer.public();
    let one = check_evidence(&pair(first, second), &keys);
    let other = check_evidence(&pair(second, first), &keys);
    assert_eq!(one, other);
    one.map(|verdict| {
        assert_eq!(verdict.chain, writer.chain);
        (verdict.commit_no, verdict.kind)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_two_commits_of_an_honest_history_convict(
        groups in prop::collection::vec((0_usize..4, 0_u64..3_000_000), 1..10),
    ) {
        let mut writer = Writer::new(1);
        let mut now = START;
        for (number, (events, passed_us)) in groups.iter().enumerate() {
            now = now.after_us(*passed_us);
            writer.write(now, if number == 0 { events + 1 } else { *events }, 0, true);
        }
        let keys = writer.public();
        for second in &writer.groups {
            let signed_again = writer.sign(&second.signed.decode().unwrap(), false);
            for first in &writer.groups {
                prop_assert!(check_evidence(&pair(&first.signed, &second.signed), &keys).is_err());
                prop_assert!(check_evidence(&pair(&first.signed, &signed_again), &keys).is_err());
            }
        }
    }
}

#[test]
fn the_same_commit_twice_convicts_nobody() {
    let mut writer = Writer::new(1);
    let group = writer.write(START, 2, 0, true).clone();
    let again = writer.sign(&group.signed.decode().unwrap(), true);
    assert_ne!(group.signed.mldsa65, again.mldsa65, "ML-DSA signatures are randomised");
    assert_eq!(check(&writer, &group.signed, &again), Err(EvidenceError::SameStatement));
    let unsealed = SignedCommit { mldsa65: None, ..again };
    assert_eq!(check(&writer, &group.signed, &unsealed), Err(EvidenceError::SameStatement));
}

#[test]
fn two_histories_convict_wherever_they_are_compared() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 3);
    let mut other = writer.clone();
    writer.write(START, 2, 0, true);
    other.write(START, 2, 1, true);
    writer.write(START, 2, 0, true);
    other.write(START, 2, 0, true);
    let at = |writer: &Writer, number: usize| writer.groups[number].signed.clone();
    let check = |first: SignedCommit, second: SignedCommit| check(&writer, &first, &second);
    assert_eq!(check(at(&writer, 3), at(&other, 3)), Ok((3, ForkKind::Siblings)));
    assert_eq!(check(at(&writer, 4), at(&other, 4)), Ok((4, ForkKind::SameNumber)));
    assert_eq!(check(at(&writer, 3), at(&other, 4)), Ok((3, ForkKind::BrokenLink)));
    assert_eq!(check(at(&writer, 2), at(&other, 3)), Err(EvidenceError::Consistent));
    assert_eq!(check(at(&writer, 1), at(&other, 4)), Err(EvidenceError::Consistent));
}

/// The writer's commit 1 against a later header that it also signed, with one thing changed from what would be honest.
fn bent(change: impl Fn(&mut Commit, &Commit)) -> Result<(u64, ForkKind), EvidenceError> {
    let mut writer = Writer::new(1);
    writer.write_many(START, 4);
    let earlier = &writer.groups[1].signed;
    let mut later = writer.groups[3].signed.decode().unwrap();
    change(&mut later, &earlier.decode().unwrap());
    check(&writer, earlier, &writer.sign(&later, false))
}

#[test]
fn headers_far_apart_convict_only_when_no_history_holds_both() {
    assert_eq!(bent(|_, _| {}), Err(EvidenceError::Consistent));
    let two_roots = bent(|later, earlier| {
        later.tree_size = earlier.tree_size;
        later.first_seq = earlier.tree_size;
    });
    assert_eq!(two_roots, Ok((1, ForkKind::SameSize)));
    let same_root = bent(|later, earlier| {
        later.tree_size = earlier.tree_size;
        later.root = earlier.root;
        later.first_seq = earlier.tree_size;
    });
    assert_eq!(same_root, Err(EvidenceError::Consistent), "an empty commit");
    let overlap = bent(|later, earlier| later.first_seq = earlier.tree_size - 1);
    assert_eq!(overlap, Ok((1, ForkKind::Overlap)));
    assert_eq!(bent(|later, earlier| later.first_seq = earlier.tree_size), Err(EvidenceError::Consistent));
    let backwards = bent(|later, earlier| later.hlc_first = earlier.hlc_last);
    assert_eq!(backwards, Ok((1, ForkKind::ClockBackwards)));
    assert_eq!(bent(|later, earlier| later.hlc_first = earlier.hlc_last.next()), Err(EvidenceError::Consistent));
    assert_eq!(bent(|later, _| later.prev_commit = Digest::from_bytes([0; 32])), Err(EvidenceError::Consistent));
}

#[test]
fn what_the_accused_did_not_sign_proves_nothing() {
    let mut writer = Writer::new(1);
    writer.write_many(START, 2);
    let mut other = writer.clone();
    let first = writer.write(START, 2, 0, true).signed.clone();
    let second = other.write(START, 2, 1, true).signed.clone();

    let stranger = Writer::new(2);
    let theirs = check_evidence(&pair(&first, &second), &stranger.public());
    assert!(matches!(theirs, Err(EvidenceError::Statement(_))), "{theirs:?}");

    let forged = stranger.sign(&second.decode().unwrap(), true);
    assert!(matches!(check_evidence(&pair(&first, &forged), &writer.public()), Err(EvidenceError::Statement(_))));

    let mut half = second.clone();
    half.mldsa65.as_mut().unwrap()[5] ^= 1;
    assert!(matches!(check_evidence(&pair(&first, &half), &writer.public()), Err(EvidenceError::Statement(_))));

    let mut bytes = second.clone();
    let last = bytes.commit.len() - 1;
    bytes.commit[last] ^= 1;
    assert_ne!(commit_hash(&bytes.commit), second.hash());
    assert!(matches!(check_evidence(&pair(&first, &bytes), &writer.public()), Err(EvidenceError::Statement(_))));
}

#[test]
fn two_lives_of_a_node_do_not_contradict_each_other() {
    let mut writer = Writer::new(1);
    let first = writer.write(Timestamp(START.0 + 1), 2, 0, true).signed.clone();
    let mut reborn = writer.reborn(9);
    let second = reborn.write(START, 2, 0, true).signed.clone();
    assert_eq!(check_evidence(&pair(&first, &second), &writer.public()), Err(EvidenceError::OtherChain));
    assert!(Hlc(0) < reborn.state().last_hlc());
}

/// What a tick about commit 1, with one thing changed, and a later header prove.
fn ticked(number: usize, bend: impl Fn(&mut Tick, &[Commit])) -> Result<(u64, ForkKind), EvidenceError> {
    let mut writer = Writer::new(1);
    writer.write_many(START, 4);
    let commits: Vec<Commit> = writer.groups.iter().map(|group| group.signed.decode().unwrap()).collect();
    let mut tick = writer.tick_of(1, commits[1].hlc_last).peek().unwrap();
    bend(&mut tick, &commits);
    let tick = SignedTick::new(&tick, &*writer.keys).claim(&tick);
    let commit = writer.groups[number].signed.clone();
    let keys = writer.public();
    let [one, other] = [(tick.clone().into(), commit.clone().into()), (commit.into(), tick.into())]
        .map(|(first, second)| check_evidence(&Evidence { first, second, rotations: Vec::new() }, &keys));
    assert_eq!(one, other);
    one.map(|verdict| (verdict.commit_no, verdict.kind))
}

#[test]
fn a_tick_convicts_only_with_what_no_history_holds_beside_it() {
    for number in 0..4 {
        assert_eq!(ticked(number, |_, _| {}), Err(EvidenceError::Consistent), "commit {number}");
        let latest = ticked(number, |tick, commits| tick.hlc = Hlc(commits[2].hlc_first.0 - 1));
        assert_eq!(latest, Err(EvidenceError::Consistent), "the last stamp before what follows, {number}");
    }
    let at = |of: usize| move |tick: &mut Tick, commits: &[Commit]| tick.hlc = commits[of].hlc_first;
    assert_eq!(ticked(2, at(2)), Ok((2, ForkKind::BrokenTick)), "the very stamp");
    assert_eq!(ticked(2, at(3)), Ok((2, ForkKind::BrokenTick)));
    assert_eq!(ticked(3, at(3)), Ok((2, ForkKind::BelowTick)), "it follows what was never shown");
    assert_eq!(ticked(3, at(2)), Err(EvidenceError::Consistent), "only what stands between breaks it");
    assert_eq!(ticked(1, at(3)), Err(EvidenceError::Consistent), "the tick's own commit");
    assert_eq!(ticked(0, at(3)), Err(EvidenceError::Consistent), "what stands before it");
    let another = |tick: &mut Tick, _: &[Commit]| tick.last.commit_hash = Digest::from_bytes([3; 32]);
    assert_eq!(ticked(1, another), Ok((1, ForkKind::SameNumber)));
    assert_eq!(ticked(2, another), Ok((1, ForkKind::BrokenLink)));
    assert_eq!(ticked(3, another), Err(EvidenceError::Consistent), "what a header cannot show");
    let last = |tick: &mut Tick, _: &[Commit]| (tick.last.commit_no, tick.hlc) = (u64::MAX, Hlc(u64::MAX));
    assert_eq!(ticked(3, last), Err(EvidenceError::Consistent));
    let other = |tick: &mut Tick, commits: &[Commit]| {
        tick.hlc = commits[3].hlc_first;
        tick.cluster = weft_protocol::ClusterId::from_bytes([1; 32]);
    };
    assert_eq!(ticked(2, other), Err(EvidenceError::OtherChain));
}
