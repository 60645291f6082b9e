//! What replication computes as things arrive is what the model computes from scratch.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    Ballot as WireBallot, ChainId, ClusterId, CommitRef, Digest, EpochAsked, EpochEndorsed, EpochId, EpochPromised,
    EpochProposed, Fact, Head as WireHead, Hlc, Incarnation, MemberChange, NodeId, PlacedFact, TailReturned,
    Tick as WireTick,
};
use weft_replication::{OrderKey, Place, Standing, Step};
use weft_simulations::membership::{
    Ballot, Chain, Change, Commit, Head, Member, Record, Rules, Setting, Tick, play_watched,
};

const CHANGES: Setting =
    Setting { members: 4, liars: 0, breaks_ticks: false, liars_vote: false, changes: true, restores: false, steps: 80 };
const RESTORES: Setting = Setting { restores: true, ..CHANGES };
const BROKEN_TICKS: Setting = Setting { liars: 1, breaks_ticks: true, changes: false, ..CHANGES };

fn chain_id(chain: Chain) -> ChainId {
    ChainId { node: NodeId::from_bytes([chain.node; 32]), incarnation: Incarnation(u64::from(chain.incarnation)) }
}

fn digest(number: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Digest::from_bytes(bytes)
}

fn commit_ref(head: &Head) -> CommitRef {
    CommitRef { chain: chain_id(head.chain), commit_no: u64::from(head.commit_no), commit_hash: digest(head.hash) }
}

fn ballot(ballot: Ballot) -> WireBallot {
    WireBallot { number: u64::from(ballot.number), chain: chain_id(ballot.chain) }
}

/// The model's names of epochs and replication's.
struct Names(BTreeMap<u64, EpochId>);

impl Names {
    fn of(member: &Member) -> Self {
        let mut names = Self(BTreeMap::from([(0, EpochId::first())]));
        for ((_, hash), commit) in &member.view.commits {
            if let Some(Fact::EpochProposed(proposed)) = names.fact(commit, member) {
                let next =
                    EpochId::begun_by(chain_id(commit.chain), u64::from(commit.commit_no), Hlc(commit.hlc), &proposed);
                names.0.insert(*hash, next);
            }
        }
        names
    }

    fn epoch(&self, hash: u64) -> EpochId {
        self.0.get(&hash).copied().unwrap_or(EpochId(digest(hash)))
    }

    fn fact(&self, commit: &Commit, member: &Member) -> Option<Fact> {
        Some(match commit.record {
            Record::Ask { epoch, ballot: of } => {
                Fact::EpochAsked(EpochAsked { epoch: self.epoch(epoch), ballot: ballot(of) })
            }
            Record::Promise { epoch, ballot: of } => {
                Fact::EpochPromised(EpochPromised { epoch: self.epoch(epoch), ballot: ballot(of) })
            }
            Record::Change { epoch, ballot: of, change } => Fact::EpochProposed(Box::new(EpochProposed {
                epoch: self.epoch(epoch),
                ballot: ballot(of),
                changes: changes(change),
                heads: Vec::new(),
            })),
            Record::Endorse { change, ballot: of } => {
                let epoch = member.view.commits.values().find_map(|other| match other.record {
                    Record::Change { epoch, .. } if other.hash() == change => Some(epoch),
                    _ => None,
                })?;
                Fact::EpochEndorsed(Box::new(EpochEndorsed {
                    epoch: self.epoch(epoch),
                    next: self.epoch(change),
                    ballot: ballot(of),
                    heads: Vec::new(),
                }))
            }
            Record::TailReturned { tail } => {
                let CommitRef { chain, commit_no, commit_hash } = commit_ref(&tail);
                let head = WireHead { chain, commit_no, size: 0, root: digest(0), commit_hash };
                Fact::TailReturned(TailReturned { chain, head })
            }
            Record::Genesis { .. } | Record::Claim { .. } | Record::Other => return None,
        })
    }
}

