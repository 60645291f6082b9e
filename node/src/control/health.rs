//! How the node is: for people and programs in full, for those who only ask whether it lives and whether it is ready.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use weft_kernel::NodeState;
use weft_peer::Peer;
use weft_protocol::control::{ErrorBody, HealthReport, HealthRow, ProbeReport};
use weft_protocol::{Health, HealthSubject};

use super::failure::Failure;
use super::{Served, text};

/// How long the event loop may take to answer before it counts as stuck (guess: it answers within milliseconds).
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Everything that is probed, and how it is.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = HealthReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn health(State(served): State<Arc<Served>>) -> Result<Json<HealthReport>, Failure> {
    let report = served.read(|peer| peer.kernel().health()).await?;
    let checks = report.rows.iter().map(row).collect();
    Ok(Json(HealthReport { health: report.health.name().to_owned(), reasons: report.reasons, checks }))
}

fn row(row: &weft_kernel::HealthRow) -> HealthRow {
    let (subject, process, check, how) = match &row.subject {
        HealthSubject::Node { check } => ("node".to_owned(), None, check.to_string(), None),
        HealthSubject::Process { process, agent, probe } => {
            (agent.to_string(), Some(process.to_string()), probe.to_string(), Some(row.check.to_string()))
        }
    };
    HealthRow {
        subject,
        process,
        check,
        how,
        health: row.health.name().to_owned(),
        reason: row.health.reason().map(str::to_owned),
        failures: row.failures,
        interval_ms: row.timing.interval_us / 1_000,
        timeout_ms: row.timing.timeout_us / 1_000,
        since: text::time(row.since),
        checked_at: row.checked.map(text::time),
    }
}

/// Whether the node works at all: its event loop answers, and its store can be written. Otherwise 503, with the same body.
#[utoipa::path(get, path = "/v1/livez", responses((status = 200, body = ProbeReport), (status = 503, body = ProbeReport)))]
pub(crate) async fn livez(State(served): State<Arc<Served>>) -> (StatusCode, Json<ProbeReport>) {
    probe(&served, |state, _| match state {
        NodeState::Booting | NodeState::Running | NodeState::ShuttingDown | NodeState::Halted => true,
        NodeState::Damaged => false,
    })
    .await
}

/// Whether the node takes requests: its start is on disk, it does not go down, and it is not unhealthy itself.
#[utoipa::path(get, path = "/v1/readyz", responses((status = 200, body = ProbeReport), (status = 503, body = ProbeReport)))]
pub(crate) async fn readyz(State(served): State<Arc<Served>>) -> (StatusCode, Json<ProbeReport>) {
    probe(&served, |state, health| match (state, health) {
        (NodeState::Running, Health::Unknown | Health::Healthy | Health::Degraded { .. }) => true,
        (NodeState::Running, Health::Unhealthy { .. }) => false,
        (NodeState::Booting | NodeState::ShuttingDown | NodeState::Halted | NodeState::Damaged, _) => false,
    })
    .await
}

async fn probe(served: &Served, is_well: fn(NodeState, &Health) -> bool) -> (StatusCode, Json<ProbeReport>) {
    let read = served.read(|peer: &Peer| (peer.kernel().state(), peer.kernel().health()));
    let report = match tokio::time::timeout(ANSWER_WITHIN, read).await {
        Ok(Ok((state, health))) => ProbeReport {
            ok: is_well(state, &health.health),
            state: state.to_string(),
            health: health.health.name().to_owned(),
            reasons: health.reasons,
        },
        Ok(Err(_loop_has_ended)) => not_answering("halted", "the node is going down"),
        Err(_elapsed) => not_answering("stuck", "the event loop does not answer"),
    };
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

fn not_answering(state: &str, reason: &str) -> ProbeReport {
    let (state, reasons) = (state.to_owned(), vec![reason.to_owned()]);
    ProbeReport { ok: false, state, health: "unknown".to_owned(), reasons }
}
