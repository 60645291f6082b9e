//! Topics: who of this node listens to what, the numbers of what it publishes, what arrives, and the log that remembers it.

mod arrive;
mod listeners;
mod log;
mod numbers;
mod publish;
mod reads;
mod select;
mod start;
mod subscribe;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use reads::{TopicInfo, TopicPublisher};
pub use start::{Cursor, Gather, GatherId, Start};
use weft_protocol::{ChainId, Hlc, LoggedPublication, MessageId, ProcessId, TopicName, TopicPattern};

use self::listeners::Listeners;
use self::log::Log;
use self::numbers::Numbers;
use crate::event::AskId;

/// Publications of others remembered so that none is delivered twice; gossip repeats for minutes at most (guess).
const SEEN_MAX: usize = 16_384;

/// A pattern that is followed, since when, and by how many.
#[derive(Debug, Clone, Copy)]
struct Followed {
    since: Hlc,
    subscribers: u32,
}

/// See the file's description.
#[derive(Debug)]
pub(crate) struct Topics {
    listeners: Listeners,
    numbers: Numbers,
    log: Log,
    seen: BTreeSet<MessageId>,
    seen_order: VecDeque<MessageId>,
    /// What was last told to the world.
    followed: BTreeMap<TopicPattern, Followed>,
    /// Subscriptions that wait for history, by the number under which it is gathered.
    gathering: BTreeMap<GatherId, subscribe::Subscribing>,
    next_gather: u64,
}

impl Topics {
    /// No subscriptions; numbers go on above `floor`, and behind what `logged` says this chain gave. `orderly` says whether
    /// the run before this one ended with everything on disk.
    pub(crate) fn restored(chain: ChainId, floor: u64, logged: &[LoggedPublication], orderly: bool) -> Self {
        let log = Log::restored(logged);
        Self {
            listeners: Listeners::default(),
            numbers: Numbers::restored(floor, orderly, log.last_of_chain(chain)),
            log,
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            followed: BTreeMap::new(),
            gathering: BTreeMap::new(),
            next_gather: 0,
        }
    }

    /// Remembers a publication of another node, and says whether it is new.
    fn is_new(&mut self, id: MessageId) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.seen_order.push_back(id);
        if self.seen_order.len() > SEEN_MAX {
            self.seen_order.pop_front().map(|oldest| self.seen.remove(&oldest));
        }
        true
    }

    /// What a process subscribes to.
    pub(crate) fn of_process(&self, process: ProcessId) -> Vec<TopicPattern> {
        self.listeners.of_process(process)
    }

    /// Ends the subscription of an ask, and says whether it had one.
    pub(crate) fn withdraw(&mut self, ask: AskId) -> bool {
        self.listeners.withdraw(ask)
    }

    /// Ends one or all subscriptions of a process.
    pub(crate) fn leave(&mut self, process: ProcessId, pattern: Option<&TopicPattern>) {
        self.listeners.leave(process, pattern);
    }

    fn is_followed(&self, topic: &TopicName) -> bool {
        self.listeners.any_matches(topic)
    }
}
