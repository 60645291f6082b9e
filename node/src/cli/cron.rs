//! `weft cron …`: messages that are sent at certain times.

use weft_protocol::control::{Body, CronRemoveReport, CronReport, CronRequest, CronRow, CronRunReport, TypedBody};

use super::args::{CronAddArgs, CronCommand};
use super::client::{Client, segment};
use super::output::{Output, ago, bad, good, table};
use super::{At, CliError};

/// `weft cron …`.
pub(crate) async fn cron(command: &CronCommand, before: &At) -> Result<(), CliError> {
    match command {
        CronCommand::Add(args) => add(args, &args.at.or(before)).await,
        CronCommand::Ls(only) => list(&only.at.or(before)).await,
        CronCommand::Rm(args) => remove(&args.id.to_string(), &args.at.or(before)).await,
        CronCommand::Run(args) => run(&args.id.to_string(), &args.at.or(before)).await,
    }
}

async fn add(args: &CronAddArgs, at: &At) -> Result<(), CliError> {
    let request = request(args)?;
    let job: CronRow = Client::of(at)?.post("/v1/cron", &request).await?;
    Output::new(at.json).report(&job, |job| {
        let next = job.next_run_at.as_deref().unwrap_or("-");
        format!("{} sends to {} next at {next}", job.id, job.target)
    })
}

fn request(args: &CronAddArgs) -> Result<CronRequest, CliError> {
    args.target.parse::<weft_protocol::Target>()?;
    let payload = match super::messages::payload(&args.text)? {
        Body::Text(text) if args.json_payload => {
            let value = serde_json::from_str(&text);
            let wrong = |error| CliError::new("invalid", format!("the text is not one JSON value: {error}"));
            Body::Typed(TypedBody::Json(value.map_err(wrong)?))
        }
        body => body,
    };
    Ok(CronRequest {
        expression: args.expression.clone(),
        timezone: args.timezone.clone(),
        target: args.target.clone(),
        payload,
        missed: Some(args.missed.to_string()),
    })
}

async fn list(at: &At) -> Result<(), CliError> {
    let report: CronReport = Client::of(at)?.get("/v1/cron").await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["id", "when", "zone", "target", "by", "runs", "missed", "last", "result", "next"];
        let empty = "no cron jobs; make one: weft cron add '*/5 * * * *' echo hi";
        table(header, report.jobs.iter().map(row).collect(), empty)
    })
}

fn row(job: &CronRow) -> [String; 10] {
    let none = || "-".to_owned();
    let result = match (job.last_result.as_deref(), &job.last_reason) {
        (Some("delivered"), _) => good("delivered"),
        (Some(result), Some(reason)) => bad(&format!("{result}: {reason}")),
        (Some(result), None) => bad(result),
        (None, _) => none(),
    };
    [
        job.id.clone(),
        job.expression.clone(),
        job.timezone.clone(),
        job.target.clone(),
        job.by.clone(),
        job.runs.to_string(),
        format!("{} {}", job.missed_runs, job.missed),
        job.last_run_at.as_deref().map_or_else(none, ago),
        result,
        job.problem.as_deref().map(bad).or_else(|| job.next_run_at.clone()).unwrap_or_else(none),
    ]
}

async fn remove(id: &str, at: &At) -> Result<(), CliError> {
    let report: CronRemoveReport = Client::of(at)?.delete(&format!("/v1/cron/{}", segment(id))).await?;
    Output::new(at.json).report(&report, |report| format!("{} is removed", report.id))
}

/// Ends with the exit code of a failure when the message was not delivered.
async fn run(id: &str, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/cron/{}/run", segment(id));
    let report: CronRunReport = Client::of(at)?.post(&path, &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| match &report.reason {
        Some(reason) => format!("{} {}: {reason}", report.id, report.result),
        None => format!("{} {}", report.id, report.result),
    })?;
    if report.result == "delivered" {
        return Ok(());
    }
    Err(CliError::new("failed", format!("{} was not delivered", report.id)).changed().reported(true))
}
