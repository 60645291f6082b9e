//! `weft sim replay`: a run that failed once more, from its file, with the steps up to the failure.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weft_simulations::{REPLAY_BYTES_MAX, Replay, SimReport};

use super::super::CliError;
use super::super::args::SimReplayArgs;
use super::super::output::Output;

/// What came of it, as `--json` prints it. Fields may be added, never renamed.
#[derive(Debug, Serialize)]
struct Replayed {
    /// Whether everything went as it went when the file was written.
    same: bool,
    /// The trace hash in the file.
    trace_hash_before: String,
    /// What happened from outside until it failed.
    steps: Vec<String>,
    /// The run.
    report: SimReport,
}

/// Replays it.
pub(super) async fn replay(args: &SimReplayArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    let text = read(&args.file)?;
    let replay =
        Replay::parse(&text).map_err(|error| CliError::new("invalid", format!("{}: {error}", args.file.display())))?;
    let (ran, report) = spawn_blocking(move || {
        let begin = Instant::now();
        let report = replay.run().with_wall_s(begin.elapsed().as_secs_f64());
        (replay, report)
    })
    .await
    .map_err(|error| CliError::new("failed", error.to_string()))?;
    let until_us = report.failed_at_us.unwrap_or(u64::MAX);
    let steps = ran.steps.iter().filter(|step| step.at_us <= until_us).map(ToString::to_string).collect();
    let same = report.trace_hash == ran.trace_hash;
    let replayed = Replayed { same, trace_hash_before: ran.trace_hash, steps, report };
    output.report(&replayed, |replayed| words(replayed, ran.steps_before, &ran.version))?;
    if replayed.report.pass {
        return Ok(());
    }
    let name = &replayed.report.scenario;
    let message = format!("{name} still fails with seed {}", replayed.report.seed);
    Err(CliError::new("failed", message).reported(args.json))
}

/// The text of a file that is not larger than such files are.
fn read(path: &Path) -> Result<String, CliError> {
    let unreadable = |error: std::io::Error| {
        let hint = "weft sim run SCENARIO, which writes such a file of a run that fails";
        CliError::new("failed", format!("{}: {error}", path.display())).hint(hint)
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(REPLAY_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > REPLAY_BYTES_MAX {
        let message = format!("{}: larger than {REPLAY_BYTES_MAX} bytes", path.display());
        return Err(CliError::new("invalid", message));
    }
    Ok(text)
}

fn words(replayed: &Replayed, steps_before: usize, version: &str) -> String {
    let report = &replayed.report;
    let mut lines =
        format!("{} seed {}: {} steps of {steps_before}\n", report.scenario, report.seed, replayed.steps.len());
    for step in &replayed.steps {
        lines.push_str(&format!("  {step}\n"));
    }
    match report.failed_at_us {
        Some(at_us) => lines.push_str(&format!("  {at_us:>10} us  FAILS\n")),
        None if report.pass => lines.push_str("  it passes\n"),
        None => lines.push_str("  at the end something is missing\n"),
    }
    for reason in &report.failures {
        lines.push_str(&format!("  {reason}\n"));
    }
    let told = if replayed.same {
        "the same trace as when the file was written".to_owned()
    } else {
        format!(
            "another trace than when the file was written, by version {version}: the program or the file is not the same"
        )
    };
    lines + &told + "\n"
}
