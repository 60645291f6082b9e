//! Agents: what runs here and in the cluster, starting and stopping.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use weft_kernel::{AgentRef, Answer, ProcessInfo, ProcessState, Prospect, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    AgentReport, AgentRow, AgentsReport, ErrorBody, LimitsJson, PauseReport, SignalReport, SignalRequest, SpawnReport,
    SpawnRequest, StopReport,
};
use weft_protocol::limits::{DEADLINE_DEFAULT_US, GRANTS_MAX, NEEDS_MAX};
use weft_protocol::{
    AgentName, AgentSpec, Backend, Delivery, Durability, GrantSpec, Level, LocalTarget, Membership, NodeRef, Payload,
    ProcessId, Resource, ResourceLimits, RestartPolicy, ServiceName, Signal, Target,
};

use super::failure::Failure;
use super::health::probes;
use super::members::is_there;
use super::request::{JsonBody, Parameters};
use super::{Served, mismatch, text};
use crate::cli::nearest;

/// What a list may be asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Whether agents of other nodes are listed too, as their nodes advertise them.
    #[serde(default)]
    cluster: bool,
}

/// The agents of this node, or of the cluster.
#[utoipa::path(get, path = "/v1/agents", params(ListParameters),
    responses((status = 200, body = AgentsReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<AgentsReport>, Failure> {
    let read = move |peer: &Peer| {
        let mut agents = own_agents(peer);
        if parameters.cluster {
            agents.extend(other_agents(peer));
        }
        agents.sort_by(|one, other| {
            (&one.agent, &one.name, &one.process).cmp(&(&other.agent, &other.name, &other.process))
        });
        agents
    };
    Ok(Json(AgentsReport { agents: served.read(read).await? }))
}

/// The living, and of each name that has none the last that exited.
fn own_agents(peer: &Peer) -> Vec<AgentRow> {
    let (node, name) = (peer.node().to_string(), peer.discovery().display_name(peer.node()));
    let mut latest: BTreeMap<AgentName, ProcessInfo> = BTreeMap::new();
    for process in peer.kernel().processes() {
        let shown = latest.get(&process.agent).map(|shown| is_living(&shown.state));
        if shown != Some(true) || is_living(&process.state) {
            latest.insert(process.agent.clone(), process);
        }
    }
    let row = |process: ProcessInfo| AgentRow {
        agent: process.agent.to_string(),
        process: process.process.to_string(),
        node: node.clone(),
        name: name.clone(),
        state: state(&process),
        reason: reason(&process),
        backend: process.backend.to_string(),
        restarts: Some(process.restarts),
        group: process.group.as_ref().map(|membership| membership.group.to_string()),
        started_at: process.started_at.map(text::time),
    };
    latest.into_values().map(row).collect()
}

const fn is_living(state: &ProcessState) -> bool {
    match state {
        ProcessState::Starting | ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping => true,
        ProcessState::Exited(_) => false,
    }
}

/// The state of the process, and once it has ended that of its agent.
fn state(process: &ProcessInfo) -> String {
    match (&process.state, &process.prospect) {
        (ProcessState::Exited(_), Prospect::Restart { .. }) => "restarting".to_owned(),
        (ProcessState::Exited(_), Prospect::Failed { .. }) => "failed".to_owned(),
        (state, _) => state.to_string(),
    }
}

fn reason(process: &ProcessInfo) -> Option<String> {
    match (&process.state, &process.prospect) {
        (ProcessState::Exited(_), Prospect::Failed { reason }) => Some(reason.clone()),
        (ProcessState::Exited(reason), Prospect::None | Prospect::Restart { .. }) => Some(reason.to_string()),
        (ProcessState::Starting | ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping, _) => None,
    }
}

fn other_agents(peer: &Peer) -> Vec<AgentRow> {
    let others = peer.discovery().members().filter(|member| member.node != peer.node());
    let rows = others.flat_map(|member| {
        let state = if is_there(member.state) { "running" } else { "unknown" };
        let (node, name) = (member.node.to_string(), member.name.to_string());
        member.agents.into_iter().map(move |(agent, process)| AgentRow {
            agent: agent.to_string(),
            process: process.to_string(),
            node: node.clone(),
            name: name.clone(),
            state: state.to_owned(),
            reason: None,
            backend: "remote".to_owned(),
            restarts: None,
            group: None,
            started_at: None,
        })
    });
    rows.collect()
}

/// Everything about one agent of this node.
#[utoipa::path(get, path = "/v1/agents/{agent}", params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = AgentReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn inspect(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<AgentReport>, Failure> {
    let target: Target = agent.parse()?;
    served.read(move |peer| find(peer, &target).map(|process| report(peer, &process))).await?.map(Json)
}

fn report(peer: &Peer, process: &ProcessInfo) -> AgentReport {
    let waiting = [("messages_waiting", process.mailbox as u64), ("messages_in_flight", process.in_flight as u64)];
    let waiting = waiting.map(|(name, value)| (name.to_owned(), Some(value)));
    let used = process.used.iter().map(|(resource, used)| (unit_name(*resource).to_owned(), *used)).chain(waiting);
    AgentReport {
        agent: process.agent.to_string(),
        process: process.process.to_string(),
        node: peer.node().to_string(),
        state: state(process),
        reason: reason(process),
        backend: process.backend.to_string(),
        pid: process.pid,
        restarts: process.restarts,
        restart: process.restart.to_string(),
        group: process.group.as_ref().map(|membership| membership.group.to_string()),
        strategy: process.group.as_ref().and_then(|membership| membership.strategy).map(|it| it.to_string()),
        restart_at: match process.prospect {
            Prospect::Restart { at } => Some(text::time(at)),
            Prospect::None | Prospect::Failed { .. } => None,
        },
        started_at: process.started_at.map(text::time),
        limits: limits_json(&process.limits),
        used: used.collect(),
        grants: process.grants.iter().map(|grant| format!("{} {}", grant.id, grant.spec)).collect(),
        topics: process.topics.iter().map(ToString::to_string).collect(),
    }
}

/// The name of a resource with its unit, as in the requests.
const fn unit_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory_bytes",
        Resource::Cpu => "cpu_us",
        Resource::Disk => "disk_bytes",
        Resource::Messages => "messages",
        Resource::ToolCalls => "tool_calls",
    }
}

