//! Where agents really run: inside the node, or as child processes that speak JSON-RPC lines.
//!
//! [`Runners`] does what the peer says and reports what happened; it decides nothing. It never makes the event loop wait:
//! a built-in agent answers at once, a child process has a task of its own behind bounded queues.
//!
//! Modules in reading order: `builtin`; `command` (one child process), `launch` (its start), `confinement` (what it may
//! touch), `family` (who belongs to it), `meter` (what they use), `session` (the conversation), `jsonrpc`, `payload`, `calls` (what it may ask), `open_calls` (and has asked),
//! `api_socket` (the same on its own socket), `lines`, `agent_log`, `probe`.

mod agent_log;
mod api_socket;
mod builtin;
mod calls;
mod command;
mod confinement;
mod family;
mod jsonrpc;
mod launch;
mod lines;
mod meter;
mod open_calls;
mod payload;
mod probe;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weft_kernel::{Delivery, ProbeAnswer};
use weft_peer::{AskId, Input, Reply};
use weft_protocol::limits::{AGENT_HISTORY_MAX, AGENT_IN_FLIGHT_MAX};
use weft_protocol::{
    AgentSpec, Backend, ExitReason, MessageId, NodeId, NodeName, ProbeCheck, ProbeKind, ProcessId, Publication,
    Refusal, Resource, ResourceLimits, Sender, Signal, Timestamp,
};

use crate::ask::Asker;
use crate::runners::builtin::Builtins;
use crate::runners::command::{Control, Ending, Order};

pub(crate) use crate::runners::confinement::Confinement;
pub(crate) use crate::runners::family::{AgentProcesses, ended_children, kill_members};
pub(crate) use crate::runners::probe::disk as look_at_disk;

/// Most orders that wait for one agent's task: twice what may be open, messages and cancellations, and in the other half a
/// subscription's history and as many publications; one more message is answered busy, one more publication or cancellation is lost (guess).
const ORDERS_MAX: usize = 4 * AGENT_IN_FLIGHT_MAX + 2 * AGENT_HISTORY_MAX;
/// Most of what is done to an agent that waits for its task: the kernel has one suspension or resumption out at a time, and
/// three ends that differ.
const CONTROLS_MAX: usize = 8;
/// How long an agent may take to answer `initialize`.
const INITIALIZE: Duration = Duration::from_secs(5);
/// How long the end of all agents may take when the node goes down: SIGTERM, a second, SIGKILL, and a margin.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// What the runners must know of their node.
#[derive(Debug, Clone)]
pub(crate) struct RunnersConfig {
    /// Its id.
    pub(crate) node: NodeId,
    /// Its name.
    pub(crate) node_name: NodeName,
    /// Its home folder.
    pub(crate) home: PathBuf,
    /// This program, to be run as the guard of a child process.
    pub(crate) exe: PathBuf,
}

/// What all tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: RunnersConfig,
    asker: Asker,
    processes: AgentProcesses,
    initialize_within: Duration,
}

/// All running agents of this node.
#[derive(Debug)]
pub(crate) struct Runners {
    shared: Arc<Shared>,
    builtins: Builtins,
    running: BTreeMap<ProcessId, Running>,
    /// Where child processes are looked after: not on the thread of the event loop.
    runtime: Handle,
}

/// One child process.
#[derive(Debug)]
struct Running {
    orders: mpsc::Sender<Order>,
    controls: mpsc::Sender<Control>,
    task: JoinHandle<()>,
}

