//! `weft sim scenarios`: the scenarios that come with the program, to be run, read and copied.

use serde::Serialize;
use weft_simulations::{names, scenario, text};

use super::super::CliError;
use super::super::args::SimScenariosArgs;
use super::super::output::Output;

/// One scenario.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    about: String,
    nodes: usize,
}

/// One scenario whole.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    name: &'a str,
    toml: &'static str,
}

/// Lists all, or prints one.
pub(super) fn scenarios(args: &SimScenariosArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    if let Some(name) = &args.name {
        let Some(toml) = text(name) else {
            let message = format!("no scenario `{name}` comes with the program");
            return Err(CliError::new("not-found", message).hint("weft sim scenarios lists them"));
        };
        return output.report(&Whole { name, toml }, |whole| whole.toml.to_owned());
    }
    let mut rows = Vec::new();
    for name in names() {
        let scenario = scenario(name)?;
        rows.push(Row { name, about: scenario.about, nodes: scenario.nodes });
    }
    output.report(&rows, |rows| {
        let line = |row: &Row| format!("{:<16} {}\n", row.name, row.about);
        rows.iter().map(line).collect::<String>()
    })
}
