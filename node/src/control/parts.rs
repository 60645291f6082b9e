//! A call whose answer is told in parts: server-sent events as fast as they are read, and the answer as the last of them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use weft_protocol::Principal;
use weft_protocol::control::{Body, PartEvent};

use super::Served;
use super::failure::Failure;
use super::messages::{Wanted, call_report};
use crate::ask::Parts;

/// Where the answer has come to.
enum State {
    Coming(Box<(Parts, Wanted)>),
    Ended,
}

/// Calls. What is refused before any part came is an error like of every other request.
pub(super) async fn call(served: Arc<Served>, wanted: Wanted) -> Result<Response, Failure> {
    let mut parts = served.control.asker.begin_in_parts(Principal::Operator, wanted.question.clone()).await?;
    let first = match parts.next().await {
        Some(part) => stream::iter([part_event(part)]),
        None => {
            let report = wanted.answered(&served, parts.answer().await).await?;
            let report = call_report(&served, report).await?;
            return Ok(Sse::new(stream::iter([Ok::<_, Infallible>(event("answer", &report))])).into_response());
        }
    };
    let rest = stream::unfold((State::Coming(Box::new((parts, wanted))), served), next_event);
    Ok(Sse::new(first.chain(rest)).keep_alive(KeepAlive::default()).into_response())
}

async fn next_event(
    (state, served): (State, Arc<Served>),
) -> Option<(Result<Event, Infallible>, (State, Arc<Served>))> {
    let State::Coming(coming) = state else { return None };
    let (mut parts, wanted) = *coming;
    if let Some(part) = parts.next().await {
        return Some((part_event(part), (State::Coming(Box::new((parts, wanted))), served)));
    }
    let report = match wanted.answered(&served, parts.answer().await).await {
        Ok(report) => call_report(&served, report).await,
        Err(failure) => Err(failure),
    };
    let event = match report {
        Ok(report) => event("answer", &report),
        Err(failure) => event("error", &failure.body()),
    };
    Some((Ok(event), (State::Ended, served)))
}

fn part_event(part: crate::ask::Part) -> Result<Event, Infallible> {
    let told = PartEvent { number: part.number, payload: Body::from(&part.payload) };
    Ok(event("part", &told).id(part.number.to_string()))
}

fn event(kind: &str, what: &impl Serialize) -> Event {
    Event::default().event(kind).json_data(what).unwrap_or_else(|error| {
        tracing::error!(%error, "BUG: a part of an answer cannot be written as JSON");
        Event::default().comment("it could not be written")
    })
}
