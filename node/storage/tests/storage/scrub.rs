//! What rots under a store that is open is found within one pass; what is written beside a pass never is; a pass goes on where it
//! was; and groups of a member mend what was found.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_protocol::{
    Batch, ChainId, ChainState, Cut, DeadLetter, Digest, Evidence, Fact, Hlc, LoggedPublication, MessageRecord,
    Payload, PrunedRows, Publication, Reserved, Timestamp, TraceId, content_address, encode,
};
use weft_storage::{Damage, RepairError, ScrubBounds, ScrubCursor, Store, StoreError};

use crate::chains::{Writer, boot, no_fold, one};
use crate::disk::Disk;
use crate::flips::Dice;

/// Each test of flips makes so many.
const FLIPS: u64 = 700;
const ALL: ScrubBounds = ScrubBounds { rows: u64::MAX, bytes: u64::MAX };

/// One pass in slices of so many rows.
fn pass(store: &Store, rows: u64) -> (Vec<Damage>, u64) {
    let (mut cursor, mut finds, mut read) = (ScrubCursor::default(), Vec::new(), 0);
    loop {
        let slice = store.scrub(&mut cursor, ScrubBounds { rows, ..ALL }).unwrap();
        finds.extend(slice.finds);
        read += slice.rows;
        if slice.ended {
            return (finds, read);
        }
    }
}

/// A store that is open, with rows in every table.
struct Image {
    disk: Disk,
    store: Store,
    own: ChainId,
    peer: ChainId,
    peer_writer: Writer,
    /// The histories, for members to give.
    groups: BTreeMap<ChainId, Vec<weft_protocol::CommitGroup>>,
}

fn large(number: u8) -> Payload {
    Payload::Text(char::from(b'a' + number).to_string().repeat(9_000))
}

fn names_a_body(writer: &mut Writer, counter: u64, number: u8) -> Batch {
    let body = encode(&large(number));
    let address = content_address(&body);
    let record = writer.record(counter, None);
    let record = MessageRecord { body_hash: address, body_bytes: body.len() as u64, ..record };
    let group = writer.group(&[Fact::Message(Box::new(record))], false);
    Batch { bodies: vec![(address, body.into())], ..one(writer.chain(), group) }
}

fn publication(writer: &Writer, counter: u64) -> LoggedPublication {
    let entry = writer.outbox_entry(counter).envelope;
    let publication = Publication {
        id: entry.id,
        hlc: entry.hlc,
        trace: entry.trace,
        from: entry.from,
        topic: "news".parse().unwrap(),
        seq: counter,
        prev: 0,
        forgetful: false,
        payload: Payload::Text("heard".into()),
        grant: None,
        ed25519: None,
    };
    LoggedPublication { place: Hlc(counter), fetched: false, publication }
}

impl Image {
    fn new() -> Self {
        let disk = Disk::default();
        let (store, _) = Store::open_backend(disk.clone()).unwrap();
        let (mut own, mut peer) = (Writer::new(1), Writer::new(2));
        let (own_id, peer_id) = (own.chain(), peer.chain());
        let mut batches = vec![
            Batch { reserved: Some(Reserved { counter: 64, clock: Hlc(5) }), ..one(own_id, own.genesis()) },
            one(peer_id, peer.genesis()),
        ];
        for round in 0..3 {
            let (group, row) = own.digest(10 * round + 1_000..10 * round + 1_008);
            batches.push(Batch { digests: vec![row], ..one(own_id, group) });
            batches.push(names_a_body(&mut own, 2_000 + round, u8::try_from(round).unwrap()));
            batches.push(one(peer_id, peer.says(round + 1, &"a foreign text ".repeat(20))));
        }
        let (left, right) = (peer.twin().says(7, "left"), peer.twin().says(7, "right"));
        let letter = DeadLetter {
            envelope: own.outbox_entry(9).envelope,
            to: peer_id.node,
            target: "echo@beta".into(),
            reason: "expired".into(),
            at: Timestamp(5),
            event: Digest::from_bytes([4; 32]),
        };
        let mut cut_off = peer.twin();
        batches.push(one(peer_id, cut_off.says(8, "what does not count")));
        batches.push(Batch {
            cuts: vec![Cut { chain: peer_id, from_commit: 4 }],
            evidence: vec![Evidence { first: left.signed.into(), second: right.signed.into(), rotations: Vec::new() }],
            addresses: vec![(peer_id.node, vec!["/ip4/127.0.0.1/udp/1/quic-v1".to_owned()])],
            outbox_put: vec![own.outbox_entry(1), own.outbox_entry(2)],
            topic_put: vec![publication(&own, 1), publication(&own, 2)],
            dead_put: vec![letter],
            ..one(own_id, own.group(&[boot("0.1.1")], true))
        });
        batches.push(one(peer_id, peer.says(9, "the last foreign text")));
        batches.iter().for_each(|batch| store.commit(batch).unwrap());
        // Brings what the journal holds to where a scrub looks.
        pass(&store, ALL.rows);
        let groups = [own_id, peer_id].map(|chain| (chain, store.range(chain, 0, u64::MAX).unwrap()));
        Self { disk, store, own: own_id, peer: peer_id, peer_writer: peer, groups: groups.into_iter().collect() }
    }

