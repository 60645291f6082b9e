//! A pass of the scrub over a large store needs no more memory than one over a small one: alone in its process, so that what the
//! process used can be told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "storage/chains.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod chains;

use weft_storage::{ScrubBounds, ScrubCursor, Store};

use crate::chains::{Writer, boot, one};

/// Groups of about 250 KiB.
const GROUPS: u64 = 400;
/// What a pass may add to what the process uses, in KiB: a few slices, and pages of the database.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// The most memory that this process has used since the last reset, in KiB.
fn most_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_pass_over_a_hundred_mebibytes_takes_a_few_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let (store, _) = Store::create_or_open(&path).unwrap();
    let mut writer = Writer::new(1);
    store.commit(&one(writer.chain(), writer.genesis())).unwrap();
    for _ in 0..GROUPS {
        let texts: Vec<_> = (0..5).map(|_| boot(&"x".repeat(50_000))).collect();
        let group = writer.group(&texts, true);
        store.commit(&one(writer.chain(), group)).unwrap();
    }
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes > 90 << 20, "{bytes} bytes");
    // The next peak is counted from what is in use now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, mut cursor, mut read) = (most_kib(), ScrubCursor::default(), 0);
    while !cursor.is_ended() {
        let slice = store.scrub(&mut cursor, ScrubBounds { rows: 1_024, bytes: 1 << 20 }).unwrap();
        assert_eq!(slice.finds, []);
        assert!(slice.bytes < 2 << 20, "a slice of {} bytes", slice.bytes);
        read += slice.bytes;
    }
    let grown = most_kib() - before;
    println!("{read} bytes were read with {grown} KiB");
    assert!(read > 90 << 20, "{read} bytes were read");
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
}
