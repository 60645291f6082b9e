//! A million ways to mix up what honest nodes signed convict nobody; one dishonest step in the same histories does.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use weft_protocol::{ChainError, Commit, Evidence, PublicKeys, SignedCommit, Timestamp, encode, verify_commit_by};
use weft_replication::{EvidenceError, ForkKind, ForkVerdict, check_evidence_by, weigh_evidence};

use crate::world::START;
use crate::writer::Writer;

/// Pairs in each of the four parts, which run beside each other.
const PAIRS: usize = 250_000;
const WRITERS: u8 = 3;
const COMMITS: usize = 24;

/// What three honest nodes signed: each in two lives, with restarts between commits, checkpoints or not, empty commits, and every
/// commit signed three times over.
struct Corpus {
    writers: Vec<Writer>,
    chains: Vec<Vec<Vec<SignedCommit>>>,
    verified: RefCell<BTreeMap<Vec<u8>, Result<Commit, ChainError>>>,
    dice: ChaCha8Rng,
}

impl Corpus {
    fn new(seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let (mut writers, mut chains) = (Vec::new(), Vec::new());
        for number in 0..WRITERS {
            let mut writer = Writer::new(number + 1);
            let mut now = START;
            for life in 0..2 {
                if life > 0 {
                    writer = writer.reborn(100 + u64::from(number));
                }
                write(&mut writer, &mut now, COMMITS, &mut dice);
                chains.push(signed_thrice(&writer));
                writers.push(writer.clone());
            }
        }
        Self { writers, chains, verified: RefCell::default(), dice }
    }

    fn roll(&mut self, count: usize) -> usize {
        (self.dice.next_u64() % count as u64) as usize
    }

    fn pick(&mut self, chain: usize) -> SignedCommit {
        let number = self.roll(self.chains[chain].len());
        self.pick_at(chain, number)
    }

    fn pick_at(&mut self, chain: usize, number: usize) -> SignedCommit {
        let again = self.roll(self.chains[chain][number].len());
        self.chains[chain][number][again].clone()
    }

    /// One structural mutation of honest histories.
    fn mutate(&mut self) -> (usize, Evidence) {
        let chain = self.roll(self.chains.len());
        let first = self.pick(chain);
        let number = self.roll(self.chains[chain].len());
        let second = match self.roll(10) {
            // Two places of one history, in any order; among them the same commit twice, signed again or not.
            0..=3 => self.pick_at(chain, number),
            4 | 5 => SignedCommit { mldsa65: None, ..first.clone() },
            // Before and after a restart, or of two nodes.
            6 => self.pick(chain ^ 1),
            7 => {
                let other = self.roll(self.chains.len());
                self.pick(other)
            }
            // Commits spliced together from two.
            8 => self.splice(chain, &first),
            _ => self.bend(chain, &first),
        };
        if self.roll(2) == 0 {
            (chain, Evidence { first, second, rotations: Vec::new() })
        } else {
            (chain, Evidence { first: second, second: first, rotations: Vec::new() })
        }
    }

    /// The header of one commit under the signatures of another, or one of its fields in the header of another.
    fn splice(&mut self, chain: usize, first: &SignedCommit) -> SignedCommit {
        let other = self.pick(chain);
        let from = other.decode().unwrap();
        let mut commit = first.decode().unwrap();
        match self.roll(6) {
            0 => return SignedCommit { commit: other.commit, ..first.clone() },
            1 => return SignedCommit { mldsa65: other.mldsa65, ..first.clone() },
            2 => commit.prev_commit = from.prev_commit,
            3 => commit.root = from.root,
            4 => (commit.tree_size, commit.first_seq) = (from.tree_size, from.first_seq),
            _ => (commit.hlc_first, commit.hlc_last) = (from.hlc_first, from.hlc_last),
        }
        SignedCommit { commit: encode(&commit).into(), ..first.clone() }
    }

    /// Bytes that were changed, cut or made longer.
    fn bend(&mut self, chain: usize, first: &SignedCommit) -> SignedCommit {
        let mut bent = self.pick(chain);
        let place = self.roll(bent.commit.len());
        match self.roll(4) {
            0 => bent.commit[place] ^= 1 << self.roll(8),
            1 => bent.ed25519[place % 64] ^= 1 << self.roll(8),
            2 => bent.commit.truncate(place),
            _ => bent.commit.extend_from_slice(&first.commit),
        }
        bent
    }

    /// The verdict under the keys of the chain's writer; each commit's signatures are verified once for all pairs.
    fn judge(&self, chain: usize, evidence: &Evidence) -> Result<ForkVerdict, EvidenceError> {
        let state = self.writers[chain].state();
        weigh_evidence(evidence, |signed| {
            let key = [state.chain().node.as_bytes(), &encode(signed)[..]].concat();
            let verify = || verify_commit_by(signed, state.all_keys());
            self.verified.borrow_mut().entry(key).or_insert_with(verify).clone()
        })
    }
}

