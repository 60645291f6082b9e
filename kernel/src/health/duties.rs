//! What the kernel does about health: asks the world, records changes, ends a process that does not live.

use weft_protocol::limits::{PROBE_COUNT_MAX, PROBE_INTERVAL_US_MAX, PROBE_INTERVAL_US_MIN, PROBE_TIMEOUT_US_MAX};
use weft_protocol::{
    ExitReason, Fact, Health, HealthChanged, HealthSubject, NodeCheck, ProbeSpec, ProcessId, Refusal, Timestamp,
};

use super::monitors::{Input, Output, ProbeAnswer, ProbeTarget};
use crate::kernel::Kernel;
use crate::status::{NodeState, ProcessState};

/// A write that takes longer than this is no slow disk any more, in microseconds (guess).
const WRITE_US_MAX: u64 = 10_000_000;

/// Whether these are probes that an agent may have: one of each kind at most, in bounds.
pub(crate) fn check_probes(probes: &[ProbeSpec]) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::Invalid { message });
    for (place, probe) in probes.iter().enumerate() {
        let (kind, timing) = (probe.kind, probe.timing);
        if probes[..place].iter().any(|other| other.kind == kind) {
            return invalid(format!("two {kind} probes: an agent has at most one of each kind"));
        }
        if !(PROBE_INTERVAL_US_MIN..=PROBE_INTERVAL_US_MAX).contains(&timing.interval_us) {
            return invalid(format!("the {kind} probe's interval is not between 100ms and 1h"));
        }
        if timing.timeout_us == 0 || timing.timeout_us > PROBE_TIMEOUT_US_MAX {
            return invalid(format!("the {kind} probe's timeout is not between 1us and 1m"));
        }
        let counts = 1..=PROBE_COUNT_MAX;
        if !counts.contains(&timing.failures) || !counts.contains(&timing.successes) {
            return invalid(format!(
                "the {kind} probe's failures and successes are not between 1 and {PROBE_COUNT_MAX}"
            ));
        }
    }
    Ok(())
}

impl Kernel {
    /// A process runs: from now on its probes are made.
    pub(crate) fn watch(&mut self, process: ProcessId) {
        let Some(life) = self.processes.living(process) else { return };
        let (agent, probes) = (life.spec.agent.clone(), life.spec.probes.clone());
        self.tell_monitors(Input::Began { process, agent, probes });
    }

    /// A process ends, or has ended: how it was means nothing any more.
    pub(crate) fn unwatch(&mut self, process: ProcessId) {
        self.tell_monitors(Input::Ended { process });
    }

    /// A probe was answered; one that is not open any more means nothing.
    pub(crate) fn on_probe_answered(&mut self, number: u64, answer: ProbeAnswer) {
        self.tell_monitors(Input::Answered { number, answer });
    }

    /// When a probe is due.
    pub(crate) fn next_probe(&self) -> Option<Timestamp> {
        self.monitors.next_wakeup().filter(|_| self.may_probe())
    }

    /// Whether probes are due.
    pub(crate) fn probes_are_due(&self) -> bool {
        self.next_probe().is_some_and(|at| at <= self.now)
    }

    fn may_probe(&self) -> bool {
        self.state == NodeState::Running && !self.ending
    }

    /// Makes the probes that are due, and takes those for failed that were not answered in time.
    pub(crate) fn make_probes(&mut self) {
        self.tell_monitors(Input::Woken);
    }

    fn tell_monitors(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.monitors.handle(input, self.now, &mut outputs);
        for output in outputs {
            match output {
                Output::Probe { number, target } => self.probe(number, target),
                Output::Change(change) => self.record_change(change),
                Output::Fail { process, reason } => self.fail_unhealthy(process, reason),
            }
        }
    }

    fn probe(&mut self, number: u64, target: ProbeTarget) {
        match target {
            ProbeTarget::Node(NodeCheck::Chain) => {
                let answer = self.look_at_chain();
                self.tell_monitors(Input::Answered { number, answer });
            }
            ProbeTarget::Process { process, .. } if !self.is_running(process) => {
                self.tell_monitors(Input::Skipped { number });
            }
            ProbeTarget::Process { .. } | ProbeTarget::Node(NodeCheck::Disk | NodeCheck::Network) => {
                self.effects.probe(number, target);
            }
        }
    }

    fn is_running(&self, process: ProcessId) -> bool {
        self.processes.living(process).is_some_and(|life| *life.state() == ProcessState::Running)
    }

    /// Whether what is recorded reaches the disk.
    fn look_at_chain(&self) -> ProbeAnswer {
        let waited_us = self.chain.writing_since().map_or(0, |since| self.now.since_us(since));
        if waited_us > WRITE_US_MAX {
            let reason = format!("the disk has not confirmed a write for {} s", waited_us / 1_000_000);
            return ProbeAnswer::Failed { reason };
        }
        if self.chain.is_backlogged() {
            return ProbeAnswer::Degraded { reason: "more is recorded than the disk can keep up with".to_owned() };
        }
        ProbeAnswer::Healthy
    }

    /// That the node found itself well after its start is no change: its start is on the chain, and nothing more is to say.
    fn record_change(&mut self, change: HealthChanged) {
        let first = matches!(change.subject, HealthSubject::Node { .. }) && change.before == Health::Unknown;
        if first && change.now == Health::Healthy {
            return;
        }
        if !self.ending && self.state == NodeState::Running {
            self.chain.append("kernel", &Fact::HealthChanged(change), self.now);
        }
    }

    /// Its supervisor decides whether it runs again.
    fn fail_unhealthy(&mut self, process: ProcessId, reason: String) {
        self.fail_process(process, ExitReason::Terminated { reason });
    }
}
