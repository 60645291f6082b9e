//! Answering other members: what we hold in one hash, our heads or hashes of stretches, and ranges of any chain that is on our disk.

use weft_protocol::limits::PAGE_BYTES_MAX;
use weft_protocol::{ChainId, CommitGroup, Digest, Head, NodeId, SyncRequest, SyncResponse, Timestamp, vector_root};

use crate::config::{SERVING_MAX, SERVING_PER_MEMBER_MAX};
use crate::event::{Output, RequestId};
use crate::replication::Replication;
use crate::stretch::{Stretched, told};

impl Replication {
    /// A member asks.
    pub(crate) fn on_request(
        &mut self,
        request: RequestId,
        from: NodeId,
        content: SyncRequest,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        if self.quarantined.contains(&from) {
            return refuse(request, "this node is quarantined; nothing is served to it", outputs);
        }
        match content {
            SyncRequest::Hello { vector_root } => self.on_hello(request, from, vector_root, now, outputs),
            SyncRequest::Range { chain, from_commit, bytes_max } => {
                self.on_range(request, from, chain, from_commit, bytes_max, outputs);
            }
            SyncRequest::Stretch { from: begin, until, vector_root } => {
                let content = self.compare_stretch(begin, until, vector_root);
                outputs.push(Output::Respond { request, content: Box::new(content) });
            }
            SyncRequest::Evidence { chain } => self.on_evidence_wanted(request, &chain, outputs),
            SyncRequest::Head { chain } => {
                let content = SyncResponse::Heads(self.head_of(&chain).into_iter().collect());
                outputs.push(Output::Respond { request, content: Box::new(content) });
            }
            SyncRequest::LastTick { chain } => {
                let content = SyncResponse::LastTick(self.ticks.last_of(&chain).cloned().map(Box::new));
                outputs.push(Output::Respond { request, content: Box::new(content) });
            }
            SyncRequest::Witness { places } => self.on_witness_wanted(request, from, &places, now, outputs),
            SyncRequest::Adverts { .. }
            | SyncRequest::Lease { .. }
            | SyncRequest::Trace { .. }
            | SyncRequest::Streams { .. }
            | SyncRequest::Publications { .. } => {
                refuse(request, "only comparisons and ranges are answered here", outputs);
            }
        }
    }

    /// A comparison. When it shows a difference we also compare from our side, because the member may hold what we lack.
    fn on_hello(
        &mut self,
        request: RequestId,
        from: NodeId,
        theirs: Digest,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let heads = self.heads();
        let same = vector_root(&heads) == theirs;
        if let Some(link) = self.links.get_mut(&from) {
            link.agreed = same.then_some(theirs);
        }
        let content = if same { SyncResponse::Same } else { told(&heads, Stretched::everything().from) };
        outputs.push(Output::Respond { request, content: Box::new(content) });
        if !same {
            self.say_hello(from, now, outputs);
        }
    }

    fn on_range(
        &mut self,
        request: RequestId,
        from: NodeId,
        chain: ChainId,
        from_commit: u64,
        bytes_max: u64,
        outputs: &mut Vec<Output>,
    ) {
        if from_commit >= self.commits_held(&chain) {
            let content = Box::new(SyncResponse::Page { chain, groups: Vec::new() });
            outputs.push(Output::Respond { request, content });
            return;
        }
        if from_commit >= self.intact(&chain) {
            return refuse(
                request,
                "this part of the chain is damaged here; nothing changed, ask another member",
                outputs,
            );
        }
        let bytes_max = bytes_max.min(PAGE_BYTES_MAX as u64);
        let is_own = chain == self.own.chain;
        if let Some(groups) = is_own.then(|| self.announcing.range(from_commit, bytes_max)).flatten() {
            outputs.push(Output::Respond { request, content: Box::new(SyncResponse::Page { chain, groups }) });
            return;
        }
        let of_member = self.serving.values().filter(|member| **member == from).count();
        if self.serving.len() >= SERVING_MAX || of_member >= SERVING_PER_MEMBER_MAX {
            return refuse(request, "busy: too many ranges are being read; nothing changed, ask again later", outputs);
        }
        self.serving.insert(request, from);
        outputs.push(Output::ReadRange { request, chain, from_commit, bytes_max });
    }

    /// The groups of a range were read.
    pub(crate) fn on_range_read(
        &mut self,
        request: RequestId,
        chain: ChainId,
        groups: Vec<CommitGroup>,
        outputs: &mut Vec<Output>,
    ) {
        if self.serving.remove(&request).is_some() {
            let intact = self.intact(&chain);
            let is_intact = |group: &CommitGroup| group.signed.decode().is_ok_and(|commit| commit.commit_no < intact);
            let groups = if intact < u64::MAX { groups.into_iter().take_while(is_intact).collect() } else { groups };
            outputs.push(Output::Respond { request, content: Box::new(SyncResponse::Page { chain, groups }) });
        }
    }

    /// The first commit of this chain that is not what was written.
    fn intact(&self, chain: &ChainId) -> u64 {
        self.damaged.get(chain).copied().unwrap_or(u64::MAX)
    }

    /// How many commits of this chain are on our disk.
    fn commits_held(&self, chain: &ChainId) -> u64 {
        self.head_of(chain).map_or(0, |head| head.commit_no + 1)
    }

    fn head_of(&self, chain: &ChainId) -> Option<Head> {
        if *chain == self.own.chain {
            return self.own.shown_head().cloned();
        }
        let copy = self.copies.get(chain).filter(|_| !self.forks.is_cutting(chain));
        copy?.durable().head()
    }
}

fn refuse(request: RequestId, reason: &str, outputs: &mut Vec<Output>) {
    outputs.push(Output::Respond { request, content: Box::new(SyncResponse::Refused(reason.to_owned())) });
}
