//! `weft config …`: what is configured, whether a file is right, and reading it again.

use std::path::Path;

use serde::Serialize;
use weft_protocol::control::{ConfigReport, ReloadReport, SettingChangeRow, SettingRow};

use super::args::{ConfigCommand, ConfigShowArgs};
use super::client::{Client, choose_home};
use super::output::{Output, good, plural, table};
use super::{At, CliError, nearest};
use crate::config::{Flags, KEYS, Origin, check_file, load};

/// `weft config …`.
pub(crate) async fn config(command: &ConfigCommand, before: &At) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show(args) => show(args, &args.at.or(before)).await,
        ConfigCommand::Check { file, json } => check(file, Output::new(*json || before.json)),
        ConfigCommand::Reload(only) => reload(&only.at.or(before)).await,
    }
}

/// What a running node goes by, or what the next start would.
async fn show(args: &ConfigShowArgs, at: &At) -> Result<(), CliError> {
    let home = choose_home(at)?;
    let asked: Result<ConfigReport, CliError> = match Client::at(home.clone()) {
        Ok(client) => client.get("/v1/config").await,
        Err(error) => Err(error),
    };
    let mut report = match asked {
        Err(error) if error.detail().code == "not-running" => load(&home, &Flags::default())?.report(false),
        asked => asked?,
    };
    if let Some(key) = &args.key {
        report.settings.retain(|row| row.key == *key);
        if report.settings.is_empty() {
            let error = CliError::new("not-found", format!("there is no key `{key}`"));
            let near = nearest(key, KEYS.iter().map(|known| known.name));
            return Err(
                error.hint(near.map_or("weft config show".to_owned(), |near| format!("weft config show {near}")))
            );
        }
    }
    let one = args.key.is_some();
    Output::new(at.json).report(&report, |report| if one { card_of(report) } else { table_of(report) })
}

fn table_of(report: &ConfigReport) -> String {
    let line = |row: &SettingRow| [row.key.clone(), row.value.clone(), row.from.clone(), row.changes.clone()];
    let lines = table(["key", "value", "from", "changes"], report.settings.iter().map(line).collect(), "");
    let whose = if report.running { "in force in the running node" } else { "what the next start would go by" };
    format!("{lines}\n{whose}; weft config show KEY says what a key is for\n")
}

fn card_of(report: &ConfigReport) -> String {
    let row = |row: &SettingRow| {
        super::output::card([
            ("key", row.key.clone()),
            ("value", row.value.clone()),
            ("from", row.from.clone()),
            ("default", row.default.clone()),
            ("allowed", row.allowed.clone()),
            ("changes", row.changes.clone()),
            ("variable", row.variable.clone()),
            ("about", row.about.clone()),
        ])
    };
    report.settings.iter().map(row).collect()
}

/// The answer to a file that is right.
#[derive(Debug, Serialize)]
struct CheckReport {
    ok: bool,
    file: String,
    settings: u64,
}

fn check(file: &Path, output: Output) -> Result<(), CliError> {
    let config = check_file(file)?;
    let set = KEYS.iter().filter(|key| *config.origin(key) != Origin::Default).count() as u64;
    let report = CheckReport { ok: true, file: file.display().to_string(), settings: set };
    output.report(&report, |report| format!("{}: {}, {}", report.file, plural(set, "setting"), good("ok")))
}

async fn reload(at: &At) -> Result<(), CliError> {
    let report: ReloadReport = Client::of(at)?.post("/v1/config/reload", &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| {
        let line = |words: &'static str| {
            move |row: &SettingChangeRow| [row.key.clone(), row.from.clone(), row.to.clone(), words.to_owned()]
        };
        let rows: Vec<[String; 4]> = report
            .changed
            .iter()
            .map(line("changed"))
            .chain(report.waiting.iter().map(line("waits for the next start")))
            .collect();
        table(["key", "from", "to", ""], rows, "everything is in force already")
    })
}
