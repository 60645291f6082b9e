//! Five processes of libp2p's gossip, each connected to each: one publishes, four count. The baseline of publications.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum as _;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;
use tokio::time::{Instant, interval, timeout};

use super::call::processor_us;
use super::failed;
use super::gossip_node::{Heard, Mesh, Order};
use super::publish::{BODY_BYTES, Load, Run};
use crate::cli::CliError;

const NODES: usize = 5;
/// How long a line may take, and how long nothing may come of a run before it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is tried: all that was found to make a difference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    mesh: Mesh,
    one_thread: bool,
    burst: u64,
}

impl Settings {
    /// All that are tried.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let meshes = [Mesh::Flood, Mesh::Own].into_iter();
        let threads = meshes.flat_map(|mesh| [true, false].map(|one_thread| (mesh, one_thread)));
        threads.flat_map(|(mesh, one_thread)| [16, 1].map(|burst| Self { mesh, one_thread, burst }))
    }

    /// Whether those who hear pass on what they hear, as the library does by itself.
    pub(super) fn has_mesh(self) -> bool {
        self.mesh == Mesh::Own
    }

    /// For people.
    pub(super) fn name(self) -> String {
        let mesh = match self.mesh {
            Mesh::Flood => "flood, no mesh",
            Mesh::Own => "mesh of 6",
        };
        let threads = if self.one_thread { "1 thread" } else { "threads" };
        format!("{mesh}, {threads}, {} at once", self.burst)
    }
}

struct Node {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Node {
    fn start(settings: Settings) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(|error| failed("gossip", &error))?;
        let mesh = settings.mesh.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut child = Command::new(program)
            .args(["bench-stock", "--gossip", &mesh])
            .args(settings.one_thread.then_some("--one-thread"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed("gossip", &error))?;
        let (Some(orders), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("gossip", &"no pipes"));
        };
        let stdout = ChildStdout::from_std(stdout).map_err(|error| failed("gossip", &error))?;
        Ok(Self { child, orders, lines: BufReader::new(stdout).lines() })
    }

    fn tell(&mut self, order: &Order) -> Result<(), CliError> {
        let line = serde_json::to_string(order).map_err(|error| failed("gossip", &error))?;
        writeln!(self.orders, "{line}").map_err(|error| failed("gossip", &error))
    }

    async fn line(&mut self) -> Result<String, CliError> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.map_err(|_| failed("gossip", &"says nothing"))?;
        line.map_err(|error| failed("gossip", &error))?.ok_or_else(|| failed("gossip", &"ended"))
    }

    async fn report(&mut self) -> Result<Heard, CliError> {
        self.tell(&Order::Report)?;
        let line = self.line().await?;
        serde_json::from_str(&line).map_err(|error| failed("gossip", &format!("{error}: {line}")))
    }
}

/// The five of them. The first publishes.
pub(super) struct Gossip {
    nodes: Vec<Node>,
    settings: Settings,
}

impl Gossip {
    /// Starts them, and waits until each knows of four subscribers.
    pub(super) async fn start(settings: Settings) -> Result<Self, CliError> {
        let (mut nodes, mut addresses) = (Vec::<Node>::new(), Vec::<String>::new());
        for _ in 0..NODES {
            let mut node = Node::start(settings)?;
            let address = node.line().await?;
            for address in &addresses {
                node.tell(&Order::Dial { address: address.clone() })?;
            }
            addresses.push(address);
            nodes.push(node);
        }
        let mut gossip = Self { nodes, settings };
        let begin = Instant::now();
        let mut looks = interval(Duration::from_millis(20));
        while gossip.reports().await?.iter().any(|heard| heard.subscribers < NODES - 1) {
            if begin.elapsed() > PATIENCE {
                return Err(failed("gossip", &"not all subscribed"));
            }
            looks.tick().await;
        }
        // Two heartbeats, in which a mesh comes about.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(gossip)
    }

    async fn reports(&mut self) -> Result<Vec<Heard>, CliError> {
        let mut reports = Vec::new();
        for node in &mut self.nodes {
            reports.push(node.report().await?);
        }
        Ok(reports)
    }

    fn processor_us(&self) -> Result<f64, CliError> {
        self.nodes.iter().map(|node| processor_us(node.child.id())).sum()
    }

    /// Publishes what the load says, and waits until all four have heard all.
    pub(super) async fn run(&mut self, load: Load) -> Result<Run, CliError> {
        for node in &mut self.nodes {
            node.tell(&Order::Clear)?;
        }
        let before_us = self.processor_us()?;
        let (count, burst) = (load.count, if load.every_us == 0 { self.settings.burst } else { 1 });
        self.nodes[0].tell(&Order::Publish { count, bytes: BODY_BYTES, every_us: load.every_us, burst })?;
        let mut looks = interval(Duration::from_millis(50));
        let (mut most, mut since) = (0, Instant::now());
        let reports = loop {
            looks.tick().await;
            let reports = self.reports().await?;
            let heard = reports.iter().map(|report| report.heard).sum::<u64>();
            if reports[0].left == 0 && heard == 4 * count {
                break reports;
            }
            if heard > most {
                (most, since) = (heard, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                return Err(failed("gossip", &format!("{heard} of {} were heard", 4 * count)));
            }
        };
        let processor_us = self.processor_us()? - before_us;
        let heard = &reports[1..];
        if heard.iter().any(|heard| heard.other > 0 || heard.bytes != count * BODY_BYTES as u64) {
            return Err(failed("gossip", &"other bytes were heard than were sent"));
        }
        let most = |of: fn(&Heard) -> u64| heard.iter().map(of).max().unwrap_or_default();
        let took_us = most(|heard| heard.last_at_us).saturating_sub(reports[0].began_us);
        Ok(Run::new(count, took_us, processor_us, most(|heard| heard.p50_us), most(|heard| heard.p99_us)))
    }
}
