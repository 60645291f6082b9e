//! What the end of a process does to those that are tied to it: who is told, and who ends too.

use weft_protocol::{
    AgentName, BondFired, BondKind, Bonded, ExitReason, Fact, NodeId, ProcessEnd, ProcessExited, ProcessId, Signal,
    Watched,
};

use crate::chain::Promise;
use crate::ipc::shortened;
use crate::kernel::Kernel;
use crate::process::Cause;
use crate::status::{NodeState, ProcessState};

/// What is said of a process whose node cannot be reached any more.
const NODE_LOST: &str = "node lost";

impl Kernel {
    /// A process of this node has ended, which is recorded and known to its supervisor.
    pub(crate) fn fire_bonds(
        &mut self,
        process: ProcessId,
        agent: &AgentName,
        reason: &ExitReason,
        cause: Option<&Cause>,
    ) {
        let own = self.identity.chain.node;
        let freed = self.bonds.end(own, process, true);
        if self.state == NodeState::ShuttingDown {
            // Everybody ends, and what stands now stands again with whoever comes back.
            return;
        }
        let end = ProcessEnd { node: own, agent: agent.clone(), process: Some(process), reason: text(reason) };
        for watcher in freed.watchers {
            self.tell_end(watcher, BondKind::Monitor, end.clone(), false);
        }
        let wanted = match cause {
            Some(Cause::Asked | Cause::NodeStops | Cause::Again) => true,
            Some(Cause::Terminated { .. }) | None => false,
        };
        let failed = reason.is_abnormal() && !wanted;
        for partner in freed.linked {
            let Some(life) = self.processes.living(partner).filter(|life| life.stop.is_none()) else {
                if self.traps_exits_again(partner) {
                    self.tell_end(partner, BondKind::Link, end.clone(), false);
                }
                continue;
            };
            let ends = failed && !life.spec.traps_exits;
            if ends || life.spec.traps_exits {
                self.tell_end(partner, BondKind::Link, end.clone(), ends);
            }
            if ends {
                let reason = shortened(&format!("linked to {agent} {process}: {reason}"));
                self.fail_process(partner, ExitReason::Terminated { reason });
            }
        }
    }

    /// A member's verified chain says that one of its processes has ended.
    pub(crate) fn on_exit_learned(&mut self, node: NodeId, exited: ProcessExited) {
        if node == self.identity.chain.node {
            return;
        }
        let (agent, process) = (exited.agent.clone(), Some(exited.process));
        let end = ProcessEnd { node, agent, process, reason: text(&exited.reason) };
        for watcher in self.bonds.end(node, exited.process, false).watchers {
            self.tell_end(watcher, BondKind::Monitor, end.clone(), false);
        }
        self.bonds.remember_end(node, exited);
    }

    /// A member is dead or cut off: nobody will say how its processes end.
    pub(crate) fn on_node_lost(&mut self, node: NodeId) {
        if node == self.identity.chain.node {
            return;
        }
        for (watcher, target) in self.bonds.watched_on(node) {
            self.bonds.demonitor(watcher, &target);
            let Watched { agent, process, .. } = target;
            let end = ProcessEnd { node, agent, process: Some(process), reason: NODE_LOST.to_owned() };
            self.tell_end(watcher, BondKind::Monitor, end, false);
        }
    }

    /// Records that a process is told of an end; it is when that is on disk. One that waits to run again is told when it does.
    pub(super) fn tell_end(&mut self, process: ProcessId, kind: BondKind, end: ProcessEnd, ends: bool) {
        let Some(life) = self.processes.living(process) else {
            if self.is_waiting_again(process) {
                self.bonds.keep_unheard(process, kind, end);
            }
            return;
        };
        let told = Bonded { agent: life.spec.agent.clone(), process };
        let fired = BondFired { kind, told, end: end.clone(), ends };
        let seq = self.chain.append("kernel", &Fact::BondFired(Box::new(fired)), self.now).seq;
        let signal = match kind {
            BondKind::Link => Signal::LinkExit(end),
            BondKind::Monitor => Signal::MonitorDown(end),
        };
        self.chain.hold(seq, Promise::Tell { process, signal: Box::new(signal) });
    }

    /// Tells a process something, or keeps it until it can hear.
    pub(crate) fn tell(&mut self, process: ProcessId, signal: Signal) {
        match self.processes.living(process).map(|life| life.state()) {
            Some(ProcessState::Running | ProcessState::Stopping) => self.effects.signal(process, signal, None),
            Some(ProcessState::Starting | ProcessState::Suspended) => self.bonds.keep_untold(process, signal),
            Some(ProcessState::Exited(_)) | None => {}
        }
    }

    /// A process can hear now what it was to be told.
    pub(crate) fn tell_untold(&mut self, process: ProcessId) {
        for signal in self.bonds.take_untold(process) {
            self.tell(process, signal);
        }
    }

    /// The nodes of processes that somebody here monitors.
    #[must_use]
    pub fn nodes_watched(&self) -> std::collections::BTreeSet<NodeId> {
        self.bonds.nodes_watched()
    }

    /// Whether somebody here monitors this process of that node.
    #[must_use]
    pub fn is_watched(&self, node: NodeId, process: ProcessId) -> bool {
        self.bonds.is_watched(node, process)
    }
}

pub(super) fn text(reason: &ExitReason) -> String {
    shortened(&reason.to_string())
}
