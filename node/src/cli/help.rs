//! `weft help`: a command explained, and what the exit codes mean.

use clap::CommandFactory as _;
use serde::Serialize;

use super::CliError;
use super::args::{Cli, HelpArgs};
use super::error::{EXITS, codes_of};
use super::output::{Output, table};

/// The topic that is no command.
const EXIT_CODES: &str = "exit-codes";

/// One exit code for programs.
#[derive(Debug, Serialize)]
struct ExitRow {
    exit: u8,
    meaning: &'static str,
    codes: Vec<&'static str>,
}

/// `weft help [TOPIC]`.
pub(crate) fn help(args: &HelpArgs, json: bool) -> Result<(), CliError> {
    let mut command = Cli::command();
    let output = Output::new(json);
    match args.topic.as_deref() {
        None => output.text(&command.render_long_help().to_string()),
        Some(EXIT_CODES) => exit_codes(output),
        Some(topic) => {
            let mut names: Vec<String> = command.get_subcommands().map(|known| known.get_name().to_owned()).collect();
            names.push(EXIT_CODES.to_owned());
            let near = super::nearest(topic, names.iter().map(String::as_str)).map(str::to_owned);
            let Some(found) = command.find_subcommand_mut(topic).filter(|found| !found.is_hide_set()) else {
                let error = CliError::new("usage", format!("there is no help on `{topic}`"));
                return Err(match near {
                    Some(near) => error.hint(format!("weft help {near}")),
                    None => error.hint("weft help lists the commands; weft help exit-codes"),
                });
            };
            output.text(&found.render_long_help().to_string())
        }
    }
}

fn exit_codes(output: Output) -> Result<(), CliError> {
    let rows: Vec<ExitRow> = EXITS
        .iter()
        .map(|(exit, meaning)| ExitRow { exit: *exit, meaning, codes: codes_of(*exit).collect() })
        .collect();
    output.report(&rows, |rows| {
        let line = |row: &ExitRow| [row.exit.to_string(), row.meaning.to_owned(), row.codes.join(" ")];
        table(["exit", "meaning", "error codes"], rows.iter().map(line).collect(), "")
    })
}
