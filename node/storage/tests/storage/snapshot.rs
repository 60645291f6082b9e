//! Snapshots are compared with what their chain comes to, in a store and in an export of it.

use tempfile::tempdir;
use weft_protocol::{ChainId, Digest, Fact, PlacedFact, Snapshot, StateFold, encode, hash};
use weft_storage::{Store, VerifyReport, verify_export};

use crate::chains::{Writer, boot, one};
use crate::disk::Disk;

/// A state on which every fact and its place leave a mark.
struct MarkFold(Digest);

impl StateFold for MarkFold {
    fn apply(&mut self, placed: &PlacedFact) {
        let PlacedFact { seq, hlc, fact } = placed;
        self.0 = hash("mark", &[self.0.as_bytes(), &encode(&(seq, hlc)), &fact.encode()]);
    }

    fn state_hash(&self) -> Digest {
        self.0
    }
}

pub(crate) fn marks(chain: ChainId) -> Box<dyn StateFold> {
    Box::new(MarkFold(hash("marks", &[&chain.to_bytes()])))
}

/// The state of a chain with these facts.
pub(crate) fn state(store: &Store, chain: ChainId) -> Digest {
    let (_, facts) = store.chain_left(chain).unwrap().unwrap();
    let mut fold = marks(chain);
    facts.iter().for_each(|placed| fold.apply(placed));
    fold.state_hash()
}

/// A store with a chain of some messages and facts, and the snapshot of all of it.
fn chain() -> (Store, Writer, Snapshot) {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    store.commit(&one(chain, writer.genesis())).unwrap();
    store.commit(&one(chain, writer.says(1, "hello"))).unwrap();
    store.commit(&one(chain, writer.group(&[boot("0.1.1"), boot("0.1.2")], true))).unwrap();
    let snapshot = Snapshot::of(&writer.state, state(&store, chain));
    // Something stands between a snapshot and what it covers.
    store.commit(&one(chain, writer.says(2, "between"))).unwrap();
    (store, writer, snapshot)
}

/// What is found when the chain holds what becomes of its snapshot.
fn with(change: impl Fn(Snapshot) -> Snapshot) -> [VerifyReport; 2] {
    let (store, mut writer, snapshot) = chain();
    let snapshot = Fact::Snapshot(Box::new(change(snapshot)));
    let group = writer.group(&[boot("0.1.3"), snapshot, boot("0.1.4")], true);
    store.commit(&one(writer.chain(), group)).unwrap();
    let folder = tempdir().unwrap();
    let target = folder.path().join("export");
    store.export(&target).unwrap();
    [store.verify_all(marks).unwrap(), verify_export(&target, marks).unwrap()]
}

#[test]
fn a_snapshot_that_says_what_its_chain_comes_to_is_counted() {
    for report in with(|snapshot| snapshot) {
        assert!(report.is_good(), "{report:?}");
        assert_eq!((report.chains[0].snapshots, report.chains[0].events), (1, 9));
    }
}

#[test]
fn a_snapshot_that_says_something_else_is_told_with_its_place() {
    const OTHER: Digest = Digest::from_bytes([7; 32]);
    type Change = fn(Snapshot) -> Snapshot;
    let wrong: [(Change, &str); 7] = [
        (|good| Snapshot { state: OTHER, ..good }, "the snapshot at event 7 names another state"),
        (|good| Snapshot { root: OTHER, ..good }, "the snapshot at event 7 names another tree"),
        (|good| Snapshot { peaks: vec![OTHER, OTHER], ..good }, "the snapshot at event 7 names another tree"),
        (|good| Snapshot { size: 3, ..good }, "the snapshot at event 7 names another tree"),
        (|good| Snapshot { size: 8, ..good }, "the snapshot at event 7 covers what does not stand before it"),
        (|good| Snapshot { size: 0, ..good }, "the snapshot at event 7 covers what does not stand before it"),
        (|good| Snapshot { fold: 2, root: OTHER, ..good }, "the snapshot at event 7 names another tree"),
    ];
    for (change, reason) in wrong {
        for report in with(change) {
            let fault = report.chains[0].fault.as_ref().unwrap_or_else(|| panic!("not told: {reason}"));
            assert!(fault.reason.starts_with(reason), "{}", fault.reason);
            assert_eq!(fault.first_bad_commit, 4);
        }
    }
    // How another version folds nobody here knows.
    for report in with(|good| Snapshot { fold: 2, state: OTHER, ..good }) {
        assert!(report.is_good(), "{report:?}");
    }
}
