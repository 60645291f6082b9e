//! A damaged store becomes a whole one with the help of a peer, or stays what it is.

use std::fs;

use tempfile::tempdir;
use weft_protocol::{Batch, ChainId, CommitGroup};
use weft_storage::{DamagedRange, OpenError, RepairError, Store};

use crate::chains::{Writer, commits, no_fold, one, script, summary};
use crate::disk::{DATABASE_AT, Disk, Unsynced};

fn image(batches: &[Batch]) -> (Vec<u8>, String) {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    store.abandon();
    let bytes = disk.bytes();
    let whole = summary(&Store::open_backend(Disk::with(bytes.clone())).unwrap().1);
    (bytes, whole)
}

fn groups(batches: &[Batch], chain: ChainId) -> Vec<CommitGroup> {
    batches.iter().flat_map(|batch| &batch.groups).filter(|it| it.0 == chain).map(|it| it.1.clone()).collect()
}

fn places(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    (0..bytes.len() - part.len()).filter(|at| bytes[*at..].starts_with(part)).collect()
}

/// Destroys every copy of `part`.
fn destroy(bytes: &mut [u8], part: &[u8]) {
    let places = places(bytes, part);
    assert!(!places.is_empty());
    places.into_iter().for_each(|place| bytes[place + part.len() / 2] ^= 1);
}

/// What differs after a repair: delivered messages may wait again, which their receivers notice.
fn without_outbox(summary: &str) -> String {
    let (before, rest) = summary.split_once("    outbox:").unwrap();
    format!("{before}{}", rest.split_once("    evidence:").unwrap().1)
}

#[test]
fn each_group_can_be_lost_and_fetched() {
    let (batches, own, peer) = script();
    let (bytes, whole) = image(&batches);
    for chain in [own, peer] {
        let all = groups(&batches, chain);
        for (number, lost) in all.iter().enumerate() {
            let mut damaged = bytes.clone();
            destroy(&mut damaged, &lost.signed.commit);
            assert!(matches!(Store::open_backend(Disk::with(damaged.clone())), Err(OpenError::Damaged { .. })));
            let fresh = Disk::default();
            let source = Disk::with(damaged.clone());
            let mut repair = Store::open_damaged_backend(source.clone(), fresh).unwrap();
            let commit_no = number as u64;
            let range = DamagedRange { chain, from_commit: commit_no, to_commit: commit_no };
            assert_eq!(repair.ranges(), [range]);
            // More than what is missing is fine, less is not.
            repair.replace(chain, &[]).unwrap();
            assert_eq!(repair.ranges(), [range]);
            let end = (number + 1 + number % 2).min(all.len());
            repair.replace(chain, &all[number..end]).unwrap();
            assert_eq!(repair.ranges(), []);
            let (store, recovered) = repair.into_store().unwrap();
            assert_eq!(without_outbox(&summary(&recovered)), without_outbox(&whole));
            assert!(recovered.outbox.contains(&batches[1].outbox_put[1]));
            let report = store.verify_all(no_fold).unwrap();
            assert!(report.is_good());
            assert_eq!(report.chains.iter().map(|chain| (chain.digests, chain.orphans)).max(), Some((1, 0)));
            assert_eq!(store.range(chain, 0, u64::MAX).unwrap(), all);
            assert!(source.bytes() == damaged);
        }
    }
}

#[test]
fn what_a_peer_offers_is_checked() {
    let (batches, own, peer) = script();
    let (mut bytes, _) = image(&batches);
    let all = groups(&batches, own);
    destroy(&mut bytes, &all[1].signed.commit);
    destroy(&mut bytes, &all[4].signed.commit);
    let mut repair = Store::open_damaged_backend(Disk::with(bytes), Disk::default()).unwrap();
    let ranges = [1, 4].map(|commit_no| DamagedRange { chain: own, from_commit: commit_no, to_commit: commit_no });
    assert_eq!(repair.ranges(), ranges);
    let foreign = groups(&batches, peer);
    let mut forged = all[1].clone();
    forged.signed.ed25519[3] ^= 1;
    let mut changed = all[1].clone();
    let last = changed.events[0].len() - 1;
    changed.events[0][last] ^= 1;
    for wrong in [&all[2..3], &all[0..2], &foreign[1..2], &[forged], &[changed]] {
        assert!(matches!(repair.replace(own, wrong), Err(RepairError::Refused { .. })));
    }
    assert!(matches!(repair.replace(peer, &foreign), Err(RepairError::NotDamaged { .. })));
    assert_eq!(repair.ranges(), ranges);
    repair.replace(own, &all[1..2]).unwrap();
    assert_eq!(repair.ranges(), ranges[1..]);
    assert!(matches!(repair.into_store(), Err(RepairError::Incomplete { ranges: 1 })));
}

