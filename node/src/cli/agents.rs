//! `weft agent …`, `weft ps`: what runs, and starting and stopping it.

use weft_protocol::Resource;
use weft_protocol::control::{
    AgentReport, AgentRow, AgentsReport, LimitsJson, LogLine, LogReport, PauseReport, SandboxJson, SignalReport,
    SignalRequest, SpawnReport, SpawnRequest, StopReport,
};

use super::args::{AgentCommand, Limit, LogsArgs, SignalArgs, SpawnArgs};
use super::client::{Client, Pieces, segment};
use super::output::{Output, ago, card, dim, good, table};
use super::{At, CliError, bonds};

/// `weft agent …`.
pub(crate) async fn agent(command: &AgentCommand, before: &At) -> Result<(), CliError> {
    match command {
        AgentCommand::Spawn(args) => spawn(args, &args.at.or(before)).await,
        AgentCommand::Ls(only) => list("/v1/agents", &only.at.or(before)).await,
        AgentCommand::Inspect(args) => inspect(&args.agent, &args.at.or(before)).await,
        AgentCommand::Stop(args) => stop(&args.agent, &args.at.or(before)).await,
        AgentCommand::Suspend(args) => pause("suspend", &args.agent, &args.at.or(before)).await,
        AgentCommand::Resume(args) => pause("resume", &args.agent, &args.at.or(before)).await,
        AgentCommand::Signal(args) => signal(args, &args.at.or(before)).await,
        AgentCommand::Link(args) => bonds::link(args, &args.at.or(before)).await,
        AgentCommand::Unlink(args) => bonds::unlink(args, &args.at.or(before)).await,
        AgentCommand::Monitor(args) => bonds::monitor(args, &args.at.or(before)).await,
        AgentCommand::Demonitor(args) => bonds::demonitor(args, &args.at.or(before)).await,
        AgentCommand::Logs(args) => logs(args, &args.at.or(before)).await,
        AgentCommand::Restart(args) => restart(&args.agent, &args.at.or(before)).await,
    }
}

/// `weft ps`.
pub(crate) async fn ps(at: &At) -> Result<(), CliError> {
    list("/v1/agents?cluster=true", at).await
}

async fn list(path: &str, at: &At) -> Result<(), CliError> {
    let report: AgentsReport = Client::of(at)?.get(path).await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["agent", "process", "node", "state", "backend", "restarts", "started", "fence"];
        let empty = "no agents; start one: weft agent spawn echo";
        table(header, report.agents.iter().map(row).collect(), empty)
    })
}

fn row(agent: &AgentRow) -> [String; 8] {
    let state = match (&agent.reason, agent.state.as_str()) {
        (Some(reason), state) => format!("{state}: {reason}"),
        (None, "running") => good("running"),
        (None, state) => state.to_owned(),
    };
    [
        agent.agent.clone(),
        agent.process.clone(),
        agent.name.clone(),
        state,
        agent.backend.clone(),
        agent.restarts.map_or_else(|| "-".to_owned(), |restarts| restarts.to_string()),
        agent.started_at.as_deref().map_or_else(|| "-".to_owned(), ago),
        agent.fence.map_or_else(|| "-".to_owned(), |fence| fence.to_string()),
    ]
}

async fn spawn(args: &SpawnArgs, at: &At) -> Result<(), CliError> {
    let request = spawn_request(args)?;
    let report: SpawnReport = Client::of(at)?.post("/v1/agents", &request).await?;
    let place = args.on.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    Output::new(at.json).report(&report, |report| format!("{} runs as {}{place}", report.agent, report.process))
}

