//! Our copy of one foreign chain, and what is on its way into it: waiting, in verification, verified, being stored.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::limits::PAGE_BYTES_MAX;
use weft_protocol::{Anchor, ChainState, CommitGroup, Digest, Hlc, NodeId, PlacedFact, Timestamp};

use crate::config::LINKS_MAX;
use crate::event::FetchId;
use crate::verify::{Job, Verdict};

/// Invariant: `durable` ≤ being stored ≤ `tip` ≤ [`ChainCopy::expected`], counted in commits; each stage continues the one
/// before it.
#[derive(Debug)]
pub(crate) struct ChainCopy {
    /// What is on disk: all that others are told of.
    durable: ChainState,
    /// What is verified: where the next verification begins.
    tip: ChainState,
    waiting: VecDeque<Arrival>,
    verifying: Option<Verifying>,
    proven: Option<Proven>,
    storing: Option<Storing>,
    fetching: Option<FetchId>,
    /// Who says to hold more than we do, and how many commits.
    ahead: BTreeMap<NodeId, u64>,
    /// Who is not to be asked for this chain until when.
    paused: BTreeMap<NodeId, Timestamp>,
    /// The last head of members that hold less than we do.
    lagging: BTreeMap<NodeId, Lag>,
}

#[derive(Debug)]
struct Arrival {
    from: NodeId,
    groups: Vec<CommitGroup>,
    gossiped: bool,
}

#[derive(Debug)]
struct Verifying {
    from: NodeId,
    commits: u64,
}

/// Verified and not yet handed to the disk.
#[derive(Debug)]
struct Proven {
    state: ChainState,
    groups: Vec<CommitGroup>,
    facts: Vec<PlacedFact>,
    anchors: Vec<Anchor>,
    /// Its first stamp.
    first: Hlc,
    bytes: usize,
}

/// Handed to the disk.
#[derive(Debug)]
struct Storing {
    state: ChainState,
    facts: Vec<PlacedFact>,
    anchors: Vec<Anchor>,
    first: Hlc,
}

/// What is on disk since a moment ago.
#[derive(Debug)]
pub(crate) struct Stored {
    /// What others act on.
    pub(crate) facts: Vec<PlacedFact>,
    /// What its commits vouch for.
    pub(crate) anchors: Vec<Anchor>,
    /// The first stamp of it.
    pub(crate) first: Hlc,
    /// The chain's last stamp.
    pub(crate) hlc: Hlc,
}

/// A head below ours.
#[derive(Debug, PartialEq, Eq)]
struct Lag {
    commit_no: u64,
    commit_hash: Digest,
    compared: bool,
}

impl ChainCopy {
    pub(crate) fn new(durable: ChainState) -> Self {
        Self {
            tip: durable.clone(),
            durable,
            waiting: VecDeque::new(),
            verifying: None,
            proven: None,
            storing: None,
            fetching: None,
            ahead: BTreeMap::new(),
            paused: BTreeMap::new(),
            lagging: BTreeMap::new(),
        }
    }

    pub(crate) const fn durable(&self) -> &ChainState {
        &self.durable
    }

    /// The number of the next commit that would continue what is here in any stage.
    pub(crate) fn expected(&self) -> u64 {
        let waiting: usize = self.waiting.iter().map(|arrival| arrival.groups.len()).sum();
        self.tip.commits() + self.verifying.as_ref().map_or(0, |verifying| verifying.commits) + waiting as u64
    }

    /// Remembers that `from` holds this many commits.
    pub(crate) fn note_ahead(&mut self, from: NodeId, commits: u64) {
        let known = self.ahead.entry(from).or_default();
        *known = commits.max(*known);
    }

    /// Whether somebody holds more than what is here or on its way.
    pub(crate) fn wants(&self) -> bool {
        self.commits_missing() > 0
    }

    /// How many commits others say to hold beyond what is here or on its way.
    pub(crate) fn commits_missing(&self) -> u64 {
        self.ahead.values().max().map_or(0, |commits| commits.saturating_sub(self.expected()))
    }

