//! Who a peer is and within which limits it runs.

use weft_discovery::DiscoveryConfig;
use weft_kernel::KernelConfig;
use weft_protocol::{Certificate, ChainId, Charter, Incarnation, NodeId, NodeName, Signed};
use weft_replication::ReplicationConfig;

use crate::start::Memory;

/// Most requests of ours that one member has not answered yet; more waits and leaves together (guess).
pub(crate) const REQUESTS_IN_FLIGHT_MAX: usize = 4;
/// Most items that wait for one member; a further envelope is given back to its sender, a further receipt is dropped and
/// fetched again by the member's own retry.
pub(crate) const QUEUED_ITEMS_MAX: usize = 4_096;
/// Most bytes of items in one request: one full envelope and room for its framing.
pub(crate) const REQUEST_BYTES_MAX: usize = 720 * 1024;
/// How long a request waits for the receipts of its slowest message before it is answered without them, in microseconds: a
/// disk sync fits, and a member's window of requests is never held up for longer (guess).
pub(crate) const LINGER_US: u64 = 2_000;
/// Most messages that wait for a directory that is not complete; one more is answered `busy`.
pub(crate) const PARKED_MAX: usize = 1_024;
/// How long a message waits for the directory, in microseconds (guess: several gossip rounds).
pub(crate) const PARKED_US_MAX: u64 = 1_000_000;
/// Nodes that are asked for their adverts because members name them as providers of one service (guess: two that lie, and some that
/// do not).
pub(crate) const PROVIDERS_NAMED_MAX: usize = 8;

/// What one member may ask of this node, where a user may want another bound than ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Messages of agents a second; twice as many at once.
    pub messages_per_s: u64,
}

impl Default for RateLimits {
    fn default() -> Self {
        // Less than half of what one processor executes (about 50,000), so that the rest is for everybody else.
        Self { messages_per_s: 20_000 }
    }
}

/// Limits of the three machines, and of what members may ask.
#[derive(Debug, Clone, Default)]
pub struct PeerConfig {
    /// Of the kernel.
    pub kernel: KernelConfig,
    /// Of discovery.
    pub discovery: DiscoveryConfig,
    /// Of replication.
    pub replication: ReplicationConfig,
    /// Of what a member may ask.
    pub rates: RateLimits,
}

/// Who this node is. Its keys are the signer's.
#[derive(Debug, Clone)]
pub struct PeerIdentity {
    /// The name it goes by.
    pub name: NodeName,
    /// What its cluster's id is the hash of.
    pub charter: Charter,
    /// Its own certificate; the founder's is signed by itself.
    pub certificate: Signed<Certificate>,
    /// Which of its chains it writes.
    pub incarnation: Incarnation,
    /// Those of its earlier chains whose copy here contradicts what members hold.
    pub disowned: Vec<Incarnation>,
    /// What is remembered outside the home of how far its chain had come.
    pub memory: Memory,
    /// The program's version.
    pub build: String,
    /// Certificates of members it was told of when it was admitted.
    pub members: Vec<Signed<Certificate>>,
    /// Addresses it was told of, by node.
    pub addresses: Vec<(NodeId, Vec<String>)>,
}

impl PeerIdentity {
    /// The chain this node writes.
    #[must_use]
    pub const fn chain(&self, node: NodeId) -> ChainId {
        ChainId { node, incarnation: self.incarnation }
    }
}
