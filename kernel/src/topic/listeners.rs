//! Who listens to which pattern, found by the exact topic or by looking through the wildcards.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{ProcessId, TopicName, TopicPattern};

use crate::event::AskId;

/// Somebody who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// An operator's ask.
    Ask(AskId),
    /// An agent's process.
    Process(ProcessId),
}

/// One subscription.
pub(super) type Key = (TopicPattern, Who);

/// Whether publications are handed to a subscription as they come, or wait in the log until its history was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Gathering,
    Live,
}

/// Invariant: no inner map is empty; `asks` names the pattern of each ask in them.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    exact: BTreeMap<TopicName, BTreeMap<Who, Phase>>,
    wild: BTreeMap<TopicPattern, BTreeMap<Who, Phase>>,
    asks: BTreeMap<AskId, TopicPattern>,
}

impl Listeners {
    /// Adds a subscription, or lets an existing one begin anew.
    pub(super) fn insert(&mut self, pattern: &TopicPattern, who: Who, phase: Phase) {
        if let Who::Ask(ask) = who {
            self.asks.insert(ask, pattern.clone());
        }
        self.group(pattern).insert(who, phase);
    }

    /// Lets a subscription be handed publications as they come; false when it ended meanwhile.
    pub(super) fn go_live(&mut self, (pattern, who): &Key) -> bool {
        let there = match pattern.exact() {
            Some(topic) => self.exact.get_mut(&topic),
            None => self.wild.get_mut(pattern),
        };
        let phase = there.and_then(|group| group.get_mut(who));
        phase.is_some_and(|phase| {
            *phase = Phase::Live;
            true
        })
    }

    fn group(&mut self, pattern: &TopicPattern) -> &mut BTreeMap<Who, Phase> {
        match pattern.exact() {
            Some(topic) => self.exact.entry(topic).or_default(),
            None => self.wild.entry(pattern.clone()).or_default(),
        }
    }

    pub(super) fn withdraw(&mut self, ask: AskId) -> bool {
        let Some(pattern) = self.asks.remove(&ask) else { return false };
        self.group(&pattern).remove(&Who::Ask(ask));
        self.sweep();
        true
    }

    pub(super) fn leave(&mut self, process: ProcessId, pattern: Option<&TopicPattern>) {
        let (who, topic) = (Who::Process(process), pattern.and_then(TopicPattern::exact));
        for (name, group) in &mut self.exact {
            if pattern.is_none() || topic.as_ref() == Some(name) {
                group.remove(&who);
            }
        }
        for (name, group) in &mut self.wild {
            if pattern.is_none_or(|pattern| pattern == name) {
                group.remove(&who);
            }
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        self.exact.retain(|_, group| !group.is_empty());
        self.wild.retain(|_, group| !group.is_empty());
    }

    pub(super) fn asks(&self) -> usize {
        self.asks.len()
    }

    pub(super) fn of_process(&self, process: ProcessId) -> Vec<TopicPattern> {
        let who = Who::Process(process);
        let own = self.all().filter(|(_, group)| group.contains_key(&who));
        own.map(|(pattern, _)| pattern).collect()
    }

    /// Every pattern with how many listen.
    pub(super) fn counts(&self) -> BTreeMap<TopicPattern, u32> {
        self.all().map(|(pattern, group)| (pattern, u32::try_from(group.len()).unwrap_or(u32::MAX))).collect()
    }

    fn all(&self) -> impl Iterator<Item = (TopicPattern, &BTreeMap<Who, Phase>)> {
        let exact = self.exact.iter().map(|(topic, group)| (TopicPattern::from(topic.clone()), group));
        exact.chain(self.wild.iter().map(|(pattern, group)| (pattern.clone(), group)))
    }

    pub(super) fn any_matches(&self, topic: &TopicName) -> bool {
        self.exact.contains_key(topic) || self.wild.keys().any(|pattern| pattern.matches(topic))
    }

    /// How many subscriptions mean this topic.
    pub(super) fn count(&self, topic: &TopicName) -> u64 {
        self.groups_of(topic).map(|group| group.len() as u64).sum()
    }

    fn groups_of(&self, topic: &TopicName) -> impl Iterator<Item = &BTreeMap<Who, Phase>> {
        let wild = self.wild.iter().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, group)| group);
        self.exact.get(topic).into_iter().chain(wild)
    }

    /// Whoever is handed a publication of this topic now; each once, however many of its patterns mean it.
    pub(super) fn live(&self, topic: &TopicName) -> BTreeSet<Who> {
        let live = |(who, phase): (&Who, &Phase)| (*phase == Phase::Live).then_some(*who);
        self.groups_of(topic).flat_map(BTreeMap::iter).filter_map(live).collect()
    }
}
