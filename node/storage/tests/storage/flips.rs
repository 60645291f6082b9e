//! Ten thousand single flipped bits: each is found, or changed nothing that is served; each is repaired from a peer; no chain
//! ever gets shorter.
//!
//! Found means: after a flip the store either refuses to open, and then the file is untouched, or every event and every commit of
//! every chain is served byte for byte as before and the full check finds nothing. What a peer then gives makes it whole.

use std::collections::BTreeMap;

use weft_protocol::{Batch, ChainId, CommitGroup, Hlc, Reserved};
use weft_storage::{DamagedStore, OpenError, Store};

use crate::chains::{Writer, boot, no_fold, one};
use crate::disk::{DATABASE_AT, Disk};

/// In each of the tests below, which run side by side.
const FLIPS: u64 = 2_500;

/// How the store was left.
#[derive(Debug, Clone, Copy)]
enum End {
    /// With nothing in its journal.
    InOrder,
    /// With its last transactions in the journal alone.
    Killed,
}

/// A store with chains of several members, the peer that holds the same, and what both serve.
struct Image {
    bytes: Vec<u8>,
    peer: Store,
    chains: BTreeMap<ChainId, Served>,
    /// Where the rows of groups stand in the database, or in the whole file of a store that was killed; old copies among them.
    rows: Vec<std::ops::Range<usize>>,
}

/// Everything that is served of one chain.
#[derive(Debug, PartialEq, Eq)]
struct Served {
    groups: Vec<CommitGroup>,
    events: Vec<Vec<u8>>,
}

fn served(store: &Store, chain: ChainId) -> Served {
    let groups = store.range(chain, 0, u64::MAX).unwrap();
    let count = groups.iter().map(|group| group.events.len()).sum::<usize>();
    let events = store.events(chain, 0, count + 1).unwrap().iter().map(|event| event.to_vec()).collect();
    Served { groups, events }
}

/// Four members: short commits, one that takes several pages, digests, checkpoints, and what stands beside them.
fn image(end: End) -> Image {
    let mut members: Vec<Writer> = (1..=4).map(Writer::new).collect();
    let own = members[0].chain();
    let mut batches: Vec<Batch> = members.iter_mut().map(|member| one(member.chain(), member.genesis())).collect();
    let (group, row) = members[0].digest(10..30);
    batches.push(Batch { digests: vec![row], ..one(own, group) });
    let long = "a text that takes pages of its own ".repeat(400);
    for round in 1..4 {
        for (number, member) in (1..).zip(&mut members) {
            let text = if round == 2 && number < 3 { &long } else { "a short text" };
            batches.push(one(member.chain(), member.says(round, text)));
        }
    }
    let outbox_put = vec![members[0].outbox_entry(1), members[0].outbox_entry(2)];
    let reserved = Some(Reserved { counter: 64, clock: Hlc(9) });
    batches.push(Batch { outbox_put, reserved, ..one(own, members[0].group(&[boot("0.1.1")], true)) });

    let (disk, peer) = (Disk::default(), Store::open_backend(Disk::default()).unwrap().0);
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    for batch in &batches {
        store.commit(batch).unwrap();
        peer.commit(batch).unwrap();
    }
    let chains = members.iter().map(|member| (member.chain(), served(&store, member.chain()))).collect();
    let first = match end {
        End::InOrder => DATABASE_AT,
        End::Killed => 0,
    };
    match end {
        End::InOrder => drop(store),
        End::Killed => store.abandon(),
    }
    let bytes = disk.bytes();
    let mut rows = rows_of_groups(&bytes);
    rows.retain(|row| row.start >= first);
    assert!(rows.len() >= batches.len(), "{} rows", rows.len());
    Image { bytes, peer, chains, rows }
}

/// By the layout that the crate's root documents: magic, kind 1, lengths of key and body, check, key, body.
fn rows_of_groups(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let starts = (0..bytes.len() - 30).filter(|at| bytes[*at..].starts_with(b"\xf7weftrow\x01"));
    let row = |at: usize| {
        let body = u32::from_be_bytes(bytes[at + 10..at + 14].try_into().unwrap()) as usize;
        at..at + 30 + usize::from(bytes[at + 9]) + body
    };
    starts.map(row).filter(|row| row.end <= bytes.len()).collect()
}

