//! A cluster of processes on this machine: how soon all see all, how soon all miss one that was killed or stopped, whether a machine
//! that is busy is taken for a dead one, and what a node takes that has nothing to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, interval, timeout};
use weft_protocol::control::{InviteReport, InviteRequest, MembersReport};

use super::call::{processor_us, resident_bytes};
use super::{Figure, failed, median, micros};
use crate::cli::CliError;
use crate::cli::client::Client;
use crate::home::HomeDir;

const NODES: usize = 8;
const KILLS: usize = 5;
const STOPS: usize = 20;
const BUSY: Duration = Duration::from_secs(60);
/// So that each node has eight others.
const IDLE_NODES: u8 = 9;
/// How long nodes that have joined may take to come to rest: longer than all that happens once a minute.
const SETTLING: Duration = Duration::from_secs(90);
const IDLE: Duration = Duration::from_secs(600);
/// What a node may grow by meanwhile, in bytes.
const GROWTH_MAX: f64 = 4.0 * 1024.0 * 1024.0;
/// What a node may take, in bytes.
const RESIDENT_MAX: f64 = 60.0 * 1024.0 * 1024.0;
/// How often everybody is asked what it sees: what a figure may be too late by, and what asking costs the nodes.
const LOOK: Duration = Duration::from_millis(20);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long anything may take before the run has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one node says of the others, by name.
type Seen = BTreeMap<String, String>;

/// Measures in `folder`.
pub(super) async fn measure(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let mut cluster = Cluster::start(folder, NODES).await?;
    let joined_ms = cluster.join_all().await?;
    let again_ms = cluster.start_again().await?;
    let mut killed = Vec::new();
    for round in 0..KILLS {
        killed.push(cluster.kill(1 + round % (NODES - 1)).await?);
    }
    let mut stopped = Vec::new();
    for round in 0..STOPS {
        stopped.push(cluster.stop(round % NODES).await?);
    }
    let busy = cluster.keep_busy().await?;
    let resident = cluster.resident()?;
    let longest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let line = "what the mesh promises";
    let figure = |metric, unit, value, limit| Figure::new(metric, unit, value, line, limit);
    Ok(vec![
        figure("mesh_8_joined_ms", "ms", joined_ms, 1_000.0),
        figure("mesh_8_started_again_ms", "ms", again_ms, 1_000.0),
        figure("mesh_killed_known_max_ms", "ms", longest(&killed), 1_000.0),
        figure("mesh_killed_known_p50_ms", "ms", median(&mut killed), 1_000.0),
        figure("mesh_stopped_known_max_ms", "ms", longest(&stopped), 6_000.0),
        figure("mesh_stopped_known_p50_ms", "ms", median(&mut stopped), 2_000.0),
        figure("mesh_busy_deaths", "views", busy.dead, 0.0),
        Figure::new("mesh_busy_suspicions", "views", busy.suspect, "all views that were looked at", busy.views),
        figure("mesh_rss_max_bytes", "bytes", resident, RESIDENT_MAX),
    ])
}

/// Measures nodes with eight peers each that have nothing to do, for ten minutes.
pub(super) async fn measure_idle(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let mut cluster = Cluster::start(folder, usize::from(IDLE_NODES)).await?;
    cluster.join_all().await?;
    tokio::time::sleep(SETTLING).await;
    let (before, busy_us) = (cluster.residents()?, cluster.processor_us()?);
    let begin = Instant::now();
    tokio::time::sleep(IDLE).await;
    let (after, busy_us) = (cluster.residents()?, cluster.processor_us()? - busy_us);
    let share = busy_us / micros(begin) / f64::from(IDLE_NODES);
    let growth = before.iter().zip(&after).map(|(before, after)| after - before).fold(f64::MIN, f64::max);
    let largest = after.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::new("idle_8_peers_growth_max_bytes", "bytes", growth, "what ten minutes may add", GROWTH_MAX),
        Figure::new("idle_8_peers_rss_max_bytes", "bytes", largest, "what a node may take", RESIDENT_MAX),
        Figure::new("idle_8_peers_processor_percent", "%", 100.0 * share, "one processor", 100.0),
    ])
}

