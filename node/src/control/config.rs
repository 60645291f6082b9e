//! The settings of the running node, and reading them again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weft_protocol::control::{ConfigReport, ErrorBody, ReloadReport};

use super::Served;
use super::failure::Failure;

/// Every setting in force, and where it came from.
#[utoipa::path(get, path = "/v1/config", responses((status = 200, body = ConfigReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn show(State(served): State<Arc<Served>>) -> Json<ConfigReport> {
    Json(served.control.live.config().await.report(true))
}

/// Reads the configuration again, as SIGHUP does. What changed is on the chain before this answers; an error changes nothing.
#[utoipa::path(post, path = "/v1/config/reload",
    responses((status = 200, body = ReloadReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn reload(State(served): State<Arc<Served>>) -> Result<Json<ReloadReport>, Failure> {
    crate::config::reload(&served.control.live, &served.control.asker).await.map(Json).map_err(Failure)
}
