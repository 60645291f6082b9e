//! `weft sim up`: starts the nodes, stands between them, answers other commands, shows what is, and removes everything at the end.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use weft_protocol::control::ErrorBody;

use super::act::{act, in_force};
use super::cluster::{Cluster, NodeRow, State};
use super::control::{Ask, Asked, FaultsReport, NodesReport, STARTING, ask, serve};
use super::converged::{self, Views};
use super::folder::{SimFolder, sim_folder};
use super::forward::Forwarders;
use super::table::{Moment, Screen};
use crate::cli::CliError;
use crate::cli::args::SimUpArgs;
use crate::cli::output::{Output, plural};

/// How often nodes are asked while they do not agree, and while they do.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// How long a simulation in the background may take until all its nodes serve (guess: 64 of them on few processors).
const READY_MAX: Duration = Duration::from_secs(300);
/// How often that is looked at.
const READY_STEP: Duration = Duration::from_millis(50);

/// `weft sim up`.
///
/// # Errors
/// Why it did not start; then nothing is left of it.
pub(crate) async fn up(args: &SimUpArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    if args.detach {
        return detach(args, output).await;
    }
    if args.background {
        // Fails only for the leader of a process group, which a child process never is.
        let _own_session = rustix::process::setsid();
    }
    let mut end = End::watched()?;
    // What is below a node outlives it for a moment when it is killed.
    let adopts = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    adopts.map_err(|error| CliError::new("failed", format!("orphans cannot be adopted: {error}")))?;
    let begun = Instant::now();
    let folder = SimFolder::claim(args.nodes)?;
    let random = crate::identity::random::<10>()?;
    let [first, second, seed @ ..] = random;
    let forwarders = Forwarders::start(args.nodes, [first, second], u64::from_le_bytes(seed)).await;
    let forwarders = match forwarders {
        Ok(forwarders) => forwarders,
        Err(error) => {
            folder.remove()?;
            return Err(CliError::new("failed", format!("the addresses of the nodes: {error}")));
        }
    };
    let mut cluster = Cluster::new(folder, forwarders, args.nodes);
    let ran = tokio::select! {
        ran = run(&mut cluster, output, begun) => ran,
        () = end.come() => Ok(()),
    };
    let ended = cluster.end().await;
    ran.and(ended)
}

/// What ends it.
struct End([Signal; 3]);

impl End {
    fn watched() -> Result<Self, CliError> {
        let failed = |error| CliError::new("failed", format!("signals cannot be watched: {error}"));
        let watch = |kind| signal(kind).map_err(failed);
        Ok(Self([watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?, watch(SignalKind::hangup())?]))
    }

    async fn come(&mut self) {
        let [interrupted, terminated, hung_up] = &mut self.0;
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = hung_up.recv() => {}
        }
    }
}

async fn run(cluster: &mut Cluster, output: Output, begun: Instant) -> Result<(), CliError> {
    output.remark(&format!("starting {}", plural(cluster.rows().len() as u64, "node")));
    let socket = cluster.folder.socket();
    let asks = serve(&socket);
    let mut asks = asks.map_err(|error| CliError::new("failed", format!("{}: {error}", socket.display())))?;
    let rows = cluster.rows();
    tokio::select! {
        begun = cluster.begin() => begun?,
        () = down_meanwhile(&mut asks, rows) => return Ok(()),
    }
    let report = NodesReport { pid: std::process::id(), nodes: cluster.rows() };
    output.report(&report, |report| {
        let nodes = plural(report.nodes.len() as u64, "node");
        format!(
            "{nodes} serve after {:.1} s; from another terminal: weft members --node n1",
            begun.elapsed().as_secs_f64()
        )
    })?;
    let mut screen = Screen::new(output);
    let (mut since, mut pause) = (begun, Duration::ZERO);
    loop {
        let mut looking = look_after(pause, cluster.rows());
        let views = loop {
            tokio::select! {
                views = &mut looking => break views.unwrap_or_default(),
                asked = asks.recv() => {
                    let Some(Asked { ask, answer }) = asked else { return Ok(()) };
                    let is_end = matches!(ask, Ask::Down);
                    if matches!(ask, Ask::Act(_)) {
                        since = Instant::now();
                    }
                    let _asker_is_gone = answer.send(answer_to(cluster, ask).await);
                    if is_end {
                        looking.abort();
                        return Ok(());
                    }
                }
            }
        };
        cluster.look().await;
        let (nodes, faults) = (cluster.rows(), in_force(cluster));
        let views = of_running(views, &nodes);
        let missing = converged::missing(&views);
        pause = if missing.is_empty() { LOOK.1 } else { LOOK.0 };
        let (nodes, views, missing, faults) = (&nodes, &views, &missing, &faults);
        screen.show(&Moment { nodes, views, missing, faults, since: since.elapsed() })?;
    }
}