fn spawn_request(args: &SpawnArgs) -> Result<SpawnRequest, CliError> {
    args.name.parse::<weft_protocol::AgentName>()?;
    let exec = args.exec.as_deref().map(super::words::split).transpose();
    let exec = exec.map_err(|problem| CliError::new("invalid", format!("--exec: {problem}")))?;
    // On another machine a file of this one means nothing.
    let moves = args.on.is_some() || args.least_loaded || !args.labels.is_empty();
    let here = |word: String| if moves { word } else { absolute(word) };
    let exec = exec.map(|words| words.into_iter().map(here).collect::<Vec<_>>());
    let builtin = match (&args.builtin, &exec) {
        (Some(kind), _) => Some(kind.to_string()),
        (None, Some(_)) => None,
        (None, None) if args.wasm.is_some() || args.image.is_some() || args.tee.is_some() => None,
        (None, None) => match args.name.parse::<weft_protocol::BuiltinKind>() {
            Ok(kind) => Some(kind.to_string()),
            Err(_) => {
                let message = format!("`{}` is no built-in agent, so it must be said what runs", args.name);
                return Err(CliError::new("usage", message).hint("--builtin echo|counter|clock, or --exec 'CMD'"));
            }
        },
    };
    let mut limits = LimitsJson::default();
    for Limit { resource, bound } in &args.limit {
        let place = match resource {
            Resource::Memory => &mut limits.memory_bytes,
            Resource::Cpu => &mut limits.cpu_us,
            Resource::Disk => &mut limits.disk_bytes,
            Resource::Messages => &mut limits.messages,
            Resource::ToolCalls => &mut limits.tool_calls,
        };
        // In a request 0 is no bound at all.
        *place = Some(bound.unwrap_or(0));
    }
    Ok(SpawnRequest {
        agent: args.name.clone(),
        builtin,
        exec,
        wasm: args.wasm.clone(),
        image: args.image.clone(),
        tee: args.tee.clone(),
        environment: args.env.iter().cloned().collect(),
        trusted: args.trusted,
        restart: Some(args.restart.to_string()),
        group: args.group.as_ref().map(ToString::to_string),
        strategy: args.strategy.map(|strategy| strategy.to_string()),
        grants: args.grant.iter().map(ToString::to_string).collect(),
        limits,
        probes: args.probe.clone(),
        needs: args.needs.iter().map(ToString::to_string).collect(),
        on: args.on.as_ref().map(ToString::to_string),
        deadline_ms: args.deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        traps_exits: args.trap_exits,
        ipc_scope: args.ipc_scope.as_ref().map(ToString::to_string),
        sandbox: sandbox(args),
        failover: args.failover,
        labels: args.labels.iter().cloned().collect(),
        least_loaded: args.least_loaded,
    })
}

/// What is said about it; nothing when nothing is, so that it is as whoever spawns the agent has it.
fn sandbox(args: &SpawnArgs) -> Option<SandboxJson> {
    let SpawnArgs { allow_path, deny_path, no_network, no_shell, .. } = args;
    let said = *no_network || *no_shell || !allow_path.is_empty() || !deny_path.is_empty();
    said.then(|| SandboxJson {
        allowed_paths: allow_path.iter().map(ToString::to_string).collect(),
        denied_paths: deny_path.clone(),
        allow_network: !no_network,
        allow_shell: !no_shell,
    })
}

/// A word that names a file from here names it from everywhere: the agent runs in a folder of its own.
fn absolute(word: String) -> String {
    let path = std::path::Path::new(&word);
    let file = path.is_relative() && path.is_file();
    match std::path::absolute(path) {
        Ok(absolute) if file => absolute.to_str().map_or(word, str::to_owned),
        Ok(_) | Err(_) => word,
    }
}

async fn inspect(agent: &str, at: &At) -> Result<(), CliError> {
    let report: AgentReport = Client::of(at)?.get(&format!("/v1/agents/{}", segment(agent))).await?;
    Output::new(at.json).report(&report, |report| {
        let none = || "-".to_owned();
        let list = |items: &[String]| if items.is_empty() { none() } else { items.join("  ") };
        let LimitsJson { memory_bytes, cpu_us, disk_bytes, messages, tool_calls } = report.limits;
        let of = |resource: Resource, name: &str, bound: Option<u64>| {
            let used = report.used.get(name).copied().flatten();
            let used = used.map_or_else(|| "not measured".to_owned(), |used| resource.amount(used));
            bound.map_or_else(|| used.clone(), |bound| format!("{used} of {}", resource.amount(bound)))
        };
        let waiting = |name: &str| report.used.get(name).copied().flatten().unwrap_or_default();
        card([
            ("agent", format!("{}  {}", report.agent, report.process)),
            ("node", report.node.clone()),
            (
                "state",
                [Some(&report.state), report.reason.as_ref()]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(": "),
            ),
            ("backend", report.backend.clone()),
            ("pid", report.pid.map_or_else(none, |pid| pid.to_string())),
            ("restarts", report.restarts.to_string()),
            ("policy", report.restart.clone()),
            (
                "group",
                match (&report.group, &report.strategy) {
                    (Some(group), Some(strategy)) => format!("{group}, {strategy}"),
                    (Some(group), None) => group.clone(),
                    (None, _) => none(),
                },
            ),
            ("started", report.started_at.clone().unwrap_or_else(none)),
            ("memory", of(Resource::Memory, "memory_bytes", memory_bytes)),
            ("cpu", of(Resource::Cpu, "cpu_us", cpu_us)),
            ("disk", of(Resource::Disk, "disk_bytes", disk_bytes)),
            ("sent", of(Resource::Messages, "messages", messages)),
            ("tools", of(Resource::ToolCalls, "tool_calls", tool_calls)),
            ("mailbox", format!("{} waiting, {} in work", waiting("messages_waiting"), waiting("messages_in_flight"))),
            ("grants", list(&report.grants)),
            ("topics", list(&report.topics)),
            ("scope", report.ipc_scope.clone()),
            ("sandbox", report.sandbox.as_ref().map_or_else(none, ToString::to_string)),
            (
                "links",
                match (report.traps_exits, list(&report.links)) {
                    (true, links) => format!("{links}  (traps exits)"),
                    (false, links) => links,
                },
            ),
            ("monitors", list(&report.monitors)),
        ])
    })
}

