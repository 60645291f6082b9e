//! Rights of agents: giving them, listing them, taking them back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use weft_kernel::{Answer, GrantInfo, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{ErrorBody, GrantRequest, GrantRevokeReport, GrantRow, GrantsReport};
use weft_protocol::{AgentName, GrantId, GrantIssued, GrantTerms, LocalTarget, Target};

use super::agents::check_agent;
use super::failure::Failure;
use super::request::{JsonBody, Parameters};
use super::{Served, mismatch, text};

/// What a list may be asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantParameters {
    /// Only what this agent holds.
    agent: Option<String>,
}

/// The rights that stand, as far as this node knows.
#[utoipa::path(get, path = "/v1/grants", params(GrantParameters),
    responses((status = 200, body = GrantsReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<GrantParameters>,
) -> Result<Json<GrantsReport>, Failure> {
    let only = parameters.agent.map(|agent| agent.parse::<AgentName>()).transpose()?;
    let read = move |peer: &Peer| {
        let grants =
            peer.kernel().grants().into_iter().filter(|one| only.as_ref().is_none_or(|only| one.agent == *only));
        grants.map(|one| row(peer, &one)).collect()
    };
    Ok(Json(GrantsReport { grants: served.read(read).await? }))
}

fn row(peer: &Peer, one: &GrantInfo) -> GrantRow {
    let reference = one.grant.reference(one.node);
    let name = |node| peer.discovery().display_name(node);
    GrantRow {
        id: one.grant.id.to_string(),
        agent: one.agent.to_string(),
        node: one.node.to_string(),
        name: name(one.node),
        process: one.process.map(|process| process.to_string()),
        grant: one.grant.spec.to_string(),
        issuer: reference.node.to_string(),
        issuer_name: name(reference.node),
        expires_at: one.grant.expires.map(text::time),
        uses: one.grant.uses,
        used: one.used,
        depth: one.grant.depth,
        parents: one.grant.parents.iter().map(|parent| parent.grant.to_string()).collect(),
        by: one.by.as_ref().map(ToString::to_string),
    }
}

/// Gives an agent a right, here or towards this cluster on another node.
#[utoipa::path(post, path = "/v1/grants", request_body = GrantRequest,
    responses((status = 200, body = GrantRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn grant(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<GrantRequest>,
) -> Result<Json<GrantRow>, Failure> {
    let to: Target = request.agent.parse()?;
    let terms = GrantTerms { spec: request.grant.parse()?, expires: None, uses: request.uses };
    if request.uses == Some(0) || request.expires_in_ms == Some(0) {
        return Err(Failure::new("invalid", "a right that ends before its first use gives nothing")
            .hint("--uses 1 and --expires 1h are among the least"));
    }
    if let Target { node: None, local: LocalTarget::Agent(agent) } = &to {
        check_agent(&served, agent.clone()).await?;
    }
    let lasts_us = request.expires_in_ms.map(|ms| ms.saturating_mul(1_000));
    match served.ask(Question::Kernel(Box::new(Syscall::Grant { to, terms, lasts_us }))).await? {
        Reply::Kernel(Answer::Granted(issued)) => {
            let GrantIssued { grant, to, by } = *issued;
            let used = grant.uses.map(|_| 0);
            let given = GrantInfo { grant, node: to.node, agent: to.agent, process: to.process, by: Some(by), used };
            Ok(Json(served.read(move |peer| row(peer, &given)).await?))
        }
        other => Err(mismatch(&other)),
    }
}

/// Takes a right back, with all that was passed on from it.
#[utoipa::path(delete, path = "/v1/grants/{id}", params(("id" = String, Path, description = "Which")),
    responses((status = 200, body = GrantRevokeReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn revoke(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
) -> Result<Json<GrantRevokeReport>, Failure> {
    let grant: GrantId = id.parse()?;
    if !served.read(move |peer| peer.kernel().has_grant(grant)).await? {
        return Err(Failure::new("not-found", format!("no grant {grant} stands on this node")).hint("weft cap ls"));
    }
    match served.ask(Question::Kernel(Box::new(Syscall::Revoke { grant }))).await? {
        Reply::Kernel(Answer::Revoked { grant }) => Ok(Json(GrantRevokeReport { id: grant.to_string() })),
        other => Err(mismatch(&other)),
    }
}
