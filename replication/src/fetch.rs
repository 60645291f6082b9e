//! Getting what is missing: ranges of whole commits from members that say to hold them, page by page.

use weft_protocol::limits::{COMMIT_BYTES_MAX, PAGE_BYTES_MAX};
use weft_protocol::{ChainId, CommitGroup, Digest, Evidence, NodeId, SyncRequest, SyncResponse, Timestamp};

use crate::config::{PAGES_MAX, RANGES_PER_LINK_MAX};
use crate::event::{FetchId, Output};
use crate::replication::Replication;
use crate::stretch::Stretched;
use crate::topic_log::{Listing, Wanted};
use crate::verify::Verdict;

/// What a request of ours is for.
#[derive(Debug)]
pub(crate) enum Fetch {
    /// A comparison; this is what we said to hold.
    Hello {
        /// Of all our chains.
        root: Digest,
    },
    /// A comparison of some of the chains.
    Stretch(Stretched),
    /// A page for our copy.
    Range {
        /// Which chain.
        chain: ChainId,
        /// From which commit on.
        from_commit: u64,
    },
    /// A single commit, to compare it with ours.
    Probe {
        /// Which chain.
        chain: ChainId,
        /// Which commit.
        commit_no: u64,
    },
    /// What proves that a chain has two histories.
    Evidence {
        /// Which.
        chain: ChainId,
    },
    /// How far publishers have come.
    Streams(Listing),
    /// What somebody published.
    Publications(Wanted),
    /// That it vouches for something.
    Witness,
}

impl Replication {
    /// Asks one of the members that hold more, chosen at random among those with room, for the next page; whether it did.
    /// `held` is the number of pages in memory or asked for.
    pub(crate) fn begin_range(
        &mut self,
        chain: ChainId,
        held: usize,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let Some(copy) = self.copies.get(&chain) else { return false };
        let has_room = |node: &NodeId| self.links.get(node).is_some_and(|link| link.ranges < RANGES_PER_LINK_MAX);
        let sources: Vec<NodeId> = copy.sources(now).filter(has_room).collect();
        if sources.is_empty() || held >= PAGES_MAX {
            return false;
        }
        let from_commit = copy.expected();
        let to = sources[self.roll(sources.len())];
        let fetch = self.new_fetch();
        if let Some(link) = self.links.get_mut(&to) {
            link.ranges += 1;
        }
        if let Some(copy) = self.copies.get_mut(&chain) {
            copy.begin_fetch(fetch);
        }
        self.fetches.insert(fetch, (to, Fetch::Range { chain, from_commit }));
        let bytes_max = self.config.page_bytes.min(PAGE_BYTES_MAX as u64);
        outputs.push(Output::Request { fetch, to, content: SyncRequest::Range { chain, from_commit, bytes_max } });
        true
    }

    /// What a member said to a range; `None` when it did not respond.
    pub(crate) fn on_range_answered(
        &mut self,
        fetch: FetchId,
        from: NodeId,
        chain: ChainId,
        from_commit: u64,
        content: Option<SyncResponse>,
        now: Timestamp,
    ) {
        if let Some(link) = self.links.get_mut(&from) {
            link.ranges = link.ranges.saturating_sub(1);
        }
        let (accepted, limit) = (self.accepts(&chain), self.limit(&chain));
        let Some(copy) = self.copies.get_mut(&chain) else { return };
        copy.end_fetch(fetch);
        self.active.insert(chain);
        if !accepted {
            return;
        }
        let fault_until = now.after_us(self.config.fault_pause_us);
        match content {
            Some(SyncResponse::Page { chain: of, groups }) if of == chain && is_page(&groups) => {
                copy.take_page(from, from_commit, groups, limit);
            }
            Some(SyncResponse::Page { chain: of, groups }) if of == chain && groups.is_empty() => {
                copy.refuse(from, fault_until, now);
            }
            Some(SyncResponse::Refused(_)) | None => copy.pause(from, now.after_us(self.config.loss_pause_us), now),
            Some(_) => {
                copy.refuse(from, fault_until, now);
                self.refused += 1;
            }
        }
    }

    /// A verification is done: what is good goes to the disk; whoever sent the rest is not asked again for a while.
    pub(crate) fn on_verified(&mut self, verdict: Verdict, now: Timestamp, outputs: &mut Vec<Output>) {
        let chain = verdict.chain();
        let Some(copy) = self.copies.get_mut(&chain) else { return };
        let failed = verdict.error().is_some();
        let (contradicting, claims_another) = (verdict.contradicting.clone(), verdict.claims_another);
        if !copy.is_verdict_due(&verdict) {
            return;
        }
        let broken = self.broken_tick(&verdict).filter(|(verdict, _)| self.forks.is_news(verdict));
        let Some(copy) = self.copies.get_mut(&chain) else { return };
        let Some(from) = copy.take_verdict(verdict) else { return };
        self.active.insert(chain);
        if let Some((_, Evidence { first, second, .. })) = broken {
            // What was verified with it is let go too: as far as it counts, it is fetched again.
            let evidence = self.with_rotations(&chain, first, second);
            return self.convict(chain, evidence, from, None, outputs);
        }
        if !failed {
            return;
        }
        copy.refuse(from, now.after_us(self.config.fault_pause_us), now);
        let comparable = copy.is_settled().then(|| copy.durable().commits().checked_sub(1)).flatten();
        self.refused += 1;
        // What contradicts is compared with the last commit on disk. While others are on their way there it is let go: the
        // same answer comes again when this member is asked again.
        match (comparable, contradicting) {
            (Some(last), Some(other)) => self.suspect(chain, last, from, (*other).into(), outputs),
            // Who wrote it cannot be told: its keys may have changed where histories parted. Where that is, both signed alike.
            (Some(last), None) if claims_another => self.inquire(chain, from, last, outputs),
            (Some(_), None) | (None, _) => {}
        }
    }
}

/// Whether this is within the bytes that an honest member sends at once.
fn is_page(groups: &[CommitGroup]) -> bool {
    let bytes: usize = groups.iter().map(CommitGroup::size).sum();
    !groups.is_empty() && bytes <= PAGE_BYTES_MAX + COMMIT_BYTES_MAX
}