/// The bounds in force; null for what has none.
fn limits_json(limits: &ResourceLimits) -> LimitsJson {
    LimitsJson {
        memory_bytes: limits.bound(Resource::Memory),
        cpu_us: limits.bound(Resource::Cpu),
        disk_bytes: limits.bound(Resource::Disk),
        messages: limits.bound(Resource::Messages),
        tool_calls: limits.bound(Resource::ToolCalls),
    }
}

/// The bounds that a request asks for, where 0 is none at all.
fn requested_limits(json: &LimitsJson) -> ResourceLimits {
    let read = |asked: Option<u64>| asked.map(|bound| if bound == 0 { ResourceLimits::UNBOUNDED } else { bound });
    ResourceLimits {
        memory_bytes: read(json.memory_bytes),
        cpu_us: read(json.cpu_us),
        disk_bytes: read(json.disk_bytes),
        messages: read(json.messages),
        tool_calls: read(json.tool_calls),
    }
}

/// The process a person means: the living one of that name, else the last that exited.
pub(crate) fn find(peer: &Peer, target: &Target) -> Result<ProcessInfo, Failure> {
    let here = match &target.node {
        None => true,
        Some(NodeRef::Id(id)) => *id == peer.node(),
        Some(NodeRef::Name(name)) => name.as_str() == peer.discovery().display_name(peer.node()),
    };
    if !here {
        let message = format!("{target} is on another node; this command is for agents of this one");
        return Err(Failure::new("unsupported", message).hint("weft agent inspect on that node, or weft ps"));
    }
    let found = match &target.local {
        LocalTarget::Process(process) => peer.kernel().process(*process),
        LocalTarget::Agent(agent) => match peer.kernel().agent(agent) {
            Some(process) => peer.kernel().process(process),
            None => peer.kernel().processes().into_iter().rfind(|process| process.agent == *agent),
        },
        LocalTarget::Topic(_)
        | LocalTarget::Service(_)
        | LocalTarget::ServiceMethod { .. }
        | LocalTarget::Broadcast
        | LocalTarget::Kernel => None,
    };
    found.ok_or_else(|| {
        let names: Vec<String> = peer.kernel().processes().iter().map(|process| process.agent.to_string()).collect();
        not_found(&target.local.to_string(), names.iter().map(String::as_str))
    })
}