/// Where a flip struck, and what came of it.
#[derive(Debug, Default)]
struct Tally {
    chain_rows_found: u64,
    chain_rows_unused: u64,
    elsewhere_found: u64,
    elsewhere_unused: u64,
    fetched_commits: u64,
}

impl Image {
    /// Flips one bit: three of four times in a row of a chain, else anywhere in the file.
    fn flip(&self, dice: &mut Dice, tally: &mut Tally) {
        let place = if dice.below(4) > 0 {
            let of_chains = self.rows.iter().map(ExactSizeIterator::len).sum();
            let mut nth = dice.below(of_chains);
            let row = self.rows.iter().find(|row| {
                let here = nth < row.len();
                nth -= if here { 0 } else { row.len() };
                here
            });
            row.unwrap().start + nth
        } else {
            dice.below(self.bytes.len())
        };
        let bit = dice.below(8);
        let mut changed = self.bytes.clone();
        changed[place] ^= 1 << bit;
        let what = format!("bit {bit} of byte {place} of {}", changed.len());
        let in_chain = self.rows.iter().any(|row| row.contains(&place));
        let disk = Disk::with(changed.clone());
        let opened = Store::open_backend(disk.clone());
        let found = opened.is_err();
        match opened {
            Ok((store, recovered)) => {
                assert_eq!(recovered.chains.len(), self.chains.len(), "{what}");
                self.assert_whole(&store, &what);
            }
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
                assert!(disk.bytes() == changed, "{what}: the damaged file was written to");
                let repair = Store::open_damaged_backend(Disk::with(changed), Disk::default()).unwrap();
                tally.fetched_commits += self.repair(repair, &what);
            }
        }
        *match (in_chain, found) {
            (true, true) => &mut tally.chain_rows_found,
            (true, false) => &mut tally.chain_rows_unused,
            (false, true) => &mut tally.elsewhere_found,
            (false, false) => &mut tally.elsewhere_unused,
        } += 1;
    }

    /// Fetches from the peer what is missing; how many commits that was.
    fn repair(&self, mut repair: DamagedStore, what: &str) -> u64 {
        let mut fetched = 0;
        while let Some(range) = repair.ranges().first().copied() {
            let held = &self.chains[&range.chain].groups;
            assert!(range.to_commit < held.len() as u64, "{what}: {range:?} was never there");
            let mut groups = self.peer.range(range.chain, range.from_commit, u64::MAX).unwrap();
            groups.truncate(usize::try_from(range.to_commit - range.from_commit + 1).unwrap());
            fetched += groups.len() as u64;
            repair.replace(range.chain, &groups).unwrap_or_else(|error| panic!("{what}: {range:?}: {error}"));
        }
        let (store, recovered) = repair.into_store().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(recovered.chains.len(), self.chains.len(), "{what}");
        self.assert_whole(&store, what);
        fetched
    }

    fn assert_whole(&self, store: &Store, what: &str) {
        for (chain, expected) in &self.chains {
            assert!(served(store, *chain) == *expected, "{what}: {chain} is not what it was");
        }
        assert!(store.verify_all(no_fold).unwrap().is_good(), "{what}");
    }
}

/// SplitMix64: the same flips in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % limit as u64).unwrap()
    }
}

fn flip_bits(seed: u64, end: End) {
    let image = image(end);
    let (mut dice, mut tally) = (Dice(seed), Tally::default());
    for _ in 0..FLIPS {
        image.flip(&mut dice, &mut tally);
    }
    println!(
        "{} bytes, {} in rows of chains: {tally:?}",
        image.bytes.len(),
        image.rows.iter().map(ExactSizeIterator::len).sum::<usize>()
    );
    let Tally { chain_rows_found, fetched_commits, .. } = tally;
    assert!(chain_rows_found > FLIPS / 4, "few flips struck what is in use: {tally:?}");
    assert!(fetched_commits > FLIPS / 10, "{tally:?}");
}

#[test]
fn the_first_quarter_of_ten_thousand_flips_is_found_and_repaired() {
    flip_bits(1, End::InOrder);
}

#[test]
fn the_second_quarter_of_ten_thousand_flips_is_found_and_repaired() {
    flip_bits(2, End::Killed);
}

#[test]
fn the_third_quarter_of_ten_thousand_flips_is_found_and_repaired() {
    flip_bits(3, End::InOrder);
}

#[test]
fn the_last_quarter_of_ten_thousand_flips_is_found_and_repaired() {
    flip_bits(4, End::Killed);
}
