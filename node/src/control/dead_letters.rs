//! Messages that were given up: listed, sent once more, thrown away.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use weft_kernel::{Answer, Syscall};
use weft_peer::{Question, Reply};
use weft_protocol::control::{
    Body, DeadLetterRow, DeadLettersReport, DropReport, ErrorBody, RetryReport, RetryRequest,
};
use weft_protocol::{DeadLetter, MessageId};

use super::failure::Failure;
use super::messages::{deadline_us, sender};
use super::request::JsonBody;
use super::{Served, mismatch, text};

/// All of them, the oldest first.
#[utoipa::path(get, path = "/v1/dead-letters",
    responses((status = 200, body = DeadLettersReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(State(served): State<Arc<Served>>) -> Result<Json<DeadLettersReport>, Failure> {
    let letters = match served.ask(kernel(Syscall::ListDeadLetters)).await? {
        Reply::Kernel(Answer::DeadLetters(letters)) => letters,
        other => return Err(mismatch(&other)),
    };
    let rows = served.read(move |peer| {
        let name = |node| peer.discovery().display_name(node);
        let row = |letter: &DeadLetter| DeadLetterRow {
            id: letter.envelope.id.to_string(),
            from: format!("{}@{}", sender(&letter.envelope.from.principal), name(letter.envelope.from.node)),
            target: letter.target.clone(),
            node: name(letter.to),
            reason: letter.reason.clone(),
            at: text::time(letter.at),
            trace: letter.envelope.trace.to_string(),
            receipt: letter.envelope.level.to_string(),
            payload: Body::from(&letter.envelope.payload),
        };
        letters.iter().map(row).collect()
    });
    Ok(Json(DeadLettersReport { letters: rows.await? }))
}

/// Sends one once more, as a message of the operator; responds when it has come as far as it was to.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/retry", params(("id" = String, Path, description = "Which: m-…")),
    request_body = RetryRequest, responses((status = 200, body = RetryReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn retry(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<RetryRequest>,
) -> Result<Json<RetryReport>, Failure> {
    let message: MessageId = id.parse()?;
    let deadline_us = deadline_us(request.deadline_ms)?;
    check_there(&served, message).await?;
    let reply = match served.ask(kernel(Syscall::RetryDeadLetter { message, deadline_us })).await {
        Ok(reply) => reply,
        Err(failure) if is_kept(&served, message).await? => return Err(failure),
        // It was sent, and what became of that may be a dead letter again.
        Err(failure) => return Err(failure.changed().hint("weft dlq ls: given up again, it has a new id")),
    };
    match reply {
        Reply::Kernel(Answer::Sent(report)) => Ok(Json(RetryReport {
            id: report.id.to_string(),
            retried: message.to_string(),
            receipt: report.level.to_string(),
            trace: report.trace.to_string(),
            node: report.node.to_string(),
            reply: report.reply.as_ref().map(Body::from),
            latency_us: report.latency_us,
        })),
        other => Err(mismatch(&other)),
    }
}

/// Throws one away.
#[utoipa::path(delete, path = "/v1/dead-letters/{id}", params(("id" = String, Path, description = "Which: m-…")),
    responses((status = 200, body = DropReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn discard(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
) -> Result<Json<DropReport>, Failure> {
    let message: MessageId = id.parse()?;
    check_there(&served, message).await?;
    match served.ask(kernel(Syscall::DropDeadLetter { message })).await? {
        Reply::Kernel(Answer::DeadLetterDropped { message }) => Ok(Json(DropReport { id: message.to_string() })),
        other => Err(mismatch(&other)),
    }
}

/// That there is no such dead letter is said as such, with where to look.
async fn check_there(served: &Served, message: MessageId) -> Result<(), Failure> {
    if is_kept(served, message).await? {
        return Ok(());
    }
    Err(Failure::new("not-found", format!("no dead letter {message} is kept on this node")).hint("weft dlq ls"))
}

async fn is_kept(served: &Served, message: MessageId) -> Result<bool, Failure> {
    served.read(move |peer| peer.kernel().dead_letter_target(&message).is_some()).await
}

fn kernel(syscall: Syscall) -> Question {
    Question::Kernel(Box::new(syscall))
}