/// That nothing goes by that name, with the nearest one that does.
pub(crate) fn not_found<'a>(agent: &str, names: impl Iterator<Item = &'a str>) -> Failure {
    let failure = Failure::new("not-found", format!("no agent {agent} on this node"));
    match nearest(agent, names) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("weft agent ls"),
    }
}

/// That an agent of this name is here is asked before anything is done for it, so that a mistyped name is told as such.
pub(super) async fn check_agent(served: &Served, agent: AgentName) -> Result<(), Failure> {
    let read = move |peer: &Peer| {
        let names = peer.kernel().processes().into_iter().map(|process| process.agent.to_string());
        (peer.kernel().has_agent(&agent), agent.to_string(), names.collect::<Vec<_>>())
    };
    let (there, agent, names) = served.read(read).await?;
    if there { Ok(()) } else { Err(not_found(&agent, names.iter().map(String::as_str))) }
}

/// Starts an agent on this node; answers when it runs.
#[utoipa::path(post, path = "/v1/agents", request_body = SpawnRequest,
    responses((status = 200, body = SpawnReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn spawn(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<SpawnRequest>,
) -> Result<Json<SpawnReport>, Failure> {
    let spec = Box::new(spec(request)?);
    let agent = spec.agent.to_string();
    match served.ask(Question::Kernel(Box::new(Syscall::Spawn { spec }))).await? {
        Reply::Kernel(Answer::Spawned { process }) => {
            let node = served.read(|peer| peer.node().to_string()).await?;
            Ok(Json(SpawnReport { agent, process: process.to_string(), node }))
        }
        other => Err(mismatch(&other)),
    }
}

fn spec(request: SpawnRequest) -> Result<AgentSpec, Failure> {
    let agent: AgentName = request.agent.parse()?;
    let backend = match (request.builtin, request.exec) {
        (Some(kind), None) => {
            if !request.environment.is_empty() || request.trusted {
                return Err(Failure::new("invalid", "a built-in agent has no environment and needs no trust"));
            }
            Backend::Builtin(kind.parse()?)
        }
        (None, Some(command)) if command.iter().any(|word| !word.is_empty()) && !command[0].is_empty() => {
            Backend::Command { command, environment: request.environment, trusted: request.trusted }
        }
        (None, Some(_)) => return Err(Failure::new("invalid", "`exec` names no program")),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::new("invalid", "exactly one of `builtin` and `exec` says what runs"));
        }
    };
    let restart = request.restart.as_deref().map_or(Ok(RestartPolicy::Temporary), str::parse)?;
    let group = match (request.group, request.strategy) {
        (Some(group), strategy) => {
            let strategy = strategy.as_deref().map(str::parse).transpose()?;
            Some(Membership { group: group.parse()?, strategy })
        }
        (None, Some(_)) => {
            return Err(Failure::new("invalid", "`strategy` says how a `group` restarts; none is named"));
        }
        (None, None) => None,
    };
    if request.grants.len() > GRANTS_MAX {
        return Err(Failure::new("invalid", format!("{} grants, at most {GRANTS_MAX}", request.grants.len())));
    }
    let grants = request.grants.iter().map(|grant| grant.parse()).collect::<Result<Vec<GrantSpec>, _>>()?;
    let probes = probes(&request.probes)?;
    if request.needs.len() > NEEDS_MAX {
        return Err(Failure::new("invalid", format!("{} needs, at most {NEEDS_MAX}", request.needs.len())));
    }
    let needs = request.needs.iter().map(|service| service.parse()).collect::<Result<Vec<ServiceName>, _>>()?;
    Ok(AgentSpec { agent, backend, restart, grants, limits: requested_limits(&request.limits), group, probes, needs })
}

