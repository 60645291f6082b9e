//! Bodies and parameters of requests, refused with the error object when they are wrong.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use weft_protocol::Refusal;

use super::BODY_BYTES_MAX;
use super::failure::Failure;

/// A JSON body of at most 1 MiB. No body counts as `{}`.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let announced = request.headers().get(axum::http::header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let max = BODY_BYTES_MAX as u64;
                Refusal::TooLarge { size: announced.unwrap_or(max + 1), max }.into()
            } else {
                Failure::new("invalid", format!("the body: {}", rejection.body_text()))
            }
        })?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // A list would be read as the fields in their order, which nobody means.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Failure::new("invalid", "the body: not a JSON object"));
        }
        serde_json::from_slice(bytes).map(Self).map_err(|error| Failure::new("invalid", format!("the body: {error}")))
    }
}

/// The parameters behind the question mark.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let problem = rejection.body_text();
                let problem = problem.strip_prefix("Failed to deserialize query string: ").unwrap_or(&problem);
                Err(Failure::new("invalid", format!("the query: {problem}")))
            }
        }
    }
}