#[test]
fn another_history_is_not_taken() {
    let (store_disk, mut writer) = (Disk::default(), Writer::new(1));
    let (store, _) = Store::open_backend(store_disk.clone()).unwrap();
    let chain = writer.chain();
    let mut all = vec![writer.genesis()];
    let mut twin = writer.twin();
    all.extend([writer.says(1, "one"), writer.says(2, "two"), writer.says(3, "three")]);
    for group in &all {
        store.commit(&one(chain, group.clone())).unwrap();
    }
    store.abandon();
    let other = [twin.says(1, "another one"), twin.says(2, "another two"), twin.says(3, "another three")];
    // In the middle an intact group behind the gap contradicts, at the end the head does.
    for (lost, offered) in [(1..2, 0..1), (1..4, 0..3)] {
        let mut bytes = store_disk.bytes();
        all[lost.clone()].iter().for_each(|group| destroy(&mut bytes, &group.signed.commit));
        let mut repair = Store::open_damaged_backend(Disk::with(bytes), Disk::default()).unwrap();
        let conflict = repair.replace(chain, &other[offered]).unwrap_err();
        assert!(matches!(conflict, RepairError::Conflict { .. }), "{conflict}");
        repair.replace(chain, &all[lost]).unwrap();
        assert_eq!(repair.into_store().unwrap().0.range(chain, 0, u64::MAX).unwrap(), all);
    }
}

#[test]
fn damage_beside_the_chains_needs_no_peer() {
    let (batches, ..) = script();
    let (bytes, whole) = image(&batches);
    // The header of the database, both of its slots.
    let mut damaged = bytes;
    damaged[DATABASE_AT + 64..DATABASE_AT + 320].fill(0xff);
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(&path, &damaged).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Damaged { .. })));
    let repair = Store::open_damaged(&path).unwrap();
    assert_eq!(repair.ranges(), []);
    assert_eq!(fs::read(&path).unwrap(), damaged);
    let (store, recovered) = repair.into_store().unwrap();
    assert_eq!(without_outbox(&summary(&recovered)), without_outbox(&whole));
    drop(store);
    // The damaged file is kept, and nothing else is left.
    assert_eq!(fs::read(folder.path().join("store.redb.damaged-1")).unwrap(), damaged);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    Store::open(&path).unwrap();
}

/// A commit that a crash cut off stays in the file beside the one that took its place; a repair must never mix them up.
#[test]
fn what_a_crash_left_behind_is_not_taken_for_what_was_promised() {
    let (disk, mut writer) = (Disk::default(), Writer::new(1));
    let chain = writer.chain();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let genesis = writer.genesis();
    let mut other = Writer::new(2);
    store.commit(&one(chain, genesis.clone())).unwrap();
    store.commit(&one(other.chain(), other.genesis())).unwrap();
    store.abandon();
    let mut cut = writer.twin();
    let second = writer.says(1, "acknowledged");
    let never = [1, 2].map(|number| cut.says(number, &"never acknowledged ".repeat(400)));
    // What is written later covers what stands in front, so something else does; and all of it is more than the journal has room for.
    let front: Vec<_> = (1..=24).map(|number| other.says(number, &"in front ".repeat(800))).collect();
    let front = front.into_iter().map(|group| (other.chain(), group));
    let groups = front.chain(never.iter().map(|group| (chain, group.clone()))).collect();
    let batch = Batch { groups, ..Batch::default() };
    let left = |bytes: &[u8], group: &CommitGroup| {
        !places(bytes, &group.events[0]).is_empty() && !places(bytes, &group.signed.commit).is_empty()
    };
    // The commit fails at each operation in turn, until the rows are there and the header is not.
    let bytes = (1..)
        .find_map(|operation| {
            let trial = Disk::with(disk.bytes());
            let (store, _) = Store::open_backend(trial.clone()).unwrap();
            trial.fail_at(operation, std::io::ErrorKind::Other, true);
            assert!(store.commit(&batch).is_err(), "no operation leaves the two rows that are needed");
            store.abandon();
            let image = trial.after_crash(Unsynced::Kept);
            let (store, recovered) = Store::open_backend(image.clone()).unwrap();
            if commits(&recovered, chain) > 1 {
                return None;
            }
            store.commit(&one(chain, second.clone())).unwrap();
            store.abandon();
            let bytes = image.bytes();
            (left(&bytes, &never[0]) && left(&bytes, &never[1])).then_some(bytes)
        })
        .unwrap();

    // Only the database's own header is lost: everything promised is found, and nothing else.
    let mut headless = bytes.clone();
    headless[DATABASE_AT + 64..DATABASE_AT + 320].fill(0xff);
    let repair = Store::open_damaged_backend(Disk::with(headless.clone()), Disk::default()).unwrap();
    assert_eq!(repair.ranges(), []);
    let (store, _) = repair.into_store().unwrap();
    assert_eq!(store.range(chain, 0, u64::MAX).unwrap(), [genesis.clone(), second.clone()]);

    // The acknowledged one is lost: what was left behind does not take its place.
    destroy(&mut headless, &second.signed.commit);
    let mut repair = Store::open_damaged_backend(Disk::with(headless), Disk::default()).unwrap();
    assert_eq!(repair.ranges(), [DamagedRange { chain, from_commit: 1, to_commit: 1 }]);
    assert!(matches!(repair.replace(chain, &never), Err(RepairError::Conflict { commit_no: 1, .. })));
    repair.replace(chain, std::slice::from_ref(&second)).unwrap();
    let (store, _) = repair.into_store().unwrap();
    assert_eq!(store.range(chain, 0, u64::MAX).unwrap(), [genesis, second]);
}