/// Stops an agent of this node; answers when it has ended.
#[utoipa::path(post, path = "/v1/agents/{agent}/stop", params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = StopReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn stop(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<StopReport>, Failure> {
    let target: Target = agent.parse()?;
    let (process, node) = served.read(move |peer| (find(peer, &target), peer.node().to_string())).await?;
    let ProcessInfo { agent, process, state, prospect, .. } = process?;
    if let (ProcessState::Exited(reason), Prospect::None) = (state, prospect) {
        let message = format!("{agent} does not run any more: {reason}");
        return Err(Failure::new("gone", message).hint("weft agent ls"));
    }
    let stop = Syscall::Stop { agent: AgentRef::Process(process) };
    match served.ask(Question::Kernel(Box::new(stop))).await? {
        Reply::Kernel(Answer::Stopped { process, reason }) => Ok(Json(StopReport {
            agent: agent.to_string(),
            process: ProcessId::to_string(&process),
            node,
            reason: reason.to_string(),
        })),
        other => Err(mismatch(&other)),
    }
}

/// Lets an agent of this node stand still: its process and all that it started are stopped, and what is for it waits.
#[utoipa::path(post, path = "/v1/agents/{agent}/suspend",
    params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = PauseReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn suspend(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<PauseReport>, Failure> {
    pause(&served, &agent, |agent| Syscall::Suspend { agent }).await
}

/// Lets a suspended agent of this node go on.
#[utoipa::path(post, path = "/v1/agents/{agent}/resume",
    params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = PauseReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn resume(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<PauseReport>, Failure> {
    pause(&served, &agent, |agent| Syscall::Resume { agent }).await
}

async fn pause(
    served: &Served,
    agent: &str,
    syscall: impl FnOnce(AgentRef) -> Syscall,
) -> Result<Json<PauseReport>, Failure> {
    let (agent, process, node) = living(served, agent).await?;
    let report = |state: &str| {
        Ok(Json(PauseReport { agent: agent.to_string(), process: process.to_string(), node, state: state.to_owned() }))
    };
    match served.ask(Question::Kernel(Box::new(syscall(AgentRef::Process(process))))).await? {
        Reply::Kernel(Answer::Suspended { .. }) => report("suspended"),
        Reply::Kernel(Answer::Resumed { .. }) => report("running"),
        other => Err(mismatch(&other)),
    }
}

/// The process of an agent that has one, with this node.
async fn living(served: &Served, agent: &str) -> Result<(AgentName, ProcessId, String), Failure> {
    let target: Target = agent.parse()?;
    let (process, node) = served.read(move |peer| (find(peer, &target), peer.node().to_string())).await?;
    let process = process?;
    match process.state {
        ProcessState::Exited(reason) => {
            let message = format!("{} does not run: {reason}", process.agent);
            Err(Failure::new("gone", message).hint(format!("weft agent inspect {}", process.agent)))
        }
        ProcessState::Starting | ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping => {
            Ok((process.agent, process.process, node))
        }
    }
}

/// Sends a signal to an agent of this node; answers when it was carried out or handed over.
#[utoipa::path(post, path = "/v1/agents/{agent}/signal", request_body = SignalRequest,
    params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = SignalReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn signal(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
    JsonBody(request): JsonBody<SignalRequest>,
) -> Result<Json<SignalReport>, Failure> {
    let signal: Signal = request.signal.parse()?;
    let (agent, process, node) = living(&served, &agent).await?;
    let send = Syscall::Send {
        target: Target { node: None, local: LocalTarget::Process(process) },
        payload: Payload::Signal(signal),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: DEADLINE_DEFAULT_US,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
    };
    match served.ask(Question::Kernel(Box::new(send))).await? {
        Reply::Kernel(Answer::Sent(report)) => Ok(Json(SignalReport {
            agent: agent.to_string(),
            process: process.to_string(),
            node,
            signal: request.signal,
            reply: report.reply.and_then(|reply| match reply {
                Payload::Signal(signal) => Some(signal.to_string()),
                _ => None,
            }),
            trace: report.trace.to_string(),
        })),
        other => Err(mismatch(&other)),
    }
}

/// Stops an agent of this node and starts it again; one that waits for that, or was given up, is started at once. Answers
/// when it runs.
#[utoipa::path(post, path = "/v1/agents/{agent}/restart",
    params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = SpawnReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn restart(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<SpawnReport>, Failure> {
    let target: Target = agent.parse()?;
    let (process, node) = served.read(move |peer| (find(peer, &target), peer.node().to_string())).await?;
    let ProcessInfo { agent, process, state, prospect, .. } = process?;
    if let (ProcessState::Exited(reason), Prospect::None) = (state, prospect) {
        let message = format!("{agent} does not run any more: {reason}");
        return Err(Failure::new("gone", message).hint(format!("weft agent spawn {agent} …")));
    }
    let restart = Syscall::Restart { agent: AgentRef::Process(process) };
    match served.ask(Question::Kernel(Box::new(restart))).await? {
        Reply::Kernel(Answer::Spawned { process }) => {
            Ok(Json(SpawnReport { agent: agent.to_string(), process: process.to_string(), node }))
        }
        other => Err(mismatch(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let request = serde_json::from_str(json).expect("a request");
        spec(request).expect_err("wrong").0.to_string()
    }

    #[test]
    fn wrong_requests_are_refused_with_reasons() {
        let cases = [
            (
                r#"{"agent":"A","builtin":"echo"}"#,
                "`A` is not a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit; not kernel or broadcast)",
            ),
            (r#"{"agent":"a","builtin":"ecko"}"#, "`ecko` is not a built-in agent (echo, counter or clock)"),
            (r#"{"agent":"a"}"#, "exactly one of `builtin` and `exec` says what runs"),
            (r#"{"agent":"a","builtin":"echo","exec":["x"]}"#, "exactly one of `builtin` and `exec` says what runs"),
            (r#"{"agent":"a","exec":[]}"#, "`exec` names no program"),
            (r#"{"agent":"a","exec":["","x"]}"#, "`exec` names no program"),
            (
                r#"{"agent":"a","builtin":"echo","trusted":true}"#,
                "a built-in agent has no environment and needs no trust",
            ),
            (
                r#"{"agent":"a","builtin":"echo","restart":"often"}"#,
                "`often` is not a restart policy (permanent, transient or temporary)",
            ),
            (
                r#"{"agent":"a","builtin":"echo","strategy":"one-for-all"}"#,
                "`strategy` says how a `group` restarts; none is named",
            ),
            (
                r#"{"agent":"a","builtin":"echo","group":"shop/"}"#,
                "`shop/` is not a group (1 to 4 names of a-z 0-9 - _ joined by /)",
            ),
            (
                r#"{"agent":"a","builtin":"echo","grants":["fly:me"]}"#,
                "`fly:me` is not a grant (right:pattern, as call:echo@beta or publish:jobs.*)",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(refused(json), format!("{expected} (nothing changed)"), "{json}");
        }
    }
}
