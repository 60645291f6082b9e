//! Nothing goes that should stay, whatever is asked for; what went is told as gone, and a crash in between is made up for.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tempfile::tempdir;
use weft_protocol::{
    Batch, Digest, EventPlace, Fact, Hlc, MessageRecord, Payload, Pruned, PrunedRows, Snapshot, TraceId,
    content_address, encode,
};
use weft_storage::{PrunePlan, Store, verify_export};

use crate::chains::{Writer, boot, one};
use crate::disk::Disk;
use crate::snapshot::{marks, state};

/// Each of the four conditions as a place up to which it holds.
#[derive(Debug, Clone, Copy)]
struct Terms {
    snapshot: u64,
    stable: Hlc,
    witnessed: u64,
    until: Hlc,
}

impl Terms {
    /// What keeps the rows beside an event, by the number of the condition; with one left out, that one keeps nothing.
    fn keeps(&self, place: EventPlace, left_out: Option<usize>) -> Vec<usize> {
        let holds =
            [place.seq < self.snapshot, place.hlc <= self.stable, place.seq < self.witnessed, place.hlc <= self.until];
        (0..4).filter(|number| !holds[*number] && Some(*number) != left_out).collect()
    }
}

/// One event with something beside it, or without.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Steps of plain messages.
    Plain(u64),
    /// A durable message whose body does not fit into its event: one of a few, so that some are named twice.
    Large(u8),
    Small,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (1..4_u64).prop_map(Deed::Plain),
        3 => (0..4_u8).prop_map(Deed::Large),
        1 => Just(Deed::Small),
    ]
}

fn large(number: u8) -> Payload {
    Payload::Text(char::from(b'a' + number).to_string().repeat(70_000))
}

fn address(number: u8) -> Digest {
    content_address(&encode(&large(number)))
}

/// A chain in a store, with what is beside its events.
struct World {
    disk: Disk,
    store: Store,
    writer: Writer,
    /// Of each event that has a row with leaves.
    rows: BTreeMap<u64, EventPlace>,
    /// Of each body all events that name it.
    bodies: BTreeMap<u8, Vec<EventPlace>>,
    counter: u64,
}

impl World {
    fn new() -> Self {
        let disk = Disk::default();
        let (store, _) = Store::open_backend(disk.clone()).unwrap();
        let mut writer = Writer::new(1);
        store.commit(&one(writer.chain(), writer.genesis())).unwrap();
        Self { disk, store, writer, rows: BTreeMap::new(), bodies: BTreeMap::new(), counter: 0 }
    }

    fn deed(&mut self, deed: Deed) {
        let chain = self.writer.chain();
        let (seq, commit_no) = (self.writer.state.size(), self.writer.state.commits());
        self.counter += 8;
        match deed {
            Deed::Plain(count) => {
                let (group, row) = self.writer.digest(self.counter..self.counter + count);
                self.store.commit(&Batch { digests: vec![row], ..one(chain, group) }).unwrap();
            }
            Deed::Large(number) => {
                let (body, record) = (encode(&large(number)), self.writer.record(self.counter, None));
                let record = MessageRecord { body_hash: address(number), body_bytes: body.len() as u64, ..record };
                let group = self.writer.group(&[Fact::Message(Box::new(record))], false);
                let bodies = vec![(address(number), body.into())];
                self.store.commit(&Batch { bodies, ..one(chain, group) }).unwrap();
            }
            Deed::Small => self.store.commit(&one(chain, self.writer.says(self.counter, "small"))).unwrap(),
        }
        let place = EventPlace { seq, hlc: self.writer.state.last_hlc(), commit_no };
        match deed {
            Deed::Plain(_) => drop(self.rows.insert(seq, place)),
            Deed::Large(number) => self.bodies.entry(number).or_default().push(place),
            Deed::Small => {}
        }
    }

    /// Takes a snapshot of everything, or one that says something else; gives its place.
    fn snapshot(&mut self, good: bool) -> (u64, Snapshot) {
        let chain = self.writer.chain();
        let state = if good { state(&self.store, chain) } else { Digest::from_bytes([9; 32]) };
        let (snapshot, seq) = (Snapshot::of(&self.writer.state, state), self.writer.state.size());
        let group = self.writer.group(&[Fact::Snapshot(Box::new(snapshot.clone()))], true);
        self.store.commit(&one(chain, group)).unwrap();
        (seq, snapshot)
    }

