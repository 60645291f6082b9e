//! What does not count of a forked chain leaves it for good, and nothing else does.

use weft_protocol::{Batch, Cut, TraceId};
use weft_storage::Store;

use crate::chains::{Writer, commits, no_fold, one, script};
use crate::disk::Disk;

fn cut(chain: weft_protocol::ChainId, from_commit: u64) -> Batch {
    Batch { cuts: vec![Cut { chain, from_commit }], ..Batch::default() }
}

#[test]
fn a_chain_ends_at_its_cut_and_goes_on_from_there() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let (batches, own, peer) = script();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    let before = store.range(own, 0, u64::MAX).unwrap();
    let whole = store.range(peer, 0, u64::MAX).unwrap();
    assert_eq!(whole.len(), 3);
    assert!(!store.trace(peer, TraceId(1), 9).unwrap().is_empty());

    store.commit(&cut(peer, 2)).unwrap();
    store.commit(&cut(peer, 9)).unwrap();
    assert_eq!(store.range(peer, 0, u64::MAX).unwrap(), whole[..2]);
    assert!(store.trace(peer, TraceId(1), 9).unwrap().is_empty(), "the index forgets what is gone");
    let (state, _) = store.chain_left(peer).unwrap().unwrap();
    assert_eq!((state.commits(), state.last_commit()), (2, whole[1].signed.hash()));
    assert_eq!(store.range(own, 0, u64::MAX).unwrap(), before, "other chains are as they were");
    assert!(store.verify_all(no_fold).unwrap().is_good());
    drop(store);

    let (store, recovered) = Store::open_backend(disk.clone()).unwrap();
    assert_eq!((commits(&recovered, own), commits(&recovered, peer)), (5, 2));
    store.commit(&one(peer, whole[2].clone())).unwrap();
    assert_eq!(store.range(peer, 0, u64::MAX).unwrap(), whole);
    store.commit(&cut(peer, 2)).unwrap();
    drop(store);
    let (store, recovered) = Store::open_backend(disk).unwrap();
    assert_eq!(commits(&recovered, peer), 2);
    assert!(store.verify_all(no_fold).unwrap().is_good());
}

#[test]
fn a_chain_of_which_nothing_counts_is_gone() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let (batches, own, peer) = script();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    let whole = store.range(peer, 0, u64::MAX).unwrap();
    store.commit(&cut(peer, 0)).unwrap();
    assert_eq!(store.chain_left(peer).unwrap(), None);
    assert!(store.verify_all(no_fold).unwrap().is_good());
    drop(store);
    let (store, recovered) = Store::open_backend(disk.clone()).unwrap();
    assert_eq!((commits(&recovered, own), commits(&recovered, peer)), (5, 0));
    store.commit(&one(peer, whole[0].clone())).unwrap();
    assert_eq!(store.chain_left(peer).unwrap().unwrap().0.commits(), 1);
}

#[test]
fn a_cut_and_what_comes_in_its_place_are_one_transaction() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    store.commit(&one(chain, writer.genesis())).unwrap();
    let mut twin = writer.twin();
    store.commit(&one(chain, writer.says(1, "what does not count"))).unwrap();
    let instead = twin.says(1, "what does");
    store.commit(&Batch { groups: vec![(chain, instead.clone())], ..cut(chain, 1) }).unwrap();
    assert_eq!(store.range(chain, 1, u64::MAX).unwrap(), [instead]);
}
