//! A circuit breaker for each provider of a service: one that fails too often is left alone for a while, then tried once.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::{NodeId, ServiceName, Timestamp};

/// Outcomes that are remembered.
const WINDOW: usize = 10;
/// How long a provider is left alone, in microseconds.
const OPEN_US: u64 = 30_000_000;
/// Most providers that are remembered; of more, one that fails least is forgotten (guess: 512 services on 8 nodes).
const BREAKERS_MAX: usize = 4_096;

/// Where the breaker of a provider stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// It is called.
    Closed {
        /// How many of the last ten calls failed.
        failures: usize,
    },
    /// It is left alone.
    Open {
        /// Until when; the first call from then on is its probe.
        until: Timestamp,
    },
    /// One call is out that decides.
    Probing {
        /// Since when.
        since: Timestamp,
    },
}

/// What a call says about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It worked.
    Worked,
    /// It failed.
    Failed,
    /// Neither: the call itself was wrong, or nobody waited for its end.
    Nothing,
}

/// Where a breaker stands. Invariant: `Probing` from the moment the one probe leaves until its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Timestamp },
    Probing { since: Timestamp },
}

#[derive(Debug)]
struct Breaker {
    state: State,
    failed: VecDeque<bool>,
}

impl Breaker {
    const fn new() -> Self {
        Self { state: State::Closed, failed: VecDeque::new() }
    }

    /// When it may be called; now or earlier means that it may.
    const fn admits_at(&self) -> Timestamp {
        match self.state {
            State::Closed => Timestamp(0),
            State::Open { until } => until,
            // A probe that nobody ends is over after the same time.
            State::Probing { since } => since.after_us(OPEN_US),
        }
    }

    fn failures(&self) -> usize {
        self.failed.iter().filter(|failed| **failed).count()
    }

    fn settle(&mut self, verdict: Verdict, now: Timestamp) {
        match (&self.state, verdict) {
            (State::Probing { .. }, Verdict::Worked) => *self = Self::new(),
            (State::Probing { .. }, Verdict::Failed) => self.state = State::Open { until: now.after_us(OPEN_US) },
            // The probe said nothing: the next call is one.
            (State::Probing { .. }, Verdict::Nothing) => self.state = State::Open { until: now },
            // A call that left before it opened does not change when it is tried.
            (State::Open { .. }, _) | (State::Closed, Verdict::Nothing) => {}
            (State::Closed, Verdict::Worked | Verdict::Failed) => {
                self.failed.push_back(verdict == Verdict::Failed);
                if self.failed.len() > WINDOW {
                    self.failed.pop_front();
                }
                if self.failures() > WINDOW / 2 {
                    self.failed.clear();
                    self.state = State::Open { until: now.after_us(OPEN_US) };
                }
            }
        }
    }
}

/// The breakers of all providers that were called.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    breakers: BTreeMap<(ServiceName, NodeId), Breaker>,
}