fn changes(change: Change) -> Vec<MemberChange> {
    match change {
        Change::Admit(chain) => vec![MemberChange::Admit(chain_id(chain))],
        Change::Suspend(last) => vec![MemberChange::Suspend(commit_ref(&last))],
        Change::Evict(last) => vec![MemberChange::Evict(commit_ref(&last))],
        Change::Resume(chain) => vec![MemberChange::Resume(chain_id(chain))],
        Change::Readmit(last, chain) => vec![MemberChange::Readmit(commit_ref(&last), chain_id(chain))],
        Change::Nothing => Vec::new(),
    }
}

fn tick(tick: &Tick) -> WireTick {
    WireTick {
        cluster: ClusterId::from_bytes([0; 32]),
        last: commit_ref(&tick.head),
        hlc: Hlc(tick.hlc),
        horizon: Hlc(tick.horizon),
        heads: tick.heads.iter().map(commit_ref).collect(),
    }
}

/// Where replication cuts the chains that are proven to break a tick, and the stamp of the first commit that does so: found as it
/// finds it, from each tick and the commit that follows its own; what more than half acknowledged stays, as the model says.
fn cuts(member: &Member) -> BTreeMap<Chain, (u32, u64)> {
    let fold = member.fold();
    let mut cuts: BTreeMap<Chain, (u32, u64)> = BTreeMap::new();
    for commit in fold.linked.values() {
        let breaks = |tick: &&std::sync::Arc<Tick>| {
            (tick.head.chain, tick.head.hash) == (commit.chain, commit.prev) && commit.hlc <= tick.hlc
        };
        if member.view.ticks.iter().any(|tick| breaks(&tick)) {
            let broken = (commit.commit_no, commit.hlc);
            let lowest = cuts.entry(commit.chain).or_insert(broken);
            *lowest = broken.min(*lowest);
        }
    }
    for (chain, (lowest, _)) in &mut cuts {
        let floor = fold.floor(*chain).map_or(0, |(_, commit)| commit.commit_no + 1);
        *lowest = floor.max(*lowest);
    }
    cuts
}

/// What a member holds, chain by chain from the first commit on, in another order for each `turn`.
fn taken_in(member: &Member, turn: usize, cuts: &BTreeMap<Chain, (u32, u64)>) -> Standing {
    let names = Names::of(member);
    let mut chains: BTreeMap<Chain, BTreeMap<u32, &Commit>> = BTreeMap::new();
    for commit in member.view.commits.values() {
        chains.entry(commit.chain).or_default().insert(commit.commit_no, commit);
    }
    let mut standing = Standing::new(ClusterId::from_bytes([0; 32]), chain_id(member.chain));
    standing.founded_by(member.view.founders.iter().copied().map(chain_id));
    let mut ticks: Vec<&Tick> = member.view.ticks.iter().map(|tick| &**tick).collect();
    ticks.sort_by_key(|tick| tick.hlc);
    if turn.is_multiple_of(2) {
        ticks.drain(..).for_each(|word| standing.ticked(tick(word)));
    }
    let fork = |standing: &mut Standing| {
        cuts.iter().for_each(|(chain, (_, stamp))| standing.forked(chain_id(*chain), Hlc(*stamp)));
    };
    if turn.is_multiple_of(3) {
        fork(&mut standing);
    }
    let mut order: Vec<Chain> = chains.keys().copied().collect();
    let middle = turn % order.len().max(1);
    order.rotate_left(middle);
    for chain in order {
        let held = chains[&chain].iter().enumerate().take_while(|(place, (number, _))| *place == **number as usize);
        let counts = |commit: &Commit| cuts.get(&commit.chain).is_none_or(|(cut, _)| commit.commit_no < *cut);
        for (_, (_, commit)) in held.filter(|(_, (_, commit))| counts(commit)) {
            let facts = names.fact(commit, member).into_iter();
            let seq = u64::from(commit.commit_no);
            let facts = facts.map(|fact| PlacedFact { seq, hlc: Hlc(commit.hlc), fact }).collect();
            let anchors = commit.anchors.iter().map(|head| (chain_id(head.chain), u64::from(head.commit_no))).collect();
            let (last, hlc) = (commit_ref(&commit.head()), Hlc(commit.hlc));
            standing.stored(Step { last, first: hlc, hlc, anchors, facts });
        }
    }
    ticks.into_iter().for_each(|word| standing.ticked(tick(word)));
    fork(&mut standing);
    standing
}

