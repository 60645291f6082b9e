//! `weft demo`: three real nodes on loopback, joined by invite tokens; agents call across them; trace, verify, tidy up.

mod guard;
mod report;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use weft_protocol::control::{
    Body, CallReport, ChainVerifyReport, InviteReport, InviteRequest, MembersReport, PublicationEvent, PublishReport,
    PublishRequest, SendReport, SendRequest, SpawnReport, SpawnRequest, TraceReport, UpReport,
};

use self::guard::Guard;
pub(crate) use self::guard::{GuardArgs, guard};
use self::report::DemoReport;
use super::args::DemoArgs;
use super::client::{Client, Pieces, segment};
use super::{CliError, Output};
use crate::home::HomeDir;

/// How long any single step may take before the demo gives up.
const STEP: Duration = Duration::from_secs(20);
/// How often a condition is looked at again.
const LOOK: Duration = Duration::from_millis(20);
/// Calls whose latency is measured.
const MEASURED_CALLS: usize = 200;
/// Publications.
const PUBLISHED: u64 = 5;
const TOPIC: &str = "demo.news";

/// The Python agent and what it needs, written out so that the demo works wherever the program is.
const SCRIPTS: [(&str, &str); 2] = [
    ("wordcount.py", include_str!("../../../examples/agents/wordcount.py")),
    ("weft_agent.py", include_str!("../../../examples/agents/weft_agent.py")),
];

/// Runs the demo to its end, or until it is interrupted; either way nothing is left behind.
///
/// # Errors
/// The first step that did not work.
pub(crate) async fn run(args: &DemoArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    let (folder, keep) = match &args.keep {
        Some(folder) => (folder.clone(), true),
        None => (temporary_folder()?, false),
    };
    let folder = std::path::absolute(&folder).map_err(|error| failed("the folder", &error))?;
    if keep && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty", folder.display());
        return Err(CliError::new("invalid", message).hint("name a new folder"));
    }
    let guard = Guard::start(&folder, keep)?;
    let shown = tokio::select! {
        shown = Demo::new(output, folder.clone()).show() => shown,
        _ = tokio::signal::ctrl_c() => Err(CliError::new("interrupted", "interrupted")),
        () = terminated() => Err(CliError::new("interrupted", "ended by SIGTERM")),
    };
    guard.finish().await;
    let report = shown?;
    output.report(&report, DemoReport::summary)?;
    if keep {
        output.remark(&format!("kept       {}", folder.display()));
    }
    Ok(())
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

fn temporary_folder() -> Result<PathBuf, CliError> {
    let bytes = crate::identity::random::<6>()?;
    Ok(std::env::temp_dir().join(format!("weft-demo-{}", data_encoding::HEXLOWER.encode(&bytes))))
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new("failed", format!("{what}: {error}"))
}

/// One of the three nodes.
struct DemoNode {
    name: &'static str,
    home: PathBuf,
    child: Child,
    up: UpReport,
    client: Client,
}

/// The demo while it runs.
struct Demo {
    output: Output,
    folder: PathBuf,
    calls: u64,
}

impl Demo {
    const fn new(output: Output, folder: PathBuf) -> Self {
        Self { output, folder, calls: 0 }
    }

    fn say(&self, what: &str, text: &str) {
        self.output.remark(&format!("{what:<10} {text}"));
    }

