//! Chains as files, verified without a store.

use std::fs;

use tempfile::tempdir;
use weft_protocol::{Fact, MessageRecord, Payload, content_address, encode};
use weft_storage::{ExportError, Store, verify_export};

use crate::chains::{Writer, no_fold, one, script};
use crate::disk::Disk;

#[test]
fn an_export_verifies_offline_and_every_change_is_found() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let (batches, own, peer) = script();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    let report = store.verify_all(no_fold).unwrap();
    assert!(report.is_good());
    let sizes: Vec<_> = report.chains.iter().map(|it| (it.chain, it.commits, it.events, it.digests)).collect();
    let mut expected = vec![(own, 5, 6, 1), (peer, 3, 4, 0)];
    expected.sort();
    assert_eq!(sizes, expected);

    let folder = tempdir().unwrap();
    let target = folder.path().join("export");
    assert_eq!(store.export(&target).unwrap().len(), 2);
    assert!(matches!(store.export(&target), Err(ExportError::NotEmpty { .. })));
    assert_eq!(verify_export(&target, no_fold).unwrap(), report);

    let path = target.join(format!("{}-{}.chain", own.node, own.incarnation));
    let bytes = fs::read(&path).unwrap();
    for place in (0..bytes.len()).step_by(61) {
        let mut changed = bytes.clone();
        changed[place] ^= 4;
        fs::write(&path, changed).unwrap();
        assert!(!verify_export(&target, no_fold).unwrap().is_good(), "byte {place}");
    }
    for length in (0..bytes.len()).step_by(97) {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(!verify_export(&target, no_fold).unwrap().is_good(), "cut at {length}");
    }
    // A whole group left out at the end: every row that is left is good, and the head says what is missing.
    let row = b"\xf7weftrow\x01";
    let rows: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place..].starts_with(row)).collect();
    let behind = (rows[4] + 8..bytes.len()).find(|place| bytes[*place..].starts_with(&row[..8])).unwrap();
    fs::write(&path, [&bytes[..rows[4]], &bytes[behind..]].concat()).unwrap();
    let fault = verify_export(&target, no_fold).unwrap().chains.into_iter().find_map(|chain| chain.fault).unwrap();
    assert_eq!(fault.first_bad_commit, 4);
    fs::write(&path, bytes).unwrap();
    assert!(verify_export(&target, no_fold).unwrap().is_good());
    fs::write(target.join("x.chain"), b"").unwrap();
    assert!(matches!(verify_export(&target, no_fold), Err(ExportError::Io { .. })));
}

#[test]
fn bodies_beside_events_are_exported_with_their_chain_and_what_is_not_held_is_counted() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    let large = Payload::Text("x".repeat(100_000));
    let (address, bytes) = (large.content_address(), encode(&large));
    let apart = |writer: &Writer, counter, body_hash| {
        let record = MessageRecord { body_hash, body_bytes: 100_000, ..writer.record(counter, None) };
        Fact::Message(Box::new(record))
    };
    let facts = [apart(&writer, 1, address), apart(&writer, 2, address), apart(&writer, 3, content_address(b"away"))];
    store.commit(&one(chain, writer.genesis())).unwrap();
    let mut batch = one(chain, writer.group(&facts, true));
    // A body that no event of this chain names stays at home.
    batch.bodies = [bytes.clone(), encode(&Payload::Text("other".into()))]
        .map(|bytes| (content_address(&bytes), bytes.into()))
        .to_vec();
    store.commit(&batch).unwrap();
    let report = store.verify_all(no_fold).unwrap();
    assert!(report.is_good());
    assert_eq!((report.chains[0].bodies, report.chains[0].absent_bodies), (1, 1));
    let folder = tempdir().unwrap();
    let target = folder.path().join("export");
    store.export(&target).unwrap();
    assert_eq!(verify_export(&target, no_fold).unwrap(), report);

    let path = target.join(format!("{}-{}.chain", chain.node, chain.incarnation));
    let whole = fs::read(&path).unwrap();
    let place = whole.windows(64).position(|window| window == [b'x'; 64]).unwrap();
    let mut changed = whole.clone();
    changed[place] ^= 1;
    fs::write(&path, changed).unwrap();
    assert!(!verify_export(&target, no_fold).unwrap().is_good(), "another body");
    let rows: Vec<usize> = (0..whole.len()).filter(|place| whole[*place..].starts_with(b"\xf7weftrow")).collect();
    let body = rows.iter().rposition(|begin| *begin < place).unwrap();
    let row = &whole[rows[body]..rows[body + 1]];
    fs::write(&path, [&whole[..rows[body]], row, &whole[rows[body]..]].concat()).unwrap();
    let fault = verify_export(&target, no_fold).unwrap().chains[0].fault.clone().unwrap();
    assert_eq!(fault.reason, "a body that no event names");
    fs::write(&path, [&whole[..rows[body]], &whole[rows[body + 1]..]].concat()).unwrap();
    let without = verify_export(&target, no_fold).unwrap();
    assert!(without.is_good(), "an export of before is good");
    assert_eq!((without.chains[0].bodies, without.chains[0].absent_bodies), (0, 2));
}
