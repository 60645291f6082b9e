//! Calls between two nodes in two processes, one at a time and 64 at once, beside libp2p's own exchange and a broker's; and what an
//! idle node costs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::Instant;
use weft_kernel::{Answer, Syscall};
use weft_peer::{Question, Reply};
use weft_protocol::control::{InviteReport, InviteRequest, StatusReport, UpReport};
use weft_protocol::{Delivery, Durability, Level, NodeName, Payload, Principal, Token, WireVersions};

use super::disk_limits::write_and_sync;
use super::nats::{self, Nats};
use super::stock::{self, BODY_BYTES, Stock};
use super::{Figure, Figures, NotMeasured, failed, median, micros, per_second, percentile};
use crate::ask::Asker;
use crate::boot::Boot;
use crate::cli::CliError;
use crate::cli::client::Client;
use crate::config::{Config, Flags, Live};
use crate::home::{ClusterFile, Home, HomeDir};
use crate::identity;
use crate::run::{Running, new_incarnation, shut_down, start};

/// Where nodes listen.
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const WARM_UP: usize = 500;
const ONE_AT_A_TIME: usize = 3_000;
const IN_FLIGHT: usize = 64;
const AT_ONCE_CALLS: u32 = 20_000;
const AT_ONCE: usize = AT_ONCE_CALLS as usize;
const ANSWER: Duration = Duration::from_secs(20);

/// Measures in `folder`.
pub(super) async fn measure(folder: &Path) -> Result<Figures, CliError> {
    let far = FarNode::start(&folder.join("beta"), "beta").await?;
    let near = near_node(&folder.join("alpha"), &far).await?;
    let asker = near.asker.clone();
    until_reachable(&asker).await?;
    let mut executed = one_at_a_time(&asker, Durability::None).await?;
    let mut durable = one_at_a_time(&asker, Durability::Durable).await?;
    let before_us = processor_us(far.child.id())? + processor_us(std::process::id())?;
    let at_once = at_once(&asker).await?;
    let cpu_us = processor_us(far.child.id())? + processor_us(std::process::id())? - before_us;
    shut_down(&asker).await.map_err(|refusal| CliError::from(&refusal))?;
    near.ended().await?;
    let mut far = far;
    far.down().await?;
    let idle = FarNode::start(&folder.join("idle"), "idle").await?;
    let rss = resident_bytes(idle.child.id())?;
    let start_ms = idle.restart_to_answer("idle").await?;

    let broker = nats::measure(folder, ONE_AT_A_TIME, IN_FLIGHT, AT_ONCE).await;
    let settings = stock::measure(ONE_AT_A_TIME, IN_FLIGHT, AT_ONCE).await?;
    let [several, one] = &settings;
    let quick = if one.p50_us < several.p50_us { one } else { several };
    let many = if one.at_once_per_s > several.at_once_per_s { one } else { several };
    let quick_name = format!("stock request-response, QUIC, 256 B, {}", quick.setting);
    let disk_us = write_and_sync(folder, 1)?;
    let durable_limit_us = quick.p50_us + 3.0 * disk_us;
    let durable_name = format!("that + 3 × (write + fdatasync, {disk_us:.0} µs)");
    let cpu_per_call_us = cpu_us / f64::from(AT_ONCE_CALLS);
    let (bare_ms, bare_rss) = bare_process()?;
    let stock_figure = |name, setting: &Stock, other: &Stock| {
        let what = format!("with {}", other.setting);
        Figure::new(name, "µs", setting.p50_us, what, other.p50_us)
    };
    let results = vec![
        Figure::new("call_executed_p50_us", "µs", percentile(&mut executed, 50), quick_name.clone(), quick.p50_us),
        Figure::new("call_executed_p99_us", "µs", percentile(&mut executed, 99), quick_name, quick.p99_us),
        Figure::new("call_durable_p50_us", "µs", percentile(&mut durable, 50), durable_name, durable_limit_us),
        Figure::new("call_durable_p99_us", "µs", percentile(&mut durable, 99), "its p50", percentile(&mut durable, 50)),
        Figure::new(
            "call_64_in_flight_per_s",
            "calls/s",
            at_once,
            format!("stock, 64 at once, {}", many.setting),
            many.at_once_per_s,
        ),
        Figure::new(
            "call_64_in_flight_cpu_us",
            "µs",
            cpu_per_call_us,
            "a call's share of two processors",
            2e6 / at_once,
        ),
        stock_figure("stock_p50_us", one, several),
        Figure::new("idle_rss_bytes", "bytes", rss, "a bare libp2p swarm on QUIC in this program", bare_rss),
        Figure::new("start_to_answer_ms", "ms", start_ms, "exec of the same program to its first line", bare_ms),
    ];
    let ours = [percentile(&mut executed, 50), percentile(&mut executed, 99), at_once];
    Ok(beside(broker, ours, Figures::from(results)))
}