    /// By name the places of each row, with those of its older copies: whichever of them is in use.
    fn rows(&self) -> BTreeMap<&'static str, Vec<Vec<std::ops::Range<usize>>>> {
        let bytes = self.disk.bytes();
        let mut rows: BTreeMap<(&'static str, Vec<u8>), Vec<std::ops::Range<usize>>> = BTreeMap::new();
        for at in 0..bytes.len() - 30 {
            if bytes[at..].starts_with(b"\xf7weftrow") {
                let name = match bytes[at + 8] {
                    1 => "groups",
                    2 => "digests",
                    3 => "outbox",
                    4 => "evidence",
                    5 => "addresses",
                    6 => "state",
                    7 => "bodies",
                    8 => "topics",
                    9 => "dead-letters",
                    10 => "cuts",
                    _ => continue,
                };
                let key = usize::from(bytes[at + 9]);
                let body = u32::from_be_bytes(bytes[at + 10..at + 14].try_into().unwrap()) as usize;
                let end = at + 30 + key + body;
                if end <= bytes.len() {
                    rows.entry((name, bytes[at + 30..at + 30 + key].to_vec())).or_default().push(at..end);
                }
            }
        }
        let inside: Vec<_> = rows.values().flatten().cloned().collect();
        for at in 0..bytes.len() - 61 {
            // 't' ‖ trace ‖ chain ‖ seq ‖ leaf
            let is_key = |chain: &ChainId| bytes[at + 9..at + 49] == chain.to_bytes();
            let is_found = bytes[at] == b't' && [self.own, self.peer].iter().any(is_key);
            if is_found && !inside.iter().any(|row| row.start < at + 61 && at < row.end) {
                rows.entry(("index", bytes[at..at + 61].to_vec())).or_default().push(at..at + 61);
            }
        }
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((name, _), copies) in rows {
            by_name.entry(name).or_default().push(copies);
        }
        by_name
    }

    /// Whether something that is used stands there: a key of the index may be one that was deleted.
    fn flip(&self, copies: &[std::ops::Range<usize>], offset: usize, bit: u8) {
        copies.iter().filter(|copy| offset < copy.len()).for_each(|copy| self.disk.flip(copy.start + offset, bit));
    }
}

fn flip_rows(seed: u64) {
    let image = Image::new();
    assert_eq!(pass(&image.store, u64::MAX).0, [], "nothing is wrong yet");
    let rows = image.rows();
    assert_eq!(rows.len(), 11, "rows in every table: {:?}", rows.keys());
    let names: Vec<_> = rows.keys().copied().collect();
    let (mut dice, mut found) = (Dice(seed), BTreeMap::<_, u64>::new());
    for number in 0..FLIPS {
        let name = names[dice.below(names.len())];
        let copies = &rows[name][dice.below(rows[name].len())];
        let (offset, bit) = (dice.below(copies[0].len()), u8::try_from(dice.below(8)).unwrap());
        image.flip(copies, offset, bit);
        let (finds, _) = pass(&image.store, 1 + number % 40);
        let what = format!("bit {bit} of byte {offset} of a row of {name} at {:?}", copies[0]);
        assert!(finds.iter().any(|find| find.table == name), "{what}: {finds:?}");
        if matches!(name, "groups" | "digests") {
            let key = &image.disk.bytes()[copies[0].start + 30..][..48];
            let intact = offset >= 78;
            let named = finds.iter().filter_map(|find| find.chain).any(|chain| chain.to_bytes() == key[..40]);
            assert!(named || !intact, "{what}: {finds:?}");
        }
        image.flip(copies, offset, bit);
        *found.entry(name).or_default() += 1;
    }
    assert_eq!(pass(&image.store, 7).0, [], "everything is as it was");
    assert!(image.store.verify_all(no_fold).unwrap().is_good());
    println!("found: {found:?}");
    assert!(found.values().all(|count| *count > FLIPS / 30), "{found:?}");
}

