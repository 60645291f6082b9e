//! How much one member may ask of this node: buckets for what its requests cost, filled by the clock and emptied by use.
//!
//! Each member has four for each protocol. What finds one of them too empty is told when to come again; whoever goes on all the
//! same is answered late, and is not read from meanwhile.

use std::collections::BTreeMap;

use weft_protocol::limits::MEMBERS_MAX;
use weft_protocol::{NodeId, Timestamp};

use crate::config::RateLimits;

/// How long the answer to a member over its rate is held back, in microseconds: with the requests that it may have unanswered, what
/// a flood can have read is bounded by this; and well below the ten seconds after which a request has failed (guess).
pub(crate) const HOLD_US: u64 = 250_000;

/// In what a request is counted.
const RESOURCES: usize = 4;

/// A bucket's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units that flow in, a second.
    pub per_s: u64,
    /// Most units in it.
    pub burst: u64,
}

/// Units that flow in with time, up to a bound.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Millionths of units that are there.
    millionths: u64,
    /// As of when.
    at: Timestamp,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new(rate: Rate, now: Timestamp) -> Self {
        Self { millionths: rate.burst * 1_000_000, at: now }
    }

    /// Lets flow in what the time since the last call brings. A clock that went back brings nothing.
    const fn fill(&mut self, rate: Rate, now: Timestamp) {
        let flown = now.since_us(self.at).saturating_mul(rate.per_s);
        let full = rate.burst * 1_000_000;
        let sum = self.millionths.saturating_add(flown);
        self.millionths = if sum < full { sum } else { full };
        if now.0 > self.at.0 {
            self.at = now;
        }
    }

    /// How long until so many units are there, in microseconds; more than the bound counts as the bound, so that what is large
    /// waits for a full bucket and not for ever.
    fn lacks_us(&self, rate: Rate, units: u64) -> u64 {
        let needed = units.min(rate.burst) * 1_000_000;
        needed.saturating_sub(self.millionths).div_ceil(rate.per_s.max(1))
    }

    const fn drain(&mut self, units: u64) {
        self.millionths = self.millionths.saturating_sub(units.saturating_mul(1_000_000));
    }

    /// In how many microseconds so many units will be there; nothing is taken.
    pub fn wait_us(&mut self, rate: Rate, units: u64, now: Timestamp) -> u64 {
        self.fill(rate, now);
        self.lacks_us(rate, units)
    }

    /// Takes so many units.
    ///
    /// # Errors
    /// In how many microseconds they will be there; nothing was taken.
    pub fn take(&mut self, rate: Rate, units: u64, now: Timestamp) -> Result<(), u64> {
        self.fill(rate, now);
        match self.lacks_us(rate, units) {
            0 => {
                self.drain(units);
                Ok(())
            }
            wait_us => Err(wait_us),
        }
    }
}

/// What one request costs this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Messages to judge.
    pub(crate) messages: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// Signatures to verify.
    pub(crate) signatures: u64,
    /// Records that are synced before anything else happens.
    pub(crate) writes: u64,
}

impl Cost {
    const fn units(&self) -> [u64; RESOURCES] {
        [self.messages, self.bytes, self.signatures, self.writes]
    }
}

/// By which protocol a member asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// Messages of agents.
    A2a,
    /// Chains, adverts, traces, logs of topics.
    Sync,
    /// Large bodies.
    Blob,
    /// What is passed on to everybody.
    Gossip,
}

