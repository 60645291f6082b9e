//! From a suspicion to evidence: compares a member's commits with ours, and bisects to the first where two histories part.

use weft_protocol::limits::EVIDENCE_BYTES_MAX;
use weft_protocol::{
    ChainId, Digest, Evidence, NodeId, PublicKeys, SignedCommit, Statement, SyncRequest, SyncResponse, encode,
};

use crate::config::{COMPARISONS_MAX, INQUIRIES_MAX};
use crate::event::Output;
use crate::fetch::Fetch;
use crate::fork::{ForkVerdict, check_evidence_by};
use crate::replication::Replication;

/// A commit that is being compared with one of ours: who gave it to us.
#[derive(Debug)]
pub(crate) struct Suspicion {
    from: NodeId,
}

/// A search with one member's help for the first commit in which its history differs from ours.
#[derive(Debug)]
pub(crate) struct Inquiry {
    with: NodeId,
    /// All commits below are the same.
    low: u64,
    /// Where they are known to differ; `None` while the member has only claimed so.
    high: Option<u64>,
    /// The commit that was asked for.
    asked: u64,
    /// The member's commit under that number, while ours is read.
    reading: Option<Digest>,
}

/// What became of comparing a member's commit with ours.
enum Compared {
    /// They are the same.
    Same,
    /// They differ, and both are signed.
    Proven(Box<Evidence>),
    /// They differ, and nothing is proven by that.
    Different,
    /// Ours is gone.
    Unknown,
}

impl Replication {
    /// A validly looking commit or tick may contradict the commit we hold under `commit_no`: has that read.
    pub(crate) fn suspect(
        &mut self,
        chain: ChainId,
        commit_no: u64,
        from: NodeId,
        other: Statement,
        outputs: &mut Vec<Output>,
    ) {
        if self.suspicions.len() >= COMPARISONS_MAX || self.inquiries.contains_key(&chain) {
            return;
        }
        self.suspicions.insert((chain, other.hash()), Suspicion { from });
        outputs.push(Output::ReadCommit { chain, commit_no, other: Box::new(other) });
    }

    /// A member claims another commit under a number that we hold: asks for it.
    pub(crate) fn inquire(&mut self, chain: ChainId, with: NodeId, commit_no: u64, outputs: &mut Vec<Output>) {
        if self.may_inquire(&chain) {
            self.inquiries.insert(chain, Inquiry { with, low: 0, high: None, asked: commit_no, reading: None });
            self.probe(chain, outputs);
        }
    }

    fn may_inquire(&self, chain: &ChainId) -> bool {
        let parted = self.forks.get(chain).is_some_and(|proof| proof.limit().is_some());
        let searchable = *chain != self.own.chain && self.members.contains_key(&chain.node) && !parted;
        searchable && !self.inquiries.contains_key(chain) && self.inquiries.len() < INQUIRIES_MAX
    }

    /// Asks for the one commit that the inquiry needs next.
    fn probe(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        let Some(inquiry) = self.inquiries.get_mut(&chain) else { return };
        inquiry.reading = None;
        let (to, commit_no) = (inquiry.with, inquiry.asked);
        if !self.links.contains_key(&to) {
            return self.close_inquiry(chain, outputs);
        }
        let fetch = self.new_fetch();
        self.fetches.insert(fetch, (to, Fetch::Probe { chain, commit_no }));
        let content = SyncRequest::Range { chain, from_commit: commit_no, bytes_max: 1 };
        outputs.push(Output::Request { fetch, to, content });
    }

    /// What a member said to a probe; `None` when it did not respond.
    pub(crate) fn on_probe_answered(
        &mut self,
        from: NodeId,
        chain: ChainId,
        commit_no: u64,
        content: Option<SyncResponse>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(inquiry) = self.inquiries.get_mut(&chain) else { return };
        if inquiry.with != from || inquiry.asked != commit_no || inquiry.reading.is_some() {
            return;
        }
        let other = match content {
            Some(SyncResponse::Page { chain: of, groups }) if of == chain => {
                groups.into_iter().next().map(|group| group.signed)
            }
            _ => None,
        };
        let fits = |other: &SignedCommit| {
            other.decode().is_ok_and(|commit| (commit.chain, commit.commit_no) == (chain, commit_no))
        };
        let Some(other) = other.filter(fits) else { return self.close_inquiry(chain, outputs) };
        inquiry.reading = Some(other.hash());
        outputs.push(Output::ReadCommit { chain, commit_no, other: Box::new(other.into()) });
    }

