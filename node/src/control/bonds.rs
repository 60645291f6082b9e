//! Links and monitors between agents: making and undoing them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use weft_kernel::{AgentRef, Answer, Syscall};
use weft_peer::{Question, Reply};
use weft_protocol::control::{ErrorBody, LinkReport, LinkRequest, MonitorReport, MonitorRequest};
use weft_protocol::{ProcessId, Target, Watched};

use super::agents::living;
use super::failure::Failure;
use super::request::JsonBody;
use super::{Served, mismatch};

/// Links two agents of this node: when one fails, the other ends too, or is told when it traps exits. Answers when that is
/// recorded.
#[utoipa::path(post, path = "/v1/agents/{agent}/links", request_body = LinkRequest,
    params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = LinkReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn link(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Result<Json<LinkReport>, Failure> {
    let with: Target = request.with.parse()?;
    let (_, process, _) = living(&served, agent.parse()?).await?;
    let link = Syscall::Link { agent: Some(AgentRef::Process(process)), with };
    match served.ask(Question::Kernel(Box::new(link))).await? {
        Reply::Kernel(Answer::Linked { one, other }) => link_report(&served, one, other, true).await,
        other => Err(mismatch(&other)),
    }
}

/// Undoes a link.
#[utoipa::path(delete, path = "/v1/agents/{agent}/links/{with}",
    params(("agent" = String, Path, description = "Its name or process"),
        ("with" = String, Path, description = "The other's name or process")),
    responses((status = 200, body = LinkReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn unlink(
    State(served): State<Arc<Served>>,
    Path((agent, with)): Path<(String, String)>,
) -> Result<Json<LinkReport>, Failure> {
    let with: Target = with.parse()?;
    let (_, process, _) = living(&served, agent.parse()?).await?;
    let unlink = Syscall::Unlink { agent: Some(AgentRef::Process(process)), with };
    match served.ask(Question::Kernel(Box::new(unlink))).await? {
        Reply::Kernel(Answer::Unlinked { one, other }) => link_report(&served, one, other, false).await,
        other => Err(mismatch(&other)),
    }
}

async fn link_report(
    served: &Served,
    one: ProcessId,
    other: ProcessId,
    linked: bool,
) -> Result<Json<LinkReport>, Failure> {
    let (names, node) = served.read(move |peer| ([one, other].map(|end| name(peer, end)), peer.node())).await?;
    let [agent, with] = names;
    let (process, with_process) = (one.to_string(), other.to_string());
    Ok(Json(LinkReport { agent, process, with, with_process, node: node.to_string(), linked }))
}

fn name(peer: &weft_peer::Peer, process: ProcessId) -> String {
    peer.kernel().process(process).map_or_else(|| process.to_string(), |info| info.agent.to_string())
}

/// Lets an agent of this node hear of another agent's end, on whichever node that runs. Answers when that is recorded.
#[utoipa::path(post, path = "/v1/agents/{agent}/monitors", request_body = MonitorRequest,
    params(("agent" = String, Path, description = "Its name or process")),
    responses((status = 200, body = MonitorReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn monitor(
    State(served): State<Arc<Served>>,
    Path(agent): Path<String>,
    JsonBody(request): JsonBody<MonitorRequest>,
) -> Result<Json<MonitorReport>, Failure> {
    let target: Target = request.target.parse()?;
    let (_, process, _) = living(&served, agent.parse()?).await?;
    let monitor = Syscall::Monitor { watcher: Some(AgentRef::Process(process)), target, seen: None };
    match served.ask(Question::Kernel(Box::new(monitor))).await? {
        Reply::Kernel(Answer::Monitored { watcher, target }) => monitor_report(&served, watcher, target, true).await,
        other => Err(mismatch(&other)),
    }
}

/// Lets it hear of that no longer.
#[utoipa::path(delete, path = "/v1/agents/{agent}/monitors/{target}",
    params(("agent" = String, Path, description = "Its name or process"),
        ("target" = String, Path, description = "The other's name or process")),
    responses((status = 200, body = MonitorReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn demonitor(
    State(served): State<Arc<Served>>,
    Path((agent, target)): Path<(String, String)>,
) -> Result<Json<MonitorReport>, Failure> {
    let target: Target = target.parse()?;
    let (_, process, _) = living(&served, agent.parse()?).await?;
    let demonitor = Syscall::Demonitor { watcher: Some(AgentRef::Process(process)), target };
    match served.ask(Question::Kernel(Box::new(demonitor))).await? {
        Reply::Kernel(Answer::Demonitored { watcher, target }) => monitor_report(&served, watcher, target, false).await,
        other => Err(mismatch(&other)),
    }
}

async fn monitor_report(
    served: &Served,
    watcher: ProcessId,
    target: Watched,
    monitored: bool,
) -> Result<Json<MonitorReport>, Failure> {
    let (agent, node) = served.read(move |peer| (name(peer, watcher), peer.node())).await?;
    Ok(Json(MonitorReport {
        agent,
        process: watcher.to_string(),
        node: node.to_string(),
        target: target.agent.to_string(),
        target_process: target.process.to_string(),
        target_node: target.node.to_string(),
        monitored,
    }))
}
