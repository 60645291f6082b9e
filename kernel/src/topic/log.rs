//! The publications a node remembers, its own and those it was handed, within bounds of number, bytes and age.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::{
    TOPIC_AGE_US_MAX, TOPIC_BYTES_KEPT_MAX, TOPIC_LOG_BYTES_MAX, TOPIC_LOG_PUBLICATIONS_MAX, TOPIC_PUBLICATIONS_MAX,
};
use weft_protocol::{ChainId, Hlc, LoggedPublication, Timestamp, TopicName, TopicPattern};

/// One publisher in one topic.
pub(super) type StreamKey = (TopicName, ChainId);

#[derive(Debug, Default)]
struct Topic {
    places: BTreeSet<Hlc>,
    bytes: usize,
}

/// Invariant: every entry stands under its topic and, by its number, under its stream; no other does.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: BTreeMap<Hlc, LoggedPublication>,
    streams: BTreeMap<StreamKey, BTreeMap<u64, Hlc>>,
    topics: BTreeMap<TopicName, Topic>,
    bytes: usize,
}

impl Log {
    /// The log as it was on disk.
    pub(super) fn restored(logged: &[LoggedPublication]) -> Self {
        let mut log = Self::default();
        logged.iter().for_each(|entry| log.enter(entry.clone()));
        log
    }

    /// Adds an entry; returns the places of those that had to go for it.
    pub(super) fn insert(&mut self, entry: LoggedPublication, now: Timestamp) -> Vec<Hlc> {
        let topic = entry.publication.topic.clone();
        self.enter(entry);
        let mut gone = Vec::new();
        while let Some(oldest) = self.due_in(&topic, now).or_else(|| self.due()) {
            self.remove(oldest);
            gone.push(oldest);
        }
        gone
    }

    fn enter(&mut self, entry: LoggedPublication) {
        let publication = &entry.publication;
        let (place, size) = (entry.place, publication.payload.size());
        let stream = (publication.topic.clone(), publication.id.chain);
        self.streams.entry(stream).or_default().insert(publication.seq, place);
        let topic = self.topics.entry(publication.topic.clone()).or_default();
        topic.places.insert(place);
        topic.bytes += size;
        self.bytes += size;
        self.entries.insert(place, entry);
    }

    fn remove(&mut self, place: Hlc) {
        let Some(entry) = self.entries.remove(&place) else { return };
        let publication = entry.publication;
        let size = publication.payload.size();
        self.bytes -= size;
        if let Some(topic) = self.topics.get_mut(&publication.topic) {
            topic.places.remove(&place);
            topic.bytes -= size;
            if topic.places.is_empty() {
                self.topics.remove(&publication.topic);
            }
        }
        let key = (publication.topic, publication.id.chain);
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.remove(&publication.seq);
            if stream.is_empty() {
                self.streams.remove(&key);
            }
        }
    }

    /// The entry of a topic that has to go next: its oldest, when there are too many or it is too old.
    fn due_in(&self, topic: &TopicName, now: Timestamp) -> Option<Hlc> {
        let held = self.topics.get(topic)?;
        let oldest = *held.places.first()?;
        let many = held.places.len() > TOPIC_PUBLICATIONS_MAX || held.bytes > TOPIC_BYTES_KEPT_MAX;
        let old = now.since_us(oldest.to_wall()) > TOPIC_AGE_US_MAX && !self.is_newest_of_its_stream(oldest);
        (many && held.places.len() > 1 || old).then_some(oldest)
    }

    /// The oldest entry of all, when there are too many.
    fn due(&self) -> Option<Hlc> {
        let many = self.entries.len() > TOPIC_LOG_PUBLICATIONS_MAX || self.bytes > TOPIC_LOG_BYTES_MAX;
        self.entries.keys().next().copied().filter(|_| many && self.entries.len() > 1)
    }

    fn is_newest_of_its_stream(&self, place: Hlc) -> bool {
        let Some(entry) = self.entries.get(&place) else { return false };
        let key = (entry.publication.topic.clone(), entry.publication.id.chain);
        let newest = self.streams.get(&key).and_then(|stream| stream.last_key_value());
        newest.is_some_and(|(_, newest)| *newest == place)
    }

    pub(super) fn contains(&self, topic: &TopicName, chain: ChainId, seq: u64) -> bool {
        self.streams.get(&(topic.clone(), chain)).is_some_and(|stream| stream.contains_key(&seq))
    }

    /// The entries of all topics that a pattern means, by place within each topic.
    pub(super) fn matching(&self, pattern: &TopicPattern) -> impl Iterator<Item = &LoggedPublication> {
        let topics = self.topics.iter().filter(move |(topic, _)| pattern.matches(topic));
        topics.flat_map(|(_, topic)| &topic.places).filter_map(|place| self.entries.get(place))
    }

    /// The streams of all topics that one of the patterns means, in order, with their last number.
    pub(super) fn streams(&self, patterns: &[TopicPattern]) -> impl Iterator<Item = (&StreamKey, u64)> {
        let wanted = move |topic: &TopicName| patterns.iter().any(|pattern| pattern.matches(topic));
        let streams = self.streams.iter().filter(move |((topic, _), _)| wanted(topic));
        streams.filter_map(|(key, stream)| Some((key, *stream.last_key_value()?.0)))
    }

    /// What is held of one stream, by number.
    pub(super) fn stream(&self, key: &StreamKey) -> impl DoubleEndedIterator<Item = &LoggedPublication> {
        let places = self.streams.get(key).into_iter().flat_map(BTreeMap::values);
        places.filter_map(|place| self.entries.get(place))
    }

    /// The last number of each topic of one chain.
    pub(super) fn last_of_chain(&self, chain: ChainId) -> BTreeMap<TopicName, u64> {
        let own = self.streams.iter().filter(|((_, of), _)| *of == chain);
        own.filter_map(|((topic, _), stream)| Some((topic.clone(), *stream.last_key_value()?.0))).collect()
    }

    /// The topics held, each with the number of its publications and their bytes.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&TopicName, usize, usize)> {
        self.topics.iter().map(|(name, topic)| (name, topic.places.len(), topic.bytes))
    }

    /// The place of the newest entry.
    pub(super) fn last_place(&self) -> Hlc {
        self.entries.keys().next_back().copied().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