/// What everybody said while all processors were busy.
#[derive(Default)]
struct Busy {
    dead: f64,
    suspect: f64,
    views: f64,
}

/// One of the processes.
struct Node {
    name: String,
    home: HomeDir,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Node {
    fn start(folder: &Path, number: usize, first: &[&str]) -> Result<Self, CliError> {
        let name = format!("n{number}");
        let path = folder.join(&name);
        std::fs::create_dir_all(&path).map_err(|error| failed(&name, &error))?;
        let home = HomeDir::new(&path)?;
        let child = run(&home, &name, first)?;
        Ok(Self { name, home, child })
    }

    fn restart(&mut self) -> Result<(), CliError> {
        let _ended = self.child.wait();
        self.child = run(&self.home, &self.name, &["up"])?;
        Ok(())
    }

    /// What it says of all members; nothing while it does not answer.
    async fn sees(&self) -> Option<Seen> {
        let client = self.client().ok()?;
        let report: MembersReport = timeout(ANSWER, client.get("/v1/members")).await.ok()?.ok()?;
        Some(report.members.into_iter().map(|member| (member.name, member.state)).collect())
    }

    /// A client of it, while it runs.
    fn client(&self) -> Result<Client, CliError> {
        Client::at(self.home.clone())
    }

    fn signal(&self, signal: Signal) -> Result<(), CliError> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(&self.name, &"has no process id"))?;
        kill_process(pid, signal).map_err(|error| failed(&self.name, &error))
    }
}

/// Starts this program as a node that is told nothing more.
fn run(home: &HomeDir, name: &str, first: &[&str]) -> Result<Child, CliError> {
    let program = std::env::current_exe().map_err(|error| failed(name, &error))?;
    Command::new(program)
        .args(first)
        .args(["--json", "--log", "error", "--name", name, "--home"])
        .arg(home.path())
        .env("XDG_STATE_HOME", home.path())
        .env("WEFT_NETWORK_MDNS", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| failed(name, &error))
}

struct Cluster {
    folder: std::path::PathBuf,
    size: usize,
    nodes: Vec<Node>,
}

impl Cluster {
    /// The first node, alone.
    async fn start(folder: &Path, size: usize) -> Result<Self, CliError> {
        let cluster = Self { folder: folder.to_owned(), size, nodes: vec![Node::start(folder, 1, &["up"])?] };
        cluster.until("the first node serves", |views| views.iter().all(Option::is_some)).await?;
        Ok(cluster)
    }

    /// The others join together; milliseconds from the start of the last to all seeing all.
    async fn join_all(&mut self) -> Result<f64, CliError> {
        let uses = u32::try_from(self.size).ok();
        let request = InviteRequest { role: None, ttl_ms: None, uses, certificate_ttl_ms: None };
        let invite: InviteReport = self.nodes[0].client()?.post("/v1/invites", &request).await?;
        for number in 2..=self.size {
            self.nodes.push(Node::start(&self.folder, number, &["join", &invite.token])?);
        }
        let begin = Instant::now();
        self.until("all see all", all_see_all).await?;
        Ok(micros(begin) / 1_000.0)
    }

    /// All are killed and started again; milliseconds from the start of the last to all seeing all.
    async fn start_again(&mut self) -> Result<f64, CliError> {
        for node in &self.nodes {
            node.signal(Signal::KILL)?;
        }
        for node in &mut self.nodes {
            node.restart()?;
        }
        let begin = Instant::now();
        self.until("all see all again", all_see_all).await?;
        Ok(micros(begin) / 1_000.0)
    }

    /// Milliseconds until all others miss one that was killed; then it comes back.
    async fn kill(&mut self, victim: usize) -> Result<f64, CliError> {
        let took_ms = self.missed(victim, Signal::KILL).await?;
        self.nodes[victim].restart()?;
        self.until("the killed one is back", all_see_all).await?;
        Ok(took_ms)
    }

