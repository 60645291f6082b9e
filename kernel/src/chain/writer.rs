//! The only writer of the own chain: appends, closes groups, signs what it has verified, and lets go what waited.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::limits::{
    ANCHOR_PAUSE_US, CHECKPOINT_AGE_US_MAX, CHECKPOINT_EVENTS_MAX, EVENT_BYTES_MAX, RULE_TEXT_BYTES_MAX,
};
use weft_protocol::{
    Anchor, Batch, Blake3, COMMIT_LABEL, ChainError, ChainId, ChainState, Commit, CommitGroup, CommitRef, DeadLetter,
    Digest, DigestRow, EVENT_VERSION, Effect, Event, Fact, Head, Hlc, KeyRotation, LoggedPublication, MessageBatch,
    MessageId, MessageRecord, OutboxEntry, RecordRef, RecordedStep, Reserved, SUITE, Shake, SignedCommit, Signer,
    StampVerdict, Timestamp, commit_hash, encode, leaf_hash, link_hash, root,
};

use super::group::{Group, fits_one_group};
use super::promise::{IntentHandle, Promise};
use super::reserve::Reservation;
use super::vouched::Vouched;

/// Most groups that wait for the disk: 16,384 events. With more, whoever asks for something is told that we are busy.
const WAITING_GROUPS_MAX: usize = 64;

/// Fewest events that are worth a commit of their own while another one is being written: with fewer, signing and syncing cost
/// more than the events (guess).
const GROUP_EVENTS_MIN: usize = 32;

/// Where an event was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) seq: u64,
    pub(crate) hlc: Hlc,
    pub(crate) leaf: Digest,
}

/// What is being written.
#[derive(Debug)]
struct InFlight {
    next: Option<(ChainState, CommitGroup)>,
    reserved: Option<Reserved>,
    promises: Vec<Promise>,
    closed_at: Timestamp,
}

/// Invariant: `durable` is what is on disk; places are given from `next_seq` on, first to what is in flight, then to the
/// open groups in order.
#[derive(Debug)]
pub(crate) struct Writer {
    signer: Arc<dyn Signer>,
    /// What signs all that follows the rotation that is on its way.
    next_signer: Option<Arc<dyn Signer>>,
    durable: ChainState,
    open: VecDeque<Group>,
    in_flight: Option<InFlight>,
    /// The first of the open groups, signed to follow what is in flight.
    prepared: Option<(ChainState, CommitGroup)>,
    reservation: Reservation,
    next_seq: u64,
    unsealed_at: Option<Timestamp>,
    ending: bool,
    vouched: Vouched,
    /// When a commit was written for its anchors alone, last.
    anchored_at: Option<Timestamp>,
    /// How long steps of plain messages wait for others, in microseconds.
    records_linger_us: u64,
    /// Under which rule whoever asks now was permitted to.
    rule: Option<String>,
}

impl Writer {
    /// Continues this chain, above everything that an earlier run may have given.
    pub(crate) fn restored(
        signer: Arc<dyn Signer>,
        state: ChainState,
        reserved: Reserved,
        records_linger_us: u64,
        now: Timestamp,
    ) -> Self {
        let unsealed_at = state.unsealed_since().map(|_| now);
        Self {
            signer,
            next_signer: None,
            next_seq: state.size(),
            reservation: Reservation::restored(reserved, state.last_hlc()),
            durable: state,
            open: VecDeque::new(),
            in_flight: None,
            prepared: None,
            unsealed_at,
            ending: false,
            vouched: Vouched::default(),
            anchored_at: None,
            records_linger_us,
            rule: None,
        }
    }

    /// From here on steps of plain messages wait so long for others.
    pub(crate) const fn linger_for(&mut self, records_linger_us: u64) {
        self.records_linger_us = records_linger_us;
    }

    /// From here on nobody asks for anything.
    pub(crate) fn end_asking(&mut self) {
        self.rule = None;
    }

