//! One child process: started under its guard, spoken to in JSON-RPC lines, ended with everything it started.

use std::any::Any;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weft_kernel::{Delivery, Measured, ProbeAnswer};
use weft_peer::Input;
use weft_protocol::{
    AgentSpec, ExitReason, MessageId, Principal, ProbeCheck, ProbeKind, ProcessId, Publication, Resource,
    ResourceLimits,
};

use crate::clock::wall;
use crate::runners::agent_log::AgentLog;
use crate::runners::calls::{Answered, Call, Caller, raw, understand};
use crate::runners::family::{continue_members, kill_members, stop_members};
use crate::runners::jsonrpc::{Id, LINE_BYTES_MAX};
use crate::runners::launch::{self, Launch, NotLaunched};
use crate::runners::lines::{Line, next_line};
use crate::runners::meter::{MEASURE_EVERY, Meter};
use crate::runners::open_calls::{OpenCalls, PartLine};
use crate::runners::probe;
use crate::runners::session::{GuardWord, Introduction, Session, Step, grant_texts};
use crate::runners::{Shared, clip};

/// How long after SIGTERM the family is killed. The guard does the same; the margin lets it be first.
const TERMINATE: Duration = Duration::from_millis(1_250);
/// How often the family is looked for again while it is being killed.
const KILL_AGAIN: Duration = Duration::from_millis(5);
/// How often the family is looked at again until all of it stands still.
const STOP_AGAIN: Duration = Duration::from_millis(1);
/// How often at most: a process stops as soon as it leaves the kernel.
const STOP_ROUNDS_MAX: u32 = 500;
/// How often at most: a process that the kernel itself holds up cannot be waited for.
const KILL_ROUNDS_MAX: u32 = 200;
/// How long the last words of an ended process are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Most lines that wait to be written: both bounds of 64 open requests, errors, and as many publications again, in each half
/// with a subscription's history besides. A
/// publication that finds half of it full is lost; an agent that lets all of it fill reads nothing and is ended.
const OUTGOING_MAX: usize = 512 + 2 * weft_protocol::limits::AGENT_HISTORY_MAX;
/// Most lines that were read and not handled yet; then the agent's writing waits.
const INCOMING_MAX: usize = 64;
/// Longest line of the error output that is looked at whole.
const ERROR_LINE_BYTES_MAX: usize = 8 * 1024;

/// The delivery of the message of this number panics, as a defect would.
#[cfg(test)]
const FAILS_AT: u64 = u64::MAX;

/// What the event loop wants of a running child process.
#[derive(Debug)]
pub(crate) enum Order {
    Deliver(Box<Delivery>),
    Publish(Box<Publication>),
    Cancel(MessageId),
    Warn { resource: Resource, measured: u64, limit: u64 },
    Probe { number: u64, kind: ProbeKind, check: ProbeCheck },
    Signal { signal: Box<weft_protocol::Signal>, from: Option<weft_protocol::Sender> },
}

/// What is done to a child process whatever it does.
#[derive(Debug)]
pub(crate) enum Control {
    /// It stands still.
    Suspend,
    /// It goes on.
    Resume,
    /// It is ended.
    End(Ending),
}

/// How a child process is to be ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// How long it may take to finish by itself; none when it is to be killed at once.
    pub(crate) grace: Option<Duration>,
    /// Whether the node itself is going down: then nobody is left to be told.
    pub(crate) node_stops: bool,
}

/// Runs one agent from start to end; its end is the last thing that the peer hears of it.
pub(crate) async fn run(
    shared: Arc<Shared>,
    process: ProcessId,
    spec: AgentSpec,
    limits: ResourceLimits,
    mut orders: mpsc::Receiver<Order>,
    mut controls: mpsc::Receiver<Control>,
) {
    let (reason, node_stops) = match launch::launch(&shared, process, &spec) {
        Err(NotLaunched::Failed(reason)) => (ExitReason::StartFailed { reason: clip(&reason, 1_024) }, false),
        Err(NotLaunched::Unenforceable(reason)) => (ExitReason::Unenforceable { reason: clip(&reason, 1_024) }, false),
        Ok(launch) => {
            let mut running = Running::new(&shared, process, &spec, limits, launch);
            // After a panic nothing of it is used but what ends its processes, which no panic leaves half changed.
            let ended = AssertUnwindSafe(running.run(&mut orders, &mut controls)).catch_unwind().await;
            orders.close();
            match ended {
                Ok(reason) => (reason, running.node_stops),
                Err(panic) => {
                    running.abandon().await;
                    (failure_of_ours(&*panic), running.node_stops)
                }
            }
        }
    };
    if !node_stops {
        shared.asker.happened(Input::AgentExited { process, reason }).await;
    }
}

