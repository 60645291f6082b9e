//! `weft bench`: what the program does per second, each figure beside a limit that was measured in the same run.

mod append;
mod call;
mod chain;
mod disk_limits;
mod gossip;
mod gossip_node;
mod hostile;
mod ipc;
mod mesh;
mod nats;
mod publish;
mod signatures;
mod stock;
mod sync;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::time::Instant;

pub(crate) use self::stock::{StockArgs, serve as serve_stock};
use super::args::BenchCommand;
use super::{CliError, Output};

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    metric: &'static str,
    /// How much.
    value: f64,
    /// Of what.
    unit: &'static str,
    /// What it is compared with.
    limit: String,
    /// How much that was, in this run.
    limit_value: f64,
    /// `value / limit_value`.
    ratio: f64,
}

impl Figure {
    fn new(metric: &'static str, unit: &'static str, value: f64, limit: impl Into<String>, limit_value: f64) -> Self {
        let ratio = if limit_value > 0.0 { value / limit_value } else { f64::NAN };
        Self { metric, value, unit, limit: limit.into(), limit_value, ratio }
    }
}

/// What there is no figure for.
#[derive(Debug, Serialize)]
struct NotMeasured {
    metric: &'static str,
    /// Why.
    reason: String,
}

/// All figures of one run.
#[derive(Debug, Serialize)]
struct Figures {
    results: Vec<Figure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_measured: Vec<NotMeasured>,
}

impl From<Vec<Figure>> for Figures {
    fn from(results: Vec<Figure>) -> Self {
        Self { results, not_measured: Vec::new() }
    }
}

/// Runs a benchmark and prints its figures.
///
/// # Errors
/// Whatever kept it from being measured; no figure is printed then.
pub(crate) async fn run(command: &BenchCommand) -> Result<(), CliError> {
    let folder = Folder::new()?;
    let (json, figures): (bool, Figures) = match command {
        BenchCommand::Append(args) => {
            let path = folder.path().to_owned();
            let measured = tokio::task::spawn_blocking(move || append::measure(&path)).await;
            (args.json, measured.map_err(|error| failed("append", &error))??.into())
        }
        BenchCommand::Call(args) => (args.json, call::measure(folder.path()).await?),
        BenchCommand::Hostile(args) => (args.json, hostile::measure(folder.path()).await?.into()),
        BenchCommand::Ipc(args) => (args.json, ipc::measure(folder.path()).await?.into()),
        BenchCommand::Idle(args) => (args.json, mesh::measure_idle(folder.path()).await?.into()),
        BenchCommand::Mesh(args) => (args.json, mesh::measure(folder.path()).await?.into()),
        BenchCommand::Pub(args) => (args.json, publish::measure(folder.path()).await?.into()),
        BenchCommand::Sync(args) => (args.json, sync::measure(folder.path()).await?.into()),
    };
    Output::new(json).report(&figures, |figures| {
        let rows = figures.results.iter().map(|figure| {
            let Figure { metric, value, unit, limit, limit_value, ratio } = figure;
            format!("{metric:<34} {value:>12.1} {unit:<10} {limit_value:>12.1} {limit:<44} {ratio:>7.2}\n")
        });
        let without = figures
            .not_measured
            .iter()
            .map(|NotMeasured { metric, reason }| format!("{metric:<34} {reason}: not measured\n"));
        format!(
            "{:<34} {:>12} {:<10} {:>12} {:<44} {:>7}\n{}",
            "metric",
            "value",
            "unit",
            "limit",
            "which is",
            "ratio",
            rows.chain(without).collect::<String>()
        )
    })
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new("failed", format!("{what}: {error}"))
}

/// Microseconds since `begin`.
#[expect(clippy::cast_precision_loss, reason = "a figure for people; microseconds of a run fit a double")]
fn micros(begin: Instant) -> f64 {
    begin.elapsed().as_nanos() as f64 / 1_000.0
}

/// `count` per second since `begin`.
#[expect(clippy::cast_precision_loss, reason = "a figure for people; counts of a run fit a double")]
fn per_second(count: usize, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64()
}

/// The middle of these values.
fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

/// The value that so many hundredths of these are below.
fn percentile(values: &mut [f64], hundredths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * hundredths / 100).copied().unwrap_or_default()
}

/// A folder on the disk that a node would use, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, CliError> {
        let bytes = crate::identity::random::<6>()?;
        let base = crate::home::nodes_folder().unwrap_or_else(|_| std::env::temp_dir());
        let path = base.join(format!(".bench-{}", data_encoding::HEXLOWER.encode(&bytes)));
        std::fs::create_dir_all(&path).map_err(|error| failed("the folder", &error))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}