/// What flows in for each protocol, in the order of [`Cost::units`]. All are guesses with the reason beside them; an honest member
/// stays far below.
const fn rates(protocol: Protocol, limits: RateLimits) -> [Rate; RESOURCES] {
    const MIB: u64 = 1024 * 1024;
    // What is of no use to a protocol flows all the same, so that no cost is free by mistake.
    const NONE: Rate = Rate { per_s: 1, burst: 1 };
    match protocol {
        Protocol::A2a => [
            // At once what flows in within two seconds.
            Rate { per_s: limits.messages_per_s, burst: 2 * limits.messages_per_s },
            // Half a gigabit, and sixteen of the largest frames at once.
            Rate { per_s: 64 * MIB, burst: 16 * MIB },
            NONE,
            // Groups of 64 at thirty syncs a second.
            Rate { per_s: 2_000, burst: 4_000 },
        ],
        // A page holds hundreds of commits: a member that catches up asks for tens of pages a second.
        Protocol::Sync => [Rate { per_s: 500, burst: 1_000 }, NONE, NONE, NONE],
        // 256 KiB each: half a gigabit.
        Protocol::Blob => [Rate { per_s: 256, burst: 512 }, NONE, NONE, NONE],
        Protocol::Gossip => [
            // A neighbour passes on what all others say: a thousand publications a second, and five times that.
            Rate { per_s: 5_000, burst: 10_000 },
            Rate { per_s: 64 * MIB, burst: 64 * MIB },
            // Heads and adverts; verifying one takes 0.2 ms, so that this is a fifth of a processor.
            Rate { per_s: 1_000, burst: 2_000 },
            NONE,
        ],
    }
}

/// The buckets of all members. Invariant: at most one set for each member and protocol, and no more than there may be members.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    limits: RateLimits,
    buckets: BTreeMap<(NodeId, Protocol), [Bucket; RESOURCES]>,
    refused: u64,
}

impl Rates {
    /// Full buckets for everybody.
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other limits count from now on; what is in the buckets stays, up to the new bounds.
    pub(crate) const fn limit(&mut self, limits: RateLimits) {
        self.limits = limits;
    }

    /// Takes what a request of a member costs, all of it or nothing.
    ///
    /// # Errors
    /// In how many microseconds it may come again.
    pub(crate) fn take(&mut self, from: NodeId, protocol: Protocol, cost: Cost, now: Timestamp) -> Result<(), u64> {
        let rates = rates(protocol, self.limits);
        if self.buckets.len() >= 4 * MEMBERS_MAX && !self.buckets.contains_key(&(from, protocol)) {
            // Whoever asked last longest ago has full buckets, or will not miss them.
            let oldest = self.buckets.iter().min_by_key(|(_, buckets)| buckets[0].at).map(|(key, _)| *key);
            oldest.map(|key| self.buckets.remove(&key));
        }
        let buckets = self.buckets.entry((from, protocol)).or_insert_with(|| rates.map(|rate| Bucket::new(rate, now)));
        let asked = || rates.into_iter().zip(cost.units());
        let mut wait_us = 0;
        for (bucket, (rate, units)) in buckets.iter_mut().zip(asked()) {
            bucket.fill(rate, now);
            if units > 0 {
                wait_us = wait_us.max(bucket.lacks_us(rate, units));
            }
        }
        if wait_us > 0 {
            self.refused += 1;
            return Err(wait_us);
        }
        for (bucket, (_, units)) in buckets.iter_mut().zip(asked()) {
            bucket.drain(units);
        }
        Ok(())
    }

    /// How often a member was over its rate.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);
    const ONE: Cost = Cost { messages: 1, bytes: 0, signatures: 0, writes: 0 };

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn let_in(rates: &mut Rates, from: u8, protocol: Protocol, cost: Cost, count: u64, now: Timestamp) -> u64 {
        (0..count).filter(|_| rates.take(node(from), protocol, cost, now).is_ok()).count() as u64
    }

    #[test]
    fn a_member_has_its_burst_then_its_rate_and_is_told_when() {
        let mut all = Rates::default();
        let [rate, ..] = rates(Protocol::A2a, RateLimits::default());
        assert_eq!(let_in(&mut all, 1, Protocol::A2a, ONE, 2 * rate.burst, NOW), rate.burst);
        assert_eq!(all.refused(), rate.burst);
        let wait_us = all.take(node(1), Protocol::A2a, ONE, NOW).expect_err("it is empty");
        assert_eq!(wait_us, 1_000_000 / rate.per_s);
        assert!(all.take(node(1), Protocol::A2a, ONE, NOW.after_us(wait_us - 1)).is_err(), "not a moment earlier");
        assert!(all.take(node(1), Protocol::A2a, ONE, NOW.after_us(wait_us)).is_ok(), "when it was told");
        let later = NOW.after_us(wait_us + 1_000_000);
        assert_eq!(let_in(&mut all, 1, Protocol::A2a, ONE, 2 * rate.burst, later), rate.per_s.min(rate.burst));
    }