/// How far the end of the process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `initialize` is not answered yet.
    Starting,
    /// It works.
    Running,
    /// It was told to finish.
    Finishing,
    /// SIGTERM is out.
    Terminating,
    /// Whoever is left is killed.
    Killing,
}

struct Running<'a> {
    shared: &'a Shared,
    process: ProcessId,
    child: Child,
    guard: u32,
    session: Session,
    log: AgentLog,
    outgoing: mpsc::Sender<String>,
    open: OpenCalls,
    helpers: JoinSet<()>,
    lines: mpsc::Receiver<Line>,
    phase: Phase,
    /// When the phase is over.
    until: Option<Instant>,
    /// What measures it, while it is not measuring; none when nothing is bounded.
    meter: Option<Meter>,
    measuring: JoinSet<(Meter, Measured)>,
    measure_at: Option<Instant>,
    /// Why we ended it; the first reason counts.
    ended_by_us: Option<ExitReason>,
    node_stops: bool,
    /// Whether its family stands still.
    suspended: bool,
}

impl<'a> Running<'a> {
    fn new(shared: &'a Shared, process: ProcessId, spec: &AgentSpec, limits: ResourceLimits, launch: Launch) -> Self {
        let Launch { mut child, guard, socket, log, folder } = launch;
        let meter = Meter::new(guard, folder, limits);
        let principal = Principal::Agent { agent: spec.agent.clone(), process };
        let caller = Caller::new(shared.asker.clone(), principal);
        let (outgoing, to_write) = mpsc::channel(OUTGOING_MAX);
        let (read, lines) = mpsc::channel(INCOMING_MAX);
        let (open, part_lines) = OpenCalls::new(caller.clone());
        let mut helpers = JoinSet::new();
        if let Some(stdin) = child.stdin.take() {
            helpers.spawn(write_lines(stdin, to_write, part_lines));
        }
        if let Some(stdout) = child.stdout.take() {
            helpers.spawn(read_lines(stdout, read));
        }
        if let Some(stderr) = child.stderr.take() {
            helpers.spawn(keep_errors(stderr, log.clone()));
        }
        helpers.spawn(socket.serve(guard, caller.clone(), log.clone()));
        let (session, opening) = Session::begin(&Introduction {
            protocol: 1,
            node: shared.config.node,
            node_name: &shared.config.node_name,
            agent: &spec.agent,
            process,
            grants: grant_texts(&spec.grants),
        });
        let mut running = Self {
            shared,
            process,
            child,
            guard,
            session,
            log,
            outgoing,
            open,
            helpers,
            lines,
            phase: Phase::Starting,
            until: Some(Instant::now() + shared.initialize_within),
            measure_at: meter.is_some().then(|| Instant::now() + MEASURE_EVERY),
            meter,
            measuring: JoinSet::new(),
            ended_by_us: None,
            node_stops: false,
            suspended: false,
        };
        running.write(opening);
        running
    }

    /// The conversation from its beginning to the end of the process, and why it ended.
    async fn run(&mut self, orders: &mut mpsc::Receiver<Order>, controls: &mut mpsc::Receiver<Control>) -> ExitReason {
        let status = loop {
            let (until, measure_at) = (self.until, self.measure_at);
            tokio::select! {
                status = self.child.wait() => break status,
                Some(control) = controls.recv() => {
                    if matches!(control, Control::End(Ending { grace: Some(_), .. })) {
                        // What it was to hear before it finishes it hears first.
                        while let Ok(order) = orders.try_recv() {
                            self.order(order).await;
                        }
                    }
                    self.control(control).await;
                }
                Some(line) = self.lines.recv() => self.line(line).await,
                Some((id, answer)) = self.open.next() => self.answer(id.as_ref(), &answer),
                Some(order) = orders.recv() => self.order(order).await,
                () = time(until) => self.phase_over(),
                () = time(measure_at) => self.measure(),
                Some(measured) = self.measuring.join_next() => self.measured(measured).await,
            }
        };
        // Closed first: what is delivered from now on is refused by the sender's side instead of vanishing here.
        orders.close();
        self.bury().await;
        self.reason(status)
    }

