//! How far others say that each publisher has come: asked in rounds, of a member that connects, and for a subscription.

use weft_protocol::limits::PATTERNS_PER_QUESTION_MAX;
use weft_protocol::{NodeId, StreamHead, SyncRequest, SyncResponse, Timestamp, TopicPattern};

use super::gather::GatherId;
use super::{ROUND_MEMBERS, StreamKey};
use crate::event::Output;
use crate::fetch::Fetch;
use crate::replication::Replication;

/// A question how far publishers have come.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// The followed patterns it is about.
    asked: Vec<TopicPattern>,
    /// The subscription it is for.
    pub(super) gather: Option<GatherId>,
    /// Where this page begins.
    after: Option<StreamKey>,
}

impl Listing {
    pub(super) fn of(asked: Vec<TopicPattern>, gather: Option<GatherId>) -> Self {
        Self { asked, gather, after: None }
    }
}

impl Replication {
    /// Asks some members how far publishers of everything followed have come.
    pub(super) fn ask_round(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let mut members: Vec<NodeId> = self.links.keys().copied().collect();
        for _ in 0..ROUND_MEMBERS.min(members.len()) {
            let member = members.swap_remove(self.roll(members.len()));
            self.ask_followed(member, now, outputs);
        }
    }

    /// Asks one member, unless it is being asked already.
    pub(crate) fn ask_followed(&mut self, member: NodeId, _now: Timestamp, outputs: &mut Vec<Output>) {
        let asking = |(to, fetch): &(NodeId, Fetch)| {
            *to == member && matches!(fetch, Fetch::Streams(listing) if listing.gather.is_none())
        };
        if self.topics.followed.is_empty() || self.fetches.values().any(asking) {
            return;
        }
        let asked = self.topics.followed.keys().cloned().collect();
        self.ask_listing(member, Listing::of(asked, None), outputs);
    }

    pub(super) fn ask_listing(&mut self, member: NodeId, listing: Listing, outputs: &mut Vec<Output>) {
        let patterns = if listing.asked.len() > PATTERNS_PER_QUESTION_MAX {
            vec![TopicPattern::everything()]
        } else {
            listing.asked.clone()
        };
        let content = SyncRequest::Streams { patterns, after: listing.after.clone() };
        let fetch = self.new_fetch();
        self.fetches.insert(fetch, (member, Fetch::Streams(listing)));
        outputs.push(Output::Request { fetch, to: member, content });
    }

    /// What a member said; `None` when it did not respond.
    pub(crate) fn on_streams_answered(
        &mut self,
        from: NodeId,
        mut listing: Listing,
        content: Option<SyncResponse>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let Some(SyncResponse::Streams { streams, more }) = content else {
            // A member that did not hear the question, or does not know it, says nothing about its publications.
            return self.listed_by(from, &listing, now, outputs);
        };
        let last = streams.last().map(|head| (head.topic.clone(), head.chain));
        let wanted = |head: &StreamHead| {
            head.chain != self.own.chain && listing.asked.iter().any(|pattern| pattern.matches(&head.topic))
        };
        let heads = streams.into_iter().filter(wanted).collect::<Vec<_>>();
        for head in heads {
            match listing.gather {
                Some(gather) => self.note_head(gather, from, head),
                None => self.compare_head(from, head, now, outputs),
            }
        }
        // A page that does not go on would be asked for again without end.
        if more && last.is_some() && last > listing.after {
            listing.after = last;
            return self.ask_listing(from, listing, outputs);
        }
        for pattern in &listing.asked {
            if let Some(follow) = self.topics.followed.get_mut(pattern) {
                follow.answered.insert(from);
            }
        }
        self.listed_by(from, &listing, now, outputs);
    }

    /// Compares how far a member says a stream goes with how far it was passed on here.
    pub(super) fn compare_head(&mut self, from: NodeId, head: StreamHead, now: Timestamp, outputs: &mut Vec<Output>) {
        let key = (head.topic, head.chain);
        if !self.topics.is_followed(&key.0) || self.topics.is_listing(&key.0) {
            return;
        }
        let stream = self.stream(&key);
        stream.listed = stream.listed.max(head.last);
        if stream.is_broken() {
            // Whoever says that it has more is worth asking again.
            let repair = stream.repair(now);
            repair.tried.remove(&from);
            self.mend(&key, now, outputs);
        }
    }
}