#[test]
fn a_flip_in_any_row_of_an_open_store_is_found_by_the_next_pass() {
    flip_rows(1);
}

#[test]
fn a_flip_in_any_row_of_an_open_store_is_found_by_the_next_pass_again() {
    flip_rows(2);
}

/// Anywhere, also in what the database keeps for itself: it is found, or it changed nothing that a pass or a start reads, or the
/// next start finds it. The first pages are among that.
#[test]
fn a_flip_anywhere_under_an_open_store_changes_nothing_unnoticed() {
    let image = Image::new();
    let (mut dice, mut found, mut later, mut unused) = (Dice(3), 0, 0, 0);
    let length = image.disk.bytes().len();
    for _ in 0..FLIPS {
        let (place, bit) = (dice.below(length), u8::try_from(dice.below(8)).unwrap());
        image.disk.flip(place, bit);
        if !pass(&image.store, 50).0.is_empty() {
            found += 1;
        } else {
            match Store::open_backend(Disk::with(image.disk.bytes())) {
                Err(_) => later += 1,
                Ok((store, _)) => {
                    for (chain, groups) in &image.groups {
                        assert!(store.range(*chain, 0, u64::MAX).unwrap() == *groups, "bit {bit} of byte {place}");
                    }
                    assert!(store.verify_all(no_fold).unwrap().is_good(), "bit {bit} of byte {place}");
                    unused += 1;
                }
            }
        }
        image.disk.flip(place, bit);
    }
    println!("of {length} bytes: {found} found by a pass, {later} by a start, {unused} changed nothing");
    for (place, what) in [(18, "the first page"), (4_096 + 10, "a mark"), (8_192 + 10, "a mark")] {
        image.disk.flip(place, 1);
        let finds = pass(&image.store, 50).0;
        let newest = 4_096 + 4_096 * usize::from(newest_is_odd(&image.disk.bytes()));
        assert_eq!(finds.len(), usize::from(place < 4_096 || place > newest && place < newest + 4_096), "{what}");
        image.disk.flip(place, 1);
    }
}

fn newest_is_odd(bytes: &[u8]) -> bool {
    let generation = |at: usize| u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap());
    // One of them may just be flipped in its generation.
    generation(8_192) & 0xffff > generation(4_096) & 0xffff
}

#[derive(Debug, Clone)]
enum Step {
    Slice {
        rows: u64,
    },
    Append {
        chain: usize,
        what: u8,
    },
    Cut {
        back: u64,
    },
    Regrow,
    Prune,
    /// The pass goes on from a place that it had earlier, as after a slice that was lost.
    GoBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..30_u64).prop_map(|rows| Step::Slice { rows }),
        4 => (0..2_usize, 0..3_u8).prop_map(|(chain, what)| Step::Append { chain, what }),
        1 => (0..4_u64).prop_map(|back| Step::Cut { back }),
        1 => Just(Step::Regrow),
        1 => Just(Step::Prune),
        1 => Just(Step::GoBack),
    ]
}

/// Two chains that are written, cut and pruned.
struct World {
    store: Store,
    writers: [Writer; 2],
    /// Of the second chain, its states by the number of commits.
    states: Vec<ChainState>,
    counter: u64,
}

impl World {
    fn new() -> Self {
        let (store, _) = Store::open_backend(Disk::default()).unwrap();
        let mut writers = [Writer::new(1), Writer::new(2)];
        let states = vec![writers[1].state.clone()];
        for writer in &mut writers {
            let genesis = writer.genesis();
            store.commit(&one(writer.chain(), genesis)).unwrap();
        }
        let mut world = Self { store, writers, states, counter: 0 };
        world.states.push(world.writers[1].state.clone());
        world
    }

    fn append(&mut self, chain: usize, what: u8) {
        self.counter += 10;
        let (counter, writer) = (self.counter, &mut self.writers[chain]);
        let id = writer.chain();
        let batch = match what {
            0 if chain == 0 => {
                let (group, row) = writer.digest(counter..counter + 5);
                Batch { digests: vec![row], ..one(id, group) }
            }
            1 if chain == 0 => names_a_body(writer, counter, u8::try_from(counter % 7).unwrap()),
            _ => one(id, writer.says(counter, "a text")),
        };
        self.store.commit(&batch).unwrap();
        if chain == 1 {
            self.states.push(self.writers[1].state.clone());
        }
    }

