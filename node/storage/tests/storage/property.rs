//! Any history of commits, kills, power losses and failing disks: nothing acknowledged is lost, nothing else appears.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;
use weft_protocol::{ChainId, CommitGroup};
use weft_storage::Store;

use crate::chains::{Writer, boot, one};
use crate::disk::{Disk, Unsynced};

#[derive(Debug, Clone)]
enum Step {
    /// A commit on one of two chains, with so many bytes of text.
    Commit { chain: usize, bytes: usize, checkpoint: bool },
    /// An orderly end and a new start.
    Restart,
    /// A crash in the middle of the next commit, at this operation of the disk.
    Crash { operation: u64, unsynced: Unsynced },
}

fn step() -> impl Strategy<Value = Step> {
    let unsynced = prop_oneof![
        Just(Unsynced::Lost),
        Just(Unsynced::Kept),
        (0..4_096_usize).prop_map(Unsynced::Torn),
        any::<u64>().prop_map(Unsynced::Scattered),
    ];
    prop_oneof![
        6 => (0..2_usize, 0..9_000_usize, any::<bool>())
            .prop_map(|(chain, bytes, checkpoint)| Step::Commit { chain, bytes, checkpoint }),
        1 => Just(Step::Restart),
        2 => (1..20_u64, unsynced).prop_map(|(operation, unsynced)| Step::Crash { operation, unsynced }),
    ]
}

/// What must be there, and the one group that may be.
type Model = BTreeMap<ChainId, Vec<CommitGroup>>;

/// Compares and says whether the unacknowledged group was adopted.
fn check(store: &Store, model: &Model, maybe: Option<&(ChainId, CommitGroup)>) -> bool {
    let mut adopted = false;
    for (chain, groups) in model {
        let held = store.range(*chain, 0, u64::MAX).unwrap();
        let next = maybe.filter(|(other, _)| other == chain).map(|(_, group)| group);
        assert!(held.starts_with(groups), "an acknowledged commit is gone");
        let extra: Vec<&CommitGroup> = held[groups.len()..].iter().collect();
        assert!(extra.is_empty() || extra == next.into_iter().collect::<Vec<_>>(), "a commit appeared");
        adopted |= !extra.is_empty();
    }
    adopted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_ever_lost(steps in prop::collection::vec(step(), 1..40)) {
        let mut writers = [Writer::new(1), Writer::new(2)];
        let mut model: Model = writers.iter().map(|writer| (writer.chain(), Vec::new())).collect();
        let mut disk = Disk::default();
        let mut store = Store::open_backend(disk.clone()).unwrap().0;
        for writer in &mut writers {
            let genesis = writer.genesis();
            store.commit(&one(writer.chain(), genesis.clone())).unwrap();
            model.entry(writer.chain()).or_default().push(genesis);
        }
        for step in steps {
            match step {
                Step::Commit { chain, bytes, checkpoint } => {
                    let writer = &mut writers[chain];
                    let group = writer.group(&[boot(&"x".repeat(bytes))], checkpoint);
                    store.commit(&one(writer.chain(), group.clone())).unwrap();
                    model.entry(writer.chain()).or_default().push(group);
                }
                Step::Restart => {
                    drop(store);
                    store = Store::open_backend(disk.clone()).unwrap().0;
                    check(&store, &model, None);
                }
                Step::Crash { operation, unsynced } => {
                    let mut trial = writers[0].twin();
                    let next = (trial.chain(), trial.says(1, "perhaps"));
                    disk.fail_at(operation, ErrorKind::Other, true);
                    let acknowledged = store.commit(&one(next.0, next.1.clone())).is_ok();
                    let after = disk.after_crash(unsynced);
                    store.abandon();
                    disk = after;
                    store = Store::open_backend(disk.clone()).unwrap().0;
                    let adopted = check(&store, &model, Some(&next));
                    prop_assert!(adopted || !acknowledged, "acknowledged and gone");
                    if adopted {
                        writers[0] = trial;
                        model.entry(next.0).or_default().push(next.1);
                    }
                }
            }
        }
        drop(store);
        check(&Store::open_backend(disk).unwrap().0, &model, None);
    }
}
