//! The kernel machine: the one dispatcher, and the tables it owns.

use std::sync::Arc;

use weft_protocol::{AgentName, ChainState, ProcessId, Recovered, Signer, Timestamp};

use crate::config::{KernelConfig, KernelIdentity};
use crate::event::{Input, Output};
use crate::gate::Gate;
use crate::status::{ChainStatus, NodeState, ProcessInfo};

/// See the crate's description.
#[derive(Debug)]
pub struct Kernel {
    state: NodeState,
    chain: ChainState,
    processes: Vec<ProcessInfo>,
}

impl Kernel {
    /// A kernel that continues from what was recovered; its first outputs follow with the first input, `Woken` at once.
    #[must_use]
    pub fn new(
        _config: KernelConfig,
        identity: KernelIdentity,
        _gate: Box<dyn Gate>,
        _recovered: &Recovered,
        signer: Arc<dyn Signer>,
        _seed: u64,
        _now: Timestamp,
    ) -> Self {
        let chain = ChainState::new(identity.chain, identity.cluster, signer.public_keys().clone());
        Self { state: NodeState::Booting, chain, processes: Vec::new() }
    }

    /// Takes one input and appends what must be done for it.
    pub fn handle(&mut self, _input: Input, _now: Timestamp, _outputs: &mut Vec<Output>) {}

    /// When `Woken` is due; at most one deadline at a time.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        None
    }

    /// Where the node stands.
    #[must_use]
    pub const fn state(&self) -> NodeState {
        self.state
    }

    /// The own chain as it is on disk.
    #[must_use]
    pub const fn chain_state(&self) -> &ChainState {
        &self.chain
    }

    /// The same, for people.
    #[must_use]
    pub fn chain_status(&self) -> ChainStatus {
        unreachable!()
    }

    /// All processes, the living first, then those that exited, newest last.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessInfo> {
        self.processes.clone()
    }

    /// One process, living or not long gone.
    #[must_use]
    pub fn process(&self, _process: ProcessId) -> Option<ProcessInfo> {
        None
    }

    /// The living process of that name.
    #[must_use]
    pub fn agent(&self, _agent: &AgentName) -> Option<ProcessId> {
        None
    }

    /// Whether a message to that name would find a process here.
    #[must_use]
    pub fn has_agent(&self, agent: &AgentName) -> bool {
        self.agent(agent).is_some()
    }
}