impl Runners {
    /// No agent runs yet; child processes are looked after by the runtime that this is called on. Sockets that an earlier life of the node left behind are removed.
    pub(crate) fn new(config: RunnersConfig, asker: Asker) -> Self {
        if let Ok(left) = std::fs::read_dir(config.home.join("run")) {
            for path in
                left.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("sock".as_ref()))
            {
                let _gone_already = std::fs::remove_file(path);
            }
        }
        let builtins = Builtins::new(asker.clone());
        let shared = Shared { config, asker, processes: AgentProcesses::default(), initialize_within: INITIALIZE };
        Self { shared: Arc::new(shared), builtins, running: BTreeMap::new(), runtime: Handle::current() }
    }

    /// By which the local API tells agents from the operator's programs.
    pub(crate) fn agent_processes(&self) -> AgentProcesses {
        self.shared.processes.clone()
    }

    /// Starts an agent, which is measured where `limits` bound it. A built-in one runs at once; of another, its start or its end
    /// is reported later.
    pub(crate) fn start(&mut self, process: ProcessId, spec: AgentSpec, limits: ResourceLimits) -> Option<Input> {
        self.forget_ended();
        match spec.backend {
            Backend::Builtin(kind) => {
                self.builtins.start(process, spec.agent, kind);
                Some(Input::AgentStarted { process, pid: None })
            }
            Backend::Command { .. } => {
                let (orders, ordered) = mpsc::channel(ORDERS_MAX);
                let (controls, controlled) = mpsc::channel(CONTROLS_MAX);
                let run = command::run(Arc::clone(&self.shared), process, spec, limits, ordered, controlled);
                let task = self.runtime.spawn(run);
                self.running.insert(process, Running { orders, controls, task });
                None
            }
        }
    }

    /// Hands over a message. Added to `inputs` is what is known at once: what a built-in agent does, or that there is no room.
    pub(crate) fn deliver(
        &mut self,
        process: ProcessId,
        delivery: Delivery,
        now: Timestamp,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(delivery) = self.builtins.deliver(process, delivery, now, inputs) else { return };
        let message = delivery.message;
        let failed =
            match self.running.get(&process).map(|running| running.orders.try_send(Order::Deliver(Box::new(delivery))))
            {
                Some(Ok(())) => return,
                Some(Err(mpsc::error::TrySendError::Full(_))) => "busy: too many messages wait for the agent",
                Some(Err(mpsc::error::TrySendError::Closed(_))) | None => "the process has ended",
            };
        inputs.push_back(Input::AgentAnswered { process, message, answer: Err(failed.to_owned()) });
    }

    /// Hands over an answer of the peer; gives it back when no built-in agent asked. Added to `inputs` is what the agent does.
    pub(crate) fn answered(
        &mut self,
        ask: AskId,
        answer: Result<Reply, Refusal>,
        now: Timestamp,
        inputs: &mut VecDeque<Input>,
    ) -> Option<Result<Reply, Refusal>> {
        self.builtins.answered(ask, answer, now, inputs)
    }

    /// When [`Self::woken`] is wanted.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.builtins.next_wakeup()
    }

    /// The time of [`Self::next_wakeup`] may have come. Added to `inputs` is what agents do.
    pub(crate) fn woken(&mut self, now: Timestamp, inputs: &mut VecDeque<Input>) {
        self.builtins.woken(now, inputs);
    }

    /// Hands over a publication. One that finds no room is lost; the gap in its numbers tells the agent.
    pub(crate) fn deliver_publication(&mut self, process: ProcessId, publication: Publication, now: Timestamp) {
        if self.builtins.hear(process, &publication, now) {
            return;
        }
        if let Some(Running { orders, .. }) = self.running.get(&process)
            && orders.capacity() > ORDERS_MAX / 2
        {
            let _ended = orders.try_send(Order::Publish(Box::new(publication)));
        }
    }

    /// Tells an agent that nobody waits for its answer any more.
    pub(crate) fn cancel(&mut self, process: ProcessId, message: MessageId) {
        self.builtins.cancel(process, &message);
        if let Some(Running { orders, .. }) = self.running.get(&process) {
            let _lost_or_ended = orders.try_send(Order::Cancel(message));
        }
    }

    /// Tells an agent that it uses four fifths of what it may. A built-in one has no use for that.
    pub(crate) fn warn(&mut self, process: ProcessId, resource: Resource, measured: u64, limit: u64) {
        if let Some(Running { orders, .. }) = self.running.get(&process) {
            let _lost_or_ended = orders.try_send(Order::Warn { resource, measured, limit });
        }
    }

    /// Finds out how a process is. Returned is what is known at once: of a built-in agent everything, for it runs in the
    /// event loop that asks.
    pub(crate) fn probe(&self, number: u64, process: ProcessId, kind: ProbeKind, check: ProbeCheck) -> Option<Input> {
        let failed = |reason: &str| {
            let answer = ProbeAnswer::Failed { reason: reason.to_owned() };
            Some(Input::ProbeAnswered { number, answer })
        };
        if self.builtins.runs(process) {
            return Some(Input::ProbeAnswered { number, answer: ProbeAnswer::Healthy });
        }
        match self.running.get(&process) {
            None => failed("the process has ended"),
            Some(Running { orders, .. }) => match orders.try_send(Order::Probe { number, kind, check }) {
                Ok(()) => None,
                Err(mpsc::error::TrySendError::Full(_)) => failed("too much waits for the agent"),
                Err(mpsc::error::TrySendError::Closed(_)) => failed("the process has ended"),
            },
        }
    }

    /// The node's home folder.
    pub(crate) fn home(&self) -> &std::path::Path {
        &self.shared.config.home
    }

    /// Lets an agent stand still. A built-in one does nothing unless it is handed something, so it does at once.
    pub(crate) fn suspend(&mut self, process: ProcessId) -> Option<Input> {
        self.control(process, Control::Suspend, Input::AgentSuspended { process })
    }

    /// Lets an agent go on.
    pub(crate) fn resume(&mut self, process: ProcessId) -> Option<Input> {
        self.control(process, Control::Resume, Input::AgentResumed { process })
    }

    /// Of a process that has ended its end is reported, and nothing else.
    fn control(&mut self, process: ProcessId, control: Control, at_once: Input) -> Option<Input> {
        if self.builtins.runs(process) {
            return Some(at_once);
        }
        let _ended = self.running.get(&process)?.controls.try_send(control);
        None
    }

    /// Tells an agent a signal. A built-in one has no ear for it.
    pub(crate) fn signal(&mut self, process: ProcessId, signal: Box<Signal>, from: Option<Sender>) {
        if let Some(Running { orders, .. }) = self.running.get(&process)
            && orders.try_send(Order::Signal { signal, from }).is_err()
        {
            tracing::warn!(%process, "a signal found no room and is lost");
        }
    }

    /// Ends an agent within the grace time. A built-in one has ended at once; of another, its end is reported later.
    pub(crate) fn stop(&mut self, process: ProcessId, grace_us: u64) -> Option<Input> {
        if self.builtins.stop(process) {
            return Some(Input::AgentExited { process, reason: ExitReason::Stopped });
        }
        match self.running.get(&process) {
            None => Some(Input::AgentExited { process, reason: ExitReason::Stopped }),
            Some(Running { controls, .. }) => {
                let grace = (grace_us > 0).then(|| Duration::from_micros(grace_us));
                let _ending_already = controls.try_send(Control::End(Ending { grace, node_stops: false }));
                None
            }
        }
    }

    /// Ends everything that still runs, without grace. After at most four seconds nothing of it is left.
    pub(crate) async fn shutdown(&mut self) {
        self.builtins.stop_all();
        let mut tasks = Vec::new();
        for Running { controls, task, .. } in std::mem::take(&mut self.running).into_values() {
            let ending = Ending { grace: Some(Duration::ZERO), node_stops: true };
            let _ended_already = controls.try_send(Control::End(ending));
            tasks.push(task);
        }
        let all = async {
            for task in &mut tasks {
                let _ended = task.await;
            }
        };
        if tokio::time::timeout(SHUTDOWN, all).await.is_err() {
            tracing::warn!("an agent did not end in time; it is killed");
        }
        for task in tasks {
            task.abort();
        }
        self.shared.processes.kill_all();
    }

    /// The task of an ended process says so by being over.
    fn forget_ended(&mut self) {
        self.running.retain(|_, running| !running.task.is_finished());
    }
}

/// A variable of the node's own environment.
#[expect(
    clippy::disallowed_methods,
    reason = "where programs and runtime files are is the system's setting, not the node's"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The first `characters_max` characters.
fn clip(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}

#[cfg(test)]
mod tests;
