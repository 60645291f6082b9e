//! Chains as files, verified without a store.

use std::fs;

use tempfile::tempdir;
use weft_storage::{ExportError, Store, verify_export};

use crate::chains::script;
use crate::disk::Disk;

#[test]
fn an_export_verifies_offline_and_every_change_is_found() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let (batches, own, peer) = script();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    let report = store.verify_all().unwrap();
    assert!(report.is_good());
    let sizes: Vec<_> = report.chains.iter().map(|it| (it.chain, it.commits, it.events, it.digests)).collect();
    let mut expected = vec![(own, 5, 6, 1), (peer, 3, 4, 0)];
    expected.sort();
    assert_eq!(sizes, expected);

    let folder = tempdir().unwrap();
    let target = folder.path().join("export");
    assert_eq!(store.export(&target).unwrap().len(), 2);
    assert!(matches!(store.export(&target), Err(ExportError::NotEmpty { .. })));
    assert_eq!(verify_export(&target).unwrap(), report);

    let path = target.join(format!("{}-{}.chain", own.node, own.incarnation));
    let bytes = fs::read(&path).unwrap();
    for place in (0..bytes.len()).step_by(61) {
        let mut changed = bytes.clone();
        changed[place] ^= 4;
        fs::write(&path, changed).unwrap();
        assert!(!verify_export(&target).unwrap().is_good(), "byte {place}");
    }
    for length in (0..bytes.len()).step_by(97) {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(!verify_export(&target).unwrap().is_good(), "cut at {length}");
    }
    // A whole group left out at the end: every row that is left is good, and the head says what is missing.
    let row = b"\xf7weftrow\x01";
    let rows: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place..].starts_with(row)).collect();
    let behind = (rows[4] + 8..bytes.len()).find(|place| bytes[*place..].starts_with(&row[..8])).unwrap();
    fs::write(&path, [&bytes[..rows[4]], &bytes[behind..]].concat()).unwrap();
    let fault = verify_export(&target).unwrap().chains.into_iter().find_map(|chain| chain.fault).unwrap();
    assert_eq!(fault.first_bad_commit, 4);
    fs::write(&path, bytes).unwrap();
    assert!(verify_export(&target).unwrap().is_good());
    fs::write(target.join("x.chain"), b"").unwrap();
    assert!(matches!(verify_export(&target), Err(ExportError::Io { .. })));
}