    #[test]
    fn a_lower_limit_counts_at_once_and_one_who_waits_is_told_so() {
        let mut all = Rates::new(RateLimits { messages_per_s: 1_000 });
        assert_eq!(let_in(&mut all, 1, Protocol::A2a, ONE, 100_000, NOW), 2_000);
        assert_eq!(all.take(node(1), Protocol::A2a, ONE, NOW), Err(1_000));
        all.limit(RateLimits { messages_per_s: 10 });
        assert_eq!(all.take(node(1), Protocol::A2a, ONE, NOW), Err(100_000));
        let later = NOW.after_us(60_000_000);
        assert_eq!(let_in(&mut all, 1, Protocol::A2a, ONE, 100_000, later), 20, "a full bucket is one of today");
        let sync = rates(Protocol::Sync, RateLimits::default())[0].burst;
        assert_eq!(let_in(&mut all, 1, Protocol::Sync, ONE, 100_000, later), sync, "other protocols have their own");
    }

    #[test]
    fn ten_times_the_rate_gets_the_rate_and_takes_nothing_from_others() {
        let mut all = Rates::default();
        let [rate, ..] = rates(Protocol::A2a, RateLimits::default());
        let (mut flood, mut calm) = (0, 0);
        for millisecond in 0..10_000 {
            let now = NOW.after_us(millisecond * 1_000);
            flood += let_in(&mut all, 1, Protocol::A2a, ONE, 10 * rate.per_s / 1_000, now);
            calm += let_in(&mut all, 2, Protocol::A2a, ONE, 1, now);
        }
        assert_eq!(calm, 10_000, "another member is not told to wait");
        let allowed = 10 * rate.per_s + rate.burst;
        assert!((allowed - rate.per_s / 100..=allowed).contains(&flood), "{flood} of {allowed}");
    }

    #[test]
    fn what_one_protocol_or_resource_spends_another_still_has() {
        let mut all = Rates::default();
        let write = Cost { writes: 1, ..ONE };
        let writes = rates(Protocol::A2a, RateLimits::default())[3].burst;
        assert_eq!(let_in(&mut all, 1, Protocol::A2a, write, 2 * writes, NOW), writes, "disk writes are over");
        assert!(all.take(node(1), Protocol::A2a, ONE, NOW).is_ok(), "plain messages are not");
        assert!(all.take(node(1), Protocol::Sync, ONE, NOW).is_ok());
        let check = Cost { signatures: 1, ..ONE };
        let signatures = rates(Protocol::Gossip, RateLimits::default())[2].burst;
        assert_eq!(let_in(&mut all, 1, Protocol::Gossip, check, 2 * signatures, NOW), signatures);
    }

    #[test]
    fn what_is_larger_than_a_bucket_waits_for_a_full_one() {
        let mut all = Rates::default();
        let huge = Cost { bytes: u64::MAX, ..ONE };
        assert!(all.take(node(1), Protocol::A2a, huge, NOW).is_ok(), "it is full at first");
        let wait_us = all.take(node(1), Protocol::A2a, huge, NOW).expect_err("now it is empty");
        assert!(all.take(node(1), Protocol::A2a, huge, NOW.after_us(wait_us)).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing_and_takes_nothing() {
        let mut all = Rates::default();
        let burst = rates(Protocol::Sync, RateLimits::default())[0].burst;
        assert_eq!(let_in(&mut all, 1, Protocol::Sync, ONE, burst, NOW), burst);
        assert!(all.take(node(1), Protocol::Sync, ONE, Timestamp(NOW.0 - 10_000_000)).is_err());
        assert!(all.take(node(1), Protocol::Sync, ONE, NOW).is_err(), "nor does its way back");
        assert!(all.take(node(1), Protocol::Sync, ONE, NOW.after_us(10_000_000)).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_whoever_asked_longest_ago() {
        let mut all = Rates::default();
        for number in 0..5 * MEMBERS_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let now = NOW.after_us(number);
            assert!(all.take(NodeId::from_bytes(id), Protocol::A2a, ONE, now).is_ok());
        }
        assert_eq!(all.buckets.len(), 4 * MEMBERS_MAX);
        assert!(!all.buckets.contains_key(&(NodeId::from_bytes([0; 32]), Protocol::A2a)));
    }
}
