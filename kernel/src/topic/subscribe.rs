//! Subscribing: the gate, the history that members hold, and then what comes.

use weft_protocol::limits::{AGENT_HISTORY_MAX, SUBSCRIPTIONS_MAX};
use weft_protocol::{Fact, Hlc, ProcessId, Refusal, Timestamp, TopicPattern, TopicSubscribed, TopicUnsubscribed};

use super::Followed;
use super::listeners::{Key, Phase, Who};
use super::start::{Cursor, Gather, GatherId, Start};
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};

/// Most subscriptions that operators hold at once (guess); one more is answered `busy`.
const ASKS_MAX: usize = 1_024;
/// How long after it began to be followed a topic may still have holes in the log, in microseconds: above the time that
/// members have to say how far they are.
const SETTLED_US: u64 = 5_000_000;

/// A subscription whose history is being gathered.
#[derive(Debug)]
pub(crate) struct Subscribing {
    key: Key,
    ask: AskId,
    start: Start,
    what: Gather,
    /// Our stamp when it was asked for.
    begun: Hlc,
}

impl Kernel {
    /// An operator listens with its ask, an agent with its process; the answer follows when members have said how far they are.
    /// That an agent listens is on disk before they are asked.
    pub(crate) fn on_subscribe(&mut self, ask: AskId, by: &Asker, pattern: TopicPattern, start: Start) {
        if let Err(refusal) = self.subscribe(ask, by, pattern, start) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn subscribe(&mut self, ask: AskId, by: &Asker, pattern: TopicPattern, start: Start) -> Result<(), Refusal> {
        let action = Action::Subscribe { pattern: pattern.clone() };
        let permit = self.judge(&by.sender, &action, &[pattern.to_string()], &by.grants, None)?;
        self.check_topics(by, &pattern)?;
        self.use_grant(&by.sender, &permit);
        let (who, is_new) = match by.process() {
            None if self.topics.listeners.asks() >= ASKS_MAX => {
                return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
            }
            None => (Who::Ask(ask), false),
            Some(process) => {
                let own = self.topics.of_process(process);
                let is_new = !own.contains(&pattern);
                if is_new && own.len() >= SUBSCRIPTIONS_MAX {
                    return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
                }
                (Who::Process(process), is_new)
            }
        };
        let start = match start {
            Start::Ago(ago_us) => Start::Since(Hlc::from_wall(Timestamp(self.now.0.saturating_sub(ago_us)))),
            start => start,
        };
        let what = self.to_gather(&pattern, start);
        let begun = self.chain.tick(self.now);
        self.topics.listeners.insert(&pattern, who, Phase::Gathering);
        self.follow();
        let gather = GatherId(self.topics.next_gather);
        self.topics.next_gather += 1;
        self.topics.gathering.insert(gather, Subscribing { key: (pattern.clone(), who), ask, start, what, begun });
        if is_new {
            let by = by.sender.principal.clone();
            let source = by.to_string();
            let fact = Fact::TopicSubscribed(TopicSubscribed { by, pattern });
            let seq = self.chain.append(&source, &fact, self.now).seq;
            self.chain.hold(seq, Promise::SubscriptionRecorded { gather });
        } else {
            self.begin_gathering(gather);
        }
        Ok(())
    }

    /// Asks members for what of a subscription's history is not here.
    pub(crate) fn begin_gathering(&mut self, gather: GatherId) {
        if let Some(Subscribing { key: (pattern, _), what, .. }) = self.topics.gathering.get(&gather) {
            self.effects.gather(gather, pattern.clone(), what.clone());
        }
    }

    /// That an agent subscribed could not be recorded: it does not listen.
    pub(crate) fn break_subscription(&mut self, gather: GatherId) {
        if let Some(Subscribing { ask, .. }) = self.topics.gathering.remove(&gather) {
            self.effects.answer(ask, Err(Refusal::Damaged));
        }
    }

    /// What of the wanted history may not be in the log.
    fn to_gather(&self, pattern: &TopicPattern, start: Start) -> Gather {
        let settled = self.topics.followed.get(pattern).map(|followed| followed.since.to_wall().after_us(SETTLED_US));
        let is_logged = |since: Hlc| settled.is_some_and(|settled| settled <= since.to_wall());
        let beyond = |place| match is_logged(place) {
            true => Gather::Nothing,
            false => Gather::Beyond { bases: self.topics.log.bases(pattern, place), otherwise: place },
        };
        match start {
            Start::Now | Start::Ago(_) => Gather::Nothing,
            Start::Since(since) if is_logged(since) => Gather::Nothing,
            Start::Since(since) => Gather::Since(since),
            Start::Last(count) => Gather::Last(count),
            Start::Resume(Cursor::Live(place)) => beyond(place),
            Start::Resume(Cursor::CatchUp { until, .. }) => beyond(until),
        }
    }

    /// All that members have of a subscription's history is in the log: it is handed out, and then whatever comes.
    pub(crate) fn on_gathered(&mut self, gather: GatherId) {
        let Some(Subscribing { key, ask, start, begun, .. }) = self.topics.gathering.remove(&gather) else { return };
        let listens = self.topics.listeners.go_live(&key);
        let (pattern, who) = key;
        match who {
            // Whoever left meanwhile had subscribed all the same.
            Who::Process(_) => self.effects.answer(ask, Ok(Answer::Subscribed)),
            Who::Ask(_) if listens => self.effects.answer(ask, Ok(Answer::Subscribed)),
            Who::Ask(_) => {}
        }
        if !listens {
            return;
        }
        // Whoever publishes may have heard of the subscription before it was complete.
        let history = match start {
            Start::Now => self.topics.log.arrived_since(&pattern, begun),
            start => self.topics.log.history(&pattern, start),
        };
        let history = history.into_iter().map(|(cursor, entry)| (cursor, entry.publication.clone()));
        let history = history.collect::<Vec<_>>();
        let skipped = match who {
            Who::Ask(_) => 0,
            Who::Process(_) => history.len().saturating_sub(AGENT_HISTORY_MAX),
        };
        for (cursor, publication) in history.into_iter().skip(skipped) {
            self.hand_to(who, cursor, &publication);
        }
    }

    /// An agent no longer listens; the answer follows when that is recorded. Giving something up needs no permission.
    pub(crate) fn on_unsubscribe(&mut self, ask: AskId, by: &Asker, pattern: &TopicPattern) {
        let Some(process) = by.process() else {
            let message = "an operator's subscription ends with the request that made it".to_owned();
            return self.effects.answer(ask, Err(Refusal::Invalid { message }));
        };
        let source = by.sender.principal.to_string();
        match self.leave_topics(process, by, pattern, &source) {
            Some(seq) => self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Unsubscribed) }),
            None => self.effects.answer(ask, Ok(Answer::Unsubscribed)),
        }
        self.follow();
    }

    /// An agent listens no longer; the place of the record, none when it did not listen.
    pub(crate) fn leave_topics(
        &mut self,
        process: ProcessId,
        by: &Asker,
        pattern: &TopicPattern,
        source: &str,
    ) -> Option<u64> {
        if !self.topics.of_process(process).contains(pattern) {
            return None;
        }
        self.topics.leave(process, Some(pattern));
        let left = TopicUnsubscribed { by: by.sender.principal.clone(), pattern: pattern.clone() };
        Some(self.chain.append(source, &Fact::TopicUnsubscribed(left), self.now).seq)
    }

    /// Tells the world what is listened to here, when that changed.
    pub(crate) fn follow(&mut self) {
        let counts = self.topics.listeners.counts();
        let told = self.topics.followed.iter().map(|(pattern, followed)| (pattern, &followed.subscribers));
        if counts.iter().eq(told) {
            return;
        }
        let began = self.chain.tick(self.now);
        let before = std::mem::take(&mut self.topics.followed);
        let since = |pattern: &TopicPattern| before.get(pattern).map_or(began, |followed| followed.since);
        let followed = counts.iter().map(|(pattern, subscribers)| {
            (pattern.clone(), Followed { since: since(pattern), subscribers: *subscribers })
        });
        self.topics.followed = followed.collect();
        self.effects.follow(counts.into_iter().collect(), began);
    }
}
