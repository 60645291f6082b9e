//! How often replication looks for differences, and every bound of its tables.

use weft_protocol::limits::PAGE_BYTES_MAX;

/// Most foreign chains tracked: one for each member. Claims about further ones are ignored and counted.
pub(crate) const CHAINS_MAX: usize = 1_024;
/// Most connected members that are synced with; further connections are ignored.
pub(crate) const LINKS_MAX: usize = weft_protocol::limits::MEMBERS_MAX;
/// Most chains remembered whose writer's keys are unknown; further claims are dropped and heard again later.
pub(crate) const KEYLESS_MAX: usize = 256;
/// Most comparisons of single stretches that one member has not answered; what is left out, the next comparison finds.
pub(crate) const STRETCHES_PER_LINK_MAX: usize = 256;
/// How often a stretch is divided: with 16 parts each time far more than [`CHAINS_MAX`].
pub(crate) const STRETCH_DEPTH_MAX: u8 = 4;
/// Most ranges asked of one member at a time, so that one catch-up leaves it time for others.
pub(crate) const RANGES_PER_LINK_MAX: usize = 2;
/// Most pages held or asked for at a time: about 64 MiB. When reached, no further range is asked until one is stored.
pub(crate) const PAGES_MAX: usize = 64;
/// Most gossiped groups of one chain that wait for verification; a further one is fetched as a range later.
pub(crate) const GOSSIP_WAITING_MAX: usize = 8;
/// Most gossiped groups that wait over all chains: 8 MiB of the largest gossiped size.
pub(crate) const GOSSIP_WAITING_TOTAL_MAX: usize = 256;
/// Most ranges being read for members; a further request is refused as busy.
pub(crate) const SERVING_MAX: usize = 64;
/// Most ranges being read for one member: what an honest one asks for at a time.
pub(crate) const SERVING_PER_MEMBER_MAX: usize = RANGES_PER_LINK_MAX + INQUIRIES_MAX;
/// Most stored headers being read for comparison; further suspicions are dropped and arise again.
pub(crate) const COMPARISONS_MAX: usize = 16;
/// Most searches for a first divergence at a time; further suspicions are dropped and arise again.
pub(crate) const INQUIRIES_MAX: usize = 8;

/// Most bytes of our own commits kept in memory for members that fetch what was just announced (guess: what a busy node writes
/// between two announcements, some times over).
pub(crate) const RECENT_BYTES_MAX: usize = 256 * 1024;

/// How long a member that was asked to vouch for something has before another one is asked too, in microseconds: a hundred
/// round trips and syncs of a good link and disk (guess).
pub(crate) const SEEK_PAUSE_US: u64 = 500_000;

/// How often and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationConfig {
    /// Mean time between two rounds of anti-entropy, in microseconds; each is up to a quarter shorter or longer.
    pub round_us: u64,
    /// How many random members each round compares with.
    pub round_members: usize,
    /// Least time between two comparisons with one member that we start, in microseconds (guess: a fifth of a round).
    pub hello_pause_us: u64,
    /// How long a member that did not respond is not asked for the same chain, in microseconds (guess: some round trips).
    pub loss_pause_us: u64,
    /// How long a member that sent something wrong or had nothing is not asked for the same chain, in microseconds.
    pub fault_pause_us: u64,
    /// Most bytes wanted in one page; clamped to what a frame carries.
    pub page_bytes: u64,
    /// How long a commit of ours waits before others hear of it, in microseconds, so that who waits for it comes first (guess: a
    /// round trip and a sync).
    pub announce_linger_us: u64,
    /// Least time between two announcements of ours, in microseconds (guess: shorter than anybody notices, and long enough that
    /// announcements cost a busy node little).
    pub announce_pause_us: u64,
}

impl Default for ReplicationConfig {
    fn default() -> Self {
        Self {
            round_us: 5_000_000,
            round_members: 2,
            hello_pause_us: 1_000_000,
            loss_pause_us: 500_000,
            fault_pause_us: 5_000_000,
            page_bytes: PAGE_BYTES_MAX as u64,
            announce_linger_us: 1_000,
            announce_pause_us: 100_000,
        }
    }
}
