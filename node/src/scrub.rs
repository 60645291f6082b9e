//! When the scrub reads on, and what it found: one pass in each period, spread evenly over it, with a bound on what it takes of a
//! core. The reading itself is the store's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weft_protocol::control::{ScrubFindRow, ScrubPassRow, ScrubReport};
use weft_protocol::{ChainId, NodeId, Timestamp};
use weft_storage::{Damage, ScrubBounds, ScrubCursor, ScrubSlice};

use crate::control::text;

/// What one slice reads: some milliseconds of work, up to a tenth of a second when every row carries both signatures (measured).
pub(crate) const SLICE: ScrubBounds = ScrubBounds { rows: 256, bytes: 1024 * 1024 };
/// Most of a core that it takes, in hundredths: a slice is followed by nineteen times as long a pause (guess).
const SHARE_PERCENT: u64 = 5;
/// The first pass begins within this time after a start, unless the period is shorter, and not in its first fifth: a start has
/// verified everything (guess).
const FIRST_US_MAX: u64 = 10 * 60 * 1_000_000;
/// Most finds that are kept (guess); what is beyond is counted.
const FINDS_MAX: usize = 64;
/// Most chains that wait to be looked at out of turn (guess); a pass looks at all of them.
const CHAINS_MAX: usize = 64;

/// Something found, and what became of it.
#[derive(Debug, Clone)]
struct Find {
    table: &'static str,
    chain: Option<ChainId>,
    commit: Option<u64>,
    reason: String,
    since: Timestamp,
    mended: Option<(Timestamp, NodeId)>,
}

/// One pass.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    begun: Timestamp,
    ended: Timestamp,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Shown {
    period_us: Option<u64>,
    next: Option<Timestamp>,
    running: Option<(Pass, u64)>,
    last: Option<Pass>,
    finds: Vec<Find>,
    forgotten: u64,
}

/// What the scrub has come to, for whoever shows it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScrubBoard(Arc<Mutex<Shown>>);

impl ScrubBoard {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was found; false when that is known already.
    pub(crate) fn add(&self, damage: &Damage, now: Timestamp) -> bool {
        let mut shown = self.lock();
        let same =
            |find: &&mut Find| find.table == damage.table && find.chain == damage.chain && find.commit == damage.commit;
        let full = shown.finds.len() >= FINDS_MAX;
        match shown.finds.iter_mut().find(same) {
            Some(find) if find.mended.is_none() => return false,
            Some(find) => {
                find.reason.clone_from(&damage.reason);
                (find.since, find.mended) = (now, None);
            }
            None if full => shown.forgotten += 1,
            None => {
                let Damage { table, chain, commit, reason, before: _ } = damage.clone();
                shown.finds.push(Find { table, chain, commit, reason, since: now, mended: None });
            }
        }
        true
    }

    /// These commits of a chain are as they were written again.
    pub(crate) fn mended(&self, chain: ChainId, first: u64, count: u64, from: NodeId, now: Timestamp) {
        let mended = first..first.saturating_add(count);
        let of_them = |find: &&mut Find| {
            find.table == "groups" && find.chain == Some(chain) && find.commit.is_some_and(|it| mended.contains(&it))
        };
        self.lock().finds.iter_mut().filter(of_them).for_each(|find| find.mended = Some((now, from)));
    }

    /// What was found in this chain is not part of it any more.
    pub(crate) fn forget(&self, chain: ChainId) {
        self.lock().finds.retain(|find| find.chain != Some(chain) || find.mended.is_some());
    }

    /// The first thing that was found and is not mended, in words.
    pub(crate) fn open_find(&self) -> Option<String> {
        let shown = self.lock();
        let mut open = shown.finds.iter().filter(|find| find.mended.is_none());
        let first = open.next()?;
        let place = match (first.chain, first.commit) {
            (Some(chain), Some(commit)) => format!("commit {commit} of {chain}"),
            (Some(chain), None) => format!("table {} of {chain}", first.table),
            (None, _) => format!("table {}", first.table),
        };
        let more = open.count() as u64 + shown.forgotten;
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        Some(format!("what is stored is not what was written: {place}: {}{more}", first.reason))
    }

