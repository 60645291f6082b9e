//! Checkpoints for people to carry elsewhere, and what calendars of OpenTimestamps were asked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use weft_protocol::Digest;
use weft_protocol::control::{AnchorsReport, CheckpointFile, ErrorBody, StampRequest, StampRow, StampsReport};

use super::Served;
use super::failure::Failure;
use super::request::{JsonBody, Parameters};
use crate::anchor::AnchorError;

/// Which commit the checkpoint must continue.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointParameters {
    /// The number of a commit that an earlier checkpoint names.
    commit_no: Option<u64>,
    /// Its hash: with another one in its place nothing is given.
    commit: Option<String>,
}

/// The newest checkpoint of this node's chain, with what an outsider needs to verify it.
#[utoipa::path(get, path = "/v1/chain/checkpoint", params(CheckpointParameters),
    responses((status = 200, body = CheckpointFile), (status = "default", body = ErrorBody)))]
pub(crate) async fn checkpoint(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<CheckpointParameters>,
) -> Result<Response, Failure> {
    let continues = match (parameters.commit_no, parameters.commit) {
        (Some(commit_no), Some(commit)) => Some((commit_no, commit.parse::<Digest>()?)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::new("invalid", "`commit_no` and `commit` belong together"));
        }
    };
    let checkpoint = served.control.keeper.checkpoint(continues).await?;
    // The very bytes that are hashed and stamped.
    Ok(([(CONTENT_TYPE, "application/json")], checkpoint.bytes).into_response())
}

/// Who holds something of this node's chain, and how far: members, a file, calendars.
#[utoipa::path(get, path = "/v1/chain/anchors",
    responses((status = 200, body = AnchorsReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn anchors(State(served): State<Arc<Served>>) -> Result<Json<AnchorsReport>, Failure> {
    Ok(Json(served.control.keeper.standing().await?))
}

/// Every stamp that was asked for, and how far it has come.
#[utoipa::path(get, path = "/v1/chain/stamps",
    responses((status = 200, body = StampsReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn stamps(State(served): State<Arc<Served>>) -> Result<Json<StampsReport>, Failure> {
    Ok(Json(StampsReport { stamps: served.control.keeper.stamps().await }))
}

/// Lets calendars stamp the newest checkpoint. Responds when each of them has answered, or has not within ten seconds.
#[utoipa::path(post, path = "/v1/chain/stamps", request_body = StampRequest,
    responses((status = 200, body = StampRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn stamp(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<StampRequest>,
) -> Result<Json<StampRow>, Failure> {
    Ok(Json(served.control.keeper.stamp(&request.calendars).await?))
}

impl From<AnchorError> for Failure {
    fn from(error: AnchorError) -> Self {
        let text = error.to_string();
        match error {
            AnchorError::Refused(refusal) => refusal.into(),
            AnchorError::Checkpoint(_) => Self::new("failed", text).hint("weft chain verify"),
            AnchorError::OtherHistory { .. } => Self::new("contradicted", text)
                .hint("keep that checkpoint: with weft chain export it shows that the chain was rewritten"),
            AnchorError::Kept(_) => Self::new("conflict", text),
            AnchorError::NoCalendar => {
                Self::new("invalid", text).hint("--calendar http://HOST, or [anchor] calendars in config.toml")
            }
            AnchorError::BadCalendar(_) => Self::new("invalid", text).hint("--calendar http://HOST[:PORT][/PATH]"),
            AnchorError::Full => Self::new("conflict", text).hint("move HOME/anchors elsewhere, and weft up again"),
            AnchorError::Home(_) => Self::new("failed", text),
            AnchorError::NoAnswer { .. } => Self::new("unreachable", text)
                .hint("the stamp is kept and they are asked again: weft chain stamps")
                .changed(),
        }
    }
}
