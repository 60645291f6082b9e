//! How a refusal looks through the door: the error object with a matching HTTP status.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use weft_protocol::Refusal;
use weft_protocol::control::ErrorDetail;
use weft_storage::StoreError;

use crate::cli::CliError;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) CliError);

impl Failure {
    /// See [`CliError::new`].
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self(CliError::new(code, message))
    }

    /// What to do next.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.hint(hint))
    }

    /// Its code.
    pub(crate) fn code(&self) -> &str {
        &self.0.detail().code
    }

    /// Something may have changed.
    #[must_use]
    pub(crate) fn changed(self) -> Self {
        Self(self.0.changed())
    }

    /// What it says, as an error object.
    pub(crate) fn body(&self) -> weft_protocol::control::ErrorBody {
        self.0.body()
    }

    /// The same request may succeed later.
    #[must_use]
    pub(crate) fn retry(self) -> Self {
        Self(self.0.retry())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(CliError::from(&refusal))
    }
}

impl From<weft_protocol::ParseError> for Failure {
    fn from(error: weft_protocol::ParseError) -> Self {
        Self(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new("damaged", error.to_string()).hint("weft chain verify")
    }
}

/// The HTTP status of an error code (API.md's list); 500 for what is nobody's request's fault.
fn status(code: &str) -> StatusCode {
    match code {
        "denied" | "deferred" | "quarantined" | "limit-reached" | "wider" | "out-of-scope" => StatusCode::FORBIDDEN,
        "unauthorized" => StatusCode::UNAUTHORIZED,
        "no-responder" | "ambiguous" | "gone" | "not-found" | "unreachable" => StatusCode::NOT_FOUND,
        "deadline" | "cancelled" => StatusCode::GATEWAY_TIMEOUT,
        "conflict" | "no-witness" | "no-majority" | "not-witnessed" | "expired" => StatusCode::CONFLICT,
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "busy" => StatusCode::TOO_MANY_REQUESTS,
        "shutting-down" | "restarting" => StatusCode::SERVICE_UNAVAILABLE,
        "invalid"
        | "unsupported"
        | "peer-too-old"
        | "backend-not-available"
        | "unenforceable"
        | "usage"
        | "bad-config"
        | "contract-violated" => StatusCode::BAD_REQUEST,
        "no-such-method" => StatusCode::METHOD_NOT_ALLOWED,
        "agent-failed" | "broken-off" => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let ErrorDetail { code, retry_after_ms, .. } = self.0.detail();
        let (status, retry_after_ms) = (status(code), *retry_after_ms);
        let mut response = (status, Json(self.0.body())).into_response();
        if let Some(ms) = retry_after_ms {
            // The header counts whole seconds; the body says it exactly.
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}

/// The answer to a path that nobody serves.
pub(crate) async fn no_such_path(uri: axum::http::Uri) -> Failure {
    Failure::new("not-found", format!("nothing is served at {}", uri.path())).hint("GET /v1/openapi.json lists all")
}

/// The answer to a method that a path does not serve.
pub(crate) async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Failure {
    Failure::new("no-such-method", format!("{method} is not served at {}", uri.path()))
        .hint("GET /v1/openapi.json lists all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_match_codes() {
        let cases = [
            (Refusal::Denied { rule: "r".into() }, 403),
            (Refusal::NoResponder { target: "t".into() }, 404),
            (Refusal::Deadline { maybe_executed: false }, 504),
            (Refusal::TooLarge { size: 2, max: 1 }, 413),
            (Refusal::ShuttingDown, 503),
            (Refusal::Invalid { message: "m".into() }, 400),
            (Refusal::Damaged, 500),
        ];
        for (refusal, expected) in cases {
            assert_eq!(Failure::from(refusal).into_response().status().as_u16(), expected);
        }
        let busy = Failure::from(Refusal::Busy { retry_after_us: 1_500_000 }).into_response();
        assert_eq!(busy.status().as_u16(), 429);
        assert_eq!(busy.headers()[RETRY_AFTER], "2");
    }
}
