//! When others hear that our own chain grew: a moment after, and not for each of many commits in short succession.
//!
//! An announcement costs this node a signature and every member the check of one, which is more than most commits cost. So a commit is
//! announced when the work that it belongs to is done, whole if it is the only one; of several the last header is told, and members
//! fetch them at once as one range. What was announced last stays in memory, so that these ranges cost no read.

use std::collections::VecDeque;

use weft_protocol::limits::GOSSIP_COMMIT_BYTES_MAX;
use weft_protocol::{CommitGroup, HeadGossip, Timestamp};

use crate::config::{RECENT_BYTES_MAX, ReplicationConfig};

/// Our own commits that others hear of now. Invariant: `recent` has no gap, and its last groups are the `unsaid` ones, as far as
/// there is room.
#[derive(Debug, Default)]
pub(crate) struct Announcing {
    recent: VecDeque<(u64, CommitGroup)>,
    recent_bytes: usize,
    /// How many commits were not announced yet.
    unsaid: usize,
    /// When they will be.
    due: Option<Timestamp>,
    /// No announcement before this time.
    not_before: Timestamp,
}

impl Announcing {
    /// The commit of that number is on disk since `now`.
    pub(crate) fn grew(&mut self, commit_no: u64, group: CommitGroup, config: &ReplicationConfig, now: Timestamp) {
        if self.recent.back().is_some_and(|(last, _)| last + 1 != commit_no) {
            (self.recent, self.recent_bytes) = (VecDeque::new(), 0);
        }
        self.recent_bytes += group.size();
        self.recent.push_back((commit_no, group));
        while self.recent_bytes > RECENT_BYTES_MAX && self.recent.len() > 1 {
            self.forget_first();
        }
        self.unsaid += 1;
        self.due.get_or_insert(now.after_us(config.announce_linger_us).max(self.not_before));
    }

    /// What was not announced yet, each commit by itself: nobody can fetch it from a node that is gone.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = HeadGossip> {
        self.due = None;
        let unsaid = std::mem::take(&mut self.unsaid);
        let said = self.recent.len().saturating_sub(unsaid);
        self.recent.iter().skip(said).map(|(_, group)| whole_if_small(group))
    }

    /// What is to be announced by now.
    pub(crate) fn take_due(&mut self, config: &ReplicationConfig, now: Timestamp) -> Option<HeadGossip> {
        self.due.take_if(|due| *due <= now)?;
        self.not_before = now.after_us(config.announce_pause_us);
        let unsaid = std::mem::take(&mut self.unsaid);
        while self.recent.len() > unsaid {
            self.forget_first();
        }
        let (_, last) = self.recent.back()?;
        Some(if unsaid == 1 { whole_if_small(last) } else { HeadGossip::Head(last.signed.clone()) })
    }

    /// When the next announcement is due.
    pub(crate) const fn next_wakeup(&self) -> Option<Timestamp> {
        self.due
    }

    /// The clock was set back to `now`: nothing waits for times of the old one.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        self.not_before = now;
        self.due = self.due.map(|_| now);
    }

    /// The commits from this number on, as many as fit and at least one, when they are still in memory.
    pub(crate) fn range(&self, from_commit: u64, bytes_max: u64) -> Option<Vec<CommitGroup>> {
        let (first, _) = self.recent.front()?;
        let skipped = usize::try_from(from_commit.checked_sub(*first)?).ok()?;
        let mut bytes = 0;
        let mut fits = |group: &CommitGroup| {
            let is_first = bytes == 0;
            bytes += group.size() as u64;
            is_first || bytes <= bytes_max
        };
        let groups: Vec<CommitGroup> =
            self.recent.iter().skip(skipped).map(|(_, group)| group).take_while(|group| fits(group)).cloned().collect();
        (!groups.is_empty()).then_some(groups)
    }

    fn forget_first(&mut self) {
        if let Some((_, group)) = self.recent.pop_front() {
            self.recent_bytes -= group.size();
        }
    }
}

fn whole_if_small(group: &CommitGroup) -> HeadGossip {
    let whole = group.size() <= GOSSIP_COMMIT_BYTES_MAX;
    if whole { HeadGossip::Group(group.clone()) } else { HeadGossip::Head(group.signed.clone()) }
}
