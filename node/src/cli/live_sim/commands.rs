//! `weft sim fault`, `wait` and `down`: what is typed beside the simulation that runs.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::control::{Ask, FaultsReport, NodesReport, STARTING, ask};
use super::converged;
use super::fault::{Fault, FaultReport, groups};
use super::folder::sim_folder;
use super::name::SimNode;
use super::table::line;
use crate::cli::CliError;
use crate::cli::args::{SimFaultCommand, SimOnlyJson, SimWaitCommand};
use crate::cli::output::{Output, count, plural};

/// How often nodes are asked whether they agree.
const LOOK: Duration = Duration::from_millis(200);
/// How long the end may take: nodes are killed, their agents end a moment later (guess).
const END_MAX: Duration = Duration::from_secs(30);
/// How often it is looked for.
const END_STEP: Duration = Duration::from_millis(20);
/// What is missing is told up to so many times; the rest is counted.
const MISSING_TOLD: usize = 8;

/// `weft sim fault`.
///
/// # Errors
/// `not-running` without a simulation; what it said.
pub(crate) async fn fault(command: &SimFaultCommand) -> Result<(), CliError> {
    let (fault, json) = match command {
        SimFaultCommand::Ls(args) => return list(args.json).await,
        SimFaultCommand::Partition { groups: words, json } => {
            let groups = groups(words).map_err(|problem| CliError::new("usage", problem))?;
            (Fault::Partition { groups }, *json)
        }
        SimFaultCommand::Heal(args) => (Fault::Heal, args.json),
        SimFaultCommand::Kill(args) => (Fault::Kill { node: args.node }, args.json),
        SimFaultCommand::Start(args) => (Fault::Start { node: args.node }, args.json),
        SimFaultCommand::Pause(args) => (Fault::Pause { node: args.node }, args.json),
        SimFaultCommand::Resume(args) => (Fault::Resume { node: args.node }, args.json),
        SimFaultCommand::Slow { node, delay_ms, loss_ppm, json } => {
            (Fault::Slow { node: *node, delay_ms: *delay_ms, loss_ppm: *loss_ppm }, *json)
        }
        SimFaultCommand::Skew { node, offset_ms, json } => (Fault::Skew { node: *node, offset_ms: *offset_ms }, *json),
    };
    let report: FaultReport = ask(&Ask::Act(fault)).await?;
    Output::new(json).report(&report, |report| {
        let ended = report.ended.iter().map(|fault| format!("  ended     {}\n", line(fault)));
        let in_force = report.in_force.iter().map(|fault| format!("  in force  {}\n", line(fault)));
        ended.chain(in_force).fold(format!("{}\n", report.done), |text, line| text + &line)
    })
}

async fn list(json: bool) -> Result<(), CliError> {
    let report: FaultsReport = ask(&Ask::Faults).await?;
    Output::new(json).report(&report, |report| {
        let lines: Vec<String> = report.faults.iter().map(line).collect();
        if lines.is_empty() { "no fault is in force".to_owned() } else { lines.join("\n") }
    })
}

/// What `weft sim wait converged` answers.
#[derive(Debug, Serialize)]
struct WaitReport {
    converged: bool,
    /// Those that run, and agree.
    nodes: Vec<SimNode>,
    /// Events of all chains together.
    events: u64,
    waited_ms: u128,
}

/// `weft sim wait`.
///
/// # Errors
/// `deadline` with what is missing; `not-running` without a simulation.
pub(crate) async fn wait(command: &SimWaitCommand) -> Result<(), CliError> {
    let SimWaitCommand::Converged { timeout, json } = command;
    let begun = Instant::now();
    loop {
        let views = match ask::<NodesReport>(&Ask::Nodes).await {
            Ok(report) => converged::ask(&report.nodes).await,
            Err(error) if error.detail().code == STARTING => converged::Views::new(),
            Err(error) => return Err(error),
        };
        let missing = converged::missing(&views);
        if missing.is_empty() && !views.is_empty() {
            let held =
                views.values().flatten().next().map_or(0, |view| view.members.iter().map(|it| it.chain.events).sum());
            let report = WaitReport {
                converged: true,
                nodes: views.into_keys().collect(),
                events: held,
                waited_ms: begun.elapsed().as_millis(),
            };
            return Output::new(*json).report(&report, |report| {
                let nodes = plural(report.nodes.len() as u64, "node");
                let (events, waited) = (count(report.events), report.waited_ms);
                format!(
                    "converged: {nodes} hold each other for alive, and the same {events} events; waited {waited} ms"
                )
            });
        }
        if begun.elapsed() >= *timeout {
            return Err(not_converged(&missing, *timeout));
        }
        sleep(LOOK.min(timeout.saturating_sub(begun.elapsed()))).await;
    }
}

fn not_converged(missing: &[String], timeout: Duration) -> CliError {
    let mut told: Vec<String> = missing.iter().take(MISSING_TOLD).cloned().collect();
    if missing.is_empty() {
        told.push("no node runs".to_owned());
    }
    if let Some(more @ 1..) = missing.len().checked_sub(MISSING_TOLD) {
        told.push(format!("and {more} more"));
    }
    let message = format!("not converged after {}: {}", humantime::format_duration(timeout), told.join("; "));
    CliError::new("deadline", message).hint("weft sim fault ls shows what is in force; --timeout waits longer").retry()
}

/// `weft sim down`.
///
/// # Errors
/// `not-running` without a simulation; `deadline` when it does not end.
pub(crate) async fn down(args: &SimOnlyJson) -> Result<(), CliError> {
    let report: NodesReport = ask(&Ask::Down).await?;
    let (folder, begun) = (sim_folder()?, Instant::now());
    while folder.exists() {
        if begun.elapsed() > END_MAX {
            let message = format!("the simulation (process {}) has not ended yet", report.pid);
            return Err(CliError::new("deadline", message).hint("weft sim down again").changed().retry());
        }
        sleep(END_STEP).await;
    }
    Output::new(args.json).report(&report, |report| {
        format!("{} have ended, and nothing of them is left", plural(report.nodes.len() as u64, "node"))
    })
}
