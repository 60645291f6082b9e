//! Where an agent is started, and of agents that outlive their nodes who holds them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use weft_kernel::Answer;
use weft_peer::{FailoverView, Peer, Question, Reply};
use weft_protocol::control::{AgentRow, SpawnReport, SpawnRequest};
use weft_protocol::{AgentName, AgentSpec, FailoverDeclared, NodeId, Principal};

use super::agents::spawned;
use super::failure::Failure;
use super::members::find;
use super::{Served, mismatch};

/// How long the process of an agent that was started elsewhere is looked for, until that node has told of it (guess).
const TOLD_MAX: Duration = Duration::from_secs(3);
/// How often.
const TOLD_STEP: Duration = Duration::from_millis(50);

/// The node that a request means by its labels and the wish for the least loaded, or the one that it names.
pub(super) async fn choose(
    served: &Served,
    on: Option<String>,
    request: &mut SpawnRequest,
) -> Result<Option<String>, Failure> {
    let (labels, least) = (std::mem::take(&mut request.labels), std::mem::take(&mut request.least_loaded));
    if on.is_some() || labels.is_empty() && !least {
        return Ok(on);
    }
    let wanted = labels.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(" ");
    match served.read(move |peer| peer.discovery().place(&labels, least)).await? {
        Some(node) => Ok(Some(node.to_string())),
        None => {
            let message = format!("no member that can be reached has the labels {wanted}");
            Err(Failure::new("not-found", message).hint("`labels` in the configuration of a node gives it some"))
        }
    }
}

/// Declares an agent that outlives its node; answers when it runs, here or on the node that was chosen.
pub(super) async fn declare(
    served: &Arc<Served>,
    spec: AgentSpec,
    on: Option<String>,
) -> Result<Json<SpawnReport>, Failure> {
    let first = match on {
        Some(on) => Some(served.read(move |peer| find(peer, &on)).await??),
        None => None,
    };
    let name = spec.agent.clone();
    let declared = Box::new(FailoverDeclared { spec, by: Principal::Operator, first });
    match served.ask(Question::Failover { declared }).await? {
        Reply::Kernel(Answer::Spawned { process }) => spawned(served, name.to_string(), process).await,
        Reply::Placed { agent, node, .. } => placed(served, agent, node).await,
        other => Err(mismatch(&other)),
    }
}

/// The process there, once that node has told of it.
async fn placed(served: &Arc<Served>, agent: AgentName, node: NodeId) -> Result<Json<SpawnReport>, Failure> {
    let begun = tokio::time::Instant::now();
    loop {
        let name = agent.clone();
        let told = served.read(move |peer| {
            let agents = peer.discovery().agents_of(&node);
            agents.iter().find(|(it, _)| *it == name).map(|(_, process)| process.to_string())
        });
        let (agent, node) = (agent.to_string(), node.to_string());
        match told.await? {
            Some(process) => return Ok(Json(SpawnReport { agent, process, node, state: "running".to_owned() })),
            None if begun.elapsed() > TOLD_MAX => {
                let message = format!("{node} holds {agent}, and does not say that it runs");
                return Err(Failure::new("deadline", message).changed().hint("weft ps"));
            }
            None => tokio::time::sleep(TOLD_STEP).await,
        }
    }
}

/// Adds who holds which fence, and why this node holds one no longer.
pub(super) fn note_fences(peer: &Peer, rows: &mut Vec<AgentRow>) {
    let own = peer.node();
    for view in peer.failovers() {
        let FailoverView { agent, fence, holder, here, refused, .. } = view;
        let (agent, holder_id) = (agent.to_string(), holder.to_string());
        let holds = holder != own || here;
        for row in rows.iter_mut().filter(|row| holds && row.agent == agent && row.node == holder_id) {
            row.fence = Some(fence);
        }
        let Some(reason) = refused.filter(|_| holder != own) else { continue };
        match rows.iter_mut().find(|row| row.agent == agent && row.node == own.to_string()) {
            Some(row) => row.reason = Some(reason),
            None => rows.push(AgentRow {
                agent,
                process: "-".to_owned(),
                node: own.to_string(),
                name: peer.discovery().display_name(own),
                state: "refused".to_owned(),
                reason: Some(reason),
                backend: "-".to_owned(),
                restarts: None,
                group: None,
                started_at: None,
                fence: None,
            }),
        }
    }
}
