//! What the kernel is told when it is made: bounds that a node may choose, and who the node is.

use weft_protocol::limits::AGENT_IN_FLIGHT_MAX;
use weft_protocol::{
    AgentSpec, ChainId, Charter, ClusterId, Digest, Environment, Fact, Head, NodeCheck, NodeName, ProbeTiming,
    ResourceLimits,
};

use crate::gate::RaisedEffect;

/// Bounds and first agents of one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelConfig {
    /// Agents that are started at every boot, each only when none of that name is started again by itself.
    pub boot_agents: Vec<AgentSpec>,
    /// Most messages that one process works on at once; what is beyond waits in its mailbox.
    pub in_flight_max: usize,
    /// Bounds of every child process whose spawn says nothing about them. A built-in agent has none.
    pub limits: ResourceLimits,
    /// What the node checks of itself.
    pub node_checks: Vec<(NodeCheck, ProbeTiming)>,
    /// How long steps of plain messages may wait for others before they are written, when nothing else is to be; in microseconds.
    /// Nobody waits for their record, and a commit costs every member a signature check and a disk sync.
    pub records_linger_us: u64,
    /// Time that a process gets to finish when it is stopped, in microseconds.
    pub grace_us: u64,
    /// Time after which a start that nobody reported counts as failed, in microseconds.
    pub start_us_max: u64,
    /// Time from the request to shut down until the last record is written, whether or not every process has ended;
    /// in microseconds.
    pub shutdown_us_max: u64,
    /// How strict the rules are here.
    pub environment: Environment,
    /// Actions that have a greater effect here than the program says.
    pub effects: Vec<RaisedEffect>,
    /// How long a person may take to decide about a deferred action, and whoever asked to repeat it; in microseconds.
    pub approval_us: u64,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            boot_agents: Vec::new(),
            in_flight_max: AGENT_IN_FLIGHT_MAX,
            // The reference system's numbers for what an agent holds at a time. What adds up over a life has no default
            // bound: it would end every agent that lives long enough.
            limits: ResourceLimits {
                memory_bytes: Some(256 << 20),
                disk_bytes: Some(100 << 20),
                ..ResourceLimits::default()
            },
            node_checks: Vec::new(),
            // Guess: a twentieth of the commits at one a millisecond, and few messages lose their record when a machine dies.
            records_linger_us: 20_000,
            // Guess: an agent that writes a file out needs less.
            grace_us: 2_000_000,
            // Six times what an agent has to answer its first request.
            start_us_max: 30_000_000,
            shutdown_us_max: 5_000_000,
            environment: Environment::Development,
            effects: Vec::new(),
            // Guess: a person who is there has looked by then.
            approval_us: 3_600_000_000,
        }
    }
}

/// Who this node is. The keys come from the signer; its node must be `chain.node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelIdentity {
    /// The name it goes by.
    pub name: NodeName,
    /// The chain it writes.
    pub chain: ChainId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The cluster's charter, on the founder's first chain alone; it becomes part of the first event.
    pub charter: Option<Charter>,
    /// Hash of the genesis rules; it becomes part of the first event.
    pub governance_hash: Digest,
    /// The program's version.
    pub build: String,
    /// Facts that follow the first event of a new chain, in its first commit: the founder's own admission.
    pub founding: Vec<Fact>,
    /// Where this node's earlier chain ends as far as it knows; it becomes part of the first event of a new one.
    pub previous: Option<Head>,
    /// Whether messages may bear numbers that nobody on this disk knows of: then numbers go on far above them.
    pub skip_numbers: bool,
    /// Whether nothing may be appended until `Released`: what waits for a record waits, reads are answered.
    pub held: bool,
}