    /// Milliseconds until all others miss one that was stopped; then it goes on.
    async fn stop(&self, victim: usize) -> Result<f64, CliError> {
        let took_ms = self.missed(victim, Signal::STOP).await;
        self.nodes[victim].signal(Signal::CONT)?;
        let took_ms = took_ms?;
        self.until("the stopped one is back", all_see_all).await?;
        Ok(took_ms)
    }

    async fn missed(&self, victim: usize, signal: Signal) -> Result<f64, CliError> {
        // So that nothing of the round before is still on its way.
        let mut settle = interval(Duration::from_secs(2));
        settle.tick().await;
        settle.tick().await;
        let name = self.nodes[victim].name.clone();
        self.nodes[victim].signal(signal)?;
        let begin = Instant::now();
        let others: Vec<&Node> = self.nodes.iter().filter(|node| node.name != name).collect();
        let missed = |views: &[Option<Seen>]| {
            let said = |seen: &Seen| seen.get(&name).is_some_and(|state| state != "alive");
            views.iter().all(|view| view.as_ref().is_some_and(said))
        };
        until(&others, "all miss it", missed).await?;
        Ok(micros(begin) / 1_000.0)
    }

    /// What all say of each other while every processor has something else to do.
    async fn keep_busy(&self) -> Result<Busy, CliError> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let busy: Result<Vec<Loop>, CliError> = (0..processors).map(|_| Loop::start()).collect();
        let busy = busy?;
        let begin = Instant::now();
        let mut seen = Busy::default();
        let mut looks = interval(10 * LOOK);
        while begin.elapsed() < BUSY {
            looks.tick().await;
            for view in views(&self.nodes.iter().collect::<Vec<_>>()).await.into_iter().flatten() {
                for state in view.values() {
                    seen.views += 1.0;
                    seen.dead += f64::from(u8::from(state == "dead"));
                    seen.suspect += f64::from(u8::from(state == "suspect"));
                }
            }
        }
        drop(busy);
        Ok(seen)
    }

    /// What each takes.
    fn residents(&self) -> Result<Vec<f64>, CliError> {
        self.nodes.iter().map(|node| resident_bytes(node.child.id())).collect()
    }

    /// The largest of them.
    fn resident(&self) -> Result<f64, CliError> {
        Ok(self.residents()?.into_iter().fold(0.0, f64::max))
    }

    /// Processor time of all together.
    fn processor_us(&self) -> Result<f64, CliError> {
        let mut sum = 0.0;
        for node in &self.nodes {
            sum += processor_us(node.child.id())?;
        }
        Ok(sum)
    }

    async fn until(&self, what: &str, done: impl Fn(&[Option<Seen>]) -> bool) -> Result<(), CliError> {
        until(&self.nodes.iter().collect::<Vec<_>>(), what, done).await
    }
}

fn all_see_all(views: &[Option<Seen>]) -> bool {
    let alive = |seen: &Seen| seen.len() == views.len() && seen.values().all(|state| state == "alive");
    views.iter().all(|view| view.as_ref().is_some_and(alive))
}

async fn views(nodes: &[&Node]) -> Vec<Option<Seen>> {
    join_all(nodes.iter().map(|node| node.sees())).await
}

/// Asks these nodes what they see until that is `done`.
async fn until(nodes: &[&Node], what: &str, done: impl Fn(&[Option<Seen>]) -> bool) -> Result<(), CliError> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Vec::new();
    let waited = timeout(PATIENCE, async {
        loop {
            last = views(nodes).await;
            if done(&last) {
                return;
            }
            looks.tick().await;
        }
    });
    let waited = waited.await;
    waited.map_err(|_| failed(what, &format!("not within {} s; last seen: {last:?}", PATIENCE.as_secs())))
}

/// A process that does nothing as fast as it can.
struct Loop(Child);

impl Loop {
    fn start() -> Result<Self, CliError> {
        let spin = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        spin.map(Self).map_err(|error| failed("a busy process", &error))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended = self.0.wait();
    }
}
