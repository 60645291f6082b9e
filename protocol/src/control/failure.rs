//! How an error looks to a program: a stable code, a sentence, what to do next, and what may be concluded.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, and what may be concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// Stable: `denied`, `no-responder`, `deadline`, …
    pub code: String,
    /// What happened and why, in one line.
    pub message: String,
    /// What to type or change next; empty when there is nothing to do.
    pub hint: String,
    /// Whether anything may have changed.
    pub changed: bool,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// When to try again, in milliseconds; with `busy` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
