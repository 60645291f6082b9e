//! Whether this node may go on with its chain: members are asked how much of it they hold before anything is appended to it.
//!
//! A home that was restored from an old copy does not know what it said after that. It would say something else under the same
//! numbers, and whoever holds both could prove two histories. So a start asks, fetches what it lost, or begins a new chain. What
//! it said in ticks is asked for too: they name commits, and promise that what follows is stamped later.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weft_protocol::{
    ChainId, ChainState, CommitGroup, CommitRef, Digest, Head, Hlc, NodeId, SignedCommit, SignedTickClaim, Statement,
    SyncRequest, SyncResponse, Timestamp, verify_commit_by,
};

use crate::event::StartOver;

/// How long a start waits for members, in microseconds: a connection on a local network takes a tenth of it (guess).
pub(crate) const WAIT_US: u64 = 2_000_000;
/// How much longer an unsure one waits for a member that is connected and was asked, in microseconds: its answer is on its way.
const ANSWER_US: u64 = 3_000_000;
/// How long after a failed question a member is asked again, in microseconds (guess).
const RETRY_US: u64 = 200_000;
/// Most bytes of the own chain that are asked for at once: they are verified in the loop, in a few milliseconds.
const PAGE_BYTES: u64 = 256 * 1024;

/// What the world outside the home remembers of the chain, compared with what the home holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// The chain was chosen a moment ago: nobody holds any of it, and nobody needs to be asked.
    Fresh,
    /// The home holds everything that was said.
    Agrees,
    /// Nothing is remembered, or of another home, machine or chain; says which.
    Unknown(String),
    /// The home lacks something that was said; says what.
    Lost(String),
}

/// How far a chain had come when its writer was last heard, as it is remembered outside the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Which.
    pub chain: ChainId,
    /// Commits of it that may have left the process.
    pub commits: u64,
    /// Hash of the last of them; of none, zeros.
    pub last_commit: Digest,
    /// Stamps up to this one may have left the process: a home that was put back reserves fewer.
    #[serde(default, skip_serializing_if = "is_none_given")]
    pub clock: Hlc,
}

/// Whether no stamp was given; a file of an earlier version says nothing of that.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none_given(clock: &Hlc) -> bool {
    *clock == Hlc(0)
}

impl Said {
    /// Nothing of this chain.
    #[must_use]
    pub const fn nothing(chain: ChainId) -> Self {
        Self { chain, commits: 0, last_commit: Digest::from_bytes([0; 32]), clock: Hlc(0) }
    }
}

impl Memory {
    /// Compares what is remembered with what the home holds: `commits` of `chain`, whose commit of any number `commit` gives.
    /// `elsewhere` says why the home may be a copy, whatever it holds.
    #[must_use]
    pub fn compare(
        said: Option<&Said>,
        chain: ChainId,
        commits: u64,
        elsewhere: Option<&str>,
        commit: impl FnOnce(u64) -> Option<SignedCommit>,
    ) -> Self {
        let unknown = |why: &str| Self::Unknown(why.to_owned());
        let Some(said) = said else { return unknown("nothing on this machine remembers its chain") };
        if said.chain != chain {
            return unknown("what this machine remembers is another chain of this node");
        }
        let Some(last) = said.commits.checked_sub(1) else {
            return if commits == 0 { Self::Fresh } else { elsewhere.map_or(Self::Agrees, unknown) };
        };
        if commits < said.commits {
            return Self::Lost(format!(
                "the home holds {commits} commits of its chain, and {} were written",
                said.commits
            ));
        }
        if commit(last).is_none_or(|commit| commit.hash() != said.last_commit) {
            return Self::Lost(format!("the home holds another commit {last} of its chain than was written"));
        }
        elsewhere.map_or(Self::Agrees, unknown)
    }

    /// Whether the chain may go on when nobody answers.
    const fn is_sure(&self) -> bool {
        matches!(self, Self::Fresh | Self::Agrees)
    }
}

/// Something that must be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Act {
    /// Ask that member.
    Ask { to: NodeId, content: SyncRequest },
    /// Compare that member's commit with ours of the same number.
    Compare { commit_no: u64, other: Box<Statement> },
    /// Write these to our chain: they were on it.
    Store(Vec<CommitGroup>),
    /// Go on with the chain.
    Continue,
    /// End this peer.
    Over(StartOver),
}

