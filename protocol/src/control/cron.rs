//! Jobs that send a message at certain times.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;

/// The body of `POST /v1/cron`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CronRequest {
    /// Five or six fields, or an interval: `30 2 * * *`, `0 30 2 * * *`, `@every 90s`, `90s`.
    pub expression: String,
    /// In which time zone the fields are meant, by its IANA name; `UTC` without one. An interval has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// `echo`, `echo@beta`, `topic:jobs`.
    pub target: String,
    /// What to send: text or JSON, at most 16 KiB.
    pub payload: Body,
    /// What becomes of runs that were missed: `skip`, `once` or `all`; `skip` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// The answer to `GET /v1/cron`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CronReport {
    /// By id.
    pub jobs: Vec<CronRow>,
}

/// One job; the answer to `POST /v1/cron` too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CronRow {
    /// By which it is removed and run: `c12`.
    pub id: String,
    /// When it runs.
    pub expression: String,
    /// In which time zone.
    pub timezone: String,
    /// Whom its message is for.
    pub target: String,
    /// What its message carries.
    pub payload: Body,
    /// `skip`, `once` or `all`.
    pub missed: String,
    /// In whose name it is sent: `operator`, `agent/words`.
    pub by: String,
    /// When it was made.
    pub added_at: String,
    /// How often it ran.
    pub runs: u64,
    /// How many of its times passed without a run of their own.
    pub missed_runs: u64,
    /// When it last began to run, by the node's chain.
    pub last_run_at: Option<String>,
    /// How that ended: `delivered`, `refused`, `failed` or `indeterminate`; null while it is on its way.
    pub last_result: Option<String>,
    /// Why it was not delivered.
    pub last_reason: Option<String>,
    /// When it runs next; null while it runs.
    pub next_run_at: Option<String>,
    /// Why it never runs, when this version cannot read its schedule.
    pub problem: Option<String>,
}

/// The answer to `DELETE /v1/cron/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CronRemoveReport {
    /// Which job.
    pub id: String,
}

/// The arguments of the tool calls that say no more than which job is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronToolRequest {
    /// Its id: `c12`.
    pub job: String,
}

/// The answer to `POST /v1/cron/{id}/run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CronRunReport {
    /// Which job.
    pub id: String,
    /// `delivered`, `refused` or `failed`.
    pub result: String,
    /// Why it was not delivered.
    pub reason: Option<String>,
    /// The message, when one left.
    pub message: Option<String>,
}
