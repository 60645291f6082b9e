//! Jobs as they are asked for and told, by the local API and by the kernel's tools alike.

use weft_protocol::control::{CronRequest, CronRow, CronRunReport};
use weft_protocol::{CronId, CronResult, MessageId, MissedRule, Refusal};

use super::job::{CronJob, CronSpec};
use crate::text::time_text;

/// The zone of a job that names none.
const TIMEZONE_DEFAULT: &str = "UTC";

impl CronSpec {
    /// What a request asks for.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] that says what is wrong with it: nothing changed.
    pub fn of(request: CronRequest) -> Result<Self, Refusal> {
        let CronRequest { expression, timezone, target, payload, missed } = request;
        let payload = payload.to_payload().map_err(|error| Refusal::Invalid { message: error.to_string() })?;
        let missed = missed.as_deref().map_or(Ok(MissedRule::Skip), str::parse)?;
        let timezone = timezone.unwrap_or_else(|| TIMEZONE_DEFAULT.to_owned());
        Ok(Self { expression, timezone, target: target.parse()?, payload, missed })
    }
}

impl CronJob {
    /// Everything about it.
    #[must_use]
    pub fn row(&self) -> CronRow {
        CronRow {
            id: self.id.to_string(),
            expression: self.added.expression.clone(),
            timezone: self.added.timezone.clone(),
            target: self.added.target.to_string(),
            payload: (&self.added.payload).into(),
            missed: self.added.missed.to_string(),
            by: self.added.by.to_string(),
            added_at: time_text(self.added.added),
            runs: self.runs,
            missed_runs: self.missed,
            last_run_at: self.last_run.map(time_text),
            last_result: self.last_result.as_ref().map(|result| result.name().to_owned()),
            last_reason: self.last_result.as_ref().and_then(|result| result.reason()).map(str::to_owned),
            next_run_at: self.next_run.map(time_text),
            problem: self.problem.clone(),
        }
    }
}

/// How a run that somebody asked for ended.
#[must_use]
pub fn run_report(job: CronId, message: Option<MessageId>, result: &CronResult) -> CronRunReport {
    CronRunReport {
        id: job.to_string(),
        result: result.name().to_owned(),
        reason: result.reason().map(str::to_owned),
        message: message.map(|message| message.to_string()),
    }
}
