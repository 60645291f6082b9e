//! Cron jobs: making, listing, removing and running them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use weft_kernel::{Answer, CronJob, CronSpec, Syscall, run_report};
use weft_peer::{Question, Reply};
use weft_protocol::control::{CronRemoveReport, CronReport, CronRequest, CronRow, CronRunReport, ErrorBody};
use weft_protocol::{CronId, Refusal};

use super::failure::Failure;
use super::request::JsonBody;
use super::{Served, mismatch};

/// All jobs of this node, by id.
#[utoipa::path(get, path = "/v1/cron", responses((status = 200, body = CronReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(State(served): State<Arc<Served>>) -> Result<Json<CronReport>, Failure> {
    match ask(&served, Syscall::CronList).await? {
        Reply::Kernel(Answer::CronJobs(jobs)) => Ok(Json(CronReport { jobs: jobs.iter().map(CronJob::row).collect() })),
        other => Err(mismatch(&other)),
    }
}

/// Makes a job; answers when it is on the chain.
#[utoipa::path(post, path = "/v1/cron", request_body = CronRequest,
    responses((status = 200, body = CronRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn add(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<CronRequest>,
) -> Result<Json<CronRow>, Failure> {
    let spec = Box::new(CronSpec::of(request)?);
    match ask(&served, Syscall::CronAdd { spec }).await? {
        Reply::Kernel(Answer::CronAdded(job)) => Ok(Json(job.row())),
        other => Err(mismatch(&other)),
    }
}

/// Takes a job back.
#[utoipa::path(delete, path = "/v1/cron/{id}", params(("id" = String, Path, description = "Which")),
    responses((status = 200, body = CronRemoveReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn remove(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
) -> Result<Json<CronRemoveReport>, Failure> {
    let job: CronId = id.parse()?;
    match found(job, ask(&served, Syscall::CronRemove { job }).await)? {
        Reply::Kernel(Answer::CronRemoved { job }) => Ok(Json(CronRemoveReport { id: job.to_string() })),
        other => Err(mismatch(&other)),
    }
}

/// Lets a job run now, besides its schedule; answers when the end of the run is on the chain.
#[utoipa::path(post, path = "/v1/cron/{id}/run", params(("id" = String, Path, description = "Which")),
    responses((status = 200, body = CronRunReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn run(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
) -> Result<Json<CronRunReport>, Failure> {
    let job: CronId = id.parse()?;
    match found(job, ask(&served, Syscall::CronRun { job }).await)? {
        Reply::Kernel(Answer::CronRan { job, message, result }) => Ok(Json(run_report(job, message, &result))),
        other => Err(mismatch(&other)),
    }
}

async fn ask(served: &Served, syscall: Syscall) -> Result<Reply, Refusal> {
    served.control.asker.ask(weft_protocol::Principal::Operator, Question::Kernel(Box::new(syscall))).await
}

/// That there is no such job is said as such, with where to look.
fn found(job: CronId, reply: Result<Reply, Refusal>) -> Result<Reply, Failure> {
    reply.map_err(|refusal| match refusal {
        Refusal::NoResponder { .. } => Failure::new("not-found", format!("no cron job {job}")).hint("weft cron ls"),
        refusal => refusal.into(),
    })
}