/// How far a member is asked.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    /// For the last tick that it heard.
    Tick,
    /// For its head.
    Head,
    /// For the last commit that both hold.
    Commit,
    /// That commit, of this hash, is being compared.
    Comparing(Digest),
    /// It holds more than we do.
    Ahead,
    /// What we lack is being fetched from it.
    Fetching,
    /// It holds nothing that we do not.
    Level,
    /// It did not answer, and is asked again then.
    Failed(Timestamp),
    /// What it said does not verify: as if it were not there.
    Faulty,
}

/// See the file's description. It acts until it has decided once.
#[derive(Debug)]
pub(crate) struct Start {
    /// Our chain as far as it is here, in memory or on its way to the disk.
    chain: ChainState,
    memory: Memory,
    /// Whether one more chain may be begun.
    may_begin: bool,
    until: Option<Timestamp>,
    asked: BTreeMap<NodeId, Asked>,
    /// No stamp of this run is below this one.
    from: Hlc,
    /// Who told the last tick that it heard, or that it heard none.
    told: BTreeSet<NodeId>,
    /// Of all ticks that were told of: the last commit that one names, and the last stamp.
    ticked: Option<(CommitRef, Hlc)>,
    /// Commits that were fetched, and from whom the last came.
    fetched: Option<(u64, NodeId)>,
    storing: bool,
    decided: bool,
}

impl Start {
    /// A start with this chain, as the disk has it, with stamps from `from` on. `earlier` is the number of chains that the node wrote
    /// before it.
    pub(crate) const fn new(chain: ChainState, memory: Memory, earlier: usize, from: Hlc) -> Self {
        Self {
            chain,
            memory,
            may_begin: earlier + 1 < weft_protocol::limits::INCARNATIONS_MAX,
            until: None,
            asked: BTreeMap::new(),
            from,
            told: BTreeSet::new(),
            ticked: None,
            fetched: None,
            storing: false,
            decided: false,
        }
    }

    /// Whether it is not decided yet.
    pub(crate) const fn is_open(&self) -> bool {
        !self.decided
    }

    /// Whether the chain goes on at once, or when nobody answers.
    pub(crate) const fn is_sure(&self) -> bool {
        self.memory.is_sure()
    }

    /// When time alone may decide something.
    pub(crate) fn next_wakeup(&self, now: Timestamp) -> Option<Timestamp> {
        if self.decided {
            return None;
        }
        let until = self.until?;
        let retries = self.asked.values().filter_map(|asked| match asked {
            Asked::Failed(at) => Some(*at),
            _ => None,
        });
        retries.chain([until, until.after_us(ANSWER_US)]).filter(|at| *at > now).min()
    }

    /// A member is connected.
    pub(crate) fn connected(&mut self, node: NodeId, acts: &mut Vec<Act>) {
        if !self.decided && !matches!(self.asked.get(&node), Some(Asked::Level | Asked::Faulty)) {
            self.ask(node, acts);
        }
    }

    /// It no longer is. What it answered stays true.
    pub(crate) fn disconnected(&mut self, node: NodeId) {
        self.asked.retain(|other, asked| *other != node || matches!(asked, Asked::Level | Asked::Faulty));
    }

    /// Asks a member for the last tick that it heard, and then for its head.
    fn ask(&mut self, node: NodeId, acts: &mut Vec<Act>) {
        if self.told.contains(&node) {
            return self.ask_head(node, acts);
        }
        self.asked.insert(node, Asked::Tick);
        acts.push(Act::Ask { to: node, content: SyncRequest::LastTick { chain: self.chain.chain() } });
    }

    fn ask_head(&mut self, node: NodeId, acts: &mut Vec<Act>) {
        self.asked.insert(node, Asked::Head);
        acts.push(Act::Ask { to: node, content: SyncRequest::Head { chain: self.chain.chain() } });
    }

    /// A member answered what it was asked; `None` when it did not.
    pub(crate) fn answered(
        &mut self,
        node: NodeId,
        content: Option<SyncResponse>,
        now: Timestamp,
        acts: &mut Vec<Act>,
    ) {
        let Some(asked) = self.asked.get(&node).cloned().filter(|_| !self.decided) else { return };
        let next = match (asked, content) {
            (Asked::Tick, Some(SyncResponse::LastTick(tick))) => {
                if self.tick_told(node, tick.as_deref()) {
                    return self.ask_head(node, acts);
                }
                Asked::Faulty
            }
            (Asked::Head, Some(SyncResponse::Heads(heads))) if heads.len() <= 1 => {
                self.head_told(node, heads.first(), acts)
            }
            (Asked::Commit, Some(SyncResponse::Page { groups, .. })) => self.commit_told(groups, acts),
            (Asked::Fetching, Some(SyncResponse::Page { groups, .. })) => self.page_told(node, groups, acts),
            (_, None | Some(SyncResponse::Refused(_))) => Asked::Failed(now.after_us(RETRY_US)),
            (_, Some(_)) => Asked::Faulty,
        };
        self.asked.insert(node, next);
    }

