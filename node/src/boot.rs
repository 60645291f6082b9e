//! The log of this process's start: what the kernel's ring keeps, with times of the clock, and the same on the node's log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_kernel::{BootLevel, BootLog, NodeState, ProcessState};
use weft_peer::{Peer, Question};
use weft_protocol::{BootPhase, PhaseRecord, Principal};

use crate::ask::Asker;
use crate::cli::plural;
use crate::clock::Clock;
use crate::control::LISTEN_WAIT_MAX;

/// How often the last phases look whether they have ended.
const LOOK_STEP: Duration = Duration::from_millis(20);

/// Shared by the start and by whoever shows it.
#[derive(Debug, Clone)]
pub(crate) struct Boot(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    log: BootLog,
    /// Whether the node's log takes lines already.
    heard: bool,
}

impl Boot {
    /// A start that begins now.
    pub(crate) fn new() -> Self {
        let mut clock = Clock::new();
        let mut log = BootLog::default();
        log.begin(BootPhase::Init, clock.now());
        Self(Arc::new(Mutex::new(Inner { clock, log, heard: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the log, and repeats on the node's log what that added.
    fn write(&self, write: impl FnOnce(&mut BootLog, weft_protocol::Timestamp)) {
        let mut inner = self.lock();
        let before = inner.log.entries().count() as u64 + inner.log.forgotten();
        let now = inner.clock.now();
        write(&mut inner.log, now);
        if inner.heard {
            let new = inner.log.entries().count() as u64 + inner.log.forgotten() - before;
            repeat(&inner.log, new);
        }
    }

    /// A phase begins, and the one before has ended.
    pub(crate) fn begin(&self, phase: BootPhase) {
        self.write(|log, now| log.begin(phase, now));
    }

    /// This version has nothing that this phase could start.
    pub(crate) fn pass_over(&self, phase: BootPhase) {
        self.write(|log, now| log.pass_over(phase, now));
    }

    /// Something is as it should be.
    pub(crate) fn info(&self, message: &str) {
        self.write(|log, now| log.say(BootLevel::Info, message, now));
    }

    /// Something does not work, and the node goes on without it.
    pub(crate) fn warn(&self, message: &str) {
        self.write(|log, now| log.say(BootLevel::Warn, message, now));
    }

    /// The start ended here.
    pub(crate) fn error(&self, message: &str) {
        self.write(|log, now| log.say(BootLevel::Error, message, now));
    }

    /// From now on the node's log has what is said here, and what was said before too.
    pub(crate) fn hear(&self) {
        let mut inner = self.lock();
        inner.heard = true;
        repeat(&inner.log, u64::MAX);
    }

    /// A copy of the log as it stands.
    pub(crate) fn log(&self) -> BootLog {
        self.lock().log.clone()
    }

    /// The last phases, whose end others bring about: agents run, addresses are known. Then the whole is put on the chain.
    pub(crate) async fn complete(self, asker: Asker, agents_wait: Duration) {
        self.begin(BootPhase::Agents);
        if !self.agents(&asker, agents_wait).await {
            return;
        }
        self.begin(BootPhase::Network);
        self.network(&asker).await;
        self.pass_over(BootPhase::Ecc);
        self.begin(BootPhase::Ready);
        self.write(|log, now| log.end(now));
        let phases = self.log().phases().to_vec();
        if let Err(refusal) = asker.ask(Principal::Operator, Question::RecordBoot { phases }).await {
            self.warn(&format!("the start was not recorded: {refusal}"));
        }
    }

    /// Waits until no agent is on its way to its first life; false when the node goes down meanwhile.
    async fn agents(&self, asker: &Asker, longest: Duration) -> bool {
        let begun = tokio::time::Instant::now();
        loop {
            let Ok((state, agents)) = asker.read(first_agents).await else { return false };
            match state {
                NodeState::Booting => {}
                NodeState::Running if agents.starting.is_empty() || begun.elapsed() > longest => {
                    for name in &agents.starting {
                        self.warn(&format!("{name} does not run yet"));
                    }
                    for reason in &agents.failed {
                        self.warn(reason);
                    }
                    let run = plural(agents.running.len() as u64, "agent");
                    self.info(&format!("{run} at work: {}", agents.running.join(", ")));
                    return true;
                }
                NodeState::Running => {}
                NodeState::ShuttingDown | NodeState::Halted | NodeState::Damaged => return false,
            }
            tokio::time::sleep(LOOK_STEP).await;
        }
    }

    async fn network(&self, asker: &Asker) {
        let begun = tokio::time::Instant::now();
        let own = |peer: &Peer| {
            let members: Vec<_> = peer.discovery().members().collect();
            let own = members.iter().find(|member| member.node == peer.node());
            (own.map(|own| own.addresses.clone()).unwrap_or_default(), members.len())
        };
        loop {
            let Ok((addresses, members)) = asker.read(own).await else { return };
            if !addresses.is_empty() {
                let members = plural(members as u64, "member");
                self.info(&format!("{members} known; others find this node at {}", addresses.join(" ")));
                return;
            }
            if begun.elapsed() > LISTEN_WAIT_MAX {
                return self.warn("no address is known at which others find this node; is the network up?");
            }
            tokio::time::sleep(LOOK_STEP).await;
        }
    }
}

#[derive(Debug, Default)]
struct FirstAgents {
    running: Vec<String>,
    starting: Vec<String>,
    failed: Vec<String>,
}

fn first_agents(peer: &Peer) -> (NodeState, FirstAgents) {
    let mut agents = FirstAgents::default();
    for process in peer.kernel().processes() {
        match process.state {
            ProcessState::Starting => agents.starting.push(process.agent.to_string()),
            ProcessState::Exited(reason) => agents.failed.push(format!("{} {reason}", process.agent)),
            ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping => {
                agents.running.push(process.agent.to_string());
            }
        }
    }
    (peer.kernel().state(), agents)
}

/// The newest lines, on the node's log.
fn repeat(log: &BootLog, newest: u64) {
    let count = log.entries().count();
    let skipped = count.saturating_sub(usize::try_from(newest).unwrap_or(usize::MAX));
    for entry in log.entries().skip(skipped) {
        match entry.level {
            BootLevel::Debug => tracing::debug!(phase = %entry.phase, "{}", entry.message),
            BootLevel::Info => tracing::info!(phase = %entry.phase, "{}", entry.message),
            BootLevel::Warn => tracing::warn!(phase = %entry.phase, "{}", entry.message),
            BootLevel::Error => tracing::error!(phase = %entry.phase, "{}", entry.message),
        }
    }
}

/// A phase that is over, as reports show it.
pub(crate) fn phase_row(record: &PhaseRecord) -> weft_protocol::control::PhaseRow {
    weft_protocol::control::PhaseRow {
        phase: record.phase.to_string(),
        result: record.result.to_string(),
        duration_us: record.duration_us,
    }
}
