//! The journal in front of the database: what stands in it alone is as durable as the rest, and damage to it is as loud.

use weft_protocol::{Batch, content_address};
use weft_storage::{OpenError, Store};

use crate::chains::{Writer, one, script, summary};
use crate::disk::{ALL_UNSYNCED, DATABASE_AT, Disk, Unsynced};

/// Where the journal begins.
const JOURNAL_AT: usize = 12_288;
/// What a write to it begins with.
const FRAME_MAGIC: &[u8] = b"weftjrnl";

/// Where frames begin in the journal, old ones among them.
fn frames(bytes: &[u8]) -> Vec<usize> {
    (JOURNAL_AT..DATABASE_AT).step_by(512).filter(|at| bytes[*at..].starts_with(FRAME_MAGIC)).collect()
}

/// A store with so many small commits of one chain after its first, killed.
fn killed(commits: u64) -> (Disk, Writer) {
    let (disk, mut writer) = (Disk::default(), Writer::new(1));
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    store.commit(&one(writer.chain(), writer.genesis())).unwrap();
    for number in 1..=commits {
        store.commit(&one(writer.chain(), writer.says(number, "in the journal"))).unwrap();
    }
    store.abandon();
    (disk, writer)
}

#[test]
fn what_stands_in_the_journal_alone_is_there_after_a_kill_and_a_power_loss() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let (batches, ..) = script();
    let beside = Store::open_backend(Disk::default()).unwrap().0;
    for batch in &batches {
        store.commit(batch).unwrap();
        beside.commit(batch).unwrap();
        let expected = summary(&beside.recovered().unwrap());
        for unsynced in ALL_UNSYNCED {
            let (again, recovered) = Store::open_backend(disk.after_crash(unsynced)).unwrap();
            assert_eq!(summary(&recovered), expected, "{unsynced:?}");
            // What leads to the steps of messages is made again, though the journal has none of it.
            for digest in &batch.digests {
                let record = digest.records.records(digest.chain).unwrap().remove(0);
                let steps = |store: &Store| store.trace(digest.chain, record.trace, 10).unwrap();
                assert_eq!(steps(&again), steps(&beside));
                assert!(!steps(&again).is_empty());
            }
            again.abandon();
        }
    }
    assert!(!frames(&disk.bytes()).is_empty());
}

#[test]
fn a_full_journal_is_emptied_into_the_database_and_begun_again() {
    let (disk, mut writer) = (Disk::default(), Writer::new(1));
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    store.commit(&one(writer.chain(), writer.genesis())).unwrap();
    let mut laps = 0;
    for number in 1..=400 {
        let before = frames(&disk.bytes()).len();
        store.commit(&one(writer.chain(), writer.says(number, "in the journal"))).unwrap();
        laps += u64::from(frames(&disk.bytes()).len() <= before);
        if number % 50 == 0 {
            let (_, recovered) = Store::open_backend(disk.after_crash(Unsynced::Lost)).unwrap();
            assert_eq!(recovered.chains[0].state.commits(), number + 1);
        }
    }
    assert!(laps > 2, "{laps} laps");
    // What is larger than the journal goes past it.
    let syncs = store.sync_count();
    let large = "larger than the journal is ".repeat(2_000);
    let groups = [writer.says(401, &large), writer.says(402, &large)].map(|group| (writer.chain(), group));
    store.commit(&Batch { groups: groups.into(), ..Batch::default() }).unwrap();
    assert!(store.sync_count() > syncs);
    let (_, recovered) = Store::open_backend(disk.after_crash(Unsynced::Lost)).unwrap();
    assert_eq!(recovered.chains[0].state.commits(), 403);
}