/// Answers while the nodes start, until somebody asks for the end.
async fn down_meanwhile(asks: &mut Receiver<Asked>, nodes: Vec<NodeRow>) {
    while let Some(Asked { ask, answer }) = asks.recv().await {
        let is_end = matches!(ask, Ask::Down);
        let said = if is_end {
            Ok(json!(NodesReport { pid: std::process::id(), nodes: nodes.clone() }))
        } else {
            Err(CliError::new(STARTING, "the nodes are still starting").hint("the same again in a moment").retry())
        };
        let _asker_is_gone = answer.send(said);
        if is_end {
            return;
        }
    }
}

/// Asks all nodes after a while.
fn look_after(pause: Duration, nodes: Vec<NodeRow>) -> JoinHandle<Views> {
    tokio::spawn(async move {
        sleep(pause).await;
        converged::ask(&nodes).await
    })
}

/// Without those that were killed or stopped while all were asked, and with those that were started.
fn of_running(mut views: Views, nodes: &[NodeRow]) -> Views {
    let running = nodes.iter().filter(|node| node.state == State::Running);
    running.map(|node| (node.name, views.remove(&node.name).flatten())).collect()
}

async fn answer_to(cluster: &mut Cluster, ask: Ask) -> Result<Value, CliError> {
    cluster.look().await;
    match ask {
        Ask::Act(fault) => act(cluster, fault).await.map(|report| json!(report)),
        Ask::Faults => Ok(json!(FaultsReport { faults: in_force(cluster) })),
        Ask::Nodes | Ask::Down => Ok(json!(NodesReport { pid: std::process::id(), nodes: cluster.rows() })),
    }
}

/// Starts it in a process of its own, and returns when all nodes serve.
async fn detach(args: &SimUpArgs, output: Output) -> Result<(), CliError> {
    let path = SimFolder::log()?;
    let failed = |error: std::io::Error| CliError::new("failed", format!("{}: {error}", path.display()));
    let mut log = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["sim", "up", "--background", "--json", &args.nodes.to_string()]).stdin(Stdio::null());
    command.stdout(log.try_clone().map_err(failed)?).stderr(log.try_clone().map_err(failed)?);
    let begins = log.metadata().map_err(failed)?.len();
    let mut child = command.spawn().map_err(failed)?;
    let begun = Instant::now();
    loop {
        if let Ok(report) = ask::<NodesReport>(&Ask::Nodes).await
            && Some(report.pid) == child.id()
        {
            return output.report(&report, |report| {
                let nodes = plural(report.nodes.len() as u64, "node");
                format!("{nodes} serve in the background (process {}); weft sim down ends them", report.pid)
            });
        }
        if child.try_wait().map_err(failed)?.is_some() {
            let mut said = String::new();
            let _what_there_is = log.seek(SeekFrom::Start(begins)).and_then(|_| log.read_to_string(&mut said));
            let last = said.lines().rev().find_map(|line| serde_json::from_str::<ErrorBody>(line).ok());
            return Err(match last {
                Some(body) => body.error.into(),
                None => CliError::new("failed", format!("the simulation ended: {}", said.trim())),
            });
        }
        if begun.elapsed() > READY_MAX {
            return Err(gave_up(&child));
        }
        sleep(READY_STEP).await;
    }
}

fn gave_up(child: &Child) -> CliError {
    let pid = child.id().map_or_else(String::new, |pid| format!(" (process {pid})"));
    let message = format!("the nodes do not all serve yet{pid}");
    let log = sim_folder().map(|folder| folder.join("log").display().to_string()).unwrap_or_default();
    CliError::new("deadline", message).hint(format!("tail {log}; weft sim down")).changed().retry()
}
