//! A million ways to mix up what honest nodes signed convict nobody; one dishonest step in the same histories does.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use weft_protocol::limits::EVIDENCE_BYTES_MAX;
use weft_protocol::{
    Evidence, Hlc, PublicKeys, SignedCommit, SignedTick, SignedTickClaim, Statement, StatementBody, StatementError,
    Tick, TickClaim, Timestamp, encode,
};
use weft_replication::{EvidenceError, ForkKind, ForkVerdict, check_evidence_by, weigh_evidence};

use crate::world::START;
use crate::writer::Writer;

/// Pairs in each of the four parts, which run beside each other.
const PAIRS: usize = 250_000;
const WRITERS: u8 = 3;
const COMMITS: usize = 24;

/// What three honest nodes signed: each in two lives, with restarts between commits, a clock that stands still or is set back,
/// checkpoints or not, empty commits, every commit signed three times over, and ticks between them.
struct Corpus {
    writers: Vec<Writer>,
    chains: Vec<Vec<Vec<SignedCommit>>>,
    ticks: Vec<Vec<SignedTickClaim>>,
    verified: RefCell<BTreeMap<Vec<u8>, Result<StatementBody, StatementError>>>,
    dice: ChaCha8Rng,
}

impl Corpus {
    fn new(seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let (mut writers, mut chains, mut all_ticks) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..WRITERS {
            let mut writer = Writer::new(number + 1);
            let mut now = START;
            for life in 0..2 {
                if life > 0 {
                    writer = writer.reborn(100 + u64::from(number));
                }
                let ticks = write(&mut writer, &mut now, COMMITS, &mut dice);
                chains.push(signed_thrice(&writer));
                all_ticks.push(ticks.iter().map(claim_of).collect());
                writers.push(writer.clone());
            }
        }
        Self { writers, chains, ticks: all_ticks, verified: RefCell::default(), dice }
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

    fn pick_tick(&mut self, chain: usize) -> SignedTickClaim {
        let number = self.roll(self.ticks[chain].len());
        self.ticks[chain][number].clone()
    }

    /// A commit or a tick.
    fn pick_any(&mut self, chain: usize) -> Statement {
        if self.roll(2) == 0 { self.pick(chain).into() } else { self.pick_tick(chain).into() }
    }

    /// One structural mutation of honest histories.
    fn mutate(&mut self) -> (usize, Evidence) {
        let chain = self.roll(self.chains.len());
        let (first, second) = if self.roll(2) == 0 { self.two_commits(chain) } else { self.with_a_tick(chain) };
        if self.roll(2) == 0 {
            (chain, Evidence { first, second, rotations: Vec::new() })
        } else {
            (chain, Evidence { first: second, second: first, rotations: Vec::new() })
        }
    }

    fn two_commits(&mut self, chain: usize) -> (Statement, Statement) {
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
        (first.into(), second.into())
    }

    fn with_a_tick(&mut self, chain: usize) -> (Statement, Statement) {
        let tick = self.pick_tick(chain);
        let named = tick.decode().unwrap().last.commit_no as usize;
        let last = self.chains[chain].len() - 1;
        let second = match self.roll(10) {
            // Any other word of the history, the tick's own commit, and the one that follows it.
            0..=2 => self.pick_any(chain),
            3 => self.pick_at(chain, named).into(),
            4 | 5 => self.pick_at(chain, last.min(named + 1)).into(),
            6 => self.pick_any(chain ^ 1),
            7 => {
                let other = self.roll(self.chains.len());
                self.pick_any(other)
            }
            8 => self.splice_tick(chain, &tick).into(),
            _ => self.bend_tick(chain).into(),
        };
        (tick.into(), second)
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

    /// What one tick says under the signature of another, or one of its fields in the other.
    fn splice_tick(&mut self, chain: usize, first: &SignedTickClaim) -> SignedTickClaim {
        let other = self.pick_tick(chain).decode().unwrap();
        let says = first.decode().unwrap();
        let spliced = match self.roll(4) {
            0 => other,
            1 => TickClaim { last: other.last, ..says },
            2 => TickClaim { hlc: other.hlc, ..says },
            _ => TickClaim { hlc: Hlc(u64::MAX), ..says },
        };
        SignedTickClaim { claim: encode(&spliced).into(), ..first.clone() }
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

    fn bend_tick(&mut self, chain: usize) -> SignedTickClaim {
        let mut bent = self.pick_tick(chain);
        let place = self.roll(bent.claim.len());
        match self.roll(4) {
            0 => bent.claim[place] ^= 1 << self.roll(8),
            1 => bent.ed25519[place % 64] ^= 1 << self.roll(8),
            2 => bent.claim.truncate(place),
            _ => bent.claim = self.pick(chain).commit,
        }
        bent
    }

    /// The verdict under the keys of the chain's writer; each signature is verified once for all pairs.
    fn judge(&self, chain: usize, evidence: &Evidence) -> Result<ForkVerdict, EvidenceError> {
        let state = self.writers[chain].state();
        let keys: Vec<PublicKeys> = state.all_keys().cloned().collect();
        weigh_evidence(evidence, |statement| {
            let key = [state.chain().node.as_bytes(), &encode(statement)[..]].concat();
            let verify = || statement.verify_by(&keys);
            Ok(self.verified.borrow_mut().entry(key).or_insert_with(verify).clone()?)
        })
    }
}

fn claim_of(signed: &SignedTick) -> SignedTickClaim {
    let tick: Tick = signed.peek().unwrap();
    signed.claim(&tick)
}

/// Writes on, and ticks in between: while nothing is on its way, or in a busy moment with the stamp of the last commit.
fn write(writer: &mut Writer, now: &mut Timestamp, commits: usize, dice: &mut ChaCha8Rng) -> Vec<SignedTick> {
    let mut ticks = Vec::new();
    for number in 0..commits {
        let events = if number == 0 { 1 } else { (dice.next_u64() % 4) as usize };
        let restarts = number > 0 && dice.next_u64().is_multiple_of(8);
        let checkpoint = number == 0 || restarts || dice.next_u64().is_multiple_of(3);
        // Below the second after which a checkpoint is due.
        now.0 += dice.next_u64() % 300_000;
        if restarts {
            writer.restart(dice.next_u64() % 100_000);
        }
        let set_back_us = if dice.next_u64().is_multiple_of(4) { dice.next_u64() % 2_000_000 } else { 0 };
        let wall = Timestamp(now.0 - set_back_us);
        writer.write(wall, events, (dice.next_u64() % 40) as usize, checkpoint);
        if number == commits / 2 {
            writer.rotate(*now);
        }
        for _ in 0..dice.next_u64() % 3 {
            let last = writer.groups.len() - 1;
            let idle = dice.next_u64().is_multiple_of(2);
            ticks.push(if idle { writer.tick(wall) } else { writer.tick_of(last, writer.state().last_hlc()) });
        }
    }
    ticks
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
    let (mut weighed, mut with_ticks) = (0, 0);
    for pair in 0..PAIRS {
        let (chain, evidence) = corpus.mutate();
        match corpus.judge(chain, &evidence) {
            Ok(verdict) => panic!("pair {pair} of seed {seed} convicts an honest node: {verdict:?}"),
            Err(EvidenceError::Statement(_) | EvidenceError::Decode(_) | EvidenceError::TooManyRotations) => {}
            Err(EvidenceError::OtherChain | EvidenceError::SameStatement | EvidenceError::Consistent) => {
                let tick = |statement: &Statement| matches!(statement, Statement::Tick(_));
                with_ticks += usize::from(tick(&evidence.first) || tick(&evidence.second));
                weighed += 1;
            }
        }
    }
    assert!(weighed * 2 >= PAIRS, "only {weighed} of {PAIRS} reached the verdict");
    assert!(with_ticks * 4 >= PAIRS, "only {with_ticks} of {PAIRS} with a tick reached the verdict");
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

/// What a member that holds these commits compares a tick with: the commit that follows the tick's, or of the last one that commit.
fn beside<'a>(held: &'a [Vec<SignedCommit>], tick: &SignedTickClaim) -> Option<&'a Vec<SignedCommit>> {
    let named = tick.decode().unwrap().last.commit_no as usize;
    if named + 1 < held.len() { held.get(named + 1) } else { held.get(named) }
}

/// The two in either order, within the bound.
fn pair(first: Statement, second: Statement, turned: bool) -> Evidence {
    let (first, second) = if turned { (second, first) } else { (first, second) };
    let evidence = Evidence { first, second, rotations: Vec::new() };
    assert!(encode(&evidence).len() <= EVIDENCE_BYTES_MAX);
    evidence
}

#[test]
fn one_dishonest_step_convicts() {
    const LIARS: usize = 300;
    const COMPARISONS: usize = 50;
    let mut dice = ChaCha8Rng::seed_from_u64(5);
    let (mut convicted, mut compared) = ([0; 3], [0; 3]);
    for liar in 0..LIARS {
        let mut now = START;
        let mut writer = Writer::new(1 + (liar % 4) as u8);
        write(&mut writer, &mut now, 2 + liar % COMMITS, &mut dice);
        let shared = writer.groups.len();
        // On either branch it changes its keys once more: that hides nothing.
        let keys: Vec<PublicKeys> = writer.state().all_keys().cloned().collect();
        let step = liar % 3;
        // The dishonest step: from here on it writes twice, once or not with ticks; or it writes on below what it said.
        let mut other = writer.clone();
        let promise = other.clone().tick(now.after_us(300_000 + dice.next_u64() % 1_000_000));
        let ticks = write(&mut writer, &mut now.clone(), 1 + liar % 7, &mut dice);
        write(&mut other, &mut now.after_us(liar as u64 % 3), 1 + liar % 5, &mut dice);
        let known: Vec<PublicKeys> = if step == 2 { other.state().all_keys().cloned().collect() } else { keys };
        let of_the_last = writer.tick_of(writer.groups.len() - 1, writer.state().last_hlc());
        let claims: Vec<SignedTickClaim> = ticks.iter().chain([&of_the_last]).map(claim_of).collect();
        let (one, two) = (signed_thrice(&writer), signed_thrice(&other));
        for _ in 0..COMPARISONS {
            let mut roll = |count: usize| (dice.next_u64() % count as u64) as usize;
            let one = &one[..shared + 1 + roll(one.len() - shared)];
            let two = &two[..shared + 1 + roll(two.len() - shared)];
            let (first, second, expected) = match step {
                0 => {
                    let Some(place) = parting(one, two) else { continue };
                    let expected = (shared as u64, ForkKind::Siblings);
                    (one[place][roll(3)].clone().into(), two[place][roll(3)].clone().into(), Some(expected))
                }
                1 => {
                    let promise = claim_of(&promise);
                    let Some(commit) = beside(one, &promise) else { continue };
                    let expected = (shared as u64, ForkKind::BrokenTick);
                    (promise.into(), commit[roll(3)].clone().into(), Some(expected))
                }
                _ => {
                    let claim = claims[roll(claims.len())].clone();
                    // Who knows only the keys of the other history does not believe a tick of later ones.
                    if known.iter().all(|keys| claim.verify(keys).is_err()) {
                        continue;
                    }
                    // A tick beyond what the other history holds yet waits until it does.
                    let Some(commit) = beside(two, &claim) else { continue };
                    (claim.into(), commit[roll(3)].clone().into(), None)
                }
            };
            compared[step] += 1;
            if let Ok(verdict) = check_evidence_by(&pair(first, second, roll(2) == 0), &known) {
                let found = (verdict.commit_no, verdict.kind);
                assert!(expected.is_none_or(|expected| expected == found), "{found:?} in place of {expected:?}");
                assert!(expected.is_some() || matches!(found.1, ForkKind::SameNumber | ForkKind::BrokenLink));
                convicted[step] += 1;
            }
        }
    }
    println!("{convicted:?} of {compared:?}");
    for (convicted, compared) in convicted.into_iter().zip(compared) {
        assert!(compared >= LIARS / 3 * COMPARISONS / 5, "{compared} comparisons");
        assert!(convicted * 100 >= compared * 99, "{convicted} of {compared}");
    }
    assert!(compared[0] + compared[1] >= LIARS * COMPARISONS * 6 / 10, "{compared:?} comparisons");
}
