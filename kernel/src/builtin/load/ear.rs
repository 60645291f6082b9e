//! The other half of the agent that makes load: it listens to a topic and says what it heard, how late, and what it missed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weft_protocol::{ChainId, MessageId, Payload, Publication, Timestamp, TopicName, TopicPattern};

/// Most publications whose lateness is remembered for the report: 800 kB (guess).
const LATENESS_MAX: usize = 200_000;
/// Most publishers of topics whose gaps are noticed; one more is heard, and whether it has gaps is not known (guess).
const STREAMS_MAX: usize = 64;

/// What it is told, as JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Told {
    /// To listen from now on, and count from zero.
    Listen {
        /// To what.
        listen: TopicPattern,
    },
    /// To say what it heard since.
    Report {
        /// Of what.
        heard: TopicPattern,
    },
}

/// What it answers, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    /// Publications.
    heard: u64,
    /// Bytes of text in them.
    bytes: u64,
    /// Those of them that another such agent did not make: their text is not what it sends.
    other: u64,
    /// How often one did not follow the one before it.
    gaps: u64,
    /// When the first and the last came, by the node's clock.
    first_at_us: u64,
    last_at_us: u64,
    /// How long after their stamps: half of them sooner than the first figure, all but a hundredth sooner than the second.
    p50_us: u32,
    p99_us: u32,
}

/// What it listens to, and what came.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) pattern: TopicPattern,
    /// The order to listen, until it is answered.
    pub(super) order: Option<MessageId>,
    heard: u64,
    bytes: u64,
    other: u64,
    gaps: u64,
    /// The last number of each publisher.
    last: BTreeMap<(TopicName, ChainId), u64>,
    first_at: Timestamp,
    last_at: Timestamp,
    lateness_us: Vec<u32>,
}

impl Ear {
    /// Nothing was heard yet.
    pub(super) fn new(pattern: TopicPattern, order: Option<MessageId>) -> Self {
        Self {
            pattern,
            order,
            heard: 0,
            bytes: 0,
            other: 0,
            gaps: 0,
            last: BTreeMap::new(),
            first_at: Timestamp(0),
            last_at: Timestamp(0),
            lateness_us: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, publication: &Publication, now: Timestamp) {
        if self.heard == 0 {
            self.first_at = now;
        }
        self.last_at = now;
        self.heard += 1;
        match &publication.payload {
            Payload::Text(text) if text.bytes().all(|byte| byte == b'x') => self.bytes += text.len() as u64,
            _ => self.other += 1,
        }
        let stream = (publication.topic.clone(), publication.id.chain);
        if let Some(last) = self.last.get_mut(&stream) {
            self.gaps += u64::from(*last != publication.prev);
            *last = publication.seq;
        } else if self.last.len() < STREAMS_MAX {
            self.last.insert(stream, publication.seq);
        }
        if self.lateness_us.len() < LATENESS_MAX {
            let late_us = now.since_us(publication.hlc.to_wall());
            self.lateness_us.push(u32::try_from(late_us).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn report(&self) -> String {
        let mut lateness_us = self.lateness_us.clone();
        lateness_us.sort_unstable();
        let percentile = |hundredths: usize| lateness_us.get(lateness_us.len() * hundredths / 100).copied();
        let report = Report {
            heard: self.heard,
            bytes: self.bytes,
            other: self.other,
            gaps: self.gaps,
            first_at_us: self.first_at.0,
            last_at_us: self.last_at.0,
            p50_us: percentile(50).unwrap_or_default(),
            p99_us: percentile(99).unwrap_or_default(),
        };
        serde_json::to_string(&report).expect("BUG: a report of numbers is always JSON")
    }
}
