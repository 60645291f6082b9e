//! Publications: who of this node listens to which topic, the numbers of what it publishes, and what arrives from others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::limits::{GOSSIP_BYTES_MAX, SUBSCRIPTIONS_MAX};
use weft_protocol::{
    Durability, MessageId, NodeId, Payload, ProcessId, Publication, Refusal, Resource, Role, Stage, StampVerdict,
    TopicName, TraceId,
};

use crate::action::Action;
use crate::event::{Answer, AskId};
use crate::ipc::check_payload;
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};

/// Largest content of a publication, in bytes: the rest of a gossip message is for ids, names and a grant at their longest
/// (guess, twice the sum).
const PUBLICATION_BYTES_MAX: usize = GOSSIP_BYTES_MAX - 2 * 1024;
/// Most subscriptions that operators hold at once (guess); one more is answered `busy`.
const ASKS_MAX: usize = 1_024;
/// Most topics whose numbers are remembered; of one that was forgotten the numbers go on above all that were given (guess).
const NUMBERED_MAX: usize = 65_536;
/// Publications of others remembered so that none is delivered twice; gossip repeats for minutes at most (guess).
const SEEN_MAX: usize = 16_384;

/// Who listens to one topic.
#[derive(Debug, Default)]
struct Listeners {
    asks: BTreeSet<AskId>,
    processes: BTreeSet<ProcessId>,
}

/// Invariant: no entry of `listeners` is empty; `asks` names the topic of each ask in it.
#[derive(Debug)]
pub(crate) struct Topics {
    listeners: BTreeMap<TopicName, Listeners>,
    asks: BTreeMap<AskId, TopicName>,
    numbers: BTreeMap<TopicName, u64>,
    /// The number after which a topic's begin: message numbers are reserved in blocks, and each publication uses one, so
    /// this run's first is greater than any number an earlier run gave in any topic.
    floor: u64,
    seen: BTreeSet<MessageId>,
    seen_order: VecDeque<MessageId>,
    /// The topics last told to the world.
    pub(crate) followed: Vec<TopicName>,
}

impl Topics {
    /// No subscriptions; numbers go on above `floor`.
    pub(crate) const fn restored(floor: u64) -> Self {
        Self {
            listeners: BTreeMap::new(),
            asks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            floor,
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            followed: Vec::new(),
        }
    }