    /// Whether what it says to have heard is nothing, or a tick of this chain.
    fn tick_told(&mut self, node: NodeId, tick: Option<&SignedTickClaim>) -> bool {
        if let Some(tick) = tick {
            let claim = self.chain.all_keys().find_map(|keys| tick.verify(keys).ok());
            let ours = claim.filter(|it| (it.last.chain, it.cluster) == (self.chain.chain(), self.chain.cluster()));
            let Some(claim) = ours else { return false };
            let (last, hlc) = self.ticked.get_or_insert((claim.last, claim.hlc));
            if claim.last.commit_no > last.commit_no {
                *last = claim.last;
            }
            *hlc = claim.hlc.max(*hlc);
        }
        self.told.insert(node);
        true
    }

    /// Why the chain must not go on from here, by what members heard of it.
    fn forbidden(&self) -> Option<StartOver> {
        let (last, clock) = self.ticked?;
        let named = |disown| {
            let reason =
                format!("members heard of commit {} of its chain, which this home does not hold", last.commit_no);
            Some(StartOver::Reincarnate { reason, disown })
        };
        if last.commit_no >= self.chain.commits() {
            return named(false);
        }
        if last.commit_no + 1 == self.chain.commits() && last.commit_hash != self.chain.last_commit() {
            return named(true);
        }
        (clock >= self.from).then_some(StartOver::Behind { clock })
    }

    fn head_told(&mut self, node: NodeId, head: Option<&Head>, acts: &mut Vec<Act>) -> Asked {
        let Some(head) = head else { return Asked::Level };
        if head.chain != self.chain.chain() || head.commit_no == u64::MAX {
            return Asked::Faulty;
        }
        if head.commit_no >= self.chain.commits() {
            return Asked::Ahead;
        }
        if head.commit_no + 1 == self.chain.commits() && head.commit_hash == self.chain.last_commit() {
            return Asked::Level;
        }
        // It lags behind, or says that it holds another commit: the commit itself tells.
        acts.push(Act::Ask { to: node, content: self.range(head.commit_no, 1) });
        Asked::Commit
    }

    const fn range(&self, from_commit: u64, bytes_max: u64) -> SyncRequest {
        SyncRequest::Range { chain: self.chain.chain(), from_commit, bytes_max }
    }

    fn commit_told(&self, groups: Vec<CommitGroup>, acts: &mut Vec<Act>) -> Asked {
        let Some(group) = groups.into_iter().next() else { return Asked::Level };
        match verify_commit_by(&group.signed, self.chain.all_keys()) {
            Ok(commit) if commit.chain == self.chain.chain() && commit.commit_no < self.chain.commits() => {
                let hash = group.signed.hash();
                acts.push(Act::Compare { commit_no: commit.commit_no, other: Box::new(group.signed.into()) });
                Asked::Comparing(hash)
            }
            _ => Asked::Faulty,
        }
    }

    /// Our commit under the number of one that members hold was read.
    pub(crate) fn compared(&mut self, held: Option<&SignedCommit>, other: &Statement, acts: &mut Vec<Act>) {
        if self.decided {
            return;
        }
        let hash = other.hash();
        let comparing = self.asked.iter().filter(|(_, asked)| **asked == Asked::Comparing(hash));
        let comparing: Vec<NodeId> = comparing.map(|(node, _)| *node).collect();
        match held {
            Some(held) if held.hash() == hash => {
                self.asked.extend(comparing.into_iter().map(|node| (node, Asked::Level)));
            }
            Some(_) => self.contradicted(acts),
            // What was fetched from another member is still on its way to the disk: there is nothing to compare with yet.
            None => comparing.into_iter().for_each(|node| self.ask_head(node, acts)),
        }
    }

    /// A member holds another history of our chain than this disk.
    fn contradicted(&mut self, acts: &mut Vec<Act>) {
        let reason = "members hold another continuation of its chain than this home".to_owned();
        self.decide(Act::Over(StartOver::Reincarnate { reason, disown: true }), acts);
    }

    fn decide(&mut self, act: Act, acts: &mut Vec<Act>) {
        self.decided = true;
        acts.push(act);
    }