impl Breakers {
    /// Where each of them stands.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&ServiceName, NodeId, BreakerState)> {
        self.breakers.iter().map(|((service, node), breaker)| {
            let state = match breaker.state {
                State::Closed => BreakerState::Closed { failures: breaker.failures() },
                State::Open { until } => BreakerState::Open { until },
                State::Probing { since } => BreakerState::Probing { since },
            };
            (service, *node, state)
        })
    }

    /// When that provider may be called; now or earlier means that it may.
    pub(crate) fn admits_at(&self, service: &ServiceName, node: NodeId) -> Timestamp {
        self.breakers.get(&(service.clone(), node)).map_or(Timestamp(0), Breaker::admits_at)
    }

    /// A call to it leaves; the first one after it was left alone is its probe.
    pub(crate) fn called(&mut self, service: &ServiceName, node: NodeId, now: Timestamp) {
        if let Some(breaker) = self.breakers.get_mut(&(service.clone(), node))
            && breaker.state != State::Closed
        {
            breaker.state = State::Probing { since: now };
        }
    }

    /// A call to it ended.
    pub(crate) fn settle(&mut self, service: &ServiceName, node: NodeId, verdict: Verdict, now: Timestamp) {
        let key = (service.clone(), node);
        if !self.breakers.contains_key(&key) && self.breakers.len() >= BREAKERS_MAX {
            let least = self.breakers.iter().filter(|(_, breaker)| breaker.state == State::Closed);
            let least = least.min_by_key(|(_, breaker)| breaker.failures()).map(|(key, _)| key.clone());
            let Some(least) = least else { return };
            self.breakers.remove(&least);
        }
        self.breakers.entry(key).or_insert(const { Breaker::new() }).settle(verdict, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_704_067_200_000_000);

    fn settle(breakers: &mut Breakers, verdicts: &[Verdict], now: Timestamp) {
        for verdict in verdicts {
            breakers.called(&service(), node(), now);
            breakers.settle(&service(), node(), *verdict, now);
        }
    }

    fn service() -> ServiceName {
        "sum".parse().expect("a name")
    }

    fn node() -> NodeId {
        NodeId::from_bytes([1; 32])
    }

    fn admits(breakers: &Breakers, now: Timestamp) -> bool {
        breakers.admits_at(&service(), node()) <= now
    }

    #[test]
    fn it_opens_when_more_than_half_of_the_last_ten_failed() {
        use Verdict::{Failed, Nothing, Worked};
        let mut breakers = Breakers::default();
        settle(&mut breakers, &[Failed, Failed, Failed, Failed, Failed, Nothing, Worked], NOW);
        assert!(admits(&breakers, NOW), "five of six");
        settle(&mut breakers, &[Worked, Worked, Worked, Worked], NOW);
        settle(&mut breakers, &[Failed, Failed, Failed, Failed, Failed], NOW);
        assert!(admits(&breakers, NOW), "five of the last ten: the first five are forgotten");
        settle(&mut breakers, &[Failed], NOW);
        assert!(!admits(&breakers, NOW), "six of the last ten");
        assert!(!admits(&breakers, NOW.after_us(OPEN_US - 1)));
        assert!(admits(&breakers, NOW.after_us(OPEN_US)));
    }

    #[test]
    fn after_thirty_seconds_exactly_one_probe_decides() {
        let mut breakers = Breakers::default();
        settle(&mut breakers, &[Verdict::Failed; 6], NOW);
        let later = NOW.after_us(OPEN_US);
        breakers.called(&service(), node(), later);
        assert!(!admits(&breakers, later), "the probe is out");
        breakers.settle(&service(), node(), Verdict::Failed, later);
        assert!(!admits(&breakers, later.after_us(OPEN_US - 1)), "left alone once more");
        let later = later.after_us(OPEN_US);
        breakers.called(&service(), node(), later);
        breakers.settle(&service(), node(), Verdict::Nothing, later);
        assert!(admits(&breakers, later), "a probe that said nothing is made again");
        breakers.called(&service(), node(), later);
        assert!(!admits(&breakers, later));
        breakers.settle(&service(), node(), Verdict::Worked, later);
        settle(&mut breakers, &[Verdict::Failed; 5], later);
        assert!(admits(&breakers, later), "closed, with nothing remembered");
    }

    #[test]
    fn what_it_remembers_is_bounded_and_never_forgets_whom_it_leaves_alone() {
        let mut breakers = Breakers::default();
        settle(&mut breakers, &[Verdict::Failed; 6], NOW);
        for number in 0..BREAKERS_MAX + 10 {
            let service = format!("s{number}").parse().expect("a name");
            breakers.settle(&service, node(), Verdict::Worked, NOW);
        }
        assert_eq!(breakers.breakers.len(), BREAKERS_MAX);
        assert!(!admits(&breakers, NOW));
    }
}