    /// The conversation failed by a defect of this program: the whole family is ended, and nothing more is heard of it.
    async fn abandon(&mut self) {
        for _ in 0..KILL_ROUNDS_MAX {
            if kill_members(self.guard) == 0 {
                break;
            }
            tokio::time::sleep(KILL_AGAIN).await;
        }
        self.signal(Signal::KILL);
        if let Err(error) = self.child.wait().await {
            tracing::warn!(process = %self.process, %error, "the end of an agent's guard was not seen");
        }
        self.shared.processes.remove(self.guard);
        self.helpers.shutdown().await;
        self.open.shutdown().await;
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::Suspend => self.suspend().await,
            Control::Resume => {
                self.go_on();
                self.shared.asker.happened(Input::AgentResumed { process: self.process }).await;
            }
            Control::End(Ending { grace: Some(grace), node_stops }) => self.end_gently(grace, node_stops),
            Control::End(Ending { grace: None, node_stops }) => {
                self.node_stops |= node_stops;
                self.end_now(ExitReason::Killed { signal: Signal::KILL.as_raw() });
            }
        }
    }

    /// Stops the whole family; the guard goes on, to see to their end when the node is gone.
    async fn suspend(&mut self) {
        let process = self.process;
        for _ in 0..STOP_ROUNDS_MAX {
            if stop_members(self.guard) == 0 {
                self.suspended = true;
                return self.shared.asker.happened(Input::AgentSuspended { process }).await;
            }
            tokio::time::sleep(STOP_AGAIN).await;
        }
        self.go_on();
        self.shared.asker.happened(Input::AgentResumed { process }).await;
    }

    fn go_on(&mut self) {
        self.suspended = false;
        continue_members(self.guard);
    }

    /// Looks what the family uses, off this thread: /proc answers at once, a full folder does not.
    fn measure(&mut self) {
        self.measure_at = None;
        if let Some(mut meter) = self.meter.take() {
            self.measuring.spawn_blocking(move || {
                let measured = meter.measure();
                (meter, measured)
            });
        }
    }

    async fn measured(&mut self, measured: Result<(Meter, Measured), tokio::task::JoinError>) {
        let Ok((meter, measured)) = measured else { return };
        self.meter = Some(meter);
        self.measure_at = Some(Instant::now() + MEASURE_EVERY);
        self.shared.asker.happened(Input::ResourcesMeasured { process: self.process, measured }).await;
    }

    async fn line(&mut self, line: Line) {
        let steps = match line {
            Line::Whole(line) => self.session.line(&line),
            Line::TooLong => self.session.long_line(),
        };
        self.follow(steps).await;
    }

    async fn order(&mut self, order: Order) {
        let steps = match order {
            Order::Deliver(delivery) => {
                #[cfg(test)]
                assert_ne!(delivery.message.counter, FAILS_AT, "a defect, for a test");
                let left_ms = delivery.deadline.since_us(wall()) / 1_000;
                self.session.deliver(*delivery, left_ms)
            }
            Order::Publish(publication) => self.session.publication(*publication),
            Order::Cancel(message) => self.session.cancel(message),
            Order::Probe { number, kind, check: ProbeCheck::Message } => self.session.probe(number, kind),
            Order::Probe { number, check: ProbeCheck::Process, .. } => {
                let gone = ProbeAnswer::Failed { reason: "it never told the number of its process".to_owned() };
                vec![Step::Probed { number, answer: self.pid().map_or(gone, probe::process) }]
            }
            Order::Warn { resource, measured, limit } => {
                vec![Step::WriteIfRoom(Session::warning(resource, measured, limit))]
            }
            Order::Signal { signal, from } => vec![Step::Write(Session::signal(&signal, from))],
        };
        self.follow(steps).await;
    }

    async fn follow(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(line) => self.write(line),
                Step::WriteIfRoom(line) => self.write_if_room(line),
                Step::Initialized => self.initialized().await,
                Step::Answered { message, answer } => {
                    let process = self.process;
                    self.shared.asker.happened(Input::AgentAnswered { process, message, answer }).await;
                }
                Step::Probed { number, answer } => {
                    self.shared.asker.happened(Input::ProbeAnswered { number, answer }).await;
                }
                Step::Asked { id, method, params } => self.asked(id, &method, &params).await,
                Step::End(reason) => self.end_now(reason),
            }
        }
    }

    async fn initialized(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
            self.until = None;
        }
        let pid = self.pid();
        self.shared.asker.happened(Input::AgentStarted { process: self.process, pid }).await;
    }

    /// The operating system's number of the program, as its guard told it.
    fn pid(&self) -> Option<u32> {
        self.session.guard_words().iter().find_map(|word| match word {
            GuardWord::Started(pid) => Some(*pid),
            GuardWord::Failed(_) | GuardWord::Unenforceable(_) | GuardWord::Ended(_) => None,
        })
    }

    async fn asked(&mut self, id: Option<Id>, method: &str, params: &str) {
        let answer = match understand(method, params) {
            Err(error) => Err(error),
            Ok(Call::Ready) => Ok(raw("{}".into())),
            Ok(Call::Log { level, text }) => {
                self.log.line(level.name(), &text);
                Ok(raw("{}".into()))
            }
            Ok(Call::Cancel(call)) => {
                if let Some(cancelled) = self.open.cancel(&call) {
                    self.answer(Some(&call), &cancelled);
                }
                Ok(raw("{}".into()))
            }
            Ok(Call::Ask(question)) => match self.open.ask(id.clone(), question).await {
                Err(refused) => Err(refused),
                Ok(()) => return,
            },
        };
        self.answer(id.as_ref(), &answer);
    }

    fn answer(&mut self, id: Option<&Id>, answer: &Answered) {
        match (id, answer) {
            (Some(id), answer) => self.write(Session::answer(id, answer)),
            (None, Err(error)) => self.log.line("weft", &format!("refused: {}", error.message())),
            (None, Ok(_)) => {}
        }
    }

    fn write(&mut self, line: String) {
        if let Err(TrySendError::Full(_)) = self.outgoing.try_send(line) {
            let reason = format!("it reads nothing: {OUTGOING_MAX} lines wait for it");
            self.end_now(ExitReason::Misbehaved { reason });
        }
    }

    fn write_if_room(&mut self, line: String) {
        if self.outgoing.capacity() > OUTGOING_MAX / 2 {
            self.write(line);
        } else {
            tracing::debug!(process = %self.process, "an agent reads too slowly: a line for it was lost");
        }
    }

    /// Asks the agent to finish, and sees to it that it does.
    fn end_gently(&mut self, grace: Duration, node_stops: bool) {
        self.node_stops |= node_stops;
        if self.suspended {
            // It must be able to hear that it shall finish.
            self.go_on();
        }
        let reason = if node_stops { ExitReason::NodeStopped } else { ExitReason::Stopped };
        self.ended_by_us.get_or_insert(reason);
        if matches!(self.phase, Phase::Terminating | Phase::Killing) {
            return;
        }
        self.write_if_room(Session::shutdown());
        let until = Instant::now() + grace;
        self.until =
            Some(if self.phase == Phase::Finishing { self.until.map_or(until, |old| old.min(until)) } else { until });
        self.phase = Phase::Finishing;
    }

    fn end_now(&mut self, reason: ExitReason) {
        self.ended_by_us.get_or_insert(reason);
        self.phase = Phase::Killing;
        self.until = Some(Instant::now());
    }

    fn phase_over(&mut self) {
        match self.phase {
            Phase::Starting => {
                let reason = format!("initialize was not answered within {:?}", self.shared.initialize_within);
                self.end_now(ExitReason::StartFailed { reason });
            }
            Phase::Running => self.until = None,
            Phase::Finishing => {
                self.signal(Signal::TERM);
                self.phase = Phase::Terminating;
                self.until = Some(Instant::now() + TERMINATE);
            }
            Phase::Terminating => self.end_now(ExitReason::Stopped),
            Phase::Killing => {
                // The guard goes last: as long as it is there, orphans stay in its family and are found.
                if kill_members(self.guard) == 0 {
                    self.signal(Signal::KILL);
                }
                self.until = Some(Instant::now() + KILL_AGAIN);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.guard).ok().and_then(Pid::from_raw) {
            let _nobody_is_left = kill_process_group(group, signal);
        }
    }

    /// The guard has ended: end whoever it could not, and hear the last words.
    async fn bury(&mut self) {
        for _ in 0..KILL_ROUNDS_MAX {
            if kill_members(self.guard) == 0 {
                break;
            }
            tokio::time::sleep(KILL_AGAIN).await;
        }
        self.shared.processes.remove(self.guard);
        let words = async {
            while let Some(line) = self.lines.recv().await {
                self.line(line).await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, words).await.is_err() {
            tracing::debug!("an ended agent's output was not closed");
        }
        self.helpers.shutdown().await;
    }

    fn reason(&self, status: std::io::Result<ExitStatus>) -> ExitReason {
        let words = self.session.guard_words();
        let failed = words.iter().find_map(|word| match word {
            GuardWord::Failed(reason) => Some(ExitReason::StartFailed { reason: reason.clone() }),
            GuardWord::Unenforceable(reason) => Some(ExitReason::Unenforceable { reason: reason.clone() }),
            GuardWord::Started(_) | GuardWord::Ended(_) => None,
        });
        if let Some(reason) = &self.ended_by_us {
            return reason.clone();
        }
        if let Some(reason) = failed {
            return reason;
        }
        let ended = exit_reason(status, words);
        if self.session.initialized() {
            return ended;
        }
        let last = self.log.last();
        let said = if last.is_empty() { String::new() } else { format!("; it said: {last}") };
        ExitReason::StartFailed { reason: clip(&format!("it {ended} before it answered initialize{said}"), 1_024) }
    }
}

/// What is told of an agent whose conversation panicked.
fn failure_of_ours(panic: &(dyn Any + Send)) -> ExitReason {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("nothing that can be shown");
    ExitReason::Terminated { reason: clip(&format!("its node failed to serve it, a defect of weft: {said}"), 1_024) }
}

/// A guard that ended with 128 + N and said so passes on the signal N that ended the program.
fn exit_reason(status: std::io::Result<ExitStatus>, words: &[GuardWord]) -> ExitReason {
    use std::os::unix::process::ExitStatusExt;
    let status = match status {
        Ok(status) => status,
        Err(error) => return ExitReason::Misbehaved { reason: format!("its end was not seen: {error}") },
    };
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 && words.contains(&GuardWord::Ended(code - 128)) => {
            ExitReason::Killed { signal: code - 128 }
        }
        (Some(code), _) => ExitReason::Exited { code },
        (None, signal) => ExitReason::Killed { signal: signal.unwrap_or_default() },
    }
}

