//! Proof of a fork on its way: taken, kept, passed on, asked for; and the cut that follows from it.

use weft_protocol::{
    ChainId, ChainState, Digest, Evidence, Fact, HeadGossip, NodeId, PlacedFact, Statement, SyncRequest, SyncResponse,
};

use crate::copy::ChainCopy;
use crate::event::{Output, RequestId};
use crate::fetch::Fetch;
use crate::fork::{ForkKind, ForkVerdict, check_evidence_by, claimed_verdict};
use crate::forks::Floor;
use crate::replication::{Replication, parting};
use crate::witnesses::{Vouched, floor_of};

impl Replication {
    /// Evidence from another member: what it claims is looked at first, so that what is known costs no signature check.
    pub(crate) fn on_evidence(&mut self, from: NodeId, evidence: Evidence, outputs: &mut Vec<Output>) {
        let Ok(claimed) = claimed_verdict(&evidence) else {
            self.refused += 1;
            return;
        };
        if !self.forks.is_news(&claimed) {
            return;
        }
        let keys = self.members.get(&claimed.chain.node);
        let statements = [evidence.first.clone(), evidence.second.clone()];
        let proven = keys.map(|keys| check_evidence_by(&evidence, keys.all()));
        match proven {
            Some(Ok(verdict)) if self.belongs_here(&evidence) => self.prove(verdict, evidence, outputs),
            // Of a writer whose keys are unknown nothing can be proven yet; the chain of whoever saw it tells of it again.
            None => {}
            Some(_) => {
                self.refused += 1;
                return;
            }
        }
        if claimed.shared_commits().is_none() && !self.find_broken_tick(claimed, &statements, from, outputs) {
            self.search_parting(claimed.chain, from, outputs);
        }
    }

    /// Whoever is shown a tick and a commit far behind it may hold the one that follows the tick's: has that read, to compare it.
    fn find_broken_tick(
        &mut self,
        claimed: ForkVerdict,
        statements: &[Statement],
        from: NodeId,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let held = self.copies.get(&claimed.chain).map_or(0, |copy| copy.durable().commits());
        let tick = statements.iter().find(|statement| matches!(statement, Statement::Tick(_)));
        let (ForkKind::BelowTick, Some(tick)) = (claimed.kind, tick.filter(|_| claimed.commit_no < held)) else {
            return false;
        };
        self.suspect(claimed.chain, claimed.commit_no, from, tick.clone(), outputs);
        true
    }

    fn belongs_here(&self, evidence: &Evidence) -> bool {
        evidence.first.decode().is_ok_and(|body| body.cluster() == self.cluster)
    }

    /// Two histories are proven, better than before: the chain stops, everybody hears of it, and what does not count is cut.
    pub(crate) fn prove(&mut self, verdict: ForkVerdict, evidence: Evidence, outputs: &mut Vec<Output>) {
        self.freeze(verdict, evidence);
        self.report(verdict.chain, outputs);
    }

    /// Nothing more is accepted of this chain for now. The pair nearest to where the histories part is kept.
    pub(crate) fn freeze(&mut self, verdict: ForkVerdict, evidence: Evidence) {
        if let Some((chain, hlc)) = parting(&evidence) {
            self.standing.forked(chain, hlc);
        }
        if self.forks.prove(verdict, evidence)
            && let Some(copy) = self.copies.get_mut(&verdict.chain)
        {
            ChainCopy::stop(copy);
        }
    }

    /// Says what is proven: to the world, which keeps and records it, and to other members.
    pub(crate) fn report(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        let Some(proof) = self.forks.get_mut(&chain) else { return };
        if !std::mem::replace(&mut proof.reported, true) {
            let evidence = Box::new(proof.evidence.clone());
            outputs.push(Output::ReportFork(evidence.clone()));
            outputs.push(Output::Gossip(Box::new(HeadGossip::Fork(evidence))));
        }
        self.settle(chain, outputs);
    }

    /// Cuts what is held beyond where the histories part and beyond what more than half vouch for; waits for what is on its way to
    /// the disk.
    pub(crate) fn settle(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        let needed = self.members.len() / 2 + 1;
        let Some(proof) = self.forks.get_mut(&chain).filter(|proof| !proof.cutting) else { return };
        let (Some(shared), Some(copy)) = (proof.verdict.shared_commits(), self.copies.get(&chain)) else { return };
        if copy.is_storing() || proof.floor == Floor::Weighing {
            return;
        }
        let held = copy.durable().commits();
        let vouched = self.witnesses.beyond(&chain, shared);
        let reached = floor_of(&vouched, needed);
        let is_unproven = matches!(proof.floor, Floor::Other(commit_no) if held > commit_no);
        if reached > proof.weighed || is_unproven {
            proof.weighed = reached;
            if held > shared {
                proof.floor = Floor::Weighing;
                let commit_nos = vouched.iter().map(|vouched| vouched.commit_no).collect();
                outputs.push(Output::ReadHashes { chain, commit_nos });
            } else {
                // Nothing is held behind the parting: whatever they vouch for is what is to be had.
                proof.floor = reached.map_or(Floor::None, Floor::Other);
                self.active.insert(chain);
            }
        } else if let Some(limit) = proof.limit()
            && held > limit
        {
            proof.cutting = true;
            self.tree.forget(&chain);
            outputs.push(Output::Cut { chain, from_commit: limit });
        }
    }

