//! Agents: what runs here and in the cluster, starting and stopping.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use weft_kernel::{AgentRef, Answer, ProcessInfo, ProcessState, Prospect, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    AgentReport, AgentRow, AgentsReport, ErrorBody, PauseReport, SignalReport, SignalRequest, SpawnReport,
    SpawnRequest, StopReport,
};
use weft_protocol::limits::{DEADLINE_DEFAULT_US, DEADLINE_US_MAX};
use weft_protocol::{AgentName, Delivery, Durability, Level, LocalTarget, NodeRef, Payload, ProcessId, Signal, Target};

use super::elsewhere::{ELSEWHERE_US, Place, There, place};
use super::failure::Failure;
use super::placement;
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
        placement::note_fences(peer, &mut agents);
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
        state: process.shown_state(),
        reason: process.shown_reason(),
        backend: process.backend.to_string(),
        restarts: Some(process.restarts),
        group: process.group.as_ref().map(|membership| membership.group.to_string()),
        started_at: process.started_at.map(text::time),
        fence: None,
    };
    latest.into_values().map(row).collect()
}

const fn is_living(state: &ProcessState) -> bool {
    match state {
        ProcessState::Starting | ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping => true,
        ProcessState::Exited(_) => false,
    }
}

fn other_agents(peer: &Peer) -> Vec<AgentRow> {
    let others = peer.discovery().members().filter(|member| member.node != peer.node());
    let rows = others.flat_map(|member| {
        let state = if member.state.is_there() { "running" } else { "unknown" };
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
            fence: None,
        })
    });
    rows.collect()
}