async fn stop(agent: &str, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/stop", segment(agent));
    let report: StopReport = Client::of(at)?.post(&path, &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| format!("{} {}: {}", report.agent, report.process, report.reason))
}

async fn pause(what: &str, agent: &str, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/{what}", segment(agent));
    let report: PauseReport = Client::of(at)?.post(&path, &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| format!("{} {} is {}", report.agent, report.process, report.state))
}

async fn signal(args: &SignalArgs, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/signal", segment(&args.agent));
    let request = SignalRequest { signal: args.signal.to_string() };
    let report: SignalReport = Client::of(at)?.post(&path, &request).await?;
    Output::new(at.json).report(&report, |report| match &report.reply {
        Some(reply) => format!("{} {} answers {reply}", report.agent, report.process),
        None => format!("{} {} was sent {}", report.agent, report.process, report.signal),
    })
}

async fn logs(args: &LogsArgs, at: &At) -> Result<(), CliError> {
    let (client, output) = (Client::of(at)?, Output::new(at.json));
    let path = format!("/v1/agents/{}/logs", segment(&args.agent));
    if !args.follow {
        let report: LogReport = client.get(&format!("{path}?lines={}", args.lines)).await?;
        return output.report(&report, |report| report.lines.iter().map(log_line).collect::<Vec<_>>().join("\n"));
    }
    let body = client.stream(&format!("{path}/follow?lines={}", args.lines)).await?;
    let mut events = Pieces::events(body);
    while let Some(data) = events.next().await? {
        let line: LogLine = serde_json::from_str(&data)
            .map_err(|error| CliError::new("failed", format!("the node sent no line of a log: {error}")))?;
        output.report(&line, log_line)?;
    }
    Err(CliError::new("shutting-down", "the node ended the log: it went down").hint("weft status").retry())
}

fn log_line(line: &LogLine) -> String {
    format!("{} {} {}", dim(&line.at), line.source, line.text)
}

async fn restart(agent: &str, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/restart", segment(agent));
    let report: SpawnReport = Client::of(at)?.post(&path, &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| format!("{} runs as {}", report.agent, report.process))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;

    fn request(words: &[&str]) -> Result<SpawnRequest, CliError> {
        let cli = Cli::parse_from(["weft", "agent", "spawn"].iter().chain(words));
        let Command::Agent(AgentCommand::Spawn(args)) = &cli.command else { panic!("not spawn") };
        spawn_request(args)
    }

    #[test]
    fn what_runs_is_said_or_follows_from_the_name() {
        assert_eq!(request(&["echo"]).expect("a request").builtin.as_deref(), Some("echo"));
        assert_eq!(request(&["e2", "--builtin", "echo"]).expect("a request").builtin.as_deref(), Some("echo"));
        let exec = request(&["echo", "--exec", "python3 'my agent.py'"]).expect("a request");
        assert_eq!((exec.builtin, exec.exec), (None, Some(vec!["python3".to_owned(), "my agent.py".to_owned()])));
        // The tests run in the package's folder.
        let here = request(&["x", "--exec", "python3 src/main.rs"]).expect("a request").exec.expect("words");
        assert!(here[0] == "python3" && here[1].starts_with('/') && here[1].ends_with("src/main.rs"), "{here:?}");
        assert_eq!(request(&["words"]).expect_err("nothing runs").exit_code(), 2);
        assert_eq!(request(&["Words", "--builtin", "echo"]).expect_err("no name").exit_code(), 7);
        assert_eq!(
            request(&["w", "--exec", "'x"]).expect_err("cut").to_string(),
            "--exec: a single quote is not closed (nothing changed)"
        );
    }
}