async fn time(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => pending().await,
    }
}

/// Parts of answers go one at a time, behind all else: an agent that reads slowly is not ended because of them.
async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::Receiver<String>, mut parts: mpsc::Receiver<PartLine>) {
    loop {
        let (mut line, written) = tokio::select! {
            biased;
            line = lines.recv() => match line {
                Some(line) => (line, None),
                None => return,
            },
            Some((line, written)) = parts.recv() => (line, Some(written)),
        };
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() {
            // An agent that closed its input may still work; what is written to it is lost, and it is told at its end.
            lines.close();
            return;
        }
        if let Some(written) = written {
            let _cancelled_meanwhile = written.send(());
        }
    }
}

async fn read_lines(stdout: ChildStdout, lines: mpsc::Sender<Line>) {
    let mut stdout = BufReader::new(stdout);
    while let Some(line) = next_line(&mut stdout, LINE_BYTES_MAX).await {
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

async fn keep_errors(stderr: ChildStderr, log: AgentLog) {
    let mut stderr = BufReader::new(stderr);
    while let Some(line) = next_line(&mut stderr, ERROR_LINE_BYTES_MAX).await {
        match line {
            Line::Whole(line) => log.line("stderr", &String::from_utf8_lossy(&line)),
            Line::TooLong => log.line("weft", "a line of the error output was too long and is lost"),
        }
    }
}

/// The shim as a command, without an environment of its own.
pub(crate) fn guard_command(exe: &std::path::Path, plan: &str, folder: &std::path::Path) -> Command {
    let mut command = Command::new(exe);
    command.args(["child", "guard"]).env_clear().env(crate::shim::PLAN_VARIABLE, plan).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests;
