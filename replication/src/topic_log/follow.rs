//! Which topics are followed here, and what is heard of them.

use std::collections::BTreeSet;

use weft_protocol::{Hlc, NodeId, Publication, Timestamp, TopicPattern};

use super::stream::Stream;
use super::{Follow, HELD_MAX, StreamKey};
use crate::event::Output;
use crate::replication::Replication;

impl Replication {
    /// The set of followed patterns is now this; what is new in it is wanted from `since` on.
    pub(crate) fn on_topics_followed(
        &mut self,
        patterns: Vec<TopicPattern>,
        since: Hlc,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let wanted: BTreeSet<TopicPattern> = patterns.into_iter().collect();
        self.topics.followed.retain(|pattern, _| wanted.contains(pattern));
        for pattern in wanted {
            let begins = Follow { since, answered: BTreeSet::new(), begun: false };
            self.topics.followed.entry(pattern).or_insert(begins);
        }
        let gone = self.topics.streams.keys().filter(|(topic, _)| !self.topics.is_followed(topic));
        for key in gone.cloned().collect::<Vec<_>>() {
            self.topics.streams.remove(&key);
            self.topics.broken.remove(&key);
        }
        let ended =
            self.topics.gathers.iter().filter(|(_, gather)| !self.topics.followed.contains_key(gather.pattern()));
        for gather in ended.map(|(gather, _)| *gather).collect::<Vec<_>>() {
            self.end_gather(gather, outputs);
        }
        if self.topics.followed.is_empty() {
            self.topics.next_round = None;
        } else if self.topics.next_round.is_none() {
            self.plan_topic_round(now);
        }
    }

    /// A publication came by gossip; its author is proven.
    pub(crate) fn on_publication_heard(&mut self, publication: Publication, now: Timestamp, outputs: &mut Vec<Output>) {
        let key = (publication.topic.clone(), publication.id.chain);
        if key.1 == self.own.chain || !self.topics.is_followed(&key.0) {
            return;
        }
        let known = self.members.contains_key(&key.1.node);
        let room = self.topics.streams.values().map(Stream::held).sum::<usize>() < HELD_MAX;
        let stream = self.stream(&key);
        if known && stream.is_next(&publication) {
            stream.last = Some(publication.seq);
            stream.listed = stream.listed.max(publication.seq);
            outputs.push(Output::PassPublication { publication: Box::new(publication), fetched: false });
            return;
        }
        if room {
            stream.hold(publication);
        } else {
            stream.listed = stream.listed.max(publication.seq);
        }
        self.mend(&key, now, outputs);
    }

    /// Its publications have waited for this: nobody takes them in the name of a stranger.
    pub(crate) fn mend_streams_of(&mut self, author: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let waiting = self.topics.streams.keys().filter(|(_, chain)| chain.node == author);
        for key in waiting.cloned().collect::<Vec<_>>() {
            self.mend(&key, now, outputs);
        }
    }

    /// A stream of a followed topic; one that is new begins at zero when its publisher has been asked since we follow.
    pub(super) fn stream(&mut self, key: &StreamKey) -> &mut Stream {
        let author = key.1.node;
        let asked =
            !self.topics.is_listing(&key.0) && self.topics.follows_of(&key.0).all(|it| it.answered.contains(&author));
        let begun = || if asked { Stream::after(0) } else { Stream::default() };
        self.topics.streams.entry(key.clone()).or_insert_with(begun)
    }

    /// From when on publications of a topic are wanted that nobody could be asked about.
    pub(super) fn followed_since(&self, key: &StreamKey) -> Hlc {
        self.topics.follows_of(&key.0).map(|follow| follow.since).min().unwrap_or_default()
    }

    /// Whether a member is connected.
    pub(super) fn is_linked(&self, node: &NodeId) -> bool {
        self.links.contains_key(node)
    }
}