fn write(writer: &mut Writer, now: &mut Timestamp, commits: usize, dice: &mut ChaCha8Rng) {
    for number in 0..commits {
        let events = if number == 0 { 1 } else { (dice.next_u64() % 4) as usize };
        let checkpoint = number == 0 || dice.next_u64().is_multiple_of(3);
        // Below the second after which a checkpoint is due.
        now.0 += dice.next_u64() % 300_000;
        writer.write(*now, events, (dice.next_u64() % 40) as usize, checkpoint);
        if number == commits / 2 {
            writer.rotate(*now);
        }
    }
}

fn signed_thrice(writer: &Writer) -> Vec<Vec<SignedCommit>> {
    let again = |signed: &SignedCommit| {
        let commit = signed.decode().unwrap();
        vec![signed.clone(), writer.sign(&commit, true), writer.sign(&commit, false)]
    };
    writer.groups.iter().map(|group| again(&group.signed)).collect()
}

/// How many of the pairs reached the verdict, which must acquit each.
fn acquit(seed: u64) {
    let mut corpus = Corpus::new(seed);
    let mut weighed = 0;
    for pair in 0..PAIRS {
        let (chain, evidence) = corpus.mutate();
        match corpus.judge(chain, &evidence) {
            Ok(verdict) => panic!("pair {pair} of seed {seed} convicts an honest node: {verdict:?}"),
            Err(EvidenceError::Commit(_) | EvidenceError::TooManyRotations) => {}
            Err(EvidenceError::OtherChain | EvidenceError::SameCommit | EvidenceError::Consistent) => weighed += 1,
        }
    }
    assert!(weighed * 2 >= PAIRS, "only {weighed} of {PAIRS} reached the verdict");
}

#[test]
fn a_million_mutations_convict_nobody_first_part() {
    acquit(1);
}

#[test]
fn a_million_mutations_convict_nobody_second_part() {
    acquit(2);
}

#[test]
fn a_million_mutations_convict_nobody_third_part() {
    acquit(3);
}

#[test]
fn a_million_mutations_convict_nobody_last_part() {
    acquit(4);
}

/// The first commit in which two copies of a chain differ, found by halving as members do.
fn parting(one: &[Vec<SignedCommit>], other: &[Vec<SignedCommit>]) -> Option<usize> {
    let (mut low, mut high) = (0, one.len().min(other.len()));
    let same = |number: usize| one[number][0].hash() == other[number][0].hash();
    if high == 0 || same(high - 1) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if same(middle) { low = middle + 1 } else { high = middle }
    }
    Some(low)
}

#[test]
fn one_dishonest_step_convicts() {
    const LIARS: usize = 200;
    const COMPARISONS: usize = 50;
    let mut dice = ChaCha8Rng::seed_from_u64(5);
    let (mut convicted, mut compared) = (0, 0);
    for liar in 0..LIARS {
        let mut now = START;
        let mut writer = Writer::new(1 + (liar % 4) as u8);
        write(&mut writer, &mut now, 2 + liar % COMMITS, &mut dice);
        let shared = writer.groups.len();
        // On either branch it changes its keys once more: that hides nothing.
        let keys: Vec<PublicKeys> = writer.state().all_keys().cloned().collect();
        let mut other = writer.clone();
        // The dishonest step: from here on it writes twice.
        write(&mut writer, &mut now.clone(), 1 + liar % 7, &mut dice);
        write(&mut other, &mut now.after_us(liar as u64 % 3), 1 + liar % 5, &mut dice);
        let (one, two) = (signed_thrice(&writer), signed_thrice(&other));
        for _ in 0..COMPARISONS {
            let mut roll = |count: usize| (dice.next_u64() % count as u64) as usize;
            let one = &one[..shared + 1 + roll(one.len() - shared)];
            let two = &two[..shared + 1 + roll(two.len() - shared)];
            let Some(place) = parting(one, two) else { continue };
            compared += 1;
            let (first, second) = (one[place][roll(3)].clone(), two[place][roll(3)].clone());
            let evidence = if roll(2) == 0 {
                Evidence { first, second, rotations: Vec::new() }
            } else {
                Evidence { first: second, second: first, rotations: Vec::new() }
            };
            assert!(encode(&evidence).len() <= weft_protocol::limits::EVIDENCE_BYTES_MAX);
            if let Ok(verdict) = check_evidence_by(&evidence, &keys) {
                assert_eq!((verdict.commit_no, verdict.kind), (shared as u64, ForkKind::Siblings));
                convicted += 1;
            }
        }
    }
    assert!(compared >= LIARS * COMPARISONS * 9 / 10, "{compared} comparisons");
    assert!(convicted * 100 >= compared * 99, "{convicted} of {compared}");
}