    /// What is appended in the name of whoever asks was permitted by this rule; the first one that was asked about is named.
    pub(crate) fn permitted_by(&mut self, text: impl FnOnce() -> String) {
        if self.rule.is_none() {
            let mut rule = text();
            rule.truncate(rule.floor_char_boundary(RULE_TEXT_BYTES_MAX));
            self.rule = Some(rule);
        }
    }

    /// Another member's chain is verified and on our disk up to here: the next group with events vouches for that.
    pub(crate) fn note_head(&mut self, head: Head, hlc: Hlc) {
        if head.chain != self.durable.chain() {
            self.vouched.note(head, hlc);
        }
    }

    /// A member waits for a commit that vouches for this chain as far as it is held: one with events when there are any, an empty one
    /// otherwise.
    pub(crate) fn want_anchor(&mut self, chain: &ChainId) {
        self.vouched.want(chain);
    }

    /// A chain is vouched for no longer.
    pub(crate) fn forget_head(&mut self, chain: &ChainId) {
        self.vouched.forget(chain);
    }

    /// Vouches for nothing beyond these commits, and for all of other chains.
    pub(crate) fn withhold(&mut self, ends: BTreeMap<ChainId, u64>) {
        self.vouched.withhold(ends);
    }

    /// Whether nothing was vouched for beyond what is withheld by now.
    pub(crate) fn keeps_back(&self) -> bool {
        self.vouched.keeps_back()
    }

    /// The last commit on disk, and a stamp below everything that will follow it: that of now when nothing is on its way. None
    /// before the first commit and when the run is over.
    pub(crate) fn quiet_until(&mut self, now: Timestamp) -> Option<(CommitRef, Hlc)> {
        let Head { chain, commit_no, commit_hash, .. } = self.durable.head().filter(|_| !self.ending)?;
        let written = self.in_flight.as_ref().is_none_or(|in_flight| in_flight.next.is_none());
        let idle = written && self.open.iter().all(Group::is_empty) && self.is_ready(now);
        let hlc = if idle { self.tick(now) } else { self.durable.last_hlc() };
        Some((CommitRef { chain, commit_no, commit_hash }, hlc))
    }

    /// What signs in this node's name.
    pub(crate) fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// The chain as it is on disk.
    pub(crate) const fn durable(&self) -> &ChainState {
        &self.durable
    }

