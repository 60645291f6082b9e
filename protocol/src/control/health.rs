//! How a node and its agents are, and how that is found out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ParseError;
use crate::health::{ProbeCheck, ProbeSpec, ProbeTiming};

/// One probe of an agent, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeJson {
    /// `liveness`: whether it works at all, else its process is ended as one that failed; `readiness`: whether it can do what
    /// it is asked.
    pub kind: String,
    /// `message`: it is asked how it is; `process`: its process is there and not stopped. `message` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// From one probe to the next, in milliseconds; 10,000 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// How long its answer may take, in milliseconds; 5,000 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Failures in a row that make it unhealthy; 3 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Successes in a row that make it healthy again; 1 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successes: Option<u32>,
}

impl ProbeJson {
    /// The probe; what it leaves out has its default. Its bounds are not checked here.
    ///
    /// # Errors
    /// When its kind or its check is none.
    pub fn to_spec(&self) -> Result<ProbeSpec, ParseError> {
        let default = ProbeTiming::default();
        let us = |ms: Option<u64>, default| ms.map_or(default, |ms| ms.saturating_mul(1_000));
        let timing = ProbeTiming {
            interval_us: us(self.interval_ms, default.interval_us),
            timeout_us: us(self.timeout_ms, default.timeout_us),
            failures: self.failures.unwrap_or(default.failures),
            successes: self.successes.unwrap_or(default.successes),
        };
        let check = self.check.as_deref().map_or(Ok(ProbeCheck::Message), str::parse)?;
        Ok(ProbeSpec { kind: self.kind.parse()?, check, timing })
    }
}

/// The answer to `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// `healthy`, `degraded`, `unhealthy` when the node itself is, or `unknown` until it has checked itself once.
    pub health: String,
    /// What is not well, one line each.
    pub reasons: Vec<String>,
    /// Everything that is probed, the node first.
    pub checks: Vec<HealthRow>,
}

/// What one probe has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthRow {
    /// `node`, or the agent's name.
    pub subject: String,
    /// Its process; null for the node.
    pub process: Option<String>,
    /// `disk`, `chain`, `network`; of an agent `liveness` or `readiness`.
    pub check: String,
    /// How an agent is probed: `message` or `process`.
    pub how: Option<String>,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health: String,
    /// Why it is not well.
    pub reason: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// From one probe to the next, in milliseconds.
    pub interval_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// Since when it is so.
    pub since: String,
    /// When it was last probed; null before the first answer.
    pub checked_at: Option<String>,
}
