//! `weft cap …`: rights of agents, given and taken back.

use weft_protocol::control::{GrantRequest, GrantRevokeReport, GrantRow, GrantsReport};

use super::args::{CapabilityCommand, GrantArgs};
use super::client::{Client, segment};
use super::output::{Output, table};
use super::{At, CliError};

/// `weft cap …`.
pub(crate) async fn capability(command: &CapabilityCommand, before: &At) -> Result<(), CliError> {
    match command {
        CapabilityCommand::Grant(args) => grant(args, &args.at.or(before)).await,
        CapabilityCommand::Revoke { id, at } => {
            let at = at.or(before);
            let report: GrantRevokeReport = Client::of(&at)?.delete(&format!("/v1/grants/{id}")).await?;
            Output::new(at.json).report(&report, |report| format!("{} is revoked", report.id))
        }
        CapabilityCommand::Ls { agent, at } => list(agent.as_deref(), &at.or(before)).await,
    }
}

async fn grant(args: &GrantArgs, at: &At) -> Result<(), CliError> {
    let request = GrantRequest {
        agent: args.agent.clone(),
        grant: args.grant.to_string(),
        uses: args.uses,
        expires_in_ms: args.expires.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let report: GrantRow = Client::of(at)?.post("/v1/grants", &request).await?;
    Output::new(at.json)
        .report(&report, |report| format!("{} {} for {}@{}", report.id, report.grant, report.agent, report.name))
}

async fn list(agent: Option<&str>, at: &At) -> Result<(), CliError> {
    let path = agent.map_or_else(|| "/v1/grants".to_owned(), |agent| format!("/v1/grants?agent={}", segment(agent)));
    let report: GrantsReport = Client::of(at)?.get(&path).await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["id", "agent", "grant", "given by", "used", "until", "passes on", "from"];
        let empty = "no grants; give one: weft cap grant AGENT call:echo";
        table(header, report.grants.iter().map(row).collect(), empty)
    })
}

fn row(one: &GrantRow) -> [String; 8] {
    let used = match (one.used, one.uses) {
        (used, Some(uses)) => format!("{} of {uses}", used.map_or_else(|| "-".to_owned(), |used| used.to_string())),
        (_, None) => "-".to_owned(),
    };
    [
        one.id.clone(),
        format!("{}@{}", one.agent, one.name),
        one.grant.clone(),
        one.issuer_name.clone(),
        used,
        one.expires_at.clone().unwrap_or_else(|| "-".to_owned()),
        one.depth.to_string(),
        one.parents.last().cloned().unwrap_or_else(|| "-".to_owned()),
    ]
}
