//! How fast SWIM goes, and its timers: one table, since a core owns no clock.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, Notification, PeriodicParams, Runtime, Timer};
use weft_protocol::limits::{SWIM_DETOUR_BYTES, SWIM_PACKET_BYTES_MAX};
use weft_protocol::{NodeId, Timestamp};

use super::identity::SwimIdentity;
use crate::config::DiscoveryConfig;

/// Members that are asked to probe one that did not answer (SWIM, section 3.1; 3 as in its evaluation).
const INDIRECT_PROBES: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// How often one update is passed on: foca's setting for small clusters; log2 of a thousand members.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(10).unwrap();
/// To how many members updates are told at a time.
const TOLD_AT_A_TIME: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// How many probe periods lie between two attempts to reach members that are dead (guess: 2 s on a LAN).
const PERIODS_BETWEEN_ATTEMPTS: u32 = 5;
/// How many probe periods lie between two questions to a member whom it knows (guess: foca's 30 s on a LAN).
const PERIODS_BETWEEN_QUESTIONS: u32 = 75;

/// The settings of the protocol.
pub(super) fn settings(config: &DiscoveryConfig) -> Config {
    let [period_us, timeout_us, gossip_us] = config.pace();
    let period = Duration::from_micros(period_us);
    let every = |frequency, num_members| Some(PeriodicParams { frequency, num_members });
    Config {
        probe_period: period,
        probe_rtt: Duration::from_micros(timeout_us),
        num_indirect_probes: INDIRECT_PROBES,
        max_transmissions: TRANSMISSIONS,
        suspect_to_down_after: Duration::from_micros(config.dead_after_us),
        // One entry for each member: there is no need to forget any.
        remove_down_after: None,
        max_packet_size: NonZeroUsize::new(SWIM_PACKET_BYTES_MAX - SWIM_DETOUR_BYTES).expect("BUG: a packet has room"),
        notify_down_members: true,
        periodic_announce: every(period * PERIODS_BETWEEN_QUESTIONS, NonZeroUsize::MIN),
        periodic_announce_to_down_members: every(period * PERIODS_BETWEEN_ATTEMPTS, NonZeroUsize::MIN),
        periodic_gossip: every(Duration::from_micros(gossip_us), TOLD_AT_A_TIME),
    }
}

/// What the protocol wants done.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) packets: Vec<(NodeId, Vec<u8>)>,
    pub(super) timers: Vec<(Duration, Timer<SwimIdentity>)>,
}

impl Runtime<SwimIdentity> for Gathered {
    /// What changed is read from the state when somebody asks.
    fn notify(&mut self, _: Notification<'_, SwimIdentity>) {}

    fn send_to(&mut self, to: SwimIdentity, packet: &[u8]) {
        self.packets.push((to.node, packet.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<SwimIdentity>, after: Duration) {
        self.timers.push((after, timer));
    }
}

/// What is to be done later, by time.
#[derive(Debug)]
pub(super) struct Timers {
    due: BTreeMap<(Timestamp, u64), Timer<SwimIdentity>>,
    next: u64,
    /// How late a wakeup may be before this node takes itself for the one that stood still.
    patience_us: u64,
    /// Whether it just waited for that reason.
    forgave: bool,
}

impl Timers {
    pub(super) fn new(config: &DiscoveryConfig) -> Self {
        Self { due: BTreeMap::new(), next: 0, patience_us: config.pace()[1], forgave: false }
    }

    pub(super) fn add(&mut self, timers: Vec<(Duration, Timer<SwimIdentity>)>, now: Timestamp) {
        for (after, timer) in timers {
            let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            self.due.insert((now.after_us(after_us), self.next), timer);
            self.next += 1;
        }
    }

    /// A node that was not run when it should have been has not heard the answers either, which may lie before its door: it
    /// goes on as if the time had not passed, and judges after it has looked there. Not twice in a row, so that a slow node
    /// does its part.
    pub(super) fn forgive_lateness(&mut self, now: Timestamp) {
        let Some(first) = self.next_due(false).filter(|first| *first <= now) else { return };
        let late_us = now.since_us(first);
        self.forgave = !self.forgave && late_us > self.patience_us;
        if self.forgave {
            let shift_us = late_us.saturating_add(self.patience_us);
            let moved = std::mem::take(&mut self.due).into_iter();
            self.due = moved.map(|((due, number), timer)| ((due.after_us(shift_us), number), timer)).collect();
        }
    }

    /// The next one that is due. Gossip waits until there is `news`.
    pub(super) fn take_due(&mut self, now: Timestamp, news: bool) -> Option<Timer<SwimIdentity>> {
        let due = self.due.range(..=(now, u64::MAX));
        let key = due.into_iter().find(|(_, timer)| news || !is_gossip(timer)).map(|(key, _)| *key)?;
        self.due.remove(&key)
    }

    pub(super) fn next_due(&self, news: bool) -> Option<Timestamp> {
        self.due.iter().find(|(_, timer)| news || !is_gossip(timer)).map(|((due, _), _)| *due)
    }
}

const fn is_gossip(timer: &Timer<SwimIdentity>) -> bool {
    matches!(timer, Timer::PeriodicGossip(_))
}