    fn plan(&self, snapshot: &(u64, Snapshot), terms: Terms, left_out: Option<usize>) -> PrunePlan<usize> {
        let keeps = |place| terms.keeps(place, left_out);
        self.store.prunable(self.writer.chain(), Some(snapshot.clone()), marks, keeps).unwrap()
    }

    fn intend(&mut self, plan: &PrunePlan<usize>, snapshot: u64) {
        let Some((first, last)) = plan.events else { return };
        let (rows, bodies) = (plan.goes.rows, plan.goes.bodies);
        let fact = Fact::Pruned(Pruned { from: first.seq, to: last.seq + 1, rows, bodies, snapshot });
        let group = self.writer.group(&[fact], true);
        self.store.commit(&one(self.writer.chain(), group)).unwrap();
    }

    fn delete(&self, rows: PrunedRows) {
        self.store.commit(&Batch { pruned: vec![rows], ..Batch::default() }).unwrap();
    }

    /// The events whose rows are here, and the bodies that are.
    fn left(&self) -> (BTreeSet<u64>, BTreeSet<u8>) {
        let chain = self.writer.chain();
        let every = self.store.prunable(chain, None, marks, |_| [()]).unwrap();
        let counted = every.stays.get(&()).copied().unwrap_or_default();
        let traces = (0..=self.counter).map(TraceId);
        let steps = traces.flat_map(|trace| self.store.trace(chain, trace, 64).unwrap());
        let rows: BTreeSet<u64> = steps.map(|step| step.seq).filter(|seq| self.rows.contains_key(seq)).collect();
        assert_eq!(counted.rows, rows.len() as u64);
        (rows, (0..4).filter(|number| self.store.body(&address(*number)).unwrap().is_some()).collect())
    }
}

/// Whether something is gone that one of the conditions, or a snapshot that is not true, keeps.
fn wrongly_gone(world: &World, terms: Terms, good: bool) -> bool {
    let (rows, bodies) = world.left();
    let keeps = |place: &EventPlace| !good || !terms.keeps(*place, None).is_empty();
    let row_is_missed = world.rows.iter().any(|(seq, place)| !rows.contains(seq) && keeps(place));
    // A body goes with all the events that name it.
    let body_is_missed =
        world.bodies.iter().any(|(number, places)| !bodies.contains(number) && places.iter().any(keeps));
    row_is_missed || body_is_missed
}