    /// All of it.
    pub(crate) fn report(&self) -> ScrubReport {
        let shown = self.lock();
        let pass = |pass: &Pass, ended: bool| ScrubPassRow {
            begun: text::time(pass.begun),
            ended: ended.then(|| text::time(pass.ended)),
            rows: pass.rows,
            bytes: pass.bytes,
        };
        let find = |find: &Find| ScrubFindRow {
            table: find.table.to_owned(),
            chain: find.chain.map(|chain| chain.to_string()),
            commit: find.commit,
            reason: find.reason.clone(),
            since: text::time(find.since),
            mended_at: find.mended.map(|(at, _)| text::time(at)),
            mended_by: find.mended.map(|(_, by)| by.to_string()),
        };
        ScrubReport {
            period_s: shown.period_us.map(|period| period / 1_000_000),
            next: shown.next.map(text::time),
            running: shown.running.as_ref().map(|(running, _)| pass(running, false)),
            done_percent: shown.running.map(|(_, done)| done / 10_000),
            last: shown.last.as_ref().map(|last| pass(last, true)),
            finds: shown.finds.iter().map(find).collect(),
            finds_forgotten: shown.forgotten,
        }
    }
}

/// What is read next.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) cursor: ScrubCursor,
    /// The chain, when it is looked at out of turn.
    pub(crate) chain: Option<ChainId>,
}

/// The pace of the passes. Invariant: while a slice is out, nothing is due.
#[derive(Debug)]
pub(crate) struct Scrubber {
    board: ScrubBoard,
    /// None: no pass begins by itself.
    period_us: Option<u64>,
    cursor: ScrubCursor,
    pass: Option<Pass>,
    /// When the pass goes on, or the next begins.
    next: Option<Timestamp>,
    /// Before that nothing is read.
    rested: Timestamp,
    /// When the slice that is out began.
    out: Option<Timestamp>,
    /// A chain that is being looked at out of turn.
    aside: Option<(ChainId, ScrubCursor)>,
    chains: VecDeque<ChainId>,
    /// Whether the pass is not spread: a read failed, and nobody knows yet where.
    hurried: bool,
    ended: bool,
}

impl Scrubber {
    /// A scrub that makes one pass in each period, the first some time after now; `dice` says when.
    pub(crate) fn new(period_us: Option<u64>, dice: u64, now: Timestamp, board: ScrubBoard) -> Self {
        let first = |period: u64| {
            let most = period.min(FIRST_US_MAX);
            now.after_us(most / 5 + dice % (most - most / 5).max(1))
        };
        let next = period_us.map(first);
        let scrubber = Self {
            board,
            period_us,
            cursor: ScrubCursor::default(),
            pass: None,
            next,
            rested: Timestamp(0),
            out: None,
            aside: None,
            chains: VecDeque::new(),
            hurried: false,
            ended: false,
        };
        scrubber.show();
        scrubber
    }

