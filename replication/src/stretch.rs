//! Finding the chains that differ among many: one hash for each stretch of chain ids, and again within those that differ.

use weft_protocol::limits::{HEADS_MAX, HEADS_TOLD_MAX, STRETCHES_MAX};
use weft_protocol::{ChainId, Digest, Head, NodeId, Stretch, SyncRequest, SyncResponse, Timestamp, vector_root};

use crate::config::{STRETCH_DEPTH_MAX, STRETCHES_PER_LINK_MAX};
use crate::event::Output;
use crate::fetch::Fetch;
use crate::replication::Replication;

/// Where a comparison looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretched {
    /// The first chain id that belongs to it.
    pub(crate) from: ChainId,
    /// The first that does not; none: it goes to the end.
    until: Option<ChainId>,
    /// How often it was divided.
    depth: u8,
}

impl Stretched {
    /// All chains.
    pub(crate) fn everything() -> Self {
        Self { from: ChainId::from_bytes(&[0; 40]), until: None, depth: 0 }
    }

    fn holds(&self, chain: &ChainId) -> bool {
        self.from <= *chain && self.until.is_none_or(|until| *chain < until)
    }

    /// Those of the sorted heads that lie here.
    fn part<'a>(&self, heads: &'a [Head]) -> &'a [Head] {
        let begin = heads.partition_point(|head| head.chain < self.from);
        let rest = heads.get(begin..).unwrap_or_default();
        let end = rest.partition_point(|head| self.holds(&head.chain));
        rest.get(..end).unwrap_or_default()
    }

    /// The parts that an answer names, each with its hash; `None` when it does not divide this stretch.
    fn divided(&self, stretches: &[Stretch]) -> Option<Vec<(Self, Digest)>> {
        let divides = (1..=STRETCHES_MAX).contains(&stretches.len())
            && self.depth < STRETCH_DEPTH_MAX
            && stretches.is_sorted_by(|one, next| one.from < next.from)
            && stretches.first().is_some_and(|first| first.from == self.from)
            && stretches.iter().all(|stretch| self.holds(&stretch.from));
        let ends = stretches.iter().skip(1).map(|next| Some(next.from)).chain([self.until]);
        let part = |(stretch, until): (&Stretch, Option<ChainId>)| {
            (Self { from: stretch.from, until, depth: self.depth + 1 }, stretch.vector_root)
        };
        divides.then(|| stretches.iter().zip(ends).map(part).collect())
    }
}

/// What is said of these sorted heads, the whole of what lies between `from` and the end of a question: the heads themselves
/// when they are few, else hashes of parts of about the same size.
pub(crate) fn told(heads: &[Head], from: ChainId) -> SyncResponse {
    if heads.len() <= HEADS_TOLD_MAX {
        return SyncResponse::Heads(heads.to_vec());
    }
    // A hash costs about half of what a head does: so many parts are the cheapest when one head in one of them differs.
    let count = (2 * heads.len()).isqrt().min(STRETCHES_MAX);
    let parts = heads.chunks(heads.len().div_ceil(count)).enumerate();
    let stretch = |(number, part): (usize, &[Head])| Stretch {
        from: part.first().filter(|_| number > 0).map_or(from, |head| head.chain),
        vector_root: vector_root(part),
    };
    SyncResponse::Stretches(parts.map(stretch).collect())
}

impl Replication {
    /// A member compares some of the chains.
    pub(crate) fn compare_stretch(&self, from: ChainId, until: Option<ChainId>, theirs: Digest) -> SyncResponse {
        let heads = self.heads();
        let held = Stretched { from, until, depth: 0 }.part(&heads);
        if vector_root(held) == theirs { SyncResponse::Same } else { told(held, from) }
    }

    /// A member holds something else in `stretched`, and says in which parts: those that differ from ours are asked for.
    pub(crate) fn on_stretches(
        &mut self,
        from: NodeId,
        stretched: Stretched,
        stretches: &[Stretch],
        outputs: &mut Vec<Output>,
    ) {
        let Some(parts) = stretched.divided(stretches) else {
            self.refused += 1;
            return;
        };
        let heads = self.heads();
        for (part, theirs) in parts {
            let ours = vector_root(part.part(&heads));
            let Some(link) = self.links.get_mut(&from) else { return };
            if ours == theirs || link.stretches >= STRETCHES_PER_LINK_MAX {
                continue;
            }
            link.stretches += 1;
            let fetch = self.new_fetch();
            self.fetches.insert(fetch, (from, Fetch::Stretch(part)));
            let content = SyncRequest::Stretch { from: part.from, until: part.until, vector_root: ours };
            outputs.push(Output::Request { fetch, to: from, content });
        }
    }

    /// What a member said to the comparison of one stretch; `None` when it did not respond: the next comparison of all finds
    /// what is left.
    pub(crate) fn on_stretch_answered(
        &mut self,
        from: NodeId,
        stretched: Stretched,
        content: Option<SyncResponse>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let Some(link) = self.links.get_mut(&from) else { return };
        link.stretches = link.stretches.saturating_sub(1);
        match content {
            Some(SyncResponse::Heads(heads)) => {
                for head in heads.iter().take(HEADS_MAX) {
                    self.on_head(from, head, now, outputs);
                }
            }
            Some(SyncResponse::Stretches(stretches)) => self.on_stretches(from, stretched, &stretches, outputs),
            Some(SyncResponse::Same | SyncResponse::Refused(_)) | None => {}
            Some(_) => self.refused += 1,
        }
    }
}