    fn cut(&mut self, back: u64) {
        let chain = self.writers[1].chain();
        let from_commit = self.writers[1].state.commits().saturating_sub(back).max(1);
        self.store.commit(&Batch { cuts: vec![Cut { chain, from_commit }], ..Batch::default() }).unwrap();
        self.states.truncate(usize::try_from(from_commit).unwrap() + 1);
        self.writers[1] = self.writers[1].rewound(self.states.last().unwrap().clone());
    }

    /// The second chain is cut and grows again, further than it was and otherwise, before the pass looks.
    fn regrow(&mut self) {
        let commits = self.writers[1].state.commits();
        self.cut(2);
        while self.writers[1].state.commits() <= commits {
            self.append(1, 2);
        }
    }

    /// The rows beside the first events of the first chain go, as its chain says beforehand in a real node.
    fn prune(&self) {
        let (chain, to) = (self.writers[0].chain(), self.writers[0].state.size() / 2);
        let bodies = (0..7).map(|number| content_address(&encode(&large(number)))).collect();
        let pruned = vec![PrunedRows { chain, to, digests: (0..to).collect(), bodies, as_of: u64::MAX }];
        self.store.commit(&Batch { pruned, ..Batch::default() }).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_beside_writes_cuts_and_prunes_finds_nothing(steps in prop::collection::vec(step(), 10..80)) {
        let mut world = World::new();
        let mut cursor = ScrubCursor::default();
        let mut earlier = cursor.clone();
        for step in steps {
            match step {
                Step::Slice { rows } => {
                    earlier = cursor.clone();
                    let slice = world.store.scrub(&mut cursor, ScrubBounds { rows, ..ALL }).unwrap();
                    prop_assert_eq!(&slice.finds, &[]);
                    prop_assert!(slice.rows > 0 || slice.ended, "it goes on");
                    if slice.ended {
                        cursor = ScrubCursor::default();
                    }
                }
                Step::Append { chain, what } => world.append(chain, what),
                Step::Cut { back } => world.cut(back),
                Step::Regrow => world.regrow(),
                Step::Prune => world.prune(),
                Step::GoBack => cursor = earlier.clone(),
            }
        }
        // Whatever place it had, it comes to its end.
        let mut slices = 0;
        while !cursor.is_ended() {
            let slice = world.store.scrub(&mut cursor, ScrubBounds { rows: 5, ..ALL }).unwrap();
            prop_assert_eq!(&slice.finds, &[]);
            prop_assert!(slice.done_millionths <= 1_000_000);
            slices += 1;
            prop_assert!(slices < 2_000, "a pass without an end");
        }
        let (by_one, whole) = (pass(&world.store, 1), pass(&world.store, u64::MAX));
        prop_assert_eq!(by_one, whole, "slices of any size read the same");
        prop_assert!(world.store.verify_all(no_fold).unwrap().is_good());
    }
}

/// Writes go on while slices are read, not only between them: pages that a slice reads are not written over.
#[test]
fn a_pass_while_another_thread_writes_finds_nothing() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    store.commit(&one(chain, writer.genesis())).unwrap();
    let batches: Vec<Batch> = (0..300_u64)
        .map(|round| match round % 3 {
            0 => {
                let (group, row) = writer.digest(10 * round + 1..10 * round + 9);
                Batch { digests: vec![row], ..one(chain, group) }
            }
            _ => {
                Batch { outbox_put: vec![writer.outbox_entry(round)], ..one(chain, writer.says(10 * round, "a text")) }
            }
        })
        .collect();
    let passes = std::thread::scope(|scope| {
        let writing = scope.spawn(|| batches.iter().for_each(|batch| store.commit(batch).unwrap()));
        let mut passes = 0;
        while !writing.is_finished() {
            assert_eq!(pass(&store, 40).0, []);
            passes += 1;
        }
        writing.join().unwrap();
        passes
    });
    assert!(passes > 1, "{passes} passes beside 300 writes");
    assert_eq!(pass(&store, 40).0, []);
}

#[test]
fn damage_that_a_pass_has_passed_is_found_by_the_next_and_one_before_it_by_this() {
    let image = Image::new();
    let rows = image.rows();
    let mut cursor = ScrubCursor::default();
    // Into the second chain.
    let bounds = ScrubBounds { rows: 1, ..ALL };
    while image.store.scrub(&mut cursor, bounds).unwrap().done_millionths < 600_000 {}
    let body = &rows["bodies"][0];
    image.flip(body, 60, 3);
    let mut finds = Vec::new();
    while !cursor.is_ended() {
        finds.extend(image.store.scrub(&mut cursor, bounds).unwrap().finds);
    }
    assert_eq!(finds.iter().map(|find| find.table).collect::<Vec<_>>(), ["bodies"], "{finds:?}");
}

