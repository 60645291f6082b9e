//! `weft agent link`, `unlink`, `monitor`, `demonitor`: who ends, or hears of it, with whom.

use weft_protocol::control::{LinkReport, LinkRequest, MonitorReport, MonitorRequest};

use super::args::{LinkArgs, MonitorArgs};
use super::client::{Client, segment};
use super::output::Output;
use super::{At, CliError};

/// `weft agent link`.
pub(crate) async fn link(args: &LinkArgs, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/links", segment(&args.agent));
    let report: LinkReport = Client::of(at)?.post(&path, &LinkRequest { with: args.with.clone() }).await?;
    told(&report, at)
}

/// `weft agent unlink`.
pub(crate) async fn unlink(args: &LinkArgs, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/links/{}", segment(&args.agent), segment(&args.with));
    told(&Client::of(at)?.delete(&path).await?, at)
}

fn told(report: &LinkReport, at: &At) -> Result<(), CliError> {
    Output::new(at.json).report(report, |report| {
        let LinkReport { agent, process, with, with_process, .. } = report;
        let are = if report.linked { "are linked" } else { "are no longer linked" };
        format!("{agent} {process} and {with} {with_process} {are}")
    })
}

/// `weft agent monitor`.
pub(crate) async fn monitor(args: &MonitorArgs, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/monitors", segment(&args.watcher));
    let report: MonitorReport = Client::of(at)?.post(&path, &MonitorRequest { target: args.target.clone() }).await?;
    heard(&report, at)
}

/// `weft agent demonitor`.
pub(crate) async fn demonitor(args: &MonitorArgs, at: &At) -> Result<(), CliError> {
    let path = format!("/v1/agents/{}/monitors/{}", segment(&args.watcher), segment(&args.target));
    heard(&Client::of(at)?.delete(&path).await?, at)
}

fn heard(report: &MonitorReport, at: &At) -> Result<(), CliError> {
    Output::new(at.json).report(report, |report| {
        let MonitorReport { agent, process, target, target_process, .. } = report;
        let hears = if report.monitored { "hears of the end of" } else { "no longer hears of the end of" };
        format!("{agent} {process} {hears} {target} {target_process}")
    })
}