    /// Whether a range may be asked for now. The page before it must have left the queue, so at most one waits.
    pub(crate) fn can_fetch(&self) -> bool {
        self.fetching.is_none() && self.waiting.is_empty() && self.wants()
    }

    /// Members that hold more and may be asked now.
    pub(crate) fn sources(&self, now: Timestamp) -> impl Iterator<Item = NodeId> {
        let expected = self.expected();
        let ahead = self.ahead.iter().filter(move |(_, commits)| **commits > expected);
        ahead.map(|(node, _)| *node).filter(move |node| !self.is_paused(*node, now))
    }

    /// When the first of the members that hold more and must not be asked now may be asked again.
    pub(crate) fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        let paused = self.paused.iter().filter(|(node, until)| **until > now && self.ahead.contains_key(node));
        paused.map(|(_, until)| *until).min()
    }

    pub(crate) fn is_paused(&self, node: NodeId, now: Timestamp) -> bool {
        self.paused.get(&node).is_some_and(|until| *until > now)
    }

    pub(crate) const fn begin_fetch(&mut self, fetch: FetchId) {
        self.fetching = Some(fetch);
    }

    /// The range asked for under this number is answered or lost.
    pub(crate) fn end_fetch(&mut self, fetch: FetchId) {
        if self.fetching == Some(fetch) {
            self.fetching = None;
        }
    }

    /// A member did not respond: it is asked again after `until`, others at once.
    pub(crate) fn pause(&mut self, node: NodeId, until: Timestamp, now: Timestamp) {
        self.paused.retain(|_, end| *end > now);
        if self.paused.len() < LINKS_MAX {
            self.paused.insert(node, until);
        }
    }

    /// Everybody may be asked again.
    pub(crate) fn end_pauses(&mut self) {
        self.paused.clear();
    }

    /// A member sent something wrong or nothing: its claim is forgotten, and a new one waits until `until`.
    pub(crate) fn refuse(&mut self, node: NodeId, until: Timestamp, now: Timestamp) {
        self.ahead.remove(&node);
        self.pause(node, until, now);
    }

    /// A member is not connected any more.
    pub(crate) fn forget_member(&mut self, node: NodeId) {
        self.ahead.remove(&node);
        self.lagging.remove(&node);
    }

    /// Whether `from` shows this same head below ours for the second time: it seems stuck there, and is to be compared.
    pub(crate) fn is_stuck(&mut self, from: NodeId, commit_no: u64, commit_hash: Digest) -> bool {
        let lag = Lag { commit_no, commit_hash, compared: false };
        match self.lagging.get_mut(&from) {
            Some(known) if known.commit_no == commit_no && known.commit_hash == commit_hash => {
                !std::mem::replace(&mut known.compared, true)
            }
            Some(known) => {
                *known = lag;
                false
            }
            None => {
                self.lagging.insert(from, lag);
                false
            }
        }
    }

    /// Takes the part of a page that is new here and below `limit`; none of one that begins beyond what is here, because what stood
    /// between was refused meanwhile.
    pub(crate) fn take_page(&mut self, from: NodeId, from_commit: u64, mut groups: Vec<CommitGroup>, limit: u64) {
        let Some(known) = self.expected().checked_sub(from_commit) else { return };
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(groups.len());
        groups.truncate(usize::try_from(limit.saturating_sub(from_commit)).unwrap_or(usize::MAX));
        groups.drain(..known.min(groups.len()));
        if !groups.is_empty() {
            self.waiting.push_back(Arrival { from, groups, gossiped: false });
        }
    }

    /// Takes a gossiped group that continues exactly what is here.
    pub(crate) fn take_gossip(&mut self, from: NodeId, group: CommitGroup) {
        self.waiting.push_back(Arrival { from, groups: vec![group], gossiped: true });
    }

    pub(crate) fn gossip_waiting(&self) -> usize {
        self.waiting.iter().filter(|arrival| arrival.gossiped).count()
    }

    /// The next verification, unless one is out or enough verified groups wait for the disk.
    pub(crate) fn next_job(&mut self, now: Timestamp) -> Option<Job> {
        let full = self.proven.as_ref().is_some_and(|proven| proven.bytes >= PAGE_BYTES_MAX);
        if self.verifying.is_some() || full {
            return None;
        }
        let Arrival { from, groups, .. } = self.waiting.pop_front()?;
        self.verifying = Some(Verifying { from, commits: groups.len() as u64 });
        Some(Job::new(self.tip.clone(), groups, now))
    }

    /// Whether this is the verdict of the verification that is out, and not of a machine that ran before this one, or of what was
    /// dropped meanwhile.
    pub(crate) fn is_verdict_due(&self, verdict: &Verdict) -> bool {
        let begun = verdict.state.commits().checked_sub(verdict.groups.len() as u64);
        self.verifying.is_some() && begun == Some(self.tip.commits())
    }

    /// Takes a verdict; gives who sent what was verified, or `None` when no verification is out. After an error whatever
    /// waited behind it is dropped, because it continues what was refused.
    pub(crate) fn take_verdict(&mut self, verdict: Verdict) -> Option<NodeId> {
        if !self.is_verdict_due(&verdict) {
            return None;
        }
        let Verifying { from, .. } = self.verifying.take()?;
        if verdict.error.is_some() {
            self.waiting.clear();
        }
        if !verdict.groups.is_empty() {
            self.tip = verdict.state.clone();
            let bytes: usize = verdict.groups.iter().map(CommitGroup::size).sum();
            match &mut self.proven {
                Some(proven) => {
                    proven.state = verdict.state;
                    proven.groups.extend(verdict.groups);
                    proven.facts.extend(verdict.facts);
                    proven.anchors.extend(verdict.anchors);
                    proven.bytes += bytes;
                }
                None => {
                    let Verdict { state, groups, facts, anchors, .. } = verdict;
                    let first = groups.first().and_then(|group| group.signed.decode().ok());
                    let first = first.map_or(Hlc(0), |commit| commit.hlc_first);
                    self.proven = Some(Proven { state, groups, facts, anchors, first, bytes });
                }
            }
        }
        Some(from)
    }

    /// The next groups for the disk, unless some are on their way to it.
    pub(crate) fn next_store(&mut self) -> Option<Vec<CommitGroup>> {
        if self.storing.is_some() {
            return None;
        }
        let Proven { state, groups, facts, anchors, first, .. } = self.proven.take()?;
        self.storing = Some(Storing { state, facts, anchors, first });
        Some(groups)
    }

    /// Whether groups are on their way to the disk.
    pub(crate) const fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// What was on its way to the disk is on it.
    pub(crate) fn take_stored(&mut self) -> Option<Stored> {
        let Storing { state, facts, anchors, first } = self.storing.take()?;
        let hlc = state.last_hlc();
        self.durable = state;
        Some(Stored { facts, anchors, first, hlc })
    }

    /// Nothing more is accepted: all that is not on its way to the disk is dropped.
    pub(crate) fn stop(&mut self) {
        self.waiting.clear();
        self.verifying = None;
        self.proven = None;
        self.fetching = None;
        self.ahead.clear();
        self.paused.clear();
        self.lagging.clear();
        self.tip = self.storing.as_ref().map_or(&self.durable, |storing| &storing.state).clone();
    }

    /// Whether every stage but the disk is empty, so that what is durable is all there is to compare with.
    pub(crate) const fn is_settled(&self) -> bool {
        self.verifying.is_none() && self.proven.is_none() && self.storing.is_none()
    }

    /// Pages held in memory or asked for.
    pub(crate) fn pages(&self) -> usize {
        usize::from(self.fetching.is_some())
            + usize::from(!self.waiting.is_empty())
            + usize::from(self.verifying.is_some())
            + usize::from(self.proven.is_some())
            + usize::from(self.storing.is_some())
    }

    /// Whether nothing is on its way and nobody holds more.
    pub(crate) fn is_idle(&self) -> bool {
        self.pages() == 0 && !self.wants()
    }
}