#[test]
fn a_store_that_could_not_write_is_not_judged() {
    let image = Image::new();
    image.store.distrust("for a test");
    let refused = image.store.scrub(&mut ScrubCursor::default(), ALL).unwrap_err();
    assert_eq!(refused, StoreError::Poisoned { reason: "for a test".to_owned() });
    let refused =
        image.store.commit(&Batch { outbox_drop: Vec::new(), reserved: Some(Reserved::default()), ..Batch::default() });
    assert!(matches!(refused, Err(StoreError::Poisoned { .. })), "{refused:?}");
}

#[test]
fn a_member_mends_what_was_found() {
    let image = Image::new();
    let groups = &image.groups[&image.peer];
    for commit_no in 0..groups.len() {
        // Brings what was mended to where a scrub looks.
        assert_eq!(pass(&image.store, ALL.rows).0, []);
        let rows = image.rows();
        // Groups are sorted by chain and number, as their keys are.
        let key_of = |copies: &[std::ops::Range<usize>]| image.disk.bytes()[copies[0].start + 30..][..48].to_vec();
        let key = [&image.peer.to_bytes()[..], &(commit_no as u64).to_be_bytes()].concat();
        let copies = rows["groups"].iter().find(|copies| key_of(copies) == key).unwrap();
        image.flip(copies, 200, 2);
        let finds = pass(&image.store, 3).0;
        let find = finds.first().unwrap();
        assert_eq!((find.chain, find.commit), (Some(image.peer), Some(commit_no as u64)), "{finds:?}");
        if commit_no == 0 {
            assert_eq!(find.before, None, "nobody knows the keys of a chain without its first event");
            image.flip(copies, 200, 2);
            continue;
        }
        let before = find.before.as_deref().unwrap();
        let refused = image.store.mend(before, &[]).unwrap_err();
        assert!(matches!(refused, RepairError::TooFew { .. }), "{refused}");
        let refused = image.store.mend(before, &groups[commit_no - 1..]).unwrap_err();
        assert!(matches!(refused, RepairError::Refused { .. }), "{refused}");
        let mut other = image.peer_writer.rewound(before.clone());
        let forged = other.says(77, "another history, signed by the same writer");
        let refused = image.store.mend(before, &[forged]).unwrap_err();
        assert!(matches!(refused, RepairError::Conflict { .. }), "{refused}");
        assert_eq!(pass(&image.store, 3).0.first(), Some(find), "nothing was written");
        assert_eq!(image.store.mend(before, &groups[commit_no..]).unwrap(), 1, "only what was missing");
        assert_eq!(pass(&image.store, 3).0, []);
        assert_eq!(image.store.range(image.peer, 0, u64::MAX).unwrap(), *groups);
        let refused = image.store.mend(before, &groups[commit_no..]);
        assert_eq!(refused.ok(), Some(1), "twice is once");
    }
    drop(image.store);
    let (store, recovered) = Store::open_backend(image.disk).unwrap();
    assert!(store.verify_all(no_fold).unwrap().is_good());
    assert_eq!(recovered.chains.len(), 2);
}

#[test]
fn what_a_read_comes_upon_is_noted_once() {
    let image = Image::new();
    assert_eq!(image.store.take_noted(), None);
    // Reads come from memory while they can: this store reads from the disk.
    let rows = image.rows();
    let bytes = image.disk.bytes();
    let own = |copies: &&Vec<std::ops::Range<usize>>| bytes[copies[0].start + 30..][..40] == image.own.to_bytes();
    let copies = rows["digests"].iter().find(own).unwrap();
    // What is in memory is not read: as much as there is room for is read beside it.
    for number in 0..80_u8 {
        let body = encode(&Payload::Text(char::from(b'0' + number).to_string().repeat(1 << 20)));
        let address = content_address(&body);
        image.store.commit(&Batch { bodies: vec![(address, body.into())], ..Batch::default() }).unwrap();
        assert!(image.store.body(&address).unwrap().is_some());
    }
    copies.iter().for_each(|copy| image.disk.flip(copy.start + 90, 1));
    let store = &image.store;
    store.trace(image.own, TraceId(500), 9).unwrap_err();
    let noted = store.take_noted().unwrap();
    assert_eq!(
        noted.finds.iter().map(|find| (find.table, find.chain)).collect::<Vec<_>>(),
        [("digests", Some(image.own))]
    );
    assert!(noted.failed.is_some());
    assert_eq!(store.take_noted(), None, "told once");
}
