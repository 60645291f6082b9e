//! What of publications must be true: numbered once, handed out once and in order, and to everybody who listened before.

use std::collections::{BTreeMap, BTreeSet};

use weft_peer::AskId;
use weft_protocol::{ChainId, Hlc, LoggedPublication, MessageId, Publication, Timestamp, TopicName, TopicPattern};

use crate::checks::{Check, CheckBook};
use crate::invariants::Actor;

/// How much the stamps of a node may be ahead of its clock, and a little more, in microseconds: what is stamped within that
/// after a subscription counts as older than it where nobody could be asked.
const STAMPS_AHEAD_US: u64 = 600_000;

/// A subscription that was acknowledged.
#[derive(Debug)]
struct Subscription {
    node: usize,
    run: u64,
    pattern: TopicPattern,
    /// When it was acknowledged.
    since_us: u64,
    /// What its node's clock said when it was asked for.
    wall: Timestamp,
    /// By topic and publisher: the last number that was handed out.
    last: BTreeMap<(TopicName, ChainId), u64>,
    handed: BTreeSet<MessageId>,
}

/// A publication that left its publisher.
#[derive(Debug)]
struct Published {
    publication: Publication,
    at_us: u64,
    logged: bool,
}

/// All publications of a run and all subscriptions.
#[derive(Debug, Default)]
pub(crate) struct TopicBook {
    published: BTreeMap<MessageId, Published>,
    numbers: BTreeMap<(TopicName, ChainId, u64), (MessageId, Hlc)>,
    subscriptions: BTreeMap<AskId, Subscription>,
}

impl TopicBook {
    /// A subscription was acknowledged.
    pub(crate) fn subscribed(
        &mut self,
        ask: AskId,
        actor: Actor,
        pattern: TopicPattern,
        wall: Timestamp,
        since_us: u64,
    ) {
        let (node, run) = (actor.node, actor.run);
        let (last, handed) = Default::default();
        self.subscriptions.insert(ask, Subscription { node, run, pattern, since_us, wall, last, handed });
    }

    /// A publication leaves its publisher.
    pub(crate) fn published(&mut self, book: &mut CheckBook, publication: &Publication, at_us: u64) {
        let (id, seq) = (publication.id, publication.seq);
        let number = (publication.topic.clone(), id.chain, seq);
        let this = (id, publication.hlc);
        let first = *self.numbers.entry(number).or_insert(this);
        book.check(Check::NumbersAreUnique, first == this && publication.prev < seq, || {
            format!("number {seq} of {} names {first:?} and {this:?}, after {}", publication.topic, publication.prev)
        });
        let published = Published { publication: publication.clone(), at_us, logged: false };
        self.published.entry(id).or_insert(published);
    }

    /// When that left its publisher, in virtual microseconds.
    pub(crate) fn published_us(&self, id: &MessageId) -> Option<u64> {
        self.published.get(id).map(|published| published.at_us)
    }

    /// These are on a disk.
    pub(crate) fn logged(&mut self, logged: &[LoggedPublication]) {
        for entry in logged {
            if let Some(published) = self.published.get_mut(&entry.publication.id) {
                published.logged = true;
            }
        }
    }

    /// A subscription is handed a publication.
    pub(crate) fn notified(&mut self, book: &mut CheckBook, ask: AskId, publication: &Publication) {
        let Some(subscription) = self.subscriptions.get_mut(&ask) else { return };
        let key = (publication.topic.clone(), publication.id.chain);
        let last = subscription.last.insert(key, publication.seq).unwrap_or_default();
        let new = subscription.handed.insert(publication.id);
        let meant = subscription.pattern.matches(&publication.topic);
        book.check(Check::PublicationsInOrder, new && meant && last < publication.seq, || {
            let node = subscription.node;
            format!("node {node} hands number {} of {} out after {last}", publication.seq, publication.topic)
        });
    }

    /// What was not handed to a subscription that is still there, though it had to be; `runs` are the nodes' present runs.
    pub(crate) fn undelivered(&self, runs: &[u64]) -> Vec<String> {
        let present = self.subscriptions.iter().filter(|(_, it)| runs.get(it.node) == Some(&it.run));
        let missing = present.flat_map(|(ask, subscription)| {
            let due = self.published.values().filter(|published| {
                published.logged
                    && subscription.pattern.matches(&published.publication.topic)
                    && published.at_us > subscription.since_us
                    && published.publication.hlc.to_wall() > subscription.wall.after_us(STAMPS_AHEAD_US)
                    && !subscription.handed.contains(&published.publication.id)
            });
            due.map(move |published| {
                let Publication { topic, seq, from, .. } = &published.publication;
                let (node, from) = (subscription.node, from.node.short());
                format!("subscription {} of node {node} lacks number {seq} of {topic} by {from}", ask.0)
            })
        });
        missing.collect()
    }
}