    fn page_told(&mut self, node: NodeId, groups: Vec<CommitGroup>, acts: &mut Vec<Act>) -> Asked {
        let mut good = Vec::new();
        let mut faulty = false;
        for group in groups {
            if self.chain.extend(&group).is_ok() {
                good.push(group);
                continue;
            }
            // Signed by our own keys, and not what stands here: a second history.
            let signed = verify_commit_by(&group.signed, self.chain.all_keys());
            if signed.is_ok_and(|commit| {
                commit.chain == self.chain.chain()
                    && commit.commit_no == self.chain.commits()
                    && commit.prev_commit != self.chain.last_commit()
            }) {
                self.contradicted(acts);
            }
            faulty = true;
            break;
        }
        let last = good.is_empty();
        if !last && !self.decided {
            let (before, _) = self.fetched.unwrap_or((0, node));
            self.fetched = Some((before + good.len() as u64, node));
            self.storing = true;
            acts.push(Act::Store(good));
        }
        match (faulty, last) {
            (true, _) => Asked::Faulty,
            (false, true) => Asked::Level,
            // The next page is asked for when this one is on disk.
            (false, false) => Asked::Fetching,
        }
    }

    /// What was fetched is on disk.
    pub(crate) fn stored(&mut self, acts: &mut Vec<Act>) {
        self.storing = false;
        let source = self.asked.iter().find(|(_, asked)| **asked == Asked::Fetching).map(|(node, _)| *node);
        if let Some(to) = source.filter(|_| !self.decided) {
            acts.push(Act::Ask { to, content: self.range(self.chain.commits(), PAGE_BYTES) });
        }
    }

    /// Looks whether something can be decided; `members` are all others that are active, as far as is known.
    pub(crate) fn look(&mut self, members: &BTreeSet<NodeId>, now: Timestamp, acts: &mut Vec<Act>) {
        if self.decided {
            return;
        }
        let until = *self.until.get_or_insert(now.after_us(WAIT_US));
        self.ask_again(now, acts);
        if self.storing || self.is_fetching(acts) {
            return;
        }
        if let Some((commits, from)) = self.fetched {
            return self.decide(Act::Over(StartOver::Fetched { commits, from }), acts);
        }
        let level = |node: &NodeId| self.asked.get(node) == Some(&Asked::Level);
        let waits = self.asked.values().any(|asked| !matches!(asked, Asked::Level | Asked::Faulty));
        let all = members.iter().all(level) && !waits;
        let due = now >= until;
        let decision = match &self.memory {
            Memory::Fresh => Some(Act::Continue),
            Memory::Agrees => (all || due).then_some(Act::Continue),
            // Members that joined after the copy was made are not known to it: they get their time to find this node.
            Memory::Unknown(_) | Memory::Lost(_) if !due => None,
            Memory::Unknown(_) if all => Some(Act::Continue),
            Memory::Lost(_) if all && self.asked.values().any(|asked| *asked == Asked::Level) => Some(Act::Continue),
            Memory::Unknown(_) | Memory::Lost(_) if waits && now < until.after_us(ANSWER_US) => None,
            Memory::Unknown(why) | Memory::Lost(why) if self.may_begin => {
                let silent = members.iter().filter(|node| !level(node)).count();
                let reason = format!("{why}; {silent} of {} other members did not answer", members.len());
                Some(Act::Over(StartOver::Reincarnate { reason, disown: false }))
            }
            // As many chains as anybody keeps of one node: it waits until all members have answered.
            Memory::Unknown(_) | Memory::Lost(_) => None,
        };
        match decision.map(|act| (act == Act::Continue).then(|| self.forbidden()).flatten().map_or(act, Act::Over)) {
            // As many chains as anybody keeps of one node.
            Some(Act::Over(StartOver::Reincarnate { .. })) if !self.may_begin => {}
            Some(act) => self.decide(act, acts),
            None => {}
        }
    }

    fn ask_again(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        let due = |asked: &Asked| matches!(asked, Asked::Failed(at) if *at <= now);
        let again: Vec<NodeId> = self.asked.iter().filter(|(_, asked)| due(asked)).map(|(node, _)| *node).collect();
        again.into_iter().for_each(|node| self.ask(node, acts));
    }

    /// Whether something is being fetched, after beginning to when somebody holds more and nobody is asked for it.
    fn is_fetching(&mut self, acts: &mut Vec<Act>) -> bool {
        if self.asked.values().any(|asked| *asked == Asked::Fetching) {
            return true;
        }
        let ahead = self.asked.iter_mut().find(|(_, asked)| **asked == Asked::Ahead);
        let Some((node, asked)) = ahead.filter(|_| self.fetched.is_none()) else { return false };
        *asked = Asked::Fetching;
        let to = *node;
        acts.push(Act::Ask { to, content: self.range(self.chain.commits(), PAGE_BYTES) });
        true
    }
}

#[cfg(test)]
mod tests;
