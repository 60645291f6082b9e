//! The times by which discovery watches, redials and advertises, and what it says of itself.

use weft_protocol::WireVersions;

/// All times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// A member that is suspect and does not refute it is dead after this (guess: a dozen probes by others).
    pub dead_after_us: u64,
    /// One member is probed in this time, each in turn (400 ms suit a LAN, 1 s a WAN: guesses).
    pub probe_period_us: u64,
    /// A member that has not answered by then is probed through others; at most half of the period (150 ms, 500 ms: guesses).
    pub probe_timeout_us: u64,
    /// News of who is alive is told to a few members this often, while there is any (guess).
    pub news_interval_us: u64,
    /// The first redial comes after this, each next one after twice as long (guess).
    pub redial_us_min: u64,
    /// The longest wait between redials while the outage is young (guess: well below the 5 s in which a member that returns
    /// must be found).
    pub redial_us_max: u64,
    /// How long an outage is young (guess).
    pub redial_patience_us: u64,
    /// The longest wait between redials of a member that is long gone; one that returns dials by itself (guess).
    pub redial_late_us_max: u64,
    /// A dial that nobody reported on is over after this (guess: above the transport's own limit).
    pub dial_us_max: u64,
    /// How long an advert of ours is to be believed (guess: above the clock skew a join accepts, 60 s).
    pub advert_ttl_us: u64,
    /// At most one advert of ours leaves in this time; changes in between leave together (guess).
    pub advert_interval_us: u64,
    /// At most one advert leaves in this time for no other reason than how busy our services are (guess).
    pub load_interval_us: u64,
    /// What is told of this node, for agents that ask for such a one.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Which versions of the wire this node speaks.
    pub wire: WireVersions,
    /// Up to so many members everybody is connected to everybody; above, each to its neighbours (guess: the connections that a small
    /// machine keeps without noticing).
    pub full_mesh_max: usize,
    /// A connection to a member that is no neighbour is closed when nothing has passed for so long (guess).
    pub link_idle_us: u64,
    /// How long a missing advert is waited for before somebody is asked again (guess: a few gossip rounds).
    pub inquiry_interval_us: u64,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            dead_after_us: 5_000_000,
            probe_period_us: 400_000,
            probe_timeout_us: 150_000,
            news_interval_us: 100_000,
            redial_us_min: 200_000,
            redial_us_max: 2_000_000,
            redial_patience_us: 60_000_000,
            redial_late_us_max: 15_000_000,
            dial_us_max: 10_000_000,
            advert_ttl_us: 300_000_000,
            advert_interval_us: 20_000,
            load_interval_us: 1_000_000,
            labels: std::collections::BTreeMap::new(),
            wire: WireVersions::default(),
            full_mesh_max: 64,
            link_idle_us: 60_000_000,
            inquiry_interval_us: 500_000,
        }
    }
}

impl DiscoveryConfig {
    /// What SWIM cannot change under way: the period of probes, how long one may take, and the interval of news.
    pub(crate) fn pace(&self) -> [u64; 3] {
        let period_us = self.probe_period_us.max(2);
        let timeout_us = self.probe_timeout_us.clamp(1, period_us / 2);
        [period_us, timeout_us, self.news_interval_us.max(1)]
    }
}