#[test]
fn a_frame_that_rots_is_damage_wherever_it_stands() {
    let (disk, writer) = killed(5);
    let bytes = disk.bytes();
    let starts = frames(&bytes);
    assert_eq!(starts.len(), 6);
    for (number, start) in starts.iter().enumerate() {
        for place in [start + 3, start + 12, start + 18, start + 25, start + 60] {
            let mut rotten = bytes.clone();
            rotten[place] ^= 4;
            let opened = Store::open_backend(Disk::with(rotten.clone()));
            let error = opened.map(|_| ()).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "frame {number}, byte {place}: {error}");
            // What is intact in it is salvaged all the same.
            let mut repair = Store::open_damaged_backend(Disk::with(rotten), Disk::default()).unwrap();
            let groups = Store::open_backend(disk.after_crash(Unsynced::Kept)).unwrap().0;
            let groups = groups.range(writer.chain(), 0, u64::MAX).unwrap();
            for range in repair.ranges() {
                let [from, to] = [range.from_commit, range.to_commit].map(|commit| usize::try_from(commit).unwrap());
                repair.replace(range.chain, &groups[from..=to]).unwrap();
            }
            let (repaired, _) = repair.into_store().unwrap();
            assert_eq!(repaired.range(writer.chain(), 0, u64::MAX).unwrap(), groups);
        }
    }
}

/// Without the mark behind the last frame, each frame still says of the one before that it was acknowledged.
#[test]
fn a_frame_behind_another_says_that_the_other_was_promised() {
    let bytes = killed(3).0.after_crash(Unsynced::Lost).bytes();
    let starts = frames(&bytes);
    for start in &starts[..starts.len() - 1] {
        let mut rotten = bytes.clone();
        rotten[start + 60] ^= 4;
        let error = Store::open_backend(Disk::with(rotten)).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
}

/// The mark behind the last frame says that it was acknowledged; without the mark it may have been cut off by a crash.
#[test]
fn only_the_last_frame_may_be_unfinished() {
    let (disk, mut writer) = (Disk::default(), Writer::new(1));
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    store.commit(&one(writer.chain(), writer.genesis())).unwrap();
    let twin = writer.twin();
    disk.fail_at(2, std::io::ErrorKind::Other, true);
    assert!(store.commit(&one(writer.chain(), writer.says(1, "never acknowledged"))).is_err());
    store.abandon();
    for cut in [8, 20, 100, 400] {
        let image = disk.after_crash(Unsynced::Torn(cut));
        let (store, recovered) = Store::open_backend(image.clone()).unwrap();
        assert_eq!(recovered.chains[0].state.commits(), 1, "{cut} bytes");
        // What was left of it is gone, so that nobody takes it for something that was promised.
        assert!(frames(&image.bytes()).is_empty());
        let mut instead = twin.twin();
        store.commit(&one(instead.chain(), instead.says(1, "instead"))).unwrap();
        store.abandon();
        let (_, recovered) = Store::open_backend(image).unwrap();
        assert_eq!(recovered.chains[0].state.commits(), 2);
    }
}

/// The layout before had no journal: its stores are opened, and go on without one.
#[test]
fn a_store_without_a_journal_goes_on_without_one() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let mut writer = Writer::new(1);
    store.commit(&one(writer.chain(), writer.genesis())).unwrap();
    drop(store);
    let mut bytes = disk.bytes();
    bytes.drain(JOURNAL_AT..DATABASE_AT);
    bytes[19] = 3;
    let check = content_address(&bytes[..36]);
    bytes[36..52].copy_from_slice(&check.as_bytes()[..16]);
    bytes[52..72].fill(0);
    let disk = Disk::with(bytes);
    let (store, recovered) = Store::open_backend(disk.clone()).unwrap();
    assert_eq!(recovered.chains[0].state.commits(), 1);
    for number in 1..10 {
        store.commit(&one(writer.chain(), writer.says(number, "without a journal"))).unwrap();
        let (_, recovered) = Store::open_backend(disk.after_crash(Unsynced::Lost)).unwrap();
        assert_eq!(recovered.chains[0].state.commits(), number + 1);
    }
    drop(store);
    assert_eq!(disk.bytes()[19], 3);
    assert!(!disk.bytes().windows(FRAME_MAGIC.len()).any(|bytes| bytes == FRAME_MAGIC));
}
