//! `weft doctor`: one line for each thing that can be wrong with a node, and how to mend it; it runs, is down, or is damaged.
//!
//! It changes nothing but what `--storage` says, and a file of a few kilobytes that it writes to time the disk and removes.
//!
//! Modules: `home` (files, keys, settings), `machine` (disk, confinement, limits), `running` (a node that answers),
//! `stopped` (one that does not, and `--storage`).

mod home;
mod machine;
mod running;
mod stopped;

use serde::Serialize;
use weft_protocol::control::StatusReport;

use super::args::DoctorArgs;
use super::client::{Client, choose_home};
use super::output::{Output, bad, doubtful, good, plural, table};
use super::{At, CliError};
use crate::home::HomeDir;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// The node works, and somebody should look at this.
    Warn,
    /// The node does not work, or will not start.
    Fail,
    /// What is stored is not what was written.
    Damaged,
}

/// One line.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    message: String,
    fix: String,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, message: message.into(), fix: String::new() }
    }

    fn warn(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, message: message.into(), fix: fix.into() }
    }

    fn fail(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, message: message.into(), fix: fix.into() }
    }

    fn damaged(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Damaged, message: message.into(), fix: fix.into() }
    }

    /// What an error of another command says about this.
    fn of_error(name: &'static str, error: &CliError) -> Self {
        let (message, fix) = (error.detail().message.clone(), error.detail().hint.clone());
        let damaged = error.exit_code() == super::error::exit::DAMAGED;
        if damaged { Self::damaged(name, message, fix) } else { Self::fail(name, message, fix) }
    }
}

#[derive(Debug, Serialize)]
struct DoctorReport {
    ok: bool,
    home: String,
    running: bool,
    checks: Vec<Check>,
}

/// `weft doctor`. Exit code 0 when every check is ok, 1 when one is not, 8 when one found damage.
pub(crate) async fn doctor(args: &DoctorArgs, at: &At) -> Result<(), CliError> {
    let folder = choose_home(at)?;
    let output = Output::new(at.json);
    if args.storage {
        let checks = stopped::check_storage(&folder)?;
        return report(&folder, false, checks, output);
    }
    let mut checks = vec![home::folder(&folder), home::keys(&folder), home::cluster(&folder), home::settings(&folder)];
    let status = answer(&folder).await;
    let running = matches!(&status, Ok(Some(_)));
    match status {
        Ok(Some((client, status))) => checks.extend(running::check(&client, &status).await),
        Ok(None) => checks.extend(stopped::check(&folder)),
        Err(error) => checks.push(Check::of_error("node", &error)),
    }
    checks.extend(machine::check(&folder));
    report(&folder, running, checks, output)
}

/// What the node says of itself; none when it does not run.
async fn answer(home: &HomeDir) -> Result<Option<(Client, StatusReport)>, CliError> {
    let asked = match Client::at(home.clone()) {
        Ok(client) => client.get("/v1/status").await.map(|status| Some((client, status))),
        Err(error) => Err(error),
    };
    match asked {
        Err(error) if error.detail().code == "not-running" => Ok(None),
        asked => asked,
    }
}

fn report(home: &HomeDir, running: bool, checks: Vec<Check>, output: Output) -> Result<(), CliError> {
    let ok = checks.iter().all(|check| check.verdict == Verdict::Ok);
    let report = DoctorReport { ok, home: home.path().display().to_string(), running, checks };
    output
        .report(&report, |report| table(["check", "", "found", "fix"], report.checks.iter().map(row).collect(), ""))?;
    let with = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count() as u64;
    if ok {
        return Ok(());
    }
    let code = if with(Verdict::Damaged) > 0 { "damaged" } else { "failed" };
    let wrong = report.checks.len() as u64 - with(Verdict::Ok);
    let need = if wrong == 1 { "needs" } else { "need" };
    let message = format!("{} of {} {need} attention", plural(wrong, "check"), report.checks.len());
    Err(CliError::new(code, message).reported(output.json()))
}

fn row(check: &Check) -> [String; 4] {
    let verdict = match check.verdict {
        Verdict::Ok => good("ok"),
        Verdict::Warn => doubtful("look"),
        Verdict::Fail => bad("wrong"),
        Verdict::Damaged => bad("damaged"),
    };
    [check.name.to_owned(), verdict, check.message.clone(), check.fix.clone()]
}
