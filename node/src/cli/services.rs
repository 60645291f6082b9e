//! `weft services …`: what is served, by whom, under which contract; serving and no longer serving.

use std::io::Read as _;

use weft_protocol::control::{RegisterRequest, ServiceReport, ServiceRow, ServicesReport, UnregisterReport};
use weft_protocol::limits::CONTRACT_BYTES_MAX;

use super::args::{RegisterArgs, ServicesArgs, ServicesCommand};
use super::client::{Client, segment};
use super::output::{Output, ago, bad, card, doubtful, good, table};
use super::{At, CliError};

/// Largest file that is read, in bytes: a contract in its canonical form and a few times as many spaces (guess).
const FILE_BYTES_MAX: u64 = 8 * CONTRACT_BYTES_MAX as u64;

/// `weft services`.
pub(crate) async fn services(args: &ServicesArgs, before: &At) -> Result<(), CliError> {
    match &args.command {
        None => list(&args.at.or(before)).await,
        Some(ServicesCommand::Ls(only)) => list(&only.at.or(&args.at.or(before))).await,
        Some(ServicesCommand::Inspect(one)) => inspect(one.service.as_str(), &one.at.or(&args.at.or(before))).await,
        Some(ServicesCommand::Register(register)) => serve(register, &register.at.or(&args.at.or(before))).await,
        Some(ServicesCommand::Unregister(one)) => end(one.service.as_str(), &one.at.or(&args.at.or(before))).await,
    }
}

async fn list(at: &At) -> Result<(), CliError> {
    let report: ServicesReport = Client::of(at)?.get("/v1/services").await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["service", "node", "agent", "state", "contract", "audit", "load", "registered"];
        let empty = "nothing is served; begin: weft services register NAME --agent AGENT";
        table(header, report.services.iter().map(row).collect(), empty)
    })
}

fn row(service: &ServiceRow) -> [String; 8] {
    let dash = || "-".to_owned();
    [
        service.service.clone(),
        service.name.clone(),
        service.agent.clone(),
        state(&service.state),
        service.version.clone().unwrap_or_else(dash),
        service.audit.clone().unwrap_or_else(dash),
        service.load.to_string(),
        service.registered_at.as_deref().map_or_else(dash, ago),
    ]
}

fn state(state: &str) -> String {
    match state {
        "serving" => good(state),
        "unknown" => doubtful(state),
        other => bad(other),
    }
}

async fn inspect(service: &str, at: &At) -> Result<(), CliError> {
    let report: ServiceReport = Client::of(at)?.get(&format!("/v1/services/{}", segment(service))).await?;
    Output::new(at.json).report(&report, describe)
}

fn describe(report: &ServiceReport) -> String {
    let hash = report.providers.iter().find_map(|row| row.contract.clone()).unwrap_or_else(|| "-".to_owned());
    let known = card([("service", report.service.clone()), ("hash", hash)]);
    let header = ["node", "agent", "state", "contract", "load"];
    let rows = report.providers.iter().map(|row| {
        let version = row.version.clone().unwrap_or_else(|| "-".to_owned());
        [row.name.clone(), row.agent.clone(), state(&row.state), version, row.load.to_string()]
    });
    let providers = table(header, rows.collect(), "");
    let contract = report.contract.as_ref().map(|contract| format!("\n{contract:#}")).unwrap_or_default();
    format!("{known}\n{providers}{contract}")
}

async fn serve(args: &RegisterArgs, at: &At) -> Result<(), CliError> {
    let request = RegisterRequest {
        service: args.service.to_string(),
        agent: args.agent.to_string(),
        contract: args.contract.as_deref().map(read).transpose()?,
        audit: Some(args.audit.to_string()),
    };
    let report: ServiceReport = Client::of(at)?.post("/v1/services", &request).await?;
    Output::new(at.json).report(&report, |report| format!("{} is served by {}", report.service, args.agent))
}

fn read(path: &std::path::Path) -> Result<serde_json::Value, CliError> {
    let failed = |error: std::io::Error| CliError::new("failed", format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("{}: more than {FILE_BYTES_MAX} bytes, which is the most", path.display());
        return Err(CliError::new("too-large", message));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::new("invalid", format!("{}: not JSON: {error}", path.display())))
}

async fn end(service: &str, at: &At) -> Result<(), CliError> {
    let report: UnregisterReport = Client::of(at)?.delete(&format!("/v1/services/{}", segment(service))).await?;
    Output::new(at.json).report(&report, |report| format!("{} is no longer served here", report.service))
}
