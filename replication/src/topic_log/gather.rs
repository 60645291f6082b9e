//! History for one subscription: members are asked how far each publisher has come, and then for what is wanted of the past.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{Hlc, NodeId, Publication, PublicationsFrom, StreamHead, SyncRequest, Timestamp, TopicPattern};

use super::StreamKey;
use super::listing::Listing;
use super::repair::Wanted;
use crate::event::Output;
use crate::fetch::Fetch;
use crate::replication::Replication;

/// How long members have to say how far publishers have come, in microseconds; whoever takes longer is asked in a round (guess:
/// many round trips, and what a person waits).
const LISTING_US_MAX: u64 = 2_000_000;
/// How long the history may take to arrive, in microseconds; then there is what there is (guess).
const HISTORY_US_MAX: u64 = 15_000_000;
/// Most requests for history that are out for one subscription.
const OPEN_MAX: usize = 4;
/// How often one stretch is asked for.
const TRIES_MAX: u32 = 3;

/// The kernel's number of a subscription's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatherId(pub u64);

/// What a subscription wants of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicWant {
    /// Nothing but how far publishers have come.
    Nothing,
    /// What bears this stamp or a later one.
    Since(Hlc),
    /// So many of the newest of each publisher.
    Last(u64),
    /// What the named publishers gave after these numbers, and of others what bears this stamp or a later one.
    Beyond {
        /// By topic and publisher.
        bases: BTreeMap<StreamKey, u64>,
        /// Of publishers that are not among them.
        otherwise: Hlc,
    },
}

impl TopicWant {
    fn of(&self, key: &StreamKey) -> Option<PublicationsFrom> {
        match self {
            Self::Nothing => None,
            Self::Since(hlc) => Some(PublicationsFrom::Since(*hlc)),
            Self::Last(count) => Some(PublicationsFrom::Last(*count)),
            Self::Beyond { bases, otherwise } => {
                let base = bases.get(key).copied().map(PublicationsFrom::After);
                Some(base.unwrap_or(PublicationsFrom::Since(*otherwise)))
            }
        }
    }
}

/// A stretch of one stream that is to be fetched.
#[derive(Debug, Clone)]
struct Stretch {
    key: StreamKey,
    member: NodeId,
    from: PublicationsFrom,
    tries: u32,
}

/// One subscription's history on its way.
#[derive(Debug)]
pub(super) struct Gathering {
    pattern: TopicPattern,
    want: TopicWant,
    /// Members that have not said how far they are; none once that is over.
    waiting: Option<BTreeSet<NodeId>>,
    /// How far each publisher has come, and who says so.
    heads: BTreeMap<StreamKey, (u64, NodeId)>,
    /// Streams that began after an earlier subscription, which is owed all of them.
    owed: BTreeSet<StreamKey>,
    todo: VecDeque<Stretch>,
    open: BTreeMap<StreamKey, Stretch>,
    deadline: Timestamp,
}

impl Gathering {
    pub(super) const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Whether members are being asked how far publishers have come.
    pub(super) const fn is_listing(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) const fn pattern(&self) -> &TopicPattern {
        &self.pattern
    }
}

impl Replication {
    /// A subscription wants to begin.
    pub(crate) fn on_gather_asked(
        &mut self,
        gather: GatherId,
        pattern: TopicPattern,
        want: TopicWant,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let members: BTreeSet<NodeId> = self.links.keys().copied().collect();
        let gathering = Gathering {
            pattern: pattern.clone(),
            want,
            waiting: Some(members.clone()),
            heads: BTreeMap::new(),
            owed: BTreeSet::new(),
            todo: VecDeque::new(),
            open: BTreeMap::new(),
            deadline: now.after_us(LISTING_US_MAX),
        };
        self.topics.gathers.insert(gather, gathering);
        for member in members {
            self.ask_listing(member, Listing::of(vec![pattern.clone()], Some(gather)), outputs);
        }
        self.end_listing_if_done(gather, now, outputs);
    }

    pub(super) fn note_head(&mut self, gather: GatherId, from: NodeId, head: StreamHead) {
        let author = head.chain.node;
        // What its publisher says now comes after: it had nothing when it was asked before.
        let owed = self.topics.begun_follows_of(&head.topic).all(|follow| follow.answered.contains(&author));
        let Some(gathering) = self.topics.gathers.get_mut(&gather) else { return };
        let key = (head.topic, head.chain);
        if owed && !gathering.heads.contains_key(&key) {
            gathering.owed.insert(key.clone());
        }
        let (last, source) = gathering.heads.entry(key).or_insert((head.last, from));
        if head.last > *last || head.last == *last && from == author {
            *source = from;
        }
        *last = head.last.max(*last);
    }

    /// A member is done saying how far publishers have come, or will not say it.
    pub(super) fn listed_by(&mut self, from: NodeId, listing: &Listing, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(gather) = listing.gather else { return };
        if let Some(waiting) = self.topics.gathers.get_mut(&gather).and_then(|gathering| gathering.waiting.as_mut()) {
            waiting.remove(&from);
            self.end_listing_if_done(gather, now, outputs);
        }
    }

    fn end_listing_if_done(&mut self, gather: GatherId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(gathering) = self.topics.gathers.get(&gather) else { return };
        if gathering.waiting.as_ref().is_some_and(|waiting| waiting.is_empty() || gathering.deadline <= now) {
            self.end_listing(gather, now, outputs);
        }
    }

