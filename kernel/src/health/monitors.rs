//! All probes of one node: a machine of its own, told what runs and what was answered, saying what to ask and what changed.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    AgentName, Health, HealthChanged, HealthSubject, NodeCheck, ProbeCheck, ProbeKind, ProbeSpec, ProbeTiming,
    ProcessId, Timestamp,
};

use super::monitor::Monitor;
use super::report::HealthRow;

/// How long after its start a node first checks itself, in microseconds: by then it listens (guess).
const FIRST_CHECK_US: u64 = 1_000_000;

/// What is asked how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeTarget {
    /// A process.
    Process {
        /// Which.
        process: ProcessId,
        /// What for: the agent is told.
        kind: ProbeKind,
        /// How.
        check: ProbeCheck,
    },
    /// The node itself.
    Node(NodeCheck),
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// All is well.
    Healthy,
    /// It works, but not as it should.
    Degraded {
        /// Why.
        reason: String,
    },
    /// It does not work, or did not answer.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A process runs that is to be probed.
    Began { process: ProcessId, agent: AgentName, probes: Vec<ProbeSpec> },
    /// A process is probed no longer: it ends, or has ended.
    Ended { process: ProcessId },
    /// A probe was answered.
    Answered { number: u64, answer: ProbeAnswer },
    /// A probe was not made: its process is not one that could answer now.
    Skipped { number: u64 },
    /// Time has passed.
    Woken,
}

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Ask; give `Answered` or `Skipped`.
    Probe { number: u64, target: ProbeTarget },
    /// Put this on the chain.
    Change(HealthChanged),
    /// This process does not live: end it as one that failed.
    Fail { process: ProcessId, reason: String },
}

/// Invariant: `due` holds the time of each monitor, `open` the number of each probe that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    monitors: BTreeMap<HealthSubject, (Monitor, ProbeCheck)>,
    due: BTreeSet<(Timestamp, HealthSubject)>,
    open: BTreeMap<u64, HealthSubject>,
    last_number: u64,
}

impl Monitors {
    /// The checks of the node itself; no process runs yet.
    pub(crate) fn new(checks: &[(NodeCheck, ProbeTiming)], now: Timestamp) -> Self {
        let mut monitors = Self::default();
        for (check, timing) in checks {
            let subject = HealthSubject::Node { check: *check };
            monitors.insert(subject, Monitor::new(*timing, now.after_us(FIRST_CHECK_US)), ProbeCheck::Message);
        }
        monitors
    }

    /// Takes one input and appends what must be done, in order.
    pub(super) fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        match input {
            Input::Began { process, agent, probes } => self.began(process, &agent, &probes, now),
            Input::Ended { process } => self.ended(process),
            Input::Answered { number, answer } => {
                if let Some(subject) = self.open.get(&number).cloned() {
                    self.answered(&subject, answer, now, outputs);
                }
            }
            Input::Skipped { number } => {
                if let Some(subject) = self.open.get(&number).cloned() {
                    self.change(&subject, |monitor| monitor.skip(now));
                }
            }
            Input::Woken => self.look(now, outputs),
        }
    }

    fn began(&mut self, process: ProcessId, agent: &AgentName, probes: &[ProbeSpec], now: Timestamp) {
        for probe in probes {
            let subject = HealthSubject::Process { process, agent: agent.clone(), probe: probe.kind };
            self.insert(subject, Monitor::new(probe.timing, now), probe.check);
        }
    }

    fn ended(&mut self, process: ProcessId) {
        let of_it = |subject: &&HealthSubject| matches!(subject, HealthSubject::Process { process: own, .. } if *own == process);
        let gone = self.monitors.keys().filter(of_it).cloned().collect::<Vec<_>>();
        for subject in gone {
            if let Some((monitor, _)) = self.monitors.remove(&subject) {
                monitor.open().map(|number| self.open.remove(&number));
                self.due.remove(&(monitor.at(), subject));
            }
        }
    }

    fn look(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        while let Some((_, subject)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            let Some((monitor, check)) = self.monitors.get(&subject) else { return };
            if monitor.open().is_some() {
                let overdue = monitor.overdue();
                self.answered(&subject, overdue, now, outputs);
                continue;
            }
            let target = match &subject {
                HealthSubject::Node { check } => ProbeTarget::Node(*check),
                HealthSubject::Process { process, probe, .. } => {
                    ProbeTarget::Process { process: *process, kind: *probe, check: *check }
                }
            };
            self.last_number += 1;
            let number = self.last_number;
            self.open.insert(number, subject.clone());
            self.change(&subject, |monitor| monitor.begin(number, now));
            outputs.push(Output::Probe { number, target });
        }
    }

    fn answered(&mut self, subject: &HealthSubject, answer: ProbeAnswer, now: Timestamp, outputs: &mut Vec<Output>) {
        let mut changed = None;
        self.change(subject, |monitor| {
            changed =
                monitor.answered(answer, now).map(|before| (before, monitor.health().clone(), monitor.failures()));
        });
        let Some((before, now, failures)) = changed else { return };
        let change = HealthChanged { subject: subject.clone(), before, now: now.clone() };
        outputs.push(Output::Change(change));
        if let (HealthSubject::Process { process, probe: ProbeKind::Liveness, .. }, Health::Unhealthy { reason }) =
            (subject, now)
        {
            let reason = format!("its liveness probe failed {failures} times in a row: {reason}");
            outputs.push(Output::Fail { process: *process, reason });
        }
    }

    fn insert(&mut self, subject: HealthSubject, monitor: Monitor, check: ProbeCheck) {
        self.due.insert((monitor.at(), subject.clone()));
        self.monitors.insert(subject, (monitor, check));
    }

    /// Changes one monitor and keeps what is known of it elsewhere.
    fn change(&mut self, subject: &HealthSubject, change: impl FnOnce(&mut Monitor)) {
        let Some((monitor, _)) = self.monitors.get_mut(subject) else { return };
        self.due.remove(&(monitor.at(), subject.clone()));
        let before = monitor.open();
        change(monitor);
        if before != monitor.open() {
            before.map(|number| self.open.remove(&number));
        }
        self.due.insert((monitor.at(), subject.clone()));
    }

    /// When `Woken` is due.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Everything that is probed, the node first.
    pub(super) fn rows(&self) -> impl Iterator<Item = HealthRow> {
        self.monitors.iter().map(|(subject, (monitor, check))| HealthRow {
            subject: subject.clone(),
            check: *check,
            timing: *monitor.timing(),
            health: monitor.health().clone(),
            failures: monitor.failures(),
            since: monitor.since(),
            checked: monitor.checked(),
        })
    }
}
