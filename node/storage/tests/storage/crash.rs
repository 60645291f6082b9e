//! A failure at every single operation of the disk, and every kind of crash after it.

use std::io::ErrorKind;

use weft_protocol::{Batch, ChainId, Recovered};
use weft_storage::{Store, StoreError};

use crate::chains::{commits, script, summary};
use crate::disk::{ALL_UNSYNCED, Disk, Unsynced};

/// Writes until something fails; says how many batches were acknowledged.
fn write_until_failure(disk: &Disk, batches: &[Batch]) -> usize {
    let Ok((store, _)) = Store::open_backend(disk.clone()) else { return 0 };
    for (acknowledged, batch) in batches.iter().enumerate() {
        if let Err(error) = store.commit(batch) {
            assert!(matches!(error, StoreError::Write { .. }), "{error}");
            // Nothing is promised any more, not even by a disk that has recovered.
            for later in &batches[acknowledged..] {
                assert!(matches!(store.commit(later), Err(StoreError::Poisoned { .. })));
            }
            assert!(matches!(store.settle(), Err(StoreError::Poisoned { .. })));
            return acknowledged;
        }
    }
    // Closing may fail too; it promises nothing.
    batches.len()
}

/// What a store holds after each number of batches, by a disk without faults.
fn reference(batches: &[Batch]) -> Vec<String> {
    (0..=batches.len())
        .map(|count| {
            let disk = Disk::default();
            let (store, _) = Store::open_backend(disk.clone()).unwrap();
            batches[..count].iter().for_each(|batch| store.commit(batch).unwrap());
            drop(store);
            summary(&Store::open_backend(disk).unwrap().1)
        })
        .collect()
}

#[test]
fn after_any_failure_and_any_crash_what_was_acknowledged_is_there() {
    let (batches, own, _) = script();
    let reference = reference(&batches);
    let (mut failures, mut taken_back, mut adopted) = (0, 0, 0);
    for operation in 1.. {
        let for_good = operation % 3 == 0;
        let kind = if operation % 2 == 0 { ErrorKind::StorageFull } else { ErrorKind::Other };
        let disk = Disk::default();
        disk.fail_at(operation, kind, for_good);
        let acknowledged = write_until_failure(&disk, &batches);
        if !disk.has_failed() {
            break;
        }
        failures += 1;
        assert_eq!(disk.writes_after_failure(), 0, "operation {operation}");
        for unsynced in ALL_UNSYNCED {
            let after = disk.after_crash(unsynced);
            let (store, recovered) = Store::open_backend(after.clone())
                .unwrap_or_else(|error| panic!("operation {operation}, {unsynced:?}: {error}"));
            let found = summary(&recovered);
            let next = (acknowledged + 1).min(batches.len());
            assert!(
                found == reference[acknowledged] || found == reference[next],
                "operation {operation}, {unsynced:?}: {acknowledged} acknowledged, {} own commits found",
                commits(&recovered, own),
            );
            taken_back += u32::from(found != reference[next] && !matches!(unsynced, Unsynced::Lost));
            adopted += u32::from(found != reference[acknowledged]);
            goes_on(&store, &batches, &recovered, own);
            drop(store);
            assert_eq!(summary(&Store::open_backend(after).unwrap().1), reference[batches.len()]);
        }
    }
    assert!(failures > 40, "{failures} operations were made to fail");
    assert!(taken_back > 40, "{taken_back} unfinished transactions were taken back");
    assert!(adopted > 10, "{adopted} whole ones were adopted without having been acknowledged");
}

/// Writes the batches that are not there yet.
fn goes_on(store: &Store, batches: &[Batch], recovered: &Recovered, own: ChainId) {
    let done = (0..=batches.len()).rev().find(|count| {
        let ends = |chain| batches[..*count].iter().flat_map(|batch| &batch.groups).filter(|it| it.0 == chain).count();
        let chains = recovered.chains.iter().map(|held| held.state.chain()).chain([own]);
        chains.map(|chain| (chain, ends(chain))).all(|(chain, end)| commits(recovered, chain) == end as u64)
            && batches[..*count].iter().flat_map(|batch| &batch.groups).all(|it| commits(recovered, it.0) > 0)
    });
    for batch in &batches[done.unwrap()..] {
        store.commit(batch).unwrap();
    }
}

#[test]
fn a_start_that_fails_or_is_killed_anywhere_changes_nothing_that_counts() {
    let (batches, ..) = script();
    let reference = reference(&batches);
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    // A store that was only begun has one mark, and that one must survive.
    let begun = disk.after_crash(Unsynced::Kept);
    batches[..5].iter().for_each(|batch| store.commit(batch).unwrap());
    // Once with the last commit marked, once with a whole one past the last mark, which has to be adopted.
    let marked = disk.after_crash(Unsynced::Kept);
    store.commit(&batches[5]).unwrap();
    let unmarked = disk.after_crash(Unsynced::Lost);
    store.abandon();
    for (image, whole) in [(begun, &reference[0]), (marked, &reference[5]), (unmarked, &reference[6])] {
        let mut failures = 0;
        for operation in 1.. {
            let trial = Disk::with(image.bytes());
            trial.fail_at(operation, ErrorKind::Other, operation % 2 == 0);
            drop(Store::open_backend(trial.clone()));
            if !trial.has_failed() {
                break;
            }
            failures += 1;
            for unsynced in ALL_UNSYNCED {
                let after = trial.after_crash(unsynced);
                let (store, recovered) = Store::open_backend(after)
                    .unwrap_or_else(|error| panic!("operation {operation}, {unsynced:?}: {error}"));
                assert_eq!(&summary(&recovered), whole, "operation {operation}, {unsynced:?}");
                store.abandon();
            }
        }
        assert!(failures > 10, "{failures} operations were made to fail");
    }
}