    fn next_number(&mut self, topic: &TopicName) -> u64 {
        if !self.numbers.contains_key(topic) && self.numbers.len() >= NUMBERED_MAX {
            let forgotten = self.numbers.pop_first().map_or(0, |(_, number)| number);
            self.floor = self.floor.max(forgotten);
        }
        let number = self.numbers.entry(topic.clone()).or_insert(self.floor);
        *number += 1;
        *number
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

    fn is_heard(&self, topic: &TopicName) -> bool {
        self.listeners.contains_key(topic)
    }

    fn listeners(&self, topic: &TopicName) -> (Vec<AskId>, Vec<ProcessId>) {
        let listeners = self.listeners.get(topic);
        listeners.map_or_else(Default::default, |listeners| {
            (listeners.asks.iter().copied().collect(), listeners.processes.iter().copied().collect())
        })
    }

    /// What a process subscribes to.
    pub(crate) fn of_process(&self, process: ProcessId) -> Vec<TopicName> {
        let own = self.listeners.iter().filter(|(_, listeners)| listeners.processes.contains(&process));
        own.map(|(topic, _)| topic.clone()).collect()
    }

    /// Ends the subscription of an ask, and says whether it had one.
    pub(crate) fn withdraw(&mut self, ask: AskId) -> bool {
        let Some(topic) = self.asks.remove(&ask) else { return false };
        if let Some(listeners) = self.listeners.get_mut(&topic) {
            listeners.asks.remove(&ask);
        }
        self.sweep();
        true
    }

    /// Ends one or all subscriptions of a process.
    pub(crate) fn leave(&mut self, process: ProcessId, topic: Option<&TopicName>) {
        for (name, listeners) in &mut self.listeners {
            if topic.is_none_or(|topic| topic == name) {
                listeners.processes.remove(&process);
            }
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        self.listeners.retain(|_, listeners| !listeners.asks.is_empty() || !listeners.processes.is_empty());
    }
}

impl Kernel {
    /// Numbers a publication, records it, and hands it to the mesh and to whoever listens here.
    pub(crate) fn on_publish(
        &mut self,
        ask: AskId,
        by: &Asker,
        topic: TopicName,
        payload: Payload,
        trace: Option<TraceId>,
    ) {
        let answer = self.publish(by, topic, payload, trace);
        self.effects.answer(ask, answer);
    }

    fn publish(
        &mut self,
        by: &Asker,
        topic: TopicName,
        payload: Payload,
        trace: Option<TraceId>,
    ) -> Result<Answer, Refusal> {
        let id = self.chain.take_message_id();
        let action = Action::Publish { topic: topic.clone() };
        let permit = self.judge(&by.sender, &action, &[topic.to_string()], &by.grants, Some(id))?;
        self.spend(by, Resource::Messages)?;
        check_payload(&payload, PUBLICATION_BYTES_MAX)?;
        let trace = trace.unwrap_or_else(|| id.new_trace());
        let seq = self.topics.next_number(&topic);
        let rule = permit.text();
        let mut publication = Publication {
            id,
            hlc: weft_protocol::Hlc(0),
            trace,
            from: by.sender.clone(),
            topic,
            seq,
            payload,
            grant: permit.grant,
        };
        publication.hlc = self.record_publication(Stage::Published, self.identity.chain.node, &publication, &rule);
        self.effects.publish(publication.clone());
        let delivered = self.hand_out(self.identity.chain.node, &publication, "local");
        Ok(Answer::Published { id, trace, seq, delivered })
    }

    /// A message to a topic is a publication; nobody in particular could answer it.
    pub(crate) fn on_send_to_topic(&mut self, ask: AskId, by: &Asker, topic: TopicName, message: crate::ipc::Message) {
        if message.wants_reply {
            let message = "a topic does not answer: publish to it, or call an agent".to_owned();
            return self.effects.answer(ask, Err(Refusal::Invalid { message }));
        }
        self.on_publish(ask, by, topic, message.payload, message.trace);
    }

    /// A publication of another node.
    pub(crate) fn on_publication(&mut self, from: NodeId, role: Role, publication: &Publication) {
        let own = publication.id.chain.node == from && publication.from.node == from;
        if !own || from == self.identity.chain.node || !self.topics.is_heard(&publication.topic) {
            return;
        }
        let acceptable = check_payload(&publication.payload, PUBLICATION_BYTES_MAX).is_ok();
        if !acceptable || self.chain.observe(publication.hlc, self.now) == StampVerdict::Refused {
            return;
        }
        if !self.topics.is_new(publication.id) {
            return;
        }
        let action = Action::ReceivePublication { role, topic: publication.topic.clone() };
        let (resources, grants) = ([publication.topic.to_string()], publication.grant.as_slice());
        if let Ok(permit) = self.judge(&publication.from, &action, &resources, grants, Some(publication.id)) {
            self.hand_out(from, publication, &permit.text());
        }
    }

    /// Hands a publication to whoever listens here and says how many those were.
    fn hand_out(&mut self, peer: NodeId, publication: &Publication, rule: &str) -> u64 {
        let (asks, processes) = self.topics.listeners(&publication.topic);
        if asks.is_empty() && processes.is_empty() {
            return 0;
        }
        self.record_publication(Stage::Delivered, peer, publication, rule);
        asks.iter().for_each(|ask| self.effects.notify(*ask, publication));
        processes.iter().for_each(|process| self.effects.deliver_publication(*process, publication));
        (asks.len() + processes.len()) as u64
    }

    fn record_publication(
        &mut self,
        stage: Stage,
        peer: NodeId,
        publication: &Publication,
        rule: &str,
    ) -> weft_protocol::Hlc {
        let (hlc, _) = self.record_step(&crate::ipc::Step {
            stage,
            message: publication.id,
            trace: publication.trace,
            from: &publication.from,
            target: &format!("topic:{}", publication.topic),
            peer,
            rule,
            body: Some(&publication.payload),
            durability: Durability::None,
            cause: &[],
        });
        hlc
    }

    /// An operator listens with its ask, an agent with its process.
    pub(crate) fn on_subscribe(&mut self, ask: AskId, by: &Asker, topic: TopicName) {
        let answer = self.subscribe(ask, by, topic);
        self.effects.answer(ask, answer);
        self.follow();
    }

    fn subscribe(&mut self, ask: AskId, by: &Asker, topic: TopicName) -> Result<Answer, Refusal> {
        let action = Action::Subscribe { topic: topic.clone() };
        self.judge(&by.sender, &action, &[topic.to_string()], &by.grants, None)?;
        let full = || Refusal::Busy { retry_after_us: BUSY_RETRY_US };
        match by.process() {
            None if self.topics.asks.len() >= ASKS_MAX => return Err(full()),
            None => {
                self.topics.asks.insert(ask, topic.clone());
                self.topics.listeners.entry(topic).or_default().asks.insert(ask);
            }
            Some(process) => {
                let own = self.topics.of_process(process);
                if !own.contains(&topic) && own.len() >= SUBSCRIPTIONS_MAX {
                    return Err(full());
                }
                self.topics.listeners.entry(topic).or_default().processes.insert(process);
            }
        }
        Ok(Answer::Subscribed)
    }

    /// An agent no longer listens. Giving something up needs no permission.
    pub(crate) fn on_unsubscribe(&mut self, ask: AskId, by: &Asker, topic: &TopicName) {
        let Some(process) = by.process() else {
            let message = "an operator's subscription ends with the request that made it".to_owned();
            return self.effects.answer(ask, Err(Refusal::Invalid { message }));
        };
        self.topics.leave(process, Some(topic));
        self.effects.answer(ask, Ok(Answer::Unsubscribed));
        self.follow();
    }

    /// Tells the world which topics are listened to here, when that changed.
    pub(crate) fn follow(&mut self) {
        let topics = self.topics.listeners.keys().cloned().collect::<Vec<_>>();
        if topics != self.topics.followed {
            self.topics.followed.clone_from(&topics);
            self.effects.follow(topics);
        }
    }
}