/// Everything about one agent.
#[utoipa::path(get, path = "/v1/agents/{agent}", params(("agent" = String, Path, description = "Its name or process, with @node on another one")),
    responses((status = 200, body = AgentReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn inspect(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<AgentReport>, Failure> {
    let target = match place(&served, &agent).await? {
        Place::Here(target) => target,
        Place::There(there) => return there.agent("agent.inspect").await,
    };
    served.read(move |peer| find(peer, &target).map(|process| process.report(peer.node()))).await?.map(Json)
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
        return Err(Failure::new("unsupported", message).hint("the same command on that node"));
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

/// Starts an agent, here or on another node; answers when it runs.
#[utoipa::path(post, path = "/v1/agents", request_body = SpawnRequest,
    responses((status = 200, body = SpawnReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn spawn(
    State(served): State<Arc<Served>>,
    JsonBody(mut request): JsonBody<SpawnRequest>,
) -> Result<Json<SpawnReport>, Failure> {
    let (on, deadline_ms) = (request.on.take(), request.deadline_ms.take());
    let spec = Box::new(request.clone().into_spec()?);
    let deadline_us = deadline_us(deadline_ms)?;
    let on = placement::choose(&served, on, &mut request).await?;
    if spec.failover.is_some() {
        return placement::declare(&served, *spec, on).await;
    }
    if let Some(on) = on
        && let Some(there) = There::of(&served, on.parse()?, None, deadline_us).await?
    {
        return there.call("agent.spawn", &request).await;
    }
    let agent = spec.agent.to_string();
    match served.ask(Question::Kernel(Box::new(Syscall::Spawn { spec }))).await? {
        Reply::Kernel(Answer::Spawned { process }) => spawned(&served, agent, process).await,
        other => Err(mismatch(&other)),
    }
}

fn deadline_us(deadline_ms: Option<u64>) -> Result<u64, Failure> {
    let deadline_us = deadline_ms.map_or(ELSEWHERE_US, |ms| ms.saturating_mul(1_000));
    if deadline_us == 0 || deadline_us > DEADLINE_US_MAX {
        let message = format!("`deadline_ms` is not between 1 and {}", DEADLINE_US_MAX / 1_000);
        return Err(Failure::new("invalid", message));
    }
    Ok(deadline_us)
}

pub(super) async fn spawned(served: &Served, agent: String, process: ProcessId) -> Result<Json<SpawnReport>, Failure> {
    let read = move |peer: &Peer| {
        let state = peer.kernel().process(process).map_or_else(|| "exited".to_owned(), |info| info.shown_state());
        (peer.node().to_string(), state)
    };
    let (node, state) = served.read(read).await?;
    Ok(Json(SpawnReport { agent, process: process.to_string(), node, state }))
}

/// Stops an agent; answers when it has ended.
#[utoipa::path(post, path = "/v1/agents/{agent}/stop", params(("agent" = String, Path, description = "Its name or process, with @node on another one")),
    responses((status = 200, body = StopReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn stop(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<StopReport>, Failure> {
    let target = match place(&served, &agent).await? {
        Place::Here(target) => target,
        Place::There(there) => return there.agent("agent.stop").await,
    };
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

/// Lets an agent stand still: its process and all that it started are stopped, and what is for it waits.
#[utoipa::path(post, path = "/v1/agents/{agent}/suspend",
    params(("agent" = String, Path, description = "Its name or process, with @node on another one")),
    responses((status = 200, body = PauseReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn suspend(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<PauseReport>, Failure> {
    pause(&served, &agent, "agent.suspend", |agent| Syscall::Suspend { agent }).await
}

/// Lets a suspended agent go on.
#[utoipa::path(post, path = "/v1/agents/{agent}/resume",
    params(("agent" = String, Path, description = "Its name or process, with @node on another one")),
    responses((status = 200, body = PauseReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn resume(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<PauseReport>, Failure> {
    pause(&served, &agent, "agent.resume", |agent| Syscall::Resume { agent }).await
}

async fn pause(
    served: &Served,
    agent: &str,
    tool: &str,
    syscall: impl FnOnce(AgentRef) -> Syscall,
) -> Result<Json<PauseReport>, Failure> {
    let target = match place(served, agent).await? {
        Place::Here(target) => target,
        Place::There(there) => return there.agent(tool).await,
    };
    let (agent, process, node) = living(served, target).await?;
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
pub(crate) async fn living(served: &Served, target: Target) -> Result<(AgentName, ProcessId, String), Failure> {
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

/// Sends a signal to an agent; answers when it was carried out or handed over.
#[utoipa::path(post, path = "/v1/agents/{agent}/signal", request_body = SignalRequest,
    params(("agent" = String, Path, description = "Its name or process, with @node on another one")),
    responses((status = 200, body = SignalReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn signal(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
    JsonBody(request): JsonBody<SignalRequest>,
) -> Result<Json<SignalReport>, Failure> {
    let signal: Signal = request.signal.parse()?;
    let (agent, process, node, target) = match place(&served, &agent).await? {
        Place::Here(target) => {
            let (agent, process, node) = living(&served, target).await?;
            (agent.to_string(), process, node, Target { node: None, local: LocalTarget::Process(process) })
        }
        Place::There(there) => {
            let Json(found) = there.agent::<AgentReport>("agent.inspect").await?;
            let process: ProcessId = found.process.parse()?;
            let target = Target { node: Some(NodeRef::Id(there.node)), local: LocalTarget::Process(process) };
            (found.agent, process, found.node, target)
        }
    };
    let send = Syscall::Send {
        target,
        payload: Payload::Signal(Box::new(signal)),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: DEADLINE_DEFAULT_US,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    };
    match served.ask(Question::Kernel(Box::new(send))).await? {
        Reply::Kernel(Answer::Sent(report)) => Ok(Json(SignalReport {
            agent,
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

/// Stops an agent and starts it again; one that waits for that, or was given up, is started at once. Answers
/// when it runs.
#[utoipa::path(post, path = "/v1/agents/{agent}/restart",
    params(("agent" = String, Path, description = "Its name or process, with @node on another one")),
    responses((status = 200, body = SpawnReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn restart(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
) -> Result<Json<SpawnReport>, Failure> {
    let target = match place(&served, &agent).await? {
        Place::Here(target) => target,
        Place::There(there) => return there.agent("agent.restart").await,
    };
    let process = served.read(move |peer| find(peer, &target)).await?;
    let ProcessInfo { agent, process, state, prospect, .. } = process?;
    if let (ProcessState::Exited(reason), Prospect::None) = (state, prospect) {
        let message = format!("{agent} does not run any more: {reason}");
        return Err(Failure::new("gone", message).hint(format!("weft agent spawn {agent} …")));
    }
    let restart = Syscall::Restart { agent: AgentRef::Process(process) };
    match served.ask(Question::Kernel(Box::new(restart))).await? {
        Reply::Kernel(Answer::Spawned { process }) => spawned(&served, agent.to_string(), process).await,
        other => Err(mismatch(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let request = serde_json::from_str::<SpawnRequest>(json).expect("a request");
        Failure::from(request.into_spec().expect_err("wrong")).0.to_string()
    }

    #[test]
    fn wrong_requests_are_refused_with_reasons() {
        let cases = [
            (
                r#"{"agent":"A","builtin":"echo"}"#,
                "`A` is not a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit; not kernel or broadcast)",
            ),
            (r#"{"agent":"a","builtin":"ecko"}"#, "`ecko` is not a built-in agent (echo, counter, clock or load)"),
            (r#"{"agent":"a"}"#, "exactly one of `builtin`, `exec`, `wasm`, `image` and `tee` says what runs"),
            (
                r#"{"agent":"a","builtin":"echo","exec":["x"]}"#,
                "exactly one of `builtin`, `exec`, `wasm`, `image` and `tee` says what runs",
            ),
            (
                r#"{"agent":"a","builtin":"echo","wasm":"a.wasm"}"#,
                "exactly one of `builtin`, `exec`, `wasm`, `image` and `tee` says what runs",
            ),
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