fn terms() -> impl Strategy<Value = Terms> {
    let near = || prop_oneof![3 => 0..22_u64, 1 => Just(64)];
    (near(), near(), near()).prop_map(|(stable, witnessed, until)| {
        // The stamps of the writer rise by ten.
        let stamp = |events: u64| Hlc((1 << 32) + 10 * events);
        Terms { snapshot: 0, stable: stamp(stable), witnessed, until: stamp(until) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_goes_that_one_of_the_conditions_keeps(
        before in prop::collection::vec(deed(), 0..10),
        after in prop::collection::vec(deed(), 0..6),
        asked in prop::collection::vec(terms(), 1..3),
        good in prop::bool::weighted(0.8),
        crash in any::<bool>(),
    ) {
        let mut world = World::new();
        before.into_iter().for_each(|deed| world.deed(deed));
        let snapshot = world.snapshot(good);
        after.into_iter().for_each(|deed| world.deed(deed));
        let mut gone = false;
        for terms in asked {
            let terms = Terms { snapshot: snapshot.1.size, ..terms };
            let (had, kept) = (world.left(), world.plan(&snapshot, terms, None));
            prop_assert_eq!(kept.fault.is_none(), good);
            world.intend(&kept, snapshot.0);
            if crash {
                let World { disk, store, .. } = world;
                store.abandon();
                let (store, recovered) = Store::open_backend(disk.clone()).unwrap();
                world = World { disk, store, ..world };
                prop_assert_eq!(recovered.unpruned.is_empty(), kept.events.is_none());
                recovered.unpruned.into_iter().for_each(|rows| world.delete(rows));
            } else {
                world.delete(kept.rows.clone());
            }
            if !gone {
                // What an earlier request deleted its own terms let go.
                prop_assert!(!wrongly_gone(&world, terms, good));
            }
            gone |= kept.events.is_some();
            let left = world.left();
            prop_assert_eq!((had.0.len() - left.0.len()) as u64, kept.goes.rows);
            prop_assert_eq!((had.1.len() - left.1.len()) as u64, kept.goes.bodies);
            // Nothing is left to go, and nothing is damaged.
            prop_assert!(world.plan(&snapshot, terms, None).events.is_none());
            let report = world.store.verify_all(marks).unwrap();
            prop_assert_eq!(report.is_good(), good);
            prop_assert_eq!(report.chains[0].pruned, (world.rows.len() - left.0.len()) as u64);
        }
    }
}

#[test]
fn each_condition_that_is_left_out_is_missed() {
    for left_out in 0..4 {
        let mut world = World::new();
        for number in 0..4 {
            world.deed(Deed::Plain(2));
            world.deed(Deed::Large(number));
        }
        let snapshot = world.snapshot(true);
        world.deed(Deed::Plain(1));
        let (all, none) = (Hlc(u64::MAX), Hlc(0));
        let mut terms = Terms { snapshot: 64, stable: all, witnessed: 64, until: all };
        match left_out {
            0 => terms.snapshot = snapshot.1.size,
            1 => terms.stable = none,
            2 => terms.witnessed = 3,
            _ => terms.until = Hlc((1 << 32) + 40),
        }
        let sound = world.plan(&snapshot, terms, None);
        let wrong = world.plan(&snapshot, terms, Some(left_out));
        assert_ne!(sound.rows, wrong.rows);
        world.delete(wrong.rows);
        assert!(wrongly_gone(&world, terms, true), "the checker does not see that condition {left_out} is left out");
    }
}

/// A chain of which everything below a snapshot is pruned.
fn pruned() -> World {
    let mut world = World::new();
    for deed in [Deed::Plain(3), Deed::Large(0), Deed::Plain(2), Deed::Large(1), Deed::Small] {
        world.deed(deed);
    }
    let snapshot = world.snapshot(true);
    world.deed(Deed::Plain(2));
    // The second body is named by an event that stays.
    world.deed(Deed::Large(1));
    let all = Terms { snapshot: snapshot.1.size, stable: Hlc(u64::MAX), witnessed: 64, until: Hlc(u64::MAX) };
    let plan = world.plan(&snapshot, all, None);
    assert_eq!((plan.goes.rows, plan.goes.bodies, plan.shared, plan.more), (2, 1, 1, false));
    world.intend(&plan, snapshot.0);
    world.delete(plan.rows);
    world
}

#[test]
fn what_went_is_told_as_gone_and_not_as_damaged() {
    let world = pruned();
    let (chain, store) = (world.writer.chain(), &world.store);
    // The first batch held messages 8 to 10, of conversations 4 and 5.
    assert_eq!(store.trace(chain, TraceId(4), 9).unwrap(), []);
    let steps = store.pruned_steps(chain, TraceId(4), 9).unwrap();
    assert_eq!(steps.iter().map(|step| (step.seq, step.leaf)).collect::<Vec<_>>(), [(2, 0), (2, 1)]);
    assert_eq!(store.pruned_to(chain), 6);
    assert!(store.body(&address(0)).unwrap().is_none() && store.body(&address(1)).unwrap().is_some());
    // Events are where they were, and provable.
    assert!(store.prove(chain, 2).unwrap().is_some());

    let folder = tempdir().unwrap();
    let target = folder.path().join("export");
    store.export(&target).unwrap();
    let report = store.verify_all(marks).unwrap();
    assert!(report.is_good(), "{report:?}");
    let found = &report.chains[0];
    assert_eq!((found.digests, found.pruned, found.bodies, found.absent_bodies, found.orphans), (1, 2, 1, 1, 0));
    assert_eq!(verify_export(&target, marks).unwrap(), report);

    let World { disk, store, .. } = world;
    drop(store);
    let (store, recovered) = Store::open_backend(disk).unwrap();
    assert_eq!(recovered.unpruned, []);
    assert_eq!(store.pruned_steps(chain, TraceId(4), 9).unwrap(), steps, "after a start as before");
}

#[test]
fn a_body_that_is_written_again_meanwhile_stays() {
    let mut world = World::new();
    world.deed(Deed::Large(0));
    let snapshot = world.snapshot(true);
    let all = Terms { snapshot: snapshot.1.size, stable: Hlc(u64::MAX), witnessed: 64, until: Hlc(u64::MAX) };
    let plan = world.plan(&snapshot, all, None);
    assert_eq!(plan.goes.bodies, 1);
    world.deed(Deed::Large(0));
    world.intend(&plan, snapshot.0);
    world.delete(plan.rows);
    assert!(world.store.body(&address(0)).unwrap().is_some(), "a later event names it");
    let group = world.writer.group(&[boot("0.1.9")], true);
    world.store.commit(&one(world.writer.chain(), group)).unwrap();
    assert!(world.store.verify_all(marks).unwrap().is_good());
}
