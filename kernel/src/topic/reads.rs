//! What may be read of topics between two inputs: for people, and for members that lack something.

use std::collections::BTreeMap;

use weft_protocol::limits::{PAGE_BYTES_MAX, PUBLICATIONS_PER_ANSWER_MAX, STREAMS_PER_ANSWER_MAX};
use weft_protocol::{
    ChainId, Hlc, LoggedPublication, PublicationsFrom, StreamHead, SyncResponse, TopicName, TopicPattern,
};

use crate::kernel::Kernel;

/// What one publication adds to an answer besides its payload: ids, topic, a grant, a signature (measured generously).
const PUBLICATION_OVERHEAD_BYTES: usize = 1_024;

/// One topic as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicInfo {
    /// Subscriptions on this node that mean it.
    pub subscribers: u64,
    /// Publications in the log.
    pub publications: usize,
    /// Bytes of their content.
    pub bytes: usize,
    /// Who published to it, as far as the log goes and this node itself.
    pub publishers: Vec<TopicPublisher>,
}

/// One publisher of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicPublisher {
    /// Which.
    pub chain: ChainId,
    /// Its last number that is known here.
    pub last: u64,
    /// When that was published, by its own clock; none when it is not in the log any more.
    pub at: Option<Hlc>,
}

impl Kernel {
    /// Every topic with a publication in the log or a number given by this node, or that is listened to by its exact name.
    #[must_use]
    pub fn topics(&self) -> BTreeMap<TopicName, TopicInfo> {
        let mut topics = BTreeMap::<TopicName, TopicInfo>::new();
        for (topic, publications, bytes) in self.topics.log.topics() {
            let info = topics.entry(topic.clone()).or_default();
            (info.publications, info.bytes) = (publications, bytes);
        }
        for ((topic, chain), last) in self.topics.log.streams(&[TopicPattern::everything()]) {
            let at = self.topics.log.stream(&(topic.clone(), *chain)).next_back().map(|entry| entry.publication.hlc);
            topics.entry(topic.clone()).or_default().publishers.push(TopicPublisher { chain: *chain, last, at });
        }
        let own = self.identity.chain;
        for topic in self.topics.numbers.topics() {
            let info = topics.entry(topic.clone()).or_default();
            if let Some(last) = self.topics.numbers.last(topic)
                && !info.publishers.iter().any(|publisher| publisher.chain == own)
            {
                info.publishers.push(TopicPublisher { chain: own, last, at: None });
            }
        }
        for topic in self.topics.followed.keys().filter_map(TopicPattern::exact) {
            topics.entry(topic).or_default();
        }
        for (topic, info) in &mut topics {
            info.subscribers = self.topics.listeners.count(topic);
        }
        topics
    }

    /// How many subscriptions of this node mean a topic.
    #[must_use]
    pub fn subscribers(&self, topic: &TopicName) -> u64 {
        self.topics.listeners.count(topic)
    }

    /// How far the log goes in each stream of these patterns, from behind `after` on: the answer to a member.
    #[must_use]
    pub fn streams(&self, patterns: &[TopicPattern], after: Option<&(TopicName, ChainId)>) -> SyncResponse {
        let patterns = &patterns[..patterns.len().min(weft_protocol::limits::PATTERNS_PER_QUESTION_MAX)];
        let behind = self.topics.log.streams(patterns).filter(|(key, _)| after.is_none_or(|after| *key > after));
        let head = |((topic, chain), last): (&(TopicName, ChainId), u64)| {
            let (topic, chain) = (topic.clone(), *chain);
            StreamHead { topic, chain, last }
        };
        let mut streams = behind.take(STREAMS_PER_ANSWER_MAX + 1).map(head).collect::<Vec<_>>();
        let more = streams.len() > STREAMS_PER_ANSWER_MAX;
        streams.truncate(STREAMS_PER_ANSWER_MAX);
        SyncResponse::Streams { streams, more }
    }

    /// What the log holds of one publisher in one topic, as much as fits one answer: the answer to a member.
    #[must_use]
    pub fn publications(&self, topic: &TopicName, chain: ChainId, from: PublicationsFrom) -> SyncResponse {
        let key = (topic.clone(), chain);
        let held = self.topics.log.stream(&key).collect::<Vec<&LoggedPublication>>();
        let first = match from {
            PublicationsFrom::After(seq) => held.partition_point(|entry| entry.publication.seq <= seq),
            PublicationsFrom::Since(hlc) => held.partition_point(|entry| entry.publication.hlc < hlc),
            PublicationsFrom::Last(count) => held.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX)),
        };
        let mut bytes = 0;
        let fits = |entry: &&&LoggedPublication| {
            bytes += entry.publication.payload.size() + PUBLICATION_OVERHEAD_BYTES;
            bytes <= PAGE_BYTES_MAX
        };
        let wanted = &held[first..];
        let page = wanted.iter().take(PUBLICATIONS_PER_ANSWER_MAX).take_while(fits);
        let publications = page.map(|entry| entry.publication.clone()).collect::<Vec<_>>();
        let more = publications.len() < wanted.len();
        SyncResponse::Publications { publications, more }
    }
}