/// Adds what the broker needs for the same: p50, p99 and exchanges per second; or why that is not known.
fn beside(broker: Result<[Nats; 2], String>, ours: [f64; 3], mut figures: Figures) -> Figures {
    let names = ["call_beside_nats_p50_us", "call_beside_nats_p99_us", "call_beside_nats_64_per_s"];
    match broker {
        Ok([several, one]) => {
            let quick = if one.p50_us < several.p50_us { &one } else { &several };
            let many = if one.at_once_per_s > several.at_once_per_s { &one } else { &several };
            let what = |nats: &Nats| format!("nats-server {}, plain text, {}", nats.version, nats.setting);
            let theirs = [(quick, quick.p50_us), (quick, quick.p99_us), (many, many.at_once_per_s)];
            for ((name, unit), (ours, (nats, value))) in
                names.into_iter().zip(["µs", "µs", "calls/s"]).zip(ours.into_iter().zip(theirs))
            {
                figures.results.push(Figure::new(name, unit, ours, what(nats), value));
            }
        }
        Err(reason) => {
            figures.not_measured.extend(names.map(|metric| NotMeasured { metric, reason: reason.clone() }));
        }
    }
    figures
}

/// A node in a process of its own.
pub(super) struct FarNode {
    home: HomeDir,
    child: Child,
    pub(super) client: Client,
}

impl FarNode {
    /// Starts it and waits until it serves.
    pub(super) async fn start(home: &Path, name: &str) -> Result<Self, CliError> {
        Self::start_at(home, name, &[QUIC], &[]).await
    }

    /// The same, listening at these addresses, with these variables in its environment.
    pub(super) async fn start_at(
        home: &Path,
        name: &str,
        listen: &[&str],
        settings: &[(&str, String)],
    ) -> Result<Self, CliError> {
        Self::begin(home, name, &["up"], listen, settings).await
    }

    /// The same, let in by this token.
    pub(super) async fn join(home: &Path, name: &str, token: &str) -> Result<Self, CliError> {
        Self::begin(home, name, &["join", token], &[QUIC], &[]).await
    }

    async fn begin(
        home: &Path,
        name: &str,
        first: &[&str],
        listen: &[&str],
        settings: &[(&str, String)],
    ) -> Result<Self, CliError> {
        let home = HomeDir::new(home)?;
        let child = spawn(&home, name, first, listen, settings).await?;
        let client = Client::at(home.clone())?;
        Ok(Self { home, child, client })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the node down, then measures from exec to the first answered request, in milliseconds.
    async fn restart_to_answer(mut self, name: &str) -> Result<f64, CliError> {
        self.down().await?;
        let begin = Instant::now();
        self.child = spawn(&self.home, name, &["up"], &[QUIC], &[]).await?;
        let _answered: StatusReport = self.client.get("/v1/status").await?;
        let took_ms = micros(begin) / 1_000.0;
        self.down().await?;
        Ok(took_ms)
    }

    /// Takes it down in order.
    pub(super) async fn down(&mut self) -> Result<(), CliError> {
        let _down: serde_json::Value = self.client.post("/v1/down", &()).await?;
        self.child.wait().map(|_| ()).map_err(|error| failed("beta", &error))
    }
}

impl Drop for FarNode {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended = self.child.wait();
    }
}

