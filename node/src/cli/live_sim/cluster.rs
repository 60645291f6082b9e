//! The nodes of a live simulation: processes of this very program, each with a home of its own, and what is done to them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::Stdio;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use weft_protocol::control::{ErrorBody, InviteReport, InviteRequest, UpReport};

use super::fault::FaultRow;
use super::folder::SimFolder;
use super::forward::Forwarders;
use super::name::SimNode;
use crate::cli::CliError;
use crate::cli::client::Client;
use crate::cli::output::clock;
use crate::home::HomeDir;
use crate::runners::ended_children;

/// How long a node may take until it serves: joins of many wait for each other on few processors (guess).
const START_MAX: Duration = Duration::from_secs(60);
/// Nodes that join at once, on a machine of one processor; each costs one for a moment, so more than there are end no sooner.
const JOINING_LEAST: usize = 2;
/// Joins that may fail because the machine was busy, all together, before it counts as too busy (guess).
const FAILURES_MAX: u32 = 16;
/// How long a node may take to go down in order; the node itself gives its agents 5 s.
const DOWN_MAX: Duration = Duration::from_secs(15);
/// Lines of its log that are told of a node that did not start.
const LOG_LINES: usize = 3;
/// How long agents of nodes that were killed may take to end: their guards give them a second.
const ORPHANS_MAX: Duration = Duration::from_secs(5);
/// How often that is looked at.
const ORPHANS_STEP: Duration = Duration::from_millis(10);
/// Settings of the environment that would speak to all nodes of what is each one's own.
const NOT_INHERITED: [&str; 5] = ["WEFT_HOME", "WEFT_NAME", "WEFT_LISTEN", "WEFT_NETWORK_ANNOUNCE", "RUST_LOG"];

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Its process runs.
    Running,
    /// Its process is stopped.
    Paused,
    /// Its process was killed, by a fault.
    Killed,
    /// Its process has ended by itself, or was ended by somebody else.
    Ended,
}

impl State {
    /// In one word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Killed => "killed",
            Self::Ended => "ended",
        }
    }
}

/// One node as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRow {
    /// Its name.
    pub(crate) name: SimNode,
    /// How it is.
    pub(crate) state: State,
    /// Its process, while there is one.
    pub(crate) pid: Option<u32>,
    /// Its home.
    pub(crate) home: String,
    /// Where others find it.
    pub(crate) address: String,
    /// How far its clock is set off, in milliseconds.
    pub(crate) clock_offset_ms: i64,
}

#[derive(Debug)]
struct Node {
    child: Option<Child>,
    state: State,
    clock_offset_ms: i64,
}

impl Node {
    fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let _gone_already = pid.map(|pid| kill_process(pid, signal));
    }
}

/// All of them, and what stands between them.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) folder: SimFolder,
    pub(crate) forwarders: Forwarders,
    nodes: BTreeMap<SimNode, Node>,
}

impl Cluster {
    /// None runs yet.
    pub(crate) fn new(folder: SimFolder, forwarders: Forwarders, count: u8) -> Self {
        let node = |node| (node, Node { child: None, state: State::Ended, clock_offset_ms: 0 });
        Self { folder, forwarders, nodes: SimNode::first(count).map(node).collect() }
    }

