//! `send` and `call`: one message to one agent, here or elsewhere.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse as _, Response};
use weft_kernel::{Answer, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{Body, CallReport, ErrorBody, PartEvent, SendReport, SendRequest};
use weft_protocol::limits::{DEADLINE_DEFAULT_US, DEADLINE_US_MAX};
use weft_protocol::{Delivery, Level, LocalTarget, Payload, Principal, Refusal, Target, TraceId};

use super::failure::Failure;
use super::request::JsonBody;
use super::{Served, mismatch};
use crate::cli::nearest;

/// Sends a message that wants no answer; responds when it has come as far as was asked.
#[utoipa::path(post, path = "/v1/send", request_body = SendRequest,
    responses((status = 200, body = SendReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn send(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<SendRequest>,
) -> Result<Json<SendReport>, Failure> {
    let report = deliver(&served, Wanted::of(request, false, Delivery::Received)?).await?;
    Ok(Json(SendReport {
        id: report.id.to_string(),
        receipt: report.level.to_string(),
        trace: report.trace.to_string(),
        node: report.node.to_string(),
        delivered: report.delivered,
        witnesses: report.witnesses.iter().map(ToString::to_string).collect(),
        latency_us: report.latency_us,
    }))
}

/// Sends a message and responds with its answer; with `parts`, or `Accept: text/event-stream`, with each part of the answer as
/// it comes (`part`, a part event), and in the end with the answer (`answer`, a call report) or what went wrong (`error`, an
/// error object). When the connection closes before the end, the call is cancelled.
#[utoipa::path(post, path = "/v1/call", request_body = SendRequest,
    responses((status = 200, content((CallReport = "application/json"), (PartEvent = "text/event-stream"))),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn call(
    State(served): State<Arc<Served>>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SendRequest>,
) -> Result<Response, Failure> {
    let parts = request.parts || wants_events(&headers);
    let wanted = Wanted::of(SendRequest { parts, ..request }, true, Delivery::Executed)?;
    if parts {
        return super::parts::call(served, wanted).await;
    }
    let report = deliver(&served, wanted).await?;
    Ok(Json(call_report(&served, report).await?).into_response())
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(|kind| kind.trim().starts_with("text/event-stream")))
}

/// What a call is answered with.
pub(super) async fn call_report(served: &Served, report: weft_kernel::SendReport) -> Result<CallReport, Failure> {
    let node = report.node;
    let read = move |peer: &Peer| {
        let member = peer.discovery().members().find(|member| member.node == node);
        let name = member.as_ref().map_or_else(|| node.to_string(), |member| member.name.to_string());
        let path = match member.as_ref().and_then(|member| member.path.as_ref()) {
            _ if node == peer.node() => "local",
            Some(path) => super::members::way(path),
            None => "none",
        };
        (name, path, member.and_then(|member| member.rtt_us))
    };
    let (name, path, rtt_us) = served.read(read).await?;
    Ok(CallReport {
        reply: report.reply.as_ref().map(Body::from),
        receipt: report.level.to_string(),
        latency_us: report.latency_us,
        trace: report.trace.to_string(),
        node: node.to_string(),
        name,
        path: path.to_owned(),
        rtt_us,
        id: report.id.to_string(),
        record: report.record.map(|record| record.seq),
        remote_record: report.remote_record.map(|record| record.seq),
        witnesses: report.witnesses.iter().map(ToString::to_string).collect(),
        parts: report.parts.map(|parts| parts.count),
        parts_digest: report.parts.map(|parts| parts.digest.to_string()),
    })
}

/// A message that is well formed, and what is told of it when it is refused.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) question: Question,
    target: Target,
    tool: Option<String>,
}

impl Wanted {
    fn of(request: SendRequest, wants_reply: bool, otherwise: Delivery) -> Result<Self, Failure> {
        let target: Target = request.target.parse()?;
        let level = match &request.receipt {
            Some(level) => level.parse()?,
            None => Level { delivery: otherwise, durability: weft_protocol::Durability::None },
        };
        if wants_reply && level.delivery != Delivery::Executed {
            return Err(Failure::new("invalid", format!("a call waits for its answer; `{level}` does not")));
        }
        let payload = payload(&request.payload)?;
        let tool = match &payload {
            Payload::ToolCall { name, .. } => Some(name.clone()),
            _ => None,
        };
        let syscall = Syscall::Send {
            target: target.clone(),
            payload,
            wants_reply,
            level,
            deadline_us: deadline_us(request.deadline_ms)?,
            trace: trace(request.trace.as_deref())?,
            cause: Vec::new(),
            idempotent: request.idempotent,
            parts: request.parts,
        };
        Ok(Self { question: Question::Kernel(Box::new(syscall)), target, tool })
    }
}

async fn deliver(served: &Served, wanted: Wanted) -> Result<weft_kernel::SendReport, Failure> {
    let Wanted { question, target, tool } = wanted;
    let answer = served.control.asker.ask(Principal::Operator, question).await;
    sent(served, answer, target, tool.as_deref()).await
}

impl Wanted {
    /// What the peer answered to it, for whoever reads.
    pub(super) async fn answered(
        &self,
        served: &Served,
        answer: Result<Reply, Refusal>,
    ) -> Result<weft_kernel::SendReport, Failure> {
        sent(served, answer, self.target.clone(), self.tool.as_deref()).await
    }
}

async fn sent(
    served: &Served,
    answer: Result<Reply, Refusal>,
    target: Target,
    tool: Option<&str>,
) -> Result<weft_kernel::SendReport, Failure> {
    match answer {
        Ok(Reply::Kernel(Answer::Sent(report))) => Ok(*report),
        Ok(other) => Err(mismatch(&other)),
        Err(refusal @ Refusal::NoResponder { .. }) => Err(with_nearest(served, refusal, target).await),
        Err(refusal @ Refusal::Denied { .. }) => Err(denied(served, refusal, &target, tool).await),
        Err(refusal) => Err(served.refused(refusal).await),
    }
}

/// A refusal that nothing answers, with the nearest name of something that would.
async fn with_nearest(served: &Served, refusal: Refusal, target: Target) -> Failure {
    let failure = Failure::from(refusal);
    let LocalTarget::Agent(wanted) = target.local else { return service_hint(served, failure, &target.local).await };
    let names = served.read(agent_names).await.unwrap_or_default();
    let near = nearest(wanted.as_str(), names.iter().map(|(agent, _)| agent.as_str()));
    let Some(near) = near else { return failure };
    let nodes: Vec<&str> = names.iter().filter(|(agent, _)| agent == near).map(|(_, node)| node.as_str()).collect();
    match nodes.as_slice() {
        [node] => failure.hint(format!("did you mean {near}@{node}?")),
        _ => failure.hint(format!("did you mean {near}, on {}?", nodes.join(" or "))),
    }
}

/// A denial, with who can change it: an operator's own node lets every message go, so the one that it was for said no.
async fn denied(served: &Served, refusal: Refusal, target: &Target, tool: Option<&str>) -> Failure {
    let failure = Failure::from(refusal);
    match &target.node {
        Some(node) => super::elsewhere::denied(served, failure, node, tool).await,
        None => failure,
    }
}

/// The same for a service.
async fn service_hint(served: &Served, failure: Failure, target: &LocalTarget) -> Failure {
    let Some(wanted) = target.service() else { return failure };
    let names = served.read(service_names).await.unwrap_or_default();
    match nearest(wanted.as_str(), names.iter().map(String::as_str)) {
        Some(near) if near != wanted.as_str() => failure.hint(format!("did you mean svc:{near}?")),
        Some(_) | None => failure.hint("weft services lists what is served"),
    }
}

fn service_names(peer: &Peer) -> Vec<String> {
    let members = peer.discovery().members().filter(|member| member.state.is_there());
    members.flat_map(|member| member.services).map(|advert| advert.service.to_string()).collect()
}

/// Every agent that is known to run, with the name of its node.
fn agent_names(peer: &Peer) -> Vec<(String, String)> {
    let members = peer.discovery().members().filter(|member| member.state.is_there());
    let names = members.flat_map(|member| {
        let node = member.name.to_string();
        member.agents.into_iter().map(move |(agent, _)| (agent.to_string(), node.clone()))
    });
    names.collect()
}

/// Who sent something, as people read it.
pub(crate) fn sender(principal: &Principal) -> String {
    match principal {
        Principal::Operator => "operator".to_owned(),
        Principal::Agent { agent, .. } => agent.to_string(),
    }
}

/// The payload that a body stands for.
pub(crate) fn payload(body: &Body) -> Result<Payload, Failure> {
    body.to_payload().map_err(|error| Failure::new("invalid", format!("payload: {error}")))
}

/// A deadline within the bounds, in microseconds.
pub(crate) fn deadline_us(deadline_ms: Option<u64>) -> Result<u64, Failure> {
    let deadline_us = deadline_ms.map_or(DEADLINE_DEFAULT_US, |ms| ms.saturating_mul(1_000));
    if (1..=DEADLINE_US_MAX).contains(&deadline_us) {
        return Ok(deadline_us);
    }
    let message = format!("a deadline is at least a millisecond and at most {} s", DEADLINE_US_MAX / 1_000_000);
    Err(Failure::new("invalid", message).hint("--deadline 5s"))
}

/// The conversation that was named, if one was.
pub(crate) fn trace(text: Option<&str>) -> Result<Option<TraceId>, Failure> {
    Ok(text.map(str::parse).transpose()?)
}
