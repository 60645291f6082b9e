//! `weft sim run`: a scenario under one seed or many, several at once, with a page for people and a file of what failed.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use futures::{StreamExt as _, stream};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weft_simulations::{Replay, Scenario, SimReport, Tally, page, run, run_and_shrink, scenario};

use super::super::CliError;
use super::super::args::SimRunArgs;
use super::super::output::Output;
use super::total::Total;

/// Most runs that failed, and most others, that a page is made of: the first ones of each.
const PAGE_RUNS_MAX: usize = 200;

/// Runs it.
pub(super) async fn play(args: &SimRunArgs) -> Result<(), CliError> {
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
    let many = args.seeds.is_some();
    let how = How { shrink: !many, twice: args.twice };
    let jobs = args.jobs.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let begin = Instant::now();
    let mut runs = stream::iter(seeds).map(|seed| one(scenario.clone(), seed, how)).buffered(jobs);
    let (mut passed, mut failed, mut kept) = (0_usize, Vec::new(), Vec::new());
    let (mut tally, mut alike_twice) = (Tally::new(&scenario), 0_u64);
    while let Some(report) = runs.next().await {
        let (report, same) = report?;
        tally.add(&report);
        alike_twice += u64::from(same);
        output.report(&report, if many { line } else { text })?;
        let alike = if report.pass {
            passed += 1;
            passed
        } else {
            failed.push(report.seed);
            failed.len()
        };
        if args.report.is_some() && alike <= PAGE_RUNS_MAX {
            kept.push(report.clone());
        }
        if let Some(replay) = report.replay {
            keep(&replay, &args.out)?;
        }
    }
    let again = args.twice.then_some(alike_twice);
    if many {
        let total = Total { passed, failed: failed.clone(), again, never: tally.never(), tally: &tally };
        output.report(&total, |total| {
            let wall_s = begin.elapsed().as_secs_f64();
            format!("{passed} of {} passed in {wall_s:.1} s, {jobs} at a time\n{}", tally.runs, total.text())
        })?;
    } else if again == Some(1) && !args.json {
        output.text("  twice   the second run was the same to the last step")?;
    }
    if let Some(&seed) = failed.first()
        && many
    {
        eprintln!("looking for the fewest steps with which seed {seed} fails ...");
        let (report, _) = one(scenario.clone(), seed, How { shrink: true, twice: false }).await?;
        if let Some(replay) = report.replay {
            keep(&replay, &args.out)?;
        }
    }
    if let Some(path) = &args.report {
        write_page(path, &scenario, &kept)?;
    }
    if failed.is_empty() && many && !tally.never().is_empty() {
        let message = format!("over {} seeds {} never struck", tally.runs, tally.never().join(", "));
        let hint = "more seeds, or a greater weight of what leads to it";
        return Err(CliError::new("failed", message).hint(hint).reported(args.json));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let seeds: Vec<String> = failed.iter().map(u64::to_string).collect();
    let message = format!("{} failed with seed {}", scenario.name, seeds.join(", "));
    let error = CliError::new("failed", message).reported(args.json);
    // Of one seed the file is named already from which it is seen again.
    let again = format!("weft sim run {} --seed {}", args.scenario, seeds.first().map_or("0", String::as_str));
    Err(if many { error.hint(again) } else { error })
}

/// How a seed is run.
#[derive(Debug, Clone, Copy)]
struct How {
    /// Whether the fewest steps that fail are looked for.
    shrink: bool,
    /// Whether it is run again, to see whether it is the same.
    twice: bool,
}

/// One run, off the threads that wait, and whether a second one was the same.
async fn one(scenario: Scenario, seed: u64, how: How) -> Result<(SimReport, bool), CliError> {
    let ran = spawn_blocking(move || {
        let begin = Instant::now();
        let report = if how.shrink { run_and_shrink(&scenario, seed) } else { run(&scenario, seed) };
        let report = report.with_wall_s(begin.elapsed().as_secs_f64());
        if how.twice { compared(report, &run(&scenario, seed)) } else { (report, false) }
    });
    ran.await.map_err(|error| CliError::new("failed", format!("seed {seed}: {error}")))
}

/// The first of two runs of one seed, which failed when the second was another one.
fn compared(mut first: SimReport, second: &SimReport) -> (SimReport, bool) {
    let same = first.trace_hash == second.trace_hash && first.faults == second.faults && first.ledger == second.ledger;
    if !same {
        first.pass = false;
        first.failures.push(format!("a second run was another one: trace {}", second.trace_hash));
    }
    (first, same)
}

/// Writes the file from which a failed run can be seen again.
fn keep(replay: &Replay, folder: &Path) -> Result<(), CliError> {
    let named = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    let name: String = replay.scenario.name.chars().map(named).take(64).collect();
    let path = folder.join(format!("weft-sim-{name}-{}.json", replay.seed));
    write(&path, &replay.text())?;
    eprintln!("written: {}; next: weft sim replay {}", path.display(), path.display());
    Ok(())
}

fn write_page(path: &Path, scenario: &Scenario, reports: &[SimReport]) -> Result<(), CliError> {
    let html = page(&scenario.about, reports).map_err(|error| CliError::new("failed", error))?;
    write(path, &html)?;
    eprintln!("written: {}", path.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(|error| CliError::new("failed", format!("{}: {error}", path.display())))
}

/// One of many runs for people.
fn line(report: &SimReport) -> String {
    let verdict = if report.pass { "pass" } else { "FAIL" };
    let SimReport { scenario, seed, virtual_s, wall_s, trace_hash, .. } = report;
    let why = report.failures.first().map_or_else(String::new, |reason| format!("\n  why     {reason}"));
    format!("{verdict}  {scenario} seed {seed}: {virtual_s:.1} s in {wall_s:.2} s, trace {trace_hash}{why}")
}

/// One run for people.
pub(super) fn text(report: &SimReport) -> String {
    let verdict = if report.pass { "pass" } else { "FAIL" };
    let SimReport { scenario, seed, nodes, trace_hash, virtual_s, wall_s, .. } = report;
    let mut lines = format!(
        "{verdict}  {scenario} seed {seed}: {nodes} nodes, {virtual_s:.1} s of their time in {wall_s:.2} s, trace {trace_hash}\n"
    );
    let (due, others): (Vec<_>, Vec<_>) = report.checks.iter().partition(|(_, check)| check.count > 0 || !check.ok);
    for (name, check) in due {
        let mark = if check.ok { "ok" } else { "BROKEN" };
        lines.push_str(&format!("  {mark:<7} {name} ({} times)\n", check.count));
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.into_iter().map(|(name, _)| *name).collect();
        lines.push_str(&format!("  not due {}\n", names.join(", ")));
    }
    let faults: Vec<String> = report.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    lines.push_str(&format!("  faults  {}\n", faults.join(", ")));
    let ledger = &report.ledger;
    let agreed = ledger.convergence_us.map(|us| format!("all agreed {us} µs after everything was whole"));
    let success = ledger.success_per_mille.map(|success| format!("{success} of 1000 messages and calls succeeded"));
    let outcome: Vec<String> = agreed.into_iter().chain(success).collect();
    if !outcome.is_empty() {
        lines.push_str(&format!("  outcome {}\n", outcome.join("; ")));
    }
    let bytes: u64 = ledger.bytes_by_node.iter().sum();
    lines.push_str(&format!(
        "  cost    {} frames, {bytes} bytes; answers p50 {} µs, p99 {} µs; publications p50 {} µs, p99 {} µs\n",
        ledger.frames,
        ledger.answers.p50_us,
        ledger.answers.p99_us,
        ledger.publications.p50_us,
        ledger.publications.p99_us
    ));
    lines.push_str(&format!("  real    {}; replaced: {}\n", report.real.join(", "), report.replaced.join(", ")));
    if let Some(reason) = report.failures.first() {
        lines.push_str(&format!("  why     {reason}\n"));
    }
    for step in &report.minimal {
        lines.push_str(&format!("  step    {step}\n"));
    }
    lines
}
