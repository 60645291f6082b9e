//! Begin, write, close, open again.

use std::fs;

use tempfile::tempdir;
use weft_protocol::{Batch, Digest, Hlc, Reserved, content_address};
use weft_storage::{OpenError, Store, StoreError};

use crate::chains::{Writer, commits, one, script, summary};
use crate::disk::Disk;

#[test]
fn everything_comes_back() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let (batches, own, peer) = script();
    let (store, recovered) = Store::create_or_open(&path).unwrap();
    assert!(recovered.chains.is_empty());
    for batch in &batches {
        store.commit(batch).unwrap();
    }
    drop(store);
    let (store, recovered) = Store::open(&path).unwrap();
    assert_eq!((commits(&recovered, own), commits(&recovered, peer)), (5, 3));
    let kinds: Vec<Vec<&str>> =
        recovered.chains.iter().map(|chain| chain.facts.iter().map(|fact| fact.fact.kind()).collect()).collect();
    let own_first = recovered.chains[0].state.chain() == own;
    let expected = [vec!["genesis", "node.boot", "node.boot"], vec!["genesis", "node.boot"]];
    assert_eq!(
        kinds,
        if own_first {
            expected
        } else {
            let [left, right] = expected;
            [right, left]
        }
    );
    assert_eq!(recovered.reserved, Reserved { counter: 128, clock: Hlc(9) });
    assert_eq!(recovered.outbox, batches[1].outbox_put[1..]);
    assert_eq!(recovered.evidence.len(), 2, "of two commits, and of a tick");
    assert!(batches[3].evidence.iter().all(|evidence| recovered.evidence.contains(evidence)));
    assert_eq!(recovered.addresses, batches[3].addresses);
    assert_eq!(store.orphans(), 0);
    // Recovery twice is recovery once, after an orderly end and after a kill.
    let once = summary(&recovered);
    store.abandon();
    let (store, again) = Store::open(&path).unwrap();
    assert_eq!(summary(&again), once);
    store.abandon();
    assert_eq!(summary(&Store::open(&path).unwrap().1), once);
}

#[test]
fn a_commit_costs_one_sync() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let (batches, ..) = script();
    for batch in &batches {
        let (before, length) = (store.sync_count(), disk.bytes().len());
        store.commit(batch).unwrap();
        // Redb makes a larger file durable before it uses it; the file doubles each time.
        let grown = u64::from(disk.bytes().len() > length);
        assert_eq!(store.sync_count(), before + 1 + grown);
    }
    let before = store.sync_count();
    store.commit(&Batch::default()).unwrap();
    assert_eq!(store.sync_count(), before);
    let length = disk.bytes().len();
    store.settle().unwrap();
    store.settle().unwrap();
    assert_eq!(store.sync_count(), before + 1 + u64::from(disk.bytes().len() > length));
}

#[test]
fn a_group_that_does_not_continue_is_refused_and_nothing_changes() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    let genesis = writer.genesis();
    let mut twin = writer.twin();
    store.commit(&one(chain, genesis.clone())).unwrap();
    let (second, third) = (writer.says(1, "a"), writer.says(2, "b"));
    let bytes = disk.bytes();
    for wrong in [genesis, third.clone()] {
        let refused = store.commit(&one(chain, wrong)).unwrap_err();
        assert!(matches!(refused, StoreError::Discontinuous { .. }), "{refused}");
    }
    assert!(disk.bytes() == bytes);
    store.commit(&one(chain, second.clone())).unwrap();
    let other = twin.says(1, "another second");
    assert!(matches!(store.commit(&one(chain, other)), Err(StoreError::Discontinuous { .. })));
    store.commit(&one(chain, third)).unwrap();
    assert_eq!(store.range(chain, 1, 1).unwrap(), [second]);
}

#[test]
fn what_is_no_store_is_said_so() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    assert!(matches!(Store::open(&path), Err(OpenError::Absent { .. })));
    assert!(!path.exists());
    fs::write(&path, b"").unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Absent { .. })));
    fs::write(&path, vec![b'x'; 40_000]).unwrap();
    assert!(matches!(Store::create_or_open(&path), Err(OpenError::NotAStore)));
    assert_eq!(fs::read(&path).unwrap(), vec![b'x'; 40_000]);
}

#[test]
fn two_cannot_have_it_open() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let (store, _) = Store::create_or_open(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Busy)));
    drop(store);
    Store::open(&path).unwrap();
}

#[test]
fn another_layout_is_left_alone() {
    let disk = Disk::default();
    Store::open_backend(disk.clone()).unwrap().0.abandon();
    let mut bytes = disk.bytes();
    bytes[19] = 1;
    let check: Digest = content_address(&bytes[..36]);
    bytes[36..52].copy_from_slice(&check.as_bytes()[..16]);
    let other = Disk::with(bytes.clone());
    let refused = Store::open_backend(other.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::Version { found: 1, known: 4 }), "{refused}");
    assert!(other.bytes() == bytes);
}