    /// Streams begin where members said they are; what is wanted of the past is fetched.
    fn end_listing(&mut self, gather: GatherId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(gathering) = self.topics.gathers.get_mut(&gather) else { return };
        gathering.waiting = None;
        gathering.deadline = now.after_us(HISTORY_US_MAX);
        let stretch = |(key, (_, member)): (&StreamKey, &(u64, NodeId))| {
            let (key, member) = (key.clone(), *member);
            gathering.want.of(&key).map(|from| Stretch { key, member, from, tries: 0 })
        };
        gathering.todo = gathering.heads.iter().filter_map(stretch).collect();
        let (heads, pattern) = (gathering.heads.clone(), gathering.pattern.clone());
        let owed = std::mem::take(&mut gathering.owed);
        for (key, (last, from)) in heads {
            if !self.begin_listed(&key, last, owed.contains(&key)) {
                let head = StreamHead { topic: key.0, chain: key.1, last };
                self.compare_head(from, head, now, outputs);
            }
        }
        if let Some(follow) = self.topics.followed.get_mut(&pattern) {
            follow.begun = true;
        }
        let heard = self.topics.streams.keys().filter(|(topic, _)| pattern.matches(topic));
        for key in heard.cloned().collect::<Vec<_>>() {
            self.mend(&key, now, outputs);
        }
        self.fetch_history(gather, outputs);
    }

    /// Lets a stream begin behind what was listed, unless an earlier subscription wants what came before; whether it began there.
    fn begin_listed(&mut self, key: &StreamKey, last: u64, owed: bool) -> bool {
        let wanted = self.topics.begun_follows_of(&key.0).next().is_some();
        let stream = self.topics.streams.entry(key.clone()).or_default();
        if stream.last.is_some() {
            return false;
        }
        if !wanted {
            stream.begin(last);
        } else if owed {
            stream.last = Some(0);
        }
        !wanted
    }

    fn fetch_history(&mut self, gather: GatherId, outputs: &mut Vec<Output>) {
        loop {
            let fetch = self.new_fetch();
            let Some(gathering) = self.topics.gathers.get_mut(&gather) else { return };
            if gathering.open.is_empty() && gathering.todo.is_empty() {
                return self.end_gather(gather, outputs);
            }
            if gathering.open.len() >= OPEN_MAX {
                return;
            }
            let Some(stretch) = gathering.todo.pop_front() else { return };
            let Stretch { key, member, from, .. } = stretch.clone();
            gathering.open.insert(key.clone(), stretch);
            if !self.is_linked(&member) {
                return self.history_failed(gather, &key, outputs);
            }
            let wanted = Wanted { key: key.clone(), gather: Some(gather) };
            self.fetches.insert(fetch, (member, Fetch::Publications(wanted)));
            let content = SyncRequest::Publications { topic: key.0, chain: key.1, from };
            outputs.push(Output::Request { fetch, to: member, content });
        }
    }

    pub(super) fn on_history_answered(
        &mut self,
        gather: GatherId,
        key: StreamKey,
        from: NodeId,
        page: Option<(Vec<Publication>, bool)>,
        _now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let Some(gathering) = self.topics.gathers.get_mut(&gather) else { return };
        let Some(stretch) = gathering.open.get(&key).filter(|stretch| stretch.member == from).cloned() else { return };
        let Some((publications, more)) = page else { return self.history_failed(gather, &key, outputs) };
        gathering.open.remove(&key);
        let last = publications.last().map(|publication| publication.seq);
        for publication in publications {
            outputs.push(Output::PassPublication { publication: Box::new(publication), fetched: true });
        }
        if let Some(last) = last.filter(|_| more) {
            let from = PublicationsFrom::After(last);
            gathering.todo.push_front(Stretch { from, tries: 0, ..stretch });
        }
        self.fetch_history(gather, outputs);
    }

    /// A stretch did not come: its publisher is asked for it, or whoever was, a few times.
    fn history_failed(&mut self, gather: GatherId, key: &StreamKey, outputs: &mut Vec<Output>) {
        let author_linked = self.is_linked(&key.1.node);
        let Some(gathering) = self.topics.gathers.get_mut(&gather) else { return };
        let Some(stretch) = gathering.open.remove(key) else { return };
        if stretch.tries + 1 < TRIES_MAX {
            let member = if author_linked { key.1.node } else { stretch.member };
            gathering.todo.push_back(Stretch { member, tries: stretch.tries + 1, ..stretch });
        }
        self.fetch_history(gather, outputs);
    }

    pub(super) fn end_gather(&mut self, gather: GatherId, outputs: &mut Vec<Output>) {
        if self.topics.gathers.remove(&gather).is_some() {
            outputs.push(Output::TopicGathered { gather });
        }
    }

    /// Members that took too long are not waited for.
    pub(super) fn expire_gathers(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let due = self.topics.gathers.iter().filter(|(_, gather)| gather.deadline <= now);
        for gather in due.map(|(gather, _)| *gather).collect::<Vec<_>>() {
            let listing = self.topics.gathers.get(&gather).is_some_and(Gathering::is_listing);
            if listing {
                self.end_listing(gather, now, outputs);
            } else {
                self.end_gather(gather, outputs);
            }
        }
    }
}