/// Who counts, in which order, and what is stable at most.
pub(crate) fn same(member: &Member, turn: usize) -> bool {
    let fold = member.fold();
    let cuts = cuts(member);
    let broken: BTreeMap<Chain, u32> = cuts.keys().filter_map(|chain| Some((*chain, fold.cut(*chain)?))).collect();
    assert_eq!(broken, cuts.iter().map(|(chain, (cut, _))| (*chain, *cut)).collect(), "what is cut, and where");
    assert_eq!(broken.len(), fold.broken.len(), "who is guilty");
    let standing = taken_in(member, turn, &cuts);
    let counting: BTreeSet<ChainId> = fold.active().map(chain_id).collect();
    assert_eq!(standing.epochs().active().keys().copied().collect::<BTreeSet<_>>(), counting, "who counts");
    assert!(standing.watermark() <= Hlc(fold.watermark()), "{:?} > {}", standing.watermark(), fold.watermark());
    let placement = standing.placement();
    let mut order: Vec<(Place, u64)> = fold
        .linked
        .iter()
        .filter(|(_, commit)| cuts.get(&commit.chain).is_none_or(|(cut, _)| commit.commit_no < *cut))
        .map(|(hash, commit)| {
            let number = u64::from(commit.commit_no);
            (placement.place(OrderKey::new(chain_id(commit.chain), number, Hlc(commit.hlc)), number), *hash)
        })
        .collect();
    order.sort_unstable();
    let ordered = order.iter().filter(|(place, _)| matches!(place, Place::Ordered { .. })).map(|(_, hash)| *hash);
    let expected: Vec<u64> = fold.order.iter().map(|placed| placed.hash).collect();
    assert_eq!(ordered.collect::<Vec<u64>>(), expected, "the order");
    let stable: Vec<u64> =
        order.iter().take_while(|(place, _)| placement.is_stable(place)).map(|(_, hash)| *hash).collect();
    assert!(fold.stable().starts_with(&stable), "{} stable of {}", stable.len(), fold.stable().len());
    !stable.is_empty() && stable == fold.stable()
}

/// How often something was stable, and all of it as in the model.
fn compare(setting: Setting, seeds: std::ops::Range<u64>) -> (usize, usize) {
    let (mut all, mut equal) = (0, 0);
    for seed in seeds {
        let report = play_watched(setting, Rules::default(), seed, |member| {
            all += 1;
            equal += usize::from(same(member, all));
        });
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }
    (all, equal)
}

#[test]
fn replication_agrees_with_the_model() {
    let (all, equal) = compare(CHANGES, 0..60);
    println!("{equal} of {all} views are stable to the same event");
    assert!(equal * 3 > all, "{equal} of {all}");
}

#[test]
fn replication_agrees_with_the_model_when_members_are_restored() {
    let (all, equal) = compare(RESTORES, 100..160);
    println!("{equal} of {all} views are stable to the same event");
    assert!(equal * 4 > all, "{equal} of {all}");
}

#[test]
fn replication_agrees_with_the_model_when_ticks_are_broken() {
    let (all, equal) = compare(BROKEN_TICKS, 200..260);
    println!("{equal} of {all} views are stable to the same event");
    assert!(equal * 4 > all, "{equal} of {all}");
}