    async fn show(mut self) -> Result<DemoReport, CliError> {
        let python = python3()?;
        let alpha = self.start("alpha", &["up"]).await?;
        self.say("up", &format!("alpha  {}  new cluster {}", alpha.up.node, alpha.up.cluster.name));
        let invite = InviteRequest { role: None, ttl_ms: None, uses: Some(2), certificate_ttl_ms: None };
        let invite: InviteReport = alpha.client.post("/v1/invites", &invite).await?;
        self.say(
            "invite",
            &format!("{}…  for two nodes, role {}", invite.token.get(..24).unwrap_or_default(), invite.role),
        );
        let join = ["join", invite.token.as_str()];
        let (beta, gamma) = tokio::try_join!(self.start("beta", &join), self.start("gamma", &join))?;
        let nodes = [&alpha, &beta, &gamma];
        for node in nodes {
            wait_for(&format!("{} sees all members", node.name), async || all_alive(&node.client).await).await?;
        }
        self.say("joined", "beta and gamma, each proven by its certificate; three members see each other");

        self.spawn(
            &beta,
            SpawnRequest { agent: "counter".into(), builtin: Some("counter".into()), ..Default::default() },
        )
        .await?;
        let script = self.write_scripts()?;
        let exec = Some(vec![python, script.display().to_string()]);
        self.spawn(&gamma, SpawnRequest { agent: "wordcount".into(), exec, ..Default::default() }).await?;

        self.send_and_call(&alpha).await?;
        let delivered = self.publish(&alpha, [&beta, &gamma]).await?;
        let call_p50_us = self.measure(&alpha).await?;
        let trace = self.trace(&alpha).await?;
        let names: Vec<(&'static str, PathBuf)> = nodes.iter().map(|node| (node.name, node.home.clone())).collect();
        for mut node in [gamma, beta, alpha] {
            let _down: Value = node.client.post("/v1/down", &()).await?;
            let ended = tokio::time::timeout(STEP, node.child.wait()).await;
            ended.map_err(|_| failed(node.name, &"did not end"))?.map_err(|error| failed(node.name, &error))?;
        }
        let mut chains = serde_json::Map::new();
        for (name, home) in &names {
            let own = self.verify_offline(name, home).await?;
            chains.insert((*name).to_owned(), own);
        }
        self.say("verified", "every chain on every node, offline, from its first event");
        Ok(DemoReport {
            nodes: names.len() as u64,
            calls: self.calls,
            call_p50_us,
            published: PUBLISHED,
            delivered,
            verified: true,
            trace: trace.hops,
            chains,
        })
    }

    /// Starts a node as a process of its own and waits until it serves.
    async fn start(&self, name: &'static str, words: &[&str]) -> Result<DemoNode, CliError> {
        let home = self.folder.join(name);
        let mut child = own_program()?
            .args(words)
            .args(["--json", "--name", name, "--log", "error", "--home"])
            .arg(&home)
            .env("XDG_STATE_HOME", &self.folder)
            .env("WEFT_NETWORK_MDNS", "false")
            .args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(name, &error))?;
        let stdout = child.stdout.take().ok_or_else(|| failed(name, &"no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(STEP, lines.next_line()).await.map_err(|_| failed(name, &"did not start"))?;
        let line = line.map_err(|error| failed(name, &error))?.unwrap_or_default();
        let up = serde_json::from_str(&line).map_err(|_| failed(&format!("{name} did not start"), &line))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = Client::at(HomeDir::new(&home)?)?;
        Ok(DemoNode { name, home, child, up, client })
    }

    async fn spawn(&self, node: &DemoNode, request: SpawnRequest) -> Result<(), CliError> {
        let report: SpawnReport = node.client.post("/v1/agents", &request).await?;
        let what = if request.exec.is_some() { "a Python child process, confined" } else { "built in" };
        self.say("agent", &format!("{}@{}  {}  {what}", report.agent, node.name, report.process));
        Ok(())
    }

    fn write_scripts(&self) -> Result<PathBuf, CliError> {
        let folder = self.folder.join("scripts");
        std::fs::create_dir_all(&folder).map_err(|error| failed("the scripts", &error))?;
        for (name, text) in SCRIPTS {
            std::fs::write(folder.join(name), text).map_err(|error| failed(name, &error))?;
        }
        Ok(folder.join(SCRIPTS[0].0))
    }

    async fn call(&mut self, from: &DemoNode, target: &str, text: &str, receipt: &str) -> Result<CallReport, CliError> {
        self.calls += 1;
        from.client.post("/v1/call", &message(target, text, receipt)).await
    }

    async fn send_and_call(&mut self, alpha: &DemoNode) -> Result<(), CliError> {
        let sent: SendReport = alpha.client.post("/v1/send", &message("counter@beta", "+41", "received")).await?;
        self.say("send", &format!("alpha → counter@beta  \"+41\"  {} in {} µs", sent.receipt, sent.latency_us));
        let counted = self.call(alpha, "counter@beta", "count this call too", "executed").await?;
        self.say("call", &format!("alpha → counter@beta  {}  {} µs", shown(&counted), counted.latency_us));
        let text = "the quick brown fox\njumps over the lazy dog";
        wait_for("the directory knows wordcount", async || {
            let members: MembersReport = alpha.client.get("/v1/members").await.ok()?;
            members.members.iter().any(|row| row.agents.iter().any(|agent| agent == "wordcount")).then_some(())
        })
        .await?;
        let words = self.call(alpha, "wordcount", text, "executed").await?;
        self.say("call", &format!("alpha → wordcount@{}  {}  {} µs", words.name, shown(&words), words.latency_us));
        Ok(())
    }

    /// Publishes from alpha and counts what arrives at the two subscribers.
    async fn publish(&self, alpha: &DemoNode, subscribers: [&DemoNode; 2]) -> Result<u64, CliError> {
        let path = format!("/v1/topics/{TOPIC}/events");
        let mut streams = Vec::new();
        for node in subscribers {
            streams.push(Pieces::events(node.client.stream(&path).await?));
        }
        for number in 0..PUBLISHED {
            let payload = Body::Text(format!("news {number}"));
            let request = PublishRequest { payload, wait_for: 2, deadline_ms: Some(10_000), trace: None };
            let _left: PublishReport = alpha.client.post(&format!("/v1/topics/{TOPIC}"), &request).await?;
        }
        let mut delivered = 0;
        let until = Instant::now() + STEP;
        for stream in &mut streams {
            for _ in 0..PUBLISHED {
                let event = tokio::time::timeout_at(until, stream.next()).await;
                let Ok(event) = event else { break };
                let event = event?.ok_or_else(|| failed("the subscription", &"ended"))?;
                let event: PublicationEvent = serde_json::from_str(&event).map_err(|error| failed(TOPIC, &error))?;
                delivered += u64::from(event.node == alpha.up.node);
            }
        }
        self.say(
            "publish",
            &format!("alpha → {TOPIC}  {PUBLISHED} published, {delivered} delivered on beta and gamma"),
        );
        Ok(delivered)
    }

    async fn measure(&mut self, alpha: &DemoNode) -> Result<u64, CliError> {
        let mut latencies = Vec::with_capacity(MEASURED_CALLS);
        for number in 0..MEASURED_CALLS {
            latencies.push(self.call(alpha, "echo@beta", &number.to_string(), "executed").await?.latency_us);
        }
        let p50 = median(&mut latencies);
        let mut durable = Vec::new();
        for number in 0..MEASURED_CALLS / 4 {
            let called = self.call(alpha, "echo@beta", &number.to_string(), "executed+durable").await?;
            durable.push(called.latency_us);
        }
        let durable_p50 = median(&mut durable);
        self.say(
            "latency",
            &format!("alpha → echo@beta  p50 {p50} µs executed, {durable_p50} µs executed+durable (both disks)"),
        );
        Ok(p50)
    }

    /// One durable call, as both chains hold it.
    async fn trace(&mut self, alpha: &DemoNode) -> Result<TraceReport, CliError> {
        let begun = Instant::now();
        let called = self.call(alpha, "counter@beta", "for the record", "executed+durable").await?;
        let path = format!("/v1/trace/{}", segment(&called.trace));
        let report = wait_for("both chains agree and are sealed", async || {
            let report: TraceReport = alpha.client.get(&path).await.ok()?;
            (report.agree && report.sealed).then_some(report)
        })
        .await?;
        self.output.remark(&format!("\nweft trace {}", called.trace));
        self.output.remark(&super::trace::text(&report));
        self.say("sealed", &format!("both chains agree, both signatures, after {} ms", begun.elapsed().as_millis()));
        Ok(report)
    }

    /// Verifies every chain in a stopped home; where its own stands.
    async fn verify_offline(&self, name: &str, home: &Path) -> Result<Value, CliError> {
        let said = own_program()?.args(["chain", "verify", "--json", "--offline"]).arg(home).output().await;
        let said = said.map_err(|error| failed(name, &error))?;
        let report: ChainVerifyReport = serde_json::from_slice(&said.stdout)
            .map_err(|_| failed(&format!("{name} does not verify"), &String::from_utf8_lossy(&said.stdout)))?;
        let own = report.chains.iter().find(|row| row.name == name);
        let own = own.ok_or_else(|| failed(name, &"its own chain is missing"))?;
        if !report.ok || report.chains.len() != 3 {
            return Err(CliError::new("damaged", format!("{name}: not every chain verifies: {report:?}")));
        }
        let (events, commits, checkpoints) = (own.events, own.commits, own.checkpoints);
        self.say(
            "chain",
            &format!("{name}  {events} events, {commits} commits, {checkpoints} checkpoints, and both others'"),
        );
        Ok(serde_json::json!({"events": events, "commits": commits, "checkpoints": checkpoints, "head": own.head}))
    }
}

fn own_program() -> Result<Command, CliError> {
    std::env::current_exe().map(Command::new).map_err(|error| failed("this program", &error))
}

fn message(target: &str, text: &str, receipt: &str) -> SendRequest {
    SendRequest {
        target: target.to_owned(),
        payload: Body::Text(text.to_owned()),
        receipt: Some(receipt.to_owned()),
        deadline_ms: Some(10_000),
        trace: None,
        idempotent: false,
        parts: false,
    }
}

fn shown(report: &CallReport) -> String {
    match &report.reply {
        Some(Body::Text(text)) => text.clone(),
        Some(body) => serde_json::to_string(body).unwrap_or_default(),
        None => "(no answer)".to_owned(),
    }
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

async fn all_alive(client: &Client) -> Option<()> {
    let members: MembersReport = client.get("/v1/members").await.ok()?;
    let alive = members.members.iter().filter(|row| row.state == "alive").count();
    (alive == 3).then_some(())
}

async fn wait_for<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> Result<T, CliError> {
    let mut looks = tokio::time::interval(LOOK);
    let waited = tokio::time::timeout(STEP, async {
        loop {
            looks.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    });
    waited.await.map_err(|_| CliError::new("deadline", format!("{what}: not within {} s", STEP.as_secs())))
}

/// How to name python3 so that a confined agent can run it: by its word where the system has it, else by the program itself,
/// since what is found first may be a script that looks for it elsewhere.
fn python3() -> Result<String, CliError> {
    if ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join("python3").is_file()) {
        return Ok("python3".to_owned());
    }
    let asked = std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let said = asked.ok().filter(|said| said.status.success());
    let missing = || {
        let message = "python3 was not found, which runs the demo's agent in another language";
        CliError::new("not-found", message).hint("install python3, then weft demo again")
    };
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).ok_or_else(missing)
}
