//! One byte changed, anywhere: the chain is whole, or the store is refused and left as it is; never a shorter chain.

use weft_protocol::{Batch, Recovered};
use weft_storage::{OpenError, Store};

use crate::chains::{Writer, one, script, summary};
use crate::disk::{Disk, Unsynced};

/// The bytes of a store that holds the script, ended in order or killed.
fn image(kill: bool) -> (Vec<u8>, String, Vec<Batch>) {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let (batches, ..) = script();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    if kill {
        store.abandon();
    } else {
        drop(store);
    }
    let bytes = disk.bytes();
    let whole = summary(&Store::open_backend(Disk::with(bytes.clone())).unwrap().1);
    (bytes, whole, batches)
}

fn open(bytes: &[u8]) -> (Result<(Store, Recovered), OpenError>, Disk) {
    let disk = Disk::with(bytes.to_vec());
    (Store::open_backend(disk.clone()), disk)
}

fn places(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    (0..bytes.len() - part.len())
        .filter(|place| bytes[*place] == part[0] && bytes[*place..].starts_with(part))
        .collect()
}

/// Flips one bit in every copy of `part`; the store must be refused as damaged and stay as it is.
fn assert_damaged(bytes: &[u8], part: &[u8], what: &str) {
    let mut changed = bytes.to_vec();
    let places = places(bytes, part);
    assert!(!places.is_empty(), "{what} is not in the file");
    places.iter().for_each(|place| changed[place + part.len() / 2] ^= 0x10);
    let (opened, disk) = open(&changed);
    let error = opened.map(|_| ()).expect_err(what);
    assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
    assert!(disk.bytes() == changed, "{what}: the damaged file was written to");
}

#[test]
fn a_flipped_byte_of_every_class_is_damage() {
    for kill in [false, true] {
        let (bytes, _, batches) = image(kill);
        for (number, batch) in batches.iter().enumerate() {
            for (chain, group) in &batch.groups {
                let what = |part| format!("{part} of batch {number} of {chain}, killed: {kill}");
                assert_damaged(&bytes, &group.signed.commit, &what("the commit"));
                assert_damaged(&bytes, group.signed.ed25519.as_slice(), &what("the signature"));
                if let Some(mldsa65) = &group.signed.mldsa65 {
                    assert_damaged(&bytes, mldsa65, &what("the second signature"));
                }
                for event in &group.events {
                    assert_damaged(&bytes, event, &what("an event"));
                }
            }
            for digest in &batch.digests {
                assert_damaged(&bytes, &weft_protocol::encode(digest), "a digest");
                let key = [
                    &b"m"[..],
                    &digest.records.records(digest.chain).unwrap()[0].message.to_bytes(),
                    &digest.chain.to_bytes(),
                ]
                .concat();
                // The journal has no index: it is made again.
                if !kill {
                    assert_damaged(&bytes, &key, "a row of the index");
                }
            }
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_never_shortens_a_chain() {
    for kill in [false, true] {
        let (bytes, whole, _) = image(kill);
        let mut refused = 0;
        // Every byte of the first pages that carries something, and a stride through the rest that is odd to every structure.
        let front = (0..80).chain(4096..4400).chain(8192..8500).chain(12_288..12_640);
        for place in front.chain((12_640..bytes.len()).step_by(397)) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            let (opened, disk) = open(&changed);
            match opened {
                Ok((_, recovered)) => assert_eq!(summary(&recovered), whole, "byte {place}, killed: {kill}"),
                Err(error) => {
                    refused += 1;
                    assert!(!matches!(error, OpenError::Absent { .. }), "byte {place}: {error}");
                    assert!(disk.bytes() == changed, "byte {place}: the damaged file was written to");
                }
            }
        }
        assert!(refused > 50, "{refused} flips mattered");
    }
}

#[test]
fn damage_to_the_last_transaction_is_not_taken_for_a_torn_write() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    store.commit(&one(chain, writer.genesis())).unwrap();
    let last = writer.says(1, "acknowledged, then damaged");
    store.commit(&one(chain, last.clone())).unwrap();
    // Killed: the kernel has everything that was written.
    let killed = disk.after_crash(Unsynced::Kept).bytes();
    assert_damaged(&killed, &last.events[0], "the last event after a kill");
    // The power goes: only what was synced is there, and the mark is, once the store has settled.
    store.settle().unwrap();
    let cut = disk.after_crash(Unsynced::Lost).bytes();
    assert_damaged(&cut, &last.events[0], "the last event after a power loss");
    let mut changed = cut.clone();
    places(&cut, &last.events[0]).iter().for_each(|place| changed[*place] ^= 1);
    let error = open(&changed).0.unwrap_err();
    let OpenError::Damaged { chain: named, first_bad_commit, .. } = error else { panic!("{error}") };
    assert_eq!((named, first_bad_commit), (Some(chain), Some(1)));
    store.abandon();
}
