//! Publications of other members in the order of each publisher's numbers: what is missing is noticed, fetched from whoever has
//! it, and passed on once; and what a late subscriber wants of the past is gathered from members.
//!
//! A publisher names in each publication the number before it in the same topic (`prev`), so a hole is told from a number that
//! was never given. That the last publications got lost is found by asking members, now and then, how far each publisher has
//! come. Where a stream begins, for a node that follows a topic from now on, is what members say when they are asked first; of
//! a publisher that nobody could be asked about, it is whatever bears a later stamp than the wish to follow.
//!
//! In reading order: `stream` (one publisher in one topic), `follow` (what is followed, what is heard), `listing` (how far others
//! are), `repair` (asking for what is missing), `gather` (history for a subscription).

mod follow;
mod gather;
mod listing;
mod repair;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

pub use gather::{GatherId, TopicWant};
use weft_protocol::{ChainId, Hlc, NodeId, Timestamp, TopicName, TopicPattern};

use self::gather::Gathering;
pub(crate) use self::listing::Listing;
pub(crate) use self::repair::Wanted;
use self::stream::Stream;
use crate::event::Output;
use crate::replication::Replication;

/// Mean time between two rounds in which members are asked how far publishers have come, in microseconds; each is up to a
/// quarter shorter or longer. How late the loss of a last publication is noticed (guess).
const ROUND_US: u64 = 2_000_000;
/// Most members that one round asks, at random; in a larger cluster the news comes in a later round.
const ROUND_MEMBERS: usize = 16;
/// Most publications held back because one before them is missing, over all streams; a further one is fetched again later.
const HELD_MAX: usize = 4_096;
/// Most requests for publications that one member has not answered; further ones wait.
const FETCHES_PER_LINK_MAX: usize = 4;
/// Pause before a request that could not be made, or that nobody answered, in microseconds (guess: a few round trips).
const RETRY_US: u64 = 200_000;
/// How long what follows a hole is held back while its publisher cannot be asked, in microseconds: above the time that a
/// member takes to come back from a restart or a broken connection (guess).
const HELD_US_MAX: u64 = 30_000_000;
/// The same of what follows a kill of its publisher, which may have forgotten numbers: only others can know (guess).
const FORGOTTEN_US_MAX: u64 = 3_000_000;

/// One publisher in one topic.
pub(crate) type StreamKey = (TopicName, ChainId);

/// A pattern that is followed.
#[derive(Debug)]
struct Follow {
    /// Our stamp when that began.
    since: Hlc,
    /// Members that have said since how far their own publications go.
    answered: BTreeSet<NodeId>,
    /// Whether a subscription to it has begun: from then on nothing of it may be passed over.
    begun: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct TopicLog {
    followed: BTreeMap<TopicPattern, Follow>,
    streams: BTreeMap<StreamKey, Stream>,
    /// Streams that something is missing of.
    broken: BTreeSet<StreamKey>,
    gathers: BTreeMap<GatherId, Gathering>,
    next_round: Option<Timestamp>,
    /// Publications that were passed over because nobody has them any more.
    pub(crate) lost: u64,
}

impl TopicLog {
    fn follows_of(&self, topic: &TopicName) -> impl Iterator<Item = &Follow> {
        let wanted = self.followed.iter().filter(move |(pattern, _)| pattern.matches(topic));
        wanted.map(|(_, follow)| follow)
    }

    fn begun_follows_of(&self, topic: &TopicName) -> impl Iterator<Item = &Follow> {
        self.follows_of(topic).filter(|follow| follow.begun)
    }

    fn is_followed(&self, topic: &TopicName) -> bool {
        self.follows_of(topic).next().is_some()
    }

    /// Whether members are being asked how far publishers of a topic have come, for a subscription.
    fn is_listing(&self, topic: &TopicName) -> bool {
        self.gathers.values().any(|gather| gather.is_listing() && gather.pattern().matches(topic))
    }

    /// When something is to be done without an input.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        let broken = self.broken.iter().filter_map(|key| Some((key, self.streams.get(key)?)));
        let mended = broken.filter(|(key, stream)| stream.last.is_some() || !self.is_listing(&key.0));
        let repairs = mended.filter_map(|(_, stream)| stream.next_wakeup());
        let gathers = self.gathers.values().map(Gathering::deadline);
        self.next_round.into_iter().chain(repairs).chain(gathers).min()
    }
}

impl Replication {
    /// What is due by the clock.
    pub(crate) fn wake_topics(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.expire_gathers(now, outputs);
        for key in self.topics.broken.clone() {
            self.mend(&key, now, outputs);
        }
        if self.topics.next_round.is_some_and(|round| round <= now) {
            self.plan_topic_round(now);
            self.ask_round(now, outputs);
        }
    }

    fn plan_topic_round(&mut self, now: Timestamp) {
        let quarter = ROUND_US / 4;
        let jitter = self.roll(usize::try_from(2 * quarter).unwrap_or(usize::MAX)) as u64;
        let planned = (!self.topics.followed.is_empty()).then(|| now.after_us(ROUND_US - quarter + jitter));
        self.topics.next_round = planned;
    }
}