    /// The first node founds the cluster, the others join it by its token.
    ///
    /// Called by the program's first thread alone, as whatever starts a process here: nodes end with the thread that started them.
    ///
    /// # Errors
    /// Why a node did not start; others may run.
    pub(crate) async fn begin(&mut self) -> Result<(), CliError> {
        let mut names = self.nodes.keys().copied().collect::<Vec<_>>().into_iter();
        let Some(first) = names.next() else { return Ok(()) };
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            if let Some(place) = self.forwarders.place(node) {
                self.folder.make_home(node, place)?;
            }
            self.open(node).await?;
        }
        let up = self.spawn(first, &["up"])?;
        ready(first, up).await.map_err(|error| self.with_log(first, &error))?;
        let uses = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let invite = InviteRequest { role: None, ttl_ms: None, uses: Some(uses), certificate_ttl_ms: None };
        let invite: InviteReport = self.client(first)?.post("/v1/invites", &invite).await?;
        let words = ["join", invite.token.as_str()];
        let at_once = std::thread::available_parallelism().map_or(1, NonZero::get).max(JOINING_LEAST);
        let (mut waiting, mut failures) = (stream::FuturesUnordered::new(), 0);
        loop {
            while waiting.len() < at_once
                && let Some(node) = names.next()
            {
                let lines = self.spawn(node, &words)?;
                waiting.push(joined(node, lines));
            }
            match waiting.next().await {
                None => return Ok(()),
                Some((_, Ok(_))) => {}
                Some((node, Err(error))) if error.detail().retry && failures < FAILURES_MAX => {
                    failures += 1;
                    let lines = self.spawn(node, &words)?;
                    waiting.push(joined(node, lines));
                }
                Some((node, Err(error))) => return Err(self.with_log(node, &error)),
            }
        }
    }

    /// The error, with what the node wrote last: its log goes with its home.
    fn with_log(&self, node: SimNode, error: &CliError) -> CliError {
        let log = std::fs::read(self.folder.home(node).join("node.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("; ");
        let mut detail = error.detail().clone();
        if !last.is_empty() {
            detail.message = format!("{}; its log ends: {last}", detail.message);
        }
        detail.into()
    }

    async fn open(&mut self, node: SimNode) -> Result<(), CliError> {
        let opened = self.forwarders.open(node).await;
        opened.map_err(|error| CliError::new("failed", format!("the address of {node} cannot be listened at: {error}")))
    }

    /// The door of a node.
    fn client(&self, node: SimNode) -> Result<Client, CliError> {
        Client::at(HomeDir::new(&self.folder.home(node))?)
    }

    /// Starts a process; what it will say.
    fn spawn(&mut self, node: SimNode, words: &[&str]) -> Result<Output, CliError> {
        let failed = |error: std::io::Error| CliError::new("failed", format!("{node}: {error}"));
        let home = self.folder.home(node);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(home.join("node.log")).map_err(failed)?;
        let offset_ms = self.nodes.get(&node).map_or(0, |node| node.clock_offset_ms);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .args(words)
            .args(["--json", "--name", &node.to_string(), "--log", "warn"])
            .args(["--end-with", &std::process::id().to_string()])
            .arg("--home")
            .arg(&home)
            .env("XDG_STATE_HOME", self.folder.state())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        if offset_ms != 0 {
            command.arg(format!("--clock-offset={offset_ms}ms"));
        }
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(failed)?;
        if let Some(pid) = child.id() {
            self.forwarders.runs_as(node, pid);
        }
        let stdout = child.stdout.take().ok_or_else(|| CliError::new("failed", format!("{node}: no output")))?;
        self.nodes.insert(node, Node { child: Some(child), state: State::Running, clock_offset_ms: offset_ms });
        Ok(BufReader::new(stdout))
    }

    /// Notices which processes have ended; whether any has.
    pub(crate) async fn look(&mut self) -> bool {
        let mut ended = Vec::new();
        for (name, node) in &mut self.nodes {
            let gone = node.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if gone {
                node.child = None;
                node.state = State::Ended;
                ended.push(*name);
            }
        }
        for node in &ended {
            self.forwarders.close(*node).await;
        }
        self.bury_orphans();
        !ended.is_empty()
    }

    /// What was below a node that was killed is below this process now, and waited for here.
    fn bury_orphans(&self) {
        let nodes: Vec<u32> = self.nodes.values().filter_map(Node::pid).collect();
        for orphan in ended_children(std::process::id()) {
            if !nodes.contains(&orphan.as_raw_pid().unsigned_abs()) {
                let _buried_already = waitpid(Some(orphan), WaitOptions::NOHANG);
            }
        }
    }

    /// All nodes, in their order.
    pub(crate) fn rows(&self) -> Vec<NodeRow> {
        let row = |(name, node): (&SimNode, &Node)| NodeRow {
            name: *name,
            state: node.state,
            pid: node.pid(),
            home: self.folder.home(*name).display().to_string(),
            address: self.forwarders.place(*name).map(|place| place.told.to_string()).unwrap_or_default(),
            clock_offset_ms: node.clock_offset_ms,
        };
        self.nodes.iter().map(row).collect()
    }

    /// What is done to processes, as faults in force.
    pub(crate) fn faults(&self) -> Vec<FaultRow> {
        let row = |fault: &str, node: &SimNode, what: String| FaultRow {
            fault: fault.to_owned(),
            nodes: node.to_string(),
            what,
            counts: None,
        };
        let mut rows = Vec::new();
        for (name, node) in &self.nodes {
            match node.state {
                State::Running => {}
                State::Paused => rows.push(row("paused", name, "stopped by SIGSTOP".to_owned())),
                State::Killed => rows.push(row("killed", name, "ended by SIGKILL".to_owned())),
                State::Ended => rows.push(row("ended", name, "its process has ended, by no fault".to_owned())),
            }
            if node.clock_offset_ms != 0 {
                rows.push(row("skewed", name, format!("its clock is {}", clock(node.clock_offset_ms))));
            }
        }
        rows
    }

    /// How this node is.
    ///
    /// # Errors
    /// `not-found` when there is none of that name.
    pub(crate) fn state(&self, node: SimNode) -> Result<State, CliError> {
        let count = self.nodes.len();
        let unknown = || CliError::new("not-found", format!("there is no {node}")).hint(format!("n1 to n{count}"));
        self.nodes.get(&node).map(|node| node.state).ok_or_else(unknown)
    }

    /// Ends a node's process by SIGKILL; who dials it is refused from before that on.
    pub(crate) async fn kill(&mut self, node: SimNode) {
        self.forwarders.close(node).await;
        let Some(killed) = self.nodes.get_mut(&node) else { return };
        if let Some(mut child) = killed.child.take() {
            let _gone_already = child.kill().await;
        }
        killed.state = State::Killed;
    }

    /// Starts a node again in its home.
    ///
    /// # Errors
    /// Why it did not start.
    pub(crate) async fn start(&mut self, node: SimNode) -> Result<(), CliError> {
        self.open(node).await?;
        let lines = self.spawn(node, &["up"])?;
        ready(node, lines).await.map(drop).map_err(|error| self.with_log(node, &error))
    }

    /// Stops a node's process, or lets it go on.
    pub(crate) fn pause(&mut self, node: SimNode, paused: bool) {
        let Some(node) = self.nodes.get_mut(&node) else { return };
        node.signal(if paused { Signal::STOP } else { Signal::CONT });
        node.state = if paused { State::Paused } else { State::Running };
    }

    /// Starts a node again with a clock that is off.
    ///
    /// # Errors
    /// Why it did not start.
    pub(crate) async fn skew(&mut self, node: SimNode, offset_ms: i64) -> Result<(), CliError> {
        if let Some(skewed) = self.nodes.get_mut(&node) {
            skewed.clock_offset_ms = offset_ms;
            skewed.signal(Signal::TERM);
            if let Some(mut child) = skewed.child.take()
                && timeout(DOWN_MAX, child.wait()).await.is_err()
            {
                let _gone_already = child.kill().await;
            }
        }
        self.start(node).await
    }

    /// Ends everything and removes it. Nodes are killed: their homes go as well.
    ///
    /// # Errors
    /// What could not be removed.
    pub(crate) async fn end(self) -> Result<(), CliError> {
        let Self { folder, forwarders, mut nodes } = self;
        for node in nodes.values_mut() {
            if let Some(child) = &mut node.child {
                let _gone_already = child.start_kill();
            }
        }
        for node in nodes.values_mut() {
            if let Some(child) = &mut node.child {
                let _gone_already = child.wait().await;
            }
        }
        drop(forwarders);
        // Guards of agents see that their node is gone, and end a moment later what they guard.
        let begun = Instant::now();
        while begun.elapsed() < ORPHANS_MAX {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => tokio::time::sleep(ORPHANS_STEP).await,
                // No child is left.
                Err(_) => break,
            }
        }
        folder.remove()
    }
}

type Output = BufReader<tokio::process::ChildStdout>;

async fn joined(node: SimNode, output: Output) -> (SimNode, Result<UpReport, CliError>) {
    (node, ready(node, output).await)
}

/// Waits until a node says that it serves; what it says later is read and forgotten.
async fn ready(node: SimNode, output: Output) -> Result<UpReport, CliError> {
    let mut lines = output.lines();
    let mut last = String::new();
    let said = timeout(START_MAX, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(up) = serde_json::from_str::<UpReport>(&line) {
                return Some(up);
            }
            last = line;
        }
        None
    })
    .await;
    match said {
        Ok(Some(up)) => {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            Ok(up)
        }
        Ok(None) => Err(match serde_json::from_str::<ErrorBody>(&last) {
            Ok(body) => {
                let mut detail = body.error;
                detail.message = format!("{node} did not start: {}", detail.message);
                detail.into()
            }
            Err(_) => CliError::new("failed", format!("{node} ended before it served")),
        }),
        Err(_) => {
            let message = format!("{node} did not serve within {} s", START_MAX.as_secs());
            Err(CliError::new("deadline", message).retry())
        }
    }
}