    /// Our commit was read: it is the same, or the two are weighed as evidence.
    pub(crate) fn on_commit_read(
        &mut self,
        chain: ChainId,
        held: Option<Box<SignedCommit>>,
        other: Statement,
        outputs: &mut Vec<Output>,
    ) {
        let other_hash = other.hash();
        let same = held.as_ref().is_some_and(|held| held.hash() == other_hash);
        let held_no = held.as_ref().and_then(|held| Some(held.decode().ok()?.commit_no));
        let tick = if let Statement::Tick(signed) = &other { Some(signed.clone()) } else { None };
        let differs_at = if tick.is_some() { None } else { other.decode().ok().map(|body| body.commit_no()) };
        let differs = held.is_some() && !same;
        let proof = held.filter(|_| differs).map(|held| self.with_rotations(&chain, (*held).into(), other));
        let proof = proof.filter(|evidence| self.verdict_of(&chain, evidence).is_some());
        if self.inquiries.get(&chain).is_some_and(|inquiry| inquiry.reading == Some(other_hash)) {
            let found = match proof {
                _ if same => Compared::Same,
                Some(evidence) => Compared::Proven(Box::new(evidence)),
                None if differs => Compared::Different,
                None => Compared::Unknown,
            };
            self.step_inquiry(chain, found, outputs);
        } else if let Some(Suspicion { from }) = self.suspicions.remove(&(chain, other_hash)) {
            match (proof, tick, held_no) {
                (Some(evidence), ..) => self.convict(chain, evidence, from, differs_at, outputs),
                (None, Some(tick), Some(held_no)) => self.keeps_tick(&chain, &tick, held_no),
                (None, ..) => {}
            }
        }
    }

    fn verdict_of(&self, chain: &ChainId, evidence: &Evidence) -> Option<ForkVerdict> {
        check_evidence_by(evidence, &self.keys_of(chain)).ok()
    }

    /// The two statements, with what made the keys that signed them the writer's, as far as there is room.
    pub(crate) fn with_rotations(&self, chain: &ChainId, first: Statement, second: Statement) -> Evidence {
        let mut evidence = Evidence { first, second, rotations: Vec::new() };
        let Some(known) = self.members.get(&chain.node) else { return evidence };
        for statement in [evidence.first.clone(), evidence.second.clone()] {
            let keys = known.all().iter().find(|keys| statement.verify(keys).is_ok());
            let Some(rotation) = keys.and_then(|keys| known.rotation_to(keys)) else { continue };
            if !evidence.rotations.contains(rotation) {
                evidence.rotations.push(rotation.clone());
            }
        }
        // Whoever lacks one that found no room asks again when it holds the chain up to there.
        while !evidence.rotations.is_empty() && encode(&evidence).len() > EVIDENCE_BYTES_MAX {
            evidence.rotations.pop();
        }
        evidence
    }

    /// The guilt is proven and not where the histories part: looked for with a member that may hold the other one.
    pub(crate) fn search_parting(&mut self, chain: ChainId, with: NodeId, outputs: &mut Vec<Output>) {
        let last = self.copies.get(&chain).and_then(|copy| copy.durable().commits().checked_sub(1));
        if let Some(last) = last {
            self.inquire(chain, with, last, outputs);
        }
    }

    /// All keys with which its writer may have signed a commit of this chain, on whatever history.
    fn keys_of(&self, chain: &ChainId) -> Vec<PublicKeys> {
        let here = self.copies.get(chain).into_iter().flat_map(|copy| copy.durable().all_keys());
        let mut keys = self.member_keys(&chain.node).to_vec();
        for one in here {
            if !keys.contains(one) {
                keys.push(one.clone());
            }
        }
        keys
    }

    /// Two histories are proven. The chain stops here at once; where they part is searched before it is reported, and
    /// reported anyway when that member does not help. At `differs_at` its history is known to be another one; of who passed a
    /// tick on it is not.
    pub(crate) fn convict(
        &mut self,
        chain: ChainId,
        evidence: Evidence,
        with: NodeId,
        differs_at: Option<u64>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(verdict) = self.verdict_of(&chain, &evidence).filter(|verdict| self.forks.is_news(verdict)) else {
            return;
        };
        let searched = self.may_inquire(&chain);
        self.freeze(verdict, evidence);
        match differs_at {
            Some(_) if searched => {
                let inquiry = Inquiry { with, low: 0, high: differs_at, asked: 0, reading: None };
                self.inquiries.insert(chain, inquiry);
                self.bisect(chain, outputs);
            }
            None if self.may_inquire(&chain) => self.inquire(chain, with, verdict.commit_no, outputs),
            Some(_) | None => self.report(chain, outputs),
        }
    }

    fn step_inquiry(&mut self, chain: ChainId, found: Compared, outputs: &mut Vec<Output>) {
        let Some(inquiry) = self.inquiries.get_mut(&chain) else { return };
        match found {
            Compared::Same if inquiry.high.is_some() => inquiry.low = inquiry.asked + 1,
            Compared::Proven(evidence) => {
                inquiry.high = Some(inquiry.asked);
                if let Some(verdict) = self.verdict_of(&chain, &evidence) {
                    self.freeze(verdict, *evidence);
                }
            }
            // Signed by keys that are unknown here, or by nobody: where both histories part, both are signed by those they share.
            Compared::Different => inquiry.high = Some(inquiry.asked),
            Compared::Same | Compared::Unknown => return self.close_inquiry(chain, outputs),
        }
        self.bisect(chain, outputs);
    }

    fn bisect(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        let Some(inquiry) = self.inquiries.get_mut(&chain) else { return };
        match inquiry.high {
            Some(high) if inquiry.low < high => {
                inquiry.asked = inquiry.low + (high - inquiry.low) / 2;
                self.probe(chain, outputs);
            }
            Some(_) | None => self.close_inquiry(chain, outputs),
        }
    }

    /// The search is over: what is proven by now is reported.
    fn close_inquiry(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        if self.inquiries.remove(&chain).is_some() {
            self.report(chain, outputs);
        }
    }
}