    /// When the next slice is due.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        if self.out.is_some() || self.ended {
            return None;
        }
        if self.looks_aside() { Some(self.rested) } else { self.next.map(|next| next.max(self.rested)) }
    }

    /// The next slice, when it is due: it is out until it is given back.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Turn> {
        if self.next_wakeup().is_none_or(|next| next > now) {
            return None;
        }
        self.out = Some(now);
        if self.aside.is_none()
            && let Some(chain) = self.chains.pop_front()
        {
            self.aside = Some((chain, ScrubCursor::of_chain(chain)));
        }
        if let Some((chain, cursor)) = &mut self.aside {
            return Some(Turn { cursor: std::mem::take(cursor), chain: Some(*chain) });
        }
        self.pass.get_or_insert_with(|| Pass { begun: now, ..Pass::default() });
        Some(Turn { cursor: std::mem::take(&mut self.cursor), chain: None })
    }

    /// A slice was read.
    pub(crate) fn give_back(&mut self, turn: Turn, slice: &ScrubSlice, now: Timestamp) {
        let took_us = self.out.take().map_or(0, |begun| now.since_us(begun));
        self.rested = now.after_us(took_us.saturating_mul(100 / SHARE_PERCENT - 1));
        if turn.chain.is_some() {
            self.aside = self.aside.take().filter(|_| !slice.ended).map(|(chain, _)| (chain, turn.cursor));
            return self.show();
        }
        self.cursor = turn.cursor;
        let pass = self.pass.get_or_insert_with(Pass::default);
        (pass.rows, pass.bytes) = (pass.rows + slice.rows, pass.bytes + slice.bytes);
        let done = slice.done_millionths;
        self.next = Some(self.due(done));
        if slice.ended {
            let pass = self.pass.take().unwrap_or_default();
            self.cursor = ScrubCursor::default();
            self.hurried = false;
            let last = Pass { ended: now, ..pass };
            tracing::info!(rows = last.rows, bytes = last.bytes, "everything that is stored was read");
            self.board.lock().last = Some(last);
            self.next = self.period_us.map(|period| pass.begun.after_us(period));
        }
        self.board.lock().running = self.pass.map(|pass| (pass, done));
        self.show();
    }

    /// When a pass of which so much is done goes on.
    fn due(&self, done_millionths: u64) -> Timestamp {
        let Some(pass) = self.pass.as_ref().filter(|_| !self.hurried) else { return self.rested };
        let period = self.period_us.unwrap_or(0);
        let passed = u128::from(period) * u128::from(done_millionths) / 1_000_000;
        pass.begun.after_us(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn looks_aside(&self) -> bool {
        self.aside.is_some() || !self.chains.is_empty()
    }

    /// A chain is to be looked at before anything else.
    pub(crate) fn look_at(&mut self, chain: ChainId) {
        let known = self.chains.contains(&chain) || self.aside.as_ref().is_some_and(|(aside, _)| *aside == chain);
        if !known && self.chains.len() < CHAINS_MAX {
            self.chains.push_back(chain);
        }
        self.show();
    }

    /// Everything is to be looked at now, as fast as the bound permits.
    pub(crate) fn look_at_all(&mut self, now: Timestamp) {
        self.hurried = true;
        self.next = Some(self.next.map_or(now, |next| next.min(now)));
        self.show();
    }

    /// Nothing is read any more: what is stored may be half of something.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.out = None;
        self.show();
    }

    fn show(&self) {
        let mut shown = self.board.lock();
        shown.period_us = self.period_us;
        shown.next = self.next_wakeup();
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::Incarnation;

    use super::*;

    const SECOND: u64 = 1_000_000;
    const DAY: u64 = 86_400 * SECOND;

    fn slice(done_millionths: u64) -> ScrubSlice {
        let ended = done_millionths == 1_000_000;
        ScrubSlice { rows: 10, bytes: 1_000, finds: Vec::new(), done_millionths, ended }
    }

    /// Runs it until that time with slices of so much of a pass that take so long; when each began.
    fn run(scrubber: &mut Scrubber, until: Timestamp, millionths: u64, takes_us: u64) -> Vec<Timestamp> {
        let (mut begun, mut done) = (Vec::new(), 0);
        while let Some(next) = scrubber.next_wakeup().filter(|next| *next <= until) {
            let turn = scrubber.take_due(next).expect("due");
            assert_eq!(scrubber.next_wakeup(), None, "one slice at a time");
            begun.push(next);
            done = if done >= 1_000_000 { millionths } else { (done + millionths).min(1_000_000) };
            scrubber.give_back(turn, &slice(done), next.after_us(takes_us));
        }
        begun
    }

    #[test]
    fn a_pass_is_spread_evenly_over_its_period_and_the_first_begins_some_minutes_after_the_start() {
        for dice in [0, 7, u64::MAX] {
            let start = Timestamp(5 * DAY);
            let mut scrubber = Scrubber::new(Some(7 * DAY), dice, start, ScrubBoard::default());
            let begun = run(&mut scrubber, start.after_us(15 * DAY), 10_000, 1_000);
            let first = begun[0].since_us(start);
            assert!((120 * SECOND..=FIRST_US_MAX).contains(&first), "{first}");
            assert_eq!(begun.len(), 215, "two passes of a hundred slices, and a part of the third");
            for pair in begun[..200].windows(2) {
                let apart = pair[1].since_us(pair[0]);
                assert_eq!(apart, 7 * DAY / 100, "evenly");
            }
        }
    }

    #[test]
    fn a_period_that_is_too_short_is_not_kept_at_the_cost_of_the_machine() {
        let mut scrubber = Scrubber::new(Some(SECOND), 0, Timestamp(0), ScrubBoard::default());
        let begun = run(&mut scrubber, Timestamp(1_000 * SECOND), 1_000, 50_000);
        let busy = begun.len() as u64 * 50_000;
        assert!(busy <= 1_000 * SECOND * SHARE_PERCENT / 100 + 50_000, "{busy}");
        assert!(busy > 900 * SECOND * SHARE_PERCENT / 100, "{busy}: it makes use of what it may take");
    }

    #[test]
    fn switched_off_it_reads_nothing_but_what_a_failed_read_asks_for() {
        let board = ScrubBoard::default();
        let mut scrubber = Scrubber::new(None, 3, Timestamp(9), board.clone());
        assert_eq!((scrubber.next_wakeup(), board.report().period_s), (None, None));
        scrubber.look_at_all(Timestamp(50));
        let begun = run(&mut scrubber, Timestamp(DAY), 250_000, 1_000);
        assert_eq!(begun.len(), 4);
        assert!(begun[3].since_us(begun[0]) < SECOND, "it is not spread");
        assert_eq!(scrubber.next_wakeup(), None);
        assert_eq!(board.report().last.map(|last| last.rows), Some(40));
    }

    #[test]
    fn a_chain_out_of_turn_comes_first_and_the_pass_goes_on_where_it_was() {
        let mut scrubber = Scrubber::new(Some(DAY), 0, Timestamp(0), ScrubBoard::default());
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };
        let first = scrubber.next_wakeup().expect("a pass");
        let turn = scrubber.take_due(first).expect("due");
        scrubber.look_at(chain);
        scrubber.look_at(chain);
        scrubber.give_back(turn, &slice(500_000), first.after_us(100));
        let next = scrubber.next_wakeup().expect("soon");
        assert!(next.since_us(first) < SECOND, "before the pass");
        let turn = scrubber.take_due(next).expect("due");
        assert_eq!(turn.chain, Some(chain));
        scrubber.give_back(turn, &slice(1_000_000), next.after_us(100));
        let next = scrubber.next_wakeup().expect("the pass");
        assert_eq!(scrubber.take_due(next).expect("due").chain, None, "once is enough");
    }

    #[test]
    fn a_find_is_told_once_until_it_is_mended() {
        let board = ScrubBoard::default();
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };
        let reason = "its bytes were changed".to_owned();
        let damage = Damage { table: "groups", chain: Some(chain), commit: Some(7), reason, before: None };
        assert!(board.add(&damage, Timestamp(1)));
        assert!(!board.add(&damage, Timestamp(2)));
        assert!(board.open_find().expect("one").contains("commit 7 of"));
        board.mended(chain, 5, 2, chain.node, Timestamp(3));
        assert!(board.open_find().is_some(), "that was another commit");
        board.mended(chain, 5, 3, chain.node, Timestamp(3));
        assert_eq!(board.open_find(), None);
        assert!(board.report().finds[0].mended_at.is_some());
        assert!(board.add(&damage, Timestamp(4)), "it is damaged once more");
        for commit in 0..100 {
            board.add(&Damage { commit: Some(commit), ..damage.clone() }, Timestamp(5));
        }
        let report = board.report();
        assert_eq!((report.finds.len(), report.finds_forgotten), (FINDS_MAX, 100 - FINDS_MAX as u64));
    }
}
