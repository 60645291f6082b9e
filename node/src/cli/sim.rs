//! `weft sim`: the same peers and the same storage in a simulated world, many seeds if wanted; and real nodes (`live_sim`).

use tokio::time::Instant;
use weft_simulations::{Scenario, ScenarioError, SimReport, run_and_shrink, scenario};

use super::args::{SimCommand, SimRunArgs};
use super::output::Output;
use super::{CliError, live_sim};

/// `weft sim …`.
pub(crate) async fn run(command: &SimCommand) -> Result<(), CliError> {
    match command {
        SimCommand::Run(args) => run_scenario(args),
        SimCommand::Up(args) => live_sim::up(args).await,
        SimCommand::Fault(command) => live_sim::fault(command).await,
        SimCommand::Wait(command) => live_sim::wait(command).await,
        SimCommand::Down(args) => live_sim::down(args).await,
    }
}

fn run_scenario(args: &SimRunArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    let mut scenario = scenario(&args.scenario)?;
    if let Some(nodes) = args.nodes {
        scenario = Scenario { nodes, ..scenario };
        scenario.check()?;
    }
    let seeds = match (args.seed, args.seeds) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(count)) => 0..count,
        (None, None) => 0..1,
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let begin = Instant::now();
        let report = run_and_shrink(&scenario, seed);
        let report = SimReport { wall_s: begin.elapsed().as_secs_f64(), ..report };
        if !report.pass {
            failed.push(seed);
        }
        output.report(&report, text)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let seeds: Vec<String> = failed.iter().map(u64::to_string).collect();
    let message = format!("{} failed with seed {}", scenario.name, seeds.join(", "));
    let again = format!("weft sim run {} --seed {}", args.scenario, seeds.first().map_or("0", String::as_str));
    Err(CliError::new("failed", message).hint(again).reported(args.json))
}

/// One run for people.
fn text(report: &SimReport) -> String {
    let verdict = if report.pass { "pass" } else { "FAIL" };
    let SimReport { scenario, seed, nodes, trace_hash, virtual_s, wall_s, .. } = report;
    let mut lines = format!(
        "{verdict}  {scenario} seed {seed}: {nodes} nodes, {virtual_s:.1} s of their time in {wall_s:.2} s, trace {trace_hash}\n"
    );
    for (name, check) in &report.checks {
        let mark = if check.ok { "ok" } else { "BROKEN" };
        lines.push_str(&format!("  {mark:<7} {name} ({} times)\n", check.count));
    }
    let faults: Vec<String> = report.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    lines.push_str(&format!("  faults  {}\n", faults.join(", ")));
    if let Some(reason) = report.failures.first() {
        lines.push_str(&format!("  why     {reason}\n"));
    }
    for step in &report.minimal {
        lines.push_str(&format!("  step    {step}\n"));
    }
    lines
}

impl From<ScenarioError> for CliError {
    fn from(error: ScenarioError) -> Self {
        Self::new("invalid", error.to_string())
    }
}