async fn spawn(
    home: &HomeDir,
    name: &str,
    first: &[&str],
    listen: &[&str],
    settings: &[(&str, String)],
) -> Result<Child, CliError> {
    let program = std::env::current_exe().map_err(|error| failed(name, &error))?;
    let mut child = Command::new(program)
        .args(first)
        .args(["--json", "--log", "error", "--name", name, "--home"])
        .arg(home.path())
        .env("XDG_STATE_HOME", home.path())
        .env("WEFT_NETWORK_MDNS", "false")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .args(listen.iter().flat_map(|address| ["--listen", address]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(name, &error))?;
    let stdout = child.stdout.take().ok_or_else(|| failed(name, &"no output"))?;
    let stdout = tokio::process::ChildStdout::from_std(stdout).map_err(|error| failed(name, &error))?;
    let line = tokio::time::timeout(ANSWER, BufReader::new(stdout).lines().next_line()).await;
    let line = line.map_err(|_| failed(name, &"did not start"))?.map_err(|error| failed(name, &error))?;
    serde_json::from_str::<UpReport>(&line.unwrap_or_default()).map_err(|error| failed(name, &error))?;
    Ok(child)
}

/// A node in this process, joined to the far one by a real token.
pub(super) async fn near_node(home: &Path, far: &FarNode) -> Result<Running, CliError> {
    let invite: InviteReport = far
        .client
        .post("/v1/invites", &InviteRequest { role: None, ttl_ms: None, uses: None, certificate_ttl_ms: None })
        .await?;
    let token: Token = invite.token.parse().map_err(|error| failed("token", &error))?;
    let name: NodeName = "alpha".parse()?;
    let home = Home::open(HomeDir::new(home)?)?.with_state_in(home);
    let keys = std::sync::Arc::new(identity::load_or_create(home.path())?);
    let (admission, address) =
        crate::network::join(&keys, &token, &name, WireVersions::default(), |_| {}).await.map_err(CliError::from)?;
    let cluster = ClusterFile {
        charter: admission.charter,
        certificate: admission.certificate,
        name,
        incarnation: new_incarnation()?,
        members: admission.members,
        addresses: vec![(token.inviter, vec![address])],
        reborn: None,
        disowned: Vec::new(),
    };
    home.write_cluster(&cluster)?;
    let listen = vec![QUIC.to_owned()];
    let mut config: Config = crate::config::load(&home, &Flags::default())?;
    config.listen = listen;
    config.mdns = false;
    let live = Live::new(HomeDir::new(home.path())?, Flags::default(), None, config);
    let keys = identity::load(home.path())?;
    start(home, live, keys, Boot::new()).await
}

pub(super) async fn call(asker: &Asker, durability: Durability) -> Result<(), weft_protocol::Refusal> {
    let syscall = Syscall::Send {
        target: "echo@beta".parse().map_err(|_| weft_protocol::Refusal::Expired)?,
        payload: Payload::Text("x".repeat(BODY_BYTES)),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability },
        deadline_us: 10_000_000,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    };
    let reply = asker.ask(Principal::Operator, Question::Kernel(Box::new(syscall))).await?;
    match reply {
        Reply::Kernel(Answer::Sent(report)) if report.reply.is_some() => Ok(()),
        other => Err(weft_protocol::Refusal::Invalid { message: format!("not an answer: {other:?}") }),
    }
}

pub(super) async fn until_reachable(asker: &Asker) -> Result<(), CliError> {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let reached = tokio::time::timeout(ANSWER, async {
        while call(asker, Durability::None).await.is_err() {
            looks.tick().await;
        }
    });
    reached.await.map_err(|_| failed("beta", &"was not reached"))
}

/// Times of calls one after the other, in microseconds.
async fn one_at_a_time(asker: &Asker, durability: Durability) -> Result<Vec<f64>, CliError> {
    let mut times = Vec::with_capacity(ONE_AT_A_TIME);
    for number in 0..WARM_UP + ONE_AT_A_TIME {
        let begin = Instant::now();
        call(asker, durability).await.map_err(|refusal| CliError::from(&refusal))?;
        if number >= WARM_UP {
            times.push(micros(begin));
        }
    }
    Ok(times)
}

async fn at_once(asker: &Asker) -> Result<f64, CliError> {
    let begin = Instant::now();
    let mut calls = FuturesUnordered::new();
    for _ in 0..IN_FLIGHT {
        calls.push(call(asker, Durability::None));
    }
    for answered in 0..AT_ONCE {
        let Some(result) = calls.next().await else { break };
        result.map_err(|refusal| CliError::from(&refusal))?;
        if answered + IN_FLIGHT < AT_ONCE {
            calls.push(call(asker, Durability::None));
        }
    }
    Ok(per_second(AT_ONCE, begin))
}

/// Resident memory of a process in bytes, as the kernel counts it.
#[expect(clippy::cast_precision_loss, reason = "a figure for people; bytes of memory fit a double")]
pub(super) fn resident_bytes(pid: u32) -> Result<f64, CliError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| failed("memory", &error))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .ok_or_else(|| failed("memory", &"the kernel does not say"))?;
    Ok((kib * 1024) as f64)
}

/// Processor time that a process has used, in microseconds, as the kernel counts it: in hundredths of a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people; microseconds of a run fit a double")]
pub(super) fn processor_us(pid: u32) -> Result<f64, CliError> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| failed("processor time", &error))?;
    // After the name, which may hold anything, the 12th and 13th of what is left.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(ticks as f64 * 1e6 / per_second as f64)
}

/// Exec to first line in milliseconds, and resident memory while waiting, of this program without a node in it.
fn bare_process() -> Result<(f64, f64), CliError> {
    let program = std::env::current_exe().map_err(|error| failed("exec", &error))?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        Command::new(&program).arg("--version").output().map_err(|error| failed("exec", &error))?;
        times.push(micros(begin) / 1_000.0);
    }
    let mut waiting = Command::new(&program)
        .arg("bench-stock")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed("exec", &error))?;
    let mut line = String::new();
    if let Some(stdout) = waiting.stdout.take() {
        let mut stdout = std::io::BufReader::new(stdout);
        std::io::BufRead::read_line(&mut stdout, &mut line).map_err(|error| failed("exec", &error))?;
    }
    let resident = resident_bytes(waiting.id());
    drop(waiting.stdin.take());
    let _ended = waiting.wait();
    Ok((median(&mut times), resident?))
}