    /// The next stamp of this node.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Hlc {
        self.reservation.tick(now)
    }

    /// The stamp of a refusal, whether or not anything may be recorded now.
    pub(crate) fn stamp_refusal(&mut self, now: Timestamp) -> Hlc {
        self.reservation.stamp_refusal(now)
    }

    /// Lets a stamp of another node move the clock, if it is close enough.
    pub(crate) fn observe(&mut self, stamp: Hlc, now: Timestamp) -> StampVerdict {
        self.reservation.observe(stamp, now)
    }

    /// The id of a new message.
    pub(crate) fn take_message_id(&mut self) -> MessageId {
        MessageId { chain: self.durable.chain(), counter: self.reservation.take_counter() }
    }

    /// Whether so many messages can be numbered now; otherwise a reservation must be written first.
    pub(crate) const fn has_message_ids(&self, count: u64) -> bool {
        self.reservation.has_counters(count)
    }

    /// The number that the next message gets.
    pub(crate) const fn next_counter(&self) -> u64 {
        self.reservation.counter()
    }

    /// Whether one more input may be handled; otherwise a reservation must be written first.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.reservation.is_ready(now)
    }

    /// Whether so much waits for the disk that nothing new should be taken on.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.open.len() >= WAITING_GROUPS_MAX
    }

    /// Since when a group is being written, when one is.
    pub(crate) fn writing_since(&self) -> Option<Timestamp> {
        self.in_flight.as_ref().map(|in_flight| in_flight.closed_at)
    }

    /// Whether the facts can stand on the chain, in one commit.
    pub(crate) fn fits(source: &str, facts: &[Fact]) -> bool {
        let sizes = facts.iter().map(|fact| event_bytes(source, fact)).collect::<Vec<_>>();
        sizes.iter().all(|size| *size <= EVENT_BYTES_MAX) && fits_one_group(sizes.len(), sizes.iter().sum())
    }

    /// Appends one fact that fits.
    pub(crate) fn append(&mut self, source: &str, fact: &Fact, now: Timestamp) -> Placed {
        // What the kernel itself has to say nobody was permitted to.
        let rule = if source == "kernel" { None } else { self.rule.clone() };
        let hlc = self.tick(now);
        let mut next = Event { rule, ..event(self.next_seq, hlc, source, Vec::new(), fact) };
        let mut encoded = next.encode();
        // A fact that fills an event alone says enough without its rule.
        if encoded.len() > EVENT_BYTES_MAX && next.rule.take().is_some() {
            encoded = next.encode();
        }
        if self.open.back().is_some_and(|group| !group.has_room(1, encoded.len())) {
            self.turn_over(now);
            // What completed the group before may have taken this place and this stamp.
            (next.seq, next.hlc) = (self.next_seq, self.tick(now));
            encoded = next.encode();
        }
        let placed = self.push(encoded, next.hlc);
        self.back().hurry();
        placed
    }

    /// Completes the group that takes events when it holds its share of all that waits for the disk. Whoever waits for what is being
    /// written comes back when that is done: with halves, one is prepared while the other is written; otherwise all but the
    /// first of them would share one group, and the disk and this machine take turns.
    fn pace(&mut self, now: Timestamp) {
        let Some((_, written)) = self.in_flight.as_ref().and_then(|in_flight| in_flight.next.as_ref()) else { return };
        let waiting = self.open.iter().map(|group| group.events.len()).sum::<usize>();
        let share = (written.events.len() + waiting).div_ceil(2).max(GROUP_EVENTS_MIN);
        if self.open.back().is_some_and(|group| group.events.len() >= share) {
            self.turn_over(now);
        }
    }

    /// Lets so many events, of so many bytes together, share the commit that takes the next of them.
    pub(crate) fn make_room(&mut self, events: usize, bytes: usize, now: Timestamp) {
        if self.open.back().is_some_and(|group| !group.has_room(events, bytes)) {
            self.turn_over(now);
        }
    }

    /// Appends all of these facts, which fit, to one commit; returns the place of the first.
    pub(crate) fn append_together(&mut self, source: &str, facts: &[Fact], now: Timestamp) -> Option<(u64, u64)> {
        let rule_bytes = self.rule.as_deref().map_or(0, rule_bytes);
        let bytes = facts.iter().map(|fact| event_bytes(source, fact) + rule_bytes).sum::<usize>();
        self.make_room(facts.len(), bytes, now);
        let mut placed = facts.iter().map(|fact| self.append(source, fact, now).seq).collect::<Vec<_>>().into_iter();
        let first = placed.next()?;
        Some((first, placed.next_back().unwrap_or(first)))
    }

    /// Appends the intent of an effect.
    pub(crate) fn intent(&mut self, source: &str, effect: Effect, now: Timestamp) -> IntentHandle {
        IntentHandle::new(self.append(source, &Fact::Intent(Box::new(effect)), now).seq)
    }

    /// Appends one step of a durable message and stamps it, whatever stamp it carries; a body that does not fit is kept beside the
    /// event that names it. When `awaited` is false it may wait for others.
    pub(crate) fn append_message(
        &mut self,
        source: &str,
        mut record: MessageRecord,
        cause: Vec<Digest>,
        awaited: bool,
        now: Timestamp,
    ) -> (Hlc, RecordRef) {
        record.hlc = Hlc(u64::MAX);
        // A link is 34 bytes in an event.
        let bytes_of =
            |record: &MessageRecord| event_bytes(source, &Fact::Message(Box::new(record.clone()))) + cause.len() * 34;
        let mut bytes = bytes_of(&record);
        let mut body = None;
        if bytes > EVENT_BYTES_MAX {
            body = record.body.take().map(|body| (record.body_hash, ByteBuf::from(encode(&body))));
            bytes = bytes_of(&record);
        }
        // A group that is full is completed first: the root of its plain messages must not be stamped after this one.
        self.make_room(1, bytes, now);
        record.hlc = self.tick(now);
        let hlc = record.hlc;
        let encoded = event(self.next_seq, hlc, source, cause, &Fact::Message(Box::new(record))).encode();
        let placed = self.push(encoded, hlc);
        let group = self.back();
        group.bodies.extend(body);
        if awaited {
            group.hurry()
        } else {
            group.linger(now)
        }
        (hlc, RecordRef { chain: self.durable.chain(), seq: placed.seq, leaf: placed.leaf })
    }

    /// Adds one step of a plain message to the batch of the group that closes next.
    pub(crate) fn record(&mut self, step: &RecordedStep<'_>, now: Timestamp) {
        if self.open.back().is_some_and(|group| !group.has_room_for_record()) {
            self.turn_over(now);
        }
        let chain = self.durable.chain();
        let group = self.back();
        let hash = group.leaves.push(chain, step);
        group.push_record(hash, now);
    }

    /// Keeps a message until it is acknowledged.
    pub(crate) fn keep(&mut self, entry: OutboxEntry) {
        let group = self.back();
        group.outbox_put.push(entry);
        group.hurry();
    }

    /// Keeps a message no longer.
    pub(crate) fn drop_kept(&mut self, message: MessageId) {
        self.back().outbox_drop.push(message);
    }

    /// Keeps a publication in the log of topics, and those at these places no longer.
    pub(crate) fn log(&mut self, entry: LoggedPublication, gone: Vec<Hlc>) {
        let group = self.back();
        group.topic_put.push(entry);
        group.topic_drop.extend(gone);
    }

    /// Keeps a message that was given up.
    pub(crate) fn keep_dead(&mut self, letter: DeadLetter) {
        let group = self.back();
        group.dead_put.push(letter);
        group.hurry();
    }

    /// Keeps a given-up message no longer.
    pub(crate) fn drop_dead(&mut self, message: MessageId) {
        let group = self.back();
        group.dead_drop.push(message);
        group.hurry();
    }

    /// Holds something back until all that is to be written so far is on disk; gives it back when that is so already.
    pub(crate) fn hold_written(&mut self, promise: Promise) -> Option<Promise> {
        let newest = self.open.iter_mut().rev().find(|group| !group.is_empty() || !group.promises.is_empty());
        match (newest, &mut self.in_flight) {
            (Some(group), _) => group.promises.push(promise),
            (None, Some(in_flight)) => in_flight.promises.push(promise),
            (None, None) => return Some(promise),
        }
        None
    }

    /// Holds back what may only happen when the event at `seq`, appended and not yet on disk, is.
    pub(crate) fn hold(&mut self, seq: u64, promise: Promise) {
        match self.open.iter_mut().rev().find(|group| group.first_seq <= seq) {
            Some(group) => group.promises.push(promise),
            None => {
                let in_flight = self.in_flight.as_mut().expect("BUG: a promise for an event that is not on its way");
                in_flight.promises.push(promise);
            }
        }
    }

    /// Appends the last event of this run: the group it closes is sealed and nothing may be appended after it.
    pub(crate) fn append_last(&mut self, fact: &Fact, now: Timestamp) -> u64 {
        self.gather_records(now);
        let seq = self.append("kernel", fact, now).seq;
        self.back().checkpoint = true;
        self.ending = true;
        seq
    }

    /// Appends that the keys of this node give way to those of `next`, as the last event of a checkpoint; whatever is appended after it
    /// waits for the commit after that, which `next` signs.
    pub(crate) fn rotate(&mut self, source: &str, next: Arc<dyn Signer>, now: Timestamp) -> u64 {
        let rotation = KeyRotation::new(self.durable.chain(), &*self.signer, &*next);
        self.gather_records(now);
        let seq = self.append(source, &Fact::KeyRotated(Box::new(rotation)), now).seq;
        self.back().checkpoint = true;
        self.open.push_back(Group::new(self.next_seq));
        self.next_signer = Some(next);
        seq
    }

    /// Whether a rotation is on its way.
    pub(crate) const fn is_rotating(&self) -> bool {
        self.next_signer.is_some()
    }

    /// Closes the next group when nothing is being written and something waits, a seal is due or `reserve` says that
    /// inputs wait for a reservation.
    ///
    /// # Errors
    /// [`ChainError`] when what was built does not verify: nothing has left, and nothing may be written any more.
    pub(crate) fn close(&mut self, reserve: bool, now: Timestamp) -> Result<Option<Box<Batch>>, ChainError> {
        if self.in_flight.is_some() {
            self.prepare(now)?;
            return Ok(None);
        }
        let written = self.next_group(now).is_some_and(|at| at <= now);
        let for_anchors = !written && self.next_anchors(now).is_some_and(|at| at <= now);
        if for_anchors {
            self.anchored_at = Some(now);
        }
        let group = if written || for_anchors || self.is_seal_due(now) {
            if self.open.len() <= 1 {
                self.gather_records(now);
            }
            Some(self.open.pop_front().unwrap_or(Group::new(self.next_seq)))
        } else {
            None
        };
        if group.is_none() && !reserve {
            return Ok(None);
        }
        let built = match (self.prepared.take(), &group) {
            (None, Some(group)) => Some(self.build(self.durable.clone(), group, now)?),
            (prepared, _) => prepared,
        };
        let last = self.ending && self.open.is_empty();
        let reserved = if last { Some(self.reservation.give_back()) } else { self.reservation.due(now) };
        let mut batch = Batch { reserved, ..Batch::default() };
        let mut promises = Vec::new();
        if let Some(group) = group {
            (batch.digests, batch.bodies) = (group.digests, group.bodies);
            (batch.outbox_put, batch.outbox_drop) = (group.outbox_put, group.outbox_drop);
            (batch.topic_put, batch.topic_drop) = (group.topic_put, group.topic_drop);
            (batch.dead_put, batch.dead_drop) = (group.dead_put, group.dead_drop);
            promises = group.promises;
        }
        if let Some((state, group)) = &built {
            batch.groups.push((state.chain(), group.clone()));
        }
        self.in_flight = Some(InFlight { next: built, reserved, promises, closed_at: now });
        Ok(Some(Box::new(batch)))
    }

    /// Signs the next group while the one before it is being written, so that the disk need not wait for that. It leaves this
    /// process no sooner.
    fn prepare(&mut self, now: Timestamp) -> Result<(), ChainError> {
        self.pace(now);
        if self.prepared.is_some() || self.open.len() < 2 {
            return Ok(());
        }
        let written = self.in_flight.as_ref().and_then(|in_flight| in_flight.next.as_ref());
        let before = written.map_or(&self.durable, |(state, _)| state).clone();
        if before.keys() != self.signer.public_keys() {
            // New keys sign when the record of them is on disk.
            return Ok(());
        }
        if let Some(group) = self.open.pop_front() {
            self.prepared = Some(self.build(before, &group, now)?);
            self.open.push_front(group);
        }
        Ok(())
    }

    /// What was being written is on disk: returns the group that may be shown now, and what waited for it.
    pub(crate) fn persisted(&mut self) -> (Option<CommitGroup>, Vec<Promise>) {
        let Some(InFlight { next, reserved, promises, closed_at }) = self.in_flight.take() else {
            return (None, Vec::new());
        };
        if let Some(reserved) = reserved {
            self.reservation.persisted(reserved);
        }
        let group = next.map(|(state, group)| {
            self.durable = state;
            if self.durable.keys() != self.signer.public_keys()
                && let Some(next) = self.next_signer.take()
            {
                self.signer = next;
            }
            let since = self.unsealed_at.unwrap_or(closed_at);
            self.unsealed_at = self.durable.unsealed_since().map(|_| since);
            group
        });
        (group, promises)
    }

    /// What was being written will never be on disk: returns everything that waited.
    pub(crate) fn failed(&mut self) -> Vec<Promise> {
        let in_flight = self.in_flight.take().map_or_else(Vec::new, |in_flight| in_flight.promises);
        self.prepared = None;
        self.unsealed_at = None;
        self.next_signer = None;
        in_flight.into_iter().chain(self.open.drain(..).flat_map(|group| group.promises)).collect()
    }

    /// When the machine must be woken for the chain's sake; `now` is the time of the last input.
    pub(crate) fn next_wakeup(&self, now: Timestamp) -> Option<Timestamp> {
        if self.in_flight.is_some() {
            return None;
        }
        let seal = self.unsealed_at.map(|since| since.after_us(CHECKPOINT_AGE_US_MAX));
        seal.into_iter().chain(self.next_anchors(now)).chain(self.next_group(now)).min()
    }

    /// When the next of the open groups is to be written.
    fn next_group(&self, now: Timestamp) -> Option<Timestamp> {
        self.open.iter().filter_map(|group| group.due_at(self.records_linger_us, now)).min()
    }

    /// When a commit may be written for its anchors alone, if somebody waits for one.
    fn next_anchors(&self, now: Timestamp) -> Option<Timestamp> {
        if self.ending || self.durable.commits() == 0 || !self.vouched.has_wanted(self.reservation.last()) {
            return None;
        }
        let pause = |since: Timestamp| if now < since { now } else { since.after_us(ANCHOR_PAUSE_US) };
        Some(self.anchored_at.map_or(now, pause))
    }

    fn is_seal_due(&self, now: Timestamp) -> bool {
        let old = |since: Timestamp| now < since || now.since_us(since) >= CHECKPOINT_AGE_US_MAX;
        self.unsealed_at.is_some_and(old)
    }

    fn back(&mut self) -> &mut Group {
        if self.open.is_empty() {
            self.open.push_back(Group::new(self.next_seq));
        }
        self.open.back_mut().expect("BUG: a group was just added")
    }

    /// Completes the group that takes events and begins the next.
    fn turn_over(&mut self, now: Timestamp) {
        self.gather_records(now);
        self.back().hurry();
        self.open.push_back(Group::new(self.next_seq));
    }

    /// Adds an event that was encoded for the next place.
    fn push(&mut self, encoded: Vec<u8>, hlc: Hlc) -> Placed {
        let seq = self.next_seq;
        let leaf = leaf_hash(&encoded);
        self.back().push(encoded, leaf, hlc);
        self.next_seq += 1;
        Placed { seq, hlc, leaf }
    }

    /// Appends the root over the plain messages that the newest group holds so far.
    fn gather_records(&mut self, now: Timestamp) {
        let (hashes, records) = match self.open.back_mut() {
            Some(group) if !group.hashes.is_empty() => {
                (std::mem::take(&mut group.hashes), std::mem::take(&mut group.leaves))
            }
            _ => return,
        };
        let batch = Fact::Batch(MessageBatch { root: root::<Blake3>(&hashes), count: hashes.len() as u64 });
        let hlc = self.tick(now);
        let encoded = event(self.next_seq, hlc, "kernel", Vec::new(), &batch).encode();
        let seq = self.push(encoded, hlc).seq;
        let chain = self.durable.chain();
        self.back().digests.push(DigestRow { chain, seq, records });
    }

    /// Signs the group as what follows `before` and verifies it, a checkpoint with its signatures.
    fn build(
        &mut self,
        before: ChainState,
        group: &Group,
        now: Timestamp,
    ) -> Result<(ChainState, CommitGroup), ChainError> {
        let leaves = &group.event_leaves;
        let mut frontier = before.frontier().clone();
        leaves.iter().for_each(|leaf| frontier.push::<Shake>(*leaf));
        let stamp = if group.events.is_empty() { Some(self.tick(now)) } else { None };
        let commit = Commit {
            suite: SUITE,
            cluster: before.cluster(),
            chain: before.chain(),
            commit_no: before.commits(),
            prev_commit: before.last_commit(),
            first_seq: before.size(),
            count: group.events.len() as u64,
            head_link: leaves.iter().fold(before.link(), |link, leaf| link_hash(&link, leaf)),
            tree_size: frontier.size(),
            root: frontier.root::<Shake>(),
            hlc_first: stamp.unwrap_or(group.first_hlc),
            hlc_last: stamp.unwrap_or(group.last_hlc),
            anchors: self.anchors_of(group, stamp),
        };
        let checkpoint = group.checkpoint || self.is_checkpoint_due(&before, &commit, now);
        let signed = self.sign(&commit, checkpoint);
        let built = CommitGroup { signed, events: group.events.clone() };
        let mut next = before;
        next.extend_own(&built)?;
        Ok((next, built))
    }

    /// What the commit of a group vouches for. Others' empty commits must not make us write, nor ours them: an empty one names
    /// something only when a member waits for that.
    fn anchors_of(&mut self, group: &Group, stamp: Option<Hlc>) -> Vec<Anchor> {
        match stamp {
            None => self.vouched.take(group.first_hlc),
            Some(stamp) if self.vouched.has_wanted(self.reservation.last()) => self.vouched.take(stamp),
            Some(_) => Vec::new(),
        }
    }

    fn is_checkpoint_due(&self, before: &ChainState, commit: &Commit, now: Timestamp) -> bool {
        let stamped_age_us = before.unsealed_since().map(|since| age_us(since, commit.hlc_last));
        commit.commit_no == 0
            || commit.count == 0
            || commit.tree_size - before.sealed_size() >= CHECKPOINT_EVENTS_MAX
            || (before.unsealed_since().is_some() && self.is_seal_due(now))
            || stamped_age_us.unwrap_or(age_us(commit.hlc_first, commit.hlc_last)) >= CHECKPOINT_AGE_US_MAX
    }

    fn sign(&self, commit: &Commit, checkpoint: bool) -> SignedCommit {
        let commit = encode(commit);
        let digest = commit_hash(&commit);
        SignedCommit {
            commit: ByteBuf::from(commit),
            ed25519: ByteArray::new(self.signer.sign_ed25519(COMMIT_LABEL, &digest)),
            mldsa65: checkpoint.then(|| ByteBuf::from(self.signer.sign_mldsa65(COMMIT_LABEL, &digest))),
        }
    }
}

const fn age_us(first: Hlc, last: Hlc) -> u64 {
    last.to_wall().since_us(first.to_wall())
}

fn event(seq: u64, hlc: Hlc, source: &str, cause: Vec<Digest>, fact: &Fact) -> Event {
    let (kind, payload) = (fact.kind().to_owned(), ByteBuf::from(fact.encode()));
    Event { version: EVENT_VERSION, seq, hlc, source: source.to_owned(), kind, cause, payload, rule: None }
}

/// What a rule adds to an event: its name, a length and its text.
const fn rule_bytes(rule: &str) -> usize {
    rule.len() + 8
}

/// Bytes of an event with the longest place and stamp.
fn event_bytes(source: &str, fact: &Fact) -> usize {
    event(u64::MAX, Hlc(u64::MAX), source, Vec::new(), fact).encode().len() + 16
}