    /// Which history members vouch for: these are the hashes of our commits under the numbers that they name.
    pub(crate) fn on_hashes_read(&mut self, chain: ChainId, hashes: &[(u64, Digest)], outputs: &mut Vec<Output>) {
        let needed = self.members.len() / 2 + 1;
        let Some(proof) = self.forks.get_mut(&chain).filter(|proof| proof.floor == Floor::Weighing) else { return };
        let shared = proof.verdict.shared_commits().unwrap_or_default();
        let ours = |vouched: &Vouched| hashes.contains(&(vouched.commit_no, vouched.commit_hash));
        let (held, other): (Vec<_>, Vec<_>) = self.witnesses.beyond(&chain, shared).into_iter().partition(ours);
        proof.floor = match (floor_of(&held, needed), floor_of(&other, needed)) {
            (Some(commit_no), _) => Floor::Held(commit_no),
            (None, Some(commit_no)) => Floor::Other(commit_no),
            (None, None) => Floor::None,
        };
        match proof.floor {
            // Too few vouch for either, or for the other one: ours goes from the parting on.
            Floor::None | Floor::Other(_) => {
                proof.cutting = true;
                self.tree.forget(&chain);
                outputs.push(Output::Cut { chain, from_commit: shared });
            }
            Floor::Held(_) | Floor::Weighing => self.settle(chain, outputs),
        }
    }

    /// What did not count is out of the store; `state` and `facts` are what is left of the chain, none when nothing is.
    pub(crate) fn on_cut(
        &mut self,
        chain: ChainId,
        state: Option<ChainState>,
        facts: &[PlacedFact],
        outputs: &mut Vec<Output>,
    ) {
        self.tree.learn(chain, facts);
        if let Some(proof) = self.forks.get_mut(&chain) {
            proof.cutting = false;
        }
        self.standing.cut(chain, state.as_ref().map_or(0, ChainState::commits));
        if let Some(state) = state.or_else(|| self.empty_chain(chain)) {
            self.copies.insert(chain, ChainCopy::new(state));
            self.active.insert(chain);
        }
        self.settle(chain, outputs);
    }

    /// What was proven before the start is settled once more: the run before may have ended in the middle of it.
    pub(crate) fn settle_all(&mut self, outputs: &mut Vec<Output>) {
        for chain in self.forks.chains() {
            self.settle(chain, outputs);
        }
    }

    /// Facts of another chain may tell of forks: the evidence itself is asked for.
    pub(crate) fn hear_of_forks(&mut self, by: NodeId, facts: &[PlacedFact], outputs: &mut Vec<Output>) {
        for placed in facts {
            if let Fact::ForkSeen(seen) = &placed.fact
                && self.forks.tell(seen.chain, seen.commit_no, by)
            {
                self.ask_evidence(seen.chain, by, outputs);
            }
        }
    }

    /// Asks for everything that is wanted and may be had from this member.
    pub(crate) fn ask_wanted(&mut self, of: NodeId, outputs: &mut Vec<Output>) {
        for (chain, _) in self.forks.wanted() {
            self.ask_evidence(chain, of, outputs);
        }
    }

    fn ask_evidence(&mut self, chain: ChainId, to: NodeId, outputs: &mut Vec<Output>) {
        if !self.links.contains_key(&to) {
            return;
        }
        let fetch = self.new_fetch();
        self.fetches.insert(fetch, (to, Fetch::Evidence { chain }));
        outputs.push(Output::Request { fetch, to, content: SyncRequest::Evidence { chain } });
    }

    /// What a member said when it was asked for evidence; `None` when it did not respond.
    pub(crate) fn on_evidence_answered(
        &mut self,
        from: NodeId,
        chain: ChainId,
        content: Option<SyncResponse>,
        outputs: &mut Vec<Output>,
    ) {
        match content {
            Some(SyncResponse::Evidence(Some(evidence))) => {
                self.on_evidence(from, *evidence, outputs);
                // Whoever has seen it has answered: what it has is no better than what is known by now.
                self.forks.forget_told(&chain);
            }
            Some(SyncResponse::Evidence(None) | SyncResponse::Refused(_)) | None => {}
            Some(_) => self.refused += 1,
        }
    }

    /// A member asks for evidence.
    pub(crate) fn on_evidence_wanted(&self, request: RequestId, chain: &ChainId, outputs: &mut Vec<Output>) {
        let evidence = self.forks.get(chain).map(|proof| Box::new(proof.evidence.clone()));
        outputs.push(Output::Respond { request, content: Box::new(SyncResponse::Evidence(evidence)) });
    }
}
